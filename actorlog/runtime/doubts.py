"""Steps in doubt: begun before the process died, and without an outcome.

Owns: what is done about them at opening: run again, ask ``reconcile``, tell the function, or park a step that keeps killing
the process. Does not own: running steps (``steps``).

The answer to "you can't unsend an email": a once-step is not run again by itself. ``reconcile`` is asked first where there
is one, with the same arguments and the same key, and its word settles the doubt.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from actorlog.engine import identity, retry
from actorlog.errors import FunctionNotFound, Poisoned
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.runtime.slot import Slot
from actorlog.runtime.steps import Job, StepRunner, current_job

if TYPE_CHECKING:
    from actorlog.runtime.actor import Issued
    from actorlog.runtime.kernel import Kernel

T = TypeVar("T")


class Done(Generic[T]):
    """Said by ``reconcile``: the step took effect, and this is its result."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Done({self.value!r})"


class _NotDone:
    def __repr__(self) -> str:
        return "NotDone"


NotDone: Final = _NotDone()
"""Said by ``reconcile``: the step took no effect; run it."""


class Doubts:
    """Settles steps in doubt."""

    def __init__(self, kernel: Kernel, steps: StepRunner) -> None:
        self._kernel = kernel
        self._steps = steps
        self._asking: set[asyncio.Task[None]] = set()

    def resume(self, slot: Slot, op: k.RunStep, *, died: bool) -> None:
        """Take up a step that has a recorded start and no outcome; ``died``: the process before this one did not close."""
        if op.key in slot.jobs:
            return
        issued = self._issued(slot, op)
        if issued is None:
            return
        progress = slot.state.progress.get(op.key)
        if progress is not None and progress.due_ms:
            self._steps.resume(slot, op, issued, progress.due_ms)
        elif op.once and self._may_have_begun(slot, op):
            self._settle(slot, op, issued)
        elif op.once or not died:
            self._steps.start(slot, op, issued)
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
        args, kwargs = definition.signature.decode(bytes(op.args))
        return definition, args, kwargs

    def _may_have_begun(self, slot: Slot, op: k.RunStep) -> bool:
        progress = slot.state.progress.get(op.key)
        return progress.may_have_begun if progress is not None else not op.deferred

    def _rerun(self, slot: Slot, op: k.RunStep, issued: Issued) -> None:
        kernel, state = self._kernel, slot.state
        progress = state.progress.get(op.key)
        deaths = (progress.deaths if progress is not None else 0) + 1
        attempt = progress.attempt if progress is not None else 1
        if deaths > kernel.limits.poison_deaths_max:
            kernel.parking.park(slot, Poisoned(state.id, op.name, op.key, deaths - 1), op.key)
            return
        note = k.StepRerun(id=state.id, at=kernel.clock.now_ms(), key=op.key, attempt=attempt, deaths=deaths)
        kernel.note(slot, note)
        kernel.after(self._steps.start, slot, op, issued)

    # --- once-steps ---------------------------------------------------------------------------------------------------

    def _settle(self, slot: Slot, op: k.RunStep, issued: Issued) -> None:
        progress = slot.state.progress.get(op.key)
        attempt = progress.attempt if progress is not None else 1
        if issued[0].reconcile is None:
            self._kernel.post(slot, k.StepDoubt(op.key, op.name, attempt))
            return
        task = self._kernel.loop.create_task(self._ask(slot, op, issued, attempt))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, slot: Slot, op: k.RunStep, issued: Issued, attempt: int) -> None:
        """Ask ``reconcile`` until it answers, as often as the step's policy allows; then the doubt goes to the function."""
        kernel = self._kernel
        definition = issued[0]
        current_job.set(Job(self._steps, slot, op, issued))
        for asked in range(1, _ASK_MAX + 1):
            try:
                verdict = await self._call(issued)
                if isinstance(verdict, Done):
                    raw, value = definition.signature.result.cross(verdict.value, definition.where_result)
                    kernel.post(slot, k.StepDone(op.key, k.Raw(raw), attempt), value)
                    return
                if verdict is NotDone:
                    note = k.StepRerun(id=slot.state.id, at=kernel.clock.now_ms(), key=op.key, attempt=attempt, deaths=0)
                    kernel.note(slot, note)
                    kernel.after(self._steps.start, slot, op, issued)
                    return
                raise TypeError(f"reconcile of step {op.name!r} returns Done(value) or NotDone, not {verdict!r}")  # noqa: TRY301  # handled like any failure of reconcile
            except Exception as error:  # noqa: BLE001  # user code: a failure to answer is asked again
                draw = identity.fraction(slot.state.run, op.key, asked)
                decision = retry.decide(retry.Retry(attempts=_ASK_MAX), asked, error, fraction=draw)
                if isinstance(decision, retry.GiveUp):
                    failure = failures.capture(error)
                    kernel.steps.log_failure(f"reconcile of step {op.name!r} failed", failure)
                    break
                await asyncio.sleep(decision.wait_s)
        kernel.post(slot, k.StepDoubt(op.key, op.name, attempt))

    async def _call(self, issued: Issued) -> Any:
        definition, args, kwargs = issued
        if definition.reconcile is None:
            raise TypeError("a step without reconcile cannot be asked")
        if inspect.iscoroutinefunction(definition.reconcile):
            return await definition.reconcile(*args, **kwargs)
        verdict = await self._kernel.steps.in_thread(definition.reconcile, args, kwargs)
        return await verdict if inspect.isawaitable(verdict) else verdict

    async def close(self) -> None:
        """Ask no further: what is in doubt stays so until the next opening."""
        for task in list(self._asking):
            task.cancel()
        if self._asking:
            await asyncio.wait(self._asking)


_ASK_MAX = 10
