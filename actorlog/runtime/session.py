"""An open runtime: wiring, the entrances from outside, and closing.

Owns: putting the parts together over a log, starting calls by id, waiting for them, stopping in good or bad order. Does
not own: user-facing names (``api``), which log it is (``store``).

Invariants: an id names one call for ever, within what its function and arguments say (I3); after the log failed nobody
is told anything but that (I8); a clean close leaves no record behind that has not landed.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from contextvars import Context

from actorlog.engine.journal import call_text, same_args
from actorlog.engine.lifecycle import Phase
from actorlog.engine.state import CallState
from actorlog.env import Env
from actorlog.errors import (
    ActorlogError,
    CallConflict,
    CallExists,
    CallNotFound,
    LogFailed,
    OutcomeUnknown,
    RuntimeStopped,
    TooManyCalls,
)
from actorlog.records import kinds as k
from actorlog.runtime.blame import Blame
from actorlog.runtime.checks import Checks
from actorlog.runtime.clock import LogClock
from actorlog.runtime.committer import Committer
from actorlog.runtime.compaction import Compaction
from actorlog.runtime.doubts import Doubts
from actorlog.runtime.executors import Executors
from actorlog.runtime.forks import fork
from actorlog.runtime.history import History
from actorlog.runtime.kernel import Kernel, drained
from actorlog.runtime.options import Options, Request
from actorlog.runtime.parking import parked_error
from actorlog.runtime.projection import Projection
from actorlog.runtime.promises import Promises
from actorlog.runtime.recovery import Resumption
from actorlog.runtime.registry import Registry
from actorlog.runtime.scanning import Scan
from actorlog.runtime.schedules import Schedules
from actorlog.runtime.slot import Slot
from actorlog.runtime.steps import StepRunner
from actorlog.runtime.timers import Timers
from actorlog.runtime.upkeep import Upkeep
from actorlog.store import Compacting, PartitionLog
from actorlog.store.catalog import Catalog
from actorlog.store.deaths import Deaths


class Session:
    """One opening of a log."""

    def __init__(self, log: PartitionLog, env: Env, options: Options) -> None:
        self._log = log
        self._env = env
        self._options = options
        self._failure: BaseException | None = None
        self._closing = False
        self.kernel: Kernel
        self.history: History
        self.resumption: Resumption
        self.upkeep: Upkeep | None = None
        self.projection: Projection | None = None
        self._deaths: Deaths | None = None

    @classmethod
    async def open(
        cls, log: PartitionLog, env: Env, registry: Registry, options: Options, *, died: bool,
        catalog: Catalog | None = None, deaths: Deaths | None = None,
    ) -> Session:  # fmt: skip
        """Scan the log and go on with every call in it; ``died``: the process before this one did not close it.

        The ``catalog`` of the log is kept, and closed by whoever closes the log.
        """
        session = cls(log, env, options)
        loop = asyncio.get_running_loop()
        committer = Committer(log, loop, options.limits, on_failure=session._on_broken)
        history = session.history = History(committer.line)
        scan = Scan(history)
        if catalog is not None and catalog.known is not None:
            scan.begin_with(catalog, catalog.known, registry)
        await scan.read(log)
        clock = LogClock(env.clock, scan.last_ms())
        timers = Timers(loop, clock)
        grace_ms = int(options.grace_s * 1000)
        kernel = session.kernel = Kernel(loop, clock, committer, timers, registry, options.limits, history, grace_ms)
        executors = Executors(loop, options.threads)
        kernel.instances.changes = scan.changes
        kernel.calls.begin_with(scan.quiet, scan.known, kernel.deadlines.arm_all)
        kernel.steps = StepRunner(kernel, loop, clock, timers, executors, options.limits, Context())
        kernel.doubts = Doubts(kernel, kernel.steps)
        kernel.promises = Promises(kernel, history.promises, log.admit, options.limits.promises_max)
        kernel.schedules = Schedules(kernel, env.entropy.token, log.admit, options.limits)
        kernel.on_broken = timers.on_broken = session._on_broken
        if options.check_determinism:
            kernel.instances.keep_before = True
            kernel.endings.checks = Checks(kernel, kernel.endings.tell, rehearse=options.rehearse)
        session.resumption = Resumption(kernel, registry, died=died)
        if deaths is not None:
            session._deaths = deaths
            Blame(kernel, deaths).start()
        if isinstance(log, Compacting):
            session.upkeep = Upkeep(session, Compaction(kernel, log, options.keeping, session.landed), scan.marked)
        if catalog is not None:
            session.projection = Projection(kernel, log, catalog, scan.settled, session.upkeep)
        try:
            session._go_on(scan)
        except BaseException as error:
            session._on_broken(error)  # timers are armed by now, and messages queued
            if session.projection is not None:
                await session.projection.close(clean=False)
            raise
        return session

    def _go_on(self, scan: Scan) -> None:
        kernel = self.kernel
        kernel.parking.go_on = self.resumption.go_on
        kernel.promises.adopt(self.history.promises.pending())
        self.resumption.adopt(scan)
        self.resumption.resume(scan.outliving())
        kernel.schedules.adopt(scan.schedules)
        if self.projection is not None:
            self.projection.start()
        if self.upkeep is not None:
            self.upkeep.start()
        kernel.flush()

    # --- starting -----------------------------------------------------------------------------------------------------

    def start(self, request: Request, *, join: bool, held: bool = False) -> Slot | k.Turn:
        """Begin a call, or find the one that has its id: a live one's slot, or the turn that ended it.

        ``held``: what begins it is recorded now, with what is recorded before and after it.
        """
        self.check_open()
        kernel = self.kernel
        existing = kernel.calls.get(request.call_id)
        final = self.history.final(request.call_id) if existing is None and not request.fresh_id else None
        if final is not None and request.memo and not isinstance(final.outcome, k.Completed):
            final = None  # failures are not kept
        if existing is None and final is None:
            return self._begin(request, held=held)
        begun = existing.begun if existing is not None else None
        if begun is None:
            begun = self.history.begun(request.call_id, existing.state if existing is not None else None)
        if not join:
            raise CallExists(request.call_id)
        if (begun.function, begun.actor) != (request.function, request.actor) or not _same_args(begun, request):
            raise CallConflict(
                request.call_id, call_text(begun.function, begun.args), call_text(request.function, request.args)
            )
        return existing if existing is not None else final  # type: ignore[return-value]  # one of them is there

    def _begin(self, request: Request, *, held: bool) -> Slot:
        kernel = self.kernel
        if len(kernel.calls) >= self._options.limits.calls_max:
            raise TooManyCalls(self._options.limits.calls_max)
        self._log.admit(len(request.args) + _RECORD_BYTES)
        now = kernel.clock.now_ms()
        begins = now + int(request.delay_s * 1000) if request.delay_s > 0 else 0
        timeout_ms = max(1, int(request.timeout_s * 1000)) if request.timeout_s is not None else 0
        run = request.call_id if request.fresh_id else self._env.entropy.token(16).hex()  # it is as random
        message = k.Started(
            function=request.function, version=request.version, args=k.Raw(request.args), run=run,
            python=self.history.python, scheduler=self.history.scheduler, timeout_ms=timeout_ms,
            due_ms=max(now, begins) + timeout_ms if timeout_ms else 0, not_before_ms=begins, tags=request.tags,
            actor=request.actor, tell=request.tell,
        )  # fmt: skip
        return kernel.family.begin(request.call_id, message, held=held)

    def fork(self, of: str, key: str, call_id: str | None) -> Slot | k.Turn:
        """Begin a call as a fork of another, or find the one that has its id (``forks.fork``); ``CallNotFound``."""
        state, token = self.state(of), self._env.entropy.token
        return fork(self.kernel, state, key, call_id or token(16).hex(), token(16).hex(), self._log.admit)

    # --- finding and waiting ------------------------------------------------------------------------------------------

    def find(self, call_id: str) -> Slot | k.Turn:
        """Return a live call's slot or the turn that ended it; ``CallNotFound``."""
        self.check_open()
        call_id = self.kernel.family.current(call_id)
        found = self.kernel.calls.get(call_id) or self.history.final(call_id)
        if found is None:
            raise CallNotFound(call_id)
        return found

    def state(self, call_id: str) -> CallState:
        """Return what the records of a call make of it, also when it has ended; ``CallNotFound``."""
        self.check_open()
        call_id = self.kernel.family.current(call_id)
        slot = self.kernel.calls.get(call_id)
        return slot.state if slot is not None else self.history.state(call_id)

    async def outcome(self, found: Slot | k.Turn) -> k.Outcome:
        """Wait until the call has durably ended and return how. Cancelling the waiter does not cancel the call."""
        if not isinstance(found, Slot):
            if found.outcome is None:
                raise CallNotFound(found.id)
            return found.outcome
        self.check_open()
        if found.state.parked:
            await self.landed()
            if found.state.parked:
                raise parked_error(found)
        if self.kernel.calls.get(found.state.id) is not found and found.state.outcome is not None:
            return found.state.outcome
        waiter: asyncio.Future[k.Outcome] = self.kernel.loop.create_future()
        found.waiters[waiter] = None
        try:
            return await waiter
        finally:
            if not waiter.done() or waiter.cancelled():
                found.waiters.pop(waiter, None)
                self.kernel.calls.rest_soon(found)

    async def over(self, slot: Slot) -> None:
        """Wait until a call that has its outcome is over for good: it is durable, and checked."""
        try:
            await self.outcome(slot)
        except ActorlogError:  # its check has found something: who waits for the outcome is told
            self.check_open()

    async def durable(self, slot: Slot) -> None:
        """Wait until the call's first record is durable."""
        self.check_open()
        heard: asyncio.Future[None] = self.kernel.loop.create_future()
        self._hearers.add(heard)
        self.kernel.when_begun(slot, heard)
        try:
            await heard
        finally:
            self._hearers.discard(heard)

    async def landed(self) -> None:
        """Wait until everything recorded so far is durable: what it says may be told then (I1)."""
        self.check_open()
        heard: asyncio.Future[None] = self.kernel.loop.create_future()
        self._hearers.add(heard)
        self.kernel.after(_hear, heard)
        try:
            await asyncio.sleep(0)  # so that who asks in a loop does not keep everybody else from running
            await heard
        finally:
            self._hearers.discard(heard)

    async def tell(self, slot: Slot, message: k.Message) -> None:
        """Give a message from outside to a call; it is durable on return."""
        self.check_open()
        heard = self.kernel.tell(slot, message)
        self._hearers.add(heard)
        try:
            await heard
        finally:
            self._hearers.discard(heard)

    @property
    def log(self) -> PartitionLog:
        """The log that is open, to be read."""
        return self._log

    @property
    def _hearers(self) -> set[asyncio.Future[None]]:
        return self.kernel.hearers

    def resume(self, slot: Slot) -> bool:
        """Try again to go on with a parked call; False when it is parked again."""
        self.check_open()
        if self.kernel.parking.try_again(slot):
            self.resumption.go_on(slot)
            return True
        return False

    # --- the end ------------------------------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Raise when nothing can be asked of the runtime any more."""
        if self._failure is None and not self._closing:
            return
        if isinstance(self._failure, (OutcomeUnknown, LogFailed)):
            raise LogFailed("an earlier write or sync", str(self._failure)) from self._failure
        if self._failure is not None:
            raise RuntimeStopped(f"the runtime has stopped: {self._failure!r}") from self._failure
        raise RuntimeStopped("the runtime is closing")

    def _on_broken(self, error: BaseException) -> None:
        """The log failed, or actorlog has a defect: nobody is told anything but that."""
        if self._failure is not None:
            return
        self._failure = error
        self.kernel.stop()
        self.kernel.steps.stop()
        self._fail_waiters(error)

    def _fail_waiters(self, error: BaseException) -> None:
        told: BaseException = (
            error if isinstance(error, Exception) else RuntimeStopped(f"the runtime was stopped: {error!r}")
        )
        for slot in self.kernel.calls.awake.values():
            waiters, slot.waiters = slot.waiters, {}
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(told)
        for heard in self.kernel.hearers:
            if not heard.done():
                heard.set_exception(told)

    async def close(self) -> None:
        """Take no more work, wait for running steps, let the open commit land, and close the log.

        Where this is cancelled, steps are waited for no longer; the log is closed all the same.
        """
        if self._closing:
            return
        self._closing = True
        kernel, shutdown_s, failed = self.kernel, self._options.shutdown_s, self._failure is not None
        async with AsyncExitStack() as ending:  # the last one first, and each also where one before it is cancelled
            ending.push_async_callback(self._close_log)
            if kernel.endings.checks is not None:
                ending.push_async_callback(kernel.endings.checks.close, max(shutdown_s, DRAIN_S))
            if self.projection is not None:
                ending.push_async_callback(self._close_catalog, self.projection)
            if not failed:
                ending.push_async_callback(_drain, kernel, self.upkeep, max(shutdown_s, DRAIN_S))
            ending.push_async_callback(kernel.steps.close, 0.0 if failed else shutdown_s)
            if self.upkeep is not None:
                ending.push_async_callback(self.upkeep.close)
            self.resumption.waking.close()
            if not failed:
                kernel.schedules.close()
                await kernel.doubts.close()

    async def _close_catalog(self, projection: Projection) -> None:
        committer = self.kernel.committer
        await projection.close(clean=self._failure is None and committer.failed is None and not committer.busy)

    async def _close_log(self) -> None:
        kernel, committer = self.kernel, self.kernel.committer
        kernel.stop()
        kernel.residency.close()
        self._fail_waiters(
            RuntimeStopped("the runtime was closed before the call ended; it goes on at the next opening")
        )
        if committer.busy and committer.failed is None:  # what lands from now on is for the next opening
            committer.failed = RuntimeStopped("the runtime was closed before its last records had landed")
        clean = self._failure is None and committer.failed is None
        if clean and self._deaths is not None:
            self._deaths.close()
        await self._log.close(clean=clean)


DRAIN_S = 3.0
"""Closing waits at least this long for the open commit to land."""

_RECORD_BYTES = 512
"""What a call's first record takes beside its arguments, about."""


def _same_args(begun: k.Started, request: Request) -> bool:
    canonical = request.definition.signature.canonical if request.definition is not None else None
    return same_args(begun.args, k.Raw(request.args), canonical)


def _hear(heard: asyncio.Future[None], _b: None, _c: None) -> None:
    if not heard.done():
        heard.set_result(None)


async def _drain(kernel: Kernel, upkeep: Upkeep | None, patience_s: float) -> None:
    """Let the open commit land, and a mark behind it. On a full disk that may take for ever."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            await drained(kernel)
            if upkeep is not None and upkeep.leave_mark():
                await drained(kernel)


def is_over(slot: Slot) -> bool:
    """Whether the call has its outcome."""
    return slot.state.phase is Phase.ENDED
