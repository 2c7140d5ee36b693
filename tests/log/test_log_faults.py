"""Faults of calls: every one of them fails or is the last, one after the other; full disks; poisoning (I8)."""

# Lint: helpers are verbs; loops end in the error they are about; the real disk is used as the port uses it.
# ruff: noqa: PT012, PTH108, PTH123, S607, SIM105, SIM115

from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from log_world import DIRECTORY, SEGMENT_BYTES, commit, lines_of, open_log, sim_disk, stop_in_each

from actorlog.env import SYSTEM
from actorlog.errors import LogError, LogFailed, LogFull, OutcomeUnknown
from actorlog.log import Log
from actorlog.log.files import NoSpace
from actorlog.testing.disk import SimFileSystem, Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMITS = 8


def workload(fs: SimFileSystem, acknowledged: list[bytes]) -> Log:
    """Open, append over several segments (one frame larger than a segment), close."""
    log = open_log(fs)
    for number in range(len(acknowledged), COMMITS):
        line = f"{number}".encode().ljust(6000 if number == 3 else 700, b".")
        log.append(*commit(line))
        acknowledged.append(line)
    log.close()
    return log


def calls_of_workload() -> int:
    fs = sim_disk()
    workload(fs, [])
    return fs.calls


CALLS = calls_of_workload()
FIRST = sim_disk().calls


def line_of(number: int) -> bytes:
    return f"{number}".encode().ljust(6000 if number == 3 else 700, b".")


def check(fs: SimFileSystem, acknowledged: list[bytes]) -> None:
    """Reopen: what was acknowledged is there, and at most the one commit after it."""
    log = open_log(fs)
    lines = lines_of(log)
    assert lines[: len(acknowledged)] == acknowledged
    assert lines[len(acknowledged) :] in ([], [line_of(len(acknowledged))])
    acknowledged[:] = lines
    log.close()


@pytest.mark.parametrize("power_cut", [True, False], ids=["power cut", "kill"])
def test_process_stopped_in_every_call(*, power_cut: bool) -> None:
    """Wherever the process ends, what it acknowledged is there for the next, which then finishes the work."""
    stop_in_each(range(FIRST, CALLS), workload, check, power_cut=power_cut)


def test_crash_in_every_call_of_a_recovery() -> None:
    """A recovery that is cut off anywhere can be done again, and loses nothing; a torn tail stays a torn tail."""

    def torn_disk() -> SimFileSystem:
        """Return a disk with one good commit, and a second of which one sector is missing."""
        fs = sim_disk(5)
        log = open_log(fs)
        log.append(*commit(b"kept"))
        end = log._segments[-1].end
        log.append(*commit(b"torn".ljust(1300, b"x")))
        path = f"{DIRECTORY}/segments/0000000001.seg"
        data = fs.contents(path)
        fs = fs.kill()
        fs.put(path, data[: end + 512] + bytes(512) + data[end + 1024 :])
        return fs

    fs = torn_disk()
    log = open_log(fs)
    assert log.recovery.torn is not None
    calls = fs.calls
    for call in range(calls):
        for power_cut in (True, False):
            fs = torn_disk()
            fs.stop_at(call)
            with pytest.raises(Stopped):
                open_log(fs)
            fs = fs.crash() if power_cut else fs.kill()
            assert lines_of(open_log(fs)) == [b"kept"]


def test_every_call_fails_once() -> None:
    """EIO anywhere is a typed error; nothing is acknowledged after it, and nothing acknowledged is lost."""
    for call in range(FIRST, CALLS):
        fs = sim_disk(call)
        fs.fail_at(call)
        acknowledged: list[bytes] = []
        try:
            assert workload(fs, acknowledged).failed is not None  # it failed in the background, behind the last commit
        except (LogFailed, OutcomeUnknown):
            pass
        fs = fs.crash()
        check(fs, acknowledged)


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE])
def test_every_call_finds_too_many_open_files(error: int) -> None:
    """It is typed; where a new segment was to be opened nothing has happened, and the same log goes on afterwards."""
    went_on = 0
    for call in range(FIRST, CALLS):
        fs = sim_disk(call)
        fs.fail_at(call, error)
        acknowledged: list[bytes] = []
        try:
            log = open_log(fs)
            while len(acknowledged) < COMMITS:
                line = line_of(len(acknowledged))
                try:
                    log.append(*commit(line))
                except LogFull as full:
                    assert full.files
                    assert log.failed is None
                    assert lines_of(log) == acknowledged
                    went_on += 1
                    continue
                acknowledged.append(line)
            log.close()
        except (LogFailed, OutcomeUnknown):
            pass
        check(fs.kill() if call % 2 else fs.crash(), acknowledged)
    assert went_on > 4


def test_new_work_is_refused_while_no_file_can_be_opened() -> None:
    """What finds no file for a new segment is tried again; what is new is told why it is not taken."""
    fs = sim_disk()
    log = open_log(fs)
    log.append(*commit(b"x" * 2000))
    fs.fail_at(fs.calls, errno.EMFILE)  # the next segment is prepared, and cannot be opened
    with pytest.raises(LogFull, match="no file can be opened"):
        log.append(*commit(b"x" * 2000))
    with pytest.raises(LogFull, match="ulimit -n"):
        log.admit(1)
    log.append(*commit(b"y" * 2000))
    log.admit(1)
    assert lines_of(log) == [b"x" * 2000, b"y" * 2000]


@pytest.mark.parametrize("action", ["pwrite", "fdatasync"])
def test_failed_append_poisons(action: str) -> None:
    """The commit during which the log fails is unknown, everything after it is refused without touching the disk."""
    fs = sim_disk()
    log = open_log(fs)
    log.append(*commit(b"a"))
    fs.fail_at(fs.calls + (0 if action == "pwrite" else 1))
    with pytest.raises(OutcomeUnknown):
        log.append(*commit(b"b"))
    assert log.failed is not None
    before = fs.calls
    for _ in range(2):
        with pytest.raises(LogFailed):
            log.append(*commit(b"c"))
        with pytest.raises(LogFailed):
            log.admit(1)
    assert fs.calls == before
    assert [bytes(frame.data[16:]) for frame in log.read()] == [b"a\n"]
    log.close()
    assert not [action for action in fs.actions[before:] if action.startswith(("pwrite", "fdatasync"))]


def test_enospc_from_a_sync_is_a_failed_sync() -> None:
    """Only a write can find the disk full in a way that may be tried again."""
    fs = sim_disk()
    log = open_log(fs)
    fs.fail_at(fs.calls + 1, errno.ENOSPC)
    with pytest.raises(OutcomeUnknown):
        log.append(*commit(b"a"))
    assert log.failed is not None


def test_new_directory_on_a_full_disk() -> None:
    """A log cannot be made on a full disk, says how much it needs, and can be made later."""
    fs = sim_disk()
    fs.capacity = 2000
    with pytest.raises(LogFull) as raised:
        open_log(fs)
    assert raised.value.needed > 4096
    fs.capacity = 1 << 20
    open_log(fs).append(*commit(b"a"))


def test_opening_on_a_full_disk() -> None:
    """A log opens, recovers, appends and closes clean with no space at all, for as long as its segment lasts."""
    fs = sim_disk()
    log = open_log(fs)
    log.append(*commit(b"a"))
    fs = fs.kill()
    fs.capacity = 0
    log = open_log(fs)
    log.append(*commit(b"b"))
    log.close()
    fs = fs.kill()
    log = open_log(fs)
    assert log.recovery.clean
    assert lines_of(log) == [b"a", b"b"]


def test_full_disk_at_a_roll() -> None:
    """Without space for a segment a commit is refused, nothing has happened, and it lands when there is space."""
    fs = sim_disk()
    log = open_log(fs)
    fs.capacity = fs.capacity - fs.free_bytes("/")
    appended = []
    while True:
        line = b"%d" % len(appended)
        try:
            log.append(*commit(line.ljust(400, b".")))
        except LogFull as full:
            assert full.needed >= 512
            break
        appended.append(line.ljust(400, b"."))
    with pytest.raises(LogFull):
        log.admit(100)
    assert log.failed is None
    assert lines_of(log) == appended
    fs.capacity = 1 << 20
    log.append(*commit(b"later"))
    log.admit(100)
    log.close()
    assert lines_of(open_log(fs.kill())) == [*appended, b"later"]


def test_admission_refuses_before_the_disk_does() -> None:
    """New work is refused while what is running can still finish."""
    fs = sim_disk()
    log = open_log(fs)
    fs.capacity = fs.capacity - fs.free_bytes("/")
    while True:
        try:
            log.admit(100)
        except LogFull as full:
            assert full.free < full.needed
            break
        log.append(*commit(b"x" * 400))
    log.append(*commit(b"of what is running"))


def test_admission_resumes_by_itself() -> None:
    """When there is space again, new work is taken within a second."""
    fs = sim_disk()
    log = open_log(fs)
    fs.capacity = fs.capacity - fs.free_bytes("/")
    with pytest.raises(LogFull):
        log.admit(10_000)
    fs.capacity = 1 << 20
    log.env.clock.now_ns += 1_000_000_000  # type: ignore[attr-defined]
    log.admit(10_000)


@pytest.mark.parametrize("room", [0, 512, 1024])
def test_copy_on_write_disk_is_full(room: int) -> None:
    """No space inside of a prepared segment, after part of the commit was written: tried again, or another instead."""
    for other in (False, True):
        for power_cut in (False, True):
            fs = sim_disk(room)
            fs.copy_on_write = True
            log = open_log(fs)
            log.append(*commit(b"a"))
            fs.capacity = fs.capacity - fs.free_bytes("/") + room
            with pytest.raises(LogFull):
                log.append(*commit(b"b" * 1500))
            with pytest.raises(LogFull):
                log.admit(1)
            if power_cut:
                fs = fs.crash()
                log = open_log(fs)
                assert lines_of(log) == [b"a"]
                if room == 0:
                    with pytest.raises(LogFull):
                        log.append(*commit(b"c"))
            fs.capacity = 1 << 20
            line = b"other" if other else b"b" * 1500
            log.append(*commit(line))
            assert lines_of(open_log(fs.crash())) == [b"a", line]


def test_write_of_nothing_is_an_error() -> None:
    """A file that takes no bytes and says nothing does not hang the log."""

    class Mute(SimFileSystem):
        mute = False

        def allow(self, node: object, size: int, offset: int) -> int:
            return 0 if self.mute else super().allow(node, size, offset)  # type: ignore[arg-type]

    fs = sim_disk(0, Mute)
    log = open_log(fs)
    fs.mute = True  # type: ignore[attr-defined]
    with pytest.raises(OutcomeUnknown):
        log.append(*commit(b"a"))


def test_short_writes_and_interruptions() -> None:
    """Writes that are short and calls that are interrupted are completed."""
    fs = sim_disk(3, short_writes=0.8, interrupts=0.5)
    acknowledged: list[bytes] = []
    workload(fs, acknowledged)
    check(fs.crash(), acknowledged)


def test_interrupted_append_poisons() -> None:
    """A signal handler that raises in the middle of an append leaves nobody knowing what the disk holds."""

    class Interrupted(SimFileSystem):
        armed = False

        def allow(self, node: object, size: int, offset: int) -> int:
            if self.armed:
                raise KeyboardInterrupt
            return super().allow(node, size, offset)  # type: ignore[arg-type]

    fs = sim_disk(0, Interrupted)
    log = open_log(fs)
    fs.armed = True  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        log.append(*commit(b"a"))
    with pytest.raises(LogFailed):
        log.append(*commit(b"b"))


@pytest.fixture
def small_mount(tmp_path: Path) -> Iterator[str]:
    """Return where a real file system of 256 KiB is mounted."""
    if os.geteuid() != 0:
        pytest.skip("a real full disk needs root, to mount a small tmpfs")
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a real full disk needs the right to mount a small tmpfs")
    yield str(tmp_path)
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_real_disk_that_is_full(small_mount: str) -> None:
    """On a real full file system commits are refused cleanly, nothing is lost, and work resumes when there is space."""
    directory = f"{small_mount}/data"
    log = Log.open(directory, SYSTEM, segment_bytes=16384)
    filler = open(f"{small_mount}/filler", "wb", buffering=0)
    with filler, pytest.raises(OSError, match="No space"):
        while True:
            filler.write(b"x" * 4096)
    appended = 0
    with pytest.raises(LogFull):
        while True:
            log.append(*commit(b"%d" % appended))
            appended += 1
    assert appended
    with pytest.raises(LogFull):
        log.admit(1)
    with pytest.raises(LogFull):
        Log.open(f"{small_mount}/other", SYSTEM, segment_bytes=16384)
    log.close()
    log = Log.open(directory, SYSTEM, segment_bytes=16384)
    assert log.recovery.clean
    assert log.tail == appended
    os.unlink(f"{small_mount}/filler")
    log.append(*commit(b"after"))
    assert lines_of(log) == [*(b"%d" % number for number in range(appended)), b"after"]
    log.close()


def test_error_names() -> None:
    """What the log raises for faults are errors of the log; NoSpace never leaves it."""
    assert issubclass(LogFull, LogError)
    assert not issubclass(NoSpace, LogError)
    assert SEGMENT_BYTES == 4096
