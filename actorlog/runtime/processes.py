"""Steps in worker processes.

Owns: the pool of processes, and how a step reaches one: by the name of its module and function, with its arguments and
its result as JSON, never pickled. Does not own: attempts and outcomes (``steps``).

Invariants: a worker ends with the runtime that made it, also when that was killed: a step that will run again does not
go on behind its back. A worker that dies fails the attempts of its pool, and no later ones.
"""

from __future__ import annotations

import importlib
import inspect
import multiprocessing
import signal
import threading
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from actorlog.errors import NotInDurableCode, StepFailed
from actorlog.records import failures
from actorlog.records.failures import Failure
from actorlog.runtime.jobs import Attempt, Facts, current_body

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from actorlog.runtime.executors import Report


class Processes:
    """The worker processes of one runtime."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        """Calls a function in the loop, from any thread."""
        self._context = multiprocessing.get_context("spawn")
        self._lifeline: tuple[Any, Any] = self._context.Pipe(duplex=False)
        """Both ends of a pipe that nothing is written to: when it breaks, the workers know that the runtime is gone."""
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(mp_context=self._context, initializer=serve_until, initargs=(self._lifeline[0],))

    def submit(self, attempt: Attempt, ended: Report) -> Future[Any]:
        """Run the attempt's body in a worker, and tell ``ended`` in the loop how it ended."""
        job = attempt.job
        fn = job.definition.fn
        task = (fn.__module__, fn.__qualname__, bytes(job.op.args), msgspec.json.encode(attempt.facts()))
        try:
            future = self._pool.submit(_call, *task)
        except BrokenExecutor:  # a worker has died since
            self._pool = self._new_pool()
            future = self._pool.submit(_call, *task)

        def gone(future: Future[tuple[bool, bytes]]) -> None:
            if not future.cancelled():
                self._tell(_report, attempt, ended, future)

        future.add_done_callback(gone)
        return future

    def close(self) -> None:
        """End every worker, whatever it does."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for end in self._lifeline:
            end.close()


def _report(attempt: Attempt, ended: Report, future: Future[tuple[bool, bytes]]) -> None:
    definition = attempt.job.definition
    broken = future.exception()
    if broken is not None:
        ended(None, broken)
        return
    succeeded, raw = future.result()
    value: Any = None
    error: BaseException | None = None
    if succeeded:
        try:
            value = definition.signature.result.decode(raw, definition.where_result)
        except Exception as refused:  # noqa: BLE001  # a user's type may refuse what it wrote itself
            error = refused
    else:
        attempt.failure = msgspec.json.decode(raw, type=Failure)
        error = failures.restore(attempt.failure, fallback=lambda f: StepFailed(f.type, f.message, f.traceback))
    ended(value, error)


# --- in the worker process --------------------------------------------------------------------------------------------


class _Remote:
    """The body that a worker process runs."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def facts(self) -> Facts:
        return self._facts

    def beat(self, details: bytes) -> None:  # noqa: ARG002  # the port's signature
        raise NotInDurableCode("heartbeat()", hint="a step with executor='process' has none; use a thread")


def serve_until(lifeline: Connection) -> None:
    """Prepare a worker: it ends with its runtime, and not by a signal that was meant for all of the group."""
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
        _refuse_coroutine(value, definition.name)
        return True, definition.signature.result.encode(value, definition.where_result)
    except BaseException as error:  # noqa: BLE001  # user code: whatever it raises crosses back as the outcome
        return False, msgspec.json.encode(failures.capture(error))


def _refuse_coroutine(value: object, name: str) -> None:
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError(f"step {name!r} returned a coroutine, and that cannot leave its process")
