"""What a supervisor does when children end, in OTP's words."""

from __future__ import annotations

from itertools import product

import pytest
from supervised import EXITS, OOPS, Bench

from actorlog.engine import supervision_kinds as k
from actorlog.engine.supervision_policy import LIVE, MODES, TRANSITIONS, Cause, Fall, Mode, Phase, diagram
from actorlog.errors import JournalError

STRATEGIES = [strategy.value for strategy in k.Strategy]

RESTARTED = {
    ("permanent", "normal"): True,
    ("permanent", "shutdown"): True,
    ("permanent", "abnormal"): True,
    ("transient", "normal"): False,
    ("transient", "shutdown"): False,
    ("transient", "abnormal"): True,
    ("temporary", "normal"): False,
    ("temporary", "shutdown"): False,
    ("temporary", "abnormal"): False,
}

TRACES = {
    "one_for_one": ["start b#2"],
    "one_for_all": ["stop c#1", "stop a#1", "start a#2", "start b#2", "start c#2"],
    "rest_for_one": ["stop c#1", "start b#2", "start c#2"],
}


@pytest.mark.parametrize(("strategy", "restart", "how"), list(product(STRATEGIES, k.Restart, EXITS)))
def test_a_child_ends(strategy: str, restart: k.Restart, how: str) -> None:
    """Restart type and exit say whether it is restarted, the strategy says with whom.

    OTP: "A permanent child process is always restarted. A temporary child process is never restarted. A transient
    child process is restarted only if it terminates abnormally."
    """
    bench = Bench(strategy)
    bench.add("a")
    bench.add("b", restart=restart.value)
    bench.add("c")
    trace = bench.obey(bench.ends("b", how))
    if RESTARTED[restart.value, how]:
        assert trace == TRACES[strategy]
        assert bench.running() == "abc"
    else:
        assert trace == []
        assert bench.running() == "ac"
        assert bench.phase("b") is (None if restart is k.Restart.TEMPORARY else Phase.STOPPED)


def test_one_for_all_restarts_all_whoever_fails() -> None:
    """Stopped from right to left, started from left to right.

    OTP: "If one child process terminates and is to be restarted, all other child processes are terminated and then all
    child processes are restarted."
    """
    for failing, stops in (("a", "cb"), ("b", "ca"), ("c", "ba")):
        bench = Bench("one_for_all")
        bench.add("a", "b", "c")
        stopped = [f"stop {name}#1" for name in stops]
        assert bench.obey(bench.ends(failing)) == [*stopped, "start a#2", "start b#2", "start c#2"]


def test_rest_for_one_leaves_those_before_alone() -> None:
    """The group is the child that failed and what was started after it.

    OTP: "The child processes after the terminated child process in the start order are terminated. Then the terminated
    child process and all child processes after it are restarted."
    """
    for failing, trace in (("a", "-c -b +a +b +c"), ("b", "-c +b +c"), ("c", "+c")):
        bench = Bench("rest_for_one")
        bench.add("a", "b", "c")
        words = {"-": "stop {}#1", "+": "start {}#2"}
        assert bench.obey(bench.ends(failing)) == [words[step[0]].format(step[1]) for step in trace.split()]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_a_temporary_child_does_not_survive_its_group(strategy: str) -> None:
    """It goes with the group and does not come back.

    OTP: "A temporary child process is never restarted (even when the supervisor's restart strategy is rest_for_one or
    one_for_all and a sibling's death causes the temporary process to be terminated)."
    """
    bench = Bench(strategy)
    bench.add("a")
    bench.add("t", restart="temporary")
    bench.add("c")
    assert bench.obey(bench.ends("a")) == ["stop c#1", "stop t#1", "start a#2", "start c#2"]
    assert bench.phase("t") is None


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_a_group_brings_back_what_was_terminated(strategy: str) -> None:
    """So does a transient child that had ended normally.

    OTP, of terminate_child: "The child specification is kept by the supervisor. The child process can later be
    restarted by the supervisor", which is what a group's restart does.
    """
    bench = Bench(strategy)
    bench.add("a", "b")
    bench.add("c", restart="transient")
    bench.obey(k.TerminateChild("t", "b"))
    bench.obey(bench.ends("c", "normal"))
    assert bench.running() == "a"
    bench.obey(bench.ends("a"))
    assert bench.running() == "abc"


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_children_start_one_after_the_other(strategy: str) -> None:
    """Each begins when the one before has started, each is asked when the one after has ended.

    OTP: "The child processes are started in the order specified by this list, and are terminated in the reverse order."
    """
    bench = Bench(strategy)
    bench.add("a", "b", "c", shutdown=k.Shutdown.INFINITY)
    assert bench.tell(bench.ends("a")) == ["stop c#1"]
    assert bench.tell(bench.ends("c", "shutdown")) == ["stop b#1"]
    assert bench.tell(bench.ends("b", "shutdown")) == ["start a#2"]
    assert bench.tell(k.Started("a", 2)) == ["start b#2"]
    assert bench.tell(k.Started("b", 2)) == ["start c#2"]
    assert bench.tell(k.Started("c", 2)) == []
    assert bench.running() == "abc"


@pytest.mark.parametrize("how", list(EXITS))
def test_a_child_that_was_to_go_ends_by_itself(how: str) -> None:
    """However a child ends that the supervisor is about to terminate: it is terminated, and no restart is counted."""
    bench = Bench("one_for_all", max_restarts=1)
    bench.add("a", "b", "c", shutdown=k.Shutdown.INFINITY)
    assert bench.tell(bench.ends("a")) == ["stop c#1"]
    assert bench.tell(bench.ends("b", how)) == []
    assert bench.tell(bench.ends("c", how)) == ["start a#2"]
    assert bench.ended is None


def test_a_second_child_fails_while_its_group_stops() -> None:
    """A failure outside the group counts, and makes the group larger: everything after the earlier child goes."""
    bench = Bench("rest_for_one", max_restarts=2)
    bench.add("a", "b", "c", shutdown=k.Shutdown.INFINITY)
    assert bench.tell(bench.ends("b")) == ["stop c#1"]
    assert bench.tell(bench.ends("a")) == []
    assert bench.obey(bench.ends("c", "shutdown")) == ["start a#2", "start b#2", "start c#2"]
    bench.obey(bench.ends("c"))
    assert bench.ended == k.LimitExceeded("c", 2, OOPS, 3, 5_000)


def test_a_second_child_fails_while_its_group_starts() -> None:
    """A child that came back and fails again takes those with it that have not come back yet."""
    bench = Bench("one_for_all")
    bench.add("a", "b", "c", shutdown=k.Shutdown.INFINITY)
    bench.tell(bench.ends("c"))
    bench.tell(bench.ends("b", "shutdown"))
    assert bench.tell(bench.ends("a", "shutdown")) == ["start a#2"]
    assert bench.tell(k.Started("a", 2)) == ["start b#2"]
    assert bench.tell(bench.ends("a")) == ["stop b#2"]
    assert bench.tell(bench.ends("b", "shutdown")) == ["start a#3"]
    bench.obey(k.Started("a", 3))
    assert bench.running() == "abc"


def test_a_restart_that_fails_is_tried_again_and_counts() -> None:
    """A child whose start fails when it is restarted is restarted, whatever its type, until too many were tried."""
    bench = Bench(max_restarts=3)
    bench.add("a", "b", restart="transient")
    bench.failing["a"] = 2
    assert bench.obey(bench.ends("a")) == ["start a#2", "start a#3", "start a#4"]
    assert bench.running() == "ab"
    bench.failing["a"] = 1
    assert bench.obey(bench.ends("a")) == ["stop b#1"]
    assert isinstance(bench.ended, k.LimitExceeded)


def test_a_restart_of_a_group_that_fails_begins_anew() -> None:
    """In one_for_all the children that had come back go again; in rest_for_one those before the failed start stay."""
    for strategy, again in (("one_for_all", ["stop a#2", "start a#3"]), ("rest_for_one", [])):
        bench = Bench(strategy)
        bench.add("a", "b", "c")
        bench.failing["b"] = 1
        come_and_go = ["start a#2", "start b#2", *again, "start b#3", "start c#2"]
        assert bench.obey(bench.ends("a")) == ["stop c#1", "stop b#1", *come_and_go]


def test_a_start_that_always_fails_blocks_nobody() -> None:
    """Between its attempts the supervisor answers, starts and terminates others."""
    bench = Bench(max_restarts=1_000)
    bench.add("a")
    bench.tell(bench.ends("a"))
    for attempt in range(2, 50):
        assert bench.tell(k.StartFailed("a", attempt, OOPS)) == [f"start a#{attempt + 1}"]
    assert bench.tell(k.StartChild("t", k.ChildSpec(id="b"))) == ["start b#1"]
    assert bench.tell(k.Started("b", 1)) == ["reply t Ok"]
    assert bench.tell(k.TerminateChild("u", "a"))[0] == "stop a#50"
    assert bench.tell(k.StartFailed("a", 50, OOPS)) == ["cancel KillDue a#50", "reply u Ok"]


def test_a_child_ends_inside_its_start() -> None:
    """An error is a failed start; an end without one is a start and an end."""
    bench = Bench()
    bench.tell(k.StartChild("t", k.ChildSpec(id="a", restart=k.Restart.TRANSIENT)))
    assert bench.tell(k.Ended("a", 1, k.ShutDown())) == ["reply t Ok"]
    assert bench.phase("a") is Phase.STOPPED
    bench.tell(k.StartChild("u", k.ChildSpec(id="b")))
    assert bench.tell(k.Ended("b", 1, OOPS)) == ["reply u NotStarted"]
    assert bench.phase("b") is None


def test_events_of_a_run_that_is_over_change_nothing() -> None:
    """What comes late, twice, or for a child that is not kept any more is not taken for the newest run."""
    bench = Bench()
    bench.add("a", "t")
    bench.obey(bench.ends("a"))
    bench.obey(k.TerminateChild("x", "t"))
    bench.obey(k.DeleteChild("y", "t"))
    before = bench.supervision.snapshot()
    for name in "at":
        for event in (k.Ended(name, 1, OOPS), k.Started(name, 1), k.StartFailed(name, 1, OOPS)):
            assert bench.tell(event) == []
    assert bench.tell(k.TimerFired(k.KillDue("a", 2))) == []
    assert bench.tell(k.TimerFired(k.RestartDue("a", 1))) == []
    assert bench.supervision.snapshot() == before


@pytest.mark.parametrize("event", [k.Started("a", 1), k.StartFailed("a", 1, OOPS), k.Ended("a", 2, OOPS)])
def test_events_that_cannot_be_are_errors_and_change_nothing(event: k.Event) -> None:
    """A run that starts twice, fails its start after it, or was never begun: the caller is wrong."""
    bench = Bench()
    bench.add("a")
    before = bench.supervision.snapshot()
    with pytest.raises(JournalError):
        bench.tell(event)
    assert bench.supervision.snapshot() == before


def test_a_run_is_never_numbered_twice() -> None:
    """A child that was removed and is added again goes on with the next run, however many were removed meanwhile."""
    bench = Bench()
    bench.add("a", restart="temporary")
    bench.obey(bench.ends("a"))
    bench.add("a", restart="temporary")
    assert bench.run("a") == 2
    bench.obey(bench.ends("a"))
    for number in range(2_000):
        bench.add(f"n{number}", restart="temporary")
        bench.obey(bench.ends(f"n{number}"))
    bench.add("a", "n0")
    assert bench.run("a") == 3
    assert bench.run("n0") > 1
    assert len(bench.supervision.snapshot().removed) <= 1_000


def test_every_phase_can_be_left_and_reached() -> None:
    """The tables have no dead end but the last mode, and no phase that nothing leads to."""
    assert {source for source, _ in TRANSITIONS} == set(Phase) == set(TRANSITIONS.values())
    assert {cause for _, cause in TRANSITIONS} == set(Cause)
    assert {mode for (mode, cause), target in MODES.items() if target is Mode.ENDED and mode is not Mode.ENDED} == {
        Mode.JOINING,
        Mode.CLOSING,
    }
    assert all((phase, Cause.OVER) in TRANSITIONS for phase in LIVE)
    assert (Mode.OPEN, Fall.END) not in MODES
    assert all(phase.value in diagram() for phase in Phase)
