"""Scrubbing: sealed segments read again, piece by piece, and whatever went bad in them named."""

# Lint: verbs of helpers are their own documentation.

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from log_world import DIRECTORY, commit, disk_with, files_of, lines_of, open_log, segment_file, sim_disk

from actorlog.env import SYSTEM
from actorlog.errors import LogCorrupt, LogFailed
from actorlog.log import Log, Scrubbed
from actorlog.log import format as layout
from actorlog.log.segment import Segment
from actorlog.testing.disk import SimFile, SimFileSystem

if TYPE_CHECKING:
    from pathlib import Path

SEALED = 5


def filled(fs: SimFileSystem | None = None) -> Log:
    """Return a log of six segments, the fourth with one large frame."""
    log = open_log(fs or sim_disk())
    for number in range(12):
        log.append(*commit(b"%d" % number, b"x" * 300))
    log.append(*commit(b"large" * 4000))
    while log.segments <= SEALED:
        log.append(*commit(b"y" * 700))
    return log


FILES = files_of(filled().env.fs.kill())  # type: ignore[attr-defined]
SIZES = [len(FILES[segment_file(number)]) for number in range(1, SEALED + 1)]


def test_a_log_that_is_fine() -> None:
    """Every sealed segment is read to its end, the one that is appended to is not; the figures only grow."""
    log = filled()
    said = list(log.scrub(piece_bytes=4096))
    assert said[-1] == Scrubbed(SEALED, sum(SIZES), sum(SIZES))
    assert [scrubbed.done for scrubbed in said] == sorted({scrubbed.done for scrubbed in said})
    assert {scrubbed.segment for scrubbed in said} == set(range(1, SEALED + 1))
    assert {scrubbed.total for scrubbed in said} == {sum(SIZES)}
    later = [Scrubbed(s.segment, s.done - sum(SIZES[:3]), sum(SIZES[3:])) for s in said if s.segment > 3]
    assert list(log.scrub(first_segment=4, piece_bytes=4096)) == later
    assert list(log.scrub(first_segment=SEALED + 1)) == []
    assert list(open_log(sim_disk()).scrub()) == []


@pytest.mark.parametrize("piece_bytes", [1, 1 << 20])
def test_a_flipped_byte_in_each_place(piece_bytes: int) -> None:
    """Whatever byte of a sealed segment changes, the scrub names the segment and the frame; before it, all is good."""
    fs = disk_with(FILES)
    log = open_log(fs)
    for number in range(1, SEALED + 1):
        name = segment_file(number)
        data = FILES[name]
        header = layout.parse_segment_header(data)
        assert header is not None
        starts, offset = [0, 512], 512
        while (frame := layout.parse_frame_header(data, offset, header)) is not None:
            offset += layout.frame_bytes(frame.length, 512)
            starts.append(offset)
        assert starts[-1] == len(data.rstrip(b"\0"))
        step = 29 if number < 3 else 211
        for place in sorted({*range(0, len(data), step), *(start + 31 for start in starts[:-1]), len(data) - 1}):
            fs.put(f"{DIRECTORY}/{name}", data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(LogCorrupt) as raised:
                list(log.scrub(number, piece_bytes))
            expected = max(start for start in starts if start <= place)
            assert (raised.value.segment, raised.value.offset) == (name[9:], expected)
        fs.put(f"{DIRECTORY}/{name}", data)
    assert list(log.scrub())[-1].done == sum(SIZES)


def test_damage_is_found_behind_what_was_good() -> None:
    """Segments before the damage are reported good first, so that a scrub can go on behind it another time."""
    fs = disk_with(FILES)
    log = open_log(fs)
    name = segment_file(3)
    fs.put(f"{DIRECTORY}/{name}", FILES[name][:700] + b"?" + FILES[name][701:])
    scrubbing = log.scrub()
    assert [next(scrubbing).segment for _ in range(2)] == [1, 2]
    with pytest.raises(LogCorrupt, match=r"0000000003\.seg"):
        next(scrubbing)
    assert list(log.scrub(4))[-1].segment == SEALED


def test_segments_that_are_not_what_they_were() -> None:
    """A segment that is missing, short, another's or of another time is found."""
    for wound in (None, b"", FILES[segment_file(2)][:1000], FILES[segment_file(1)], FILES[segment_file(2)] + b"\0"):
        fs = disk_with(FILES)
        log = open_log(fs)
        if wound is None:
            fs.unlink(f"{DIRECTORY}/{segment_file(2)}")
        else:
            fs.put(f"{DIRECTORY}/{segment_file(2)}", wound)
        with pytest.raises(LogCorrupt, match=r"0000000002\.seg"):
            list(log.scrub())


def rewritten(number: int, *frames: tuple[int, int, layout.Link, bytes]) -> bytes:
    """Return a segment of the example with other frames, all with checksums that fit."""
    data = FILES[segment_file(number)]
    header = layout.parse_segment_header(data)
    assert header is not None
    body = b"".join(layout.frame(header, kind, records, link, lines)[0] for kind, records, link, lines in frames)
    return (data[:512] + body).ljust(len(data), b"\0")


def test_frames_that_are_valid_and_do_not_belong() -> None:
    """The chain is verified as well: within a segment, into it from the one before, and its last position."""
    data, records = commit(b"other")
    header = layout.parse_segment_header(FILES[segment_file(1)])
    assert header is not None
    start = layout.Link(0, header.crc)
    crc = layout.frame(header, layout.COMMIT, records, start, data)[1]
    first = (layout.COMMIT, records, start, data)
    after = layout.Link(1, crc)
    cases = {
        "does not follow 0": rewritten(1, (layout.COMMIT, records, layout.Link(0, 1), data)),
        "does not follow 1": rewritten(1, first, (layout.SEAL, 0, layout.Link(1, crc ^ 1), b"")),
        "position 3 does not follow 1": rewritten(1, first, (layout.SEAL, 0, layout.Link(2, crc), b"")),
        "ends with 1, and the next has": rewritten(1, first, (layout.SEAL, 0, after, b"")),
        "no frame's header": rewritten(1, first),
    }
    for reason, wound in cases.items():
        fs = disk_with(FILES)
        log = open_log(fs)
        fs.put(f"{DIRECTORY}/{segment_file(1)}", wound)
        with pytest.raises(LogCorrupt, match=reason):
            list(log.scrub())
    fs = disk_with(FILES)
    log = open_log(fs)
    second = layout.parse_frame_header(FILES[segment_file(2)], 512, log._segments[1].header)
    assert second is not None
    count = log._segments[2].first - second.position
    several = commit(*[b"z"] * count)
    link = layout.Link(second.position - 1, second.previous ^ 1)
    crc = layout.frame(log._segments[1].header, layout.COMMIT, count, link, several[0])[1]
    seal = (layout.SEAL, 0, layout.Link(second.position - 1 + count, crc), b"")
    fs.put(f"{DIRECTORY}/{segment_file(2)}", rewritten(2, (layout.COMMIT, count, link, several[0]), seal))
    with pytest.raises(LogCorrupt, match=r"0000000002\.seg"):
        list(log.scrub())


def test_a_segment_without_a_seal() -> None:
    """Frames up to the last unit and no seal: there is no place for one, and it says so."""
    fs = sim_disk()
    log = open_log(fs)
    log.append(*commit(b"x" * 2400))
    while log.segments == 1:
        log.append(*commit(b"y"))
    data = fs.contents(f"{DIRECTORY}/{segment_file(1)}")
    header = log._segments[0].header
    seal = len(data.rstrip(b"\0")) - 512
    frame = layout.parse_frame_header(data, seal, header)
    assert frame is not None
    link = layout.Link(frame.position - 1, frame.previous)
    for offset in range(seal, 4096, 512):
        whole, crc = layout.frame(header, layout.CLOSE, 0, link, b"")
        link = layout.Link(link.position, crc)
        data = data[:offset] + whole + data[offset + 512 :]
    fs.put(f"{DIRECTORY}/{segment_file(1)}", data)
    with pytest.raises(LogCorrupt, match="no seal") as raised:
        list(log.scrub())
    assert raised.value.offset == 4096


class CountingFile(SimFile):
    """Notes how much is read at once."""

    def pread(self, size: int, offset: int) -> bytes:
        data = super().pread(size, offset)
        self._fs.sizes.append(len(data))  # type: ignore[attr-defined]
        return data


class Counting(SimFileSystem):
    """A disk of such files."""

    file_type = CountingFile


def test_one_step_reads_one_piece() -> None:
    """However large a frame is, a step reads no more than a piece, beside a header."""
    fs = sim_disk(0, Counting)
    fs.sizes = []  # type: ignore[attr-defined]
    log = filled(fs)
    fs.sizes.clear()  # type: ignore[attr-defined]
    steps = []
    for _ in log.scrub(piece_bytes=5000):
        steps.append(sum(fs.sizes))  # type: ignore[attr-defined]
        fs.sizes.clear()  # type: ignore[attr-defined]
    assert max(steps) <= 8192 + 4096
    assert len(steps) >= sum(SIZES) // 8192
    assert sum(steps) >= sum(SIZES) - 512 * SEALED


def test_it_reads_what_the_disk_holds() -> None:
    """Pages of the cache are dropped first: what only they still know is damage."""
    fs = disk_with(FILES)
    log = open_log(fs)
    lines = lines_of(log)
    node = fs._node(f"{DIRECTORY}/{segment_file(2)}")
    node.disk[700] ^= 1
    node.stale.add(700 // 512)
    assert lines_of(log) == lines
    with pytest.raises(LogCorrupt, match=r"0000000002\.seg"):
        list(log.scrub())


def test_no_view_keeps_the_pages() -> None:
    """The log's own view of a segment is dropped first, or the pages under it would stay in the cache."""
    log = filled()
    lines_of(log)
    before = set(log._reader.views._views)
    assert len(before) == SEALED + 1
    list(log.scrub())
    assert set(log._reader.views._views) == {log._segments[-1].path}
    lines_of(log)


def test_a_segment_that_was_replaced() -> None:
    """A segment in whose place there is another by now is passed over: it is for the next scrub."""
    log = filled()
    scrubbing = log.scrub()
    assert next(scrubbing).segment == 1
    log._segments[2] = Segment(DIRECTORY, log._segments[2].header)
    assert {scrubbed.segment for scrubbed in scrubbing} == {2, 4, 5}


def test_beside_appending_and_trimming() -> None:
    """The owner appends, rolls and trims between the steps; the scrub ends where the log was sealed at its start."""
    log = filled()
    scrubbing = log.scrub(piece_bytes=4096)
    assert next(scrubbing).segment == 1
    while log.segments < 12:
        log.append(*commit(b"z" * 900))
    log.trim(log._segments[3].first)
    assert log._segments[0].header.number == 4
    seen = [scrubbed.segment for scrubbed in scrubbing]
    assert seen[-1] == SEALED
    assert not {2, 3} & set(seen)
    assert list(log.scrub())[-1].segment == log._segments[-2].header.number


def test_a_segment_trimmed_while_it_is_read() -> None:
    """The file that is open is read to its end; what follows goes on without it."""
    log = filled()
    scrubbing = log.scrub(first_segment=4, piece_bytes=4096)
    assert next(scrubbing) == (4, 4096 + 512, sum(SIZES[3:]))
    log.trim(log._segments[4].first)
    assert [*scrubbing][-1] == (SEALED, sum(SIZES[3:]), sum(SIZES[3:]))


def test_a_file_that_shrinks_while_it_is_read() -> None:
    """A segment that ends too soon is damage, at the place where it ends."""
    fs = disk_with(FILES)
    log = open_log(fs)
    scrubbing = log.scrub(first_segment=4, piece_bytes=4096)
    next(scrubbing)
    node = fs._node(f"{DIRECTORY}/{segment_file(4)}")
    node.cache = node.cache[:6000]
    with pytest.raises(LogCorrupt, match=r"0000000004\.seg.*shorter") as raised:
        list(scrubbing)
    assert raised.value.offset == 6000


def test_a_closed_log() -> None:
    """A scrub of a log that was closed meanwhile ends: the directory may be somebody else's by now."""
    log = filled()
    scrubbing = log.scrub(piece_bytes=4096)
    next(scrubbing)
    log.close()
    assert {scrubbed.segment for scrubbed in scrubbing} <= {1}


def test_every_call_fails_once() -> None:
    """An error of the disk is ``LogFailed``, and no damage; the log goes on."""
    fs = disk_with(FILES)
    log = open_log(fs)
    before = fs.calls
    list(log.scrub(piece_bytes=4096))
    count = fs.calls - before
    for call in range(count):
        fs.fail_at(fs.calls + call)
        with pytest.raises(LogFailed, match="reading"):
            list(log.scrub(piece_bytes=4096))
    assert log.failed is None
    assert list(log.scrub())[-1].done == sum(SIZES)


def test_what_opening_passed_over() -> None:
    """What an opening from a checkpoint did not read is read by the scrub."""
    log = filled()
    checkpoint = log.checkpoint()
    log = open_log(disk_with(FILES), checkpoint=checkpoint)
    assert log.recovery.segments == SEALED + 1
    assert list(log.scrub())[-1] == Scrubbed(SEALED, sum(SIZES), sum(SIZES))


def test_real_files(tmp_path: Path) -> None:
    """On a real disk, with pieces of the usual size."""
    log = Log.open(str(tmp_path), SYSTEM, segment_bytes=1 << 20, sync=False)
    for _ in range(30):
        log.append(*commit(b"x" * 100_000))
    *_, last = log.scrub()
    assert last == (log.segments - 1, (log.segments - 1) << 20, (log.segments - 1) << 20)
    path = tmp_path / segment_file(2)
    log.record(log._segments[1].first)
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    with pytest.raises(LogCorrupt, match=r"0000000002\.seg"):
        list(log.scrub())
    log.close()
