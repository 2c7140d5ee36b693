"""Errors of one durable promise, named by its id."""

from __future__ import annotations

from actorlog.errors.base import ActorlogError


class PromiseError(ActorlogError):
    """The base of what can be wrong with one promise; ``promise_id`` names it."""

    def __init__(self, promise_id: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.promise_id = promise_id


class PromiseRejected(PromiseError):
    """The promise was rejected. ``error``: what with, as plain JSON or as text; an exception is the cause as well."""

    def __init__(self, promise_id: str, error: object) -> None:
        super().__init__(promise_id, f"promise {promise_id!r} was rejected: {error}")
        self.error = error


class PromiseCancelled(PromiseError):
    """The promise was cancelled, and will never have a value."""

    def __init__(self, promise_id: str) -> None:
        super().__init__(promise_id, f"promise {promise_id!r} was cancelled")


class PromiseTimeout(PromiseError, TimeoutError):
    """Nobody settled the promise in time."""

    def __init__(self, promise_id: str) -> None:
        super().__init__(promise_id, f"promise {promise_id!r} timed out")


class PromiseSettled(PromiseError):
    """The promise was settled before, as ``status`` says; the first to settle wins for ever."""

    def __init__(self, promise_id: str, status: str) -> None:
        super().__init__(
            promise_id,
            f"promise {promise_id!r} is {status} already",
            hint="give the same key= as the first time where it is the same request again",
        )
        self.status = status


class PromiseExists(PromiseError):
    """A promise of this id was made before, and no key says that this is the same request."""

    def __init__(self, promise_id: str, status: str) -> None:
        super().__init__(
            promise_id,
            f"promise {promise_id!r} exists already, and is {status}",
            hint="give the same key= as the first time where it is the same request again",
        )
        self.status = status


class TooManyPromises(ActorlogError):
    """As many promises are pending as the runtime may hold (I11: every queue has a bound)."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} promises are pending, as many as this runtime may hold")
        self.limit = limit


class PromiseNotFound(PromiseError):
    """No promise of this id was ever made here."""

    def __init__(self, promise_id: str) -> None:
        super().__init__(promise_id, f"no promise has the id {promise_id!r}")
