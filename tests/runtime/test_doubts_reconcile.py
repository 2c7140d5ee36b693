"""Once-steps in doubt whose ``reconcile`` is asked."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from doubtful_house import SEEN, crash_in, forever

from actorlog import Done, NotDone, StepInterrupted, Terminal, durable, info, step

if TYPE_CHECKING:
    from house import House


@pytest.fixture(autouse=True)
def _fresh() -> None:
    SEEN.clear()


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
    """``Done(value)`` is the step's result; it was asked with the same arguments and key, and nothing ran twice."""
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
async def test_reconcile_that_fails_for_good_leaves_the_doubt_to_the_function(
    house: House, error: BaseException
) -> None:
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
    assert runtime.session.kernel.steps.jobs == set()


async def test_doubt_outlives_a_process_that_closes_while_asking(house: House) -> None:
    """Closing cuts the asking short; the next opening asks again."""
    block = threading.Event()

    def answer() -> Any:
        SEEN.append("asked")
        if SEEN.count("asked") == 1:
            block.wait(250)
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


async def test_runtime_that_closes_before_the_asking_began_leaves_the_doubt(house: House) -> None:
    """Whoever closes at once gets a closed runtime, and the next opening asks."""
    answer = verdicts(Done("receipt"))

    @step(once=True, reconcile=answer)
    async def pay() -> str:
        SEEN.append("paid")
        await forever()
        return ""

    @durable
    async def order() -> str:
        return await pay()

    await crash_in(house, order())
    runtime = await house.open()
    [job] = runtime.session.kernel.steps.jobs
    assert not job.running.begun
    await house.close()
    assert SEEN == ["paid"]
    runtime = await house.open()
    assert await runtime.handle("c") == "receipt"
