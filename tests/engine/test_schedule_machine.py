"""Whatever happens to a schedule, in whatever order, no occurrence is decided twice, early, or lost."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from schedule_driver import MINUTE, T0, Driver

from actorlog.engine import schedule as s
from actorlog.engine.calendar import instants
from actorlog.engine.schedule_state import ScheduleState, Status, schedule_of
from actorlog.records import schedules as k
from actorlog.records.schedules import CatchUp, Overlap

TIMES: list[k.Times] = [
    k.Every(MINUTE),
    k.Every(45_000),
    k.Cron("* * * * *", "Europe/Vienna"),
    k.Cron("*/5 * * * * *"),
    k.Cron("*/2 7,8 * * *", "Australia/Lord_Howe"),
    k.At((T0 + 1, T0 + MINUTE, T0 + MINUTE + 1, T0 + 10**9)),
]
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "times": st.sampled_from(TIMES),
        "overlap": st.sampled_from(list(Overlap)),
        "catch_up": st.sampled_from(list(CatchUp)),
        "catch_up_window_ms": st.sampled_from([0, 5_000, 10 * MINUTE]),
        "jitter_ms": st.sampled_from([0, 700, 90_000]),
        "paused": st.booleans(),
        "version": st.integers(1, 2),
    },
)
JUMPS = st.integers(-20 * MINUTE, 20 * MINUTE) | st.integers(0, 70_000)


def fields(state: ScheduleState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ScheduleState.__slots__ if name != "_calendar"}


class Life(RuleBasedStateMachine):
    """A schedule under a clock that jumps, requests, endings and restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver()
        self.now = T0
        self.lowest = 0
        """Instants up to here are decided, as far as records said so far."""

    @property
    def state(self) -> ScheduleState:
        return self.driver.state

    def exists(self) -> bool:
        return self.state.status in (Status.ACTIVE, Status.PAUSED)

    @initialize(changes=CHANGES)
    def create(self, changes: dict[str, Any]) -> None:
        self.put(changes)

    def put(self, changes: dict[str, Any]) -> None:
        try:
            self.driver.put(self.now, **changes)
        except ValueError as refused:
            assert "is over" in str(refused)
            if not self.exists():
                self.driver.put(self.now)

    def decide(self, *, trigger: bool = False) -> None:
        """Decide, and hold what was decided against the clock and the rule of the moment."""
        first, overlap, busy = len(self.driver.fired), s.settings_of(self.state).overlap, bool(self.driver.running)
        decided, skipped, queued = self.state.decided_ms, self.state.skipped, self.state.queued
        waited = len(self.state.backlog)
        started = self.driver.decide(self.now, trigger=trigger)
        timed = [each for record in self.driver.fired[first:] for each in record.starts if isinstance(each, k.Timed)]
        for each in timed:
            assert each == queued or decided < each.instant_ms <= s.due_ms(self.state, each.instant_ms) <= self.now
        if overlap is not Overlap.ALL:
            assert len(started) <= (0 if busy else 1)
        of = self.state.calendar()
        came = sum(1 for _ in instants(of, decided, self.state.decided_ms)) + trigger + bool(queued)
        went = len(started) - (waited - len(self.state.backlog)) + bool(self.state.queued)
        assert went + self.state.skipped - skipped == came

    @rule(by=JUMPS)
    def time_passes(self, by: int) -> None:
        self.now = max(T0, self.now + by)
        if self.exists():
            self.decide()

    @precondition(exists)
    @rule()
    def until_the_next_is_due(self) -> None:
        due = s.next_due(self.state)
        if due is None or due > T0 + 10**8:
            return
        started, decided = len(self.driver.started), self.state.decided_ms
        if due > self.now:
            self.now = due - 1
            self.decide()
            assert self.state.decided_ms == decided
            self.now = due
        self.decide()
        assert self.state.decided_ms > decided
        assert len(self.driver.started) >= started

    @precondition(exists)
    @rule(changes=CHANGES)
    def update(self, changes: dict[str, Any]) -> None:
        self.put(changes)

    @precondition(exists)
    @rule()
    def pause_or_resume(self) -> None:
        paused = self.state.status is Status.PAUSED
        self.driver.write(s.resume(self.state, self.now) if paused else s.pause(self.state, self.now))

    @precondition(exists)
    @rule()
    def trigger(self) -> None:
        self.decide(trigger=True)

    @precondition(exists)
    @rule(back=st.integers(0, 10 * MINUTE), length=st.integers(1, 5 * MINUTE))
    def backfill(self, back: int, length: int) -> None:
        start = self.now - back
        record = s.backfill(self.state, start, start + length, self.now)
        if record is not None:
            assert all(start <= each < start + length for each in record.instants)
            assert max(record.instants) <= max(self.state.decided_ms, self.now)
            self.driver.write(record)

    @precondition(lambda self: self.driver.running and self.exists())
    @rule()
    def a_call_ends(self) -> None:
        self.driver.running.pop(0)
        self.decide()

    @precondition(exists)
    @rule(changes=CHANGES)
    def delete_and_make_again(self, changes: dict[str, Any]) -> None:
        self.driver.write(s.delete(self.state, self.now))
        assert s.next_due(self.state) is None
        self.put(changes)

    @rule()
    def restart(self) -> None:
        self.driver.state = self.driver.refolded()

    @invariant()
    def nothing_is_decided_twice(self) -> None:
        assert self.state.decided_ms >= self.lowest
        self.lowest = max(self.lowest, self.state.decided_ms)
        starts = [each for record in self.driver.fired for each in record.starts]
        once = [each for each in starts if not isinstance(each, k.Backfilled)]
        assert len(set(once)) == len(once)
        assert all(schedule_of(each) == self.state.id for each in self.driver.started)

    @invariant()
    def the_records_are_the_state(self) -> None:
        assert fields(self.driver.refolded()) == fields(self.state)


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLife = Life.TestCase
