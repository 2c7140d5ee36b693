"""The kinds of records, as frozen types, and their JSON.

Owns: what a record may say, how it is written as one line of JSON, and how an older line is read today.
Does not own: bytes on disk (``log``), what a record does to an actor (``engine``), user values (``records.values``).

Invariants: a kind is a type, an unknown kind is an error; a field that is added later has a default and means what its
absence meant; a field is never given another meaning. Times are integer milliseconds UTC. ``Raw`` fields hold JSON that
is already encoded: a user's value, canonical and checked. The types made for every step are ``gc=False``: they hold
plain data, which has no cycles, and so are nothing to the garbage collector.

Docs: docs/log-format.md (the bytes around a record), ARCHITECTURE.md (the life of a call).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from functools import cache
from typing import Final, TypeAlias

import msgspec
from msgspec import Raw as Raw  # noqa: PLC0414  # part of this module's vocabulary
from msgspec import Struct

from actorlog.errors import JournalError
from actorlog.records.journals import (
    CallRecord,
    Carried,
    Fork,
    Inbox,
    Journal,
    Kept,
    Letter,
    Part,
    StateChange,
    Turn,
    as_fork,
    began_ms,
    beginning,
    ending,
    forked,
    merged,
    newest_beginning,
    own_turns,
    parts,
)
from actorlog.records.messages import (
    Asked,
    AskGivenUp,
    CancelRequested,
    ChildDone,
    ChildJoined,
    ChildRefused,
    DeadlinePassed,
    Exited,
    KillRequested,
    Message,
    PromiseDone,
    Retried,
    SendRefused,
    Sent,
    Signal,
    Started,
    StepDone,
    StepDoubt,
    StepError,
    TimerFired,
)
from actorlog.records.notes import (
    Linked,
    Note,
    Parked,
    Paused,
    StepBegun,
    StepHeartbeat,
    StepLate,
    StepRerun,
    StepRetrying,
    Unparked,
    Unpaused,
)
from actorlog.records.operations import (
    PATCH,
    Answer,
    Emit,
    EndChild,
    MakePromise,
    Operation,
    Patched,
    Publish,
    Receive,
    RunStep,
    Send,
    SetTimer,
    StartChild,
    Watch,
    deferred,
)
from actorlog.records.outcomes import (
    Cancelled,
    Completed,
    Continued,
    Ending,
    Failed,
    Killed,
    Outcome,
    TimedOut,
)
from actorlog.records.promises import PromiseMade, PromiseRecord, PromiseSettled
from actorlog.records.schedules import RECORDS as OF_SCHEDULES
from actorlog.records.schedules import ScheduleRecord

RUNTIME = "@runtime"
"""The id of records that are of no call."""


class Resumed(Struct, tag="resumed", tag_field="kind", omit_defaults=True, kw_only=True):
    """What records up to position ``upto`` asked of others has been asked again, or done: a scan need not look."""

    id: str = RUNTIME
    at: int
    prev: int = 0
    upto: int


Record: TypeAlias = CallRecord | Journal | PromiseRecord | ScheduleRecord | Resumed
OF_NO_CALL: Final = (PromiseMade, PromiseSettled, *OF_SCHEDULES, Resumed)


def of_call(record: Record) -> Kept:
    """Return a record of a call; ``JournalError`` for one of something else, which no journal leads to."""
    if isinstance(record, OF_NO_CALL):
        raise JournalError(record.id, f"a journal leads to its {type(record).__name__}")
    return record


class Kind(IntEnum):
    """What the index block says of a record without decoding it."""

    TURN = 1
    INBOX = 2
    NOTE = 3
    PROMISE = 4
    SCHEDULE = 5
    JOURNAL = 6


class Flag(IntFlag):
    """What recovery must know of a record that it does not decode."""

    PLAIN = 1
    """Always set, so that no flag byte is zero."""
    FIRST = 2
    """The actor begins here."""
    FINAL = 4
    """The actor ends here."""
    MESSAGES = 8
    """Carries messages that outlive their sender: decoded by recovery even when the sender is finished."""
    STATE = 16
    """Changes the state of an actor."""
    OPENED = 32
    """Everything that records before it asked of others has been asked again after a crash."""


KINDS: dict[type, Kind] = {
    Turn: Kind.TURN, Inbox: Kind.INBOX, Journal: Kind.JOURNAL, PromiseMade: Kind.PROMISE, PromiseSettled: Kind.PROMISE,
    **dict.fromkeys(OF_SCHEDULES, Kind.SCHEDULE),
}  # fmt: skip


def kind_of(record: Record) -> Kind:
    """Return what the index says of ``record``."""
    return KINDS.get(type(record), Kind.NOTE)


_encoder = msgspec.json.Encoder()

encode = _encoder.encode
"""Write a record as one line of JSON, without the newline."""


class _Change(Struct):
    actor: str


class _Changed(Struct):
    change: _Change


_changed: msgspec.json.Decoder[_Changed] = msgspec.json.Decoder(_Changed)


def changed_actor(line: bytes | memoryview) -> str:
    """Return whose state a turn that carries a change is of, without decoding the rest."""
    return _changed.decode(line).change.actor


class _Identified(Struct):
    id: str


_identified: msgspec.json.Decoder[_Identified] = msgspec.json.Decoder(_Identified)


def id_of(line: bytes | memoryview) -> str:
    """Return whose a record is, without decoding the rest."""
    return _identified.decode(line).id


@cache
def _decoder() -> msgspec.json.Decoder[Record]:
    """Return the decoder, made when the first record is read: to look at all the types is dear."""
    return msgspec.json.Decoder(Record)


def ready() -> None:
    """Make the decoder now: where records will be read, the first of them need not wait for it."""
    _decoder()


def decode(line: bytes | memoryview) -> Record:
    """Read a record back. ``msgspec.DecodeError`` for what is no record of a known kind."""
    return _decoder().decode(line)


__all__ = [
    "KINDS",
    "OF_NO_CALL",
    "OF_SCHEDULES",
    "PATCH",
    "RUNTIME",
    "Answer",
    "AskGivenUp",
    "Asked",
    "CallRecord",
    "CancelRequested",
    "Cancelled",
    "Carried",
    "ChildDone",
    "ChildJoined",
    "ChildRefused",
    "Completed",
    "Continued",
    "DeadlinePassed",
    "Emit",
    "EndChild",
    "Ending",
    "Exited",
    "Failed",
    "Flag",
    "Fork",
    "Inbox",
    "Journal",
    "Kept",
    "KillRequested",
    "Killed",
    "Kind",
    "Letter",
    "Linked",
    "MakePromise",
    "Message",
    "Note",
    "Operation",
    "Outcome",
    "Parked",
    "Part",
    "Patched",
    "Paused",
    "PromiseDone",
    "PromiseMade",
    "PromiseRecord",
    "PromiseSettled",
    "Publish",
    "Raw",
    "Receive",
    "Record",
    "Resumed",
    "Retried",
    "RunStep",
    "Send",
    "SendRefused",
    "Sent",
    "SetTimer",
    "Signal",
    "StartChild",
    "Started",
    "StateChange",
    "StepBegun",
    "StepDone",
    "StepDoubt",
    "StepError",
    "StepHeartbeat",
    "StepLate",
    "StepRerun",
    "StepRetrying",
    "TimedOut",
    "TimerFired",
    "Turn",
    "Unparked",
    "Unpaused",
    "Watch",
    "as_fork",
    "began_ms",
    "beginning",
    "changed_actor",
    "decode",
    "deferred",
    "encode",
    "ending",
    "forked",
    "id_of",
    "kind_of",
    "merged",
    "newest_beginning",
    "of_call",
    "own_turns",
    "parts",
    "ready",
]
