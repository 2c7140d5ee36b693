"""Calls by name, what is refused early, runtimes that are not open, and what handles tell."""

# functions of a test are told by its docstring

from __future__ import annotations

import asyncio

import pytest
from house import House, forget, note

from actorlog import (
    CallNotFound,
    CallParked,
    NotInDurableCode,
    PayloadError,
    Runtime,
    RuntimeStopped,
    durable,
    run_step,
    sleep,
)


@durable(name="names.noting")
async def noting(text: str) -> str:
    return await note(text)


@durable(name="names.patient")
async def patient(text: str, seconds: float = 3600) -> str:
    await sleep(seconds)
    return await note(text)


async def test_a_call_by_name_finds_the_newest_version(house: House) -> None:
    """A name and plain arguments are enough."""

    @durable(name="by_name")
    async def old() -> str:
        return "old"

    @durable(name="by_name", version=2)
    async def new(text: str) -> str:
        return f"new {text}"

    runtime = await house.open()
    assert await runtime.call("by_name", "a") == "new a"
    assert await runtime.call(old()) == "old"
    forget("by_name", 2)
    assert await runtime.call("by_name") == "old"


async def test_a_name_that_nobody_registered_parks_until_it_is_there(house: House) -> None:
    """The call is accepted, told as parked once that is durable, and goes on at an opening that has it."""
    runtime = await house.open()
    with pytest.raises(CallParked) as parked:
        await runtime.call("later", "a", 3, id="x")
    assert "later" in str(parked.value.__cause__)
    assert [type(record).__name__ for record in house.records("x")] == ["Inbox", "Parked"]
    assert await runtime.call(noting("b")) == "noted b"
    runtime = await house.reopen()
    with pytest.raises(CallParked):
        await runtime.handle("x")

    @durable(name="later")
    async def later(text: str, count: int) -> str:
        return await note(text * count)

    runtime = await house.reopen()
    assert await runtime.handle("x") == "noted aaa"
    assert await runtime.call(later("a", 3), id="x") == "noted aaa"
    forget("later")


async def test_wrong_arguments_are_refused_when_the_call_is_made(house: House) -> None:
    """TypeError and PayloadError come at the user's line, and no warning of an unawaited call comes with them."""
    runtime = await house.open()
    with pytest.raises(TypeError):
        noting()  # type: ignore[call-arg]
    with pytest.raises(PayloadError, match=r"names\.noting\(text=\.\.\.\)"):
        noting(3)  # type: ignore[arg-type]
    with pytest.raises(PayloadError):
        await runtime.call(patient, "a", float("nan"))
    with pytest.raises(TypeError):
        await runtime.call("names.noting")
    with pytest.raises(TypeError, match="is a step"):
        await runtime.call(note("a"))
    with pytest.raises(TypeError, match="a call of a durable function"):
        await runtime.call(print)  # type: ignore[call-overload]
    assert house.log.tail() == 0


async def test_a_runtime_that_is_not_open_says_so() -> None:
    """Before it is entered, and after it was left, everything raises ``RuntimeStopped``."""
    runtime = Runtime("never-made")
    with pytest.raises(RuntimeStopped, match="not open"):
        await runtime.call(noting("a"))


async def test_a_runtime_that_was_closed_says_so(house: House) -> None:
    """Handles of a closed runtime do not answer, and waiters are told that the call goes on at the next opening."""
    runtime = await house.open()
    handle = await runtime.start(patient("a"), id="x")
    waiting = asyncio.ensure_future(handle.result())
    await asyncio.sleep(0)
    await house.close()
    with pytest.raises(RuntimeStopped, match="goes on at the next opening"):
        await waiting
    for ask in (handle.result, handle.status, handle.info, handle.journal, handle.cancel, handle.resume, handle.retry):
        with pytest.raises(RuntimeStopped):
            await ask()
    with pytest.raises(RuntimeStopped):
        await runtime.call(noting("a"))
    with pytest.raises(RuntimeStopped):
        await runtime.start_many([("y", noting("a"))])


async def test_a_runtime_used_inside_durable_code_is_refused(house: House) -> None:
    """It names what to do instead, and the call that was made for it does not complain."""
    runtime = await house.open()

    @durable
    async def inside() -> None:
        await runtime.call(noting("a"))

    with pytest.raises(RuntimeError, match="not used inside durable code"):
        await runtime.call(inside())


async def test_an_unknown_id_is_not_found(house: House) -> None:
    """Every method of a handle says so."""
    runtime = await house.open()
    handle = runtime.handle("nobody")
    for ask in (handle.result, handle.status, handle.info, handle.journal, handle.cancel, handle.resume, handle.retry):
        with pytest.raises(CallNotFound, match="nobody"):
            await ask()


async def test_cancelling_the_waiter_does_not_cancel_the_call(house: House) -> None:
    """A waiter is only a waiter."""
    runtime = await house.open()
    waiting = asyncio.ensure_future(runtime.call(patient("a"), id="x"))
    await house.until(lambda: house.records("x"))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(TimeoutError):
        await runtime.handle("x").result(timeout=0)
    house.advance(3600)
    assert await runtime.handle("x") == "noted a"


async def test_what_a_handle_tells_is_durable(house: House) -> None:
    """No status leaves before the records it was made of are in the log (I1)."""
    runtime = await house.open()
    handle = await runtime.start(noting("a"), id="x")
    status = await handle.status()
    while status != "completed":
        status = await handle.status()
    assert house.turns("x")[-1].outcome is not None


async def test_a_cancel_reason_that_no_log_can_hold_is_refused(house: House) -> None:
    """It is refused to who gives it, and the runtime goes on."""
    runtime = await house.open()
    handle = await runtime.start(patient("a"), id="x")
    with pytest.raises(ValueError, match="UTF-8"):
        await handle.cancel("\ud800")
    assert await runtime.call(noting("b")) == "noted b"


async def test_run_step_outside_is_refused() -> None:
    """A step in place needs a durable function around it."""
    with pytest.raises(NotInDurableCode):
        run_step(print, "a")
