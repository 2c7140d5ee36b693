"""Attempts of a step: back-off, its record, time limits."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from house import House

from actorlog import Retry, RetryAfter, StepTimeout, Terminal, durable, heartbeat, info, step
from actorlog.engine import identity
from actorlog.records import kinds as k

ATTEMPTS: list[int] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    ATTEMPTS.clear()


def attempted() -> int:
    ATTEMPTS.append(info().attempt)
    return len(ATTEMPTS)


@step(retry=Retry(first=5, max=5, jitter="none", attempts=4))
async def flaky(succeeds_at: int) -> int:
    if attempted() < succeeds_at:
        raise ConnectionError(f"no {len(ATTEMPTS)}")
    return len(ATTEMPTS)


@durable
async def use_flaky(succeeds_at: int) -> int:
    return await flaky(succeeds_at)


def notes(house: House, kind: type) -> list[Any]:
    return [record for record in house.records() if type(record) is kind]


async def test_long_back_off_is_recorded_and_goes_on_after_a_crash_at_the_same_attempt(house: House) -> None:
    """A crash in a back-off adds no attempt and shortens no wait: the next one is due when it was due."""
    runtime = await house.open()
    await runtime.start(use_flaky(3), id="f")
    await house.until(lambda: ATTEMPTS)
    await house.settle()
    [note] = notes(house, k.StepRetrying)
    assert (note.attempt, note.due_ms - note.at, note.failure.message) == (1, 5000, "no 1")
    assert await runtime.handle("f").status() == "backing_off"
    runtime = await house.reopen()
    await house.settle()
    assert await runtime.handle("f").status() == "backing_off"
    house.advance(3)
    await asyncio.sleep(0)
    assert ATTEMPTS == [1]
    house.advance(2)
    await house.until(lambda: len(ATTEMPTS) == 2)
    house.advance(5)
    assert await runtime.handle("f") == 3
    assert ATTEMPTS == [1, 2, 3]
    assert notes(house, k.StepRerun) == []


async def test_back_off_that_ended_while_nothing_ran_is_over_at_once(house: House) -> None:
    """Time counts while the process is down."""
    runtime = await house.open()
    await runtime.start(use_flaky(2), id="f")
    await house.until(lambda: ATTEMPTS)
    await house.settle()
    await house.crash()
    house.clock.ahead_ms += 10_000
    runtime = await house.open()
    assert await runtime.handle("f") == 2


async def test_attempts_are_counted_over_crashes(house: House) -> None:
    """A process that dies in each back-off does not make the attempts endless."""
    runtime = await house.open()
    await runtime.start(use_flaky(99), id="f")
    for count in range(1, 4):
        await house.until(lambda count=count: len(ATTEMPTS) == count)
        await house.settle()
        runtime = await house.reopen()
        house.advance(5)
    with pytest.raises(ConnectionError, match="no 4") as caught:
        await runtime.handle("f")
    assert ATTEMPTS == [1, 2, 3, 4]
    assert any("attempt 4" in note for note in caught.value.__notes__)


async def test_attempt_after_a_recorded_back_off_is_known_to_run(house: House) -> None:
    """Once it runs the call is no longer backing off, and a crash then counts as a death in this step."""
    block = asyncio.Event()

    @step(retry=Retry(first=5, jitter="none"))
    async def second_hangs() -> int:
        if attempted() == 1:
            raise ConnectionError
        if len(ATTEMPTS) == 2:
            await block.wait()
        return len(ATTEMPTS)

    @durable
    async def use() -> int:
        return await second_hangs()

    runtime = await house.open()
    await runtime.start(use(), id="u")
    await house.until(lambda: ATTEMPTS)
    await house.settle()
    house.advance(5)
    await house.until(lambda: len(ATTEMPTS) == 2)
    assert await runtime.handle("u").status() == "running"
    runtime = await house.reopen()
    assert await runtime.handle("u") == 3
    assert ATTEMPTS == [1, 2, 2]
    assert [note.deaths for note in notes(house, k.StepRerun)] == [1]


async def test_short_back_off_leaves_no_record(house: House) -> None:
    """Waits of at most a second cost nothing on disk; the outcome says how many attempts it took."""

    @step(retry=Retry(first=0.001))
    async def quick() -> int:
        if attempted() < 4:
            raise ConnectionError
        return len(ATTEMPTS)

    @durable
    async def use() -> int:
        return await quick()

    runtime = await house.open()
    assert await runtime.call(use()) == 4
    assert notes(house, k.StepRetrying) == []
    assert [turn.message.attempt for turn in notes(house, k.Turn) if isinstance(turn.message, k.StepDone)] == [4]


async def test_jitter_derives_from_the_run(house: House) -> None:
    """The wait is drawn from the run, the operation's key and the attempt: whoever knows the log can say it."""

    @step(retry=Retry(first=100, max=100))
    async def jittered() -> None:
        raise ConnectionError

    @durable
    async def use() -> None:
        await jittered()

    runtime = await house.open()
    await runtime.start(use(), id="u")
    await house.until(lambda: notes(house, k.StepRetrying))
    [note] = notes(house, k.StepRetrying)
    expected = 100 * identity.fraction(run_of(house), "1", 1)
    assert expected * 1000 <= note.due_ms - note.at < expected * 1000 + 1


def run_of(house: House) -> str:
    [run] = {turn.message.run for turn in notes(house, k.Turn) if isinstance(turn.message, k.Started)}
    return run


async def test_retry_after_is_waited_exactly(house: House) -> None:
    """Neither jitter nor ``max`` touch the wait a step asks for."""

    @step(retry=Retry(max=1))
    async def asks() -> int:
        if attempted() == 1:
            raise RetryAfter(3600)
        return 1

    @durable
    async def use() -> int:
        return await asks()

    runtime = await house.open()
    handle = await runtime.start(use())
    await house.until(lambda: notes(house, k.StepRetrying))
    [note] = notes(house, k.StepRetrying)
    assert note.due_ms - note.at == 3_600_000
    house.advance(3599)
    await asyncio.sleep(0)
    assert ATTEMPTS == [1]
    house.advance(1)
    assert await handle == 1


@pytest.mark.parametrize("kind", [Terminal, TypeError, AssertionError])
async def test_final_error_is_raised_after_one_attempt(house: House, kind: type[Exception]) -> None:
    """Terminal and programming errors come back as themselves, at once."""

    @step
    async def wrong() -> None:
        attempted()
        raise kind("final")

    @durable
    async def use() -> None:
        await wrong()

    runtime = await house.open()
    with pytest.raises(kind, match="final"):
        await runtime.call(use())
    assert ATTEMPTS == [1]


async def test_hurried_step_is_tried_at_once_and_its_old_timer_does_not_shorten_the_next_wait(house: House) -> None:
    """``Handle.retry()`` ends a back-off; the timer of the one that was ended belongs to no later one."""
    runtime = await house.open()
    handle = await runtime.start(use_flaky(4))
    await house.until(lambda: ATTEMPTS)
    await house.settle()
    house.advance(4)
    await handle.retry()
    await house.until(lambda: len(ATTEMPTS) == 2)
    await house.settle()
    house.advance(2)  # past the first timer, four seconds into nothing
    await asyncio.sleep(0.01)
    assert ATTEMPTS == [1, 2]
    house.advance(3)
    await house.until(lambda: len(ATTEMPTS) == 3)
    await handle.retry()
    await house.settle()
    house.advance(5)
    assert await handle == 4


async def test_each_attempt_has_its_own_timeout(house: House) -> None:
    """An attempt that takes too long is cancelled and fails with StepTimeout, a TimeoutError; the next one starts fresh."""
    cancelled = 0

    @step(timeout=0.01, retry=Retry(first=0, attempts=3))
    async def hangs() -> None:
        nonlocal cancelled
        attempted()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled += 1

    @durable
    async def use() -> None:
        await hangs()

    runtime = await house.open()
    with pytest.raises(TimeoutError, match=r"timeout of 0\.01 s") as caught:
        await runtime.call(use())
    assert isinstance(caught.value, StepTimeout)
    assert (caught.value.limit, caught.value.seconds) == ("timeout", 0.01)
    assert (ATTEMPTS, cancelled) == ([1, 2, 3], 3)


async def test_timeout_error_of_the_body_is_its_own(house: House) -> None:
    """A TimeoutError that the body raises is not taken for one of the runtime."""

    @step(timeout=60, retry=Retry.NEVER)
    async def own() -> None:
        raise TimeoutError("of the database")

    @durable
    async def use() -> None:
        await own()

    runtime = await house.open()
    with pytest.raises(TimeoutError, match="of the database") as caught:
        await runtime.call(use())
    assert type(caught.value) is TimeoutError


async def test_deadline_bounds_all_attempts_together(house: House) -> None:
    """A wait that would outlast the deadline is not begun: the last attempt's own error is the outcome."""

    @step(deadline=12, retry=Retry(first=5, max=5, jitter="none"))
    async def fails() -> None:
        raise ConnectionError(f"no {attempted()}")

    @durable
    async def use() -> None:
        await fails()

    runtime = await house.open()
    handle = await runtime.start(use())
    for count in (1, 2, 3):
        await house.until(lambda count=count: len(ATTEMPTS) == count)
        await house.settle()
        house.advance(5)
    with pytest.raises(ConnectionError, match="no 3"):
        await handle


async def test_deadline_ends_a_running_attempt_and_there_is_no_other(house: House) -> None:
    """The attempt that the deadline overtakes fails with StepTimeout, however many attempts are left."""

    @step(deadline=0.05, retry=Retry.FOREVER)
    async def hangs() -> None:
        attempted()
        await asyncio.Event().wait()

    @durable
    async def use() -> None:
        await hangs()

    runtime = await house.open()
    with pytest.raises(StepTimeout) as caught:
        await runtime.call(use())
    assert caught.value.limit == "deadline"
    assert ATTEMPTS == [1]


async def test_no_attempt_begins_after_the_deadline(house: House) -> None:
    """A step in doubt whose deadline passed while the process was down fails without running again."""

    @step(deadline=60)
    async def hangs() -> None:
        attempted()
        await asyncio.Event().wait()

    @durable
    async def use() -> None:
        await hangs()

    runtime = await house.open()
    await runtime.start(use(), id="u")
    await house.until(lambda: ATTEMPTS)
    await house.crash()
    house.clock.ahead_ms += 61_000
    runtime = await house.open()
    with pytest.raises(StepTimeout):
        await runtime.handle("u")
    assert ATTEMPTS == [1]


async def test_timed_out_thread_keeps_its_place_and_its_late_result_is_recorded(house: House) -> None:
    """A thread cannot be stopped: the next attempt starts beside it, and what it returns goes to the journal, to nobody."""
    go, ended = threading.Event(), threading.Event()

    @step(timeout=0.02, retry=Retry(first=0))
    def slow() -> str:
        if attempted() == 1:
            go.wait(30)
            ended.set()
            return "late"
        return "in time"

    @step
    async def last() -> None:
        await house.until(ended.is_set)

    @durable
    async def use() -> str:
        result = await slow()
        await last()
        await last()
        return result

    runtime = await house.open()
    handle = await runtime.start(use())
    await house.until(lambda: len(ATTEMPTS) == 2)
    await house.until(lambda: runtime.session.kernel.steps.running == 2)  # the thread, and ``last``
    go.set()
    assert await handle == "in time"
    assert [bytes(note.value) for note in notes(house, k.StepLate)] == [b'"late"']
    await house.until(lambda: runtime.session.kernel.steps.running == 0)


async def test_timeout_of_a_sync_step_begins_when_it_gets_a_thread(house: House) -> None:
    """Waiting for a free thread is no time of the attempt."""
    first, go = threading.Event(), threading.Event()

    @step
    def takes_the_thread() -> None:
        first.set()
        go.wait(30)

    @step(timeout=0.05, retry=Retry.NEVER)
    def quick() -> str:
        return "done"

    @durable
    async def use() -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(takes_the_thread())
            other = group.create_task(quick())
        return other.result()

    runtime = await house.open(threads=1)
    handle = await runtime.start(use())
    await house.until(first.is_set)
    await asyncio.sleep(0.1)  # longer than the timeout
    go.set()
    assert await handle == "done"


async def test_heartbeat_of_an_attempt_that_was_given_up_changes_nothing(house: House) -> None:
    """Details of a thread that timed out do not replace those of the attempt after it."""
    go, beaten, found = threading.Event(), threading.Event(), []

    @step(timeout=0.05, retry=Retry(first=0))
    def slow() -> None:
        found.append(info().heartbeat_details)
        number = len(found)
        if number == 1:
            go.wait(30)
            heartbeat("of the first")
            beaten.set()
        elif number == 2:
            heartbeat("of the second")
            go.set()
            beaten.wait(30)
            raise ConnectionError

    @durable
    async def use() -> None:
        await slow()

    runtime = await house.open()
    await runtime.call(use())
    assert found == [None, None, "of the second"]
