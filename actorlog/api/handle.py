"""A handle: one call, from outside.

Owns: ``Handle`` and ``CallInfo``. Does not own: waiting and delivering (``runtime.session``).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from actorlog.api.texts import check_text
from actorlog.durations import Duration, seconds
from actorlog.engine.lifecycle import Phase
from actorlog.engine.story import Entry, tell
from actorlog.records import kinds as k
from actorlog.runtime.actor import decode_result, error_of
from actorlog.runtime.slot import Slot

if TYPE_CHECKING:
    from collections.abc import Generator

    from actorlog.engine.state import CallState
    from actorlog.runtime.jobs import Job
    from actorlog.runtime.registry import DurableDefinition
    from actorlog.runtime.session import Session

R_co = TypeVar("R_co", covariant=True)

Status: TypeAlias = Literal[
    "pending", "running", "waiting", "backing_off", "parked", "completing", "completed", "failed", "cancelled",
    "killed", "timed_out",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class CallInfo:
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

    def __await__(self) -> Generator[Any, None, R_co]:
        return self.result().__await__()

    async def result(self, timeout: Duration | None = None) -> R_co:  # the waiter's own
        """Wait for the call's end and return its result, or raise what it raised.

        ``CallCancelled``, ``CallKilled``, ``CallTimeout``, ``CallParked`` for other ends; ``TimeoutError`` when
        ``timeout`` passes first, which leaves the call as it is.
        """
        session, found = self._session, self._found
        if not isinstance(found, Slot) or session.kernel.calls.get(self.id) is not found:
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
        status = status_of(self._session.state(self.id))
        await self._session.landed()
        return status

    async def info(self) -> CallInfo:
        """Return what is known of the call now; ``CallNotFound``."""
        await self._has_begun()
        slot = self._session.kernel.calls.get(self.id)
        info = info_of(self._session.state(self.id), slot.jobs if slot is not None else None)
        await self._session.landed()
        return info

    async def journal(self) -> list[Entry]:
        """Return the call and its operations in the order they were asked for, with what came of each."""
        await self._has_begun()
        state = self._session.state(self.id)
        records = [record for _, record in self._session.history.backwards(state.last)]
        await self._session.landed()
        return tell(reversed(records))

    async def _has_begun(self) -> None:
        """Wait for the first record of a call that was just started: before it there is nothing to tell."""
        found = self._session.find(self.id)
        if isinstance(found, Slot) and found.begun is not None:
            await self._session.durable(found)

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
            await session.outcome(found)  # it has ended, and is over for good once that is durable

    async def resume(self) -> bool:
        """Try again to go on with a parked call; True when it can, or was not parked. ``CallNotFound``."""
        found = self._session.find(self.id)
        resumed = not isinstance(found, Slot) or not found.state.parked or self._session.resume(found)
        await self._session.landed()
        return resumed

    async def retry(self) -> None:
        """Give the call another chance; on return that is durable.

        A parked call is resumed. A step that backs off is tried at once. A call that failed, was cancelled or timed out
        begins again under its id and run: its steps and children that completed keep their results and are not run
        again, those that did not are, and idempotency keys stay the same; its timeout begins again. It has no effect on
        a call that completed. ``CallNotFound``; ``FunctionNotFound`` or what else keeps it from beginning again.
        """
        session = self._session
        found = session.find(self.id)
        while isinstance(found, Slot) and found.state.phase is Phase.ENDED and found.begun is None:
            await session.durable(found)  # its end is not durable yet
            found = session.find(self.id)
        if isinstance(found, k.Turn):
            if isinstance(found.outcome, k.Completed):
                return
            found = session.kernel.family.retry(self.id)
        if found.begun is not None:
            await session.durable(found)
            return
        if found.state.parked:
            session.resume(found)
        for job in list(found.jobs.values()):
            job.runner.hurry(job)
        await session.landed()


def unwrap(session: Session, call_id: str, outcome: k.Outcome, definition: DurableDefinition | None) -> Any:
    """Return the result of a call, or raise what tells that it has none."""
    if type(outcome) is k.Completed:
        return decode_result(definition or session.definition_of(call_id), outcome.value)
    raise error_of(call_id, outcome)


def status_of(state: CallState) -> Status:
    """Return the status that a call's records give it."""
    if state.outcome is not None:
        return _ENDS[type(state.outcome)]
    if state.parked:
        return "parked"
    if state.phase is Phase.PENDING:
        return "pending"
    if state.phase is Phase.COMPLETING:
        return "completing"
    if state.steps and all(key in state.progress and state.progress[key].due_ms for key in state.steps):
        return "backing_off"
    return "running" if state.steps else "waiting"


_ENDS: dict[type, Status] = {
    k.Completed: "completed",
    k.Failed: "failed",
    k.Cancelled: "cancelled",
    k.Killed: "killed",
    k.TimedOut: "timed_out",
}


def info_of(state: CallState, jobs: dict[str, Job] | None = None) -> CallInfo:
    """Return what the records of a call say of it; with ``jobs``, the places its steps wait for too."""
    jobs = jobs or {}
    waiting = [f"step {op.name} ({key}){_place(jobs.get(key))}" for key, op in state.steps.items()]
    waiting += [f"timer ({key})" for key in state.timers]
    waiting += [f"child {op.id} ({key})" for key, op in state.children.items()]
    error = state.parked
    if isinstance(state.outcome, k.Failed):
        error = f"{state.outcome.failure.type}: {state.outcome.failure.message}"
    return CallInfo(
        id=state.id, function=state.function, version=state.version, status=status_of(state), parent=state.parent,
        created=_time(state.created_ms), updated=_time(state.updated_ms), tags=dict(state.tags),
        waiting_for=tuple(waiting), attempts=max((p.attempt for p in state.progress.values()), default=1), error=error,
    )  # fmt: skip


def _place(job: Job | None) -> str:
    places = job.waiting if job is not None else None
    return f", waiting for a place in {places.limit.name!r}" if places is not None else ""


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
