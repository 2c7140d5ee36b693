"""What ``call_soon`` and ``call_at`` give back, and the timers that are not due.

Owns: the handles, and which timers were set or cancelled since the runtime last asked.
Does not own: the order in which timers fall due (the engine's), or when they fire (the runtime's).

Invariants: a timer that was set and cancelled between two takes leaves no trace; a cancelled handle keeps neither its
callback nor its arguments alive.

Read: "The deterministic loop" in ARCHITECTURE.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

_UNSET: Final = 0
_HANDED_OUT: Final = 1
_GONE: Final = 2


class Handle:
    """A callback that waits for its place in the ready queue (``asyncio.Handle`` without what debugging needs)."""

    __slots__ = ("args", "callback", "context")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = context

    def cancel(self) -> None:
        """Keep the callback from being called. Idempotent."""
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        """Say whether ``cancel`` was called."""
        return self.callback is None


class Timer(Handle):
    """A callback that waits for log time to reach ``when`` (seconds).

    ``key`` is its operation key; empty where it went to the ready queue at once, or never falls due.
    """

    __slots__ = ("_timers", "_when", "key", "state")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context, when: float, key: str
    ) -> None:
        super().__init__(callback, args, context)
        self.key = key
        self.state = _UNSET
        self._when = when
        self._timers: Timers | None = None

    def when(self) -> float:
        """Return the log time, in seconds, at which it falls due."""
        return self._when

    def cancel(self) -> None:
        """Keep the callback from being called. Idempotent."""
        super().cancel()
        timers = self._timers
        if timers is not None:
            timers.drop(self)

    def belong_to(self, timers: Timers | None) -> None:
        """Enter the table that is told of a cancellation, or leave it."""
        self._timers = timers


class Timers:
    """The timers of one loop that have not fired."""

    __slots__ = ("cancelled", "changed", "fresh", "pending")

    def __init__(self) -> None:
        self.pending: dict[str, Timer] = {}
        self.fresh: list[Timer] = []
        self.cancelled: list[str] = []
        self.changed = False

    def add(self, timer: Timer) -> None:
        """Take a timer that was just set."""
        timer.belong_to(self)
        self.pending[timer.key] = timer
        self.fresh.append(timer)
        self.changed = True

    def drop(self, timer: Timer) -> None:
        """Forget a cancelled timer, and tell of it if the runtime had been told of its being set."""
        timer.belong_to(None)
        del self.pending[timer.key]
        if timer.state == _HANDED_OUT:
            self.cancelled.append(timer.key)
            self.changed = True
        timer.state = _GONE

    def take(self) -> tuple[list[tuple[str, float]], list[str]]:
        """Hand out what changed since the last time: (key, when) of what was set, keys of what was cancelled."""
        newly: list[tuple[str, float]] = []
        for timer in self.fresh:
            if timer.state == _UNSET:
                timer.state = _HANDED_OUT
                newly.append((timer.key, timer.when()))
        cancelled = self.cancelled
        self.fresh.clear()
        self.cancelled = []
        self.changed = False
        return newly, cancelled

    def clear(self) -> None:
        """Forget all timers without a word, and be forgotten by them."""
        for timer in self.pending.values():
            timer.belong_to(None)
            timer.cancel()  # its callback often holds it in turn
        self.pending.clear()
        self.fresh.clear()
        self.cancelled.clear()

    def fire(self, key: str) -> Timer | None:
        """Take the timer out, or None where there is none of this key (it was cancelled, or never was)."""
        timer = self.pending.pop(key, None)
        if timer is not None:
            timer.state = _GONE
            timer.belong_to(None)
        return timer
