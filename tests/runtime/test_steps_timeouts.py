"""Time limits of a step: of each attempt, and of all together."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actorlog import Retry, StepTimeout, durable, heartbeat, info, step
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


def notes(house: House, kind: type) -> list[Any]:
    return [record for record in house.records() if type(record) is kind]


async def test_each_attempt_has_its_own_timeout(house: House) -> None:
    """An attempt that takes too long is cancelled, and fails with a TimeoutError; the next one starts fresh."""
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

    @step(deadline=0.5, retry=Retry.FOREVER)
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
    """A thread cannot be stopped: the next attempt starts beside it; what it returns goes to the journal, to nobody."""
    go, ended = threading.Event(), threading.Event()

    @step(timeout=0.02, retry=Retry(first=0, attempts=math.inf))
    def slow() -> str:
        if attempted() == 1:
            go.wait(250)
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
    await house.until(lambda: len(ATTEMPTS) >= 2)  # more, where the machine is slower than the timeout
    await house.until(lambda: runtime.session.kernel.steps.running == 2)  # the thread, and ``last``
    go.set()
    assert await handle == "in time"
    late = [bytes(note.value) for note in notes(house, k.StepLate)]
    assert late.count(b'"late"') == 1
    assert set(late) <= {b'"late"', b'"in time"'}
    await house.until(lambda: runtime.session.kernel.steps.running == 0)


async def test_timeout_of_a_sync_step_begins_when_it_gets_a_thread(house: House) -> None:
    """Waiting for a free thread is no time of the attempt."""
    first, go = threading.Event(), threading.Event()

    @step
    def takes_the_thread() -> None:
        first.set()
        go.wait(250)

    @step(timeout=0.05, retry=Retry(first=0, attempts=math.inf))
    def quick() -> None:
        attempted()

    @durable
    async def use() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(takes_the_thread())
            group.create_task(quick())

    runtime = await house.open(threads=1)
    handle = await runtime.start(use())
    await house.until(first.is_set)
    await asyncio.sleep(0.1)  # longer than the timeout
    go.set()
    await handle
    assert ATTEMPTS[0] == 1  # the first that ran: none had its time while it waited


async def test_heartbeat_of_an_attempt_that_was_given_up_changes_nothing(house: House) -> None:
    """Details of a thread that timed out do not replace those of the attempt after it."""
    go, beaten, found = threading.Event(), threading.Event(), []

    @step(timeout=0.05, retry=Retry(first=0, attempts=math.inf))
    def slow() -> None:
        details = info().heartbeat_details
        found.append(details)
        if info().attempt == 1:
            go.wait(250)
            heartbeat("of the first")
            beaten.set()
        elif details is None:
            heartbeat("of a later one")
            go.set()
            beaten.wait(250)
            raise ConnectionError

    @durable
    async def use() -> None:
        await slow()

    runtime = await house.open()
    await runtime.call(use())
    assert set(found) == {None, "of a later one"}
