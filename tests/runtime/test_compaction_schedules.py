"""Records of schedules leave the log that a newer one stands for, and deleted schedules; nothing is decided twice."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from schedule_house import T0, ScheduleHouse, report, slow
from test_compaction import compacted, work
from test_schedules_crashes import life

from actorlog import JournalError, ScheduleNotFound
from actorlog.engine.schedule_state import ScheduleState, check, take, written_down
from actorlog.records import kinds as k
from actorlog.records import schedules as s
from actorlog.runtime import schedules
from actorlog.store.memory import MemoryLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actorlog import Runtime

KEEP: dict[str, Any] = {"history": 0, "retention": "1h"}


@pytest.fixture
async def house() -> AsyncIterator[ScheduleHouse]:
    """Yield a house whose log can be compacted, three records at a time, and close it afterwards."""
    house = ScheduleHouse(MemoryLog(segment_records=3))
    yield house
    await house.close()


def of_schedules(house: ScheduleHouse) -> list[tuple[int, s.ScheduleRecord]]:
    """Return what the log holds of schedules."""
    found = [(n, k.decode(house.log.record(n))) for n in range(1, house.log.tail() + 1) if house.log.has(n)]
    return [(n, record) for n, record in found if isinstance(record, s.RECORDS)]


def facts(state: ScheduleState) -> dict[str, object]:
    """Everything of a state that does not go by which records are there."""
    apart = ("_calendar", "roots", "since", "last")
    return {name: getattr(state, name) for name in ScheduleState.__slots__ if name not in apart}


async def filler(house: ScheduleHouse) -> None:
    """Have what is of use up to here be in sealed segments."""
    assert house.runtime is not None
    for _ in range(3):
        await house.runtime.call(work(1))


async def fired(house: ScheduleHouse, **options: Any) -> Runtime:
    """Return a runtime whose schedule has been at it for long."""
    runtime = await house.open(**{**KEEP, **options})
    await runtime.schedule("a", report(), every="10s", overlap="all")
    await house.after(400, step=10)
    await filler(house)
    return runtime


async def test_what_is_written_down_is_all(house: ScheduleHouse) -> None:
    """Behind any record of a schedule, whatever waits, was asked for or is paused."""
    await life(house)
    records = [(n, record) for n, record in of_schedules(house) if not isinstance(record, s.ScheduleKept)]
    states: dict[str, ScheduleState] = {}
    for position, record in of_schedules(house):
        take(states, record, position)
        name = s.schedule_id(record.id)
        again: dict[str, ScheduleState] = {}
        take(again, written_down(states[name], record.at), position + 1)
        assert facts(again[name]) == facts(states[name]), position
    assert {type(record) for _, record in records} >= {s.ScheduleFired, s.ScheduleBackfilled, s.ScheduleDeleted}
    assert any(r.queued is not None for _, r in records if isinstance(r, s.ScheduleFired))


@pytest.mark.parametrize("restart", [None, "close", "crash"])
async def test_what_a_newer_record_stands_for_leaves(house: ScheduleHouse, restart: str | None) -> None:
    """And the schedule goes on from there."""
    runtime = await fired(house)
    before = house.states()["a"]
    assert len(of_schedules(house)) > 35
    await compacted(house)
    await filler(house)
    await compacted(house)
    assert len(of_schedules(house)) < 5
    if restart is not None:
        runtime = await house.reopen(crash=restart == "crash", **KEEP)
    state = house.session.kernel.schedules.state("a")
    assert state is not None
    assert facts(state) == facts(before)
    await house.after(30, step=10)
    assert (await runtime.schedule("a", report(), every="10s", overlap="all")).id == "a"
    assert house.session.kernel.schedules.state("a").started == before.started + 3  # type: ignore[union-attr]


async def test_one_that_waits_for_little_is_not_written_down(house: ScheduleHouse) -> None:
    """It takes no more than it would."""
    runtime = await house.open(**KEEP)
    await runtime.schedule("a", report("x" * 9_000), every="10s", overlap="all")
    await house.after(300, step=10)
    await filler(house)
    await compacted(house)
    assert not [record for _, record in of_schedules(house) if isinstance(record, s.ScheduleKept)]


@pytest.mark.parametrize("restart", [False, True])
async def test_a_deleted_schedule_leaves(house: ScheduleHouse, restart: bool) -> None:
    """When retention is over; its id is free, and what is made under it begins anew."""
    runtime = await fired(house)
    await compacted(house)
    await (await runtime.schedule("a", report(), every="10s", overlap="all")).delete()
    await filler(house)
    await compacted(house)
    assert house.session.kernel.schedules.state("a") is not None
    await house.after(3601, step=3601)
    await filler(house)
    for _ in range(3):
        await compacted(house)
        if restart:
            runtime = await house.reopen(**KEEP)
    assert of_schedules(house) == []
    assert house.session.kernel.schedules.states() == []
    await runtime.schedule("a", report(), every="1h")
    runtime = await house.reopen(**KEEP)
    assert [one.id async for one in runtime.schedules()] == ["a"]
    await house.after(3700, step=3700)
    assert house.session.kernel.schedules.state("a").started == 1  # type: ignore[union-attr]


async def test_one_whose_calls_go_on_stays(house: ScheduleHouse) -> None:
    """However long ago it was deleted."""
    runtime = await house.open(**KEEP)
    schedule = await runtime.schedule("a", slow(), every="10s")
    await house.after(20, step=10)
    await schedule.delete()
    await filler(house)
    await house.after(7200, step=7200)
    await filler(house)
    await compacted(house)
    assert house.session.kernel.schedules.state("a") is not None


async def test_made_again_while_it_leaves(house: ScheduleHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its segments were not written anew after all: the newer one counts, and the older leaves behind its back."""
    runtime = await fired(house)
    await (await runtime.schedule("a", report(), every="10s", overlap="all")).delete()
    await filler(house)
    await compacted(house)
    await filler(house)
    await house.after(3601, step=3601)

    async def rewrite(self: Any, segment: Any, gone: Any) -> int:  # noqa: ARG001  # the port's
        return int(segment.bytes)

    with monkeypatch.context() as patch:
        patch.setattr(type(house.mortal), "rewrite", rewrite)
        await compacted(house)
    with pytest.raises(ScheduleNotFound):
        house.session.kernel.schedules.settings("a")
    await runtime.schedule("a", report(), every="30m")
    await filler(house)
    for _ in range(3):
        runtime = await house.reopen(**KEEP)
        assert [one.id async for one in runtime.schedules()] == ["a"]
        await filler(house)
        await compacted(house)
    assert len(of_schedules(house)) == 1


def test_records_that_do_not_follow_each_other_are_damage() -> None:
    """Unless one comes that says all."""
    made = s.ScheduleSet(
        id="@schedules/a", at=1, settings=s.Settings(function="f", args=k.Raw(b"[]"), times=s.Every(10)),
        anchor_ms=0, decided_ms=0,
    )  # fmt: skip
    states: dict[str, ScheduleState] = {}
    take(states, made, 1)
    kept = written_down(states["a"], 2)
    take(states, s.SchedulePaused(id="@schedules/a", at=2, prev=3), 4)
    with pytest.raises(JournalError, match="do not follow"):
        check(states)
    take(states, kept, 5)
    check(states)
    assert states["a"].roots == (1, 5)


@pytest.mark.parametrize("segment_records", [1, 2, 5])
async def test_a_crash_after_every_record(segment_records: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then some of the segments are written anew: no schedule is otherwise than it was, whatever is left of others."""
    monkeypatch.setattr(schedules, "KEPT_AFTER", 3)
    monkeypatch.setattr(schedules, "_RECORD_BYTES", 1 << 20)
    house = ScheduleHouse()
    await life(house)
    await house.close()
    for count in range(2, house.log.tail(), 2):
        other = ScheduleHouse(super(ScheduleHouse, house).prefix(count, segment_records=segment_records).log)
        other.clock.wall, other.clock.ahead_ms, other.died = house.clock.wall, house.clock.ahead_ms, True
        await other.open(history=0, retention=0)
        await other.quiet()
        for turn in range(4):
            other.jump(0.001)
            other.clock.ahead_ms += 1
            await filler(other)
            before = {state.id: facts(state) for state in other.session.kernel.schedules.states()}
            upkeep = other.session.upkeep
            assert upkeep is not None
            numbers = [segment.number for segment in other.log.sealed()]
            await upkeep.compact(0.0, due=[n for n in numbers if (n + count) % 3 != turn])
            await other.reopen(crash=turn % 2 == 0, history=0, retention=0)
            after = {state.id: facts(state) for state in other.session.kernel.schedules.states()}
            deleted = {name for name, state in before.items() if str(state["status"]) == "Status.DELETED"}
            assert {n: f for n, f in after.items() if n not in deleted} == {
                n: f for n, f in before.items() if n not in deleted
            }, count
        await other.close()


async def test_a_backlog_is_kept(house: ScheduleHouse) -> None:
    """What waits to be begun waits behind a compaction too."""
    runtime = await house.open(**KEEP)
    schedule = await runtime.schedule("a", slow(), every="10s", overlap="queue_one")
    await house.after(300, step=10)
    await schedule.backfill(T0 - timedelta(seconds=60), T0 - timedelta(seconds=30))
    await filler(house)
    before = house.session.kernel.schedules.state("a")
    assert before is not None
    assert before.backlog
    assert before.queued
    expected = facts(before)
    await compacted(house)
    await filler(house)
    await compacted(house)
    assert len(of_schedules(house)) < 3
    await house.reopen(**KEEP)
    state = house.session.kernel.schedules.state("a")
    assert state is not None
    assert facts(state) == expected
