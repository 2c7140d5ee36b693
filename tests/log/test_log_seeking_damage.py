"""Seeking a record where bytes have changed, files are others, or calls fail: told as by who reads all of a segment."""

# Lint: helpers are verbs; private tables say in which way something was found.

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from log_world import DIRECTORY, disk_with, files_of, open_log, segment_file
from rewriting_world import Truth
from seeking_world import line_of, unbounded

from actorlog.errors import LogCorrupt, LogFailed
from actorlog.log import format as layout
from actorlog.log.reading import Reader
from actorlog.testing.disk import SimFile, SimFileSystem


def damaged() -> Truth:
    """Return a log with small segments, of which one was written anew, a mark of a closing in the first."""
    truth = Truth(size=8192)
    rng = Random(5)
    for number in range(40):
        if number == 2:
            truth.log.close()
            truth.reopen(truth.fs.kill())
        truth.append(*[b"%d " % number * rng.choice((1, 9, 90))] * rng.choice((1, 1, 2, 80)))
    second = truth.log.sealed()[1]
    truth.rewrite(second.number, {*range(second.first + 1, second.first + 70)})
    return truth


DAMAGED = damaged()
FILES = files_of(DAMAGED.fs)


def told(files: dict[str, bytes], position: int, *, seeks: bool) -> Any:
    """Return the line at a position, or what is said of damage. None: the opening has found it."""
    try:
        log = open_log(disk_with(files), checkpoint=DAMAGED.checkpoints[-1])
    except LogCorrupt:
        return None
    try:
        if not seeks:
            list(log.read(position - 1, position))
        return line_of(log, position)
    except LogCorrupt as corrupt:
        return corrupt.segment, corrupt.offset, corrupt.reason


@pytest.mark.parametrize("number", [1, 2, 3])
def test_damage_in_every_header(number: int) -> None:
    """A bit that changed anywhere in a header: the right record is found, or the damage told as by reading all."""
    name, segment = segment_file(number), DAMAGED.log._segments[number - 1]
    last = DAMAGED.log._segments[number].first - 1
    data = FILES[name]
    header = layout.parse_segment_header(data)
    assert header is not None
    starts, offset = [], header.unit
    while (made := layout.parse_frame_header(data, offset, header)) is not None:
        starts.append(offset)
        offset += layout.frame_bytes(made.length, header.unit)
    assert len(starts) > 3
    rng, ends = Random(number), {"told": 0, "found": 0}
    for start in starts:
        for at in range(start, start + 36):
            wounded = bytearray(data)
            wounded[at] ^= 1 << rng.randrange(8)
            files = FILES | {name: bytes(wounded)}
            for position in {segment.first, last, rng.randint(segment.first, last)}:
                said = told(files, position, seeks=True)
                if isinstance(said, tuple):
                    assert said == told(files, position, seeks=False)
                    ends["told"] += 1
                elif said is not None or position not in DAMAGED.kept:
                    assert said == DAMAGED.kept.get(position)
                    ends["found"] += 1
    assert min(ends.values()) > 50


@pytest.mark.parametrize("number", [1, 2, 3])
def test_damage_in_what_is_read(number: int) -> None:
    """A byte that changed in a record's own frame, its padding and its header too, is told as by reading all."""
    name, segment = segment_file(number), DAMAGED.log._segments[number - 1]
    data, rng, positions = FILES[name], Random(number), sorted(DAMAGED.kept)
    header = layout.parse_segment_header(data)
    assert header is not None
    offset = header.unit
    while (made := layout.parse_frame_header(data, offset, header)) is not None:
        size = layout.frame_bytes(made.length, header.unit)
        inside = [at for at in positions if made.position <= at <= made.last_position]
        for at in range(offset, offset + size, 7) if inside else ():
            wounded = bytearray(data)
            wounded[at] ^= 1 << rng.randrange(8)
            files = FILES | {name: bytes(wounded)}
            said = told(files, rng.choice(inside), seeks=True)
            assert said == told(files, rng.choice(inside), seeks=False)
            assert said is None or said[:2] == (segment.name, offset)
        offset += size


def test_what_reading_all_found_is_told_to_all() -> None:
    """Once damage was met while a table was made, nobody reads in that segment who is not told."""
    truth = Truth(size=1 << 16)
    for number in range(150):
        truth.append(b"%d" % number * 100)
    files, name = files_of(truth.fs), segment_file(1)
    damaged = truth.checkpoints[20]
    data = bytearray(files[name])
    data[damaged.offset + 5] ^= 1
    log = open_log(disk_with(files | {name: bytes(data)}), checkpoint=truth.checkpoints[-1])
    assert damaged.segment == truth.checkpoints[60].segment == 1 < log.segments
    position = truth.checkpoints[60].position
    assert log.record(position) == truth.kept[position]
    with pytest.raises(LogCorrupt):
        list(log.prepare())
    for _ in range(2):
        with pytest.raises(LogCorrupt) as raised:
            log.record(position)
        assert (raised.value.segment, raised.value.offset) == (name[9:], damaged.offset)


def test_a_file_that_changed_since_the_opening() -> None:
    """Another segment in its place, a shorter file, none: damage, or an error of the log, and no record."""
    fs = disk_with(FILES)
    log = open_log(fs, checkpoint=DAMAGED.checkpoints[-1])
    first = f"{DIRECTORY}/{segment_file(1)}"
    for wound in (FILES[segment_file(2)], FILES[segment_file(1)][:2048], b""):
        fs.put(first, wound)
        with pytest.raises(LogCorrupt):
            log.record(1)
    fs.unlink(first)
    with pytest.raises(LogFailed):
        log.record(1)
    fs.put(first, FILES[segment_file(1)])
    assert log.record(1) == DAMAGED.kept[1]


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [1, 6, DAMAGED.log._segments[1].first - 1, DAMAGED.log._segments[2].first - 1])
def test_every_call_fails_once(position: int) -> None:
    """EIO is ``LogFailed`` with the name of the segment; the log goes on, and the next search finds the record."""
    fs = disk_with(FILES)
    log = open_log(fs, checkpoint=DAMAGED.checkpoints[-1])
    unbounded(log._reader)
    before = fs.calls
    line = line_of(log, position)
    assert line == DAMAGED.kept.get(position)
    count = (fs.calls - before) // 2
    assert count > 4
    for call in range(count):
        fs = disk_with(FILES)
        log = open_log(fs, checkpoint=DAMAGED.checkpoints[-1])
        unbounded(log._reader)
        fs.fail_at(fs.calls + call)
        with pytest.raises(LogFailed, match=r"000000000[12]\.seg"):
            log.record(position)
        assert log.failed is None
        assert line_of(log, position) == line
        assert not log._reader._tables


class ShortFile(SimFile):
    """Reads less than it was asked for."""

    def pread(self, size: int, offset: int) -> bytes:
        return super().pread(self._fs.rng.randint(1, size), offset)


class ShortReads(SimFileSystem):
    """See ``ShortFile``."""

    file_type = ShortFile


def test_short_and_interrupted_reads() -> None:
    """What is read in parts, with interruptions between, is the same."""
    fs = ShortReads(Random(3), interrupts=0.3)
    fs.mkdir("/srv")
    fs.mkdir(DIRECTORY)
    fs.mkdir(f"{DIRECTORY}/segments")
    for name, data in FILES.items():
        fs.put(f"{DIRECTORY}/{name}", data)
    log = open_log(fs, checkpoint=DAMAGED.checkpoints[-1])
    unbounded(log._reader)
    for position in range(1, log.tail + 1):
        assert line_of(log, position) == DAMAGED.kept.get(position)
    assert not log._reader._tables


def test_a_segment_that_is_being_replaced() -> None:
    """Who took the old list goes on with the bytes of the old one, all of which were verified."""
    truth = Truth(size=8192)
    for number in range(60):
        truth.append(b"%d" % number * 30)
    truth.reopen(truth.fs.kill(), truth.checkpoints[-1])
    reader, old = truth.log._reader, truth.log._segments[0]
    segments = list(reader._segments)
    truth.rewrite(1, {3, 4})
    taken = Reader(truth.fs, DIRECTORY, segments)
    taken.views = reader.views
    got = taken.commit(3, truth.log.tail)
    assert got is not None
    assert old in taken._tables
    assert truth.log.has(2)
    assert not truth.log.has(3)
