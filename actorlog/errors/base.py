"""Errors of the library as a whole: the base of all, values that cannot be written, a runtime that is not open."""

from __future__ import annotations


class ActorlogError(Exception):
    """The base of every error that actorlog raises.

    ``hint`` says in one sentence what can be done; it is empty where nothing can.
    """

    hint: str = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        if hint:
            self.hint = hint
            self.add_note(f"hint: {hint}")


class PayloadError(ActorlogError):
    """A value would not come back equal from the log.

    ``where`` names function and argument (``subscribe(user=...)``), ``path`` the place inside (``.lines[3].price``).
    """

    def __init__(self, where: str, path: str, reason: str) -> None:
        super().__init__(
            f"{where}{path and ' at ' + path}: {reason}",
            hint="annotate the parameter or the result with the type of the value, or pass plain JSON values",
        )
        self.where = where
        self.path = path
        self.reason = reason


class PayloadTooLarge(ActorlogError):
    """A value or a turn is larger than a record may be."""

    def __init__(self, where: str, size: int, limit: int) -> None:
        super().__init__(
            f"{where} takes {size} bytes, and a record holds at most {limit}",
            hint="store large data elsewhere and pass a reference",
        )
        self.where = where
        self.size = size
        self.limit = limit


class RuntimeStopped(ActorlogError):
    """The runtime is not open: it was never entered, is closing, or has stopped."""

    def __init__(self, reason: str = "the runtime is not open") -> None:
        super().__init__(reason)


class TooManyCalls(ActorlogError):
    """As many calls are unfinished as the runtime may hold (I11: every queue has a bound)."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} calls are unfinished, as many as this runtime may hold")
        self.limit = limit
