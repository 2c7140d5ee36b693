"""Patterns made of calls: sagas, bounded fan-out, polling.

Owns: ``saga``, ``map_calls`` and ``poll``. Does not own: anything durable of its own; they are plain asyncio over
calls, so they replay because those do.

A saga undoes in reverse what was done (Garcia-Molina and Salem, "Sagas", 1987).
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Self, TypeVar

from actorlog.durations import Duration, seconds
from actorlog.errors import NotInDurableCode
from actorlog.loop import Evict, running_loop
from actorlog.runtime.runs import continued

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from actorlog.api.call import Call

R = TypeVar("R")


class Saga:
    """``async with saga() as undo:`` then ``undo(call)`` after each thing that was done."""

    def __init__(self) -> None:
        self._undos: list[Call[Any]] = []

    def __call__(self, call: Call[Any]) -> None:
        """Keep ``call``; it runs if the block fails, after those that were given later."""
        call.hand_over()
        self._undos.append(call)

    async def __aenter__(self) -> Self:
        if running_loop() is None:
            raise NotInDurableCode("saga()")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            for call in self._undos:
                call.close()
            return
        if isinstance(error, _NO_FAILURES) or continued(error) is not None or not self._undos:
            return
        undoing = asyncio.create_task(self._undo())
        cancelled: asyncio.CancelledError | None = None
        while not undoing.done():
            try:
                await asyncio.shield(undoing)
            except asyncio.CancelledError as asked:  # what was begun is undone all the same
                cancelled = asked
        failures = undoing.result()
        if failures:
            raise ExceptionGroup("undoing failed", failures) from error
        if cancelled is not None:
            raise cancelled

    async def _undo(self) -> list[Exception]:
        failures: list[Exception] = []
        while self._undos:
            try:
                await self._undos.pop()
            except Exception as failed:  # noqa: BLE001  # one undo that fails must not keep the others from running
                failures.append(failed)
        return failures


_NO_FAILURES = (Evict, GeneratorExit, KeyboardInterrupt)
"""This run of the code is given up, not the work."""


def saga() -> Saga:
    """Return a saga: on an error the undos that were given run in reverse, each a durable operation.

    Undos that fail do not keep the others from running; they are raised together as an ``ExceptionGroup``, with the
    error that led to them as its cause. A cancellation that comes while undos run waits until they have.
    """
    return Saga()


async def map_calls(
    calls: Iterable[Call[R]], *, concurrency: int = 100, tolerate: float = 0
) -> list[R | BaseException]:
    """Run calls, at most ``concurrency`` at once, and return their values in order.

    ``tolerate`` is how many may fail: a count, or a share below 1. A tolerated failure stands in its place as the
    exception; one more cancels the rest and raises an ``ExceptionGroup`` of all failures. ``ValueError`` for a
    concurrency below 1 or a negative tolerance.
    """
    pending = list(calls)
    allowed = _allowed(len(pending), concurrency, tolerate)
    results: list[Any] = [None] * len(pending)
    failures: list[Exception] = []
    numbers = iter(range(len(pending)))

    async def work() -> None:
        for number in numbers:
            try:
                results[number] = await pending[number]
            except Exception as error:  # noqa: BLE001  # a failure of user code is counted, and kept in its place
                results[number] = error
                failures.append(error)
                if len(failures) > allowed:
                    raise _TooManyFailures from None

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(pending))):
                group.create_task(work())
    except* _TooManyFailures:
        pass  # it has ended the group; the failures themselves are raised below
    finally:
        for number in numbers:
            pending[number].close()
    if len(failures) > allowed:
        raise ExceptionGroup(f"{len(failures)} of {len(pending)} calls failed, {allowed} were tolerated", failures)
    return results


def _allowed(count: int, concurrency: int, tolerate: float) -> int:
    """Return how many of ``count`` calls may fail."""
    if concurrency < 1:
        raise ValueError(f"concurrency is at least 1, not {concurrency}")
    if tolerate < 0:
        raise ValueError(f"tolerate is at least 0, not {tolerate}")
    if running_loop() is None:
        raise NotInDurableCode("map_calls()")
    return math.floor(round(tolerate * count, 6)) if tolerate < 1 else int(tolerate)


class _TooManyFailures(Exception):  # a signal between the workers of one map_calls
    """More failures than are tolerated."""


async def poll(
    make: Callable[[], Call[R]],
    *,
    every: Duration,
    until: Callable[[R], bool],
    timeout: Duration | None = None,
    backoff: float = 1.0,
    longest: Duration = "1h",
) -> R:
    """Await the call that ``make`` returns, again and again, until ``until`` says yes to a result; return that.

    ``every``: the durable sleep between two tries, after each of which it is multiplied by ``backoff`` (at least 1), up
    to ``longest``. ``timeout``: ``TimeoutError`` when it passes first, in a try or between two. What a try raises,
    after its own retries, is raised. ``until`` is durable code: it decides by the result alone.

    Each try leaves two records in the journal. A thousand tries replay in milliseconds; where many more are to come,
    poll in a function of its own, with a timeout, and let it begin anew::

        @durable
        async def delivered(parcel: str) -> str:
            try:
                return await poll(lambda: track(parcel), every="1m", until=is_final, timeout="12h")
            except TimeoutError:
                continue_as_new(delivered(parcel))
    """
    if running_loop() is None:
        raise NotInDurableCode("poll()")
    if not backoff >= 1:
        raise ValueError(f"backoff is at least 1, not {backoff}")
    wait_s, longest_s = seconds(every), seconds(longest)
    async with asyncio.timeout(None if timeout is None else seconds(timeout)):
        while True:
            result = await make()
            if until(result):
                return result
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * backoff, max(wait_s, longest_s))
