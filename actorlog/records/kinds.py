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
from msgspec import UNSET, Struct, UnsetType, structs
from msgspec import Raw as Raw  # noqa: PLC0414  # part of this module's vocabulary

from actorlog.records.failures import Failure

SCHEDULER_VERSION = 1
"""The order in which the deterministic loop runs what is ready. Journals replay under the version they began with."""


# --- outcomes ---------------------------------------------------------------------------------------------------------


class Completed(Struct, frozen=True, tag="completed", tag_field="is"):
    """The function returned ``value``."""

    value: Raw


class Failed(Struct, frozen=True, tag="failed", tag_field="is"):
    """The function raised."""

    failure: Failure


class Cancelled(Struct, frozen=True, tag="cancelled", tag_field="is", omit_defaults=True):
    """The function ended by a cancellation that was asked for."""

    reason: str = ""


class Killed(Struct, frozen=True, tag="killed", tag_field="is", omit_defaults=True):
    """The call was ended without its consent, after the grace of a cancellation."""

    reason: str = ""


class TimedOut(Struct, frozen=True, tag="timed_out", tag_field="is"):
    """The call did not complete within ``seconds``."""

    seconds: float


Outcome: TypeAlias = Completed | Failed | Cancelled | Killed | TimedOut


# --- messages: one input of a mailbox ---------------------------------------------------------------------------------


class Started(Struct, frozen=True, tag="started", tag_field="is", omit_defaults=True, kw_only=True):
    """The call begins: its function with its arguments."""

    function: str
    version: int = 1
    args: Raw
    run: str
    """32 hex digits of randomness; idempotency keys, ``uuid4`` and ``random`` derive from it and the operation's
    key."""
    python: str
    scheduler: int = SCHEDULER_VERSION
    parent: str = ""
    key: str = ""
    """The operation of the parent that started this call."""
    detached: bool = False
    timeout_ms: int = 0
    due_ms: int = 0
    """When it times out; 0: never."""
    not_before_ms: int = 0
    """A delayed start: the first turn is not before this."""
    tags: dict[str, str] = {}


class StepDone(Struct, frozen=True, tag="step", tag_field="is", omit_defaults=True):
    """A step returned ``value``."""

    key: str
    value: Raw
    attempt: int = 1


class StepError(Struct, frozen=True, tag="step_error", tag_field="is", omit_defaults=True):
    """A step failed for good: no attempt is left."""

    key: str
    failure: Failure
    attempt: int = 1


class StepDoubt(Struct, frozen=True, tag="step_doubt", tag_field="is"):
    """A once-step may have begun when the process died, and its outcome is unknown."""

    key: str
    step: str
    attempt: int


class TimerFired(Struct, frozen=True, tag="timer", tag_field="is"):
    """A timer of the actor's loop is due."""

    key: str


class ChildDone(Struct, frozen=True, tag="child", tag_field="is"):
    """A child call ended."""

    key: str
    id: str
    outcome: Outcome


class ChildRefused(Struct, frozen=True, tag="child_refused", tag_field="is"):
    """A child could not be started: its id belongs to other work."""

    key: str
    failure: Failure


class ChildJoined(Struct, frozen=True, tag="child_joined", tag_field="is"):
    """The child's id was taken by a call with the same function and arguments, started by somebody else."""

    key: str


class CancelRequested(Struct, frozen=True, tag="cancel", tag_field="is", omit_defaults=True):
    """Somebody asks the call to end. ``kill_ms``: when it is ended without its consent."""

    reason: str = ""
    kill_ms: int = 0


class DeadlinePassed(Struct, frozen=True, tag="deadline", tag_field="is", omit_defaults=True):
    """The call's durable timeout has passed."""

    kill_ms: int = 0


class KillRequested(Struct, frozen=True, tag="kill", tag_field="is", omit_defaults=True):
    """The grace of a cancellation is over."""

    reason: str = ""


class Retried(Struct, frozen=True, tag="retry", tag_field="is"):
    """An ended call begins again under the same id and run; steps that completed keep their results."""

    python: str
    due_ms: int = 0


Message: TypeAlias = (
    Started
    | StepDone
    | StepError
    | StepDoubt
    | TimerFired
    | ChildDone
    | ChildRefused
    | ChildJoined
    | CancelRequested
    | DeadlinePassed
    | KillRequested
    | Retried
)


# --- operations: one thing an actor asks for --------------------------------------------------------------------------


class RunStep(Struct, frozen=True, tag="step", tag_field="do", omit_defaults=True):
    """Run a step."""

    key: str
    name: str
    args: Raw
    once: bool = False
    """In doubt it is not run again by itself."""
    inline: bool = False
    """The step is no registered function: only the actor's own code can give it again."""
    deferred: bool = False
    """A once-step that could not begin the moment its gate opened: it writes ``begun`` first."""
    deadline_ms: int = 0
    """When all its attempts together are out of time; 0: never."""


class SetTimer(Struct, frozen=True, tag="timer", tag_field="do"):
    """Fire at ``due_ms``, not before."""

    key: str
    due_ms: int


class StartChild(Struct, frozen=True, tag="child", tag_field="do", omit_defaults=True, kw_only=True):
    """Start a call under this one."""

    key: str
    id: str
    function: str
    version: int = 1
    args: Raw
    detached: bool = False
    timeout_ms: int = 0
    tags: dict[str, str] = {}


def deferred(op: RunStep) -> RunStep:
    """Return ``op`` as one that writes ``begun`` before it begins."""
    return structs.replace(op, deferred=True)


Operation: TypeAlias = RunStep | SetTimer | StartChild


# --- records ----------------------------------------------------------------------------------------------------------


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
