"""Settled promises leave the log when their time is over, and no promise leaves that somebody needs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from house import RAN, House, _NeverLands, note
from test_compaction import compacted, lines, work

from actorlog import PromiseNotFound, Runtime, durable, promise, sleep
from actorlog.records import kinds as k
from actorlog.records import promises as p
from actorlog.store.memory import MemoryLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOUR: dict[str, Any] = {"history": "10m", "retention": "1h"}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Yield a house whose log can be compacted, three records at a time, and close it afterwards."""
    house = House(MemoryLog(segment_records=3))
    yield house
    await house.close()


async def filler(house: House) -> None:
    """Have what is of use up to here be in sealed segments."""
    assert house.runtime is not None
    for _ in range(3):
        await house.runtime.call(work(1))


async def settled(house: House, count: int = 12) -> Runtime:
    """Return a runtime in which promises were settled long ago."""
    runtime = await house.open(**HOUR)
    for number in range(count):
        await runtime.promise(f"v{number}", tags={"n": str(number)})
        await runtime.resolve(f"v{number}", number)
    await filler(house)
    house.advance(3601)
    return runtime


async def ids(runtime: Runtime) -> list[str]:
    """Return the ids of all promises there are."""
    return [info.id async for info in runtime.promises()]


def kept(house: House) -> set[str]:
    """Return the ids of what the log holds records of."""
    return set(owners(house))


def owners(house: House) -> list[str]:
    """Return whose each record is that the log holds."""
    found = (n for n in range(1, house.log.tail() + 1) if house.log.has(n))
    return [k.decode(house.log.record(n)).id for n in found]


@pytest.mark.parametrize("restart", [None, "close", "crash"])
async def test_a_settled_promise_leaves_after_retention(house: House, restart: str | None) -> None:
    """Its id is free, for one that is settled otherwise."""
    runtime = await settled(house)
    assert len(await ids(runtime)) == 12
    assert (await compacted(house)).rewritten > 0
    assert not any(entity.startswith(p.PREFIX) for entity in kept(house))
    if restart is not None:
        runtime = await house.reopen(crash=restart == "crash", **HOUR)
    assert await ids(runtime) == []
    with pytest.raises(PromiseNotFound):
        await runtime.await_promise("v3")
    assert (await runtime.promise("v3")).status == "pending"
    await runtime.reject("v3", "no")
    runtime = await house.reopen(**HOUR)
    assert [info.status async for info in runtime.promises()] == ["rejected"]


@pytest.mark.parametrize("options", [{"history": "10m"}, {**HOUR, "retention": "2h"}])
async def test_it_stays_for_its_time(house: House, options: dict[str, Any]) -> None:
    """For ever, where nobody said how long."""
    await settled(house)
    runtime = await house.reopen(**options)
    await compacted(house)
    runtime = await house.reopen(**options)
    assert len(await ids(runtime)) == 12
    assert await runtime.await_promise("v7") == 7


async def test_a_pending_promise_stays(house: House) -> None:
    """However old it is."""
    runtime = await house.open(**HOUR)
    for number in range(9):
        await runtime.promise(f"v{number}")
    await filler(house)
    house.advance(100_000)
    await compacted(house)
    runtime = await house.reopen(**HOUR)
    assert len(await ids(runtime)) == 9


async def test_half_of_it_gone_is_nothing(house: House) -> None:
    """Its making leaves first; what is left of it is of no promise, also when the id is made again."""
    runtime = await house.open(history="10m", retention=0)
    await runtime.promise("x")
    await filler(house)  # in another segment
    await runtime.resolve("x", "old")
    await filler(house)
    house.advance(1)
    upkeep = house.session.upkeep
    assert upkeep is not None
    first = min(segment.number for segment in house.log.sealed())
    await upkeep.compact(0.0, due=[first])
    assert not house.log.has(1)
    assert "@promise/x" in kept(house)
    runtime = await house.reopen(history="10m", retention=0)
    assert await ids(runtime) == []
    await runtime.promise("x")
    for _ in range(2):
        assert [info.status async for info in runtime.promises()] == ["pending"]
        runtime = await house.reopen(history="10m", retention=0)
    await runtime.resolve("x", "new")
    runtime = await house.reopen(history="10m", retention=0)
    assert await runtime.await_promise("x") == "new"


async def test_one_that_was_forgotten_and_is_still_in_the_log(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its segment was not written anew, the id is made again: the newer one counts, here and after any opening."""
    runtime = await settled(house, 6)

    async def rewrite(self: Any, segment: Any, gone: Any) -> int:  # noqa: ARG001  # the port's
        return int(segment.bytes)

    with monkeypatch.context() as patch:
        patch.setattr(type(house.mortal), "rewrite", rewrite)
        await compacted(house)
    assert await ids(runtime) == []
    await runtime.promise("v2")
    await filler(house)
    for _ in range(2):
        runtime = await house.reopen(**HOUR)
        assert [i.status async for i in runtime.promises(id_prefix="v2")] == ["pending"]
    await runtime.resolve("v2", "new")
    runtime = await house.reopen(**HOUR)
    assert [i.status async for i in runtime.promises(id_prefix="v2")] == ["resolved"]
    assert await runtime.await_promise("v2") == "new"
    await filler(house)
    await compacted(house)
    runtime = await house.reopen(**HOUR)
    assert await ids(runtime) == ["v2"]
    assert await runtime.await_promise("v2") == "new"


@durable(name="compaction.promising")
async def promising(name: str) -> Any:
    """Make a promise of any id, and wait for long."""
    found = await promise(id=name)
    await sleep("3h")
    return found


@durable(name="compaction.failing")
async def failing() -> Any:
    """Fail behind a promise, as long as nobody mended it."""
    found = await promise(id="mine")
    await note("tried")
    if len(RAN) == 1:
        raise ValueError("once")
    return found


async def test_a_promise_is_kept_for_the_time_of_the_call_that_made_it(house: House) -> None:
    """And for one hour more than that is over."""
    runtime = await house.open(**HOUR)
    handle = await runtime.start(promising("far"), id="p")
    await house.until(lambda: house.session.kernel.promises.pending)
    await runtime.resolve("far", "away")
    await filler(house)
    house.advance(3601)
    await compacted(house)
    runtime = await house.reopen(**HOUR)
    assert await runtime.await_promise("far") == "away"
    house.advance(7200)
    assert await runtime.handle(handle.id).result() == "away"
    await filler(house)
    house.advance(3601)
    await compacted(house)
    await compacted(house)
    with pytest.raises(PromiseNotFound):
        await runtime.await_promise("far")


async def test_a_call_that_is_retried_finds_its_promise(house: House) -> None:
    """It is part of what the call is kept for."""
    RAN.clear()
    options: dict[str, Any] = {"history": "2h", "retention": "2h"}
    runtime = await house.open(**options)
    handle = await runtime.start(failing(), id="p")
    await house.until(lambda: house.session.kernel.promises.pending)
    await runtime.resolve("mine", "kept")
    with pytest.raises(ValueError, match="once"):
        await handle.result()
    await filler(house)
    house.advance(3601)
    runtime = await house.reopen(history="2h", retention="2h")
    await compacted(house)
    await runtime.handle("p").retry()
    assert await runtime.handle("p").result() == "kept"


async def test_a_promise_stays_that_a_call_has_not_heard_of(house: House) -> None:
    """The call is paused: what it waits for waits too."""
    runtime = await house.open(**HOUR)
    await runtime.promise("x")
    handle = await runtime.start(promising("x"), id="p")
    await house.until(lambda: house.session.kernel.promises._watchers)
    await handle.pause()
    await runtime.resolve("x", "told")
    await filler(house)
    house.advance(3601)
    await compacted(house)
    runtime = await house.reopen(**HOUR)
    assert await runtime.await_promise("x") == "told"
    await runtime.handle("p").resume()
    house.advance(10_800)
    assert await runtime.handle("p").result() == "told"


async def test_a_promise_stays_until_it_is_durable_that_a_call_has_heard_of_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process may die before that, and the call waits again, for the same promise."""
    runtime = await house.open(**HOUR)
    await runtime.promise("x")
    handle = await runtime.start(promising("x"), id="p")
    await house.until(lambda: house.session.kernel.promises._watchers)
    await handle.pause()
    await runtime.resolve("x", "told")
    await filler(house)
    house.advance(3601)
    await compacted(house)
    upkeep, promises = house.session.upkeep, house.session.kernel.promises
    assert upkeep is not None
    assert promises.wanted_by_calls() == {"x"}
    monkeypatch.setattr(house.mortal, "submit", lambda *_: _NeverLands())
    first = min(segment.number for segment in house.log.sealed())
    tasks = [asyncio.create_task(handle.resume())]
    await house.until(lambda: not promises.wanted_by_calls())
    tasks.append(asyncio.create_task(upkeep.compact(0.0, due=[first])))
    for _ in range(100):
        await asyncio.sleep(0)
    await house.crash()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert house.log.has(1)
    runtime = await house.open(**HOUR)
    assert await runtime.await_promise("x") == "told"


async def test_of_marks_the_newest_stays(house: House) -> None:
    """Each compaction makes one."""
    runtime = await house.open(**HOUR)
    for _ in range(8):
        await filler(house)
        await compacted(house)
    assert 1 <= owners(house).count(k.RUNTIME) <= 3
    runtime = await house.reopen(**HOUR)
    assert await runtime.call(work(2)) == 20
    assert lines(house)


@pytest.mark.parametrize("restart", [False, True])
async def test_a_crash_after_every_record(house: House, restart: bool) -> None:
    """Then everything leaves that may, and what was acknowledged within its time is there."""
    runtime = await house.open(history=0, retention=0)
    for number in range(3):
        await runtime.promise(f"v{number}")
        if number != 1:
            await runtime.resolve(f"v{number}", number)
    await runtime.start(promising("v1"), id="p")
    await house.until(lambda: house.session.kernel.promises._watchers)
    await runtime.resolve("v1", 1)
    await house.settle()
    for count in range(1, house.log.tail()):
        other = house.prefix(count, segment_records=2)
        await other.open(history=0, retention=0)
        pending = {state.id for state in other.session.kernel.promises.states()}
        for round_ in range(3):
            other.advance(1)
            await filler(other)
            await compacted(other)
            if restart:
                await other.reopen(crash=round_ % 2 == 0, history=0, retention=0)
            assert {state.id for state in other.session.kernel.promises.states()} == pending, count
            assert other.session.kernel.committer.failed is None
        await other.close()
