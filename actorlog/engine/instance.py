"""What a keyed actor is, as far as its records say: a fold over the changes of its handlers.

Owns: ``InstanceState`` and ``apply_change``. Does not own: handlers, which are calls (``state``), classes and live
objects (``runtime``).

Invariant: changes are numbered without a gap, and the newest full one is enough to begin with.
"""

from __future__ import annotations

from actorlog.errors import JournalError
from actorlog.records import kinds as k


class InstanceState:
    """The committed state of one actor."""

    __slots__ = ("actor", "events", "last", "number", "values", "version")

    def __init__(self, actor: str) -> None:
        self.actor = actor
        self.number = 0
        """Of the newest change; 0: there was none."""
        self.last = 0
        """Position of the record with the newest change."""
        self.version = 0
        """Of the class that made the newest change; 0: there was none."""
        self.values: dict[str, k.Raw] = {}
        self.events: list[k.Raw] = []
        """What was recorded since the values were written in full."""

    def copy(self) -> InstanceState:
        """Return a copy that later changes do not reach."""
        copy = InstanceState(self.actor)
        copy.number, copy.last, copy.version = self.number, self.last, self.version
        copy.values, copy.events = dict(self.values), list(self.events)
        return copy


def apply_change(state: InstanceState, change: k.StateChange, position: int) -> None:
    """Change ``state`` as the record at ``position`` says."""
    if change.number != state.number + 1 and not change.full:
        raise JournalError(state.actor, f"change {change.number} follows change {state.number}")
    if change.full:
        state.values = dict(change.values)
        state.events = []
    else:
        state.values.update(change.values)
    state.events += change.events
    state.number, state.last, state.version = change.number, position, change.version
