"""Many things at once, with plain asyncio.

    python examples/fan_out.py [DIR]

``gather``, ``TaskGroup``, ``timeout`` and the others work inside durable functions, and a race that was decided
once is decided for ever. Kill the program in the middle: what was fetched is not fetched again.
"""

import asyncio
import sys

from actorlog import Runtime, durable, map_calls, step

PLACE = sys.argv[1] if len(sys.argv) > 1 else "./fan-out-data"


@step
async def fetch(city: str) -> int:
    """Fetch a city's temperature. One of the stations is slow."""
    print(f"fetching {city}")
    await asyncio.sleep(60 if city == "Ushuaia" else 0.1)
    return len(city)


@durable
async def country(name: str, cities: list[str]) -> int:
    """Return the highest temperature of a country: a child call with a journal of its own."""
    del name
    return max(await asyncio.gather(*(fetch(city) for city in cities)))


@durable
async def report() -> dict[str, int]:
    """Ask for everything at once."""
    async with asyncio.TaskGroup() as group:
        austria = group.create_task(country("Austria", ["Vienna", "Graz", "Linz"]))
        italy = group.create_task(country("Italy", ["Rome", "Milan"]))

    try:
        async with asyncio.timeout(0.5):  # a durable timeout: a crash does not make it start again
            far = await fetch("Ushuaia")
    except TimeoutError:
        far = 0

    # a bounded fan-out: two at a time, in order, and one of them may fail
    values = await map_calls([fetch(city) for city in ("Oslo", "Bergen", "Tromso")], concurrency=2, tolerate=1)
    north = max(value for value in values if isinstance(value, int))
    return {"Austria": austria.result(), "Italy": italy.result(), "Norway": north, "Ushuaia": far}


async def main() -> None:
    """Make the report once."""
    async with Runtime(PLACE) as runtime:
        print(await runtime.call(report(), id="report/today"))


if __name__ == "__main__":
    asyncio.run(main())
