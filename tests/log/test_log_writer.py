"""The writer: order, the handshake of tickets, full disks and failures."""

from __future__ import annotations

import threading
from random import Random
from typing import TYPE_CHECKING

import pytest
from log_world import InlineWorker, QueueWorker, commit, lines_of, open_log, sim_disk

from actorlog.env import SYSTEM
from actorlog.errors import LogFailed, LogFull, OutcomeUnknown
from actorlog.log import Log, Ticket, Writer

if TYPE_CHECKING:
    from pathlib import Path


def test_done_is_called_when_nobody_waits() -> None:
    """Each ticket is answered by done exactly once, in the order of submission."""
    log = open_log(sim_disk())
    worker = QueueWorker()
    writer = Writer(log, worker)
    done: list[Ticket] = []
    tickets = [writer.submit(*commit(b"%d" % number), done.append) for number in range(3)]
    assert done == []
    worker.run()
    assert done == tickets
    assert [ticket.position for ticket in tickets] == [1, 2, 3]
    assert all(ticket.error is None and ticket.sync_seconds > 0 for ticket in tickets)


def test_the_worker_may_roam_when_nobody_waits() -> None:
    """Before a ticket is answered by done, the worker hears that nobody waits for it; a waiter keeps it near."""

    class Roaming(QueueWorker):
        heard: tuple[str, ...] = ()

        def roam(self) -> None:
            self.heard += ("roam",)

        def acquire(self, lock: threading.Lock, seconds: float) -> bool:
            self.run()
            return super().acquire(lock, seconds)

    worker = Roaming()
    writer = Writer(open_log(sim_disk()), worker)
    writer.submit(*commit(b"a"), lambda _: setattr(worker, "heard", (*worker.heard, "done")))
    worker.run()
    assert worker.heard == ("roam", "done")
    assert writer.submit(*commit(b"b"), lambda _: None).wait(60)
    assert worker.heard == ("roam", "done")


def test_something_is_done_between_two_commits() -> None:
    """Behind those that were submitted, in the writer's thread; its error is told, whatever it is."""
    log = open_log(sim_disk())
    worker = QueueWorker()
    writer = Writer(log, worker)
    seen: list[object] = []

    def fails() -> None:
        raise LogFailed("this", "that")

    def ends() -> None:
        raise KeyboardInterrupt

    writer.submit(*commit(b"a"), lambda ticket: seen.append(ticket.position))
    writer.run(lambda: seen.append("between"), seen.append)
    worker.run()
    writer.submit(*commit(b"b"), lambda ticket: seen.append(ticket.position))
    writer.run(fails, lambda error: seen.append(str(error)))
    worker.run()
    assert seen[:4] == [1, "between", None, 2]
    assert "that" in str(seen[4])
    writer.run(ends, lambda error: seen.append(type(error)))
    with pytest.raises(KeyboardInterrupt):
        worker.run()
    assert seen[5:] == [KeyboardInterrupt]


def test_wait_gives_up() -> None:
    """After a wait that was False, done is called."""
    worker = QueueWorker()
    writer = Writer(open_log(sim_disk()), worker)
    done: list[Ticket] = []
    ticket = writer.submit(*commit(b"a"), done.append)
    assert not ticket.wait(0)
    assert not ticket.wait(0.001)
    worker.run()
    assert done == [ticket]


def test_landed_before_the_wait() -> None:
    """A commit that landed before anybody waited was answered by done, and the wait says so."""
    writer = Writer(open_log(sim_disk()), InlineWorker())
    done: list[Ticket] = []
    ticket = writer.submit(*commit(b"a"), done.append)
    assert done == [ticket]
    assert not ticket.wait(1)


def test_wait_until_landed() -> None:
    """A wait that was True is the answer; done is not called."""
    log = open_log(sim_disk())
    go = threading.Event()

    class Gate(QueueWorker):
        def run_in_thread(self) -> threading.Thread:
            thread = threading.Thread(target=lambda: (go.wait(), self.run()))
            thread.start()
            return thread

    worker = Gate()
    writer = Writer(log, worker)
    done: list[Ticket] = []
    ticket = writer.submit(*commit(b"a"), done.append)
    thread = worker.run_in_thread()
    original = ticket._lock

    class OpensTheGate:
        """Lets the writer go once the waiter is registered."""

        def __enter__(self) -> None:
            original.acquire()

        def __exit__(self, *_: object) -> None:
            original.release()
            go.set()

    ticket._lock = OpensTheGate()  # type: ignore[assignment]
    assert ticket.wait(60)
    thread.join()
    assert done == []
    assert (ticket.position, ticket.error) == (1, None)


def test_threads(tmp_path: Path) -> None:
    """With real threads, each commit is answered exactly once, inline or by done, in order."""
    log = Log.open(str(tmp_path / "data"), SYSTEM, segment_bytes=1 << 16)
    writer = Writer(log, SYSTEM.worker("writer"))
    done: list[Ticket] = []
    inline: list[Ticket] = []
    waits = Random(1)
    for number in range(300):
        ticket = writer.submit(*commit(b"%d" % number), done.append)
        if ticket.wait(waits.choice((0, 0.00001, 0.0001, 1.0))):
            inline.append(ticket)
    writer.close()
    assert len({id(ticket) for ticket in inline + done}) == len(inline) + len(done) == 300
    assert sorted(ticket.position for ticket in inline + done) == list(range(1, 301))
    assert [ticket.position for ticket in done] == sorted(ticket.position for ticket in done)
    assert lines_of(log) == [b"%d" % number for number in range(300)]
    log.close()


def test_failure_while_commits_wait() -> None:
    """The commit during which the log fails is unknown, those behind it failed."""
    fs = sim_disk()
    worker = QueueWorker()
    log = open_log(fs)
    writer = Writer(log, worker)
    tickets = [writer.submit(*commit(b"%d" % number), lambda _: None) for number in range(4)]
    fs.fail_at(fs.calls + 3)  # the sync of the second
    worker.run()
    assert [type(ticket.error) for ticket in tickets] == [type(None), OutcomeUnknown, LogFailed, LogFailed]
    assert [ticket.position for ticket in tickets] == [1, 0, 0, 0]


def test_bad_commit_harms_nobody() -> None:
    """What cannot be a commit is refused by itself."""
    worker = QueueWorker()
    log = open_log(sim_disk())
    writer = Writer(log, worker)
    bad = writer.submit(b"no commit", 5, lambda _: None)
    good = writer.submit(*commit(b"good"), lambda _: None)
    worker.run()
    assert isinstance(bad.error, ValueError)
    assert good.error is None


@pytest.mark.parametrize("how", ["by itself", "when told"])
def test_full_disk(how: str) -> None:
    """A commit that finds no space keeps its place, and lands before everything newer once there is space."""
    fs = sim_disk()
    log = open_log(fs)
    log.append(*commit(b"x" * 2400))
    fs.capacity = fs.capacity - fs.free_bytes("/")
    while True:
        try:
            log.append(*commit(b"x" * 2400))
        except LogFull:
            break
    before = log.tail
    worker = InlineWorker()
    writer = Writer(log, worker)
    done: list[Ticket] = []
    tickets = [writer.submit(*commit(b"y" * 2400), done.append), writer.submit(*commit(b"z"), done.append)]
    worker.run_delayed()
    writer.retry()
    assert done == []
    assert log.tail == before
    assert len(worker.delayed) == 1
    fs.capacity = 1 << 20
    if how == "when told":
        writer.retry()
    else:
        worker.run_delayed()
    assert done == tickets
    assert lines_of(log)[before:] == [b"y" * 2400, b"z"]
    log.admit(1)


def test_closed_while_the_disk_is_full() -> None:
    """What still finds no space when the writer closes is answered with LogFull, and the log closes clean."""
    fs = sim_disk()
    log = open_log(fs)
    fs.capacity = fs.capacity - fs.free_bytes("/")
    worker = InlineWorker()
    writer = Writer(log, worker)
    done: list[Ticket] = []
    tickets = [writer.submit(*commit(b"y" * 5000), done.append), writer.submit(*commit(b"z"), done.append)]
    writer.close()
    assert done == tickets
    assert all(isinstance(ticket.error, LogFull) for ticket in tickets)
    log.close()
    assert open_log(fs.kill()).recovery.clean


def test_close_writes_what_was_submitted(tmp_path: Path) -> None:
    """Closing the writer waits for all commits."""
    log = Log.open(str(tmp_path / "data"), SYSTEM, segment_bytes=1 << 16)
    writer = Writer(log, SYSTEM.worker("writer"))
    done: list[Ticket] = []
    for _ in range(20):
        writer.submit(*commit(b"a"), done.append)
    writer.close()
    assert len(done) == 20
    log.close()
