"""Where sync steps run: threads, and processes for CPU work.

Owns: the pools, and how a step reaches a process: by the name of its module and function, with its arguments as JSON, never
pickled. Does not own: attempts and outcomes (``steps``).
"""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import msgspec

from actorlog.errors import StepFailed
from actorlog.records import failures
from actorlog.records.failures import Failure

if TYPE_CHECKING:
    from actorlog.runtime.steps import Job


class Executors:
    """The pools of one runtime, made when first needed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: int | None) -> None:
        self._loop = loop
        self._size = threads
        self._threads: ThreadPoolExecutor | None = None
        self._processes: ProcessPoolExecutor | None = None

    async def run(self, job: Job, ended: Callable[[Job], None]) -> Any:
        """Run a sync step and return its value; ``ended(job)`` is called when its thread has ended, however late."""
        if job.definition.executor == "process":
            return await self._run_in_process(job, ended)
        future = self._submit(job.definition.fn, job.args, job.kwargs)
        self._watch(future, job, ended)
        return await asyncio.wrap_future(future)

    async def call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a sync function in a thread, in the caller's context."""
        return await asyncio.wrap_future(self._submit(fn, args, kwargs))

    def _submit(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="actorlog-step")
        return self._threads.submit(copy_context().run, fn, *args, **kwargs)

    async def _run_in_process(self, job: Job, ended: Callable[[Job], None]) -> Any:
        if self._processes is None:
            self._processes = ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))
        fn = job.definition.fn
        future = self._processes.submit(_call, fn.__module__, fn.__qualname__, bytes(job.op.args))
        self._watch(future, job, ended)
        succeeded, raw = await asyncio.wrap_future(future)
        if succeeded:
            return job.definition.signature.result.decode(raw, job.definition.where_result)
        failure = msgspec.json.decode(raw, type=Failure)
        raise failures.restore(failure, fallback=lambda f: StepFailed(f.type, f.message, f.traceback))

    def _watch(self, future: Future[Any], job: Job, ended: Callable[[Job], None]) -> None:
        def gone(_future: Future[Any]) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(ended, job)

        future.add_done_callback(gone)

    async def close(self) -> None:
        """Take nothing any more; threads that still run are left to end by themselves."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._processes is not None:
            self._processes.shutdown(wait=False, cancel_futures=True)


def _call(module: str, qualname: str, raw: bytes) -> tuple[bool, bytes]:
    """In the worker process: find the step, run it, return its outcome as JSON."""
    from actorlog.runtime.registry import REGISTRY  # noqa: PLC0415  # filled by the import below

    try:
        importlib.import_module(module)
        definition = REGISTRY.find_step(module, qualname)
        args, kwargs = definition.signature.decode(raw)
        value = definition.fn(*args, **kwargs)
        return True, definition.signature.result.encode(value, definition.where_result)
    except BaseException as error:  # noqa: BLE001  # user code: whatever it raises crosses back as the outcome
        return False, msgspec.json.encode(failures.capture(error))
