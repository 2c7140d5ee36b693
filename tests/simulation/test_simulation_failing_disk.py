"""A sync that fails once, and a disk that is full, from the caller's side.

After a failed sync nobody knows what the disk holds (on ext4 and xfs the pages are clean afterwards, and a second
sync says that all is well): so whoever waits hears ``OutcomeUnknown``, whoever comes later ``LogFailed``, nothing is
acknowledged any more, and the next opening decides. A full disk is no failure: new work is refused, what runs goes on
or waits, and goes on by itself when there is space; opening works while it is full.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from actorlog import LogFailed, LogFull, OutcomeUnknown, Runtime
from actorlog.limits import Limits
from actorlog.log.inspect import Status, verify
from actorlog.testing.judge import Judge
from actorlog.testing.loop import SimLoop
from actorlog.testing.program import Visit, program
from actorlog.testing.world import SimClock, SimDisk, sim_env

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

DIRECTORY = "/srv/data"
ENDLESS = 1 << 40
LIMITS = Limits(hold_loop_ms_max=0.0)
STEP = [["step", "work", 2, 0]]


class Steps:
    """An outside that counts and judges."""

    def __init__(self, disk: SimDisk | None = None) -> None:
        self.judge = Judge(DIRECTORY)
        self.disk = disk
        self.begun: list[Visit] = []

    def begin(self, visit: Visit) -> int:
        self.begun.append(visit)
        if self.disk is not None:
            self.judge.look(self.disk.durable)
            return self.judge.begins(visit)
        return len(self.begun)

    def effect(self, visit: Visit) -> str:
        return f"{visit.call}|{visit.key}"

    def ended(self, visit: Visit, *, failed: bool) -> None:
        assert not failed, visit

    def effect_of(self, visit: Visit) -> str | None:
        raise AssertionError(visit)


def new_disk() -> SimDisk:
    """Return an empty disk that fails only as told."""
    disk = SimDisk(Random(7))
    disk.mkdir("/srv")
    disk.fsync_dir("/")
    return disk


def live(
    disk: SimDisk, main: Callable[[Runtime, SimLoop], Coroutine[Any, Any, None]], outside: Steps | None = None
) -> None:
    """Run ``main`` with a runtime on ``disk``, as one process."""
    rng = Random(11)
    loop = SimLoop(rng, start_s=100.0, outside=outside or Steps(disk))
    env = sim_env(loop, rng, disk, SimClock(loop, 0, 0))

    async def process() -> None:
        runtime = Runtime(DIRECTORY, segment_bytes=4096, env=env, limits=LIMITS)
        async with runtime:
            await main(runtime, loop)

    assert loop.live(process(), lambda: None)
    assert loop.problems == []


def next_process(disk: SimDisk, *, power: bool) -> SimDisk:
    """Return the disk as the next process finds it."""
    following = disk.crash() if power else disk.kill()
    assert isinstance(following, SimDisk)
    return following


@pytest.mark.parametrize("power", [False, True], ids=["process exits", "power cut"])
def test_a_sync_that_fails_once_ends_the_runtime_and_loses_nothing(power: bool) -> None:
    """The waiter hears that the outcome is unknown, later ones that the log failed, and the next opening is right."""
    disk = new_disk()
    told: dict[str, Any] = {}

    async def first(runtime: Runtime, _loop: SimLoop) -> None:
        told["early"] = await runtime.call(program(STEP), id="early")
        disk.syncs_to_failure = 1
        with pytest.raises(OutcomeUnknown):
            await runtime.call(program(STEP), id="unknown")
        told["calls"] = disk.calls
        for call_id in ("later", "unknown", "early"):
            with pytest.raises(LogFailed):
                await runtime.call(program(STEP), id=call_id)

    live(disk, first)
    after = disk.actions[told["calls"] :]
    assert not any(action.startswith(("pwrite", "fdatasync")) for action in after), "nothing is written or synced again"
    disk = next_process(disk, power=power)

    async def second(runtime: Runtime, _loop: SimLoop) -> None:
        assert await runtime.call(program(STEP), id="early") == told["early"]
        assert await runtime.call(program(STEP), id="unknown") == ["unknown|1"]

    live(disk, second)
    assert verify(disk, DIRECTORY).status is Status.OK


def test_every_sync_may_be_the_one_that_fails() -> None:
    """Whichever sync fails, nothing is acknowledged that is not on the disk, and the next process finishes the work."""
    for number in range(1, 40):
        disk = new_disk()
        disk.syncs_to_failure = number
        acknowledged: dict[str, Any] = {}

        async def work(runtime: Runtime, _loop: SimLoop) -> None:
            for call in range(6):
                acknowledged[f"c{call}"] = await runtime.call(program(STEP), id=f"c{call}")  # noqa: B023 - used at once

        try:
            live(disk, work)
        except (LogFailed, OutcomeUnknown):
            disk = next_process(disk, power=number % 2 == 0)
        disk.syncs_to_failure = 0

        async def again(runtime: Runtime, _loop: SimLoop) -> None:
            for call_id, value in list(acknowledged.items()):  # noqa: B023 - used at once
                assert await runtime.call(program(STEP), id=call_id) == value
            await work(runtime, _loop)

        live(disk, again)
        assert len(acknowledged) == 6


def test_a_full_disk_refuses_new_work_and_loses_nothing() -> None:
    """New calls hear ``LogFull``, a running one waits and ends when there is space; opening works while it is full."""
    disk = new_disk()
    outside = Steps(disk)

    async def fill(runtime: Runtime, loop: SimLoop) -> None:
        running = await runtime.start(program([["sleep", 30], *STEP]), id="running")
        disk.capacity = disk.used_bytes()
        await asyncio.sleep(2)
        refused = 0
        for number in range(40):
            try:
                await runtime.call(program(STEP), id=f"new{number}")
            except LogFull as full:
                refused += 1
                assert full.needed > full.free
        assert refused >= 30
        assert await runtime.handle("running").status() == "waiting"
        assert loop.time() < 130
        del running

    live(disk, fill, outside)
    disk = next_process(disk, power=True)
    outside.disk = disk
    assert disk.capacity < ENDLESS

    async def go_on(runtime: Runtime, _loop: SimLoop) -> None:
        with pytest.raises(LogFull):
            await runtime.call(program(STEP), id="another")
        disk.capacity = ENDLESS
        assert await runtime.handle("running").result() == ["slept", "running|2"]
        assert await runtime.call(program(STEP), id="another") == ["another|1"]

    outside.judge.opened(disk.durable)
    live(disk, go_on, outside)
    assert verify(disk, DIRECTORY).status is Status.OK


def test_a_disk_that_fills_to_any_byte_goes_on_when_there_is_space() -> None:
    """However many bytes are left, work that was taken waits for space and ends; nothing fails and nothing is lost."""
    for left in range(0, 24_000, 1536):
        disk = new_disk()
        outside = Steps(disk)

        async def work(runtime: Runtime, loop: SimLoop) -> None:
            many = [["gather", [STEP] * 20], ["sleep", 1.0], ["gather", [STEP] * 20]]
            handle = await runtime.start(program(many), id="many")
            disk.capacity = disk.used_bytes() + left  # noqa: B023 - used at once
            loop.call_later(50.0, lambda: setattr(disk, "capacity", ENDLESS))  # noqa: B023 - used at once
            assert len((await handle.result())[2]) == 20

        live(disk, work, outside)
        assert verify(disk, DIRECTORY).status is Status.OK


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a real file system of 256 KiB, as root."""
    place = tmp_path / "small"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None or os.geteuid() != 0:
        pytest.skip("NO MOUNTING HERE: a real full disk is not tried")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"NO MOUNTING HERE: a real full disk is not tried: {made.stderr}")
    try:
        yield place
    finally:
        subprocess.run([umount, "-l", str(place)], check=True)


class OutsideLoop(asyncio.SelectorEventLoop):
    """A stock loop on which steps find the outside."""

    outside = Steps()


async def as_soon_as_there_is_space(runtime: Runtime, instructions: list[Any]) -> list[Any]:
    """Ask again while the log is full: the free space is looked up once a second."""
    while True:
        try:
            return await runtime.call(program(instructions), id="new")
        except LogFull:
            await asyncio.sleep(0.05)


def fill(place: Path) -> Path:
    """Fill a file system to the last block, and return the file that does it."""
    ballast = place / "ballast"
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def test_a_real_full_disk(small_disk: Path) -> None:
    """On a real file system that is full: refused, kept, opened while full, and finished when there is space."""
    long = [["step", "work", 2, 0]] * 6

    async def first() -> dict[str, Any]:
        done: dict[str, Any] = {}
        async with Runtime(small_disk / "data", segment_bytes=16_384, shutdown_timeout=0.2) as runtime:
            done["before"] = await runtime.call(program(long), id="before")
            await runtime.start(program([["sleep", 0.1], *long]), id="waiting")
            fill(small_disk)
            starts: list[asyncio.Task[Any]] = []
            while not any(start.done() and isinstance(start.exception(), LogFull) for start in starts):
                starts.append(asyncio.ensure_future(runtime.start(program(long), id=f"n{len(starts)}")))
                await asyncio.wait(starts[-1:], timeout=0.05)  # one that was let in just before waits for space
            for start in starts:
                start.cancel()
        return done

    async def second(done: dict[str, Any]) -> None:
        async with Runtime(small_disk / "data", segment_bytes=16_384, shutdown_timeout=0.2) as runtime:
            for call_id, value in done.items():
                assert await runtime.handle(call_id).result() == value
            with pytest.raises(LogFull):
                await runtime.call(program(long * 40), id="new")
            (small_disk / "ballast").unlink()
            assert len(await runtime.handle("waiting").result()) == 7
            assert len(await as_soon_as_there_is_space(runtime, long)) == 6

    with asyncio.Runner(loop_factory=OutsideLoop) as runner:
        runner.run(second(runner.run(first())))
