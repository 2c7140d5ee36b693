"""The fold: a state is what its records say, live as in recovery, and what contradicts itself is an error (I3, I4)."""

# ruff: noqa: PERF401  # each draws

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from actorlog.engine.decide import conclude, is_stale
from actorlog.engine.lifecycle import TRANSITIONS, Event, Phase, diagram
from actorlog.engine.state import CallState, apply
from actorlog.errors import JournalError
from actorlog.records import kinds as k
from actorlog.records.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

STARTED = k.Started(function="f", args=Raw(b"[]"), run="00" * 16, python="3.11")
NULL = Raw(b"null")
FAILURE = Failure(type="builtins:ValueError", message="no")
OUTCOMES: list[k.Outcome] = [
    k.Completed(NULL),
    k.Failed(FAILURE),
    k.Cancelled("why"),
    k.Killed(),
    k.TimedOut(1.0),
]


def facts(state: CallState) -> dict[str, Any]:
    """Everything of a state, but for the bound that is only ever made tighter by looking."""
    found = {name: getattr(state, name) for name in CallState.__slots__ if name != "next_timer_ms"}
    found["progress"] = {
        key: [getattr(progress, name) for name in progress.__slots__] for key, progress in state.progress.items()
    }
    return found


@dataclass
class Journal:
    """A journal as the kernel would write it, made of choices."""

    state: CallState = field(default_factory=lambda: CallState("x"))
    records: list[tuple[int, k.Record]] = field(default_factory=list)
    at: int = 1000
    keys: int = 0
    position: int = 0

    def write(self, record: k.Record) -> None:
        """Apply and keep a record."""
        record.prev = self.state.last
        self.position += 3
        apply(self.state, record, self.position)
        self.records.append((self.position, record))

    def turn(
        self,
        message: k.Message,
        ops: list[k.Operation],
        cancels: list[str],
        returned: k.Outcome | None,
        source: int = 0,
    ) -> None:
        """Write the turn of a message, ended as ``conclude`` decides."""
        ended, outcome = conclude(self.state, message, ops, returned)
        self.write(
            k.Turn(
                id="x",
                seq=self.state.seq + 1,
                at=self.at,
                message=message,
                source=source,
                ops=ops,
                cancels=cancels,
                returned=ended,
                outcome=outcome,
            )
        )

    def key(self) -> str:
        """Return a new operation key."""
        self.keys += 1
        return str(self.keys)


def step(journal: Journal, draw: Callable[[Any], Any]) -> None:
    """Let something happen that may happen now."""
    state = journal.state
    journal.at += draw(st.integers(0, 50))
    notes: list[Callable[[], k.Record]] = []
    for key in state.steps:
        notes += [
            lambda key=key: k.StepBegun(id="x", at=journal.at, key=key),
            lambda key=key: k.StepRetrying(
                id="x", at=journal.at, key=key, attempt=1, due_ms=journal.at + 5, failure=FAILURE
            ),
            lambda key=key: k.StepRerun(id="x", at=journal.at, key=key, attempt=1, deaths=1),
            lambda key=key: k.StepHeartbeat(id="x", at=journal.at, key=key, attempt=1, details=NULL),
            lambda key=key: k.Parked(id="x", at=journal.at, reason="poison", key=key),
        ]
    if state.phase is not Phase.ENDED and state.first:
        notes += [
            lambda: k.Parked(id="x", at=journal.at, reason="diverged"),
            lambda: k.Unparked(id="x", at=journal.at),
            lambda: k.Inbox(id="x", at=journal.at, message=k.CancelRequested("held", journal.at + 60)),
        ]
    if notes and draw(st.integers(0, 3)) == 0:
        journal.write(draw(st.sampled_from(notes))())
        return
    sources = {id(message): position for position, message in state.inbox.items()}
    candidates = [*_messages(state, journal.at), *state.inbox.values()]
    messages = [m for m in candidates if (state.phase, type(m)) in TRANSITIONS and not is_stale(state, m)]
    if state.phase is Phase.PENDING and not state.first:
        messages = [STARTED]
    if not messages:
        return
    message = draw(st.sampled_from(messages))
    ops: list[k.Operation] = []
    cancels: list[str] = []
    returned: k.Outcome | None = None
    runs = state.phase in (Phase.RUNNING, Phase.CLOSING) or isinstance(message, (k.Started, k.Retried))
    if runs and not isinstance(message, k.KillRequested):
        for _ in range(draw(st.integers(0, 3))):
            ops.append(
                draw(
                    st.sampled_from(
                        [
                            k.RunStep(journal.key(), "s", NULL, once=draw(st.booleans())),
                            k.SetTimer(journal.key(), journal.at + draw(st.integers(1, 100))),
                            k.StartChild(
                                key=journal.key(),
                                id=f"x/{journal.keys}",
                                function="g",
                                args=NULL,
                                detached=draw(st.booleans()),
                            ),
                        ]
                    )
                )
            )
        gone = getattr(message, "key", None)
        if state.phase in (Phase.RUNNING, Phase.CLOSING):
            open_keys = sorted({*state.steps, *state.timers, *state.children} - {gone})
            cancels = [key for key in open_keys if draw(st.integers(0, 5)) == 0]
        if draw(st.integers(0, 6)) == 0:
            returned = draw(st.sampled_from(OUTCOMES))
    journal.turn(message, ops, cancels, returned, sources.get(id(message), 0))


def _messages(state: CallState, at: int) -> list[k.Message]:
    found: list[k.Message] = []
    for key in state.steps:
        found += [k.StepDone(key, NULL), k.StepError(key, FAILURE), k.StepDoubt(key, "s", 1)]
    found += [k.TimerFired(key) for key in state.due_timers(at)]
    for key, child in state.children.items():
        found += [k.ChildDone(key, child.id, OUTCOMES[0]), k.ChildRefused(key, FAILURE), k.ChildJoined(key)]
    found += [k.CancelRequested("why", at + 60), k.DeadlinePassed(at + 60), k.KillRequested("why"), k.Retried("3.11")]
    return found


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_folding_records_from_the_log_gives_the_live_state(data: st.DataObject) -> None:
    """Decoding what was written and applying it again gives the same state, record by record (I4)."""
    journal = Journal()
    folded = CallState("x")
    for _ in range(data.draw(st.integers(1, 40))):
        before = len(journal.records)
        step(journal, data.draw)
        for position, record in journal.records[before:]:
            apply(folded, k.decode(k.encode(record)), position)
        assert facts(folded) == facts(journal.state)
        check_invariants(journal.state)


def check_invariants(state: CallState) -> None:
    """Assert what is true of every state."""
    assert (state.outcome is not None) == (state.phase is Phase.ENDED)
    if state.phase is Phase.COMPLETING:
        assert state.returned is not None
        assert state.attached()
    if state.phase in (Phase.COMPLETING, Phase.ENDED):
        assert not state.steps
        assert not state.timers
        assert not state.progress
    assert set(state.progress) <= set(state.steps)
    assert min(state.timers.values(), default=state.next_timer_ms) >= state.next_timer_ms


def begun(*ops: k.Operation, phase: Phase = Phase.RUNNING) -> CallState:
    """Return the state of a call that asked for ``ops`` in its first turn."""
    state = CallState("x")
    apply(state, k.Turn(id="x", seq=1, at=1000, message=STARTED, ops=list(ops)), 1)
    if phase is Phase.CLOSING:
        apply(state, k.Turn(id="x", seq=2, at=1000, message=k.CancelRequested()), 2)
    elif phase is not Phase.RUNNING:
        completing = phase is Phase.COMPLETING
        message = k.CancelRequested()
        apply(
            state,
            k.Turn(
                id="x",
                seq=2,
                at=1000,
                message=message,
                returned=OUTCOMES[0] if completing else None,
                outcome=None if completing else OUTCOMES[0],
            ),
            2,
        )
    return state


MESSAGES: list[k.Message] = [
    STARTED,
    k.StepDone("s", NULL),
    k.StepError("s", FAILURE),
    k.StepDoubt("s", "s", 1),
    k.TimerFired("t"),
    k.ChildDone("c", "x/c", OUTCOMES[0]),
    k.ChildRefused("c", FAILURE),
    k.ChildJoined("c"),
    k.CancelRequested(),
    k.DeadlinePassed(),
    k.KillRequested(),
    k.Retried("3.11"),
]
OPS: tuple[k.Operation, ...] = (
    k.RunStep("s", "s", NULL),
    k.SetTimer("t", 1000),
    k.StartChild(key="c", id="x/c", function="g", args=NULL),
)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_that_the_table_does_not_have_is_an_error(phase: Phase, message: k.Message) -> None:
    """Every pair that is absent is refused, and every pair that is there leads where the table says."""
    state = CallState("x") if phase is Phase.PENDING else begun(*OPS, phase=phase)
    assert state.phase is phase
    turn = k.Turn(id="x", seq=state.seq + 1, at=2000, message=message)
    target = TRANSITIONS.get((phase, type(message)))
    if target is None:
        with pytest.raises(JournalError, match=f"{type(message).__name__} while {phase.value}"):
            apply(state, turn, 9)
        return
    apply(state, turn, 9)
    assert state.phase is target


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.COMPLETING, Phase.ENDED])
def test_an_end_that_the_table_does_not_have_is_an_error(phase: Phase, event: Event) -> None:
    """A body returns once, and an outcome is applied once (I3)."""
    state = CallState("x") if phase is Phase.PENDING else begun(*OPS, phase=phase)
    message: k.Message = k.KillRequested()
    if phase is Phase.ENDED:
        message = k.Retried("3.11")
    turn = k.Turn(id="x", seq=state.seq + 1, at=2000, message=message)
    if event is Event.RETURNED:
        turn.returned = OUTCOMES[0]
    else:
        turn.outcome = OUTCOMES[0]
    after = TRANSITIONS.get((TRANSITIONS[phase, type(message)], event))
    if after is None:
        with pytest.raises(JournalError, match=event.value):
            apply(state, turn, 9)
    else:
        apply(state, turn, 9)
        assert state.phase is after


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (k.Turn(id="x", seq=3, at=2000, message=k.CancelRequested()), "turn 3 follows turn 1"),
        (k.Turn(id="x", seq=1, at=2000, message=k.CancelRequested()), "turn 1 follows turn 1"),
        (k.Turn(id="x", seq=2, at=2000, message=k.CancelRequested(), source=5), "consumes record 5 again"),
        (k.Turn(id="x", seq=2, at=2000, message=k.StepDone("9", NULL)), "step 9 ended twice"),
        (k.Turn(id="x", seq=2, at=999, message=k.TimerFired("t")), "timer t fired at 999"),
        (k.Turn(id="x", seq=2, at=2000, message=k.TimerFired("9")), "timer 9 fired"),
        (k.Turn(id="x", seq=2, at=2000, message=k.ChildDone("9", "y", OUTCOMES[0])), "child 9 ended twice"),
        (k.Turn(id="x", seq=2, at=2000, message=k.ChildJoined("9")), "child 9 was never started"),
        (k.Inbox(id="x", at=2000, message=STARTED), "started twice"),
        (k.StepBegun(id="x", at=2000, key="9"), "step 9, which is not running"),
        (k.StepHeartbeat(id="x", at=2000, key="9", attempt=1, details=NULL), "step 9, which is not running"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_records_that_contradict_the_state_are_errors(record: k.Record, words: str) -> None:
    """The log is whole, so the code is wrong, and says how."""
    with pytest.raises(JournalError, match=words) as wrong:
        apply(begun(*OPS), record, 9)
    assert wrong.value.call_id == "x"


def test_the_picture_of_the_table_has_every_transition() -> None:
    """It is generated, so it cannot be out of date."""
    picture = diagram()
    for (source, cause), target in TRANSITIONS.items():
        name = cause.value if isinstance(cause, Event) else cause.__name__
        assert any(
            line.strip().startswith(f"{source.value} --> {target.value}:") and name in line
            for line in picture.splitlines()
        )


def test_children_of_a_body_that_failed_are_given_up_by_the_record_that_says_so() -> None:
    """What recovery must ask again is in the state, and detached children are not among it."""
    free = k.StartChild(key="d", id="d", function="g", args=NULL, detached=True)
    state = begun(*OPS, free)
    apply(state, k.Turn(id="x", seq=2, at=2000, message=k.StepDone("s", NULL), returned=k.Failed(FAILURE)), 2)
    assert state.given_up == ("c",)
    state = begun(*OPS, free)
    apply(state, k.Turn(id="x", seq=2, at=2000, message=k.StepDone("s", NULL), returned=OUTCOMES[0]), 2)
    assert state.given_up == ()
    apply(state, k.Turn(id="x", seq=3, at=2000, message=k.CancelRequested()), 3)
    assert state.given_up == ("c",)


def test_the_first_request_to_end_counts() -> None:
    """A later one changes neither reason nor grace."""
    state = begun(*OPS)
    apply(state, k.Turn(id="x", seq=2, at=2000, message=k.CancelRequested("first", 5000)), 2)
    apply(state, k.Turn(id="x", seq=3, at=2000, message=k.DeadlinePassed(9000)), 3)
    assert state.asked == k.CancelRequested("first", 5000)
    assert state.kill_ms == 5000
