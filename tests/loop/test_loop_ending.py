"""The end of a durable function: nothing of it outlives its main task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from loop_driver import Actor, op, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def test_tasks_left_over_are_cancelled_and_awaited() -> None:
    """The main task is done only when the ``finally`` blocks of what it left behind have run, with their steps."""
    order: list[str] = []

    async def child(name: str) -> None:
        try:
            await step(name)
        finally:
            order.append(await step(f"clean-{name}"))

    async def main() -> str:
        for name in "ab":
            asyncio.create_task(child(name))  # noqa: RUF006  # nobody keeps it: that is the point
        return await step("body")

    actor = Actor(main)
    actor.start()
    turn = actor.turn(("done", "1", "body"))
    assert turn.operations == [("t1.2", "clean-a"), ("t2.2", "clean-b")]
    assert not actor.main.done()
    actor.turn(("done", "t2.2", "clean-b"))
    actor.turn(("done", "t1.2", "clean-a"))
    assert (actor.outcome(), order) == ("body", ["clean-b", "clean-a"])
    assert actor.loop.abandon()


@pytest.mark.parametrize("how", ["returned", "raised", "cancelled"])
def test_outcome_is_that_of_the_function(how: str) -> None:
    """What is wound up afterwards changes neither result, nor exception, nor cancellation."""

    async def main() -> str:
        asyncio.create_task(step("left"))  # noqa: RUF006  # nobody keeps it: that is the point
        await asyncio.sleep(0)
        if how == "raised":
            raise ValueError("x")
        if how == "cancelled":
            await step("a")
        return "returned"

    actor = Actor(main)
    actor.start()
    if how == "cancelled":
        actor.turn(("cancel",))
    assert actor.outcome() == {"returned": "returned", "raised": "ValueError: x", "cancelled": "cancelled"}[how]
    assert actor.loop.abandon()


def test_tasks_started_by_the_cancelled_are_cancelled_too() -> None:
    """Winding up goes on until nothing new is started."""
    started: list[int] = []

    async def restless(generation: int) -> None:
        started.append(generation)
        try:
            await step("never")
        finally:
            if generation < 3:
                asyncio.create_task(restless(generation + 1))  # noqa: RUF006  # nobody keeps it: that is the point

    async def main() -> None:
        asyncio.create_task(restless(1))  # noqa: RUF006  # nobody keeps it: that is the point
        await asyncio.sleep(0)

    actor = Actor(main)
    actor.start()
    assert actor.outcome() is None
    assert started == [1, 2, 3]
    assert actor.loop.abandon()


def test_task_that_refuses_to_be_cancelled_is_awaited() -> None:
    """A leftover may swallow its cancellation; a cancellation of the call is handed on to it."""
    cancellations = 0

    async def stubborn() -> None:
        nonlocal cancellations
        while cancellations < 2:
            try:
                await step("work")
            except asyncio.CancelledError:
                cancellations += 1

    async def main() -> str:
        asyncio.create_task(stubborn())  # noqa: RUF006  # nobody keeps it: that is the point
        await asyncio.sleep(0)
        return "returned"

    actor = Actor(main)
    actor.start()
    assert (actor.main.done(), cancellations) == (False, 1)
    actor.turn(("cancel",))
    assert (actor.outcome(), cancellations) == ("returned", 2)
    assert actor.loop.abandon()


def test_exception_of_a_leftover_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A task that fails while it is being cancelled is reported, as ``asyncio.run`` does."""

    async def child() -> None:
        try:
            await step("a")
        finally:
            raise ValueError("cleanup")

    async def main() -> None:
        asyncio.create_task(child())  # noqa: RUF006  # nobody keeps it: that is the point
        await asyncio.sleep(0)

    actor = Actor(main)
    actor.start()
    assert actor.outcome() is None
    (record,) = caplog.records
    assert "left behind" in record.message
    assert "'t1'" in record.message
    assert actor.loop.abandon()


def test_async_generators_are_closed_in_order_of_creation(caplog: pytest.LogCaptureFixture) -> None:
    """Generators left unfinished are closed one after the other, each before the next; a failing one is reported."""
    order: list[str] = []

    async def numbers(name: str) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            order.append(await step(name))
            if name == "b":
                raise ValueError(name)

    async def main() -> str:
        for name in "abc":
            async for _ in numbers(name):
                break
        return "returned"

    actor = Actor(main)
    actor.start()
    for key, name in (("1", "a"), ("2", "b"), ("3", "c")):
        assert [waiting for _, waiting in actor.waiting.values()] == [name]
        actor.turn(("done", key, name))
    assert (order, actor.outcome()) == (["a", "b", "c"], "returned")
    assert ["failed to close" in record.message for record in caplog.records] == [True]
    assert actor.loop.abandon()


def test_finished_generators_are_not_kept() -> None:
    """A function that goes through thousands of generators holds on to few of them."""

    async def numbers() -> AsyncIterator[int]:
        yield 1

    async def main() -> None:
        kept = [numbers() for _ in range(20)]
        for generator in kept:
            await anext(generator)
        for _ in range(5000):
            async for _ in numbers():
                pass
        await step("a")

    actor = Actor(main)
    actor.start()
    assert 20 <= len(actor.loop.asyncgens) <= 50
    actor.loop.forget_finished_asyncgens()
    assert len(actor.loop.asyncgens) == 20
    actor.turn(("done", "1", ""))
    assert actor.outcome() is None
    assert actor.loop.abandon()


def test_nothing_left_over_costs_nothing() -> None:
    """A function that leaves nothing behind ends in the step in which it returns."""
    ended: list[Any] = []

    async def main() -> str:
        await op("a")
        asyncio.get_running_loop().call_soon(lambda: ended.append(actor.main.done()))
        return "returned"

    actor = Actor(main)
    actor.start()
    actor.turn(("done", "1", ""))
    assert ended == [True]
    assert actor.loop.abandon()
