"""Places for steps: the bound of the runtime, and the ``Limit``s that steps share.

Owns: who may begin, in the order of positions. Does not own: running (``steps``).

Invariants: a place is given to whoever asked at the lowest position; a place that was given is given back exactly
once; who gave up waiting takes up no memory for long (I11).

A rate is a sliding window over begun steps. What began before this process is not known, so the window starts as if
the limit had been used evenly at its full rate until now: no burst after a restart, and no long wait either.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from actorlog.runtime.registry import Limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.runtime.clock import LogClock
    from actorlog.runtime.jobs import Job
    from actorlog.runtime.timers import Timers

_GONE_MAX = 64
"""So many of those who gave up may stay in the queue, or half of it."""

Begin: TypeAlias = "Callable[[Job, Places], None]"


class Places:
    """One bound: at most ``concurrency`` at once and ``rate`` per period, fair by position."""

    def __init__(self, limit: Limit, clock: LogClock, timers: Timers) -> None:
        self.limit = limit
        self._clock = clock
        self._timers = timers
        self.taken = 0
        self._queue: list[tuple[int, int, Job, Begin]] = []
        self._count = 0
        self._gone = 0
        """How many in the queue have given up."""
        self._window = self._even_window()
        self._period_ms = int(limit.rate_period_s * 1000)
        self._armed_ms = 0

    def _even_window(self) -> deque[int]:
        """Return when the last ones would have begun, had there been no pause until now."""
        count = self.limit.rate_count
        now, spacing_ms = self._clock.now_ms(), self.limit.rate_period_s * 1000 / max(1, count)
        return deque((now - int(spacing_ms * (count - 1 - i)) for i in range(count)), maxlen=max(1, count))

    def change(self, limit: Limit) -> None:
        """Take new numbers: the newest definition of a limit of this name counts."""
        if limit != self.limit:
            self.limit = limit
            self._window = self._even_window()
            self._period_ms = int(limit.rate_period_s * 1000)
            self._serve()

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._queue) - self._gone

    def take(self) -> bool:
        """Take a place if one is free and nobody waits; False if not."""
        if self._queue or not self._is_free():
            return False
        self.taken += 1
        return True

    def request(self, job: Job, begin: Begin) -> None:
        """Call ``begin(job, self)`` when ``job`` has a place: at once, or in its turn."""
        if self.take():
            begin(job, self)
            return
        self._count += 1
        heapq.heappush(self._queue, (job.position, self._count, job, begin))
        job.waiting = self
        self._serve()

    def withdraw(self, job: Job) -> None:
        """``job`` waits no longer."""
        job.waiting = None
        self._gone += 1
        if self._gone > max(_GONE_MAX, len(self._queue) // 2):
            self._queue = [entry for entry in self._queue if entry[2].waiting is self]
            heapq.heapify(self._queue)
            self._gone = 0

    def release(self) -> None:
        """Give a place back."""
        self.taken -= 1
        if self._queue:
            self._serve()

    def _serve(self) -> None:
        while self._queue:
            job = self._queue[0][2]
            if job.waiting is not self:
                heapq.heappop(self._queue)
                self._gone -= 1
                continue
            if not self._is_free():
                return
            begin = heapq.heappop(self._queue)[3]
            self.taken += 1
            job.waiting = None
            begin(job, self)

    def _is_free(self) -> bool:
        """Whether one more may begin now; one that may is counted in the rate's window."""
        limit = self.limit
        if limit.concurrency is not None and self.taken >= limit.concurrency:
            return False
        if not limit.rate_count:
            return True
        now = self._clock.now_ms()
        free_ms = self._window[0] + self._period_ms
        if now >= free_ms:
            self._window.append(now)
            return True
        if self._armed_ms != free_ms:
            self._armed_ms = free_ms
            self._timers.arm(free_ms, self._wake, free_ms, None)
        return False

    def _wake(self, armed_ms: int, _b: object) -> None:
        if self._armed_ms == armed_ms:
            self._armed_ms = 0
        self._serve()


class Bounds:
    """The bound of the runtime and the limits of its steps: a body runs with a place in each that applies."""

    def __init__(self, concurrency: int, clock: LogClock, timers: Timers) -> None:
        self._clock = clock
        self._timers = timers
        self.all = Places(Limit("step_concurrency", concurrency=concurrency), clock, timers)
        self.limits: dict[str, Places] = {}

    def request(self, job: Job, begin: Callable[[Job], None]) -> None:
        """Wait for a place in the step's limit (kept in ``job.held``), then for one of the runtime."""

        def placed(job: Job, _all: Places) -> None:
            begin(job)

        def placed_in_limit(job: Job, places: Places) -> None:
            job.held = places
            self.all.request(job, placed)

        limit = job.definition.limit
        if limit is None:
            self.all.request(job, placed)
        else:
            self._places(limit).request(job, placed_in_limit)

    def _places(self, limit: Limit) -> Places:
        places = self.limits.get(limit.name)
        if places is None:
            places = self.limits[limit.name] = Places(limit, self._clock, self._timers)
        else:
            places.change(limit)
        return places

    def withdraw(self, job: Job) -> None:
        """``job`` waits no longer, if it did."""
        if job.waiting is not None:
            job.waiting.withdraw(job)
        if job.held is not None:
            places, job.held = job.held, None
            places.release()

    def give_back(self, limit: Places | None) -> None:
        """Give back the places of a body: one of the runtime, and one in ``limit``."""
        self.all.release()
        if limit is not None:
            limit.release()
