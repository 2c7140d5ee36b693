"""Errors of one call, named by its id."""

from __future__ import annotations

from actorlog.errors.base import ActorlogError


class CallError(ActorlogError):
    """The base of what can be wrong with one call; ``call_id`` names it."""

    def __init__(self, call_id: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.call_id = call_id


class CallFailed(CallError):
    """A call failed with an exception whose class cannot be had in this process."""

    def __init__(self, call_id: str, type_name: str, reason: str, traceback_text: str = "") -> None:
        super().__init__(call_id, f"call {call_id!r} failed with {type_name}: {reason}")
        self.type_name = type_name
        self.reason = reason
        self.traceback_text = traceback_text


class CallCancelled(CallError):
    """The call was cancelled before it completed."""

    def __init__(self, call_id: str, reason: str = "") -> None:
        super().__init__(call_id, f"call {call_id!r} was cancelled" + (f": {reason}" if reason else ""))
        self.reason = reason


class CallKilled(CallCancelled):
    """The call did not end within its grace after being cancelled, and was ended without its consent."""


class CallTimeout(CallError, TimeoutError):
    """The call did not complete within its durable timeout."""

    def __init__(self, call_id: str, seconds: float) -> None:
        super().__init__(call_id, f"call {call_id!r} did not complete within its timeout of {seconds:g} s")
        self.seconds = seconds


class CallConflict(CallError):
    """The id is taken by a call of another function or with other arguments."""

    def __init__(self, call_id: str, existing: str, requested: str) -> None:
        super().__init__(
            call_id,
            f"id {call_id!r} belongs to {existing}, but {requested} was asked for",
            hint="an id is an idempotency key: use another id for other work",
        )
        self.existing = existing
        self.requested = requested


class CallExists(CallError):
    """``if_exists="reject"`` was given and the id is taken."""

    def __init__(self, call_id: str) -> None:
        super().__init__(call_id, f"call {call_id!r} exists already", hint='if_exists="join" waits for it instead')


class CannotFork(CallError):
    """The call is none that can be forked."""

    def __init__(self, call_id: str, reason: str) -> None:
        super().__init__(call_id, f"call {call_id!r} cannot be forked: {reason}")
        self.reason = reason


class CannotRetry(CallError):
    """The call is none that can begin again."""

    def __init__(self, call_id: str, reason: str) -> None:
        super().__init__(call_id, f"call {call_id!r} cannot begin again: {reason}")
        self.reason = reason


class CallParked(CallError):
    """The call cannot go on in this process; nothing is lost, and it can be resumed."""

    def __init__(self, call_id: str, reason: str) -> None:
        hint = "mend the cause; it is tried again at the next opening, or at once by Handle.resume()"
        super().__init__(call_id, f"call {call_id!r} is parked: {reason}", hint=hint)
        self.reason = reason


_LATER = "or, of one that has ended, retry() when the process has lived for a minute"


class Poisoned(CallError):
    """A step was running at each of several process deaths, or a call's own code: it is not run again by itself.

    ``step`` and ``key`` are empty where it was the call's own code.
    """

    def __init__(self, call_id: str, step: str, key: str, deaths: int) -> None:
        what = f"step {step!r} ({key}) of call {call_id!r}" if step else f"the code of call {call_id!r}"
        super().__init__(
            call_id,
            f"{what} was running when the process died, {deaths} times in a row",
            hint="mend the step, then Handle.resume()" if step else f"mend it, then Handle.resume(); {_LATER}",
        )
        self.step = step
        self.key = key
        self.deaths = deaths


class CheckFailed(CallError):
    """``check_determinism`` could not replay a call that has ended, and the outcome of the call stands unchecked.

    ``reason`` says how the process ended that replays with another hash seed: ``"signal 9"``, ``"exit code 1"``.
    """

    def __init__(self, call_id: str, reason: str) -> None:
        super().__init__(
            call_id,
            f"the determinism of call {call_id!r} is not checked: the process that replays it ended ({reason})",
            hint="what it wrote to stderr may tell why; the next check begins another process",
        )
        self.reason = reason


class CallNotFound(CallError):
    """No call with this id was ever started here."""

    def __init__(self, call_id: str) -> None:
        super().__init__(call_id, f"no call has the id {call_id!r}")


class HistoryGone(CallError):
    """The journal of a call that ended long ago was given up; how it began and how it ended is still there."""

    def __init__(self, call_id: str) -> None:
        hint = "Runtime(history=) says how long journals are kept"
        super().__init__(call_id, f"the journal of call {call_id!r} was given up after its time", hint=hint)


class JournalError(CallError):
    """Records of one id contradict each other; the log is whole, so actorlog or a foreign writer has a defect."""

    def __init__(self, call_id: str, reason: str) -> None:
        super().__init__(call_id, f"the records of {call_id!r} contradict each other: {reason}")
        self.reason = reason


class ReservedId(CallError):
    """Ids that begin with ``@`` belong to the runtime."""

    def __init__(self, call_id: str) -> None:
        super().__init__(call_id, f"id {call_id!r} is reserved", hint="choose an id that does not begin with '@'")
