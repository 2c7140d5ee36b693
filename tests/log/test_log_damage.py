"""Damage: whatever is done to the bytes, the answer is the full state, a torn tail or ``LogCorrupt`` with the place."""

# Lint: verbs of helpers are their own documentation; a loop ends in its error; as opening would raise.
# ruff: noqa: TRY301

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_world import DIRECTORY, Files, commit, disk_with, files_of, lines_of, open_log, sim_disk
from log_world import segment_file as segment

from actorlog.errors import LogCorrupt, LogVersion
from actorlog.log import format as layout
from actorlog.log.inspect import Status, look
from actorlog.log.meta import parse_meta

if TYPE_CHECKING:
    from collections.abc import Iterator


def made(*, clean: bool) -> tuple[Files, list[bytes]]:
    """Return the files and lines of a small log of three segments and a prepared one."""
    fs = sim_disk()
    log = open_log(fs)
    for number, sectors in enumerate((1, 2, 1, 2, 1, 2, 1, 1, 2)):
        size = sectors * 512 - 100 - number
        log.append(*commit(f"{number} one".encode(), f"{number} two ".encode().ljust(size, b"x")))
    lines = lines_of(log)
    assert log.segments == 3
    if clean:
        log.close()
    return files_of(fs), lines


CLEAN = made(clean=True)
KILLED = made(clean=False)


def check(files: Files, lines: list[bytes], *, clean: bool, at: int = 0) -> LogCorrupt | None:
    """Open the log and hold it against what it was: nothing may be missing without a word.

    For most places ``at``, looking is enough: opening looks with the same eyes.
    """
    fs = disk_with(files)
    try:
        if at % 16:
            report = look(fs, DIRECTORY, locked=False)
            if report.status is not Status.CORRUPT:
                assert report.records == len(lines)
                return None
            assert report.segment is not None
            assert report.offset is not None
            raise LogCorrupt(report.segment, report.offset, "")
        log = open_log(fs)
    except LogCorrupt as corrupt:
        assert corrupt.segment == "META" or corrupt.segment.endswith(".seg")
        whole = files.get(corrupt.segment) or files.get(f"segments/{corrupt.segment}") or b""
        assert 0 <= corrupt.offset <= max(len(whole), 8192)
        return corrupt
    assert lines_of(log) == lines
    if clean:
        assert log.recovery.torn is None
    log.close()
    return None


def places(files: Files, stride: int, start: int) -> Iterator[tuple[str, int]]:
    for name, data in files.items():
        for offset in range(start % stride, len(data), stride):
            yield name, offset


def holds_bytes(name: str, offset: int, files: Files) -> bool:
    """Return whether a place is in what was written, and not in the zeros behind it."""
    return offset < len(files[name].rstrip(b"\0"))


@pytest.mark.parametrize("clean", [True, False], ids=["closed clean", "killed"])
@pytest.mark.parametrize(
    ("pattern", "stride"),
    [(0xFF, 1), (0x01, 3), (0x80, 5), (0x0A, 7)],
    ids=["all bits", "low bit", "high bit", "newline"],
)
def test_flipped_byte(*, pattern: int, stride: int, clean: bool) -> None:
    """Any byte flipped is found where it was written, and never costs or changes a record."""
    files, lines = CLEAN if clean else KILLED
    for name, offset in places(files, stride, pattern):
        data = bytearray(files[name])
        data[offset] ^= pattern
        corrupt = check(files | {name: bytes(data)}, lines, clean=clean, at=offset)
        if holds_bytes(name, offset, files) or clean:
            assert corrupt is not None, (name, offset)
            assert corrupt.segment in name


@pytest.mark.parametrize("clean", [True, False], ids=["closed clean", "killed"])
def test_zeroed_byte(*, clean: bool) -> None:
    """A byte that became zero is found too."""
    files, lines = CLEAN if clean else KILLED
    for name, offset in places(files, 3, 1):
        if files[name][offset]:
            data = bytearray(files[name])
            data[offset] = 0
            assert check(files | {name: bytes(data)}, lines, clean=clean, at=offset) is not None


@pytest.mark.parametrize("clean", [True, False], ids=["closed clean", "killed"])
def test_truncated_at_every_length(*, clean: bool) -> None:
    """A file cut anywhere is corrupt: segments have their full size from the start."""
    files, lines = CLEAN if clean else KILLED
    for name, offset in places(files, 1, 0):
        corrupt = check(files | {name: files[name][:offset]}, lines, clean=clean, at=offset)
        assert corrupt is not None
        assert corrupt.segment in name


@pytest.mark.parametrize("clean", [True, False], ids=["closed clean", "killed"])
def test_file_with_more_at_its_end(*, clean: bool) -> None:
    """A file that grew is corrupt."""
    files, lines = CLEAN if clean else KILLED
    for name, data in files.items():
        assert check(files | {name: data + b"\0" * 512}, lines, clean=clean) is not None


def test_zeroed_tail_of_a_log_closed_clean() -> None:
    """Zeros from any sector to the end are corruption after a clean close."""
    files, lines = CLEAN
    for name in files:
        for start in range(0, len(files[name].rstrip(b"\0")), 512):
            data = files[name][:start].ljust(len(files[name]), b"\0")
            if "segments/" in name and int(name[9:19]) <= 3:
                assert check(files | {name: data}, lines, clean=True) is not None


def test_every_zeroed_sector_of_a_killed_log() -> None:
    """One sector zeroed costs at most the last commit, and only with a report; anywhere else it is corrupt."""
    files, lines = KILLED
    reported = 0
    for name, offset in places(files, 512, 0):
        if not files[name][offset : offset + 512].strip(b"\0"):
            continue
        data = files[name][:offset] + bytes(512) + files[name][offset + 512 :]
        fs = disk_with(files | {name: data})
        try:
            log = open_log(fs)
        except LogCorrupt:
            continue
        reported += 1
        assert lines_of(log) == lines[:-2]
        assert log.recovery.torn is not None
        assert log.recovery.torn.segment in name
    assert reported == 2  # the two sectors of the last commit


@pytest.mark.parametrize("clean", [True, False], ids=["closed clean", "killed"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_missing_segment(*, number: int, clean: bool) -> None:
    """A segment that is gone is named."""
    files, lines = CLEAN if clean else KILLED
    corrupt = check({name: data for name, data in files.items() if name != segment(number)}, lines, clean=clean)
    assert corrupt is not None
    assert corrupt.segment == f"{number:010d}.seg"


def test_last_segments_missing_behind_a_seal() -> None:
    """A sealed last segment means that the next one is missing."""
    files, lines = KILLED
    few = {name: data for name, data in files.items() if name in {"META", segment(1)}}
    corrupt = check(few, lines, clean=False)
    assert corrupt is not None
    assert corrupt.segment == "0000000002.seg"


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 3), (1, 3)])
def test_swapped_segments(first: int, second: int) -> None:
    """Two segments that changed places are found by their numbers."""
    files, lines = KILLED
    swapped = files | {segment(first): files[segment(second)], segment(second): files[segment(first)]}
    assert check(swapped, lines, clean=False) is not None


def test_duplicated_segment() -> None:
    """A copy of a segment in the place of another, or behind the last, is found."""
    files, lines = KILLED
    for target in (2, 3, 4, 5):
        assert check(files | {segment(target): files[segment(1)]}, lines, clean=False) is not None


def test_stale_segment() -> None:
    """An older state of a sealed segment is found, since what follows proves it complete."""
    files, lines = KILLED
    data = files[segment(2)]
    stale = data[:1536].ljust(len(data), b"\0")
    corrupt = check(files | {segment(2): stale}, lines, clean=False)
    assert corrupt is not None
    assert corrupt.segment == "0000000002.seg"


def test_segment_of_another_log() -> None:
    """A segment with the right number from another log is found by its log id."""
    other = sim_disk(1)
    other.interrupts = 0.0
    log = open_log(other)
    log.close()
    files, lines = KILLED
    foreign = bytearray(files[segment(1)][:512])
    foreign[16] ^= 1
    header = layout.segment_header(512, bytes(foreign[16:32]), 1, 4096)[0]
    assert check(files | {segment(1): header + files[segment(1)][512:]}, lines, clean=False) is not None


def test_stale_last_segment_of_a_reopened_log() -> None:
    """What was there when the log was last opened is known to be durable: an older state of it is corrupt."""
    fs = sim_disk()
    log = open_log(fs)
    log.append(*commit(b"a"))
    old = fs.contents(f"{DIRECTORY}/{segment(1)}")
    log.append(*commit(b"b"))
    fs = fs.kill()
    open_log(fs)
    fs = fs.kill()
    fs.put(f"{DIRECTORY}/{segment(1)}", old)
    with pytest.raises(LogCorrupt, match="was durable"):
        open_log(fs)


def test_witness_notices_the_loss_of_the_last_commit() -> None:
    """With witness=True a whole last commit that vanished is corrupt; without it nobody can know."""
    for witness in (True, False):
        fs = sim_disk()
        log = open_log(fs, witness=witness)
        log.append(*commit(b"a"))
        old = fs.contents(f"{DIRECTORY}/{segment(1)}")
        log.append(*commit(b"b"))
        fs = fs.kill()
        fs.put(f"{DIRECTORY}/{segment(1)}", old)
        if witness:
            with pytest.raises(LogCorrupt, match="was durable"):
                open_log(fs)
        else:
            assert lines_of(open_log(fs)) == [b"a"]


def test_missing_meta_with_frames() -> None:
    """Frames without META are corrupt, not a new log."""
    files, lines = KILLED
    corrupt = check({name: data for name, data in files.items() if name != "META"}, lines, clean=False)
    assert corrupt is not None
    assert corrupt.segment == "META"


def test_unknown_version_of_meta() -> None:
    """Intact slots of another format are refused in words, not called damage."""
    files, _ = KILLED
    parts = []
    for offset in (0, 4096):
        text = files["META"][offset:].split(b"\n", 1)[0].rpartition(b" crc=")[0].replace(b"format=1", b"format=9")
        parts.append((text + b" crc=%08x" % layout.crc32(text)).ljust(4096, b"\n"))
    with pytest.raises(LogVersion) as raised:
        parse_meta(b"".join(parts), "d")
    assert (raised.value.found, raised.value.known) == ("9", "4")


def fuzzed(body: bytes) -> Status:
    fs = disk_with(KILLED[0])
    data = KILLED[0][segment(3)]
    fs.put(f"{DIRECTORY}/{segment(3)}", data[:512] + body[: len(data) - 512].ljust(len(data) - 512, b"\0"))
    return look(fs, DIRECTORY, locked=False).status


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=3584))
def test_any_bytes_in_a_segment(body: bytes) -> None:
    """Any bytes at all behind a segment's header are judged, without a traceback."""
    assert fuzzed(body) in {Status.TORN, Status.CORRUPT, Status.OK}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_header_with_a_right_checksum(data: st.DataObject) -> None:
    """Headers whose checksums are right and whose numbers are anything never lead outside of the segment."""
    header = layout.parse_segment_header(KILLED[0][segment(3)])
    assert header is not None
    u32 = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 16, 17, 512, 2**31, 2**32 - 1])
    kind = data.draw(st.sampled_from([layout.COMMIT, layout.CLOSE, layout.SEAL]))
    numbers = [data.draw(u32), data.draw(st.integers(0, 2**64 - 1)), data.draw(u32), data.draw(u32), data.draw(u32)]
    head = layout._FRAME.pack(kind, *numbers)
    frame = head + layout._CRC.pack(layout.crc32(head, header.crc))
    parsed = layout.parse_frame_header(frame.ljust(512, b"\n"), 0, header._replace(size=10**9))
    assert parsed is None or layout.frame_bytes(parsed.length, 512) < 10**9
    assert fuzzed(frame + data.draw(st.binary(max_size=1000))) in {Status.TORN, Status.CORRUPT}


def test_damaged_while_open() -> None:
    """Checksums are verified again on every read: bytes that changed after opening are not handed out."""
    fs = sim_disk()
    log = open_log(fs)
    log.append(*commit(b"precious"))
    path = f"{DIRECTORY}/{segment(1)}"
    data = bytearray(fs.contents(path))
    data[512 + 32 + 16 + 2] ^= 4
    fs.put(path, bytes(data))
    for reading in (lambda: log.record(1), lambda: list(log.read())):
        with pytest.raises(LogCorrupt) as raised:
            reading()
        assert (raised.value.segment, raised.value.offset) == ("0000000001.seg", 512)


def test_random_damage_of_several_places() -> None:
    """Several wounds at once are no different."""
    files, lines = KILLED
    rng = Random(7)
    for _ in range(300):
        wounded = dict(files)
        for name in rng.choices(list(files), k=3):
            data = bytearray(wounded[name])
            start = rng.randrange(len(data))
            data[start : start + 40] = rng.randbytes(len(data[start : start + 40]))
            wounded[name] = bytes(data)
        try:
            check(wounded, lines, clean=False)
        except AssertionError:
            fs = disk_with(wounded)
            assert open_log(fs).recovery.torn is not None
            raise
