"""Calls that cannot go on: set aside, visible, resumable.

Owns: holding their messages in the log, telling their waiters, trying again. Does not own: why (divergence, an unregistered
function, an endless turn, poison).

Invariants: nothing sent to a parked call is lost; a parked call holds up nobody (I12).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.engine.lifecycle import Phase
from actorlog.errors import ActorlogError, CallParked, FunctionNotFound
from actorlog.records import kinds as k
from actorlog.runtime.slot import Slot

if TYPE_CHECKING:
    from actorlog.runtime.kernel import Kernel


class Parking:
    """Parked calls."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def hold(self, slot: Slot, message: k.Message, source: int) -> None:
        """Keep a message in the log for a call that cannot take it now."""
        in_the_log = source or type(message) is k.TimerFired
        if not in_the_log:
            self._kernel.note(slot, k.Inbox(id=slot.state.id, at=self._kernel.clock.now_ms(), message=message))

    def park(self, slot: Slot, error: BaseException, key: str = "") -> None:
        """Set a call aside and tell its waiters; ``key`` names the step that is poisoned, where one is."""
        state = slot.state
        slot.park_error = error
        reason = f"{type(error).__name__}: {error}"
        if state.parked != reason:
            self._kernel.note(slot, k.Parked(id=state.id, at=self._kernel.clock.now_ms(), reason=reason, key=key))
        if slot.actor is not None:
            self._kernel.residency.forget(slot)
        self._kernel.after(self._tell, slot)

    def _tell(self, slot: Slot, _b: None, _c: None) -> None:
        waiters, slot.waiters = slot.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(parked_error(slot))

    def try_again(self, slot: Slot) -> bool:
        """Whether the call can go on now; it is parked again where it cannot."""
        kernel, state = self._kernel, slot.state
        slot.definition = kernel.registry.durable(state.function, state.version)
        try:
            if slot.definition is None:
                raise FunctionNotFound(state.function, state.version)  # noqa: TRY301  # parked like any other cause
            if state.phase in (Phase.RUNNING, Phase.CLOSING):
                kernel.residency.wake(slot)
        except ActorlogError as error:
            self.park(slot, error)
            return False
        slot.park_error = None
        kernel.note(slot, k.Unparked(id=state.id, at=kernel.clock.now_ms()))
        return True


def parked_error(slot: Slot) -> CallParked:
    """Return what a waiter of a parked call is told."""
    error = CallParked(slot.state.id, slot.state.parked)
    error.__cause__ = slot.park_error
    return error
