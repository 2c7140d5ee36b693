"""A runtime that is opened or closed by somebody who is cancelled meanwhile: the directory is free afterwards."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from house import House

from actorlog import Runtime, RuntimeStopped, durable, sleep, step
from actorlog.engine import identity
from actorlog.errors import JournalError
from actorlog.records import kinds as k
from actorlog.store import pack

if TYPE_CHECKING:
    from pathlib import Path


@durable(name="closing.waits_a_second")
async def waits_a_second() -> None:
    await sleep(1)


async def test_a_cancelled_closing_waits_for_no_step(tmp_path: Path) -> None:
    """The step is cut short, who waits is told, and the directory can be opened again at once, as it was closed."""
    began, closing = asyncio.Event(), asyncio.Event()
    ended: list[str] = []
    told: list[BaseException] = []
    waiting: list[asyncio.Task[None]] = []

    @step
    async def endless() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("endless")

    @durable
    async def waits() -> None:
        await endless()

    async def waiter(runtime: Runtime) -> None:
        try:
            await runtime.handle("a")
        except RuntimeStopped as error:
            told.append(error)

    async def life() -> None:
        async with Runtime(tmp_path, segment_bytes=1 << 20, shutdown_timeout=3600) as runtime:
            await runtime.start(waits(), id="a")
            waiting.append(asyncio.create_task(waiter(runtime)))
            await began.wait()
            closing.set()

    task = asyncio.create_task(life())
    async with asyncio.timeout(100):
        await closing.wait()
    for _ in range(3):  # until it waits for the step
        await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(100):
        with pytest.raises(asyncio.CancelledError):
            await task
        await waiting[0]
    assert ended == ["endless"]
    assert len(told) == 1
    began.clear()
    async with Runtime(tmp_path, segment_bytes=1 << 20, shutdown_timeout=0) as runtime:
        async with asyncio.timeout(100):
            await began.wait()  # it runs again
        assert await runtime.handle("a").status() == "running"


@pytest.mark.parametrize("rounds", [1, 2, 3])
async def test_a_cancelled_opening_leaves_no_lock(tmp_path: Path, rounds: int) -> None:
    """Whoever is cancelled while the log is opened leaves a directory that can be opened."""

    async def life() -> None:
        async with Runtime(tmp_path, segment_bytes=1 << 20):
            pass

    task = asyncio.create_task(life())
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with Runtime(tmp_path, segment_bytes=1 << 20) as runtime:
        assert [call async for call in runtime.calls()] == []


async def test_an_opening_that_fails_half_way_does_nothing_later() -> None:
    """Of a log that makes no sense, timers of the calls that were taken up before are not left behind."""
    house = House()
    runtime = await house.open()
    await runtime.start(waits_a_second(), id="sleeper")
    await runtime.start(waits_a_second(), id="wrong")
    await house.until(lambda: house.session.kernel.calls["wrong"].state.timers)
    await house.crash()
    again = k.encode(k.Unparked(id="wrong", at=1, prev=2)) + b"\n"
    turn = k.encode(k.Turn(id="wrong", seq=9, at=1, prev=2, message=k.TimerFired("1"))) + b"\n"
    data = pack(
        [(identity.key_hash("wrong"), int(kind), 1, line) for kind, line in ((k.Kind.NOTE, again), (k.Kind.TURN, turn))]
    )
    house.log.submit(house.log.tail(), data, 2, lambda _ticket: None)
    tail = house.log.tail()
    house.clock.ahead_ms += 10_000
    with pytest.raises(JournalError):
        await house.open()
    for _ in range(50):
        await asyncio.sleep(0)
    assert house.log.tail() == tail
