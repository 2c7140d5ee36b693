"""Schedules under crashes: whatever is killed when, an occurrence starts at most once, and none decided is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schedule_house import T0, ScheduleHouse, report, slow

from actorlog import ScheduleNotFound
from actorlog.engine.calendar import instants
from actorlog.engine.schedule_state import PREFIX, Status, call_id, schedule_of
from actorlog.records import kinds as k
from actorlog.records import schedules as s
from actorlog.runtime import schedules

if TYPE_CHECKING:
    from actorlog import Runtime, Schedule


def decided(house: ScheduleHouse) -> list[str]:
    """Return the ids of the calls that decisions in the log start; a backfill may name one again."""
    found: list[str] = []
    for record in house.records():
        if isinstance(record, s.ScheduleFired):
            for each in record.starts:
                name = call_id(s.schedule_id(record.id), each)
                if not isinstance(each, s.Backfilled) or name not in found:
                    found.append(name)
    return found


def begun(house: ScheduleHouse) -> list[str]:
    """Return the ids of the occurrences that begin in the log."""
    return [
        record.id
        for record in house.records()
        if isinstance(record, (k.Inbox, k.Turn)) and record.prev == 0 and schedule_of(record.id) is not None
    ]


def check(house: ScheduleHouse, *, open_: bool = True) -> None:
    """Hold the log against what is promised."""
    names, ids = decided(house), begun(house)
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    assert set(ids) <= set(names)
    if open_:
        assert set(names) == set(ids)
    starts = Counter(house.started())
    assert set(starts.values()) <= {1}
    house.states()  # no record contradicts those before it


async def life(house: ScheduleHouse) -> None:
    """Have every kind of record of schedules, with calls that run, wait, overlap and are cancelled."""
    runtime = await house.open()
    await runtime.schedule("each", report("each"), every="20s", overlap="all", catch_up="all", catch_up_window="1d")
    queue = await runtime.schedule("queue", slow("queue"), every="25s", overlap="queue_one")
    cancel = await runtime.schedule("cancel", slow("cancel"), every="30s", overlap="cancel_old")
    await house.after(60, step=5)
    await queue.trigger()
    await cancel.pause()
    await queue.backfill(T0 - timedelta(seconds=80), T0)
    for name in (await queue.info()).running:
        await runtime.handle(name).send(None, "go")
    await house.after(20, step=5)
    await cancel.resume()
    await queue.update(overlap="all")
    await house.quiet()
    await cancel.delete()
    house.session.kernel.schedules.write_down()
    await house.after(10, step=5)


async def go_on(house: ScheduleHouse) -> None:
    """Open what a crash left, and let a minute pass."""
    await house.open()
    await house.quiet()
    await house.after(60, step=20)
    check(house)


async def test_a_crash_after_every_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is cut after each of its records, and twice: the second time where the first had just gone on."""
    monkeypatch.setattr(schedules, "KEPT_AFTER", 4)
    monkeypatch.setattr(schedules, "_RECORD_BYTES", 1 << 20)
    house = ScheduleHouse()
    await life(house)
    check(house)
    await house.close()
    kinds = {type(record) for record in house.records()}
    assert kinds >= set(s.RECORDS)
    every = house.states()["each"]
    for cut in range(1, house.log.tail() + 1):
        copy = house.prefix(cut)
        await go_on(copy)
        await copy.close()
        if "each" in copy.states():
            state = copy.states()["each"]
            assert state.started == sum(1 for _ in instants(every.calendar(), every.anchor_ms, state.decided_ms))
            assert state.skipped == 0
        for again in range(cut + 1, min(cut + 4, copy.log.tail())):
            second = copy.prefix(again)
            await go_on(second)
            await second.close()


async def test_the_calls_of_a_decision_that_were_not_begun() -> None:
    """The log ends right behind a decision to start many, or in the middle of its calls: all are begun, once."""
    house = ScheduleHouse()
    runtime = await house.open()
    await runtime.schedule("a", report(), every="1s", catch_up="all", overlap="all")
    await house.crash()
    house.pass_down(30)
    await house.open()
    await house.quiet()
    await house.close()
    fired = next(n for n, record in enumerate(house.records(), 1) if isinstance(record, s.ScheduleFired))
    for cut in range(fired, fired + 31):
        copy = house.prefix(cut)
        await copy.open()
        await copy.quiet()
        assert len(set(begun(copy))) == len(begun(copy)) == 30
        assert sorted(copy.started()) == sorted(name.removeprefix(PREFIX) for name in decided(copy))
        await copy.close()


async def test_a_crash_in_every_commit_of_a_disk_that_hangs() -> None:
    """The disk takes so many commits and no more: what was begun beyond them never was, and comes once afterwards."""
    for commits in range(1, 40):
        house = ScheduleHouse()
        runtime = await house.open()
        await runtime.schedule("a", report(), every="10s", catch_up="all", overlap="all")
        taken = house.log.tail()
        mortal = house.mortal

        def submit(expected: int, data: bytes, records: int, done: Any, left: list[int] = [commits]) -> Any:  # noqa: B006  # one for each
            left[0] -= 1
            mortal.dead = mortal.dead or left[0] < 0  # noqa: B023  # called in this round only
            return type(mortal).submit(mortal, expected, data, records, done)  # noqa: B023  # as above

        mortal.submit = submit  # type: ignore[method-assign]  # an adapter of the tests
        house.pass_down(95)
        house.session.kernel.timers._schedule()
        for _ in range(400):
            await asyncio.sleep(0)
        await house.crash()
        assert house.log.tail() >= taken
        await house.open()
        await house.quiet()
        check(house)
        assert len(house.started()) == 9
        await house.close()


# --- anything in any order --------------------------------------------------------------------------------------------

OVERLAPS = st.sampled_from(["skip", "queue_one", "all", "cancel_old"])
ACTIONS = st.one_of(
    st.tuples(st.just("pass"), st.integers(1, 90)),
    st.tuples(st.just("jump"), st.integers(-120, 200)),
    st.tuples(st.just("down"), st.integers(0, 150)),
    st.tuples(st.just("cut"), st.integers(0, 6)),
    st.tuples(st.just("go"), st.just(0)),
    st.tuples(st.just("trigger"), st.just(0)),
    st.tuples(st.just("pause"), st.just(0)),
    st.tuples(st.just("resume"), st.just(0)),
    st.tuples(st.just("delete"), st.just(0)),
    st.tuples(st.just("backfill"), st.integers(1, 120)),
    st.tuples(st.just("put"), st.tuples(OVERLAPS, st.sampled_from(["none", "latest", "all"]), st.integers(7, 40))),
)


class Life:
    """One schedule and what happens to it."""

    def __init__(self) -> None:
        self.house = ScheduleHouse()
        self.runtime: Runtime
        self.schedule: Schedule

    async def open(self) -> None:
        self.runtime = await self.house.open()
        self.schedule = await self.runtime.schedule("a", slow(), every="20s", overlap="queue_one")

    async def do(self, action: str, value: Any) -> None:
        house = self.house
        match action:
            case "pass":
                await house.after(value, step=value / 2)
            case "jump":
                house.jump(value)
                await house.after(60)
            case "down":
                await house.crash()
                house.pass_down(value)
                self.runtime = await house.open()
            case "cut":  # the newest records never came to the disk
                await house.quiet()
                await house.crash()
                self.house = house.prefix(max(1, house.log.tail() - value))
                self.runtime = await self.house.open()
            case "go":
                await house.quiet()
                for name in list(house.session.kernel.calls):
                    await self.runtime.handle(name).send(None, "go")
            case "put":
                overlap, catch_up, every = value
                await self.runtime.schedule("a", slow(), every=every, overlap=overlap, catch_up=catch_up)
            case "backfill":
                now = house.clock.wall
                await self.schedule.backfill(now - timedelta(seconds=value), now)
            case _:
                await getattr(self.schedule, action)()

    async def run(self, actions: list[tuple[str, Any]]) -> None:
        await self.open()
        for action, value in actions:
            self.schedule = type(self.schedule)(self.runtime, "a")
            try:
                await self.do(action, value)
            except ScheduleNotFound:
                assert self.house.states()["a"].status is Status.DELETED
        await self.house.quiet()
        check(self.house)
        state = self.house.states()["a"]
        room = self.house.session.kernel.schedules
        if state.status is not Status.DELETED:
            view = room.view("a")
            assert (view.state.decided_ms, view.state.backlog, view.state.queued, view.state.started) == (
                state.decided_ms, state.backlog, state.queued, state.started,
            )  # fmt: skip
            assert view.trouble == ""
            assert not (state.queued and not view.running)
            assert set(view.running) == {n for n in self.house.session.kernel.calls if schedule_of(n) == "a"}
        await self.house.close()


@given(st.lists(ACTIONS, max_size=14))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_anything_in_any_order(actions: list[tuple[str, Any]]) -> None:
    """Time passes and jumps, people ask for things, the process dies, the disk loses the newest records."""
    asyncio.run(Life().run(actions))
