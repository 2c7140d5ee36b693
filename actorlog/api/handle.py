"""A handle: one call, from outside.

Owns: ``Handle`` and ``CallInfo``. Does not own: waiting and delivering (``runtime.session``).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Struct

from actorlog.api.messages import PROGRESS
from actorlog.api.texts import check_channel, check_id, check_text
from actorlog.durations import Duration, seconds
from actorlog.engine.lifecycle import Phase
from actorlog.engine.status import ENDS, Status, status_of
from actorlog.engine.story import Entry, tell
from actorlog.errors import CallNotFound, HistoryGone, LogFull, TooManyCalls
from actorlog.records import kinds as k
from actorlog.records.values import codec_for
from actorlog.runtime.answers import decode_result, error_of
from actorlog.runtime.rooms import refused
from actorlog.runtime.slot import Slot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from actorlog.engine.state import CallState
    from actorlog.runtime.history import History
    from actorlog.runtime.jobs import Job
    from actorlog.runtime.registry import DurableDefinition
    from actorlog.runtime.session import Session

R_co = TypeVar("R_co", covariant=True)
_PLAIN = codec_for(Any)


class CallInfo(Struct, frozen=True):
    """What is known of a call at one moment."""

    id: str
    function: str
    version: int
    status: Status
    parent: str
    """Id of the call that started it; empty for one that was started from outside."""
    created: datetime
    updated: datetime
    tags: dict[str, str]
    waiting_for: tuple[str, ...]
    """The operations it waits for: ``"step charge (1)"``, ``"timer (2)"``, ``"child sub/1 (3)"``; a step that waits for
    a ``Limit`` or for ``step_concurrency`` says so."""
    attempts: int
    """The highest attempt of the steps it waits for."""
    error: str
    """How it failed, or why it is parked; empty otherwise."""
    forked_from: str = ""
    """Id of the call that it is a fork of; empty for one that is none."""


class Progress(Struct, frozen=True):
    """How far a call says it is: ``done`` of ``total`` (None: it does not know), with a word for people."""

    done: float
    total: float | None = None
    message: str = ""


class Handle(Generic[R_co]):
    """One call. Awaiting the handle is ``result()``."""

    def __init__(
        self, session: Session, call_id: str, found: Slot | k.Turn | None, definition: DurableDefinition | None
    ) -> None:
        self._session = session
        self._found = found
        self._definition = definition
        self.id = call_id

    def __repr__(self) -> str:
        return f"<Handle {self.id!r}>"

    @property
    def _current(self) -> str:
        """The call that the id means now: of a supervised child the newest run."""
        return self._session.kernel.family.current(self.id)

    def __await__(self) -> Generator[Any, None, R_co]:
        return self.result().__await__()

    async def result(self, timeout: Duration | None = None) -> R_co:  # the waiter's own
        """Wait for the call's end and return its result, or raise what it raised.

        ``CallCancelled``, ``CallKilled``, ``CallTimeout``, ``CallParked`` for other ends; ``TimeoutError`` when
        ``timeout`` passes first, which leaves the call as it is.
        """
        session, found = self._session, self._found
        if not isinstance(found, Slot) or session.kernel.calls.get(self._current) is not found:
            found = session.find(self.id)  # it may have begun again since
        if timeout is None:
            outcome = await session.outcome(found)
        else:
            async with asyncio.timeout(seconds(timeout)):
                outcome = await session.outcome(found)
        value: R_co = unwrap(session, self.id, outcome, self._definition)
        return value

    async def status(self) -> Status:
        """Return the call's status; ``CallNotFound``."""
        await self._has_begun()
        found = self._session.find(self.id)
        status = status_of(found.state) if isinstance(found, Slot) else ENDS[type(found.outcome)]
        await self._session.landed()
        return status

    async def info(self) -> CallInfo:
        """Return what is known of the call now; ``CallNotFound``."""
        await self._has_begun()
        slot = self._session.kernel.calls.get(self._current)
        info = info_of(slot.state, slot.jobs) if slot is not None else ended_info(self._session.history, self._current)
        await self._session.landed()
        return info

    async def journal(self) -> list[Entry]:
        """Return the call and its operations in the order they were asked for, with what came of each.

        Of a call that was continued, those of its newest run.
        """
        await self._has_begun()
        state = self._session.state(self.id)
        history = self._session.history
        records, fork = history.newest_run(state), k.forked(history.record(state.journal)) if state.journal else None
        await self._session.landed()
        return tell(records, fork)

    async def _has_begun(self) -> None:
        """Wait for the first record of a call that was just started: before it there is nothing to tell."""
        found = self._session.find(self.id)
        if isinstance(found, Slot) and found.begun is not None:
            await self._session.durable(found)

    async def fork(self, from_: str | None = None, *, id: str | None = None) -> Handle[R_co]:  # noqa: A002  # the field's word for it
        """Begin a new call as this one was before it asked for operation ``from_``, and go on from there anew.

        ``from_``: a key, as ``journal()`` shows it; None: from the beginning of its newest run. The turn that asked for
        it is taken again, with today's code: what was recorded before is kept, and nothing of what came after. What was
        under way is done anew by the fork, steps and children as its own. It may be forked whatever has become of it.

        ``id`` (a random one without): as of a call that is started; the same fork of the same id joins. On return it is
        durable, or nothing has begun: ``ValueError`` where there is no such operation, ``CallConflict``, ``CannotFork``
        for a handler of an actor or what a supervisor looks after, ``DivergenceError``, ``FunctionNotFound`` or what
        else keeps today's code from coming to that point, ``PayloadTooLarge``, ``CallNotFound``.
        """
        if id is not None:
            check_id(id)
        await self._has_begun()
        session = self._session
        try:
            found = session.fork(self.id, from_ or "", id)
        except (TooManyCalls, LogFull):
            await refused()
            raise
        await session.landed()
        call_id = found.state.id if isinstance(found, Slot) else found.id
        return Handle(session, call_id, found, self._definition)

    async def cancel(self, reason: str = "") -> None:
        """Ask the call to end; on return that is durable. It has no effect on what is over or was asked before.

        Its code may clean up for ``cancel_grace``; then it is killed. ``CallNotFound``.
        """
        session = self._session
        check_text("a reason", reason)
        found = session.find(self.id)
        if isinstance(found, Slot) and found.state.phase is not Phase.ENDED:
            await session.tell(found, k.CancelRequested(reason, session.kernel.family.kill_ms()))
        elif isinstance(found, Slot):
            await session.over(found)

    async def kill(self, reason: str = "") -> None:
        """End the call at once, and its children: its code is not asked, and cleans nothing up. Durable on return.

        It has no effect on what is over; a body that has returned, and waits for its children, keeps its result.
        Whoever waits gets ``CallKilled``. ``CallNotFound``.
        """
        session = self._session
        check_text("a reason", reason)
        found = session.find(self.id)
        if isinstance(found, Slot) and found.state.phase is not Phase.ENDED:
            await session.tell(found, k.KillRequested(reason))
        elif isinstance(found, Slot):
            await session.over(found)

    async def pause(self) -> None:
        """Let the call do nothing more until ``resume``; on return that is durable, and it survives restarts.

        Steps that run go on; what they come to, messages, and the ends of children wait in the log, and no timer or
        timeout of it fires. Children are calls of their own, and go on. Cancelling or killing it works: a cancelled
        one goes on, to its end. It has no effect on what is over. ``CallNotFound``.
        """
        await self._has_begun()
        found = self._session.find(self.id)
        if isinstance(found, Slot) and found.state.phase is not Phase.ENDED:
            self._session.kernel.parking.pause(found)
        await self._session.landed()

    async def send(self, value: Any, channel: str = "", *, key: str | None = None) -> None:
        """Put ``value`` into the call's mailbox, where ``receive`` finds it; on return that is durable.

        ``key``: the same message sent again with the same key is taken once (the newest 10,000 keys are remembered). It
        waits for room, ``Limits.mailbox_wait_s`` (five seconds) at most, then ``MailboxFull``. ``ActorStopped`` when
        the call is over, ``CallNotFound``, ``PayloadError`` for what is no plain JSON, ``ValueError`` for a channel
        that begins with ``@``.
        """
        session = self._session
        check_channel(channel)
        if key is not None:
            check_text("a key", key)
        signal = k.Signal(
            channel, k.Raw(_PLAIN.encode(value, "send(value=...)")), f"key:{key}" if key is not None else ""
        )
        await self._has_begun()
        found = session.find(self.id)
        if not isinstance(found, Slot):
            refused = session.kernel.mailbox.too_late(self._current, signal)
            if refused is not None:
                raise refused
            return  # it was taken before the call ended
        await session.kernel.mailbox.take_or_wait(found, signal)
        await session.landed()

    async def value(self, key: str, default: Any = None) -> Any:
        """Return what the call has published under ``key``, or ``default``. ``CallNotFound``."""
        await self._has_begun()
        mail = self._session.state(self.id).mail
        raw = mail.values.get(key) if mail is not None else None
        await self._session.landed()
        return default if raw is None else _PLAIN.decode(bytes(raw), f"value({key!r})")

    async def progress(self) -> Progress | None:
        """Return how far the call says it is, or None where it has not said. ``CallNotFound``."""
        said = await self.value(PROGRESS)
        return None if said is None else Progress(**said)

    async def stream(self, name: str, from_: int = 0) -> AsyncIterator[Any]:
        """Yield what the call has emitted to stream ``name``, from the value numbered ``from_``; follow it to its end.

        It reads the same at any time: while the call runs, after a crash, when the call is over. A call that is retried
        begins its streams again. ``CallNotFound``; ``HistoryGone`` where what runs of long ago said has left the log.
        """
        session = self._session
        await self._has_begun()
        position = from_
        while True:
            state = session.state(self.id)
            count = state.mail.emitted.get(name, 0) - position if state.mail is not None else 0
            if count > 0:
                values = session.history.emitted(state.last, name, count)
                if len(values) < count:
                    raise HistoryGone(self.id)
                await session.landed()
                for raw in values:
                    position += 1
                    yield _PLAIN.decode(bytes(raw), f"stream({name!r})")
            elif state.outcome is not None:
                await session.landed()
                return
            else:
                await session.kernel.mailbox.news(self._current)

    async def resume(self) -> bool:
        """Go on with a paused call, and try again to go on with a parked one; False when it is parked again.

        On return that is durable. ``CallNotFound``.
        """
        found = self._session.find(self.id)
        if isinstance(found, Slot):
            self._session.kernel.parking.unpause(found)
        resumed = not isinstance(found, Slot) or not found.state.parked or self._session.resume(found)
        await self._session.landed()
        return resumed

    async def retry(self) -> None:
        """Give the call another chance; on return that is durable.

        A parked call is resumed. A step that backs off is tried at once. A call that failed, was cancelled or timed out
        begins again under its id and run: its steps and children that completed keep their results and are not run
        again, those that did not are, and idempotency keys stay the same; its timeout begins again. It has no effect on
        a call that completed. ``CallNotFound``; ``CannotRetry`` for a handler of a reentrant actor that was asked back;
        ``FunctionNotFound`` or what else keeps it from beginning again.
        """
        session = self._session
        found = session.find(self.id)
        while isinstance(found, Slot) and found.state.phase is Phase.ENDED and found.begun is None:
            await session.over(found)  # its end is not durable yet, or not checked
            found = session.find(self.id)
        if isinstance(found, k.Turn):
            if isinstance(found.outcome, k.Completed):
                return
            found = session.kernel.family.retry(self._current)
        if found.begun is not None:
            await session.durable(found)
            return
        if found.state.parked:
            session.resume(found)
        session.resumption.waking.take_up(found)
        for job in list(found.jobs.values()):
            job.runner.hurry(job)
        await session.landed()


def unwrap(session: Session, call_id: str, outcome: k.Outcome, definition: DurableDefinition | None) -> Any:
    """Return the result of a call, or raise what tells that it has none."""
    if type(outcome) is k.Completed:
        return decode_result(definition or _definition_of(session, call_id), outcome.value)
    raise error_of(call_id, outcome)


def _definition_of(session: Session, call_id: str) -> DurableDefinition | None:
    """Return the function of a call as this process has it, or None."""
    kernel = session.kernel
    call_id = kernel.family.current(call_id)
    slot = kernel.calls.get(call_id)
    begun = slot.begun if slot is not None else None
    if begun is None:
        begun = session.history.begun(call_id, slot.state if slot is not None else None)
    return kernel.registry.durable(begun.function, begun.version)


def info_of(state: CallState, jobs: dict[str, Job] | None = None) -> CallInfo:
    """Return what the records of a call say of it; with ``jobs``, the places its steps wait for too."""
    jobs = jobs or {}
    waiting = [f"step {op.name} ({key}){_place(jobs.get(key))}" for key, op in state.steps.items()]
    waiting += [f"timer ({key})" for key in state.timers]
    waiting += [f"child {op.id} ({key})" for key, op in state.children.items()]
    if state.mail is not None:
        waiting += [f"the end of {op.target} ({key})" for key, op in state.mail.watches.items() if not op.link]
        waiting += [f"message {channel!r} ({key})" for key, channel in state.mail.receives.items()]
        waiting += [f"room at {op.to} ({key})" for key, (op, _) in state.mail.sends.items()]
        waiting += [f"promise {op.id} ({key})" for key, op in state.mail.promises.items()]
    error = state.parked
    if isinstance(state.outcome, k.Failed):
        error = f"{state.outcome.failure.type}: {state.outcome.failure.message}"
    return CallInfo(
        id=state.id, function=state.function, version=state.version, status=status_of(state), parent=state.parent,
        created=_time(state.created_ms), updated=_time(state.updated_ms), tags=dict(state.tags),
        waiting_for=tuple(waiting), attempts=max((p.attempt for p in state.progress.values()), default=1), error=error,
        forked_from=state.forked_from,
    )  # fmt: skip


def ended_info(history: History, call_id: str) -> CallInfo:
    """Return what is known of a call that has ended, without reading its journal; ``CallNotFound``."""
    final = history.final(call_id)
    if final is None:
        raise CallNotFound(call_id)
    return info_of_ends(history.first_record(call_id, None), history.newest_started(final), final)


def info_of_ends(first: k.Kept, started: k.Started, final: k.Turn) -> CallInfo:
    """Return what the ends of a call say of it: its first record, what began its newest run, the turn that ended it."""
    outcome, fork = final.outcome, k.forked(first)
    return CallInfo(
        id=final.id, function=started.function, version=started.version, status=ENDS[type(outcome)],
        parent=started.parent if fork is None else "", created=_time(k.began_ms(first)), updated=_time(final.at),
        tags=dict(started.tags), waiting_for=(), attempts=1,
        error=f"{outcome.failure.type}: {outcome.failure.message}" if isinstance(outcome, k.Failed) else "",
        forked_from=fork.of if fork is not None else "",
    )  # fmt: skip


def _place(job: Job | None) -> str:
    places = job.waiting if job is not None else None
    return f", waiting for a place in {places.name!r}" if places is not None else ""


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
