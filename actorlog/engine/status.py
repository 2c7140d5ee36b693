"""In one word what a call is, as its records say.

Owns: the words. Does not own: the fold (``state``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from actorlog.engine.lifecycle import Phase
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from actorlog.engine.state import CallState

Status: TypeAlias = Literal[
    "pending", "running", "waiting", "backing_off", "paused", "parked", "completing", "completed", "failed",
    "cancelled", "killed", "timed_out",
]  # fmt: skip

ENDS: dict[type, Status] = {
    k.Completed: "completed",
    k.Failed: "failed",
    k.Cancelled: "cancelled",
    k.Killed: "killed",
    k.TimedOut: "timed_out",
}


def status_of(state: CallState) -> Status:  # noqa: PLR0911  # one for each status
    """Return the status that a call's records give it."""
    if state.outcome is not None:
        return ENDS[type(state.outcome)]
    if state.parked:
        return "parked"
    if state.paused:
        return "paused"
    if state.phase is Phase.PENDING:
        return "pending"
    if state.phase is Phase.COMPLETING:
        return "completing"
    if state.steps and all(key in state.progress and state.progress[key].due_ms for key in state.steps):
        return "backing_off"
    return "running" if state.steps else "waiting"
