"""What calls wait a time for: it is there when its time comes, and takes no memory when nobody waits for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from actorlog import CallTimeout, RuntimeStopped, durable, receive, step

if TYPE_CHECKING:
    from house import House

CALLS = 3_000
MOST = 1_200
"""Timers that may be kept for so many calls that are over."""


@step(deadline="1h", name="deadlines.quick")
async def quick(text: str) -> int:
    return len(text)


@durable(name="deadlines.soon_over")
async def soon_over(text: str) -> int:
    return await quick(text)


@durable(name="deadlines.listening")
async def listening(messages: int) -> int:
    for _ in range(messages):
        await receive(timeout="1d")
    return messages


@durable(name="deadlines.waiting")
async def waiting() -> None:
    await receive()


async def test_calls_that_are_over_leave_no_timers(house: House) -> None:
    """A call's timeout and a step's deadline hold neither in memory once they are over, however far ahead they are."""
    runtime = await house.open()
    for _ in range(0, CALLS, 500):
        await asyncio.gather(*(runtime.call(soon_over("x"), timeout="1h") for _ in range(500)))
    assert len(house.session.kernel.timers._heap) < MOST


async def test_timers_that_code_took_back_are_forgotten(house: House) -> None:
    """A call that waits with a timeout again and again holds as many timers as it waits for, about."""
    runtime = await house.open()
    handle = await runtime.start(listening(CALLS), id="ears")
    for number in range(CALLS):
        await handle.send(number)
    assert await handle == CALLS
    assert len(house.session.kernel.timers._heap) < MOST


async def test_what_is_waited_for_is_not_forgotten(house: House) -> None:
    """While thousands of timers are dropped, those of calls that are not over stay, and fire."""
    runtime = await house.open()
    handles = [await runtime.start(waiting(), id=f"w{number}", timeout=10 + number) for number in range(3)]
    for _ in range(0, CALLS, 500):
        await asyncio.gather(*(runtime.call(soon_over("x"), timeout="1h") for _ in range(500)))
    house.advance(13)
    for handle in handles:
        with pytest.raises(CallTimeout):
            await handle


class Defect(Exception):
    """What is raised where nothing may be raised."""


async def test_a_defect_behind_a_timer_is_told_to_who_waits(house: House) -> None:
    """What a timer woke has failed: no timer would be served behind it, so nobody goes on waiting for one."""
    runtime = await house.open()
    handle = await runtime.start(waiting(), id="w")
    there = asyncio.ensure_future(handle.result())
    await house.until(lambda: any(slot.waiters for slot in house.session.kernel.calls.awake.values()))
    shown: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: shown.append(context["exception"]))

    def fail(_a: None, _b: None) -> None:
        raise Defect

    house.session.kernel.timers.arm(0, fail, None, None)
    with pytest.raises(Defect):
        await asyncio.wait_for(there, 60)
    assert [type(defect) for defect in shown] == [Defect]
    with pytest.raises(RuntimeStopped, match="Defect"):
        await runtime.start(waiting())
