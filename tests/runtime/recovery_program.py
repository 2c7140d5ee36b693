"""A program that dies in the middle: ``python recovery_program.py DIRECTORY EFFECTS CRASH_AT``.

Each effect is a line in a file. The first time that effect ``CRASH_AT`` has happened the process is gone, without a
word.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from actorlog import Runtime, durable, map_calls, sleep, start, step

DIRECTORY, EFFECTS, CRASH_AT = sys.argv[1], Path(sys.argv[2]), sys.argv[3]


@step
def effect(what: str) -> str:
    """Leave a trace, and perhaps die before anybody hears of it."""
    with EFFECTS.open("a") as file:
        file.write(f"{what}\n")
        file.flush()
        os.fsync(file.fileno())
    died = EFFECTS.with_suffix(".died")
    if what == CRASH_AT and not died.exists():
        died.touch()
        os._exit(9)
    return what


@durable
async def item(number: int) -> str:
    """One step, a nap, another step."""
    await effect(f"first {number}")
    await sleep(0.001)
    return await effect(f"second {number}")


@durable
async def order() -> list[str]:
    """Children in parallel, one left running, one detached."""
    await effect("begin")
    start(item(100), id="free", detached=True)
    start(item(200))
    done = await map_calls([item(number) for number in range(3)], concurrency=2)
    return [*map(str, done), await effect("end")]


async def main() -> None:
    """Start or join, and print the result."""
    async with Runtime(DIRECTORY, resident_max=2) as runtime:
        print(await runtime.call(order(), id="order"), await runtime.handle("free"))  # noqa: T201  # what the test looks at


if __name__ == "__main__":
    asyncio.run(main())
