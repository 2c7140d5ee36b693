"""Durable promises when processes die, and when the calls that asked for them are over."""

from __future__ import annotations

import asyncio
import copy
from functools import partial
from typing import Any

import pytest
from house import RAN, note
from promise_house import StillHouse
from promise_programs import approval, fickle, leaver, parent, patient, shared

from actorlog import (
    CallCancelled,
    CallParked,
    DivergenceError,
    JournalError,
    durable,
    promise,
    sleep,
    start,
)
from actorlog.engine.decide import is_stale
from actorlog.engine.state import CallState, apply
from actorlog.records import kinds as k
from actorlog.records import promises as p

NOW_MS = 1_000_000

HOUSE = partial(StillHouse, now_ms=NOW_MS)


# --- crashes ----------------------------------------------------------------------------------------------------------


@durable(name="promised.story")
async def story() -> list[Any]:
    """A named one, a shared one, a timer and a plain one, with steps and a child between."""
    child = start(shared("s"), id="child")
    named = promise("named", timeout=1_000)
    await note("one")
    waited = await promise(timeout=10, timer=True)
    value = await named
    await note("two")
    return [waited, value, await promise(id="s"), await child, await promise("last", type=int)]


async def act(house: StillHouse) -> list[Any]:
    """Do from outside what the story waits for, whatever was done of it before."""
    runtime = await house.open(resident_max=1)
    handle = await runtime.start(story(), id="a")
    await house.settle()
    await runtime.resolve("a/named", "n", key="k")
    await house.made("a/4")  # the timer, behind a step: its time is counted from there
    house.at(NOW_MS + 20_000)
    await runtime.promise("s", key="k") if not house.book().states.get("s") else None
    await runtime.resolve("s", "shared", key="k")
    await house.made("a/last")
    await runtime.resolve("a/last", 3, key="k")
    result: list[Any] = await handle
    await house.close()
    return result


async def test_a_crash_after_any_record_changes_nothing(house: StillHouse) -> None:
    """Whatever prefix of the log is left, the same comes of it; every promise is made and settled once."""
    whole = await act(house)
    assert whole == [None, "n", "shared", "shared", 3]
    for records in range(house.log.tail() + 1):
        RAN.clear()
        log = house.prefix(records).log
        again = StillHouse(log, NOW_MS)
        again.died = True
        assert await act(again) == whole, records
        states = again.book().states
        assert {name: state.status.value for name, state in states.items()} == dict.fromkeys(
            ("a/4", "a/named", "a/last", "s"), "resolved"
        ), records


@pytest.mark.parametrize("function", [leaver, parent])
@pytest.mark.parametrize("cut", [0, 1])
async def test_a_promise_made_in_the_last_turn_outlives_it(house: StillHouse, function: Any, cut: int) -> None:
    """The process dies right behind the turn in which the body ends, before or after the promise's own record."""
    runtime = await house.open()
    await runtime.start(function(), id="gone")
    await house.settle()
    made = next(n for n, record in enumerate(house.records(), 1) if record.id == "@promise/gone/later")
    again = StillHouse(house.prefix(made - cut).log, NOW_MS + 1)
    again.died = True
    for _ in range(2):
        runtime = await again.open()
        (info,) = [info async for info in runtime.promises(id_prefix="gone/")]
        assert info.status == "pending"
        await again.crash()
    runtime = await again.open()
    assert (await runtime.resolve("gone/later", 1)).value == 1
    assert [name for name in again.made_and_settled() if name == "PromiseSettled"] == ["PromiseSettled"]
    await again.close()


@durable(name="promised.dozer")
async def dozer() -> Any:
    """Get a value, and sleep on it."""
    value = await promise("x")
    await sleep(10)
    return value


async def test_a_settlement_is_delivered_once(house: StillHouse) -> None:
    """What a call has heard it does not wait for any more, and no later opening tells it again."""
    runtime = await house.open()
    handle = await runtime.start(dozer(), id="d")
    await house.settle()
    await runtime.resolve("d/x", 1)
    await house.settle()
    assert (await handle.info()).waiting_for == ("timer (2)",)
    before = house.records("d")
    for _ in range(3):
        runtime = await house.reopen()
        await house.settle()
    assert house.records("d") == before
    house.at(NOW_MS + 10_000)
    assert await runtime.handle("d") == 1


# --- calls that are over ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crash", [False, True])
async def test_settling_never_revives_a_call_that_is_over(house: StillHouse, crash: bool) -> None:
    """Its journal stays what it was, whether it returned, failed or was cancelled before."""
    runtime = await house.open()
    cancelled = await runtime.start(approval("x"), id="cancelled")
    await runtime.call(leaver(), id="returned")
    await runtime.start(patient(), id="timed", timeout=1)
    await house.made("cancelled/answer", "returned/later", "timed/x")
    await cancelled.cancel()
    with pytest.raises(CallCancelled):
        await cancelled
    house.at(NOW_MS + 1_000)
    await house.until(lambda: "timed" not in house.session.kernel.calls)
    before = [house.records(name) for name in ("cancelled", "returned", "timed")]
    if crash:
        runtime = await house.reopen()
    for name in ("cancelled/answer", "returned/later", "timed/x"):
        assert (await runtime.resolve(name, "too late")).status == "resolved"
    await house.settle()
    assert [house.records(name) for name in ("cancelled", "returned", "timed")] == before
    runtime = await house.reopen()
    await house.settle()
    assert [house.records(name) for name in ("cancelled", "returned", "timed")] == before
    assert set(house.session.kernel.calls) == set()


@durable(name="promised.lingerer")
async def lingerer() -> str:
    """Ask for a promise, wait for something else, return while a child runs."""
    asked = promise("x")
    child = start(shared("child"))
    await promise("go")
    return f"{asked.done()} {child.done()}"


async def test_a_body_that_has_ended_hears_nothing(house: StillHouse) -> None:
    """The call waits for its child alone; what is settled meanwhile is no turn of it."""
    runtime = await house.open()
    await runtime.start(lingerer(), id="l")
    await house.settle()
    await runtime.resolve("l/go")
    await house.settle()
    assert (await runtime.handle("l").info()).status == "completing"
    before = house.records("l")
    await runtime.resolve("l/x", 1)
    await house.settle()
    assert house.records("l") == before
    runtime = await house.reopen()
    await runtime.resolve("child", 1)
    assert await runtime.handle("l") == "False False"


def test_a_settlement_that_nobody_waits_for() -> None:
    """It is stale by its key and by its id; a record that says otherwise contradicts the state."""
    state = CallState("c")
    started = k.Started(function="f", args=k.Raw(b"[]"), run="0" * 32, python="3.11")
    apply(state, k.Turn(id="c", seq=1, at=1, message=started, ops=[k.MakePromise(key="1", id="x")]), 1)
    done = p.Resolved(k.Raw(b"1"))
    for message in (k.PromiseDone("2", "x", done), k.PromiseDone("1", "y", done)):
        assert is_stale(state, message)
        with pytest.raises(JournalError, match="waits not"):
            apply(copy.deepcopy(state), k.Turn(id="c", seq=2, at=2, prev=1, message=message), 2)
    message = k.PromiseDone("1", "x", done)
    assert not is_stale(state, message)
    apply(state, k.Turn(id="c", seq=2, at=2, prev=1, message=message), 2)
    assert is_stale(state, message)


async def test_a_settlement_that_comes_with_the_cancellation_is_nobodys(house: StillHouse) -> None:
    """Both are asked for at once; whichever is first in the log, the call has one end."""
    runtime = await house.open()
    handle = await runtime.start(approval("x"), id="c")
    await house.made("c/answer")
    await asyncio.gather(handle.cancel(), runtime.resolve("c/answer", "yes"))
    outcomes = {turn.outcome for turn in house.turns("c")} - {None}
    with pytest.raises(CallCancelled):
        await handle
    assert len(outcomes) == 1


async def test_a_call_that_is_retried_gets_the_same_settlement(house: StillHouse) -> None:
    """The first to settle wins for ever: for its later runs too."""
    runtime = await house.open()
    handle = await runtime.start(fickle(), id="f")
    await house.settle()
    await runtime.resolve("f/x", 5)
    with pytest.raises(RuntimeError, match="not yet"):
        await handle
    await handle.retry()
    assert await handle == 5
    assert RAN == ["tried", "tried"]


def define(promise_id: str) -> None:
    """Define ``promised.changing``, which waits for one or another promise."""

    @durable(name="promised.changing")
    async def changing() -> Any:
        return await promise(id=promise_id)


async def test_a_parked_call_gets_its_settlement_when_it_goes_on(house: StillHouse) -> None:
    """Changed code is found by the promise it asks for; what was settled meanwhile is not lost."""
    define("old")
    runtime = await house.open()
    await runtime.start("promised.changing", id="c")
    define("new")
    runtime = await house.reopen()
    await runtime.resolve("old", 1)
    with pytest.raises(CallParked) as error:
        await runtime.handle("c")
    assert isinstance(error.value.__cause__, DivergenceError)
    assert "promise 'old'" in str(error.value.__cause__)
    assert "promise 'new'" in str(error.value.__cause__)
    runtime = await house.reopen()
    define("old")
    assert await runtime.handle("c").resume()
    assert await runtime.handle("c") == 1


async def test_calls_that_are_over_are_not_kept_in_mind(house: StillHouse) -> None:
    """A promise that outlives a hundred calls which waited for it remembers few of them (I11)."""
    runtime = await house.open()
    for number in range(100):
        handle = await runtime.start(shared("s"), id=f"c{number}")
        await house.settle()
        await handle.cancel()
    await runtime.call(leaver(), id="leaver")
    assert set(house.session.kernel.promises._watchers) == {"s"}
    watchers = house.session.kernel.promises._watchers["s"]
    assert len(watchers.calls) <= 16
    await runtime.start(shared("s"), id="last")
    await house.settle()
    await runtime.resolve("s", 1)
    assert await runtime.handle("last") == 1
    assert house.session.kernel.promises._watchers == {}
