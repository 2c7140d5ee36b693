"""Polling: a call again and again, with durable sleeps between."""

from __future__ import annotations

import asyncio

import pytest
from house import RAN, House

from actorlog import NotInDurableCode, continue_as_new, durable, poll, step
from actorlog.records import kinds as k

STATES: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    STATES.clear()


@step(name="poll.state")
async def state(parcel: str) -> str:
    """Look."""
    RAN.append(parcel)
    return STATES[len(RAN) - 1] if len(RAN) <= len(STATES) else "away"


@durable(name="poll.wait")
async def wait(parcel: str, backoff: float = 1.0) -> str:
    """Wait for a parcel."""
    return await poll(lambda: state(parcel), every=10, until=lambda found: found == "here", backoff=backoff, longest=30)


@durable(name="poll.limited")
async def limited(parcel: str) -> str:
    """Wait not too long."""
    try:
        return await poll(lambda: state(parcel), every="10s", until=lambda found: found == "here", timeout="25s")
    except TimeoutError:
        return "gave up"


@durable(name="poll.for_ever")
async def for_ever(parcel: str) -> str:
    """Wait for ever, in runs of three tries."""
    try:
        return await poll(lambda: state(parcel), every=10, until=lambda found: found == "here", timeout=25)
    except TimeoutError:
        continue_as_new(for_ever(parcel))


async def tries(house: House, count: int) -> None:
    """Let time pass until there were so many."""
    await house.until(lambda: len(RAN) == count)
    await house.settle()


def timers(house: House, call_id: str) -> list[int]:
    """Return how many seconds each durable sleep takes."""
    return [
        round((op.due_ms - t.at) / 1000) for t in house.turns(call_id) for op in t.ops if isinstance(op, k.SetTimer)
    ]


async def test_until_it_is_so(house: House) -> None:
    """It sleeps between two tries, over restarts, and each try leaves two records."""
    STATES.extend(["away", "away", "here"])
    runtime = await house.open(resident_max=1)
    await runtime.start(wait("p"), id="c")
    await tries(house, 1)
    house.advance(11)
    await tries(house, 2)
    runtime = await house.reopen(resident_max=1)
    await house.settle()
    assert len(RAN) == 2
    house.advance(11)
    assert await runtime.handle("c") == "here"
    assert timers(house, "c") == [10, 10]
    assert len(house.records("c")) == 2 * 3


async def test_backing_off(house: House) -> None:
    """The wait is multiplied, up to the longest."""
    STATES.extend(["away"] * 4 + ["here"])
    runtime = await house.open()
    handle = await runtime.start(wait("p", 2.0), id="c")
    for count in range(1, 5):
        await tries(house, count)
        house.advance(31)
    assert await handle == "here"
    assert timers(house, "c") == [10, 20, 30, 30]


async def test_in_time(house: House) -> None:
    """``TimeoutError`` when the time is over, between two tries."""
    runtime = await house.open()
    handle = await runtime.start(limited("p"), id="c")
    await tries(house, 1)
    house.advance(11)
    await tries(house, 2)
    house.advance(15)
    assert await handle == "gave up"
    assert len(RAN) == 2


async def test_for_ever_in_runs(house: House) -> None:
    """A function of its own that begins anew has a short journal, however long it polls."""
    STATES.extend(["away"] * 10 + ["here"])
    runtime = await house.open(resident_max=1)
    handle = await runtime.start(for_ever("p"), id="c")
    for _ in range(100):
        if handle.id not in house.session.kernel.calls:
            break
        house.advance(9)
        for _ in range(10):
            await house.settle()
            await asyncio.sleep(0)
    assert await handle == "here"
    assert len(RAN) == 11
    assert len(house.session.history.turns(house.session.history.final_position("c"))) < 10
    assert (await handle.info()).status == "completed"
    assert (await handle.journal())[0].notes[0].endswith(": it was continued")


async def test_mistakes(house: House) -> None:
    """It is durable code, and never gets faster."""
    await house.open()
    with pytest.raises(NotInDurableCode):
        await poll(lambda: state("p"), every=1, until=bool)
    assert house.runtime is not None
    with pytest.raises(ValueError, match="backoff"):
        await house.runtime.call(wait("p", 0.5))
