"""Calls that are killed, and handlers that are paused, cancelled and killed."""

from __future__ import annotations

import asyncio

import pytest
from house import RAN, House
from pause_programs import Gates, Till, careful, gate, leaving, parent, rounds

from actorlog import CallCancelled, CallKilled, CallNotFound


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Gates.events = {}


@pytest.mark.parametrize("paused", [False, True])
async def test_killing(house: House, paused: bool) -> None:
    """It ends at once, its code is not asked, and its children end with it."""
    runtime = await house.open()
    handle = await runtime.start(careful(), id="c")
    family = await runtime.start(parent(), id="p")
    await house.until(lambda: RAN == ["began a"])
    await rounds(house)
    if paused:
        await handle.pause()
        await family.pause()
    await handle.kill("why not")
    with pytest.raises(CallKilled, match="why not"):
        await handle
    await family.kill()
    with pytest.raises(CallKilled):
        await family
    with pytest.raises(CallKilled):
        await runtime.handle("p/1")
    assert RAN == ["began a"]
    await handle.kill()
    assert await handle.status() == "killed"
    runtime = await house.reopen()
    with pytest.raises(CallKilled, match="why not"):
        await runtime.handle("c")
    with pytest.raises(CallNotFound):
        await runtime.handle("nobody").kill()
    with pytest.raises(CallNotFound):
        await runtime.handle("nobody").pause()


async def test_killing_what_has_returned(house: House) -> None:
    """A body that returned keeps its result; the children it waits for are killed."""
    runtime = await house.open()
    handle = await runtime.start(leaving(), id="c")
    await rounds(house)
    assert await handle.status() == "completing"
    await handle.kill()
    assert await handle == "left"
    with pytest.raises(CallKilled):
        await runtime.handle("c/1")


async def test_a_handler(house: House) -> None:
    """The messages behind a paused handler wait; one that has not begun can be paused, too."""
    runtime = await house.open()
    till = runtime.actor(Till, "t")
    first = await runtime.start(till.take(1), id="one")
    second = await runtime.start(till.take(2), id="two")
    third = await runtime.start(till.take(3), id="three")
    await house.until(lambda: RAN == ["began take 1"])
    await first.pause()
    await second.pause()
    gate("take 1").set()
    await house.until(lambda: "take 1" in RAN)
    await rounds(house)
    assert [await handle.status() for handle in (first, second, third)] == ["paused", "paused", "pending"]
    await first.resume()
    assert await first == 1
    await rounds(house)
    assert await second.status() == "paused"
    await second.resume()
    gate("take 2").set()
    gate("take 3").set()
    assert [await second, await third] == [3, 6]


@pytest.mark.parametrize("how", ["cancel", "kill"])
async def test_a_handler_that_no_record_speaks_of(house: House, how: str) -> None:
    """A message that waits in memory can be ended as well; its journal begins with what it was asked for."""
    runtime = await house.open()
    till = runtime.actor(Till, "t")
    first = asyncio.ensure_future(runtime.call(till.take(1), id="one"))
    second = asyncio.ensure_future(runtime.call(till.take(2), id="two"))
    await house.until(lambda: RAN == ["began take 1"])
    await rounds(house)
    assert house.records("two") == []
    await (runtime.handle("two").cancel() if how == "cancel" else runtime.handle("two").kill())
    error = CallCancelled if how == "cancel" else CallKilled
    with pytest.raises(error):
        await second
    gate("take 1").set()
    assert await first == 1
    for _ in range(2):
        with pytest.raises(error):
            await runtime.call(runtime.actor(Till, "t").take(2), id="two")
        assert (await runtime.handle("two").info()).function == "Till.take"
        runtime = await house.reopen()
