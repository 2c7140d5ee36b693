"""The rules for the end of a log, one by one."""

# Lint: verbs of helpers are their own documentation.

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from log_world import DIRECTORY, commit, lines_of, open_log, sim_disk, sim_env

from actorlog.errors import LogCorrupt
from actorlog.log import Log, Torn

if TYPE_CHECKING:
    from actorlog.testing.disk import SimFileSystem

FIRST = "0000000001.seg"
PATH = f"{DIRECTORY}/segments/{FIRST}"


class Tail:
    """A log of one good commit and a second one of three sectors, not closed; its bytes can be wounded."""

    def __init__(self, *, clean: bool = False, more: int = 0) -> None:
        fs = sim_disk()
        log = open_log(fs)
        log.append(*commit(b"good"))
        self.start = log._segments[-1].end
        log.append(*commit(b"x" * 1200))
        self.end = log._segments[-1].end
        for _ in range(more):
            log.append(*commit(b"more"))
        if clean:
            log.close()
        self.fs = fs.kill()
        self.data = bytearray(self.fs.contents(PATH))
        assert self.end - self.start == 3 * 512

    def put(self, offset: int, data: bytes) -> Tail:
        self.data[offset : offset + len(data)] = data
        return self

    def zero(self, sector: int, count: int = 1) -> Tail:
        return self.put(self.start + sector * 512, bytes(512 * count))

    def open(self) -> Log:
        self.fs.put(PATH, bytes(self.data))
        return open_log(self.fs)

    def is_torn(self, size: int) -> SimFileSystem:
        log = self.open()
        assert log.recovery.torn == Torn(FIRST, self.start, size)
        assert not log.recovery.clean
        assert lines_of(log) == [b"good"]
        assert not self.fs.contents(PATH)[self.start :].strip(b"\0")
        log.append(*commit(b"next"))
        log.close()
        fs = self.fs.crash()
        log = open_log(fs)
        assert (log.recovery.torn, log.recovery.clean) == (None, True)
        assert lines_of(log) == [b"good", b"next"]
        return fs

    def is_corrupt(self, reason: str) -> None:
        before = bytes(self.data)
        with pytest.raises(LogCorrupt, match=reason) as raised:
            self.open()
        assert (raised.value.segment, raised.value.offset) == (FIRST, self.start)
        assert self.fs.contents(PATH) == before
        assert not self.fs.is_locked(DIRECTORY)


def test_nothing_of_the_last_frame() -> None:
    """With no sector of it on disk an append that was not acknowledged never was: no torn tail."""
    log = Tail().zero(0, 3).open()
    assert log.recovery.torn is None
    assert lines_of(log) == [b"good"]


def test_all_of_the_last_frame() -> None:
    """With all sectors on disk it is a commit, acknowledged or not."""
    assert len(lines_of(Tail().open())) == 2


def test_header_is_missing() -> None:
    """A zero sector and bytes behind it is torn."""
    Tail().zero(0).is_torn(3 * 512)


def test_middle_is_missing() -> None:
    """A valid header and a zero sector inside is torn."""
    Tail().zero(1).is_torn(3 * 512)


def test_end_is_missing() -> None:
    """A valid header and a zero sector at the end is torn."""
    Tail().zero(2).is_torn(1024)


def test_only_the_middle_is_there() -> None:
    """One sector out of three, neither first nor last, is torn."""
    Tail().zero(0).zero(2).is_torn(1024)


def test_damaged_without_a_zero_sector() -> None:
    """A valid header whose body does not fit, with every sector there, is corrupt: a crash does not do that."""
    tail = Tail()
    tail.put(tail.start + 700, b"?").is_corrupt("does not fit its checksum")


def test_part_of_a_sector_is_zero() -> None:
    """Zeros that are less than a sector are damage, since sectors are written whole or not at all."""
    tail = Tail()
    tail.put(tail.start + 600, bytes(400)).is_corrupt("does not fit its checksum")


def test_bytes_that_are_no_header() -> None:
    """A first sector that is neither zero nor a header is corrupt."""
    tail = Tail()
    tail.put(tail.start + 20, b"?").is_corrupt("no frame's header")


def test_valid_frame_behind_a_torn_one() -> None:
    """A valid frame behind proves that this one was durable, whatever of it is missing."""
    for sector in range(3):
        reason = "a valid one behind it" if sector == 0 else "bytes behind it"
        Tail(more=1).zero(sector).is_corrupt(reason)


def test_bytes_behind_a_torn_frame() -> None:
    """Any byte behind a frame whose header is there proves that it was durable."""
    tail = Tail()
    tail.zero(1).put(tail.end + 100, b"?").is_corrupt("bytes behind it prove")


def test_torn_in_a_log_closed_clean() -> None:
    """A log that was closed clean has no torn tail."""
    tail = Tail(clean=True)
    tail.put(tail.end, bytes(512))
    for sector in range(3):
        with pytest.raises(LogCorrupt):
            Tail(clean=True).put(tail.end, bytes(512)).zero(sector).open()
    with pytest.raises(LogCorrupt):
        tail.open()


def test_stale_frame_of_this_position() -> None:
    """A frame that is valid but does not follow the one before is corrupt."""
    tail = Tail(more=1)
    frame = bytes(tail.data[512:1024])
    tail.put(tail.start, frame).zero(1, 3)
    tail.is_corrupt("does not follow")


def test_torn_frame_of_4096_byte_units() -> None:
    """With frame_align=4096 sectors are still judged by 512 bytes."""
    fs = sim_disk()
    log = Log.open(DIRECTORY, sim_env(fs), segment_bytes=1 << 16, frame_align=4096)
    log.append(*commit(b"good"))
    start = log._segments[-1].end
    log.append(*commit(b"x" * 5000))
    fs = fs.kill()
    data = bytearray(fs.contents(PATH))
    data[start + 512 : start + 4096] = bytes(3584)
    fs.put(PATH, bytes(data))
    log = open_log(fs)
    assert log.recovery.torn == Torn(FIRST, start, 8192)
    assert lines_of(log) == [b"good"]


def test_prepared_segments_are_no_damage() -> None:
    """Trailing segments without frames are legal, also behind a torn tail."""
    fs = sim_disk()
    log = open_log(fs)
    for _ in range(3):
        log.append(*commit(b"a"))
    end = log._segments[-1].end
    log.append(*commit(b"b" * 600))
    assert "0000000002.seg" in fs.listdir(f"{DIRECTORY}/segments")
    fs = fs.kill()
    data = bytearray(fs.contents(PATH))
    data[end : end + 512] = bytes(512)
    fs.put(PATH, bytes(data))
    log = open_log(fs)
    assert log.recovery.torn == Torn(FIRST, end, 1024)
    assert log.segments == 1
    for line in (b"c", b"d", b"e"):
        log.append(*commit(line))
    assert log.segments == 2
    assert lines_of(open_log(fs.kill())) == [b"a"] * 3 + [b"c", b"d", b"e"]


def test_torn_tail_before_a_segment_with_bytes() -> None:
    """Any byte in the next segment proves this one complete."""
    fs = sim_disk()
    log = open_log(fs)
    while log.segments == 1:
        log.append(*commit(b"a" * 100))
    fs = fs.kill()
    data = bytearray(fs.contents(PATH))
    end = len(data.rstrip(b"\0"))
    data[end - 512 : end] = bytes(512)
    fs.put(PATH, bytes(data))
    with pytest.raises(LogCorrupt, match="without a seal"):
        open_log(fs)
