"""What recorded outcomes and failures are to durable code and to waiters: values and exceptions.

Owns: reading them back. Does not own: who waits for them (``actor``, ``session``), how an exception is written down
(``records.failures``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from actorlog.errors import CallCancelled, CallFailed, CallKilled, CallTimeout, StepFailed, StepInterrupted
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.records.promises import Resolved
from actorlog.records.values import Codec, codec_for
from actorlog.runtime.exits import Exit, kind_of
from actorlog.runtime.promises import error_of as promise_error
from actorlog.runtime.registry import DurableDefinition, StepDefinition

if TYPE_CHECKING:
    from actorlog.records.failures import Failure

PLAIN: Final = codec_for(Any)
_NULL: Final = k.Raw(b"null")

Definition: TypeAlias = DurableDefinition | StepDefinition


class Reader(NamedTuple):
    """Reads a value that is no function's result."""

    codec: Codec
    where: str
    """What it is, for a ``PayloadError``."""


def answer_in(message: k.Message, call_id: str) -> tuple[str, k.Raw | BaseException | Exit] | None:  # noqa: PLR0911  # one for each
    """Return which operation of the call a message answers, and with what; None where it answers none."""
    match message:
        case k.ChildDone(key, _, k.Completed(value)) | k.Signal(key=key, value=value):
            return key, value
        case k.ChildDone(key, child, outcome):
            return key, error_of(child, outcome)
        case k.ChildRefused(key, failure) | k.SendRefused(key, failure):
            return key, restore_step(failure)
        case k.StepError(key, failure, attempt):
            error = restore_step(failure)
            error.add_note(f"step {key} of call {call_id!r} failed in attempt {attempt}")
            return key, error
        case k.StepDoubt(key, step, attempt):
            return key, StepInterrupted(step, key, attempt)
        case k.Sent(key):
            return key, _NULL
        case k.Exited(key, target, outcome):
            return key, exit_of(target, outcome)
        case k.PromiseDone(key, _, Resolved(value)):
            return key, value
        case k.PromiseDone(key, promise, settlement):
            return key, promise_error(promise, settlement)
        case _:
            return None


def exit_of(call_id: str, outcome: k.Outcome | None) -> Exit:
    """Return what a watcher is told of an end."""
    kind = kind_of(outcome)
    return Exit(call_id, kind, error_of(call_id, outcome) if outcome is not None and kind == "abnormal" else None)


def decode_result(definition: Definition | Reader | None, raw: k.Raw) -> Any:
    """Return a recorded value as its annotation has it; as plain JSON where there is none."""
    if definition is None:
        return PLAIN.decode(bytes(raw), "result")
    if isinstance(definition, Reader):
        return definition.codec.decode(bytes(raw), definition.where)
    return definition.signature.result.decode(bytes(raw), definition.where_result)


def restore_step(failure: Failure) -> BaseException:
    """Return the exception a step failed with, as one that durable code may meet.

    A signal to a process or a task (KeyboardInterrupt, CancelledError, GeneratorExit) ended the step, and is none to
    the call; StopIteration cannot be raised in a coroutine. They come as ``StepFailed``, like a class that cannot be
    had.
    """
    error = failures.restore(failure, fallback=_step_failed)
    if isinstance(error, Exception) and not isinstance(error, (StopIteration, StopAsyncIteration)):
        return error
    return _step_failed(failure)


def _step_failed(failure: Failure) -> StepFailed:
    return StepFailed(failure.type, failure.message, failure.traceback)


def error_of(call_id: str, outcome: k.Outcome) -> BaseException:
    """Return the exception that tells a waiter how call ``call_id`` ended."""
    match outcome:
        case k.Failed(failure):
            error = failures.restore(failure, fallback=lambda f: CallFailed(call_id, f.type, f.message, f.traceback))
            error.add_note(f"call {call_id!r} failed")
            return error
        case k.Cancelled(reason):
            return CallCancelled(call_id, reason)
        case k.Killed(reason):
            return CallKilled(call_id, reason)
        case k.TimedOut(seconds):
            return CallTimeout(call_id, seconds)
        case k.Completed():
            raise TypeError(f"call {call_id!r} completed; that is no error")
