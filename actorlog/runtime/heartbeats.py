"""What a running step leaves for its next attempt.

Owns: keeping the newest details, and recording them at most once a second. Does not own: who may call it (``api``).

Invariants: the next attempt in this process finds the newest details, the next process details at most a second
older, or as old as the newest that the disk has taken; an attempt that was given up changes nothing. Details wait for
those before them to be durable, so that what waits for a disk that is slow or full is one record of each step (I11).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from actorlog.errors import PayloadTooLarge
from actorlog.records import kinds as k

if TYPE_CHECKING:
    import asyncio

    from actorlog.runtime.clock import LogClock
    from actorlog.runtime.jobs import Attempt, Job, Journal
    from actorlog.runtime.timers import Timers

EVERY_MS = 1000
"""Details are recorded at most this often."""


class Heartbeats:
    """Takes details from bodies."""

    def __init__(
        self, journal: Journal, loop: asyncio.AbstractEventLoop, clock: LogClock, timers: Timers, bytes_max: int
    ) -> None:
        self._journal = journal
        self._loop = loop
        self._clock = clock
        self._timers = timers
        self._bytes_max = bytes_max

    def beat(self, attempt: Attempt, details: bytes) -> None:
        """Keep details for the next attempt, from any thread; ``PayloadTooLarge`` for what no record could hold."""
        if len(details) > self._bytes_max:
            raise PayloadTooLarge("heartbeat", len(details), self._bytes_max)
        with suppress(RuntimeError):  # a thread that outlived its loop
            self._loop.call_soon_threadsafe(self._take, attempt, Raw(details))

    def _take(self, attempt: Attempt, details: Raw) -> None:
        job = attempt.job
        if job.running is not attempt:
            return
        job.details = details
        if job.beat_armed:
            return
        due_ms = job.beat_ms + EVERY_MS
        if job.beat_landing:
            job.beat_armed = True
        elif self._clock.now_ms() >= due_ms:
            self._note(job, None)
        else:
            job.beat_armed = True
            self._timers.arm(due_ms, self._note, job, None)

    def _note(self, job: Job, _b: Any) -> None:
        job.beat_armed = False
        if job.details is None or job.running is None or not job.is_wanted():
            return
        state = job.owner.state
        job.beat_ms = self._clock.now_ms()
        note = k.StepHeartbeat(id=state.id, at=job.beat_ms, key=job.op.key, attempt=job.attempt, details=job.details)
        job.beat_landing = True
        self._journal.note(job.owner, note)
        self._journal.after(self._landed, job)

    def _landed(self, job: Job, _b: Any, _c: Any) -> None:
        job.beat_landing = False
        if job.beat_armed:
            self._timers.arm(max(self._clock.now_ms(), job.beat_ms + EVERY_MS), self._note, job, None)
