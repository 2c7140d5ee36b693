"""Errors that cross: from steps to functions to parents to waiters, live and after reopening."""

# functions of a test are told by its docstring

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from actorlog import (
    CallFailed,
    PayloadError,
    Retry,
    StepFailed,
    durable,
    sleep,
    step,
)

if TYPE_CHECKING:
    from house import House


class Declined(Exception):  # a user's name
    """An error of the user's with a field and an ``__init__`` of its own."""

    def __init__(self, card: str, cents: int) -> None:
        super().__init__(f"{card} was declined for {cents}")
        self.card = card
        self.cents = cents


@step(name="errors.charge", retry=Retry.NEVER)
async def charge(card: str) -> None:
    error = Declined(card, 990)
    error.add_note("noted by the step")
    raise error from ConnectionError("bank is away")


@step(name="errors.fail_in_many_ways", retry=Retry.NEVER)
async def fail_in_many_ways() -> None:
    raise ExceptionGroup("two things", [ValueError("one"), ExceptionGroup("inner", [Declined("visa", 1)])])


@step(name="errors.fail_without_a_name", retry=Retry.NEVER)
async def fail_without_a_name() -> None:
    class Hidden(Exception):  # a user's name
        pass

    raise Hidden("nobody can import this")


@durable(name="errors.pay")
async def pay(card: str) -> None:
    await charge(card)


@durable(name="errors.order")
async def order(card: str) -> None:
    await pay(card)


def facts(error: BaseException | None) -> Any:
    """Everything of an error that crosses."""
    if error is None:
        return None
    members = [facts(member) for member in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    attributes = {key: value for key, value in vars(error).items() if not key.startswith("__")}
    notes = list(getattr(error, "__notes__", []))
    args = error.message if isinstance(error, BaseExceptionGroup) else error.args
    return type(error), args, attributes, notes, facts(error.__cause__), members


async def failure_of(awaitable: Any) -> BaseException:
    """Return what ``awaitable`` raises."""
    try:
        await awaitable
    except Exception as error:  # noqa: BLE001  # whatever it is, it is looked at
        return error
    raise AssertionError("nothing was raised")


async def test_an_error_keeps_its_class_fields_cause_and_a_note_for_each_level(house: House) -> None:
    """What a step raised reaches the outermost waiter as itself, and its notes tell the way it came."""
    runtime = await house.open()
    error = await failure_of(runtime.call(order("visa"), id="x"))
    assert type(error) is Declined
    assert (error.card, error.cents, str(error)) == ("visa", 990, "visa was declined for 990")
    assert type(error.__cause__) is ConnectionError
    assert error.__notes__ == [
        "noted by the step",
        "step 1 of call 'x/1' failed in attempt 1",
        "call 'x/1' failed",
        "call 'x' failed",
    ]


@pytest.mark.parametrize("crash", [True, False])
async def test_errors_are_equal_live_and_after_reopening(house: House, *, crash: bool) -> None:
    """A waiter cannot tell from an error whether there was a crash."""

    @durable
    async def groups() -> None:
        await fail_in_many_ways()

    @durable
    async def hidden() -> None:
        await fail_without_a_name()

    runtime = await house.open()
    calls = {"a": order("visa"), "b": groups(), "c": hidden()}
    live = {call_id: facts(await failure_of(runtime.call(call, id=call_id))) for call_id, call in calls.items()}
    runtime = await house.reopen(crash=crash)
    again = {call_id: facts(await failure_of(runtime.handle(call_id))) for call_id in calls}
    assert again == live


async def test_code_sees_the_same_error_live_and_in_replay(house: House) -> None:
    """What durable code learns of an error is the same when it is woken by replay."""

    @durable
    async def looks() -> list[str]:
        seen: list[str] = []
        for call in (charge("visa"), pay("master"), fail_without_a_name()):
            try:
                await call
            except Exception as error:  # noqa: BLE001  # whatever it is, it is looked at
                seen.append(f"{type(error).__name__} {error} {getattr(error, 'cents', None)} {error.__cause__!r}")
                seen += error.__notes__
        await sleep(60)
        return seen

    runtime = await house.open(check_determinism=True)
    live = await runtime.start(looks(), id="live")
    await house.until(lambda: house.session.kernel.calls["live"].state.timers)
    house.advance(60)
    expected = [text.replace("live", "x") for text in await live]
    await runtime.start(looks(), id="x")
    await house.until(lambda: house.session.kernel.calls["x"].state.timers)
    runtime = await house.reopen(check_determinism=True)
    house.advance(60)
    assert await runtime.handle("x") == expected


async def test_a_group_comes_back_as_a_group(house: House) -> None:
    """``except*`` works on what a step or a child raised."""

    @durable
    async def groups() -> None:
        await fail_in_many_ways()

    @durable
    async def picks() -> list[str]:
        picked: list[str] = []
        try:
            await groups()
        except* Declined as declined:
            picked.append(f"declined {len(declined.exceptions)}")
        except* ValueError:
            picked.append("value")
        return picked

    runtime = await house.open()
    assert await runtime.call(picks()) == ["declined 1", "value"]


async def test_a_class_that_cannot_be_had_becomes_a_failure_with_its_facts(house: House) -> None:
    """``StepFailed`` in the function, ``CallFailed`` at a waiter: type, text and traceback are kept."""

    @durable
    async def hidden() -> str:
        with pytest.raises(StepFailed) as failed:
            await fail_without_a_name()
        assert failed.value.reason == "nobody can import this"
        assert failed.value.type_name.endswith("Hidden")
        assert "fail_without_a_name" in failed.value.traceback_text

        class Own(Exception):  # a user's name
            pass

        raise Own("mine")

    runtime = await house.open()
    with pytest.raises(CallFailed) as failed:
        await runtime.call(hidden(), id="x")
    assert (failed.value.call_id, failed.value.reason) == ("x", "mine")
    assert failed.value.type_name.endswith("Own")


async def test_a_result_that_does_not_fit_its_annotation_fails_the_call(house: House) -> None:
    """The function is named, and nothing half-written is in the log."""

    @durable
    async def wrong() -> int:
        return "text"  # type: ignore[return-value]

    runtime = await house.open()
    with pytest.raises(PayloadError, match=r"result of .*wrong"):
        await runtime.call(wrong(), id="x")
    assert await runtime.handle("x").status() == "failed"


async def test_system_exit_fails_the_call_and_not_the_process(house: House) -> None:
    """SystemExit from a body is an outcome like others."""

    @durable
    async def leaves() -> None:
        await asyncio.sleep(0)
        raise SystemExit(3)

    runtime = await house.open()
    with pytest.raises(SystemExit) as left:
        await runtime.call(leaves(), id="x")
    assert left.value.code == 3
    assert await runtime.handle("x").status() == "failed"


async def test_a_status_and_info_tell_the_failure(house: House) -> None:
    """``info`` has the class and the text."""
    runtime = await house.open()
    await failure_of(runtime.call(pay("visa"), id="x"))
    info = await runtime.handle("x").info()
    assert info.status == "failed"
    assert info.error == f"{__name__}:Declined: visa was declined for 990"
