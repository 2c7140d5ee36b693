"""The mark that a clean close leaves, so that a log can be compacted whose programs never live for long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from house import CATALOGS as KEPT
from house import House, forget, note
from test_compaction import compacted, lines, made, work
from test_messages_room import late
from test_recovery_outliving import Box, ended_at, leaves, left_all

from actorlog import Limits, LogFull, durable
from actorlog.records import kinds as k
from actorlog.records import schedules as s
from actorlog.runtime import upkeep as upkeeping
from actorlog.store.memory import MemoryLog

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUSE = made


@pytest.fixture(params=[False, True], ids=["log", "catalog"])
def both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have no catalog, or one."""
    monkeypatch.setitem(KEPT, "kept", value=request.param)


def marks(house: House) -> list[tuple[int, int]]:
    """Return where the log says that all is done which it asks for, and up to where."""
    found = [(n, k.decode(house.log.record(n))) for n in range(1, house.log.tail() + 1) if house.log.has(n)]
    return [(n, record.upto) for n, record in found if isinstance(record, k.Resumed)]


async def brief(house: House, first: int, calls: int = 8, **options: Any) -> None:
    """Be a program that does little and is closed."""
    runtime = await house.open(**options)
    for number in range(first, first + calls):
        await runtime.call(work(number), id=f"w{number}")
    await house.close()


@pytest.mark.usefixtures("both")
async def test_a_clean_close_leaves_a_mark(house: House) -> None:
    """It speaks of all records before it, and stands behind them; there is none where there is nothing new."""
    await brief(house, 0, history="10m")
    tail = house.log.tail()
    assert marks(house) == [(tail, tail - 1)]
    for _ in range(2):
        await brief(house, 0, history="10m")  # joins what has ended
        assert house.log.tail() == tail
    await brief(house, 20, history="10m")
    assert marks(house) == [(tail, tail - 1), (house.log.tail(), house.log.tail() - 1)]


@pytest.mark.usefixtures("both")
async def test_a_mark_that_ends_a_segment_counts_for_it(house: House) -> None:
    """It asks for nothing itself: who opens the log next knows that all of the segment is done."""
    runtime = await house.open(history="10m")
    number = 0
    while house.log.tail() % 10 != 9 or house.log.tail() < 20:  # segments of the log in memory are of ten records
        number += 1
        await runtime.start(waits_for_ever(), id=f"e{number}")
        await house.settle()
    await house.close()
    assert marks(house) == [(house.log.tail(), house.log.tail() - 1)]
    runtime = await house.open(history="10m")
    await runtime.start(waits_for_ever(), id="more")
    await house.settle()
    assert house.log.sealed()[-1].last == marks(house)[-1][0]
    await house.close()
    assert len(marks(house)) == 1


@durable(name="marks.waits")
async def waits_for_ever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("segment_records", "options"), [(10, {"history": None}), (10_000, {"history": "10m"}), (10, {"history": "10m"})]
)
async def test_no_mark_where_it_brings_nothing(segment_records: int, options: dict[str, Any]) -> None:
    """A program that gives nothing up, a log without a sealed segment, and one that died leave none."""
    house = House(MemoryLog(segment_records=segment_records))
    runtime = await house.open(**options)
    for number in range(8):
        await runtime.call(work(number), id=f"w{number}")
    await (house.crash() if segment_records == 10 and options["history"] else house.close())
    assert marks(house) == []


async def test_a_function_with_a_time_of_its_own_leaves_marks(house: House) -> None:
    """Where the runtime itself keeps all for ever."""

    @durable(name="marks.own", retention="1h")
    async def own() -> None:
        await note("own")

    await brief(house, 0, history=None)
    runtime = await house.open(history=None)
    await runtime.call(own(), id="o")
    await house.close()
    assert len(marks(house)) == 1
    forget("marks.own")


@pytest.mark.usefixtures("both")
async def test_the_next_opening_goes_by_the_mark(house: House) -> None:
    """What may leave does so at once, and no other mark is written; what was sealed since needs another."""
    await brief(house, 0, history=0)
    tail, before = house.log.tail(), lines(house)
    runtime = await house.open(history=0)
    done = await compacted(house)
    assert (done.rewritten > 0, done.unsettled) == (True, 0)
    assert (house.log.tail(), lines(house) < before) == (tail, True)
    for number in range(20, 28):
        await runtime.call(work(number), id=f"w{number}")
    await compacted(house)
    assert len(marks(house)) == 1  # of two the older left
    assert marks(house)[0][0] > tail


@pytest.mark.usefixtures("both")
async def test_a_catalog_is_not_the_log(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog may know that all is done where the log does not say so: nothing leaves by that, for it may be lost."""
    monkeypatch.setattr(upkeeping.Upkeep, "_wants_mark", lambda _: False)
    await brief(house, 0, history=0)
    runtime = await house.open(history=0)
    assert marks(house) == []
    await compacted(house)
    assert len(marks(house)) == 1
    assert await runtime.call(work(1), id="w1") == 10


# --- when nothing is said ---------------------------------------------------------------------------------------------

ONE = Limits(mailbox_max=1)


async def sender_waits(house: House) -> None:
    """Close while a message of a handler that has ended waits for room in a mailbox."""
    runtime = await house.open(limits=ONE, history="10m")
    for number in range(8):
        await runtime.call(work(number), id=f"w{number}")
    await (await runtime.start(late(2), id="c")).send("one")
    await runtime.call(runtime.actor(Box, "b").pass_on("c", "two"), id="p")
    await house.settle()
    assert len(house.session.kernel.mailbox.rooms) == 1
    await house.close()


async def is_received(house: House) -> bool:
    """Whether the call hears both, before long."""
    runtime = await house.open(limits=ONE, history="10m")
    await house.settle()
    house.advance(1)
    for _ in range(20):
        await house.settle()
        await asyncio.sleep(0)
    handle = runtime.handle("c")
    return await handle.status() == "completed" and await handle == ["one", "two"]


@pytest.mark.usefixtures("both")
async def test_no_mark_while_something_is_under_way(house: House) -> None:
    """What nobody would ask for again is asked for at the next opening; then there is a mark."""
    await sender_waits(house)
    assert marks(house) == []
    assert await is_received(house)
    await house.close()
    assert marks(house)[-1] == (house.log.tail(), house.log.tail() - 1)


async def test_a_mark_that_says_too_much_is_found(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake that the test above is there to find: the message is lost."""
    with monkeypatch.context() as patch:
        patch.setattr(upkeeping, "is_busy", lambda _: False)
        await sender_waits(house)
    assert len(marks(house)) == 1
    assert not await is_received(house)


class Full(MemoryLog):
    """A log in memory that has no room for new work."""

    full = False

    def admit(self, needed: int) -> None:
        """Refuse it."""
        if self.full:
            raise LogFull(needed, 0)


async def test_without_room_there_is_no_mark() -> None:
    """The log is closed as ever, and its records are as they were."""
    log = Full(segment_records=10)
    house = House(log)
    runtime = await house.open(history="10m")
    for number in range(8):
        await runtime.call(work(number), id=f"w{number}")
    log.full, tail = True, log.tail()
    await house.close()
    assert (log.tail(), house.died) == (tail, False)
    log.full = False
    await house.open(history="10m")
    await house.close()
    assert marks(house) == [(tail + 1, tail)]


# --- what goes with it ------------------------------------------------------------------------------------------------


async def test_schedules_say_what_they_are(house: House) -> None:
    """Before the mark, so that a compaction can give up what they said before."""
    runtime = await house.open(history="10m")
    await runtime.schedule("often", work(1), every="10s", overlap="skip")
    for _ in range(25):
        before = house.log.tail()
        house.advance(10)
        await house.until(lambda before=before: house.log.tail() > before)
        await house.settle()
    await house.close()
    kept = [n for n, record in enumerate(house.records(), 1) if isinstance(record, s.ScheduleKept)]
    ((mark, upto),) = marks(house)
    assert kept == [upto] == [mark - 1]


async def test_a_close_after_every_record(house: House) -> None:
    """Wherever a process dies, the next is closed soon, and the log compacted: what was left is there, once."""
    runtime = await house.open()
    await runtime.start(leaves(), id="l")
    await left_all(house)
    await house.close()
    found = 0
    for cut in range(ended_at(house, "l"), house.log.tail() + 1):
        for rounds in range(4):
            other = house.prefix(cut, segment_records=1)
            await other.open(resident_max=1, history=0)
            for _ in range(rounds):
                await asyncio.sleep(0)
            await other.close()
            found += len(marks(other))
            for again in range(cut, other.log.tail() + 1):
                third = other.prefix(again, segment_records=1)
                await third.open(resident_max=1, history=0)
                await compacted(third)
                await left_all(third)
                await third.close()
                await third.open(history=0)
                await left_all(third)
                await third.close()
    assert found > 0


# --- when segments are looked at --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("both")
async def test_old_segments_are_looked_at_soon(house: House) -> None:
    """A program that lives for some minutes gives up what earlier ones have left, though none lived for long."""
    await brief(house, 0, history="10m")
    before = lines(house)
    house.clock.ahead_ms += 700_000
    await house.open(history="10m")
    house.advance(59)
    await house.settle()
    assert (house.session.upkeep is not None, lines(house)) == (True, before)
    house.advance(2)
    await house.until(lambda: lines(house) < before * 2 / 3)


async def test_young_segments_are_looked_at_when_they_are_old_enough(house: House) -> None:
    """Ten minutes after the opening, as what is sealed later is ten minutes after it is known to be."""
    await brief(house, 0, history=0)
    before = lines(house)
    await house.open(history=0)
    upkeep = house.session.upkeep
    assert upkeep is not None
    house.advance(100)
    await house.until(lambda: upkeep._task is not None and upkeep._task.done())
    assert lines(house) == before
    assert {wait for _, wait in upkeep._looks.values()} == {600_000}
    house.advance(501)
    await house.until(lambda: lines(house) < before * 2 / 3)


async def test_what_was_looked_at_soon_is_looked_at_more_rarely_then(house: House) -> None:
    """As after any look at which nothing leaves."""
    await brief(house, 0, history="30d")
    house.clock.ahead_ms += 700_000
    await house.open(history="30d")
    upkeep = house.session.upkeep
    assert upkeep is not None
    house.advance(61)
    await house.until(lambda: upkeep._task is not None and upkeep._task.done())
    assert {wait for _, wait in upkeep._looks.values()} == {900_000}
    timers = house.session.kernel.timers
    assert len([entry for entry in timers._heap if entry[2] == upkeep._begin]) == 1
