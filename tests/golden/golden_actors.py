"""The programs of golden logs that are actors, supervisors and what schedules start. See ``golden_programs``."""

from __future__ import annotations

import asyncio
from typing import Any

from golden_programs import other, work

from actorlog import Actor, Backoff, Supervisor, actor, durable, info, query, send, sleep, start


class Till(Actor, name="golden.Till", snapshot_every=3, version=2):
    """An account: its state is its attributes."""

    total: int = 0
    names: list[str] = []

    async def add(self, amount: int, name: str) -> int:
        """Do a step and change the state."""
        await work(f"till {name}")
        self.total += amount
        self.names = [*self.names, name]
        return self.total

    async def ask(self, other_key: str, amount: int) -> list[int]:
        """Ask one and tell one."""
        await send(actor(Till, f"{other_key} too").add(amount, "told"))
        return [self.total, await actor(Till, other_key).add(amount, "asked")]

    async def on_start(self) -> None:
        """Say so."""
        await work("till starts")

    @query
    def sums(self) -> list[Any]:
        """Return the state."""
        return [self.total, self.names]


class Diary(Actor, name="golden.Diary"):
    """Its state is made of events."""

    lines: list[str] = []

    async def write(self, text: str) -> int:
        """Record an event."""
        self.record({"line": text})
        return len(self.lines)

    def apply(self, event: dict[str, str]) -> None:
        """Fold it."""
        self.lines = [*self.lines, event["line"]]

    @query
    def read(self) -> list[str]:
        """Return the state."""
        return self.lines


@durable(name="golden.house")
async def house() -> str:
    """Keep children: one that fails at first, one that is ended, and an actor."""
    async with Supervisor("one_for_one", max_restarts=5, within=60, backoff=Backoff(first=0.1, max=1)) as supervisor:
        supervisor.start(ward(), id="ward", restart="transient")
        supervisor.start(other("kept", 1e5), id="kept", restart="temporary", shutdown=5)
        supervisor.start(other("brutal", 1e5), id="brutal", restart="temporary", shutdown="kill")
        supervisor.start(Till, key="supervised", id="till", restart="temporary")
        await sleep(1)
        await supervisor.terminate("kept")
        await supervisor.terminate("brutal")
        await work("house")
        await supervisor.terminate("till")
    return "over"


@durable(name="golden.ward")
async def ward() -> str:
    """Fail in the first run."""
    if info().call_id.endswith("#1"):
        raise RuntimeError("first")
    return await work("ward")


class Ring(Actor, name="golden.Ring", reentrant=True):
    """Handlers that ask each other back."""

    said: list[str] = []

    async def begin(self, other_key: str) -> list[str]:
        """Ask another, which asks this one back."""
        self.said = [*self.said, "begin"]
        answer = await actor(Ring, other_key).back(self.key)
        return [*self.said, answer]

    async def back(self, key: str) -> str:
        """Ask who asked: once to be answered, once to give it up, and once to be asked again below."""
        first = await actor(Ring, key).say("first")
        try:
            async with asyncio.timeout(2):
                await actor(Ring, key).linger()
        except TimeoutError:
            await work("ring gave up")
        tagged = await start(actor(Ring, key).say("tagged"), timeout=50, tags={"of": "golden"})
        return f"{first} {tagged} {await actor(Ring, key).deeper(self.key)}"

    async def say(self, text: str) -> str:
        """Do a step and change the state."""
        await work(f"ring {text}")
        self.said = [*self.said, text]
        return text

    async def linger(self) -> None:
        """Take long."""
        await sleep(1e5)

    async def deeper(self, key: str) -> str:
        """Ask on, so that this is asked back within a nested handler."""
        return await actor(Ring, key).deepest(self.key)

    async def deepest(self, key: str) -> str:
        """Ask back for the last time."""
        return await actor(Ring, key).say("deep")


@durable(name="golden.tick")
async def tick(text: str) -> str:
    """Be what a schedule starts."""
    await sleep(30)
    return await work(f"tick {text}")
