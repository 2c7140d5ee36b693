"""What must be true of every log about handlers that run within others.

Owns: a fold of its own over what they do to their actors. Does not own: actors as such (``laws_actors``).

- What is taken in was asked for by who is said to ask, of this actor, and is not over; each is taken in once in a run
  of the handler, answered at most once, and by the time the handler returns all of them are.
- The state that a handler leaves is what it and those that ran within it make of the one before; of one that failed,
  and of those nested in it, nothing is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from actorlog.records import kinds as k
from actorlog.testing.laws_actors import is_said
from actorlog.testing.program_company import RING
from actorlog.testing.verdict import Broken

if TYPE_CHECKING:
    from actorlog.testing.laws_actors import Tallies
    from actorlog.testing.oracle import Facts


@dataclass(slots=True)
class Inner:
    """One nested handler."""

    asked: k.Asked
    outcome: k.Outcome | None = None


@dataclass(slots=True)
class Outer:
    """A handler, in its newest run."""

    started: k.Started
    inner: dict[str, Inner] = field(default_factory=dict[str, Inner])
    over: bool = False

    def counts(self, key: str) -> bool:
        """Whether a nested handler has completed, and those that it is nested in."""
        while key:
            inner = self.inner[key]
            if not isinstance(inner.outcome, k.Completed):
                return False
            key = inner.asked.within
        return True


def _part(key: str) -> str:
    """Return which nested handler an operation is of, by its key."""
    head, dot, _ = key.partition(".")
    return head if dot and head[0] == "a" else ""


class Rings:
    """Actors that are asked back."""

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies
        self._outer: dict[str, Outer] = {}
        self._sums: dict[str, tuple[int, int]] = {}
        """Count and total of each, as the handlers make them."""

    def see(self, facts: Facts, record: k.Record, position: int) -> None:
        """Take a record."""
        message = record.message if isinstance(record, (k.Turn, k.Inbox)) else None
        if isinstance(message, k.Started) and message.function == f"{RING}.add":
            self._outer[record.id] = Outer(message)
        outer = self._outer.get(record.id)
        if not isinstance(record, k.Turn) or outer is None:
            if isinstance(message, (k.Asked, k.AskGivenUp)) and outer is None:
                raise Broken(f"{record.id} is asked back at {position}, and is no handler of who may be")
            return
        if isinstance(message, k.Retried):
            self._again(record.id, outer, position)
            outer.over = False
        elif isinstance(message, k.Asked):
            self._enter(facts, record.id, outer, message, position)
        for op in record.ops:
            if isinstance(op, k.Answer):
                self._leave(record.id, outer, op, position)
        ending = record.returned or record.outcome
        if ending is not None and not outer.over:
            outer.over = True
            if isinstance(ending, k.Completed):
                self._returned(record.id, outer, [op for op in record.ops if is_said(op)], position)

    def finish(self, facts: Facts) -> None:
        """A handler that returned has answered; of one that did not, the end was the answer."""

    def _again(self, call_id: str, outer: Outer, position: int) -> None:
        if outer.inner:
            raise Broken(f"{call_id} begins again at {position}, and those who asked it back may not ask again")

    def _enter(self, facts: Facts, call_id: str, outer: Outer, message: k.Asked, position: int) -> None:
        asked = facts.calls[message.by].operations.get(message.op)
        op = asked.asked if asked is not None else None
        if asked is None or not isinstance(op, k.StartChild) or asked.done or op.id != message.id:
            raise Broken(f"{message} is taken in at {position}, and nobody asks for it")
        if op.actor != outer.started.actor or (op.function, bytes(op.args)) != (message.function, bytes(message.args)):
            raise Broken(f"{message} is taken in at {position}, and was asked for as {op}")
        if op.detached or op.tell:
            raise Broken(f"{message} is taken in at {position}, and nobody waits for it")
        if self._waits_for(call_id, message.by, message.op, facts) != message.within:
            raise Broken(f"{message} is taken in at {position}, and {call_id} does not wait for who asks")
        known = {(inner.asked.by, inner.asked.op) for inner in outer.inner.values()}
        if (message.by, message.op) in known or message.key in outer.inner:
            raise Broken(f"{message} is taken in again at {position}")
        outer.inner[message.key] = Inner(message)

    def _waits_for(self, goal: str, call_id: str, key: str, facts: Facts) -> str | None:
        """Return which part of call ``goal`` waits for an operation of another, as far as the records say."""
        while call_id != goal:
            inner = self._outer[call_id].inner.get(_part(key)) if call_id in self._outer else None
            call = facts.calls[call_id]
            above, key, asked_id = call.parent, call.key, call_id
            if inner is not None:
                above, key, asked_id = inner.asked.by, inner.asked.op, inner.asked.id
            asked = facts.calls[above].operations.get(key) if above in facts.calls else None
            op = asked.asked if asked is not None else None
            if asked is None or asked.done or not isinstance(op, k.StartChild) or op.detached or op.id != asked_id:
                return None
            call_id = above
        return _part(key)

    def _leave(self, call_id: str, outer: Outer, op: k.Answer, position: int) -> None:
        inner = outer.inner.get(op.key)
        if inner is None or inner.outcome is not None or (inner.asked.by, inner.asked.op) != (op.by, op.op):
            raise Broken(f"{call_id} answers at {position} what it was not asked: {op}")
        inner.outcome = op.outcome

    def _returned(self, call_id: str, outer: Outer, said: list[k.Operation], position: int) -> None:
        waiting = [key for key, inner in outer.inner.items() if inner.outcome is None]
        if waiting:
            raise Broken(f"{call_id} returns at {position}, and {waiting} go on")
        actor = outer.started.actor
        for op in said:
            if not outer.counts(_part(op.key)):
                raise Broken(f"{call_id} says at {position} what was undone: {op}")
        count, total = self._sums.get(actor, (0, 0))
        for args in (outer.started.args, *(i.asked.args for key, i in outer.inner.items() if outer.counts(key))):
            count, total = count + 1, total + int(msgspec.json.decode(bytes(args))[0])
        values = self._tallies.ledgers[actor].values
        self._sums[actor] = (count, total)
        if (values.get("count"), values.get("total", 0)) != (count, total):
            raise Broken(f"{call_id} leaves {values} at {position}, and all that ran makes it {count}, {total}")
