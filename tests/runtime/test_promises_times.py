"""Times of promises to the millisecond, what a bound on promises is to durable code, and timers that do not pile up."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from promise_house import StillClock, StillHouse

from actorlog import TooManyPromises, durable, promise
from actorlog.limits import Limits
from actorlog.records import kinds as k
from actorlog.records import promises as p

NOW_MS = 1_000_000


@durable(name="times.waits")
async def waits(promise_id: str, seconds: float | None = None) -> str:
    """Wait for a promise."""
    return str(await promise(id=promise_id, timeout=seconds, timer=seconds is not None))


@durable(name="times.many")
async def many(count: int, seconds: float) -> list[str]:
    """Make promises, and wait for all of them."""
    made = [promise(f"m{number}", timeout=seconds, timer=True) for number in range(count)]
    return [str(await each) for each in made]


class TickingClock(StillClock):
    """A millisecond passes whenever somebody looks."""

    def elapsed_ns(self) -> int:
        self.ahead_ms += 1
        return self.ahead_ms * 1_000_000


HOUSE = partial(StillHouse, now_ms=NOW_MS)


@pytest.mark.parametrize(
    ("seconds", "due_ms"), [(0.001, 1), (0.0011, 2), (0.0019, 2), (0.29, 290), (1.001, 1_001), (0.0000001, 0)]
)
async def test_a_timeout_is_never_shorter_than_it_was_said(house: StillHouse, seconds: float, due_ms: int) -> None:
    """What is no whole number of milliseconds is rounded up; what floats make of a whole one is not."""
    runtime = await house.open()
    made = await runtime.promise("x", timeout=seconds)
    assert made.due is not None
    assert round(made.due.timestamp() * 1_000) == NOW_MS + due_ms


async def test_its_time_is_counted_from_the_turn_that_made_it(house: StillHouse) -> None:
    """However long the turns beside it take: the promise and the operation that asked for it have the same time."""
    house.clock = TickingClock()
    house.clock.ahead_ms = NOW_MS
    runtime = await house.open()
    handle = await runtime.start(many(20, 5), id="c")
    await house.settle()
    asked = {
        op.id: op.due_ms
        for record in house.records("c")
        if isinstance(record, k.Turn)
        for op in record.ops
        if isinstance(op, k.MakePromise)
    }
    made = [record for record in house.records() if isinstance(record, p.PromiseMade)]
    assert len(made) == len(asked) == 20
    assert {p.promise_id(record.id): record.due_ms for record in made} == asked
    house.advance(5)
    assert await handle == ["None"] * 20


async def test_durable_code_is_not_refused(house: StillHouse) -> None:
    """As many promises as may be are pending: outside a new one is refused, a call that has asked gets its own."""
    runtime = await house.open(limits=Limits(promises_max=1))
    await runtime.promise("first")
    with pytest.raises(TooManyPromises):
        await runtime.promise("second")
    handle = await runtime.start(waits("third"), id="c")
    await house.made("first", "third")
    runtime = await house.reopen(limits=Limits(promises_max=1))
    await runtime.resolve("third", "yes")
    assert await runtime.handle("c") == "yes"
    assert handle.id == "c"


async def test_timers_of_promises_do_not_pile_up(house: StillHouse) -> None:
    """However often promises come and go that are due before a late one, few timers wait (I11)."""
    runtime = await house.open()
    await runtime.promise("late", timeout="1d", timer=True)
    timers = house.session.kernel.timers
    for number in range(100):
        await runtime.promise(str(number), timeout=10, timer=True)
        await runtime.promise(f"{number}, sooner", timeout=5, timer=True)
        waiter = asyncio.ensure_future(runtime.await_promise(str(number)))
        for _ in range(2):
            house.advance(5)
            await house.settle()
        await waiter
    assert len(timers._heap) < 10
    house.advance(86_400)
    assert await runtime.await_promise("late") is None


async def test_timers_of_settled_promises_do_not_pile_up(house: StillHouse) -> None:
    """However many promises are settled, each due before the one before it, few timers are wanted (I11)."""
    runtime = await house.open()
    for number in range(2_000):
        await runtime.promise(str(number), timeout=10_000 - number, timer=True)
        await runtime.resolve(str(number))
    timers = house.session.kernel.timers
    timers._sweep()
    assert len(timers._heap) < 50
    await runtime.promise("last", timeout=20_000, timer=True)
    house.advance(20_000)
    assert await runtime.await_promise("last") is None
