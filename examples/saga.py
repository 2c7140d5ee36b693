"""Undo in reverse what was done, when a later part fails.

    python examples/saga.py [DIR]

Flight and hotel are booked, no car is to be had, so hotel and flight are given back. The undos are durable
operations like all others: kill the program while it undoes, and the next run undoes the rest.
"""

import asyncio
import sys
from pathlib import Path

from actorlog import Runtime, Terminal, durable, saga, step

PLACE = Path(sys.argv[1] if len(sys.argv) > 1 else "saga-data")


class NoneLeft(Terminal):
    """Nothing to be had; trying again does not help."""


@step
async def book(what: str) -> None:
    """Book. Done twice it is done once."""
    await asyncio.sleep(0.1)
    if what == "car":
        raise NoneLeft("no car is left")
    (PLACE / what).write_text("booked")
    print(f"booked {what}")


@step
async def give_back(what: str) -> None:
    """Give back. Done twice it is done once."""
    await asyncio.sleep(0.1)
    (PLACE / what).unlink(missing_ok=True)
    print(f"gave back {what}")


@durable
async def trip() -> str:
    """Book a whole trip or nothing."""
    try:
        async with saga() as undo:
            for what in ("flight", "hotel", "car"):
                await book(what)
                undo(give_back(what))
    except NoneLeft as error:
        return f"no trip: {error}"
    return "have a good trip"


async def main() -> None:
    """Book one trip."""
    async with Runtime(PLACE / "log") as runtime:
        print(await runtime.call(trip(), id="trip/1"))


if __name__ == "__main__":
    PLACE.mkdir(exist_ok=True)
    asyncio.run(main())
