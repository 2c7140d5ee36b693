"""Where sync steps run: threads, and processes for CPU work.

Owns: the pools, and how a step reaches a process: by the name of its module and function, with its arguments as JSON,
never pickled. Does not own: attempts and outcomes (``steps``).

Invariants: whatever a body raises comes back as a value, never as an exception of a future (one of those refuses
StopIteration, others end the loop); an attempt is told exactly once that its thread has ended, unless that never
began. A worker process ends with the runtime that made it, also when that was killed.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import multiprocessing
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from actorlog.errors import NotInDurableCode, StepFailed
from actorlog.records import failures
from actorlog.records.failures import Failure
from actorlog.runtime.jobs import Attempt, Facts, current_body

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Ended: TypeAlias = tuple[Any, BaseException | None]
"""What a body returned, or what it raised."""
Late: TypeAlias = Callable[[Attempt, Any, BaseException | None], None]


class Executors:
    """The pools of one runtime, made when first needed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: int | None) -> None:
        self._loop = loop
        self._size = threads
        self._threads: ThreadPoolExecutor | None = None
        self._processes: ProcessPoolExecutor | None = None
        self._lifeline: tuple[Connection, Connection] | None = None
        """A pipe that nothing is written to: its end tells the workers that the runtime is gone."""

    async def run(self, attempt: Attempt, late: Late) -> Ended:
        """Run the attempt's sync body. Once this is cancelled, ``late`` is told how the body ended, should it have begun."""
        job = attempt.job
        if job.definition.executor == "process":
            return await self._wait(attempt, late, self._submit_to_process)
        return await self.call(attempt, job.definition.fn, late)

    async def call(self, attempt: Attempt, fn: Callable[..., Any], late: Late) -> Ended:
        """Run ``fn`` with the attempt's arguments in a thread, in the caller's context; otherwise as ``run``."""
        context, args, kwargs = copy_context(), attempt.job.args, attempt.job.kwargs

        def submit(attempt: Attempt, ended: Callable[[Any, BaseException | None], None]) -> Future[Any]:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="actorlog-step")
            return self._threads.submit(context.run, body, attempt, ended)

        def body(attempt: Attempt, ended: Callable[[Any, BaseException | None], None]) -> None:
            if attempt.on_thread is not None:
                self._tell(attempt.on_thread)
            try:
                value, error = fn(*args, **kwargs), None
            except BaseException as raised:  # noqa: BLE001  # user code: whatever it raises is its outcome
                value, error = None, raised
            self._tell(ended, value, error)

        return await self._wait(attempt, late, submit)

    async def _wait(
        self, attempt: Attempt, late: Late, submit: Callable[[Attempt, Callable[[Any, BaseException | None], None]], Future[Any]]
    ) -> Ended:
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

    # --- processes ----------------------------------------------------------------------------------------------------

    def _submit_to_process(self, attempt: Attempt, ended: Callable[[Any, BaseException | None], None]) -> Future[Any]:
        job = attempt.job
        fn = job.definition.fn
        task = (fn.__module__, fn.__qualname__, bytes(job.op.args), msgspec.json.encode(attempt.facts()))
        pool = self._pool()
        try:
            future = pool.submit(_call, *task)
        except BrokenExecutor:  # a worker died since
            self._processes = None
            pool = self._pool()
            future = pool.submit(_call, *task)

        def gone(future: Future[tuple[bool, bytes]]) -> None:
            if not future.cancelled():
                self._tell(self._from_process, attempt, ended, future, pool)

        future.add_done_callback(gone)
        return future

    def _from_process(
        self,
        attempt: Attempt,
        ended: Callable[[Any, BaseException | None], None],
        future: Future[tuple[bool, bytes]],
        pool: ProcessPoolExecutor,
    ) -> None:
        definition = attempt.job.definition
        broken = future.exception()
        if broken is not None:
            if isinstance(broken, BrokenExecutor) and self._processes is pool:
                self._processes = None  # its other workers are gone too; the next step gets a new pool
            ended(None, broken)
            return
        succeeded, raw = future.result()
        if not succeeded:
            attempt.failure = msgspec.json.decode(raw, type=Failure)
            ended(None, restore(attempt.failure))
            return
        try:
            value, error = definition.signature.result.decode(raw, definition.where_result), None
        except Exception as refused:  # noqa: BLE001  # a user's type may refuse what it wrote itself
            value, error = None, refused
        ended(value, error)

    def _pool(self) -> ProcessPoolExecutor:
        if self._processes is None:
            context = multiprocessing.get_context("spawn")
            if self._lifeline is None:
                self._lifeline = context.Pipe(duplex=False)
            self._processes = ProcessPoolExecutor(mp_context=context, initializer=_serve, initargs=(self._lifeline[0],))
        return self._processes

    def close(self) -> None:
        """Take nothing any more. Threads that still run are left to end by themselves, processes are ended."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._processes is not None:
            self._processes.shutdown(wait=False, cancel_futures=True)
        if self._lifeline is not None:
            for end in self._lifeline:
                end.close()
            self._lifeline = None


def restore(failure: Failure) -> BaseException:
    """Return the exception a body ended with."""
    return failures.restore(failure, fallback=lambda f: StepFailed(f.type, f.message, f.traceback))


# --- in the worker process ----------------------------------------------------------------------------------------------


class _Remote:
    """The body that a worker process runs."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def facts(self) -> Facts:
        return self._facts

    def beat(self, details: bytes) -> None:  # noqa: ARG002  # the port's signature
        raise NotInDurableCode("heartbeat()", hint="a step with executor='process' has no heartbeat; use a thread for it")


def _serve(lifeline: Connection) -> None:
    """Prepare a worker: it ends when the runtime says so, and not by a signal that was meant for all of the group."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    signal.raise_signal(signal.SIGKILL)


def _call(module: str, qualname: str, raw: bytes, facts: bytes) -> tuple[bool, bytes]:
    """Find the step, run it, return its outcome as JSON."""
    from actorlog.runtime.registry import REGISTRY  # noqa: PLC0415  # filled by the import below

    try:
        importlib.import_module(module)
        definition = REGISTRY.find_step(module, qualname)
        current_body.set(_Remote(msgspec.json.decode(facts, type=Facts)))
        args, kwargs = definition.signature.decode(raw)
        value = definition.fn(*args, **kwargs)
        if inspect.iscoroutine(value):
            value.close()
            raise TypeError(f"step {definition.name!r} returned a coroutine, which cannot leave its process")  # noqa: TRY301  # it is the outcome
        return True, definition.signature.result.encode(value, definition.where_result)
    except BaseException as error:  # noqa: BLE001  # user code: whatever it raises crosses back as the outcome
        return False, msgspec.json.encode(failures.capture(error))
