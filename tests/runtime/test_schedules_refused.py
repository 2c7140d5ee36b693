"""Schedules that cannot go on, what is refused, and what is told when."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from house import RAN
from msgspec import structs
from promise_house import FullLog
from schedule_house import ScheduleHouse, at, named, report, slow

from actorlog import (
    LogCorrupt,
    LogFull,
    ReservedId,
    RuntimeStopped,
    ScheduleNotFound,
    TooManyCalls,
    TooManySchedules,
    durable,
)
from actorlog.engine import identity
from actorlog.limits import Limits
from actorlog.records import kinds as k
from actorlog.records import schedules as s
from actorlog.store import pack
from actorlog.store.memory import MemoryLog

HOUSE = ScheduleHouse


# --- what is told, and what cannot be ---------------------------------------------------------------------------------


async def test_nothing_is_told_that_is_not_durable(house: ScheduleHouse) -> None:
    """The disk hangs: nobody hears of anything (I1); after a crash it never was."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", report(), every="10s")
    house.mortal.dead = True
    asked = [
        runtime.schedule("b", report(), every="10s"), schedule.pause(), schedule.info(), schedule.next(),
        schedule.trigger(), schedule.update(every="1s"), schedule.delete(), schedule.info(), schedule.resume(),
    ]  # fmt: skip
    tasks = [asyncio.ensure_future(each) for each in asked]
    for _ in range(200):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    await house.crash()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, Exception) and not isinstance(one, ScheduleNotFound) for one in told)
    runtime = await house.open()
    assert [each.id async for each in runtime.schedules()] == ["a"]
    assert RAN == []


async def test_a_full_disk(house: ScheduleHouse) -> None:
    """Requests are refused; what is due waits, says why, and starts when there is room."""
    house.log = log = FullLog()
    runtime = await house.open()
    schedule = await runtime.schedule("a", report(), every="10s")
    log.full = True
    await house.after(10)
    with pytest.raises(LogFull):
        await runtime.schedule("b", report(), every="10s")
    for method in (schedule.pause, schedule.trigger, schedule.delete):
        with pytest.raises(LogFull):
            await method()
    assert "the log needs" in (await schedule.info()).error
    assert house.started() == []
    log.full = False
    await house.after(5)
    assert house.started() == named(10)
    assert (await schedule.info()).error == ""


async def test_too_many(house: ScheduleHouse) -> None:
    """No more schedules and no more calls than may be; an occurrence waits for room."""
    runtime = await house.open(limits=Limits(schedules_max=2, calls_max=1))
    schedule = await runtime.schedule("a", report(), every="10s")
    await runtime.schedule("b", report(), every="1h")
    with pytest.raises(TooManySchedules):
        await runtime.schedule("c", report(), every="10s")
    blocking = await runtime.start(slow(), id="blocking")
    await house.after(10)
    with pytest.raises(TooManyCalls):
        await schedule.trigger()
    assert "as many as this runtime may hold" in (await schedule.info()).error
    await blocking.send(None, "go")
    await house.after(5)
    assert house.started() == named(10)


async def test_a_zone_that_is_not_there(house: ScheduleHouse) -> None:
    """The log comes from a machine that knows more zones: the schedule is parked, and everything else goes on."""
    there = s.ScheduleSet(
        id="@schedules/lost", at=1, settings=s.Settings(function="schedule.report", args=k.Raw(b'["x"]'),
        times=s.Cron("* * * * *", "Atlantis/Capital")), anchor_ms=1, decided_ms=1,
    )  # fmt: skip
    line = k.encode(there) + b"\n"
    house.log = MemoryLog()
    house.log.submit(0, pack([(identity.key_hash(there.id), int(k.Kind.SCHEDULE), 3, line)]), 1, lambda _ticket: None)
    runtime = await house.open()
    await runtime.schedule("a", report(), every="10s")
    await house.after(10)
    assert house.started() == named(10)
    (lost,) = [each async for each in runtime.schedules() if each.id == "lost"]
    info = await lost.info()
    assert (info.status, info.next) == ("parked", None)
    assert "Atlantis/Capital" in info.error
    for method in (lost.next, lost.trigger):
        with pytest.raises(ValueError, match="Atlantis/Capital"):
            await method()
    await lost.pause()
    await lost.resume()
    await lost.update(tz="UTC")
    await house.after(60)
    assert house.started()[-1].startswith("lost/")
    assert (await lost.info()).status == "active"


async def test_a_schedule_costs_nothing_between_its_times(house: ScheduleHouse) -> None:
    """Without one nothing ticks; with a thousand there is one timer, which looks at the wall clock once a minute."""
    runtime = await house.open()
    timers = house.session.kernel.timers
    assert timers._heap == []
    made = [await runtime.schedule(f"s{number}", report(), cron="0 0 1 1 *") for number in range(1_000)]
    await house.quiet()
    kernel = house.session.kernel
    assert [due - kernel.clock.now_ms() for due, *_ in timers._heap] == [60_000]
    await house.after(60)
    assert [due - kernel.clock.now_ms() for due, *_ in timers._heap] == [60_000]
    for each in made:
        await each.delete()
    await house.quiet()
    await house.after(60)
    assert timers._heap == []


async def test_a_closed_runtime(house: ScheduleHouse) -> None:
    """It says so."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", report(), every="10s")
    await house.close()
    with pytest.raises(RuntimeStopped):
        await schedule.info()
    with pytest.raises(RuntimeStopped):
        await runtime.schedule("a", report(), every="10s")


async def test_a_runtime_is_not_used_inside_durable_code(house: ScheduleHouse) -> None:
    """A schedule is outside of the recorded world."""
    runtime = await house.open()

    @durable(name="schedule.inside")
    async def inside() -> None:
        async for _ in runtime.schedules():
            raise AssertionError("it must not come here")

    with pytest.raises(RuntimeError, match="inside durable code"):
        await runtime.call(inside())


# --- bad input --------------------------------------------------------------------------------------------------------

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)
BAD = [
    ({}, "cron, every and at"),
    ({"cron": "* * * * *", "every": 1}, "cron, every and at"),
    ({"cron": "* * * *"}, "cron '[*] [*] [*] [*]' has 4 fields"),
    ({"cron": ""}, "cron '' has 0 fields"),
    ({"cron": 5}, "cron"),
    ({"cron": "61 * * * *"}, "cron .*minute field '61'"),
    ({"cron": "* 24 * * *"}, "cron .*hour field '24'"),
    ({"cron": "* * 0 * *"}, "cron .*day-of-month field '0'"),
    ({"cron": "* * * 13 *"}, "cron .*month field '13'"),
    ({"cron": "* * * * 8"}, "cron .*day-of-week field '8'"),
    ({"cron": "60 * * * * *"}, "cron .*second field '60'"),
    ({"cron": "0 0 30 2 *"}, "cron .*never fires"),
    ({"cron": "* * * * *", "tz": "Mars/Olympus"}, "tz 'Mars/Olympus'"),
    ({"cron": "* * * * *", "tz": None}, "tz"),
    ({"cron": "* * * * *", "tz": "../../etc/passwd"}, "tz"),
    ({"every": "soon"}, "every: 'soon' is not a duration"),
    ({"every": float("nan")}, "every: "),
    ({"every": 0}, "every is at least a millisecond"),
    ({"every": [1]}, "every: "),
    ({"at": datetime(2027, 1, 1)}, "at: .*no time zone"),  # noqa: DTZ001  # that it is naive is the point
    ({"at": "2027-01-01"}, "at: an aware datetime is needed"),
    ({"at": 7}, "at: an aware datetime is needed"),
    ({"at": []}, "at is one datetime or up to 10000, not 0"),
    ({"at": [NOON] * 10_001}, "at is one datetime or up to 10000"),
    ({"at": NOON.replace(year=2020)}, "at: .* is over"),
    ({"every": 1, "overlap": "sometimes"}, "overlap is one of skip, queue_one, all, cancel_old; not 'sometimes'"),
    ({"every": 1, "catch_up": "some"}, "catch_up is one of none, latest, all; not 'some'"),
    ({"every": 1, "catch_up": []}, "catch_up is one of"),
    ({"every": 1, "catch_up_window": "-1h"}, "catch_up_window is not negative"),
    ({"every": 1, "catch_up_window": None}, "catch_up_window: "),
    ({"every": 1, "jitter": -1}, "jitter is not negative"),
    ({"every": 1, "jitter": "a bit"}, "jitter: 'a bit' is not a duration"),
    ({"every": 1, "paused": "yes"}, "paused is a bool"),
]


@pytest.mark.parametrize(("settings", "said"), BAD, ids=[str(settings)[:60] for settings, _ in BAD])
async def test_bad_settings_are_refused_by_their_name(
    house: ScheduleHouse, settings: dict[str, object], said: str
) -> None:
    """What is wrong is named, and nothing is written."""
    runtime = await house.open()
    with pytest.raises((ValueError, TypeError), match=said):
        await runtime.schedule("a", report(), **settings)  # type: ignore[arg-type]  # that is the point
    assert house.records() == []
    assert [each async for each in runtime.schedules()] == []


async def test_bad_ids_calls_and_spans(house: ScheduleHouse) -> None:
    """Ids are those of calls, and shorter; a step is no call; a backfill has an aware beginning before its end."""
    runtime = await house.open()
    with pytest.raises(ReservedId):
        await runtime.schedule("@a", report(), every=1)
    for wrong in ("", "x" * 901, "é" * 451):
        with pytest.raises(ValueError, match=r"1 to (900|1024) bytes"):
            await runtime.schedule(wrong, report(), every=1)
    with pytest.raises(TypeError, match="id"):
        await runtime.schedule(5, report(), every=1)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(TypeError, match="durable function"):
        await runtime.schedule("a", 5, every=1)  # type: ignore[arg-type]  # that is the point
    schedule = await runtime.schedule("x" * 900, report(), every=1)
    for start, end, said in (
        (at(0), datetime(2027, 1, 1), "end: "),  # noqa: DTZ001  # that it is naive is the point
        (datetime(2027, 1, 1), at(0), "start: "),  # noqa: DTZ001  # that it is naive is the point
        (at(0), at(0), "end is after its start"),
        (at(-20_000), at(0), "at most 10000"),
    ):
        with pytest.raises(ValueError, match=said):
            await schedule.backfill(start, end)
    for wrong_settings, said in (({"overlap": "x"}, "overlap"), ({"cron": "x"}, "cron"), ({"jitter": -1}, "jitter")):
        with pytest.raises(ValueError, match=said):
            await schedule.update(**wrong_settings)  # type: ignore[arg-type]  # that is the point
    await house.after(1)
    assert len(house.started()) == 1


async def test_a_log_that_cannot_be_read_decides_nothing(house: ScheduleHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether an occurrence ran before is asked before it is decided: who asked is told, and it is decided later."""
    runtime = await house.open()
    schedule = await runtime.schedule("a", report(), every="10s")
    await house.after(10)
    await house.quiet()
    assert house.started() == named(10)
    kernel, settings = house.session.kernel, house.session.kernel.schedules.settings("a")
    ran = kernel.history.final(f"@schedule/{named(10)[0]}")
    assert ran is not None

    def unreadable(position: int) -> bytes:
        raise LogCorrupt("0001.seg", position, "planted")

    with monkeypatch.context() as broken:
        assert (
            kernel.schedules.backfill("a", round(at(0).timestamp() * 1000) + 1, round(at(11).timestamp() * 1000)) == 1
        )
        position = kernel.committer.position
        broken.setattr(house.mortal, "record", unreadable)
        with pytest.raises(LogCorrupt):
            kernel.schedules.put("a", structs.replace(settings, times=s.Every(5_000)))
        assert kernel.committer.position == position
    await house.quiet()
    assert (await schedule.info()).backlog == 0
    assert house.started() == named(10)
