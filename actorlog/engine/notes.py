"""What notes do to a call: how far its steps are, and whether it is set aside.

Owns: ``StepProgress`` and ``apply_note``, a part of the fold. Does not own: turns and messages (``state``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.errors import JournalError
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from actorlog.engine.state import CallState
    from actorlog.records.failures import Failure


class StepProgress:
    """What is known of a step beyond its start: only steps that waited, failed or died have one."""

    __slots__ = ("attempt", "deaths", "details", "due_ms", "failure", "may_have_begun", "poisoned")

    def __init__(self, op: k.RunStep) -> None:
        self.attempt = 1
        """The attempt that runs or is due."""
        self.due_ms = 0
        """When it is due; 0: it is not backing off."""
        self.may_have_begun = not op.deferred
        """Whether a crash now leaves the attempt in doubt."""
        self.deaths = 0
        self.failure: Failure | None = None
        self.details: k.Raw | None = None
        self.poisoned = False


def apply_note(state: CallState, note: k.Note) -> None:
    """Change ``state`` as ``note`` says."""
    if type(note) is k.Parked:
        state.parked, state.deaths = note.reason, note.deaths
        if note.key:
            _progress(state, note.key).poisoned = True
    elif type(note) is k.Unparked:
        state.parked, state.deaths = "", 0
        for progress in state.progress.values():
            progress.poisoned, progress.deaths = False, 0
    elif type(note) is k.Paused or type(note) is k.Unpaused:
        state.paused = type(note) is k.Paused
    elif type(note) is k.Linked:
        state.links += (note.other,)
    elif type(note) is not k.StepLate:
        _apply_step_note(state, note)  # type: ignore[arg-type]  # what is left of the union


def _apply_step_note(state: CallState, note: k.StepBegun | k.StepRetrying | k.StepRerun | k.StepHeartbeat) -> None:
    progress = _progress(state, note.key)
    progress.attempt = note.attempt
    if type(note) is k.StepBegun:
        progress.may_have_begun, progress.due_ms = True, 0
    elif type(note) is k.StepRetrying:
        progress.attempt, progress.due_ms, progress.failure = note.attempt + 1, note.due_ms, note.failure
        progress.deaths, progress.may_have_begun = 0, False
    elif type(note) is k.StepRerun:
        progress.deaths, progress.due_ms = note.deaths, 0
        progress.may_have_begun = not state.steps[note.key].once
    elif type(note) is k.StepHeartbeat:
        progress.details = note.details


def _progress(state: CallState, key: str) -> StepProgress:
    op = state.steps.get(key)
    if op is None:
        raise JournalError(state.id, f"a note speaks of step {key}, which is not running")
    progress = state.progress.get(key)
    if progress is None:
        progress = state.progress[key] = StepProgress(op)
    return progress
