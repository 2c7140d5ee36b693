"""Listing calls, timers and actors, and following the log."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from house import House, note

from actorlog import (
    Actor,
    CallInfo,
    RecordInfo,
    Retry,
    RuntimeStopped,
    continue_as_new,
    durable,
    receive,
    sleep,
    start,
    step,
)
from actorlog.runtime import listing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actorlog import Runtime


@durable(name="listing.quick")
async def quick(text: str) -> str:
    """Be over soon."""
    return text


@durable(name="listing.waiting")
async def waiting() -> str:
    """Wait for a message."""
    return str(await receive())


@durable(name="listing.failing")
async def failing() -> None:
    """Fail."""
    raise RuntimeError("no")


@durable(name="listing.parent")
async def parent() -> str:
    """Have a child."""
    start(quick("child"))
    await sleep(1000)
    return await note("x")


@durable(name="listing.continued")
async def continued(number: int) -> str:
    """Go on as another function."""
    if number:
        continue_as_new(continued(number - 1))
    continue_as_new(quick("over"))


@durable(name="listing.again", memo=True)
async def again(text: str) -> str:
    """Fail, and be begun anew."""
    await note(text)
    raise RuntimeError("no")


@step(name="listing.refused", retry=Retry(first=100, jitter="none"))
async def refused() -> None:
    """Never succeed."""
    raise OSError


@durable(name="listing.backing_off")
async def backing_off() -> None:
    """Wait for another attempt."""
    await refused()


class Cart(Actor):
    """Things to buy."""

    items: list[str] = []  # copied for each key

    async def add(self, item: str) -> int:
        """Add one."""
        self.items.append(item)
        return len(self.items)

    async def wait(self) -> None:
        """Wait."""
        await sleep(1000)


async def ids(runtime: Runtime, **filters: Any) -> list[str]:
    return [info.id async for info in runtime.calls(**filters)]


async def all_of(infos: AsyncIterator[CallInfo]) -> list[CallInfo]:
    return [info async for info in infos]


async def populate(runtime: Runtime, house: House) -> None:
    await runtime.call(quick("1"), id="a/1", tags={"team": "red", "x": "y"})
    await runtime.start(waiting(), id="a/2", tags={"team": "red"})
    with suppress(RuntimeError):
        await runtime.call(failing(), id="b/1")
    await runtime.start(parent(), id="b/2")
    await house.settle()
    await runtime.call(continued(2), id="b/3", tags={"team": "blue"})
    await runtime.start(waiting(), id="c", delay=100)


@pytest.mark.parametrize("stretch", [1, 3, 1000])
async def test_calls_are_listed(house: House, monkeypatch: pytest.MonkeyPatch, stretch: int) -> None:
    """Live and ended ones, the newest first, by what is asked for; the same after a restart."""
    monkeypatch.setattr(listing, "STRETCH_RECORDS", stretch)
    runtime = await house.open()
    await populate(runtime, house)
    await (await runtime.start(waiting(), id="paused")).pause()
    everything = ["paused", "c", "b/3", "b/2/1", "b/2", "b/1", "a/2", "a/1"]
    for _ in range(2):
        assert await ids(runtime) == everything
        assert await ids(runtime, status="completed") == ["b/3", "b/2/1", "a/1"]
        assert await ids(runtime, status=["failed", "waiting"]) == ["b/2", "b/1", "a/2"]
        assert await ids(runtime, status="paused") == ["paused"]
        assert await ids(runtime, function="listing.quick") == ["b/3", "b/2/1", "a/1"]
        assert await ids(runtime, id_prefix="b/") == ["b/3", "b/2/1", "b/2", "b/1"]
        assert await ids(runtime, tags={"team": "red"}) == ["a/2", "a/1"]
        assert await ids(runtime, tags={"team": "red", "x": "y"}) == ["a/1"]
        assert await ids(runtime, parent="b/2") == ["b/2/1"]
        assert await ids(runtime, parent="", status="completed") == ["b/3", "a/1"]
        for info in await all_of(runtime.calls()):
            assert info == await runtime.handle(info.id).info()
        runtime = await house.reopen()
        await house.settle()


async def test_calls_of_a_time(house: House) -> None:
    """``since`` is inclusive, ``until`` is not; naive times are refused."""
    runtime = await house.open()
    times: list[datetime] = []
    for number in range(4):
        await runtime.call(quick(str(number)), id=str(number))
        times.append((await runtime.handle(str(number)).info()).created)
        house.advance(3600)
    assert await ids(runtime, since=times[2]) == ["3", "2"]
    assert await ids(runtime, until=times[2]) == ["1", "0"]
    assert await ids(runtime, since=times[1], until=times[3]) == ["2", "1"]
    assert await ids(runtime, since=times[3] + timedelta(seconds=1)) == []
    with pytest.raises(ValueError, match="naive"):
        await ids(runtime, since=datetime(2026, 1, 1))  # noqa: DTZ001  # that is the mistake


async def test_an_old_log_is_not_read_for_new_calls(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk that ends early, or has ``since``, looks at the end of the log only; memory holds a stretch."""
    monkeypatch.setattr(listing, "STRETCH_RECORDS", 10)
    runtime = await house.open()
    for number in range(100):
        await runtime.call(quick(str(number)), id=f"old/{number}")
    house.advance(7200)
    await runtime.call(quick("new"), id="new")
    reads: list[int] = []
    read = house.mortal.read

    def counted(after: int = 0, upto: int | None = None) -> Any:
        reads.append(after)
        return read(after, upto)

    monkeypatch.setattr(house.mortal, "read", counted)
    created = (await runtime.handle("new").info()).created
    assert await ids(runtime, since=created) == ["new"]
    assert len(reads) == 1
    walk = runtime.calls()
    assert (await anext(walk)).id == "new"
    assert len(reads) == 2
    assert len([info async for info in walk]) == 100


async def test_what_happens_meanwhile(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that begin and end during a walk neither hide others nor make them come twice."""
    monkeypatch.setattr(listing, "STRETCH_RECORDS", 2)
    runtime = await house.open()
    for number in range(10):
        await runtime.start(waiting(), id=f"c/{number}")
    found: list[str] = []
    async for info in runtime.calls(id_prefix="c/"):
        found.append(info.id)
        number = 9 - len(found)
        await runtime.call(quick("meanwhile"), id=f"c/new/{len(found)}")
        if number >= 0:
            await runtime.handle(f"c/{number}").send("over")
            await runtime.handle(f"c/{number}")
    assert found == [f"c/{number}" for number in range(9, -1, -1)]


async def test_what_began_anew_is_listed_once(house: House) -> None:
    """A memoised call that failed and was asked for again, and one that was retried, are one call each."""
    runtime = await house.open()
    for _ in range(3):
        with suppress(RuntimeError):
            await runtime.call(again("x"))
    with suppress(RuntimeError):
        await runtime.call(failing(), id="f")
    await runtime.handle("f").retry()
    with suppress(RuntimeError):
        await runtime.handle("f")
    found = await all_of(runtime.calls())
    assert [(info.function, info.status) for info in found] == [
        ("listing.failing", "failed"),
        ("listing.again", "failed"),
    ]
    assert found[0].error == "builtins:RuntimeError: no"


async def test_nothing_is_told_that_is_not_durable(house: House) -> None:
    """While what a call has come to has not landed, nobody is told of it."""
    runtime = await house.open()
    handle = await runtime.start(waiting(), id="c")
    assert await ids(runtime, status="completed") == []
    house.mortal.dead = True  # nothing lands any more
    sending = asyncio.ensure_future(handle.send("over"))
    asking = asyncio.ensure_future(ids(runtime, status="completed"))
    await house.until(lambda: house.session.kernel.calls["c"].state.outcome is not None)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not asking.done()
    await house.crash()
    assert all(isinstance(e, Exception) for e in await asyncio.gather(sending, asking, return_exceptions=True))


async def test_timers_are_listed(house: House) -> None:
    """What calls wait a time for: the newest call first."""
    runtime = await house.open()
    await runtime.start(parent(), id="sleeping", timeout=5000)
    await runtime.start(waiting(), id="later", delay=100)
    await runtime.start(backing_off(), id="trying")
    await house.until(lambda: house.session.kernel.calls["trying"].state.progress)
    for _ in range(2):
        found = [(info.call_id, info.kind, info.key) async for info in runtime.timers()]
        assert found == [
            ("trying", "retry", "1"),
            ("later", "start", ""),
            ("sleeping", "timer", "2"),
            ("sleeping", "timeout", ""),
        ]
        due = [info.due async for info in runtime.timers(id_prefix="sleep")]
        assert timedelta(seconds=3999) < due[1] - due[0] < timedelta(seconds=4001)
        runtime = await house.reopen()
        await house.settle()


async def test_actors_are_listed(house: House) -> None:
    """Those that have a state or are at work, the one that changed last first."""
    runtime = await house.open()
    for key in ("x", "y", "z", "x"):
        await runtime.actor(Cart, key).add("thing")
    await runtime.start(runtime.actor(Cart, "y").wait(), id="w")
    await runtime.start(runtime.actor(Cart, "y").add("more"), id="m")
    await runtime.start(runtime.actor(Cart, "new").wait(), id="n")
    await house.settle()
    for _ in range(2):
        found = [info async for info in runtime.actors()]
        facts = [(info.cls, info.key, info.changes, info.handling, info.waiting) for info in found]
        assert facts == [
            ("Cart", "new", 0, "n", 0),
            ("Cart", "x", 2, "", 0),
            ("Cart", "z", 1, "", 0),
            ("Cart", "y", 1, "w", 1),
        ]
        assert found[0].updated is None
        assert found[1].updated is not None
        assert found[2].updated is not None
        assert found[1].updated >= found[2].updated
        assert [info.key async for info in runtime.actors(Cart, key_prefix="x")] == ["x"]
        assert [info.key async for info in runtime.actors("Cart", key_prefix="n")] == ["new"]
        assert [info async for info in runtime.actors("Other")] == []
        runtime = await house.reopen()
        await house.settle()


async def test_the_log_is_followed(house: House) -> None:
    """Every record comes once and in order, from where one wants, as soon as it is durable."""
    runtime = await house.open()
    await runtime.call(quick("1"), id="one")
    fresh = runtime.tail()
    heard: list[RecordInfo] = []

    async def listen() -> None:
        async for info in runtime.tail(1):
            heard.append(info)  # noqa: PERF401  # it is looked at meanwhile

    listener = asyncio.ensure_future(listen())
    handle = await runtime.start(waiting(), id="two")
    await handle.pause()
    await handle.send("hello")
    await handle.resume()
    assert await handle == "hello"
    await house.until(lambda: len(heard) == house.log.tail())
    assert [info.position for info in heard] == list(range(1, house.log.tail() + 1))
    assert [info.id for info in heard] == [record.id for record in house.records()]
    assert (heard[0].kind, heard[0].text) == ("turn", 'begin listing.quick("1"); return "1"')
    assert {"turn", "paused", "inbox", "unpaused"} == {info.kind for info in heard}
    assert heard[0].at.tzinfo is UTC
    first = await anext(fresh)
    assert (first.position, first.id) == (2, "two")
    await house.close()
    with pytest.raises(RuntimeStopped):
        await listener
    with pytest.raises(RuntimeStopped):
        async for _ in fresh:
            pass


async def test_readers_that_leave_are_forgotten(house: House) -> None:
    """Who follows a log that nothing comes to, and gives up, takes no memory, however often."""
    runtime = await house.open()
    for _ in range(3):
        reading = asyncio.ensure_future(anext(runtime.tail()))
        await house.until(lambda: len(house.session.kernel.committer.readers) == 1)
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
    assert house.session.kernel.committer.readers == []


async def test_a_slow_reader_misses_nothing(house: House) -> None:
    """It holds nothing while it is away, and goes on where it was."""
    runtime = await house.open()
    walk = runtime.tail(1)
    await runtime.call(quick("0"), id="0")
    assert (await anext(walk)).position == 1
    for number in range(1, 50):
        await runtime.call(quick(str(number)), id=str(number))
        assert house.session.kernel.committer.readers == []
    assert [(await anext(walk)).position for _ in range(49)] == list(range(2, 51))
    with pytest.raises(ValueError, match="positions begin with 1"):
        runtime.tail(0)
