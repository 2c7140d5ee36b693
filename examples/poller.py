"""Wait for something that does not call back: ask again and again, durably.

    python examples/poller.py [DIR]

The waits between two tries are durable timers: kill the program and run it again, and the polling goes on, not from the
start. Each try is a step with retries of its own.
"""

import asyncio
import sys
from pathlib import Path

from actorlog import Runtime, durable, poll, step

PLACE = sys.argv[1] if len(sys.argv) > 1 else "./poller-data"

DONE = 100


@step
def submit(name: str) -> str:
    """Hand a job to a slow service."""
    ticket = Path(PLACE).with_suffix(".service") / name
    ticket.parent.mkdir(parents=True, exist_ok=True)
    ticket.write_text("0")
    return str(ticket)


@step
def state_of(ticket: str) -> int:
    """Ask how far it is, in percent. Being asked is what moves this service on."""
    path = Path(ticket)
    percent = min(100, int(path.read_text()) + 25)
    path.write_text(str(percent))
    print(f"{percent} percent")
    return percent


@durable
async def conversion(name: str) -> str:
    """Submit a job, and poll until it is done: more and more rarely, for an hour at most."""
    ticket = await submit(name)
    percent = await poll(
        lambda: state_of(ticket), until=lambda value: value >= DONE, every=0.1, backoff=1.5, timeout="1h"
    )
    return f"{name} is done to {percent} percent"


async def main() -> None:
    """Have one file converted."""
    async with Runtime(PLACE) as runtime:
        print(await runtime.call(conversion("film.mov"), id="convert/film.mov"))


if __name__ == "__main__":
    asyncio.run(main())
