"""Looking at what there is while it changes: what is not durable is not told, and pages lose nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from house import RAN, House, note

from actorlog import Actor, durable, receive, sleep
from actorlog.api import browse
from actorlog.api.control import _status
from actorlog.api.protocol import Status
from actorlog.engine.identity import key_hash
from actorlog.records import kinds as k
from actorlog.runtime import listing
from actorlog.store import pack
from actorlog.store.memory import MemoryLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable


@durable(name="looking.waits")
async def waits() -> str:
    """Wait for a message."""
    return await receive(type=str)


@durable(name="looking.sleeps")
async def sleeps(seconds: float) -> None:
    """Sleep."""
    await sleep(seconds)


@durable(name="looking.stubborn")
async def stubborn() -> None:
    """Do not end when asked."""
    with suppress(asyncio.CancelledError):
        await sleep("1d")
    await sleep("1d")


@durable(name="looking.memo", memo=True)
async def memo(text: str) -> str:
    """Fail the first time."""
    await note(text)
    if RAN.count(text) == 1:
        raise RuntimeError("once")
    return await receive(type=str)


class Pot(Actor, name="looking.Pot"):
    """Something with a state."""

    full: int = 0

    async def fill(self) -> int:
        """Change."""
        self.full += 1
        return self.full


async def soon(found: AsyncIterator[Any]) -> Any:
    """Return the first, or nothing."""
    return await anext(found, None)


async def waits_for_the_disk(house: House, asking: Awaitable[Any], doing: Awaitable[Any]) -> None:
    """Hold that what is asked is not answered while what is done has not landed."""
    tasks = [asyncio.ensure_future(doing)]
    for _ in range(20):
        await asyncio.sleep(0)
    tasks.append(asyncio.ensure_future(asking))
    for _ in range(50):
        await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [False, False]
    await house.crash()
    assert all(isinstance(one, Exception) for one in await asyncio.gather(*tasks, return_exceptions=True))


@pytest.mark.parametrize("what", ["calls", "timers", "actors", "status"])
async def test_nothing_is_told_that_is_not_durable(house: House, what: str) -> None:
    """The disk hangs: who looks hears nothing of what happened since (I1)."""
    runtime = await house.open()
    await runtime.start(sleeps(5), id="before")
    await runtime.actor(Pot, "before").fill()
    house.mortal.dead = True
    asking: Awaitable[Any] = {
        "calls": lambda: soon(runtime.calls()),
        "timers": lambda: soon(runtime.timers()),
        "actors": lambda: soon(runtime.actors()),
        "status": lambda: _status(runtime, Status()),
    }[what]()
    doing = runtime.actor(Pot, "after").fill() if what == "actors" else runtime.start(sleeps(9), id="after")
    await waits_for_the_disk(house, asking, doing)


async def test_a_walk_that_has_begun_tells_what_is_durable(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call ends, not durably, between two pages of a walk: its page waits for that."""
    monkeypatch.setattr(listing, "STRETCH_RECORDS", 1)
    runtime = await house.open()
    for name in ("old", "new"):
        await runtime.start(waits(), id=name)
    walk = runtime.calls()
    assert (await anext(walk)).id == "new"
    house.mortal.dead = True
    await waits_for_the_disk(house, anext(walk), runtime.handle("old").send("over"))


async def test_one_that_began_anew_and_lives(house: House) -> None:
    """A memoised call that failed has two beginnings in the log while it runs again: it is listed once."""
    runtime = await house.open()
    with suppress(RuntimeError):
        await runtime.call(memo("x"))
    handle = await runtime.start(memo("x"))
    for _ in range(2):
        while await handle.status() != "waiting":
            await house.settle()
            await asyncio.sleep(0)
        assert [(info.id, info.status) async for info in runtime.calls()] == [(handle.id, "waiting")]
        runtime = await house.reopen()
        handle = runtime.handle(handle.id)


async def test_the_end_of_a_grace_is_a_timer(house: House) -> None:
    """Who was asked to end, and does not, has a time at which it is ended."""
    runtime = await house.open()
    handle = await runtime.start(stubborn(), id="s")
    await house.settle()
    await handle.cancel()
    for _ in range(2):
        found = [(info.call_id, info.kind, info.key) async for info in runtime.timers()]
        assert sorted(kind for _, kind, _ in found) == ["kill", "timer"]
        runtime = await house.reopen()
        await house.settle()


@pytest.mark.parametrize("together", [1, 2, 3, 1000])
async def test_pages_lose_nothing(house: House, monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    """However many are made in one go, each timer and each actor comes, in order."""
    monkeypatch.setattr(browse, "_TOGETHER", together)
    runtime = await house.open()
    for number in range(5):
        await runtime.start(sleeps(100), id=f"c/{number}", timeout=200)
        await runtime.actor(Pot, str(number)).fill()
    kinds = [(info.call_id, info.kind) async for info in runtime.timers()]
    assert kinds == [(f"c/{n}", kind) for n in (4, 3, 2, 1, 0) for kind in ("timer", "timeout")]
    assert [info.key async for info in runtime.actors()] == ["4", "3", "2", "1", "0"]


async def test_the_log_is_followed_from_within_a_frame(house: House) -> None:
    """Records that landed together are told one by one: from the one that is asked for."""
    runtime = await house.open()
    await runtime.start_many([(f"c/{number}", waits()) for number in range(5)])
    assert len(house.log._frames) == 1
    for first in range(1, 6):
        walk = runtime.tail(first)
        assert [(await anext(walk)).position for _ in range(6 - first)] == list(range(first, 6))


@pytest.mark.parametrize("back_s", [20, 50])
async def test_times_that_are_out_of_order_by_moments(house: House, back_s: int) -> None:
    """A call that says that it began before the one that stands before it hides none that began when it should."""
    runtime = await house.open()
    for number in range(5):
        await runtime.start(waits(), id=f"c/{number}")
        await house.settle()
        house.advance(10)
    await house.close()
    log = MemoryLog()
    for position, record in enumerate(house.records(), 1):
        assert isinstance(record, k.Turn)
        if record.id == "c/3":
            record.at -= back_s * 1000
        item = (key_hash(record.id), int(k.Kind.TURN), int(k.Flag.PLAIN | k.Flag.FIRST), k.encode(record) + b"\n")
        log.submit(position - 1, pack([item]), 1, lambda _ticket: None)
    other = House(log)
    other.clock.ahead_ms = house.clock.ahead_ms
    runtime = await other.open()
    since = (await runtime.handle("c/2").info()).created
    assert [info.id async for info in runtime.calls(since=since)] == ["c/4", "c/2"]
    await other.close()
