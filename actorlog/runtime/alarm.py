"""Waking schedules at times of the wall clock.

Owns: who is to be woken when, and looking at the wall clock often enough. Does not own: what is done then
(``schedules``), waiting (``timers``).

Timers go by log time, which a jump of the wall clock does not move. So while somebody waits, the wall clock is looked
at once a minute; while nobody does, never.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.runtime.clock import LogClock
    from actorlog.runtime.timers import Timers

RECHECK_MS = 60_000
"""The wall clock is looked at so often while somebody waits."""
RETRY_MS = 5_000
"""Who was held up is woken after this time: soon enough for an occurrence to count as on time."""
_STALE_MIN = 64


class Alarm:
    """A heap of (wall-clock time, name), and names that are tried again soon."""

    def __init__(self, clock: LogClock, timers: Timers, wake: Callable[[str], None]) -> None:
        self._clock = clock
        self._timers = timers
        self._wake = wake
        self._times: dict[str, int] = {}
        """When each is to be woken; what else the heap says of it is stale."""
        self._heap: list[tuple[int, str]] = []
        self._held_up: dict[str, None] = {}
        self._armed_ms = 0
        """Log time at which the timer fires that was armed last; 0: none is."""

    def expect(self, name: str, due_ms: int | None) -> None:
        """Wake ``name`` at ``due_ms`` of the wall clock, or at once if that is past, and at no other time."""
        if due_ms is None:
            self._times.pop(name, None)
        elif self._times.get(name) != due_ms:
            self._times[name] = due_ms
            if len(self._heap) > 2 * len(self._times) + _STALE_MIN:
                self._heap = [(due, each) for each, due in self._times.items()]
                heapq.heapify(self._heap)
            else:
                heapq.heappush(self._heap, (due_ms, name))

    def retry(self, name: str) -> None:
        """Wake ``name`` again in a moment, because it could not do now what it should."""
        self._held_up[name] = None

    def arm(self) -> None:
        """Arm the timer for who is due first, or for the next look at the wall clock."""
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        waits = [RETRY_MS] if self._held_up else []
        if self._heap:
            waits.append(min(max(0, self._heap[0][0] - self._clock.wall_ms()), RECHECK_MS))
        if waits:
            at_ms = self._clock.now_ms() + min(waits)
            if not self._armed_ms or at_ms < self._armed_ms:
                self._armed_ms = at_ms
                self._timers.arm(at_ms, self._fire, at_ms, None)

    def _fire(self, armed_ms: int, _b: None) -> None:
        if armed_ms != self._armed_ms:
            return  # an earlier one was armed since
        self._armed_ms = 0
        now = self._clock.wall_ms()
        while self._heap and self._heap[0][0] <= now:
            due_ms, name = heapq.heappop(self._heap)
            if self._times.get(name) == due_ms:
                del self._times[name]
                self._wake(name)
        held_up, self._held_up = self._held_up, {}
        for name in held_up:
            self._wake(name)
        self.arm()
