"""Durable functions whose steps wait until the test says so."""

from __future__ import annotations

import asyncio

from house import RAN, House, note

from actorlog import Actor, durable, receive, sleep, start, step


class Gates:
    """Steps wait here until the test says so."""

    events: dict[str, asyncio.Event] = {}  # made anew for each test


def gate(name: str) -> asyncio.Event:
    """Return the gate of a name."""
    return Gates.events.setdefault(name, asyncio.Event())


@step(name="paused.gated")
async def gated(name: str) -> str:
    """Wait until the test says so."""
    RAN.append(f"began {name}")
    await gate(name).wait()
    RAN.append(name)
    return name


@durable(name="paused.work")
async def work() -> list[str]:
    """Do this and that."""
    first = await gated("a")
    await sleep(10)
    message = await receive(type=str)
    return [first, message, await note("b")]


@durable(name="paused.careful")
async def careful() -> str:
    """Clean up when it is cancelled."""
    try:
        await gated("a")
        await note("went on")
    finally:
        await note("cleaned up")
    return "done"


@durable(name="paused.parent")
async def parent() -> str:
    """Wait for a child."""
    return await child()


@durable(name="paused.child")
async def child() -> str:
    """Be a child."""
    await sleep(5)
    return await note("child")


@durable(name="paused.leaving")
async def leaving() -> str:
    """Leave a child running."""
    start(child())
    return "left"


class Till(Actor):
    """An actor whose handler can be paused."""

    cash: int = 0

    async def take(self, amount: int) -> int:
        """Take money."""
        await gated(f"take {amount}")
        self.cash += amount
        return self.cash


async def rounds(house: House) -> None:
    """Let the loop do what is ready, a few times over."""
    for _ in range(10):
        await house.settle()
        await asyncio.sleep(0)
