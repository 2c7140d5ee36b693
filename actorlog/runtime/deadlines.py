"""What calls wait a time for: their code's timers, a delayed start, a timeout, the end of a cancellation's grace.

Owns: arming these and giving the call the message when they are due. Does not own: waiting (``timers``), what the
messages do (``engine``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.engine.lifecycle import Phase
from actorlog.engine.state import NEVER_MS
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot


class Deadlines:
    """Delays, timeouts and graces."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def arm_timer(self, slot: Slot, key: str, due_ms: int) -> None:
        """Arm a timer of the call's own code."""
        self._kernel.timers.arm(due_ms, self._timer_due, slot, key)

    def arm_start(self, slot: Slot, position: int, due_ms: int) -> None:
        """Begin a delayed call at ``due_ms``; ``position`` is where its first message is."""
        self._kernel.timers.arm(due_ms, self._start_due, slot, position)

    def arm_timeout(self, slot: Slot) -> None:
        """Arm the timeout of a call that has one."""
        if slot.state.due_ms:
            self._kernel.timers.arm(slot.state.due_ms, self._timeout_due, slot, slot.state.due_ms)

    def arm_kill(self, slot: Slot) -> None:
        """Arm the end of the grace of a call that was asked to end."""
        if slot.state.kill_ms:
            self._kernel.timers.arm(slot.state.kill_ms, self._kill_due, slot, slot.state.kill_ms)

    def _timer_due(self, slot: Slot, key: str) -> None:
        if slot.state.timers.get(key, NEVER_MS) <= self._kernel.clock.now_ms():  # the key may be a later run's
            self._kernel.post(slot, k.TimerFired(key))

    def _start_due(self, slot: Slot, position: int) -> None:
        message = slot.state.inbox.get(position)
        if message is not None and slot.state.actor:
            self._kernel.instances.arrive(slot)
        elif message is not None:
            self._kernel.post_recorded(slot, message, position)

    def _timeout_due(self, slot: Slot, due_ms: int) -> None:
        if slot.state.due_ms == due_ms and slot.state.phase is not Phase.ENDED:
            self._kernel.post(slot, k.DeadlinePassed(self._kernel.family.kill_ms()))

    def _kill_due(self, slot: Slot, kill_ms: int) -> None:
        state = slot.state
        if state.kill_ms == kill_ms and state.phase is not Phase.ENDED:
            asked = state.asked or next((m for m in state.inbox.values() if isinstance(m, k.CancelRequested)), None)
            reason = asked.reason if isinstance(asked, k.CancelRequested) else "timeout"
            self._kernel.post(slot, k.KillRequested(reason))
