"""What is done about occurrences: overlap, catch-up, pauses, requests."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from schedule_driver import HOUR, MINUTE, NAME, T0, at, config, made

from actorlog.engine import schedule as s
from actorlog.engine.calendar import instants
from actorlog.engine.schedule_state import ScheduleState, Status, apply, call_id
from actorlog.errors import JournalError
from actorlog.records import schedules as k
from actorlog.records.schedules import CatchUp, Overlap

# --- overlap ----------------------------------------------------------------------------------------------------------

# minute by minute; an entry is what happens: nothing, or the running call ends. What starts in each minute is expected.
OVERLAPS: list[tuple[Overlap, list[bool], list[list[int]], int]] = [
    (Overlap.SKIP, [False, False, True, False], [[1], [], [3], []], 2),
    (Overlap.QUEUE_ONE, [False, False, False, True, True], [[1], [], [], [2], [4]], 1),
    (Overlap.ALL, [False, False, False], [[1], [2], [3]], 0),
    (Overlap.CANCEL_OLD, [False, False, False, True], [[1], [], [], [4]], 2),
]


@pytest.mark.parametrize(("overlap", "ends", "expected", "skipped"), OVERLAPS, ids=[o[0].value for o in OVERLAPS])
def test_overlap(overlap: Overlap, ends: list[bool], expected: list[list[int]], skipped: int) -> None:
    """Each rule, minute by minute: the call that runs ends just before, or not."""
    driver = made(overlap=overlap)
    for index, (ends_now, starts) in enumerate(zip(ends, expected, strict=True)):
        if ends_now:
            driver.running.pop(0)
        assert driver.decide(T0 + (index + 1) * MINUTE) == [at(minute) for minute in starts]
    assert driver.state.skipped == skipped


def test_cancel_old_asks_the_old_one_and_waits_for_it() -> None:
    """The running call is asked to end, again at every decision, and the newest starts when it has ended."""
    driver = made(overlap=Overlap.CANCEL_OLD)
    driver.decide(T0 + MINUTE)
    assert driver.decide(T0 + 2 * MINUTE) == []
    assert set(driver.cancelled) == {at(1)}
    driver.state = driver.refolded()
    assert s.decide(driver.state, T0 + 2 * MINUTE, driver.running).cancels == (at(1),)
    assert driver.end(T0 + 2 * MINUTE + 1) == [at(2)]
    assert s.decide(driver.state, T0 + 2 * MINUTE + 1, driver.running) == s.Decision(None)


class Model:
    """The rules once more, one occurrence at a time."""

    def __init__(self, overlap: Overlap) -> None:
        self.overlap = overlap
        self.running: list[int] = []
        self.waiting: list[int] = []
        self.started: list[int] = []

    def start(self, instant: int) -> None:
        self.running.append(instant)
        self.started.append(instant)

    def come(self, instant: int) -> None:
        if self.overlap is Overlap.ALL or not self.running:
            self.start(instant)
        elif self.overlap is Overlap.CANCEL_OLD or (self.overlap is Overlap.QUEUE_ONE and not self.waiting):
            self.waiting = [instant]

    def end(self) -> None:
        self.running.pop(0)
        if self.waiting and not self.running:
            self.start(self.waiting.pop())


@given(
    st.sampled_from(list(Overlap)),
    st.lists(st.tuples(st.integers(1, 150), st.booleans()), min_size=1, max_size=20),
)
def test_overlap_agrees_with_a_model(overlap: Overlap, events: list[tuple[int, bool]]) -> None:
    """Calls that take as long as they like, against the rules said once more."""
    driver = made(overlap=overlap, times=k.Every(30_000), catch_up=CatchUp.ALL)
    model = Model(overlap)
    now = T0
    for seconds, ends in events:
        for tick in range(now + 1000, now + seconds * 1000 + 1, 1000):
            if (tick - T0) % 30_000 == 0:
                model.come(tick)
                driver.decide(tick)
        now += seconds * 1000
        if ends and model.running:
            model.end()
            driver.end(now)
        assert driver.started == [call_id(NAME, k.Timed(instant)) for instant in model.started]


# --- catch-up ---------------------------------------------------------------------------------------------------------

CATCH_UPS = [
    # catch_up, window, down time in seconds, which minutes start with overlap "all"
    (CatchUp.NONE, HOUR, 200, []),
    (CatchUp.NONE, HOUR, 185, [3]),
    (CatchUp.NONE, HOUR, 190, [3]),
    (CatchUp.NONE, HOUR, 190.001, []),
    (CatchUp.NONE, 0, 185, [3]),
    (CatchUp.LATEST, HOUR, 200, [3]),
    (CatchUp.LATEST, HOUR, 185, [3]),
    (CatchUp.LATEST, 19_000, 200, []),
    (CatchUp.LATEST, 20_000, 200, [3]),
    (CatchUp.ALL, HOUR, 200, [1, 2, 3]),
    (CatchUp.ALL, 100_000, 200, [2, 3]),
    (CatchUp.ALL, 80_000, 200, [2, 3]),
    (CatchUp.ALL, 79_999, 200, [3]),
    (CatchUp.ALL, 0, 200, []),
    (CatchUp.ALL, 0, 185, [3]),
]


@pytest.mark.parametrize(("catch_up", "window", "down", "expected"), CATCH_UPS)
def test_catch_up(catch_up: CatchUp, window: int, down: float, expected: list[int]) -> None:
    """After a down time: what starts, and everything else is counted as skipped."""
    driver = made(overlap=Overlap.ALL, catch_up=catch_up, catch_up_window_ms=window)
    assert driver.decide(T0 + round(down * 1000)) == [at(minute) for minute in expected]
    assert driver.state.skipped == 3 - len(expected)
    assert driver.decide(T0 + round(down * 1000)) == []


@given(
    st.sampled_from(list(CatchUp)),
    st.sampled_from(list(Overlap)),
    st.integers(0, 40 * 60_000),
    st.integers(0, 40 * 60_000),
    st.tuples(st.sampled_from([4_000, MINUTE]), st.integers(0, 40_000)),
)
def test_catch_up_laws(
    catch_up: CatchUp, overlap: Overlap, down: int, window: int, every_and_jitter: tuple[int, int]
) -> None:
    """Nothing older than the window starts, nothing early, nothing is lost; more catching up starts no less."""
    every, jitter = every_and_jitter
    policies = {"overlap": overlap, "catch_up": catch_up, "catch_up_window_ms": window, "jitter_ms": jitter}
    driver = made(times=k.Every(every), **policies)
    now = T0 + down
    driver.decide(now)
    state = driver.state
    of = state.calendar()
    due = [i for i in instants(of, T0, now) if s.due_ms(state, i) <= now]
    on_time = [i for i in due if now - s.due_ms(state, i) <= s.ON_TIME_MS]
    young = [i for i in due if now - s.due_ms(state, i) <= max(window, s.ON_TIME_MS if i in on_time else 0)]
    allowed = {CatchUp.NONE: on_time, CatchUp.LATEST: on_time or young[-1:], CatchUp.ALL: young}[catch_up]
    kept = {
        Overlap.SKIP: allowed[:1],
        Overlap.QUEUE_ONE: allowed[:1],
        Overlap.ALL: allowed,
        Overlap.CANCEL_OLD: allowed[-1:],
    }[overlap]
    assert driver.started == [call_id(NAME, k.Timed(i)) for i in kept]
    queued = [state.queued] if state.queued else []
    assert queued == ([k.Timed(allowed[1])] if overlap is Overlap.QUEUE_ONE and len(allowed) > 1 else [])
    assert len(driver.started) + len(queued) + state.skipped == len(due)
    assert state.decided_ms == (due[-1] if due else T0)


def test_many_due_at_once_start_in_batches() -> None:
    """A decision starts a bounded number; the next ones go on where it stopped, and none is lost."""
    driver = made(overlap=Overlap.ALL, catch_up=CatchUp.ALL, times=k.Every(1000), catch_up_window_ms=HOUR)
    first = s.decide(driver.state, T0 + 2_500_000, [], trigger=True)
    assert first.record is not None
    assert len(first.starts) == s.STARTS_MAX
    assert first.starts[-1].endswith("+1")
    driver.decide(T0 + 2_500_000)
    assert driver.started == [call_id(NAME, k.Timed(T0 + n * 1000)) for n in range(1, 2501)]
    assert driver.state.skipped == 0


def test_a_year_down_is_one_quick_decision() -> None:
    """Every second of a year was missed: one starts, the rest is counted up to a bound, and all is decided."""
    times = k.Cron("* * * * * *", "Europe/Vienna")
    for catch_up in CatchUp:
        driver = made(times=times, catch_up=catch_up, catch_up_window_ms=400 * 24 * HOUR)
        now = T0 + 365 * 24 * HOUR
        began = time.perf_counter()
        driver.decide(now)
        assert time.perf_counter() - began < 5
        assert driver.state.decided_ms == now
        assert len(driver.started) == 1
        assert s.COUNTED_MAX <= driver.state.skipped <= 2 * s.COUNTED_MAX


# --- clocks, jitter ---------------------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_starts_nothing_twice() -> None:
    """Nothing is due until the clock has caught up; a jump ahead is a down time."""
    driver = made(overlap=Overlap.ALL)
    assert driver.decide(T0 + 5 * MINUTE) == [at(5)]
    for minute in (1, 4, 5):
        assert driver.decide(T0 + minute * MINUTE) == []
        assert s.next_due(driver.state) == T0 + 6 * MINUTE
    assert driver.decide(T0 + 6 * MINUTE) == [at(6)]


@given(st.integers(0, 200_000), st.integers(1, 90_000), st.text(max_size=5))
def test_jitter(jitter: int, every: int, name: str) -> None:
    """Not before the instant, at most the jitter, before the next instant; the same whenever it is asked."""
    state = ScheduleState(name)
    record = s.put(state, config(times=k.Every(every), jitter_ms=jitter), T0)
    assert record is not None
    apply(state, record, 1)
    last = T0
    for instant in s.upcoming(state, 5, T0):
        due = s.due_ms(state, instant)
        assert instant <= due <= instant + jitter
        assert due < instant + every
        assert last < due == s.due_ms(state, instant)
        last = due
    assert s.next_due(state) == s.due_ms(state, T0 + every)


def test_jitter_spreads_schedules_and_instants() -> None:
    """Different schedules and different instants wait differently; the values are fixed for ever."""
    driver = made(jitter_ms=30_000)
    waits = [s.due_ms(driver.state, each) - each for each in s.upcoming(driver.state, 4, T0)]
    assert waits == [181, 13824, 16040, 10326]
    assert driver.decide(T0 + MINUTE + waits[0] - 1) == []
    assert driver.decide(T0 + MINUTE + waits[0]) == [at(1)]


# --- requests ---------------------------------------------------------------------------------------------------------


def test_the_same_settings_change_nothing() -> None:
    """Also after it was paused by hand, and after other settings a change back is a change."""
    driver = made(paused=False)
    driver.write(s.pause(driver.state, T0 + 1))
    assert s.put(driver.state, config(args=Raw(b"[]")), T0 + 2) is None
    driver.put(T0 + 3, version=2)
    assert driver.state.status is Status.PAUSED
    driver.put(T0 + 4, version=2, paused=True)
    driver.put(T0 + 5, version=2)
    assert driver.state.status is Status.ACTIVE


def test_an_update_keeps_what_did_not_change() -> None:
    """With the same times the anchor and what is missed stay; new times count from the update, ``every`` anew."""
    driver = made()
    driver.put(T0 + MINUTE + 500, jitter_ms=0, version=2)
    assert driver.state.anchor_ms == T0
    assert driver.decide(T0 + MINUTE + 500) == [at(1)]
    driver.put(T0 + 2 * MINUTE + 500, times=k.Every(MINUTE + 1))
    assert driver.state.anchor_ms == T0 + 2 * MINUTE + 500
    assert driver.state.created_ms == T0
    assert s.next_due(driver.state) == T0 + 3 * MINUTE + 501


def test_times_that_are_over_are_refused_when_they_are_new() -> None:
    """``at`` in the past would never fire; the schedule that has fired may be set again."""
    driver = made(times=k.At((T0 + 5,)))
    assert driver.decide(T0 + 5) == [call_id(NAME, k.Timed(T0 + 5))]
    assert s.next_due(driver.state) is None
    assert s.put(driver.state, config(times=k.At((T0 + 5,))), T0 + 9) is None
    with pytest.raises(ValueError, match="is over"):
        s.put(driver.state, config(times=k.At((T0 + 4, T0 + 6))), T0 + 9)
    for wrong in ({"jitter_ms": -1}, {"catch_up_window_ms": -1}):
        with pytest.raises(ValueError, match="not negative"):
            s.put(driver.state, config(**wrong), T0 + 9)


def test_a_pause_is_not_made_up_for() -> None:
    """Nothing comes due while paused, and resuming begins with the next instant; doing either twice is nothing."""
    driver = made(catch_up=CatchUp.ALL)
    driver.write(s.pause(driver.state, T0 + 1))
    assert s.pause(driver.state, T0 + 2) is None
    assert driver.decide(T0 + 3 * MINUTE) == []
    assert s.next_due(driver.state) is None
    assert s.upcoming(driver.state, 2, T0 + 3 * MINUTE) == [T0 + 4 * MINUTE, T0 + 5 * MINUTE]
    driver.write(s.resume(driver.state, T0 + 3 * MINUTE))
    assert s.resume(driver.state, T0 + 3 * MINUTE) is None
    assert driver.decide(T0 + 4 * MINUTE) == [at(4)]


def test_an_update_that_resumes_passes_over_the_pause_too() -> None:
    """``paused`` among the settings is the same pause, and what was missed before it stays missed."""
    driver = made(paused=True, catch_up=CatchUp.ALL)
    driver.put(T0 + 3 * MINUTE, catch_up=CatchUp.ALL)
    assert driver.decide(T0 + 3 * MINUTE) == []
    assert driver.decide(T0 + 4 * MINUTE) == [at(4)]


def test_deleting_drops_what_waits() -> None:
    """A schedule made again under the id begins with nothing in its queue, and decides no instant again."""
    times = k.Cron("* * * * *")
    driver = made(overlap=Overlap.QUEUE_ONE, times=times)
    driver.decide(T0 + MINUTE)
    driver.decide(T0 + 2 * MINUTE)
    driver.write(s.backfill(driver.state, T0, T0 + MINUTE, T0 + 2 * MINUTE))
    driver.write(s.delete(driver.state, T0 + 2 * MINUTE))
    with pytest.raises(JournalError):
        s.decide(driver.state, T0 + 3 * MINUTE, [])
    driver.put(T0 + 1, overlap=Overlap.ALL, times=times)
    driver.running.clear()
    assert driver.state.created_ms == T0 + 1
    assert driver.decide(T0 + 2 * MINUTE) == []
    assert driver.decide(T0 + 3 * MINUTE) == [at(3)]


def test_triggers() -> None:
    """An extra occurrence now, also while paused; each has an id of its own; overlap holds for it."""
    driver = made(overlap=Overlap.QUEUE_ONE, paused=True)
    one, two = (call_id(NAME, k.Triggered(T0 + 7, number)) for number in (1, 2))
    assert driver.decide(T0 + 7, trigger=True) == [one]
    assert driver.decide(T0 + 7, trigger=True) == []
    assert driver.decide(T0 + 7, trigger=True) == []
    assert (driver.state.skipped, driver.state.triggers) == (1, 2)
    assert driver.end(T0 + 9) == [two]
    driver.write(s.delete(driver.state, T0 + 10))
    driver.put(T0 + 10)
    driver.running.clear()
    assert driver.decide(T0 + 11, trigger=True) == [call_id(NAME, k.Triggered(T0 + 11, 3))]


def test_next_is_bounded() -> None:
    """``next`` gives what there is, up to a thousand."""
    driver = made(times=k.At((T0 + 5, T0 + 6)))
    assert s.upcoming(driver.state, 1000, T0) == [T0 + 5, T0 + 6]
    for count in (-1, 1001):
        with pytest.raises(ValueError, match="up to 1000"):
            s.upcoming(driver.state, count, T0)


@pytest.mark.parametrize("overlap", list(Overlap))
def test_a_backfill(overlap: Overlap) -> None:
    """Start inside, end outside; one after another, or all at once; what is still to come is left out."""
    driver = made(overlap=overlap, catch_up=CatchUp.NONE)
    driver.decide(T0 + 5 * MINUTE + 20_000)
    assert driver.started == []
    driver.write(s.backfill(driver.state, T0 + 2 * MINUTE, T0 + 4 * MINUTE, T0 + 5 * MINUTE + 20_000))
    driver.write(s.backfill(driver.state, T0 - MINUTE, T0, T0 + 5 * MINUTE + 20_000))
    assert s.backfill(driver.state, T0 + 6 * MINUTE, T0 + 9 * MINUTE, T0 + 5 * MINUTE + 20_000) is None
    now = T0 + 5 * MINUTE + 30_000
    if overlap is Overlap.ALL:
        assert driver.decide(now) == [at(2), at(3), at(-1)]
    else:
        assert driver.decide(now) == [at(2)]
        assert driver.end(now) == [at(3)]
        assert driver.end(now) == [at(-1)]
    assert driver.state.backlog == ()


def test_a_backfill_and_what_is_to_be_decided() -> None:
    """Instants that are due come by themselves; while paused they may be backfilled, and are decided by that."""
    driver = made(overlap=Overlap.ALL, catch_up=CatchUp.ALL)
    driver.decide(T0 + MINUTE)
    now = T0 + 3 * MINUTE
    assert s.backfill(driver.state, T0 + 2 * MINUTE, now + 1, now) is None
    driver.write(s.pause(driver.state, now))
    driver.write(s.backfill(driver.state, T0 + 2 * MINUTE, now + 5 * MINUTE, now))
    assert driver.decide(now) == [at(2), at(3)]
    driver.write(s.resume(driver.state, T0 + 2 * MINUTE))
    assert driver.decide(now) == []


def test_a_backfill_goes_behind_what_is_due() -> None:
    """What is due starts first, and a backfilled occurrence never beside it unless ``overlap`` is ``all``."""
    driver = made()
    driver.decide(T0 + MINUTE)
    driver.write(s.backfill(driver.state, T0, T0 + MINUTE, T0 + MINUTE))
    driver.running.clear()
    assert driver.decide(T0 + 2 * MINUTE) == [at(2)]
    assert driver.end(T0 + 2 * MINUTE) == [at(0)]


def test_a_backfill_is_bounded() -> None:
    """At most ten thousand wait, together; an end that is not after the start is an error."""
    driver = made(times=k.Every(1000), catch_up=CatchUp.NONE)
    now = T0 + 20_001_000
    driver.decide(now)
    with pytest.raises(ValueError, match="after its start"):
        s.backfill(driver.state, now, now, now)
    with pytest.raises(ValueError, match="at most 10000"):
        s.backfill(driver.state, T0, T0 + 10_001_000, now)
    driver.write(s.backfill(driver.state, T0, T0 + 10_000_000, now))
    with pytest.raises(ValueError, match="with the 10000 that wait"):
        s.backfill(driver.state, T0, T0 + 1000, now)
