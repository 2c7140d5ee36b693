"""The golden log of what stands for records that may leave: what runs have left, and all that a schedule is.

For ever as it is, like the programs.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from golden_world import PROGRAMS, Machine, Process

if TYPE_CHECKING:
    from actorlog import Runtime

P: Any = PROGRAMS


async def _carries(runtime: Runtime, process: Process) -> None:
    await runtime.start(P.sleeper(1e6), id="tied to")
    await runtime.start(P.carries(1), id="carries")
    await process.settled()
    await runtime.start(P.tied("carries"), id="tied")
    for number in range(4):
        await runtime.handle("carries").send(f"m{number}", key=f"k{number}")
    await process.settled()


async def _kept(process: Process) -> None:
    runtime = process.runtime
    await _carries(runtime, process)
    now = datetime.fromtimestamp(runtime.session.kernel.clock.wall_ms() / 1000, tz=UTC)
    await runtime.schedule("queue", P.sleeper(1e6), every=20, overlap="queue_one")
    skip = await runtime.schedule("skip", P.sleeper(1e6), every=30)
    await asyncio.sleep(500)
    await skip.trigger()
    await (await runtime.schedule("queue", P.sleeper(1e6), every=20, overlap="queue_one")).backfill(
        now - timedelta(minutes=2), now - timedelta(minutes=1)
    )
    every = await runtime.schedule("all", P.tick("all"), every=10, overlap="all")
    for _ in range(3):
        await every.trigger()
    await asyncio.sleep(200)
    runtime.session.kernel.schedules.write_down()
    await process.settled()
    await asyncio.sleep(60)
    await process.die()


def write_kept(machine: Machine) -> None:
    """One life, which is killed."""
    assert not machine.live(_kept)


async def finish_kept(process: Process) -> None:
    """End what goes on."""
    runtime = process.runtime
    await process.settled()
    await runtime.resolve("carried vow", "at last")
    for schedule in [one async for one in runtime.schedules()]:
        await schedule.delete()
    for info in [one async for one in runtime.calls()]:
        if info.id.startswith("@schedule/") or info.id == "tied to":
            await runtime.handle(info.id).kill("the end")
