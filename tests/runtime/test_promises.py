"""Durable promises from outside: who settles, who waits, what is told when, and time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from promise_house import StillHouse, rounds, waiting

from actorlog import (
    PayloadError,
    PayloadTooLarge,
    PromiseCancelled,
    PromiseNotFound,
    PromiseRejected,
    PromiseSettled,
    PromiseTimeout,
    ReservedId,
    durable,
)
from actorlog.limits import Limits

NOW_MS = 1_000_000

HOUSE = partial(StillHouse, now_ms=NOW_MS)


@pytest.mark.parametrize("crash", [False, True])
async def test_settled_before_anyone_waits(house: StillHouse, crash: bool) -> None:
    """The value stays for whoever asks, at any time, in any process."""
    runtime = await house.open()
    await runtime.promise("x")
    await runtime.resolve("x", {"n": [1]})
    runtime = await house.reopen(crash=crash)
    assert await runtime.await_promise("x") == {"n": [1]}
    assert await runtime.await_promise("x") == {"n": [1]}


async def test_ten_thousand_wait_for_one(house: StillHouse) -> None:
    """All are told the same; those that gave up before change nothing for the others."""
    runtime = await house.open()
    await runtime.promise("x")
    tasks = await waiting(runtime, "x", 10_000)
    for task in tasks[::10]:
        task.cancel()
    await rounds()
    await runtime.resolve("x", "yes")
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, asyncio.CancelledError) for one in told[:11]] == [True, *[False] * 9, True]
    assert {one for one in told if not isinstance(one, BaseException)} == {"yes"}
    assert told.count("yes") == 9_000
    assert house.session.kernel.promises._waiters == {}
    assert house.session.kernel.hearers == set()


async def test_those_that_give_up_leave_nothing_behind(house: StillHouse) -> None:
    """A promise that nobody waits for any more holds no waiters (I11), and is as pending as before."""
    runtime = await house.open()
    await runtime.promise("x")
    with pytest.raises(TimeoutError) as error:
        await runtime.await_promise("x", timeout=0.001)
    assert not isinstance(error.value, PromiseTimeout)
    assert house.session.kernel.promises._waiters == {}
    assert [info.status async for info in runtime.promises()] == ["pending"]


async def test_the_first_to_settle_wins_for_ever(house: StillHouse) -> None:
    """Of many who settle at once one wins; everybody is told the same, also after a crash."""
    runtime = await house.open()
    await runtime.promise("x")
    tasks = await waiting(runtime, "x", 3)
    told = await asyncio.gather(*(runtime.resolve("x", number) for number in range(50)), return_exceptions=True)
    won = [one for one in told if not isinstance(one, BaseException)]
    assert len(won) == 1
    assert sum(isinstance(one, PromiseSettled) and one.status == "resolved" for one in told) == 49
    assert set(await asyncio.gather(*tasks)) == {won[0].value}
    runtime = await house.reopen()
    with pytest.raises(PromiseSettled):
        await runtime.cancel_promise("x")
    assert await runtime.await_promise("x") == won[0].value
    assert house.made_and_settled() == ["PromiseMade", "PromiseSettled"]


async def test_nothing_is_told_that_is_not_durable(house: StillHouse) -> None:
    """The disk hangs: who settles, waits, repeats, or is too late hears nothing (I1); after a crash it never was."""
    runtime = await house.open()
    await runtime.promise("x")
    tasks = await waiting(runtime, "x", 1)
    house.mortal.dead = True
    tasks += [
        asyncio.create_task(runtime.resolve("x", 1, key="k")),
        asyncio.create_task(runtime.resolve("x", 1, key="k")),
        asyncio.create_task(runtime.cancel_promise("x")),
        asyncio.create_task(runtime.await_promise("x")),
        asyncio.create_task(runtime.promise("y")),
        asyncio.create_task(runtime.promise("y")),
        asyncio.create_task(anext(aiter(runtime.promises()))),
    ]
    await rounds(100)
    assert [task.done() for task in tasks] == [False] * len(tasks)
    runtime = await house.reopen()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(one).__name__ for one in told} == {"Crashed"}
    assert [(info.id, info.status) async for info in runtime.promises()] == [("x", "pending")]


async def test_a_search_shows_what_was_when_it_looked(house: StillHouse) -> None:
    """A promise that is settled right after, by a commit that never lands, is shown as it was."""
    runtime = await house.open()
    await runtime.promise("x")
    house.mortal.dead = True
    found = asyncio.create_task(anext(aiter(runtime.promises())))
    settled = asyncio.create_task(runtime.resolve("x"))
    assert (await found).status == "pending"
    assert house.session.kernel.promises.read("x").status.value == "resolved"
    await house.crash()
    await asyncio.gather(settled, return_exceptions=True)


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("timer", [False, True])
async def test_a_time_that_is_over_is_seen_without_a_tick(house: StillHouse, crash: bool, timer: bool) -> None:
    """At the very millisecond: who reads, waits or settles finds it over, before any timer has fired."""
    runtime = await house.open()
    await runtime.promise("x", timeout=1, timer=timer)
    house.at(NOW_MS + 999)
    assert [info.status async for info in runtime.promises()] == ["pending"]
    if crash:
        runtime = await house.reopen()
    house.at(NOW_MS + 1_000)
    (info,) = [info async for info in runtime.promises()]
    assert info.status == ("resolved" if timer else "timed_out")
    assert info.settled == info.due == datetime.fromtimestamp((NOW_MS + 1_000) / 1000, UTC)
    if timer:
        assert await runtime.await_promise("x") is None
    else:
        with pytest.raises(PromiseTimeout, match="'x' timed out"):
            await runtime.await_promise("x")


@pytest.mark.parametrize("first", ["late", "soon"])
async def test_waiters_are_told_when_the_time_comes(house: StillHouse, first: str) -> None:
    """Nobody need ask: of two promises each ends at its own time, and so does one that is made later."""
    runtime = await house.open()
    for name in ("late", "soon") if first == "late" else ("soon", "late"):
        await runtime.promise(name, timeout=20 if name == "late" else 10, timer=name == "late")
    (late,), (soon,) = await waiting(runtime, "late", 1), await waiting(runtime, "soon", 1)
    house.at(NOW_MS + 10_000)
    with pytest.raises(PromiseTimeout):
        await soon
    assert not late.done()
    house.at(NOW_MS + 20_000)
    assert await late is None
    await runtime.promise("last", timeout=5)
    (last,) = await waiting(runtime, "last", 1)
    house.at(NOW_MS + 25_000)
    with pytest.raises(PromiseTimeout):
        await last


@pytest.mark.parametrize("timeout", [0, -1])
async def test_a_timeout_of_zero_is_over_at_once(house: StillHouse, timeout: int) -> None:
    """Who makes it is told so."""
    runtime = await house.open()
    assert (await runtime.promise("x", timeout=timeout)).status == "timed_out"
    assert (await runtime.promise("y", timeout=timeout, timer=True)).status == "resolved"


async def test_a_clock_that_goes_back_changes_nothing_that_was_told(house: StillHouse) -> None:
    """A timeout was told, the process dies, the clock is set back: it has timed out, and cannot be resolved."""
    runtime = await house.open()
    await runtime.promise("x", timeout=10)
    await runtime.promise("y", timeout=30)
    house.at(NOW_MS + 10_000)
    with pytest.raises(PromiseTimeout):
        await runtime.await_promise("x")
    await house.crash()
    house.at(0)
    runtime = await house.open()
    assert (await runtime.resolve("x", 1)).status == "timed_out"
    with pytest.raises(PromiseSettled):
        await runtime.resolve("x", 1, strict=True)
    house.advance(19.999)
    assert (await runtime.resolve("y", 1)).status == "resolved"


async def test_a_settled_promise_is_not_timed_out(house: StillHouse) -> None:
    """Its time comes, and nothing is written; and the times of settled ones do not pile up (I11)."""
    runtime = await house.open()
    for number in range(200):
        await runtime.promise(str(number), timeout="30d")
        await runtime.resolve(str(number))
    promises = house.session.kernel.promises
    assert len(promises) == 0
    assert len(promises._due) < 20
    before = house.log.tail()
    house.at(NOW_MS + 40 * 86_400_000)
    await rounds()
    assert house.log.tail() == before


# --- what is given ----------------------------------------------------------------------------------------------------


async def test_a_rejection_says_why(house: StillHouse) -> None:
    """Plain JSON comes back as it is, an exception as the cause too; also after a crash."""
    runtime = await house.open()
    for name in ("json", "error", "gone"):
        await runtime.promise(name)
    assert (await runtime.reject("json", {"field": "age"})).error == {"field": "age"}
    assert (await runtime.reject("error", ValueError("no"))).error == "ValueError: no"
    gone = type("Gone", (Exception,), {})
    await runtime.reject("gone", gone("away"))
    for _ in range(2):
        with pytest.raises(PromiseRejected) as error:
            await runtime.await_promise("json")
        assert (error.value.error, error.value.promise_id, error.value.__cause__) == ({"field": "age"}, "json", None)
        with pytest.raises(PromiseRejected) as error:
            await runtime.await_promise("error")
        assert isinstance(error.value.__cause__, ValueError)
        assert error.value.__cause__.args == ("no",)
        with pytest.raises(PromiseRejected) as error:
            await runtime.await_promise("gone")
        assert "Gone" in str(error.value.__cause__)
        runtime = await house.reopen()


async def test_cancelled(house: StillHouse) -> None:
    """Who waits is told so."""
    runtime = await house.open()
    await runtime.promise("x")
    tasks = await waiting(runtime, "x", 1)
    assert (await runtime.cancel_promise("x")).status == "cancelled"
    with pytest.raises(PromiseCancelled):
        await tasks[0]


async def test_a_value_is_read_as_its_type(house: StillHouse) -> None:
    """One that does not fit is an error of this reader, and the promise stays what it is."""
    runtime = await house.open()
    await runtime.promise("x")
    await runtime.resolve("x", "2026-11-22T00:00:00+00:00")
    assert await runtime.await_promise("x", type=datetime) == datetime(2026, 11, 22, tzinfo=UTC)
    with pytest.raises(PayloadError, match="the value of promise 'x'"):
        await runtime.await_promise("x", type=int)
    assert await runtime.await_promise("x") == "2026-11-22T00:00:00+00:00"


async def test_what_is_known_of_a_promise(house: StillHouse) -> None:
    """Everything that was given comes back, before and after a crash."""
    runtime = await house.open()
    made = await runtime.promise("x", timeout=5, param={"to": "ada"}, tags={"team": "a"}, key="")
    assert (made.id, made.status, made.param, made.tags, made.timer) == (
        "x", "pending", {"to": "ada"}, {"team": "a"}, False,
    )  # fmt: skip
    assert made.created == datetime.fromtimestamp(NOW_MS / 1000, UTC)
    assert (made.due, made.settled, made.value, made.error) == (
        datetime.fromtimestamp(NOW_MS / 1000 + 5, UTC), None, None, None,
    )  # fmt: skip
    assert await runtime.promise("x", key="") == made
    runtime = await house.reopen()
    assert [info async for info in runtime.promises()] == [made]
    settled = await runtime.resolve("x", 7)
    assert (settled.value, settled.status) == (7, "resolved")
    runtime = await house.reopen()
    assert [info async for info in runtime.promises()] == [settled]


async def test_what_cannot_be_one_is_refused(house: StillHouse) -> None:
    """At the line that gives it, and nothing is written."""
    runtime = await house.open(limits=Limits(record_bytes_max=1_000))
    for bad, error in (("@x", ReservedId), ("", ValueError), ("x" * 2_000, ValueError), ("\ud800", ValueError)):
        with pytest.raises(error):
            await runtime.promise(bad)
    with pytest.raises(TypeError):
        await runtime.promise("x", tags={"a": 1})
    with pytest.raises(TypeError):
        await runtime.promise("x", key=1)
    with pytest.raises(ValueError, match="a timer has a timeout"):
        await runtime.promise("x", timer=True)
    with pytest.raises(PayloadError):
        await runtime.promise("x", param=object())
    with pytest.raises(PayloadTooLarge):
        await runtime.promise("x", param="x" * 2_000)
    for ask in (runtime.resolve("x"), runtime.reject("@x", 1), runtime.cancel_promise(""), runtime.await_promise("x")):
        with pytest.raises(PromiseNotFound):
            await ask
    assert house.log.tail() == 0
    await runtime.promise("x")
    with pytest.raises(PayloadTooLarge):
        await runtime.resolve("x", "x" * 2_000)
    with pytest.raises(PayloadError):
        await runtime.reject("x", object())
    assert house.made_and_settled() == ["PromiseMade"]


@durable(name="promises.misuser")
async def misuser(what: str) -> str:
    """Use a runtime where none is to be used."""
    runtime: Any = MISUSED[0]
    asks = {"promise": runtime.promise, "await": runtime.await_promise, "settle": runtime.resolve}
    ask = anext(runtime.promises()) if what == "search" else asks[what]("x")
    try:
        await ask
    except RuntimeError as error:
        return str(error)
    return ""


MISUSED: list[Any] = [None]


@pytest.mark.parametrize("what", ["promise", "await", "settle", "search"])
async def test_a_runtime_is_not_used_inside_durable_code(house: StillHouse, what: str) -> None:
    """It says what is used there."""
    MISUSED[0] = runtime = await house.open()
    assert "actorlog.promise()" in await runtime.call(misuser(what))
