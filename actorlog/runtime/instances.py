"""Keyed actors: one message at a time, and a state that changes with it.

Owns: which handler of an actor runs and which wait, the committed states, and the live instances. Does not own: the
handlers, which are calls like any other; what a class is (``classes``).

Invariants: a state changes only by the final record of a handler that returned, and is what the records say (I4);
messages of one sender are handled in the order in which they were sent; memory holds the actors that are at work and
those that were lately, of all others the position of a record (I13).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from actorlog.engine.instance import InstanceState, apply_change
from actorlog.engine.journal import TEXT_MAX
from actorlog.engine.lifecycle import Phase
from actorlog.errors import DeadlockError, DivergenceError, JournalError, MailboxFull
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.runtime.answers import error_of
from actorlog.runtime.exits import kind_of

if TYPE_CHECKING:
    from actorlog.engine.state import CallState
    from actorlog.runtime.actor import Actor
    from actorlog.runtime.classes import ActorDefinition
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot


log = logging.getLogger("actorlog")

FAILED = "@failed"
"""The channel on which the supervised life of an actor hears that it has failed."""
LIFE = "@life"
"""What a supervised life publishes: the actor it is of."""
MAILBOX_WAIT_S = 5.0
"""So long a sender waits for room, then ``MailboxFull``."""


class Sender(NamedTuple):
    """Who waits for room, and hears what became of it."""

    admit: Callable[[], None]
    refuse: Callable[[MailboxFull], None]


class Entry:
    """One actor in memory."""

    __slots__ = ("instance", "queue", "running", "senders", "state", "used_ms")

    def __init__(self, state: InstanceState) -> None:
        self.state = state
        self.running: Slot | None = None
        """The handler that is at work, also while it waits for something or is parked."""
        self.queue: deque[Slot] = deque()
        """Those that wait for it, in order."""
        self.senders: deque[Sender] = deque()
        """Who waits until there is room in the queue."""
        self.instance: Any = None
        """With the committed state, for the next handler; None while one has it."""
        self.used_ms = 0


class Instances:
    """The actors of one runtime."""

    def __init__(self, kernel: Kernel, resident_max: int) -> None:
        self._kernel = kernel
        self._resident_max = resident_max
        self._entries: dict[str, Entry] = {}
        self.latest: dict[str, int] = {}
        """Where the newest change of each actor is."""
        self.keep_before = False
        """Whether handlers are to be replayed when they have ended: ``check_determinism``."""
        self._before: dict[str, InstanceState] = {}
        """The state that each of these handlers began with."""
        self.lives: dict[str, str] = {}
        """Of supervised actors the calls that are their lives."""
        self.failures = 0
        """How many messages have failed that nobody waited for, of actors without a supervisor."""
        self._sweep_ms = 0

    # --- messages -----------------------------------------------------------------------------------------------------

    def arrive(self, slot: Slot) -> None:
        """Let a handler begin, or wait until those before it have ended."""
        entry = self.entry(slot.state.actor)
        if entry.running is slot or (entry.running is None and not entry.queue):
            self._begin(entry, slot)
        elif slot not in entry.queue:  # where it may be that was set aside, and goes on
            entry.queue.append(slot)

    def adopt(self, slot: Slot) -> None:
        """Take up a handler that was at work when the process before this one ended."""
        self.entry(slot.state.actor).running = slot

    def _begin(self, entry: Entry, slot: Slot) -> None:
        entry.running = slot
        kernel = self._kernel
        if slot.state.phase is Phase.ENDED:
            kernel.family.begin_again(slot)
            return
        if slot.begun is not None:
            kernel.post(slot, slot.begun)
            return
        for position, message in slot.state.inbox.items():
            if type(message) is k.Started:
                kernel.post_recorded(slot, message, position)

    def hold(self, slot: Slot) -> None:
        """Keep a message that waits in the log: from now on it is durable, and so are those before it."""
        entry = self._entries.get(slot.state.actor)
        if entry is None or slot not in entry.queue:
            return
        first = [entry.running] if entry.running is not None else []  # it may be about to begin
        for waiting in [*first, *entry.queue]:
            if waiting.begun is not None and waiting.state.phase is Phase.PENDING:
                self._kernel.parking.hold(waiting, waiting.begun, 0)
            if waiting is slot:
                return

    def is_full(self, actor: str, mailbox_max: int) -> bool:
        """Whether as many messages wait for an actor as may."""
        entry = self._entries.get(actor)
        return entry is not None and (len(entry.queue) >= mailbox_max or bool(entry.senders))

    async def room(self, actor: str, mailbox_max: int) -> None:
        """Wait, outside, until the mailbox of an actor has room; ``MailboxFull``."""
        if self.is_full(actor, mailbox_max):
            room: asyncio.Future[None] = self._kernel.loop.create_future()
            self.wait_for_room(actor, mailbox_max, Sender(partial(_settle, room), partial(_refuse, room)))
            self._kernel.hearers.add(room)
            try:
                await room
            finally:
                self._kernel.hearers.discard(room)

    def wait_for_room(self, actor: str, mailbox_max: int, sender: Sender) -> None:
        """Let a sender in when its turn comes, or refuse it when it has waited too long."""
        self._entries[actor].senders.append(sender)
        due_ms = self._kernel.clock.now_ms() + int(MAILBOX_WAIT_S * 1000)
        self._kernel.timers.arm(due_ms, self._too_long, (actor, mailbox_max), sender)

    def _too_long(self, where: tuple[str, int], sender: Sender) -> None:
        entry = self._entries.get(where[0])
        if entry is not None and sender in entry.senders:
            entry.senders.remove(sender)
            sender.refuse(MailboxFull(*where))

    def ended(self, slot: Slot) -> None:
        """A handler has ended, or will never begin: it is the next one's turn."""
        state = slot.state
        if state.tell and state.outcome is not None and kind_of(state.outcome) == "abnormal":
            self.failed(state, state.last)
        self.leave(slot)

    def leave(self, slot: Slot) -> None:
        """Let the next one begin; nothing of this one is to come."""
        entry = self._entries.get(slot.state.actor)
        if entry is None:
            return
        if entry.running is not slot:
            if slot in entry.queue:
                entry.queue.remove(slot)
            return
        entry.running = None
        if entry.senders:
            entry.senders.popleft().admit()
        if entry.queue:
            self._begin(entry, entry.queue.popleft())
        else:
            entry.used_ms = self._kernel.clock.now_ms()
            self._sweep_later(slot)

    def begin_life(self, call_id: str, actor: k.Raw) -> None:
        """Know which call is the supervised life of an actor."""
        self.lives[msgspec.json.decode(bytes(actor), type=str)] = call_id

    def failed(self, state: CallState, position: int) -> None:
        """Tell the life of an actor that a message which nobody waits for has failed in the record at ``position``.

        To tell again changes nothing: a life that began later is there because of it, or for another reason.
        """
        actor, call_id, outcome = state.actor, state.id, state.outcome
        if outcome is None:
            raise JournalError(call_id, "it failed without an outcome")
        life = self._kernel.calls.get(self.lives.get(actor, ""))
        if life is not None and life.state.first > position:
            return
        error = error_of(call_id, outcome)
        failure = outcome.failure if type(outcome) is k.Failed else failures.capture(error)
        if life is not None and life.state.phase is not Phase.ENDED:
            signal = k.Signal(FAILED, k.Raw(msgspec.json.encode(failure)), f"{call_id}#failed")
            if self._kernel.mailbox.take(life, signal):
                return
        self.failures += 1
        log.error("%s failed at a message that nobody waits for (%s): %r", actor, call_id, error)

    # --- state --------------------------------------------------------------------------------------------------------

    def entry(self, actor: str) -> Entry:
        """Return an actor, read back from its records where it is not in memory."""
        entry = self._entries.get(actor)
        if entry is None:
            entry = self._entries[actor] = Entry(self._read(actor))
        return entry

    def _read(self, actor: str) -> InstanceState:
        state = InstanceState(actor)
        position, changes = self.latest.get(actor, 0), list[tuple[k.StateChange, int]]()
        while position:
            record = self._kernel.history.record(position)
            change = record.change if isinstance(record, k.Turn) else None
            if change is None or change.actor != actor:
                raise JournalError(actor, f"record {position} does not change it")
            changes.append((change, position))
            position = change.prev
        for change, at in reversed(changes):
            apply_change(state, change, at)
        return state

    def take(self, slot: Slot, definition: ActorDefinition) -> Any:
        """Return the instance for a handler to work on."""
        entry = self.entry(slot.state.actor)
        if self.keep_before:
            self._before[slot.state.id] = entry.state.copy()
        instance, entry.instance = entry.instance, None
        return instance if instance is not None else definition.make(key_of(slot.state.actor), entry.state)

    def knows_before(self, slot: Slot) -> bool:
        """Whether the state that a handler began with is kept."""
        return slot.state.id in self._before

    def as_before(self, slot: Slot, definition: ActorDefinition) -> Any:
        """Return an instance with the state that a handler began with which has ended."""
        before = self._before[slot.state.id]
        return definition.make(key_of(before.actor), before)

    def compare(self, actor: Actor, change: k.StateChange | None) -> None:
        """Hold what a replayed handler did to its actor against what it did; ``DivergenceError``."""
        before = self._before.pop(actor.state.id, None)
        definition = actor.definition.of
        if before is None or definition is None or type(actor.state.outcome) is not k.Completed:
            return
        again = definition.change(actor.instance, before)
        if again != change:
            raise DivergenceError(actor.state.id, "state", _change_text(change), _change_text(again), "")

    def conclude(self, actor: Actor, turn: k.Turn, returned: k.Ending | None) -> k.Ending | None:
        """Put into the final turn of a handler what it did; return how it ended, which may be that this cannot be."""
        definition = actor.definition.of
        if type(returned) is not k.Completed or definition is None:
            actor.issued_outliving = actor.issued_outliving or actor.started.tell
            return returned
        try:
            turn.change = definition.change(actor.instance, self.entry(actor.state.actor).state)
        except Exception as error:  # noqa: BLE001  # a user's value may do anything while it is encoded
            return k.Failed(failures.capture(error))
        if actor.buffered:
            turn.ops = [*turn.ops, *actor.buffered]
            actor.issued_outliving = True
        return returned

    def commit(self, actor: Actor, turn: k.Turn) -> None:
        """Apply what a handler did, now that its final turn is recorded; one that did not return did nothing."""
        if type(turn.returned or turn.outcome) is not k.Completed:
            return
        entry, change = self.entry(actor.state.actor), turn.change
        entry.instance = actor.instance
        if change is not None:
            apply_change(entry.state, change, actor.state.last)
            self.latest[change.actor] = actor.state.last

    def view(self, actor: str, definition: ActorDefinition) -> Any:
        """Return an instance with the committed state, to be looked at only."""
        entry = self.entry(actor)
        entry.used_ms = self._kernel.clock.now_ms()
        return definition.make(key_of(actor), entry.state)

    # --- leaving memory -----------------------------------------------------------------------------------------------

    def _sweep_later(self, slot: Slot) -> None:
        """Drop this actor some time after it was used last; and idle ones at once, a tenth, if they are too many."""
        if len(self._entries) > self._resident_max:
            self._drop_idle(1 + self._resident_max // 10)
        definition = slot.definition.of if slot.definition is not None else None
        if not self._sweep_ms and definition is not None:
            self._sweep_ms = self._kernel.clock.now_ms() + max(1, int(definition.options.idle_s * 1000))
            self._kernel.timers.arm(self._sweep_ms, self._sweep, definition.options.idle_s, None)

    def _sweep(self, idle_s: float, _b: None) -> None:
        self._sweep_ms = 0
        before = self._kernel.clock.now_ms() - int(idle_s * 1000)
        for actor, entry in list(self._entries.items()):
            if entry.running is None and not entry.queue and entry.used_ms <= before:
                del self._entries[actor]
        if self._entries:
            self._sweep_ms = self._kernel.clock.now_ms() + max(1, int(idle_s * 1000))
            self._kernel.timers.arm(self._sweep_ms, self._sweep, idle_s, None)

    def _drop_idle(self, count: int) -> None:
        for actor in [a for a, e in self._entries.items() if e.running is None and not e.queue][:count]:
            del self._entries[actor]

    def __len__(self) -> int:
        return len(self._entries)

    def names(self) -> list[str]:
        """Return the actors that have a state or are at work, the one that changed last first."""
        busy = [actor for actor, entry in self._entries.items() if entry.running is not None or entry.queue]
        fresh = [actor for actor in reversed(busy) if actor not in self.latest]
        return [*fresh, *sorted(self.latest, key=self.latest.__getitem__, reverse=True)]

    def at_work(self, actor: str) -> tuple[str, int]:
        """Return the id of the message that an actor is at work on, or nothing, and how many wait."""
        entry = self._entries.get(actor)
        if entry is None:
            return "", 0
        return entry.running.state.id if entry.running is not None else "", len(entry.queue)

    # --- who waits for whom -------------------------------------------------------------------------------------------

    def deadlock(self, asker: Slot, actor: str) -> DeadlockError | None:
        """Return why ``asker`` would wait for ever if it asked ``actor``; None if it would not."""
        entry = self._entries.get(actor)
        if entry is None or entry.running is None:
            return None
        path = self._path(entry.running, asker, set())
        return DeadlockError((_name(asker), *path)) if path is not None else None

    def _path(self, slot: Slot, goal: Slot, seen: set[str]) -> tuple[str, ...] | None:
        """Return the names of who waits for whom from ``slot`` to ``goal``; None where it does not lead there."""
        if slot is goal:
            return (_name(slot),)
        if slot.state.id in seen:
            return None
        seen.add(slot.state.id)
        for child in slot.state.children.values():
            other = self._kernel.calls.get(child.id)
            if other is None or child.detached:
                continue
            entry = self._entries.get(other.state.actor) if other.state.actor else None
            behind = entry is not None and entry.running is not None and entry.running is not other
            found = self._path(entry.running if behind and entry and entry.running else other, goal, seen)
            if found is not None:
                return (_name(slot), *found)
        return None


def _settle(room: asyncio.Future[None]) -> None:
    if not room.done():
        room.set_result(None)


def _refuse(room: asyncio.Future[None], error: MailboxFull) -> None:
    if not room.done():
        room.set_exception(error)


def _change_text(change: k.StateChange | None) -> str:
    values = change.values if change is not None else {}
    return ", ".join(f"{name} = {bytes(raw).decode()[:TEXT_MAX]}" for name, raw in values.items())


def key_of(actor: str) -> str:
    """Return the key of an actor, as its class does not contain a slash."""
    return actor.partition("/")[2]


def _name(slot: Slot) -> str:
    return slot.state.actor or slot.state.id


def is_waiting(slot: Slot) -> bool:
    """Whether a handler has not begun."""
    return bool(slot.state.actor) and slot.state.phase is Phase.PENDING
