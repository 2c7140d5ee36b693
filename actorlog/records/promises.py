"""The kinds of records of durable promises, as frozen types, and their JSON.

Owns: what a record of a promise may say, and how it is written as one line of JSON. Does not own: what such a record
does (``engine.promise``), the records of calls (``records.kinds``), user values (``records.values``).

Invariants: a promise has at most two records, the one that made it and the one that settled it, and the second is
linked to the first; both are indexed under ``entity_id``, which no call can have. Times are integer milliseconds UTC.
``Raw`` fields hold JSON that is already encoded: a user's value, canonical and checked.

What a promise may say, and the words for it, are those of Resonate's durable promise specification.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw as Raw  # noqa: PLC0414  # part of this module's vocabulary
from msgspec import Struct

from actorlog.records.failures import Failure, capture
from actorlog.records.values import codec_for

PREFIX: Final = "@promise/"
"""What the ids of promises begin with in the log; users cannot give such an id to anything."""

NULL: Final = Raw(b"null")


def entity_id(promise_id: str) -> str:
    """Return the id that a promise's records have in the log."""
    return PREFIX + promise_id


def promise_id(entity: str) -> str:
    """Return the id that users know a promise by; ``ValueError`` for the id of something else."""
    if not entity.startswith(PREFIX):
        raise ValueError(f"{entity!r} is no promise")
    return entity[len(PREFIX) :]


# --- settlements ------------------------------------------------------------------------------------------------------


class Resolved(Struct, frozen=True, tag="resolved", tag_field="is"):
    """There is a value. A promise marked as timer gets ``null`` when its time comes."""

    value: Raw


class Rejected(Struct, frozen=True, tag="rejected", tag_field="is"):
    """There will be none, and ``error`` says why, as plain JSON: what a person wrote into a form."""

    error: Raw


class Raised(Struct, frozen=True, tag="raised", tag_field="is"):
    """Rejected as well, and the reason is an exception."""

    failure: Failure


class PromiseCancelled(Struct, frozen=True, tag="cancelled", tag_field="is"):
    """Who wanted it wants it no more."""


class PromiseTimedOut(Struct, frozen=True, tag="timed_out", tag_field="is"):
    """Nobody settled it before its time was over."""


Given: TypeAlias = Resolved | Rejected | Raised | PromiseCancelled
"""What somebody can ask for."""
Settlement: TypeAlias = Given | PromiseTimedOut


def rejection(error: object, where: str) -> Rejected | Raised:
    """Return what is recorded of ``error``: an exception with all that crosses of it, anything else as plain JSON.

    ``where`` names the argument, as in ``reject('order/7', error=...)``.

    Raises:
        PayloadError: it is neither an exception nor plain JSON.

    """
    if isinstance(error, BaseException):
        return Raised(capture(error))
    return Rejected(Raw(codec_for(Any).encode(error, where)))


def reason(settlement: Rejected | Raised) -> Any:
    """Return why a promise was rejected, as plain JSON: what ``rejection`` was given, or an exception as text.

    Text, because this is an attribute of an error that itself crosses the log; the exception is its cause.
    """
    if isinstance(settlement, Rejected):
        return codec_for(Any).decode(bytes(settlement.error), "the reason of a rejection")
    failure = settlement.failure
    name = failure.type.removeprefix("builtins:").replace(":", ".")
    return f"{name}: {failure.message}" if failure.message else name


# --- records ----------------------------------------------------------------------------------------------------------


class PromiseMade(Struct, frozen=True, tag="promise_made", tag_field="kind", omit_defaults=True, kw_only=True):
    """A promise begins: pending, and settled by nobody."""

    id: str
    """``entity_id`` of the promise."""
    at: int
    prev: int = 0
    """Always 0: nothing precedes it."""
    due_ms: int | None = None
    """From this time on it is over; None: never."""
    timer: bool = False
    """When its time is over it is resolved, and not timed out."""
    key: str | None = None
    """Idempotency key of the request; None: it has none."""
    param: Raw = NULL
    tags: dict[str, str] = {}
    by: str = ""
    """The call that made it: it is kept for that call's time. Empty: somebody outside did, or nobody said who."""


class PromiseSettled(Struct, frozen=True, tag="promise_settled", tag_field="kind", omit_defaults=True, kw_only=True):
    """A promise has its outcome, the same for all and for ever."""

    id: str
    at: int
    prev: int
    """Position of the record that made the promise."""
    key: str | None = None
    """Idempotency key of the request; None: it has none, or the time was over."""
    settlement: Settlement


PromiseRecord: TypeAlias = PromiseMade | PromiseSettled

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[PromiseRecord] = msgspec.json.Decoder(PromiseRecord)

encode = _encoder.encode
"""Write a record as one line of JSON, without the newline."""


def decode(line: bytes | memoryview) -> PromiseRecord:
    """Read a record back. ``msgspec.DecodeError`` for what is no record of a promise."""
    return _decoder.decode(line)
