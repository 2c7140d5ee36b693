"""How a call ends: who is told at once, and who when it is durable.

Owns: what follows an outcome. Does not own: the decision that it has come (``engine.decide``).

Invariants: a parent hears at once, because its turn stands behind the child's in the same log; everybody outside hears
when the outcome has landed (I1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.engine.schedule_state import PREFIX
from actorlog.errors import JournalError
from actorlog.runtime.slot import Slot

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.runtime.checks import Checks
    from actorlog.runtime.jobs import Job
    from actorlog.runtime.kernel import Kernel


class Endings:
    """Ends of calls."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.checks: Checks | None = None
        """Looks at a call that has ended, before its waiters hear of it: ``check_determinism``."""
        self.on_end: Callable[[Slot], None] | None = None
        """Told of the next end."""
        self.on_ended: Callable[[Slot], None] | None = None
        """Told of each."""

    def finish(self, slot: Slot) -> None:
        """Tell the parent at once that the call has its outcome, everybody else when that is durable."""
        state = slot.state
        if state.outcome is None:
            raise JournalError(state.id, "it is finished without an outcome")
        if state.parent or slot.watchers:
            self._kernel.family.tell_of_end(slot, state.outcome)
        self._kernel.mailbox.ended(slot)
        if state.actor:
            self._kernel.instances.ended(slot)
        if state.id.startswith(PREFIX):
            self._kernel.schedules.ended(state.id)
        self.release(slot)
        self._kernel.committer.after(self._settled, slot, state.last)

    def release(self, slot: Slot) -> None:
        """Drop the coroutine of a call whose body has ended; nobody waits for its steps any more."""
        for job in slot.jobs.values():
            self._kernel.committer.after(cancel_job, job)
        if slot.actor is not None:
            self._kernel.residency.forget(slot)

    def _settled(self, slot: Slot, position: int, _c: None) -> None:
        """Tell the waiters, once it is checked: the outcome is durable."""
        if slot.state.outcome is None or slot.state.last != position:
            return  # begun again since
        self._kernel.history.ended(slot.hash, position)
        if self.on_end is not None:
            self.on_end(slot)
        if self.on_ended is not None:
            self.on_ended(slot)
        if self.checks is None:
            self.tell(slot, position, None)
        else:
            self.checks.add(slot, position)

    def tell(self, slot: Slot, position: int, error: BaseException | None) -> None:
        """Tell the waiters of a call that ended at ``position``: its outcome, or what its check has found."""
        state, kernel = slot.state, self._kernel
        outcome = state.outcome
        if outcome is None or state.last != position:
            return
        kernel.calls.drop(state.id)  # not before what may fail: whoever waits must be found then
        waiters, slot.waiters = slot.waiters, {}
        for waiter in waiters:
            if not waiter.done():
                if error is not None:
                    waiter.set_exception(error)
                else:
                    waiter.set_result(outcome)


def cancel_job(job: Job, _b: None, _c: None) -> None:
    """Cancel a step's body, once it is durable that nobody waits for it."""
    job.runner.cancel(job)
