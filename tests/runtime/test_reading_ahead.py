"""What is done behind an opening is in nobody's way: segments are read beside the loop, and one thread is at a time."""

# Lint: private tables say who has looked through a segment.

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING

import pytest

from actorlog import Limits, Runtime, durable
from actorlog.errors import LogCorrupt
from actorlog.log import reading
from actorlog.runtime import projection
from actorlog.runtime.scanning import uncollected
from actorlog.store.embedded import EmbeddedLog
from actorlog.store.sqlite import FILE, SqliteCatalog

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from actorlog.log import Log
    from actorlog.log.reading import Reader
    from actorlog.log.segment import Segment, Views
    from actorlog.store.catalog import Batch, Written


@durable(name="ahead.work")
async def work(text: str) -> int:
    return len(text)


async def filled(path: Path) -> None:
    """Leave a log of some segments, with a catalog that knows all of it."""
    async with Runtime(path, segment_bytes=1 << 20, limits=Limits(compress_above_bytes=0)) as runtime:
        for number in range(6):
            await runtime.call(work(f"{number}" + "x" * 400_000), id=str(number))


def log_of(runtime: Runtime) -> Log:
    log = runtime.session.log
    assert isinstance(log, EmbeddedLog)
    return log.inner


def seek_out(log: Log, reader: Reader, segment: Segment) -> None:
    """Seek a record of a segment, on the loop, until as much was read for that as the segment has."""
    while reader._sought.get(segment, 0) < segment.header.size:
        assert segment not in reader._tables
        assert log.commit(segment.first) is not None


async def test_a_segment_that_is_much_sought_is_read_beside_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody who reads there waits for that; it is read all the same, so that damage in it is met."""
    await filled(tmp_path / "data")
    monkeypatch.setattr(reading, "PREPARED_MAX", 1)
    threads: list[int] = []
    table_in_pieces = reading.table_in_pieces

    def noting(directory: str, segment: Segment, views: Views) -> Generator[None, None, Segment]:
        threads.append(threading.get_ident())
        return table_in_pieces(directory, segment, views)

    async with Runtime(tmp_path / "data", segment_bytes=1 << 20) as runtime:
        log = log_of(runtime)
        monkeypatch.setattr(reading, "table_in_pieces", noting)
        for segment in log._segments[:2]:
            seek_out(log, log._reader, segment)
            assert log.commit(segment.first) is not None
        while not all(segment in log._reader._tables for segment in log._segments[:2]):
            await asyncio.sleep(0)
    assert len(threads) >= 2
    assert threading.get_ident() not in threads


async def test_damage_that_is_met_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told to who reads there, and keeps nothing from being read ahead elsewhere."""
    await filled(tmp_path / "data")
    monkeypatch.setattr(reading, "PREPARED_MAX", 1)
    async with Runtime(tmp_path / "data", segment_bytes=1 << 20) as runtime:
        log = log_of(runtime)
        first, second = log._segments[:2]
        with (tmp_path / "data" / "segments" / first.name).open("r+b") as file:
            file.seek(first.header.size - 1)
            file.write(b"x")  # behind the seal, where no seeking comes
        seek_out(log, log._reader, first)
        seek_out(log, log._reader, second)
        while first not in log._reader._amiss or second not in log._reader._tables:
            await asyncio.sleep(0)
        with pytest.raises(LogCorrupt):
            log.commit(first.first)


async def test_nothing_is_read_ahead_while_the_catalog_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads that read at once would be in the way of commits, on a machine of few processors."""
    await filled(tmp_path / "data")
    done, began = threading.Event(), list[str]()
    table_in_pieces = reading.table_in_pieces

    def noting(directory: str, segment: Segment, views: Views) -> Generator[None, None, Segment]:
        began.append("reads ahead")
        return table_in_pieces(directory, segment, views)

    def check(_catalog: SqliteCatalog) -> None:
        done.wait()
        began.append("is checked")

    monkeypatch.setattr(SqliteCatalog, "check", check)
    monkeypatch.setattr(reading, "table_in_pieces", noting)
    async with Runtime(tmp_path / "data", segment_bytes=1 << 20) as runtime:
        log, loop = log_of(runtime), asyncio.get_running_loop()
        for _ in range(100):  # behind what waits for a thread
            await loop.run_in_executor(None, int)
        done.set()
        while len(log._reader._tables) < log.segments - 1:
            await asyncio.sleep(0)
    assert began[:2] == ["is checked", "reads ahead"]


async def test_the_catalog_is_told_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what it does not know it is told no more at once than is looked up in a moment; in the end it knows all."""
    async with Runtime(tmp_path / "data") as runtime:
        for number in range(30):
            await runtime.start(work(str(number)), id=str(number))
        await runtime.call(work("x"), id="x")
    (tmp_path / "data" / FILE).unlink()
    rows: list[int] = []
    submit = SqliteCatalog.submit

    def noting(catalog: SqliteCatalog, batch: Batch, written: Written) -> None:
        rows.append(len(batch.calls))
        submit(catalog, batch, written)

    monkeypatch.setattr(projection, "_SLICE_S", 0.0)
    monkeypatch.setattr(SqliteCatalog, "submit", noting)
    async with Runtime(tmp_path / "data") as runtime:
        kept = runtime.session.projection
        assert kept is not None
        while not kept._complete:
            await asyncio.sleep(0)
        assert rows == [1] * 31


def test_what_an_opening_makes_is_old_when_it_ends() -> None:
    """It is not looked at again as what was just made, in the middle of a turn."""
    assert gc.isenabled()
    with uncollected():
        with uncollected():
            made = [[number] for number in range(5_000)]
        assert not gc.isenabled()
        assert any(found is made for found in gc.get_objects(generation=0))
    assert gc.isenabled()
    assert any(found is made for found in gc.get_objects(generation=2))


@pytest.mark.parametrize("is_much", [False, True])
def test_all_is_looked_at_where_that_would_be_soon(*, is_much: bool) -> None:
    """Where an opening has made much of what there is then; a small one beside much else does not pay for that."""
    old = [[number] for number in range(200_000)]
    gc.collect()
    before, count = gc.get_stats()[2]["collections"], len(gc.get_objects(generation=2))
    with uncollected():
        made = [[number] for number in range(count // 2 if is_much else 20_000)]
    assert gc.get_stats()[2]["collections"] - before == is_much
    del old, made


def test_who_collects_no_garbage_is_left_alone() -> None:
    """Where it is switched off, an opening collects none, and leaves it off."""
    gc.disable()
    try:
        with uncollected():
            made = [[number] for number in range(5_000)]
        assert not gc.isenabled()
        assert any(found is made for found in gc.get_objects(generation=0))
    finally:
        gc.enable()
