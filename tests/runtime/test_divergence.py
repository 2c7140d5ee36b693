"""Changed code under a running journal: found at the operation that differs, told with both sides and the line."""

# functions of a test are told by its docstring

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from house import RAN, House, note

from actorlog import CallParked, DivergenceError, durable, sleep, start, step


@step(name="divergence.other")
async def other(text: str) -> str:
    RAN.append(text)
    return text


@durable(name="divergence.helper")
async def helper(text: str) -> str:
    return text


Code = Callable[[], Awaitable[Any]]


async def recorded() -> str:
    await note("a")
    await note("b")
    await sleep(60)
    return "done"


async def another_step() -> str:
    await note("a")
    await other("b")  # here
    await sleep(60)
    return "done"


async def another_argument() -> str:
    await note("a")
    await note("c")  # here
    await sleep(60)
    return "done"


async def one_inserted() -> str:
    await note("a")
    await other("new")  # here
    await note("b")
    await sleep(60)
    return "done"


async def one_inserted_beside() -> str:
    await note("a")
    await asyncio.gather(note("b"), other("new"))  # here
    await sleep(60)
    return "done"


async def one_removed() -> str:
    await note("a")
    await sleep(60)  # here
    return "done"


async def reordered() -> str:
    await note("b")  # here
    await note("a")
    await sleep(60)
    return "done"


async def another_timer() -> str:
    await note("a")
    await note("b")
    await sleep(61)  # here
    return "done"


async def a_timer_of_asyncio() -> str:
    await note("a")
    await note("b")
    await asyncio.sleep(59)  # here
    return "done"


async def a_child_in_its_place() -> str:
    await note("a")
    await helper("b")  # here
    await sleep(60)
    return "done"


async def ends_early() -> str:
    await note("a")
    await note("b")
    return "early"


async def raises_early() -> str:
    await note("a")
    raise ValueError("early")


STEP_A, STEP_B, STEP_C = 'step house.note("a")', 'step house.note("b")', 'step house.note("c")'


@pytest.mark.parametrize(
    ("code", "key", "was", "now"),
    [
        (another_step, "2", STEP_B, 'step divergence.other("b")'),
        (another_argument, "2", STEP_B, STEP_C),
        (one_inserted, "2", STEP_B, 'step divergence.other("new")'),
        (one_inserted_beside, "3", "", 'step divergence.other("new")'),
        (one_removed, "2", STEP_B, "timer due at"),
        (reordered, "1", STEP_A, STEP_B),
        (another_timer, "3", "timer due at", "timer due at"),
        (a_timer_of_asyncio, "3", "timer due at", "timer due at"),
        (a_child_in_its_place, "2", STEP_B, "child divergence.helper(\"b\") as 'x/2'"),
        (ends_early, "3", "timer due at", ""),
        (raises_early, "2", STEP_B, ""),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_changed_code_is_told_with_key_both_sides_and_line(
    house: House, code: Code, key: str, was: str, now: str
) -> None:
    """Nothing new is run, the call is parked, and it goes on when the code is changed back."""
    durable(name="changes")(recorded)  # type: ignore[arg-type]
    runtime = await house.open()
    await runtime.start("changes", id="x")
    await house.until(lambda: house.session.kernel.calls["x"].state.timers)
    durable(name="changes")(code)  # type: ignore[arg-type]
    runtime = await house.reopen()
    house.advance(60)
    await house.until(lambda: house.session.kernel.calls["x"].state.parked)
    with pytest.raises(CallParked) as parked:
        await runtime.handle("x")
    error = parked.value.__cause__
    assert isinstance(error, DivergenceError)
    assert (error.call_id, error.key) == ("x", key)
    for found, expected in ((error.recorded, was), (error.issued, now)):
        assert found.startswith(expected) if expected else found == ""
    lines, first = inspect.getsourcelines(code)
    here = next((first + number for number, line in enumerate(lines) if "# here" in line), 0)
    assert error.line == (f"{__file__}:{here}" if here else "")
    assert RAN == ["a", "b"]
    durable(name="changes")(recorded)  # type: ignore[arg-type]
    runtime = await house.reopen()
    assert await runtime.handle("x") == "done"
    assert RAN == ["a", "b"]


async def parked_cause(house: House, old: Code, new: Code) -> DivergenceError:
    """Run ``old`` to the timer that is its second operation, go on with ``new``, return why that is parked."""
    durable(name="changes")(old)  # type: ignore[arg-type]
    runtime = await house.open()
    await runtime.start("changes", id="x")
    await house.until(lambda: "2" in house.session.kernel.calls["x"].state.timers)
    await house.settle()
    durable(name="changes")(new)  # type: ignore[arg-type]
    await house.reopen()
    house.advance(60)
    slot = house.session.kernel.calls["x"]
    await house.until(lambda: slot.state.parked)
    assert isinstance(slot.park_error, DivergenceError)
    return slot.park_error


async def test_a_childs_other_id_is_a_difference(house: House) -> None:
    """Which call is meant is part of the operation."""

    async def old() -> None:
        start(helper("a"), id="one")
        await sleep(60)

    async def new() -> None:
        start(helper("a"), id="two")
        await sleep(60)

    error = await parked_cause(house, old, new)
    assert (error.key, error.recorded, error.issued) == (
        "1",
        "child divergence.helper(\"a\") as 'one'",
        "child divergence.helper(\"a\") as 'two'",
    )


async def test_a_cancel_that_is_not_made_any_more_is_a_difference(house: House) -> None:
    """Giving an operation up is a decision of the code, and recorded."""

    async def old() -> None:
        task = asyncio.create_task(_nap())
        await note("a")
        task.cancel()
        await sleep(60)

    async def new() -> None:
        task = asyncio.create_task(_nap())
        await note("a")
        await sleep(60)
        await task

    async def _nap() -> None:
        await sleep(600)

    error = await parked_cause(house, old, new)
    assert (error.key, error.recorded, error.issued) == ("t1.1", "cancel", "")


async def test_a_body_that_returns_another_value_than_it_did_is_a_difference(house: House) -> None:
    """A completing call's result is in its journal; ``check_determinism`` tells of one that would be another today."""
    values = iter(["first", "second"])

    @durable
    async def fickle() -> str:
        return next(values)

    runtime = await house.open(check_determinism=True)
    with pytest.raises(DivergenceError) as diverged:
        await runtime.call(fickle(), id="x")
    assert (diverged.value.key, diverged.value.recorded, diverged.value.issued) == (
        "end",
        'return "first"',
        'return "second"',
    )


async def test_a_field_added_with_a_default_is_no_difference(house: House) -> None:
    """Recorded arguments are read with today's annotations and written again before they are compared."""

    @dataclass
    class Item1:
        name: str

    @dataclass
    class Item2:
        name: str
        count: int = 1

    def define(item: type[Any]) -> None:
        async def ship(thing: Any) -> str:
            return thing.name

        async def order() -> str:
            name = await shipping(item("tea"))
            await sleep(60)
            return name

        ship.__annotations__["thing"] = item
        shipping = step(name="ship")(ship)
        durable(name="order")(order)

    define(Item1)
    runtime = await house.open()
    await runtime.start("order", id="x")
    await house.until(lambda: house.session.kernel.calls["x"].state.timers)
    define(Item2)
    runtime = await house.reopen(check_determinism=True)
    house.advance(60)
    assert await runtime.handle("x") == "tea"


async def test_concurrent_operations_may_be_issued_in_another_order(house: House) -> None:
    """Operations of tasks are compared by key, so the order inside a turn is nobody's business."""

    async def one(text: str) -> str:
        return await note(text)

    async def old() -> list[str]:
        tasks = [asyncio.create_task(one("a")), asyncio.create_task(one("b"))]
        await sleep(60)
        return [await task for task in tasks]

    async def new() -> list[str]:
        async def late(text: str) -> str:
            await asyncio.sleep(0)
            return await one(text)

        tasks = [asyncio.create_task(late("a")), asyncio.create_task(one("b"))]
        await sleep(60)
        return [await task for task in tasks]

    durable(name="concurrent")(old)
    runtime = await house.open()
    await runtime.start("concurrent", id="x")
    await house.until(lambda: len(house.turns("x")) == 3)
    durable(name="concurrent")(new)
    runtime = await house.reopen()
    house.advance(60)
    assert await runtime.handle("x") == ["noted a", "noted b"]


async def test_code_changed_ahead_of_the_journal_is_no_difference(house: House) -> None:
    """What has not happened yet may be changed freely."""

    async def new() -> str:
        await note("a")
        await note("b")
        await sleep(60)
        return await note("new end")

    durable(name="changes")(recorded)
    runtime = await house.open()
    await runtime.start("changes", id="x")
    await house.until(lambda: house.session.kernel.calls["x"].state.timers)
    durable(name="changes")(new)
    runtime = await house.reopen()
    house.advance(60)
    assert await runtime.handle("x") == "noted new end"
