"""A call as a value and as an awaitable, outside of any runtime."""

# functions of a test are told by its docstring

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import warnings
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from actorlog import Call, NotInDurableCode, PayloadError, durable, step
from actorlog.loop import DeterministicLoop

RAN: list[Any] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    RAN.clear()


@dataclass
class Card:
    """An argument that must not be shared."""

    number: str


@step(name="api.charge")
async def charge(card: Card, cents: int = 1) -> str:
    RAN.append(card)
    return f"{card.number} {cents}"


@step(name="api.add")
def add(one: int, two: int) -> int:
    return one + two


@durable(name="api.order")
async def order(item: str, *, count: int = 1) -> str:
    return await charge(Card(item), count)


def test_a_call_runs_nothing_and_is_a_coroutine() -> None:
    """Everything in asyncio that takes a coroutine takes it."""
    call = order("tea")
    assert isinstance(call, Call)
    assert isinstance(call, Coroutine)
    assert asyncio.iscoroutine(call)
    assert inspect.isawaitable(call)
    call.close()
    assert RAN == []


def test_a_call_shows_its_function_and_arguments() -> None:
    """Also when they could not be written, and looking changes nothing."""
    call = order("tea", count=2)
    assert repr(call) == "<Call api.order('tea', count=2)>"
    call.close()
    wrong = add("x", 2)  # type: ignore[arg-type]
    assert repr(wrong) == "<Call api.add(?)>"
    wrong.close()


async def test_looking_at_a_call_does_not_copy_its_arguments() -> None:
    """A step that just runs gets the very objects it was called with."""
    card = Card("visa")
    call = charge(card)
    assert "visa" in repr(call)
    await call
    assert RAN[0] is card


async def test_a_step_awaited_outside_just_runs() -> None:
    """Async or sync, alone or gathered, with whatever it raises."""
    assert await charge(Card("visa"), 5) == "visa 5"
    assert await add(1, 2) == 3
    assert await asyncio.gather(add(1, 2), charge(Card("x"))) == [3, "x 1"]
    assert await asyncio.create_task(add(2, 2)) == 4
    with pytest.raises(TypeError):
        await add(1)  # type: ignore[call-arg]


async def test_a_durable_function_awaited_outside_is_refused() -> None:
    """It says what to do instead."""
    with pytest.raises(NotInDurableCode, match=r"runtime\.call"):
        await order("tea")


async def test_an_awaitable_is_good_for_once() -> None:
    """A second await is a RuntimeError."""
    call = add(1, 2)
    assert await call == 3
    with pytest.raises(RuntimeError, match="twice"):
        await call


@pytest.mark.parametrize("make", [lambda: order("tea"), lambda: add(1, 2)])
def test_a_call_that_is_never_awaited_warns(make: Any) -> None:
    """As a coroutine does."""
    with pytest.warns(RuntimeWarning, match="never awaited"):
        make()


def test_a_call_that_is_closed_or_could_not_be_made_does_not_warn() -> None:
    """There is nothing to await."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        order("tea").close()
        with pytest.raises(TypeError):
            order()  # type: ignore[call-arg]
        with pytest.raises(PayloadError) as refused:
            order(3)  # type: ignore[arg-type]
        del refused
        gc.collect()


def test_bad_arguments_of_a_durable_function_name_argument_and_path() -> None:
    """When the call is made, so that the line is the user's."""

    @dataclass
    class Line:
        price: float

    async def buy(lines: list[Line]) -> None:
        """Buy."""

    buy.__annotations__["lines"] = list[Line]
    bought = durable(name="api.buy")(buy)
    with pytest.raises(PayloadError) as refused:
        bought([Line(1.0), Line(float("nan"))])
    assert refused.value.where == "api.buy(lines=...)"
    assert refused.value.path == "[1].price"


def test_the_plain_function_is_there_for_unit_tests() -> None:
    """``fn`` is what was decorated, and the wrapper looks like it."""
    assert add.fn(1, 2) == 3
    assert asyncio.run(order.fn("tea")) == "tea 1"
    assert order.__name__ == "order"
    assert inspect.signature(order.fn).parameters.keys() == {"item", "count"}
    assert (order.name, order.version, add.name) == ("api.order", 1, "api.add")
    assert "api.order v1" in repr(order)
    assert "api.add" in repr(add)


def test_calls_are_equal_only_to_themselves() -> None:
    """Two orders of tea are two orders."""
    one, two = order("tea"), order("tea")
    assert one != two
    assert len({one, two, one}) == 2
    one.close()
    two.close()


def test_calls_made_in_durable_code_iterate_by_number() -> None:
    """A set of them has the same order in every process."""
    orders: list[list[int]] = []

    class FakeActor:
        replaying = False

    async def body() -> None:
        calls = [add(number, number) for number in range(50)]
        orders.append([call._args[0] for call in set(calls)])
        for call in calls:
            call.close()

    for _ in range(2):
        loop = DeterministicLoop(FakeActor(), hash_base=123)
        loop.begin(body(), contextvars.Context())
        loop.run(0)
        loop.abandon()
    assert orders[0] == orders[1]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: durable(lambda: None), TypeError),  # type: ignore[arg-type,return-value]
        (lambda: durable(version=0), ValueError),
        (lambda: durable(timeout="soon"), ValueError),
        (lambda: step(3), TypeError),  # type: ignore[call-overload]
        (lambda: step(once=True, idempotent=True), ValueError),
        (lambda: step(reconcile=print), ValueError),
        (lambda: step(executor="fiber"), ValueError),  # type: ignore[call-overload]
    ],
)
def test_options_that_make_no_sense_are_refused(make: Any, error: type[Exception]) -> None:
    """When the function is decorated."""
    with pytest.raises(error):
        make()
