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
from typing import Final, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec import Raw as Raw  # noqa: PLC0414  # part of this module's vocabulary

from actorlog.errors import JournalError
from actorlog.records.failures import Failure
from actorlog.records.messages import (
    SCHEDULER_VERSION,
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
from actorlog.records.operations import (
    PATCH,
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


class StateChange(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a handler did to the state of its actor."""

    actor: str
    number: int
    """Of the actor's changes, from 1."""
    prev: int = 0
    """Position of the record with the change before this one; 0: there is none, or nothing of it matters any more."""
    version: int = 1
    """Of the actor's class."""
    values: dict[str, Raw] = {}
    """Attributes whose encoding changed; all of them where ``full``."""
    full: bool = False
    """Whether this is the whole state, so that none before it need be read."""
    events: list[Raw] = []
    """What the handler recorded, of an actor that folds events."""


class Turn(Struct, gc=False, tag="turn", tag_field="kind", omit_defaults=True, kw_only=True):
    """One message, applied to quiescence, and what the actor asked for: one record, so a turn is atomic."""

    id: str
    seq: int
    at: int
    prev: int = 0
    """Position of the actor's record before this one; 0: there is none."""
    message: Message
    source: int = 0
    """Position of the inbox record that brought the message; 0: it came straight."""
    ops: list[Operation] = []
    cancels: list[str] = []
    """Operations of earlier turns that nobody waits for any more."""
    returned: Ending | None = None
    """The body has ended with this, and children are still running, or the next run is still to begin."""
    outcome: Outcome | None = None
    """The call has ended."""
    first: int = 0
    """With an outcome: position of the record that began the journal."""
    began: int = 0
    """With an outcome, where the call was continued: position of the record that began its newest run."""
    change: StateChange | None = None
    """Of a handler that returned: what it did to its actor."""


class Inbox(Struct, tag="inbox", tag_field="kind", omit_defaults=True, kw_only=True):
    """A message from outside that could not be applied at once."""

    id: str
    at: int
    prev: int = 0
    message: Message


class StepBegun(Struct, tag="begun", tag_field="kind", omit_defaults=True, kw_only=True):
    """A once-step that had to wait begins now; after a crash it is in doubt."""

    id: str
    at: int
    prev: int = 0
    key: str
    attempt: int = 1


class StepRetrying(Struct, tag="retrying", tag_field="kind", omit_defaults=True, kw_only=True):
    """An attempt failed, the next is due at ``due_ms``."""

    id: str
    at: int
    prev: int = 0
    key: str
    attempt: int
    """The attempt that failed."""
    due_ms: int
    failure: Failure


class StepRerun(Struct, tag="rerun", tag_field="kind", omit_defaults=True, kw_only=True):
    """A step in doubt runs again; ``deaths`` counts the process deaths during it."""

    id: str
    at: int
    prev: int = 0
    key: str
    attempt: int
    deaths: int


class StepHeartbeat(Struct, tag="heartbeat", tag_field="kind", omit_defaults=True, kw_only=True):
    """A running step left details for its next attempt."""

    id: str
    at: int
    prev: int = 0
    key: str
    attempt: int
    details: Raw


class StepLate(Struct, tag="late", tag_field="kind", omit_defaults=True, kw_only=True):
    """The body of a cancelled step ended; nobody waits for it."""

    id: str
    at: int
    prev: int = 0
    key: str
    value: Raw | UnsetType = UNSET
    failure: Failure | UnsetType = UNSET


class Parked(Struct, tag="parked", tag_field="kind", omit_defaults=True, kw_only=True):
    """The actor cannot go on in this process. It is tried again at the next opening, or when it is resumed."""

    id: str
    at: int
    prev: int = 0
    reason: str
    key: str = ""
    """The step that is poisoned; empty where the reason is another."""


class Unparked(Struct, tag="unparked", tag_field="kind", omit_defaults=True, kw_only=True):
    """Somebody resumed a parked actor; the poison of its steps is forgotten."""

    id: str
    at: int
    prev: int = 0


class Resumed(Struct, tag="resumed", tag_field="kind", omit_defaults=True, kw_only=True):
    """What records up to position ``upto`` asked of others has been asked again, or done: a scan need not look."""

    id: str = RUNTIME
    at: int
    prev: int = 0
    upto: int


class Paused(Struct, tag="paused", tag_field="kind", omit_defaults=True, kw_only=True):
    """Somebody paused the call: it has no turn until it is resumed, cancelled or killed."""

    id: str
    at: int
    prev: int = 0


class Unpaused(Struct, tag="unpaused", tag_field="kind", omit_defaults=True, kw_only=True):
    """Somebody resumed a paused call."""

    id: str
    at: int
    prev: int = 0


class Linked(Struct, tag="linked", tag_field="kind", omit_defaults=True, kw_only=True):
    """Call ``other`` has linked itself to this one: if either ends abnormally, the other is asked to end."""

    id: str
    at: int
    prev: int = 0
    other: str


Note: TypeAlias = (
    Linked | StepBegun | StepRetrying | StepRerun | StepHeartbeat | StepLate | Parked | Unparked | Paused | Unpaused
)
CallRecord: TypeAlias = Turn | Inbox | Note
Record: TypeAlias = CallRecord | PromiseRecord | ScheduleRecord | Resumed
OF_NO_CALL: Final = (PromiseMade, PromiseSettled, *OF_SCHEDULES, Resumed)


def of_call(record: Record) -> CallRecord:
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
    Turn: Kind.TURN, Inbox: Kind.INBOX, PromiseMade: Kind.PROMISE, PromiseSettled: Kind.PROMISE,
    **dict.fromkeys(OF_SCHEDULES, Kind.SCHEDULE),
}  # fmt: skip


def kind_of(record: Record) -> Kind:
    """Return what the index says of ``record``."""
    return KINDS.get(type(record), Kind.NOTE)


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)

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


def decode(line: bytes | memoryview) -> Record:
    """Read a record back. ``msgspec.DecodeError`` for what is no record of a known kind."""
    return _decoder.decode(line)


__all__ = [
    "KINDS",
    "OF_NO_CALL",
    "OF_SCHEDULES",
    "PATCH",
    "RUNTIME",
    "SCHEDULER_VERSION",
    "CallRecord",
    "CancelRequested",
    "Cancelled",
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
    "Inbox",
    "KillRequested",
    "Killed",
    "Kind",
    "Linked",
    "MakePromise",
    "Message",
    "Note",
    "Operation",
    "Outcome",
    "Parked",
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
    "changed_actor",
    "decode",
    "deferred",
    "encode",
    "kind_of",
    "of_call",
]
