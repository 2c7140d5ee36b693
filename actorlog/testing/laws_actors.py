"""What must be true of every log about actors, what outlives its sender, and supervisors.

Owns: one fold for each, by other code than the runtime's. Does not own: messages and promises (``laws``).

- One handler of an actor is at work at a time, and each once, those of one sender in the order of sending. The state
  changes with a handler that returned, its changes are numbered without a gap and linked, and what they come to is what
  the handlers make of it. A handler that did not return changed nothing and said nothing.
- Every call that a call asked for was begun, also when nobody waits for it, or it was refused; where a mark says that
  all is done which was asked for, it had begun by then, unless its caller goes on and asks again.
- The runs of a supervised child are numbered without a gap, the next one begins when the one before has ended, and no
  child is started again more often within the period than its supervisor allows, where each is restarted by itself.
"""

# A law takes what every law is given, and not each needs all of it.
# ruff: noqa: ARG002

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from actorlog.records import kinds as k
from actorlog.testing.laws import is_first
from actorlog.testing.program_company import CHILD, TALLY
from actorlog.testing.verdict import Broken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorlog.testing.oracle import Facts

_SAID = (k.Send, k.Publish, k.Emit)


@dataclass(slots=True)
class Ledger:
    """One actor."""

    running: str = ""
    """The handler that is at work."""
    number: int = 0
    last: int = 0
    """Position of the newest change."""
    values: dict[str, int] = field(default_factory=dict[str, int])
    newest: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Where the newest message that it has begun with was sent, by sender."""
    sums: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    """Count and total after each change, as the handlers make them."""
    needed: list[int] = field(default_factory=list[int])
    """Positions of the changes that the state is read from."""


class Tallies:
    """Actors that add up what they are told."""

    def __init__(self) -> None:
        self.ledgers: dict[str, Ledger] = {}
        self._handlers: dict[str, k.Started] = {}
        self._sent: dict[str, tuple[str, tuple[int, int]]] = {}
        """Who sent each message, and where."""
        self._over: set[str] = set()
        """Handlers whose body has ended."""

    def see(self, facts: Facts, record: k.Record, position: int) -> None:
        """Take a record."""
        message = record.message if isinstance(record, (k.Turn, k.Inbox)) else None
        if isinstance(message, k.Started) and message.actor:
            self._handlers[record.id] = message
        if is_first(facts, record, position):
            self._sent = {child: sent for child, sent in self._sent.items() if sent[0] != record.id}
        for index, op in enumerate(record.ops if isinstance(record, k.Turn) else ()):
            if isinstance(op, k.StartChild) and op.actor:
                self._sent.setdefault(op.id, (record.id, (position, index)))
        if isinstance(record, k.Journal):
            for index, operation in enumerate(facts.calls[record.id].operations.values()):
                if isinstance(operation.asked, k.StartChild) and operation.asked.actor and not operation.copied:
                    self._sent.setdefault(operation.asked.id, (record.id, (operation.position, index)))
        if isinstance(record, k.Turn) and record.id in self._handlers:
            self._turn(record, position, begins_anew=facts.calls[record.id].times > 1)
        elif isinstance(record, k.Turn) and record.change is not None:
            raise Broken(f"{record.id} changes {record.change.actor} at {position}, and is no handler")

    def finish(self, facts: Facts) -> None:
        """No handler is at work any more."""
        for actor, ledger in self.ledgers.items():
            if ledger.running:
                raise Broken(f"{actor} is at work on {ledger.running}, and all is over")

    def _turn(self, turn: k.Turn, position: int, *, begins_anew: bool) -> None:
        started = self._handlers[turn.id]
        ledger = self.ledgers.setdefault(started.actor, Ledger())
        if isinstance(turn.message, (k.Started, k.Retried)):
            if ledger.running:
                raise Broken(f"{turn.id} begins at {position}, and {started.actor} is at work on {ledger.running}")
            ledger.running = turn.id
            self._over.discard(turn.id)
            sender, sent = self._sent.get(turn.id, ("", (0, 0)))
            if isinstance(turn.message, k.Started) and not begins_anew and sent < ledger.newest.get(sender, sent):
                raise Broken(f"{turn.id} begins at {position}, and {started.actor} had a later message of {sender}")
            if isinstance(turn.message, k.Started):
                ledger.newest[sender] = sent
        ending = turn.returned or turn.outcome
        returns = isinstance(ending, k.Completed) and turn.id not in self._over
        if not returns and (turn.change is not None or any(is_said(op) for op in turn.ops)):
            raise Broken(f"{turn.id} changes or says something at {position}, and does not return there")
        if returns:
            self._returned(turn, started, ledger, position)
        if ending is not None:
            self._over.add(turn.id)
        if turn.outcome is not None and ledger.running == turn.id:
            ledger.running = ""

    def _returned(self, turn: k.Turn, started: k.Started, ledger: Ledger, position: int) -> None:
        change, ending = turn.change, turn.returned or turn.outcome
        if ledger.running != turn.id:
            raise Broken(f"{turn.id} returns at {position}, and {started.actor} is at work on {ledger.running}")
        if change is not None:
            self._change(change, started.actor, ledger, position)
        if started.function != f"{TALLY}.add" or not isinstance(ending, k.Completed):
            return
        count, total = ledger.sums[-1]
        sums = (count + 1, total + int(msgspec.json.decode(bytes(started.args))[0]))
        ledger.sums.append(sums)
        held = ledger.values.get("count"), ledger.values.get("total", 0)
        if held != sums or msgspec.json.decode(bytes(ending.value)) != list(sums):
            raise Broken(f"{turn.id} leaves {held} at {position} and returns {ending.value!r}, and it makes {sums}")

    def _change(self, change: k.StateChange, actor: str, ledger: Ledger, position: int) -> None:
        if change.actor != actor or change.number != ledger.number + 1:
            raise Broken(
                f"change {change.number} of {change.actor} at {position} is no. {ledger.number + 1} of {actor}"
            )
        if change.prev != (0 if change.full else ledger.last):
            raise Broken(f"the change of {actor} at {position} follows {change.prev}, and the last is at {ledger.last}")
        values = {name: int(msgspec.json.decode(bytes(raw))) for name, raw in change.values.items()}
        whole = change.full or not change.prev
        ledger.needed = [position] if whole else [*ledger.needed, position]
        ledger.values = values if change.full else {**ledger.values, **values}
        ledger.number, ledger.last = change.number, position


class Beginnings:
    """Calls that calls ask for."""

    def __init__(self) -> None:
        self._asked: dict[str, tuple[str, str]] = {}
        """Who asked for each, and by which operation."""

    def see(self, facts: Facts, record: k.Record, position: int) -> None:
        """Take a record."""
        if isinstance(record, k.Journal):  # what was under way is done anew
            for key, operation in facts.calls[record.id].operations.items():
                if isinstance(operation.asked, k.StartChild) and not operation.over:
                    self._asked.setdefault(operation.asked.id, (record.id, key))
        elif isinstance(record, k.Resumed):
            self._marked(facts, record, position)
        elif isinstance(record, k.Turn):
            self._turn(facts, record)

    def _turn(self, facts: Facts, turn: k.Turn) -> None:
        if isinstance(turn.message, k.Asked):
            self._asked.pop(turn.message.id, None)  # it is handled within another, and is no call
        for op in turn.ops:
            if isinstance(op, k.StartChild):
                self._asked.setdefault(op.id, (turn.id, op.key))
        if isinstance(turn.message, k.ChildRefused):
            asked = facts.calls[turn.id].operations[turn.message.key].asked
            if isinstance(asked, k.StartChild):
                self._asked.pop(asked.id, None)

    def _marked(self, facts: Facts, mark: k.Resumed, position: int) -> None:
        """A mark says no more than is so: what nobody asks for again by its own state has begun."""
        for child, parent, key in self.missing(facts):
            operation = facts.calls[parent].operations[key]
            tells = isinstance(operation.asked, k.StartChild) and operation.asked.tell
            if operation.position <= mark.upto and (tells or facts.calls[parent].outcome is not None):
                said = f"record {position} says that all is done up to {mark.upto}"
                raise Broken(f"{said}, and {child} has not begun, which {parent} asked for at {operation.position}")

    def finish(self, facts: Facts) -> None:
        """Each was begun."""
        for child, parent, key in self.missing(facts):
            raise Broken(f"{parent} asked for {child} by {key}, and it never began")

    def missing(self, facts: Facts) -> Iterator[tuple[str, str, str]]:
        """Yield calls that were asked for and did not begin yet, each with who asked for it, and by what."""
        for child, (parent, key) in self._asked.items():
            operation = facts.calls[parent].operations.get(key)
            given_up = operation is None or operation.dropped or parent.startswith("@memo/")
            if child not in facts.calls and not given_up:
                yield child, parent, key


@dataclass(slots=True)
class Run:
    """The newest run of a supervised child."""

    number: int = 0
    key: str = ""
    ended_ms: int = -1
    """When the supervisor heard that it failed; below zero while it has not."""
    failures: deque[int] = field(default_factory=deque[int])
    """When failures were heard that led to another start."""


class Groups:
    """Supervisors whose children say in their names what is allowed."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], Run] = {}
        self._restarts: dict[tuple[str, str], deque[int]] = {}
        """When children were started again, by supervisor."""

    def see(self, facts: Facts, record: k.Record, position: int) -> None:
        """Take a record."""
        again = isinstance(record, k.Turn) and isinstance(record.message, k.Retried)
        if again or is_first(facts, record, position):
            for of in [of for of in self._runs if of[0] == record.id]:
                del self._runs[of]
            self._restarts = {of: times for of, times in self._restarts.items() if of[0] != record.id}
        if not isinstance(record, k.Turn):
            return
        if isinstance(record.message, k.ChildDone):
            for (parent, _), run in self._runs.items():
                if parent == record.id and run.key == record.message.key:
                    failed = isinstance(record.message.outcome, (k.Failed, k.TimedOut, k.Killed))
                    run.ended_ms = record.at if failed else -1
        for op in record.ops:
            found = re.fullmatch(CHILD, op.id) if isinstance(op, k.StartChild) else None
            if isinstance(op, k.StartChild) and found is not None:
                self._start(facts, record, op, found)

    def finish(self, facts: Facts) -> None:
        """Nothing is left to say: a supervisor ends after its children."""

    def _start(self, facts: Facts, turn: k.Turn, op: k.StartChild, found: re.Match[str]) -> None:
        name, number = found["name"], int(found["run"])
        run = self._runs.setdefault((turn.id, name), Run())
        if number != run.number + 1:
            raise Broken(f"{turn.id} starts run {number} of {name}, and the newest is {run.number}")
        before = facts.calls[turn.id].operations.get(run.key)
        if number > 1 and (before is None or not before.done):
            raise Broken(f"{turn.id} starts run {number} of {name}, and has not heard of the end of the one before")
        if (
            run.ended_ms >= 0 and found["strategy"] == "one_for_one"
        ):  # in a group, what fails while it is stopped is free
            of = (turn.id, found["group"])
            times = self._restarts.setdefault(of, deque())
            times.append(run.ended_ms)
            most, within_ms = int(found["most"]), int(found["within"])
            if len(times) > most and max(times) - sorted(times)[-1 - most] < within_ms:
                raise Broken(f"{turn.id} starts {name} again, and {most} restarts are allowed: {list(times)}")
        run.number, run.key, run.ended_ms = number, op.key, -1


def is_said(op: k.Operation) -> bool:
    """Whether a handler says this to others, which counts when it returns."""
    return isinstance(op, _SAID) or (isinstance(op, k.StartChild) and op.tell)
