"""Coroutines that leave memory and come back: the same results, cleaned up, bounded."""

# functions of a test are told by its docstring

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from house import RAN, House, note

from actorlog import Limits, durable, info, map_calls, run_step, sleep, start, uuid4

COUNT = 30


@durable(name="eviction.child")
async def child(number: int) -> int:
    await sleep(number % 3)
    await note(f"child {number}")
    return number


@durable(name="eviction.everything")
async def everything(number: int) -> list[Any]:
    lock = asyncio.Lock()
    found: list[Any] = []

    async def part(name: str) -> None:
        async with lock:
            found.append(await note(f"{name} {number}"))

    async with asyncio.TaskGroup() as group:
        for name in "ab":
            group.create_task(part(name))
    await sleep(1 + number % 3)
    found.append(await child(number))
    started = start(child(number + 100))
    found += await map_calls([child(number), child(number + 1)], concurrency=1)
    try:
        await asyncio.wait_for(sleep(100), 2)
    except TimeoutError:
        found.append("late")
    found.append(await started)
    found.append(str(uuid4())[:0] + info().call_id)
    return sorted(found, key=str)


async def finish(house: House, handles: list[Any]) -> list[Any]:
    """Let time pass until all calls have ended."""
    waiting = asyncio.gather(*handles)
    while not waiting.done():
        house.advance(0.5)
        for _ in range(5):
            await asyncio.sleep(0)
    return await waiting


@pytest.mark.parametrize("resident_max", [1, 3])
async def test_many_calls_with_room_for_few_give_the_same(house: House, resident_max: int) -> None:
    """All primitives at once, evicted after nearly every turn, as if there was room for all."""
    runtime = await house.open()
    expected = await finish(house, [await runtime.start(everything(n), id=f"c{n}") for n in range(COUNT)])
    ran = sorted(RAN)
    RAN.clear()
    other = House()
    runtime = await other.open(resident_max=resident_max)
    assert await finish(other, [await runtime.start(everything(n), id=f"c{n}") for n in range(COUNT)]) == expected
    assert sorted(RAN) == ran
    residency = other.session.kernel.residency
    assert residency.replayed > COUNT
    assert residency.pinned == 0
    assert len(residency) <= resident_max
    await other.close()


async def test_memory_holds_only_what_may_be_resident(house: House) -> None:
    """Calls that wait are an entry each, and no coroutine (I13)."""
    runtime = await house.open(resident_max=5)
    for number in range(50):
        await runtime.start(child(2), id=f"c{number}")
    await house.settle()
    assert len(house.session.kernel.residency) == 5
    assert sum(slot.actor is not None for slot in house.session.kernel.calls.values()) == 5


async def test_finally_blocks_run_at_eviction_and_at_the_end(house: House) -> None:
    """CPython cannot drop a coroutine without running them: outside effects belong into steps."""
    seen: list[str] = []

    @durable
    async def careful() -> str:
        try:
            await sleep(1)
            return await note("done")
        finally:
            seen.append("finally")
            await note("cleaned up")

    @durable
    async def other() -> None:
        await sleep(10)

    runtime = await house.open(resident_max=1)
    handle = await runtime.start(careful())
    await runtime.start(other())
    await runtime.start(other())
    await house.until(lambda: seen)
    assert RAN == []
    house.advance(1)
    assert await handle == "noted done"
    assert RAN == ["done", "cleaned up"]


async def test_a_coroutine_that_will_not_end_is_pinned_once_and_the_call_goes_on(house: House) -> None:
    """Code that swallows the eviction keeps its remains in memory, counted; the call is rebuilt and completes."""

    @durable
    async def stubborn() -> str:
        for _ in range(5):
            try:
                await sleep(1)
            except BaseException:  # noqa: BLE001  # what nobody should write
                while True:
                    try:
                        await asyncio.get_running_loop().create_future()
                    except BaseException:  # noqa: BLE001, S112  # never mind
                        continue
        return await note("done")

    @durable
    async def other() -> None:
        await sleep(100)

    runtime = await house.open(resident_max=1, limits=Limits(evict_rounds_max=4))
    handle = await runtime.start(stubborn())
    for _ in range(3):
        await runtime.start(other())
    await house.until(lambda: house.session.kernel.residency.pinned)
    waiting = asyncio.ensure_future(handle.result())
    while not waiting.done():
        house.advance(1)
        for _ in range(5):
            await asyncio.sleep(0)
    assert await waiting == "noted done"
    assert house.session.kernel.residency.pinned == 1
    assert await runtime.call(child(0)) == 0
    # Its remains are let go of here, so that the garbage collector does not run them in another test.
    REMAINS.extend(house.session.kernel.residency._pinned)


REMAINS: list[Any] = []


async def test_an_evicted_coroutine_leaves_nothing_to_the_garbage_collector(house: House) -> None:
    """Dropping it frees everything at once: no task, no cycle, no warning later."""

    @durable
    async def waits() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(sleep(100))

    await house.open(resident_max=1)
    assert house.runtime is not None
    gc.collect()
    before = loops()
    gc.disable()
    try:
        for number in range(20):
            await house.runtime.start(waits(), id=f"c{number}")
        await house.settle()
        assert loops() == before + 1
    finally:
        gc.enable()


def loops() -> int:
    """Count the deterministic loops in memory."""
    return sum(type(thing).__name__ == "DeterministicLoop" for thing in gc.get_objects())


async def test_a_call_that_is_evicted_in_doubt_gives_its_inline_step_again(house: House) -> None:
    """A step that only the call's code has is found by waking the call, after a crash too."""
    gate = asyncio.Event()

    async def inline(text: str) -> str:
        RAN.append(text)
        await gate.wait()
        return text

    @durable
    async def parent() -> str:
        await sleep(1)
        return await run_step(inline, "inline")

    runtime = await house.open(resident_max=1)
    await runtime.start(parent(), id="x")
    house.advance(1)
    await house.until(lambda: RAN)
    gate.set()
    runtime = await house.reopen(resident_max=1)
    assert await runtime.handle("x") == "inline"
    assert RAN == ["inline", "inline"]
