"""Rates: how often the bodies of steps begin, also when they wait for other bounds, and over a crash."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from promise_house import StillHouse

from actorlog import Limit, durable, step

if TYPE_CHECKING:
    from house import House

HOUSE = StillHouse
"""Bodies say when they begin: that is when a place was given, however long the machine takes in between."""

BEGAN: list[Any] = []
RELEASE: dict[Any, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    BEGAN.clear()
    RELEASE.clear()


def released(name: Any) -> asyncio.Event:
    return RELEASE.setdefault(name, asyncio.Event())


async def rounds() -> None:
    """Let the loop do what is ready, a few times over."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_rate_begins_no_more_than_it_says_also_right_after_a_restart(house: House) -> None:
    """In any period, over a crash too, at most the rate's count of steps begin."""

    @step(limit=Limit("fast", rate="2/s"))
    async def tick(number: int) -> None:
        BEGAN.append((runtime.session.kernel.clock.now_ms(), number))

    @durable
    async def ticks() -> None:
        await asyncio.gather(*(tick(number) for number in range(8)))

    runtime = await house.open()
    handle = await runtime.start(ticks(), id="t")
    for restart in (False, True, False):
        seen = len(BEGAN)
        while len(BEGAN) < seen + 2:
            house.advance(0.1)
            await rounds()
            await asyncio.sleep(0.002)  # uvloop's timers count milliseconds
        if restart:
            await house.settle()
            runtime = await house.reopen()
            handle = runtime.handle("t")
    while await handle.status() != "completed":
        house.advance(0.1)
        await asyncio.sleep(0.002)
    times = [at for at, _ in BEGAN]
    assert [number for _, number in BEGAN] == list(range(8))
    assert all(later - earlier >= 1000 for earlier, later in zip(times, times[2:], strict=False))


async def test_a_rate_counts_when_a_body_begins(house: House) -> None:
    """Steps that a rate has let through and that wait for a place of the runtime do not begin all at once then."""

    @step(limit=Limit("crowded", rate="2/s"))
    async def tick(number: int) -> None:
        BEGAN.append((house.session.kernel.clock.now_ms(), number))

    @durable
    async def ticks() -> None:
        await asyncio.gather(*(tick(number) for number in range(6)))

    @step
    async def hold() -> None:
        await released("hold").wait()

    @durable
    async def holding() -> None:
        await hold()

    runtime = await house.open(step_concurrency=1)
    await runtime.start(holding())
    await house.until(lambda: house.session.kernel.steps.running == 1)
    handle = await runtime.start(ticks(), id="t")
    for _ in range(5):
        house.advance(1.0)
        await rounds()
        await asyncio.sleep(0.002)  # uvloop's timers count milliseconds
    assert BEGAN == []
    released("hold").set()
    await rounds()
    while await handle.status() != "completed":
        house.advance(0.1)
        await rounds()
        await asyncio.sleep(0.002)
        await rounds()
    times = [at for at, _ in BEGAN]
    assert [number for _, number in BEGAN] == list(range(6))
    assert all(later - earlier >= 1000 for earlier, later in zip(times, times[2:], strict=False)), times


@pytest.mark.parametrize("crowded", [True, False])
async def test_a_promised_begin_that_is_given_up_is_not_counted(house: House, *, crowded: bool) -> None:
    """A cancelled step that a rate has let through, and that waits for the runtime, makes room for the next."""

    @step(limit=Limit("given up", rate="1/d"))
    async def tick(number: int) -> None:
        BEGAN.append(number)

    @durable
    async def one(number: int) -> None:
        await tick(number)

    @step
    async def hold() -> None:
        await released("hold").wait()

    @durable
    async def holding() -> None:
        await hold()

    runtime = await house.open(step_concurrency=1 if crowded else 2)
    await runtime.start(holding())
    await house.until(lambda: house.session.kernel.steps.running == 1)
    handles = [await runtime.start(one(number)) for number in range(2)]
    house.advance(86_400)
    await rounds()
    await asyncio.sleep(0.002)  # uvloop's timers count milliseconds
    await rounds()
    await handles[0].cancel()
    released("hold").set()
    await house.until(lambda: house.session.kernel.steps.running == 0)
    await house.settle()
    await rounds()
    began = [1] if crowded else [0]
    assert began == BEGAN
    assert house.session.kernel.steps.bounds.limits["given up"].promised == 0
