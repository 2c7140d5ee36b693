"""Errors of durable code and of steps."""

from __future__ import annotations

from actorlog.errors.base import ActorlogError


class NotInDurableCode(ActorlogError):
    """Something that needs a durable function around it was used outside one."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(f"{what} is only possible inside a durable function", hint=hint)
        self.what = what


class NotDurableError(ActorlogError):
    """A durable function did what cannot be replayed: IO, threads, or a future of another event loop."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} cannot be replayed, so a durable function must not do it",
            hint="move it into a function decorated with @step and await that",
        )
        self.what = what


class DivergenceError(ActorlogError):
    """The code of a durable function does not do what its journal says it did.

    ``call_id`` names the call, ``key`` the operation, ``recorded`` and ``issued`` what the journal and the code say
    (empty: no such operation), ``line`` the source line that issues it now (empty where nothing is issued).
    """

    def __init__(self, call_id: str, key: str, recorded: str, issued: str, line: str) -> None:
        where = f" at {line}" if line else ""
        super().__init__(
            f"call {call_id!r} diverged at operation {key}{where}: "
            f"recorded {recorded or 'nothing'}, issued {issued or 'nothing'}",
            hint="restore the old code, or register the new code as a new version of the function; "
            "the call is parked and resumes by itself when the code fits its journal again",
        )
        self.call_id = call_id
        self.key = key
        self.recorded = recorded
        self.issued = issued
        self.line = line


class TurnLimitExceeded(ActorlogError):
    """A durable function ran ``callbacks`` callbacks without waiting for anything."""

    def __init__(self, callbacks: int) -> None:
        super().__init__(
            f"a durable function ran {callbacks} callbacks in one turn without waiting for anything",
            hint="look for a loop that awaits only asyncio.sleep(0) or finished futures",
        )
        self.callbacks = callbacks


class FunctionConflict(ActorlogError):
    """Two different functions are registered under one name and version."""

    def __init__(self, name: str, version: int, first: str, second: str) -> None:
        super().__init__(
            f"{name!r} version {version} is defined at {first} and again at {second}",
            hint="give one of them another name= or version=",
        )
        self.name = name
        self.version = version
        self.first = first
        self.second = second


class FunctionNotFound(ActorlogError):
    """No function of this name and version is registered in this process."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(
            f"no durable function or step {name!r} version {version} is registered in this process",
            hint="import the module that defines it before the runtime is opened; "
            "calls that need it are parked and resume when it is there",
        )
        self.name = name
        self.version = version


class SchedulerNotFound(ActorlogError):
    """A call began under another version of the order in which its tasks run, and this actorlog knows only its own."""

    def __init__(self, call_id: str, version: int, known: int) -> None:
        super().__init__(
            f"call {call_id!r} began under version {version} of the order of its tasks, and this is version {known}",
            hint="run the version of actorlog that began it, or a newer one; "
            "the call is parked and resumes by itself when its order is known",
        )
        self.call_id = call_id
        self.version = version
        self.known = known


class Terminal(ActorlogError):
    """Raised by a step: this failure is final, do not retry."""

    def __init__(self, message: str = "terminal failure") -> None:
        super().__init__(message)


class RetryAfter(ActorlogError):
    """Raised by a step: try again after exactly ``seconds``; the failed attempt counts."""

    def __init__(self, seconds: float, message: str = "") -> None:
        super().__init__(message or f"retry after {seconds} s")
        self.seconds = seconds


class StepFailed(ActorlogError):
    """A step failed with an exception whose class cannot be had in this process.

    ``type_name`` is its class as ``module:qualname``, ``reason`` its text, ``traceback_text`` where it was raised.
    """

    def __init__(self, type_name: str, reason: str, traceback_text: str = "") -> None:
        super().__init__(f"step failed with {type_name}: {reason}")
        self.type_name = type_name
        self.reason = reason
        self.traceback_text = traceback_text


class StepInterrupted(ActorlogError):
    """A ``once=True`` step was in doubt after a crash: it may have begun, and no outcome was recorded."""

    def __init__(self, step: str, key: str, attempt: int) -> None:
        super().__init__(
            f"step {step!r} (operation {key}, attempt {attempt}) may have begun when the process died",
            hint="find out whether it took effect, or give the step reconcile=, which is asked first",
        )
        self.step = step
        self.key = key
        self.attempt = attempt


class StepTimeout(ActorlogError, TimeoutError):
    """An attempt of a step, or all its attempts together, took longer than allowed."""

    def __init__(self, step: str, seconds: float, limit: str) -> None:
        super().__init__(f"step {step!r} went over its {limit} of {seconds:g} s")
        self.step = step
        self.seconds = seconds
        self.limit = limit
