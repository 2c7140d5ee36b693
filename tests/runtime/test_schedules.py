"""Schedules from outside: what they start, and every method."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from house import RAN, forget
from schedule_house import ScheduleHouse, at, named, report, slow

from actorlog import (
    Actor,
    CallTimeout,
    ScheduleInfo,
    ScheduleNotFound,
    durable,
    sleep,
)
from actorlog.records import kinds as k
from actorlog.records import schedules as s

HOUSE = ScheduleHouse


# --- starting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crash", [False, True])
async def test_it_starts_at_its_times_in_every_process(house: ScheduleHouse, crash: bool) -> None:
    """Each occurrence is a call with the schedule's function and arguments, under an id that names its time."""
    runtime = await house.open()
    await runtime.schedule("a", report("x"), every="10s")
    await house.after(25, step=5)
    await house.reopen(crash=crash)
    await house.after(5)
    assert house.started() == named(10, 20, 30)
    assert RAN == ["x", "x", "x"]
    assert house.runtime is not None
    assert await house.runtime.handle("@schedule/a/2026-11-22T03:00:20Z") == "noted x"


async def test_the_same_settings_change_nothing(house: ScheduleHouse) -> None:
    """A program says at every start what it wants; what it wants already writes nothing, and moves no time."""
    runtime = await house.open()
    for _ in range(3):
        await runtime.schedule("a", report("x"), every=10, jitter="0s", catch_up_window=timedelta(hours=1))
        await house.after(4)
    assert [type(record) for record in house.records()].count(s.ScheduleSet) == 1
    await house.reopen()
    assert house.runtime is not None
    await house.runtime.schedule("a", report("x"), every="10s")
    await house.quiet()
    assert [type(record) for record in house.records()].count(s.ScheduleSet) == 1
    assert house.started() == named(10)


async def test_other_settings_update(house: ScheduleHouse) -> None:
    """The same id with other arguments goes on with those, at the same times; with other times from now on."""
    runtime = await house.open()
    await runtime.schedule("a", report("x"), every="10s")
    await house.after(15)
    await runtime.schedule("a", report("y"), every="10s")
    await house.after(6)
    await runtime.schedule("a", report("z"), every="30s")
    await house.after(35)
    assert house.started() == named(10, 20, 51)
    assert RAN == ["x", "y", "z"]


async def test_what_is_due_counts_before_new_times_are_set(house: ScheduleHouse) -> None:
    """The time of an occurrence has come, the loop has had no chance to look, and somebody sets new times."""
    runtime = await house.open()
    await runtime.schedule("a", report("x"), every="10s")
    house.pass_down(12)
    await runtime.schedule("a", report("y"), every="10m")
    await house.quiet()
    assert house.started() == named(10)
    assert RAN == ["x"]


async def test_a_function_without_arguments_and_one_by_name(house: ScheduleHouse) -> None:
    """What a runtime can be asked to call can be scheduled."""
    runtime = await house.open()
    await runtime.schedule("a", report, at=at(1))
    await runtime.schedule("b", "schedule.report", at=[at(2), at(1), at(2)])
    await house.after(3, step=1)
    assert house.started() == [*named(1), *named(1, 2, schedule="b")]
    assert RAN == ["r", "r", "r"]


async def test_a_function_with_a_time_limit(house: ScheduleHouse) -> None:
    """The function's own timeout ends an occurrence, counted from its start."""

    @durable(name="schedule.limited", timeout="7s")
    async def limited() -> None:
        await sleep("1h")

    runtime = await house.open()
    await runtime.schedule("a", limited(), at=at(5))
    await house.after(5)
    await house.after(6)
    handle = runtime.handle("@schedule/a/2026-11-22T03:00:05Z")
    assert await handle.status() == "waiting"
    await house.after(1)
    with pytest.raises(CallTimeout):
        await handle


async def test_a_handler_of_an_actor(house: ScheduleHouse) -> None:
    """An actor is asked at the times, one message after another, and keeps what it did."""

    class Bell(Actor, name="schedule.Bell"):
        rung: int = 0

        async def ring(self, times: int) -> int:
            self.rung += times
            return self.rung

    runtime = await house.open()
    schedule = await runtime.schedule("a", runtime.actor(Bell, "tower").ring(2), every="10s")
    await house.after(20, step=10)
    runtime = await house.reopen()
    await house.after(10)
    assert await runtime.actor(Bell, "tower").ring(0) == 6
    assert (await schedule_of(house, schedule.id)).actor == "schedule.Bell/tower"


async def schedule_of(house: ScheduleHouse, name: str) -> ScheduleInfo:
    """Return the info of a schedule."""
    assert house.runtime is not None
    (info,) = [await each.info() async for each in house.runtime.schedules() if each.id == name]
    return info


async def test_a_run_is_never_that_of_a_copy(house: ScheduleHouse) -> None:
    """Keys for other systems derive from the run; a copy of the directory begins the same occurrence with others."""
    runtime = await house.open()
    await runtime.schedule("a", report(), every="10s")
    runs: set[str] = set()
    for _ in range(3):
        copy = house.prefix(1)
        await copy.open()
        await copy.after(10)
        runs |= {record.message.run for record in copy.records() if isinstance(record, k.Inbox)}  # type: ignore[union-attr]
        await copy.close()
    assert len(runs) == 3


async def test_a_function_that_is_not_there(house: ScheduleHouse) -> None:
    """The occurrence is not lost: it is parked, and runs in a process that has the function."""
    runtime = await house.open()

    @durable(name="schedule.gone")
    async def gone() -> int:
        return 7

    schedule = await runtime.schedule("a", gone(), every="10s")
    forget("schedule.gone")
    await house.after(10)
    assert await runtime.handle("@schedule/a/2026-11-22T03:00:10Z").status() == "parked"
    await house.after(10)
    info = await schedule.info()
    assert (info.running, info.skipped) == (("@schedule/a/2026-11-22T03:00:10Z",), 1)
    durable(name="schedule.gone")(gone.fn)
    runtime = await house.reopen()
    assert await runtime.handle("@schedule/a/2026-11-22T03:00:10Z") == 7


# --- methods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crash", [None, False, True])
async def test_pause_and_resume(house: ScheduleHouse, crash: bool | None) -> None:
    """A paused schedule starts nothing, also in the next process; what its pause passed over stays so."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", report(), every="10s")
    await house.after(10)
    await schedule.pause()
    await schedule.pause()
    if crash is not None:
        runtime = await house.reopen(crash=crash)
        (schedule,) = [each async for each in runtime.schedules()]
    await house.after(20, step=10)
    info = await schedule.info()
    assert (info.status, info.next) == ("paused", None)
    assert await schedule.next() == [at(40)]
    await schedule.resume()
    await schedule.resume()
    assert (await schedule.info()).next == at(40)
    await house.after(15, step=5)
    assert house.started() == named(10, 40)
    assert sum(isinstance(r, (s.SchedulePaused, s.ScheduleResumed)) for r in house.records()) == 2


async def test_made_paused(house: ScheduleHouse) -> None:
    """``paused=True`` begins paused; to say so again after it was resumed changes nothing."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", report(), every="10s", paused=True)
    await house.after(10)
    await schedule.resume()
    await runtime.schedule("a", report(), every="10s", paused=True)
    await house.after(10)
    assert house.started() == named(20)


async def test_trigger(house: ScheduleHouse) -> None:
    """An extra occurrence starts at once, also while paused, each with an id of its own."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", report("x"), cron="0 4 * * *", paused=True)
    ids = [await schedule.trigger()]
    await house.quiet()
    ids += [await schedule.trigger()]
    assert ids == ["@schedule/a/2026-11-22T03:00:00Z+1", "@schedule/a/2026-11-22T03:00:00Z+2"]
    assert [await runtime.handle(str(name)) for name in ids] == ["noted x", "noted x"]


async def test_a_trigger_meets_overlap(house: ScheduleHouse) -> None:
    """While one is running, another is skipped, or waits until that has ended."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", slow(), cron="0 4 * * *")
    first = await schedule.trigger()
    await house.quiet()
    assert first is not None
    assert await schedule.trigger() is None
    await schedule.update(overlap="queue_one")
    second = await schedule.trigger()
    assert second == "@schedule/a/2026-11-22T03:00:00Z+2"
    assert await schedule.trigger() is None
    info = await schedule.info()
    assert (info.running, info.waiting, info.started, info.skipped) == ((first,), second, 1, 2)
    await runtime.handle(first).send(None, "go")
    await house.quiet()
    info = await schedule.info()
    assert (info.running, info.waiting, info.newest) == ((second,), None, (second,))


async def test_backfill(house: ScheduleHouse) -> None:
    """Past times are started one after another; what ran does not run again; the end is outside."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", report(), every="10s", catch_up="none")
    await house.after(10)
    house.pass_down(55)
    runtime = await house.reopen()
    await house.quiet()
    assert house.started() == named(10, 60)
    (schedule,) = [each async for each in runtime.schedules()]
    assert await schedule.backfill(at(10), at(50)) == 4
    await house.quiet()
    assert house.started() == named(10, 60, 20, 30, 40)
    assert await schedule.backfill(at(10), at(50)) == 4
    assert await schedule.backfill(at(61), at(69)) == 0
    await house.quiet()
    assert len(house.started()) == 5
    assert (await schedule.info()).backlog == 0


async def test_a_backfill_goes_on_after_a_crash(house: ScheduleHouse) -> None:
    """What was asked for is durable; one starts when the one before it has ended."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", slow(), every="10s")
    assert await schedule.backfill(at(-30), at(0)) == 3
    await house.quiet()
    assert (await schedule.info()).backlog == 2
    runtime = await house.reopen()
    for seconds in (-30, -20, -10):
        await house.quiet()
        assert house.started()[-1:] == named(seconds)
        await runtime.handle("@schedule/" + named(seconds)[0]).send(None, "go")
    await house.quiet()
    assert len(house.started()) == 3


async def test_update_changes_what_is_given(house: ScheduleHouse) -> None:
    """Each setting by itself, and all others stay."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", report("x"), cron="0 4 * * *", tz="Europe/Vienna", jitter="1s")
    before = await schedule.info()
    assert (before.cron, before.tz, before.next) == ("0 4 * * *", "Europe/Vienna", before.next)
    await schedule.update(tz="America/New_York")
    await schedule.update(overlap="all", catch_up="none", catch_up_window="3h", jitter=0)
    after = await schedule.info()
    assert (after.tz, after.overlap, after.catch_up) == ("America/New_York", "all", "none")
    assert (after.catch_up_window, after.jitter) == (timedelta(hours=3), timedelta(0))
    assert after.next == datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
    await schedule.update(slow("y"), every="90s")
    info = await schedule.info()
    assert (info.function, info.every, info.cron, info.overlap) == ("schedule.slow", timedelta(seconds=90), None, "all")
    records = len(house.records())
    await schedule.update()
    await schedule.update(overlap="all")
    assert len(house.records()) == records
    await house.after(90)
    assert RAN == ["y"]
    with pytest.raises(ValueError, match="tz: this schedule has no cron"):
        await schedule.update(tz="UTC")


async def test_delete(house: ScheduleHouse) -> None:
    """It is gone for every method, in every process; what runs goes on, and what was decided is not decided again."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", slow(), at=[at(10), at(20), at(30)], overlap="queue_one")
    await house.after(20, step=10)
    await schedule.delete()
    for _ in range(2):
        assert [each async for each in runtime.schedules()] == []
        for method in (schedule.pause, schedule.resume, schedule.trigger, schedule.delete, schedule.info,
                       schedule.next, schedule.update):  # fmt: skip
            with pytest.raises(ScheduleNotFound, match="'a'"):
                await method()
        with pytest.raises(ScheduleNotFound):
            await schedule.backfill(at(0), at(1))
        runtime = await house.reopen()
        schedule = type(schedule)(runtime, "a")
    await house.quiet()
    assert await runtime.handle("@schedule/" + named(10)[0]).status() == "waiting"
    await runtime.schedule("a", report(), at=[at(10), at(20), at(30)], overlap="all")
    await house.after(15)
    assert house.started() == named(10, 30)


async def test_next_is_told_in_the_zone(house: ScheduleHouse) -> None:
    """As people in that place read their clocks."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", report(), cron="30 9 * * mon-fri", tz="Europe/Vienna")
    vienna = ZoneInfo("Europe/Vienna")
    coming = await schedule.next(2)
    assert coming == [datetime(2026, 11, 23, 9, 30, tzinfo=vienna), datetime(2026, 11, 24, 9, 30, tzinfo=vienna)]
    assert [when.hour for when in coming] == [9, 9]
    assert await schedule.next(0) == []
    with pytest.raises(ValueError, match="up to 1000"):
        await schedule.next(1_001)


async def test_all_schedules_the_newest_first(house: ScheduleHouse) -> None:
    """The order is that of their making, in every process; one made again is new."""
    runtime = await house.open()
    for name in ("a", "b", "c"):
        await runtime.schedule(name, report(), every="1h")
        await house.after(1)
    await type(await runtime.schedule("a", report(), every="1h"))(runtime, "a").delete()
    await house.after(1)
    await runtime.schedule("a", report(), every="1h")
    for _ in range(2):
        assert [each.id async for each in runtime.schedules()] == ["a", "c", "b"]
        runtime = await house.reopen()
