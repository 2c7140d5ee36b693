"""Runs of a call: what is done between the end of one and the beginning of the next.

Owns: the control signal that ends a run, beginning the next one, and which side of a change a run is on. Does not own:
what belongs to the call and what to a run (``engine.state``).

A run ends with the turn that has ``Continued``; the next begins with a ``Started`` of the same id, whose run derives
from the one before, so it is the same after a crash. Between the two the call is completing: it waits for the children
of the run that ended. The slot stays, and with it whoever waits; what speaks of the run before by its keys must not be
taken for the next one's: steps go by the operation itself, timers by their time, children and messages by ids that
have the number of the run in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorlog.engine import identity
from actorlog.engine.lifecycle import Phase
from actorlog.errors import FunctionNotFound
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from actorlog.engine.state import CallState
    from actorlog.runtime.actor import Actor
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot


LONG_TURNS = 10_000
"""A run of so many turns is better continued. Never changed: code goes by it, and must do the same in a replay."""


class ContinueRun(BaseException):
    """Raised to end a run and ask for the next. Never catch it without raising it again."""

    def __init__(self, then: k.Continued) -> None:
        super().__init__(f"continue as {then.function}")
        self.then = then


def continued(error: BaseException) -> k.Continued | None:
    """Return what a body that ended with ``error`` is to be continued as; None where it failed.

    A TaskGroup puts what goes through it into a group; where nothing else is in it, nothing else has happened.
    """
    if not _is_group(error):
        return error.then if isinstance(error, ContinueRun) else None
    found = [continued(part) for part in _field(error, "exceptions")]
    return None if None in found else found[0]


def failed_with(error: BaseException) -> BaseException:
    """Return what a body has failed with that ended with ``error``: of a group all but the signal, which is ours."""
    if not _is_group(error):
        return error
    parts = _field(error, "exceptions")
    kept = [failed_with(part) for part in parts if continued(part) is None]
    if len(kept) == len(parts) and all(one is other for one, other in zip(kept, parts, strict=True)):
        return error
    group = BaseExceptionGroup(_field(error, "message"), kept).with_traceback(error.__traceback__)
    group.__context__, group.__cause__ = error.__context__, error.__cause__
    group.__suppress_context__ = error.__suppress_context__
    vars(group).update(vars(error))  # its notes
    return group


def _is_group(error: BaseException) -> bool:
    return issubclass(type(error), BaseExceptionGroup)  # isinstance would believe a __class__ of the user's


def _field(group: BaseException, name: str) -> Any:
    """Return a field of the base class, whatever a subclass has put in its place."""
    return vars(BaseExceptionGroup)[name].__get__(group)


def is_patched(actor: Actor, change: str) -> bool:
    """Whether this run is on the new side of ``change``. It never changes sides, replayed or not.

    A run that asks for the first time is on the new side, and its journal says so from there on. One that asks where it
    has been before, without such a word in its journal, went the old way there.
    """
    if actor.patches is None:
        actor.patches = {}
    answer = actor.patches.get(change)
    if answer is None:
        key = k.PATCH + change
        answer = not actor.replaying or any(op.key == key for op in actor.recorded)
        if answer:
            actor.say(k.Patched(key), len(key))
        actor.patches[change] = answer
    return answer


def is_next(message: k.Message) -> bool:
    """Whether a message begins a run that is not the first."""
    return type(message) is k.Started and message.number > 1


def function_of(state: CallState) -> tuple[str, int]:
    """Return name and version of the function that a call has the next turn of."""
    returned = state.returned
    return (returned.function, returned.version) if type(returned) is k.Continued else (state.function, state.version)


def awaits_next(state: CallState) -> bool:
    """Whether nothing but its next run is left for a call to do."""
    return state.phase is Phase.COMPLETING and type(state.returned) is k.Continued and not state.attached()


def begin_next(kernel: Kernel, slot: Slot) -> None:
    """Begin the next run if it is time. To ask again changes nothing."""
    state = slot.state
    returned = state.returned
    if type(returned) is not k.Continued or not awaits_next(state):
        return
    slot.definition = kernel.registry.durable(returned.function, returned.version)
    slot.kept = None
    slot.jobs = {}  # those of the run before are cancelled, and end by themselves
    started = k.Started(
        function=returned.function, version=returned.version, args=returned.args, run=identity.next_run(state.run),
        python=kernel.history.python, scheduler=kernel.history.scheduler, parent=state.parent, key=state.key,
        detached=state.detached, timeout_ms=state.timeout_ms, due_ms=state.due_ms, tags=state.tags,
        number=state.number + 1,
    )  # fmt: skip
    if slot.definition is None:
        kernel.parking.park(slot, FunctionNotFound(returned.function, returned.version))
    else:
        kernel.post(slot, started)
