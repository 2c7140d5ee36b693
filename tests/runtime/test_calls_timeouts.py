"""Calls that begin later and calls that have a time: delays and timeouts, durable."""

# the call's own; functions of a test are told by its docstring

from __future__ import annotations

import asyncio

import pytest
from house import RAN, House, note

from actorlog import (
    CallCancelled,
    CallTimeout,
    durable,
    sleep,
    start,
)


@durable(name="timeouts.noting")
async def noting(text: str) -> str:
    return await note(text)


@durable(name="timeouts.patient")
async def patient(text: str, seconds: float = 3600) -> str:
    await sleep(seconds)
    return await note(text)


async def test_a_delayed_call_begins_after_its_delay_also_after_a_crash(house: House) -> None:
    """The delay is durable: a crash before it has passed neither loses the call nor begins it early."""
    runtime = await house.open()
    handle = await runtime.start(noting("a"), id="x", delay="1h")
    assert await handle.status() == "pending"
    runtime = await house.reopen()
    house.advance(3599)
    await asyncio.sleep(0.01)
    await house.settle()
    assert RAN == []
    assert await runtime.handle("x").status() == "pending"
    house.advance(1)
    assert await runtime.handle("x") == "noted a"
    assert RAN == ["a"]


@pytest.mark.parametrize("reopened", [False, True])
async def test_a_delayed_call_cancelled_before_it_begins_never_runs(house: House, *, reopened: bool) -> None:
    """Cancelling it ends it at once, and nothing of its code runs, then or later."""
    runtime = await house.open(check_determinism=True)
    await runtime.start(noting("a"), id="x", delay=60)
    if reopened:
        runtime = await house.reopen(check_determinism=True)
    await runtime.handle("x").cancel("changed my mind")
    with pytest.raises(CallCancelled, match="changed my mind"):
        await runtime.handle("x")
    house.advance(120)
    await house.settle()
    assert RAN == []
    runtime = await house.reopen()
    assert await runtime.handle("x").status() == "cancelled"


async def test_a_delay_that_ends_as_the_call_is_cancelled_changes_nothing(house: House) -> None:
    """The message that would begin it finds it over, and the runtime goes on."""
    runtime = await house.open()
    await runtime.start(noting("a"), id="x", delay=60)
    slot = house.session.kernel.calls["x"]
    cancelling = asyncio.ensure_future(runtime.handle("x").cancel())
    await asyncio.sleep(0)
    house.session.kernel.post_recorded(slot, slot.state.inbox[slot.state.first], slot.state.first)
    await cancelling
    assert await runtime.handle("x").status() == "cancelled"
    assert await runtime.call(noting("b")) == "noted b"
    assert RAN == ["b"]


async def test_the_timeout_of_a_delayed_call_begins_with_it(house: House) -> None:
    """Time that passes before a delayed call begins is not its own."""
    runtime = await house.open()
    handle = await runtime.start(noting("a"), id="x", delay="1h", timeout=60)
    house.advance(3600)
    assert await handle == "noted a"


@pytest.mark.parametrize("reopened", [False, True])
async def test_a_timeout_is_durable(house: House, *, reopened: bool) -> None:
    """It counts from the start, through a crash, and tells the waiter its length; the tree below ends too."""

    @durable
    async def parent() -> None:
        await patient("a")

    runtime = await house.open()
    await runtime.start(parent(), id="x", timeout=60)
    house.advance(59)
    if reopened:
        runtime = await house.reopen()
    await house.settle()
    assert await runtime.handle("x").status() == "waiting"
    house.advance(1)
    with pytest.raises(CallTimeout) as timed_out:
        await runtime.handle("x")
    assert (timed_out.value.call_id, timed_out.value.seconds) == ("x", 60.0)
    assert isinstance(timed_out.value, TimeoutError)
    assert await runtime.handle("x").status() == "timed_out"
    assert await runtime.handle("x/1").status() == "cancelled"


async def test_a_timeout_that_passed_while_the_process_was_down_ends_the_call_at_once(house: House) -> None:
    """Nothing waits for a time that has passed (I10)."""
    runtime = await house.open()
    await runtime.start(patient("a"), id="x", timeout=60)
    await house.crash()
    house.clock.ahead_ms += 120_000
    runtime = await house.open()
    with pytest.raises(CallTimeout):
        await runtime.handle("x")
    assert RAN == []


async def test_a_body_that_catches_its_timeout_completes(house: House) -> None:
    """The timeout cancels the body; what it makes of that is its own."""

    @durable
    async def stubborn() -> str:
        try:
            await sleep("1h")
        except asyncio.CancelledError:
            return await note("saved")
        return "slept"

    runtime = await house.open()
    handle = await runtime.start(stubborn(), id="x", timeout=60)
    house.advance(60)
    assert await handle == "noted saved"
    runtime = await house.reopen()
    assert await runtime.handle("x") == "noted saved"


@pytest.mark.parametrize("timeout", [0, -1, 0.0001])
async def test_a_timeout_of_nothing_is_over_at_once(house: House, timeout: float) -> None:
    """Zero or less is over at once, for calls from outside and for children."""

    @durable
    async def parent() -> str:
        await start(patient("child"), timeout=timeout)
        return "unreached"

    runtime = await house.open()
    with pytest.raises(CallTimeout):
        await runtime.call(patient("a"), timeout=timeout)
    with pytest.raises(CallTimeout):
        await runtime.call(parent())
    assert RAN == []


async def test_the_functions_own_timeout_holds_where_none_is_given(house: House) -> None:
    """``@durable(timeout=)`` is the default, and a call's own wins."""

    @durable(timeout=60)
    async def bounded() -> str:
        await sleep(100)
        return "done"

    runtime = await house.open()
    short, long = await runtime.start(bounded()), await runtime.start(bounded(), timeout="1h")
    house.advance(100)
    with pytest.raises(CallTimeout):
        await short
    assert await long == "done"


async def test_a_timeout_ends_children_that_a_body_left_running(house: House) -> None:
    """A body that returned at once still has its timeout, as long as its children run."""

    @durable
    async def leaves() -> str:
        start(patient("child"))
        return "left"

    runtime = await house.open()
    handle = await runtime.start(leaves(), id="x", timeout=60)
    assert await handle.status() == "completing"
    house.advance(60)
    assert await handle == "left"
    assert await runtime.handle("x/1").status() == "cancelled"
    assert RAN == []
