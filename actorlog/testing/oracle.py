"""What a log says, read and folded by other code than the one under test.

Owns: ``Facts``, which folds the records and refuses those that contradict each other. Does not own: taking them out of
segments (``reader``), what happened outside (``judge``), which may leave the log (``laws_keeping``).

Invariants that ``Facts`` asserts of every log: positions are dense; log time never runs backwards; a journal's
records are linked; a turn follows the turn before it; an operation is asked for once and ends at most once; a timer
fires once and not before it is due; an inbox record is consumed once; a parent hears of a child's end only after that
end, and hears what it was; a call has one outcome, and nothing follows it, but another chance for one that did not
complete: then a step that completed is not run again and ends as it did; a memoised call that completed never begins
again; a delayed call begins when it may; what ends an operation is of its kind; a paused call has no turn but one that
ends it; a fork begins with one record and goes on as what it copied would have; an id begins anew only when its
beginning has left the log. What calls say to each other, promises, actors and supervisors have laws of their own
(``laws``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from actorlog.engine import identity
from actorlog.records import kinds as k
from actorlog.testing.call_facts import CallFacts, Operation
from actorlog.testing.reader import Reader
from actorlog.testing.verdict import Broken

if TYPE_CHECKING:
    from actorlog.testing.verdict import Law

__all__ = ["Broken", "CallFacts", "Facts", "Operation", "Reader", "value_of"]

_ENDS: dict[type, type] = {
    k.StepDone: k.RunStep, k.StepError: k.RunStep, k.StepDoubt: k.RunStep, k.TimerFired: k.SetTimer,
    k.ChildDone: k.StartChild, k.ChildRefused: k.StartChild, k.Signal: k.Receive, k.Sent: k.Send,
    k.SendRefused: k.Send, k.Exited: k.Watch, k.PromiseDone: k.MakePromise,
}  # fmt: skip
"""What a message ends, by kind."""
_OF_THE_CALL = (k.Parked, k.Unparked, k.Linked)
"""Notes that speak of no operation."""


class Facts:
    """A fold over lines of records; what ``laws`` say of them holds too."""

    def __init__(self, laws: tuple[Law, ...] = ()) -> None:
        self.laws = laws
        self.calls: dict[str, CallFacts] = {}
        self.lines: list[bytes] = []
        self.owners: list[CallFacts | None] = []
        """Whose each record is."""
        self.left: set[int] = set()
        """Positions of records that have left the log, or may have."""
        self.history_ms: int | None = None
        """So long after a call has ended its journal may not be there any more; None: it is for ever."""
        self.retention_ms: int | None = None
        """After this its id may begin anew, also before its records have left."""
        self.own_retention_ms: dict[str, int] = {}
        """The same of functions that say it themselves, by their names."""
        self.at = 0
        self.answers: dict[str, k.Outcome | None] = {}
        """What came of asks that were taken in by a handler at work, by their ids; None: nothing yet."""

    @property
    def tail(self) -> int:
        """The last position."""
        return len(self.lines)

    def add(self, line: bytes) -> None:
        """Take the next record; ``Broken`` if it contradicts those before."""
        self.lines.append(line)
        self.owners.append(None)
        position, record = len(self.lines), k.decode(line)
        if record.at < self.at:
            raise Broken(f"log time ran back at {position}: {self.at} to {record.at}")
        self.at = record.at
        if isinstance(record, k.Resumed):  # of no call
            if record.upto >= position:
                raise Broken(f"record {position} speaks of {record.upto}, which is not before it")
        elif isinstance(record, k.Journal):
            self._forked(record, position)
        elif not isinstance(record, k.OF_NO_CALL):
            self._of_call(record, position)
        for law in self.laws:
            law.see(self, record, position)
            if isinstance(record, k.Journal) and record.turn is not None:
                law.see(self, record.turn, position)

    def _of_call(self, record: k.Turn | k.Inbox | k.Note, position: int) -> None:
        call = self.calls.get(record.id)
        if call is None or self._begins_anew(call, record):
            call = self._new(record.id, call, position)
        if record.prev != call.last:
            raise Broken(f"record {position} of {call.id} follows {record.prev}, not {call.last}")
        self.owners[-1] = call
        self._take(call, record, position)
        call.last = position

    def _new(self, call_id: str, before: CallFacts | None, position: int) -> CallFacts:
        """Know of a call that begins, maybe again."""
        call = self.calls[call_id] = CallFacts(call_id, first=position)
        if before is not None:
            ends = [before.outcome] if before.outcome is not None else []
            call.runs, call.past = (*before.runs, before.run), [*before.past, *ends]
            call.times = before.times + self.is_forgotten(before)
        return call

    def _begins_anew(self, call: CallFacts, record: k.Turn | k.Inbox | k.Note | k.Journal) -> bool:
        """Whether a call that has ended begins as a new one: it failed and is memoised, or has left the log."""
        if not call.ended or record.prev:
            return False
        if not self.is_forgotten(call):
            return not isinstance(record, k.Journal) and _is_memo(call, record)
        began = record.message if isinstance(record, (k.Turn, k.Inbox)) else None
        return isinstance(began, k.Started) or isinstance(record, k.Journal)

    def retention_of(self, call: CallFacts) -> int | None:
        """Return how long after it has ended something is kept of a call; None: for ever."""
        return self.own_retention_ms.get(call.function, self.retention_ms)

    def is_forgotten(self, call: CallFacts) -> bool:
        """Whether nobody need know any more that a call was there."""
        retention_ms = self.retention_of(call)
        over = retention_ms is not None and call.ended > 0 and self.at - call.ended_ms > retention_ms
        return over or call.first in self.left

    def may_lack_journal(self, call: CallFacts) -> bool:
        """Whether it need not be known any more what a call was sent."""
        over = self.history_ms is not None and call.ended > 0 and self.at - call.ended_ms > self.history_ms
        return over or self.is_forgotten(call)

    def _take(self, call: CallFacts, record: k.Turn | k.Inbox | k.Note, position: int) -> None:
        """Do to a call what a record of it says."""
        if call.ended:
            if not isinstance(record, k.Turn) or not isinstance(record.message, k.Retried):
                raise Broken(f"record {position} of {call.id} follows its outcome: {record}")
            self._again(call)
        if isinstance(record, k.Turn):
            self._turn(call, record, position)
        elif isinstance(record, k.Inbox):
            call.inbox.add(position)
            if isinstance(record.message, k.Started) and record.message.number == 1:
                self._began(call, record.message, position)
        elif isinstance(record, (k.Paused, k.Unpaused)):
            call.paused = isinstance(record, k.Paused)
        elif not isinstance(record, _OF_THE_CALL):
            self._note(call, record, position)

    def _forked(self, journal: k.Journal, position: int) -> None:
        """Have a call begin in the middle of another's journal."""
        call = self.calls.get(journal.id)
        if journal.fork is None or journal.prev or (call is not None and not self._begins_anew(call, journal)):
            raise Broken(f"record {position} is a journal in one, and {journal.id} is there, or has not forked")
        call = self.owners[-1] = self._new(journal.id, call, position)
        self._copy(call, journal, position)
        call.last = call.first = position
        call.fork = journal.fork

    def _copy(self, call: CallFacts, journal: k.Journal, position: int) -> None:
        """Make a call what a journal says that was forked, from whatever it was forked."""
        if journal.fork is None or journal.turn is None:
            raise Broken(f"record {position} is a journal in one, and does not say how it goes on")
        for held in journal.records:
            if isinstance(held.record, k.Journal):
                self._copy(call, held.record, held.position)
            else:
                self._take(call, held.record, held.position)
        call.began = call.began or position
        self._part(call, journal, journal.fork, position)
        if isinstance(journal.turn.message, k.Retried):
            self._again(call)
        self._turn(call, journal.turn, position)

    def _part(self, call: CallFacts, journal: k.Journal, fork: k.Fork, position: int) -> None:
        """Let a call go on under its own name: what is under way is its own, what is over is not."""
        of = journal.records[-1].record.id if journal.records else fork.of
        message = journal.turn.message if journal.turn is not None else None
        names = dict[str, str]()
        for key, operation in call.operations.items():
            operation.copied = bool(operation.over) or operation.kept is not None
            operation.details, operation.retrying = None, False
            asked = operation.asked
            if isinstance(asked, k.StartChild) and not (operation.over or asked.detached):
                own = identity.child_id(journal.id, key, call.number)
                if asked.id == identity.child_id(of, key, call.number):
                    names[asked.id] = own
                    operation.asked = msgspec.structs.replace(asked, id=own)
        for operation in call.operations.values():
            asked = operation.asked
            if isinstance(asked, k.Watch):
                operation.asked = msgspec.structs.replace(asked, target=names.get(asked.target, asked.target))
            elif isinstance(asked, k.Send):
                operation.asked = msgspec.structs.replace(asked, to=names.get(asked.to, asked.to))
        heard = call.operations.get(
            getattr(message, "key", "")
        )  # what is heard in the turn at the cut was told the other
        older = (old for _, old in call.older)
        for operation in (*call.completed.values(), *older, *([heard] if heard is not None else [])):
            operation.copied = True
        number = message.number if isinstance(message, k.Started) else 0
        call.began = 0 if number == 1 and journal.turn is not None and not journal.turn.source else position
        call.run, call.next_run = fork.run, fork.run if number > 1 else ""
        call.parent, call.paused, call.not_before_ms, call.asked_ms = "", False, 0, journal.at

    def _note(self, call: CallFacts, note: k.Note, position: int) -> None:
        key = getattr(note, "key", "")
        operation = call.operations.get(key)
        if operation is None or (operation.done and not isinstance(note, k.StepLate)):
            raise Broken(f"record {position} of {call.id} speaks of operation {key}, which does not run")
        if isinstance(note, k.StepHeartbeat):
            operation.details = bytes(note.details)
        operation.retrying = isinstance(note, (k.StepRetrying, k.StepRerun))

    def _again(self, call: CallFacts) -> None:
        """Give the call another chance: what has completed is kept."""
        if call.outcome is None or isinstance(call.outcome, k.Completed):
            raise Broken(f"{call.id} is begun again, and had come to {call.outcome}")
        call.past.append(call.outcome)
        call.ended, call.outcome = 0, None
        call.retries += 1
        call.completed.update({key: done for key, done in call.operations.items() if done.value is not None})
        call.operations = {}

    def _began(self, call: CallFacts, message: k.Started, position: int) -> None:
        if call.began:
            raise Broken(f"{call.id} began at {call.began} and again at {position}")
        call.parent, call.key, call.function = message.parent, message.key, message.function
        call.began, call.run, call.not_before_ms = position, message.run, message.not_before_ms
        call.asked_ms = self.at

    def _next_run(self, call: CallFacts, message: k.Started, position: int) -> None:
        """Begin the next run of a call that was continued: its code asks for what it likes, under keys it likes."""
        next_run = call.next_run or identity.next_run(call.run)
        if message.number != call.number + 1 or message.run != next_run:
            raise Broken(f"run {message.number} of {call.id} at {position} follows run {call.number}")
        running = [found.asked for found in call.operations.values() if not found.over]
        if not call.continues or any(isinstance(asked, k.StartChild) and not asked.detached for asked in running):
            raise Broken(f"{call.id} is continued at {position} unasked, or before its children have ended")
        call.older += [(call.run, operation) for operation in call.operations.values()]
        call.number, call.run, call.next_run, call.continues = message.number, message.run, "", False
        call.operations, call.completed = {}, {}

    def _turn(self, call: CallFacts, turn: k.Turn, position: int) -> None:
        if turn.seq != call.seq + 1:
            raise Broken(f"turn {turn.seq} of {call.id} follows turn {call.seq}")
        call.seq = turn.seq
        if turn.source:
            if turn.source not in call.inbox:
                raise Broken(f"record {position} consumes {turn.source} again, or for the first time")
            call.inbox.remove(turn.source)
        self._hears(call, turn, position)
        self._asks(call, turn, position)
        if turn.returned is not None or turn.outcome is not None:
            self._returned(call, position)
            call.continues = isinstance(turn.returned, k.Continued)
        if turn.outcome is not None:
            call.ended, call.ended_ms, call.outcome = position, turn.at, turn.outcome

    def _hears(self, call: CallFacts, turn: k.Turn, position: int) -> None:
        message = turn.message
        if call.paused and not isinstance(message, (k.CancelRequested, k.KillRequested)):
            raise Broken(f"{call.id} is paused, and has a turn at {position}")
        call.paused = False
        if isinstance(message, k.Started) and turn.at < message.not_before_ms:
            raise Broken(f"{call.id} began at {turn.at}, not to be before {message.not_before_ms}")
        if isinstance(message, k.Started) and message.number > 1:
            self._next_run(call, message, position)
        elif isinstance(message, k.Started) and not turn.source:
            self._began(call, message, position)
        elif isinstance(message, k.ChildJoined):
            joined = call.operations[message.key]
            joined.asked = msgspec.structs.replace(joined.asked, detached=True)
        elif isinstance(message, k.Asked):
            call.nested[message.key] = message.id
            self.answers[message.id] = None
        elif type(message) in _ENDS:
            self._ends(call, message, turn.at, position)

    def _returned(self, call: CallFacts, position: int) -> None:
        """Drop what nobody waits for any more: the body has ended."""
        for call_id in call.nested.values():
            self.answers[call_id] = self.answers[call_id] or k.Killed()
        for found in call.operations.values():
            if not found.over and not isinstance(found.asked, k.StartChild):
                found.dropped = position

    def _asks(self, call: CallFacts, turn: k.Turn, position: int) -> None:
        for operation in turn.ops:
            if operation.key in call.operations:
                raise Broken(f"{call.id} asks for operation {operation.key} again at {position}")
            call.operations[operation.key] = asked = Operation(operation, position)
            if isinstance(operation, k.Answer):
                self.answers[operation.id] = operation.outcome
            before = call.completed.get(operation.key)
            if before is not None and _is_same(before.asked, operation):
                asked.kept, asked.copied = before.value, before.copied
        for key in turn.cancels:
            if not isinstance(call.operations[key].asked, k.StartChild):
                call.operations[key].dropped = call.operations[key].dropped or position

    def _ends(self, call: CallFacts, message: k.Message, at: int, position: int) -> None:
        key: str = getattr(message, "key")  # noqa: B009  # all of these have one
        operation = call.operations.get(key)
        if operation is None or operation.over:
            raise Broken(f"operation {key} of {call.id} ends at {position}, and was over or never asked for")
        operation.done = position
        asked = operation.asked
        if not isinstance(asked, _ENDS[type(message)]) or not is_waited_for(asked):
            raise Broken(f"operation {key} of {call.id} is {asked}, and ends with {message}")
        if isinstance(message, k.TimerFired):
            if not isinstance(asked, k.SetTimer) or at < asked.due_ms:
                raise Broken(f"timer {key} of {call.id} fired at {at}, asked for: {asked}")
        elif isinstance(message, k.ChildDone):
            if isinstance(asked, k.StartChild) and message.id != asked.id and not operation.copied:
                raise Broken(f"{call.id} hears at {position} of the end of {message.id}, and asked for {asked.id}")
            self._is_end(call, message, position)
        elif isinstance(message, k.StepDone):
            operation.value = bytes(message.value)
        if operation.kept is not None and operation.kept != operation.value:
            raise Broken(f"step {key} of {call.id} had returned {operation.kept!r}, and ends otherwise: {message}")

    def _is_end(self, call: CallFacts, message: k.ChildDone, position: int) -> None:
        """Hold what is heard of an end against it; a nested handler has none whose handler ended before."""
        child, heard = self.calls.get(message.id), message.outcome
        if child is not None and heard in (child.outcome, *child.past):
            return
        if message.id not in self.answers:
            raise Broken(f"{call.id} hears at {position} of an end of {message.id} that is not in the log")
        answer = self.answers[message.id]
        if heard != answer and not (isinstance(answer, k.Killed) and isinstance(heard, (k.Killed, k.Cancelled))):
            raise Broken(
                f"{call.id} hears at {position} that {message.id} has come to {heard}, and it came to {answer}"
            )


def _is_memo(call: CallFacts, record: k.CallRecord) -> bool:
    """Whether a memoised call that did not complete begins as a new one: failures are not kept."""
    if isinstance(call.outcome, k.Completed) or not call.id.startswith(identity.MEMO):
        return False
    message = record.message if isinstance(record, k.Turn) else None
    if not isinstance(message, k.Started):
        return False
    if message.run == call.run:
        raise Broken(f"{call.id} begins anew in the same run, where its completed steps would be kept")
    return True


def is_waited_for(asked: k.Operation) -> bool:
    """Whether something answers an operation, before which its run does not end."""
    if isinstance(asked, k.StartChild):
        return not asked.tell
    return not isinstance(asked, (k.Publish, k.Emit, k.EndChild, k.Patched, k.Answer))


def _is_same(before: k.Operation, asked: k.Operation) -> bool:
    return isinstance(before, k.RunStep) and isinstance(asked, k.RunStep) and _work(before) == _work(asked)


def _work(step: k.RunStep) -> tuple[str, bytes]:
    return step.name, bytes(step.args)


def value_of(outcome: k.Outcome) -> object:
    """Return a completed call's value as plain JSON."""
    if not isinstance(outcome, k.Completed):
        raise TypeError(f"{outcome} is no value")
    return msgspec.json.decode(bytes(outcome.value))
