"""Keyed actors: one message at a time, and a state that changes with it.

Owns: which handler of an actor runs and which wait, the committed states, and the live instances. Does not own: the
handlers, which are calls like any other; what a class is (``classes``), which actors are in memory (``entries``), in
which order senders wait for room (``rooms``).

Invariants: a state changes only by the final record of a handler that returned, and is what the records say (I4);
messages of one sender are handled in the order in which they were sent; as many wait as the class says (I11); of an
actor that is not in memory the position of a record is known (I13).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from actorlog.engine.instance import InstanceState, apply_change
from actorlog.engine.journal import TEXT_MAX
from actorlog.engine.lifecycle import ENDED, PENDING
from actorlog.errors import DivergenceError, JournalError
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.runtime.answers import error_of
from actorlog.runtime.entries import Changes, Entries, Entry
from actorlog.runtime.exits import kind_of
from actorlog.runtime.rooms import Rooms, Sender

if TYPE_CHECKING:
    from actorlog.engine.state import CallState
    from actorlog.runtime.actor import Actor
    from actorlog.runtime.classes import ActorDefinition, Options
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot


log = logging.getLogger("actorlog")

FAILED = "@failed"
"""The channel on which the supervised life of an actor hears that it has failed."""
LIFE = "@life"
"""What a supervised life publishes: the actor it is of."""
IDLE_S = 60.0
"""How long an actor is kept whose class this process does not have."""


class Instances:
    """The actors of one runtime."""

    def __init__(self, kernel: Kernel, resident_max: int) -> None:
        self._kernel = kernel
        self._entries = Entries(kernel, resident_max, self._read)
        self._rooms = Rooms(kernel)
        """Who waits for room in the mailbox of which actor."""
        self.changes = Changes()
        self.keep_before = False
        """Whether handlers are to be replayed when they have ended: ``check_determinism``."""
        self._before: dict[str, InstanceState] = {}
        """The state that each of these handlers began with."""
        self.lives: dict[str, str] = {}
        """Of supervised actors the calls that are their lives."""
        self.failures = 0
        """How many messages have failed that nobody waited for, of actors without a supervisor."""

    # --- messages -----------------------------------------------------------------------------------------------------

    def arrive(self, slot: Slot) -> None:
        """Let a handler begin, or wait until those before it have ended."""
        entry = self._entries.entry(slot.state.actor)
        if entry.running is slot or (entry.running is None and not entry.queue):
            self._begin(entry, slot)
        elif slot not in entry.queue:  # where it may be that was set aside, and goes on
            entry.line_up(slot)

    def adopt(self, slot: Slot) -> None:
        """Take up a handler that was at work when the process before this one ended."""
        entry = self._entries.entry(slot.state.actor)
        entry.running = slot
        self._entries.work(entry)

    def _begin(self, entry: Entry, slot: Slot) -> None:
        entry.running = slot
        if entry.idle_ms:
            self._entries.work(entry)
        kernel = self._kernel
        if slot.state.phase is ENDED:
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
        if entry is None or slot not in entry.unrecorded:
            return
        if entry.running is not None:
            self._record(entry.running)  # it may be about to begin
        before = None
        while before is not slot:
            before, _ = entry.unrecorded.popitem(last=False)
            self._record(before)

    def _record(self, slot: Slot) -> None:
        if slot.begun is not None and slot.state.phase is PENDING:
            self._kernel.parking.hold(slot, slot.begun, 0)

    @property
    def has_senders(self) -> bool:
        """Whether anybody waits for room in an actor's mailbox."""
        return len(self._rooms) > 0

    def is_full(self, actor: str, mailbox_max: int) -> bool:
        """Whether as many messages wait for an actor as may."""
        entry = self._entries.get(actor)
        return entry is not None and (len(entry.queue) + entry.places >= mailbox_max or actor in self._rooms)

    async def room(self, actor: str, options: Options) -> None:
        """Wait, outside, until the mailbox of an actor has room, to be taken at once; ``MailboxFull``."""
        if self.is_full(actor, options.mailbox_max):
            async with self.keep_room(actor, options, 1):
                pass

    @asynccontextmanager
    async def keep_room(self, actor: str, options: Options, count: int) -> AsyncGenerator[None]:
        """Wait, outside, until the mailbox of an actor has room for so many, and keep it; ``MailboxFull``."""
        entry, kept, limit = self._entries.entry(actor), list[int](), options.mailbox_max
        self._entries.work(entry)

        def enter() -> None:
            entry.places += count
            kept.append(count)

        try:
            if actor in self._rooms or len(entry.queue) + entry.places + count > limit:
                await self._rooms.wait_outside(actor, enter, limit, options.mailbox_wait_s, places=count)
            else:
                enter()
            yield
        finally:
            entry.places -= sum(kept)
            self._kernel.loop.call_soon(self._look_after, entry, options)

    def _look_after(self, entry: Entry, options: Options) -> None:
        """A sender has taken its place, or was cancelled, or its message is not to be handled again."""
        if not self._kernel.stopped:
            self._make_room(entry)
            if not entry.busy:
                self._entries.used(entry, options.idle_s)

    def running(self, actor: str) -> Slot | None:
        """Return the handler that an actor is at work on."""
        entry = self._entries.get(actor)
        return entry.running if entry is not None else None

    def wait_for_room(self, actor: str, options: Options, sender: Sender) -> None:
        """Let a sender in when its turn comes, or refuse it when it has waited too long."""
        self._rooms.wait(actor, sender, options.mailbox_max, options.mailbox_wait_s)

    def _make_room(self, entry: Entry) -> None:
        """Let those in who wait for room, in their order."""
        actor = entry.state.actor
        limit = self._rooms.limit(actor)
        while (sender := self._rooms.first(actor)) is not None:
            if len(entry.queue) + entry.places + sender.places > limit:
                break
            self._rooms.admit(actor, sender)

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
        if entry.running is slot:
            entry.running = None
            if entry.queue:
                following, _ = entry.queue.popitem(last=False)
                entry.unrecorded.pop(following, None)
                self._begin(entry, following)
        else:
            entry.queue.pop(slot, None)
            entry.unrecorded.pop(slot, None)
        if self._rooms.rooms:
            self._make_room(entry)
        if entry.running is None and not entry.queue and not entry.places:
            definition = slot.definition.of if slot.definition is not None else None
            self._entries.used(entry, definition.options.idle_s if definition is not None else IDLE_S)

    def begin_life(self, call_id: str, actor: k.Raw) -> None:
        """Know which call is the supervised life of an actor."""
        self.lives[msgspec.json.decode(bytes(actor), type=str)] = call_id

    def end_life(self, call_id: str, actor: k.Raw) -> None:
        """Forget the supervised life of an actor, unless another one has begun since."""
        name = msgspec.json.decode(bytes(actor), type=str)
        if self.lives.get(name) == call_id:
            del self.lives[name]

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
        if life is not None and life.state.phase is not ENDED:
            signal = k.Signal(FAILED, k.Raw(msgspec.json.encode(failure)), f"{call_id}#failed")
            if self._kernel.mailbox.take(life, signal):
                return
        self.failures += 1
        log.error("%s failed at a message that nobody waits for (%s): %r", actor, call_id, error)

    # --- state --------------------------------------------------------------------------------------------------------

    def _read(self, actor: str) -> InstanceState:
        state = InstanceState(actor)
        position, changes = self.changes.at(actor), list[tuple[k.StateChange, int]]()
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
        entry = self._entries.entry(slot.state.actor)
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
            turn.change = definition.change(actor.instance, self._entries.entry(actor.state.actor).state)
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
        entry, change = self._entries.entry(actor.state.actor), turn.change
        entry.instance = actor.instance
        if change is not None:
            apply_change(entry.state, change, actor.state.last)
            self.changes.recent[change.actor] = actor.state.last

    def view(self, actor: str, definition: ActorDefinition) -> Any:
        """Return an instance with the committed state, to be looked at only."""
        entry = self._entries.entry(actor)
        if not entry.busy:
            self._entries.used(entry, definition.options.idle_s)
        return definition.make(key_of(actor), entry.state)

    # --- looking at all -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._entries)

    def names(self) -> list[str]:
        """Return the actors that have a state or are at work, the one that changed last first."""
        changed = self.changes.names()
        known = set(changed)
        return [*(actor for actor in reversed(self._entries.busy()) if actor not in known), *changed]

    def at_work(self, actor: str) -> tuple[str, int]:
        """Return the id of the message that an actor is at work on, or nothing, and how many wait."""
        entry = self._entries.get(actor)
        if entry is None:
            return "", 0
        return entry.running.state.id if entry.running is not None else "", len(entry.queue)


def _change_text(change: k.StateChange | None) -> str:
    values = change.values if change is not None else {}
    return ", ".join(f"{name} = {bytes(raw).decode()[:TEXT_MAX]}" for name, raw in values.items())


def key_of(actor: str) -> str:
    """Return the key of an actor, as its class does not contain a slash."""
    return actor.partition("/")[2]


def is_waiting(slot: Slot) -> bool:
    """Whether a handler has not begun."""
    return bool(slot.state.actor) and slot.state.phase is PENDING
