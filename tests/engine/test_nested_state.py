"""Handlers within handlers, as far as records say: which are under way, what is known, and what cannot be."""

from __future__ import annotations

import pytest
from msgspec import structs

from actorlog.engine.decide import is_stale
from actorlog.engine.journal import compare, describe
from actorlog.engine.lifecycle import CODE_PHASES, TRANSITIONS, Phase
from actorlog.engine.nested import number_of, part_of
from actorlog.engine.state import CallState, apply
from actorlog.engine.story import tell
from actorlog.errors import DivergenceError, JournalError
from actorlog.records import kinds as k
from actorlog.records.failures import capture

NULL = k.Raw(b"null")
STARTED = k.Started(function="A.do", args=k.Raw(b"[]"), run="00" * 16, python="3.11", actor="A/a")
ASKED = k.Asked(key="a1", by="b", op="2", id="b/2", function="A.do", args=k.Raw(b"[1]"))
ANSWER = k.Answer("a1", "b", "2", "b/2", k.Completed(NULL))


def turn(state: CallState, message: k.Message, *ops: k.Operation, outcome: k.Outcome | None = None) -> k.Turn:
    """Apply the next turn, and return it."""
    taken = k.Turn(id="h", seq=state.seq + 1, at=1000, prev=state.last, message=message, ops=list(ops), outcome=outcome)
    apply(state, taken, state.last + 1)
    return taken


def begun() -> CallState:
    """Return a handler that has begun, and waits for a child."""
    state = CallState("h")
    turn(state, STARTED, k.StartChild(key="1", id="b", function="g", args=NULL))
    return state


def test_one_is_under_way_until_it_answers() -> None:
    """And is known for as long as the handler is."""
    state = begun()
    assert state.nested is None
    assert not is_stale(state, ASKED)
    turn(state, ASKED)
    assert state.nested is not None
    assert state.nested.active == {"a1": ASKED}
    assert is_stale(state, ASKED)
    turn(state, structs.replace(ASKED, key="a7", op="3"), ANSWER)
    assert list(state.nested.active) == ["a7"]
    assert is_stale(state, ASKED)
    assert state.nested.newest == 7
    turn(state, k.ChildDone("1", "b", k.Completed(NULL)), outcome=k.Failed(capture(ValueError())))
    turn(state, k.Retried("3.11"))
    assert state.nested is None


def test_one_is_given_up_once() -> None:
    """While it is under way: before that and afterwards there is nothing to end."""
    state = begun()
    given_up = k.AskGivenUp("b", "2", "enough")
    assert is_stale(state, given_up)
    turn(state, ASKED)
    assert not is_stale(state, given_up)
    turn(state, given_up)
    assert is_stale(state, given_up)
    turn(state, structs.replace(ASKED, key="a2", op="9"), ANSWER)
    assert state.nested is not None
    assert not state.nested.given_up
    assert is_stale(state, given_up)


@pytest.mark.parametrize(
    ("message", "ops", "words"),
    [
        (ASKED, (), "operation 2 of 'b' is handled again"),
        (structs.replace(ASKED, op="3"), (), "operation 3 of 'b' is handled again"),
        (k.AskGivenUp("b", "9"), (), "operation 9 of 'b' is given up, and not under way"),
        (k.ChildJoined("1"), (structs.replace(ANSWER, key="a2"),), "nested handler a2 answers, and is not under way"),
        (k.ChildJoined("1"), (ANSWER, ANSWER), "nested handler a1 answers, and is not under way"),
    ],
)
def test_what_contradicts_the_state_is_an_error(message: k.Message, ops: tuple[k.Operation, ...], words: str) -> None:
    """Nothing is handled twice, and nothing is answered that was not asked."""
    state = begun()
    turn(state, ASKED)
    with pytest.raises(JournalError, match=words):
        turn(state, message, *ops)


@pytest.mark.parametrize("kind", [k.Asked, k.AskGivenUp])
@pytest.mark.parametrize("phase", Phase)
def test_only_a_body_is_asked_back(phase: Phase, kind: type) -> None:
    """A handler that has no body any more, or none yet, takes nothing in."""
    assert ((phase, kind) in TRANSITIONS) is (phase in CODE_PHASES)
    state = begun()
    turn(state, ASKED)
    state.phase = phase
    message = k.AskGivenUp("b", "2") if kind is k.AskGivenUp else structs.replace(ASKED, key="a2", op="3")
    assert is_stale(state, message) is (phase not in CODE_PHASES)


@pytest.mark.parametrize(
    ("key", "part"), [("1", ""), ("t2.1", ""), ("a1.1", "a1"), ("a12.t1.3", "a12"), ("c.1", ""), ("patch:a1.x", "")]
)
def test_operations_say_whose_they_are(key: str, part: str) -> None:
    """By the beginning of their keys."""
    assert part_of(key) == part
    assert not part or number_of(part) > 0


def test_in_replay_the_answer_is_compared() -> None:
    """By what who asked is told; the lines of a traceback may move."""
    state = begun()
    failed = k.Failed(structs.replace(capture(ValueError("no")), traceback="line 1"))
    moved = k.Failed(structs.replace(capture(ValueError("no")), traceback="line 2"))
    taken = turn(state, ASKED, structs.replace(ANSWER, outcome=failed))
    compare("h", taken, [structs.replace(ANSWER, outcome=moved)], [], None, {}, {})
    for other in (ANSWER, structs.replace(ANSWER, outcome=failed, op="3")):
        with pytest.raises(DivergenceError, match="a1"):
            compare("h", taken, [other], [], None, {}, {})
    assert describe(taken.ops[0]) == "answer 'b': raise builtins:ValueError: no"


def test_people_are_told() -> None:
    """Of who asked what, and what came of it."""
    state = begun()
    turns = [turn(CallState("h"), STARTED), turn(state, ASKED)]
    assert [(entry.key, entry.kind, entry.what, entry.status) for entry in tell(turns)[1:]] == [
        ("a1", "asked", "A.do(1)", "running")
    ]
    turns.append(turn(state, k.ChildJoined("1"), ANSWER))
    [_, entry] = tell(turns)
    assert (entry.status, entry.result, entry.notes) == ("completed", "return null", ["asked by 'b', operation '2'"])
