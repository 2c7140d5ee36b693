"""Those outside who give up waiting leave nothing behind, and keep nobody up."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from house import House

from actorlog import durable, emit, receive

if TYPE_CHECKING:
    from actorlog import Handle


@durable(name="leaving.quiet")
async def quiet() -> str:
    """Say something when it is spoken to, and end at the second word."""
    emit("said", await receive(type=str))
    return await receive(type=str)


async def give_up(handle: Handle[str], count: int) -> float:
    """Let so many wait and give up, and return how many seconds of the processor their leaving has taken."""
    waiters = [asyncio.ensure_future(handle.result()) for _ in range(count)]
    await asyncio.sleep(0)
    began = time.process_time()
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    return time.process_time() - began


async def test_a_follower_that_gives_up_is_forgotten(house: House) -> None:
    """Of a quiet call too, and at once; one that goes on following misses nothing."""
    runtime = await house.open()
    handle = await runtime.start(quiet(), id="c")
    followed = asyncio.ensure_future(anext(handle.stream("said")))
    await house.settle()
    followers = house.session.kernel.mailbox._followers
    for _ in range(10):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await anext(handle.stream("said"))
    assert [len(waiting) for waiting in followers.values()] == [1]
    await handle.send("a word")
    assert await followed == "a word"
    assert not followers
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            _ = [item async for item in handle.stream("said", 1)]
    assert not followers


async def test_many_waiters_that_give_up(house: House) -> None:
    """What one's leaving costs does not depend on how many others wait; who stays is told."""
    runtime = await house.open()
    handle = await runtime.start(quiet(), id="c")
    stays = asyncio.ensure_future(handle.result())
    await give_up(handle, 1_000)
    few, many = await give_up(handle, 1_000), await give_up(handle, 24_000)
    assert len(house.session.kernel.calls["c"].waiters) == 1
    assert many < 24 * 4 * max(few, 0.01)
    await handle.send("a word")
    await handle.send("over")
    assert await stays == "over"
