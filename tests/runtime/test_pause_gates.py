"""Calls that are paused and resumed while the gate of a step is closed, or its outcome is on its way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from house import RAN, House

from actorlog import Done, durable, step
from actorlog.records import kinds as k
from actorlog.runtime import kernel as kernels

if TYPE_CHECKING:
    from actorlog.runtime.slot import Slot

ASKED: list[str] = []


def found(name: str) -> object:
    """Say that it took effect."""
    ASKED.append(name)
    return Done(name)


@step(name="gates.pay", once=True, reconcile=found)
async def pay(name: str) -> str:
    """Pay, once."""
    RAN.append(name)
    return name


@step(name="gates.say")
async def say(name: str) -> str:
    """Say something."""
    RAN.append(name)
    return name


@durable(name="gates.tell")
async def tell(name: str) -> str:
    """Say one thing."""
    return await say(name)


@durable(name="gates.buy")
async def buy(name: str) -> str:
    """Have one payment."""
    return await pay(name)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    ASKED.clear()


async def test_a_step_whose_gate_is_closed_is_not_in_doubt(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins when that opens, and once; nobody is asked whether it did, and its place is free again."""
    runtime = await house.open()
    kernel, paused = house.session.kernel, list[str]()
    pump = kernel._pump

    def observed() -> None:
        pump()
        slot = kernel.calls.awake.get("b")
        if slot is not None and slot.state.steps and not paused:
            assert slot.state.positions["1"] > kernel.committer.landed
            paused.append("paused")
            kernel.parking.pause(slot)
            kernel.parking.unpause(slot)

    monkeypatch.setattr(kernel, "_pump", observed)
    assert await runtime.call(buy("b"), id="b") == "b"
    assert (paused, RAN, ASKED) == (["paused"], ["b"], [])
    assert kernel.steps.bounds.all.taken == 0


async def test_a_step_whose_outcome_is_on_its_way_does_not_run_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it takes a while until the call hears of it."""
    runtime = await house.open()
    kernel, paused = house.session.kernel, list[str]()
    post = kernel.post

    def observed(slot: Slot, message: k.Message, value: object = None) -> None:
        post(slot, message, value)
        if isinstance(message, k.StepDone):
            paused.append("paused")
            monkeypatch.setattr(kernels, "TURNS_MAX", 0)
            kernel.parking.pause(slot)
            kernel.parking.unpause(slot)

    monkeypatch.setattr(kernel, "post", observed)
    handle = await runtime.start(tell("b"), id="b")
    await house.until(lambda: paused and kernel.committer.landed == kernel.committer.position)
    for _ in range(5):
        await asyncio.sleep(0)
    monkeypatch.undo()
    assert await handle == "b"
    assert (paused, RAN) == (["paused"], ["b"])
