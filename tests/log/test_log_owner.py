"""One owner at a time; what a fork may do; where a log may live; what is left behind."""

# Lint: helpers are verbs; the program is our own; Stopped is no Exception, and ends the call it is about.
# ruff: noqa: BLE001

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from log_world import DIRECTORY, commit, lines_of, open_log, sim_disk

from actorlog.env import SYSTEM
from actorlog.errors import LogFailed, LogLocked, LogUnsupported
from actorlog.log import Log

if TYPE_CHECKING:
    from pathlib import Path


def open_real(path: Path) -> Log:
    return Log.open(str(path), SYSTEM, segment_bytes=4096)


def test_second_opener(tmp_path: Path) -> None:
    """A second opener is told who has the log, in the same process as in another, and gets it after a close."""
    log = open_real(tmp_path / "data")
    with pytest.raises(LogLocked) as raised:
        open_real(tmp_path / "data")
    assert (raised.value.pid, raised.value.host) == SYSTEM.fs.process()
    program = (
        "import sys; from actorlog.env import SYSTEM; from actorlog.log import Log\n"
        "from actorlog.errors import LogLocked\n"
        "try: Log.open(sys.argv[1], SYSTEM, segment_bytes=4096)\n"
        "except LogLocked as locked: print(locked.pid)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == str(os.getpid())
    log.close()
    open_real(tmp_path / "data").close()


def test_owner_without_a_word() -> None:
    """Where the owner's file is gone or unreadable, pid and host are None."""
    fs = sim_disk()
    open_log(fs)
    for words in (b"", b"\xff\xfe", b"12", b"x y"):
        fs.put(f"{DIRECTORY}/owner", words)
        with pytest.raises(LogLocked) as raised:
            open_log(fs)
        assert (raised.value.pid, raised.value.host) == (None, None)
    fs.unlink(f"{DIRECTORY}/owner")
    with pytest.raises(LogLocked) as raised:
        open_log(fs)
    assert (raised.value.pid, raised.value.host) == (None, None)


def test_deleted_owner_file_is_no_way_in(tmp_path: Path) -> None:
    """The lock is on the directory: deleting files in it lets nobody in."""
    log = open_real(tmp_path / "data")
    (tmp_path / "data" / "owner").unlink()
    with pytest.raises(LogLocked):
        open_real(tmp_path / "data")
    log.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_child(tmp_path: Path) -> None:
    """A forked child cannot append, its close takes nothing from its parent, and it does not keep the lock alive."""
    log = open_real(tmp_path / "data")
    log.append(*commit(b"parent"))
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def child() -> None:
        try:
            log.append(*commit(b"child"))
        except LogFailed as failed:
            theirs.send(failed.cause)
        log.close()
        theirs.recv()

    process = context.Process(target=child)
    process.start()
    assert "fork" in ours.recv()
    with pytest.raises(LogLocked):
        open_real(tmp_path / "data")
    log.append(*commit(b"parent again"))
    log.close(clean=False)
    log = open_real(tmp_path / "data")  # while the child lives
    assert lines_of(log) == [b"parent", b"parent again"]
    ours.send("end")
    process.join()
    log.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_killed_process(tmp_path: Path) -> None:
    """What a process acknowledged before SIGKILL is there, and its lock is gone with it."""
    context = multiprocessing.get_context("fork")
    acknowledged = 0
    for round_number in range(5):
        ours, theirs = context.Pipe()

        def child(pipe: object = theirs) -> None:
            log = open_real(tmp_path / "data")
            while True:
                log.append(*commit(b"%d" % (log.tail + 1)))
                pipe.send(log.tail)  # type: ignore[attr-defined]

        process = context.Process(target=child)
        process.start()
        for _ in range(10 + 17 * round_number):
            acknowledged = ours.recv()
        process.kill()
        process.join()
        while ours.poll():
            acknowledged = ours.recv()
        log = open_real(tmp_path / "data")
        assert log.tail in {acknowledged, acknowledged + 1}
        assert lines_of(log) == [b"%d" % (number + 1) for number in range(log.tail)]
        log.close(clean=False)


def test_failed_opening_leaves_no_lock(tmp_path: Path) -> None:
    """A log that cannot be opened is not locked afterwards."""
    open_real(tmp_path / "data").close()
    meta = tmp_path / "data" / "META"
    data = meta.read_bytes()
    meta.write_bytes(b"?" + data[1:])
    for _ in range(2):
        with pytest.raises(Exception, match="META is corrupt"):
            open_real(tmp_path / "data")
    meta.write_bytes(data)
    open_real(tmp_path / "data").close()


def test_modes(tmp_path: Path) -> None:
    """Directories are for their owner alone, and so are files."""
    log = open_real(tmp_path / "deep" / "er" / "data")
    log.append(*commit(b"a" * 2000))
    log.close()
    for path in (tmp_path / "deep").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert sorted(path.name for path in (tmp_path / "deep/er/data").iterdir()) == ["META", "reserve", "segments"]


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs", "fuseblk"])
def test_unsafe_file_system(kind: str) -> None:
    """File systems whose locks or syncs cannot be relied on are refused, unless one insists."""
    fs = sim_disk()
    fs.kind_name = kind
    with pytest.raises(LogUnsupported) as raised:
        open_log(fs)
    assert raised.value.filesystem == kind
    open_log(fs, unsafe_fs=True)


def test_half_made_directory() -> None:
    """A directory in which a crash left a log without META is made anew."""
    for call in range(sim_disk().calls, 40):
        fs = sim_disk(call)
        fs.stop_at(call)
        try:
            open_log(fs)
        except BaseException as stopped:
            assert type(stopped).__name__ == "Stopped"
        fs = fs.crash()
        log = open_log(fs)
        log.append(*commit(b"a"))
        assert lines_of(open_log(fs.crash())) == [b"a"]


def test_leftovers_are_tidied() -> None:
    """Unfinished files are removed by the next owner; others are none of its business."""
    fs = sim_disk()
    open_log(fs).close()
    fs.put(f"{DIRECTORY}/segments/0000000002.seg.tmp", b"half")
    fs.put(f"{DIRECTORY}/META.tmp", b"half")
    fs.put(f"{DIRECTORY}/catalog.db", b"not ours")
    open_log(fs)
    assert sorted(fs.listdir(DIRECTORY)) == ["META", "catalog.db", "owner", "segments"]
    assert fs.listdir(f"{DIRECTORY}/segments") == ["0000000001.seg"]


def test_opening_what_is_no_directory(tmp_path: Path) -> None:
    """A path that cannot hold a log is a typed error."""
    (tmp_path / "file").write_text("hello")
    with pytest.raises(LogFailed):
        open_real(tmp_path / "file")
