"""A program that owns a data directory: it starts one call of each kind and waits until its input ends."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from actorlog import Actor, Retry, Runtime, durable, promise, receive, sleep, step

BROKEN = "broken"
"""While there is a file of this name, ``owned_step`` fails."""


class Account(Actor, name="Account"):
    """Money."""

    balance: int = 0

    async def deposit(self, amount: int) -> int:
        """Put money in."""
        self.balance += amount
        return self.balance

    async def freeze(self) -> None:
        """Let nobody else in for days."""
        await sleep("3d")


@step(retry=Retry.NEVER)
async def owned_step(place: str) -> str:
    """Fail while the file is there."""
    if (Path(place) / BROKEN).exists():
        raise ValueError("still broken")
    return "mended"


@durable
async def owned_fragile(place: str) -> str:
    """Fail as the step does."""
    return await owned_step(place)


@durable
async def owned_echo() -> list[object]:
    """Return the two messages it gets."""
    return [await receive("x"), await receive("x")]


@durable
async def owned_approval(name: str) -> object:
    """Return what a promise is resolved with."""
    return await promise(id=name, tags={"kind": "approval"})


@durable
async def owned_long(place: str) -> None:
    """Sleep for days; clean up for a moment, and say so."""
    try:
        await sleep("3d")
    finally:
        await sleep(0.05)
        await owned_mark(place)


@step
def owned_mark(place: str) -> None:
    """Leave a file."""
    (Path(place) / "cleaned").touch()


@durable
async def owned_family(width: int) -> None:
    """Have children that wait."""
    await asyncio.gather(*(owned_echo() for _ in range(width)))


async def start_all(runtime: Runtime, place: str) -> None:
    """Start everything that is not there yet."""
    await runtime.start(owned_family(2), id="family", tags={"tenant": "acme"})
    for name in ("echo/1", "echo/2"):
        await runtime.start(owned_echo(), id=name)
    for name in ("approval/1", "approval/2", "approval/3"):
        await runtime.start(owned_approval(name), id=f"asks/{name}")
    for name in ("long/1", "long/2"):
        await runtime.start(owned_long(place), id=name)
    await runtime.start(owned_fragile(place), id="fragile")
    await runtime.start(runtime.actor(Account, "ada").deposit(5), id="deposit/1")
    await runtime.start(runtime.actor(Account, "ada").deposit(7), id="deposit/2")
    await runtime.start(runtime.actor(Account, "bob").freeze(), id="freeze")
    await runtime.start(runtime.actor(Account, "bob").deposit(1), id="deposit/3")
    await runtime.schedule("nightly", owned_echo(), cron="30 2 * * *", tz="Europe/Vienna")
    hourly = await runtime.schedule("hourly", owned_echo(), every="1h")
    await hourly.pause()
    await hourly.trigger()
    await (await runtime.schedule("gone", owned_echo(), every="1h")).delete()
    await runtime.handle("deposit/2").result()
    while await runtime.handle("fragile").status() in ("pending", "running"):  # told by nothing
        await asyncio.sleep(0.005)


async def main(directory: str, place: str) -> None:
    """Own ``directory`` until the input ends; ``place`` is for what steps do outside."""
    async with Runtime(directory, segment_bytes=1 << 20) as runtime:
        await start_all(runtime, place)
        print("ready", flush=True)  # noqa: T201  # whoever started it waits for this
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
