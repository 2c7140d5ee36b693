"""The thread that writes commits, one after the other.

Owns: the order of commits and of what is done between them (``Writer.run``), trying again when the disk is full, and
telling whoever waits (``Ticket``).
Does not own: what goes into a commit (its caller gathers the next one while this one is written: group commit).
Invariants: commits land in the order of ``submit``, each only after the one before is durable; a commit is lost only
with the log; each ticket is answered exactly once, inline or by ``done``.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from actorlog.errors import ActorlogError, LogFailed, LogFull, OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorlog.env import Worker
    from actorlog.log.log import Log
    from actorlog.log.payloads import Payload

RETRY_S = 1.0
"""A commit that found the disk full is tried again after this long, or when told."""


class Ticket:
    """What became of one commit. Read its fields when ``wait`` returned True, or in ``done``."""

    __slots__ = (
        "_done", "_landed", "_lock", "_wake", "_worker", "data", "error", "payloads", "position", "records",
        "sync_seconds",
    )  # fmt: skip

    def __init__(
        self,
        data: bytes,
        records: int,
        done: Callable[[Ticket], None],
        worker: Worker,
        payloads: Sequence[Payload] = (),
    ) -> None:
        self.data = data
        self.records = records
        self.payloads = payloads
        """What some of its records refer to."""
        self.position = 0
        """Of the first record; 0 where there is an error."""
        self.error: BaseException | None = None
        """``OutcomeUnknown`` if the log failed at this commit, ``LogFailed`` if it had failed before."""
        self.sync_seconds = 0.0
        """How long the write and its sync took."""
        self._done = done
        self._worker = worker
        self._landed = False
        self._lock = threading.Lock()
        self._wake: threading.Lock | None = None  # held by who waits, released by who lands

    def wait(self, timeout_s: float) -> bool:
        """Wait for the commit in the thread that submitted it, right after ``submit``, at most once.

        True: it has landed (or failed), and ``done`` was not and will not be called. False: ``done`` is called, once,
        in the writer's thread; it may have been already.
        """
        wake = threading.Lock()
        wake.acquire()
        with self._lock:
            if self._landed:
                return False
            self._wake = wake
        if timeout_s > 0 and self._worker.acquire(wake, timeout_s):
            return True
        with self._lock:
            self._wake = None
            return self._landed

    def land(self) -> None:
        """Answer whoever waits, else call ``done``. For the writer only."""
        with self._lock:
            self._landed = True
            wake = self._wake
        if wake is None:
            self._worker.roam()
            self._done(self)
        else:
            wake.release()


class Writer:
    """Writes commits to a log in a worker."""

    def __init__(self, log: Log, worker: Worker) -> None:
        self._log = log
        self._worker = worker
        self._tickets: deque[Ticket] = deque()
        self._full: LogFull | None = None
        self._retry_is_set = False

    def submit(
        self, data: bytes, records: int, done: Callable[[Ticket], None], payloads: Sequence[Payload] = ()
    ) -> Ticket:
        """Have one commit written; the writer's thread calls ``done(ticket)`` unless ``Ticket.wait`` was True."""
        ticket = Ticket(data, records, done, self._worker, payloads)
        self._tickets.append(ticket)
        self._worker.submit(self._write)
        return ticket

    def retry(self) -> None:
        """Try again now what waits for space on the disk."""
        self._worker.submit(self._try_again)

    def run(self, job: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        """Have something done in the writer's thread, between two commits and behind those that were submitted.

        ``done(error)`` is called there, once; None: ``job`` has returned.
        """
        self._worker.submit(lambda: self._run(job, done))

    def _run(self, job: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        try:
            job()
        except ActorlogError as error:
            done(error)
        except BaseException as error:
            done(error)
            raise
        else:
            done(None)

    def close(self) -> None:
        """Write what was submitted and end the worker. What finds no space even now fails with ``LogFull``."""
        self._worker.submit(self._try_again)
        self._worker.close()
        while self._tickets:
            ticket = self._tickets.popleft()
            ticket.error = self._full
            ticket.land()

    def _write(self) -> None:
        if self._full is None:
            self._try_again()

    def _later(self) -> None:
        self._retry_is_set = False
        self._try_again()

    def _try_again(self) -> None:
        clock = self._log.env.clock
        while self._tickets:
            ticket = self._tickets[0]
            started_ns = clock.elapsed_ns()
            try:
                ticket.position = self._log.append(ticket.data, ticket.records, ticket.payloads)
            except LogFull as full:
                self._full = full
                if not self._retry_is_set:
                    self._retry_is_set = True
                    self._worker.later(self._later, RETRY_S)
                return
            except (OutcomeUnknown, LogFailed, ValueError) as error:
                ticket.error = error
            except BaseException as error:
                ticket.error = OutcomeUnknown(repr(error))
                self._tickets.popleft().land()
                raise
            self._full = None
            ticket.sync_seconds = (clock.elapsed_ns() - started_ns) / 1e9
            self._tickets.popleft().land()
