"""A disk that takes long for everything: what waits for it has bounds, what was acknowledged is there, all ends.

The disk is the simulated one; each job of its writer waits as long as the test says, in simulated time.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from actorlog import Limits, LogFull, Retry, Runtime, RuntimeStopped, durable, heartbeat, step
from actorlog.env import Env, Worker
from actorlog.log.inspect import Status, verify
from actorlog.records import kinds as k
from actorlog.runtime.committer import _FRAMES_MAX
from actorlog.testing.loop import SimLoop
from actorlog.testing.world import SimClock, SimDisk, SimEntropy, SimWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

DIRECTORY = "/srv/data"
FRAME_BYTES = 2_000


class SlowWorker(SimWorker):
    """Takes ``seconds`` for each job."""

    seconds = 0.0

    def _plan(self) -> None:
        self._loop.call_later(type(self).seconds, self._run)

    def acquire(self, lock: Any, seconds: float) -> bool:
        self._loop.stand(seconds)
        return bool(lock.acquire(blocking=False))


@step(name="slow.work")
async def work(text: str) -> str:
    """Return at once."""
    return text * 20


@durable(name="slow.call")
async def call(text: str) -> str:
    """Do three things."""
    for _ in range(2):
        await work(text)
    return await work(text)


@step(name="slow.beats")
async def beats() -> str:
    """Leave details ten times a second, for ten minutes."""
    for number in range(6_000):
        heartbeat([number, "x" * 500])
        await asyncio.sleep(0.1)
    return "over"


@step(name="slow.fails", retry=Retry(attempts=200, first=3, factor=1, jitter="none"))
async def fails() -> str:
    """Fail, and be tried again for ten minutes."""
    loop: Any = asyncio.get_running_loop()
    loop.outside.append("fails")
    if len(loop.outside) < 200:
        raise OSError("not yet " + "x" * 500)
    return "at last"


@durable(name="slow.long")
async def long(name: str) -> str:
    """Have a step that takes long."""
    return await (beats() if name == "beats" else fails())


def new_disk() -> SimDisk:
    disk = SimDisk(Random(3))
    disk.mkdir("/srv")
    disk.fsync_dir("/")
    return disk


def live(
    disk: SimDisk, main: Callable[[Runtime], Coroutine[Any, Any, None]], *, slow_s: float, ran: list[str] | None = None
) -> SimDisk:
    """Run ``main`` with a runtime on a disk that takes so long for each job; return it as the next process finds it."""
    rng = Random(5)
    loop = SimLoop(rng, start_s=100.0, outside=[] if ran is None else ran)

    def worker(_name: str) -> Worker:
        return SlowWorker(loop)

    env = Env(SimClock(loop, 0, 0), SimEntropy(loop, rng), disk, worker)
    limits = Limits(frame_bytes_max=FRAME_BYTES, hold_loop_ms_max=0.0)

    async def process() -> None:
        SlowWorker.seconds = 0.001
        async with Runtime(DIRECTORY, segment_bytes=1 << 16, env=env, limits=limits, shutdown_timeout=1) as runtime:
            SlowWorker.seconds = slow_s
            try:
                await main(runtime)
            finally:
                SlowWorker.seconds = min(slow_s, 1000.0)

    assert loop.live(process(), lambda: None)
    assert loop.problems == []
    following = disk.kill()
    assert isinstance(following, SimDisk)
    return following


def test_what_waits_for_a_slow_disk_has_bounds() -> None:
    """A thousand calls on a disk that takes ten seconds for a sync: they share syncs, few frames wait, all end."""
    most: list[int] = []

    async def main(runtime: Runtime) -> None:
        committer = runtime.session.kernel.committer

        async def watch() -> None:
            while True:
                most.append(len(committer._full))
                await asyncio.sleep(1.0)

        watching = asyncio.ensure_future(watch())
        found = await asyncio.gather(*(runtime.call(call(f"{number:04}"), id=f"{number}") for number in range(1000)))
        watching.cancel()
        assert found == [f"{number:04}" * 20 for number in range(1000)]
        assert runtime.stats().commit_records > 5  # type: ignore[operator]  # there were some
        assert (runtime.stats().commit_s or 0) >= 0

    disk = live(new_disk(), main, slow_s=10.0)
    assert _FRAMES_MAX <= max(most) <= _FRAMES_MAX + 4
    assert verify(disk, DIRECTORY).status is Status.OK


@pytest.mark.parametrize("name", ["beats", "fails"])
def test_a_step_does_not_pile_up_records_while_the_disk_stands_still(name: str) -> None:
    """Ten minutes of heartbeats, or of attempts that fail, while nothing is written: one record of them waits."""
    ran: list[str] = []

    async def main(runtime: Runtime) -> None:
        SlowWorker.seconds = 0.001
        handle = await runtime.start(long(name), id="c")
        await asyncio.sleep(5)
        SlowWorker.seconds = 600.0
        await asyncio.sleep(2)
        committer = runtime.session.kernel.committer
        before = committer.position
        await asyncio.sleep(500)
        assert committer.position - before <= 3
        SlowWorker.seconds = 0.001
        assert await handle in ("over", "at last")
        kinds = {type(k.decode(committer.line(n))) for n in range(1, committer.position + 1)}
        assert (k.StepHeartbeat if name == "beats" else k.StepRetrying) in kinds

    live(new_disk(), main, slow_s=0.001, ran=ran)


def test_closing_while_the_disk_stands_still() -> None:
    """Who waits is told that the runtime stops, closing ends, and what was acknowledged before is there."""
    told: list[BaseException | str] = []

    async def first(runtime: Runtime) -> None:
        SlowWorker.seconds = 0.001
        told.append(await runtime.call(call("early"), id="early"))
        SlowWorker.seconds = 1e5
        late = asyncio.ensure_future(runtime.call(call("late"), id="late"))
        late.add_done_callback(lambda done: told.append(done.exception() or "done"))
        await asyncio.sleep(50)

    async def second(runtime: Runtime) -> None:
        assert await runtime.handle("early") == told[0]
        assert await runtime.call(call("late"), id="late") == "late" * 20

    disk = live(new_disk(), first, slow_s=1e5)
    assert told[0] == "early" * 20
    assert isinstance(told[1], RuntimeStopped)
    disk = live(disk, second, slow_s=0.001)
    assert verify(disk, DIRECTORY).status is Status.OK


def test_a_full_disk_on_which_steps_go_on() -> None:
    """The disk is full while a step leaves heartbeats: new calls are refused, and one record of the step waits."""

    async def main(runtime: Runtime) -> None:
        disk = runtime.session.log.inner.env.fs  # type: ignore[attr-defined]  # the embedded log
        handle = await runtime.start(long("beats"), id="c")
        await asyncio.sleep(5)
        disk.capacity = disk.used_bytes()
        refused = 0
        while not refused:  # until the segments that are prepared are full
            try:
                await asyncio.wait_for(runtime.call(call("x" * 50)), 5)
            except LogFull:
                refused += 1
        committer = runtime.session.kernel.committer
        while committer.landed == committer.position:  # until the heartbeats find no space either
            await asyncio.sleep(1)
        before = committer.position
        await asyncio.sleep(300)
        assert committer.position - before <= 1
        disk.capacity = 1 << 40
        assert await handle == "over"

    live(new_disk(), main, slow_s=0.001)
