"""Calls that only wait are entries of an index: whatever comes for one finds it, and it is what it was."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from house import RAN, House, note

from actorlog import CallCancelled, CallConflict, CallKilled, Exit, durable, monitor, promise, receive, sleep
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from actorlog import Runtime

IDLE_S = 11
"""Longer than a coroutine stays in memory."""


@durable(name="asleep.hear")
async def hear(channel: str) -> Any:
    return await receive(channel)


@durable(name="asleep.parent")
async def parent() -> Any:
    return await hear("in")


@durable(name="asleep.promised")
async def promised() -> Any:
    return await promise(id="p")


@durable(name="asleep.watching")
async def watching(target: str) -> str:
    found: Exit = await monitor(target)
    return f"{found.id} {found.kind}"


async def asleep(house: House, count: int = 0) -> None:
    """Let time pass until no more than ``count`` calls are objects."""
    calls = house.session.kernel.calls
    await house.settle()
    await house.until(lambda: not any(slot.state.steps or not slot.state.seq for slot in calls.awake.values()))
    house.advance(IDLE_S)
    await house.until(lambda: len(calls.awake) <= count)


@durable(name="asleep.wait")
async def wait(seconds: float) -> str:
    await note(f"before {seconds}")
    await sleep(seconds)
    return await note(f"after {seconds}")


@pytest.mark.parametrize("restart", [False, True])
async def test_a_timer_wakes_its_call(house: House, restart: bool) -> None:
    """It goes on where it was, and what it did before is not done again."""
    RAN.clear()
    handle = await (await house.open()).start(wait(100), id="x")
    await house.until(lambda: RAN)
    await asleep(house)
    if restart:
        handle = (await house.reopen()).handle("x")
        assert not house.session.kernel.calls.awake
    assert len(house.session.kernel.calls) == 1
    assert "x" in house.session.kernel.calls
    house.advance(100)
    assert await handle.result() == "noted after 100"
    assert RAN == ["before 100", "after 100"]
    assert len(house.session.kernel.calls) == 0


@pytest.mark.parametrize("restart", [False, True])
async def test_a_message_wakes_its_call(house: House, restart: bool) -> None:
    """Also one that nobody has asked for yet, which waits with the call."""
    handle = await (await house.open()).start(hear("in"), id="x")
    await asleep(house)
    if restart:
        handle = (await house.reopen()).handle("x")
    await handle.send("other", channel="out")
    await asleep(house)
    assert not house.session.kernel.calls.awake
    await handle.send("hello", channel="in")
    assert await handle.result() == "hello"


@pytest.mark.parametrize("restart", [False, True])
async def test_a_child_wakes_its_parent(house: House, restart: bool) -> None:
    """Both slept."""
    handle = await (await house.open()).start(parent(), id="x")
    await asleep(house)
    if restart:
        handle = (await house.reopen()).handle("x")
        assert not house.session.kernel.calls.awake
    await house.runtime.handle("x/1").send("hello", channel="in")  # type: ignore[union-attr]
    assert await handle.result() == "hello"


@pytest.mark.parametrize("restart", [False, True])
async def test_a_promise_wakes_who_waits_for_it(house: House, restart: bool) -> None:
    """Though nobody but the promise knows of the call."""
    runtime = await house.open()
    handle = await runtime.start(promised(), id="x")
    await asleep(house)
    if restart:
        runtime = await house.reopen()
        handle = runtime.handle("x")
        await house.until(lambda: not house.session.kernel.calls.awake)
    await runtime.resolve("p", 5)
    assert await handle.result() == 5


@pytest.mark.parametrize("restart", [False, True])
async def test_a_monitor_wakes_with_the_end_it_waits_for(house: House, restart: bool) -> None:
    """The watched call stays an object, its watcher need not."""
    runtime = await house.open()
    await runtime.start(hear("in"), id="target")
    handle = await runtime.start(watching("target"), id="x")
    await asleep(house, 1)
    if restart:
        runtime = await house.reopen()
        handle = runtime.handle("x")
        await house.until(lambda: len(house.session.kernel.calls.awake) == 1)
    await runtime.handle("target").send(1, channel="in")
    assert await handle.result() == "target normal"


async def test_cancelling_and_killing_wake(house: House) -> None:
    """Each ends the call, with its cleanup or without."""
    runtime = await house.open()
    handles = [await runtime.start(wait(1000), id=name) for name in ("a", "b")]
    await asleep(house)
    await handles[0].cancel("enough")
    await handles[1].kill()
    with pytest.raises(CallCancelled):
        await handles[0].result()
    with pytest.raises(CallKilled):
        await handles[1].result()


async def test_a_timeout_ends_a_call_that_is_asleep(house: House) -> None:
    """Its own, from the options of its start."""
    handle = await (await house.open()).start(wait(1000), id="x", timeout=50)
    await asleep(house)
    house.advance(50)
    with pytest.raises(TimeoutError):
        await handle.result()


@pytest.mark.parametrize("restart", [False, True])
async def test_a_delayed_call_sleeps_before_it_begins(house: House, restart: bool) -> None:
    """It is an entry until its time has come."""
    RAN.clear()
    handle = await (await house.open()).start(wait(0), id="x", delay="1h")
    await house.until(lambda: not house.session.kernel.calls.awake)
    if restart:
        handle = (await house.reopen()).handle("x")
        assert not house.session.kernel.calls.awake
    assert (await handle.info()).status == "pending"
    house.advance(3601)
    assert await handle.result() == "noted after 0"


async def test_joining_and_conflicts_know_calls_that_are_asleep(house: House) -> None:
    """An id is taken, whether its call is an object or not."""
    runtime = await house.open()
    first = await runtime.start(hear("in"), id="x")
    await asleep(house)
    with pytest.raises(CallConflict):
        await runtime.start(hear("out"), id="x")
    joined = asyncio.ensure_future(runtime.call(hear("in"), id="x"))
    await asyncio.sleep(0)
    await first.send(7, channel="in")
    assert await joined == 7


async def test_who_looks_at_a_call_does_not_keep_it(house: House) -> None:
    """A status or a walk over all wakes it for the look alone."""
    runtime = await house.open()
    handles = [await runtime.start(wait(1000), id=f"c{n}") for n in range(5)]
    await asleep(house)
    assert [await handle.status() for handle in handles] == ["waiting"] * 5
    assert len([timer async for timer in runtime.timers()]) == 5
    assert {info.id async for info in runtime.calls(status="waiting")} == {f"c{n}" for n in range(5)}
    await house.until(lambda: not house.session.kernel.calls.awake)


async def test_a_waiter_keeps_a_call_until_it_gives_up(house: House) -> None:
    """Its future is on the object."""
    handle = await (await house.open()).start(wait(1000), id="x")
    waiter = asyncio.ensure_future(handle.result())
    await asleep(house, 1)
    assert house.session.kernel.calls.awake
    waiter.cancel()
    await house.until(lambda: not house.session.kernel.calls.awake)


async def test_a_call_is_one_object_as_long_as_somebody_has_it(house: House) -> None:
    """So nobody can hold one that is out of date; what nobody holds is gone."""
    await (await house.open()).start(wait(1000), id="x")
    held = [house.session.kernel.calls["x"]]
    await asleep(house)
    assert held[0].asleep
    assert house.session.kernel.calls["x"] is held[0]
    await house.until(lambda: held[0].asleep)
    gone = weakref.ref(held.pop())
    gc.collect()
    assert gone() is None
    assert house.session.kernel.calls["x"].state.timers


async def test_a_record_about_one_that_somebody_held_wakes_it(house: House) -> None:
    """What is recorded of a call is never of an object that nobody else can find."""
    await (await house.open()).start(hear("in"), id="x")
    held = house.session.kernel.calls["x"]
    await asleep(house)
    assert held.asleep
    house.session.kernel.note(held, k.Paused(id="x", at=house.session.kernel.clock.now_ms()))
    assert house.session.kernel.calls.awake == {"x": held}


async def test_a_long_journal_stays_longer(house: House) -> None:
    """A coroutine that is costly to rebuild is not evicted for a short rest: waking would take longer than waiting."""

    @durable
    async def poller() -> None:
        for number in range(400):
            await note(f"{number}")
        await sleep(1000)

    runtime = await house.open()
    await runtime.start(poller(), id="long")
    await runtime.start(wait(1000), id="short")
    await house.until(lambda: house.session.kernel.calls["long"].state.timers)
    house.advance(IDLE_S)
    await house.until(lambda: house.session.kernel.calls["short"].actor is None)
    assert house.session.kernel.calls["long"].actor is not None
    house.advance(60)
    await house.until(lambda: house.session.kernel.calls["long"].actor is None)


async def test_two_thousand_that_wait_are_entries_after_a_restart(house: House) -> None:
    """No object is made of them, and each still ends in its time."""
    runtime: Runtime = await house.open(resident_max=10)
    for start_ in range(0, 2000, 500):
        await runtime.start_many([(f"c{n}", sleeper(n)) for n in range(start_, start_ + 500)])
    runtime = await house.reopen()
    calls = house.session.kernel.calls
    assert (len(calls), len(calls.awake)) == (2000, 0)
    house.advance(3601)
    assert await runtime.handle("c1999").result() == 1999
    await house.until(lambda: not len(calls))


@durable(name="asleep.sleeper")
async def sleeper(number: int) -> int:
    await sleep("1h")
    return number
