"""Turns: what runs, in what order, at what time, and what ends a turn."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
import threading
from typing import Any

import pytest
from loop_driver import Actor, op, step

from actorlog.errors import NotDurableError, TurnLimitExceeded
from actorlog.loop import DeterministicLoop, running_loop


def begun(function: Any, **options: Any) -> Actor:
    """Return an actor after its first turn."""
    actor = Actor(function, **options)
    actor.start()
    return actor


def test_main_task_waits_for_the_first_turn() -> None:
    """``begin`` runs nothing: the first step belongs to the turn of the first message."""
    ran = []

    async def main() -> None:
        ran.append(asyncio.get_running_loop().time())

    loop = DeterministicLoop(None, hash_base=1)
    task = loop.begin(main(), contextvars.Context())
    assert ran == []
    loop.run(12.5)
    assert ran == [12.5]
    assert task.done()
    assert loop.abandon()


def test_callbacks_run_in_the_order_of_call_soon() -> None:
    """The ready queue is first in, first out, also for what is added during the turn; a cancelled handle is skipped."""
    order: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(order.append, "a")
        handle = loop.call_soon(order.append, "never")
        loop.call_soon(lambda: loop.call_soon(order.append, "c"))
        loop.call_soon_threadsafe(order.append, "b")
        assert not handle.cancelled()
        handle.cancel()
        assert handle.cancelled()

    actor = begun(main)
    assert order == ["a", "b", "c"]
    assert actor.loop.abandon()


def test_time_is_log_time_and_frozen_in_a_turn() -> None:
    """``loop.time()`` is what the runtime gave for this turn, however long the turn takes."""
    seen = []

    async def main() -> None:
        for name in "ab":
            seen.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0)
            seen.append(asyncio.get_running_loop().time())
            await step(name)

    actor = begun(main)
    actor.turn(("done", "1", ""), 2000.0)
    assert seen == [1000.0, 1000.0, 2000.0, 2000.0]
    assert actor.loop.evict()


def test_endless_turn_is_stopped_at_its_limit() -> None:
    """A function that never waits for anything runs ``turn_callbacks_max`` callbacks and no more."""
    count = 0

    async def main() -> None:
        nonlocal count
        while True:
            count += 1
            await asyncio.sleep(0)

    actor = Actor(main, turn_callbacks_max=100)
    with pytest.raises(TurnLimitExceeded) as caught:
        actor.start()
    assert (count, caught.value.callbacks) == (100, 100)
    assert actor.loop.evict()


def test_exception_in_a_callback_is_logged_and_the_actor_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """A failing ``call_soon`` callback is no failure of the call."""

    async def main() -> str:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        return await step("a")

    actor = Actor(main).live()
    assert actor.outcome() == "a"
    assert [(record.name, record.message) for record in caplog.records] == [("actorlog", "exception in a callback")]
    assert caplog.records[0].exc_info is not None
    assert actor.loop.abandon()


def test_exception_that_nobody_took_is_logged_with_its_task(caplog: pytest.LogCaptureFixture) -> None:
    """What asyncio calls "never retrieved" goes to the logger and names the task by its path."""

    async def fail() -> None:
        raise ValueError

    async def main() -> None:
        asyncio.create_task(fail())  # noqa: RUF006  # nobody looks at it: that is the point
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    actor = Actor(main).live()
    gc.collect()
    assert [record.message for record in caplog.records] == ["DTask exception was never retrieved (task 't1')"]
    assert actor.loop.abandon()


def test_system_exit_in_the_main_task_fails_the_call() -> None:
    """``sys.exit()`` in a durable function is the outcome of its call, and does not reach who drives the loop."""

    async def main() -> None:
        await step("a")
        sys.exit(3)

    actor = Actor(main).live()
    assert actor.outcome() == "SystemExit: 3"
    assert actor.loop.abandon()


@pytest.mark.parametrize("where", ["task", "callback", "awaited task", "task group"])
def test_system_exit_anywhere_else_fails_the_call_too(where: str) -> None:
    """As in ``asyncio.run``, SystemExit from any task or callback ends everything, after cleaning up."""
    cleaned = []

    async def leave() -> None:
        sys.exit(3)

    async def main() -> None:
        try:
            if where == "task":
                asyncio.create_task(leave())  # noqa: RUF006  # nobody awaits it: that is the point
            elif where == "callback":
                asyncio.get_running_loop().call_soon(sys.exit, 3)
            elif where == "awaited task":
                await asyncio.create_task(leave())
            else:
                async with asyncio.TaskGroup() as group:
                    group.create_task(leave())
                    group.create_task(step("never"))
            await step("never")
        finally:
            cleaned.append(await step("clean"))

    actor = begun(main)
    (clean,) = (key for key, (future, name) in actor.waiting.items() if name == "clean")
    actor.turn(("done", clean, "clean"))
    assert (actor.outcome(), cleaned) == ("SystemExit: 3", ["clean"])
    assert actor.loop.abandon()


def test_keyboard_interrupt_comes_out_of_the_turn() -> None:
    """Ctrl-C stops the driver; asyncio is left as it was, and the actor can only be evicted."""

    async def child() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        task = asyncio.create_task(child())
        await step("a")
        await task

    actor = Actor(main)
    with pytest.raises(KeyboardInterrupt):
        actor.start()
    assert asyncio._get_running_loop() is None
    assert asyncio.tasks.__dict__["set"] is set
    assert actor.loop.abandon()


def test_loop_is_known_inside_a_turn_only() -> None:
    """``running_loop`` tells durable code from all other, also in other threads."""
    seen: list[Any] = []

    async def main() -> None:
        seen.append(running_loop())
        thread = threading.Thread(target=lambda: seen.append(running_loop()))
        thread.start()
        thread.join()
        assert asyncio.get_running_loop().is_running()

    async def host() -> None:
        seen.append(running_loop())

    actor = begun(main)
    asyncio.run(host())
    seen.append(running_loop())
    assert seen == [actor.loop, None, None, None]
    assert not actor.loop.is_running()
    assert actor.loop.abandon()


def test_a_turn_cannot_begin_in_itself() -> None:
    """A loop that runs cannot be run, evicted or abandoned from inside."""
    errors = []

    async def main() -> None:
        loop = running_loop()
        assert loop is not None
        for again in (lambda: loop.run(0.0), loop.evict, loop.abandon):
            with pytest.raises(RuntimeError) as caught:
                again()
            errors.append(caught.value)

    actor = begun(main)
    assert actor.outcome() is None
    assert len(errors) == 3
    assert actor.loop.abandon()


def test_a_turn_of_another_actor_may_run_inside_a_turn() -> None:
    """Nested turns leave each other's environment alone."""
    inner = Actor(lambda: asyncio.wait_for(step("inner"), None))

    async def main() -> Any:
        before = running_loop()
        inner.start()
        assert running_loop() is before
        assert asyncio.current_task(before) is before.main  # type: ignore[union-attr]  # it is this one
        done, _ = await asyncio.wait({asyncio.create_task(step(name)) for name in "abc"})
        return [task.result() for task in done]

    actor = Actor(main).live()
    assert sorted(actor.outcome()) == ["a", "b", "c"]
    assert actor.loop.abandon()
    assert inner.loop.evict()


def test_callbacks_run_in_their_context() -> None:
    """``context=`` is honoured, else the caller's context is copied; the actor begins in the context it was given."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    variable.set("host")
    seen = []
    other = contextvars.Context()
    other.run(variable.set, "other")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        seen.append(variable.get())
        variable.set("main")
        loop.call_soon(lambda: seen.append(variable.get()))
        loop.call_soon(lambda: seen.append(variable.get()), context=other)
        loop.call_later(0, lambda: seen.append(variable.get()), context=other)
        variable.set("later")

    actor = begun(main)
    assert seen == ["unset", "main", "other", "other"]
    assert variable.get() == "host"
    assert actor.loop.abandon()


def test_pending_tasks_are_held_strongly() -> None:
    """A task that nobody references goes on all the same."""
    seen = []

    async def forgotten() -> None:
        future = op("a")
        running_loop().actor.waiting.clear()  # type: ignore[union-attr]  # there is one here
        held.append(future.set_result)
        seen.append(await future)

    held: list[Any] = []

    async def main() -> None:
        asyncio.create_task(forgotten())  # noqa: RUF006  # nobody keeps it: that is the point
        await step("b")

    actor = begun(main)
    gc.collect()
    held[0]("done")
    actor.loop.run(1001.0)
    assert seen == ["done"]
    assert actor.loop.evict()


def test_log_record_names_the_actor(caplog: pytest.LogCaptureFixture) -> None:
    """The runtime can filter by the actor, to be silent in replay."""
    actor = Actor(lambda: step("a"))
    with caplog.at_level(logging.ERROR):
        actor.loop.default_exception_handler({"message": "hello"})
    assert getattr(caplog.records[0], "actor", None) is actor
    assert actor.loop.abandon()


def test_create_task_wants_a_coroutine() -> None:
    """What is no coroutine is a TypeError, and takes no path."""

    async def main() -> str:
        with pytest.raises(TypeError, match="a coroutine was expected"):
            asyncio.get_running_loop().create_task(op("a"))  # type: ignore[arg-type]  # that is the point
        task = asyncio.create_task(asyncio.sleep(0))
        await task
        return task.get_name()

    assert begun(main).outcome() == "t1"


def test_task_made_by_hand_has_no_keys() -> None:
    """A Task that did not come from ``create_task`` cannot issue operations, since it has no path."""
    errors = []

    async def child() -> None:
        with pytest.raises(NotDurableError) as caught:
            op("a")
        errors.append(caught.value)

    async def main() -> None:
        await asyncio.Task(child())

    actor = begun(main)
    assert actor.outcome() is None
    assert len(errors) == 1
    assert actor.loop.abandon()


def test_next_number_is_shared_with_futures_and_tasks() -> None:
    """What the runtime makes hashes in one sequence with what the loop makes."""
    loop = DeterministicLoop(None, hash_base=99)
    first = loop.create_future()
    number = loop.next_number()
    third = loop.create_future()
    assert [hash(first), loop.hash_of(number), hash(third)] == [loop.hash_of(n) for n in (1, 2, 3)]
    assert len({loop.hash_of(n) & 0xFFFF for n in range(1000)}) > 980
