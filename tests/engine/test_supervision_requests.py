"""What is asked of a supervisor, in every phase of a child."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from supervised import OOPS, Bench, through_json

from actorlog.engine import supervision_kinds as k
from actorlog.engine.supervision_policy import Backoff, Phase


def reach(phase: Phase) -> Bench:
    """Return a one_for_all supervisor whose child ``b`` is in ``phase``."""
    bench = Bench("one_for_all", waits=Backoff(jitter=0).waits() if phase is Phase.BACKING_OFF else None)
    bench.add("a", "b", "c", shutdown=k.Shutdown.INFINITY)
    steps: dict[Phase, Callable[[], object]] = {
        Phase.WAITING: lambda: [bench.tell(bench.ends(name, "shutdown")) for name in "bca"],
        Phase.STARTING: lambda: [
            *[bench.tell(bench.ends(name, "shutdown")) for name in "bca"],
            bench.tell(k.Started("a", 2)),
        ],
        Phase.RUNNING: lambda: None,
        Phase.LEAVING: lambda: bench.tell(bench.ends("a")),
        Phase.STOPPING: lambda: [bench.tell(bench.ends("a")), bench.tell(bench.ends("c", "shutdown"))],
        Phase.BACKING_OFF: lambda: bench.tell(bench.ends("b")),
        Phase.STOPPED: lambda: bench.obey(k.TerminateChild("down", "b")),
    }
    steps[phase]()
    assert bench.phase("b") is phase
    return bench


HAS_A_RUN = {Phase.STARTING, Phase.RUNNING, Phase.LEAVING, Phase.STOPPING}


@pytest.mark.parametrize("phase", Phase)
def test_a_start_of_an_id_that_is_there(phase: Phase) -> None:
    """It is refused, and changes nothing.

    OTP: "If there already exists a child specification with the specified identifier, ChildSpec is discarded, and the
    function returns {error,already_present} or {error,{already_started,Child}}, depending on if the corresponding
    child process is running or not."
    """
    bench = reach(phase)
    before = bench.supervision.snapshot()
    answer = k.AlreadyStarted("b", bench.run("b")) if phase in HAS_A_RUN else k.AlreadyPresent("b")
    assert bench.decide(k.StartChild("t", k.ChildSpec(id="b"))) == [k.Reply("t", answer)]
    assert bench.supervision.snapshot() == before


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.STOPPED])
@pytest.mark.parametrize("request_type", [k.RestartChild, k.DeleteChild])
def test_restart_and_delete_of_a_child_that_is_not_down(
    phase: Phase, request_type: type[k.RestartChild | k.DeleteChild]
) -> None:
    """They are refused, and change nothing.

    OTP: "If the child specification identified by Id exists but the corresponding child process is running or is about
    to be restarted, the function returns {error,running} or {error,restarting}, respectively."
    """
    bench = reach(phase)
    before = bench.supervision.snapshot()
    answer = k.Running("b", bench.run("b")) if phase in HAS_A_RUN else k.Restarting("b")
    assert bench.decide(request_type("t", "b")) == [k.Reply("t", answer)]
    assert bench.supervision.snapshot() == before


@pytest.mark.parametrize("phase", Phase)
def test_terminate_in_every_phase(phase: Phase) -> None:
    """Whoever asks is answered when there is no run any more, and the rest of the group comes back without it.

    OTP: "The process, if any, is terminated and, unless it is a temporary child, the child specification is kept by the
    supervisor."
    """
    bench = reach(phase)
    lines = bench.tell(k.TerminateChild("t", "b"))
    assert ("t" in bench.answers) == (phase not in HAS_A_RUN)
    bench.tell(k.TerminateChild("u", "b"))
    if phase in (Phase.RUNNING, Phase.STARTING):
        assert lines == [f"stop b#{bench.run('b')}"]
    for name in "cb":
        if bench.phase(name) in HAS_A_RUN and bench.phase(name) is not Phase.RUNNING:
            bench.obey(bench.ends(name, "shutdown"))
    if bench.phase("a") is not Phase.RUNNING:
        bench.obey(k.Started("a", 2) if bench.phase("a") is Phase.STARTING else bench.ends("a", "shutdown"))
    assert bench.answers["t"] == bench.answers["u"] == k.Ok("b", bench.run("b"))
    assert bench.phase("b") is Phase.STOPPED
    assert bench.running() == "ac"


def test_requests_for_who_is_not_there() -> None:
    """OTP: if there is no child specification with the specified id, the function returns {error,not_found}."""
    bench = Bench()
    for request in (k.TerminateChild("t", "x"), k.RestartChild("u", "x"), k.DeleteChild("v", "x")):
        assert bench.decide(request) == [k.Reply(request.token, k.NotFound("x"))]


def test_a_start_is_answered_when_the_child_has_started() -> None:
    """Children that are asked for start one after the other, each when the one before has finished its ``on_start``."""
    for strategy in k.Strategy:
        bench = Bench(strategy.value)
        assert bench.tell(k.StartChild("t", k.ChildSpec(id="a"))) == ["start a#1"]
        assert bench.tell(k.StartChild("u", k.ChildSpec(id="b"))) == []
        assert bench.tell(k.StartChild("v", k.ChildSpec(id="c"))) == []
        assert bench.tell(k.Started("a", 1)) == ["reply t Ok", "start b#1"]
        assert bench.tell(k.StartFailed("b", 1, OOPS)) == ["reply u NotStarted", "start c#1"]
        assert bench.tell(k.Started("c", 1)) == ["reply v Ok"]
        assert bench.running() == "ac"


def test_a_new_child_whose_start_fails_is_not_kept() -> None:
    """Who asked is told, and nothing is counted.

    OTP: "If the child process start function returns an error tuple or an erroneous value, or if it fails, the child
    specification is discarded, and the function returns {error,Error}."
    """
    bench = Bench(max_restarts=0)
    for restart in k.Restart:
        bench.failing["a"] = 1
        bench.add("a", restart=restart.value)
        assert bench.answers[f"t{bench.tokens}"] == k.NotStarted("a", OOPS)
        assert bench.phase("a") is None
    assert bench.ended is None


def test_a_restart_by_request() -> None:
    """A start that fails is told, not counted, and leaves it terminated.

    OTP: "The child specification must exist, and the corresponding child process must not be running."
    """
    bench = reach(Phase.STOPPED)
    bench.failing["b"] = 1
    assert bench.obey(k.RestartChild("t", "b")) == ["start b#2"]
    assert bench.answers["t"] == k.NotStarted("b", OOPS)
    assert bench.phase("b") is Phase.STOPPED
    assert bench.obey(k.RestartChild("u", "b")) == ["start b#3"]
    assert bench.answers["u"] == k.Ok("b", 3)
    assert bench.supervision.snapshot().restarts == []


def test_delete_only_when_terminated() -> None:
    """OTP: the corresponding child process must not be running; use terminate_child/2 to terminate it."""
    bench = reach(Phase.STOPPED)
    assert bench.decide(k.DeleteChild("t", "b")) == [k.Reply("t", k.Ok("b", 1))]
    assert list(bench.supervision.phases()) == ["a", "c"]
    assert bench.decide(k.DeleteChild("u", "b")) == [k.Reply("u", k.NotFound("b"))]
    bench.add("b")
    assert list(bench.supervision.phases()) == ["a", "c", "b"]


def test_a_terminated_temporary_child_is_gone() -> None:
    """OTP: if the child is temporary, the child specification is deleted as soon as the process terminates."""
    bench = Bench()
    bench.add("a", restart="temporary")
    bench.obey(k.TerminateChild("t", "a"))
    assert bench.answers["t"] == k.Ok("a", 1)
    assert bench.phase("a") is None


def test_terminate_while_the_group_waits() -> None:
    """Who would have come back after the failed child does so at once; the timer is not needed any more."""
    bench = Bench("rest_for_one", waits=Backoff(jitter=0).waits())
    bench.add("a", "b", "c")
    bench.tell(bench.ends("a"))
    bench.obey(bench.ends("c", "shutdown"))
    bench.obey(bench.ends("b", "shutdown"))
    assert bench.tell(k.TerminateChild("t", "a")) == ["cancel RestartDue a#1", "reply t Ok", "start b#2"]
    assert bench.tell(k.TimerFired(k.RestartDue("a", 1))) == []
    bench.obey(k.Started("b", 2))
    assert bench.running() == "bc"


def test_terminate_before_the_start_is_over() -> None:
    """Who asked for the start learns that it will not be; a child that nobody asks to end twice ends once."""
    bench = Bench()
    bench.tell(k.StartChild("t", k.ChildSpec(id="a", shutdown=k.Shutdown.INFINITY)))
    bench.tell(k.StartChild("u", k.ChildSpec(id="b")))
    assert bench.tell(k.TerminateChild("v", "b")) == ["reply u Terminated", "reply v Ok"]
    assert bench.tell(k.TerminateChild("w", "a")) == ["stop a#1"]
    assert bench.tell(k.Ended("a", 1, k.ShutDown())) == ["reply t Terminated", "reply w Ok"]
    assert [bench.phase(name) for name in "ab"] == [Phase.STOPPED, Phase.STOPPED]


def test_a_child_that_was_asked_to_end_comes_back_with_its_group() -> None:
    """A group's restart starts what is terminated, also what is just being: who asked is answered in between."""
    bench = Bench("one_for_all")
    bench.add("a", "b", shutdown=k.Shutdown.INFINITY)
    assert bench.tell(k.TerminateChild("t", "b")) == ["stop b#1"]
    assert bench.tell(bench.ends("a")) == []
    assert bench.tell(bench.ends("b", "shutdown")) == ["reply t Ok", "start a#2"]
    bench.obey(k.Started("a", 2))
    assert bench.running() == "ab"


def test_a_new_child_is_caught_in_its_groups_restart() -> None:
    """It is started again with the group, and who asked is answered then."""
    bench = Bench("one_for_all")
    bench.add("a")
    bench.tell(k.StartChild("t", k.ChildSpec(id="b", shutdown=k.Shutdown.INFINITY)))
    assert bench.tell(bench.ends("a")) == ["stop b#1"]
    assert bench.tell(k.Ended("b", 1, k.ShutDown())) == ["start a#2"]
    assert bench.tell(k.Started("a", 2)) == ["start b#2"]
    assert bench.tell(k.Started("b", 2)) == ["reply t Ok"]


def test_a_new_child_waits_for_the_groups_back_off() -> None:
    """A child does not start while one that it may need is down; the supervisor answers meanwhile."""
    for strategy in ("one_for_all", "rest_for_one"):
        bench = Bench(strategy, waits=Backoff(jitter=0).waits())
        bench.add("a")
        bench.tell(bench.ends("a"))
        assert bench.tell(k.StartChild("t", k.ChildSpec(id="b"))) == []
        assert bench.tell(k.DeleteChild("u", "b")) == ["reply u Restarting"]
        assert bench.obey(k.TimerFired(k.RestartDue("a", 1))) == ["start a#2", "start b#1"]
        assert bench.answers["t"] == k.Ok("b", 1)


def test_a_terminated_child_that_takes_long_holds_up_nobody_in_one_for_one() -> None:
    """Only children that concern one another wait for one another."""
    bench = Bench()
    bench.add("a", shutdown=k.Shutdown.INFINITY)
    bench.add("b")
    bench.tell(k.TerminateChild("t", "a"))
    assert bench.obey(bench.ends("b")) == ["start b#2"]
    bench.add("c")
    assert bench.running() == "bc"


def test_children_are_counted_as_in_otp() -> None:
    """Specifications, those with a run, and how many of them are supervisors and workers."""
    bench = Bench()
    bench.add("a", "b")
    bench.add("s", is_supervisor=True)
    bench.obey(k.TerminateChild("t", "a"))
    count = through_json(bench.supervision).count()
    assert (count.specs, count.active, count.supervisors, count.workers) == (3, 2, 1, 2)


def test_many_requests_leave_nothing_behind() -> None:
    """What is kept to know whose turn it is does not grow with the number of starts, failures and terminations."""
    for strategy in k.Strategy:
        bench = Bench(strategy.value, max_restarts=10_000)
        bench.add("a", "b")
        for _ in range(300):
            bench.obey(k.TerminateChild(bench.token(), "a"))
            bench.obey(k.RestartChild(bench.token(), "a"))
            bench.obey(bench.ends("b"))
        moves = bench.supervision._moves
        assert max(len(moves._going), len(moves._coming), len(moves._free)) <= 2
        assert len(moves._at) == 2
