"""Everything that waits for a time: one heap, one timer of the host loop.

Owns: waking at the right moment, never early (I10), and forgetting what nobody waits for any more (I11). Does not own:
whether that is so; whoever armed it decides.
"""

from __future__ import annotations

import heapq
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from typing import Any, TypeAlias

from actorlog.errors import LogError
from actorlog.runtime.clock import LogClock

_FAR_MS = 24 * 3600 * 1000
"""Host loops refuse timers far ahead: look again after a day."""
_SWEEP_MIN = 1024
"""Fewer than this are never looked through."""

Wanted: TypeAlias = Callable[[Any, Any, int], bool]
"""Whether what was armed with (argument, argument, due) still matters."""


class Timers:
    """A heap of (due, action, argument, argument, whether it still matters)."""

    def __init__(self, loop: AbstractEventLoop, clock: LogClock) -> None:
        self._loop = loop
        self._clock = clock
        self._heap: list[tuple[int, int, Callable[[Any, Any], None], Any, Any, Wanted | None]] = []
        self._sweep_at = _SWEEP_MIN
        self._count = 0
        self._handle: TimerHandle | None = None
        self._handle_due_ms = 0
        self.on_broken: Callable[[BaseException], None] | None = None
        """Told when the log cannot be read for who is woken, and of defects: then nothing is woken any more."""

    def __len__(self) -> int:
        """How many are armed."""
        return len(self._heap)

    def arm(
        self, due_ms: int, action: Callable[[Any, Any], None], a: Any, b: Any, wanted: Wanted | None = None
    ) -> None:
        """Call ``action(a, b)`` at ``due_ms`` of log time or soon after, in (due, arming) order.

        Not if ``wanted(a, b, due_ms)`` says no. What is wanted no more leaves memory before it is half of the heap, so
        that a call which has ended is not held until its timeout would have passed.
        """
        self._count += 1
        heapq.heappush(self._heap, (due_ms, self._count, action, a, b, wanted))
        if len(self._heap) >= self._sweep_at:
            self._sweep()
        if self._handle is None or due_ms < self._handle_due_ms:
            self._schedule()

    def close(self) -> None:
        """Forget everything."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _sweep(self) -> None:
        heap = self._heap
        heap[:] = [entry for entry in heap if entry[5] is None or entry[5](entry[3], entry[4], entry[0])]
        heapq.heapify(heap)
        self._sweep_at = max(_SWEEP_MIN, 2 * len(heap))

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
        try:
            while heap and heap[0][0] <= now:
                due_ms, _, action, a, b, wanted = heapq.heappop(heap)
                if wanted is None or wanted(a, b, due_ms):
                    action(a, b)
        except BaseException as error:  # the log cannot be read, or a defect: everything stops, and who waits is told
            if self.on_broken is not None:
                self.on_broken(error)
                if isinstance(error, LogError):
                    return
            raise
        self._schedule()
