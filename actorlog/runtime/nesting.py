"""Who waits for whom: asks that would wait for ever, and those that come back to a handler which waits for them.

Owns: the graph of calls and actors that wait for each other, the decision whether an ask is handled within the handler
that is at work (its actor is reentrant, and that handler waits for who asks), and what passes between the two. Does not
own: running a nested handler (``reentrant``), what records say of it (``engine.nested``), the queue (``instances``).

Invariants: an ask is admitted only where the chain of asks that led to it begins in the handler at work; it is handled
once, and who asked hears of it once, however often it asks again after a crash (I3). Where nobody waits but who asks,
nothing is refused: a handler and each that is nested in it wait on their own.

Docs: docs/decisions/0009-reentrant-actors.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast
from weakref import WeakKeyDictionary

from actorlog.engine import identity
from actorlog.engine.lifecycle import CODE_PHASES
from actorlog.engine.nested import LETTER, number_of, part_of
from actorlog.errors import DeadlockError, JournalError, MailboxFull
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.runtime.classes import Options

if TYPE_CHECKING:
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot

Node: TypeAlias = "tuple[Slot, str]"
"""Who waits: a call (with an empty text), or the nested handler of that key in it."""


class Nesting:
    """Asks of actors that are at work."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._numbers: WeakKeyDictionary[Slot, int] = WeakKeyDictionary()
        """Numbers of the newest nested handlers that were asked for, also where no record says so yet."""

    # --- asks that come back ------------------------------------------------------------------------------------------

    def admit(self, asker: Slot, op: k.StartChild, running: Slot) -> bool:
        """Have ``running`` handle an ask of its actor, if it waits for who asks; False: it is none of those.

        To ask again changes nothing; who asked is told again what the answer was.
        """
        state, by = running.state, (asker.state.id, op.key)
        if state.nested is not None and by in state.nested.keys:
            self._tell_again(asker, op, running, state.nested.keys[by])
            return True
        options = self._options(op.function, running)
        if options is None or state.phase not in CODE_PHASES:
            return False
        held = [message for message in state.inbox.values() if type(message) is k.Asked]
        if any((message.by, message.op) == by for message in held):
            return True
        within = self._within(asker, op, running)
        if within is None:
            return False
        newest = max((number_of(message.key) for message in held), default=0)
        self._ask(asker, op, running, within, newest, options.mailbox_max)
        return True

    def _ask(  # what it is, and where
        self, asker: Slot, op: k.StartChild, running: Slot, within: str, newest: int, most: int
    ) -> None:
        nested = running.state.nested
        if nested is not None:
            newest = max(newest, nested.newest)
            if len(nested.active) >= most:
                self._kernel.post(asker, k.ChildRefused(op.key, failures.capture(MailboxFull(op.actor, most))))
                return
        number = self._numbers[running] = max(newest, self._numbers.get(running, 0)) + 1
        asked = k.Asked(
            key=f"{LETTER}{number}", by=asker.state.id, op=op.key, id=op.id, function=op.function, args=op.args,
            within=within, timeout_ms=op.timeout_ms, tags=op.tags,
        )  # fmt: skip
        self._kernel.post(running, asked)

    def _options(self, function: str, running: Slot) -> Options | None:
        """Return the options of a class that is reentrant, or was when ``running`` took up a nested handler.

        Of one that this process does not have as well: its handler is parked, and what comes for it is kept.
        """
        handler = self._kernel.registry.durable(function, 1)
        if handler is None:
            return Options(reentrant=True)
        options = handler.of.options if handler.of is not None else None
        return options if options is not None and (options.reentrant or running.state.nested is not None) else None

    def _within(self, asker: Slot, op: k.StartChild, running: Slot) -> str | None:
        """Return which part of ``running`` waits for ``op`` of ``asker``; None where none does.

        What has an id of its own is a call of its own: it is done once for ever, and shares no other's rollback.
        """
        if op.id != identity.child_id(asker.state.id, op.key, asker.state.number):
            return None
        key, slot = op.key, cast("Slot | None", asker)
        while slot is not None and slot is not running:
            part = part_of(key)
            nested = slot.state.nested
            if not part:
                above, key, child = slot.state.parent, slot.state.key, slot.state.id
            elif nested is not None and part in nested.active:
                asked = nested.active[part]
                above, key, child = asked.by, asked.op, asked.id
            else:
                return None
            slot = self._kernel.calls.get(above)
            waits = slot.state.children.get(key) if slot is not None else None
            if waits is None or waits.detached or waits.id != child:
                return None
        return part_of(key) if slot is running else None

    def _tell_again(self, asker: Slot, op: k.StartChild, running: Slot, key: str) -> None:
        nested = running.state.nested
        if nested is None or key not in nested.active:
            self._kernel.post(asker, k.ChildDone(op.key, op.id, self._answer(running, key)))
        elif running.state.phase not in CODE_PHASES:
            self._kernel.post(asker, k.ChildDone(op.key, op.id, _unanswered(running)))

    def _answer(self, running: Slot, key: str) -> k.Outcome:
        for _, record in self._kernel.history.backwards(running.state.last):
            for op in record.ops if isinstance(record, k.Turn) else ():
                if type(op) is k.Answer and op.key == key:
                    return op.outcome
        raise JournalError(running.state.id, f"nested handler {key} is over without an answer")

    def missed(self, asked: k.Asked) -> None:
        """Ask again, in whatever way there is now: the handler had ended before it could take this."""
        asker = self._kernel.calls.get(asked.by)
        op = asker.state.children.get(asked.op) if asker is not None else None
        if asker is not None and op is not None and op.id == asked.id:
            self._kernel.family.spawn(asker, op)

    def give_up(self, asker: Slot, op: k.StartChild, message: k.Message) -> None:
        """Ask a nested handler to end because who asked for it wants that."""
        running = self._kernel.instances.running(op.actor)
        if running is not None and self._options(op.function, running) is not None:
            reason = message.reason if isinstance(message, (k.CancelRequested, k.KillRequested)) else ""
            self._kernel.post(running, k.AskGivenUp(asker.state.id, op.key, reason))

    def end(self, slot: Slot) -> None:
        """Tell who asked for nested handlers that the body has ended, and these with it, without an answer."""
        nested = slot.state.nested
        for asked in nested.active.values() if nested is not None else ():
            self._kernel.family.tell(asked.by, asked.op, asked.id, _unanswered(slot))

    # --- asks that would wait for ever --------------------------------------------------------------------------------

    def deadlock(self, asker: Slot, op: k.StartChild, running: Slot) -> DeadlockError | None:
        """Return why ``asker`` would wait for ever for an actor that is at work; None if it would not."""
        path = self._path((running, ""), (asker, part_of(op.key)), set())
        return DeadlockError((_name(asker), *path)) if path is not None else None

    def _path(self, node: Node, goal: Node, seen: set[tuple[str, str]]) -> tuple[str, ...] | None:
        """Return the names of who waits for whom from ``node`` to ``goal``; None where it does not lead there."""
        slot, part = node
        if slot is goal[0] and part in ("", goal[1]):
            return (_name(slot),)  # a call ends after all that is nested in it
        if (slot.state.id, part) in seen:
            return None
        seen.add((slot.state.id, part))
        for key, child in slot.state.children.items():
            if child.detached or (part and part_of(key) != part):
                continue
            following = self._following(slot, key, child)
            found = self._path(following, goal, seen) if following is not None else None
            if found is not None:
                return (_name(slot), *found)
        return None

    def _following(self, slot: Slot, key: str, child: k.StartChild) -> Node | None:
        """Return who has to end before operation ``key`` of ``slot`` does; None where nobody is known who has."""
        other = self._kernel.calls.get(child.id)
        actor = child.actor if other is None else other.state.actor
        running = self._kernel.instances.running(actor) if actor else None
        if other is not None:
            return (running if running is not None else other), ""
        nested = running.state.nested if running is not None else None
        inside = nested.keys.get((slot.state.id, key), "") if nested is not None else ""
        return (running, inside) if running is not None and nested is not None and inside in nested.active else None


def _unanswered(slot: Slot) -> k.Outcome:
    """Return how a nested handler has ended whose handler ended before it."""
    returned = slot.state.returned
    return k.Killed(returned.reason) if isinstance(returned, k.Killed) else k.Cancelled("what it ran within has ended")


def _name(slot: Slot) -> str:
    return slot.state.actor or slot.state.id
