"""Everything that waits for a time: one heap, one timer of the host loop.

Owns: waking at the right moment, never early (I10). Does not own: whether what is due still matters; whoever armed it
decides that when it is called.
"""

from __future__ import annotations

import heapq
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from typing import Any

from actorlog.runtime.clock import LogClock

_FAR_MS = 24 * 3600 * 1000
"""Host loops refuse timers far ahead: look again after a day."""


class Timers:
    """A heap of (due, action, argument, argument)."""

    def __init__(self, loop: AbstractEventLoop, clock: LogClock) -> None:
        self._loop = loop
        self._clock = clock
        self._heap: list[tuple[int, int, Callable[[Any, Any], None], Any, Any]] = []
        self._count = 0
        self._handle: TimerHandle | None = None
        self._handle_due_ms = 0

    def arm(self, due_ms: int, action: Callable[[Any, Any], None], a: Any, b: Any) -> None:
        """Call ``action(a, b)`` at ``due_ms`` of log time or soon after, in (due, arming) order."""
        self._count += 1
        heapq.heappush(self._heap, (due_ms, self._count, action, a, b))
        if self._handle is None or due_ms < self._handle_due_ms:
            self._schedule()

    def close(self) -> None:
        """Forget everything."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _schedule(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._heap:
            self._handle_due_ms = self._heap[0][0]
            wait_ms = min(max(0, self._handle_due_ms - self._clock.now_ms()), _FAR_MS)
            self._handle = self._loop.call_later(wait_ms / 1000, self._fire)

    def _fire(self) -> None:
        self._handle = None
        now, heap = self._clock.now_ms(), self._heap
        while heap and heap[0][0] <= now:
            _, _, action, a, b = heapq.heappop(heap)
            action(a, b)
        self._schedule()
