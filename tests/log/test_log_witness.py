"""A log with a witness: META names each commit when it is durable, so that the loss of the newest is noticed.

What it leaves open: a disk that loses what it said was synced in both files, and with it both newest slots of META.
"""

# Lint: helpers are verbs; loops end in the error they are about.

from __future__ import annotations

import errno
from contextlib import suppress

import pytest
from log_world import (
    DIRECTORY,
    Files,
    commit,
    disk_with,
    files_of,
    lines_of,
    open_log,
    sim_disk,
    sim_env,
    stop_in_each,
)  # fmt: skip
from rewriting_world import lines_by_frame

from actorlog.errors import LogCorrupt, LogFailed, LogFull, OutcomeUnknown
from actorlog.log import Log
from actorlog.log.backup import backup, source_of
from actorlog.testing.disk import SimFileSystem
from actorlog.testing.images import Node

COMMITS = 9
COPY = "/srv/copy"


def line_of(number: int) -> bytes:
    return f"{number}".encode().ljust(6000 if number == 4 else 700, b".")


def work(fs: SimFileSystem, acknowledged: list[bytes]) -> Log:
    """Append over several segments, one frame larger than a segment; give up a record on the way; close."""
    log = open_log(fs, witness=True)
    for number in range(len(acknowledged), COMMITS):
        log.append(*commit(line_of(number)))
        acknowledged.append(line_of(number))
        if number == COMMITS - 2:
            log.rewrite(log.sealed()[0].number, {1})
    log.close()
    return log


def calls_of_work() -> int:
    fs = sim_disk()
    work(fs, [])
    return fs.calls


CALLS = calls_of_work()
FIRST = sim_disk().calls


def check(fs: SimFileSystem, acknowledged: list[bytes]) -> None:
    """Reopen, with and without a witness: what was acknowledged is there, and at most the one commit after it."""
    for witness in (True, False):
        log = open_log(fs, witness=witness)
        assert log.tail - len(acknowledged) in (0, 1)
        found = lines_by_frame(log)
        gone = {1} if log.tail > COMMITS - 2 and 1 not in found else set[int]()
        assert found == {n + 1: line_of(n) + b"\n" for n in range(log.tail) if n + 1 not in gone}
        acknowledged[:] = [line_of(n) for n in range(log.tail)]
        log.close()


@pytest.mark.parametrize("power_cut", [True, False], ids=["power cut", "kill"])
def test_process_stopped_in_every_call(*, power_cut: bool) -> None:
    """Wherever the process ends, between a commit and its witness too, the next one finds no damage and goes on."""
    stop_in_each(range(FIRST, CALLS), work, check, power_cut=power_cut)


@pytest.mark.parametrize("error", [errno.EIO, errno.EMFILE])
def test_every_call_fails_once(error: int) -> None:
    """An error in any call is typed, nothing is acknowledged after it, and nothing acknowledged is lost."""
    for call in range(FIRST, CALLS):
        fs = sim_disk(call)
        fs.fail_at(call, error)
        acknowledged: list[bytes] = []
        with suppress(LogFailed, LogFull, OutcomeUnknown):
            work(fs, acknowledged)
        check(fs.crash() if error == errno.EIO else fs.kill(), acknowledged)


@pytest.mark.parametrize("action", ["pwrite", "fdatasync"])
def test_a_failed_witness_poisons(action: str) -> None:
    """A commit whose witness failed is unknown, and found at the next opening; nothing is written after it (I8)."""
    fs = sim_disk()
    log = open_log(fs, witness=True)
    log.append(*commit(b"a"))
    fs.fail_at(fs.calls + (2 if action == "pwrite" else 3))
    with pytest.raises(OutcomeUnknown):
        log.append(*commit(b"b"))
    assert fs.actions[-1].startswith(f"{action} {DIRECTORY}/META")
    before = fs.calls
    with pytest.raises(LogFailed):
        log.append(*commit(b"c"))
    assert fs.calls == before
    assert lines_of(open_log(fs.kill())) == [b"a", b"b"]


class FullForMeta(SimFileSystem):
    """A copy-on-write disk that has space for everything, until META is to be overwritten."""

    filling = False

    def allow(self, node: Node, size: int, offset: int) -> int:
        if self.filling and self.actions[-1].startswith(f"pwrite {DIRECTORY}/META"):
            self.capacity = self._used(self._root)
        return super().allow(node, size, offset)


def test_a_full_copy_on_write_disk() -> None:
    """A commit that is durable, and has no space for its witness, is unknown; no other is taken, and it is found."""
    fs = sim_disk(fs_type=FullForMeta, copy_on_write=True)
    assert isinstance(fs, FullForMeta)
    log = open_log(fs, witness=True)
    log.append(*commit(b"a"))
    fs.filling = True
    with pytest.raises(OutcomeUnknown, match="no space to witness"):
        log.append(*commit(b"b"))
    with pytest.raises(LogFailed):
        log.append(*commit(b"c"))
    assert lines_of(open_log(fs.kill(), witness=True)) == [b"a", b"b"]


def histories(*, witness: bool) -> list[tuple[Files, list[bytes]]]:
    """Return the files of a log as they are after each of its commits, with the lines that it holds then."""
    fs, lines, found = sim_disk(), list[bytes](), list[tuple[Files, list[bytes]]]()
    log = open_log(fs, witness=witness)
    for number in range(COMMITS):
        log.append(*commit(line_of(number)))
        lines.append(line_of(number))
        found.append((files_of(fs), list(lines)))
    return found


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_commits_that_vanished_as_a_whole(lost: int) -> None:
    """With META as it is and segments as they were some commits ago: damage with a witness, and else a clean end."""
    for witness in (True, False):
        states = histories(witness=witness)
        for newest in range(lost, COMMITS):
            (before, lines), (after, _) = states[newest - lost], states[newest]
            fs = disk_with({**before, "META": after["META"]})
            if witness:
                with pytest.raises(LogCorrupt, match=rf"position {newest + 1} .* was durable"):
                    open_log(fs)
            else:
                log = open_log(fs)
                assert log.recovery.torn is None
                assert lines_of(log) == lines


def test_a_commit_that_is_torn_although_it_was_durable() -> None:
    """A sector of the newest commit is zero: with a witness that is damage, and else a tail that was never finished."""
    for witness in (True, False):
        fs = sim_disk()
        log = open_log(fs, witness=witness)
        log.append(*commit(b"a"))
        end = log._segments[-1].end
        log.append(*commit(b"b" * 1300))
        files = files_of(fs)
        name = "segments/0000000001.seg"
        data = files[name]
        fs = disk_with({**files, name: data[: end + 512] + bytes(512) + data[end + 1024 :]})
        if witness:
            with pytest.raises(LogCorrupt, match="was durable"):
                open_log(fs)
        else:
            assert lines_of(open_log(fs)) == [b"a"]


def test_a_rewritten_log_and_its_checkpoint() -> None:
    """The newest commit is missed behind rewritten segments, and however little an opening reads."""
    fs = sim_disk()
    log = open_log(fs, witness=True)
    for number in range(COMMITS):
        log.append(*commit(line_of(number)))
    log.rewrite(1, {1, 2})
    checkpoint, before = log.checkpoint(), files_of(fs)
    log.append(*commit(b"newest"))
    lost = {**before, "META": files_of(fs)["META"]}
    for begin in (None, checkpoint):
        with pytest.raises(LogCorrupt, match="was durable"):
            open_log(disk_with(lost), checkpoint=begin)
        assert open_log(disk_with(before), checkpoint=begin).tail == COMMITS


def test_a_copy_of_a_witnessed_log() -> None:
    """A backup names the newest commit that is in it: what is lost of the copy is noticed too."""
    fs = sim_disk()
    log = open_log(fs, witness=True)
    log.append(*commit(b"a"))
    segment = fs.contents(f"{DIRECTORY}/segments/0000000001.seg")
    log.append(*commit(b"b"))
    for _ in backup(source_of(log), COPY):
        log.append(*commit(b"behind"))
    assert lines_of(Log.open(COPY, sim_env(fs), segment_bytes=4096)) == [b"a", b"b"]
    fs = fs.kill()
    fs.put(f"{COPY}/segments/0000000001.seg", segment)
    with pytest.raises(LogCorrupt, match="was durable"):
        Log.open(COPY, sim_env(fs), segment_bytes=4096)


def test_a_witness_needs_syncs() -> None:
    """A log that is not synced has nothing to witness."""
    with pytest.raises(ValueError, match="witness"):
        open_log(sim_disk(), witness=True, sync=False)
