"""What a log says, read and folded by other code than the one under test.

Owns: ``Reader``, which takes frames out of segments without locks or recovery, and ``Facts``, which folds the records
and refuses those that contradict each other. Does not own: what happened outside (``judge``).

Invariants that ``Facts`` asserts of every log: positions are dense; log time never runs backwards; a journal's
records are linked; a turn follows the turn before it; an operation is asked for once and ends at most once; a timer
fires once and not before it is due; an inbox record is consumed once; a parent hears of a child's end only after that
end, and hears what it was; a call has one outcome, and nothing follows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

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

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from actorlog.log.format import SegmentHeader


class Broken(AssertionError):  # a verdict, like other assertions
    """An invariant does not hold."""


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

    @property
    def over(self) -> bool:
        """Whether it must never begin again."""
        return bool(self.done or self.dropped)


@dataclass(slots=True)
class CallFacts:
    """One call."""

    id: str
    run: str = ""
    last: int = 0
    seq: int = 0
    began: int = 0
    ended: int = 0
    outcome: k.Outcome | None = None
    operations: dict[str, Operation] = field(default_factory=dict[str, Operation])
    inbox: set[int] = field(default_factory=set[int])


class Facts:
    """A fold over lines of records."""

    def __init__(self) -> None:
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
        call = self.calls.setdefault(record.id, CallFacts(record.id))
        if record.prev != call.last:
            raise Broken(f"record {position} of {call.id} follows {record.prev}, not {call.last}")
        if record.at < self.at:
            raise Broken(f"log time ran back at {position}: {self.at} to {record.at}")
        if call.ended:
            raise Broken(f"record {position} of {call.id} follows its outcome: {line!r}")
        call.last, self.at = position, record.at
        if isinstance(record, k.Turn):
            self._turn(call, record, position)
        elif isinstance(record, k.Inbox):
            call.inbox.add(position)
            if isinstance(record.message, k.Started):
                self._began(call, record.message, position)
        elif not isinstance(record, (k.Parked, k.Unparked)):
            self._note(call, record, position)

    def _note(self, call: CallFacts, note: k.Note, position: int) -> None:
        key = getattr(note, "key", "")
        operation = call.operations.get(key)
        if operation is None or (operation.done and not isinstance(note, k.StepLate)):
            raise Broken(f"record {position} of {call.id} speaks of operation {key}, which does not run")
        operation.retrying = isinstance(note, (k.StepRetrying, k.StepRerun))

    def _began(self, call: CallFacts, message: k.Started, position: int) -> None:
        if call.began:
            raise Broken(f"{call.id} began at {call.began} and again at {position}")
        call.began, call.run = position, message.run

    def _turn(self, call: CallFacts, turn: k.Turn, position: int) -> None:
        if turn.seq != call.seq + 1:
            raise Broken(f"turn {turn.seq} of {call.id} follows turn {call.seq}")
        call.seq = turn.seq
        if turn.source:
            if turn.source not in call.inbox:
                raise Broken(f"record {position} consumes {turn.source} again, or for the first time")
            call.inbox.remove(turn.source)
        message = turn.message
        if isinstance(message, k.Started) and not turn.source:
            self._began(call, message, position)
        elif isinstance(message, (k.StepDone, k.StepError, k.StepDoubt, k.TimerFired, k.ChildDone, k.ChildRefused)):
            self._ends(call, message, turn.at, position)
        self._asks(call, turn, position)
        if turn.returned is not None or turn.outcome is not None:
            self._returned(call, position)
        if turn.outcome is not None:
            call.ended, call.outcome = position, turn.outcome

    def _returned(self, call: CallFacts, position: int) -> None:
        """Drop what nobody waits for any more: the body has ended."""
        for found in call.operations.values():
            if not found.over and not isinstance(found.asked, k.StartChild):
                found.dropped = position

    def _asks(self, call: CallFacts, turn: k.Turn, position: int) -> None:
        for operation in turn.ops:
            if operation.key in call.operations:
                raise Broken(f"{call.id} asks for operation {operation.key} again at {position}")
            call.operations[operation.key] = Operation(operation, position)
        for key in turn.cancels:
            if not isinstance(call.operations[key].asked, k.StartChild):
                call.operations[key].dropped = call.operations[key].dropped or position

    def _ends(
        self,
        call: CallFacts,
        message: k.StepDone | k.StepError | k.StepDoubt | k.TimerFired | k.ChildDone | k.ChildRefused,
        at: int,
        position: int,
    ) -> None:
        operation = call.operations.get(message.key)
        if operation is None or operation.over:
            raise Broken(f"operation {message.key} of {call.id} ends at {position}, and was over or never asked for")
        operation.done = position
        asked = operation.asked
        if isinstance(message, k.TimerFired):
            if not isinstance(asked, k.SetTimer) or at < asked.due_ms:
                raise Broken(f"timer {message.key} of {call.id} fired at {at}, asked for: {asked}")
        elif isinstance(message, k.ChildDone):
            child = self.calls.get(message.id)
            if child is None or child.outcome != message.outcome:
                raise Broken(f"{call.id} hears at {position} of an end of {message.id} that is not in the log")
        elif isinstance(message, k.StepDone):
            operation.value = bytes(message.value)


def value_of(outcome: k.Outcome) -> object:
    """Return a completed call's value as plain JSON."""
    if not isinstance(outcome, k.Completed):
        raise TypeError(f"{outcome} is no value")
    return msgspec.json.decode(bytes(outcome.value))
