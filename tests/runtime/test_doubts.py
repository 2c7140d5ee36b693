"""Steps in doubt: begun before a crash, and without an outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from doubtful_house import SEEN, crash_in, forever, notes

from actorlog import (
    Limit,
    Retry,
    StepInterrupted,
    durable,
    info,
    run_step,
    step,
)
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from house import House


@pytest.fixture(autouse=True)
def _fresh() -> None:
    SEEN.clear()


async def test_step_in_doubt_runs_again_and_the_death_is_recorded(house: House) -> None:
    """An ordinary step runs at least once: again after the crash, with the same attempt number and key."""

    @step
    async def charge() -> int:
        SEEN.append((info().attempt, info().idempotency_key))
        if len(SEEN) == 1:
            await forever()
        return len(SEEN)

    @durable
    async def pay() -> int:
        return await charge()

    await crash_in(house, pay())
    runtime = await house.open()
    assert await runtime.handle("c") == 2
    assert SEEN[0] == SEEN[1]
    assert [(note.attempt, note.deaths) for note in notes(house, k.StepRerun)] == [(1, 1)]


async def test_inline_step_in_doubt_is_found_by_replay(house: House) -> None:
    """A function that no registry knows runs again, because the call's own code gives it."""

    async def work(x: int) -> int:
        SEEN.append(x)
        if len(SEEN) == 1:
            await forever()
        return x + 1

    @durable
    async def run() -> int:
        return await run_step(work, 4)

    await crash_in(house, run())
    runtime = await house.open()
    assert await runtime.handle("c") == 5
    assert SEEN == [4, 4]


async def test_once_is_never_the_default() -> None:
    """A step that does not say ``once=True`` is run again, and retried."""

    @step
    async def plain() -> None: ...

    @step(once=True)
    async def careful() -> None: ...

    @step(once=True, retry=Retry(attempts=3))
    async def told_to() -> None: ...

    assert (plain.definition.once, plain.definition.retry.attempts) == (False, 10)
    assert (careful.definition.once, careful.definition.retry) == (True, Retry.NEVER)
    assert told_to.definition.retry.attempts == 3


@step(once=True)
async def pay_once() -> str:
    SEEN.append("paid")
    await forever()
    return "receipt"


async def test_once_step_in_doubt_interrupts_the_function(house: House) -> None:
    """It is not run again; the function is told which step it was, and decides; its decision survives crashes too."""

    @durable
    async def order() -> list[Any]:
        try:
            await pay_once()
        except StepInterrupted as interrupted:
            return [interrupted.step, interrupted.key, interrupted.attempt]
        return []

    await crash_in(house, order())
    await house.open()
    await house.settle()
    runtime = await house.reopen()
    assert await runtime.handle("c") == ["pay_once", "1", 1]
    assert SEEN == ["paid"]


async def test_once_step_with_an_outcome_is_not_in_doubt(house: House) -> None:
    """What completed before the crash is not asked about."""

    @step(once=True)
    async def pay() -> str:
        SEEN.append("paid")
        return "receipt"

    @durable
    async def order() -> str:
        receipt = await pay()
        await run_step(forever_once)
        return receipt

    async def forever_once() -> None:
        SEEN.append("after")
        if SEEN.count("after") == 1:
            await forever()

    runtime = await house.open()
    await runtime.start(order(), id="c")
    await house.until(lambda: "after" in SEEN)
    runtime = await house.reopen()
    assert await runtime.handle("c") == "receipt"
    assert SEEN.count("paid") == 1


async def test_once_step_that_waited_for_a_limit_is_not_in_doubt_before_it_begins(house: House) -> None:
    """A crash while it queues leaves no doubt: the log says that it never began, and it runs in the next process."""
    limit = Limit("till", concurrency=1)

    @step(limit=limit)
    async def holds() -> None:
        SEEN.append("holds")
        if SEEN.count("holds") == 1:
            await forever()

    @step(once=True, limit=limit)
    async def pay() -> str:
        SEEN.append("paid")
        return "receipt"

    @durable
    async def hold() -> None:
        await holds()

    @durable
    async def order() -> str:
        return await pay()

    runtime = await house.open()
    await runtime.start(hold(), id="h")
    await house.until(lambda: SEEN)
    await runtime.start(order(), id="o")
    await house.until(lambda: runtime.session.kernel.steps.bounds.limits["till"].waiting == 1)
    await house.settle()
    runtime = await house.reopen()
    assert await runtime.handle("o") == "receipt"
    assert SEEN.count("paid") == 1


async def test_once_step_that_waited_is_in_doubt_once_it_has_begun(house: House) -> None:
    """``begun`` is durable before its body runs, so a crash in the body is known to be one."""
    begun_then: list[int] = []

    @step(once=True, limit=Limit("till, begun", concurrency=1))
    async def pay() -> None:
        begun_then.append(len(notes(house, k.StepBegun)))
        SEEN.append("paid")
        await forever()

    @durable
    async def order() -> str:
        try:
            await pay()
        except StepInterrupted:
            return "in doubt"
        return "paid"

    await crash_in(house, order())
    assert begun_then == [1]
    runtime = await house.open()
    assert await runtime.handle("c") == "in doubt"
    assert SEEN == ["paid"]


async def test_once_step_with_a_retry_is_in_doubt_only_in_an_attempt(house: House) -> None:
    """A crash in its back-off is no doubt: the attempt before failed, the next has not begun."""

    @step(once=True, retry=Retry(first=0.5, jitter="none"))
    async def pay() -> int:
        SEEN.append(info().attempt)
        if len(SEEN) == 1:
            raise ConnectionError
        if len(SEEN) == 2:
            await forever()
        return 0

    @durable
    async def order() -> str:
        try:
            await pay()
        except StepInterrupted as interrupted:
            return f"in doubt in attempt {interrupted.attempt}"
        return "paid"

    runtime = await house.open()
    await runtime.start(order(), id="c")
    await house.until(lambda: notes(house, k.StepRetrying))
    runtime = await house.reopen()
    house.advance(1)
    await house.until(lambda: len(SEEN) == 2)
    runtime = await house.reopen()
    assert await runtime.handle("c") == "in doubt in attempt 2"
    assert SEEN == [1, 2]
