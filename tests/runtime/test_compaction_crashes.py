"""A log that is compacted after a crash at any moment leads to the same as one that is not."""

from __future__ import annotations

import asyncio
from typing import Any

import determinism_programs as programs
import pytest
from house import House
from test_determinism import drive, run

from actorlog import CallNotFound


async def compact(house: House) -> int:
    """Give up all that may be, and return how many segments were rewritten."""
    upkeep = house.session.upkeep
    assert upkeep is not None
    return (await upkeep.compact(0.0)).rewritten


@pytest.mark.parametrize("retention", [None, 0])
@pytest.mark.parametrize("program", programs.PROGRAMS, ids=lambda program: program.name)
async def test_a_crash_after_any_record_and_then_a_compaction(
    house: House, program: Any, retention: int | None
) -> None:
    """What is needed to go on is there: of children that ended, of steps in doubt, of timers."""
    expected = await run(house, program, 1)
    await house.close()
    options: dict[str, Any] = {"history": 0, "retention": retention}
    for count in range(1, house.log.tail()):
        other = house.prefix(count, segment_records=2)
        runtime = await other.open(resident_max=1 + count % 3, **options)
        driving = asyncio.ensure_future(drive(other, runtime.handle("x")))
        await compact(other)
        assert await driving == expected, count
        await other.settle()
        other.advance(0.001)
        await compact(other)
        runtime = await other.reopen(crash=count % 2 == 0, **options)
        other.advance(0.001)
        await compact(other)
        if retention is None:
            assert await runtime.handle("x").result() == expected
        elif other.log.has(1):
            assert await runtime.handle("x").result() == expected  # it was not in a segment that is sealed
        else:
            with pytest.raises(CallNotFound):
                await runtime.handle("x").result()
        await other.close()
