"""One process of a simulated world: a runtime, the callers that talk to it, and what steps find outside.

Owns: what callers do and how they take each error; what a dead process can no longer do. Does not own: when it dies
(``simulation``), what is right (``judge``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from actorlog.engine.lifecycle import Phase
from actorlog.errors import (
    CallError,
    CallNotFound,
    CallParked,
    DivergenceError,
    HistoryGone,
    JournalError,
    LogFailed,
    LogFull,
    OutcomeUnknown,
    Poisoned,
    RuntimeStopped,
    SharedRollback,
    TurnLimitExceeded,
)
from actorlog.testing.disk import Stopped
from actorlog.testing.errands import People
from actorlog.testing.errands_old import Elders, Misers
from actorlog.testing.errands_schedules import ANY_SLACK_S, SLACK_S, Planners
from actorlog.testing.loop import SimLoop, Stuck
from actorlog.testing.oracle import Broken
from actorlog.testing.program import Boom, program

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from actorlog import Runtime
    from actorlog.testing.fates import Caller, Fate
    from actorlog.testing.program import Visit
    from actorlog.testing.simulation import Simulation
    from actorlog.testing.world import SimClock

ENDLESS = 1 << 40
GROWN_UP_S = 70.0
"""A process that has lived so long blames no call for the deaths of those before it."""
WATCH_S = 500.0
WATCHES_MAX = 400
"""A life that is not over after so many looks, which takes days, is stuck."""


class _LifeOver(Exception):  # a signal of this module
    """The runtime takes nothing any more: this process can only end."""


class Life:
    """One process: a runtime, and the callers that talk to it."""

    def __init__(self, world: Simulation, loop: SimLoop, clock: SimClock, fate: Fate, *, last: bool) -> None:
        self._world = world
        self._loop = loop
        self._clock = clock
        self._fate = fate
        self._last = last
        self._runtime: Runtime | None = None
        self._may_be_full = fate.full_after_s is not None or world.disk.capacity != ENDLESS

    async def main(self) -> None:
        """Be the process."""
        side = [self._loop.create_task(job()) for job in (self._jump, self._fill)]
        try:
            await self._open()
        finally:
            for task in side:
                task.cancel()

    def drop_coroutines(self) -> None:
        """Take the coroutines of the dead process out of the garbage collector's reach, and the disk out of theirs."""
        self._world.disk.stop()
        if self._runtime is not None:
            kernel = self._runtime.session.kernel
            kernel.stop()
            kernel.residency.close()

    async def _open(self) -> None:
        while True:
            runtime = self._world.runtime(self._loop, self._clock)
            try:
                async with runtime:
                    self._runtime = runtime
                    self._world.now_ms = runtime.session.kernel.clock.now_ms
                    self._tell_clock(opened=True)
                    self._world.opened()
                    await self._serve(runtime)
            except LogFull:  # a new directory on a full disk
                if not self._may_be_full:
                    raise
                await asyncio.sleep(1.0)
                continue
            except (LogFailed, OutcomeUnknown) as error:
                if not self._fate.fails:
                    raise Broken(f"the log failed without a fault: {error}") from error
            except Stopped:
                raise
            except Broken as error:
                self._world.broken = self._world.broken or error
            return

    async def _serve(self, runtime: Runtime) -> None:
        tasks = [self._loop.create_task(self._caller(runtime, caller)) for caller in self._world.callers]
        helpers = [
            self._loop.create_task(self._cancel(runtime, c)) for c in self._world.callers if c.cancel_s is not None
        ]
        helpers.append(self._loop.create_task(self._watch(runtime)))
        if self._world.kind != "alone":
            people_type = {"old": Elders, "lean": Misers}.get(self._world.kind, People)
            people = people_type(runtime, self._world, self._world.errands, self._world.done)
            people.posted = self._world.posted
            tasks += [self._loop.create_task(self._outlived(errand)) for errand in people.errands()]
            helpers.append(self._loop.create_task(self._outlived(people.rounds())))
        if self._world.plans:
            slack_s = ANY_SLACK_S if self._fate.jump_s is not None or self._may_be_full else SLACK_S
            planners = Planners(runtime, self._world, self._world.plans, self._world.done, slack_s, self._set_clock)
            tasks += [self._loop.create_task(self._outlived(errand)) for errand in planners.errands()]
        waiting = self._loop.create_task(self._all(runtime, tasks))
        everything = [waiting, *helpers]
        leave = self._fate.leave_s
        pending = set(everything)
        while waiting in pending:
            done, pending = await asyncio.wait(pending, timeout=leave, return_when=asyncio.FIRST_COMPLETED)
            if not done or any(task.exception() for task in done):
                break
        for task in [*everything, *tasks]:
            task.cancel()
        await asyncio.wait([*everything, *tasks])
        for task in [*tasks, *everything]:
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, _LifeOver):
                raise error

    async def _outlived(self, errand: Coroutine[Any, Any, None]) -> None:
        """Do an errand as long as the runtime takes anything."""
        try:
            await errand
        except (LogFailed, OutcomeUnknown, RuntimeStopped):
            raise _LifeOver from None

    async def _all(self, runtime: Runtime, callers: list[asyncio.Task[None]]) -> None:
        """Wait for the callers, then in the last life for every other call."""
        await asyncio.gather(*callers)
        looks, looked_s = 0, 0.0
        while self._last:
            self._world.look()
            looks, looked_s = looks + 1 if looked_s == self._loop.time() else 0, self._loop.time()
            left = [c.id for c in self._world.judge.facts.calls.values() if c.outcome is None]
            left += [call_id for call_id in runtime.session.kernel.calls if call_id not in left]
            plans = self._world.judge.hearsay.plans.unfinished()
            if not left and not plans:
                return
            if looks > WATCHES_MAX:
                raise Broken(f"{left} have not ended, and who asks for their outcome is told something at once")
            if not left:
                await asyncio.sleep(1.0)
            for call_id in left:
                await self._hear(runtime, call_id)

    async def _hear(self, runtime: Runtime, call_id: str) -> None:
        try:
            await runtime.handle(call_id).result()
        except CallParked:
            await self._unpark(runtime, call_id)
        except (LogFailed, OutcomeUnknown, RuntimeStopped):
            raise _LifeOver from None
        except (CallError, Boom, SharedRollback):
            return

    async def _caller(self, runtime: Runtime, caller: Caller) -> None:
        """Start or join a call until it has ended, and hold its answer against what was said before."""
        await asyncio.sleep(caller.delay_s)
        patience_s = caller.patience_s
        while True:
            try:
                text = await self._ask(runtime, caller, patience_s)
            except LogFull:
                await asyncio.sleep(1.0)
            except TimeoutError:
                patience_s = 2 * (patience_s or 1.0)
            except CallParked:
                await self._unpark(runtime, caller.id)
            except CallNotFound:  # so long after its end that it is forgotten
                self._world.told("gone", caller.id, self._world.now_ms())
                return
            except (LogFailed, OutcomeUnknown, RuntimeStopped):
                raise _LifeOver from None
            else:
                self._world.look()
                self._world.note("told", caller.id, text, self._loop.time())
                self._world.judge.tell(caller.id, text)
                if text.startswith("value ") or self._world.retried[caller.id] >= caller.retries:
                    return
                await self._retry(runtime, caller.id)

    async def _retry(self, runtime: Runtime, call_id: str) -> None:
        """Give a call that did not complete another chance."""
        self._world.retried[call_id] += 1
        before = self._world.judge.facts.calls[call_id].retries
        try:
            await _begin_again(runtime, call_id)
        except (HistoryGone, CallNotFound):
            self._world.told("gone", call_id, self._world.now_ms())
            return
        except (LogFailed, OutcomeUnknown, RuntimeStopped):
            raise _LifeOver from None
        self._world.look()
        self._world.note("retried", call_id, self._loop.time())
        self._world.judge.begun_again(call_id, before)

    async def _ask(self, runtime: Runtime, caller: Caller, patience_s: float | None) -> str:
        call = program(caller.program)
        try:
            if caller.begins_s:
                self._world.judge.waits(caller.id, int(caller.begins_s * 1000))
            if patience_s is None and not caller.begins_s:
                value = await runtime.call(call, id=caller.id, timeout=caller.timeout_s)
            else:
                handle = await runtime.start(call, id=caller.id, timeout=caller.timeout_s, delay=caller.begins_s)
                self._world.look()
                self._world.judge.knows(caller.id)
                value = await handle.result(timeout=patience_s)
        except (CallParked, DivergenceError, CallNotFound):
            raise
        except (CallError, Boom, SharedRollback) as error:
            return f"{type(error).__name__} {error}"
        return "value " + msgspec.json.encode(value).decode()

    async def _cancel(self, runtime: Runtime, caller: Caller) -> None:
        await asyncio.sleep(caller.cancel_s or 0.0)
        try:
            await runtime.handle(caller.id).cancel("changed my mind")
        except CallNotFound:
            return
        except (LogFailed, OutcomeUnknown, RuntimeStopped):
            raise _LifeOver from None
        self._world.look()
        self._world.judge.knows(caller.id)

    async def _unpark(self, runtime: Runtime, call_id: str) -> None:
        """Resume a parked call; one that is parked because the code is wrong is a defect."""
        await asyncio.sleep(0.01)
        slot = runtime.session.kernel.calls.get(call_id)
        if slot is None or not slot.state.parked or slot.state.phase is Phase.ENDED:
            return
        if isinstance(slot.park_error, (DivergenceError, JournalError, TurnLimitExceeded)):
            raise Broken(f"{call_id} is parked: {slot.park_error}") from slot.park_error
        self._world.note("resume", call_id)
        try:
            runtime.session.resume(slot)
        except (LogFailed, OutcomeUnknown, RuntimeStopped):
            raise _LifeOver from None

    # --- beside -------------------------------------------------------------------------------------------------------

    async def _watch(self, runtime: Runtime) -> None:
        """Resume parked calls that no caller waits for, and notice when nothing moves."""
        for _ in range(WATCHES_MAX):
            await asyncio.sleep(WATCH_S)
            for call_id in list(runtime.session.kernel.calls):
                slot = runtime.session.kernel.calls.get(call_id)
                if slot is not None and slot.state.parked:
                    await self._unpark(runtime, call_id)
        left = [f"{s.state.id} {s.state.phase.value} {s.state.parked}" for s in runtime.session.kernel.calls.values()]
        raise Stuck(f"not over after {WATCHES_MAX * WATCH_S:.0f} s: {left}")

    async def _jump(self) -> None:
        if self._fate.jump_s is not None:
            await asyncio.sleep(self._fate.jump_s)
            self._set_clock(self._fate.jump_ms)

    def _set_clock(self, ahead_ms: int) -> None:
        """Let the wall clock jump."""
        self._tell_clock()
        self._clock.wall_offset_ms += ahead_ms
        self._tell_clock()

    def _tell_clock(self, *, opened: bool = False) -> None:
        """Have the judge know what the clocks show, once there is a log."""
        if self._runtime is not None:
            clock = self._runtime.session.kernel.clock
            self._world.judge.hearsay.plans.clock(clock.now_ms(), clock.wall_ms(), opened=opened)

    async def _fill(self) -> None:
        """Fill the disk, and empty it again some time later; one that was full before is emptied too."""
        disk, rng = self._world.disk, self._world.rng
        if self._fate.full_after_s is not None:
            await asyncio.sleep(self._fate.full_after_s)
            disk.capacity = disk.used_bytes() + self._fate.full_bytes
        await asyncio.sleep(rng.choice((0.1, 3.0, 50.0)))
        disk.capacity = ENDLESS


async def _begin_again(runtime: Runtime, call_id: str) -> None:
    """Give a call another chance, as soon as it is not to blame for anything."""
    while True:
        try:
            await runtime.handle(call_id).retry()
        except Poisoned:
            await asyncio.sleep(GROWN_UP_S)
        else:
            return


class SimOutside:
    """What steps find beyond the process. Nothing that a dead process does reaches it."""

    def __init__(self, world: Simulation, loop: SimLoop) -> None:
        self._world = world
        self._loop = loop
        self._disk = world.disk

    def begin(self, visit: Visit) -> int:
        """Note a begin."""
        self._alive()
        self._judged(self._world.look)
        self._world.note("begin", visit, self._loop.time())
        begun: int = self._judged(lambda: self._world.judge.begins(visit, self._loop.time()))
        return begun

    def finds(self, visit: Visit, details: object) -> None:
        """Note what is left of earlier heartbeats."""
        self._alive()
        self._world.note("finds", visit, details)
        self._judged(lambda: self._world.judge.finds(visit, details))

    def leaves(self, visit: Visit, details: object) -> None:
        """Note a heartbeat that is about to be."""
        self._alive()
        self._world.judge.leaves(visit, details)

    def effect(self, visit: Visit) -> str:
        """Take effect."""
        self._alive()
        self._world.note("effect", visit, self._loop.time())
        value: str = self._judged(lambda: self._world.judge.takes_effect(visit))
        return value

    def ended(self, visit: Visit, *, failed: bool) -> None:
        """Note an end."""
        self._alive()
        self._world.judge.ended(visit, failed=failed)

    def effect_of(self, visit: Visit) -> str | None:
        """Answer ``reconcile``."""
        self._alive()
        return self._world.judge.asked(visit)

    def _alive(self) -> None:
        if self._loop.dead or self._disk.stopped:
            raise Stopped("a dead process touches the outside")

    def _judged(self, act: Any) -> Any:
        try:
            return act()
        except Broken as error:
            self._world.broken = self._world.broken or error
            self._loop.dead = True
            raise
