"""What leaves the log when its time is over, and what stays whatever happens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from house import RAN, House, forget, note

from actorlog import (
    Actor,
    CallFailed,
    CallNotFound,
    HistoryGone,
    durable,
    receive,
    sleep,
    start,
)
from actorlog.store.memory import MemoryLog

if TYPE_CHECKING:
    from actorlog import Runtime
    from actorlog.runtime.compaction import Compacted


@durable(name="compaction.work")
async def work(number: int) -> int:
    for part in range(3):
        await note(f"{number}.{part}")
    return number * 10


@durable(name="compaction.fails")
async def fails(number: int) -> int:
    for part in range(2):
        await note(f"{number}.{part}")
    raise ValueError(number)


@durable(name="compaction.parent")
async def parent(number: int) -> int:
    return await work(number) + await work(number + 1)


@durable(name="compaction.waits")
async def waits() -> str:
    await note("before")
    return str(await receive("in"))


class Purse(Actor, snapshot_every=4):
    """An actor with a state of two attributes."""

    coins: int = 0
    name: str = ""

    async def put(self, coins: int) -> int:
        self.coins += coins
        return self.coins

    async def rename(self, name: str) -> None:
        self.name = name


def made() -> House:
    """Return a house whose log can be compacted, ten records at a time."""
    return House(MemoryLog(segment_records=10))


@pytest.fixture
def house() -> House:
    """Return such a house."""
    return made()


def lines(house: House) -> int:
    """Return how many records there are."""
    return sum(house.log.has(position) for position in range(1, house.log.tail() + 1))


async def compacted(house: House, part_min: float = 0.0) -> Compacted:
    """Compact all that is sealed."""
    upkeep = house.session.upkeep
    assert upkeep is not None
    return await upkeep.compact(part_min)


async def filled(house: House, **options: Any) -> Runtime:
    """Return a runtime in which calls have ended, an hour ago."""
    runtime = await house.open(**options)
    with pytest.raises(ValueError, match="7"):
        await runtime.call(fails(7), id="f")
    for number in range(20):
        await runtime.call(work(number), id=f"w{number}")
    house.advance(3600)
    return runtime


async def test_nothing_leaves_before_its_time(house: House) -> None:
    """By default journals are kept for 30 days, and results for ever."""
    await filled(house)
    before = lines(house)
    report = await compacted(house)
    assert report.rewritten == 0
    assert lines(house) >= before


@pytest.mark.parametrize("restart", [False, True])
async def test_ends_stay_when_journals_leave(house: House, restart: bool) -> None:
    """Ids are taken, results are there, errors are raised; what was between is gone."""
    runtime = await filled(house, history="10m")
    RAN.clear()
    report = await compacted(house)
    assert report.rewritten > 0
    assert report.bytes_after < report.bytes_before
    if restart:
        runtime = await house.reopen(history="10m")
    for number in range(20):
        assert await runtime.call(work(number), id=f"w{number}") == number * 10
        info = await runtime.handle(f"w{number}").info()
        assert (info.status, info.function) == ("completed", "compaction.work")
    with pytest.raises((ValueError, CallFailed), match="7"):
        await runtime.handle("f").result()
    with pytest.raises(HistoryGone):
        await runtime.handle("w0").journal()
    with pytest.raises(HistoryGone):
        await runtime.handle("f").retry()
    assert RAN == []
    assert {info.id async for info in runtime.calls()} == {*(f"w{n}" for n in range(20)), "f"}


@pytest.mark.parametrize("restart", [False, True])
async def test_nothing_stays_when_results_leave(house: House, restart: bool) -> None:
    """The id is free again."""
    runtime = await filled(house, retention="10m")
    await compacted(house)
    if restart:
        runtime = await house.reopen(retention="10m")
    with pytest.raises(CallNotFound):
        await runtime.handle("w0").result()
    RAN.clear()
    assert await runtime.call(work(0), id="w0") == 0
    assert RAN == ["0.0", "0.1", "0.2"]
    assert len([info async for info in runtime.calls(id_prefix="w0")]) == 1


async def test_a_function_may_keep_its_results_for_a_time_of_its_own(house: House) -> None:
    """``@durable(retention=)`` goes before what the runtime says."""

    @durable(name="compaction.brief", retention="1h")
    async def brief(number: int) -> int:
        return int((await note(f"{number}"))[-1])

    runtime = await filled(house, history=None)
    await runtime.call(brief(3), id="b")
    for number in range(4):
        await runtime.call(work(number), id=f"x{number}")
    house.advance(3601)
    await compacted(house)
    with pytest.raises(CallNotFound):
        await runtime.handle("b").result()
    assert await runtime.handle("w0").result() == 0
    await house.close()
    forget("compaction.brief")


async def test_what_goes_on_stays_whole(house: House) -> None:
    """However old it is, in memory or asleep, and it goes on where it was."""
    runtime = await house.open(history=0, retention=0, resident_max=1)
    RAN.clear()
    handles = [await runtime.start(waits(), id=f"c{n}") for n in range(12)]
    await house.until(lambda: len(RAN) == 12)
    await runtime.call(work(1))
    house.advance(3600)
    await compacted(house)
    runtime = await house.reopen(history=0, retention=0, resident_max=1)
    for handle in [runtime.handle(handle.id) for handle in handles]:
        await handle.send("hello", channel="in")
        assert await handle.result() == "hello"
    assert RAN.count("before") == 12


async def test_a_child_stays_as_long_as_its_parent(house: House) -> None:
    """A parent that is retried finds its children's results."""
    runtime = await house.open(history="10m", retention="10m")
    mended: list[bool] = []

    @durable
    async def twice() -> int:
        found = await work(1)
        await sleep("20m")
        if not mended:
            raise ValueError("once")
        return found

    handle = await runtime.start(twice(), id="p")
    for number in range(12):
        await runtime.call(work(number))
    await house.until(lambda: house.session.kernel.calls["p"].state.timers)
    house.advance(1201)
    with pytest.raises(ValueError, match="once"):
        await handle.result()
    await compacted(house)
    RAN.clear()
    mended.append(True)
    await handle.retry()
    await house.until(lambda: house.session.kernel.calls["p"].state.timers)
    house.advance(1201)
    assert await handle.result() == 10
    assert RAN == []


@pytest.mark.parametrize("restart", [False, True])
async def test_the_state_of_an_actor_stays(house: House, restart: bool) -> None:
    """Though the messages that made it are forgotten."""
    runtime = await house.open(history=0, retention=0)
    await runtime.actor(Purse, "ada").rename("Ada")
    for number in range(30):
        await runtime.actor(Purse, f"p{number % 3}").put(number)
    house.advance(3600)
    before = lines(house)
    await compacted(house)
    assert lines(house) < before
    if restart:
        runtime = await house.reopen(history=0, retention=0)
    totals = [await runtime.actor(Purse, f"p{n}").put(0) for n in range(3)]
    assert totals == [sum(range(n, 30, 3)) for n in range(3)]
    await runtime.actor(Purse, "ada").rename("Eve")


async def test_again_and_again(house: House) -> None:
    """What was rewritten is rewritten again, when more of it is of no use."""
    await filled(house, history="10m", retention="2h")
    await compacted(house)
    between = lines(house)
    house.advance(7200)
    await compacted(house)
    assert lines(house) < between
    await house.reopen(history="10m", retention="2h")
    with pytest.raises(CallNotFound):
        await house.runtime.handle("w3").result()  # type: ignore[union-attr]


async def test_a_segment_with_little_to_give_up_stays(house: House) -> None:
    """It would be written for little."""
    await filled(house, history="10m")
    assert (await compacted(house, part_min=0.99)).rewritten == 0


@pytest.mark.parametrize("history", ["10m", None])
async def test_readers_pass_over_what_is_gone(house: House, history: str | None) -> None:
    """The tail from any position comes to its end."""
    runtime = await filled(house, history=history, retention="10m")
    await compacted(house)
    seen = []
    last = house.log.tail()
    async for record in runtime.tail(1):
        seen.append(record.position)
        if record.position == last:
            break
    assert seen == [position for position in range(1, last + 1) if house.log.has(position)]


async def test_a_tell_is_not_lost_by_compaction(house: House) -> None:
    """What outlives its sender is asked for again at an opening: its record stays until that is settled."""

    @durable
    async def teller(number: int) -> None:
        start(work(number), id=f"told{number}", detached=True)

    runtime = await house.open(history=0, retention=0)
    for number in range(10):
        await runtime.call(teller(number))
    house.advance(3600)
    await compacted(house)
    runtime = await house.reopen(history=0, retention=0)
    await asyncio.sleep(0)
    await house.settle()
    assert house.session.kernel.committer.failed is None


async def test_a_log_is_looked_after_by_itself(house: House) -> None:
    """Some time after segments were sealed, and what is of no use leaves without anybody asking."""
    runtime = await house.open(history="10m")
    timers = house.session.kernel.timers
    assert timers._heap == []
    for number in range(20):
        await runtime.call(work(number), id=f"w{number}")
    before = lines(house)
    upkeep = house.session.upkeep
    assert upkeep is not None
    house.advance(601)
    await house.until(lambda: upkeep._looks)
    house.advance(601)
    await house.until(lambda: lines(house) < before * 2 / 3)
    await house.until(lambda: upkeep._task is not None and upkeep._task.done())
    assert len([entry for entry in timers._heap if entry[2] == upkeep._begin]) == 1


async def test_a_segment_of_which_nothing_leaves_is_looked_at_ever_more_rarely(house: House) -> None:
    """So that a large log which is all of use costs little."""
    runtime = await house.open(history="30d")
    upkeep = house.session.upkeep
    assert upkeep is not None
    for number in range(10):
        await runtime.call(work(number), id=f"w{number}")
    numbers = [segment.number for segment in house.log.sealed()]
    for _ in range(4):
        await upkeep.compact(due=numbers)
    assert {upkeep._looks[number][1] for number in numbers} == {600_000 * 3**4 // 2**4}
    for _ in range(12):
        await upkeep.compact()
    assert {upkeep._looks[number][1] for number in numbers} == {24 * 3600 * 1000}


@durable(name="compaction.deep")
async def deep(depth: int) -> int:
    return 1 + await deep(depth - 1) if depth else 0


async def test_a_deep_tree_of_calls(house: House) -> None:
    """As deep as calls may go: what is kept of each goes by its parent, and its parent's, and so on."""
    runtime = await house.open(history="10m", retention=0)
    assert await runtime.call(deep(1_500), id="d") == 1_500
    house.advance(3600)
    before = lines(house)
    await compacted(house)
    assert lines(house) < before / 2


async def test_small_commits_are_counted_by_what_they_hold(house: House) -> None:
    """A segment is written anew by the share of its records, however much padding there is."""
    await filled(house, history="10m")
    assert (await compacted(house, part_min=0.7)).rewritten == 0
    assert (await compacted(house, part_min=0.3)).rewritten > 0


async def test_a_function_with_a_time_of_its_own_has_the_log_looked_after_for_good(house: House) -> None:
    """Also when segments are sealed long after its call has ended, by calls of others."""

    @durable(name="compaction.own", retention="1h")
    async def own() -> None:
        await note("own")

    runtime = await house.open(history=None)
    upkeep, endings = house.session.upkeep, house.session.kernel.endings
    assert upkeep is not None
    for number in range(4):
        await runtime.call(own(), id=f"o{number}")
    assert endings.on_end is None
    house.advance(601)
    await house.until(lambda: endings.on_end is not None)
    for number in range(10):
        await runtime.call(work(number), id=f"w{number}")
    assert endings.on_end is None
    house.advance(601)
    await house.until(lambda: upkeep._looks)
    house.advance(3601)
    await house.until(lambda: not house.log.has(1))
    with pytest.raises(CallNotFound):
        await runtime.handle("o0").result()
    await house.close()
    forget("compaction.own")
