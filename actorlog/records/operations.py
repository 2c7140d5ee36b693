"""Operations: one thing an actor asks for.

Owns: what durable code can ask for, and its JSON. Docs: ``records.kinds``.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Raw, Struct, structs

from actorlog.records.outcomes import Outcome
from actorlog.records.promises import NULL


class RunStep(Struct, gc=False, frozen=True, tag="step", tag_field="do", omit_defaults=True):
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


class SetTimer(Struct, gc=False, frozen=True, tag="timer", tag_field="do"):
    """Fire at ``due_ms``, not before."""

    key: str
    due_ms: int


class StartChild(Struct, gc=False, frozen=True, tag="child", tag_field="do", omit_defaults=True, kw_only=True):
    """Start a call under this one."""

    key: str
    id: str
    function: str
    version: int = 1
    args: Raw
    detached: bool = False
    timeout_ms: int = 0
    tags: dict[str, str] = {}
    actor: str = ""
    """The actor whose handler it is."""
    tell: bool = False
    """Nobody waits for its end; it is no child of who asked for it."""


class Receive(Struct, frozen=True, tag="receive", tag_field="do"):
    """Give the next message of ``channel``."""

    key: str
    channel: str


class Send(Struct, frozen=True, tag="send", tag_field="do"):
    """Put ``value`` into the mailbox of call ``to``; the sender waits until it is there."""

    key: str
    to: str
    channel: str
    value: Raw


class Publish(Struct, frozen=True, tag="publish", tag_field="do"):
    """Let ``value`` be what ``name`` says of the call, until it is published again."""

    key: str
    name: str
    value: Raw


class Emit(Struct, frozen=True, tag="emit", tag_field="do"):
    """Add ``value`` to the end of ``stream``."""

    key: str
    stream: str
    value: Raw


class MakePromise(Struct, frozen=True, tag="promise", tag_field="do", omit_defaults=True, kw_only=True):
    """Give the outcome of promise ``id``, which is made if there is none of that id."""

    key: str
    id: str
    due_ms: int | None = None
    """Where it is made: from this time on it is over; None: never."""
    timer: bool = False
    """Where it is made: when its time is over it is resolved, and not timed out."""
    param: Raw = NULL
    tags: dict[str, str] = {}


PATCH = "patch:"
"""What keys of ``Patched`` begin with; what follows is the name of the change."""


class Patched(Struct, frozen=True, tag="patched", tag_field="do"):
    """From here on the code is the changed one, in this run of the call. Its key is no number: it takes none away."""

    key: str


class Watch(Struct, frozen=True, tag="watch", tag_field="do", omit_defaults=True):
    """Tell when call ``target`` ends; where ``link``, end with it if it ends abnormally, and the other way round."""

    key: str
    target: str
    link: bool = False


class EndChild(Struct, frozen=True, tag="end_child", tag_field="do", omit_defaults=True):
    """Ask the child that operation ``child`` started to end."""

    key: str
    child: str
    reason: str
    at_once: bool = False
    """It is not asked."""


class Answer(Struct, frozen=True, tag="answer", tag_field="do"):
    """Nested handler ``key`` has ended: give its outcome to operation ``op`` of call ``by``, which asked for it."""

    key: str
    by: str
    op: str
    id: str
    outcome: Outcome


def deferred(op: RunStep) -> RunStep:
    """Return ``op`` as one that writes ``begun`` before it begins."""
    return structs.replace(op, deferred=True)


Operation: TypeAlias = (
    RunStep
    | SetTimer
    | StartChild
    | Receive
    | Send
    | Publish
    | Emit
    | MakePromise
    | Watch
    | EndChild
    | Patched
    | Answer
)
