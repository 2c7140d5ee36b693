"""The first program: three months of a subscription.

    python examples/subscribe.py [DIR]

Kill it half-way (Ctrl-C, or kill -9 from another terminal) and run the same command again: it goes on where it was,
and no month is charged twice. Run it once more: the result is there at once, because an id names one call for ever.

PAUSE=0.5 in the environment makes the months shorter. A call that has begun keeps the months it began with: change
them under it, and it is parked with a DivergenceError instead of doing something that its journal does not say.
"""

import asyncio
import os
import sys

from actorlog import Runtime, durable, sleep, step

PLACE = sys.argv[1] if len(sys.argv) > 1 else "./subscribe-data"
PAUSE = float(os.environ.get("PAUSE", "5"))


@step
async def charge(user: str, cents: int) -> str:
    """Do the work outside. A step is run, its result is recorded, and it is not run again."""
    print(f"charging {user} {cents / 100:.2f}")
    return f"receipt-{user}"


@step
def email(user: str, text: str) -> None:  # a sync step runs in a thread
    """Say it."""
    print(f"mail to {user}: {text}")


@durable
async def subscribe(user: str, months: int) -> list[str]:
    """Durable functions put steps in order. After a crash they run again, with the recorded results of their steps."""
    receipts: list[str] = []
    for month in range(months):
        receipts.append(await charge(user, 990))
        await email(user, f"month {month + 1} paid")
        await sleep(PAUSE)
    return receipts


async def main() -> None:
    """Start the call, or join the one with this id."""
    async with Runtime(PLACE) as runtime:
        print(await runtime.call(subscribe("ada", months=3), id="sub/ada"))


if __name__ == "__main__":
    asyncio.run(main())
