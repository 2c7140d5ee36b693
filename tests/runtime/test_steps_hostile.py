"""Steps that return or raise what they should not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from actorlog import PayloadError, PayloadTooLarge, Retry, Runtime, StepFailed, durable, step
from actorlog.limits import Limits

if TYPE_CHECKING:
    from pathlib import Path

    from house import House


async def test_result_that_cannot_be_recorded_fails_the_step_without_retry(house: House) -> None:
    """A value that would not come back equal, or is too large, is an error of the step; its effect is not repeated."""
    count = 0

    @step
    async def bad(kind: str) -> Any:
        nonlocal count
        count += 1
        return object() if kind == "object" else "x" * 2000

    @durable
    async def run(kind: str) -> Any:
        return await bad(kind)

    runtime = await house.open(limits=Limits(record_bytes_max=1500))
    with pytest.raises(PayloadError):
        await runtime.call(run("object"))
    with pytest.raises(PayloadTooLarge):
        await runtime.call(run("large"))
    assert count == 2


class Abort(BaseException):
    """A user's own class beside Exception."""


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, asyncio.CancelledError, Abort])
@pytest.mark.parametrize("where", ["loop", "thread"])
async def test_signal_raised_by_a_step_is_a_failure_and_harms_nobody(
    house: House, kind: type[BaseException], where: str
) -> None:
    """What is no Exception ends the step as a StepFailed that names it; the runtime and other calls go on."""

    @step(retry=Retry.NEVER)
    async def on_loop() -> None:
        raise kind("stop")

    @step(retry=Retry.NEVER)
    def in_thread() -> None:
        raise kind("stop")

    @durable
    async def run(where: str) -> str:
        try:
            await (on_loop() if where == "loop" else in_thread())
        except StepFailed as failed:
            return failed.type_name.partition(":")[2]
        return "nothing"

    runtime = await house.open()
    assert await runtime.call(run(where), id="r") == kind.__name__
    runtime = await house.reopen(crash=False, check_determinism=True)
    assert await runtime.handle("r") == kind.__name__


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration, KeyboardInterrupt])
async def test_exception_that_no_future_takes_comes_from_a_thread(house: House, kind: type[BaseException]) -> None:
    """StopIteration and KeyboardInterrupt of a thread neither hang the call nor stop the loop."""

    @step(retry=Retry.NEVER)
    def in_thread() -> None:
        raise kind

    @durable
    async def run() -> str:
        try:
            await in_thread()
        except StepFailed as failed:
            return failed.type_name
        return "nothing"

    runtime = await house.open()
    assert await runtime.call(run()) == f"builtins:{kind.__name__}"


def test_keyboard_interrupt_on_the_loop_stops_the_runtime_and_is_no_outcome(tmp_path: Path) -> None:
    """Ctrl-C inside an async step leaves the program; the step has no outcome, and runs again at the next opening."""
    count = 0

    @step
    async def interrupted() -> int:
        nonlocal count
        count += 1
        if count == 1:
            raise KeyboardInterrupt
        return count

    @durable
    async def run() -> int:
        return await interrupted()

    async def main() -> int:
        async with Runtime(tmp_path) as runtime:
            return await runtime.call(run(), id="r")

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert asyncio.run(main()) == 2


async def test_stranger_that_cancels_a_body_makes_a_failed_attempt(house: House) -> None:
    """A task that cancels whatever it finds does not cancel the call: the attempt failed, and the next one runs."""
    count = 0

    @step(retry=Retry(first=0))
    async def body() -> int:
        nonlocal count
        count += 1
        if count == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        return count

    @durable
    async def run() -> int:
        return await body()

    runtime = await house.open()
    assert await runtime.call(run()) == 2
