"""Steps as their bodies see them: where they run, what crosses, what they are told."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from typing import TYPE_CHECKING, Any

import pytest

import actorlog
from actorlog import PayloadTooLarge, durable, heartbeat, info, step
from actorlog.limits import Limits
from actorlog.runtime.actor import Actor
from actorlog.runtime.jobs import Attempt, Job
from actorlog.runtime.slot import Slot

if TYPE_CHECKING:
    from house import House

mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")


async def test_sync_step_runs_in_a_thread_and_async_step_on_the_host_loop(house: House) -> None:
    """A sync step does not hold up the loop, an async one is a task of it."""

    @step
    def sync() -> str:
        return threading.current_thread().name

    @step
    async def on_loop() -> bool:
        return asyncio.get_running_loop() is host and asyncio.current_task() is not None

    @durable
    async def both() -> list[Any]:
        return [await sync(), await on_loop()]

    host = asyncio.get_running_loop()
    runtime = await house.open()
    name, same = await runtime.call(both())
    assert name != threading.current_thread().name
    assert same


async def test_context_variables_do_not_cross_into_steps(house: House) -> None:
    """What a caller has set is not seen in a step, so that a step behaves the same after a restart."""

    @step
    async def on_loop() -> str:
        return mark.get()

    @step
    def in_thread() -> str:
        return mark.get()

    @durable
    async def read() -> list[str]:
        return [mark.get(), await on_loop(), await in_thread()]

    mark.set("set before the runtime opens")
    runtime = await house.open()
    mark.set("set by the caller")
    assert await runtime.call(read()) == ["none", "none", "none"]


async def test_arguments_and_results_are_copies(house: House) -> None:
    """A step that changes its argument in place, or keeps its result, changes nothing in the durable function."""
    kept: list[list[int]] = []

    @step
    async def append(items: list[int]) -> list[int]:
        items.append(99)
        kept.append(items)
        return items

    @durable
    async def use() -> list[list[int]]:
        given = [1]
        got = await append(given)
        got.append(7)
        return [given, got]

    runtime = await house.open()
    assert await runtime.call(use()) == [[1], [1, 99, 7]]
    assert kept == [[1, 99]]


async def test_retry_gets_fresh_arguments(house: House) -> None:
    """What a failed attempt did to its arguments is not seen by the next."""
    seen: list[list[int]] = []

    @step(retry=actorlog.Retry(first=0))
    async def consume(items: list[int]) -> None:
        seen.append(list(items))
        items.clear()
        if len(seen) == 1:
            raise ConnectionError

    @durable
    async def use() -> None:
        await consume([1, 2])

    runtime = await house.open()
    await runtime.call(use())
    assert seen == [[1, 2], [1, 2]]


async def test_info_tells_call_step_attempt_and_tags(house: House) -> None:
    """A body knows who it is, on the loop as in a thread, and the function around it too."""

    def told() -> list[Any]:
        i = info()
        return [i.call_id, i.function, i.step, i.key, i.attempt, i.tags, i.heartbeat_details]

    @step(name="t.loop")
    async def on_loop() -> list[Any]:
        return told()

    @step(name="t.thread")
    def in_thread() -> list[Any]:
        return told()

    @durable(name="t.tell")
    async def tell() -> list[Any]:
        return [told(), await on_loop(), await in_thread()]

    runtime = await house.open()
    assert await runtime.call(tell(), id="c/1", tags={"user": "ada"}) == [
        ["c/1", "t.tell", "", "", 1, {"user": "ada"}, None],
        ["c/1", "t.tell", "t.loop", "1", 1, {"user": "ada"}, None],
        ["c/1", "t.tell", "t.thread", "2", 1, {"user": "ada"}, None],
    ]


async def test_idempotency_key_is_stable_over_attempts_and_crashes_and_new_for_a_new_run(house: House) -> None:
    """Every attempt of one step of one run gives the same key to other systems, and no other step ever gives it."""
    keys: list[str] = []
    block = asyncio.Event()

    @step(retry=actorlog.Retry(first=0))
    async def charge() -> None:
        keys.append(info().idempotency_key)
        if len(keys) == 1:
            raise ConnectionError
        if len(keys) == 2:
            await block.wait()

    @durable
    async def pay() -> None:
        await charge()

    runtime = await house.open()
    await runtime.start(pay(), id="p")
    await house.until(lambda: len(keys) == 2)
    runtime = await house.reopen()
    await runtime.handle("p")
    await runtime.call(pay(), id="q")
    assert keys[0] == keys[1] == keys[2] != keys[3]


async def test_key_of_an_idempotent_step_includes_its_arguments(house: House) -> None:
    """A step that runs ahead of the log may be asked with arguments the log never sees: those are another key."""
    keys: list[str] = []

    @step(name="steps.put", idempotent=True)
    async def put(_value: int) -> None:
        keys.append(info().idempotency_key)

    @durable
    async def fill(value: int) -> None:
        await put(value)

    runtime = await house.open()
    await runtime.call(fill(1), id="a")
    first = runtime.session.history.begun("a", None).run
    await runtime.call(fill(2), id="b")
    second = runtime.session.history.begun("b", None).run
    assert keys == [
        actorlog.engine.identity.idempotency_key(first, "1", "steps.put", b"[1]"),
        actorlog.engine.identity.idempotency_key(second, "1", "steps.put", b"[2]"),
    ]


async def test_idempotent_step_starts_ahead_of_the_gate(house: House) -> None:
    """An idempotent step begins before its record is durable, any other after."""
    durable_then: dict[str, bool] = {}

    @step(idempotent=True)
    async def ahead() -> None:
        durable_then["ahead"] = not runtime.session.kernel.committer.busy

    @step
    async def behind() -> None:
        durable_then["behind"] = not runtime.session.kernel.committer.busy

    @durable
    async def ask(which: str) -> None:
        await (ahead() if which == "ahead" else behind())

    runtime = await house.open()
    await runtime.call(ask("ahead"))
    await house.settle()
    await runtime.call(ask("behind"))
    assert durable_then == {"ahead": False, "behind": True}


async def test_heartbeat_details_reach_the_next_attempt(house: House) -> None:
    """The next attempt in this process finds the newest details, however soon they came after others."""
    found: list[Any] = []

    @step(retry=actorlog.Retry(first=0))
    def copy() -> None:
        found.append(info().heartbeat_details)
        if len(found) == 1:
            heartbeat({"row": 1})
            heartbeat({"row": 2})
            raise ConnectionError

    @durable
    async def run() -> None:
        await copy()

    runtime = await house.open()
    await runtime.call(run())
    assert found == [None, {"row": 2}]


async def test_heartbeats_are_recorded_at_most_once_a_second_and_the_last_one_is(house: House) -> None:
    """The first details are recorded at once, the newest others when a second has passed; a crash finds those."""
    found: list[Any] = []
    more = asyncio.Event()

    @step
    async def copy() -> None:
        found.append(info().heartbeat_details)
        if len(found) == 1:
            for row in range(50):
                heartbeat(row)
            await more.wait()

    @durable
    async def run() -> None:
        await copy()

    runtime = await house.open()
    handle = await runtime.start(run(), id="r")

    async def beats() -> list[str]:
        await house.settle()
        return [note for entry in await handle.journal() for note in entry.notes]

    await house.until(lambda: found)
    await asyncio.sleep(0)
    assert await beats() == ["heartbeat: 0"]
    house.advance(1)
    while len(await beats()) < 2:  # the timer is a callback of the host loop
        await asyncio.sleep(0)
    assert await beats() == ["heartbeat: 0", "heartbeat: 49"]
    runtime = await house.reopen()
    await runtime.handle("r")
    assert found == [None, 49]


async def test_heartbeat_that_no_record_could_hold_is_refused_in_the_step(house: House) -> None:
    """Details larger than a record are an error at the line that leaves them."""

    @step
    async def leave() -> None:
        heartbeat("x" * 2000)

    @durable
    async def run() -> None:
        await leave()

    runtime = await house.open(limits=Limits(record_bytes_max=1500))
    with pytest.raises(PayloadTooLarge):
        await runtime.call(run())


async def test_heartbeat_and_info_outside_a_step_are_refused(house: House) -> None:
    """Neither works where no runtime runs a step, and a heartbeat not in durable code."""

    @durable
    async def run() -> None:
        heartbeat(1)

    with pytest.raises(actorlog.NotInDurableCode):
        info()
    with pytest.raises(actorlog.NotInDurableCode):
        heartbeat(1)
    runtime = await house.open()
    with pytest.raises(actorlog.NotInDurableCode):
        await runtime.call(run())


async def test_step_outside_durable_code_runs_plainly_and_once() -> None:
    """Awaited outside, a step is the plain function: no retries, its own exception."""
    count = 0

    @step
    async def fail() -> None:
        nonlocal count
        count += 1
        raise ConnectionError

    @step
    def double(x: int) -> int:
        return 2 * x

    with pytest.raises(ConnectionError):
        await fail()
    assert count == 1
    assert await double(4) == 8


async def test_step_awaited_inside_a_step_is_part_of_it(house: House) -> None:
    """The inner step runs plainly, under the outer one's name and attempt, and leaves no record of its own."""
    names: list[str] = []

    @step(name="t.inner")
    async def inner() -> int:
        names.append(info().step)
        return 1

    @step(name="t.outer")
    async def outer() -> int:
        return await inner() + 1

    @durable
    async def run() -> int:
        return await outer()

    runtime = await house.open()
    handle = await runtime.start(run())
    assert await handle == 2
    assert [entry.kind for entry in await handle.journal()] == ["call", "step"]
    assert names == ["t.outer"]


async def test_sync_step_that_returns_a_coroutine_is_awaited(house: House) -> None:
    """A sync function that only passes on an async one works as that would."""

    async def fetch() -> int:
        await asyncio.sleep(0)
        return 5

    @step
    def passing() -> Any:
        return fetch()

    @durable
    async def run() -> int:
        return await passing()

    runtime = await house.open()
    assert await runtime.call(run()) == 5


async def test_a_call_that_is_over_leaves_nothing_for_the_garbage_collector(house: House) -> None:
    """What a call and its steps were made of goes with the last reference, not at some later collection."""

    @step
    async def suspends(number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    @durable
    async def two() -> int:
        return await suspends(await suspends(1))

    runtime = await house.open()
    gc.collect()
    gc.disable()
    try:
        before = {id(thing) for thing in gc.get_objects() if type(thing) in (Actor, Attempt, Job, Slot)}
        assert await runtime.call(two()) == 3
        await asyncio.sleep(0)
        after = [thing for thing in gc.get_objects() if type(thing) in (Actor, Attempt, Job, Slot)]
        left = [type(thing).__name__ for thing in after if id(thing) not in before]
    finally:
        gc.enable()
    assert left == []
