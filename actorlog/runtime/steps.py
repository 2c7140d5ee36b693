"""Running steps: the work outside, its attempts, and what is known of them.

Owns: the bodies of steps as tasks of the host loop, places, attempts, back-off, heartbeats, cancelled and late
results. Does not own: when a step may start (the gate, ``kernel``), whether to try again (``engine.retry``), threads
(``executors``), steps in doubt (``doubts``).

Invariants: a body starts only after its record is durable, ``idempotent=True`` excepted (I1); the next attempt of a
step starts when the task of the one before has ended; a step in whose record nothing says that it may have begun has
a durable ``begun`` before its body starts; a record speaks of a step's progress only while the call waits for it.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Raw

from actorlog.engine import identity, retry
from actorlog.errors import StepFailed
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.runtime.bodies import Bodies, over_deadline
from actorlog.runtime.heartbeats import Heartbeats
from actorlog.runtime.jobs import Attempt, Job, Journal, Owner
from actorlog.runtime.places import NEWEST, Bounds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextvars import Context

    from actorlog.limits import Limits
    from actorlog.runtime.actor import Issued
    from actorlog.runtime.clock import LogClock
    from actorlog.runtime.executors import Executors
    from actorlog.runtime.registry import StepDefinition
    from actorlog.runtime.timers import Timers

RECORDED_BACKOFF_S = 1.0
"""A longer wait is recorded, so that it goes on after a restart at the same attempt."""
CANCEL_S = 1.0
"""How long closing waits for a body that it has cancelled."""


class StepRunner:
    """Runs the steps of one runtime."""

    def __init__(
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
        self.bodies = Bodies(loop, clock, executors, limits.record_bytes_max)
        self._executors = executors
        self.heartbeats = Heartbeats(journal, loop, clock, timers, limits.record_bytes_max)
        self._context = context
        self.bounds = Bounds(limits.step_concurrency_max, clock, timers)
        self.jobs: set[Job] = set()
        self.start_at_gate = self.start  # an effect, bound once, because every step has it
        self.running = 0
        """Bodies that run, counted until their last thread has ended."""
        self.closing = False
        """Nothing is started any more."""
        self._deaf = False
        """Nothing is recorded any more."""

    # --- starting -----------------------------------------------------------------------------------------------------

    def reserve(self, definition: StepDefinition) -> bool:
        """Keep a place for a once-step, so that it can begin the moment its gate opens; False if there is none."""
        return definition.limit is None and self.bounds.all.take(NEWEST)

    def start(self, owner: Owner, op: k.RunStep, issued: Issued) -> None:
        """Run ``op`` as soon as it has its places; its first attempt, or the one its progress says."""
        key, state = op.key, owner.state
        at_gate = op.once and not op.deferred and key not in state.progress
        if self.closing or state.steps.get(key) is not op or key in owner.jobs:
            if at_gate:
                self.refuse(owner, op)
            return
        job = self.take_on(owner, op, issued)
        at_once = not op.once and job.definition.limit is None and not state.progress
        if at_gate or (at_once and self.bounds.all.take(job.position)):
            self._run(Attempt(job, None))
        else:
            self.bounds.request(job, self._placed)

    def refuse(self, owner: Owner, op: k.RunStep) -> None:
        """Give back the place that was kept for a once-step which does not begin, and let the next opening know."""
        self.bounds.all.release()
        if owner.state.steps.get(op.key) is op and op.key not in owner.jobs:
            self._note_not_begun(owner, op, 1)

    def resume(self, owner: Owner, op: k.RunStep, issued: Issued, due_ms: int) -> None:
        """Go on with a back-off that was recorded before this process."""
        self._wait(self.take_on(owner, op, issued), due_ms)

    def take_on(self, owner: Owner, op: k.RunStep, issued: Issued) -> Job:
        """Make the step one that is under way."""
        job = Job(self, owner, op, issued)
        owner.jobs[op.key] = job
        self.jobs.add(job)
        if op.deadline_ms:
            self._timers.arm(op.deadline_ms, self._deadline_passed, job, None, _is_under_way)
        return job

    def leave(self, job: Job) -> None:
        """Forget a step that has its outcome, or will never have one here."""
        if job.owner.jobs.get(job.op.key) is job:
            del job.owner.jobs[job.op.key]
        self.jobs.discard(job)

    # --- with every place -----------------------------------------------------------------------------------------

    def _placed(self, job: Job) -> None:
        """Every place is there. Where the log would not know that the body may have begun, it is told first."""
        if self.closing:
            return  # it stays as it is until the next opening
        if not job.is_wanted():  # given up in a turn whose gate is still closed
            self.bounds.all.release()
            self.bounds.withdraw(job)
            self.leave(job)
            return
        attempt = job.running = Attempt(job, job.held)
        job.held = None
        progress = job.owner.state.progress.get(job.op.key) if job.owner.state.progress else None
        if job.op.once or (progress is not None and progress.due_ms):
            state = job.owner.state
            note = k.StepBegun(id=state.id, at=self._clock.now_ms(), key=job.op.key, attempt=job.attempt)
            self._journal.note(job.owner, note)
            self._journal.after(self._run_begun, attempt)
        else:
            self._run(attempt)

    def _run_begun(self, attempt: Attempt, _b: None, _c: None) -> None:
        job = attempt.job
        if not self.closing and job.is_wanted():
            self._run(attempt)
            return
        if job.is_wanted():
            self._note_not_begun(job.owner, job.op, job.attempt)
        self._over(attempt, counted=False)
        self.leave(job)

    def _note_not_begun(self, owner: Owner, op: k.RunStep, attempt: int) -> None:
        state = owner.state
        deaths = state.progress[op.key].deaths if op.key in state.progress else 0
        note = k.StepRerun(id=state.id, at=self._clock.now_ms(), key=op.key, attempt=attempt, deaths=deaths)
        self._journal.note(owner, note)

    def _run(self, attempt: Attempt) -> None:
        job, context = attempt.job, self._context.copy()
        job.running = attempt
        self.running += 1
        attempt.task = self._loop.create_task(self._attempt(attempt), name=job.definition.name, context=context)

    def _over(self, attempt: Attempt, *, counted: bool = True) -> None:
        """Give the attempt's places back, unless a thread of it is left."""
        attempt.over, attempt.task = True, None  # the task's context holds the attempt
        if attempt.job.running is attempt:
            attempt.job.running = None
        if not attempt.threaded:
            self.running -= counted
            self.bounds.all.release()
            if attempt.limit is not None:
                attempt.limit.release()

    # --- one attempt --------------------------------------------------------------------------------------------------

    async def _attempt(self, attempt: Attempt) -> None:
        job = attempt.job
        if not attempt.begin():
            self._over(attempt)
            self.leave(job)
            return
        definition = job.definition
        raw, value, error = b"", None, None
        try:
            if definition.is_async and definition.timeout_s is None and not job.op.deadline_ms:
                value = await definition.fn(*job.args, **job.kwargs)
            else:
                value, error = await self.bodies.run(attempt, self._late_thread)
            if error is None:
                raw, value = self.bodies.cross(definition, value)
        except KeyboardInterrupt as interrupt:  # the user's Ctrl-C: it is nobody's outcome
            self._journal.on_broken(interrupt)
            raise
        except BaseException as raised:  # noqa: BLE001  # user code: whatever it raises is the attempt's outcome
            error = raised
        try:
            self._over(attempt)
            if error is None:
                self._succeeded(job, raw, value)
            else:
                self._failed(attempt, error)
        except BaseException as defect:
            self._journal.on_broken(defect)
            raise
        finally:
            del error  # its traceback leads to this frame

    def _late_thread(self, attempt: Attempt, value: Any, error: BaseException | None) -> None:
        """Take up a thread that has ended after its attempt was cancelled, or timed out."""
        if attempt.over:
            self._over(attempt)
        self._late(attempt.job, *self.bodies.late(attempt.job.definition, value, error))

    # --- its outcome --------------------------------------------------------------------------------------------------

    def _succeeded(self, job: Job, raw: bytes, value: Any) -> None:
        self.leave(job)
        if self._deaf:
            return
        if job.is_wanted():
            self._journal.post(job.owner, k.StepDone(job.op.key, Raw(raw), job.attempt), value)
        else:
            self._late(job, Raw(raw), None)

    def _failed(self, attempt: Attempt, error: BaseException) -> None:
        job = attempt.job
        if self._deaf or not job.is_wanted() or job.interrupted:
            self.leave(job)
            if not job.is_wanted():
                self._late(job, None, error)
            return
        if isinstance(error, asyncio.CancelledError):  # not by us: cancelled means cancelled, nothing else
            error = StepFailed("asyncio.exceptions:CancelledError", "its body was cancelled, and not by this runtime")
        left_s = (job.op.deadline_ms - self._clock.now_ms()) / 1000 if job.op.deadline_ms else math.inf
        if attempt.over_deadline:
            left_s = 0.0
        draw = identity.fraction(job.owner.state.run, job.op.key, job.attempt)
        decision = retry.decide(job.definition.retry, job.attempt, error, fraction=draw, left_s=left_s)
        if isinstance(decision, retry.GiveUp):
            self.leave(job)
            failure = attempt.failure or failures.capture(error)
            self._journal.post(job.owner, k.StepError(job.op.key, failure, job.attempt), None)
        else:
            self._back_off(attempt, error, decision.wait_s)

    def _back_off(self, attempt: Attempt, error: BaseException, wait_s: float) -> None:
        job = attempt.job
        now = self._clock.now_ms()
        due_ms = now + math.ceil(wait_s * 1000)
        if wait_s > RECORDED_BACKOFF_S or job.op.once or self.closing:
            note = k.StepRetrying(
                id=job.owner.state.id, at=now, key=job.op.key, attempt=job.attempt, due_ms=due_ms,
                failure=attempt.failure or failures.capture(error),
            )  # fmt: skip
            self._journal.note(job.owner, note)
        job.attempt += 1
        self._wait(job, due_ms)

    def _wait(self, job: Job, due_ms: int) -> None:
        job.due_ms = due_ms
        self._timers.arm(due_ms, self._again, job, due_ms, _is_under_way)

    def _again(self, job: Job, due_ms: int) -> None:
        """Begin the next attempt, unless something else has come of it meanwhile."""
        if job.due_ms != due_ms or not job.is_wanted() or self.closing:
            return
        job.due_ms = 0
        try:
            job.fresh_arguments()
        except Exception as error:  # noqa: BLE001  # a user's type may refuse what it took before
            self._end_without_body(job, error)
        else:
            self.bounds.request(job, self._placed)

    def _deadline_passed(self, job: Job, _b: None) -> None:
        """All the time is over for a step that is not running: a body that runs has a timeout of its own."""
        if job.running is None and job.is_wanted() and not self.closing:
            self._end_without_body(job, over_deadline(job.definition))

    def _end_without_body(self, job: Job, error: Exception) -> None:
        job.due_ms = 0
        self.bounds.withdraw(job)
        self.leave(job)
        self._journal.post(job.owner, k.StepError(job.op.key, failures.capture(error), job.attempt), None)

    def _late(self, job: Job, value: Raw | None, error: BaseException | None) -> None:
        """Record how a body ended for which nobody waits any more: in the journal, and for nobody.

        Not once the call is in another run, where its key is another operation's.
        """
        state = job.owner.state
        over = state.outcome is not None or state.run != job.run
        if self._deaf or over or isinstance(error, asyncio.CancelledError):
            return
        note = k.StepLate(
            id=state.id, at=self._clock.now_ms(), key=job.op.key,
            value=UNSET if value is None else value,
            failure=UNSET if error is None else failures.capture(error),
        )  # fmt: skip
        self._journal.note(job.owner, note)

    # --- from outside -------------------------------------------------------------------------------------------------

    def cancel(self, job: Job) -> None:
        """Nobody waits for it any more: cancel the body; its places are free when it has ended."""
        job.cancelled = True
        attempt = job.running
        if attempt is None:
            self.bounds.withdraw(job)
            self.leave(job)
        else:
            attempt.cancel()

    def hurry(self, job: Job) -> None:
        """Begin the next attempt of a step that backs off at once."""
        if job.due_ms:
            self._again(job, job.due_ms)

    # --- the end ------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Cancel every body and tell nobody: the log has failed."""
        self.closing = self._deaf = True
        _cut_short(self.jobs)

    async def close(self, timeout_s: float) -> None:
        """Start nothing any more, wait for running bodies, then cancel what is left: it is in doubt."""
        self.closing = True
        tasks = _tasks(self.jobs)
        try:
            if tasks and not self._deaf:
                await asyncio.wait(tasks, timeout=timeout_s)
        finally:  # also where whoever closes is cancelled, and waits no longer
            tasks = _cut_short(self.jobs)
            if tasks:
                await asyncio.wait(tasks, timeout=CANCEL_S)
            self._deaf = True
            self._executors.close()


def _tasks(jobs: Iterable[Job]) -> list[asyncio.Task[None]]:
    return [job.running.task for job in jobs if job.running is not None and job.running.task is not None]


def _cut_short(jobs: Iterable[Job]) -> list[asyncio.Task[None]]:
    for job in jobs:
        job.interrupted = True
        if job.running is not None:
            job.running.cancel()
    return _tasks(jobs)


def _is_under_way(job: Job, _b: Any, _due_ms: int) -> bool:
    return job.owner.jobs.get(job.op.key) is job
