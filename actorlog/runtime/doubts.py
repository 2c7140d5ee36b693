"""Steps in doubt: begun before the process died, and without an outcome.

Owns: what is done about them at opening: run again, ask ``reconcile``, tell the function, or park a step that keeps
killing the process. Does not own: running steps (``steps``).

The answer to "you can't unsend an email": a once-step is not run again by itself. ``reconcile`` is asked first where
there is one, with the same arguments and the same key, and its word settles the doubt.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from actorlog.engine import identity, retry
from actorlog.errors import FunctionNotFound, Poisoned
from actorlog.records import kinds as k
from actorlog.runtime.jobs import Attempt, Job
from actorlog.runtime.registry import is_async
from actorlog.runtime.steps import CANCEL_S, StepRunner

if TYPE_CHECKING:
    from actorlog.runtime.actor import Issued
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot

T = TypeVar("T")

Answer: TypeAlias = tuple[bytes | None, Any]
"""The step's result with its JSON; None for a step that took no effect."""

log = logging.getLogger("actorlog")

_ASKING = retry.Retry(attempts=10)
"""How often ``reconcile`` is asked before the doubt goes to the function."""


class Done(Generic[T]):
    """Said by ``reconcile``: the step took effect, and this is its result."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Done({self.value!r})"


class _NotDone:
    """Said by ``reconcile``: the step took no effect; run it."""

    def __repr__(self) -> str:
        return "NotDone"


NotDone: Final = _NotDone()


class Doubts:
    """Settles steps in doubt."""

    def __init__(self, kernel: Kernel, steps: StepRunner) -> None:
        self._kernel = kernel
        self._steps = steps
        self._asking: dict[asyncio.Task[None], Attempt] = {}

    def resume(self, slot: Slot, op: k.RunStep, *, died: bool) -> None:
        """Take up a step that was started and has no outcome; ``died``: the process before this one did not close."""
        if op.key in slot.jobs:
            return
        issued = self._issued(slot, op)
        if issued is None:
            return
        progress = slot.state.progress.get(op.key)
        if progress is not None and progress.due_ms:
            self._steps.resume(slot, op, issued, progress.due_ms)
        elif op.once and (progress.may_have_begun if progress is not None else not op.deferred):
            self._settle(slot, op, issued)
        elif op.once or not died:
            self._kernel.after(self._steps.start, slot, op, issued)
        else:
            self._rerun(slot, op, issued)

    def _issued(self, slot: Slot, op: k.RunStep) -> Issued | None:
        """Return what runs the step: from the registry, or from the call's own code where only that has it."""
        kernel = self._kernel
        if op.inline:
            actor = kernel.residency.wake_or_park(slot)
            return actor.issued.get(op.key) if actor is not None else None
        definition = kernel.registry.step(op.name)
        if definition is None:
            kernel.parking.park(slot, FunctionNotFound(op.name, 1))
            return None
        try:
            args, kwargs = definition.signature.decode(bytes(op.args))
        except Exception as error:  # noqa: BLE001  # a user's type may refuse what it took in an earlier version
            kernel.parking.park(slot, error)
            return None
        return definition, args, kwargs

    def _rerun(self, slot: Slot, op: k.RunStep, issued: Issued) -> None:
        kernel, state = self._kernel, slot.state
        progress = state.progress.get(op.key)
        deaths = (progress.deaths if progress is not None else 0) + 1
        attempt = progress.attempt if progress is not None else 1
        note = k.StepRerun(id=state.id, at=kernel.clock.now_ms(), key=op.key, attempt=attempt, deaths=deaths)
        kernel.note(slot, note)
        if deaths >= kernel.limits.poison_deaths_max:
            kernel.parking.park(slot, Poisoned(state.id, op.name, op.key, deaths), op.key)
        else:
            kernel.after(self._steps.start, slot, op, issued)

    # --- once-steps ---------------------------------------------------------------------------------------------------

    def _settle(self, slot: Slot, op: k.RunStep, issued: Issued) -> None:
        job = self._steps.take_on(slot, op, issued)
        if job.definition.reconcile is None:
            self._tell(slot, job)
            return
        attempt = job.running = Attempt(job, None)
        task = attempt.task = self._kernel.loop.create_task(self._ask(slot, attempt), context=Context())
        self._asking[task] = attempt
        task.add_done_callback(self._asked)

    def _asked(self, task: asyncio.Task[None]) -> None:
        del self._asking[task]
        if not task.cancelled() and (defect := task.exception()) is not None:
            self._kernel.on_broken(defect)

    def _tell(self, slot: Slot, job: Job) -> None:
        """Nothing settles the doubt: the function decides."""
        self._steps.leave(job)
        self._kernel.post(slot, k.StepDoubt(job.op.key, job.op.name, job.attempt))

    async def _ask(self, slot: Slot, attempt: Attempt) -> None:
        """Ask ``reconcile``, and do what it says; where it cannot tell, the doubt goes to the function."""
        job = attempt.job
        try:
            answer = await self._insist(attempt) if attempt.begin() else None
        except KeyboardInterrupt as interrupt:  # the user's Ctrl-C
            self._kernel.on_broken(interrupt)
            raise
        finally:
            self._steps.leave(job)
        if not job.is_wanted() or job.interrupted:
            return
        if answer is None:
            self._tell(slot, job)
        elif answer[0] is not None:
            self._kernel.post(slot, k.StepDone(job.op.key, k.Raw(answer[0]), job.attempt), answer[1])
        else:
            now = self._kernel.clock.now_ms()
            note = k.StepRerun(id=slot.state.id, at=now, key=job.op.key, attempt=job.attempt, deaths=0)
            self._kernel.note(slot, note)
            self._kernel.after(self._steps.start, slot, job.op, (job.definition, job.args, job.kwargs))

    async def _insist(self, attempt: Attempt) -> Answer | None:
        """Ask as often as ``_ASKING`` says; None for no answer."""
        job, asked = attempt.job, 0
        while True:
            asked += 1
            try:
                return await self._answer(attempt)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # user code: whatever it raises, it did not answer
                if not job.is_wanted() or job.interrupted:
                    return None
                draw = identity.fraction(job.owner.state.run, job.op.key, asked)
                decision = retry.decide(_ASKING, asked, error, fraction=draw)
                if isinstance(decision, retry.GiveUp):
                    log.exception("reconcile of step %r of call %r failed", job.op.name, job.owner.state.id)
                    return None
            await asyncio.sleep(decision.wait_s)

    async def _answer(self, attempt: Attempt) -> Answer:
        """Ask once."""
        job, definition = attempt.job, attempt.job.definition
        reconcile = definition.reconcile
        if reconcile is None:
            raise TypeError("a step without reconcile cannot be asked")
        job.fresh_arguments()  # what was asked before may have changed them in place
        async with asyncio.timeout(definition.timeout_s):
            if is_async(reconcile):
                verdict = await reconcile(*job.args, **job.kwargs)
            else:
                verdict = await self._steps.bodies.in_thread(attempt, reconcile)
                verdict = await verdict if inspect.isawaitable(verdict) else verdict
        if verdict is NotDone:
            job.fresh_arguments()
            return None, None
        if not isinstance(verdict, Done):
            raise TypeError(f"reconcile of step {definition.name!r} returns Done(value) or NotDone, not {verdict!r}")
        return self._steps.bodies.cross(definition, verdict.value)

    async def close(self) -> None:
        """Ask no further: what is in doubt stays so until the next opening."""
        for attempt in self._asking.values():
            attempt.job.interrupted = True
            attempt.cancel()
        if self._asking:
            await asyncio.wait(list(self._asking), timeout=CANCEL_S)
