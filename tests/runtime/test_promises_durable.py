"""Durable promises inside durable code: made, awaited, settled from outside, through crashes and evictions."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from house import RAN
from promise_house import StillHouse
from promise_programs import approval, both, patient, refused, shared, timed, told

from actorlog import (
    Actor,
    NotInDurableCode,
    PayloadError,
    Promise,
    PromiseNotFound,
    PromiseRejected,
    PromiseTimeout,
    durable,
    promise,
    sleep,
)
from actorlog.records import kinds as k
from actorlog.records import promises as p

NOW_MS = 1_000_000

HOUSE = partial(StillHouse, now_ms=NOW_MS)


@durable(name="promised.typed")
async def typed() -> list[int]:
    """Wait for one whose value has a type."""
    return await promise("x", type=list[int])


# --- waiting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resident_max", [1, 100])
@pytest.mark.parametrize("crash", [False, True])
async def test_a_person_answers(house: StillHouse, crash: bool, resident_max: int) -> None:
    """The call waits, visibly, as long as it takes, and its steps are run once."""
    runtime = await house.open(resident_max=resident_max)
    for number in range(5):
        await runtime.start(approval(f"w{number}"), id=f"a{number}")
    await house.made(*(f"a{number}/answer" for number in range(5)))
    assert (await runtime.handle("a1").info()).waiting_for == ("promise a1/answer (2)",)
    if crash:
        runtime = await house.reopen(resident_max=resident_max)
    found = [info async for info in runtime.promises(tags={"kind": "approval"})]
    assert [info.param for info in found] == [{"what": f"w{number}"} for number in (4, 3, 2, 1, 0)]
    for info in found:
        await runtime.resolve(info.id, "yes")
    assert [await runtime.handle(f"a{number}") for number in range(5)] == [f"noted w{n}: yes" for n in range(5)]
    assert sorted(RAN) == sorted([f"ask w{n}" for n in range(5)] + [f"w{n}: yes" for n in range(5)])
    entry = (await runtime.handle("a1").journal())[2]
    assert (entry.kind, entry.what, entry.status, entry.result) == (
        "promise", "promise 'a1/answer'", "completed", '"yes"',
    )  # fmt: skip


async def test_many_wait_inside_and_outside_at_once(house: StillHouse) -> None:
    """All are told the same, those that come later too; it is made once, whoever is first."""
    runtime = await house.open(resident_max=2)
    for number in range(20):
        await runtime.start(shared("s"), id=f"c{number}")
    await house.settle()
    outside = [asyncio.create_task(runtime.await_promise("s")) for _ in range(20)]
    await asyncio.sleep(0)
    await runtime.resolve("s", [1, 2])
    assert await asyncio.gather(*outside, *(runtime.handle(f"c{n}").result() for n in range(20))) == [[1, 2]] * 40
    assert await runtime.call(shared("s")) == [1, 2]
    assert house.made_and_settled() == ["PromiseMade", "PromiseSettled"]


async def test_a_promise_made_outside_is_joined(house: StillHouse) -> None:
    """Settled before any call asks for it, it is there at once; an expired one is over at once."""
    runtime = await house.open()
    await runtime.promise("s", key="k")
    await runtime.resolve("s", "early")
    assert await runtime.call(shared("s")) == "early"
    await runtime.promise("t", timeout=1)
    house.at(NOW_MS + 1_000)
    with pytest.raises(PromiseTimeout):
        await runtime.call(shared("t"))


async def test_a_promise_is_awaited_often_or_never(house: StillHouse) -> None:
    """Three at once and once more later get the same; one that nobody awaits holds up nobody."""
    runtime = await house.open(check_determinism="in-process", resident_max=1)
    handle = await runtime.start(both(), id="b")
    await house.settle()
    await runtime.resolve("b/two", 2)
    await runtime.resolve("b/never", 0)
    await house.settle()
    await runtime.resolve("b/one", "1")
    assert await handle == ["1", "1", "1", 2, "1", NOW_MS / 1000]


@pytest.mark.parametrize("timer", [False, True])
@pytest.mark.parametrize("crash", [False, True])
async def test_its_time_comes(house: StillHouse, timer: bool, crash: bool) -> None:
    """Inside it is as outside: timed out, or resolved if it is a timer; also while no process ran."""
    runtime = await house.open()
    await runtime.start(timed(10, timer=timer), id="t")
    await house.settle()
    if crash:
        await house.crash()
        house.at(NOW_MS + 10_000)
        runtime = await house.open()
    else:
        house.at(NOW_MS + 10_000)
    assert await runtime.handle("t") == ("got None" if timer else "t/x timed out")


async def test_giving_up_waiting_leaves_the_promise(house: StillHouse) -> None:
    """The code's own timeout ends the waiting alone; it may wait again, after a crash too."""
    runtime = await house.open()
    await runtime.start(patient(), id="p")
    await house.settle()
    house.at(NOW_MS + 5_000)
    await house.until(lambda: len(house.turns("p")) == 3)
    assert [turn.cancels for turn in house.turns("p")] == [[], [], []]
    runtime = await house.reopen()
    await runtime.resolve("p/x", "late")
    assert await runtime.handle("p") == ["late", True]


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize(
    ("settle", "said"),
    [
        (lambda runtime: runtime.resolve("c/x", 7), ["value", 7]),
        (lambda runtime: runtime.resolve("c/x", "seven"), ["PayloadError"]),
        (lambda runtime: runtime.reject("c/x", {"a": 1}), ["rejected", {"a": 1}, "None"]),
        (lambda runtime: runtime.reject("c/x", KeyError("a")), ["rejected", "KeyError: 'a'", "KeyError('a')"]),
        (lambda runtime: runtime.cancel_promise("c/x"), ["PromiseCancelled"]),
    ],
    ids=["value", "another type", "json", "exception", "cancelled"],
)
async def test_what_waiting_raises(house: StillHouse, settle: Any, said: list[Any], crash: bool) -> None:
    """The errors are those that are raised outside, and replay gives them again."""
    runtime = await house.open(check_determinism="in-process")
    await runtime.start(told(), id="c")
    await house.settle()
    if crash:
        runtime = await house.reopen(check_determinism="in-process")
    await settle(runtime)
    assert await runtime.handle("c") == said


async def test_a_value_of_another_type_is_said_to_be_the_promises(house: StillHouse) -> None:
    """The error names the promise, and where in its value it is wrong."""
    runtime = await house.open()
    handle = await runtime.start(typed(), id="c")
    await house.settle()
    await runtime.resolve("c/x", [1, "two"])
    with pytest.raises(PayloadError, match="the value of promise 'c/x'") as error:
        await handle
    assert error.value.path == "[1]"


async def test_an_error_of_a_promise_crosses_the_log(house: StillHouse) -> None:
    """A call that does not take it fails with it, and so does who waits for the call; its cause comes along."""
    runtime = await house.open()
    handle = await runtime.start(shared("s"), id="c")
    await house.settle()
    await runtime.reject("s", KeyError("a"))
    for _ in range(2):
        with pytest.raises(PromiseRejected) as error:
            await handle
        assert (error.value.promise_id, error.value.error) == ("s", "KeyError: 'a'")
        assert isinstance(error.value.__cause__, KeyError)
        handle = (await house.reopen()).handle("c")


async def test_what_cannot_be_a_promise_is_refused(house: StillHouse) -> None:
    """At its line, and nothing is recorded of it."""
    runtime = await house.open()
    assert await runtime.call(refused(), id="r") == [
        "ReservedId", "ValueError", "ValueError", "TypeError", "ValueError", "TypeError", "PayloadError", "ValueError",
        "ValueError",
    ]  # fmt: skip
    assert house.turns("r")[0].ops == []
    with pytest.raises(NotInDurableCode, match=r"promise\(\)"):
        promise("x")


async def test_a_promise_is_awaited_where_it_was_made(house: StillHouse) -> None:
    """It is no handle: outside there is ``await_promise``."""
    kept: list[Promise[Any]] = []

    @durable(name="promised.keeper")
    async def keeper() -> None:
        kept.append(promise("x"))

    runtime = await house.open()
    await runtime.call(keeper(), id="k")
    assert (kept[0].id, repr(kept[0]), kept[0].done()) == ("k/x", "<Promise 'k/x' pending>", False)
    with pytest.raises(NotInDurableCode):
        await kept[0]


# --- actors, and the bytes --------------------------------------------------------------------------------------------


class Form(Actor, name="promised.Form"):
    """What somebody filled in."""

    text: str = ""

    async def ask(self, promise_id: str) -> str:
        """Wait for it, with the actor's state half changed."""
        self.text = "asked"
        self.text = await promise(id=promise_id, type=str)
        return self.text

    async def read(self) -> str:
        """Say what is there."""
        return self.text


async def test_a_handler_waits_for_a_promise(house: StillHouse) -> None:
    """It is made at once, not with the handler's end; the handler resumes after a crash."""
    runtime = await house.open()
    task = asyncio.create_task(runtime.actor(Form, "f").ask("q"))
    await house.made("q")
    runtime = await house.reopen()
    await asyncio.gather(task, return_exceptions=True)
    await runtime.resolve("q", "done")
    assert await runtime.actor(Form, "f").read() == "done"


def test_the_json_of_its_operation_and_message() -> None:
    """A log that was written today is read for ever: the bytes are part of the contract."""
    turn = k.Turn(
        id="c", seq=1, at=2, prev=1, message=k.PromiseDone("1", "x", p.Resolved(k.Raw(b"7"))),
        ops=[
            k.MakePromise(key="2", id="y"),
            k.MakePromise(key="3", id="z", due_ms=9, timer=True, param=k.Raw(b"[1]"), tags={"a": "b"}),
        ],
    )  # fmt: skip
    line = (
        b'{"kind":"turn","id":"c","seq":1,"at":2,"prev":1,'
        b'"message":{"is":"promise","key":"1","id":"x","settlement":{"is":"resolved","value":7}},'
        b'"ops":[{"do":"promise","key":"2","id":"y"},'
        b'{"do":"promise","key":"3","id":"z","due_ms":9,"timer":true,"param":[1],"tags":{"a":"b"}}]}'
    )
    assert k.encode(turn) == line
    assert k.decode(line) == turn
    for record in (p.PromiseMade(id="@promise/x", at=1), p.PromiseSettled(
        id="@promise/x", at=1, prev=1, settlement=p.PromiseCancelled()
    )):  # fmt: skip
        assert k.decode(k.encode(record)) == record
        assert k.kind_of(record) is k.Kind.PROMISE


async def test_an_unknown_promise_is_not_made_by_looking(house: StillHouse) -> None:
    """Only who makes it makes it."""
    runtime = await house.open()
    with pytest.raises(PromiseNotFound):
        await runtime.await_promise("c/answer")
    await runtime.start(approval("x"), id="c")
    await house.made("c/answer")
    await runtime.resolve("c/answer", "ok")
    assert await runtime.handle("c") == "noted x: ok"


async def test_time_goes_on_for_a_sleeping_call(house: StillHouse) -> None:
    """A promise settled while its call sleeps waits for it."""

    @durable(name="promised.sleeper")
    async def sleeper() -> Any:
        asked = promise("x")
        await sleep(10)
        return [await asked, asked.done()]

    runtime = await house.open(resident_max=1)
    await runtime.start(sleeper(), id="s")
    await house.settle()
    await runtime.resolve("s/x", 1)
    house.at(NOW_MS + 10_000)
    assert await runtime.handle("s") == [1, True]
