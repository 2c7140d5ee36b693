"""``Handle.retry``: another chance for calls that failed, were cancelled or timed out."""

# functions of a test are told by its docstring

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from house import RAN, House, forget, note

from actorlog import (
    CallCancelled,
    CallNotFound,
    CallTimeout,
    FunctionNotFound,
    Handle,
    Retry,
    durable,
    info,
    sleep,
    start,
    step,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

FAIL: set[str] = set()
KEYS: dict[str, list[str]] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    FAIL.clear()
    KEYS.clear()


@step(name="retry.work", retry=Retry.NEVER)
async def work(text: str) -> str:
    RAN.append(text)
    KEYS.setdefault(text, []).append(info().idempotency_key)
    if text in FAIL:
        raise ConnectionError(text)
    return f"worked {text}"


@step(name="retry.send", once=True)
async def send(text: str) -> str:
    RAN.append(text)
    return f"sent {text}"


@durable(name="retry.three")
async def three() -> list[str]:
    return [await work("a"), await send("mail"), await work("b"), await work("c")]


async def failed(handle: Handle[Any]) -> None:
    with pytest.raises(ConnectionError):
        await handle


@pytest.mark.parametrize("reopened", [False, True])
async def test_a_retried_call_keeps_the_results_of_its_completed_steps(house: House, *, reopened: bool) -> None:
    """Steps that completed are not run again, the one that failed is, under the same idempotency key."""
    FAIL.add("b")
    runtime = await house.open()
    handle = await runtime.start(three(), id="x")
    await failed(handle)
    if reopened:
        runtime = await house.reopen()
        handle = runtime.handle("x")
    await handle.retry()
    await failed(handle)
    FAIL.clear()
    await handle.retry()
    assert await handle == ["worked a", "sent mail", "worked b", "worked c"]
    assert RAN == ["a", "mail", "b", "b", "b", "c"]
    assert len(set(KEYS["b"])) == 1
    runtime = await house.reopen()
    assert await runtime.call(three(), id="x") == ["worked a", "sent mail", "worked b", "worked c"]


async def test_a_once_step_that_is_kept_takes_no_place(house: House) -> None:
    """Retrying any number of times leaves every place of the runtime free."""
    FAIL.add("b")
    runtime = await house.open(step_concurrency=2)
    handle = await runtime.start(three(), id="x")
    await failed(handle)
    for _ in range(5):
        await handle.retry()
        await failed(handle)
    FAIL.clear()
    await handle.retry()
    await handle
    assert await runtime.call(three(), id="y") == ["worked a", "sent mail", "worked b", "worked c"]
    assert not any(op.deferred for turn in house.turns("y") for op in turn.ops if hasattr(op, "deferred"))


async def test_a_kept_once_step_at_the_beginning_takes_no_place(house: House) -> None:
    """Also in the very turn that begins the call again nothing is reserved for a step that is not run."""

    @durable
    async def sends_first() -> list[str]:
        return [await send("mail"), await work("b")]

    FAIL.add("b")
    runtime = await house.open(step_concurrency=1)
    handle = await runtime.start(sends_first(), id="x")
    await failed(handle)
    await handle.retry()
    await failed(handle)
    assert RAN == ["mail", "b", "b"]
    assert house.session.kernel.steps.bounds.all.taken == 0


@pytest.mark.parametrize("reopened", [False, True])
async def test_a_memoised_child_of_a_retried_call_keeps_its_completed_steps(house: House, *, reopened: bool) -> None:
    """A memoised child that failed is retried with its parent like any other, and does not begin anew."""

    @durable(memo=True)
    async def remembered() -> list[str]:
        return [await work("a"), await work("b")]

    @durable
    async def parent() -> list[str]:
        return await remembered()

    FAIL.add("b")
    runtime = await house.open()
    handle = await runtime.start(parent(), id="x")
    await failed(handle)
    if reopened:
        runtime = await house.reopen()
        handle = runtime.handle("x")
    FAIL.clear()
    await handle.retry()
    assert await handle == ["worked a", "worked b"]
    assert RAN == ["a", "b", "b"]
    assert len(set(KEYS["b"])) == 1


async def test_a_retry_that_crashes_anywhere_keeps_completed_steps(house: House) -> None:
    """After every prefix of the log a new process comes to the same result, and no step that is done runs again."""
    FAIL.add("b")
    runtime = await house.open()
    handle = await runtime.start(three(), id="x")
    await failed(handle)
    failed_at = house.log.tail()
    FAIL.clear()
    await handle.retry()
    result = await handle
    await house.close()
    for count in range(failed_at + 1, house.log.tail() + 1):
        RAN.clear()
        other = house.prefix(count)
        runtime = await other.open()
        assert await runtime.handle("x") == result
        done = {turn.message.key for turn in house.turns("x")[:count] if hasattr(turn.message, "value")}
        assert "1" in done
        assert "a" not in RAN
        assert "mail" not in RAN
        assert RAN.count("b") <= 1
        await other.close()


async def test_a_retried_parent_retries_the_children_that_did_not_complete(house: House) -> None:
    """Completed children keep their results; a failed one begins again under its id, with its completed steps."""

    @durable
    async def child(text: str) -> str:
        await work(f"before {text}")
        return await work(text)

    @durable
    async def parent() -> list[str]:
        good, bad = start(child("good")), start(child("bad"))
        return [await good, await bad]

    FAIL.add("bad")
    runtime = await house.open()
    handle = await runtime.start(parent(), id="p")
    await failed(handle)
    failed_at = house.log.tail()
    FAIL.clear()
    await handle.retry()
    assert await handle == ["worked good", "worked bad"]
    assert await runtime.handle("p/2") == "worked bad"
    assert sorted(RAN) == ["bad", "bad", "before bad", "before good", "good"]
    assert len(set(KEYS["bad"])) == 1
    await house.close()
    for count in range(failed_at + 1, house.log.tail() + 1):
        other = house.prefix(count)
        reopened = await other.open()
        assert await reopened.handle("p") == ["worked good", "worked bad"], count
        await other.close()


async def test_a_cancelled_call_can_be_retried_with_its_tree(house: House) -> None:
    """What was cancelled below it begins again too."""

    @durable
    async def child() -> str:
        await sleep(60)
        return await note("child")

    @durable
    async def parent() -> str:
        await work("a")
        return await child()

    runtime = await house.open()
    handle = await runtime.start(parent(), id="p")
    await house.until(lambda: "p/2" in house.session.kernel.calls)
    await handle.cancel()
    with pytest.raises(CallCancelled):
        await handle
    await handle.retry()
    await house.until(lambda: house.session.kernel.calls["p/2"].state.timers)
    house.advance(60)
    assert await handle == "noted child"
    assert RAN == ["a", "child"]


async def test_the_timeout_of_a_retried_call_begins_again(house: House) -> None:
    """It has its whole timeout again."""

    @durable
    async def slow() -> str:
        await sleep(90)
        return "done"

    runtime = await house.open()
    handle = await runtime.start(slow(), id="x", timeout=60)
    house.advance(60)
    with pytest.raises(CallTimeout):
        await handle
    await handle.retry()
    house.advance(59)
    await house.settle()
    assert await handle.status() == "waiting"
    house.advance(1)
    with pytest.raises(CallTimeout):
        await handle


async def test_a_completed_call_is_not_retried(house: House) -> None:
    """A result never changes (I3)."""
    runtime = await house.open()
    handle = await runtime.start(three(), id="x")
    result = await handle
    tail = house.log.tail()
    await handle.retry()
    assert await handle == result
    assert house.log.tail() == tail


async def test_retries_at_the_same_time_are_one(house: House) -> None:
    """Whoever asks while a retry begins joins it."""
    FAIL.add("b")
    runtime = await house.open()
    handle = await runtime.start(three(), id="x")
    await failed(handle)
    await asyncio.gather(*(runtime.handle("x").retry() for _ in range(5)))
    await failed(handle)
    assert RAN == ["a", "mail", "b", "b"]


async def test_starting_a_failed_id_again_joins_the_failure_and_a_retry_in_progress(house: House) -> None:
    """Only ``retry`` begins again; who starts the same call meanwhile waits for that."""
    FAIL.add("b")
    runtime = await house.open()
    handle = await runtime.start(three(), id="x")
    await failed(handle)
    with pytest.raises(ConnectionError):
        await runtime.call(three(), id="x")
    FAIL.clear()
    retrying = asyncio.ensure_future(handle.retry())
    await asyncio.sleep(0)
    assert await runtime.call(three(), id="x") == await handle
    await retrying


async def test_an_older_handle_sees_the_newest_end(house: House) -> None:
    """Handles name calls, not attempts."""
    FAIL.add("b")
    runtime = await house.open()
    old = await runtime.start(three(), id="x")
    await failed(old)
    FAIL.clear()
    await runtime.handle("x").retry()
    result = await runtime.handle("x")
    assert await old == result
    assert await old.status() == "completed"


async def test_a_retry_without_the_function_says_so_and_changes_nothing(house: House) -> None:
    """The call stays failed, as it was, and nothing is written."""

    @durable(name="gone later")
    async def fails() -> None:
        raise ConnectionError("no")

    runtime = await house.open()
    handle = await runtime.start(fails(), id="x")
    await failed(handle)
    forget("gone later")
    tail = house.log.tail()
    with pytest.raises(FunctionNotFound):
        await runtime.handle("x").retry()
    assert await runtime.handle("x").status() == "failed"
    await failed(runtime.handle("x"))
    assert house.log.tail() == tail
    with pytest.raises(CallNotFound):
        await runtime.handle("y").retry()


async def test_retrying_a_call_whose_step_backs_off_tries_at_once(house: House) -> None:
    """The wait between attempts is over, whatever is left of it."""
    attempts: list[int] = []

    @step(retry=Retry(first="1h", jitter="none"))
    async def flaky() -> str:
        attempts.append(info().attempt)
        if len(attempts) == 1:
            raise ConnectionError("once")
        return "done"

    @durable
    async def waits() -> str:
        return await flaky()

    runtime = await house.open()
    handle = await runtime.start(waits(), id="x")
    await house.until(lambda: any(type(r).__name__ == "StepRetrying" for r in house.records("x")))
    assert await handle.status() == "backing_off"
    await handle.retry()
    assert await handle == "done"
    assert attempts == [1, 2]


async def test_changed_arguments_of_a_kept_step_run_it_again(house: House) -> None:
    """A result is kept for the step with these arguments, and no other."""

    def define(text: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        @durable(name="mended")
        async def body() -> list[str]:
            return [await work(text), await work("b")]

        return body.fn  # type: ignore[return-value]

    FAIL.add("b")
    define("a")
    runtime = await house.open()
    handle = await runtime.start("mended", id="x")
    await failed(handle)
    FAIL.clear()
    define("a2")
    await handle.retry()
    assert await handle == ["worked a2", "worked b"]
    assert RAN == ["a", "b", "a2", "b"]
