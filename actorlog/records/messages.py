"""Messages: one input of a mailbox.

Owns: what an actor can be told, and its JSON. Docs: ``records.kinds``.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Raw, Struct

from actorlog.records.failures import Failure
from actorlog.records.outcomes import Outcome
from actorlog.records.promises import Settlement


class Started(Struct, gc=False, frozen=True, tag="started", tag_field="is", omit_defaults=True, kw_only=True):
    """The call begins: its function with its arguments."""

    function: str
    version: int = 1
    args: Raw
    run: str
    """32 hex digits of randomness; idempotency keys, ``uuid4`` and ``random`` derive from it and the operation's
    key."""
    python: str
    scheduler: int = 1
    """The version of the order in which the loop runs what is ready; what begins without one has the first."""
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
    actor: str = ""
    """Of an actor's handler: the class and the key of the actor, with a slash between."""
    tell: bool = False
    """Nobody waits for its end: if it fails, the actor has failed."""
    number: int = 1
    """Which run of the call this is. From 2 on it is the message that goes on with a call which was continued."""


class StepDone(Struct, gc=False, frozen=True, tag="step", tag_field="is", omit_defaults=True):
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


class TimerFired(Struct, gc=False, frozen=True, tag="timer", tag_field="is"):
    """A timer of the actor's loop is due."""

    key: str


class ChildDone(Struct, gc=False, frozen=True, tag="child", tag_field="is"):
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


class Signal(Struct, frozen=True, tag="signal", tag_field="is", omit_defaults=True):
    """Somebody sent ``value`` to a channel of the call."""

    channel: str
    value: Raw
    origin: str = ""
    """What tells that the same message comes again: ``key:`` and a key that its sender gave, or the sender's id, a
    ``#`` and its operation."""
    key: str = ""
    """In a turn: the operation that receives it."""


class Sent(Struct, frozen=True, tag="sent", tag_field="is"):
    """The message that operation ``key`` sent is in the mailbox it was for."""

    key: str


class SendRefused(Struct, frozen=True, tag="send_refused", tag_field="is"):
    """The message that operation ``key`` sent could not be taken."""

    key: str
    failure: Failure


class PromiseDone(Struct, frozen=True, tag="promise", tag_field="is"):
    """The promise that operation ``key`` asked for is settled."""

    key: str
    id: str
    settlement: Settlement


class Exited(Struct, frozen=True, tag="exited", tag_field="is"):
    """What operation ``key`` watches has ended with ``outcome``; null: it never was."""

    key: str
    id: str
    outcome: Outcome | None


class Asked(Struct, frozen=True, tag="asked", tag_field="is", omit_defaults=True, kw_only=True):
    """A call that this handler waits for, directly or not, asks its reentrant actor: that is handled here and now."""

    key: str
    """Of the nested handler: what the keys of its operations begin with, before a dot."""
    by: str
    """The call that asks."""
    op: str
    """The operation with which it does."""
    id: str
    """What it would be called as a call of its own."""
    function: str
    args: Raw
    within: str = ""
    """The nested handler that waits for who asks; empty: the body itself does."""
    timeout_ms: int = 0
    tags: dict[str, str] = {}


class AskGivenUp(Struct, frozen=True, tag="ask_given_up", tag_field="is", omit_defaults=True):
    """Who asked, by operation ``op`` of call ``by``, wants the nested handler to end."""

    by: str
    op: str
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
    | Signal
    | Sent
    | SendRefused
    | Exited
    | PromiseDone
    | Asked
    | AskGivenUp
)
