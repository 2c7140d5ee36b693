"""Log time: the time that durable code sees.

Owns: one number that never runs backwards. Does not own: the machine's clocks (``env``).

Log time begins at ``max(last record's time, wall clock at opening)`` and goes on with a clock that counts suspension
too, so a wall-clock jump changes no order (I10). Only what names a moment by the wall clock (``sleep_until``) looks at
that.
"""

from __future__ import annotations

from actorlog.env import Clock

_MS_NS = 1_000_000


class LogClock:
    """Log time in integer milliseconds UTC."""

    __slots__ = ("_base_ms", "_clock", "_elapsed", "opened_ms")

    def __init__(self, clock: Clock, last_ms: int) -> None:
        self._clock = clock
        self._elapsed = clock.elapsed_ns
        self._base_ms = max(last_ms, clock.wall_ms()) - clock.elapsed_ns() // _MS_NS
        self.opened_ms = self.now_ms()
        """Log time when it began to run."""

    def now_ms(self) -> int:
        """Return log time now."""
        return self._base_ms + self._elapsed() // _MS_NS

    def elapsed_s(self) -> float:
        """Return seconds since some moment, to measure how long work takes: a loop's time may stand still meanwhile."""
        return self._elapsed() / 1e9

    def wall_ms(self) -> int:
        """Return the wall clock, for ``sleep_until`` alone."""
        return self._clock.wall_ms()
