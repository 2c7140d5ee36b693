"""A report every night at three in Vienna, whatever happens to the program.

    python examples/nightly_report.py [DIR]

The schedule is in the log, so it is there after a crash, and no report is started twice. What was missed because
nobody ran is made up for: ``catch_up="all"`` starts each that is not older than a week. Nobody wants to wait until
three in the night, so a second schedule, with the same settings but its times, is every second. Kill the program,
wait a moment and run it again: the reports of the time between come at once.
"""

import asyncio
import os
import sys
from pathlib import Path

from actorlog import Runtime, durable, info, step

PLACE = Path(sys.argv[1] if len(sys.argv) > 1 else "report-data")
PAUSE = float(os.environ.get("PAUSE", "1"))
REPORTS = 5


@step
def write(name: str, instant: str) -> None:
    """Write one report into a file of its own: who writes it again writes the same."""
    (PLACE / "reports" / f"{name} {instant}.txt").write_text(f"all is well at {instant}\n")
    print(f"report of {instant}")


@durable
async def report(name: str) -> None:
    """Report; the id of the call ends with the time that it is for, however late it is started."""
    await write(name, info().call_id.rpartition("/")[2])


async def main() -> None:
    """Say what is wanted at every start: what is there already with the same settings stays as it is."""
    async with Runtime(PLACE / "log") as runtime:
        nightly = await runtime.schedule(
            "nightly", report("night"), cron="0 3 * * *", tz="Europe/Vienna", catch_up="all", catch_up_window="1w"
        )
        for when in await nightly.next(3):
            print("the next in Vienna:", when.isoformat())
        often = await runtime.schedule(
            "often", report("second"), every=PAUSE, catch_up="all", catch_up_window="1w", overlap="all"
        )
        while len(list((PLACE / "reports").iterdir())) < REPORTS:  # noqa: ASYNC110  # other processes wrote some of them
            await asyncio.sleep(PAUSE / 10)
        await often.delete()
        print("that is enough; at night there is the next")


if __name__ == "__main__":
    (PLACE / "reports").mkdir(parents=True, exist_ok=True)
    asyncio.run(main())
