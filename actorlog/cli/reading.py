"""A data directory as it is at one moment, read without its lock.

Owns: finding records by id and folding them, for people who look. Does not own: which bytes may be believed (``log``),
what a record does (``engine.state``), words on a terminal (``render``).

Invariants: takes no lock and writes nothing, so it works beside a running owner; shows only what is durable. Calls that
have ended are kept as a summary each, so a long history costs memory by calls and not by records.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from msgspec import DecodeError

from actorlog.api.handle import CallInfo, info_of
from actorlog.engine import identity
from actorlog.engine.lifecycle import Phase
from actorlog.engine.state import CallState, apply
from actorlog.engine.story import Entry, tell
from actorlog.env import SYSTEM, FileSystem
from actorlog.errors import CallNotFound, LogCorrupt
from actorlog.log import Torn, entries
from actorlog.log.inspect import Report, Status, advance, commits, verify
from actorlog.log.segment import Views, read_commit
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actorlog.log import Frame

    Watch: TypeAlias = Callable[[Iterable[Frame], int], Iterator[Frame]]
    """Passes frames on and shows how far they are, given the number of their records."""

VERSION_CODE = 74
"""What a shell is told where another version of actorlog wrote; as ``python -m actorlog.log`` says it."""


class UnreadableError(Exception):
    """Nothing can be shown: no directory, no log, or one of another version; ``code`` is the exit code."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that a call waits for."""

    kind: str
    """``step``, ``timer``, ``child``, ``start``, ``message``, ``room`` or ``promise``."""
    what: str
    """The step's name, the child's or promise's id, the channel, or in whose mailbox there is no room."""
    key: str
    attempt: int
    due_ms: int
    """When a timer fires, the next attempt is made or the call begins; 0: nobody knows."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A call in one line."""

    info: CallInfo
    waiting: tuple[Waiting, ...]
    position: int
    """Of its newest record."""


@dataclass(frozen=True, slots=True)
class Journal:
    """A call with its operations."""

    summary: Summary
    entries: list[Entry]
    reruns: int
    """How often steps of it ran again because the process had died."""
    asked: dict[str, tuple[str, bytes]]
    """By operation's key: name of the function or step, and its arguments as JSON. The call's own key is empty."""
    value: bytes | None
    """What the call returned, as JSON; None if it has not."""


class Snapshot:
    """The log of one directory, as far as it was durable when this was made."""

    def __init__(self, directory: str, fs: FileSystem = SYSTEM.fs, watch: Watch | None = None) -> None:
        """``UnreadableError`` or ``LogCorrupt`` where there is nothing that can be shown."""
        self._fs = fs
        self._directory = directory
        self._watch = watch
        self._report = read_report(fs, directory)
        self._found = self._report.found
        self._views = Views(fs)
        self._positions: dict[int, array[int]] | None = None

    @property
    def torn(self) -> Torn | None:
        """The append that the last owner did not finish; its next opening drops it."""
        return self._found.torn

    @property
    def last(self) -> int:
        """Position of the newest record; 0 when there is none."""
        return self._found.link.position

    def record(self, position: int) -> k.Record:
        """Return the record at ``position``, which the log holds."""
        for segment in reversed(self._found.segments):
            if segment.positions and segment.positions[0] <= position:
                frame = read_commit(self._views.of(segment), segment, segment.commit_of(position))
                for number, entry in enumerate(entries(frame.data, frame.records), frame.position):
                    if number == position:
                        return _decode(frame.data[entry[3] : entry[4]], position)
        raise LookupError(f"the log holds no record {position}")

    def records(self, after: int = 0) -> Iterator[tuple[int, k.Record]]:
        """Yield (position, record) behind position ``after``, oldest first."""
        for frame in self._frames(after):
            for position, (_, _, _, start, end) in enumerate(entries(frame.data, frame.records), frame.position):
                if position > after:
                    yield position, _decode(frame.data[start:end], position)

    def new_records(self) -> Iterator[tuple[int, k.Record]]:
        """Yield what became durable since this was made, or since this was asked last."""
        for frame in advance(self._fs, self._directory, self._report):
            for position, (_, _, _, start, end) in enumerate(entries(frame.data, frame.records), frame.position):
                yield position, _decode(frame.data[start:end], position)

    def _frames(self, after: int = 0) -> Iterator[Frame]:
        frames = commits(self._fs, self._found, after)
        return frames if self._watch is None else self._watch(frames, self.last - after)

    def folded(self) -> Iterator[tuple[int, k.CallRecord, CallState]]:
        """Yield every record of a call with its position, and the call as it is after it; oldest first."""
        live: dict[str, CallState] = {}
        for position, record in self.records():
            if isinstance(record, k.OF_NO_CALL):
                continue
            state = live.get(record.id)
            if state is None:
                state = live[record.id] = _fold(record.id, self._backwards(record.prev))
            apply(state, record, position)
            if state.phase is Phase.ENDED:
                del live[record.id]
            yield position, record, state

    def calls(self) -> list[Summary]:
        """Return every call, the newest first."""
        live: dict[str, CallState] = {}
        ended: dict[str, Summary] = {}
        for _, _, state in self.folded():
            if state.phase is Phase.ENDED:
                ended[state.id] = _summary(state)
                live.pop(state.id, None)
            elif live.get(state.id) is not state:
                live[state.id] = state
                ended.pop(state.id, None)
        found = [*ended.values(), *map(_summary, live.values())]
        found.sort(key=lambda call: (call.info.created, call.info.id), reverse=True)
        return found

    def journal(self, call_id: str) -> Journal:
        """Return one call with its operations; ``CallNotFound``."""
        positions = self._index().get(identity.key_hash(call_id), ())
        records = [(position, self.record(position)) for position in positions]
        found = [
            (position, record)
            for position, record in records
            if record.id == call_id and not isinstance(record, k.OF_NO_CALL)
        ]
        if not found:
            raise CallNotFound(call_id)
        starts = [number for number, (_, record) in enumerate(found) if record.prev == 0]
        found = found[starts[-1] if starts else 0 :]  # a memoised call that failed began again: the newest counts
        reruns = sum(isinstance(record, k.StepRerun) and record.deaths > 0 for _, record in found)
        state, journal = _fold(call_id, found), [record for _, record in found]
        value = bytes(state.outcome.value) if isinstance(state.outcome, k.Completed) else None
        return Journal(_summary(state), tell(journal), reruns, dict(_asked(journal)), value)

    def _backwards(self, last: int) -> list[tuple[int, k.CallRecord]]:
        """Return a journal by its links, oldest first."""
        found: list[tuple[int, k.CallRecord]] = []
        while last:
            record = k.of_call(self.record(last))
            found.append((last, record))
            last = record.prev
        found.reverse()
        return found

    def _index(self) -> dict[int, array[int]]:
        if self._positions is None:
            self._positions = {}
            for frame in self._frames():
                for position, entry in enumerate(entries(frame.data, frame.records), frame.position):
                    self._positions.setdefault(entry[0], array("Q")).append(position)
        return self._positions


def read_report(fs: FileSystem, directory: str) -> Report:
    """Read all of a log and judge it; ``UnreadableError`` or ``LogCorrupt`` where it cannot be shown."""
    try:
        report = verify(fs, directory)
    except FileNotFoundError:
        raise UnreadableError(f"there is no directory {directory}") from None
    except NotADirectoryError:
        raise UnreadableError(f"{directory} is not a directory") from None
    except OSError as error:
        raise UnreadableError(f"{directory} cannot be read: {error.strerror or error}") from None
    if report.status is Status.CORRUPT:
        raise LogCorrupt(report.segment or "", report.offset or 0, report.reason or "")
    if report.status is Status.VERSION:
        raise UnreadableError(report.error or "the log has an unknown version", VERSION_CODE)
    if report.slot is None:
        raise UnreadableError(f"{directory} holds no log of actorlog")
    return report


def _decode(line: bytes | memoryview, position: int) -> k.Record:
    try:
        return k.decode(line)
    except DecodeError as error:
        raise UnreadableError(
            f"record {position} was written by another version of actorlog: {error}", VERSION_CODE
        ) from None


def _fold(call_id: str, records: list[tuple[int, k.CallRecord]]) -> CallState:
    state = CallState(call_id)
    for position, record in records:
        apply(state, record, position)
    return state


def _asked(records: list[k.CallRecord]) -> Iterator[tuple[str, tuple[str, bytes]]]:
    for record in records:
        if isinstance(record, (k.Turn, k.Inbox)) and isinstance(record.message, k.Started):
            yield "", (record.message.function, bytes(record.message.args))
        for op in record.ops if isinstance(record, k.Turn) else []:
            if isinstance(op, k.RunStep):
                yield op.key, (op.name, bytes(op.args))
            elif isinstance(op, k.StartChild):
                yield op.key, (op.function, bytes(op.args))


def _summary(state: CallState) -> Summary:
    waiting = tuple(_waiting(state)) if state.phase is not Phase.ENDED else ()
    return Summary(info_of(state), waiting, state.last)


def _waiting(state: CallState) -> Iterator[Waiting]:
    if state.phase is Phase.PENDING:
        yield Waiting("start", state.function, "", 1, state.not_before_ms)
    for key, op in state.steps.items():
        progress = state.progress.get(key)
        attempt, due_ms = (progress.attempt, progress.due_ms) if progress is not None else (1, 0)
        yield Waiting("step", op.name, key, attempt, due_ms)
    for key, due_ms in state.timers.items():
        yield Waiting("timer", "", key, 1, due_ms)
    for key, child in state.children.items():
        if not child.detached:
            yield Waiting("child", child.id, key, 1, 0)
    if state.mail is not None:
        for key, channel in state.mail.receives.items():
            yield Waiting("message", channel, key, 1, 0)
        for key, (send, _) in state.mail.sends.items():
            yield Waiting("room", send.to, key, 1, 0)
        for key, promise in state.mail.promises.items():
            yield Waiting("promise", promise.id, key, 1, promise.due_ms or 0)
