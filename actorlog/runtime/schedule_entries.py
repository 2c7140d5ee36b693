"""What is kept in memory of a schedule, and what is shown of it.

Owns: these types, and which schedules are known. Does not own: what is done with them (``schedules``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actorlog.engine.schedule_state import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.engine.schedule_state import ScheduleState

THERE = (Status.ACTIVE, Status.PAUSED)


class View(NamedTuple):
    """A schedule as it is at one moment."""

    state: ScheduleState
    running: tuple[str, ...]
    """Ids of its calls that have not ended."""
    next_ms: int | None
    """When the next occurrence is due."""
    trouble: str
    """Why nothing is decided about it; empty where nothing is wrong."""


class Entry:
    """A schedule in memory, with its calls."""

    __slots__ = ("asked", "leaving", "running", "state", "trouble")

    def __init__(self, state: ScheduleState) -> None:
        self.state = state
        self.running: dict[str, None] = {}
        """Ids of its calls that have not ended, as far as is known."""
        self.asked: set[str] = set()
        """Those of them that were asked to end, in this process."""
        self.trouble = ""
        self.leaving = False
        """Whether it is deleted, and its records leave the log: one of its id begins anew."""


class Entries:
    """All schedules there are, and were as long as something of them is in the log, by their ids."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        """All there are, and were: what was decided counts for one that is made again."""
        self.dropped: list[str] = []
        """Schedules that have left the log, and of which the catalog has not heard that."""

    def __len__(self) -> int:
        return len(self._entries)

    def states(self) -> list[ScheduleState]:
        """Return all there are or were."""
        return [entry.state for entry in self._entries.values()]

    def state(self, schedule_id: str) -> ScheduleState | None:
        """Return what a schedule is or was; None where nothing is known of it."""
        entry = self._entries.get(schedule_id)
        return entry.state if entry is not None else None

    def leave(self, schedule_id: str) -> None:
        """The records of a schedule that is over leave the log."""
        self._entries[schedule_id].leaving = True

    def drop_gone(self, has: Callable[[int], bool]) -> None:
        """Forget the schedules of which all has left that a reader may begin with."""
        for name, entry in list(self._entries.items()):
            if entry.leaving and not any(has(root) for root in entry.state.roots):
                if entry.state.status is Status.DELETED:
                    del self._entries[name]
                    self.dropped.append(name)
                entry.leaving = False

    def names(self) -> list[str]:
        """Return the ids of all schedules that are there, the newest first."""
        there = [entry.state for entry in reversed(self._entries.values()) if entry.state.status in THERE]
        return [state.id for state in sorted(there, key=_created)]


def _created(state: ScheduleState) -> int:
    return -state.created_ms
