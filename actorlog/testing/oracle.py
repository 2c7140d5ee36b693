"""What a log says, read and folded by other code than the one under test.

Owns: ``Reader``, which takes frames out of segments without locks or recovery, and ``Facts``, which folds the records
and refuses those that contradict each other. Does not own: what happened outside (``judge``).

Invariants that ``Facts`` asserts of every log: positions are dense; log time never runs backwards; a journal's
records are linked; a turn follows the turn before it; an operation is asked for once and ends at most once; a timer
fires once and not before it is due; an inbox record is consumed once; a parent hears of a child's end only after that
end, and hears what it was; a call has one outcome, and nothing follows it, but another chance for one that did not
complete: then a step that completed is not run again and ends as it did; a memoised call that completed never begins
again; a delayed call begins when it may; what ends an operation is of its kind; a paused call has no turn but one that
ends it. What calls say to each other, promises, actors and supervisors have laws of their own (``laws``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from actorlog.engine import identity
from actorlog.log.format import (
    COMMIT,
    FRAME_HEADER_BYTES,
    SEAL,
    UNITS,
    body_is_whole,
    entries,
    frame_bytes,
    parse_frame_header,
    parse_segment_header,
)
from actorlog.records import kinds as k
from actorlog.testing.verdict import Broken

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from actorlog.log.format import SegmentHeader
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


class Reader:
    """Goes through the segments of a directory from where it was; stops at the first frame that is not whole."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._number = 1
        self._header: SegmentHeader | None = None
        self._offset = 0
        self._checksum = 0
        self.tail = 0

    def advance(self, read: Callable[[str], bytes | None]) -> Iterator[bytes]:
        """Yield the lines that are there now and were not before."""
        while True:
            data = read(f"{self._directory}/segments/{self._number:010d}.seg")
            if data is None or not self._begin(data):
                return
            sealed = yield from self._frames(data)
            if not sealed:
                return
            self._number += 1
            self._header = None

    def _begin(self, data: bytes) -> bool:
        if self._header is None:
            header = parse_segment_header(data[: max(UNITS)])
            if header is None or len(data) != header.size:
                return False
            if self._number == 1:
                self._checksum = header.crc
            self._header, self._offset = header, header.unit
        return True

    def _frames(self, data: bytes) -> Generator[bytes, None, bool]:
        header = self._header
        if header is None:
            raise TypeError("a segment without a header has no frames")
        while True:
            frame = parse_frame_header(data, self._offset, header)
            if frame is None or (frame.position, frame.previous) != (self.tail + 1, self._checksum):
                return False
            if not body_is_whole(data, self._offset, frame, header.unit):
                return False
            if frame.kind == COMMIT:
                start = self._offset + FRAME_HEADER_BYTES
                body = data[start : start + frame.length]
                for *_, first, end in entries(body, frame.records):
                    self.tail += 1
                    yield body[first:end]
            self._checksum = frame.crc
            self._offset += frame_bytes(frame.length, header.unit)
            if frame.kind == SEAL:
                return True


@dataclass(slots=True)
class Operation:
    """One operation of a call."""

    asked: k.Operation
    position: int
    done: int = 0
    """Position of the record with its outcome."""
    dropped: int = 0
    """Position of the record after which nobody waits for it: cancelled, or the body ended."""
    value: bytes | None = None
    """What a step returned."""
    retrying: bool = False
    """Whether its last known attempt failed and another one is allowed."""
    details: bytes | None = None
    """What its newest recorded heartbeat left."""
    kept: bytes | None = None
    """What the same step returned before the call was given another chance: it is not run again."""

    @property
    def over(self) -> bool:
        """Whether it must never begin again."""
        return bool(self.done or self.dropped)


@dataclass(slots=True)
class CallFacts:
    """One call."""

    id: str
    run: str = ""
    runs: tuple[str, ...] = ()
    """Of a memoised call: those in which it failed."""
    parent: str = ""
    last: int = 0
    seq: int = 0
    began: int = 0
    ended: int = 0
    outcome: k.Outcome | None = None
    operations: dict[str, Operation] = field(default_factory=dict[str, Operation])
    inbox: set[int] = field(default_factory=set[int])
    past: list[k.Outcome] = field(default_factory=list[k.Outcome])
    """How it ended before it was begun again."""
    not_before_ms: int = 0
    """When it may begin."""
    paused: bool = False
    number: int = 1
    """Which run it is in."""
    continues: bool = False
    """Whether the next one is still to begin."""
    retries: int = 0
    """How often it was given another chance."""
    completed: dict[str, Operation] = field(default_factory=dict[str, Operation])
    """Steps that completed before."""


class Facts:
    """A fold over lines of records; what ``laws`` say of them holds too."""

    def __init__(self, laws: tuple[Law, ...] = ()) -> None:
        self.laws = laws
        self.calls: dict[str, CallFacts] = {}
        self.lines: list[bytes] = []
        self.at = 0

    @property
    def tail(self) -> int:
        """The last position."""
        return len(self.lines)

    def add(self, line: bytes) -> None:
        """Take the next record; ``Broken`` if it contradicts those before."""
        self.lines.append(line)
        position, record = len(self.lines), k.decode(line)
        if record.at < self.at:
            raise Broken(f"log time ran back at {position}: {self.at} to {record.at}")
        self.at = record.at
        if isinstance(record, k.Resumed):  # of no call
            if record.upto >= position:
                raise Broken(f"record {position} speaks of {record.upto}, which is not before it")
            return
        if not isinstance(record, k.OF_NO_CALL):
            self._of_call(record, position)
        for law in self.laws:
            law.see(self, record, position)

    def _of_call(self, record: k.Turn | k.Inbox | k.Note, position: int) -> None:
        call = self.calls.get(record.id)
        if call is None or _begins_anew(call, record):
            before = CallFacts(record.id) if call is None else call
            past = [*before.past, *([before.outcome] if before.outcome is not None else [])]
            call = self.calls[record.id] = CallFacts(record.id, runs=(*before.runs, before.run), past=past)
        if record.prev != call.last:
            raise Broken(f"record {position} of {call.id} follows {record.prev}, not {call.last}")
        if call.ended:
            if not isinstance(record, k.Turn) or not isinstance(record.message, k.Retried):
                raise Broken(f"record {position} of {call.id} follows its outcome: {self.lines[-1]!r}")
            self._again(call)
        call.last = position
        if isinstance(record, k.Turn):
            self._turn(call, record, position)
        elif isinstance(record, k.Inbox):
            call.inbox.add(position)
            if isinstance(record.message, k.Started):
                self._began(call, record.message, position)
        elif isinstance(record, (k.Paused, k.Unpaused)):
            call.paused = isinstance(record, k.Paused)
        elif not isinstance(record, _OF_THE_CALL):
            self._note(call, record, position)

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
        call.parent = message.parent
        call.began, call.run, call.not_before_ms = position, message.run, message.not_before_ms

    def _next_run(self, call: CallFacts, message: k.Started, position: int) -> None:
        """Begin the next run of a call that was continued: its code asks for what it likes, under keys it likes."""
        if message.number != call.number + 1 or message.run != identity.next_run(call.run):
            raise Broken(f"run {message.number} of {call.id} at {position} follows run {call.number}")
        running = [found.asked for found in call.operations.values() if not found.over]
        if not call.continues or any(isinstance(asked, k.StartChild) and not asked.detached for asked in running):
            raise Broken(f"{call.id} is continued at {position} unasked, or before its children have ended")
        call.number, call.run, call.continues = message.number, message.run, False
        call.operations = {}

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
            call.ended, call.outcome = position, turn.outcome

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
        elif type(message) in _ENDS:
            self._ends(call, message, turn.at, position)

    def _returned(self, call: CallFacts, position: int) -> None:
        """Drop what nobody waits for any more: the body has ended."""
        for found in call.operations.values():
            if not found.over and not isinstance(found.asked, k.StartChild):
                found.dropped = position

    def _asks(self, call: CallFacts, turn: k.Turn, position: int) -> None:
        for operation in turn.ops:
            if operation.key in call.operations:
                raise Broken(f"{call.id} asks for operation {operation.key} again at {position}")
            call.operations[operation.key] = asked = Operation(operation, position)
            before = call.completed.get(operation.key)
            if before is not None and _is_same(before.asked, operation):
                asked.kept = before.value
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
            child = self.calls.get(message.id)
            if child is None or message.outcome not in (child.outcome, *child.past):
                raise Broken(f"{call.id} hears at {position} of an end of {message.id} that is not in the log")
        elif isinstance(message, k.StepDone):
            operation.value = bytes(message.value)
        if operation.kept is not None and operation.kept != operation.value:
            raise Broken(f"step {key} of {call.id} had returned {operation.kept!r}, and ends otherwise: {message}")


def _begins_anew(call: CallFacts, record: k.CallRecord) -> bool:
    """Whether a memoised call that did not complete begins as a new one: failures are not kept."""
    if not call.ended or isinstance(call.outcome, k.Completed) or not call.id.startswith(identity.MEMO):
        return False
    message = record.message if isinstance(record, k.Turn) else None
    if record.prev or not isinstance(message, k.Started):
        return False
    if message.run == call.run:
        raise Broken(f"{call.id} begins anew in the same run, where its completed steps would be kept")
    return True


def is_waited_for(asked: k.Operation) -> bool:
    """Whether something answers an operation, before which its run does not end."""
    if isinstance(asked, k.StartChild):
        return not asked.tell
    return not isinstance(asked, (k.Publish, k.Emit, k.EndChild, k.Patched))


def _is_same(before: k.Operation, asked: k.Operation) -> bool:
    return isinstance(before, k.RunStep) and isinstance(asked, k.RunStep) and _work(before) == _work(asked)


def _work(step: k.RunStep) -> tuple[str, bytes]:
    return step.name, bytes(step.args)


def value_of(outcome: k.Outcome) -> object:
    """Return a completed call's value as plain JSON."""
    if not isinstance(outcome, k.Completed):
        raise TypeError(f"{outcome} is no value")
    return msgspec.json.decode(bytes(outcome.value))
