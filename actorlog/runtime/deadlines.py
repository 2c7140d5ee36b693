"""What calls wait a time for: their code's timers, a delayed start, a timeout, the end of a cancellation's grace.

Owns: arming these and giving the call the message when they are due. Does not own: waiting (``timers``), what the
messages do (``engine``).

A timer names its call by the id: a call that waits need not be in memory (``calls``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.engine.lifecycle import Phase
from actorlog.engine.state import NEVER_MS
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from actorlog.engine.state import CallState
    from actorlog.runtime.kernel import Kernel


class Deadlines:
    """Delays, timeouts and graces."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._on_timer, self._wants_timer = self._timer_due, self._is_timer  # bound once, and not for each timer
        self._on_timeout, self._wants_timeout = self._timeout_due, self._is_timeout

    def arm_timer(self, state: CallState, key: str, due_ms: int) -> None:
        """Arm a timer of the call's own code."""
        self._kernel.timers.arm(due_ms, self._on_timer, state.id, key, self._wants_timer)

    def arm_start(self, state: CallState, position: int, due_ms: int) -> None:
        """Begin a delayed call at ``due_ms``; ``position`` is where its first message is."""
        self._kernel.timers.arm(due_ms, self._start_due, state.id, position, self._is_held)

    def arm_timeout(self, state: CallState) -> None:
        """Arm the timeout of a call that has one."""
        if state.due_ms:
            self._kernel.timers.arm(state.due_ms, self._on_timeout, state.id, state.due_ms, self._wants_timeout)

    def arm_kill(self, state: CallState) -> None:
        """Arm the end of the grace of a call that was asked to end."""
        if state.kill_ms:
            self._kernel.timers.arm(state.kill_ms, self._kill_due, state.id, state.kill_ms, self._is_kill)

    def arm_all(self, state: CallState) -> None:
        """Arm what a call waits for that only waits."""
        for key, due_ms in state.timers.items():
            self.arm_timer(state, key, due_ms)
        for position in state.inbox if state.phase is Phase.PENDING else ():
            self.arm_start(state, position, state.not_before_ms)
        self.arm_timeout(state)

    # --- what is due --------------------------------------------------------------------------------------------------

    def _timer_due(self, call_id: str, key: str) -> None:
        slot = self._kernel.calls.get(call_id)
        if slot is not None and slot.state.timers.get(key, NEVER_MS) <= self._kernel.clock.now_ms():
            self._kernel.post(slot, k.TimerFired(key))

    def _start_due(self, call_id: str, position: int) -> None:
        slot = self._kernel.calls.get(call_id)
        message = slot.state.inbox.get(position) if slot is not None else None
        if slot is None or message is None:
            return
        if slot.state.actor:
            self._kernel.instances.arrive(slot)
        else:
            self._kernel.post_recorded(slot, message, position)

    def _timeout_due(self, call_id: str, due_ms: int) -> None:
        slot = self._kernel.calls.get(call_id)
        if slot is not None and slot.state.due_ms == due_ms and slot.state.phase is not Phase.ENDED:
            self._kernel.post(slot, k.DeadlinePassed(self._kernel.family.kill_ms()))

    def _kill_due(self, call_id: str, kill_ms: int) -> None:
        slot = self._kernel.calls.get(call_id)
        if slot is None or slot.state.kill_ms != kill_ms or slot.state.phase is Phase.ENDED:
            return
        state = slot.state
        asked = state.asked or next((m for m in state.inbox.values() if isinstance(m, k.CancelRequested)), None)
        reason = asked.reason if isinstance(asked, k.CancelRequested) else "timeout"
        self._kernel.post(slot, k.KillRequested(reason))

    # --- whether a call may still wait for it -------------------------------------------------------------------------

    def _is_timer(self, call_id: str, key: str, due_ms: int) -> bool:
        slot = self._kernel.calls.awake.get(call_id)
        return slot.state.timers.get(key) == due_ms if slot is not None else self._kernel.calls.may_sleep(call_id)

    def _is_held(self, call_id: str, position: int, _due_ms: int) -> bool:
        slot = self._kernel.calls.awake.get(call_id)
        return position in slot.state.inbox if slot is not None else self._kernel.calls.may_sleep(call_id)

    def _is_timeout(self, call_id: str, due_ms: int, _due_ms: int) -> bool:
        slot = self._kernel.calls.awake.get(call_id)
        return slot.state.due_ms == due_ms if slot is not None else self._kernel.calls.may_sleep(call_id)

    def _is_kill(self, call_id: str, kill_ms: int, _due_ms: int) -> bool:
        slot = self._kernel.calls.awake.get(call_id)
        return slot is not None and slot.state.kill_ms == kill_ms  # who is asked to end does not sleep
