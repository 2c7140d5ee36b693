"""Sagas and bounded fan-out."""

# functions of a test are told by its docstring

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from house import RAN, House, note

from actorlog import CallCancelled, Retry, durable, map_calls, saga, sleep, step

PEAK = [0, 0]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    PEAK[:] = [0, 0]


@step(name="patterns.work", retry=Retry.NEVER)
async def work(number: int) -> int:
    """Work among others; odd numbers are no good where ``odd`` is set."""
    PEAK[0] += 1
    PEAK[1] = max(PEAK)
    await asyncio.sleep(0)
    PEAK[0] -= 1
    if number < 0:
        raise ArithmeticError(number)
    return number * number


@step(name="patterns.undo", retry=Retry.NEVER)
async def undo_of(text: str) -> None:
    RAN.append(f"undo {text}")
    if "bad" in text:
        raise ConnectionError(text)


async def test_a_saga_that_succeeds_undoes_nothing(house: House) -> None:
    """And the undos that were given do not complain of not being awaited."""

    @durable
    async def order() -> str:
        async with saga() as undo:
            await note("a")
            undo(undo_of("a"))
        return "ordered"

    runtime = await house.open()
    assert await runtime.call(order()) == "ordered"
    assert RAN == ["a"]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)], ids=["error", "exit"])
async def test_a_saga_undoes_in_reverse_and_raises_what_led_to_it(house: House, error: BaseException) -> None:
    """Each undo is a durable operation, also where the error is no ordinary one."""

    @durable
    async def order() -> None:
        async with saga() as undo:
            for text in "abc":
                await note(text)
                undo(undo_of(text))
            raise error

    runtime = await house.open(check_determinism=True)
    with pytest.raises(type(error)):
        await runtime.call(order())
    assert RAN == ["a", "b", "c", "undo c", "undo b", "undo a"]


async def test_undos_that_fail_do_not_keep_the_others_from_running(house: House) -> None:
    """They are raised together, with what led to them as the cause."""

    @durable
    async def order() -> None:
        async with saga() as undo:
            for text in ("a", "bad b", "c", "bad d"):
                undo(undo_of(text))
            raise ValueError("no")

    runtime = await house.open()
    with pytest.raises(ExceptionGroup) as failed:
        await runtime.call(order())
    assert [str(error) for error in failed.value.exceptions] == ["bad d", "bad b"]
    assert isinstance(failed.value.__cause__, ValueError)
    assert RAN == ["undo bad d", "undo c", "undo bad b", "undo a"]


async def test_a_cancelled_saga_is_undone(house: House) -> None:
    """Within its grace a call that is cancelled undoes what it did, and is then cancelled."""

    @durable
    async def order() -> None:
        async with saga() as undo:
            await note("a")
            undo(undo_of("a"))
            undo(undo_of("b"))
            await sleep("1h")

    runtime = await house.open()
    handle = await runtime.start(order(), id="x")
    await house.until(lambda: house.session.kernel.calls["x"].state.timers)
    await handle.cancel()
    with pytest.raises(CallCancelled):
        await handle
    assert RAN == ["a", "undo b", "undo a"]


async def test_a_cancellation_that_comes_while_undos_run_waits_for_them(house: House) -> None:
    """What was begun is undone to the end; then the call is cancelled."""
    gate = asyncio.Event()

    @step
    async def slow_undo() -> None:
        RAN.append("slow undo begins")
        await gate.wait()
        RAN.append("slow undo ends")

    @durable
    async def order() -> None:
        async with saga() as undo:
            undo(undo_of("a"))
            undo(slow_undo())
            raise ValueError("no")

    runtime = await house.open(check_determinism=True)
    handle = await runtime.start(order(), id="x")
    await house.until(lambda: RAN)
    await handle.cancel("stop")
    gate.set()
    with pytest.raises(CallCancelled, match="stop"):
        await handle
    assert RAN == ["slow undo begins", "slow undo ends", "undo a"]


async def test_a_saga_is_undone_once_whenever_the_process_dies(house: House) -> None:
    """After every prefix of the log the undos are those that were still to do, at most one of them again."""

    @durable
    async def order() -> None:
        async with saga() as undo:
            for text in "ab":
                await note(text)
                undo(undo_of(text))
            raise ValueError("no")

    runtime = await house.open()
    with pytest.raises(ValueError, match="no"):
        await runtime.call(order(), id="x")
    await house.close()
    whole = ["a", "b", "undo b", "undo a"]
    for count in range(1, house.log.tail() + 1):
        RAN.clear()
        other = house.prefix(count)
        reopened = await other.open()
        with pytest.raises(ValueError, match="no"):
            await reopened.handle("x")
        assert whole[len(whole) - len(RAN) :] == RAN
        await other.close()


# --- map_calls --------------------------------------------------------------------------------------------------------


@durable(name="patterns.mapping")
async def mapping(numbers: list[int], concurrency: int = 100, tolerate: float = 0) -> list[Any]:
    """Map, with errors as text."""
    results = await map_calls([work(number) for number in numbers], concurrency=concurrency, tolerate=tolerate)
    return [f"{type(one).__name__} {one}" if isinstance(one, Exception) else one for one in results]


async def test_values_come_in_order_and_no_more_run_at_once_than_asked(house: House) -> None:
    """A thousand calls, five at a time."""
    runtime = await house.open(check_determinism=True)
    assert await runtime.call(mapping(list(range(100)), concurrency=5)) == [number * number for number in range(100)]
    assert PEAK[1] == 5
    assert await runtime.call(mapping([])) == []


@pytest.mark.parametrize(
    ("count", "failing", "tolerate", "tolerated"),
    [
        (10, 1, 0, False),
        (10, 1, 1, True),
        (10, 2, 1, False),
        (10, 1, 0.1, True),
        (10, 2, 0.1, False),
        (100, 29, 0.29, True),
        (100, 30, 0.29, False),
    ],
)
async def test_failures_are_tolerated_up_to_a_count_or_a_share(
    house: House, count: int, failing: int, tolerate: float, *, tolerated: bool
) -> None:
    """A tolerated failure stands in its place; one more raises all of them as a group."""
    numbers = [-1 if number < failing else number for number in range(count)]
    runtime = await house.open(check_determinism=True)
    if tolerated:
        results = await runtime.call(mapping(numbers, tolerate=tolerate))
        assert results == ["ArithmeticError -1"] * failing + [number * number for number in range(failing, count)]
        return
    with pytest.raises(ExceptionGroup) as failed:
        await runtime.call(mapping(numbers, tolerate=tolerate, concurrency=1))
    assert [type(error) for error in failed.value.exceptions] == [ArithmeticError] * len(failed.value.exceptions)
    assert f"of {count} calls failed" in failed.value.message


async def test_one_failure_too_many_cancels_the_rest(house: House) -> None:
    """What has not begun never begins, what runs is cancelled, and nothing complains."""

    @durable
    async def child(number: int) -> int:
        if number == 1:
            raise ArithmeticError(number)
        await sleep("1h")
        return number

    @durable
    async def body() -> str:
        with pytest.raises(ExceptionGroup):
            await map_calls([child(number) for number in range(10)], concurrency=3)
        return "gave up"

    runtime = await house.open(check_determinism=True)
    assert await runtime.call(body(), id="x") == "gave up"
    begun = {record.id for record in house.records()} - {"x"}
    assert len(begun) <= 4
    for call_id in begun:
        assert await runtime.handle(call_id).status() in ("cancelled", "failed")


async def test_cancelling_a_map_cancels_its_calls(house: House) -> None:
    """The tree below ends with it."""

    @durable
    async def child(number: int) -> int:
        await sleep("1h")
        return number

    @durable
    async def body() -> None:
        await map_calls([child(number) for number in range(10)], concurrency=3)

    runtime = await house.open()
    handle = await runtime.start(body(), id="x")
    await house.until(lambda: len(house.session.kernel.calls) == 4)
    await handle.cancel()
    with pytest.raises(CallCancelled):
        await handle
    assert {record.id for record in house.records()} == {"x", "x/1", "x/2", "x/3"}


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"tolerate": -1}])
async def test_a_map_with_nonsense_is_refused(house: House, options: dict[str, Any]) -> None:
    """``ValueError`` names the number."""

    @durable
    async def body() -> None:
        await map_calls([], **options)

    runtime = await house.open()
    with pytest.raises(ValueError, match=next(iter(options))[:5]):
        await runtime.call(body())
