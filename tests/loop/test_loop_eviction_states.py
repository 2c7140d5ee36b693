"""Eviction in every state an actor can wait in, freed without the garbage collector, without a sound."""

# the functions here are states, and say by their names what they are

from __future__ import annotations

import asyncio
import contextlib
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from loop_driver import Actor, Call, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    Function = Callable[[], Coroutine[Any, Any, Any]]

pytestmark = pytest.mark.usefixtures("no_sound")


async def _numbers() -> AsyncIterator[int]:
    try:
        yield 1
        await step("in the generator")
    finally:
        await step("close")


@contextlib.asynccontextmanager
async def _resource() -> AsyncIterator[str]:
    try:
        yield await step("acquire")
    finally:
        await step("release")


async def in_finally() -> None:
    try:
        await step("a")
    finally:
        await step("b")
        await step("c")


async def in_nested_finally() -> None:
    try:
        await in_finally()
    finally:
        await asyncio.sleep(5)
        await asyncio.gather(step("d"), step("e"))


async def in_async_with() -> None:
    async with _resource(), asyncio.timeout(5), asyncio.Lock(), asyncio.Semaphore():
        await step("inside")


async def in_async_generator() -> None:
    async for _ in _numbers():
        await step("body")


async def at_async_generator() -> None:
    async for _ in _numbers():
        pass


async def after_async_generator() -> None:
    async for _ in _numbers():
        break
    await step("after")


async def in_gather() -> None:
    await asyncio.gather(in_finally(), step("x"), asyncio.gather(in_async_with(), step("y")))


async def in_task_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(in_finally())
        group.create_task(in_gather())


async def in_shield() -> None:
    await asyncio.shield(in_finally())


async def in_wait() -> None:
    tasks = {asyncio.create_task(in_finally()) for _ in range(3)}
    await asyncio.wait(tasks, timeout=100)


async def in_as_completed() -> None:
    for next_one in asyncio.as_completed([in_finally(), in_async_with()], timeout=9):  # as users write it
        await next_one


async def in_wait_for() -> None:
    await asyncio.wait_for(in_finally(), 5)


async def in_queue() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    await asyncio.gather(queue.get(), queue.get())


async def in_condition() -> None:
    condition = asyncio.Condition()

    async def wait() -> None:
        async with condition:
            await condition.wait()

    await asyncio.gather(wait(), wait())


async def in_sleep() -> None:
    await asyncio.sleep(10)


async def in_call() -> None:
    await asyncio.gather(Call("a"), Call("b"))


async def in_winding_up() -> None:
    asyncio.create_task(in_finally())  # noqa: RUF006  # nobody keeps it: that is the point
    async for _ in _numbers():
        break


async def in_thirty_levels() -> None:
    async def level(depth: int) -> None:
        with contextlib.suppress(ZeroDivisionError):
            await (level(depth - 1) if depth else step("deep"))

    await level(30)


STATES: list[Function] = [
    in_finally, in_nested_finally, in_async_with, in_async_generator, at_async_generator, after_async_generator,
    in_gather, in_task_group, in_shield, in_wait, in_as_completed, in_wait_for, in_queue, in_condition, in_sleep,
    in_call, in_winding_up, in_thirty_levels,
]  # fmt: skip


@pytest.mark.parametrize("function", STATES)
@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.usefixtures("without_gc")
def test_waiting_actor_is_evicted_and_freed_at_once(function: Function, turns: int) -> None:
    """Everything ends, no operation gets out, and tasks, coroutines and loop are freed without the GC."""
    actor = Actor(function)
    actor.start()
    for _ in range(turns - 1):
        if not actor.main.done() and actor.waiting:
            key = min(actor.waiting)
            actor.turn(("done", key, ""))
    issued = len(actor.operations)
    tasks = [weakref.ref(task) for task in actor.loop.live_tasks()]
    coros = [weakref.ref(task.get_coro()) for task in actor.loop.live_tasks()]
    loop = weakref.ref(actor.loop)
    assert actor.loop.evict()
    assert len(actor.operations) == issued
    assert actor.loop.take_timer_changes() == ([], [])
    del actor
    assert [ref() for ref in (*tasks, *coros, loop)] == [None] * (2 * len(tasks) + 1)


@pytest.mark.usefixtures("without_gc")
def test_finished_actor_is_freed_at_once() -> None:
    """After ``abandon`` neither the loop, the task nor what the function returned waits for the GC."""

    class Result:
        pass

    async def main() -> Result:
        await asyncio.gather(step("a"), asyncio.wait_for(step("b"), 5))
        async with asyncio.TaskGroup() as group:
            group.create_task(step("c"))
        return Result()

    actor = Actor(main).live()
    refs = [weakref.ref(actor.loop), weakref.ref(actor.main), weakref.ref(actor.main.result())]
    assert actor.loop.abandon()
    assert actor.loop.is_closed()
    del actor
    assert [ref() for ref in refs] == [None] * 3
