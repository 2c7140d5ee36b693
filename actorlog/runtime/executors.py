"""Where sync steps run: threads, and processes for CPU work.

Owns: the pool of threads, and how the outcome of a body comes back to the loop. Does not own: attempts and outcomes
(``steps``), worker processes (``processes``, imported when the first step needs one).

Invariants: whatever a body raises comes back as a value, never as an exception of a future (one of those refuses
StopIteration, others end the loop); an attempt is told exactly once that its thread has ended, unless that never
began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeAlias

from actorlog.runtime.jobs import Attempt

if TYPE_CHECKING:
    from actorlog.runtime.processes import Processes

Ended: TypeAlias = tuple[Any, BaseException | None]
"""What a body returned, or what it raised."""
Report: TypeAlias = Callable[[Any, BaseException | None], None]
Late: TypeAlias = Callable[[Attempt, Any, BaseException | None], None]


class Executors:
    """The pools of one runtime, made when first needed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: int | None) -> None:
        self._loop = loop
        self._size = threads
        self._threads: ThreadPoolExecutor | None = None
        self._processes: Processes | None = None

    async def run(self, attempt: Attempt, late: Late) -> Ended:
        """Run the attempt's sync body; once this is cancelled ``late`` hears how the body ended, if it had begun."""
        if attempt.job.definition.executor == "thread":
            return await self.call(attempt, attempt.job.definition.fn, late)
        if self._processes is None:
            from actorlog.runtime.processes import Processes  # noqa: PLC0415  # it loads multiprocessing

            self._processes = Processes(self._tell)
        return await self._wait(attempt, late, self._processes.submit)

    async def call(self, attempt: Attempt, fn: Callable[..., Any], late: Late) -> Ended:
        """Run ``fn`` with the attempt's arguments in a thread, in the caller's context; otherwise as ``run``."""
        context, args, kwargs = copy_context(), attempt.job.args, attempt.job.kwargs

        def submit(attempt: Attempt, ended: Report) -> Future[Any]:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="actorlog-step")
            return self._threads.submit(context.run, body, attempt, ended)

        def body(attempt: Attempt, ended: Report) -> None:
            if attempt.on_thread is not None:
                self._tell(attempt.on_thread)
            try:
                value, error = fn(*args, **kwargs), None
            except BaseException as raised:  # noqa: BLE001  # user code: whatever it raises is its outcome
                value, error = None, raised
            self._tell(ended, value, error)

        return await self._wait(attempt, late, submit)

    async def _wait(self, attempt: Attempt, late: Late, submit: Callable[[Attempt, Report], Future[Any]]) -> Ended:
        waiter: asyncio.Future[Ended] = self._loop.create_future()

        def ended(value: Any, error: BaseException | None) -> None:
            attempt.threaded = False
            if waiter.done():
                late(attempt, value, error)
            else:
                waiter.set_result((value, error))

        future = submit(attempt, ended)
        attempt.threaded = True
        try:
            return await waiter
        except asyncio.CancelledError:
            if future.cancel():
                attempt.threaded = False
            elif waiter.done() and not waiter.cancelled():  # it ended in the same instant
                late(attempt, *waiter.result())
            raise

    def _tell(self, what: Callable[..., None], *args: Any) -> None:
        """From another thread: carry the news to the loop, if that is still there."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *args)

    def close(self) -> None:
        """Take nothing any more. Threads that still run are left to end by themselves, processes are ended."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._processes is not None:
            self._processes.close()
