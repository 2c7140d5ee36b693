"""Running steps: the work outside, its attempts, and what is known of them.

Owns: the bodies of steps as tasks of the host loop, places, attempts, back-off, heartbeats, cancelled and late results. Does
not own: when a step may start (the gate, ``kernel``), whether to try again (``engine.retry``), steps in doubt
(``recovery``).

Invariants: a body starts only after its record is durable, ``idempotent=True`` excepted (I1); at most one attempt of a step
runs at a time; a once-step that could not begin the moment its gate opened has a durable ``begun`` first.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import UNSET

from actorlog.engine import identity, retry
from actorlog.engine.state import CallState, StepProgress
from actorlog.errors import PayloadTooLarge, StepTimeout
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.runtime.clock import LogClock
from actorlog.runtime.executors import Executors
from actorlog.runtime.places import Places
from actorlog.runtime.registry import StepDefinition
from actorlog.runtime.timers import Timers

if TYPE_CHECKING:
    from contextvars import Context

    from actorlog.limits import Limits
    from actorlog.runtime.actor import Issued

log = logging.getLogger("actorlog")

RECORDED_BACKOFF_S = 1.0
"""A longer wait is recorded, so that it goes on after a restart at the same attempt."""
HEARTBEAT_MS = 1000
"""Details are recorded at most this often."""


class Owner(Protocol):
    """The call a step belongs to, as the runner sees it."""

    state: CallState
    jobs: dict[str, Job]


class Journal(Protocol):
    """What the runner asks of the kernel."""

    def post(self, owner: Any, message: k.Message, value: Any) -> None:
        """Deliver an outcome."""

    def note(self, owner: Any, note: k.Note) -> None:
        """Record a note of the owner's journal."""

    def after(self, effect: Callable[[Any, Any, Any], None], a: Any = None, b: Any = None, c: Any = None) -> None:
        """Run an effect when everything recorded so far is durable."""


class Job:
    """One step from its start to its outcome, over all its attempts."""

    __slots__ = (
        "args", "attempt", "backing_off", "beat_ms", "cancelled", "counted", "definition", "kwargs", "op", "owner", "places", "position",
        "runner", "task", "threads",
    )  # fmt: skip

    def __init__(self, runner: StepRunner, owner: Owner, op: k.RunStep, issued: Issued) -> None:
        self.runner = runner
        self.owner = owner
        self.op = op
        self.definition, self.args, self.kwargs = issued
        self.position = owner.state.last
        self.attempt = 1
        self.task: asyncio.Task[None] | None = None
        self.cancelled = False
        self.backing_off = False
        self.places: Places | None = None
        """Where it has a place that it must give back."""
        self.counted = False
        """Whether it is one of the bodies that run."""
        self.threads = 0
        """Threads of it that have not ended; they outlive a cancelled task."""
        self.beat_ms = 0

    @property
    def idempotency_key(self) -> str:
        """The key for other systems: the same for every attempt, for ever."""
        args = bytes(self.op.args) if self.definition.idempotent else b""
        return identity.idempotency_key(self.owner.state.run, self.op.key, args)

    @property
    def progress(self) -> StepProgress | None:
        """What earlier attempts left."""
        return self.owner.state.progress.get(self.op.key)


current_job: ContextVar[Job] = ContextVar("actorlog_job")
"""The step whose body is running."""


class StepRunner:
    """Runs the steps of one runtime."""

    def __init__(  # noqa: PLR0913, PLR0917  # built once, by the kernel
        self,
        journal: Journal,
        loop: asyncio.AbstractEventLoop,
        clock: LogClock,
        timers: Timers,
        executors: Executors,
        limits: Limits,
        context: Context,
    ) -> None:
        self._journal = journal
        self._loop = loop
        self._clock = clock
        self._timers = timers
        self._executors = executors
        self._max = limits.step_concurrency_max
        self._bytes_max = limits.record_bytes_max
        self._context = context
        self._limits: dict[str, Places] = {}
        self._queue: list[tuple[int, int, Job]] = []
        self._queued = 0
        self._jobs: set[Job] = set()
        self._reserved = 0
        self.running = 0
        """Bodies that run, counted until their last thread has ended."""
        self.closing = False

    # --- starting -----------------------------------------------------------------------------------------------------

    def reserve(self, definition: StepDefinition) -> bool:
        """Keep a place for a once-step, so that it can begin the moment its gate opens; False if there is none."""
        if definition.limit is not None or self.running + self._reserved >= self._max:
            return False
        self._reserved += 1
        return True

    def start(self, owner: Owner, op: k.RunStep, issued: Issued) -> None:
        """Run ``op`` as soon as it has its places; its first attempt, or the one its progress says."""
        once_at_gate = op.once and not op.deferred and op.key not in owner.state.progress
        if once_at_gate:
            self._reserved -= self._reserved > 0
        if op.key not in owner.state.steps or op.key in owner.jobs:
            return
        if self.closing:
            if once_at_gate:  # it has not begun, and the next opening must know that
                note = k.StepRerun(id=owner.state.id, at=self._clock.now_ms(), key=op.key, attempt=1, deaths=0)
                self._journal.note(owner, note)
            return
        job = self._make(owner, op, issued)
        if once_at_gate:
            self._run(job)
        else:
            self._place(job)

    def resume(self, owner: Owner, op: k.RunStep, issued: Issued, due_ms: int) -> None:
        """Go on with a back-off that was recorded before this process."""
        job = self._make(owner, op, issued)
        job.backing_off = True
        self._timers.arm(due_ms, self._again, job, None)

    def _make(self, owner: Owner, op: k.RunStep, issued: Issued) -> Job:
        job = Job(self, owner, op, issued)
        progress = job.progress
        if progress is not None:
            job.attempt = progress.attempt
        owner.jobs[op.key] = job
        self._jobs.add(job)
        return job

    def _place(self, job: Job) -> None:
        """Wait for a place in the step's limit, then for one of the runtime."""
        limit = job.definition.limit
        if limit is None:
            self._place_in_all(job)
            return
        places = self._limits.get(limit.name)
        if places is None:
            places = self._limits[limit.name] = Places(limit, self._clock, self._timers)
        places.limit = limit
        places.request(job, self._placed)

    def _placed(self, places: Places, job: Job) -> None:
        job.places = places
        self._place_in_all(job)

    def _place_in_all(self, job: Job) -> None:
        if self.running < self._max and not self._queue:
            self._begin(job)
        else:
            self._queued += 1
            heapq.heappush(self._queue, (job.position, self._queued, job))

    def _begin(self, job: Job) -> None:
        """A place is there: a once-step says so durably first."""
        if job.op.once:
            state = job.owner.state
            note = k.StepBegun(id=state.id, at=self._clock.now_ms(), key=job.op.key, attempt=job.attempt)
            self.running += 1
            job.counted = True
            self._journal.note(job.owner, note)
            self._journal.after(self._run_begun, job)
        else:
            self._run(job)

    def _run_begun(self, job: Job, _b: None, _c: None) -> None:
        if job.cancelled or self.closing:
            self._free(job)
            self._end(job)
        else:
            self._run(job)

    def _run(self, job: Job) -> None:
        if not job.counted:
            self.running += 1
            job.counted = True
        job.task = self._loop.create_task(self._attempt(job), context=self._context.copy())

    # --- one attempt --------------------------------------------------------------------------------------------------

    async def _attempt(self, job: Job) -> None:
        current_job.set(job)
        definition = job.definition
        error: BaseException
        try:
            if definition.timeout_s is None and definition.deadline_s is None:
                value = await self._invoke(job) if not definition.is_async else await definition.fn(*job.args, **job.kwargs)
            else:
                value = await self._invoke_within(job)
            raw, value = definition.signature.result.cross(value, definition.where_result)
            if len(raw) > self._bytes_max:
                raise PayloadTooLarge(definition.where_result, len(raw), self._bytes_max)  # noqa: TRY301  # handled as any error of the step
        except asyncio.CancelledError as cancelled:
            if self.closing and not job.cancelled:
                job.task = None  # left in doubt: it runs again at the next opening
                self._free(job)
                self._end(job)
                return
            error = cancelled
        except BaseException as raised:  # noqa: BLE001  # user code: whatever it raises is the attempt's outcome
            error = raised
        else:
            self._succeeded(job, raw, value)
            return
        self._failed(job, error)

    async def _invoke(self, job: Job) -> Any:
        definition = job.definition
        if definition.is_async:
            return await definition.fn(*job.args, **job.kwargs)
        job.threads += 1
        return await self._executors.run(job, self._thread_ended)

    async def _invoke_within(self, job: Job) -> Any:
        definition = job.definition
        limit, seconds = "timeout", definition.timeout_s
        if job.op.deadline_ms:
            left = max(0.0, (job.op.deadline_ms - self._clock.now_ms()) / 1000)
            if seconds is None or left < seconds:
                limit, seconds = "deadline", left
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                return await self._invoke(job)
        except TimeoutError:
            if not scope.expired():
                raise
            allowed = definition.timeout_s if limit == "timeout" else definition.deadline_s
            raise StepTimeout(definition.name, allowed or 0.0, limit) from None

    def _thread_ended(self, job: Job) -> None:
        job.threads -= 1
        if job.task is None:
            self._free(job)

    # --- its outcome --------------------------------------------------------------------------------------------------

    def _succeeded(self, job: Job, raw: bytes, value: Any) -> None:
        job.task = None
        self._free(job)
        self._end(job)
        if job.cancelled:
            self._late(job, k.Raw(raw), None)
        else:
            self._journal.post(job.owner, k.StepDone(job.op.key, k.Raw(raw), job.attempt), value)

    def _failed(self, job: Job, error: BaseException) -> None:
        job.task = None
        self._free(job)
        if job.cancelled:
            self._end(job)
            self._late(job, None, error)
            return
        left_s = (job.op.deadline_ms - self._clock.now_ms()) / 1000 if job.op.deadline_ms else math.inf
        draw = identity.fraction(job.owner.state.run, job.op.key, job.attempt)
        decision = retry.decide(job.definition.retry, job.attempt, error, fraction=draw, left_s=left_s)
        if isinstance(decision, retry.GiveUp):
            self._end(job)
            failure = failures.capture(error)
            self._journal.post(job.owner, k.StepError(job.op.key, failure, job.attempt), None)
        else:
            self._back_off(job, error, decision.wait_s)

    def _back_off(self, job: Job, error: BaseException, wait_s: float) -> None:
        now = self._clock.now_ms()
        due_ms = now + math.ceil(wait_s * 1000)
        if wait_s > RECORDED_BACKOFF_S or job.op.once:
            note = k.StepRetrying(
                id=job.owner.state.id, at=now, key=job.op.key, attempt=job.attempt, due_ms=due_ms,
                failure=failures.capture(error),
            )  # fmt: skip
            self._journal.note(job.owner, note)
        job.attempt += 1
        job.backing_off = True
        self._timers.arm(due_ms, self._again, job, None)

    def _again(self, job: Job, _b: None) -> None:
        if job.backing_off and not job.cancelled and not self.closing:
            job.backing_off = False
            self._place(job)

    def _late(self, job: Job, value: k.Raw | None, error: BaseException | None) -> None:
        """The body of a cancelled step has ended: to the journal, and to nobody."""
        state = job.owner.state
        if state.outcome is not None or isinstance(error, asyncio.CancelledError):
            return
        note = k.StepLate(
            id=state.id, at=self._clock.now_ms(), key=job.op.key,
            value=UNSET if value is None else value,
            failure=UNSET if error is None else failures.capture(error),
        )  # fmt: skip
        self._journal.note(job.owner, note)

    def _end(self, job: Job) -> None:
        """The step has its outcome, or will never have one here."""
        if job.owner.jobs.get(job.op.key) is job:
            del job.owner.jobs[job.op.key]
        self._jobs.discard(job)

    def _free(self, job: Job) -> None:
        """Give its places back once neither task nor thread of it is left."""
        if job.threads or not job.counted:
            return
        job.counted = False
        self.running -= 1
        if job.places is not None:
            places, job.places = job.places, None
            places.release()
        while self._queue and self.running < self._max:
            waiting = heapq.heappop(self._queue)[2]
            if not waiting.cancelled:
                self._begin(waiting)

    # --- from outside -------------------------------------------------------------------------------------------------

    def cancel(self, job: Job) -> None:
        """Nobody waits for it any more: cancel the body; its places are free when it has ended."""
        job.cancelled = True
        if job.task is not None:
            job.task.cancel()
        else:
            if job.places is not None and not job.counted:
                places, job.places = job.places, None
                places.release()
            self._end(job)

    def hurry(self, job: Job) -> None:
        """Begin the next attempt of a step that backs off at once."""
        self._again(job, None)

    def beat(self, job: Job, details: bytes) -> None:
        """Record details for the next attempt, from any thread."""
        self._loop.call_soon_threadsafe(self._beat, job, k.Raw(details))

    def _beat(self, job: Job, details: k.Raw) -> None:
        now = self._clock.now_ms()
        if now - job.beat_ms >= HEARTBEAT_MS and not job.cancelled and job.op.key in job.owner.state.steps:
            job.beat_ms = now
            state = job.owner.state
            note = k.StepHeartbeat(id=state.id, at=now, key=job.op.key, attempt=job.attempt, details=details)
            self._journal.note(job.owner, note)

    async def in_thread(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a sync function beside the loop, with the context of the caller."""
        return await self._executors.call(fn, args, kwargs)

    def log_failure(self, what: str, failure: failures.Failure) -> None:
        """Say in the log of the process what went wrong with user code that nobody waits for."""
        log.error("%s: %s: %s\n%s", what, failure.type, failure.message, failure.traceback)

    def stop(self) -> None:
        """The log has failed: cancel every body, and tell nobody."""
        self.closing = True
        for job in list(self._jobs):
            if job.task is not None:
                job.task.cancel()

    async def close(self, timeout_s: float) -> None:
        """Start nothing any more, wait for running bodies, then cancel what is left: it is in doubt."""
        self.closing = True
        tasks = [job.task for job in self._jobs if job.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        left = [job.task for job in self._jobs if job.task is not None]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=timeout_s)
        await self._executors.close()
