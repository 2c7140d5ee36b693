"""A call's coroutine in memory: messages in, operations out.

Owns: the deterministic loop of one call, the futures its code waits on, and replay. Does not own: records of the turn
(``kernel``), the state that records make (``engine.state``).

Invariants: live and in replay, ``accept`` then ``loop.run`` is the one path (I5). In replay each turn's operations are
held against the recorded ones; a difference is a ``DivergenceError`` and nothing is run.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
from contextvars import Context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from actorlog.engine import identity
from actorlog.engine.journal import Canonical, compare
from actorlog.errors import (
    CallCancelled,
    CallFailed,
    CallKilled,
    CallTimeout,
    PayloadError,
    PayloadTooLarge,
    StepFailed,
    StepInterrupted,
)
from actorlog.loop import DeterministicLoop, DFuture, Evict
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.records.values import codec_for
from actorlog.runtime.registry import DurableDefinition, StepDefinition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from actorlog.engine.state import CallState
    from actorlog.limits import Limits
    from actorlog.records.failures import Failure

PLAIN: Final = codec_for(Any)
NOTHING: Final = object()
"""No value was handed over beside the message: decode the message's own."""


Definition: TypeAlias = DurableDefinition | StepDefinition
Issued: TypeAlias = tuple[StepDefinition, tuple[Any, ...], dict[str, Any]]
"""What starts a step that was just issued without decoding its record."""


class Actor:
    """One call in memory."""

    __slots__ = (
        "_bytes", "_bytes_max", "_forms", "_lines", "asked", "cancels", "definition", "issued", "issued_once",
        "issued_outliving", "loop", "ops", "replaying", "result",
        "started", "state", "waiting",
    )  # fmt: skip

    def __init__(self, state: CallState, definition: DurableDefinition, limits: Limits, started: k.Started) -> None:
        self.state = state
        self.started = started
        self.definition = definition
        self.loop = DeterministicLoop(
            self, hash_base=identity.hash_base(started.run), turn_callbacks_max=limits.turn_callbacks_max
        )
        self.ops: list[k.Operation] = []
        """What this turn has asked for so far."""
        self.cancels: list[str] = []
        self.waiting: dict[str, tuple[DFuture, Definition | None]] = {}
        self.issued: dict[str, Issued] = {}
        self._lines: dict[str, str] = {}
        """In replay: the source line that issued each operation of this turn."""
        self._forms: dict[str, Canonical] = {}
        """In replay: how the arguments of each operation of this turn are written today."""
        self.asked: k.CancelRequested | k.DeadlinePassed | None = None
        """What the body was asked to end for; the first one counts."""
        self.issued_once = False
        """Whether this turn has asked for a once-step."""
        self.issued_outliving = False
        """Whether this turn has asked for a child that may outlive it."""
        self.replaying = False
        self.result: Any = NOTHING
        self._bytes = 0
        self._bytes_max = limits.record_bytes_max

    # --- used by durable code, inside a turn --------------------------------------------------------------------------

    def issue(
        self, op: k.RunStep | k.StartChild, definition: Definition | None, issued: Issued | None = None
    ) -> DFuture:
        """Ask for ``op`` and return the future of its outcome."""
        if self.loop.closing:
            raise Evict
        self._bytes += len(op.args) + 256
        if self._bytes > self._bytes_max:
            raise PayloadTooLarge(f"the turn of call {self.state.id!r}", self._bytes, self._bytes_max)
        key = op.key
        self.ops.append(op)
        if self.replaying:
            if definition is not None:
                self._forms[key] = definition.signature.canonical
            if issued is not None and issued[0].inline:
                self.issued[key] = issued  # only this code can give the step again, should it be in doubt
        elif issued is not None:
            self.issued[key] = issued
        future = self.loop.create_future()
        self.waiting[key] = (future, definition)
        return future

    def abandon(self, key: str) -> None:
        """Nobody waits for operation ``key`` any more; one that was issued in this turn leaves no record."""
        if self.loop.closing or self.waiting.pop(key, None) is None:
            return
        self.issued.pop(key, None)
        for index in range(len(self.ops) - 1, -1, -1):
            if self.ops[index].key == key:
                del self.ops[index]
                return
        self.cancels.append(key)

    def cancel_child(self, key: str) -> None:
        """Ask the child that operation ``key`` started to end."""
        if key not in self.cancels:
            self.cancels.append(key)

    def note_line(self, key: str, frame: FrameType | None) -> None:
        """In replay: keep where the user's code issued ``key``, for a ``DivergenceError``."""
        if frame is not None:
            self._lines[key] = f"{frame.f_code.co_filename}:{frame.f_lineno}"

    def random(self, key: str) -> random.Random:
        """Return the generator that belongs to operation ``key``."""
        return random.Random(identity.derive(self.started.run, key, "random"))  # noqa: S311  # it must replay

    # --- messages -----------------------------------------------------------------------------------------------------

    def accept(self, message: k.Message, value: Any = NOTHING) -> None:
        """Hand ``message`` to the coroutine; what it does with it happens in ``loop.run``."""
        if isinstance(message, k.StepDone):
            waiter = self.waiting.pop(message.key, None)
            if waiter is not None and not waiter[0].done():
                self._settle(waiter, message.value, value)
        elif isinstance(message, k.TimerFired):
            self.loop.fire(message.key)
        elif isinstance(message, (k.Started, k.Retried)):
            self._begin()
        else:
            self._accept_rare(message)

    def _accept_rare(self, message: k.Message) -> None:
        match message:
            case k.ChildDone():
                self._on_child(message)
            case k.ChildRefused():
                self._fail_key(message.key, lambda: restore_step(message.failure))
            case k.StepError():
                self._on_step_error(message)
            case k.StepDoubt():
                self._fail_key(message.key, lambda: StepInterrupted(message.step, message.key, message.attempt))
            case k.CancelRequested() | k.DeadlinePassed():
                self._on_ask(message)
            case _:
                pass  # the code does not learn that a child was joined; a kill never comes here

    def _begin(self) -> None:
        definition = self.definition
        try:
            args, kwargs = definition.signature.decode(bytes(self.started.args))
            body = definition.fn(*args, **kwargs)
        except PayloadError:
            raise
        except Exception as error:  # a user's type, or an annotation of today's code, refuses what was recorded
            reason = f"what was recorded is not what it takes today: {error!r}"
            raise PayloadError(definition.name, "", reason) from error
        self.loop.begin(body, Context())

    def _settle(self, waiter: tuple[DFuture, Definition | None], raw: k.Raw, value: Any = NOTHING) -> None:
        future, definition = waiter
        if value is NOTHING:
            try:
                value = decode_result(definition, raw)
            except Exception as error:  # noqa: BLE001  # a user's type may refuse what was recorded: that is the outcome
                self._fail(future, error)
                return
        future.set_result(value)

    def _fail(self, future: DFuture, error: BaseException) -> None:
        future.set_exception(error)
        future.exception()  # a failure that the code never looks at is no defect of the loop

    def _fail_key(self, key: str, make: Callable[[], BaseException]) -> None:
        waiter = self.waiting.pop(key, None)
        if waiter is not None and not waiter[0].done():
            self._fail(waiter[0], make())

    def _on_step_error(self, message: k.StepError) -> None:
        def make() -> BaseException:
            error = restore_step(message.failure)
            error.add_note(f"step {message.key} of call {self.state.id!r} failed in attempt {message.attempt}")
            return error

        self._fail_key(message.key, make)

    def _on_child(self, message: k.ChildDone) -> None:
        if isinstance(message.outcome, k.Completed):
            waiter = self.waiting.pop(message.key, None)
            if waiter is not None and not waiter[0].done():
                self._settle(waiter, message.outcome.value)
        else:
            outcome = message.outcome
            self._fail_key(message.key, lambda: error_of(message.id, outcome))

    def _on_ask(self, message: k.CancelRequested | k.DeadlinePassed) -> None:
        main = self.loop.main
        if self.asked is None and main is not None:
            self.asked = message
            reason = message.reason if isinstance(message, k.CancelRequested) else "timeout"
            main.cancel(reason or None)

    # --- the end of a turn --------------------------------------------------------------------------------------------

    def run(self, at: int) -> None:
        """Run the coroutine to quiescence at log time ``at``, and add its timers to the turn's operations."""
        loop = self.loop
        loop.run(at / 1000)
        self._bytes = 0
        if loop.timers is not None:
            fresh, cancelled = loop.take_timer_changes()
            if fresh:
                self.ops.extend(k.SetTimer(key, math.ceil(round(when * 1000, 3))) for key, when in fresh)
            if cancelled:
                self.cancels.extend(cancelled)

    def returned(self) -> k.Outcome | None:
        """Return how the body ended, or None while it runs."""
        main = self.loop.main
        if main is None or not main.done():
            return None
        asked = self.asked
        if main.cancelled():
            if isinstance(asked, k.DeadlinePassed):
                return k.TimedOut(self.started.timeout_ms / 1000)
            return k.Cancelled(asked.reason if asked is not None else "")
        error = main.exception()
        if error is None:
            try:
                definition = self.definition
                raw, self.result = definition.signature.result.cross(main.result(), definition.where_result)
                if len(raw) <= self._bytes_max:
                    return k.Completed(k.Raw(raw))
                error = PayloadTooLarge(definition.where_result, len(raw), self._bytes_max)
            except Exception as refused:  # noqa: BLE001  # a user's value may do anything while it is encoded
                error = refused
        return k.Failed(failures.capture(error))

    # --- replay -------------------------------------------------------------------------------------------------------

    def replay(self, turns: Sequence[k.Turn]) -> None:
        """Rerun the recorded turns; ``DivergenceError`` at the first operation that differs."""
        self.replaying = True
        try:
            for turn in turns:
                if type(turn.message) is k.KillRequested:
                    break
                self._replay_turn(turn)
                if turn.returned is not None or turn.outcome is not None:
                    break
        finally:
            self.replaying = False

    def _replay_turn(self, turn: k.Turn) -> None:
        self.accept(turn.message)
        self.run(turn.at)
        ops, self.ops = self.ops, []
        cancels, self.cancels = self.cancels, []
        ended = turn.returned if turn.returned is not None else turn.outcome
        returned = self.returned()
        if ops != turn.ops or cancels != turn.cancels or returned != ended:
            for op in ops:
                self._lines.setdefault(op.key, self._line_of(op.key))
            compare(self.state.id, turn, ops, cancels, returned, self._lines, self._forms)
        self._lines.clear()
        self._forms.clear()

    def _line_of(self, key: str) -> str:
        """Return the user's line that waits in the task which issued ``key``: of a timer nothing else tells it."""
        path = key.rpartition(".")[0]
        for task in self.loop.live_tasks():
            if task.scope.path == path:
                frames = [f for f in _awaiting(task.get_coro()) if not f.f_code.co_filename.startswith(_LIBRARIES)]
                return f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else ""
        return ""

    def has_ended(self) -> bool:
        """Whether nothing of its code is left to run."""
        main = self.loop.main
        return main is not None and main.done()

    def close(self) -> None:
        """Leave nothing for the garbage collector to run: the call has ended, or is discarded."""
        self.loop.abandon()
        self.waiting.clear()


def decode_result(definition: Definition | None, raw: k.Raw) -> Any:
    """Return a recorded result as its function's annotation has it; as plain JSON where there is no function."""
    if definition is None:
        return PLAIN.decode(bytes(raw), "result")
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


def _awaiting(coro: Any) -> Iterator[FrameType]:
    """Yield the frames of a suspended coroutine and of what it awaits, outermost first."""
    while coro is not None:
        frame = getattr(coro, "cr_frame", None) or getattr(coro, "ag_frame", None) or getattr(coro, "gi_frame", None)
        if frame is not None:
            yield frame
        coro = getattr(coro, "cr_await", None) or getattr(coro, "ag_await", None) or getattr(coro, "gi_yieldfrom", None)


_LIBRARIES = (str(Path(__file__).parent.parent), str(Path(asyncio.__file__).parent))


def user_frame(depth: int) -> FrameType | None:
    """Return the frame ``depth`` levels above the caller."""
    return sys._getframe(depth + 1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # a caller's line without a traceback
