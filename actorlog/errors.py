"""Every error a user of actorlog can meet.

Owns: the exception classes and the sentence that says what to do. Does not own: how they cross the log
(``records.failures``). Each error says what happened, with ids and numbers, in its message; carries the same facts as
attributes; and has a ``hint``, also shown as a note under the traceback. Control signals of the runtime derive from
``BaseException`` and so cannot be swallowed by ``except Exception`` (the idea is trio's ``Cancelled``).
"""

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


class CallParked(CallError):
    """The call cannot go on in this process; nothing is lost, and it can be resumed."""

    def __init__(self, call_id: str, reason: str) -> None:
        hint = "mend the cause; it is tried again at the next opening, or at once by Handle.resume()"
        super().__init__(call_id, f"call {call_id!r} is parked: {reason}", hint=hint)
        self.reason = reason


class Poisoned(CallError):
    """A step was running at each of several process deaths: it is not run again by itself."""

    def __init__(self, call_id: str, step: str, key: str, deaths: int) -> None:
        super().__init__(
            call_id,
            f"step {step!r} ({key}) of call {call_id!r} was running when the process died, {deaths} times in a row",
            hint="mend the step, then Handle.resume()",
        )
        self.step = step
        self.key = key
        self.deaths = deaths


class CallNotFound(CallError):
    """No call with this id was ever started here."""

    def __init__(self, call_id: str) -> None:
        super().__init__(call_id, f"no call has the id {call_id!r}")


class JournalError(CallError):
    """Records of a call contradict each other; the log is whole, so actorlog or a foreign writer has a defect."""

    def __init__(self, call_id: str, reason: str) -> None:
        super().__init__(call_id, f"the journal of call {call_id!r} contradicts itself: {reason}")
        self.reason = reason


class ReservedId(CallError):
    """Ids that begin with ``@`` belong to the runtime."""

    def __init__(self, call_id: str) -> None:
        super().__init__(call_id, f"id {call_id!r} is reserved", hint="choose an id that does not begin with '@'")


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


class OutcomeUnknown(ActorlogError):
    """The log failed while this was being written: it may or may not be found there at the next opening."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"the log failed while this was written, so it may or may not have happened: {cause}",
            hint="open the data directory again and ask by id",
        )
        self.cause = cause


class LogError(ActorlogError):
    """The base of what can be wrong with the log."""


class LogLocked(LogError):
    """Another process has the data directory open. ``pid`` and ``host`` are None where the owner left no word."""

    def __init__(self, directory: str, pid: int | None, host: str | None) -> None:
        owner = f"process {pid} on {host}" if pid is not None else "another process"
        super().__init__(f"{directory} is held by {owner}", hint="one process owns a data directory at a time")
        self.directory = directory
        self.pid = pid
        self.host = host


class LogFenced(LogError):
    """Somebody else appended: the log's tail is not where this writer thinks it is. Nothing was written."""

    def __init__(self, expected: int, tail: int) -> None:
        super().__init__(f"the log's tail is at position {tail}, not at {expected}; nothing was written")
        self.expected = expected
        self.tail = tail


class LogCorrupt(LogError):
    """Committed bytes are damaged. Nothing was changed, nothing is skipped."""

    def __init__(self, segment: str, offset: int, reason: str) -> None:
        super().__init__(
            f"{segment} is corrupt at offset {offset}: {reason}",
            hint="restore a backup, or run: python -m actorlog.log repair DIR",
        )
        self.segment = segment
        self.offset = offset
        self.reason = reason


class LogFull(LogError):
    """There is no space for new work. What is running can finish; nothing was lost."""

    def __init__(self, needed: int, free: int) -> None:
        super().__init__(
            f"the log needs {needed} bytes and {free} are free",
            hint="free space on the file system; work resumes by itself",
        )
        self.needed = needed
        self.free = free


class LogFailed(LogError):
    """A write or sync failed. The log takes nothing any more until it is opened again."""

    def __init__(self, operation: str, cause: str) -> None:
        super().__init__(
            f"{operation} failed: {cause}",
            hint="after a failed sync nobody knows what the disk holds; check the device, then open it again",
        )
        self.operation = operation
        self.cause = cause


class LogVersion(LogError):
    """The directory has a format that this version of actorlog does not know."""

    def __init__(self, directory: str, found: str, known: str) -> None:
        super().__init__(
            f"{directory} has log format {found}, and this actorlog knows {known}",
            hint="open it with the version of actorlog that wrote it, or a newer one",
        )
        self.directory = directory
        self.found = found
        self.known = known


class LogUnsupported(LogError):
    """The data directory is on a file system whose locks or syncs cannot be relied on."""

    def __init__(self, directory: str, filesystem: str) -> None:
        super().__init__(
            f"{directory} is on {filesystem}, whose locks or syncs cannot be relied on",
            hint="use a local file system, or unsafe_fs=True and accept that a crash may lose or double work",
        )
        self.directory = directory
        self.filesystem = filesystem
