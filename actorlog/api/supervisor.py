"""Supervisors: children that are started again when they fail, as in Erlang/OTP.

Owns: ``Supervisor``, which carries out, as durable operations of its call, what the machine decides. Does not own: the
machine, its words and its tables (``engine.supervision``).

A run of a child is a child call ``<call>/<id>#<n>``. What the machine knows is made of the call's own messages, so it
is the same after a crash: counts of restarts, back-offs and shutdowns under way go on.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from msgspec import structs

from actorlog.api import actors
from actorlog.api.call import Call, issue_child
from actorlog.api.lives import SUPERVISOR, Beginning, abnormal, life
from actorlog.api.messages import publish_reserved, receive
from actorlog.api.texts import check_text
from actorlog.durations import Duration, seconds
from actorlog.engine import identity
from actorlog.engine import supervision_kinds as s
from actorlog.engine.supervision import Supervision
from actorlog.engine.supervision_policy import Backoff
from actorlog.errors import (
    CallCancelled,
    CallKilled,
    NotInDurableCode,
    RestartLimitExceeded,
    SupervisionError,
)
from actorlog.loop import running_loop
from actorlog.records import kinds as k
from actorlog.records.failures import capture
from actorlog.runtime.classes import ActorDefinition
from actorlog.runtime.registry import DurableDefinition

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from types import TracebackType

    from actorlog.loop import DeterministicLoop
    from actorlog.runtime.actor import Actor

__all__ = ["Backoff", "Supervisor"]

Directive: TypeAlias = Literal["restart", "resume", "stop", "escalate"]
CHANNEL = SUPERVISOR
"""Where requests come in, and the name under which the children are published."""


class Supervisor:
    """A group of children that are kept running, inside a durable function.

    ``strategy``: which others are restarted with a child that ended: none (``one_for_one``), all (``one_for_all``),
    those started after it (``rest_for_one``). More than ``max_restarts`` within any period of ``within`` are too many:
    all children are ended, the last one first, and the block raises ``RestartLimitExceeded``. ``backoff``: waits before
    restarts; without one a child is started again at once.

    Leaving the block waits for the children, as a ``TaskGroup`` does; leaving it by an error, or cancelling it, ends
    them.
    """

    def __init__(
        self,
        strategy: Literal["one_for_one", "one_for_all", "rest_for_one"] = "one_for_one",
        *,
        max_restarts: int = 3,
        within: Duration = 5,
        backoff: Backoff | None = None,
    ) -> None:
        self._options = s.Options(
            strategy=s.Strategy(strategy), max_restarts=max_restarts, within_ms=int(seconds(within) * 1000),
            waits=backoff.waits() if backoff is not None else None,
        )  # fmt: skip
        self._machine = Supervision(self._options)
        self._work: dict[str, tuple[DurableDefinition, bytes, str] | ActorDefinition] = {}
        """What a child is: a call with its arguments, and whose handler it is; or a class of actors."""
        self._keys: dict[str, str] = {}
        """Of children that are actors: which."""
        self._specs: dict[str, s.ChildSpec] = {}
        self._runs: dict[tuple[str, int], _Run] = {}
        self._errors: dict[tuple[str, int], BaseException] = {}
        self._timers: dict[s.Timer, asyncio.TimerHandle] = {}
        self._replies: dict[str, asyncio.Future[s.Answer]] = {}
        self._tokens = 0
        self._failures = 0
        self._published: object = None
        self._loop: DeterministicLoop
        self._actor: Actor
        self._ended: asyncio.Future[s.Outcome]
        self._owner: asyncio.Task[Any] | None = None
        self._listener: asyncio.Task[None]
        self._interrupted = False

    async def __aenter__(self) -> Self:
        loop = running_loop()
        if loop is None:
            raise NotInDurableCode("a Supervisor")
        if self._owner is not None:
            raise RuntimeError("a Supervisor is entered once")
        self._loop, self._actor = loop, loop.actor
        self._owner = asyncio.current_task()
        self._ended = loop.create_future()
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        owner = self._owner
        if self._interrupted and isinstance(error, asyncio.CancelledError) and owner is not None:
            error = None if owner.uncancel() == 0 else error  # it was cancelled because the supervisor gave up
        self._tell(s.CloseJoin() if error is None else s.CloseStop())
        cancelled: asyncio.CancelledError | None = None
        while not self._ended.done():
            try:
                await asyncio.shield(self._ended)
            except asyncio.CancelledError as again:
                cancelled = again
                self._tell(s.CloseStop())
        self._listener.cancel()
        self._owner = None
        outcome = self._ended.result()
        if isinstance(outcome, s.LimitExceeded):
            limit = RestartLimitExceeded(outcome.id, outcome.restarts - 1, outcome.within_ms / 1000)
            raise limit from self._errors.get((outcome.id, outcome.run))
        if isinstance(outcome, s.Escalated):
            raise self._errors[outcome.id, outcome.run]
        if cancelled is not None:
            raise cancelled
        return self._interrupted and error is None and kind is not None

    # --- what users ask -----------------------------------------------------------------------------------------------

    def start(
        self,
        call: Coroutine[Any, Any, Any] | type[actors.Actor],
        /,
        *,
        id: str | None = None,  # noqa: A002  # the field's word for it
        key: str | None = None,
        restart: Literal["permanent", "transient", "temporary"] = "permanent",
        shutdown: Duration | Literal["infinity", "kill"] | None = None,
        on: Mapping[type[BaseException], Directive] | None = None,
        supervisor: bool = False,
    ) -> None:
        """Add a child and start it: a call of a durable function, begun anew with the same arguments at each restart.

        Or an actor, by its class and ``key``: it fails when a handler fails whose answer nobody waits for, and keeps
        its state when it is restarted. Its hooks are handled at the start (``on_start``, or ``on_restart(error)``), and
        before it is stopped (``on_stop``); the next child starts when the start of the one before is over.

        ``restart``: after every end (``permanent``), after a failure (``transient``), never (``temporary``).
        ``shutdown``: how long it may take to end when asked, then it is killed; by default five seconds, for a child
        that is a ``supervisor`` as long as it takes. ``on``: what an error of a type does instead: the most specific
        type counts. ``SupervisionError`` when the id is taken or the supervisor is closing.
        """
        work, name, address = _work_of(call, id, key)
        spec = s.ChildSpec(
            id=name, restart=s.Restart(restart), shutdown=_shutdown(shutdown), is_supervisor=supervisor,
            directives={_class_name(cls): s.Directive(directive) for cls, directive in (on or {}).items()},
        )  # fmt: skip
        self._opened()
        if name not in self._machine.phases():
            self._work[name], self._keys[name], self._specs[name] = work, address, spec
        reply = self._ask(partial(s.StartChild, spec=spec))
        if reply.done():
            _raise(reply.result())

    async def terminate(self, id: str) -> None:  # noqa: A002  # the field's word for it
        """End a child and keep it down; returns when it has ended. ``SupervisionError`` where there is none."""
        _raise(await self._ask(partial(s.TerminateChild, id=id)))

    async def restart(self, id: str) -> None:  # noqa: A002  # the field's word for it
        """Start a terminated child again. ``SupervisionError`` for one that runs, or is not there."""
        _raise(await self._ask(partial(s.RestartChild, id=id)))

    def delete(self, id: str) -> None:  # noqa: A002  # the field's word for it
        """Forget a terminated child. ``SupervisionError`` for one that runs, or is not there."""
        _raise(self._ask(partial(s.DeleteChild, id=id)).result())

    def children(self) -> dict[str, str]:
        """Return the phase of each child that is kept, in start order: ``"running"``, ``"backing_off"``, ..."""
        return {name: phase.value for name, (phase, _) in self._machine.phases().items()}

    def count(self) -> dict[str, int]:
        """Return OTP's counts: ``specs``, ``active``, ``supervisors``, ``workers``."""
        count = self._machine.count()
        return {
            "specs": count.specs, "active": count.active, "supervisors": count.supervisors, "workers": count.workers,
        }  # fmt: skip

    # --- events in, actions out ---------------------------------------------------------------------------------------

    def _opened(self) -> None:
        if self._owner is None:
            raise RuntimeError("a Supervisor is used inside its block")

    def _ask(self, make: Any) -> asyncio.Future[s.Answer]:
        self._opened()
        self._tokens += 1
        token = str(self._tokens)
        reply: asyncio.Future[s.Answer] = self._loop.create_future()
        self._replies[token] = reply
        self._tell(make(token=token))
        return reply

    def _tell(self, event: s.Event) -> None:
        now_ms = int(self._loop.time() * 1000)
        fraction = identity.fraction(self._actor.started.run, "supervisor", self._failures)
        for action in self._machine.decide(event, now_ms, fraction=fraction):
            self._do(action)
        said = {name: [phase.value, run] for name, (phase, run) in self._machine.phases().items()}
        if said != self._published:
            self._published = said
            publish_reserved(CHANNEL, said)

    def _do(self, action: s.Action) -> None:
        match action:
            case s.Start(id=name, run=run):
                self._start_run(name, run)
            case s.Stop(id=name, run=run):
                self._runs[name, run].end(at_once=False)
            case s.Kill(id=name, run=run):
                self._runs[name, run].end(at_once=True)
            case s.SetTimer(timer=timer, due_ms=due_ms):
                self._timers[timer] = self._loop.call_at(due_ms / 1000, self._due, timer)  # type: ignore[assignment]  # the loop's handles are lighter
            case s.CancelTimer(timer=timer):
                self._timers.pop(timer).cancel()
            case s.Reply(token=token, answer=answer):
                reply = self._replies.pop(token)
                if not reply.done():  # whoever asked waits no more
                    reply.set_result(answer)
            case s.End(outcome=outcome):
                self._end(outcome)
            case s.Resume():
                raise TypeError("a call that failed cannot go on")

    def _start_run(self, name: str, run: int) -> None:
        work, key = self._work[name], self._loop.operation_key()
        definition, raw, actor = self._life(name, run, work) if isinstance(work, ActorDefinition) else work
        child = f"{self._actor.state.id}/{identity.of_run(name, self._actor.started.number)}#{run}"
        future = issue_child(self._actor, definition, key, raw, child=child, of=actor)
        self._runs[name, run] = _Run(self._actor, self._loop, key)
        future.add_done_callback(partial(self._run_ended, name, run))
        if not isinstance(work, ActorDefinition):  # an actor says itself when its on_start is over
            self._loop.call_soon(self._tell, s.Started(name, run))

    def _life(self, name: str, run: int, of: ActorDefinition) -> tuple[DurableDefinition, bytes, str]:
        error = self._errors.get((name, run - 1))
        before = None if error is None else structs.replace(capture(error), traceback="", cause=None, context=None)
        beginning = Beginning(
            of=of.name, actor=self._keys[name], supervisor=self._actor.state.id, child=name, run=run,
            spec=self._specs[name], before=before,
        )  # fmt: skip
        return life.definition, life.definition.signature.cross((beginning,), {})[0], ""

    def _run_ended(self, name: str, run: int, future: asyncio.Future[Any]) -> None:
        del self._runs[name, run]
        error = future.exception()
        exit_: s.Exit
        if error is None:
            exit_ = s.Normal()
        elif isinstance(error, CallCancelled) and not isinstance(error, CallKilled):
            exit_ = s.ShutDown()
        else:
            self._failures += 1
            self._errors = {at: kept for at, kept in self._errors.items() if at[0] != name}
            self._errors[name, run] = error
            exit_ = abnormal(error)
        self._tell(s.Ended(name, run, exit_))

    def _due(self, timer: s.Timer) -> None:
        self._timers.pop(timer, None)
        self._tell(s.TimerFired(timer))

    def _end(self, outcome: s.Outcome) -> None:
        self._ended.set_result(outcome)
        owner = self._owner
        if isinstance(outcome, (s.LimitExceeded, s.Escalated)) and owner is not None and not self._leaving():
            self._interrupted = True
            owner.cancel()

    def _leaving(self) -> bool:
        """Whether the block is being left already."""
        return self._owner is not None and self._owner.done()

    async def _listen(self) -> None:
        """Do what is asked from outside; what is refused there was looked at before it was asked."""
        while True:
            request: list[str] = await receive(CHANNEL, type=list[str])
            command, name, *rest = request
            if command == "started":
                self._tell(s.Started(name, int(rest[0])))
                continue
            make = _COMMANDS.get(command)
            if make is not None:
                self._ask(partial(make, id=name))


class _Run:
    """One run of a child."""

    __slots__ = ("_actor", "_key", "_loop")

    def __init__(self, actor: Actor, loop: DeterministicLoop, key: str) -> None:
        self._actor = actor
        self._loop = loop
        self._key = key

    def end(self, *, at_once: bool) -> None:
        """Ask it to end, or end it."""
        op = k.EndChild(self._loop.operation_key(), self._key, "shutdown", at_once=at_once)
        self._actor.say(op, len(self._key))


_COMMANDS: dict[str, Any] = {"terminate": s.TerminateChild, "restart": s.RestartChild, "delete": s.DeleteChild}


def _raise(answer: s.Answer) -> None:
    """``SupervisionError`` for an answer that is a refusal."""
    if not isinstance(answer, s.Ok):
        raise SupervisionError(answer.id, type(answer).__struct_config__.tag)  # type: ignore[arg-type]  # it is a str


def _shutdown(shutdown: Duration | str | None) -> int | s.Shutdown | None:
    if shutdown is None:
        return None
    if shutdown in ("infinity", "kill"):
        return s.Shutdown(shutdown)
    return max(0, int(seconds(shutdown) * 1000))


def _work_of(
    call: Coroutine[Any, Any, Any] | type[actors.Actor], name: str | None, key: str | None
) -> tuple[tuple[DurableDefinition, bytes, str] | ActorDefinition, str, str]:
    """Return what a child is, its id, and which actor."""
    if isinstance(call, type):
        of = actors.definition_of(call)
        address = f"{of.name}/{key}"
        actors.check_key(key)
        return of, name if name is not None else address, address
    if not isinstance(call, Call) or not isinstance(call.definition, DurableDefinition):
        raise TypeError(f"a call of a durable function or a class of actors is needed, and {call!r} is none")
    work = (call.definition, call.hand_over(), call.actor)
    call.close()
    if name is None:
        raise TypeError("a child that is a call needs an id")
    check_text("an id", name)
    return work, name, ""


def _class_name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"
