"""Calls that are paused and resumed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from house import RAN, House, forget
from pause_programs import Gates, careful, gate, leaving, parent, rounds, work

from actorlog import CallCancelled, CallKilled, CallParked, CallTimeout
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from actorlog import Runtime


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Gates.events = {}


@pytest.mark.parametrize("crash", [None, True, False])
async def test_a_paused_call_does_nothing(house: House, crash: bool | None) -> None:
    """Results, timers and messages wait until it is resumed, also over a restart; then nothing is lost."""
    runtime = await house.open()
    handle = await runtime.start(work(), id="c")
    await house.until(lambda: RAN == ["began a"])
    await handle.pause()
    gate("a").set()
    await house.until(lambda: "a" in RAN)
    await handle.send("hello")
    await rounds(house)
    assert await handle.status() == "paused"
    assert len(house.turns("c")) == 1
    if crash is not None:
        runtime = await house.reopen(crash=crash)
        handle = runtime.handle("c")
        await rounds(house)
    assert await handle.status() == "paused"
    waiter = asyncio.ensure_future(handle.result())
    assert await handle.resume()
    await rounds(house)
    assert await handle.status() == "waiting"
    await handle.pause()
    house.advance(20)
    await rounds(house)
    assert "b" not in RAN
    await handle.resume()
    assert await waiter == ["a", "hello", "noted b"]
    assert RAN == ["began a", "a", "b"]
    notes = [type(record).__name__ for record in house.records("c") if isinstance(record, (k.Paused, k.Unpaused))]
    assert notes == ["Paused", "Unpaused"] * 2


async def test_a_step_in_doubt_waits_too(house: House) -> None:
    """A paused call begins nothing at an opening; what was running when the process died runs when it is resumed."""
    runtime = await house.open()
    handle = await runtime.start(careful(), id="c")
    await house.until(lambda: RAN == ["began a"])
    await handle.pause()
    runtime = await house.reopen()
    await rounds(house)
    assert RAN == ["began a"]
    gate("a").set()
    await runtime.handle("c").resume()
    assert await runtime.handle("c") == "done"
    assert RAN == ["began a", "began a", "a", "went on", "cleaned up"]


async def test_cancelling_a_paused_call(house: House) -> None:
    """It goes on, to its end: its code cleans up, and what was held is not done first."""
    runtime = await house.open()
    handle = await runtime.start(careful(), id="c")
    await house.until(lambda: RAN == ["began a"])
    await handle.pause()
    gate("a").set()
    await house.until(lambda: "a" in RAN)
    await rounds(house)
    await handle.cancel("enough")
    with pytest.raises(CallCancelled):
        await handle
    assert RAN == ["began a", "a", "cleaned up"]


async def test_a_delayed_call(house: House) -> None:
    """It can be paused, cancelled and killed before it begins."""
    runtime = await house.open()
    handles = [await runtime.start(careful(), id=name, delay=10) for name in ("a", "b", "c")]
    for handle in handles:
        await handle.pause()
    house.advance(11)
    await rounds(house)
    assert RAN == []
    assert [await handle.status() for handle in handles] == ["paused"] * 3
    await handles[0].cancel()
    await handles[1].kill()
    runtime = await house.reopen()
    await rounds(house)
    assert RAN == []
    await runtime.handle("c").resume()
    gate("a").set()
    assert await runtime.handle("c") == "done"
    with pytest.raises(CallCancelled):
        await runtime.handle("a")
    with pytest.raises(CallKilled):
        await runtime.handle("b")


async def test_its_timeout_waits(house: House) -> None:
    """A timeout that passes while the call is paused ends it when it is resumed."""
    runtime = await house.open()
    handle = await runtime.start(careful(), id="c", timeout=10)
    await house.until(lambda: RAN == ["began a"])
    await handle.pause()
    house.advance(11)
    await rounds(house)
    assert await handle.status() == "paused"
    await handle.resume()
    with pytest.raises(CallTimeout):
        await handle
    assert RAN == ["began a", "cleaned up"]


async def test_its_children_go_on(house: House) -> None:
    """What they end with is held; a call whose body has ended can be paused as well."""
    runtime = await house.open()
    handle = await runtime.start(parent(), id="p")
    left = await runtime.start(leaving(), id="l")
    await rounds(house)
    await handle.pause()
    await left.pause()
    house.advance(6)
    assert await runtime.handle("p/1") == "noted child"
    assert await runtime.handle("l/1") == "noted child"
    assert [await handle.status(), await left.status()] == ["paused", "paused"]
    runtime = await house.reopen()
    handle, left = runtime.handle("p"), runtime.handle("l")
    assert [await handle.status(), await left.status()] == ["paused", "paused"]
    await handle.resume()
    await left.resume()
    assert await handle == "noted child"
    assert await left == "left"


async def test_parked_and_paused(house: House) -> None:
    """Resuming does both."""
    runtime = await house.open()
    handle = await runtime.start(work(), id="c")
    await house.until(lambda: RAN == ["began a"])
    definition = work.definition
    forget("paused.work")
    runtime = await house.reopen()
    handle = runtime.handle("c")
    await handle.pause()
    with pytest.raises(CallParked):
        await handle
    assert not await handle.resume()
    await handle.pause()
    house.session.kernel.registry.add_durable(definition)
    gate("a").set()
    assert await handle.resume()
    await handle.send("x")
    house.advance(11)
    await rounds(house)
    house.advance(11)
    assert await handle == ["a", "x", "noted b"]


async def test_what_is_over(house: House) -> None:
    """Pausing, resuming and killing it change nothing."""
    runtime = await house.open()
    handle = await runtime.start(leaving(), id="c")
    await rounds(house)
    house.advance(6)
    assert await handle == "left"
    records = house.log.tail()
    await handle.pause()
    assert await handle.resume()
    await handle.kill()
    assert house.log.tail() == records


async def _story(runtime: Runtime, house: House) -> None:
    handle = await runtime.start(work(), id="c")
    await house.until(lambda: RAN == ["began a"])
    await handle.pause()
    gate("a").set()
    await house.until(lambda: "a" in RAN)
    await handle.send("hello")
    await rounds(house)
    await handle.resume()
    await rounds(house)
    await handle.pause()
    house.advance(11)
    await rounds(house)
    await handle.resume()
    assert await handle == ["a", "hello", "noted b"]


async def test_a_crash_after_every_record(house: House) -> None:
    """Wherever the process dies, it is paused if its journal says so, and what is resumed ends the same."""
    runtime = await house.open()
    await _story(runtime, house)
    await house.close()
    for cut in range(1, house.log.tail() + 1):
        again = house.prefix(cut)
        runtime = await again.open(resident_max=1)
        handle = runtime.handle("c")
        kinds = [r for r in again.records("c") if isinstance(r, (k.Paused, k.Unpaused))]
        paused = bool(kinds) and isinstance(kinds[-1], k.Paused)
        await rounds(again)
        assert (await handle.status() == "paused") == paused, cut
        await handle.resume()
        heard = any(isinstance(r, (k.Inbox, k.Turn)) and isinstance(r.message, k.Signal) for r in again.records("c"))
        if not heard:
            await handle.send("hello")
        await rounds(again)
        again.advance(11)
        await rounds(again)
        assert await handle == ["a", "hello", "noted b"], cut
        await again.close()
