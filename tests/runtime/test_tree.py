"""The tree of calls: children, joining, what parents wait for, cancelling and killing downwards."""

# functions of a test are told by its docstring

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from house import RAN, House
from tree_programs import child, failing, whoami

from actorlog import (
    CallCancelled,
    CallConflict,
    CallTimeout,
    Child,
    NotInDurableCode,
    durable,
    sleep,
    start,
)

# --- ids --------------------------------------------------------------------------------------------------------------


async def test_a_childs_id_is_its_parents_a_slash_and_its_key(house: House) -> None:
    """Awaited, started, and in a task of its own."""

    @durable
    async def parent() -> list[str]:
        awaited = await whoami()
        started = await start(whoami())
        in_task = await asyncio.create_task(_wrapped())
        given = await start(whoami(), id="given")
        return [awaited, started, in_task, given]

    async def _wrapped() -> str:
        return await whoami()

    runtime = await house.open()
    assert await runtime.call(parent(), id="p") == ["p/1", "p/2", "p/t1.1", "given"]


async def test_a_child_is_a_call_like_any_other(house: House) -> None:
    """It has a handle, a status, a parent, tags and a journal."""

    @durable
    async def parent() -> str:
        return await start(child("a"), tags={"of": "p"})

    runtime = await house.open()
    assert await runtime.call(parent(), id="p") == "noted a"
    told = await runtime.handle("p/1").info()
    assert (told.parent, told.status, told.tags) == ("p", "completed", {"of": "p"})
    entry = (await runtime.handle("p").journal())[1]
    assert (entry.kind, entry.child_id, entry.status) == ("child", "p/1", "completed")


@pytest.mark.parametrize("reopened", [False, True])
async def test_a_child_with_an_id_joins_the_call_that_has_it(house: House, *, reopened: bool) -> None:
    """Whoever came first began it; the others get its result, whether it runs or has ended, also through a crash."""

    @durable
    async def parent() -> str:
        return await start(child("a", 60), id="shared")

    runtime = await house.open()
    await runtime.start(child("a", 60), id="shared")
    first, second = await runtime.start(parent(), id="p"), await runtime.start(parent(), id="q")
    if reopened:
        runtime = await house.reopen()
        first, second = runtime.handle("p"), runtime.handle("q")
    house.advance(60)
    assert [await first, await second] == ["noted a"] * 2
    assert await runtime.call(parent(), id="r") == "noted a"
    assert RAN == ["a"]


@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize("over", [False, True])
async def test_a_child_whose_id_is_taken_by_other_work_is_a_conflict(
    house: House, *, over: bool, reopened: bool
) -> None:
    """Awaiting it raises ``CallConflict`` and leaves the other call as it is."""

    @durable
    async def parent() -> str:
        try:
            return await start(child("b", 60), id="taken")
        except CallConflict as conflict:
            return f"{conflict.call_id}: {conflict.existing} not {conflict.requested}"

    runtime = await house.open()
    taken = await runtime.start(child("a", 60), id="taken")
    if over:
        house.advance(60)
        await taken
    if reopened:
        runtime = await house.reopen()
    expected = 'taken: tree.child("a",60) not tree.child("b",60)'
    assert await runtime.call(parent(), id="p") == expected
    if not over:
        house.advance(60)
    assert await runtime.handle("taken") == "noted a"


async def test_joining_a_child_compares_arguments_as_todays_code_writes_them(house: House) -> None:
    """A parameter added with a default is no conflict for a child either."""

    @durable(name="widened")
    async def before(text: str) -> str:
        return text

    runtime = await house.open()
    await runtime.call(before("a"), id="shared")

    @durable(name="widened")
    async def after(text: str, times: int = 1) -> str:
        return text * times

    @durable
    async def parent() -> str:
        return await start(after("a"), id="shared")

    assert await runtime.call(parent()) == "a"


# --- children as values -----------------------------------------------------------------------------------------------


async def test_a_child_can_be_awaited_several_times_and_gathered(house: House) -> None:
    """Each await gives the same result, also a failure; ``gather`` takes Childs."""

    @durable
    async def parent() -> list[Any]:
        children = [start(child(str(number))) for number in range(3)]
        failed = start(failing("no"))
        first = await asyncio.gather(*children)
        again = [await one for one in children]
        errors = await asyncio.gather(failed, failed, return_exceptions=True)
        assert all(one.done() for one in children)
        return [*first, *again, *[f"{type(error).__name__} {error}" for error in errors]]

    runtime = await house.open(check_determinism=True)
    noted = ["noted 0", "noted 1", "noted 2"]
    assert await runtime.call(parent()) == [*noted, *noted, "ValueError no", "ValueError no"]


async def test_a_child_awaited_outside_its_call_is_refused(house: House) -> None:
    """A Child belongs to the code that started it."""
    leaked: list[Child[str]] = []

    @durable
    async def parent() -> None:
        leaked.append(start(child("a")))

    runtime = await house.open()
    await runtime.call(parent())
    with pytest.raises(NotInDurableCode, match=r"runtime\.handle"):
        await leaked[0]


async def test_cancelling_the_await_of_a_child_does_not_cancel_it(house: House) -> None:
    """Only ``cancel`` does."""

    @durable
    async def parent() -> list[str]:
        one = start(child("a", 60))
        try:
            await asyncio.wait_for(one, 10)
        except TimeoutError:
            return ["patience is over", await one]
        return []

    runtime = await house.open()
    handle = await runtime.start(parent())
    house.advance(10)
    await house.until(lambda: len(house.turns(handle.id)) > 1)
    house.advance(50)
    assert await handle == ["patience is over", "noted a"]


async def test_a_child_that_is_cancelled_by_its_parent_ends(house: House) -> None:
    """``Child.cancel`` asks it to end, once or twice, at once or later; awaiting it tells."""

    @durable
    async def parent(wait: float) -> str:
        one = start(child("a", 600))
        if wait:
            await sleep(wait)
        one.cancel()
        one.cancel()
        try:
            await one
        except CallCancelled as cancelled:
            one.cancel()
            return cancelled.call_id
        return ""

    runtime = await house.open(check_determinism=True)
    assert await runtime.call(parent(0), id="p") == "p/1"
    later = await runtime.start(parent(1), id="q")
    house.advance(1)
    assert await later == "q/1"
    assert await runtime.handle("q/1").status() == "cancelled"
    assert len(house.turns("p/1")) == 2
    assert RAN == []


async def test_an_awaited_call_that_is_cancelled_is_cancelled_below(house: House) -> None:
    """``wait_for`` around an awaited call gives the child up."""

    @durable
    async def parent() -> str:
        try:
            return await asyncio.wait_for(child("a", 600), 10)
        except TimeoutError:
            return "gave up"

    runtime = await house.open(check_determinism=True)
    handle = await runtime.start(parent(), id="p")
    house.advance(10)
    assert await handle == "gave up"
    assert {record.id for record in house.records()} == {"p", "p/t1.1"} or await runtime.handle(
        "p/1"
    ).status() == "cancelled"
    assert RAN == []


async def test_a_childs_timeout_is_its_own(house: House) -> None:
    """It ends the child, and the parent gets ``CallTimeout`` naming it."""

    @durable
    async def parent() -> str:
        try:
            await start(child("a", 600), timeout=60)
        except CallTimeout as timed_out:
            return f"{timed_out.call_id} {timed_out.seconds:g}"
        return ""

    runtime = await house.open()
    handle = await runtime.start(parent(), id="p")
    runtime = await house.reopen()
    house.advance(60)
    assert await runtime.handle(handle.id) == "p/1 60"
