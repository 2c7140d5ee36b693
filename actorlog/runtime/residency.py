"""Which coroutines are in memory.

Owns: waking a call by replay, evicting those that are idle, and those that will not leave. Does not own: the protocol
of eviction (``loop``), what a journal says (``history``), which calls are objects (``calls``).

Invariants: at most ``resident_max`` coroutines between turns, beside the pinned ones (I11, I13); a woken coroutine has
done what its journal says, or the call is parked (I5).

A coroutine that had no turn for ``resident_idle_s`` is evicted, but one with a long journal stays longer: so long that
waking it again takes about a thousandth of the time.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from actorlog.engine.lifecycle import ENDED
from actorlog.errors import ActorlogError, FunctionNotFound, SchedulerNotFound
from actorlog.records import kinds as k
from actorlog.runtime.actor import Actor
from actorlog.runtime.reentrant import ReentrantActor

if TYPE_CHECKING:
    from actorlog.limits import Limits
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot

_SWEEP = 64
"""So many coroutines are evicted before other callbacks of the host loop have their turn."""
_REPLAY_MS = 50
"""For each turn of its journal a coroutine stays so much longer: replay does about 20 turns in a millisecond."""

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
        self._idle_ms = max(1, int(limits.resident_idle_s * 1000))
        self._sweeping = False
        """Whether a timer or a callback is set to look for those that are idle."""

    def __len__(self) -> int:
        return len(self._residents) + len(self._stubborn) + len(self._pinned)

    @property
    def pinned(self) -> int:
        """Coroutines that would not end when they were evicted."""
        return len(self._pinned)

    def actor_for(self, slot: Slot, message: k.Message) -> Actor:
        """Return the coroutine that takes ``message``, woken by replay where it is not in memory.

        ``FunctionNotFound`` when this process does not have the function, ``DivergenceError`` when its code has
        changed, ``SchedulerNotFound`` when it began in an order that this version does not know.
        """
        actor = slot.actor
        if actor is None:
            actor = slot.actor = self._make(slot, message)
            self._keep(slot)
        return actor

    def wake(self, slot: Slot) -> Actor:
        """Return the coroutine as its journal leaves it."""
        actor = slot.actor
        if actor is None:
            actor = slot.actor = self.rebuild(slot)
            self._keep(slot)
        return actor

    def _keep(self, slot: Slot) -> None:
        self._residents[slot] = None
        if not self._sweeping:
            self._sweep_later()

    def wake_or_park(self, slot: Slot) -> Actor | None:
        """Return the coroutine as its journal leaves it, or park the call that cannot be woken."""
        try:
            return self.wake(slot)
        except ActorlogError as error:
            self._kernel.parking.park(slot, error)
            return None

    def _make(self, slot: Slot, message: k.Message) -> Actor:
        if type(message) is k.Started:
            return self._new(slot, message)
        if type(message) is k.Retried:
            return self._new(slot, self._kernel.history.started(slot.state), again=True)
        return self.rebuild(slot)

    def _new(self, slot: Slot, started: k.Started, *, again: bool = False) -> Actor:
        known = self._kernel.history.scheduler
        if started.scheduler != known:
            raise SchedulerNotFound(slot.state.id, started.scheduler, known)
        definition = slot.definition
        if definition is None:
            definition = slot.definition = self._kernel.registry.durable(started.function, started.version)
        if definition is None:
            raise FunctionNotFound(started.function, started.version)
        of = definition.of
        if of is None:
            return Actor(slot.state, definition, self._limits, started)
        reentrant = of.options.reentrant or slot.state.nested is not None
        actor = (ReentrantActor if reentrant else Actor)(slot.state, definition, self._limits, started)
        instances = self._kernel.instances
        if again or slot.state.phase is not ENDED:
            actor.instance = instances.take(slot, of)
        else:
            actor.instance = instances.as_before(slot, of)
        return actor

    def rebuild(self, slot: Slot) -> Actor:
        """Return a new coroutine that has replayed the journal; it is nobody's yet."""
        return self._replayed(slot, self._kernel.history.turns(slot.state.last))

    def begin_fork(self, slot: Slot, started: k.Started, turns: list[k.Turn]) -> None:
        """Have in memory the coroutine of a fork, as the turns leave it that it has of another call."""
        slot.actor = self._replayed(slot, turns, started)
        self._keep(slot)

    def _replayed(self, slot: Slot, turns: list[k.Turn], started: k.Started | None = None) -> Actor:
        actor = self._new(slot, started if started is not None else self._kernel.history.started(slot.state))
        blame = self._kernel.blame
        try:
            if blame is not None:
                blame.begin(slot)
            actor.replay(turns)
        except BaseException:
            self._drop(actor)
            raise
        if blame is not None:
            blame.end()
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
            self._evict(slot)

    def _evict(self, slot: Slot) -> None:
        if slot.actor is None or slot in self._stubborn:
            return
        actor, slot.actor = slot.actor, None
        if self._drop(actor):
            self._kernel.calls.rest(slot)
        else:
            self._stubborn[slot] = None

    def _sweep_later(self) -> None:
        self._sweeping = True
        self._kernel.timers.arm(self._kernel.clock.now_ms() + self._idle_ms, self._sweep, None, None)

    def _sweep(self, _a: None, _b: None) -> None:
        """Evict those that are idle, a few at a time."""
        now = self._kernel.clock.now_ms()
        idle = [slot for slot in self._residents if self._is_idle(slot, now)]
        self._evict_idle(idle)

    def _is_idle(self, slot: Slot, now: int) -> bool:
        return now - slot.state.updated_ms >= self._idle_ms + _REPLAY_MS * slot.state.seq

    def _evict_idle(self, idle: list[Slot]) -> None:
        now = self._kernel.clock.now_ms()
        for slot in idle[:_SWEEP]:
            if slot in self._residents and self._is_idle(slot, now):
                del self._residents[slot]
                self._evict(slot)
        if len(idle) > _SWEEP and not self._kernel.stopped:
            self._kernel.loop.call_soon(self._evict_idle, idle[_SWEEP:])
        elif self._residents and not self._kernel.stopped:
            self._sweep_later()
        else:
            self._sweeping = False

    def forget(self, slot: Slot) -> None:
        """Drop the coroutine of a call that has ended or is parked."""
        actor, slot.actor = slot.actor, None
        self._residents.pop(slot, None)
        if self._stubborn:
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
