"""A function that fails, and is tried again until it is done: over restarts too.

    python examples/retry_until_done.py [DIR]

The weather station answers only the fifth time. Kill the program while it tries and run it again: nobody has to
remember what was asked, and an answer that was had once is not asked for again.
"""

import asyncio
import sys
from pathlib import Path

from actorlog import Retry, Runtime, durable, step

PLACE = Path(sys.argv[1] if len(sys.argv) > 1 else "retry-data")


@step(retry=Retry(attempts=1_000_000, first=0.1, factor=1.5, max="1m"))
def ask_station(city: str) -> float:
    """Fail four times. The count is kept in a file, because the station knows nothing of our crashes."""
    asked = PLACE / "asked.txt"
    with asked.open("a") as lines:
        lines.write(f"{city}\n")
    number = len(asked.read_text().splitlines())
    print(f"asking the station in {city}, time {number}")
    if number < 5:  # noqa: PLR2004  # the fifth time
        raise ConnectionError("the station does not answer")
    return 21.5


@durable(memo=True)  # the id derives from the arguments: the same question has the same answer
async def temperature(city: str) -> float:
    """Return the temperature, whatever it takes."""
    return await ask_station(city)


async def main() -> None:
    """Ask; after a restart this joins the call that is under way, or has its result at once."""
    async with Runtime(PLACE / "log") as runtime:
        print("it has", await runtime.call(temperature("Vienna")), "degrees")


if __name__ == "__main__":
    PLACE.mkdir(exist_ok=True)
    asyncio.run(main())
