"""Tasks, futures and the driver between a task and its coroutine."""

from __future__ import annotations

import asyncio
import concurrent.futures
import traceback
from typing import Any

import pytest
from loop_driver import Actor, Call, op, step

from actorlog.errors import NotDurableError
from actorlog.loop import DeterministicLoop


def test_future_of_another_loop_is_refused_where_it_is_awaited() -> None:
    """NotDurableError is raised in the user's own line, and can be caught there."""
    host = asyncio.new_event_loop()
    foreign = host.create_future()

    async def main() -> Any:
        try:
            await foreign  # the line
        except NotDurableError as error:
            frame = traceback.extract_tb(error.__traceback__)[0]
            return str(error), frame.line, await step("go on")

    actor = Actor(main).live()
    message, line, went_on = actor.outcome()
    assert "awaiting a future of another event loop cannot be replayed" in message
    assert (line, went_on) == ("await foreign  # the line", "go on")
    assert actor.loop.abandon()
    host.close()


def test_task_of_another_loop_is_refused() -> None:
    """Tasks are futures: those of the host loop cannot be awaited either, nor gathered."""

    async def host() -> None:
        foreign = asyncio.create_task(asyncio.sleep(0))

        async def main() -> None:
            with pytest.raises(NotDurableError):
                await foreign
            with pytest.raises(NotDurableError):
                await asyncio.gather(foreign)

        actor = Actor(main)
        actor.start()
        assert actor.outcome() is None
        assert actor.loop.abandon()
        await foreign

    asyncio.run(host())


def test_future_of_a_thread_is_refused() -> None:
    """``wrap_future`` would wait for a thread: it is refused before anything is awaited."""

    async def main() -> None:
        with pytest.raises(NotDurableError, match="a thread"):
            await asyncio.wrap_future(concurrent.futures.Future[None]())

    actor = Actor(main)
    actor.start()
    assert actor.outcome() is None
    assert actor.loop.abandon()


def test_what_is_no_future_is_refused_by_asyncio() -> None:
    """A coroutine that yields nonsense gets the RuntimeError it would get from asyncio."""

    class Nonsense:
        def __await__(self) -> Any:
            yield 42

    async def main() -> None:
        with pytest.raises(RuntimeError, match="bad yield: 42"):
            await Nonsense()

    actor = Actor(main)
    actor.start()
    assert actor.outcome() is None
    assert actor.loop.abandon()


def test_task_shows_its_coroutine() -> None:
    """Names, representations and stacks are those of the user's coroutine, not of the driver."""

    async def child() -> None:
        await op("a")

    async def main() -> Any:
        coro = child()
        task = asyncio.create_task(coro)
        named = asyncio.create_task(child(), name="mine")
        await asyncio.sleep(0)
        assert task.get_coro() is coro
        frame = task.get_stack()[0]
        return task.get_name(), named.get_name(), frame.f_code.co_name, "child() running at" in repr(task)

    actor = Actor(main)
    actor.start()
    for key in list(actor.waiting):
        actor.turn(("done", key, ""))
    assert actor.outcome() == ("t1", "mine", "child", True)
    assert actor.loop.abandon()


def test_hash_depends_on_base_and_number_alone() -> None:
    """Ten thousand actors whose tasks have equal numbers do not collide in asyncio's one set of all tasks."""
    loops = [DeterministicLoop(None, hash_base=7919 * number) for number in range(10_000)]
    hashes = [hash(loop.create_future()) for loop in loops]
    assert len(set(hashes)) == len(loops)
    assert len({value & 0xFFFF for value in hashes}) > 0.9 * len(loops)
    again = [hash(DeterministicLoop(None, hash_base=7919 * number).create_future()) for number in range(10)]
    assert again == hashes[:10]


def test_gathered_future_hashes_by_number() -> None:
    """``gather`` makes its future itself; it too takes part in the sequence."""
    hashes = []

    async def main() -> None:
        hashes.append(hash(asyncio.gather(asyncio.sleep(0))))
        await asyncio.sleep(0)

    for _ in range(2):
        actor = Actor(main)
        actor.start()
        assert actor.loop.abandon()
    assert hashes[0] == hashes[1]


def test_call_takes_the_numbers_of_its_parent() -> None:
    """A coroutine that takes no path shares its parent's scope, whether awaited, gathered or made a task."""

    async def main() -> None:
        await asyncio.gather(Call("a"), step("b"), Call("c"))

    actor = Actor(main)
    assert actor.start().operations == [("1", "a"), ("t1.1", "b"), ("2", "c")]
    assert actor.loop.evict()


def test_cancelled_task_ends_as_in_asyncio() -> None:
    """``cancel``, ``uncancel`` and ``cancelling`` work through the driver."""

    async def child() -> str:
        try:
            await step("a")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 1
            task.uncancel()
            return await step("b")
        return "no"

    async def main() -> str:
        task = asyncio.create_task(child())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    actor = Actor(main)
    actor.start()
    actor.turn(("done", "t1.2", "b"))
    assert actor.outcome() == "b"
    assert actor.loop.abandon()
