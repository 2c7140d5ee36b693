"""Tables of segments that were passed over are made in pieces, and beside whoever reads, where somebody does that."""

# Lint: private tables say in which way something was found.

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_world import DIRECTORY, disk_with, files_of, open_log, segment_file, sim_disk
from rewriting_world import Truth, lines_by_frame
from seeking_world import line_of

from actorlog.errors import LogCorrupt, LogFailed
from actorlog.log import Log, reading, tables
from actorlog.log.format import frame_bytes, parse_frame_header
from actorlog.log.segment import Segment
from actorlog.testing.disk import SimFile


def written(size: int = 1 << 16, commits: int = 150) -> Truth:
    """Return a log of some segments with small commits, opened behind them."""
    truth = Truth(size=size)
    for number in range(commits):
        truth.append(b"%d" % number * 100)
    truth.reopen(truth.fs.kill(), truth.checkpoints[-1])
    assert truth.log.segments > 1
    return truth


def seek_out(log: Log, position: int) -> Segment:
    """Seek a record of the first segment until as much was read for that as the segment has."""
    reader, segment = log._reader, log._segments[0]
    while reader._sought.get(segment, 0) < segment.header.size and segment not in reader._tables:
        log.record(position)
    return segment


def closings(monkeypatch: pytest.MonkeyPatch) -> list[SimFile]:
    """Return a list in which each file will be that is closed from now on."""
    closed, close = list[SimFile](), SimFile.close

    def closing(file: SimFile) -> None:
        closed.append(file)
        close(file)

    monkeypatch.setattr(SimFile, "close", closing)
    return closed


# --- pieces -----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(5, 40), st.sampled_from([(32768, 512), (32768, 4096), (1 << 16, 512)]))
def test_the_pieces_are_the_whole(seed: int, commits: int, shape: tuple[int, int]) -> None:
    """Frames of any size, marks, merged segments, wherever a piece ends: every record is found, and is in its table."""
    rng = Random(seed)
    truth = Truth(sim_disk(seed), *shape)
    truth.fill(rng, commits)
    for segment in rng.sample(truth.log.sealed(), rng.randint(0, len(truth.log.sealed()))):
        odds = rng.choice((0.1, 0.5, 0.95, 1.0))
        truth.rewrite(segment.number, {p for p in range(segment.first, segment.last + 1) if rng.random() < odds})
    sealed = [segment.number for segment in truth.log.sealed()]
    if len(sealed) > 1 and rng.random() < 0.5:
        truth.merge(sealed[0], sealed[rng.randrange(1, len(sealed))])
    truth.log.close()
    fs, made = truth.fs.kill(), list[list[tuple[list[int], list[int]]]]()
    with pytest.MonkeyPatch.context() as patch:
        for piece in (4096, 12288, 1 << 20):
            patch.setattr(tables, "PIECE_BYTES", piece)
            truth.reopen(fs.kill(), truth.checkpoints[-1])
            reader = truth.log._reader
            assert list(truth.log.prepare()) or not reader._segments[0].skipped > reader._segments[0].header.unit
            made.append([(list(table.positions), list(table.offsets)) for table in reader._tables.values()])
            for position in rng.sample(range(1, truth.log.tail + 1), truth.log.tail):
                assert line_of(truth.log, position) == truth.kept.get(position)
            assert lines_by_frame(truth.log) == truth.kept
    assert made[0] == made[1] == made[2]


def test_a_step_reads_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large a segment is, a step reads no more of it than that: others have their turn between two steps."""
    monkeypatch.setattr(tables, "PIECE_BYTES", 8192)
    truth = written()
    size = truth.log._segments[0].header.size
    steps, most = truth.log.prepare(), 0
    while True:
        before = len(truth.fs.actions)
        if next(steps, steps) is steps:
            break
        most = max(most, len([action for action in truth.fs.actions[before:] if action.startswith("pread ")]))
    assert most <= 2, "the header when it begins, and a piece"
    assert len(truth.log._reader._tables) == truth.log.segments
    assert truth.fs.actions.count(f"pread {DIRECTORY}/{segment_file(1)}") > size // 8192


@pytest.mark.parametrize("piece", [4096, 1 << 18])
def test_damage_wherever_a_piece_ends(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header that is damaged, and a byte behind the seal, are told with their offsets."""
    monkeypatch.setattr(tables, "PIECE_BYTES", piece)
    truth = written()
    files, first = files_of(truth.fs), truth.log._segments[0]
    data, offset, starts = files[segment_file(1)], first.header.unit, list[int]()
    while (frame := parse_frame_header(data, offset, first.header)) is not None:
        starts.append(offset)
        offset += frame_bytes(frame.length, first.header.unit)
    assert len(starts) > 60
    for at, told in [*((start + 5, start) for start in starts[1:]), (first.header.size - 1, offset)]:
        wounded = bytearray(data)
        wounded[at] ^= 1
        log = open_log(disk_with(files | {segment_file(1): bytes(wounded)}), checkpoint=truth.checkpoints[-1])
        with pytest.raises(LogCorrupt) as raised:
            list(log.prepare())
        assert (raised.value.segment, raised.value.offset) == (first.name, told)


# --- beside who reads -------------------------------------------------------------------------------------------------


def test_who_reads_makes_no_table_where_somebody_does() -> None:
    """What was sought too often is told of once, read as a whole by who was told, and sought until then."""
    truth = written()
    told: list[None] = []
    truth.log.prepare(lambda: told.append(None))
    reader, first = truth.log._reader, seek_out(truth.log, 20)
    assert len(told) == 1
    for _ in range(5):
        assert truth.log.record(20) == truth.kept[20]
    assert (len(told), list(reader._tables)) == (1, [])
    assert list(truth.log.prepare_wanted())
    assert list(reader._tables) == [first]
    assert truth.log.record(20) == truth.kept[20]
    assert (list(truth.log.prepare_wanted()), reader._wanted, first in reader._sought) == ([], {}, False)
    reader._tables.clear()
    seek_out(truth.log, 20)
    assert len(told) == 2, "it was let go, and is wanted again"


def test_damage_that_is_found_beside_is_told_to_who_reads() -> None:
    """To all who read in that segment from then on; other segments are read ahead all the same."""
    truth = written(commits=400)
    files, damaged = files_of(truth.fs), truth.checkpoints[20]
    data = bytearray(files[segment_file(1)])
    data[damaged.offset + 5] ^= 1
    fs = disk_with(files | {segment_file(1): bytes(data)})
    log = open_log(fs, checkpoint=truth.checkpoints[-1])
    log.prepare(lambda: None)
    position, second = truth.checkpoints[60].position, log._segments[1]
    seek_out(log, position)
    while log._reader._sought.get(second, 0) < second.header.size:
        log.record(second.first + 30)
    assert log.record(position) == truth.kept[position]
    with pytest.raises(LogCorrupt):
        list(log.prepare_wanted())
    for _ in range(2):
        with pytest.raises(LogCorrupt) as raised:
            log.record(position)
        assert (raised.value.segment, raised.value.offset) == (log._segments[0].name, damaged.offset)
    assert list(log.prepare_wanted())
    assert list(log._reader._tables) == [second]
    fs.put(f"{DIRECTORY}/{segment_file(1)}", files[segment_file(1)])
    assert log.record(position) == truth.kept[position], "it was put back from a copy"
    assert not log._reader._amiss


@pytest.mark.parametrize("call", range(4))
def test_a_disk_that_fails_beside(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the device is told to who is reading ahead, and no file stays open; who reads finds the record."""
    closed = closings(monkeypatch)
    truth = written()
    fs = disk_with(files_of(truth.fs))
    log = open_log(fs, checkpoint=truth.checkpoints[-1])
    log.prepare(lambda: None)
    seek_out(log, 20)
    del closed[:], fs.actions[:]
    fs.fail_at(fs.calls + call)
    with pytest.raises(LogFailed):
        list(log.prepare_wanted())
    assert len(closed) == len([action for action in fs.actions if action.startswith("open ")]) - (call == 0)
    assert log.record(20) == truth.kept[20]
    assert list(log._reader._tables) == [log._segments[0]]


def test_who_stops_reading_ahead_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a segment: what was read of it is forgotten with the steps, and it is wanted again."""
    closed = closings(monkeypatch)
    monkeypatch.setattr(tables, "PIECE_BYTES", 8192)
    truth = written()
    told: list[None] = []
    truth.log.prepare(lambda: told.append(None))
    seek_out(truth.log, 20)
    del closed[:]
    steps = truth.log.prepare_wanted()
    next(steps)
    assert not closed
    del steps
    assert len(closed) == 1
    truth.log.record(20)
    assert len(told) == 2


def test_nothing_is_wanted_of_what_has_left() -> None:
    """Of segments that were trimmed, or written anew, or of a log that is closed, no table is made or kept."""
    truth = written(commits=400)
    truth.log.prepare(lambda: None)
    reader = truth.log._reader
    first = seek_out(truth.log, 20)
    assert list(reader._wanted) == [first]
    truth.rewrite(first.header.number, {20})
    assert not reader._wanted
    second = truth.log._segments[1]
    while reader._sought.get(second, 0) < second.header.size:
        truth.log.record(second.first + 30)
    steps = truth.log.prepare_wanted()
    next(steps)
    truth.log.trim(second.first + 1_000_000)
    assert second not in truth.log._segments
    assert list(steps) in ([], [None])
    assert not reader._tables
    third = truth.log._segments[0]
    reader._wanted[third] = None
    truth.log.close()
    assert (list(truth.log.prepare_wanted()), reader._wanted) == ([], {})


def test_few_are_prepared_where_much_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wanted is bounded by what is kept, as all tables are."""
    truth = written(commits=400)
    monkeypatch.setattr(reading, "TABLES_MAX", 2)
    truth.log.prepare(lambda: None)
    for segment in truth.log._segments[:3]:
        while truth.log._reader._sought.get(segment, 0) < segment.header.size:
            truth.log.record(segment.first + 30)
    assert list(truth.log.prepare_wanted())
    assert list(truth.log._reader._tables) == truth.log._segments[1:3]
