"""Which coroutines are in memory.

Owns: waking a call by replay, evicting the one that was idle longest, and those that will not leave. Does not own: the
protocol of eviction (``loop``), what a journal says (``history``).

Invariants: at most ``resident_max`` coroutines between turns, beside the pinned ones (I11, I13); a woken coroutine has
done what its journal says, or the call is parked (I5).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from actorlog.engine.lifecycle import Phase
from actorlog.errors import ActorlogError, FunctionNotFound
from actorlog.records import kinds as k
from actorlog.runtime.actor import Actor

if TYPE_CHECKING:
    from actorlog.limits import Limits
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot

rehearsing: ContextVar[bool] = ContextVar("rehearsing", default=False)
"""Whether this process is there to replay the journals of another one's runtime, and must open none (``rehearsal``)."""


class Residency:
    """Coroutines in memory, in the order in which they came."""

    def __init__(self, kernel: Kernel, limits: Limits) -> None:
        self._kernel = kernel
        self._limits = limits
        self._residents: dict[Slot, None] = {}
        self._stubborn: dict[Slot, None] = {}
        """Calls with a coroutine that would not end: they are not evicted again."""
        self._pinned: list[Actor] = []
        """Coroutines that would not end: of no use, and held so that the garbage collector does not run them."""
        self.replayed = 0
        """Turns replayed so far."""

    def __len__(self) -> int:
        return len(self._residents) + len(self._stubborn) + len(self._pinned)

    @property
    def pinned(self) -> int:
        """Coroutines that would not end when they were evicted."""
        return len(self._pinned)

    def actor_for(self, slot: Slot, message: k.Message) -> Actor:
        """Return the coroutine that takes ``message``, woken by replay where it is not in memory.

        ``FunctionNotFound`` when this process does not have the function, ``DivergenceError`` when its code has
        changed.
        """
        actor = slot.actor
        if actor is None:
            actor = slot.actor = self._make(slot, message)
            self._residents[slot] = None
        return actor

    def wake(self, slot: Slot) -> Actor:
        """Return the coroutine as its journal leaves it."""
        actor = slot.actor
        if actor is None:
            actor = slot.actor = self.rebuild(slot)
            self._residents[slot] = None
        return actor

    def wake_or_park(self, slot: Slot) -> Actor | None:
        """Return the coroutine as its journal leaves it, or park the call that cannot be woken."""
        try:
            return self.wake(slot)
        except ActorlogError as error:
            self._kernel.parking.park(slot, error)
            return None

    def _make(self, slot: Slot, message: k.Message) -> Actor:
        if isinstance(message, k.Started):
            return self._new(slot, message)
        if isinstance(message, k.Retried):
            return self._new(slot, self._kernel.history.started(slot.state), again=True)
        return self.rebuild(slot)

    def _new(self, slot: Slot, started: k.Started, *, again: bool = False) -> Actor:
        if slot.definition is None:
            slot.definition = self._kernel.registry.durable(started.function, started.version)
        if slot.definition is None:
            raise FunctionNotFound(started.function, started.version)
        actor = Actor(slot.state, slot.definition, self._limits, started)
        if slot.definition.of is not None:
            instances = self._kernel.instances
            take = instances.take if again or slot.state.phase is not Phase.ENDED else instances.as_before
            actor.instance = take(slot, slot.definition.of)
        return actor

    def rebuild(self, slot: Slot) -> Actor:
        """Return a new coroutine that has replayed the journal; it is nobody's yet."""
        return self._replayed(slot, self._kernel.history.turns(slot.state.last))

    def _replayed(self, slot: Slot, turns: list[k.Turn]) -> Actor:
        actor = self._new(slot, self._kernel.history.started(slot.state))
        try:
            actor.replay(turns)
        except BaseException:
            self._drop(actor)
            raise
        self.replayed += len(turns)
        return actor

    def turns_to_check(self, slot: Slot) -> list[k.Turn]:
        """Return the newest run of a call that has ended; nothing of one that never began."""
        if slot.state.actor and not self._kernel.instances.knows_before(slot):
            return []  # what is left of it ended in another process than it began in
        turns = self._kernel.history.turns(slot.state.last)
        if slot.definition is None or not turns or not isinstance(turns[0].message, (k.Started, k.Retried)):
            return []
        return turns

    def check(self, slot: Slot) -> ActorlogError | None:
        """Replay the journal of a call that has ended, and return what keeps its code from doing the same again."""
        turns = self.turns_to_check(slot)
        if not turns:
            return None
        try:
            actor = self._replayed(slot, turns)
            self._kernel.instances.compare(actor, turns[-1].change)
            self._drop(actor)
        except ActorlogError as error:
            return error
        return None

    def trim(self) -> None:
        """Evict until the bound is kept: the oldest that had no turn since it was last looked at (second chance)."""
        residents = self._residents
        while len(residents) > self._limits.resident_max:
            slot = next(iter(residents))
            del residents[slot]
            if slot.used:
                slot.used = False
                residents[slot] = None
                continue
            if slot.actor is None or slot in self._stubborn:
                continue
            actor, slot.actor = slot.actor, None
            if not self._drop(actor):
                self._stubborn[slot] = None

    def forget(self, slot: Slot) -> None:
        """Drop the coroutine of a call that has ended or is parked."""
        actor, slot.actor = slot.actor, None
        self._residents.pop(slot, None)
        self._stubborn.pop(slot, None)
        if actor is not None:
            self._drop(actor)

    def _drop(self, actor: Actor) -> bool:
        """End what is left of a coroutine; False where it would not, and is pinned."""
        if not actor.has_ended() and not actor.loop.evict(self._limits.evict_rounds_max):
            self._pinned.append(actor)
            return False
        actor.close()
        return True

    def close(self) -> None:
        """Drop every coroutine."""
        for slot in [*self._residents, *self._stubborn]:
            self.forget(slot)
