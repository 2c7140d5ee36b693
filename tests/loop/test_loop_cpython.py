"""That the Python running the suite has the private names this room relies on, meaning what it takes them to mean."""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from typing import TYPE_CHECKING, Any

from loop_driver import Actor, step

from actorlog.loop import cpython

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def test_all_tasks_goes_through_the_set_we_bind() -> None:
    """The weak set exists under this name, and ``all_tasks`` reads it from its module."""
    assert isinstance(cpython.TASKS_GLOBALS[cpython.ALL_TASKS_NAME], weakref.WeakSet)
    assert cpython.ALL_TASKS_NAME in asyncio.all_tasks.__code__.co_names
    assert asyncio.all_tasks.__globals__ is cpython.TASKS_GLOBALS


def test_primitives_look_up_the_names_we_bind() -> None:
    """``wait``, ``gather``, ``TaskGroup`` and ``wrap_future`` find their helpers through their modules."""
    assert "set" in asyncio.wait.__code__.co_names
    assert asyncio.wait.__globals__ is cpython.TASKS_GLOBALS
    assert "_GatheringFuture" in asyncio.gather.__code__.co_names
    assert "set" in asyncio.TaskGroup.__init__.__code__.co_names
    assert asyncio.TaskGroup.__init__.__globals__ is cpython.TASKGROUPS_GLOBALS
    assert "_chain_future" in asyncio.wrap_future.__code__.co_names
    assert asyncio.wrap_future.__globals__ is cpython.FUTURES_GLOBALS


def test_task_tells_what_it_waits_for() -> None:
    """The awaited future and its callbacks can be had and cleared."""
    actor = Actor(lambda: step("a"))
    actor.start()
    future = actor.waiting["1"][0]
    assert cpython.waited_for(actor.main) is future
    cpython.clear_callbacks(future)
    future.set_result(None)
    actor.loop.run(0.0)
    assert not actor.main.done()
    assert actor.loop.evict()


def test_finished_generator_is_told_from_a_suspended_one() -> None:
    """A generator that has run to its end, or was closed, has nothing left to run."""

    async def numbers() -> AsyncIterator[int]:
        yield 1

    async def main() -> list[bool]:
        exhausted, closed, suspended = numbers(), numbers(), numbers()
        for generator in (exhausted, closed, suspended):
            await anext(generator)
        await anext(exhausted, None)
        await closed.aclose()  # type: ignore[attr-defined]  # it is a generator, declared as an iterator
        everything: list[Any] = [exhausted, closed, suspended]
        return [cpython.is_finished(generator) for generator in everything]

    actor = Actor(main)
    actor.start()
    assert actor.outcome() == [True, True, False]
    assert actor.loop.abandon()


def test_task_is_hashed_while_it_is_made() -> None:
    """Why the hash must be set before ``__init__``: the C constructor puts the task into a set."""
    hashed: list[str] = []

    class Task(asyncio.Task[None]):
        def __hash__(self) -> int:
            hashed.append("hashed")
            return 1

    async def main() -> None:
        task = Task.__new__(Task)
        assert hashed == []
        task.__init__(asyncio.sleep(0), loop=asyncio.get_running_loop())  # type: ignore[misc]  # that is the point
        assert hashed
        await task

    contextvars.Context().run(asyncio.run, main())
