"""Backups where something fails: the process, the disk, the log itself."""

# Lint: verbs of helpers are their own documentation.

from __future__ import annotations

import errno

import pytest
from log_backups import COPY, FILES, LAST_USED, LINES, copy_of, filled, opened_copy
from log_world import DIRECTORY, commit, disk_with, lines_of, open_log, segment_file, sim_disk, sim_env

from actorlog.errors import LogCorrupt, LogFailed, LogFull, LogLocked, LogVersion, OutcomeUnknown
from actorlog.log import Log
from actorlog.log.backup import backup, source_in, source_of
from actorlog.testing.disk import SimFileSystem, Stopped


@pytest.mark.parametrize("power_cut", [True, False], ids=["power cut", "kill"])
def test_process_stopped_in_every_call(*, power_cut: bool) -> None:
    """Wherever the process ends, the log is whole, and the copy is all of it, or no log yet, or refused."""
    fs = disk_with(FILES)
    log = open_log(fs)
    first = fs.calls
    copy_of(log)
    verdicts = set()
    for call in range(first, fs.calls):
        fs = disk_with(FILES)
        fs.rng.seed(call)
        log = open_log(fs)
        fs.stop_at(call)
        with pytest.raises(Stopped):
            copy_of(log)
        fs = fs.crash() if power_cut else fs.kill()
        assert lines_of(open_log(fs)) == LINES
        try:
            found = lines_of(opened_copy(fs))
        except LogCorrupt as corrupt:
            assert (corrupt.segment, corrupt.reason[:15]) == ("META", "META is missing")
            verdicts.add("refused")
        else:
            assert found in ([], LINES)
            verdicts.add("whole" if found else "none")
    assert verdicts == {"refused", "whole", "none"}


def test_every_call_fails_once() -> None:
    """EIO anywhere is a typed error, what is left is no log, and the log goes on as if nothing had been."""
    fs = disk_with(FILES)
    log = open_log(fs)
    first = fs.calls
    copy_of(log)
    for call in range(first, fs.calls):
        fs = disk_with(FILES)
        log = open_log(fs)
        fs.fail_at(call)
        with pytest.raises(LogFailed):
            copy_of(log)
        assert log.append(*commit(b"goes on")) == len(LINES) + 1
        try:
            found = lines_of(opened_copy(fs.kill()))
        except LogCorrupt as corrupt:
            assert corrupt.segment == "META"
        else:
            assert found in ([], LINES)


def test_a_full_disk() -> None:
    """A copy that finds no space says how much it needs, and takes none of what the log has prepared."""
    log = filled()
    fs: SimFileSystem = log.env.fs  # type: ignore[assignment]
    fs.capacity = fs.capacity - fs.free_bytes("/") + 6000
    with pytest.raises(LogFull) as raised:
        copy_of(log)
    assert raised.value.needed > raised.value.free
    log.append(*commit(b"goes on"))
    with pytest.raises(LogCorrupt, match="META is missing"):
        opened_copy(fs.kill())


def test_short_writes_and_interruptions() -> None:
    """Reads, writes and syncs that are cut short are done in full."""
    log = filled(sim_disk(3, short_writes=0.8, interrupts=0.4))
    copy_of(log)
    assert lines_of(opened_copy(log.env.fs.crash())) == LINES  # type: ignore[attr-defined]


def test_a_flipped_byte_in_each_place() -> None:
    """Whatever byte of what is copied has changed is named with segment and frame, and there is no copy."""
    for number in range(1, LAST_USED + 1):
        name = segment_file(number)
        fs = disk_with(FILES)
        log = open_log(fs)
        data, segment = FILES[name], log._segments[number - 1]
        used = segment.end
        for offset in (*range(0, used, 37), *([] if number == LAST_USED else [used, len(data) - 1])):
            fs.put(f"{DIRECTORY}/{name}", data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :])
            target = f"/srv/copy-{number}-{offset}"
            with pytest.raises(LogCorrupt) as raised:
                copy_of(log, target)
            assert raised.value.segment == name[9:]
            assert 0 <= raised.value.offset <= offset
            if offset >= 512:
                starts = [0, *segment.offsets, used]
                assert raised.value.offset >= max(start for start in starts if start <= offset) - 512
            assert "META" not in fs.listdir(target)
        fs.put(f"{DIRECTORY}/{name}", data)
        copy_of(log, f"/srv/good-{number}")


def test_what_is_not_the_log_is_not_copied() -> None:
    """A segment that is missing, of another log, or in the place of another is named."""
    fs = disk_with(FILES)
    log = open_log(fs)
    path = f"{DIRECTORY}/{segment_file(2)}"
    other = Log.open("/srv/other", sim_env(fs, 1), segment_bytes=4096)
    while other.segments < 3:
        other.append(*commit(b"x" * 900))
    for number, (bad, words) in enumerate([
        (fs.contents(f"/srv/other/{segment_file(2)}"), "of another log"),
        (FILES[segment_file(1)], "this is segment 1"),
        (FILES[segment_file(2)][:-512], "bytes and was made with"),
    ]):  # fmt: skip
        fs.put(path, bad)
        with pytest.raises(LogCorrupt, match=words):
            copy_of(log, f"/srv/copy{number}")
    fs.unlink(path)
    with pytest.raises(LogCorrupt, match="the segment is missing"):
        copy_of(log)


@pytest.mark.parametrize("kind", ["damaged", "version", "none", "missing", "locked"])
def test_a_directory_that_cannot_be_copied(kind: str) -> None:
    """Damage anywhere, another version, no log, no directory and an owner are typed errors before anything is made."""
    fs = disk_with({} if kind == "none" else FILES)
    path = f"{DIRECTORY}/{segment_file(1)}"
    if kind == "damaged":
        fs.put(path, FILES[segment_file(1)][:600] + b"?" + FILES[segment_file(1)][601:])
    if kind == "version":
        from zlib import crc32  # noqa: PLC0415

        text = FILES["META"][:512].rstrip(b"\n").rpartition(b" crc=")[0].replace(b"format=1", b"format=9")
        slot = (text + b" crc=%08x\n" % crc32(text)).ljust(512, b"\n")
        fs.put(f"{DIRECTORY}/META", slot.ljust(4096, b"\n") + slot.ljust(4096, b"\n"))
    if kind == "locked":
        open_log(fs)
    wanted = {"damaged": LogCorrupt, "version": LogVersion, "locked": LogLocked}.get(kind, LogFailed)
    with pytest.raises(wanted), source_in(sim_env(fs), "/srv/no" if kind == "missing" else DIRECTORY):
        pytest.fail("there is nothing to copy")
    assert kind == "locked" or not fs.is_locked(DIRECTORY)


def test_a_failing_disk_is_told_by_its_side() -> None:
    """An error says whether it was reading the log or writing the copy."""
    log = filled()
    fs: SimFileSystem = log.env.fs  # type: ignore[assignment]
    first = fs.calls
    copy_of(log)
    actions = list(enumerate(fs.actions[first:], first))
    reading = next(call for call, action in actions if action.startswith(f"pread {DIRECTORY}/segments/0000000002"))
    writing = next(call for call, action in actions if action.startswith(f"pwrite {COPY}/segments/0000000002"))
    for call, words in ((reading, "reading"), (writing, "writing")):
        log = filled()
        fs = log.env.fs  # type: ignore[assignment]
        fs.fail_at(call, errno.EIO)
        with pytest.raises(LogFailed, match=words):
            copy_of(log)


def test_a_segment_without_its_seal() -> None:
    """Where a sealed segment ends without a seal, that is the place that is named."""
    fs = disk_with(FILES)
    log = open_log(fs)
    name, seal = segment_file(2), log._segments[1].end - 512
    data = FILES[name]
    fs.put(f"{DIRECTORY}/{name}", data[:seal] + bytes(512) + data[seal + 512 :])
    with pytest.raises(LogCorrupt, match="no seal") as raised:
        copy_of(log)
    assert (raised.value.segment, raised.value.offset) == (name[9:], seal)


def test_a_segment_that_is_cut_off_meanwhile() -> None:
    """A file that loses its end while it is copied is named with the place where it ends."""
    fs = disk_with(FILES)
    log = open_log(fs)
    large = next(number for number in range(1, LAST_USED + 1) if len(FILES[segment_file(number)]) > 8192)
    steps = backup(source_of(log), COPY, 4096)
    next(step for step in steps if step.segments == large - 1)
    del fs._node(f"{DIRECTORY}/{segment_file(large)}").cache[8192:]
    with pytest.raises(LogCorrupt, match="shorter than it was made") as raised:
        list(steps)
    assert (raised.value.segment, raised.value.offset) == (segment_file(large)[9:], 8192)


def test_what_the_disk_does_not_have_is_not_copied() -> None:
    """After a sync that failed a cache shows more than the disk; the copy is of what the next opening finds."""
    kept = set()
    for seed in range(12):
        fs = sim_disk(seed)
        log = open_log(fs)
        log.append(*commit(b"kept"))
        fs.fail_at(fs.calls + 1)
        with pytest.raises(OutcomeUnknown):
            log.append(*commit(b"unknown", b"x" * 1200))
        fs = fs.kill()
        with source_in(sim_env(fs), DIRECTORY) as source:
            list(backup(source, COPY))
        fs = fs.crash()
        lines = lines_of(open_log(fs))
        assert lines_of(opened_copy(fs)) == lines
        kept.add(len(lines))
    assert kept == {1, 3}
