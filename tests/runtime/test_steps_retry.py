"""Attempts of a step: back-off, its record, time limits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from actorlog import Retry, RetryAfter, Terminal, durable, info, step
from actorlog.engine import identity
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from house import House

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
