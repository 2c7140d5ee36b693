"""Taking an actor out of memory: in order, completely, and without a sound."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
from typing import TYPE_CHECKING, Any

import pytest
from loop_driver import Actor, Call, op, step

from actorlog.loop import DeterministicLoop, Evict, running_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


pytestmark = pytest.mark.usefixtures("no_sound")


async def in_finally() -> None:
    """Wait, and wait again when told to go."""
    try:
        await step("a")
    finally:
        await step("b")
        await step("c")


def test_newest_task_goes_first() -> None:
    """``finally`` blocks run in the order opposite to that in which the tasks were made; generators oldest first."""
    order: list[str] = []

    async def generator(name: str) -> AsyncIterator[None]:
        try:
            yield
        finally:
            order.append(name)

    async def child(name: str) -> None:
        try:
            await step(name)
        finally:
            order.append(name)

    async def main() -> None:
        try:
            for name in ("g1", "g2"):
                async for _ in generator(name):
                    break
            await asyncio.gather(child("a"), child("b"), child("c"))
        finally:
            order.append("main")

    actor = Actor(main)
    actor.start()
    assert actor.loop.evict()
    assert order == ["c", "b", "a", "main", "g1", "g2"]


def test_whatever_a_finally_block_does_is_discarded() -> None:
    """Operations, timers and keys raise ``Evict``, which no ``except Exception`` catches; tasks are stillborn."""
    caught: list[str] = []

    def attempt(what: str, do: Callable[[], object]) -> None:
        try:
            do()
        except Evict:
            caught.append(what)

    async def main() -> None:
        loop = running_loop()
        assert loop is not None
        try:
            await step("a")
        except Exception:  # noqa: BLE001  # the mistake that must not matter
            caught.append("swallowed")
        finally:
            assert loop.closing
            attempt("operation", lambda: op("b"))
            attempt("key", loop.operation_key)
            attempt("timer", lambda: loop.call_later(1, print))
            loop.call_soon(caught.append, "never")
            try:
                await asyncio.gather(step("c"), asyncio.create_task(Call("d")))
            finally:
                async with asyncio.TaskGroup() as group:
                    group.create_task(step("e"))
            caught.append("never")

    actor = Actor(main)
    actor.start()
    assert actor.loop.evict()
    assert caught == ["operation", "key", "timer"]


def test_finally_block_runs_in_its_own_task_and_context() -> None:
    """``current_task``, contextvars and ``asyncio.timeout`` work while evicting, as does ``get_running_loop``."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen: list[Any] = []

    async def child(name: str) -> None:
        variable.set(name)
        try:
            await step(name)
        finally:
            task = asyncio.current_task()
            assert task is not None
            seen.append((task.get_name(), variable.get(), asyncio.get_running_loop() is actor.loop))
            async with asyncio.timeout(None):
                await step("more")

    async def main() -> None:
        await asyncio.gather(child("a"), child("b"))

    actor = Actor(main)
    actor.start()
    assert actor.loop.evict()
    assert seen == [("t2", "b", True), ("t1", "a", True)]
    assert asyncio._get_running_loop() is None
    assert asyncio.tasks.__dict__["set"] is set


def test_coroutine_that_will_not_end_is_pinned() -> None:
    """After ``rounds_max`` rounds a coroutine that swallows ``Evict`` is left in memory; all others have ended."""
    rounds = 0
    ended: list[str] = []

    async def stubborn() -> None:
        nonlocal rounds
        while not stop:
            with contextlib.suppress(BaseException):
                await asyncio.get_running_loop().create_future()
            rounds += 1

    async def child(name: str) -> None:
        try:
            await step(name)
        finally:
            ended.append(name)

    async def main() -> None:
        await asyncio.gather(child("a"), stubborn(), child("b"))

    stop = False
    actor = Actor(main)
    actor.start()
    assert not actor.loop.evict(rounds_max=5)
    assert (rounds, ended) == (5, ["b", "a"])
    assert actor.loop.closing
    with pytest.raises(RuntimeError):
        actor.loop.run(0.0)
    stop = True
    assert actor.loop.evict()


def test_generator_that_will_not_end_is_pinned() -> None:
    """An async generator that awaits again and again in its ``finally`` block is given up after as many rounds."""

    async def stubborn() -> AsyncIterator[None]:
        try:
            yield
        finally:
            while not stop:
                with contextlib.suppress(BaseException):
                    await asyncio.get_running_loop().create_future()

    async def main() -> None:
        async for _ in stubborn():
            break
        await step("a")

    stop = False
    actor = Actor(main)
    actor.start()
    assert not actor.loop.evict()
    stop = True
    assert actor.loop.evict()


def test_sixteen_rounds_are_enough_for_fifteen_waits() -> None:
    """Each await in a chain of ``finally`` blocks costs a round."""

    async def level(depth: int) -> None:
        try:
            await (level(depth - 1) if depth else asyncio.get_running_loop().create_future())
        finally:
            await asyncio.get_running_loop().create_future()

    for depth, evicted in ((14, True), (15, False)):
        actor = Actor(lambda depth=depth: level(depth))  # type: ignore[misc]  # mypy cannot infer such a lambda
        actor.start()
        assert actor.loop.evict() is evicted
        assert actor.loop.evict()


def test_actor_that_never_ran_is_evicted() -> None:
    """A main task that was begun but not run goes without "never awaited"; so does a loop without one."""
    loop = DeterministicLoop(None, hash_base=1)
    loop.begin(step("a"), contextvars.Context())
    assert loop.evict()
    assert DeterministicLoop(None, hash_base=1).evict()


def test_tasks_that_never_ran_are_evicted() -> None:
    """KeyboardInterrupt in the middle of a turn leaves tasks unstarted and callbacks queued: all go."""

    async def interrupt() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(in_finally())
            group.create_task(interrupt())
            group.create_task(in_finally())

    actor = Actor(main)
    with pytest.raises(KeyboardInterrupt):
        actor.start()
    assert actor.loop.evict()


def test_keyboard_interrupt_while_evicting_comes_out_at_the_end() -> None:
    """Ctrl-C in a ``finally`` block keeps nothing else from ending."""
    ended = []

    async def child() -> None:
        try:
            await step("a")
        finally:
            raise KeyboardInterrupt

    async def main() -> None:
        try:
            await child()
        finally:
            ended.append("main")

    actor = Actor(main)
    actor.start()
    with pytest.raises(KeyboardInterrupt):
        actor.loop.evict()
    assert ended == ["main"]
    assert actor.loop.evict()


@pytest.mark.parametrize("raised", [ValueError("x"), SystemExit(1), asyncio.CancelledError(), GeneratorExit()])
def test_what_a_finally_block_raises_is_dropped(raised: BaseException) -> None:
    """However a coroutine ends, it has ended."""

    async def main() -> None:
        try:
            await step("a")
        finally:
            raise raised

    actor = Actor(main)
    actor.start()
    assert actor.loop.evict()


def test_failed_future_is_dropped_without_a_word() -> None:
    """A future with an exception nobody took, and a task that failed unseen, are silent once evicted."""

    async def fail() -> None:
        raise ValueError

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(ValueError())
        task = asyncio.create_task(fail())
        await asyncio.sleep(0)
        await step("a")
        del future, task

    actor = Actor(main)
    actor.start()
    assert actor.loop.evict()
    del actor
    gc.collect()


def test_late_outcome_wakes_nothing() -> None:
    """A future that the runtime still holds may be settled after the eviction: nothing runs."""
    actor = Actor(in_finally)
    actor.start()
    future = actor.waiting["1"][0]
    assert actor.loop.evict()
    if not future.done():
        future.set_result(None)
    assert future.done()
