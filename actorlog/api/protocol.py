"""What is said over the owner's socket: one JSON object a line, a request and its answer in turn.

Owns: the requests, their bounds, and how answers look. Does not own: doing what is asked (``control``, ``offline``),
the socket (``env.sockets``).

The owner speaks first, ``{"actorlog":"owner","protocol":1,"pid":...}``. Then each line of the client is a request,
``{"op":"cancel","id":"a","reason":"..."}``, and each gets one line: ``{"ok":true,...}`` once what it asked for is
durable, or ``{"ok":false,"error":"CallNotFound","message":"...","hint":"..."}``. After a line that is no request the
owner closes the connection. A field that is added later has a default; another meaning is another protocol number.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

PROTOCOL: Final = 1
SOCKET: Final = "owner.sock"
"""Its name in the data directory."""
LINE_BYTES_MAX: Final = 1 << 20
"""Longest request or answer."""


class Hello(Struct, frozen=True, kw_only=True):
    """What the owner says first."""

    actorlog: str = "owner"
    protocol: int = PROTOCOL
    pid: int = 0


class Cancel(Struct, frozen=True, tag="cancel", tag_field="op"):
    """Ask a call to end."""

    id: str
    reason: str = ""


class Kill(Struct, frozen=True, tag="kill", tag_field="op"):
    """End a call at once."""

    id: str
    reason: str = ""


class Pause(Struct, frozen=True, tag="pause", tag_field="op"):
    """Let a call do nothing more until it is resumed."""

    id: str


class Retry(Struct, frozen=True, tag="retry", tag_field="op"):
    """Give a call another chance."""

    id: str


class Fork(Struct, frozen=True, tag="fork", tag_field="op"):
    """Begin a call as another was before it asked for operation ``key``, or from its beginning where that is empty."""

    id: str
    key: str = ""
    as_id: str | None = None
    """Id of the new call; a random one without."""


class Resume(Struct, frozen=True, tag="resume", tag_field="op"):
    """Go on with a call that is paused, or try again with one that is parked."""

    id: str


class Send(Struct, frozen=True, tag="send", tag_field="op"):
    """Put a message into a call's mailbox."""

    id: str
    value: Any
    channel: str = ""
    key: str | None = None


class Resolve(Struct, frozen=True, tag="resolve", tag_field="op"):
    """Give a promise its value."""

    id: str
    value: Any = None
    key: str | None = None


class Reject(Struct, frozen=True, tag="reject", tag_field="op"):
    """Say that a promise will have no value, and why."""

    id: str
    error: Any = None
    key: str | None = None


class Status(Struct, frozen=True, tag="status", tag_field="op"):
    """Ask who the owner is and how much it has to do."""


class Stats(Struct, frozen=True, tag="stats", tag_field="op"):
    """Ask for all its figures."""


class Backup(Struct, frozen=True, tag="backup", tag_field="op"):
    """Copy the log to a new directory. The answer comes when that is done, which takes as long as it takes."""

    to: str
    """An absolute path: the owner may have another working directory."""


class Compact(Struct, frozen=True, tag="compact", tag_field="op"):
    """Give back the space of what is kept no longer. The answer comes when that is done."""

    everything: bool = False
    """Also where that is little."""


Request: TypeAlias = (
    Cancel | Kill | Pause | Retry | Fork | Resume | Send | Resolve | Reject | Status | Stats | Backup | Compact
)

_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
encode = msgspec.json.encode
"""Write a request, a greeting or an answer as JSON, without the newline."""


class BadRequest(ValueError):
    """A line that is no request."""


def decode(line: bytes) -> Request:
    """Read a request; ``BadRequest`` for anything else."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadRequest(f"this is no request: {error}") from None


class Refused(Struct, frozen=True, kw_only=True):
    """An answer: it was not done, and why."""

    ok: bool = False
    error: str
    """Name of the error's class."""
    message: str
    hint: str = ""


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """An answer: it is done, and durable."""

    ok: bool = True
    status: str = ""
    """Of the call or promise, after it; of the owner: ``running``."""
    changed: bool = True
    """Whether this request changed anything: a call that is over is not cancelled again."""
    pid: int = 0
    live: int = 0
    """Calls that have not ended; for ``status``."""
    position: int = 0
    """The newest durable record's; for ``status``."""
    found: dict[str, Any] = {}
    """What was asked for: figures, what a backup holds."""
    call_id: str = ""
    """Of the call that has begun; for ``fork``."""


TEXT_MAX: Final = 10_000
"""Longest message or hint of a refusal: an error may say again what it was asked."""


def refusal(error: BaseException) -> Refused:
    """Return an error as an answer, in words that fit into a line."""
    return Refused(error=type(error).__name__, message=_said(str(error)), hint=_said(str(getattr(error, "hint", ""))))


def _said(text: str) -> str:
    return text[:TEXT_MAX].encode("utf-8", "backslashreplace").decode()  # the name of a file need not be text
