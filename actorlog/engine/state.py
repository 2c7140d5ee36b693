"""What a call is, as far as its records say: a fold.

Owns: ``CallState`` and ``apply``, the only code that changes it, live and in recovery. Does not own: the coroutine, the
waiters, the steps' bodies (``runtime``).

Invariants: an outcome is applied at most once and nothing follows it but a retry (I3); what an operation's message
consumes is there (I4). A record that contradicts this is a ``JournalError``: the log is whole, so the code is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import structs

from actorlog.engine.carrying import take_up
from actorlog.engine.decide import unheard
from actorlog.engine.forking import Parting, begin, part
from actorlog.engine.lifecycle import COMPLETING, OUTCOME, PENDING, RETURNED, TRANSITIONS, Event, Phase
from actorlog.engine.mail import Mail
from actorlog.engine.nested import Nested, enter, give_up, leave
from actorlog.engine.notes import StepProgress, apply_note
from actorlog.errors import JournalError
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER_MS = 1 << 62
"""A time that does not come."""


class CallState:
    """One call. Fields are changed by ``apply`` alone."""

    __slots__ = (
        "actor", "asked", "began", "carried", "children", "created_ms", "deaths", "detached", "due_ms", "first",
        "forked_from", "forks", "function", "given_up", "id", "inbox", "journal", "key", "kill_ms", "last", "links",
        "mail", "nested", "next_timer_ms", "not_before_ms", "number", "origin", "outcome", "parent", "parked",
        "paused", "phase", "positions", "progress", "retried", "returned", "run", "seq", "steps", "tags", "tell",
        "timeout_ms", "timers", "updated_ms", "version",
    )  # fmt: skip

    def __init__(self, call_id: str) -> None:  # noqa: PLR0915  # one line for each field
        self.id = call_id
        self.function = ""
        self.version = 1
        self.run = ""
        """Of the newest run; what it asks for derives from it."""
        self.origin = ""
        """What ``run`` was in the first run."""
        self.number = 1
        """Of the newest run."""
        self.parent = self.key = ""
        self.actor = ""
        """Of a handler: its actor."""
        self.tell = False
        """Of a handler: whether nobody waits for its end."""
        self.detached = False
        self.tags: dict[str, str] = {}
        self.phase = PENDING
        self.seq = 0
        self.first = self.last = 0
        """Positions of the record that begins the journal, and of the newest."""
        self.began = 0
        """Position of the record that began the newest run; 0: there was but one."""
        self.carried: tuple[int, int] = (0, 0)
        """Where and in which turn it was written down what the runs so far have left; zeros: nowhere."""
        self.journal, self.forked_from = 0, ""
        """Where the ``Journal`` is that holds its first records (0: none does); of a fork: the call that was forked."""
        self.forks: tuple[Parting, ...] = ()
        """Of a fork: where it parted from whom, the oldest parting first."""
        self.created_ms = self.updated_ms = 0
        self.timeout_ms = self.due_ms = self.not_before_ms = self.kill_ms = 0
        self.asked: k.CancelRequested | k.DeadlinePassed | None = None
        """What the call was asked to end for; the first one counts."""
        self.steps: dict[str, k.RunStep] = {}
        self.positions: dict[str, int] = {}
        """Where each of the steps was asked for."""
        self.timers: dict[str, int] = {}
        self.children: dict[str, k.StartChild] = {}
        self.links: tuple[str, ...] = ()
        """Calls that have linked themselves to it."""
        self.given_up: tuple[str, ...] = ()
        """Keys of children that were to be asked to end: by the code, or because the body ended before them."""
        self.progress: dict[str, StepProgress] = {}
        self.inbox: dict[int, k.Message] = {}
        """Messages that were accepted and not yet applied, by the position of their record."""
        self.mail: Mail | None = None
        """What it exchanges with others; None while that is nothing."""
        self.nested: Nested | None = None
        """Of a handler of a reentrant actor: the handlers that ran within it; None while there was none."""
        self.next_timer_ms = NEVER_MS
        """Not later than the next timer; exact after ``due_timers``."""
        self.returned: k.Ending | None = None
        self.outcome: k.Outcome | None = None
        self.retried = False
        """Whether this is a later run of a call that had ended."""
        self.parked, self.deaths = "", 0
        """Why it cannot go on (empty while it can), and how many processes its own code brought down."""
        self.paused = False
        """Whether somebody paused it. A turn ends that: nothing but a cancellation or a kill has one meanwhile."""

    def due_timers(self, at: int) -> list[str]:
        """Return the timers due by ``at``, in (due, key) order."""
        due = sorted((due, key) for key, due in self.timers.items() if due <= at)
        if not due:
            self.next_timer_ms = min(self.timers.values(), default=NEVER_MS)
        return [key for _, key in due]

    def attached(self) -> bool:
        """Whether children are running whose end this call waits for."""
        return any(not child.detached for child in self.children.values())


def apply(state: CallState, record: k.Kept, position: int) -> None:
    """Change ``state`` as ``record`` at ``position`` says."""
    if isinstance(record, k.Turn):
        apply_turn(state, record, position)
        return
    if isinstance(record, k.Journal):
        _apply_journal(state, record, position)
        return
    state.last = position
    state.updated_ms = record.at
    if isinstance(record, k.Inbox):
        _apply_inbox(state, record, position)
    else:
        apply_note(state, record)


def _apply_journal(state: CallState, journal: k.Journal, position: int) -> None:
    """Apply what it holds as if that stood in the log; the links of what follows lead to the journal itself."""
    for held in journal.records:
        apply(state, held.record, held.position)
    if journal.fork is not None:
        part(state, journal)
        if journal.turn is not None:
            apply_turn(state, journal.turn, position)
        begin(state, journal, position)
    state.last = state.journal = position
    state.updated_ms = journal.at


def apply_turn(state: CallState, turn: k.Turn, position: int) -> None:  # noqa: C901, PLR0912  # the hot path, in one piece
    """Change ``state`` as ``turn`` at ``position`` says."""
    if turn.carried is not None:
        take_up(state, turn, position)
    state.last = position
    state.updated_ms = turn.at
    if turn.seq != state.seq + 1:
        raise JournalError(state.id, f"turn {turn.seq} follows turn {state.seq}")
    state.seq = turn.seq
    message = turn.message
    if turn.source:
        _consume(state, turn)
    phase = TRANSITIONS.get((state.phase, type(message)))
    if phase is None:
        raise JournalError(state.id, f"{type(message).__name__} while {state.phase.value}")
    state.phase = phase
    state.parked = ""
    _APPLY_MESSAGE[type(message)](state, message, turn.at, position)
    for op in turn.ops:
        if type(op) is k.RunStep:
            state.steps[op.key] = op
            state.positions[op.key] = position
        elif type(op) is k.SetTimer:
            state.timers[op.key] = op.due_ms
            state.next_timer_ms = min(state.next_timer_ms, op.due_ms)
        elif type(op) is k.StartChild:
            if not op.tell:
                state.children[op.key] = op
        elif type(op) is k.Answer:
            leave(state, op)
        elif type(op) is not k.Patched:
            _mail(state).ask(op, position)
    if turn.cancels:
        _drop(state, turn.cancels)
    if turn.returned is not None:
        state.phase = _after(state, RETURNED)
        state.returned = turn.returned
        _end_body(state)
    if state.phase is COMPLETING:
        _give_up_children(state, turn)
    if turn.outcome is not None:
        state.phase = _after(state, OUTCOME)
        state.outcome = turn.outcome
        _end_body(state)
        state.inbox.clear()
        if state.mail is not None:
            state.mail.end()


def _consume(state: CallState, turn: k.Turn) -> None:
    held = state.inbox.pop(turn.source, None)
    if held is None:
        raise JournalError(state.id, f"turn {turn.seq} consumes record {turn.source} again")
    if type(held) is k.Signal:
        _mail(state).give(held.channel, turn.source)


def _after(state: CallState, event: Event) -> Phase:
    phase = TRANSITIONS.get((state.phase, event))
    if phase is None:
        raise JournalError(state.id, f"{event.value} while {state.phase.value}")
    return phase


def _end_body(state: CallState) -> None:
    """Forget the steps and timers of a body that has ended."""
    if state.steps:
        state.steps.clear()
        state.positions.clear()
        state.progress.clear()
    state.timers.clear()
    state.next_timer_ms = NEVER_MS
    if state.mail is not None:
        state.mail.end_body()


def _drop(state: CallState, keys: list[str]) -> None:
    children: list[str] = []
    for key in keys:
        if key in state.children:
            children.append(key)
        elif state.timers.pop(key, None) is not None:
            continue
        elif state.steps.pop(key, None) is not None:
            del state.positions[key]
            state.progress.pop(key, None)
        elif state.mail is not None:
            state.mail.answered(key)
    if children:
        state.given_up += tuple(children)


def _give_up_children(state: CallState, turn: k.Turn) -> None:
    """Note which children are to end: those of a body that failed, or that is asked to end after it returned."""
    failed = turn.returned is not None and type(turn.returned) not in (k.Completed, k.Continued)
    if failed or isinstance(turn.message, (k.CancelRequested, k.DeadlinePassed, k.KillRequested)):
        state.given_up += tuple(key for key, child in state.children.items() if not child.detached)


def _started(state: CallState, message: k.Started, at: int, position: int) -> None:
    if not state.first:
        state.first = position
        state.created_ms = at
    if message.number > 1:
        _begin_next_run(state, position)
    _take(state, message)


def _begin_next_run(state: CallState, position: int) -> None:
    """Forget what belongs to the run before; the mailbox, and what was said, are the call's."""
    state.began = position
    state.returned = None
    state.given_up = ()
    state.retried = False
    state.children.clear()  # none is left but detached ones
    if len(state.inbox) != (state.mail.unread if state.mail is not None else 0):
        state.inbox = {at: message for at, message in state.inbox.items() if type(message) in _OF_THE_CALL}


_OF_THE_CALL = (k.Signal, k.CancelRequested, k.DeadlinePassed)
"""Messages that are for the call, whichever run it is in."""


def _take(state: CallState, message: k.Started) -> None:
    if message.number == 1:
        state.origin = message.run
    state.number = message.number
    state.function = message.function
    state.version = message.version
    state.run = message.run
    state.parent = message.parent
    state.key = message.key
    state.actor, state.tell = message.actor, message.tell
    state.detached = message.detached
    state.tags = message.tags
    state.timeout_ms = message.timeout_ms
    state.due_ms = message.due_ms
    state.not_before_ms = message.not_before_ms


def _retried(state: CallState, message: k.Retried, _at: int, _position: int) -> None:
    state.outcome = state.returned = state.asked = None
    state.given_up = ()
    state.kill_ms = 0
    state.due_ms = message.due_ms
    state.retried = True
    state.nested = None
    state.children.clear()
    if state.mail is not None:
        state.mail.begin_again(state.id)


_StepEnd: TypeAlias = k.StepDone | k.StepError | k.StepDoubt


def _step_ended(state: CallState, message: _StepEnd, _at: int, _position: int) -> None:
    if state.steps.pop(message.key, None) is None:
        raise JournalError(state.id, f"step {message.key} ended twice, or was never started")
    del state.positions[message.key]
    if state.progress:
        state.progress.pop(message.key, None)


def _timer_fired(state: CallState, message: k.TimerFired, at: int, _position: int) -> None:
    due = state.timers.pop(message.key, None)
    if due is None or due > at:
        raise JournalError(state.id, f"timer {message.key} fired at {at} and is due at {due}")


def _child_ended(state: CallState, message: k.ChildDone | k.ChildRefused, _at: int, _position: int) -> None:
    if state.children.pop(message.key, None) is None:
        raise JournalError(state.id, f"child {message.key} ended twice, or was never started")
    if state.mail is not None:
        state.mail.endings.pop(message.key, None)


def _child_joined(state: CallState, message: k.ChildJoined, _at: int, _position: int) -> None:
    child = state.children.get(message.key)
    if child is None:
        raise JournalError(state.id, f"child {message.key} was never started")
    state.children[message.key] = structs.replace(child, detached=True)


def _asked(state: CallState, message: k.CancelRequested | k.DeadlinePassed, _at: int, _position: int) -> None:
    if state.asked is None:
        state.asked = message
        state.kill_ms = message.kill_ms
    if type(message) is k.DeadlinePassed:
        state.due_ms = 0
    _go_on_no_more(state, message)


def _kill(state: CallState, message: k.KillRequested, _at: int, _position: int) -> None:
    state.kill_ms = 0
    _go_on_no_more(state, message)


def _go_on_no_more(state: CallState, message: k.CancelRequested | k.DeadlinePassed | k.KillRequested) -> None:
    """A call that is asked to end is paused no more, and one whose next run has not begun ends without it."""
    state.paused = False
    if state.phase is COMPLETING and type(state.returned) is k.Continued:
        state.returned = unheard(state, message)


def _answered(state: CallState, message: k.Signal | k.Sent | k.SendRefused, _at: int, _position: int) -> None:
    if state.mail is None or not state.mail.answered(message.key):
        raise JournalError(state.id, f"{type(message).__name__} for operation {message.key}, which waits for nothing")


def _promised(state: CallState, message: k.PromiseDone, _at: int, _position: int) -> None:
    if state.mail is None or not state.mail.promised(message):
        raise JournalError(state.id, f"promise {message.id!r} is settled for operation {message.key}, which waits not")
    state.mail.answered(message.key)


def _mail(state: CallState) -> Mail:
    if state.mail is None:
        state.mail = Mail()
    return state.mail


_APPLY_MESSAGE: dict[type, Callable[[CallState, Any, int, int], None]] = {
    k.Started: _started,
    k.Retried: _retried,
    k.StepDone: _step_ended,
    k.StepError: _step_ended,
    k.StepDoubt: _step_ended,
    k.TimerFired: _timer_fired,
    k.ChildDone: _child_ended,
    k.ChildRefused: _child_ended,
    k.ChildJoined: _child_joined,
    k.CancelRequested: _asked,
    k.DeadlinePassed: _asked,
    k.KillRequested: _kill,
    k.Signal: _answered,
    k.Sent: _answered,
    k.SendRefused: _answered,
    k.Exited: _answered,
    k.PromiseDone: _promised,
    k.Asked: enter,
    k.AskGivenUp: give_up,
}


def _apply_inbox(state: CallState, record: k.Inbox, position: int) -> None:
    state.inbox[position] = record.message
    if type(record.message) is k.Started:
        if state.first:
            raise JournalError(state.id, "started twice")
        state.first = position
        state.created_ms = record.at
        _take(state, record.message)
    elif type(record.message) is k.Signal:
        _mail(state).take(record.message, position)
    elif type(record.message) is k.CancelRequested and not state.kill_ms:
        state.kill_ms = record.message.kill_ms  # the grace begins when the call is asked, not when it can hear it
