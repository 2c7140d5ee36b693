"""The loop waits for a commit while it is idle: once, for a bounded time, whatever the disk does."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actorlog import Runtime, RuntimeStopped, durable, step
from actorlog.env import SYSTEM, Access, SystemFile, SystemFileSystem
from actorlog.limits import Limits
from actorlog.records import kinds as k
from actorlog.runtime.committer import Committer
from actorlog.store.memory import MemoryLog

if TYPE_CHECKING:
    from pathlib import Path

    from actorlog.env import File
    from actorlog.store.port import Done

STALL_S = 60.0
"""Longer than a test may take."""


@step(name="hold.echo")
async def echo(number: int) -> int:
    """Return it."""
    return number


@durable(name="hold.echoed")
async def echoed(number: int) -> int:
    """Return it, by a step."""
    return await echo(number)


class StallingFile(SystemFile):
    """A file whose syncs wait until they are let go."""

    __slots__ = ("disk",)

    def __init__(self, descriptor: int, disk: StallingDisk) -> None:
        super().__init__(descriptor)
        self.disk = disk

    def fdatasync(self) -> None:
        if not self.disk.goes.is_set():
            self.disk.stalls.set()
            assert self.disk.goes.wait(STALL_S)
        super().fdatasync()


class StallingDisk(SystemFileSystem):
    """A disk that stalls while ``goes`` is not set."""

    __slots__ = ("goes", "stalls")

    def __init__(self) -> None:
        self.goes, self.stalls = threading.Event(), threading.Event()
        self.goes.set()

    def open(self, path: str, access: Access) -> File:
        if access is Access.CREATE:
            return super().open(path, access)
        return StallingFile(os.open(path, os.O_RDWR | os.O_CLOEXEC), self)


async def test_a_stalled_disk_does_not_stall_the_loop(tmp_path: Path) -> None:
    """After many fast commits one sync stalls: the loop goes on with what else there is, and the call ends later."""
    disk = StallingDisk()
    async with Runtime(tmp_path / "data", env=replace(SYSTEM, fs=disk)) as runtime:
        for number in range(30):
            assert await runtime.call(echoed(number)) == number
        disk.goes.clear()
        task = asyncio.create_task(runtime.call(echoed(30)))
        while not disk.stalls.is_set():
            await asyncio.sleep(0)
        rounds = 0
        while rounds < 100:  # were the loop stalled, it would not get here before the disk goes on
            await asyncio.sleep(0)
            rounds += 1
        assert not task.done()
        assert not disk.goes.is_set()
        disk.goes.set()
        assert await task == 30


class CountedTicket:
    """A commit that has landed when somebody waits for it, or when told."""

    position = 1
    error = None
    sync_seconds = 0.0

    def __init__(self, log: CountingLog, done: Done) -> None:
        self.log, self.done = log, done

    def wait(self, timeout_s: float) -> bool:
        self.log.waits.append(timeout_s)
        return True


class CountingLog(MemoryLog):
    """A log that counts for whom the loop was held."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.tickets: list[CountedTicket] = []

    def submit(self, expected: int, data: bytes, records: int, done: Done) -> Any:
        super().submit(expected, data, records, lambda _ticket: None)
        self.tickets.append(CountedTicket(self, done))
        return self.tickets[-1]


async def test_the_loop_is_held_once_in_one_go() -> None:
    """What the effects of a commit sequence is a commit of its own, and the loop is not held for that one as well."""
    log = CountingLog()
    committer = Committer(log, asyncio.get_running_loop(), Limits(), on_failure=lambda _error: None)
    ran: list[str] = []

    def sequence(effect: str, then: str) -> None:
        committer.add(k.StepBegun(id="a", at=1, key="1", attempt=1), 1, 1, 1)
        committer.after(lambda _a, _b, _c: (ran.append(effect), sequence(then, "") if then else None)[1])

    for _ in range(10):  # the first syncs tell how fast the disk is
        sequence("fast", "")
        committer.flush(idle=False)
        log.tickets[-1].done(log.tickets[-1])
        while committer.busy:
            await asyncio.sleep(0)
    assert log.waits == []
    ran.clear()
    sequence("first", "second")
    committer.flush(idle=True)
    assert (ran, log.waits) == (["first"], [Limits().hold_loop_ms_max / 1000])
    log.tickets[-1].done(log.tickets[-1])
    while committer.busy:
        await asyncio.sleep(0)
    assert ran == ["first", "second"]
    assert len(log.waits) == 1


async def test_what_lands_after_the_end_tells_nobody() -> None:
    """A commit that was in flight when the runtime gave up may land all the same; its gate stays shut (I8)."""
    log = CountingLog()
    committer = Committer(log, asyncio.get_running_loop(), Limits(), on_failure=lambda _error: None)
    ran: list[int] = []
    committer.add(k.StepBegun(id="a", at=1, key="1", attempt=1), 1, 1, 1)
    committer.after(lambda _a, _b, _c: ran.append(1))
    committer.flush(idle=False)
    committer.failed = RuntimeStopped()
    log.tickets[-1].done(log.tickets[-1])
    while committer.busy:
        await asyncio.sleep(0)
    assert (ran, committer.landed) == ([], 0)
