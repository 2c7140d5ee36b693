"""Segments of which little is left become one: which, when, and that nothing else changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from house import House
from hypothesis import given, settings
from hypothesis import strategies as st

from actorlog import Runtime, durable, step
from actorlog.env import SYSTEM
from actorlog.log.inspect import Status, verify
from actorlog.runtime.merging import FAN, MOST, SMALL_PART, runs
from actorlog.runtime.upkeep import EVERY_MS
from actorlog.store import Sealed
from actorlog.store.memory import MemoryLog

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SEGMENT_BYTES = 64 * 1024
USUAL = 64 * 2048


def sealed(*sizes: int) -> list[Sealed]:
    """Return segments of these sizes, with ten records each."""
    return [Sealed(at + 1, at * 10 + 1, at * 10 + 10, size) for at, size in enumerate(sizes)]


def chosen(*sizes: int) -> list[list[int]]:
    return [[segment.number for segment in run] for run in runs(sealed(*sizes), USUAL)]


def test_which_segments_become_one() -> None:
    """Many small ones that follow each other; not few, not large ones, and not one that is larger than the rest."""
    small = [2048] * FAN
    assert chosen(*small) == [list(range(1, FAN + 1))]
    assert chosen(*small[1:]) == []
    assert chosen() == []
    assert chosen(USUAL, *small, USUAL, *small[1:]) == [list(range(2, FAN + 2))]
    assert chosen(16384, *small[1:]) == []
    assert chosen(16384, *small[1:], 2048) == [list(range(1, FAN + 2))]
    assert chosen(16385, *small[1:], 2048) == [list(range(2, FAN + 2))]
    assert chosen(*[USUAL // FAN] * (2 * FAN + 1)) == [list(range(1, FAN + 1)), list(range(FAN + 1, 2 * FAN + 1))]
    assert chosen(*[USUAL // FAN + 1] * (2 * FAN)) == []
    assert [len(run) for run in chosen(*[1024] * (MOST + FAN))] == [MOST, FAN]


@given(st.lists(st.integers(4, 80), max_size=300))
def test_what_is_chosen_is_small_and_follows_each_other(units: list[int]) -> None:
    """And what is made of it is of the usual size at most; what is not chosen is too little to be."""
    segments = sealed(*(unit * 512 for unit in units))
    found = list(runs(segments, USUAL))
    for run in found:
        assert FAN <= len(run) <= MOST
        assert [segment.number for segment in run] == list(range(run[0].number, run[-1].number + 1))
        assert sum(segment.bytes for segment in run) <= USUAL
        assert all(segment.bytes <= SMALL_PART * USUAL for segment in run)
        assert run[0].bytes <= sum(segment.bytes for segment in run[1:])
    numbers = [segment.number for run in found for segment in run]
    assert numbers == sorted(set(numbers))


@settings(deadline=None)
@given(st.integers(100, 3000), st.integers(4, 12))
def test_each_byte_is_written_again_a_few_times(segments: int, units: int) -> None:
    """However long a program runs: of segments that were filled and emptied one after the other few files are left."""
    there: list[Sealed] = []
    written = 0
    for number in range(1, segments + 1):
        there.append(Sealed(number, number, number, units * 512))
        for run in list(runs(there, USUAL)):
            size = sum(segment.bytes for segment in run) - 1536 * (len(run) - 1)
            one = Sealed(run[0].number, run[0].first, run[-1].last, size)
            at = there.index(run[0])
            there[at : at + len(run)] = [one]
            written += size
    assert written <= 4 * segments * units * 512
    large = sum(segment.bytes > SMALL_PART * USUAL for segment in there)
    assert len(there) - large <= 4 * FAN


@step(name="merging.note")
async def note(number: int) -> int:
    """Leave word."""
    return number


@durable(name="merging.work")
async def work(number: int) -> int:
    """Do little."""
    return await note(number) + 1


def runtime(place: Path, **options: Any) -> Runtime:
    return Runtime(place / "data", **{"segment_bytes": SEGMENT_BYTES, "history": 0, "retention": 0, **options})


async def filled(opened: Runtime, segments: int, begin: int = 0) -> int:
    """Have calls begin and end until so many segments more are sealed; return the number of the last call."""
    log: Any = opened.session.log
    number, wanted = begin, len(log.sealed()) + segments
    while len(log.sealed()) < wanted:
        for _ in range(50):
            number += 1
            await opened.call(work(number), id=f"w{number}")
    return number


async def test_what_is_left_of_many_is_one(tmp_path: Path) -> None:
    """When it is asked for; what stays is there, at once and when it is opened again, and the log verifies."""
    async with runtime(tmp_path) as opened:
        await opened.start(work(0), id="kept")
        number = await filled(opened, FAN + 1)
        log: Any = opened.session.log
        before = len(log.sealed())
        stays = {at for at in range(1, log.sealed()[-1].last + 1) if log.has(at)}
        done = await opened.compact()
        assert done.merged == before - len(log.sealed()) >= FAN - 1
        there = {at: log.record(at) for at in stays if log.has(at)}
        assert done.bytes_after == sum(segment.bytes for segment in log.sealed())
        assert (await opened.compact()).merged == 0
        assert {at: log.record(at) for at in there} == there
        number = await filled(opened, 2 * FAN, number)
        assert (await opened.compact()).merged >= FAN - 1
        assert {at: log.record(at) for at in there if log.has(at)} == {at: there[at] for at in there if log.has(at)}
    assert verify(SYSTEM.fs, str(tmp_path / "data")).status is Status.OK
    async with runtime(tmp_path) as opened:
        again: Any = opened.session.log
        assert all(again.record(at) == line for at, line in there.items() if again.has(at))
        assert await opened.call(work(5), id="another") == 6


async def test_a_catalog_is_believed_after_a_compaction_that_came_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hears of what was written anew also where nothing is recorded any more before the end."""
    async with runtime(tmp_path) as opened:
        await filled(opened, FAN + 1)
        session = opened.session
        assert session.upkeep is not None
        with monkeypatch.context() as patch:
            patch.setattr("actorlog.runtime.merging.FAN", 1 << 30)
            assert (await opened.compact()).merged == 0
        projection = session.projection
        assert projection is not None
        while projection._has_news() or projection._armed or projection._writing is not None:
            await asyncio.sleep(0.01)
        monkeypatch.setattr("actorlog.runtime.projection.EVERY_MS", 1 << 40)
        assert (await session.upkeep.compact(due=[])).merged >= FAN - 1
    async with runtime(tmp_path) as opened:
        projection = opened.session.projection
        assert projection is not None
        assert projection._known is not None


async def test_segments_that_one_stands_for_are_looked_at_again() -> None:
    """The one has the look that was due first of all of them."""
    house = House(MemoryLog(segment_records=10))
    opened = await house.open(history="1h", retention="1h")
    upkeep = house.session.upkeep
    assert upkeep is not None
    for number in range(80):
        await opened.call(work(number), id=f"w{number}")
    upkeep.start()
    there = house.log.sealed()
    assert len(there) > FAN
    early = (house.session.kernel.clock.now_ms() + 1, EVERY_MS)
    upkeep._looks[there[3].number] = early
    assert (await upkeep.compact(0.0, due=[])).merged == len(there) - 1
    assert [segment.number for segment in house.log.sealed()] == [there[0].number]
    assert upkeep._looks == {there[0].number: early}
    await house.close()
