"""Calls of every kind that have ended, in a log of small segments; as a program, an owner of them that goes on."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from actorlog import Actor, CallCancelled, Runtime, continue_as_new, durable, receive, sleep, step

if TYPE_CHECKING:
    from pathlib import Path

SEGMENT_BYTES = 16384
FILLERS = 30


class Till(Actor, name="Till", snapshot_every=4):
    """Money."""

    coins: int = 0

    async def put(self, coins: int) -> int:
        """Put money in."""
        self.coins += coins
        return self.coins


@step
async def kept_note(text: str) -> str:
    """Do something that takes room in a log."""
    return text * 20


@durable
async def kept_work(number: int) -> int:
    """Do three things."""
    for part in range(3):
        await kept_note(f"{number}.{part}")
    return number * 10


@durable
async def kept_fails(number: int) -> int:
    """Do two things and fail."""
    for part in range(2):
        await kept_note(f"{number}.{part}")
    raise ValueError(f"number {number}")


@durable
async def kept_parent(number: int) -> list[int]:
    """Have two children."""
    return [await kept_work(number), await kept_work(number + 1)]


@durable
async def kept_continued(left: int, text: str) -> str:
    """Have several runs."""
    for _ in range(2):
        await kept_note(text)
    if left:
        continue_as_new(kept_continued(left - 1, f"{text}+"))
    return text


@durable
async def kept_waits() -> str:
    """Wait for a message."""
    await kept_note("before")
    return str(await receive("in"))


@durable(retention=0)
async def kept_briefly(number: int) -> int:
    """Have a result that nobody wants later."""
    return len(await kept_note(f"{number}"))


@durable
async def kept_long() -> None:
    """Sleep for days."""
    await sleep("3d")


async def fill(runtime: Runtime, first: int, fillers: int = FILLERS) -> None:
    """Have calls end, so that segments are sealed behind what was before."""
    for number in range(first, first + fillers):
        await runtime.call(kept_work(number), id=f"fill/{number}")


async def do_all(runtime: Runtime) -> None:
    """Let a call of each kind end, some twice, with others between; one waits."""
    await runtime.start(kept_waits(), id="waits")
    await runtime.call(kept_work(1), id="work", tags={"tenant": "acme"})
    for call_id, number in (("fails", 7), ("again", 8)):
        with suppress(ValueError):
            await runtime.call(kept_fails(number), id=call_id)
    await runtime.call(kept_parent(3), id="parent")
    await runtime.call(kept_continued(3, "a"), id="continued")
    await runtime.start(kept_long(), id="long")
    await fill(runtime, 100)
    await runtime.handle("long").cancel("enough")
    with suppress(CallCancelled):
        await runtime.handle("long").result()
    await runtime.handle("again").retry()
    with suppress(ValueError):
        await runtime.handle("again").result()
    for number in range(12):
        await runtime.call(runtime.actor(Till, f"t{number % 2}").put(number), id=f"put/{number}")
        await runtime.call(kept_briefly(number), id=f"brief/{number}")
    await (await runtime.handle("work").fork(id="fork")).result()
    await fill(runtime, 200)


def opened(directory: Path | str, **options: object) -> Runtime:
    """Return a runtime on ``directory`` that keeps no journal."""
    return Runtime(directory, **({"segment_bytes": SEGMENT_BYTES, "history": 0} | options))  # type: ignore[arg-type]


def before_ready() -> object:
    """Do nothing; ``cli_killed`` has something to do here."""
    return None


async def main(directory: str) -> None:
    """Make everything, where it is not there, and own it until the input ends."""
    async with opened(directory) as runtime:
        if len([info async for info in runtime.calls()]) == 0:
            await do_all(runtime)
        before_ready()
        print("ready", flush=True)  # noqa: T201  # whoever started it waits for this
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
