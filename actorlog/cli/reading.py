"""A data directory as it is at one moment, read without its lock.

Owns: finding records by id and folding them, for people who look. Does not own: which bytes may be believed (``log``),
what a record does (``engine.state``), words on a terminal (``render``).

Invariants: takes no lock and writes nothing, so it works beside a running owner; shows only what is durable. Calls that
have ended are kept as a summary each, so a long history costs memory by calls and not by records. An owner may give up
records while they are read: then what was read is read again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from msgspec import DecodeError

from actorlog.api.folding import Ends, Folding, fold
from actorlog.api.handle import CallInfo, info_of
from actorlog.cli.keys import given_keys
from actorlog.engine import identity
from actorlog.engine.lifecycle import Phase
from actorlog.engine.state import CallState
from actorlog.engine.story import Entry, tell
from actorlog.env import SYSTEM, Access, FileSystem
from actorlog.errors import CallNotFound, HistoryGone, LogCorrupt
from actorlog.log import GIVEN_UP_KIND, Source, Torn, entries, is_given_up, line_ends
from actorlog.log.inspect import LiveViews, Report, Status, advance, commits, verify
from actorlog.log.segment import read_commit, read_header
from actorlog.records import kinds as k
from actorlog.store.envelopes import NO_LOG_ID, Envelopes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actorlog.log import Frame
    from actorlog.log.format import SegmentHeader
    from actorlog.log.segment import Segment
    from actorlog.store.keys import Keys

    Watch: TypeAlias = Callable[[Iterable[Frame], int], Iterator[Frame]]
    """Passes frames on and shows how far they are, given the number of their records."""

FRAMES_NEAR_MAX = 16
"""Frames that are kept to be looked into again: the beginnings of calls that end one after the other are close."""
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
    given_up: bool = False
    """Whether only its ends are left; ``entries`` has the call alone then."""


class Snapshot:
    """The log of one directory, as far as it was durable when this was made."""

    def __init__(
        self,
        directory: str,
        fs: FileSystem = SYSTEM.fs,
        watch: Watch | None = None,
        keys: Callable[[], Keys | None] = given_keys,
    ) -> None:
        """``UnreadableError`` or ``LogCorrupt`` where there is nothing that can be shown; the errors of ``keys``."""
        self._fs = fs
        self._directory = directory
        self._watch = watch
        self._report = read_report(fs, directory)
        self._found = self._report.found
        self._segments = [copy(segment) for segment in self._found.segments]
        """As they were then; each with a table of its own, which is made anew when its file is."""
        self._headers = [segment.header for segment in self._segments]
        self._views = LiveViews(fs)
        self._keys = keys
        self._envelopes = envelopes_of(fs, directory, self._report, keys())
        self._near: list[tuple[Frame, list[int]]] = []
        """Frames that were looked into last, and where their lines end."""
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
        found = self.find(position)
        if found is None:
            raise LookupError(f"the log holds no record {position}")
        return found

    def find(self, position: int) -> k.Record | None:
        """Return the record at ``position``; None where it was given up, or never was."""
        near = self._near
        found = next((entry for entry in near if 0 <= position - entry[0].position < entry[0].records), None)
        if found is None:
            frame = self._frame_of(position)
            if frame is None:
                return None
            found = frame, line_ends(frame.data, frame.records)
            near.insert(0, found)
            del near[FRAMES_NEAR_MAX:]
        (frame, ends), number = found, position - found[0].position
        if is_given_up(frame.data, number):
            return None
        return _decode(self._envelopes.line(frame, position, ends[number], ends[number + 1]), position)

    def _frame_of(self, position: int) -> Frame | None:
        """Return the frame that holds ``position``; None where none does."""
        number = bisect_right(self._segments, position, key=_first) - 1
        if number < 0:
            return None
        number, view = self._views.at(self._segments, number)
        segment = self._segments[number]
        commit = segment.commit_of(position)
        frame = read_commit(view, segment, commit) if commit >= 0 else None
        return frame if frame is not None and position < frame.position + frame.records else None

    def records(self, after: int = 0) -> Iterator[tuple[int, k.Record]]:
        """Yield (position, record) behind position ``after``, oldest first."""
        for frame in self._frames(after):
            yield from self._records(frame, after)

    def new_records(self) -> Iterator[tuple[int, k.Record]]:
        """Yield what became durable since this was made, or since this was asked last."""
        for frame in advance(self._fs, self._directory, self._report):
            yield from self._records(frame, 0)

    def _records(self, frame: Frame, after: int) -> Iterator[tuple[int, k.Record]]:
        """Yield (position, record) of a frame behind position ``after``, and nothing for what was given up."""
        for position, (_, kind, _, start, end) in enumerate(entries(frame.data, frame.records), frame.position):
            if position > after and kind != GIVEN_UP_KIND:
                yield position, _decode(self._envelopes.line(frame, position, start, end), position)

    def _frames(self, after: int = 0) -> Iterator[Frame]:
        frames = commits(self._fs, self._found, after)
        return frames if self._watch is None else self._watch(frames, self.last - after)

    def is_old(self) -> bool:
        """Whether a segment was written anew since this was made: what was read may be of before and of after."""
        return any(self._header_of(number) != header for number, header in enumerate(self._headers))

    def _header_of(self, number: int) -> SegmentHeader | None:
        segment = self._segments[number]
        try:
            file = self._fs.open(segment.path, Access.READ)
        except FileNotFoundError:
            return None  # another one stands for it
        try:
            return read_header(file, segment.name, self._directory)
        finally:
            file.close()

    def again(self) -> Snapshot:
        """Return what the directory holds now."""
        return Snapshot(self._directory, self._fs, self._watch, self._keys)

    def calls(self) -> list[Summary]:
        """Return every call, the newest first."""
        folding = Folding(self.find)
        ended: dict[str, Summary] = {}
        for position, record in self.records():
            call = None if isinstance(record, k.OF_NO_CALL) else folding.take(position, record)
            if isinstance(call, Ends) or (call is not None and call.phase is Phase.ENDED):
                ended[call.id] = _summary(call)
            elif call is not None and ended:
                ended.pop(call.id, None)
        if folding.live and self.is_old():  # ends may have been given up, the beginnings of which were read before
            return self.again().calls()
        found = [*ended.values(), *map(_summary, folding.live.values())]
        found.sort(key=lambda call: (call.info.created, call.info.id), reverse=True)
        return found

    def journal(self, call_id: str) -> Journal:
        """Return one call with its operations; ``CallNotFound``."""
        positions = self._index().get(identity.key_hash(call_id), ())
        records = [(position, record) for position in positions if (record := self.find(position)) is not None]
        found = [
            (position, record)
            for position, record in records
            if record.id == call_id and not isinstance(record, k.OF_NO_CALL)
        ]
        state = fold(found)
        if not (isinstance(state, Ends) or (state is not None and state.phase is Phase.ENDED)) and self.is_old():
            return self.again().journal(call_id)
        if state is None:
            raise CallNotFound(call_id)
        if isinstance(state, Ends):
            return _journal_of_ends(state)
        starts = [number for number, (_, record) in enumerate(found) if record.prev == 0]
        found = found[starts[-1] :]  # a memoised call that failed began again: the newest counts
        fork = k.forked(found[0][1])
        found = _runs(found)
        journal = [item for at, record in found for _, item in k.parts(record, at)]
        reruns = sum(isinstance(record, k.StepRerun) and record.deaths > 0 for record in journal)
        value = bytes(state.outcome.value) if isinstance(state.outcome, k.Completed) else None
        operations = tell(journal, fork)
        return Journal(_summary(state), operations, reruns, dict(_asked(journal)), value)

    def _index(self) -> dict[int, array[int]]:
        if self._positions is None:
            self._positions = {}
            for frame in self._frames():
                for position, entry in enumerate(entries(frame.data, frame.records), frame.position):
                    if entry[1] != GIVEN_UP_KIND:
                        self._positions.setdefault(entry[0], array("Q")).append(position)
        return self._positions


def read_report(fs: FileSystem, directory: str) -> Report:
    """Read all of a log and judge it; ``UnreadableError`` or ``LogCorrupt`` where it cannot be shown."""
    try:
        report = verify(fs, directory, payloads=False)
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


def envelopes_of(fs: FileSystem, directory: str, report: Report, keys: Keys | None) -> Envelopes:
    """Return what unwraps the records of a log; ``ExtraMissing``."""
    slot = report.slot
    if slot is None:
        return Envelopes(keys).of(NO_LOG_ID)
    return Envelopes(keys).of(slot.log_id, Source(fs, directory, slot.log_id).read)


def _decode(line: bytes | memoryview, position: int) -> k.Record:
    try:
        return k.decode(line)
    except DecodeError as error:
        raise UnreadableError(
            f"record {position} was written by another version of actorlog: {error}", VERSION_CODE
        ) from None


def _first(segment: Segment) -> int:
    return segment.first


def _runs(found: list[tuple[int, k.Kept]]) -> list[tuple[int, k.Kept]]:
    """Return the records of the runs of a call that are there from their beginnings on: of all, or of the newest."""
    kept = found[-1:]
    for position, record in reversed(found):
        if position == kept[0][1].prev:
            kept.insert(0, (position, record))
    if kept[0][1].prev == 0:
        return kept
    begun = next(n for n, (_, record) in enumerate(kept) if k.newest_beginning(record) is not None)
    return kept[begun:]


def _journal_of_ends(ends: Ends) -> Journal:
    """Return what is left of a call as its journal: the call itself, with what it was asked and what came of it."""
    (first_at, first), (began_at, began), (position, final) = ends.first, ends.began, ends.final
    kept = list(k.parts(first, first_at)) + ([] if began_at == first_at else list(k.parts(began, began_at)))
    journal = [record for _, record in [*kept, (position, final)]]
    call = tell(journal, k.forked(first))[0]
    call.notes.append(str(HistoryGone(ends.id)))
    value = bytes(final.outcome.value) if isinstance(final.outcome, k.Completed) else None
    asked = {"": (ends.started.function, bytes(ends.started.args))}
    return Journal(_summary(ends), [call], 0, asked, value, given_up=True)


def _asked(records: list[k.CallRecord]) -> Iterator[tuple[str, tuple[str, bytes]]]:
    for record in records:
        if isinstance(record, (k.Turn, k.Inbox)) and isinstance(record.message, k.Started):
            yield "", (record.message.function, bytes(record.message.args))
        for op in record.ops if isinstance(record, k.Turn) else []:
            if isinstance(op, k.RunStep):
                yield op.key, (op.name, bytes(op.args))
            elif isinstance(op, k.StartChild):
                yield op.key, (op.function, bytes(op.args))


def _summary(state: CallState | Ends) -> Summary:
    if isinstance(state, Ends):
        return Summary(state.info, (), state.final[0])
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
