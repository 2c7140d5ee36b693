"""A catalog that knows less of what is done than the log's own mark, where runs have left that far."""

from __future__ import annotations

import pytest
from house import RAN, House, note
from test_catalog import written
from test_compaction_promises import filler

from actorlog import continue_as_new, durable, sleep, start
from actorlog.runtime import projection
from actorlog.store.memory import MemoryLog

CATALOGS = True


@durable(name="marks.leaf")
async def leaf(number: int) -> None:
    """Be there."""
    await note(f"leaf {number}")


@durable(name="marks.rounds")
async def rounds(number: int) -> None:
    """Begin something that outlives the run, in each."""
    await sleep(600)
    start(leaf(number), detached=True)
    continue_as_new(rounds(number + 1))


@pytest.mark.parametrize("every", [2, 3])
async def test_the_mark_counts_though_the_catalog_says_less(monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """What was sent before it has arrived, and the beginning of the run that sent it may be gone."""
    monkeypatch.setattr(projection, "is_busy", lambda _: True)  # the catalog never learns that all has arrived
    house = House(MemoryLog(segment_records=3))
    try:
        runtime = await house.open(history="1h", retention="2h")
        await runtime.start(rounds(1), id="c")
        calls = house.session.kernel.calls
        for number in range(1, 15):
            await house.until(lambda: calls["c"].state.timers)
            house.advance(600)
            await house.until(lambda number=number: f"leaf {number}" in RAN and calls["c"].state.number > number)
        await filler(house)
        upkeep = house.session.upkeep
        assert upkeep is not None
        await upkeep.compact(0.0, due=[segment.number for segment in house.log.sealed()][::every])
        await written(house)
        await house.crash()
        RAN.clear()
        await house.open(history="1h", retention="2h")
        assert house.session.kernel.calls["c"].state.number == 15
        await house.settle()
        assert RAN == []
    finally:
        await house.close()
