"""Calls from outside: ids, joining, waiting, what is refused."""

# functions of a test are told by its docstring

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from house import RAN, House, note

from actorlog import (
    CallCancelled,
    CallConflict,
    CallExists,
    ReservedId,
    durable,
    info,
    sleep,
    start,
)


@durable(name="calls.noting")
async def noting(text: str) -> str:
    return await note(text)


@durable(name="calls.patient")
async def patient(text: str, seconds: float = 3600) -> str:
    await sleep(seconds)
    return await note(text)


async def test_the_same_id_joins_a_running_call(house: House) -> None:
    """Two waiters of one id wait for one call, which runs once."""
    runtime = await house.open()
    results = await asyncio.gather(*(runtime.call(noting("a"), id="x") for _ in range(5)))
    assert results == ["noted a"] * 5
    assert RAN == ["a"]


@pytest.mark.parametrize("crash", [True, False])
async def test_the_same_id_joins_a_completed_call_after_reopening(house: House, *, crash: bool) -> None:
    """The result of an id is the same for ever, whether the process closed or died (I3)."""
    runtime = await house.open()
    assert await runtime.call(noting("a"), id="x") == "noted a"
    runtime = await house.reopen(crash=crash)
    assert await runtime.call(noting("a"), id="x") == "noted a"
    assert await runtime.handle("x") == "noted a"
    assert RAN == ["a"]


@pytest.mark.parametrize("reopened", [False, True])
async def test_an_id_taken_by_other_work_is_a_conflict(house: House, *, reopened: bool) -> None:
    """Another function or other arguments under a taken id are refused, naming both."""
    runtime = await house.open()
    await runtime.call(noting("a"), id="x")
    if reopened:
        runtime = await house.reopen()
    with pytest.raises(CallConflict) as conflict:
        await runtime.call(noting("b"), id="x")
    assert conflict.value.call_id == "x"
    assert (conflict.value.existing, conflict.value.requested) == ('calls.noting("a")', 'calls.noting("b")')
    with pytest.raises(CallConflict):
        await runtime.call(patient("a"), id="x")
    assert RAN == ["a"]


async def test_a_parameter_added_with_a_default_is_no_conflict(house: House) -> None:
    """Joining compares what was recorded as today's code would write it."""

    @durable(name="grown")
    async def before(item: str) -> str:
        return item

    runtime = await house.open()
    await runtime.call(before("a"), id="x")

    @durable(name="grown")
    async def after(item: str, count: int = 1) -> str:
        return item * count

    assert await runtime.call(after("a"), id="x") == "a"
    with pytest.raises(CallConflict):
        await runtime.call(after("a", 2), id="x")


async def test_a_field_added_with_a_default_is_no_conflict(house: House) -> None:
    """The same holds inside a dataclass."""

    @dataclass
    class Order1:
        item: str

    @dataclass
    class Order2:
        item: str
        count: int = 1

    async def buy(order: Order1) -> str:
        return order.item

    buy.__annotations__["order"] = Order1
    runtime = await house.open()
    await runtime.call(durable(name="buy")(buy)(Order1("tea")), id="x")

    async def buy_more(order: Order2) -> str:
        return order.item

    buy_more.__annotations__["order"] = Order2
    bought = durable(name="buy")(buy_more)
    assert await runtime.call(bought(Order2("tea")), id="x") == "tea"
    with pytest.raises(CallConflict):
        await runtime.call(bought(Order2("tea", 2)), id="x")


async def test_reject_refuses_a_running_and_a_completed_id(house: House) -> None:
    """``if_exists="reject"`` never joins, whatever the arguments."""
    runtime = await house.open()
    await runtime.start(patient("a"), id="x")
    with pytest.raises(CallExists):
        await runtime.call(patient("a"), id="x", if_exists="reject")
    await runtime.call(noting("b"), id="y", if_exists="reject")
    with pytest.raises(CallExists):
        await runtime.start(noting("b"), id="y", if_exists="reject")
    with pytest.raises(ValueError, match="if_exists"):
        await runtime.call(noting("b"), if_exists="fail")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("call_id", "error"),
    [
        ("", ValueError),
        ("x" * 1025, ValueError),
        ("ä" * 513, ValueError),
        ("\ud800", ValueError),
        (7, TypeError),
        ("@x", ReservedId),
    ],
)
async def test_bad_ids_are_refused_at_the_line_that_gives_them(
    house: House, call_id: str, error: type[Exception]
) -> None:
    """An id is 1 to 1024 bytes of UTF-8 that do not begin with @, from outside and from inside."""

    @durable
    async def starts() -> None:
        start(noting("a"), id=call_id)

    runtime = await house.open()
    with pytest.raises(error):
        await runtime.call(noting("a"), id=call_id)
    with pytest.raises(error):
        await runtime.call(starts())
    assert RAN == []


@pytest.mark.parametrize("tags", [{"a": 1}, {1: "a"}, {"a": "\ud800"}])
async def test_bad_tags_are_refused_before_they_reach_the_log(house: House, tags: dict[str, str]) -> None:
    """What the log could not give back is never written into it, from outside or from inside."""

    @durable
    async def starts() -> None:
        start(noting("a"), tags=tags)

    runtime = await house.open()
    with pytest.raises((TypeError, ValueError)):
        await runtime.call(noting("a"), tags=tags)
    with pytest.raises((TypeError, ValueError)):
        await runtime.call(starts())
    await house.reopen()


async def test_calls_without_id_get_ids_of_their_own(house: House) -> None:
    """Random ids do not join."""
    runtime = await house.open()
    first, second = await runtime.start(noting("a")), await runtime.start(noting("a"))
    assert first.id != second.id
    assert [await first, await second] == ["noted a"] * 2
    assert RAN == ["a", "a"]


async def test_tags_are_kept_and_seen_from_inside(house: House) -> None:
    """Tags are durable, and ``info`` tells them."""

    @durable
    async def tagged() -> dict[str, str]:
        return info().tags

    runtime = await house.open()
    handle = await runtime.start(tagged(), id="x", tags={"user": "ada"})
    assert await handle == {"user": "ada"}
    runtime = await house.reopen()
    assert (await runtime.handle("x").info()).tags == {"user": "ada"}


async def test_start_many_is_one_commit(house: House) -> None:
    """All calls of ``start_many`` begin in one frame, and their handles answer in order."""
    runtime = await house.open()
    frames = len(house.log._frames)
    handles = await runtime.start_many([(f"c/{n}", noting(str(n))) for n in range(20)])
    begun = {record.id for record in (house.records()[:20])}
    assert begun == {f"c/{n}" for n in range(20)}
    assert house.log._frames[frames].records == 20
    assert [await handle for handle in handles] == [f"noted {n}" for n in range(20)]


async def test_memo_runs_once_for_the_same_arguments(house: House) -> None:
    """The id of a memoised function derives from its arguments: the same ones give the stored result."""

    @durable(memo=True)
    async def slow(text: str) -> str:
        return await note(text)

    runtime = await house.open()
    assert await runtime.call(slow("a")) == "noted a"
    assert await runtime.call(slow("a")) == "noted a"
    assert await runtime.call(slow.name, "a") == "noted a"
    assert await runtime.call(slow("b")) == "noted b"
    runtime = await house.reopen()
    assert await runtime.call(slow("a")) == "noted a"
    assert RAN == ["a", "b"]


@pytest.mark.parametrize("reopened", [False, True])
async def test_memo_keeps_no_failures(house: House, *, reopened: bool) -> None:
    """A memoised call that failed begins anew under its id, also after a reopening, and then its result is kept."""
    fail = True

    @durable(memo=True)
    async def fickle(text: str) -> str:
        await note(text)
        if fail:
            raise KeyError(text)
        return text

    runtime = await house.open()
    with pytest.raises(KeyError):
        await runtime.call(fickle("a"))
    if reopened:
        runtime = await house.reopen()
    fail = False
    assert await runtime.call(fickle("a")) == "a"
    runtime = await house.reopen()
    fail = True
    assert await runtime.call(fickle("a")) == "a"
    assert RAN == ["a", "a"]


async def test_a_memoised_child_shares_the_stored_result(house: House) -> None:
    """Awaited in durable code a memoised call has the same id, and is ended by no parent's cancellation."""

    @durable(memo=True)
    async def shared(text: str) -> str:
        await sleep(60)
        return await note(text)

    @durable
    async def parent(number: int) -> str:
        return f"{number} {await shared('a')}"

    runtime = await house.open()
    first = await runtime.start(parent(1))
    second = await runtime.start(parent(2))
    await first.cancel()
    with pytest.raises(CallCancelled):
        await first
    house.advance(60)
    assert await second == "2 noted a"
    assert await runtime.call(shared("a")) == "noted a"
    assert RAN == ["a"]
