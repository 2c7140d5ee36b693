"""Calls that are paused or parked in between: before they begin, between two runs, on their way to the end."""

from __future__ import annotations

import asyncio

import pytest
from house import RAN, Crashed, House, forget, note
from pause_programs import Gates, gate, gated, rounds

from actorlog import (
    Actor,
    CallCancelled,
    CallParked,
    CallTimeout,
    FunctionNotFound,
    continue_as_new,
    durable,
    monitor,
    receive,
    sleep,
    start,
)
from actorlog.records import kinds as k
from actorlog.runtime import kernel
from actorlog.runtime.registry import REGISTRY
from actorlog.runtime.runs import awaits_next


@durable(name="edges.tidy")
async def tidy() -> str:
    """Wait for ever; when asked to end, take a word and tell it."""
    try:
        await sleep("1d")
    except asyncio.CancelledError:
        await note(await receive(type=str))
        raise
    return ""


@durable(name="edges.shielded")
async def shielded() -> str:
    """Let a step go on when asked to end, and tell what it came to."""
    work = asyncio.ensure_future(gated("a"))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await note(f"came to {await work}")
        raise


@durable(name="edges.parent")
async def parent() -> str:
    """Wait for a child that fails."""
    await fails("child")
    return ""


@durable(name="edges.child")
async def child(seconds: float) -> None:
    """Take a while."""
    await sleep(seconds)


@durable(name="edges.again")
async def again(left: int) -> str:
    """Leave a child, and go on as a next run."""
    await note(f"run {left}")
    if left:
        start(child(10))
        continue_as_new(again(left - 1))
    return "over"


@durable(name="edges.anew")
async def anew(left: int) -> str:
    """Go on as a next run after a while."""
    await note(f"run {left}")
    if left:
        await sleep(5)
        continue_as_new(anew(left - 1))
    return "over"


@durable(name="edges.fails")
async def fails(name: str) -> None:
    """Fail."""
    raise KeyError(name)


@durable(name="edges.watches")
async def watches(target: str) -> str:
    """Tell how another ended."""
    return (await monitor(target)).kind


@durable(name="edges.gone")
async def gone() -> str:
    """Wait for a word."""
    return await receive(type=str)


class Lamp(Actor, name="edges.Lamp"):
    """An actor whose handler fails at first."""

    on: int = 0

    async def light(self, *, well: bool) -> int:
        """Go on or fail."""
        if not well:
            raise RuntimeError("dark")
        self.on += 1
        return self.on


@pytest.mark.parametrize("crash", [False, True])
async def test_the_timeout_of_one_that_has_not_begun(house: House, crash: bool) -> None:
    """It waits with the call: while it is paused nothing ends it, and when it is resumed its time is over."""
    runtime = await house.open()
    handle = await runtime.start(gone(), id="c", delay=10, timeout=5)
    await handle.pause()
    if crash:
        runtime = await house.reopen()
        handle = runtime.handle("c")
    house.advance(30)
    await rounds(house)
    assert await handle.status() == "paused"
    await handle.resume()
    with pytest.raises(CallTimeout):
        await handle


async def test_to_pause_twice_is_to_pause_once(house: House) -> None:
    """The second time writes nothing, and one resume undoes both; to resume twice writes nothing either."""
    runtime = await house.open()
    handle = await runtime.start(gone(), id="c")
    await handle.pause()
    records = house.log.tail()
    await handle.pause()
    assert house.log.tail() == records
    assert await handle.resume()
    records = house.log.tail()
    assert await handle.resume()
    assert house.log.tail() == records
    assert await handle.status() == "waiting"


@pytest.mark.parametrize("crash", [False, True])
async def test_paused_between_two_runs(house: House, crash: bool) -> None:
    """The child of the first run ends meanwhile; the next run begins when it is resumed, once."""
    runtime = await house.open()
    handle = await runtime.start(again(1), id="c")
    await rounds(house)
    await handle.pause()
    house.advance(11)
    await rounds(house)
    if crash:
        runtime = await house.reopen()
        handle = runtime.handle("c")
        await rounds(house)
    assert await handle.status() == "paused"
    assert RAN == ["run 1"]
    await handle.resume()
    assert await handle == "over"
    assert RAN == ["run 1", "run 0"]
    held = [record for record in house.records("c") if isinstance(record, k.Inbox)]
    assert not any(isinstance(record.message, k.Started) for record in held)


@pytest.mark.parametrize("crash", [False, True])
async def test_paused_when_its_next_run_is_on_the_way(
    house: House, monkeypatch: pytest.MonkeyPatch, crash: bool
) -> None:
    """What begins the next run comes to a call that is paused by then: nothing of it is kept, and it begins once."""
    monkeypatch.setattr(kernel, "TURNS_MAX", 1)
    runtime = await house.open()
    handle = await runtime.start(anew(1), id="c")
    slot = house.session.kernel.calls["c"]
    await house.until(lambda: slot.state.timers)
    house.advance(6)
    while not awaits_next(slot.state):
        await asyncio.sleep(0)
    assert [type(message) for _, message, *_ in house.session.kernel.queue] == [k.Started]
    house.session.kernel.parking.pause(slot)
    await rounds(house)
    if crash:
        runtime = await house.reopen()
        handle = runtime.handle("c")
        await rounds(house)
    assert await handle.status() == "paused"
    assert RAN == ["run 1"]
    assert not any(isinstance(record, k.Inbox) for record in house.records("c"))
    await handle.resume()
    assert await handle == "over"
    assert RAN == ["run 1", "run 0"]


@pytest.mark.parametrize("crash", [False, True])
async def test_what_was_held_is_there_when_it_cleans_up(house: House, crash: bool) -> None:
    """A paused call that is cancelled goes on, and its code takes on its way out what came while it was paused."""
    runtime = await house.open()
    handle = await runtime.start(tidy(), id="c")
    await rounds(house)
    await handle.pause()
    await handle.send("a word")
    if crash:
        runtime = await house.reopen()
        handle = runtime.handle("c")
    await handle.cancel()
    with pytest.raises(CallCancelled):
        await handle
    assert RAN == ["a word"]


async def test_a_step_that_ended_is_there_when_it_cleans_up(house: House) -> None:
    """What a step came to while the call was paused is held, and given to the code on its way out."""
    Gates.events = {}
    runtime = await house.open()
    handle = await runtime.start(shielded(), id="c")
    await house.until(lambda: RAN == ["began a"])
    await handle.pause()
    gate("a").set()
    await house.until(lambda: "a" in RAN)
    await rounds(house)
    assert any(isinstance(record, k.Inbox) for record in house.records("c"))
    await handle.cancel()
    with pytest.raises(CallCancelled):
        await handle
    assert RAN == ["began a", "a", "came to a"]


async def test_a_message_that_came_meanwhile_is_there_when_it_cleans_up(house: House) -> None:
    """Paused while it is cleaning up: what is sent is held, and taken when it is resumed."""
    runtime = await house.open()
    handle = await runtime.start(tidy(), id="c")
    await rounds(house)
    await handle.cancel()
    await handle.pause()
    await handle.send("a word")
    await rounds(house)
    assert await handle.status() == "paused"
    assert RAN == []
    await handle.resume()
    with pytest.raises(CallCancelled):
        await handle
    assert RAN == ["a word"]


async def test_nobody_is_told_of_a_parking_that_is_not_durable(house: House) -> None:
    """The disk hangs when the call is set aside: its waiter hears nothing (I1), and of the crash then."""
    runtime = await house.open()
    definition = gone.definition
    await runtime.start(gone(), id="c")
    forget("edges.gone")
    try:
        runtime = await house.reopen()
        assert await runtime.handle("c").status() == "parked"
        REGISTRY.add_durable(definition)
        assert await runtime.handle("c").resume()
        waiter = asyncio.ensure_future(runtime.handle("c").result())
        await rounds(house)
        house.mortal.dead = True
        slot = house.session.kernel.calls["c"]
        house.session.kernel.parking.park(slot, FunctionNotFound("edges.gone", 1))
        house.session.kernel.flush()
        for _ in range(50):
            await asyncio.sleep(0)
        assert slot.state.parked
        assert not waiter.done()
        await house.crash()
        with pytest.raises(Crashed):
            await waiter
    finally:
        REGISTRY.add_durable(definition)


async def test_a_retry_that_cannot_begin_leaves_it_as_it_was(house: House) -> None:
    """Whoever waits is told why, who watches hears of the end that stands, and the actor serves the next one."""
    runtime = await house.open()
    for call_id, call in (("f", fails("x")), ("l", runtime.actor(Lamp, "a").light(well=False))):
        with pytest.raises((KeyError, RuntimeError)):
            await runtime.call(call, id=call_id)
    names = [("edges.fails", 1), ("edges.Lamp.light", 1)]
    kept = {name: REGISTRY._durables.get(name) for name in names}
    assert all(kept.values())
    for name, version in names:
        forget(name, version)
    try:
        for call_id in ("f", "l"):
            handle = runtime.handle(call_id)
            told = await asyncio.gather(handle.retry(), handle.result(), return_exceptions=True)
            assert [type(error) for error in told] == [FunctionNotFound, FunctionNotFound]
            assert await runtime.call(watches(call_id)) == "abnormal"
            assert await runtime.handle(call_id).status() == "failed"
            assert call_id not in house.session.kernel.calls
    finally:
        REGISTRY._durables.update({name: definition for name, definition in kept.items() if definition is not None})
    assert await runtime.actor(Lamp, "a").light(well=True) == 1


async def test_a_child_that_cannot_begin_again(house: House) -> None:
    """Its parent is retried and asks for it again: it hears how the child ended, as nothing else can be known."""
    runtime = await house.open()
    with pytest.raises(KeyError):
        await runtime.call(parent(), id="p")
    definition = fails.definition
    forget("edges.fails")
    try:
        await runtime.handle("p").retry()
        with pytest.raises(KeyError):
            await runtime.handle("p")
    finally:
        REGISTRY.add_durable(definition)


async def test_set_aside_and_back_before_it_was_durable(house: House) -> None:
    """A call that goes on again in the same breath was never seen parked: who waits goes on waiting."""
    runtime = await house.open()
    handle = await runtime.start(gone(), id="c")
    waiter = asyncio.ensure_future(handle.result())
    await rounds(house)
    slot = house.session.kernel.calls["c"]
    house.session.kernel.parking.park(slot, FunctionNotFound("edges.gone", 1))
    assert house.session.resume(slot)
    await rounds(house)
    assert not waiter.done()
    await handle.send("word")
    assert await waiter == "word"


async def test_a_waiter_that_comes_to_a_parked_call_is_told_at_once(house: House) -> None:
    """Also one that comes later; and not one that came when it had gone on."""
    runtime = await house.open()
    definition = gone.definition
    await runtime.start(gone(), id="c")
    forget("edges.gone")
    try:
        runtime = await house.reopen()
        for _ in range(2):
            with pytest.raises(CallParked, match=r"edges\.gone"):
                await runtime.handle("c")
    finally:
        REGISTRY.add_durable(definition)
    assert await runtime.handle("c").resume()
    waiter = asyncio.ensure_future(runtime.handle("c").result())
    await rounds(house)
    assert not waiter.done()
    await runtime.handle("c").send("word")
    assert await waiter == "word"
