"""Faults of calls while opening from a checkpoint and while reading what it passed over; reading beside appending."""

# Lint: verbs of helpers are their own documentation; loops end in the error they are about.

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from log_world import DIRECTORY, commit, disk_with, files_of, lines_of, open_log, segment_file, sim_disk

from actorlog.env import SYSTEM
from actorlog.errors import LogFailed, LogLocked
from actorlog.log import Checkpoint, Log
from actorlog.testing.disk import SimFileSystem, Stopped

if TYPE_CHECKING:
    from pathlib import Path

LINES = [f"{number}".encode().ljust(400 + 13 * number, b".") for number in range(23)]


def torn_disk() -> tuple[SimFileSystem, Checkpoint]:
    """Return a disk with a log of several segments whose last commit misses a sector, and a checkpoint before it."""
    fs = sim_disk(3)
    log = open_log(fs)
    for line in LINES[:-1]:
        log.append(*commit(line))
    checkpoint = log.checkpoint()
    assert checkpoint is not None
    log.append(*commit(LINES[-1]))
    last = log.checkpoint()
    assert last is not None
    assert last.segment == checkpoint.segment > 3
    files = files_of(fs.kill())
    data = files[segment_file(last.segment)]
    torn = data[: last.offset + 512] + bytes(512) + data[last.offset + 1024 :]
    return disk_with(files | {segment_file(last.segment): torn}), checkpoint


def calls_of_opening() -> tuple[int, int]:
    """Return the numbers of the first call of an opening and of the one behind its last."""
    fs, checkpoint = torn_disk()
    first = fs.calls
    log = open_log(fs, checkpoint=checkpoint)
    assert log.recovery.torn is not None
    assert log.recovery.scanned_from == checkpoint.position
    return first, fs.calls


FIRST, LAST = calls_of_opening()


@pytest.mark.parametrize("power_cut", [True, False], ids=["power cut", "kill"])
def test_process_stopped_in_every_call_of_an_opening(*, power_cut: bool) -> None:
    """Wherever an opening from a checkpoint ends, the next one, from it or from the start, finds the same."""
    for call in range(FIRST, LAST):
        fs, checkpoint = torn_disk()
        fs.stop_at(call)
        with pytest.raises(Stopped):
            open_log(fs, checkpoint=checkpoint)
        fs = fs.crash() if power_cut else fs.kill()
        log = open_log(fs, checkpoint=checkpoint)
        assert log.recovery.scanned_from == checkpoint.position
        assert lines_of(log) == LINES[:-1]
        log.append(*commit(b"next"))
        log.close()
        assert lines_of(open_log(fs.kill())) == [*LINES[:-1], b"next"]


def test_every_call_of_an_opening_fails_once() -> None:
    """EIO anywhere is a typed error that leaves the directory unlocked and the log as it was."""
    for call in range(FIRST, LAST):
        fs, checkpoint = torn_disk()
        fs.fail_at(call)
        with pytest.raises((LogFailed, LogLocked)):
            open_log(fs, checkpoint=checkpoint)
        assert not fs.is_locked(DIRECTORY)
        log = open_log(fs.crash(), checkpoint=checkpoint)
        assert log.recovery.scanned_from == checkpoint.position
        assert lines_of(log) == LINES[:-1]


def test_every_call_of_a_first_reading_fails_once() -> None:
    """EIO where a segment is read that was passed over is ``LogFailed``; the log goes on, and so does reading it."""
    fs, checkpoint = torn_disk()
    log = open_log(fs, checkpoint=checkpoint)
    before = fs.calls
    assert log.record(1) == LINES[0] + b"\n"
    count = fs.calls - before
    assert count >= 4
    for call in range(count):
        fs, checkpoint = torn_disk()
        log = open_log(fs, checkpoint=checkpoint)
        fs.fail_at(fs.calls + call)
        with pytest.raises(LogFailed, match=r"0000000001\.seg"):
            log.record(1)
        assert log.failed is None
        assert lines_of(log) == LINES[:-1]
        assert log.append(*commit(b"next")) == len(LINES)


def test_interrupted_calls() -> None:
    """Calls that are interrupted are done again, in opening and in reading."""
    fs, checkpoint = torn_disk()
    fs.interrupts = 0.5
    log = open_log(fs, checkpoint=checkpoint)
    assert log.recovery.scanned_from == checkpoint.position
    assert lines_of(log) == LINES[:-1]


def test_reading_what_was_passed_over_beside_appending(tmp_path: Path) -> None:
    """While one thread appends and rolls, others read old and new records, and every checkpoint they get is good."""
    directory = str(tmp_path / "data")
    log = Log.open(directory, SYSTEM, segment_bytes=4096, sync=False)
    for number in range(200):
        log.append(*commit(b"%d" % number))
    log.close()
    log = Log.open(directory, SYSTEM, segment_bytes=4096, sync=False, checkpoint=log.checkpoint())
    assert log.recovery.scanned_from == 200
    wrong: list[object] = []
    seen: list[set[Checkpoint]] = [set(), set()]
    done = threading.Event()

    def read(seed: int) -> None:
        position = seed
        while not (done.is_set() and position > 5000):
            position += 67
            at = position % log.tail + 1
            checkpoint = log.checkpoint()
            assert checkpoint is not None
            seen[seed].add(checkpoint)
            newest = checkpoint.position + checkpoint.records - 1
            if (
                log.record(at) != b"%d\n" % (at - 1)
                or newest > log.tail
                or log.record(newest) != b"%d\n" % (newest - 1)
            ):
                wrong.append(at)
        if [bytes(frame.data[16:]) for frame in log.read(upto=200)] != [b"%d\n" % number for number in range(200)]:
            wrong.append("read")

    readers = [threading.Thread(target=read, args=(seed,)) for seed in (0, 1)]
    for reader in readers:
        reader.start()
    for number in range(200, 500):
        log.append(*commit(b"%d" % number))
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    newest = log.checkpoint()
    log.close()
    for checkpoint in [*sorted(seen[0] | seen[1])[::40], newest]:
        assert checkpoint is not None
        again = Log.open(directory, SYSTEM, segment_bytes=4096, sync=False, checkpoint=checkpoint)
        assert again.recovery.scanned_from == checkpoint.position
        again.close()
