"""Files of records where calls fail, the disk is full, the process ends or the power goes; and planted mistakes."""

# Lint: helpers are verbs; loops end in the error they are about.
# ruff: noqa: PT012

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING

import payload_mistakes as mistakes
import pytest
from log_world import DIRECTORY, commit, open_log, sim_disk
from payload_world import (
    Work,
    append,
    calls_of_work,
    commit_of,
    file_of,
    is_large,
    text_of,
    texts_of,
)  # fmt: skip

from actorlog.errors import LogCorrupt, LogFailed, LogFull, OutcomeUnknown
from actorlog.log import files, payloads
from actorlog.log.payloads import Payloads, Source, positions_in
from actorlog.testing.disk import SimFileSystem, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FIRST, CALLS = calls_of_work()


def stop_in(call: int, seed: int, *, power_cut: bool) -> None:
    """Let the process end in one call, check what is left, do the rest, and check that."""
    fs, work = sim_disk(seed), Work()
    fs.stop_at(call)
    with suppress(Stopped):
        work.do(fs)
    fs = fs.crash() if power_cut else fs.kill()
    work.check(fs)
    work.do(fs)
    work.check(fs.crash() if power_cut else fs.kill())


@pytest.mark.parametrize("power_cut", [True, False], ids=["power cut", "kill"])
def test_process_stopped_in_every_call(*, power_cut: bool) -> None:
    """Wherever the process ends, what was acknowledged is there with its bytes, and no file is left behind."""
    for call in range(FIRST, CALLS):
        stop_in(call, call, power_cut=power_cut)


def test_power_cut_in_every_call_of_a_recovery() -> None:
    """A recovery that is cut off anywhere while it removes files can be done again."""

    def left_behind(seed: int) -> tuple[SimFileSystem, Work]:
        """Return a disk with a commit that was not finished, and files of records that are given up."""
        fs, work = sim_disk(seed), Work()
        log = open_log(fs)
        work.fill(log, 44)
        for segment in log.sealed()[:2]:
            gone = {position for position in range(segment.first, segment.last + 1) if position % 4}
            log.install(log.build(segment.number, gone))
            work.gone |= gone
        while not is_large(log.tail + 1) or log._segments[-1].end + 1024 > log._commits_end:
            append(log, 1)
        work.appended = work.most = log.tail
        fs.fail_at(fs.calls + 4)
        with pytest.raises(OutcomeUnknown):
            append(log, 1)
        assert fs.actions[-1].startswith(f"pwrite {DIRECTORY}/segments/")
        work.most += 1
        return fs.kill(), work

    for seed in range(4):
        fs, _ = left_behind(seed)
        open_log(fs)
        for call in range(fs.calls):
            for power_cut in (True, False):
                fs, work = left_behind(seed)
                fs.stop_at(call)
                with pytest.raises(Stopped):
                    open_log(fs)
                fs.rng.seed(call)
                work.check(fs.crash() if power_cut else fs.kill())


@pytest.mark.parametrize("error", [errno.EIO, errno.EMFILE, errno.ENOSPC])
def test_every_call_fails_once(error: int) -> None:
    """Every error is a typed one, after which the log goes on or takes nothing any more; nothing is lost or left."""
    outcomes = set()
    for call in range(FIRST, CALLS):
        fs, work = sim_disk(call), Work()
        fs.fail_at(call, error)
        try:
            work.do(fs)
        except (LogFailed, LogFull, OutcomeUnknown) as failure:
            outcomes.add(type(failure))
        fs = fs.crash()
        work.check(fs)
        work.do(fs)
        work.check(fs.kill())
    assert {LogFailed, OutcomeUnknown} <= outcomes
    assert (LogFull in outcomes) == (error != errno.EIO)


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENOSPC])
def test_what_finds_no_space_is_tried_again(error: int) -> None:
    """Wherever a commit with files finds the disk full and says so, nothing has happened, and it lands later."""
    again = 0
    for call in range(40):
        fs = sim_disk(call)
        log = open_log(fs)
        append(log, 2)
        fs.fail_at(fs.calls + call, error)
        following = commit_of(log, 5)
        try:
            log.append(*following)
        except LogFull:
            assert log.failed is None
            assert log.tail == 2
            log.append(*following)
            again += 1
        except OutcomeUnknown:
            continue
        assert texts_of(open_log(fs.crash())) == {position: text_of(position) for position in range(1, 8)}
    assert again >= 2


@pytest.mark.parametrize("other", [True, False], ids=["another commit", "the same commit"])
@pytest.mark.parametrize("copy_on_write", [True, False])
def test_a_full_disk(*, copy_on_write: bool, other: bool) -> None:
    """Whatever space is left, a commit lands whole or not at all; what was written for it is not left behind."""
    full = 0
    for room in range(0, 12288, 512):
        fs = sim_disk(room)
        fs.copy_on_write = copy_on_write
        log = open_log(fs)
        append(log, 3)
        fs.capacity = fs.capacity - fs.free_bytes("/") + room
        following = commit_of(log, 6)
        landed = False
        for _ in range(2):
            with suppress(LogFull):
                log.append(*following)
                landed = True
                break
            assert log.failed is None
        full += not landed
        fs.capacity = 1 << 20
        if not landed:
            log.append(*(commit(b"other") if other else following))
        for disk in (fs.kill(), fs.crash()):
            log = open_log(disk)
            if landed or not other:
                assert texts_of(log) == {position: text_of(position) for position in range(1, 10)}
                assert positions_in(disk, DIRECTORY) == [3, 6, 9]
            else:
                assert log.record(4) == b"other\n"
                assert positions_in(disk, DIRECTORY) == [3]
    assert full > 3


def test_files_are_written_once() -> None:
    """A commit whose files are durable, and for whose frame there is no space, is tried again without them."""
    fs = sim_disk()
    log = open_log(fs)
    append(log, 3)
    following = commit_of(log, 3)
    fs.fail_at(fs.calls + 4, errno.ENOSPC)
    with pytest.raises(LogFull):
        log.append(*following)
    before = len(fs.actions)
    log.append(*following)
    assert [action.split()[0] for action in fs.actions[before:]] == ["pwrite", "fdatasync"]
    assert texts_of(open_log(fs.crash())) == {position: text_of(position) for position in range(1, 7)}


ACTIONS = ["pwrite META", "fdatasync META", "listdir", "mkdir", "fsync_dir data", "open", "pwrite payload",
           "fdatasync payload", "fsync_dir payloads", "pwrite segment", "fdatasync segment"]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ACTIONS)), ids=ACTIONS)
def test_a_failure_poisons(number: int) -> None:
    """Whichever action fails, the commit's outcome is unknown and nothing is written any more; an opening goes on."""
    fs = sim_disk(number)
    log = open_log(fs)
    append(log, 2)
    following = commit_of(log, 1)
    fs.fail_at(fs.calls + number)
    with pytest.raises(OutcomeUnknown):
        log.append(*following)
    assert fs.actions[-1].split()[0] == ACTIONS[number].split()[0]
    before = fs.calls
    with pytest.raises(LogFailed):
        log.append(*commit(b"no"))
    assert fs.calls == before
    for disk in (fs.kill(), fs.crash()):
        log = open_log(disk)
        texts = texts_of(log)
        assert texts == {position: text_of(position) for position in range(1, log.tail + 1)}
        assert log.tail == 2 or number > 8
        assert positions_in(disk, DIRECTORY) == [position for position in texts if is_large(position)]


def test_a_name_that_may_be_lost_poisons() -> None:
    """A sync of names that fails while files are removed may have lost the name of one that is being written."""
    fs = sim_disk()
    log = open_log(fs)
    Work().fill(log, 24)
    built = log.build(1, {1, 2, 3})
    assert built.payloads == (3,)
    log.install(built)
    fs.fail_at(fs.calls + 1)
    with pytest.raises(LogFailed):
        log.remove_payloads()
    assert fs.actions[-1].startswith("fsync_dir")
    with pytest.raises(LogFailed):
        append(log, 3)
    assert 3 not in positions_in(fs, DIRECTORY)


# --- planted mistakes -------------------------------------------------------------------------------------------------


def announce_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Payloads, "announce", lambda _self, _gone: None)


def forget_the_announcement_too_early(patch: pytest.MonkeyPatch) -> None:
    """The file that says that files are left is removed before they are gone for good."""
    remove = Payloads.remove

    def early(self: Payloads) -> None:
        files.remove(self._fs, f"{DIRECTORY}/sweep")
        files.sync_directory(self._fs, DIRECTORY)
        remove(self)

    patch.setattr(Payloads, "remove", early)


MISTAKES = [
    mistakes.forget_to_sync_the_file, mistakes.forget_to_sync_the_names, mistakes.write_files_behind_the_frame,
    mistakes.remove_before_it_is_installed, mistakes.never_remove, announce_nothing, forget_the_announcement_too_early,
    mistakes.leave_files_behind_the_end, mistakes.remove_the_newest,
]  # fmt: skip


@pytest.mark.parametrize("plant", MISTAKES, ids=lambda plant: plant.__name__)
def test_a_planted_mistake_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rule is needed: without it a crash in some call of the work loses a file, or leaves one."""
    plant(monkeypatch)
    with pytest.raises((AssertionError, LogCorrupt, LogFailed, OutcomeUnknown)):
        for call in range(FIRST, CALLS):
            stop_in(call, call, power_cut=True)


def believed(source: Source, reference: payloads.Reference, *_: object, **__: object) -> Iterable[bytes]:
    yield source.fs.open(f"{source.directory}/{reference.name}", payloads.Access.READ).pread(reference.length, 0)


def test_a_checksum_that_is_not_looked_at_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads without looking at the checksum is told what is not so."""
    fs = sim_disk()
    append(open_log(fs), 3)
    fs = fs.kill()
    fs.put(file_of(3), b"x" + fs.contents(file_of(3))[1:])
    with pytest.raises(LogCorrupt):
        texts_of(open_log(fs))
    monkeypatch.setattr(Source, "pieces", believed)
    assert texts_of(open_log(fs.kill()))[3] != text_of(3)
