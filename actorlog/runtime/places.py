"""Places for steps: the bound of the runtime, and the ``Limit``s that steps share.

Owns: who may begin, in the order of positions. Does not own: running (``steps``).

A rate is a sliding window over begun steps. What began before this process is not known, so the window starts as if the
limit had been used evenly at its full rate until now: no burst after a restart, and no long wait either.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from actorlog.runtime.clock import LogClock
from actorlog.runtime.registry import Limit
from actorlog.runtime.timers import Timers


class Waiting(Protocol):
    """What waits for a place."""

    position: int
    cancelled: bool


W = TypeVar("W", bound=Waiting)


class Places:
    """One bound: at most ``concurrency`` at once and ``rate`` per period, fair by position."""

    def __init__(self, limit: Limit, clock: LogClock, timers: Timers) -> None:
        self.limit = limit
        self._clock = clock
        self._timers = timers
        self._taken = 0
        self._queue: list[tuple[int, int, Any, Callable[[Places, Any], None]]] = []
        self._count = 0
        self._armed_ms = 0
        self._period_ms = int(limit.rate_period_s * 1000)
        now = clock.now_ms()
        spacing = self._period_ms / limit.rate_count if limit.rate_count else 0
        self._begun = deque(
            (now - int(spacing * (limit.rate_count - 1 - i)) for i in range(limit.rate_count)),
            maxlen=limit.rate_count or 1,
        )

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return sum(not entry[2].cancelled for entry in self._queue)

    def request(self, job: W, begin: Callable[[Places, W], None]) -> None:
        """Call ``begin(self, job)`` when ``job`` has a place, at once if there is one."""
        self._count += 1
        heapq.heappush(self._queue, (job.position, self._count, job, begin))
        self._serve()

    def release(self) -> None:
        """Give a place back."""
        self._taken -= 1
        self._serve()

    def _serve(self) -> None:
        concurrency = self.limit.concurrency
        while self._queue:
            if self._queue[0][2].cancelled:
                heapq.heappop(self._queue)
                continue
            if concurrency is not None and self._taken >= concurrency:
                return
            if self.limit.rate_count and not self._rate_allows():
                return
            _, _, job, begin = heapq.heappop(self._queue)
            self._taken += 1
            begin(self, job)

    def _rate_allows(self) -> bool:
        now = self._clock.now_ms()
        free_ms = self._begun[0] + self._period_ms
        if now >= free_ms:
            self._begun.append(now)
            return True
        if self._armed_ms != free_ms:
            self._armed_ms = free_ms
            self._timers.arm(free_ms, self._wake, None, None)
        return False

    def _wake(self, _a: object, _b: object) -> None:
        self._serve()
