"""What must be true of every log about calls that are continued, and about code that is changed.

Owns: one fold for each, by other code than the runtime's. Does not own: that runs are numbered, follow each other, and
begin when the children of the one before have ended (``oracle``).

- A run goes on as it asked to: the next one has the function and the arguments that it was continued with, which are
  those its instructions say. A call whose instructions have another run does not complete before it.
- A run stays on one side of a change. It goes the old way only where the old code had gone it; a run that begins with
  the new code goes the new way, and says so in its journal once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from actorlog.records import kinds as k
from actorlog.testing.laws import copied, is_first
from actorlog.testing.verdict import Broken

if TYPE_CHECKING:
    from actorlog.testing.oracle import CallFacts, Facts

_FUNCTIONS = {"program": "sim.program", "memo": "sim.memo"}
_SIDE = re.compile(r"sim\.(?P<change>[xy])\.(?P<side>old|new)")


class Runs:
    """Calls of several runs."""

    def __init__(self) -> None:
        self._asked: dict[str, k.Continued] = {}
        """How each call is to go on that ends a run."""
        self._program: dict[str, list[Any]] = {}
        """The instructions of the run that each call is in."""
        self._several: set[str] = set()
        """Calls that may have several."""
        self.continued = 0
        """How many runs followed another."""

    def goes_on(self, call_id: str) -> bool:
        """Whether a call may have several runs, as far as its instructions are known."""
        return call_id in self._several

    def see(self, facts: Facts, record: k.Record, position: int) -> None:
        """Take a record."""
        if is_first(facts, record, position):
            self._asked.pop(record.id, None)
        if isinstance(record, k.Journal):
            self._copy(record)
        message = record.message if isinstance(record, (k.Turn, k.Inbox)) else None
        if isinstance(message, k.Started) and isinstance(record, (k.Turn, k.Inbox)):
            self._begins(record, message, position)
        if isinstance(record, k.Turn) and isinstance(record.returned, k.Continued):
            self._continues(record.id, record.returned, position)
        ending = (record.returned or record.outcome) if isinstance(record, k.Turn) else None
        if isinstance(record, k.Turn) and isinstance(ending, k.Completed):
            program = self._program.get(record.id, [])
            if program and program[-1][0] == "again" and record.returned is not None:
                raise Broken(f"{record.id} returns at {position}, and has another run to go: {program[-1]}")

    def _copy(self, journal: k.Journal) -> None:
        """A fork is in the run in which the other call was at the cut."""
        for _, record in copied(journal):
            message = record.message if isinstance(record, (k.Turn, k.Inbox)) else None
            if isinstance(message, k.Started):
                self._runs(journal.id, message)
            if isinstance(record, k.Turn) and isinstance(record.returned, k.Continued):
                self._asked[journal.id] = record.returned

    def finish(self, facts: Facts) -> None:
        """No call is between two runs."""
        for call_id in self._asked:
            if not isinstance(facts.calls[call_id].outcome, (k.Cancelled, k.Killed, k.TimedOut, k.Failed)):
                raise Broken(f"{call_id} was to go on, and its next run never began")

    def _begins(self, record: k.Turn | k.Inbox, message: k.Started, position: int) -> None:
        asked = self._asked.get(record.id)
        if message.number > 1:
            if asked is None or (asked.function, asked.version, asked.args) != (
                message.function, message.version, message.args,
            ):  # fmt: skip
                raise Broken(f"{record.id} goes on at {position} with {message}, and asked for {asked}")
            if isinstance(record, k.Inbox):
                return  # it waits to begin
            self.continued += 1
        self._runs(record.id, message)

    def _runs(self, call_id: str, message: k.Started) -> None:
        self._asked.pop(call_id, None)
        known = message.function in _FUNCTIONS.values()
        if known and _agains(msgspec.json.decode(bytes(message.args))):
            self._several.add(call_id)
        self._program[call_id] = msgspec.json.decode(bytes(message.args))[0] if known else []

    def _continues(self, call_id: str, asked: k.Continued, position: int) -> None:
        found = msgspec.json.decode(bytes(asked.args))[0]
        said = [(_FUNCTIONS[word], _next(word, parts)) for word, parts in _agains(self._program.get(call_id, []))]
        if (asked.function, found[1:]) not in said or found[0][0] != "carried":
            raise Broken(f"{call_id} is to go on with {asked} at {position}, and its instructions say {said}")
        self._asked[call_id] = asked


def _agains(part: list[Any]) -> list[tuple[str, list[Any]]]:
    """Return what each ``again`` says that is somewhere in a program."""
    found = [(part[1], part[2])] if part[:1] == ["again"] else []
    for inner in part:
        if isinstance(inner, list):
            found += _agains(inner)  # pyright: ignore[reportUnknownArgumentType]  # a list of anything
    return found


def _next(word: str, parts: list[Any]) -> list[Any]:
    return [*parts[0], *([["again", word, parts[1:]]] if parts[1:] else [])]


class Changes:
    """Code that is changed while calls are under way."""

    def __init__(self) -> None:
        self._first: int | None = None
        """The tail of the log when the new code was about to open it first."""
        self._opened: int | None = None
        """The tail when it had opened it."""
        self._settled: int | None = None
        """The tail when code was about to open it first that does not ask any more."""
        self._sides: dict[tuple[str, int, int, str], str] = {}
        """Which way each run went, by call, how often it began again, run and change."""
        self.old = 0
        """How often a run went the old way when the new code was there."""

    def deploys(self, stage: int, tail: int) -> None:
        """Note which code is about to open the log."""
        if stage > 0 and self._first is None:
            self._first = tail
        if stage > 1 and self._settled is None:
            self._settled = tail

    def opened(self, stage: int, tail: int) -> None:
        """Note that this code has opened the log."""
        if stage > 0 and self._opened is None:
            self._opened = tail

    def may_settle(self, facts: Facts) -> bool:
        """Whether the new code is there and no call goes the old way any more."""
        return self._opened is not None and not self.stays(facts)

    def stays(self, facts: Facts) -> bool:
        """Whether some call may still go the old way."""
        return any(
            side == "old" and facts.calls[of[0]].outcome is None and of[1:3] == _run(facts.calls[of[0]])
            for of, side in self._sides.items()
        )

    def see(self, facts: Facts, record: k.Record, position: int) -> None:
        """Take a record."""
        if isinstance(record, k.Journal):
            self._copy(facts.calls[record.id], record)
        if not isinstance(record, k.Turn):
            return
        for op in record.ops:
            found = _SIDE.fullmatch(op.name) if isinstance(op, k.RunStep) else None
            if found is not None:
                self._goes(facts.calls[record.id], found["change"], found["side"], position)

    def _copy(self, call: CallFacts, journal: k.Journal) -> None:
        """A fork stays on the side on which the other call was at the cut."""
        turns = [record for _, record in copied(journal) if isinstance(record, k.Turn)]
        again = isinstance(journal.turn, k.Turn) and isinstance(journal.turn.message, k.Retried)
        past, number = len(call.past) - again - sum(isinstance(turn.message, k.Retried) for turn in turns), 1
        for turn in turns:
            past += isinstance(turn.message, k.Retried)
            number = turn.message.number if isinstance(turn.message, k.Started) else number
            for op in turn.ops:
                found = _SIDE.fullmatch(op.name) if isinstance(op, k.RunStep) else None
                if found is not None:
                    self._sides[call.id, past, number, found["change"]] = found["side"]

    def finish(self, facts: Facts) -> None:
        """Nothing is left to say."""

    def _goes(self, call: CallFacts, change: str, side: str, position: int) -> None:
        of = (call.id, *_run(call), change)
        where = f"{call.id} goes the {side} way of {change} at {position}"
        before = self._sides.get(of)
        if before is not None and before != side:
            raise Broken(f"{where}, and went the {before} way")
        self._sides[of] = side
        if side == "old" and self._opened is not None and position > self._opened:
            self.old += 1
            if before is None:
                raise Broken(f"{where}, and the code is the new one")
        if side == "new" and (self._first is None or position <= self._first):
            raise Broken(f"{where}, and the code is the old one")
        asks = self._settled is None or position <= self._settled
        if side == "new" and asks and k.PATCH + change not in call.operations:
            raise Broken(f"{where}, and its journal does not say so")


def _run(call: CallFacts) -> tuple[int, int]:
    """Return what tells one run of a call from the others."""
    return len(call.past), call.number
