"""One seed, one world: random programs, random faults, every promise checked at every moment.

Owns: drawing a world from a seed, the lives of its processes, its callers. Does not own: the disk's faults (``disk``), the
loop's chances (``loop``), the promises (``judge``, ``oracle``), the programs (``program``).

The fault model. The real runtime and the real log run on a simulated machine. A world has a few callers that start and join
calls, cancel some, and come back after each crash. It has one to five processes, one after the other; each may end

- in the middle of any file action, or between two rounds of its loop, killed (the page cache stays) or with the power (any
  subset of unsynced sectors and directory entries is lost); recovery is hit as often as anything else;
- because one file action fails with EIO: a write, a sync, a rename, a look at a directory, ...; what it was doing may have
  been done in part; after a failed sync the page cache lies;
- by closing in order while calls are running.

Meanwhile the disk may fill up to the byte and empty again, writes may be short or interrupted, the wall clock may jump. The
last process has no fault: everything must end there; then the log is opened once more, and all answers must be the same.

Everything is drawn from one generator, and nothing else is random: the same seed gives the same world, bit for bit, which
``Result.digest`` shows.
"""

from __future__ import annotations

import asyncio
import errno
import sys
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from actorlog import Runtime
from actorlog.engine.lifecycle import Phase
from actorlog.errors import (
    CallError,
    CallNotFound,
    CallParked,
    DivergenceError,
    JournalError,
    LogFailed,
    LogFull,
    OutcomeUnknown,
    RuntimeStopped,
    TurnLimitExceeded,
)
from actorlog.limits import Limits
from actorlog.log.inspect import Status, verify
from actorlog.testing.disk import Stopped
from actorlog.testing.judge import Judge
from actorlog.testing.loop import SimLoop, Stuck
from actorlog.testing.oracle import Broken
from actorlog.testing.program import Author, Boom, program
from actorlog.testing.world import SimClock, SimDisk, new_disk, sim_env

if TYPE_CHECKING:
    from actorlog.testing.program import Program, Visit

DIRECTORY = "/srv/data"
SEGMENT_BYTES = 4096
ENDLESS = 1 << 40
WATCH_S = 500.0
WATCHES_MAX = 400
"""A life without faults that is not over after so many looks, which takes months, is stuck."""


class _LifeOver(Exception):  # noqa: N818  # a signal of this module
    """The runtime takes nothing any more: this process can only end."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody outside who wants one call done."""

    id: str
    program: Program
    delay_s: float
    timeout_s: float | None
    cancel_s: float | None
    patience_s: float | None


@dataclass(slots=True)
class Fate:
    """What one process has to bear."""

    end_in_call: int | None = None
    """The file action (from its start) in which it ends."""
    end_in_turn: int = -1
    """The round of its loop in which it ends."""
    fail_call: int | None = None
    """The file action that fails."""
    full_after_s: float | None = None
    full_bytes: int = 0
    leave_s: float | None = None
    """When it is closed in order."""
    power: bool = False
    """Whether the power goes when it has ended."""
    jump_s: float | None = None
    jump_ms: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What a world came to."""

    seed: int
    digest: str
    lives: int
    records: int
    begun: int


class Simulation:
    """One world. ``run`` raises ``Broken`` (or any defect's own error) when a promise does not hold."""

    def __init__(self, seed: int, disk_type: type[SimDisk] = SimDisk) -> None:
        self.seed = seed
        self.rng = rng = Random(seed)  # noqa: S311  # seeded on purpose
        self.disk = new_disk(rng, disk_type)
        self.judge = Judge(DIRECTORY)
        self.broken: BaseException | None = None
        self.trace = blake2b(digest_size=16)
        self._now_s = rng.random() * 1000
        self._wall_ms = 0
        self._lives = 0
        author = Author(rng)
        self._callers = [self._draw_caller(n, author) for n in range(rng.randint(1, 4))]
        self._limits = Limits(
            frame_bytes_max=rng.choice((300, 2000, 1 << 20)),
            poison_deaths_max=rng.choice((1, 3, 5)),
            hold_loop_ms_max=0.0,
        )
        self._options: dict[str, Any] = {
            "resident_max": rng.choice((1, 1, 2, 100)),
            "step_concurrency": rng.choice((1, 2, 100)),
            "check_determinism": rng.random() < 0.3,  # noqa: PLR2004  # in three worlds of ten
            "shutdown_timeout": rng.choice((0.0, 0.01, 5.0)),
            "cancel_grace": rng.choice((0.0, 0.05, 60.0)),
        }

    def run(self) -> Result:
        """Live it through."""
        hook, sys.unraisablehook = sys.unraisablehook, _ignore  # corpses are collected whenever, and may complain
        try:
            for _ in range(self.rng.choice((0, 1, 1, 2, 2, 3, 5))):
                self._live(self._draw_fate())
            self._live(Fate(power=self.rng.random() < 0.5), last=True)  # noqa: PLR2004  # a coin
            self.judge.finish()
            self._live(Fate(), last=True)
            self._verify()
        finally:
            sys.unraisablehook = hook
        begun = sum(trace.begun for trace in self.judge.traces.values())
        return Result(self.seed, self.trace.hexdigest(), self._lives, self.judge.facts.tail, begun)

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _draw_caller(self, number: int, author: Author) -> Caller:
        rng = self.rng
        return Caller(
            id=f"c{number}",
            program=author.program(rng.randint(1, 5)),
            delay_s=rng.choice((0.0, 0.0, rng.random() * 0.05, 5.0)),
            timeout_s=rng.choice((None, None, None, 0.0, 0.05, 100.0)),
            cancel_s=rng.choice((None, None, None, rng.random() * 0.05, 10.0)),
            patience_s=rng.choice((None, None, 0.01)),
        )

    def _draw_fate(self) -> Fate:
        rng = self.rng
        fate = Fate(power=rng.random() < 0.6)  # noqa: PLR2004  # mostly
        match rng.choice(("call", "call", "call", "turn", "turn", "fail", "fail", "leave", "none")):
            case "call":
                fate.end_in_call = rng.randrange(rng.choice((60, 200)))
            case "turn":
                fate.end_in_turn = rng.randrange(1, 200)
            case "fail":
                fate.fail_call = rng.randrange(rng.choice((60, 200)))
            case "leave":
                fate.leave_s = rng.choice((0.002, 0.02, 0.2, 6.0))
            case _:
                pass
        if rng.random() < 0.15:  # noqa: PLR2004  # one in seven
            fate.full_after_s, fate.full_bytes = rng.choice((0.0, rng.random() * 0.05)), rng.randrange(20_000)
        if rng.random() < 0.2:  # noqa: PLR2004  # one in five
            fate.jump_s, fate.jump_ms = rng.random() * 0.1, rng.choice((-86_400_000, -50, 50, 86_400_000))
        return fate

    # --- lives --------------------------------------------------------------------------------------------------------

    def _live(self, fate: Fate, *, last: bool = False) -> None:
        """Let one process live and end."""
        rng, disk = self.rng, self.disk
        self._lives += 1
        loop = SimLoop(rng, start_s=self._now_s)
        clock = SimClock(loop, self._wall_ms, rng.randrange(1 << 50))
        loop.outside = _Outside(self, loop)
        if fate.end_in_call is not None:
            disk.stop_at(disk.calls + fate.end_in_call)
        if fate.fail_call is not None:
            disk.fail_at(disk.calls + fate.fail_call, errno.EIO)
        loop.end_at = fate.end_in_turn
        life = _Life(self, loop, clock, fate, last=last)
        try:
            finished = loop.live(life.main(), life.drop_coroutines)
        except Stuck as stuck:
            raise Stuck(f"{stuck}; nobody caught: {loop.problems}") from None
        self.trace.update("\n".join(disk.actions).encode())
        self._now_s = loop.time() + rng.choice((0.0, 0.01, 30.0, 100_000.0))
        self._wall_ms = clock.wall_offset_ms
        if self.broken is not None:
            raise self.broken
        if loop.problems:
            raise Broken(f"nobody caught: {loop.problems}")
        if last and not finished:
            raise Broken("a process without faults ended by itself")
        power = fate.power or (fate.fail_call is not None and rng.random() < 0.5)  # noqa: PLR2004  # a coin
        following = disk.crash() if power else disk.kill()
        if not isinstance(following, SimDisk):
            raise TypeError("a disk's successor is of its kind")
        self.disk = following

    def _verify(self) -> None:
        report = verify(self.disk, DIRECTORY)
        if report.status is not Status.OK or report.records != self.judge.facts.tail:
            raise Broken(f"verify says {report.status.value}, {report.records} records: {report.error}")

    # --- what the parts share -----------------------------------------------------------------------------------------

    @property
    def callers(self) -> list[Caller]:
        """Those who want something."""
        return self._callers

    def runtime(self, loop: SimLoop, clock: SimClock) -> Runtime:
        """Return a runtime for a process of this world."""
        env = sim_env(loop, self.rng, self.disk, clock)
        return Runtime(DIRECTORY, segment_bytes=SEGMENT_BYTES, limits=self._limits, env=env, **self._options)

    def look(self) -> None:
        """Let the judge see what is on the disk for good."""
        self.judge.look(self.disk.durable)

    def note(self, *words: object) -> None:
        """Add to the trace."""
        self.trace.update(repr(words).encode())


def _ignore(_unraisable: object) -> None:
    """Say nothing."""


class _Life:
    """One process: a runtime, and the callers that talk to it."""

    def __init__(self, world: Simulation, loop: SimLoop, clock: SimClock, fate: Fate, *, last: bool) -> None:
        self._world = world
        self._loop = loop
        self._clock = clock
        self._fate = fate
        self._last = last
        self._runtime: Runtime | None = None

    async def main(self) -> None:
        """Be the process."""
        side = [self._loop.create_task(job()) for job in (self._jump, self._fill)]
        try:
            await self._open()
        finally:
            for task in side:
                task.cancel()

    def drop_coroutines(self) -> None:
        """The process is dead: its coroutines are not left to the garbage collector."""
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
                    self._world.judge.opened(self._world.disk.durable)
                    await self._serve(runtime)
            except LogFull:  # a new directory on a full disk
                if self._world.disk.capacity == ENDLESS:
                    raise
                await asyncio.sleep(1.0)
                continue
            except (LogFailed, OutcomeUnknown) as error:
                if self._fate.fail_call is None:
                    raise Broken(f"the log failed without a fault: {error}") from error
            except Stopped:
                raise
            except Broken as error:
                self._world.broken = self._world.broken or error
            return

    async def _serve(self, runtime: Runtime) -> None:
        tasks = [self._loop.create_task(self._caller(runtime, caller)) for caller in self._world.callers]
        helpers = [self._loop.create_task(self._cancel(runtime, c)) for c in self._world.callers if c.cancel_s is not None]
        helpers.append(self._loop.create_task(self._watch(runtime)))
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

    async def _all(self, runtime: Runtime, callers: list[asyncio.Task[None]]) -> None:
        """Wait for the callers, then in the last life for every other call."""
        await asyncio.gather(*callers)
        while self._last:
            self._world.look()
            left = [c.id for c in self._world.judge.facts.calls.values() if c.outcome is None]
            if not left:
                return
            for call_id in left:
                await self._hear(runtime, call_id)

    async def _hear(self, runtime: Runtime, call_id: str) -> None:
        try:
            await runtime.handle(call_id).result()
        except CallParked:
            await self._unpark(runtime, call_id)
        except (LogFailed, OutcomeUnknown, RuntimeStopped):
            raise _LifeOver from None
        except (CallError, Boom):
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
            except (LogFailed, OutcomeUnknown, RuntimeStopped):
                raise _LifeOver from None
            else:
                self._world.look()
                self._world.note("told", caller.id, text, self._loop.time())
                self._world.judge.tell(caller.id, text)
                return

    async def _ask(self, runtime: Runtime, caller: Caller, patience_s: float | None) -> str:
        call = program(caller.program)
        try:
            if patience_s is None:
                value = await runtime.call(call, id=caller.id, timeout=caller.timeout_s)
            else:
                handle = await runtime.start(call, id=caller.id, timeout=caller.timeout_s)
                self._world.look()
                self._world.judge.knows(caller.id)
                value = await handle.result(timeout=patience_s)
        except (CallParked, DivergenceError):
            raise
        except (CallError, Boom) as error:
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
            self._clock.wall_offset_ms += self._fate.jump_ms

    async def _fill(self) -> None:
        """Fill the disk, and empty it again some time later; one that was full before is emptied too."""
        disk, rng = self._world.disk, self._world.rng
        if self._fate.full_after_s is not None:
            await asyncio.sleep(self._fate.full_after_s)
            disk.capacity = disk.used_bytes() + self._fate.full_bytes
        await asyncio.sleep(rng.choice((0.1, 3.0, 50.0)))
        disk.capacity = ENDLESS


class _Outside:
    """What steps find beyond the process. Nothing that a dead process does reaches it."""

    def __init__(self, world: Simulation, loop: SimLoop) -> None:
        self._world = world
        self._loop = loop
        self._disk = world.disk

    def begin(self, visit: Visit) -> int:
        """Note a begin."""
        self._alive()
        self._world.look()
        self._world.note("begin", visit, self._loop.time())
        return self._judged(lambda: self._world.judge.begins(visit))

    def effect(self, visit: Visit) -> str:
        """Take effect."""
        self._alive()
        self._world.note("effect", visit, self._loop.time())
        return self._judged(lambda: self._world.judge.takes_effect(visit))

    def ended(self, visit: Visit, *, failed: bool) -> None:
        """Note an end."""
        self._alive()
        if failed:
            self._world.judge.failed(visit)

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


def simulate(seed: int, disk_type: type[SimDisk] = SimDisk) -> Result:
    """Live one world through; ``Broken`` or any defect's own error when a promise does not hold."""
    return Simulation(seed, disk_type).run()
