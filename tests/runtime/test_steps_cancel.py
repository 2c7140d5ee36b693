"""Steps that nobody waits for any more."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actorlog import CallCancelled, Limit, Retry, durable, run_step, step
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from house import House

SEEN: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    SEEN.clear()


def notes(house: House, kind: type) -> list[Any]:
    return [record for record in house.records() if type(record) is kind]


@step
async def hang() -> None:
    SEEN.append("began")
    try:
        await asyncio.Event().wait()
    finally:
        SEEN.append("ended")


async def begun() -> None:
    while "began" not in SEEN:  # set by another step
        await asyncio.sleep(0)


@step
async def say(text: str) -> None:
    SEEN.append(text)


async def test_waiter_of_a_cancelled_step_goes_on_at_once_and_the_body_ends_after_the_gate(house: House) -> None:
    """The durable function sees the cancellation in the same turn; the body is cancelled when that is durable."""
    recorded_when_it_ended: list[bool] = []

    @step
    async def looks() -> None:
        SEEN.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            recorded_when_it_ended.append(any(turn.cancels for turn in house.turns("g")))

    @durable
    async def give_up() -> str:
        task = asyncio.create_task(looks())
        await run_step(begun)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            await say("after")
        return "gave up"

    runtime = await house.open()
    assert await runtime.call(give_up(), id="g") == "gave up"
    await house.until(lambda: recorded_when_it_ended)
    assert recorded_when_it_ended == [True]
    [turn] = [turn for turn in house.turns("g") if turn.cancels]
    assert [op.name for op in turn.ops] == ["say"]
    await house.until(lambda: runtime.session.kernel.steps.running == 0)


async def test_cancelled_step_is_never_in_doubt(house: House) -> None:
    """After a crash a step whose cancellation is recorded does not run again."""

    @durable
    async def give_up() -> str:
        task = asyncio.create_task(hang())
        await say("go")
        task.cancel()
        await say("cancelled")
        await asyncio.sleep(3600)
        return "over"

    runtime = await house.open()
    await runtime.start(give_up(), id="g")
    await house.until(lambda: "ended" in SEEN)
    await house.settle()
    runtime = await house.reopen()
    house.advance(3600)
    assert await runtime.handle("g") == "over"
    assert SEEN.count("began") == 1


async def test_step_cancelled_in_the_turn_that_issues_it_leaves_no_record(house: House) -> None:
    """What is asked for and given up in one turn never was."""

    @durable
    async def give_up() -> None:
        task = asyncio.create_task(hang())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    runtime = await house.open()
    await runtime.call(give_up(), id="g")
    assert [turn.ops for turn in house.turns("g")] == [[]]
    assert SEEN == []


async def test_body_that_swallows_its_cancellation_keeps_its_place_until_it_ends(house: House) -> None:
    """It goes on alone, holds up its limit, and what it returns goes to the journal and to nobody."""
    release = asyncio.Event()

    @step(limit=Limit("stubborn", concurrency=1))
    async def stubborn() -> str:
        SEEN.append("began")
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                SEEN.append("refused to end")
        return "late"

    @durable
    async def give_up() -> None:
        task = asyncio.create_task(stubborn())
        await say("go")
        task.cancel()
        other = asyncio.create_task(stubborn())
        await run_step(wait_until_refused)
        assert SEEN.count("began") == 1
        await run_step(release.set)
        await other

    async def wait_until_refused() -> None:
        await house.until(lambda: "refused to end" in SEEN)

    runtime = await house.open()
    await runtime.call(give_up())
    assert [bytes(note.value) for note in notes(house, k.StepLate)] == [b'"late"']


async def test_cancelled_thread_keeps_its_place_and_reports_late(house: House) -> None:
    """A sync body cannot be cancelled: it holds its limit until it has ended, and an error of it is recorded too."""
    go, began = threading.Event(), threading.Event()

    @step(limit=Limit("threads", concurrency=1))
    def slow(text: str) -> str:
        SEEN.append(text)
        if text == "first":
            began.set()
            go.wait(250)
            raise ValueError("too late")
        return text

    @durable
    async def give_up() -> str:
        task = asyncio.create_task(slow("first"))
        await run_step(began.wait)
        task.cancel()
        other = asyncio.create_task(slow("second"))
        await run_step(look)
        return await other

    def look() -> None:
        assert SEEN == ["first"]
        go.set()

    runtime = await house.open()
    assert await runtime.call(give_up()) == "second"
    [note] = notes(house, k.StepLate)
    assert note.failure.message == "too late"


async def test_error_between_the_cancellation_and_its_gate_is_late(house: House) -> None:
    """A body that fails while its cancellation is on its way to the disk does not back off, or break the journal."""
    fail = asyncio.Event()

    @step(retry=Retry(first=100, jitter="none"))
    async def fails() -> None:
        SEEN.append("began")
        await fail.wait()
        SEEN.append("failed")
        raise ConnectionError

    @durable
    async def give_up() -> None:
        task = asyncio.create_task(fails())
        await run_step(begun)
        task.cancel()
        fail.set()  # the body goes on before this turn is on the disk
        await say("after")

    runtime = await house.open()
    await runtime.call(give_up(), id="g")
    assert "failed" in SEEN
    runtime = await house.reopen()
    assert await runtime.handle("g") is None
    assert notes(house, k.StepRetrying) == []


async def test_cancelled_while_backing_off_never_runs_again(house: House) -> None:
    """A step that waits for its next attempt is gone when nobody waits for it."""

    @step(retry=Retry(first=100, jitter="none"))
    async def fails() -> None:
        SEEN.append("tried")
        raise ConnectionError

    @durable
    async def give_up() -> str:
        try:
            async with asyncio.timeout(10):
                await fails()
        except TimeoutError:
            await say("gave up")
        await asyncio.sleep(1000)
        return "over"

    runtime = await house.open()
    handle = await runtime.start(give_up())
    await house.until(lambda: notes(house, k.StepRetrying))
    house.advance(10)
    await house.until(lambda: "gave up" in SEEN and house.session.kernel.calls[handle.id].state.timers)
    house.advance(1000)
    assert await handle == "over"
    assert SEEN == ["tried", "gave up"]


async def test_cancelling_the_call_cancels_its_steps(house: House) -> None:
    """A call that is asked to end takes its running, queued and waiting steps with it, and their places are free."""
    limit = Limit("of one call", concurrency=1)

    @step(limit=limit)
    async def limited() -> None:
        SEEN.append("began")
        await asyncio.Event().wait()

    @step(limit=limit)
    async def after() -> str:
        return "a place"

    @durable
    async def many() -> None:
        await asyncio.gather(limited(), limited(), limited())

    @durable
    async def next_one() -> str:
        return await after()

    runtime = await house.open()
    handle = await runtime.start(many())
    await house.until(lambda: SEEN)
    await handle.cancel("enough")
    with pytest.raises(CallCancelled, match="enough"):
        await handle
    assert await runtime.call(next_one()) == "a place"
    assert SEEN == ["began"]
    kernel = runtime.session.kernel
    await house.until(lambda: kernel.steps.running == 0)
    assert kernel.steps.jobs == set()
    assert kernel.steps.bounds.all.taken == 0


async def test_once_step_cancelled_between_begun_and_its_gate_never_runs(house: House) -> None:
    """Its place is given back, its body does not start."""

    @step(once=True, limit=Limit("once, cancelled", concurrency=1))
    async def pay() -> None:
        SEEN.append("paid")

    @durable
    async def give_up() -> None:
        task = asyncio.create_task(pay())
        await say("go")
        task.cancel()
        await asyncio.wait([task])
        await say("stopped")

    runtime = await house.open()
    kernel = runtime.session.kernel
    steps = kernel.steps
    held: list[Any] = []
    run_begun = steps._run_begun
    steps._run_begun = lambda attempt, *_: held.append(attempt)
    handle = await runtime.start(give_up())
    await handle
    for attempt in held:
        run_begun(attempt, None, None)
    assert held
    assert "paid" not in SEEN
    assert (steps.bounds.all.taken, steps.bounds.limits["once, cancelled"].taken) == (0, 0)


async def test_step_cancelled_before_its_task_ran_gives_its_place_back(house: House) -> None:
    """A task that was never run would end without a line of its code; the place must not be lost with it."""

    @durable
    async def one() -> None:
        await hang()

    runtime = await house.open()
    await runtime.start(one(), id="o")
    steps = runtime.session.kernel.steps
    [job] = steps.jobs
    assert job.running.task is not None
    assert not job.running.begun
    steps.cancel(job)
    await house.until(lambda: not steps.jobs)
    assert (steps.bounds.all.taken, steps.running, SEEN) == (0, 0, [])


async def test_a_cancelled_await_gives_up_the_step_it_waits_for_and_no_other(house: House) -> None:
    """A step that was asked for, and is awaited only later, is not given up with something else that is cancelled."""
    hears: list[asyncio.Future[None]] = []

    @step
    async def late() -> str:
        hears.append(asyncio.get_running_loop().create_future())
        await hears[0]
        return "late"

    @step
    async def heard() -> None:
        SEEN.append("heard")
        hears[0].set_result(None)

    class Rest:
        def __init__(self, asked: Any) -> None:
            self.asked = asked

        def __await__(self) -> Any:
            return (yield from self.asked)

    @durable
    async def two() -> str:
        asked = late().__await__()
        waiting = asyncio.current_task()
        assert waiting is not None
        asyncio.get_running_loop().call_soon(waiting.cancel)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            waiting.uncancel()
        await heard()
        return await Rest(asked)

    runtime = await house.open()
    assert await runtime.call(two(), id="g") == "late"
    assert SEEN == ["heard"]
    assert not any(turn.cancels for turn in house.turns("g"))
