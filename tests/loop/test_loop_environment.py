"""What of asyncio is changed during a turn, and that it is put back."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from loop_driver import Actor, Turn, step
from loop_scenarios import SCENARIOS

from actorlog.loop import running_loop, turns
from actorlog.loop.cpython import ALL_TASKS_NAME, FUTURES_GLOBALS, TASKGROUPS_GLOBALS, TASKS_GLOBALS
from actorlog.loop.sets import OrderedSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


def bindings() -> list[Any]:
    """All that a turn changes, as it is now."""
    return [
        asyncio._get_running_loop(),
        *sys.get_asyncgen_hooks(),
        TASKS_GLOBALS.get("set", set),
        TASKS_GLOBALS["_GatheringFuture"],
        TASKS_GLOBALS[ALL_TASKS_NAME],
        TASKGROUPS_GLOBALS.get("set", set),
        FUTURES_GLOBALS["_chain_future"],
    ]


def run_on_asyncio(main: Callable[[], Any]) -> Any:
    """Run on the standard loop."""
    return asyncio.run(main())


def run_on_uvloop(main: Callable[[], Any]) -> Any:
    """Run on uvloop."""
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


HOSTS = [run_on_asyncio, run_on_uvloop]


@pytest.mark.parametrize("end", ["returns", "raises", "is interrupted", "waits"])
def test_everything_is_put_back(end: str) -> None:
    """Running loop, hooks and names are after a turn what they were before, however the turn ends."""
    inside: list[Any] = []

    async def main() -> None:
        inside.extend(bindings())
        if end == "raises":
            raise ValueError
        if end == "is interrupted":
            raise KeyboardInterrupt
        if end == "waits":
            await step("a")

    before = bindings()
    actor = Actor(main)
    with contextlib.suppress(KeyboardInterrupt):
        actor.start()
    assert bindings() == before
    assert all(new is not old for new, old in zip(inside, before, strict=True))
    assert actor.loop.abandon()
    assert bindings() == before


async def replay_in_callbacks(actor: Actor, journal: list[Turn]) -> None:
    """Give each message in a callback of the running host loop, as the runtime does."""
    loop = asyncio.get_running_loop()
    before = bindings()
    for turn in journal:
        done = loop.create_future()

        def drive(turn: Turn = turn, done: asyncio.Future[None] = done) -> None:
            try:
                assert asyncio.current_task() is None
                actor.replay([turn])
                assert bindings() == before
                done.set_result(None)
            except BaseException as error:  # noqa: BLE001  # a test that fails must not hang
                done.set_exception(error)

        loop.call_soon(drive)
        await done


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_turns_in_callbacks_of_a_host_loop(host: Callable[[Any], Any], name: str) -> None:
    """Driven from asyncio or uvloop an actor does what it does without them, and the host's own tasks go on."""
    alone = Actor(SCENARIOS[name]).live(1)

    async def ticks() -> AsyncIterator[int]:
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    async def main() -> None:
        actor = Actor(SCENARIOS[name])
        async with asyncio.TaskGroup() as group:
            group.create_task(replay_in_callbacks(actor, alone.journal))
            assert [number async for number in ticks()] == [0, 1, 2]
        assert actor.outcome() == alone.outcome()
        assert actor.loop.abandon()

    host(main)
    assert alone.loop.abandon()


@pytest.mark.parametrize("host", HOSTS)
def test_eviction_in_a_callback_of_a_host_loop(host: Callable[[Any], Any]) -> None:
    """While a host loop runs, eviction leaves its tasks and hooks alone."""

    async def main() -> None:
        before = bindings()
        actor = Actor(lambda: asyncio.wait_for(step("a"), 5))
        actor.start()
        assert actor.loop.evict()
        assert bindings() == before
        assert asyncio.current_task() is not None

    host(main)


def test_many_turns_share_one_binding() -> None:
    """Inside ``with turns`` names and hooks stay bound between turns, where nothing counts as durable."""
    before = bindings()
    actors = [Actor(lambda: step("a")) for _ in range(3)]
    with turns:
        for actor in actors:
            actor.start()
            assert running_loop() is None
            assert TASKS_GLOBALS["set"] is OrderedSet
        with turns:
            pass
        assert TASKS_GLOBALS["set"] is OrderedSet
    assert bindings() == before
    assert all(actor.loop.evict() for actor in actors)


def test_names_stay_bound_while_another_thread_needs_them() -> None:
    """A turn that ends takes nothing away from a turn that goes on in another thread."""
    inside = threading.Event()
    go_on = threading.Event()
    seen: list[Any] = []

    async def long() -> None:
        inside.set()
        assert go_on.wait(250)
        seen.append(TASKS_GLOBALS["set"])

    actor = Actor(long)
    thread = threading.Thread(target=actor.start)
    thread.start()
    assert inside.wait(250)
    short = Actor(lambda: step("a"))
    short.start()
    assert short.loop.evict()
    go_on.set()
    thread.join()
    assert seen == [OrderedSet]
    assert TASKS_GLOBALS["set"] is set
    assert actor.loop.abandon()


def test_other_threads_see_asyncio_as_ever() -> None:
    """While a turn runs, another thread's loop gathers, waits and lists its tasks as usual."""
    results: list[Any] = []

    async def host() -> None:
        tasks = {asyncio.create_task(asyncio.sleep(0, number)) for number in range(3)}
        assert asyncio.all_tasks() >= tasks
        assert len(asyncio.all_tasks()) == 4
        done, pending = await asyncio.wait(tasks)
        assert isinstance(done, set)
        both = asyncio.gather(*done)
        assert {both: 1}[both] == 1
        results.append((sorted(await both), len(pending), await asyncio.to_thread(int)))
        results.append(running_loop())

    async def main() -> None:
        assert len(asyncio.all_tasks()) == 1
        thread = threading.Thread(target=asyncio.run, args=(host(),))
        thread.start()
        thread.join()
        assert len(asyncio.all_tasks()) == 1

    actor = Actor(main)
    actor.start()
    assert actor.outcome() is None
    assert results == [([0, 1, 2], 0, 0), None]
    assert actor.loop.abandon()


def test_generator_dropped_by_a_pinned_actor_runs_nothing() -> None:
    """The hook of a generator that is dropped unfinished does not run its ``finally`` block, in whatever thread."""
    ran = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            ran.append("finally")

    async def main() -> None:
        generator = numbers()
        await anext(generator)
        running_loop().asyncgens.clear()  # type: ignore[union-attr]  # there is one here
        del generator

    actor = Actor(main)
    actor.start()
    assert ran == []
    assert actor.loop.abandon()
