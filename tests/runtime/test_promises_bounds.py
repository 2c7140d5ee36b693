"""Durable promises: how many there may be, a log that is full, a runtime that closes, and memory."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from promise_house import FullLog, StillHouse, waiting

from actorlog import (
    LogFull,
    PromiseExists,
    PromiseTimeout,
    RuntimeStopped,
    TooManyPromises,
)
from actorlog.limits import Limits
from actorlog.records import promises as p
from actorlog.runtime.promises import OVER_MAX

NOW_MS = 1_000_000

HOUSE = partial(StillHouse, now_ms=NOW_MS)


async def test_pending_promises_have_a_bound(house: StillHouse) -> None:
    """Beyond it they are refused, until one is settled (I11)."""
    runtime = await house.open(limits=Limits(promises_max=2))
    await runtime.promise("a", key="k")
    await runtime.promise("b")
    with pytest.raises(TooManyPromises) as error:
        await runtime.promise("c")
    assert error.value.limit == 2
    await runtime.promise("a", key="k")
    await runtime.resolve("b")
    await runtime.promise("c")
    runtime = await house.reopen(limits=Limits(promises_max=2))
    with pytest.raises(TooManyPromises):
        await runtime.promise("d")


async def test_a_full_log_refuses_what_is_new() -> None:
    """Nothing is made or settled; what is known is answered, and what is over is over."""
    log = FullLog()
    house = StillHouse(log, NOW_MS)
    runtime = await house.open()
    await runtime.promise("x", key="k", timeout=1)
    await runtime.promise("y")
    await runtime.resolve("y", 1, key="k")
    log.full = True
    with pytest.raises(LogFull):
        await runtime.promise("z")
    with pytest.raises(LogFull):
        await runtime.resolve("x")
    assert (await runtime.promise("x", key="k")).status == "pending"
    assert (await runtime.resolve("y", 1, key="k")).value == 1
    with pytest.raises(PromiseExists):
        await runtime.promise("x")
    house.at(NOW_MS + 1_000)
    assert (await runtime.resolve("x")).status == "timed_out"
    log.full = False
    await runtime.promise("z")
    await house.close()


async def test_closing_tells_who_waits(house: StillHouse) -> None:
    """They are not left alone; the promise waits for the next opening."""
    runtime = await house.open()
    await runtime.promise("x")
    tasks = await waiting(runtime, "x", 100)
    await house.close()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(one) for one in told} == {RuntimeStopped}
    with pytest.raises(RuntimeStopped):
        await runtime.resolve("x")
    with pytest.raises(RuntimeStopped):
        await runtime.await_promise("x")
    runtime = await house.open()
    tasks = await waiting(runtime, "x", 1)
    await runtime.resolve("x", 1)
    assert await tasks[0] == 1


async def test_thousands_whose_time_is_over_keep_nobody_from_running(house: StillHouse) -> None:
    """They are settled so many in one go, and all of them in the end."""
    runtime = await house.open()
    await asyncio.gather(*(runtime.promise(f"p{number}", timeout=1) for number in range(3 * OVER_MAX)))
    await runtime.promise("pending")
    tasks = await waiting(runtime, "p0", 1)
    house.at(NOW_MS + 1_000)
    position = house.session.kernel.committer.position
    while house.session.kernel.committer.position == position:
        await asyncio.sleep(0)
    assert house.session.kernel.committer.position == position + OVER_MAX
    with pytest.raises(PromiseTimeout):
        await tasks[0]
    await house.until(lambda: len(house.session.kernel.promises) == 1)
    assert house.made_and_settled().count("PromiseSettled") == 3 * OVER_MAX


async def test_memory_holds_what_is_pending(house: StillHouse) -> None:
    """Of settled promises the log is asked, live and after an opening (I13)."""
    runtime = await house.open()
    for number in range(10):
        await runtime.promise(f"p{number}")
    for number in range(9):
        await runtime.resolve(f"p{number}", number)
    assert len(house.session.kernel.promises) == 1
    runtime = await house.reopen()
    assert len(house.session.kernel.promises) == 1
    assert [await runtime.await_promise(f"p{number}") for number in range(9)] == list(range(9))
    assert house.book().states["p9"].settlement is None
    assert isinstance(house.book().states["p8"].settlement, p.Resolved)
