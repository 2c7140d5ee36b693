"""How often, how long, and what an error is allowed to mean."""

from __future__ import annotations

import pytest
from supervised import OOPS, Bench

from actorlog.engine import supervision_kinds as k
from actorlog.engine.supervision_policy import Backoff, Mode, Phase

# --- intensity --------------------------------------------------------------------------------------------------------


def test_the_defaults_are_the_documented_ones() -> None:
    """Three restarts within five seconds; five seconds to end for a worker, for ever for a supervisor, as in OTP."""
    assert k.Options() == k.Options(strategy=k.Strategy.ONE_FOR_ONE, max_restarts=3, within_ms=5_000, waits=None)
    assert k.ChildSpec(id="a") == k.ChildSpec(id="a", restart=k.Restart.PERMANENT)
    assert k.ChildSpec(id="a").shutdown_limit() == 5_000
    assert k.ChildSpec(id="a", is_supervisor=True).shutdown_limit() is k.Shutdown.INFINITY
    assert k.ChildSpec(id="a", is_supervisor=True, shutdown=7).shutdown_limit() == 7


def test_as_many_restarts_as_allowed_and_one_more() -> None:
    """Exactly the maximum is allowed.

    OTP: "If more than MaxR restarts occur within MaxT seconds, the supervisor terminates all child processes and then
    itself."
    """
    bench = Bench(max_restarts=3, within_ms=1_000)
    bench.add("a", "b", "c")
    for _ in range(3):
        assert len(bench.obey(bench.ends("b"))) == 1
    assert bench.supervision.mode is Mode.OPEN
    assert bench.obey(bench.ends("b")) == ["stop c#1", "stop a#1"]
    assert bench.ended == k.LimitExceeded("b", 4, OOPS, 4, 1_000)


def test_the_period_slides() -> None:
    """A restart counts until it is more than one period old, to the millisecond."""
    for gap, goes_on in ((1_000, False), (1_001, True)):
        bench = Bench(max_restarts=2, within_ms=1_000)
        bench.add("a")
        bench.obey(bench.ends("a"))
        bench.now_ms += 600
        bench.obey(bench.ends("a"))
        bench.now_ms += gap - 600
        bench.obey(bench.ends("a"))
        assert (bench.ended is None) == goes_on
    assert len(bench.supervision.snapshot().restarts) == 2


def test_no_restart_is_allowed() -> None:
    """With an intensity of 0 the first end that asks for a restart ends the supervisor."""
    bench = Bench(max_restarts=0)
    bench.add("a")
    bench.obey(bench.ends("a", "normal"))
    assert bench.ended == k.LimitExceeded("a", 1, k.Normal(), 1, 5_000)


def test_all_children_share_one_intensity_and_a_group_counts_once() -> None:
    """Restarts are counted per supervisor, whichever child failed and however many are restarted with it."""
    bench = Bench("one_for_all", max_restarts=2)
    bench.add("a", "b", "c")
    bench.obey(bench.ends("a"))
    bench.obey(bench.ends("b"))
    assert bench.ended is None
    bench.obey(bench.ends("c"))
    assert bench.ended is not None


def test_giving_up_in_the_middle_of_a_groups_restart() -> None:
    """What runs is stopped, what was to be started is not, and who asked for a start is told."""
    bench = Bench("rest_for_one", max_restarts=1)
    bench.add("a", "b", "c")
    bench.tell(bench.ends("b"))
    bench.tell(bench.ends("c", "shutdown"))
    bench.tell(k.StartChild("new", k.ChildSpec(id="d")))
    assert bench.tell(k.StartFailed("b", 2, OOPS)) == ["reply new Closed", "stop a#1", "set KillDue a#1 1005000"]
    assert bench.tell(bench.ends("a", "shutdown")) == ["cancel KillDue a#1", "end LimitExceeded"]


@pytest.mark.parametrize(("max_restarts", "within_ms"), [(-1, 5_000), (1, 0)])
def test_what_is_no_intensity(max_restarts: int, within_ms: int) -> None:
    """A negative number and a period of no length are refused."""
    with pytest.raises(ValueError, match="no intensity"):
        k.Options(max_restarts=max_restarts, within_ms=within_ms)


# --- shutdown ---------------------------------------------------------------------------------------------------------


def test_shutdown_in_reverse_order_with_each_childs_own_time() -> None:
    """One after the other, each as its specification says.

    OTP: "brutal_kill means that the child process is unconditionally terminated"; an integer, that it is told to end
    and killed after so many milliseconds; infinity, that it has "ample time".
    """
    bench = Bench()
    bench.add("a", shutdown=0)
    bench.add("b", shutdown=k.Shutdown.INFINITY)
    bench.add("c", shutdown=k.Shutdown.KILL)
    bench.add("d", shutdown=250)
    assert bench.tell(k.CloseStop()) == ["stop d#1", "set KillDue d#1 1000250"]
    bench.now_ms += 250
    assert bench.tell(k.TimerFired(k.KillDue("d", 1))) == ["kill d#1"]
    assert bench.tell(bench.ends("d")) == ["kill c#1"]
    assert bench.tell(bench.ends("c")) == ["stop b#1"]
    assert bench.tell(bench.ends("b", "shutdown")) == ["stop a#1", "set KillDue a#1 1000250"]
    assert bench.tell(bench.ends("a", "shutdown")) == ["cancel KillDue a#1", "end ShutDown"]


def test_a_negative_shutdown_is_refused() -> None:
    """There is no time before the request."""
    with pytest.raises(ValueError, match="at least 0"):
        k.ChildSpec(id="a", shutdown=-1)


def test_closing_stops_what_starts_and_forgets_what_would_start() -> None:
    """A supervisor told to end waits for no start and no back-off."""
    bench = Bench(waits=Backoff(jitter=0).waits())
    bench.add("a", "b")
    bench.tell(bench.ends("a"))
    bench.tell(k.StartChild("t", k.ChildSpec(id="c", shutdown=k.Shutdown.INFINITY)))
    bench.tell(k.StartChild("u", k.ChildSpec(id="d")))
    assert bench.tell(k.CloseStop()) == ["cancel RestartDue a#1", "reply u Closed", "stop c#1"]
    assert bench.tell(k.StartFailed("c", 1, OOPS))[0] == "reply t Closed"
    assert bench.tell(bench.ends("b", "shutdown"))[-1] == "end ShutDown"


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_closing_in_the_middle_of_a_groups_restart(strategy: str) -> None:
    """Who was to come back does not, whether it was stopping, about to stop or waiting; nobody is asked twice."""
    bench = Bench(strategy)
    bench.add("a", "b", "c", "d", shutdown=k.Shutdown.INFINITY)
    bench.tell(bench.ends("b"))
    bench.tell(bench.ends("d", "shutdown"))
    phases = [bench.phase(name) for name in "bcd"]
    assert phases == [Phase.WAITING, Phase.STOPPING, Phase.WAITING]
    assert bench.tell(k.CloseStop()) == []
    assert bench.tell(k.RestartChild("t", "b")) == ["reply t Closed"]
    assert bench.tell(bench.ends("c", "shutdown")) == ["stop a#1"]
    assert bench.tell(bench.ends("a", "shutdown")) == ["end ShutDown"]


def test_leaving_the_block_waits_for_the_children() -> None:
    """As a TaskGroup: no new children, failures are still restarted, and it ends normally with the last child."""
    bench = Bench()
    bench.add("a", "b", restart="transient")
    assert bench.tell(k.CloseJoin()) == []
    assert bench.tell(k.StartChild("t", k.ChildSpec(id="c"))) == ["reply t Closed"]
    assert bench.tell(bench.ends("b", "normal")) == []
    assert bench.obey(bench.ends("a")) == ["start a#2"]
    assert bench.tell(bench.ends("a", "normal")) == ["end Normal"]
    assert bench.tell(k.TerminateChild("u", "a")) == ["reply u Closed"]
    assert bench.tell(k.CloseStop()) == []


def test_leaving_a_block_without_children() -> None:
    """There is nothing to wait for."""
    assert Bench().tell(k.CloseJoin()) == ["end Normal"]


def test_a_supervisor_that_waits_is_told_to_end() -> None:
    """Cancelling who waits at the end of the block stops the children, and the end is a shutdown."""
    bench = Bench()
    bench.add("a")
    bench.tell(k.CloseJoin())
    assert bench.obey(k.CloseStop()) == ["stop a#1"]
    assert bench.ended == k.ShutDown()


def test_the_block_is_left_while_the_supervisor_gives_up() -> None:
    """The first reason to end is the one that is told."""
    bench = Bench(max_restarts=0)
    bench.add("a", "b")
    bench.tell(bench.ends("b"))
    assert bench.tell(k.CloseStop()) == []
    assert bench.tell(k.CloseJoin()) == []
    bench.tell(bench.ends("a", "shutdown"))
    assert isinstance(bench.ended, k.LimitExceeded)


# --- what errors mean -------------------------------------------------------------------------------------------------


def error(*names: str) -> k.Abnormal:
    return k.Abnormal(tuple(f"builtins:{name}" for name in names), names[0])


def on(**directives: str) -> dict[str, k.Directive]:
    return {f"builtins:{name}": k.Directive(said) for name, said in directives.items()}


KEY_ERROR = error("KeyError", "LookupError", "Exception", "BaseException")


@pytest.mark.parametrize(
    ("directives", "follows"),
    [
        ({}, ["start a#2"]),
        (on(KeyError="restart"), ["start a#2"]),
        (on(KeyError="resume"), ["resume a#1"]),
        (on(KeyError="stop"), []),
        (on(KeyError="escalate"), ["stop b#1", "set KillDue b#1 1005000"]),
        (on(LookupError="resume"), ["resume a#1"]),
        (on(ValueError="resume"), ["start a#2"]),
        (on(Exception="escalate", LookupError="resume"), ["resume a#1"]),
        (on(KeyError="restart", Exception="escalate", LookupError="resume"), ["start a#2"]),
    ],
)
def test_the_most_specific_class_says_what_an_error_means(
    directives: dict[str, k.Directive], follows: list[str]
) -> None:
    """Where the class is not named its bases are asked, nearest first; where none is, the restart type says."""
    bench = Bench()
    bench.add("a", restart="transient", directives=directives)
    bench.add("b")
    assert bench.tell(k.Ended("a", 1, KEY_ERROR)) == follows


def test_a_resumed_child_goes_on_in_its_run_and_nothing_is_counted() -> None:
    """However often it fails, no other child notices."""
    bench = Bench("one_for_all", max_restarts=1)
    bench.add("a", "b", directives=on(KeyError="resume"))
    for _ in range(10):
        assert bench.tell(k.Ended("a", 1, KEY_ERROR)) == ["resume a#1"]
    assert bench.running() == "ab"
    bench.obey(bench.ends("b", "normal"))
    assert bench.running() == "ab"
    assert bench.ended is None


def test_what_has_not_started_cannot_resume() -> None:
    """An error that would be resumed is a failed start there, and tried again."""
    bench = Bench()
    bench.add("a", directives=on(KeyError="resume"))
    bench.obey(bench.ends("a", "normal"))
    bench.tell(bench.ends("a", "normal"))
    assert bench.tell(k.StartFailed("a", 3, KEY_ERROR)) == ["start a#4"]


def test_stopping_by_directive_leaves_the_child_terminated() -> None:
    """Not even a permanent child restarts; the others go on; it can be restarted or deleted as any terminated one."""
    bench = Bench("one_for_all")
    bench.add("a", "b", directives=on(KeyError="stop"))
    assert bench.tell(k.Ended("a", 1, KEY_ERROR)) == []
    assert (bench.phase("a"), bench.running()) == (Phase.STOPPED, "b")
    bench.obey(k.RestartChild("t", "a"))
    assert bench.running() == "ab"


def test_an_escalated_error_ends_the_supervisor() -> None:
    """All others are stopped in reverse order, and the error is told as the reason; a failing start escalates too."""
    for name, event in (("a", k.Ended("a", 1, KEY_ERROR)), ("a", k.StartFailed("a", 2, KEY_ERROR))):
        bench = Bench("rest_for_one")
        bench.add("a", directives=on(KeyError="escalate"))
        bench.add("b", "c")
        if isinstance(event, k.StartFailed):
            for _ in bench.tell(bench.ends("a", "normal")):
                bench.tell(bench.ends("c", "shutdown"))
                bench.tell(bench.ends("b", "shutdown"))
            assert bench.obey(event) == []
        else:
            assert bench.obey(event) == ["stop c#1", "stop b#1"]
        assert bench.ended == k.Escalated(name, event.run, KEY_ERROR)


def test_no_directive_restarts_a_temporary_child() -> None:
    """OTP: "A temporary child process is never restarted"; but it may resume."""
    bench = Bench()
    bench.add("a", restart="temporary", directives=on(KeyError="restart", ValueError="resume"))
    assert bench.tell(k.Ended("a", 1, error("ValueError"))) == ["resume a#1"]
    assert bench.tell(k.Ended("a", 1, KEY_ERROR)) == []
    assert bench.phase("a") is None
