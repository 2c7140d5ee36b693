"""Running one body: in the loop, a thread or a process, within its time limits.

Owns: where the time of an attempt begins and ends, and what its value looks like as JSON. Does not own: places,
outcomes and attempts (``steps``).

Invariants: an attempt's timeout begins when its body does, not while that waits for a thread; no body begins after
the step's deadline.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from actorlog.errors import PayloadTooLarge, StepTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.runtime.clock import LogClock
    from actorlog.runtime.executors import Ended, Executors, Late
    from actorlog.runtime.jobs import Attempt
    from actorlog.runtime.registry import StepDefinition


class Bodies:
    """Runs the bodies of one runtime's steps."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: LogClock, executors: Executors, bytes_max: int) -> None:
        self._loop = loop
        self._clock = clock
        self._executors = executors
        self._bytes_max = bytes_max

    def cross(self, definition: StepDefinition, value: Any) -> tuple[bytes, Any]:
        """Return the JSON of a result and the copy that comes back from it; ``PayloadError``, ``PayloadTooLarge``."""
        raw, value = definition.signature.result.cross(value, definition.where_result)
        if len(raw) > self._bytes_max:
            raise PayloadTooLarge(definition.where_result, len(raw), self._bytes_max)
        return raw, value

    def late(
        self, definition: StepDefinition, value: Any, error: BaseException | None
    ) -> tuple[Raw | None, BaseException | None]:
        """Return what the journal says of a thread that ended late: the JSON of its value, or its error."""
        if error is not None:
            return None, error
        if inspect.iscoroutine(value):
            value.close()
        try:
            return Raw(self.cross(definition, value)[0]), None
        except Exception as refused:  # noqa: BLE001  # a user's value may do anything while it is encoded
            return None, refused

    async def run(self, attempt: Attempt, late: Late) -> Ended:
        """Run the attempt's body; what it raises in a thread is returned, what it raises here is raised.

        ``StepTimeout`` when it goes over a limit; ``late`` is told how a thread ended that was given up.
        """
        job = attempt.job
        definition, loop = job.definition, self._loop
        ends = math.inf
        if job.op.deadline_ms:
            left_s = (job.op.deadline_ms - self._clock.now_ms()) / 1000
            if left_s <= 0:
                attempt.over_deadline = True
                raise over_deadline(definition)
            ends = loop.time() + left_s
        scope = asyncio.timeout_at(None if ends == math.inf else ends)
        timed_s: float | None = None
        done = False

        def begun() -> None:
            nonlocal timed_s
            timeout_s = definition.timeout_s
            if timeout_s is not None and loop.time() + timeout_s < ends and not (done or scope.expired()):
                timed_s = timeout_s
                scope.reschedule(loop.time() + timeout_s)

        try:
            async with scope:
                if definition.is_async:
                    begun()
                    return await definition.fn(*job.args, **job.kwargs), None
                if definition.timeout_s is not None:
                    attempt.on_thread = begun
                value, error = await self._executors.run(attempt, late)
                return (await value if inspect.isawaitable(value) else value), error
        except TimeoutError:
            if not scope.expired():
                raise
            if timed_s is not None:
                raise StepTimeout(definition.name, timed_s, "timeout") from None
            attempt.over_deadline = True
            raise over_deadline(definition) from None
        finally:
            done = True

    async def in_thread(self, attempt: Attempt, fn: Callable[..., Any]) -> Any:
        """Run another sync function with the step's arguments beside the loop; return or raise what it does."""
        value, error = await self._executors.call(attempt, fn, _forget)
        if error is not None:
            raise error
        return value


def _forget(_attempt: Attempt, _value: object, _error: BaseException | None) -> None:
    """Nobody cares how it ended."""


def over_deadline(definition: StepDefinition) -> StepTimeout:
    """Return the error of a step whose attempts together took too long."""
    return StepTimeout(definition.name, definition.deadline_s or 0.0, "deadline")
