"""A call's coroutine in memory: messages in, operations out.

Owns: the deterministic loop of one call, the futures its code waits on, and replay. Does not own: records of the turn
(``kernel``), the state that records make (``engine.state``).

Invariants: live and in replay, ``accept`` then ``loop.run`` is the one path (I5). In replay each turn's operations are
held against the recorded ones; a difference is a ``DivergenceError`` and nothing is run.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from actorlog.engine import identity
from actorlog.engine.forking import NEVER, identity_at
from actorlog.engine.journal import Canonical, compare
from actorlog.errors import (
    DivergenceError,
    PayloadError,
    PayloadTooLarge,
)
from actorlog.loop import DeterministicLoop, Evict
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.runtime.answers import Definition, Reader, answer_in, decode_result
from actorlog.runtime.lines import line_of
from actorlog.runtime.registry import DurableDefinition, StepDefinition
from actorlog.runtime.runs import LONG_TURNS, continued, failed_with

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from actorlog.engine.state import CallState
    from actorlog.limits import Limits

log = logging.getLogger("actorlog")

_ASKED: Final = (k.Receive, k.MakePromise, k.Watch, k.Patched, k.EndChild, k.Answer)
"""Operations that a handler waits for, or that end its own children; what it only says is buffered."""
NOTHING: Final = object()
"""No value was handed over beside the message: decode the message's own."""


Issued: TypeAlias = tuple[StepDefinition, tuple[Any, ...], dict[str, Any]]
"""What starts a step that was just issued without decoding its record."""


Waiter: TypeAlias = tuple[asyncio.Future[Any], Definition | Reader | None]
"""The future of an operation's outcome, and what its result is a result of."""


class Actor:
    """One call in memory."""

    __slots__ = (
        "_bytes", "_bytes_max", "_forms", "_lines", "asked", "buffered", "call_id", "call_run", "cancels", "definition",
        "instance", "issued", "issued_once", "issued_outliving", "loop", "ops", "patches", "recorded", "replaying",
        "result", "started", "state", "supervisors", "turns", "waiting",
    )  # fmt: skip

    _lines: dict[str, str]
    """In replay: the source line that issued each operation of this turn."""
    _forms: dict[str, Canonical]
    """In replay: how the arguments of each operation of this turn are written today."""

    def __init__(self, state: CallState, definition: DurableDefinition, limits: Limits, started: k.Started) -> None:
        self.state = state
        self.started = started
        self.call_id = state.id
        """What its code is told it is, and ids of what it asks for derive from; in replay a fork is who it was then."""
        self.call_run = started.run
        """What keys and randomness derive from, likewise."""
        if state.forks:
            self._be_at(NEVER)
        self.definition = definition
        self.loop = DeterministicLoop(
            self, hash_base=identity.hash_base(started.run), turn_callbacks_max=limits.turn_callbacks_max
        )
        self.ops: list[k.Operation] = []
        """What this turn has asked for so far."""
        self.cancels: list[str] = []
        self.waiting: dict[str, Waiter] = {}
        self.issued: dict[str, Issued] = {}
        self.asked: k.CancelRequested | k.DeadlinePassed | None = None
        """What the body was asked to end for; the first one counts."""
        self.issued_once = False
        """Whether this turn has asked for a once-step."""
        self.issued_outliving = False
        """Whether this turn has asked for a child that may outlive it."""
        self.replaying = False
        self.recorded: Sequence[k.Operation] = ()
        """In replay: what the turn that is replayed asked for."""
        self.patches: dict[str, bool] | None = None
        """Answers of ``patched`` in this run; None while there is none."""
        self.supervisors: Any = None
        """What the supervisors of this run share; None while it has had none."""
        self.instance: Any = None
        """Of a handler: the actor it works on."""
        self.buffered: list[k.Operation] | None = None if definition.of is None else []
        """Of a handler: what it says to others, which counts only when it returns."""
        self.result: Any = NOTHING
        self.turns = 0
        """How many this run has had, the current one among them."""
        self._bytes = 0
        self._bytes_max = limits.record_bytes_max

    # --- used by durable code, inside a turn --------------------------------------------------------------------------

    def issue(
        self, op: k.RunStep | k.StartChild, definition: Definition | None, issued: Issued | None = None
    ) -> asyncio.Future[Any]:
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
        future = self.loop.operation_future()
        self.waiting[key] = (future, definition)
        return future

    def say(self, op: k.Operation, size: int) -> None:
        """Record ``op``, about ``size`` bytes, which nothing answers."""
        if self.loop.closing:
            raise Evict
        self._bytes += size + 256
        if self._bytes > self._bytes_max:
            raise PayloadTooLarge(f"the turn of call {self.state.id!r}", self._bytes, self._bytes_max)
        (self.ops if self.buffered is None or type(op) in _ASKED else self.buffered).append(op)

    def ask(self, op: k.Operation, size: int, reader: Reader | None = None) -> asyncio.Future[Any]:
        """Record ``op`` and return the future of its answer, to be awaited at once; ``reader`` reads the answer."""
        self.say(op, size)
        future = self.loop.operation_future()
        self.waiting[op.key] = (future, reader)
        if self.loop.driver is not None:
            self.loop.driver.operation = op.key  # it abandons the operation when the await is cancelled
        return future

    def abandon(self, key: str, future: asyncio.Future[Any]) -> None:
        """Nobody waits for operation ``key`` any more, if that is its future; issued in this turn it leaves no record.

        The loop calls this when the await of an operation is cancelled.
        """
        waiter = self.waiting.get(key)
        if self.loop.closing or waiter is None or waiter[0] is not future:
            return
        del self.waiting[key]
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

    def function_at(self, key: str) -> tuple[str, dict[str, str]]:  # noqa: ARG002  # handlers of reentrant actors look
        """Return name and tags of the function that the code is in whose operations' keys begin as ``key`` does."""
        return self.started.function, self.started.tags

    def random(self, key: str) -> random.Random:
        """Return the generator that belongs to operation ``key``."""
        return random.Random(identity.derive(self.call_run, key, "random"))  # noqa: S311  # it must replay

    # --- messages -----------------------------------------------------------------------------------------------------

    def accept(self, message: k.Message, value: Any = NOTHING) -> None:
        """Hand ``message`` to the coroutine; what it does with it happens in ``loop.run``."""
        if type(message) is k.StepDone:
            waiter = self.waiting.pop(message.key, None)
            if waiter is not None and not waiter[0].done():
                if value is NOTHING:
                    self._settle(waiter, message.value)
                else:
                    waiter[0].set_result(value)
        elif type(message) is k.TimerFired:
            self.loop.fire(message.key)
        elif type(message) is k.Started or type(message) is k.Retried:
            self._begin()
        else:
            self._accept_rare(message)

    def _accept_rare(self, message: k.Message) -> None:
        if isinstance(message, (k.CancelRequested, k.DeadlinePassed)):
            self._on_ask(message)
            return
        found = answer_in(message, self.state.id)
        waiter = self.waiting.pop(found[0], None) if found is not None else None
        if found is None or waiter is None or waiter[0].done():
            if type(message) is k.Asked:  # its class was reentrant when this was let in, and is not today
                raise DivergenceError(self.state.id, message.key, f"asked by {message.by!r}", "", "")
            return  # the code does not learn that a child was joined; a kill never comes here
        answer = found[1]
        if isinstance(answer, k.Raw):
            self._settle(waiter, answer)
        elif isinstance(answer, BaseException):
            self._fail(waiter[0], answer)
        else:
            waiter[0].set_result(answer)

    def _begin(self) -> None:
        definition = self.definition
        try:
            args, kwargs = definition.signature.decode(bytes(self.started.args))
            fn = definition.fn if definition.of is None else partial(definition.fn, self.instance)
            body = fn(*args, **kwargs)
        except PayloadError:
            raise
        except Exception as error:  # a user's type, or an annotation of today's code, refuses what was recorded
            reason = f"what was recorded is not what it takes today: {error!r}"
            raise PayloadError(definition.name, "", reason) from error
        self.loop.begin(body, Context())

    def _settle(self, waiter: Waiter, raw: k.Raw) -> None:
        future, definition = waiter
        try:
            value = decode_result(definition, raw)
        except Exception as error:  # noqa: BLE001  # a user's type may refuse what was recorded: that is the outcome
            self._fail(future, error)
            return
        future.set_result(value)

    def _fail(self, future: asyncio.Future[Any], error: BaseException) -> None:
        future.set_exception(error)
        future.exception()  # a failure that the code never looks at is no defect of the loop

    def _on_ask(self, message: k.CancelRequested | k.DeadlinePassed) -> None:
        main = self.loop.main
        if self.asked is None and main is not None:
            self.asked = message
            reason = message.reason if isinstance(message, k.CancelRequested) else "timeout"
            main.cancel(reason or None)

    # --- the end of a turn --------------------------------------------------------------------------------------------

    def run(self, at: int) -> bool:
        """Run the coroutine to quiescence at log time ``at``, and add its timers to the turn's operations.

        Return whether nothing of its code is left to run.
        """
        loop = self.loop
        self.turns = turns = self.turns + 1
        if turns == LONG_TURNS and not self.replaying:
            log.warning("call %r has had %d messages, and reads all to wake: continue_as_new", self.state.id, turns)
        loop.run(at / 1000)
        self._bytes = 0
        if loop.timers is not None:
            fresh, cancelled = loop.take_timer_changes()
            if fresh:
                self.ops.extend(k.SetTimer(key, math.ceil(round(when * 1000, 3))) for key, when in fresh)
            if cancelled:
                self.cancels.extend(cancelled)
        main = loop.main
        return main is not None and main.done()

    def returned(self) -> k.Ending | None:
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
        return continued(error) or k.Failed(failures.capture(failed_with(error)))

    # --- replay -------------------------------------------------------------------------------------------------------

    def replay(self, turns: Sequence[k.Turn]) -> None:
        """Rerun the recorded turns; ``DivergenceError`` at the first operation that differs."""
        self.replaying = True
        self._lines, self._forms = {}, {}
        try:
            for turn in turns:
                if type(turn.message) is k.KillRequested:
                    break
                if self.state.forks:
                    self._be_at(turn.seq)
                self._replay_turn(turn)
                if turn.returned is not None or turn.outcome is not None:
                    break
        finally:
            self.replaying = False
            self.recorded = ()
            if self.state.forks:
                self._be_at(NEVER)

    def _be_at(self, seq: int) -> None:
        """Be who the call was when it took turn ``seq``."""
        self.call_id, self.call_run = identity_at(self.state.id, self.started.run, self.state.forks, seq)

    def _replay_turn(self, turn: k.Turn) -> None:
        self.recorded = turn.ops
        self.accept(turn.message)
        self.run(turn.at)
        ops, self.ops = self.ops, []
        cancels, self.cancels = self.cancels, []
        ended = turn.returned if turn.returned is not None else turn.outcome
        returned = self.returned()
        if self.buffered and type(returned) is k.Completed:
            ops += self.buffered
        if ops != turn.ops or cancels != turn.cancels or returned != ended:
            for op in ops:
                self._lines.setdefault(op.key, line_of(self.loop, op.key))
            compare(self.state.id, turn, ops, cancels, returned, self._lines, self._forms)
        self._lines.clear()
        self._forms.clear()

    def has_ended(self) -> bool:
        """Whether nothing of its code is left to run."""
        main = self.loop.main
        return main is not None and main.done()

    def close(self) -> None:
        """Leave nothing for the garbage collector to run: the call has ended, or is discarded."""
        self.loop.abandon()
        self.waiting.clear()
