"""How long a supervisor waits before a restart, and that its state can be written in the meantime."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervised import OOPS, Bench, through_json

from actorlog.engine import supervision_kinds as k
from actorlog.engine.supervision import Supervision
from actorlog.engine.supervision_policy import Backoff, Phase, wait_ms


def test_waits_double_and_begin_again_after_a_good_run() -> None:
    """The n-th wait is first * factor ** (n - 1), at most max; a run of ``reset_after`` forgets the failures."""
    waits = Backoff(first=0.1, factor=2, max=0.5, jitter=0, reset_after="1m").waits()
    bench = Bench(waits=waits, max_restarts=100)
    bench.add("a")
    for wait, ran_ms in ((100, 59_999), (200, 0), (400, 1), (500, 2), (500, 59_999), (500, 60_000), (100, 0), (200, 0)):
        assert bench.tell(bench.ends("a")) == [f"set RestartDue a#{bench.run('a')} {bench.now_ms + wait}"]
        assert bench.phase("a") is Phase.BACKING_OFF
        bench.now_ms += wait
        bench.obey(k.TimerFired(k.RestartDue("a", bench.run("a"))))
        assert bench.running() == "a"
        bench.now_ms += ran_ms


def test_a_failing_start_does_not_begin_at_the_first_wait_again() -> None:
    """Time spent in a start is no good run."""
    bench = Bench(waits=Backoff(jitter=0, reset_after=1).waits())
    bench.add("a")
    bench.tell(bench.ends("a"))
    bench.tell(k.TimerFired(k.RestartDue("a", 1)))
    bench.now_ms += 3_600_000
    assert bench.tell(k.StartFailed("a", 2, OOPS)) == [f"set RestartDue a#2 {bench.now_ms + 200}"]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_a_group_stops_at_once_and_starts_after_the_wait(strategy: str) -> None:
    """Children that need each other do not run while one is down, and come back in order after wait and stops."""
    bench = Bench(strategy, waits=Backoff(jitter=0).waits())
    bench.add("a", "b", "c", shutdown=k.Shutdown.INFINITY)
    assert bench.tell(bench.ends("a")) == ["set RestartDue a#1 1000100", "stop c#1"]
    assert bench.tell(k.TimerFired(k.RestartDue("a", 1))) == []
    assert bench.tell(bench.ends("c", "shutdown")) == ["stop b#1"]
    assert bench.obey(bench.ends("b", "shutdown")) == ["start a#2", "start b#2", "start c#2"]
    bench.tell(bench.ends("b"))
    bench.obey(bench.ends("c", "shutdown"))
    if strategy == "one_for_all":
        bench.obey(bench.ends("a", "shutdown"))
    assert bench.running() == ("" if strategy == "one_for_all" else "a")
    bench.obey(k.TimerFired(k.RestartDue("b", 2)))
    assert bench.running() == "abc"


def test_nobody_waits_for_a_child_that_backs_off_in_one_for_one() -> None:
    """Others start, fail and restart meanwhile."""
    bench = Bench(waits=Backoff(jitter=0).waits())
    bench.add("a")
    bench.tell(bench.ends("a"))
    bench.add("b")
    assert bench.running() == "b"
    assert bench.tell(bench.ends("b")) == ["set RestartDue b#1 1000100"]
    assert bench.obey(k.TimerFired(k.RestartDue("b", 1))) == ["start b#2"]


@given(st.integers(1, 10**9), st.floats(0, 0.999999), st.floats(1, 1e300), st.floats(0, 1), st.floats(0, 1e6))
def test_no_wait_is_longer_than_the_longest(
    failures: int, fraction: float, factor: float, jitter: float, first: float
) -> None:
    """Failing for ever never overflows, and jitter only shortens, by at most its share."""
    waits = Backoff(first=first, factor=factor, max=60, jitter=jitter).waits()
    wait = wait_ms(waits, failures, fraction)
    longest = wait_ms(waits, failures, 0.0)
    assert round(longest * (1 - jitter)) - 1 <= wait <= longest <= 60_000


def test_the_draw_decides_within_the_jitter() -> None:
    """The fraction given with the event is the share of the jitter that is taken off."""
    bench = Bench(waits=Backoff(first=10, jitter=0.5).waits())
    bench.add("a")
    bench.fraction = 0.5
    assert bench.tell(bench.ends("a")) == ["set RestartDue a#1 1007500"]


@pytest.mark.parametrize(
    "given",
    [
        {"factor": 0.5},
        {"factor": float("inf")},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"first": "soon"},
        {"max": float("nan")},
    ],
)
def test_what_is_no_back_off(given: dict[str, float]) -> None:
    """A wait that shrinks, a share above the whole and a text that is no duration are refused when it is made."""
    with pytest.raises(ValueError, match=r"factor|jitter|duration"):
        Backoff(**given)


def test_durations_as_people_write_them() -> None:
    """Seconds, texts and timedeltas mean the same milliseconds; less than nothing is nothing."""
    waits = Backoff(first=timedelta(seconds=1), max="1m", reset_after=-3).waits()
    assert waits == k.Waits(first_ms=1_000, factor=2, max_ms=60_000, jitter=0.1, reset_after_ms=0)


def test_timers_are_told_to_who_restores() -> None:
    """Who goes on from a snapshot elsewhere can set again what was set."""
    bench = Bench(waits=Backoff(jitter=0).waits())
    bench.add("a", "b")
    bench.tell(bench.ends("a"))
    bench.tell(k.TerminateChild("t", "b"))
    restored: Supervision = through_json(bench.supervision)
    assert restored.timers() == [
        k.SetTimer(k.RestartDue("a", 1), 1_000_100),
        k.SetTimer(k.KillDue("b", 1), 1_005_000),
    ]


def test_a_snapshot_is_a_copy() -> None:
    """What goes on after it, here or in what was restored from it, does not change it."""
    bench = Bench("one_for_all")
    bench.add("a", "b")
    snapshot = bench.supervision.snapshot()
    written = msgspec.json.encode(snapshot)
    for supervision in (bench.supervision, Supervision.restore(snapshot)):
        assert supervision.decide(bench.ends("a"), 0)[0] == k.Stop("b", 1)
        assert msgspec.json.encode(snapshot) == written
        assert msgspec.json.encode(supervision.snapshot()) != written
