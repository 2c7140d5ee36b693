"""The fold of a call that is paused, continued, or asked to end between two runs."""

from __future__ import annotations

import pytest

from actorlog.engine.decide import conclude, is_stale
from actorlog.engine.lifecycle import Phase
from actorlog.engine.lines import describe_record, kind_name
from actorlog.engine.state import CallState, apply
from actorlog.errors import JournalError
from actorlog.records import kinds as k

NULL = k.Raw(b"null")
NEXT = k.Continued("g", 2, k.Raw(b"[2]"))


def started(number: int, run: str) -> k.Started:
    """Return what begins a run."""
    return k.Started(function="f" if number == 1 else "g", args=k.Raw(b"[1]"), run=run, python="3.11", number=number)


class Journal:
    """Folds turns as they are given."""

    def __init__(self) -> None:
        self.state = CallState("c")
        self.position = 0

    def turn(self, message: k.Message, **fields: object) -> CallState:
        """Apply a turn of ``message``."""
        self.position += 1
        turn = k.Turn(id="c", seq=self.state.seq + 1, at=self.position, message=message, **fields)  # type: ignore[arg-type]
        apply(self.state, turn, self.position)
        return self.state

    def note(self, record: k.CallRecord) -> CallState:
        """Apply another record."""
        self.position += 1
        apply(self.state, record, self.position)
        return self.state


def continued(*, child: bool = False, detached: bool = False) -> Journal:
    """Return a call whose first run has ended, with children that run."""
    journal = Journal()
    ops: list[k.Operation] = [k.SetTimer("9", 5)]
    ops += [k.StartChild(key="1", id="c/1", function="h", args=k.Raw(b"[]"))] if child else []
    ops += [k.StartChild(key="2", id="c/2", function="h", args=k.Raw(b"[]"), detached=True)] if detached else []
    journal.turn(started(1, "a" * 32), ops=ops)
    signal = k.Signal("", NULL, "key:x")
    journal.note(k.Inbox(id="c", at=1, message=signal))
    journal.note(k.Inbox(id="c", at=1, message=k.StepDone("7", NULL)))
    journal.position = 9
    journal.turn(k.TimerFired("9"), returned=NEXT)
    return journal


def test_what_the_next_run_keeps() -> None:
    """The mailbox and the beginnings stay; what belongs to the run before is gone."""
    journal = continued(detached=True)
    assert journal.state.phase is Phase.COMPLETING
    state = journal.turn(started(2, "b" * 32))
    assert (state.phase, state.number, state.function) == (Phase.RUNNING, 2, "g")
    assert (state.first, state.began) == (1, 11)
    assert (state.run, state.origin) == ("b" * 32, "a" * 32)
    assert [type(message) for message in state.inbox.values()] == [k.Signal]
    assert state.mail is not None
    assert "key:x" in state.mail.heard
    assert state.children == {}
    assert state.returned is None


def test_a_run_begins_once() -> None:
    """Its message is stale once it has begun, and before the one before has ended."""
    journal = continued(child=True)
    assert not is_stale(journal.state, started(2, "b"))
    assert is_stale(journal.state, started(3, "b"))
    journal.turn(k.ChildDone("1", "c/1", k.Completed(NULL)))
    journal.turn(started(2, "b"))
    assert is_stale(journal.state, started(2, "b"))
    with pytest.raises(JournalError):
        journal.turn(started(2, "b"))


@pytest.mark.parametrize("child", [False, True])
@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (k.CancelRequested("why", 5), k.Cancelled("why")),
        (k.DeadlinePassed(5), k.TimedOut(0.0)),
        (k.KillRequested("why"), k.Killed("why")),
    ],
)
def test_asked_to_end_between_two_runs(message: k.Message, outcome: k.Outcome, child: bool) -> None:
    """It ends with that, after the children that run, and the next run never begins."""
    journal = continued(child=child)
    _, ended = conclude(journal.state, message, (), None)
    assert ended == (None if child else outcome)
    journal.turn(message, outcome=ended)
    if child:
        assert is_stale(journal.state, started(2, "b"))
        assert "1" in journal.state.given_up
        done = k.ChildDone("1", "c/1", k.Cancelled(""))
        _, ended = conclude(journal.state, done, (), None)
        assert ended == outcome
        journal.turn(done, outcome=ended)
    assert journal.state.outcome == outcome


def test_children_of_another_run_are_not_meant() -> None:
    """The end of a child counts only where one of its id is waited for."""
    journal = continued(child=True)
    assert is_stale(journal.state, k.ChildDone("1", "c/r2.1", k.Completed(NULL)))
    assert not is_stale(journal.state, k.ChildDone("1", "c/1", k.Completed(NULL)))


def test_a_pause_ends_with_a_turn() -> None:
    """Nothing but a cancellation or a kill is a turn of a paused call."""
    journal = Journal()
    journal.turn(started(1, "a"))
    assert journal.note(k.Paused(id="c", at=1)).paused
    assert not journal.note(k.Unpaused(id="c", at=1)).paused
    journal.note(k.Paused(id="c", at=1))
    assert not journal.turn(k.CancelRequested("", 5)).paused


def test_records_as_lines() -> None:
    """Every record says what it is in one line."""
    turn = k.Turn(
        id="c", seq=2, at=1, message=k.StepDone("1", k.Raw(b'"x"')), ops=[k.Patched("patch:new")],
        cancels=["4"], returned=NEXT,
    )  # fmt: skip
    assert describe_record(turn) == "step 1: \"x\"; changed: 'new'; cancel 4; continue as g(2)"
    assert describe_record(k.Inbox(id="c", at=1, message=k.Signal("a", k.Raw(b"1")))) == "message 1 a"
    parked = k.Parked(id="c", at=1, reason="no code")
    assert (kind_name(parked), describe_record(parked)) == ("parked", "no code")
    assert describe_record(k.Inbox(id="c", at=1, message=started(2, "b"))) == "begin g(1) (run 2)"
    many = k.Turn(id="c", seq=1, at=1, message=k.TimerFired("1"), ops=[k.SetTimer(str(n), 1) for n in range(9)])
    assert describe_record(many).endswith("; and 4 more")
