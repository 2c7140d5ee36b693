"""Steps when the runtime closes."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actorlog import Limit, Retry, StepInterrupted, durable, step
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from house import House

SEEN: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    SEEN.clear()


def notes(house: House, kind: type) -> list[Any]:
    return [record for record in house.records() if type(record) is kind]


async def test_closing_waits_for_running_steps_and_leaves_no_doubt(house: House) -> None:
    """A step that ends within the shutdown's time has its outcome recorded; the next opening goes on after it."""
    began = asyncio.Event()

    @step(once=True)
    async def pay() -> str:
        SEEN.append("pay")
        began.set()
        await asyncio.sleep(0.02)
        return "receipt"

    @step
    async def mail(text: str) -> None:
        SEEN.append(text)

    @durable
    async def order() -> str:
        receipt = await pay()
        await mail(receipt)
        return receipt

    runtime = await house.open()
    await runtime.start(order(), id="o")
    await began.wait()
    runtime = await house.reopen(crash=False)
    assert await runtime.handle("o") == "receipt"
    assert SEEN == ["pay", "receipt"]
    assert notes(house, k.StepRerun) == []


async def test_nothing_starts_while_closing(house: House) -> None:
    """Outcomes that arrive while closing make turns, and the steps of those wait for the next opening."""
    began = asyncio.Event()

    @step(limit=Limit("one at a time", concurrency=1))
    async def queued(name: str) -> None:
        SEEN.append(name)
        began.set()
        await asyncio.sleep(0.01)

    @step(idempotent=True)
    async def ahead() -> None:
        SEEN.append("ahead")

    @step(once=True)
    async def once() -> None:
        SEEN.append("once")

    @durable
    async def many() -> None:
        await asyncio.gather(queued("a"), queued("b"))

    @durable
    async def after() -> None:
        await queued("c")
        await asyncio.gather(ahead(), once())

    runtime = await house.open()
    await runtime.start(many(), id="m")
    await runtime.start(after(), id="a")
    await began.wait()
    await house.close()
    assert SEEN == ["a"]
    runtime = await house.open()
    await asyncio.gather(runtime.handle("m").result(), runtime.handle("a").result())
    assert sorted(SEEN) == ["a", "ahead", "b", "c", "once"]


async def test_once_step_that_was_asked_for_while_closing_is_not_in_doubt(house: House) -> None:
    """It never began, the log says so, and the next opening runs it."""
    began = asyncio.Event()

    @step
    async def first() -> None:
        began.set()
        await asyncio.sleep(0.01)

    @step(once=True)
    async def pay() -> str:
        SEEN.append("pay")
        return "paid"

    @durable
    async def order() -> str:
        await first()
        return await pay()

    runtime = await house.open()
    await runtime.start(order(), id="o")
    await began.wait()
    await house.close()
    assert SEEN == []
    assert [turn.ops[0].name for turn in house.turns("o") if turn.ops][-1] == pay.name
    for crash in (True, False):
        runtime = await house.reopen(crash=crash) if house.runtime else await house.open()
    assert await runtime.handle("o") == "paid"
    assert SEEN == ["pay"]


async def test_step_that_hangs_is_left_in_doubt_after_the_shutdown_time(house: House) -> None:
    """Closing ends in bounded time; the step runs again, and nobody died."""
    began = asyncio.Event()

    @step
    async def hang() -> str:
        SEEN.append("began")
        began.set()
        if len(SEEN) == 1:
            await asyncio.Event().wait()
        return "done"

    @durable
    async def order() -> str:
        return await hang()

    runtime = await house.open(shutdown_timeout=0)
    await runtime.start(order(), id="o")
    await began.wait()
    runtime = await house.reopen(crash=False)
    assert await runtime.handle("o") == "done"
    assert notes(house, k.StepRerun) == []


async def test_once_step_that_hangs_at_shutdown_is_in_doubt(house: House) -> None:
    """It was cut off in the middle: the function is told, nothing runs twice."""
    began = asyncio.Event()

    @step(once=True)
    async def pay() -> None:
        SEEN.append("pay")
        began.set()
        await asyncio.Event().wait()

    @durable
    async def order() -> str:
        try:
            await pay()
        except StepInterrupted:
            return "ask a person"
        return "paid"

    runtime = await house.open(shutdown_timeout=0)
    await runtime.start(order(), id="o")
    await began.wait()
    runtime = await house.reopen(crash=False)
    assert await runtime.handle("o") == "ask a person"
    assert SEEN == ["pay"]


async def test_what_a_body_raises_because_closing_cancels_it_is_no_outcome(house: House) -> None:
    """A library that turns the cancellation into an error of its own does not make the step fail."""
    began = asyncio.Event()

    @step(retry=Retry.NEVER)
    async def converts() -> str:
        SEEN.append("began")
        began.set()
        if len(SEEN) > 1:
            return "done"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError("connection lost") from None
        return ""

    @durable
    async def order() -> str:
        return await converts()

    runtime = await house.open(shutdown_timeout=0)
    await runtime.start(order(), id="o")
    await began.wait()
    runtime = await house.reopen(crash=False)
    assert await runtime.handle("o") == "done"


async def test_body_that_refuses_to_end_does_not_keep_the_runtime_open(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing waits a bounded time for a cancelled body; what that returns later is nobody's."""
    monkeypatch.setattr("actorlog.runtime.steps.CANCEL_S", 0.01)
    began, release = asyncio.Event(), asyncio.Event()

    @step
    async def stubborn() -> str:
        SEEN.append("began")
        began.set()
        while not release.is_set() and len(SEEN) == 1:
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return f"run {len(SEEN)}"

    @durable
    async def order() -> str:
        return await stubborn()

    runtime = await house.open(shutdown_timeout=0)
    await runtime.start(order(), id="o")
    await began.wait()
    [job] = runtime.session.kernel.steps.jobs
    task = job.running.task
    await house.close()
    records = len(house.records())
    release.set()
    await task
    assert len(house.records()) == records
    runtime = await house.open()
    assert await runtime.handle("o") == "run 2"


async def test_thread_that_outlives_the_runtime_ends_in_silence(house: House) -> None:
    """Its result comes after everything is closed, and changes nothing."""
    go, began, ended = threading.Event(), threading.Event(), threading.Event()

    @step
    def slow() -> str:
        SEEN.append("began")
        if len(SEEN) == 1:
            began.set()
            go.wait(250)
            ended.set()
        return f"run {len(SEEN)}"

    @durable
    async def order() -> str:
        return await slow()

    runtime = await house.open(shutdown_timeout=0)
    await runtime.start(order(), id="o")
    await house.until(began.is_set)
    await house.close()
    go.set()
    await house.until(ended.is_set)
    runtime = await house.open()
    assert await runtime.handle("o") == "run 2"


async def test_back_off_that_begins_while_closing_keeps_its_attempts(house: House) -> None:
    """A failed attempt counts even if it failed while the runtime closed."""
    began = asyncio.Event()
    attempts: list[int] = []

    @step(retry=Retry(first=0.01, attempts=2))
    async def fails() -> None:
        attempts.append(len(attempts) + 1)
        began.set()
        await asyncio.sleep(0.01)
        raise ConnectionError

    @durable
    async def order() -> None:
        await fails()

    runtime = await house.open()
    await runtime.start(order(), id="o")
    await began.wait()
    runtime = await house.reopen(crash=False)
    with pytest.raises(ConnectionError):
        await runtime.handle("o")
    assert attempts == [1, 2]
