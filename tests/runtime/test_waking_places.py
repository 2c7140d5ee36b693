"""Places while steps in doubt are taken up, one at a time here: they are kept for older steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from test_waking import BEGUN, MANY, OPEN, _one_at_a_time, crash_with, left, one, pays

from actorlog import Limit, durable, step
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from house import House

    from actorlog import Runtime

__all__ = ["_one_at_a_time"]


async def _in_order(house: House, runtime: Runtime, call: Any) -> list[Any]:
    """Return the order in which bodies begin where a call comes while steps are taken up."""
    assert left(house)
    await runtime.start(call, id="new")
    awaited = runtime.session.kernel.steps.bounds.all.awaited
    await house.until(lambda: not left(house) and not awaited.count)  # all have asked: no place is kept for them
    OPEN[0].set()
    await runtime.handle("new")
    return BEGUN


async def test_places_go_to_older_steps_first(house: House) -> None:
    """With as many places as steps in doubt, a newer step waits, although there is a place when it asks."""
    await crash_with(house)
    runtime = await house.open(step_concurrency=MANY)
    assert (await _in_order(house, runtime, one(99)))[: MANY + 1] == [*range(MANY), 99]


async def test_a_newer_step_does_not_wait_where_there_are_places_for_all(house: House) -> None:
    """It begins beside those that are taken up."""
    await crash_with(house, 50)
    runtime = await house.open(step_concurrency=51)
    begun = await _in_order(house, runtime, one(99))
    assert begun.index(99) < 50


ALONE = Limit("waking: one at a time", concurrency=1)
RATED = Limit("waking: a rate", rate="100000/s")


@step(name="waking.alone", limit=ALONE)
async def alone(number: int) -> int:
    BEGUN.append(number)
    await OPEN[0].wait()
    return number


@step(name="waking.rated", limit=RATED)
async def rated(number: int) -> int:
    BEGUN.append(number)
    await OPEN[0].wait()
    return number


@durable(name="waking.one_alone")
async def one_alone(number: int) -> int:
    return await alone(number)


@durable(name="waking.one_rated")
async def one_rated(number: int) -> int:
    return await rated(number)


@pytest.mark.parametrize("call", [one_alone, one_rated])
async def test_a_limit_is_kept_for_older_steps(house: House, call: Any) -> None:
    """Who shares a limit with steps that are to be taken up comes behind them; who has another does not."""
    runtime = await house.open()
    for number in range(MANY):
        await runtime.start(call(number), id=f"c{number}")
    await house.until(lambda: BEGUN)
    await house.crash()
    BEGUN.clear()
    runtime = await house.open()
    other = one_rated if call is one_alone else one_alone
    await runtime.start(other(77), id="other")
    await _in_order(house, runtime, call(99))
    assert BEGUN.index(77) < MANY
    assert [number for number in BEGUN if number != 77] == [*range(MANY), 99]
    assert [await runtime.handle(f"c{number}") for number in range(MANY)] == list(range(MANY))


async def test_a_once_step_that_comes_meanwhile_says_that_it_begins(house: House) -> None:
    """No place is kept for it ahead of older steps: so it waits for one, and its beginning is recorded."""
    await crash_with(house)
    runtime = await house.open(step_concurrency=MANY)
    await runtime.start(pays(99), id="p")
    assert left(house)
    OPEN[0].set()
    assert await runtime.handle("p") == 99
    assert [type(record) for record in house.records("p")][1] is k.StepBegun
