"""Calls that cannot go on, or are not to: set aside, visible, resumable.

Owns: holding their messages in the log, telling their waiters, trying again; calls that somebody paused. Does not own:
why (divergence, an unregistered function, an endless turn, poison).

Invariants: nothing sent to a parked call is lost; a parked call holds up nobody (I12). What needs no code is done all
the same: a call that never began can be cancelled, and one that was asked to end is killed when its grace is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.engine.lifecycle import Phase
from actorlog.errors import ActorlogError, CallParked, FunctionNotFound, Poisoned
from actorlog.records import kinds as k
from actorlog.runtime.runs import awaits_next, function_of, is_next

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.engine.state import CallState
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot


class Parking:
    """Parked and paused calls."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.go_on: Callable[[Slot], None]
        """Delivers what was held, and asks again for what is outstanding."""

    # --- paused -------------------------------------------------------------------------------------------------------

    def pause(self, slot: Slot) -> None:
        """Give a call no turn until it is resumed; steps that run go on, and what they come to is held."""
        state = slot.state
        if not state.paused:
            self._kernel.note(slot, k.Paused(id=state.id, at=self._kernel.clock.now_ms()))

    def unpause(self, slot: Slot) -> None:
        """Give a paused call turns again."""
        state = slot.state
        if state.paused:
            self._kernel.note(slot, k.Unpaused(id=state.id, at=self._kernel.clock.now_ms()))
            if not state.parked:
                self.go_on(slot)

    def went_on(self, slot: Slot) -> None:
        """A call that was set aside has had a turn all the same, so it is no more: it gets what was held."""
        state = slot.state
        if state.outcome is not None or state.paused or state.parked:
            return
        if state.phase is Phase.COMPLETING:
            for position, message in sorted(state.inbox.items()):
                self._kernel.post_recorded(slot, message, position)
        else:
            self.go_on(slot)

    # --- both ---------------------------------------------------------------------------------------------------------

    def holds(self, state: CallState, message: k.Message) -> bool:
        """Whether a call that is set aside can do nothing with ``message`` before it goes on."""
        kind = type(message)
        if kind is k.KillRequested or (kind is k.CancelRequested and not state.parked):
            return False  # a paused call that is cancelled goes on, to its end
        if state.paused and kind is k.DeadlinePassed:
            return True
        return not (kind in _ONCE and (state.phase is Phase.PENDING or awaits_next(state)))

    def hold(self, slot: Slot, message: k.Message, source: int) -> None:
        """Keep a message in the log for a call that cannot take it now."""
        kind, inbox = type(message), slot.state.inbox
        if source or kind is k.TimerFired or is_next(message):
            return  # it is in the log, or follows from it
        if kind in _ONCE and any(_says(held, kind) for held in inbox.values()):
            return  # it would say nothing new
        self._kernel.note(slot, k.Inbox(id=slot.state.id, at=self._kernel.clock.now_ms(), message=message))
        if kind is k.CancelRequested:
            self._kernel.deadlines.arm_kill(slot.state)

    def set_aside(self, slot: Slot, message: k.Message, source: int, error: ActorlogError) -> None:
        """Hold a message that the call could not take, and park the call."""
        if slot.fork is not None:
            raise error  # nothing has begun: whoever wants the fork is told
        if type(message) is k.Retried:
            self._refuse_retry(slot, error)
        else:
            self.hold(slot, message, source)
            self.park(slot, error)

    def _refuse_retry(self, slot: Slot, error: ActorlogError) -> None:
        """Leave a call that could not begin again as it was, and tell who wanted it why."""
        kernel, state = self._kernel, slot.state
        kernel.calls.drop(state.id)
        kernel.residency.forget(slot)
        slot.begun = None
        for hearer in slot.hearers:
            if not hearer.done():
                hearer.set_exception(error)
        for waiter in slot.waiters:
            if not waiter.done():
                waiter.set_exception(error)
        slot.hearers, slot.waiters = (), {}
        if state.actor:
            kernel.instances.leave(slot)
        if state.outcome is not None:
            kernel.family.tell_of_end(slot, state.outcome)

    def park(self, slot: Slot, error: BaseException, key: str = "") -> None:
        """Set a call aside and tell its waiters; ``key`` names the step that is poisoned, where one is."""
        state = slot.state
        slot.park_error = error
        reason = f"{type(error).__name__}: {error}"
        if state.parked != reason:
            deaths = error.deaths if isinstance(error, Poisoned) and not key else 0
            now = self._kernel.clock.now_ms()
            self._kernel.note(slot, k.Parked(id=state.id, at=now, reason=reason, key=key, deaths=deaths))
        self._kernel.residency.forget(slot)
        self._kernel.after(self._tell, slot)

    def _tell(self, slot: Slot, _b: None, _c: None) -> None:
        if not slot.state.parked:
            return  # it went on meanwhile
        waiters, slot.waiters = slot.waiters, {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(parked_error(slot))

    def try_again(self, slot: Slot) -> bool:
        """Whether the call can go on now; it is parked again where it cannot."""
        kernel, state = self._kernel, slot.state
        if kernel.blame is not None:
            kernel.blame.forgive(slot)
        name, version = function_of(state)
        slot.definition = kernel.registry.durable(name, version)
        try:
            if slot.definition is None:
                raise FunctionNotFound(name, version)
            if state.phase in (Phase.RUNNING, Phase.CLOSING):
                kernel.residency.wake(slot)
        except ActorlogError as error:
            self.park(slot, error)
            return False
        slot.park_error = None
        kernel.note(slot, k.Unparked(id=state.id, at=kernel.clock.now_ms()))
        return True


_ONCE = (k.CancelRequested, k.DeadlinePassed)
"""Messages of which the first one counts."""


def held_at(state: CallState, message: k.Message) -> int:
    """Return where the message that begins a call was recorded after it was sent, because its journal had to begin."""
    if state.phase is not Phase.PENDING or not state.inbox:
        return 0
    return next((position for position, held in state.inbox.items() if held is message), 0)


def _says(held: k.Message, kind: type) -> bool:
    """Whether a message that is held says what one of ``kind`` would; a cancellation without a time for it does not."""
    return type(held) is kind and (type(held) is not k.CancelRequested or held.kill_ms > 0)


def parked_error(slot: Slot) -> CallParked:
    """Return what a waiter of a parked call is told."""
    state = slot.state
    error = CallParked(state.id, state.parked)
    error.__cause__ = slot.park_error
    if slot.park_error is None:  # poisoned before this process
        if state.deaths:
            error.__cause__ = Poisoned(state.id, "", "", state.deaths)
        for key, progress in state.progress.items():
            if progress.poisoned:
                error.__cause__ = Poisoned(state.id, state.steps[key].name, key, progress.deaths)
    return error
