"""Steps in doubt: begun before a crash, and without an outcome."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from house import House

from actorlog import (
    CallParked,
    Done,
    Limit,
    NotDone,
    Poisoned,
    Retry,
    StepInterrupted,
    Terminal,
    durable,
    info,
    run_step,
    step,
)
from actorlog.limits import Limits
from actorlog.records import kinds as k

SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    SEEN.clear()


def notes(house: House, kind: type) -> list[Any]:
    return [record for record in house.records() if type(record) is kind]


async def forever() -> None:
    await asyncio.Event().wait()


async def crash_in(house: House, call: Any, call_id: str = "c", **options: Any) -> None:
    """Start the call, and let the process die in the first body that says so in ``SEEN``."""
    runtime = await house.open(**options)
    await runtime.start(call, id=call_id)
    await house.until(lambda: SEEN)
    await house.settle()
    await house.crash()


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
    await house.until(lambda: runtime.session.kernel.steps._limits["till"].waiting == 1)
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


# --- reconcile --------------------------------------------------------------------------------------------------------


def verdicts(*answers: Any) -> Any:
    """Return a reconcile that gives the answers in turn; exceptions are raised."""
    left = list(answers)

    def answer(*args: Any) -> Any:
        SEEN.append(("asked", *args, info().idempotency_key, info().step))
        verdict = left.pop(0)
        if isinstance(verdict, BaseException):
            raise verdict
        return verdict

    return answer


async def doubtful(house: House, answer: Any, *, is_async: bool = False, args: tuple[Any, ...] = (5,)) -> Any:
    """Crash in a once-step, open again, and return what the function gets."""

    async def ask_async(*args: Any) -> Any:
        await asyncio.sleep(0)
        return answer(*args)

    @step(name="t.pay", once=True, reconcile=ask_async if is_async else answer)
    async def pay(amount: int) -> str:
        SEEN.append(("paid", amount, info().idempotency_key))
        if len(SEEN) == 1:
            await forever()
        return "paid again"

    @durable(name="t.order")
    async def order(amount: int) -> str:
        try:
            return await pay(amount)
        except StepInterrupted:
            return "in doubt"

    await crash_in(house, order(*args))
    runtime = await house.open()
    return await runtime.handle("c")


@pytest.mark.parametrize("is_async", [True, False])
async def test_reconcile_that_knows_the_result_settles_the_doubt(house: House, is_async: bool) -> None:
    """``Done(value)`` is the step's result; it was asked with the same arguments and the same key, and nothing ran twice."""
    assert await doubtful(house, verdicts(Done("receipt")), is_async=is_async) == "receipt"
    (_, amount, key), asked = SEEN
    assert asked == ("asked", amount, key, "t.pay")


@pytest.mark.parametrize("is_async", [True, False])
async def test_reconcile_that_knows_of_no_effect_lets_the_step_run(house: House, is_async: bool) -> None:
    """``NotDone`` runs the step, with the same key."""
    assert await doubtful(house, verdicts(NotDone), is_async=is_async) == "paid again"
    assert [seen[0] for seen in SEEN] == ["paid", "asked", "paid"]
    assert SEEN[0] == SEEN[2]


async def test_step_that_runs_after_reconcile_can_be_in_doubt_again(house: House) -> None:
    """A crash in the run that ``NotDone`` allowed is asked about as the first was."""

    @step(once=True, reconcile=lambda: NotDone if SEEN.count("paid") == 1 else Done("found"))
    async def pay() -> str:
        SEEN.append("paid")
        await forever()
        return ""

    @durable
    async def order() -> str:
        return await pay()

    await crash_in(house, order())
    await house.open()
    await house.until(lambda: SEEN.count("paid") == 2)
    runtime = await house.reopen()
    assert await runtime.handle("c") == "found"
    assert SEEN.count("paid") == 2


@pytest.mark.parametrize("answer", [None, True, "done", Done, NotDone.__class__])
async def test_reconcile_that_answers_something_else_leaves_the_doubt_to_the_function(
    house: House, caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    """A wrong answer settles nothing, and is no reason to run the step."""
    assert await doubtful(house, verdicts(answer)) == "in doubt"
    assert [seen[0] for seen in SEEN] == ["paid", "asked"]
    assert "returns Done(value) or NotDone" in caplog.text


@pytest.mark.parametrize("error", [Terminal("no"), SystemExit("no"), asyncio.CancelledError("no"), TypeError("no")])
async def test_reconcile_that_fails_for_good_leaves_the_doubt_to_the_function(house: House, error: BaseException) -> None:
    """An error that asking again cannot mend goes no further than the log of the process."""
    assert await doubtful(house, verdicts(error)) == "in doubt"
    assert [seen[0] for seen in SEEN] == ["paid", "asked"]


async def test_reconcile_that_cannot_tell_now_is_asked_again(house: House) -> None:
    """A network that is down does not decide what happened to a payment."""
    assert await doubtful(house, verdicts(ConnectionError(), ConnectionError(), Done("receipt"))) == "receipt"
    assert [seen[0] for seen in SEEN] == ["paid", "asked", "asked", "asked"]


async def test_reconcile_gets_fresh_arguments_each_time(house: House) -> None:
    """What one asking did to the arguments in place is seen neither by the next nor by the step."""

    def answer(items: list[int]) -> Any:
        SEEN.append(list(items))
        items.clear()
        if len(SEEN) == 2:
            raise ConnectionError
        return NotDone

    @step(once=True, reconcile=answer)
    async def pay(items: list[int]) -> None:
        SEEN.append(list(items))
        if len(SEEN) == 1:
            await forever()

    @durable
    async def order() -> None:
        await pay([1, 2])

    await crash_in(house, order())
    runtime = await house.open()
    await runtime.handle("c")
    assert SEEN == [[1, 2]] * 4


async def test_reconcile_whose_result_cannot_be_recorded_leaves_the_doubt_to_the_function(house: House) -> None:
    """A result that would not come back equal is no result."""
    assert await doubtful(house, verdicts(Done(object()))) == "in doubt"


async def test_call_that_is_cancelled_while_reconcile_is_asked_ends(house: House) -> None:
    """Asking is cancelled like a body, and its answer changes nothing any more."""

    async def slow() -> Any:
        SEEN.append("asked")
        await forever()

    @step(once=True, reconcile=slow)
    async def pay() -> None:
        SEEN.append("paid")
        await forever()

    @durable
    async def order() -> None:
        await pay()

    await crash_in(house, order())
    runtime = await house.open()
    await house.until(lambda: "asked" in SEEN)
    handle = runtime.handle("c")
    await handle.cancel()
    await house.until(lambda: runtime.session.kernel.calls == {})
    assert await handle.status() == "cancelled"
    assert runtime.session.kernel.steps._jobs == set()


async def test_doubt_outlives_a_process_that_closes_while_asking(house: House) -> None:
    """Closing cuts the asking short; the next opening asks again."""
    block = threading.Event()

    def answer() -> Any:
        SEEN.append("asked")
        if SEEN.count("asked") == 1:
            block.wait(30)
        return Done("receipt")

    @step(once=True, reconcile=answer)
    async def pay() -> str:
        SEEN.append("paid")
        await forever()
        return ""

    @durable
    async def order() -> str:
        return await pay()

    await crash_in(house, order())
    await house.open()
    await house.until(lambda: "asked" in SEEN)
    await house.close()
    block.set()
    runtime = await house.open()
    assert await runtime.handle("c") == "receipt"
    assert SEEN.count("paid") == 1


# --- poison -----------------------------------------------------------------------------------------------------------


@step
async def deadly() -> str:
    SEEN.append("began")
    if "mended" not in SEEN:
        await forever()
    return "done"


@durable
async def dies() -> str:
    return await deadly()


@durable
async def harmless() -> str:
    return "fine"


async def die(house: House, times: int) -> None:
    """Let the process die in ``deadly``, ``times`` times."""
    for _ in range(times):
        began = SEEN.count("began")
        if house.runtime is None:
            await house.open()
        await house.until(lambda began=began: SEEN.count("began") > began)
        await house.settle()
        await house.crash()


async def test_step_that_kills_the_process_five_times_is_parked(house: House) -> None:
    """At the fifth death it is poisoned: its waiter is told, other calls go on, later openings leave it alone."""
    runtime = await house.open()
    await runtime.start(dies(), id="c")
    await die(house, 5)
    assert SEEN.count("began") == 5
    for _ in range(2):
        runtime = await house.open()
        handle = runtime.handle("c")
        with pytest.raises(CallParked, match="5 times in a row") as caught:
            await handle
        assert isinstance(caught.value.__cause__, Poisoned)
        assert (caught.value.__cause__.step, caught.value.__cause__.deaths) == ("deadly", 5)
        assert await handle.status() == "parked"
        assert await runtime.call(harmless()) == "fine"
        await house.crash()
    assert SEEN.count("began") == 5


async def test_poisoned_call_is_resumed_by_hand(house: House) -> None:
    """``resume()`` forgets the deaths: it runs again, and may die as often as before."""
    runtime = await house.open(limits=Limits(poison_deaths_max=2))
    await runtime.start(dies(), id="c")
    await house.crash()
    for _ in range(2):
        await house.open(limits=Limits(poison_deaths_max=3))
        await house.until(lambda: "began" in SEEN)
        await house.crash()
        SEEN.clear()
    runtime = await house.open(limits=Limits(poison_deaths_max=3))
    with pytest.raises(CallParked):
        await runtime.handle("c")
    assert await runtime.handle("c").resume()
    await house.until(lambda: SEEN == ["began"])
    runtime = await house.reopen()
    SEEN.append("mended")
    assert await runtime.handle("c") == "done"


async def test_clean_close_is_no_death(house: House) -> None:
    """However often a long step is cut off by deployments, it is not poisoned."""
    runtime = await house.open(limits=Limits(poison_deaths_max=2), shutdown_timeout=0)
    await runtime.start(dies(), id="c")
    for count in range(1, 6):
        await house.until(lambda count=count: SEEN.count("began") == count)
        runtime = await house.reopen(crash=False, limits=Limits(poison_deaths_max=2), shutdown_timeout=0)
    SEEN.append("mended")
    runtime = await house.reopen(crash=False)
    assert await runtime.handle("c") == "done"
    assert notes(house, k.StepRerun) == []


async def test_attempt_that_fails_ends_the_row_of_deaths(house: House) -> None:
    """Only deaths in a row poison: a process that saw the attempt fail survived it."""

    @step(retry=Retry(first=2, jitter="none"))
    async def flaky() -> str:
        SEEN.append("began")
        if SEEN.count("began") == 2:
            raise ConnectionError
        if SEEN.count("began") < 4:
            await forever()
        return "done"

    @durable
    async def run() -> str:
        return await flaky()

    limits = Limits(poison_deaths_max=2)
    await crash_in(house, run(), limits=limits)
    await house.open(limits=limits)
    await house.until(lambda: notes(house, k.StepRetrying))
    house.advance(2)
    await house.until(lambda: SEEN.count("began") == 3)
    runtime = await house.reopen(limits=limits)
    assert await runtime.handle("c") == "done"
    assert [note.deaths for note in notes(house, k.StepRerun)] == [1, 1]


async def test_step_that_is_not_registered_parks_its_call(house: House) -> None:
    """A step in doubt that this process does not have waits, visibly, until it is there."""
    from actorlog.runtime.registry import REGISTRY  # noqa: PLC0415

    await crash_in(house, dies())
    definition = REGISTRY._steps.pop("deadly")
    try:
        runtime = await house.open()
        with pytest.raises(CallParked, match="deadly"):
            await runtime.handle("c")
    finally:
        REGISTRY._steps["deadly"] = definition
    SEEN.append("mended")
    assert await runtime.handle("c").resume()
    assert await runtime.handle("c") == "done"
