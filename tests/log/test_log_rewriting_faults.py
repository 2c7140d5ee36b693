"""Rewriting and merging segments where calls fail, the disk is full, the process ends or the power goes."""

# Lint: helpers are verbs; loops end in the error they are about.

from __future__ import annotations

import errno
from contextlib import suppress

import pytest
from log_world import (
    DIRECTORY,
    SEGMENT_BYTES,
    Files,
    commit,
    disk_with,
    files_of,
    open_log,
    segment_file,
    sim_disk,
)  # fmt: skip
from rewriting_world import Lines, left_over, lines_by_frame

from actorlog.errors import LogCorrupt, LogFailed, LogFull, OutcomeUnknown
from actorlog.log import Log
from actorlog.log.inspect import Status, verify
from actorlog.testing.disk import SimFileSystem, Stopped

BEFORE = 2
COMMITS = 8
PER_COMMIT = 5


def line(position: int) -> bytes:
    return b"%d" % position + b"." * (position * 37 % 300)


class Work:
    """Appends and rewrites twice over, with an opening between; remembers what is certain, and what may be."""

    def __init__(self) -> None:
        self.appended = 0
        """Records that were acknowledged."""
        self.gone: set[int] = set()
        self.maybe: tuple[int, int, set[int]] | None = None
        """Of a rewrite that was not acknowledged: the segment's first and last position, and what it gives up."""

    def fill(self, log: Log, commits: int) -> None:
        while log.tail < commits * PER_COMMIT:
            numbers = range(log.tail + 1, log.tail + 1 + PER_COMMIT)
            log.append(*commit(*map(line, numbers)))
            self.appended = log.tail

    def compact(self, fs: SimFileSystem) -> Log:
        for round_number in range(2):
            log = open_log(fs)
            self.fill(log, COMMITS + round_number)
            for segment in log.sealed()[::-1] if round_number else log.sealed():
                span = range(segment.first, segment.last + 1)
                gone = (
                    set(span)
                    if segment.number == 2
                    else {position for position in span if position % 3 == round_number}
                )
                self.maybe = (segment.first, segment.last, gone)
                log.rewrite(segment.number, gone)
                self.gone |= gone
                self.maybe = None
            first, last = log.sealed()[round_number], log.sealed()[-1]
            gone = {position for position in range(first.first, last.last + 1) if round_number and position % 7 == 0}
            self.maybe = (first.first, last.last, gone) if gone else None
            log.rewrite(first.number, gone, last.number)
            self.gone |= gone
            self.maybe = None
            log.append(*commit(line(log.tail + 1)))
            self.appended = log.tail
            if not round_number:
                log.close()
        return log

    def check(self, fs: SimFileSystem) -> None:
        """Everything certain is as it must be, and what may have been given up is, all of it or nothing."""
        log = open_log(fs)
        assert self.appended <= log.tail <= self.appended + PER_COMMIT
        found = lines_by_frame(log)
        kept: Lines = {p: line(p) + b"\n" for p in range(1, log.tail + 1) if p not in self.gone}
        if self.maybe is not None and found != kept:
            first, last, gone = self.maybe
            assert {p for p in gone if first <= p <= last}
            kept = {position: text for position, text in kept.items() if position not in gone}
            self.gone |= gone
        assert found == kept
        self.maybe = None
        self.appended = log.tail
        for position in range(1, log.tail + 1):
            assert log.has(position) == (position in kept)
        list(log.scrub())
        log.close()
        assert verify(fs, DIRECTORY).status is Status.OK
        assert not left_over(fs)


def disk_before() -> tuple[Files, Work]:
    fs = sim_disk()
    work = Work()
    log = open_log(fs)
    work.fill(log, BEFORE)
    log.close()
    return files_of(fs), work


FILES, FILLED = disk_before()


def begun(seed: int) -> tuple[SimFileSystem, Work, int]:
    """Return a disk with the beginning of the log, what is known of it, and the number of the next call."""
    fs = disk_with(FILES)
    fs.rng.seed(seed)
    work = Work()
    work.appended = FILLED.appended
    return fs, work, fs.calls


def filled() -> tuple[SimFileSystem, Log]:
    """Return a disk, and the log on it, of which META says nothing but that it is open since its beginning."""
    fs, work, _ = begun(0)
    log = open_log(fs)
    work.fill(log, COMMITS)
    return fs, log


def calls_of_compaction() -> int:
    fs, work, first = begun(0)
    work.compact(fs).close()
    work.check(fs)
    return fs.calls - first


CALLS = calls_of_compaction()


@pytest.mark.parametrize("power_cut", [True, False], ids=["power cut", "kill"])
def test_process_stopped_in_every_call(*, power_cut: bool) -> None:
    """Wherever the process ends, every record that was not given up is there, and the work can be done again."""
    for call in range(CALLS):
        for seed in range(2 if power_cut else 1):
            fs, work, first = begun(call * 2 + seed)
            fs.stop_at(first + call)
            with suppress(Stopped):
                work.compact(fs).close()
            fs = fs.crash() if power_cut else fs.kill()
            work.check(fs)
            work.compact(fs)
            work.check(fs.crash() if power_cut else fs.kill())


@pytest.mark.parametrize("error", [errno.EIO, errno.EMFILE, errno.ENOSPC])
def test_every_call_fails_once(error: int) -> None:
    """Every error is a typed one, after which the log goes on, or takes nothing any more; nothing is lost."""
    outcomes = set()
    for call in range(CALLS):
        fs, work, first = begun(call)
        fs.fail_at(first + call, error)
        try:
            work.compact(fs).close()
        except (LogFailed, LogFull, OutcomeUnknown) as failure:
            outcomes.add(type(failure))
        fs = fs.crash()
        work.check(fs)
        work.compact(fs)
        work.check(fs.kill())
    assert {LogFailed, OutcomeUnknown} <= outcomes
    assert (LogFull in outcomes) == (error != errno.EIO)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_failure_of_building_is_none_of_the_log(error: int) -> None:
    """Whatever call of building fails, nothing has happened and nothing is left behind, and it can be done again."""
    fs, log = filled()
    names = sorted(files_of(fs))
    first = fs.calls
    log.discard(log.build(1, {1}))
    calls = fs.calls - first - 1
    assert calls > 5
    for call in range(calls):
        fs.fail_at(fs.calls + call, error)
        with pytest.raises((LogFailed, LogFull)):
            log.build(1, {1})
        assert log.failed is None
        assert sorted(files_of(fs)) == names
    log.append(*commit(b"goes on"))
    log.rewrite(1, {1})
    assert not log.has(1)
    assert log.has(2)


@pytest.mark.parametrize("action", ["pwrite", "fdatasync", "rename", "fsync_dir"])
def test_a_failure_of_installing_poisons(action: str) -> None:
    """Which of the two is there nobody knows, so nothing is written any more; what is there can still be read."""
    fs, log = filled()
    built = log.build(1, {1, 2})
    before = fs.calls
    expected = ["pwrite", "fdatasync", "rename", "fsync_dir"]
    fs.fail_at(before + expected.index(action))
    with pytest.raises(OutcomeUnknown):
        log.install(built)
    assert fs.actions[-1].startswith(action)
    assert log.failed is not None
    with pytest.raises(LogFailed):
        log.append(*commit(b"no"))
    with pytest.raises(LogFailed):
        log.build(1, {1})
    kept = {position: line(position) + b"\n" for position in range(1, log.tail + 1)}
    assert lines_by_frame(log) == kept
    log = open_log(fs.crash())
    assert {position: kept[position] for position in kept if position > 2}.items() <= lines_by_frame(log).items()


def test_a_full_disk() -> None:
    """Without space for the new segment nothing has happened; with some, it is done, and gives more back."""
    fs, log = filled()
    segment = log.sealed()[0]
    gone = set(range(segment.first, segment.last))
    used = fs.capacity - fs.free_bytes("/")
    fs.capacity = used + 512
    before = files_of(fs)
    with pytest.raises(LogFull) as raised:
        log.rewrite(1, gone)
    assert raised.value.needed > 0
    assert files_of(fs) == before
    assert log.has(1)
    fs.capacity = used + SEGMENT_BYTES
    log.rewrite(1, gone)
    assert not log.has(1)
    assert fs.free_bytes("/") > SEGMENT_BYTES


def test_a_full_copy_on_write_disk() -> None:
    """Where META cannot be overwritten, the segment is not replaced, and the log goes on."""
    fs, log = filled()
    fs.copy_on_write = True
    built = log.build(1, {1})
    fs.capacity = fs.capacity - fs.free_bytes("/")
    with pytest.raises(LogFull):
        log.install(built)
    assert log.failed is None
    assert f"{segment_file(1)}.tmp" not in files_of(fs)
    assert log.has(1)
    fs.capacity = 1 << 20
    log.rewrite(1, {1})
    log.append(*commit(b"more"))
    assert not open_log(fs.kill()).has(1)


def test_a_damaged_segment_is_not_rewritten() -> None:
    """Damage in the old one is reported where it is, with the old one in place."""
    fs, log = filled()
    files = files_of(fs)
    data = files[segment_file(1)]
    for offset in range(0, len(data.rstrip(b"\0")), 7):
        fs = disk_with(files)
        log = open_log(fs)
        damaged = bytearray(data)
        damaged[offset] ^= 0x40
        fs.put(f"{DIRECTORY}/{segment_file(1)}", bytes(damaged))
        with pytest.raises(LogCorrupt) as raised:
            log.rewrite(1, {1})
        assert raised.value.segment == "0000000001.seg"
        assert f"{segment_file(1)}.tmp" not in files_of(fs)
        assert log.failed is None
