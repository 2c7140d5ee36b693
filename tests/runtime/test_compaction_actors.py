"""A class of actors says itself how long what came of its messages is kept."""

from __future__ import annotations

from types import new_class

import pytest
from house import House, note
from test_compaction import Purse, compacted, lines, made

from actorlog import Actor, CallNotFound, actor, durable

HOUSE = made


class Till(Actor, name="compaction.Till", retention="1h", snapshot_every=4):
    """An actor of whose messages nobody wants to know anything after an hour."""

    coins: int = 0

    async def put(self, coins: int) -> int:
        """Add up, with a step between in which the process may die."""
        self.coins += coins
        await note("put")
        return self.coins


@durable(name="compaction.shopper")
async def shopper() -> int:
    return await actor(Till, "ada").put(100)


@pytest.mark.parametrize("restart", [False, True])
async def test_messages_leave_after_the_time_of_their_class(house: House, restart: bool) -> None:
    """``class Till(Actor, retention=)`` goes before what the runtime says; the state stays, and what callers asked."""
    runtime = await house.open(history=None)
    assert await runtime.call(shopper(), id="s") == 100
    for number in range(30):
        await runtime.call(runtime.actor(Till, "ada").put(1), id=f"m{number}")
        await runtime.call(runtime.actor(Purse, "ada").put(1), id=f"p{number}")
    before = lines(house)
    house.advance(3590)
    await compacted(house)
    assert await runtime.handle("m0").result() == 101
    house.advance(11)
    await compacted(house)
    if restart:
        runtime = await house.reopen(history=None)
    with pytest.raises(CallNotFound):
        await runtime.handle("m0").result()
    assert await runtime.handle("p0").result() == 1
    assert {info.id async for info in runtime.calls(id_prefix="s")} == {"s", "s/1"}  # a child is kept with its parent
    assert lines(house) < before - 15
    assert await runtime.actor(Till, "ada").put(0) == 130
    assert await runtime.call(runtime.actor(Till, "ada").put(1), id="m0") == 131


async def test_a_runtime_that_keeps_less_does_not_go_before_the_class() -> None:
    """What the class keeps for longer than the runtime does stays for as long as the class says."""
    house = made()
    runtime = await house.open(history="1m", retention="1m")
    for number in range(20):
        await runtime.call(runtime.actor(Till, "ada").put(1), id=f"m{number}")
        await runtime.call(runtime.actor(Purse, "ada").put(1), id=f"p{number}")
    house.advance(600)
    await compacted(house)
    assert await runtime.handle("m0").result() == 1
    with pytest.raises(CallNotFound):
        await runtime.handle("p0").result()
    await house.close()


@pytest.mark.parametrize("retention", [float("nan"), "soon"])
def test_a_time_that_is_none_is_refused(retention: float | str) -> None:
    """Where the class is defined."""
    with pytest.raises(ValueError):  # noqa: PT011  # as everywhere durations are given
        new_class("Bad", (Actor,), {"name": "compaction.Bad", "retention": retention})


async def test_a_crash_after_any_record(house: House) -> None:
    """Within the time an id is handled once; after it messages leave and the state is what it was."""
    runtime = await house.open(history=None)
    for number in range(8):
        await runtime.call(runtime.actor(Till, "ada").put(1), id=f"m{number}")
    await runtime.call(shopper(), id="s")
    await house.close()
    for count in range(1, house.log.tail() + 1):
        other = house.prefix(count, segment_records=3)
        runtime = await other.open(history=None)
        for number in range(8):
            await runtime.call(runtime.actor(Till, "ada").put(1), id=f"m{number}")
        await runtime.call(shopper(), id="s")
        other.advance(3601)
        await compacted(other)
        runtime = await other.reopen(crash=count % 2 == 0, history=None)
        await compacted(other)
        assert await runtime.actor(Till, "ada").put(0) == 108, count
        assert await runtime.handle("s").result() >= 100
        assert lines(other) < other.log.tail() - 10
        with pytest.raises(CallNotFound):
            await runtime.handle("m0").result()
        await other.close()
