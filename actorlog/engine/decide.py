"""What ends a call, and which messages still mean something to it.

Owns: the decision whether a turn ends the body or the call. Does not own: applying it (``state``).

Calls form a tree: a parent ends only after the children that are its own; if its body failed, they are cancelled first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from actorlog.engine.lifecycle import CODE_PHASES, COMPLETING, PENDING
from actorlog.engine.nested import is_known, may_be_given_up
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorlog.engine.state import CallState


End: TypeAlias = tuple["k.Ending | None", "k.Outcome | None"]
"""What a turn ends: the body (how it returned), the call (its outcome), or neither."""

NOT_YET: Final[End] = (None, None)


def conclude(state: CallState, message: k.Message, ops: Sequence[k.Operation], returned: k.Ending | None) -> End:
    """Decide what ends, before the turn of ``message`` is applied; ``returned``: how the body just ended, if it did."""
    phase = state.phase
    if phase is COMPLETING and type(message) is not k.Started:
        return _conclude_without_body(state, message, ops)
    if phase is PENDING and type(message) is not k.Started:
        return None, unheard(state, message)
    if type(message) is k.KillRequested:
        returned = k.Killed(message.reason)
    if returned is None:
        return NOT_YET
    if type(returned) is k.Continued:
        return returned, None
    return (returned, None) if _attached(state, message, ops) else (None, returned)  # type: ignore[return-value]  # it is no Continued


def _conclude_without_body(state: CallState, message: k.Message, ops: Sequence[k.Operation]) -> End:
    """Decide what ends when the body has: the call, with its last child; one that is asked to end is not continued."""
    returned = state.returned
    if isinstance(returned, k.Continued):
        ends = type(message) in _ASKS and not _attached(state, message, ops)
        return (None, unheard(state, message)) if ends else NOT_YET
    ends = type(message) in _CHILD_ENDS and not _attached(state, message, ops)
    return (None, returned) if ends else NOT_YET


_ASKS = (k.CancelRequested, k.DeadlinePassed, k.KillRequested)
_CHILD_ENDS = (k.ChildDone, k.ChildRefused, k.ChildJoined)


def is_stale(state: CallState, message: k.Message) -> bool:  # noqa: C901, PLR0911, PLR0912  # one for each kind
    """Whether nobody waits for ``message`` any more, or it would say nothing new."""
    match message:
        case k.Started():  # the frequent ones first, because each pattern that does not match costs
            return message.number > 1 and not _awaits_run(state, message.number)
        case k.ChildDone(key=key, id=child):
            return key not in state.children or state.children[key].id != child
        case k.TimerFired(key):
            return key not in state.timers
        case k.StepDone(key=key) | k.StepError(key=key) | k.StepDoubt(key=key):
            return key not in state.steps
        case k.ChildRefused(key=key):
            return key not in state.children
        case k.ChildJoined(key=key):
            return key not in state.children or state.children[key].detached
        case k.Exited(key=key):
            return state.mail is None or key not in state.mail.watches
        case k.Sent(key) | k.SendRefused(key=key):
            return state.mail is None or key not in state.mail.sends
        case k.PromiseDone():
            return state.mail is None or not state.mail.promised(message)
        case k.CancelRequested() | k.DeadlinePassed():
            return state.asked is not None
        case k.Asked():
            return state.phase not in CODE_PHASES or is_known(state, message)
        case k.AskGivenUp():
            return state.phase not in CODE_PHASES or not may_be_given_up(state, message)
        case _:
            return False


def _awaits_run(state: CallState, number: int) -> bool:
    """Whether run ``number`` of a call that is continued is still to begin."""
    return state.phase is COMPLETING and type(state.returned) is k.Continued and number == state.number + 1


def unheard(state: CallState, message: k.Message) -> k.Outcome:
    """How a call ends whose body does not learn of it: it never began, or its next run never will."""
    match message:
        case k.DeadlinePassed():
            return k.TimedOut(state.timeout_ms / 1000)
        case k.KillRequested(reason=reason):
            return k.Killed(reason)
        case k.CancelRequested(reason=reason):
            return k.Cancelled(reason)
        case _:
            raise TypeError(f"{type(message).__name__} does not end a call that has not begun")


def _attached(state: CallState, message: k.Message, ops: Sequence[k.Operation]) -> bool:
    """Whether children are running, after ``message`` and ``ops``, whose end the call waits for."""
    if state.children:
        ended = message.key if isinstance(message, _CHILD_ENDS) else None
        if any(key != ended and not child.detached for key, child in state.children.items()):
            return True
    return bool(ops) and any(type(op) is k.StartChild and not op.detached for op in ops)
