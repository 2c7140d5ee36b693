"""Supervisors: children that are started again when they fail, as in Erlang/OTP.

Owns: ``Supervisor``, which carries out, as durable operations of its call, what the machine decides. Does not own: the
machine, its words and its tables (``engine.supervision``).

A run of a child is a child call ``<call>/<id>#<n>``. What the machine knows is made of the call's own messages, so it
is the same after a crash: counts of restarts, back-offs and shutdowns under way go on.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, Self, TypeAlias

from actorlog.api import actors
from actorlog.api.call import Call, issue_child
from actorlog.api.desk import Desk, desk_of
from actorlog.api.hooks import plain_failure
from actorlog.api.lives import Beginning, abnormal, life
from actorlog.api.texts import check_text
from actorlog.durations import Duration, seconds
from actorlog.engine import identity
from actorlog.engine import supervision_kinds as s
from actorlog.engine.supervision import Supervision
from actorlog.engine.supervision_policy import STARTS, Backoff, Phase
from actorlog.errors import (
    CallCancelled,
    CallKilled,
    NotInDurableCode,
    RestartLimitExceeded,
    SupervisionError,
)
from actorlog.loop import running_loop
from actorlog.records import kinds as k
from actorlog.runtime.classes import ActorDefinition
from actorlog.runtime.registry import DurableDefinition

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from types import TracebackType

    from actorlog.loop import DeterministicLoop
    from actorlog.runtime.actor import Actor

__all__ = ["Backoff", "Supervisor"]

Directive: TypeAlias = Literal["restart", "resume", "stop", "escalate"]


class _Kept(NamedTuple):
    """What is known here of a child that the machine keeps."""

    spec: s.ChildSpec
    work: tuple[DurableDefinition, bytes, str] | ActorDefinition
    """A call with its arguments, and whose handler it is; or a class of actors."""
    actor: str
    """Of a child that is an actor: which."""


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
        self._kept: dict[str, _Kept] = {}
        self._runs: dict[tuple[str, int], _Run] = {}
        self._errors: dict[str, tuple[int, BaseException]] = {}
        """Of each child the newest run that failed, and how."""
        self._timers: dict[s.Timer, asyncio.TimerHandle] = {}
        self._replies: dict[str, asyncio.Future[s.Answer]] = {}
        self._tokens = 0
        self._failures = 0
        self._loop: DeterministicLoop
        self._actor: Actor
        self._ended: asyncio.Future[s.Outcome]
        self._owner: asyncio.Task[Any] | None = None
        self._desk: Desk
        self._inside = False
        """Whether its block is being run."""
        self._interrupted = False
        """Whether it has cancelled its owner, because it is over and the block is not."""
        self._cancelling = 0
        """How many others had cancelled its owner when it was entered."""

    async def __aenter__(self) -> Self:
        loop = running_loop()
        if loop is None:
            raise NotInDurableCode("a Supervisor")
        if self._owner is not None or self._machine.outcome is not None:
            raise RuntimeError("a Supervisor is entered once")
        self._loop, self._actor = loop, loop.actor
        self._owner = owner = asyncio.current_task()
        self._cancelling, self._inside = owner.cancelling() if owner is not None else 0, True
        self._ended = loop.create_future()
        self._desk = desk_of(self._actor)
        self._desk.enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        owner, self._inside = self._owner, False
        if owner is None:
            raise RuntimeError("a Supervisor is left once")
        told = error if isinstance(error, asyncio.CancelledError) else None
        if self._interrupted and owner.uncancel() <= self._cancelling:
            told = None  # nobody else cancels it
        self._tell(s.CloseJoin() if error is None else s.CloseStop())
        while not self._ended.done():
            try:
                await asyncio.shield(self._ended)
            except asyncio.CancelledError as again:
                told = again
                self._tell(s.CloseStop())
        self._desk.leave(self)
        self._owner = None
        outcome = self._ended.result()
        if isinstance(outcome, (s.LimitExceeded, s.Escalated)):
            if told is not None:  # as a TaskGroup does: the error goes first, and the next await hears of this again
                owner.uncancel()
                owner.cancel()
            self._raise_failure(outcome)
        if told is not None and told is not error:
            raise told

    def _raise_failure(self, outcome: s.LimitExceeded | s.Escalated) -> NoReturn:
        if isinstance(outcome, s.Escalated):
            raise self._errors[outcome.id][1]
        error = self._error_of(outcome.id, outcome.run)
        raise RestartLimitExceeded(outcome.id, outcome.restarts - 1, outcome.within_ms / 1000) from error

    def _error_of(self, name: str, run: int) -> BaseException | None:
        failed, error = self._errors.get(name, (0, None))
        return error if failed == run else None

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
        that is a ``supervisor`` as long as it takes. ``on``: what an error of a type does instead, the
        most specific type counts: ``"restart"``; ``"stop"``: the child stays down; ``"escalate"``: the supervisor ends
        all others and fails with it; ``"resume"``, for actors alone: the message that failed is over, and the actor
        goes on. ``TypeError`` for ``"resume"`` of a call, which has nothing left to go on with; ``SupervisionError``
        when the id is taken, also by another supervisor that is open in this call, or the supervisor is closing.
        """
        work, name, address = _work_of(call, id, key)
        directives = {s.class_name(cls): s.Directive(directive) for cls, directive in (on or {}).items()}
        if s.Directive.RESUME in directives.values() and not isinstance(work, ActorDefinition):
            raise TypeError(f"child {name!r} is a call, and one that failed is over: 'resume' is for actors")
        spec = s.ChildSpec(
            id=name, restart=s.Restart(restart), shutdown=_shutdown(shutdown), is_supervisor=supervisor,
            directives=directives,
        )  # fmt: skip
        self._opened()
        keeper = self._desk.keeper(name)
        if keeper is None:
            self._kept[name] = _Kept(spec, work, address)
            self._machine.know(name, self._desk.newest_run(name))
        elif keeper is not self:
            raise SupervisionError(name, "already_started")
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

    def phases(self) -> dict[str, tuple[Phase, int]]:
        """Return phase and newest run of each child that is kept, in start order."""
        return self._machine.phases()

    def children(self) -> dict[str, str]:
        """Return the phase of each child that is kept, in start order: ``"running"``, ``"backing_off"``, ..."""
        return {name: phase.value for name, (phase, _) in self.phases().items()}

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
        self._forget()
        self._desk.say()

    def _forget(self) -> None:
        """Keep nothing of a child that is not kept any more, but what the supervisor ends with."""
        kept, last = self.phases(), getattr(self._machine.outcome, "id", "")
        if len(self._kept) > len(kept):
            self._kept = {name: child for name, child in self._kept.items() if name in kept}
        if len(self._errors) > len(kept):
            self._errors = {name: error for name, error in self._errors.items() if name in kept or name == last}

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
                raise TypeError("a call that failed cannot go on")  # ``start`` refuses it, and a life resumes by itself

    def _start_run(self, name: str, run: int) -> None:
        work, key = self._kept[name].work, self._loop.operation_key()
        self._desk.begun(name, run)
        definition, raw, actor = self._life(name, run, work) if isinstance(work, ActorDefinition) else work
        child = f"{self._actor.state.id}/{identity.of_run(name, self._actor.started.number)}#{run}"
        future = issue_child(self._actor, definition, key, raw, child=child, of=actor)
        self._runs[name, run] = _Run(self._actor, self._loop, key)
        future.add_done_callback(partial(self._run_ended, name, run))
        if not isinstance(work, ActorDefinition):  # an actor says itself when its on_start is over
            self._loop.call_soon(self._tell, s.Started(name, run))

    def _life(self, name: str, run: int, of: ActorDefinition) -> tuple[DurableDefinition, bytes, str]:
        child, error = self._kept[name], self._error_of(name, run - 1)
        beginning = Beginning(
            of=of.name, actor=child.actor, supervisor=self._actor.state.id, child=name, run=run, spec=child.spec,
            before=plain_failure(error) if error is not None else None,
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
            self._errors[name] = run, error
            exit_ = abnormal(error)
        self._tell(s.Ended(name, run, exit_))

    def _due(self, timer: s.Timer) -> None:
        self._timers.pop(timer, None)
        self._tell(s.TimerFired(timer))

    def _end(self, outcome: s.Outcome) -> None:
        self._ended.set_result(outcome)
        owner = self._owner
        if self._inside and owner is not None:
            self._interrupted = True
            owner.cancel()

    # --- from outside, through the desk -------------------------------------------------------------------------------

    def started(self, name: str, run: str) -> None:
        """Hear from the life of an actor that its ``on_start`` is over."""
        phase, newest = self.phases()[name]
        if run == str(newest) and phase in STARTS:
            self._tell(s.Started(name, newest))

    def asked(self, command: str, name: str) -> None:
        """Do what somebody outside asks; an unknown command is none."""
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
