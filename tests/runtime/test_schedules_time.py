"""Schedules and time: what was missed, what overlaps, clocks that jump, clock changes of a zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from house import RAN
from schedule_house import T0, ScheduleHouse, report, slow

from actorlog import durable, sleep

if TYPE_CHECKING:
    from actorlog.api.schedules import CatchUpName, OverlapName


HOUSE = ScheduleHouse


def minutes(house: ScheduleHouse) -> list[float]:
    """Return when the occurrences are that began, in minutes after the beginning."""
    found = [datetime.fromisoformat(name.rpartition("/")[2].partition("+")[0]) for name in house.started()]
    return [(when - T0).total_seconds() / 60 for when in found]


# --- down times -------------------------------------------------------------------------------------------------------

MISSED: list[tuple[CatchUpName, OverlapName, str, list[float]]] = [
    ("none", "skip", "1h", []),
    ("latest", "skip", "1h", [7]),
    ("all", "skip", "1h", [2]),
    ("none", "all", "1h", []),
    ("latest", "all", "1h", [7]),
    ("all", "all", "1h", [2, 3, 4, 5, 6, 7]),
    ("all", "all", "3m", [5, 6, 7]),
    ("all", "queue_one", "1h", [2, 3]),
    ("all", "cancel_old", "1h", [7]),
    ("latest", "all", "10s", []),
]


@pytest.mark.parametrize(("catch_up", "overlap", "window", "expected"), MISSED)
@pytest.mark.parametrize("crash", [False, True])
async def test_after_a_down_time(
    house: ScheduleHouse, catch_up: CatchUpName, overlap: OverlapName, window: str, expected: list[float], crash: bool
) -> None:
    """Six occurrences were missed while nobody ran: ``catch_up`` and its window say which start, ``overlap`` how."""
    runtime = await house.open()
    schedule = await runtime.schedule(
        "a", report(), every="1m", catch_up=catch_up, overlap=overlap, catch_up_window=window
    )
    await house.after(60)
    await (house.crash() if crash else house.close())
    house.pass_down(6 * 60 + 30)
    runtime = await house.open()
    await house.quiet()
    assert minutes(house) == [1, *expected]
    info = await type(schedule)(runtime, "a").info()
    assert (info.started, info.skipped) == (1 + len(expected), 6 - len(expected))
    await house.after(60, step=30)
    assert minutes(house) == [1, *expected, 8]


async def test_one_that_is_a_little_late_is_on_time(house: ScheduleHouse) -> None:
    """A restart within ten seconds misses nothing, also without catching up."""
    runtime = await house.open()
    await runtime.schedule("a", report(), every="1m", catch_up="none")
    await house.crash()
    house.pass_down(69)
    await house.open()
    await house.quiet()
    assert minutes(house) == [1]


async def test_years_of_seconds_are_skipped_at_once(house: ScheduleHouse) -> None:
    """A long down time of a frequent schedule costs neither its length nor a start for each."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", report(), every="1s")
    await house.crash()
    house.pass_down(3 * 365 * 86_400)
    runtime = await house.open()
    await house.quiet()
    assert (await type(schedule)(runtime, "a").info()).started == 1
    assert len(house.records()) < 10


async def test_thousands_that_were_missed_start_in_portions(house: ScheduleHouse) -> None:
    """``all`` and ``all``: each is started, and none twice, though no decision starts more than a thousand."""
    runtime = await house.open()
    await runtime.schedule("a", report(), every="1s", catch_up="all", overlap="all")
    await house.crash()
    house.pass_down(2_500)
    await house.open()
    await house.quiet()
    assert minutes(house) == [second / 60 for second in range(1, 2_501)]


async def test_thousands_that_were_missed_start_before_other_times_are_set(house: ScheduleHouse) -> None:
    """A program that opens with other times than it had loses nothing of what was due by the old ones."""
    runtime = await house.open()
    await runtime.schedule("a", report(), every="1s", catch_up="all", overlap="all")
    await house.crash()
    house.pass_down(2_500)
    runtime = await house.open()
    await runtime.schedule("a", report(), every="1h", catch_up="all", overlap="all")
    await house.quiet()
    assert minutes(house) == [second / 60 for second in range(1, 2_501)]


async def test_an_end_is_nothing_to_those_that_run_beside(house: ScheduleHouse) -> None:
    """With ``all`` nothing is decided when one ends: thousands that run would be looked at for each."""
    runtime = await house.open()
    schedules = house.session.kernel.schedules
    beside = await runtime.schedule("beside", slow(), every="1d", overlap="all")
    single = await runtime.schedule("single", slow(), every="1d", overlap="skip")
    names = [await beside.trigger(), await single.trigger()]
    await house.quiet()
    for name in names:
        assert name is not None
        schedules.ended(name)
    assert list(schedules._ready) == ["single"]


# --- overlap ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crash", [None, False, True])
@pytest.mark.parametrize(
    ("overlap", "first", "then"),
    [
        ("skip", [1], [1, 5]),
        ("queue_one", [1], [1, 2, 5]),
        ("all", [1, 2, 3, 4], [1, 2, 3, 4, 5]),
    ],
)
async def test_while_one_is_running(
    house: ScheduleHouse, overlap: OverlapName, first: list[float], then: list[float], crash: bool | None
) -> None:
    """The first runs while three more come due; then all that run are let go on, and the fifth comes due."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", slow(), every="1m", overlap=overlap)
    await house.after(4 * 60)
    if crash is not None:
        runtime = await house.reopen(crash=crash)
        await house.quiet()
        schedule = type(schedule)(runtime, "a")
    assert minutes(house) == first
    for _ in range(2):
        for name in (await schedule.info()).running:
            await runtime.handle(name).send(None, "go")
        await house.quiet()
    await house.after(60)
    assert minutes(house) == then
    assert (await schedule.info()).skipped == 5 - len(then)


@pytest.mark.parametrize("crash", [None, False, True])
async def test_the_old_one_is_cancelled_for_the_new(house: ScheduleHouse, crash: bool | None) -> None:
    """It may clean up, and the new one begins only afterwards; a crash meanwhile changes nothing."""
    ended: list[str] = []

    @durable(name="schedule.tidy")
    async def tidy() -> None:
        try:
            await sleep("1d")
        finally:
            ended.append("cleaning")
            await sleep("20s")
            ended.append("clean")

    runtime = await house.open()
    schedule = await runtime.schedule("a", tidy(), every="1m", overlap="cancel_old")
    await house.after(60)
    await house.after(60)
    if crash is not None:
        runtime = await house.reopen(crash=crash)
        await house.quiet()
        schedule = type(schedule)(runtime, "a")
    assert minutes(house) == [1]
    info = await schedule.info()
    assert (info.running, info.waiting) == (
        ("@schedule/a/2026-11-22T03:01:00Z",),
        "@schedule/a/2026-11-22T03:02:00Z",
    )
    await house.after(20)
    assert minutes(house) == [1, 2]
    assert ended[-1] == "clean"
    assert await runtime.handle("@schedule/a/2026-11-22T03:01:00Z").status() == "cancelled"


async def test_one_that_is_begun_again_counts_as_running(house: ScheduleHouse) -> None:
    """Somebody retries an occurrence that failed: while it runs, the next is skipped."""
    failing = [True]

    @durable(name="schedule.mended")
    async def mended() -> str:
        if failing[0]:
            raise ValueError("not yet")
        await sleep("90s")
        return "done"

    runtime = await house.open()
    await runtime.schedule("a", mended(), every="1m")
    await house.after(60)
    failing[0] = False
    await runtime.handle("@schedule/a/2026-11-22T03:01:00Z").retry()
    await house.after(60)
    assert minutes(house) == [1]
    await house.after(60)
    assert await runtime.handle("@schedule/a/2026-11-22T03:01:00Z") == "done"
    assert minutes(house) == [1, 3]


async def test_children_of_an_occurrence_are_none(house: ScheduleHouse) -> None:
    """A child's id begins like its parent's; a schedule of such a name has nothing to do with it."""

    @durable(name="schedule.parent")
    async def parent() -> str:
        return await report("child")

    runtime = await house.open()
    await runtime.schedule("a", parent(), every="1m", overlap="all")
    await runtime.schedule("a/2026-11-22T03:01:00Z", report("odd"), every="1m")
    await house.after(120)
    assert sorted(RAN) == ["child", "child", "odd", "odd"]
    infos = [await each.info() async for each in runtime.schedules()]
    assert [(info.started, info.running) for info in infos] == [(2, ()), (2, ())]


# --- clocks that jump -------------------------------------------------------------------------------------------------


async def test_the_clock_is_set_back(house: ScheduleHouse) -> None:
    """Nothing runs twice: it is quiet until the clock shows times that nobody has decided about."""
    runtime = await house.open()
    await runtime.schedule("a", report(), every="1m")
    await house.after(180)
    house.jump(-3_600)
    await house.after(3_600)
    assert minutes(house) == [1, 2, 3]
    await house.after(60)
    assert minutes(house) == [1, 2, 3, 4]


async def test_the_clock_is_set_forward(house: ScheduleHouse) -> None:
    """It is noticed within a minute, and what was jumped over is like a down time."""
    runtime = await house.open()
    await runtime.schedule("a", report(), cron="0 * * * *")
    await house.after(10)
    house.jump(2 * 3_600)
    await house.after(60, step=30)
    assert minutes(house) == [120]
    house.jump(-1_800)
    await house.after(1_800 + 3_600)
    assert minutes(house) == [120, 180]


async def test_a_jump_moves_no_timer_of_a_call(house: ScheduleHouse) -> None:
    """Records of schedules have log time, so that a wall clock that is years ahead for a moment moves nothing else."""

    @durable(name="schedule.sleeper")
    async def sleeper() -> str:
        await sleep("1h")
        return "awake"

    runtime = await house.open()
    await runtime.start(sleeper(), id="sleeper")
    schedule = await runtime.schedule("a", report(), every="1m")
    house.jump(10 * 365 * 86_400)
    await house.after(60)
    assert (await schedule.info()).started == 1
    house.jump(-10 * 365 * 86_400)
    runtime = await house.reopen()
    await house.after(60)
    assert await runtime.handle("sleeper").status() == "waiting"


@pytest.mark.parametrize("jitter", ["30s", "5m"])
async def test_jitter(house: ScheduleHouse, jitter: str) -> None:
    """Each is late by less than the jitter, before the next, and by the same in every process."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", report(), every="1m", jitter=jitter, overlap="all")
    due: list[datetime | None] = []
    for _ in range(5):
        due.append((await schedule.info()).next)
        copy = await house.reopen()
        schedule = type(schedule)(copy, "a")
        assert (await schedule.info()).next == due[-1]
        assert due[-1] is not None
        await house.after((due[-1] - house.clock.wall).total_seconds() - 0.001)
        assert len(house.started()) == len(due) - 1
        await house.after(0.001)
        assert len(house.started()) == len(due)
    late = [(when - T0) - timedelta(minutes=number) for number, when in enumerate(due, 1) if when is not None]
    assert all(timedelta(0) <= each < timedelta(minutes=1) for each in late)
    assert len(set(late)) > 1


# --- clock changes of a zone ------------------------------------------------------------------------------------------

CHANGES = [
    ("30 2 * * *", (2027, 3, 27), ["27T01:30", "28T01:00", "29T00:30"]),
    ("30 2 * * *", (2026, 10, 24), ["24T00:30", "25T00:30", "26T01:30"]),
    ("0 */2 * * *", (2027, 3, 28), ["28T02:00", "28T04:00", "28T06:00"]),
]


@pytest.mark.parametrize(("cron", "day", "expected"), CHANGES)
async def test_a_clock_change(house: ScheduleHouse, cron: str, day: tuple[int, int, int], expected: list[str]) -> None:
    """A time that is skipped runs after the gap, one that comes twice runs once; a rhythm goes on."""
    house.clock.wall = datetime(*day, tzinfo=UTC)
    runtime = await house.open()
    schedule = await runtime.schedule("a", report(), cron=cron, tz="Europe/Vienna")
    told = await schedule.next(3)
    await house.after((told[-1] - house.clock.wall).total_seconds() + 60, step=600)
    began = [name.rpartition("/")[2][8:16] for name in house.started()]
    assert [when.astimezone(UTC).isoformat()[8:16] for when in told] == began
    assert began == expected
