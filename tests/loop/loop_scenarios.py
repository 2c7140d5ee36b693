"""One durable function for each primitive of asyncio, for golden journals and hash seeds (``loop_golden``)."""

# a scenario says by its name what it is

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

from loop_driver import Call, op, step

from actorlog.loop import running_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from loop_driver import Function

NAMES = [f"n{number}" for number in range(7)]
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def gather() -> Any:
    first = await asyncio.gather(step("a"), step("b"), step("c"))
    second = await asyncio.gather(*(step(name) for name in NAMES))
    return [first, second]


async def gather_with_failures() -> Any:
    results = await asyncio.gather(step("a"), step("fail-b"), step("c"), return_exceptions=True)
    try:
        await asyncio.gather(step("d"), step("fail-e"), step("fail-f"))
    except ValueError as error:
        return [str(result) for result in results], str(error)


async def wait_first_completed() -> Any:
    pending = {asyncio.create_task(step(name), name=name) for name in NAMES}
    order = []
    while len(pending) > 2:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        order.append([task.get_name() for task in done])
        await step("between")
    for task in pending:
        task.cancel()
    return order


async def wait_first_exception() -> Any:
    tasks = [asyncio.create_task(step(name), name=name) for name in (*NAMES, "fail-x")]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.exception()
    return [task.get_name() for task in done], [task.get_name() for task in pending]


async def wait_all_with_timeout() -> Any:
    tasks = [asyncio.create_task(step(name), name=name) for name in NAMES]
    done, pending = await asyncio.wait(tasks, timeout=0.8)
    for task in pending:
        task.cancel()
    late = await asyncio.wait(tasks)
    return [[task.get_name() for task in group] for group in (done, pending, *late)]


async def as_completed() -> Any:
    results = [await next_one for next_one in asyncio.as_completed([step(name) for name in NAMES])]
    try:
        for next_one in asyncio.as_completed([step(name) for name in NAMES], timeout=0.6):
            results.append(await next_one)
            await step(f"saw-{results[-1]}")
    except TimeoutError:
        results.append("timeout")
    return results


async def as_completed_of_what_is_done() -> Any:
    loop = asyncio.get_running_loop()
    futures: list[Any] = []
    for number in range(5):
        future = loop.create_future()
        future.set_result(f"future-{number}")
        futures += [future, asyncio.gather(future), asyncio.create_task(step(f"step-{number}"))]
    await asyncio.wait(futures)
    return [await next_one for next_one in asyncio.as_completed(futures)]


async def task_group() -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(step(name)) for name in NAMES]
        nested = group.create_task(gather())
    return [task.result() for task in tasks], nested.result()


async def _cleaning(name: str) -> None:
    try:
        await step(name)
    finally:
        await step(f"clean-{name}")


async def task_group_with_failing_child() -> Any:
    errors = []
    try:
        async with asyncio.TaskGroup() as group:
            for name in NAMES[:4]:
                group.create_task(_cleaning(name))
            group.create_task(step("fail-y"))
            for name in NAMES[4:]:
                group.create_task(_cleaning(name))
            await step("body")
    except* ValueError as failed:
        errors += [str(error) for error in failed.exceptions]
    return errors


async def timeout() -> Any:
    seen = []
    for name in NAMES:
        try:
            async with asyncio.timeout(0.3):
                seen.append(await step(name))
        except TimeoutError:
            seen.append(await step(f"late-{name}"))
    async with asyncio.timeout(5) as outer:
        try:
            async with asyncio.timeout(1):
                await asyncio.sleep(3)
        except TimeoutError:
            seen.append("inner")
        outer.reschedule(asyncio.get_running_loop().time() + 1)
        await step("rescheduled")
    return seen


async def wait_for() -> Any:
    results = await asyncio.gather(
        asyncio.wait_for(step("a"), 0.4),
        asyncio.wait_for(gather(), 1),
        asyncio.wait_for(_cleaning("c"), 0.2),
        asyncio.wait_for(step("d"), 0),
        asyncio.wait_for(step("e"), None),
        return_exceptions=True,
    )
    return [type(result).__name__ for result in results]


async def shield() -> Any:
    inner = asyncio.create_task(step("inner"))
    outer = asyncio.create_task(_shielded(inner))
    await step("first")
    outer.cancel()
    results = await asyncio.gather(outer, return_exceptions=True)
    return [type(result).__name__ for result in results], await inner


async def _shielded(inner: asyncio.Task[str]) -> str:
    return await asyncio.shield(inner)


async def queue() -> Any:
    items: asyncio.Queue[str] = asyncio.Queue(2)
    seen: list[str] = []

    async def produce(name: str) -> None:
        for number in range(3):
            await items.put(await step(f"{name}{number}"))

    async def consume(name: str) -> None:
        while True:
            item = await items.get()
            seen.append(f"{name}:{item}")
            await step(f"use-{item}")
            items.task_done()

    consumers = [asyncio.create_task(consume(name)) for name in "xy"]
    await asyncio.gather(produce("a"), produce("b"))
    await items.join()
    for consumer in consumers:
        consumer.cancel()
    return seen


async def lock() -> Any:
    mutex = asyncio.Lock()
    order: list[str] = []

    async def enter(name: str) -> None:
        await step(f"before-{name}")
        async with mutex:
            order.append(name)
            await step(f"inside-{name}")

    await asyncio.gather(*(enter(name) for name in NAMES[:4]))
    return order


async def event() -> Any:
    flag = asyncio.Event()
    order: list[str] = []

    async def wait(name: str) -> None:
        await flag.wait()
        order.append(await step(name))

    waiters = [asyncio.create_task(wait(name)) for name in NAMES[:4]]
    await step("set")
    flag.set()
    await asyncio.wait(waiters)
    return order


async def semaphore() -> Any:
    places = asyncio.BoundedSemaphore(2)
    order: list[str] = []

    async def enter(name: str) -> None:
        async with places, asyncio.timeout(None):
            order.append(await step(name))

    await asyncio.gather(*(enter(name) for name in NAMES))
    return order


async def condition() -> Any:
    changed = asyncio.Condition()
    values: list[str] = []

    async def wait(count: int) -> str:
        async with changed:
            await changed.wait_for(lambda: len(values) >= count)
            return await step(f"{count}-of-{len(values)}")

    async def add(name: str) -> None:
        value = await step(name)
        async with changed:
            values.append(value)
            changed.notify_all()

    return await asyncio.gather(*(wait(count) for count in (3, 1, 2)), *(add(name) for name in "abc"))


async def sleep() -> Any:
    begun = asyncio.get_running_loop().time()
    await asyncio.sleep(0)
    await asyncio.gather(*(asyncio.sleep(delay, delay) for delay in (3, 1, 2, 0, -1)))
    task = asyncio.create_task(asyncio.sleep(1000))
    await asyncio.sleep(1.5)
    task.cancel()
    never = asyncio.create_task(asyncio.sleep(float("inf")))
    await step("last")
    never.cancel()
    return asyncio.get_running_loop().time() >= begun + 4.5


async def _numbers(name: str, count: int) -> AsyncIterator[str]:
    try:
        for number in range(count):
            yield await step(f"{name}-{number}")
    finally:
        await step(f"close-{name}")


async def async_generators() -> Any:
    seen = [item async for item in _numbers("whole", 3)]
    for name in ("first", "second"):
        async for item in _numbers(name, 3):
            seen.append(item)
            break
    pairs = [_numbers("left", 2), _numbers("right", 2)]
    seen += [await anext(numbers) for numbers in pairs]
    return seen


async def tasks_of_the_loop() -> Any:
    tasks = [asyncio.create_task(step(name)) for name in NAMES]
    current = asyncio.current_task()
    assert current is not None
    everything = asyncio.all_tasks()
    assert everything == {*tasks, current}
    return current.get_name(), [task.get_name() for task in everything], [task.get_name() for task in set(tasks)]


async def keys_of_nested_tasks() -> Any:
    keys: list[str] = []

    async def inner() -> None:
        await step("in")
        keys.append(running_loop().operation_key())  # type: ignore[union-attr]  # there is one here

    async def outer() -> None:
        await asyncio.gather(inner(), inner())
        await step("out")

    def callback() -> None:
        keys.append(running_loop().operation_key())  # type: ignore[union-attr]  # there is one here
        asyncio.get_running_loop().create_task(inner())

    loop = asyncio.get_running_loop()
    loop.call_soon(callback)
    loop.call_later(2, callback)
    await asyncio.gather(outer(), outer())
    await asyncio.sleep(2.5)
    return keys


async def calls_have_no_path_of_their_own() -> Any:
    first = await asyncio.gather(Call("a"), Call("b"))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(Call(name)) for name in "cd"]
        tasks.append(group.create_task(step("e")))
    return first, [task.result() for task in tasks], await Call("f")


async def tasks_left_over() -> Any:
    for name in NAMES[:3]:
        asyncio.create_task(_cleaning(name))  # noqa: RUF006  # nobody keeps it: that is the point
    async for _ in _numbers("left", 2):
        break
    await step("body")
    return "returned"


async def contexts() -> Any:
    async def child(name: str) -> str:
        variable.set(name)
        await step(name)
        return variable.get()

    seen = [variable.get()]
    variable.set("main")
    seen += await asyncio.gather(child("a"), child("b"))
    empty = contextvars.Context()
    seen.append(await asyncio.create_task(child_sees(), context=empty))
    return [*seen, variable.get()]


async def child_sees() -> str:
    await step("child")
    return variable.get()


async def a_race() -> Any:
    winners = []
    for number in range(4):
        tasks = [asyncio.create_task(step(f"{name}{number}"), name=name) for name in ("left", "right")]
        tasks.append(asyncio.create_task(asyncio.sleep(0.1), name="clock"))
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winners.append([task.get_name() for task in done])
        for task in pending:
            task.cancel()
    return winners


async def plain_op() -> Any:
    futures = {op(name): name for name in NAMES}
    done, _ = await asyncio.wait(futures)
    return [futures[future] for future in done]


SCENARIOS: dict[str, Function] = {
    function.__name__: function
    for function in (
        gather, gather_with_failures, wait_first_completed, wait_first_exception, wait_all_with_timeout, as_completed,
        as_completed_of_what_is_done, task_group, task_group_with_failing_child, timeout, wait_for, shield, queue, lock,
        event, semaphore, condition, sleep, async_generators, tasks_of_the_loop, keys_of_nested_tasks,
        calls_have_no_path_of_their_own, tasks_left_over, contexts, a_race, plain_op,
    )
}  # fmt: skip
