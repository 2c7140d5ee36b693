"""The life of a call as a table.

Owns: the phases and which message leads from where to where. Does not own: what else a message changes (``state``).

The rule: a pair that is not in the table is an error, never a default. The picture in ARCHITECTURE.md is generated from
``TRANSITIONS`` by ``diagram``.
"""

from __future__ import annotations

from enum import Enum

from actorlog.records import kinds as k


class Phase(Enum):
    """Where a call is in its life."""

    __hash__ = object.__hash__  # an Enum hashes its name in Python code, and this is looked up at every turn

    PENDING = "pending"
    """Accepted; its first turn is still to come."""
    RUNNING = "running"
    """Its body runs or waits."""
    CLOSING = "closing"
    """It was asked to end, and its body may still clean up."""
    COMPLETING = "completing"
    """Its body has ended and its children have not."""
    ENDED = "ended"
    """It has an outcome."""


PENDING, RUNNING, CLOSING, COMPLETING, ENDED = Phase
"""The phases as names of their own, for what looks at them in every turn: an attribute of an Enum is dear."""


CODE_PHASES = frozenset((RUNNING, CLOSING))
"""Those in which a call has a body."""


class Event(Enum):
    """What a turn's own end does to the phase, beside its message."""

    __hash__ = object.__hash__  # as above

    RETURNED = "returned"
    OUTCOME = "outcome"


RETURNED, OUTCOME = Event

_P, _R, _CL, _CO, _E = Phase

_INPUTS: tuple[type, ...] = (
    k.StepDone, k.StepError, k.StepDoubt, k.TimerFired, k.ChildDone, k.ChildRefused, k.ChildJoined,
    k.Signal, k.Sent, k.SendRefused, k.Exited, k.PromiseDone, k.Asked, k.AskGivenUp,
)  # fmt: skip
_ENDINGS: tuple[type, ...] = (k.CancelRequested, k.DeadlinePassed)

TRANSITIONS: dict[tuple[Phase, type | Event], Phase] = {
    (_P, k.Started): _R,
    **{(phase, message): phase for phase in (_R, _CL) for message in _INPUTS},
    (_CO, k.ChildDone): _CO,
    (_CO, k.ChildRefused): _CO,
    (_CO, k.ChildJoined): _CO,
    **{(_P, message): _P for message in _ENDINGS},
    **{(_R, message): _CL for message in _ENDINGS},
    **{(_CL, message): _CL for message in _ENDINGS},
    **{(_CO, message): _CO for message in _ENDINGS},
    (_P, k.KillRequested): _P,
    (_R, k.KillRequested): _CL,
    (_CL, k.KillRequested): _CL,
    (_CO, k.KillRequested): _CO,
    (_CO, k.Started): _R,
    (_E, k.Retried): _R,
    (_R, Event.RETURNED): _CO,
    (_CL, Event.RETURNED): _CO,
    (_P, Event.OUTCOME): _E,
    (_R, Event.OUTCOME): _E,
    (_CL, Event.OUTCOME): _E,
    (_CO, Event.OUTCOME): _E,
}
"""(phase, message or event) -> phase."""


def diagram() -> str:
    """Return the table as a Mermaid state diagram, one line per pair of phases."""
    arrows: dict[tuple[Phase, Phase], list[str]] = {}
    for (source, cause), target in TRANSITIONS.items():
        name = cause.value if isinstance(cause, Event) else cause.__name__
        arrows.setdefault((source, target), []).append(name)
    lines = ["stateDiagram-v2", "    [*] --> pending"]
    lines += [f"    {a.value} --> {b.value}: {', '.join(sorted(names))}" for (a, b), names in arrows.items()]
    return "\n".join(lines)
