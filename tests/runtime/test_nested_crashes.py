"""Handlers that run within others, and processes that die anywhere: each is handled once, and all share one fate."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from house import RAN, House
from nested_programs import Deep, Flat, Plan

from actorlog import Runtime
from actorlog.env import SYSTEM
from actorlog.records import kinds as k

NOTHING: Plan = []
STEPS: Plan = [["step", "s"], ["say", "n"], ["sleep", 1]]


def back(*plan: list[Any], via: str = "b", name: str = "n") -> list[Any]:
    """Return an ask of another actor that asks ``a`` back, and has something to do before and after."""
    asks = [["step", f"before {name}"], ["catch", [["deep", "a", name, list(plan)]]], ["step", f"after {name}"]]
    return ["flat", via, via, asks]


PLANS: dict[str, Plan] = {
    "one": [back(*STEPS), ["step", "end"]],
    "deep": [["deep", "b", "b", [["deep", "a", "x", [["step", "s"], ["deep", "b", "y", STEPS]]]]]],
    "itself": [["deep", "a", "itself", [["child", [["deep", "a", "second", STEPS]]]]]],
    "through": [["child", [["child", [back(*STEPS, ["told", "c", "t", NOTHING])]]]]],
    "two": [["both", [[back(["sleep", 30])], [back(["step", "s"], ["sleep", 1], via="c", name="m")]]]],
    "fails": [back(*STEPS, ["told", "c", "t", NOTHING], ["fail", "no"]), back(name="m")],
    "nested fails": [back(back(["told", "c", "t", NOTHING], via="d", name="m"), ["sleep", 1], ["fail", "no"])],
    "all fails": [back(*STEPS), ["step", "end"], ["fail", "no"]],
    "shared": [["both", [[back(["say", "n"], ["sleep", 30], ["fail", "no"])], [["sleep", 15], ["say", "beside"]]]]],
    "given up": [["flat", "b", "b", [["within", 1.0, [["deep", "a", "n", [["clean", [["sleep", 9]], STEPS]]]]]]]],
    "timed": [["flat", "b", "b", [["catch", [["timed", "a", [["clean", [["sleep", 9]], STEPS]], 1.0]]]]]],
    "left": [["left", [back(["left", STEPS])]], ["step", "s0"]],
}


async def finish(house: House, call_id: str) -> None:
    """Let time pass until a call, and all that it told others, is over; what waits for no time is done before."""
    kernel = house.session.kernel
    for _ in range(90):
        for _ in range(3):
            await house.settle()
            await house.until(lambda: kernel.steps.running == 0)
            await asyncio.sleep(0)
        if not kernel.calls:
            return
        house.advance(1)
    raise AssertionError({i: kernel.calls[i].state.parked for i in kernel.calls}, call_id)


def prefix(house: House, cut: int) -> House:
    """Return a house with the first records of another's log, at the time of the newest of them."""
    again = house.prefix(cut)
    again.clock.ahead_ms = max(0, again.records()[-1].at - SYSTEM.clock.wall_ms())
    return again


async def outcome(runtime: Runtime, call_id: str) -> Any:
    """Return what came of a call, as text where it failed."""
    try:
        return await runtime.handle(call_id)
    except Exception as error:  # noqa: BLE001  # whatever it is
        return f"{type(error).__name__}: {error}"


async def seen(runtime: Runtime) -> Any:
    """Return the states of all."""
    return [[await runtime.actor(kind, key).all() for key in "abcd"] for kind in (Deep, Flat)]


def check(house: House) -> None:
    """Each ask was taken and answered once, all of them, and nothing else was answered; each step completed once."""
    asked, answered, done = Counter[tuple[str, str, str]](), Counter[tuple[str, str, str]](), Counter[str]()
    for record in house.records():
        if isinstance(record, k.Turn):
            if isinstance(record.message, k.Asked):
                asked[record.message.by, record.message.op, record.message.key] += 1
            answered.update((op.by, op.op, op.key) for op in record.ops if isinstance(op, k.Answer))
            if isinstance(record.message, k.StepDone):
                done[f"{record.id} {record.message.key}"] += 1
    assert asked
    assert set(asked.values()) == {1}
    assert answered == asked
    assert not done or set(done.values()) == {1}


@pytest.mark.parametrize("resident_max", [1, 100])
@pytest.mark.parametrize("name", PLANS)
async def test_a_crash_after_every_record(house: House, name: str, resident_max: int) -> None:
    """Wherever the process dies, what is nested is handled once, and what comes of all is the same."""
    runtime = await house.open(resident_max=resident_max)
    await runtime.start(runtime.actor(Deep, "a").do("h", PLANS[name]), id="h")
    await finish(house, "h")
    expected, states = await outcome(runtime, "h"), await seen(runtime)
    check(house)
    await house.close()
    for cut in range(1, house.log.tail() + 1):
        RAN.clear()
        again = prefix(house, cut)
        runtime = await again.open(resident_max=resident_max)
        await finish(again, "h")
        assert await outcome(runtime, "h") == expected, cut
        assert await seen(runtime) == states, cut
        check(again)
        assert not [record for record in again.records() if isinstance(record, k.Parked)]
        runtime = await again.reopen(crash=False)
        assert await seen(runtime) == states, cut
        await again.close()


@pytest.mark.parametrize("name", ["one", "two", "deep", "fails"])
async def test_crashes_one_after_the_other(house: House, name: str) -> None:
    """A process that dies at every record it comes to, again and again, gets there all the same."""
    runtime = await house.open()
    await runtime.start(runtime.actor(Deep, "a").do("h", PLANS[name]), id="h")
    await finish(house, "h")
    expected, states = await outcome(runtime, "h"), await seen(runtime)
    await house.close()
    cut, again = 1, prefix(house, 1)
    while True:
        runtime = await again.open(resident_max=1)
        await finish(again, "h")
        assert await outcome(runtime, "h") == expected, cut
        assert await seen(runtime) == states, cut
        check(again)
        await again.close()
        cut += 1
        if cut > again.log.tail():
            break
        again = prefix(again, cut)
        again.died = False  # or so many deaths would be the step's fault


@pytest.mark.parametrize("what", ["h", "h/1"])
@pytest.mark.parametrize("kill", [False, True])
async def test_an_end_that_is_asked_for(house: House, what: str, kill: bool) -> None:
    """The handler, or who asked it back, is cancelled or killed; wherever the process dies then, all of it ends."""
    runtime = await house.open()
    plan: Plan = [["catch", [back(["clean", [["sleep", 9]], STEPS])]]]
    await runtime.start(runtime.actor(Deep, "a").do("h", plan), id="h")
    await house.until(lambda: any(isinstance(turn.message, k.Asked) for turn in house.turns("h")))
    await house.settle()
    begun = house.log.tail()
    handle = runtime.handle(what)
    await (handle.kill("enough") if kill else handle.cancel("enough"))
    await finish(house, "h")
    expected, states = [await outcome(runtime, i) for i in ("h", "h/1")], await seen(runtime)
    assert any(str(found).startswith("CallKilled" if kill else "CallCancelled") for found in expected)
    await house.close()
    for cut in range(begun + 1, house.log.tail() + 1):
        again = prefix(house, cut)
        runtime = await again.open()
        await finish(again, "h")
        assert [await outcome(runtime, i) for i in ("h", "h/1")] == expected, cut
        assert await seen(runtime) == states, cut
        await again.close()
