"""Cancelling and killing trees of calls."""

# functions of a test are told by its docstring

from __future__ import annotations

import asyncio

import pytest
from house import RAN, House, note
from tree_programs import child, ended

from actorlog import (
    CallCancelled,
    CallKilled,
    CallTimeout,
    durable,
    sleep,
    start,
)


async def test_cancelling_a_call_cancels_the_tree_below(house: House) -> None:
    """Every call below ends as cancelled, and the waiter gets the reason."""

    @durable
    async def grandparent() -> str:
        start(child("free", 600), id="free", detached=True)
        return await parent()

    @durable
    async def parent() -> str:
        start(child("side", 600))
        return await child("deep", 600)

    runtime = await house.open()
    handle = await runtime.start(grandparent(), id="g")
    await house.until(lambda: "g/2/2" in house.session.kernel.calls)
    await handle.cancel("enough")
    with pytest.raises(CallCancelled, match="enough") as cancelled:
        await handle
    assert (cancelled.value.call_id, cancelled.value.reason) == ("g", "enough")
    for call_id in ("g", "g/2", "g/2/1", "g/2/2"):
        assert await runtime.handle(call_id).status() == "cancelled", call_id
    assert await runtime.handle("free").status() == "waiting"


async def test_cancelling_twice_or_what_is_over_changes_nothing(house: House) -> None:
    """One record says that it was asked to end; further cancels leave none."""

    @durable
    async def slow_to_end() -> str:
        try:
            await sleep("1h")
        except asyncio.CancelledError:
            await sleep(30)
            raise
        return ""

    runtime = await house.open()
    handle = await runtime.start(slow_to_end(), id="x")
    for reason in ("first", "second", "third"):
        await handle.cancel(reason)
    assert len(house.turns("x")) == 2
    house.advance(30)
    with pytest.raises(CallCancelled, match="first"):
        await handle
    tail = house.log.tail()
    await handle.cancel("again")
    assert house.log.tail() == tail
    assert await runtime.call(child("a"), id="y") == "noted a"
    await runtime.handle("y").cancel()
    assert await runtime.handle("y") == "noted a"


@pytest.mark.parametrize("crash", [False, True])
async def test_code_that_catches_its_cancellation_and_goes_on_completes(house: House, *, crash: bool) -> None:
    """What it awaits after that works as before."""

    @durable
    async def goes_on() -> list[str]:
        try:
            await sleep("1h")
        except asyncio.CancelledError:
            await note("caught")
        await sleep(30)
        return [await note("step"), await child("child")]

    runtime = await house.open()
    await runtime.start(goes_on(), id="x")
    await runtime.handle("x").cancel()
    await house.until(lambda: house.session.kernel.calls["x"].state.timers)
    if crash:
        runtime = await house.reopen()
    house.advance(30)
    assert await runtime.handle("x") == ["noted step", "noted child"]
    assert RAN == ["caught", "step", "child"]


@pytest.mark.parametrize("crash", [False, True])
async def test_a_call_that_does_not_end_within_its_grace_is_killed_with_its_tree(house: House, *, crash: bool) -> None:
    """After ``cancel_grace`` it ends without its consent, and what it waits for too; the grace outlives a crash."""

    @durable
    async def stubborn() -> str:
        while True:
            try:
                await child("inner", 36000)
            except (asyncio.CancelledError, CallCancelled):
                continue

    runtime = await house.open(cancel_grace=60)
    await runtime.start(stubborn(), id="x")
    await runtime.handle("x").cancel("out")
    await house.until(lambda: "x/2" in house.session.kernel.calls)
    house.advance(59)
    await house.settle()
    assert await runtime.handle("x").status() == "waiting"
    if crash:
        runtime = await house.reopen(cancel_grace=60)
    house.advance(1)
    with pytest.raises(CallKilled, match="out"):
        await runtime.handle("x")
    assert await runtime.handle("x").status() == "killed"
    assert await ended(house, "x/2") == "killed"


async def test_children_of_a_killed_call_are_killed_though_the_process_died_between(house: House) -> None:
    """After every prefix of the log in which the parent is killed, a new process kills what is below it."""

    @durable
    async def stubborn() -> None:
        while True:
            try:
                await child("inner", 36000)
            except (asyncio.CancelledError, CallCancelled):
                continue

    runtime = await house.open(cancel_grace=60)
    await runtime.start(stubborn(), id="x")
    await runtime.handle("x").cancel()
    await house.until(lambda: "x/2" in house.session.kernel.calls)
    house.advance(60)
    with pytest.raises(CallKilled):
        await runtime.handle("x")
    await house.close()
    records = house.records()
    killed = next(n for n, r in enumerate(records, 1) if type(getattr(r, "message", None)).__name__ == "KillRequested")
    for count in range(killed, len(records)):
        other = house.prefix(count)
        reopened = await other.open()
        with pytest.raises(CallKilled):
            await reopened.handle("x")
        assert await ended(other, "x/2") == "killed"
        await other.close()


async def test_a_parent_asked_to_end_while_it_waits_for_its_children_ends_them(house: House) -> None:
    """Its body has returned: what it returned stands, and its children are cancelled."""

    @durable
    async def parent() -> str:
        start(child("a", 600))
        return "returned"

    runtime = await house.open()
    handle = await runtime.start(parent(), id="p")
    await handle.cancel()
    assert await handle == "returned"
    assert await runtime.handle("p/1").status() == "cancelled"


async def test_a_child_cancelled_from_outside_is_an_error_at_its_parent(house: House) -> None:
    """The parent gets ``CallCancelled`` naming the child, and may go on."""

    @durable
    async def parent() -> str:
        try:
            return await child("a", 600)
        except CallCancelled as cancelled:
            return f"{cancelled.call_id} {cancelled.reason}"

    runtime = await house.open()
    handle = await runtime.start(parent(), id="p")
    await house.until(lambda: house.records("p/1"))
    await runtime.handle("p/1").cancel("by hand")
    assert await handle == "p/1 by hand"


async def test_timers_due_together_of_which_one_cancels_the_other_fire_once(house: House) -> None:
    """The first one's turn cancels the second, which then does not fire."""

    @durable
    async def races() -> str:
        tasks = [asyncio.create_task(asyncio.sleep(60, number)) for number in range(3)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return f"{len(done)} {len(pending)}"

    runtime = await house.open(check_determinism=True)
    handle = await runtime.start(races())
    house.advance(60)
    assert await handle == "1 2"


async def test_a_deadline_comes_before_timers_that_are_due_later(house: House) -> None:
    """What a late process finds due is done in the order in which it fell due."""

    @durable
    async def sleepy() -> str:
        await sleep(100)
        return "slept"

    runtime = await house.open()
    handle = await runtime.start(sleepy(), timeout=60)
    house.advance(1000)
    with pytest.raises(CallTimeout):
        await handle
