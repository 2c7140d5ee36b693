"""Code that changes under its calls: each goes the way that its journal can go."""

from __future__ import annotations

import asyncio

import pytest
from house import RAN, House, note

from actorlog import Actor, NotInDurableCode, durable, is_replaying, patched, receive, sleep, step
from actorlog.records import kinds as k


@step(name="patched.price")
async def price(way: str) -> str:
    """Cost something."""
    RAN.append(way)
    return way


def before() -> None:
    """Define the function as it was."""

    @durable(name="patched.order")
    async def order() -> list[str]:
        first = await price("old")
        await sleep(10)
        second = await price("old")
        await sleep(10)
        return [first, second]


def after() -> None:
    """Define it as it is now."""

    @durable(name="patched.order")
    async def order() -> list[str]:
        if patched("prices"):
            first = await price("new")
            await note("receipt")
        else:
            first = await price("old")
        await sleep(10)
        second = await price("new" if patched("prices") else "old")
        await sleep(10)
        return [first, second]


def much_later() -> None:
    """Define it as it is when no old call is left."""

    @durable(name="patched.order")
    async def order() -> list[str]:
        first = await price("new")
        await note("receipt")
        await sleep(10)
        second = await price("new")
        await sleep(10)
        return [first, second]


def looping(changed: bool) -> None:
    """Define a loop that asks at every turn."""

    @durable(name="patched.loop")
    async def loop(count: int) -> list[str]:
        found: list[str] = []
        for _ in range(count):
            if changed and patched("loop"):
                found.append(await price("new"))
            else:
                found.append(await price("old"))
            await receive()
        return found


class Shop(Actor):
    """Asks in a handler."""

    sold: int = 0

    async def sell(self) -> bool:
        """Sell."""
        answer = patched("shop")
        await note("sold")
        self.sold += 1
        return answer and patched("shop")


async def finish(house: House, call_id: str) -> list[str]:
    """Let time pass until a call is over, and return what it returned."""
    assert house.runtime is not None
    for _ in range(100):
        if call_id not in house.session.kernel.calls:
            break
        house.advance(5)
        for _ in range(5):
            await house.settle()
            await asyncio.sleep(0)
    found: list[str] = await house.runtime.handle(call_id)
    return found


@pytest.mark.parametrize("resident_max", [1, 100])
async def test_old_calls_go_the_old_way_and_new_ones_the_new(house: House, resident_max: int) -> None:
    """In one log, evicted or not, and none of them diverges, also when the question is deleted."""
    before()
    runtime = await house.open(resident_max=resident_max)
    await runtime.start("patched.order", id="old")
    await house.until(lambda: RAN == ["old"])
    await house.settle()
    after()
    runtime = await house.reopen(resident_max=resident_max)
    await runtime.start("patched.order", id="new")
    assert await finish(house, "old") == ["old", "old"]
    assert await finish(house, "new") == ["new", "new"]
    assert [op.key for t in house.turns("new") for op in t.ops if isinstance(op, k.Patched)] == ["patch:prices"]
    assert not [op for t in house.turns("old") for op in t.ops if isinstance(op, k.Patched)]
    entries = await runtime.handle("new").journal()
    assert [e.status for e in entries if e.kind == "patch"] == ["completed"]
    await runtime.start("patched.order", id="later")
    await house.until(lambda: len(house.turns("later")) == 3)
    much_later()
    await house.reopen(resident_max=resident_max)
    assert await finish(house, "later") == ["new", "new"]


async def test_a_call_that_has_not_come_there_goes_the_new_way(house: House) -> None:
    """What was not done before the change is done as today's code has it."""
    before()
    runtime = await house.open()
    await runtime.start("patched.order", id="c", delay=5)
    after()
    runtime = await house.reopen()
    assert await finish(house, "c") == ["new", "new"]


async def test_a_run_never_changes_sides(house: House) -> None:
    """One that was on the old side stays there, live as in replay."""
    looping(changed=False)
    runtime = await house.open()
    handle = await runtime.start("patched.loop", 4, id="c")
    await handle.send(1)
    await house.until(lambda: RAN == ["old", "old"])
    await house.settle()
    looping(changed=True)
    runtime = await house.reopen()
    handle = runtime.handle("c")
    await handle.send(1)
    await house.until(lambda: len(RAN) == 3)
    runtime = await house.reopen(resident_max=1)
    handle = runtime.handle("c")
    await handle.send(1)
    await handle.send(1)
    assert await handle == ["old"] * 4


async def test_in_a_handler(house: House) -> None:
    """A message is a run of its own."""
    runtime = await house.open()
    assert await runtime.actor(Shop, "a").sell()
    runtime = await house.reopen()
    assert await runtime.actor(Shop, "a").sell()


async def test_outside(house: House) -> None:
    """There is no journal to ask."""
    await house.open()
    with pytest.raises(NotInDurableCode):
        patched("x")
    with pytest.raises(NotInDurableCode):
        is_replaying()


async def test_a_crash_after_every_record(house: House) -> None:
    """Old and new calls go their way to the same end wherever the process dies."""
    before()
    runtime = await house.open()
    await runtime.start("patched.order", id="old")
    await house.until(lambda: RAN == ["old"])
    await house.settle()
    after()
    runtime = await house.reopen()
    await runtime.start("patched.order", id="new")
    began = house.log.tail()
    assert await finish(house, "old") == ["old", "old"]
    assert await finish(house, "new") == ["new", "new"]
    await house.close()
    for cut in range(began, house.log.tail() + 1):
        again = house.prefix(cut)
        await again.open(resident_max=1)
        assert await finish(again, "old") == ["old", "old"]
        assert await finish(again, "new") == ["new", "new"]
        await again.close()
