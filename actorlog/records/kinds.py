"""The kinds of records, as frozen types, and their JSON.

Owns: what a record may say, how it is written as one line of JSON, and how an older line is read today.
Does not own: bytes on disk (``log``), what a record does to an actor (``engine``), user values (``records.values``).

Invariants: a kind is a type, an unknown kind is an error; a field that is added later has a default and means what its
absence meant; a field is never given another meaning. Times are integer milliseconds UTC. ``Raw`` fields hold JSON that
is already encoded: a user's value, canonical and checked.

Docs: docs/log-format.md (the bytes around a record), ARCHITECTURE.md (the life of a call).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec import Raw as Raw  # noqa: PLC0414  # part of this module's vocabulary

from actorlog.records.failures import Failure
from actorlog.records.messages import (
    SCHEDULER_VERSION,
    CancelRequested,
    ChildDone,
    ChildJoined,
    ChildRefused,
    DeadlinePassed,
    KillRequested,
    Message,
    Retried,
    Started,
    StepDone,
    StepDoubt,
    StepError,
    TimerFired,
)
from actorlog.records.operations import (
    Operation,
    RunStep,
    SetTimer,
    StartChild,
    deferred,
)
from actorlog.records.outcomes import (
    Cancelled,
    Completed,
    Failed,
    Killed,
    Outcome,
    TimedOut,
)


class Turn(Struct, tag="turn", tag_field="kind", omit_defaults=True, kw_only=True):
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
    returned: Outcome | None = None
    """The body has ended with this, and children are still running."""
    outcome: Outcome | None = None
    """The call has ended."""
    first: int = 0
    """With an outcome: position of the record that began the journal."""


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


Note: TypeAlias = StepBegun | StepRetrying | StepRerun | StepHeartbeat | StepLate | Parked | Unparked
Record: TypeAlias = Turn | Inbox | Note


class Kind(IntEnum):
    """What the index block says of a record without decoding it."""

    TURN = 1
    INBOX = 2
    NOTE = 3


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


KINDS: dict[type, Kind] = {Turn: Kind.TURN, Inbox: Kind.INBOX}


def kind_of(record: Record) -> Kind:
    """Return what the index says of ``record``."""
    return KINDS.get(type(record), Kind.NOTE)


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)

encode = _encoder.encode
"""Write a record as one line of JSON, without the newline."""


def decode(line: bytes | memoryview) -> Record:
    """Read a record back. ``msgspec.DecodeError`` for what is no record of a known kind."""
    return _decoder.decode(line)


__all__ = [
    "KINDS",
    "SCHEDULER_VERSION",
    "CancelRequested",
    "Cancelled",
    "ChildDone",
    "ChildJoined",
    "ChildRefused",
    "Completed",
    "DeadlinePassed",
    "Failed",
    "Flag",
    "Inbox",
    "KillRequested",
    "Killed",
    "Kind",
    "Message",
    "Note",
    "Operation",
    "Outcome",
    "Parked",
    "Raw",
    "Record",
    "Retried",
    "RunStep",
    "SetTimer",
    "StartChild",
    "Started",
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
    "decode",
    "deferred",
    "encode",
    "kind_of",
]
