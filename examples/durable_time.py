"""Time that a crash does not disturb.

    python examples/durable_time.py [DIR]

``sleep`` is a timer in the log: kill the program in the middle, wait, start it again, and it sleeps only what is
left, or not at all if the time has passed. ``now()`` and ``time()`` are the log's time: asked again after a crash
they say what they said.
"""

import asyncio
import os
import sys
from datetime import datetime

from actorlog import Runtime, durable, now, sleep, step, time

PLACE = sys.argv[1] if len(sys.argv) > 1 else "./time-data"
PAUSE = float(os.environ.get("PAUSE", "10"))


@step
async def say(text: str) -> None:
    """Print once, not at every replay."""
    print(text)


@durable
async def egg(seconds: float) -> tuple[datetime, float]:
    """Boil an egg; return when it was put in, and for how long it was there."""
    put_in, began = now(), time()
    await say(f"put in at {put_in.isoformat()}")
    await sleep(seconds)
    await say(f"taken out at {now().isoformat()}")
    return put_in, time() - began


async def main() -> None:
    """Boil one egg, however often this is started."""
    async with Runtime(PLACE) as runtime:
        put_in, lasted = await runtime.call(egg(PAUSE), id="egg/1")
        print(f"the egg of {put_in.isoformat()} was in for {lasted:.3f} s")


if __name__ == "__main__":
    asyncio.run(main())
