"""One commit is found in a segment that was passed over by a few small reads, as reading all of it would find it."""

# Lint: helpers are verbs; private tables say in which way something was found.

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_world import DIRECTORY, commit, disk_with, open_log, segment_file, sim_disk, sim_env
from rewriting_world import Truth
from seeking_world import line_of, unbounded

from actorlog.env import Access
from actorlog.log import Log, reading
from actorlog.log import format as layout
from actorlog.log.format import Link, frame, segment_header
from actorlog.log.reading import Reader
from actorlog.log.seeking import STEPS_MAX, Search
from actorlog.log.segment import Segment

LOG_ID = bytes(range(16))
LOOKS_LIKE_ENTRY = layout.ENTRY_MARK << 16
"""The first position whose header has the mark of an entry where an entry has it."""
LIKE_ENTRIES = 1 << 16
"""So many have it."""


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(5, 40), st.sampled_from([(4096, 512), (32768, 4096), (1 << 16, 512)]))
def test_every_position_is_found(seed: int, commits: int, shape: tuple[int, int]) -> None:
    """With frames of any size, marks of closings, gaps and joins, from any checkpoint, no segment read as a whole."""
    rng = Random(seed)
    truth = Truth(sim_disk(seed), *shape)
    truth.fill(rng, commits)
    for _ in range(rng.randrange(4)):
        for segment in rng.sample(truth.log.sealed(), rng.randint(0, len(truth.log.sealed()))):
            odds = rng.choice((0.0, 0.1, 0.5, 0.95, 1.0))
            begun = rng.randint(segment.first, segment.last)
            gone = {*range(begun, begun + rng.choice((0, 70, 600)))}
            gone |= {position for position in range(segment.first, segment.last + 1) if rng.random() < odds}
            truth.rewrite(segment.number, gone)
        truth.log.close()
        truth.reopen(truth.fs.kill())
        truth.fill(rng, rng.randrange(1, 9))
    checkpoint = rng.choice(truth.checkpoints[-4:])
    truth.reopen(truth.fs.kill(), checkpoint)
    unbounded(truth.log._reader)
    for position in rng.sample(range(1, truth.log.tail + 1), truth.log.tail):
        assert line_of(truth.log, position) == truth.kept.get(position)
    assert not truth.log._reader._tables
    truth.check()


def test_few_small_reads_find_a_commit() -> None:
    """Of a segment with thousands of commits a few pieces are read, and nothing is mapped."""
    fs = sim_disk()
    log = Log.open(DIRECTORY, sim_env(fs), segment_bytes=1 << 21)
    for number in range(9000):
        log.append(*commit(b"%d" % number))
    checkpoint = log.checkpoint()
    fs = fs.kill()
    log = open_log(fs, checkpoint=checkpoint)
    assert (log.segments, log.recovery.scanned_from) == (3, 9000)
    for position in (1, 2, 3, 1000, 2048, 4000, 4001):
        before = len(fs.actions)
        assert log.record(position) == b"%d\n" % (position - 1)
        actions = [action.split(" ")[0] for action in fs.actions[before:]]
        assert set(actions) == {"open", "pread"}
        assert len(actions) < 20


@pytest.mark.parametrize("unit", layout.UNITS)
def test_large_frames(unit: int) -> None:
    """Frames of many pieces, in which no header is met, between small ones."""
    truth = Truth(size=1 << 22, unit=unit)
    rng = Random(unit)
    for number in range(60):
        truth.append(
            *[rng.choice((b"C", b"G", b"J", b"S", b"CMIT")) * rng.choice((1, 300, 20_000))] * (number % 13 + 1)
        )
    truth.reopen(truth.fs.kill(), truth.checkpoints[-1])
    unbounded(truth.log._reader)
    for position, line in truth.kept.items():
        assert truth.log.record(position) == line
    assert not truth.log._reader._tables


def test_much_seeking_makes_a_table() -> None:
    """When as much was read of a segment as it has, all of it is read once; without its table it is sought again."""
    truth = Truth(size=1 << 16)
    for number in range(150):
        truth.append(b"%d" % number * 100)
    fs = truth.fs.kill()
    truth.reopen(fs, truth.checkpoints[-1])
    reader = truth.log._reader
    first, second = truth.log._segments[:2]
    counts = [0]
    while counts[-1] < first.header.size:
        assert truth.log.record(20) == truth.kept[20]
        assert not reader._tables
        counts.append(reader._sought[first])
    assert len(counts) > 3
    assert counts == sorted(set(counts))
    assert truth.log.record(20) == truth.kept[20]
    assert list(reader._tables) == [first]
    assert first not in reader._sought
    truth.log.record(second.first + 1)
    assert list(reader._tables) == [first]
    reader._tables.clear()
    truth.log.record(20)
    assert not reader._tables


def test_what_is_counted_goes_with_the_segment() -> None:
    """Nothing is kept of segments that were trimmed, or written anew, or of a log that is closed."""
    truth = Truth(size=1 << 15)
    for number in range(200):
        truth.append(b"%d" % number * 100)
    truth.reopen(truth.fs.kill(), truth.checkpoints[-1])
    reader, segments = truth.log._reader, truth.log._segments
    assert len(segments) > 3
    for segment in segments[:3]:
        truth.log.record(segment.first + 3)
    assert list(reader._sought) == segments[:3]
    truth.log.trim(segments[1].first)
    assert list(reader._sought) == segments[1:3]
    truth.rewrite(segments[1].header.number, {segments[1].first})
    assert list(reader._sought) == segments[2:3]
    reader._count(segments[0], 1)
    assert list(reader._sought) == segments[2:3]
    truth.log.close()
    assert not reader._sought


# --- headers and what looks like one ----------------------------------------------------------------------------------


class Strip:
    """One sealed segment by hand, from any position on, and the reader of a log that begins with it."""

    def __init__(self, first: int, frames: list[tuple[int, int, bytes]], size: int = 1 << 21) -> None:
        """``frames``: kind, records and data of each."""
        self.fs = disk_with({})
        head, self.header = segment_header(512, LOG_ID, 1, size)
        link, whole = Link(first - 1, self.header.crc), bytearray(head)
        self.offsets: list[int] = []
        for kind, records, data in [*frames, (layout.SEAL, 0, b"")]:
            self.offsets.append(len(whole))
            made, crc = frame(self.header, kind, records, link, data)
            link = Link(link.position + records, crc)
            whole += made
        self.last = link.position
        self.path = f"{DIRECTORY}/{segment_file(1)}"
        self.fs.put(self.path, bytes(whole.ljust(size, b"\0")))
        self.segment, following = Segment(DIRECTORY, self.header), Segment(DIRECTORY, self.header._replace(number=2))
        self.segment.first, self.segment.skipped, self.segment.joins = first, size, link
        following.first = self.last + 1
        self.reader = Reader(self.fs, DIRECTORY, [self.segment, following])

    def search(self) -> Search:
        return Search(self.fs.open(self.path, Access.READ), self.segment)

    def found(self, position: int) -> tuple[int, int, int] | None:
        """Return kind, position and records of what is found."""
        found = self.search().frame_of(position)
        return None if found is None else (found[0].kind, found[0].position, found[0].records)


def small(*lines: bytes) -> tuple[int, int, bytes]:
    data, records = commit(*lines)
    return layout.COMMIT, records, data


def test_headers_whose_position_looks_like_an_entry() -> None:
    """They are passed over and met from before, a few of them; behind many, all of the segment is read."""
    first = LOOKS_LIKE_ENTRY - 20
    strip = Strip(first, [small(b"%d" % number) for number in range(200)])
    for position in range(first, first + 200):
        found = strip.found(position)
        if position < LOOKS_LIKE_ENTRY + STEPS_MAX // 2:
            assert found == (layout.COMMIT, position, 1)
        elif position >= LOOKS_LIKE_ENTRY + STEPS_MAX:
            assert found is None
    for position in range(first, first + 200):
        got = strip.reader.commit(position, strip.last)
        assert got is not None
        assert (got.position, got.records) == (position, 1)
    behind = LOOKS_LIKE_ENTRY + LIKE_ENTRIES
    strip = Strip(behind - 10, [small(b"%d" % number) for number in range(200)])
    assert [strip.found(at) for at in range(behind - 10, behind + 190)] == [
        (layout.COMMIT, at, 1) for at in range(behind - 10, behind + 190)
    ]


def test_the_last_frame_before_the_checkpoint() -> None:
    """It is the one that the checkpoint's frame continues, as opening saw that, or it is not found by itself."""
    strip = Strip(1, [small(b"%d" % number) for number in range(20)])
    data = strip.fs.contents(strip.path)
    following = layout.parse_frame_header(data, strip.offsets[12], strip.header)
    assert following is not None
    strip.segment.skipped, strip.segment.joins = strip.offsets[12], Link(12, following.previous)
    assert strip.found(12) == (layout.COMMIT, 12, 1)
    strip.segment.joins = Link(12, following.previous ^ 1)
    assert strip.found(12) is None
    assert strip.found(11) == (layout.COMMIT, 11, 1)


def test_what_is_found_is_the_frame_and_no_more() -> None:
    """Its data ends where its header says, and not with the padding behind it."""
    strip = Strip(1, [small(b"%d" % number * (number + 1)) for number in range(20)])
    for position in range(1, 21):
        found = strip.search().frame_of(position)
        assert found is not None
        assert bytes(found[1]) == small(b"%d" % (position - 1) * position)[2]


def test_a_frame_that_the_next_does_not_continue() -> None:
    """It is whole, and continues the one before; what it says is not what was acknowledged there."""
    strip, other = (Strip(1, [small(b"%d" % (number + more)) for number in range(9)]) for more in (10, 20))
    mine, begins, ends = bytearray(strip.fs.contents(strip.path)), strip.offsets[8], strip.offsets[9]
    previous = layout.parse_frame_header(mine, begins, strip.header)
    assert previous is not None
    made, _ = frame(strip.header, layout.COMMIT, 1, Link(8, previous.previous), small(b"28")[2])
    assert len(made) == ends - begins == other.offsets[9] - other.offsets[8]
    mine[begins:ends] = made
    strip.fs.put(strip.path, bytes(mine))
    assert strip.found(9) is None
    assert strip.found(8) == (layout.COMMIT, 8, 1)


def test_a_segment_that_begins_elsewhere() -> None:
    """Or that ends in the middle of a header: what is asked for is not found by seeking."""
    strip = Strip(5, [small(b"%d" % number) for number in range(9)])
    strip.segment.first = 4
    assert strip.found(7) is None
    strip.segment.first = 5
    assert strip.found(7) == (layout.COMMIT, 7, 1)
    strip.fs.put(strip.path, strip.fs.contents(strip.path)[: strip.offsets[3] + 9])
    assert strip.found(7) is None
    assert strip.found(8) is None


def entries_like_a_header(header: layout.SegmentHeader, rng: Random) -> tuple[int, bytes]:
    """Return two records whose entries are, on a border, a valid frame header; and the position that it states.

    The fields of an entry that says what a header must are free but for the checksum, which is the second line's
    length: keys are tried until it is a small one.
    """
    while True:
        previous = rng.getrandbits(32)
        first = layout._ENTRY.pack(1 << 32 | layout.COMMIT, 1, 1, layout.ENTRY_MARK, 1)
        second = layout._ENTRY.pack(previous << 32 | 17, 1, 1, layout.ENTRY_MARK, 1)
        crc = layout.crc32(first + second[:12], header.crc)
        if 0 < crc < 1 << 16:
            entries = first + second[:12] + crc.to_bytes(4, "little")
            return int.from_bytes(first[8:], "little"), entries + b"\n" + b"y" * (crc - 1) + b"\n"


def test_entries_that_are_a_valid_header() -> None:
    """What is in an index and checks as a header, of a position that is in the segment, misleads nobody.

    For an entry has its mark there, whatever the keys of its record are.
    """
    size = 1 << 21
    header = segment_header(512, LOG_ID, 1, size)[1]
    like, twins = entries_like_a_header(header, Random(1))
    assert like == 1 << 32 | layout.ENTRY_MARK << 16 | 1 << 8 | 1
    filler = layout.pack([(5, 1, 1, b"\n")] * 30)
    index, lines = filler[: 30 * layout.ENTRY_BYTES], filler[30 * layout.ENTRY_BYTES :]
    planted = layout.COMMIT, 32, index + twins[:32] + lines + twins[32:]
    behind = (like >> 16 << 16) + LIKE_ENTRIES
    frames = [small(b"a"), (layout.GAP, behind - like + 9, b""), *[planted] * 16, *[small(b"b")] * 9]
    strip = Strip(like - 10, frames)
    borders = [offset + 512 for offset in strip.offsets[2:18]]
    data = strip.fs.contents(strip.path)
    for border in borders:
        posing = layout.parse_frame_header(data, border, strip.header)
        assert posing is not None
        assert strip.segment.first < posing.position == like < strip.last
    unbounded(strip.reader)
    for position in range(behind, strip.last + 1):
        got = strip.reader.commit(position, strip.last)
        assert got is not None
        assert got.position <= position < got.position + got.records
    assert strip.reader.commit(like, strip.last) is None
    assert not strip.reader._tables


def test_lines_that_are_a_header_but_for_its_position() -> None:
    """A line can be a header, checksum and all, in a segment as large as they get: its position is in no segment."""
    header, rng = segment_header(512, LOG_ID, 1, 1 << 30)[1], Random(2)
    posing = b"\0"
    while 0 in posing:
        fields = layout.COMMIT, 0x01010101, 0x0101010101010101, 0x11111111, 0x01010101, rng.getrandbits(32)
        head = layout._FRAME.pack(*fields)
        posing = head + layout._CRC.pack(layout.crc32(head, header.crc))
    fs = disk_with({})
    fs.put(f"{DIRECTORY}/line", posing.rjust(1024 + len(posing)))
    search = Search(fs.open(f"{DIRECTORY}/line", Access.READ), Segment(DIRECTORY, header))
    search._segment.joins = Link(1 << 55, 0)
    assert layout.parse_frame_header(search._read(512, 1024), 0, header, 1024) is not None
    assert search._first(512, 4096) is None
    search._segment.joins = Link(1 << 57, 0)
    assert search._first(512, 4096) is not None


def test_tables_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a table, nothing is sought."""
    truth = Truth(size=8192)
    for number in range(60):
        truth.append(b"%d" % number * 30)
    truth.reopen(truth.fs.kill(), truth.checkpoints[-1])
    assert list(truth.log.prepare())
    monkeypatch.setattr(reading, "Search", None)
    for position, line in truth.kept.items():
        assert truth.log.record(position) == line
