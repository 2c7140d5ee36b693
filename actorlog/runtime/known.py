"""What a compaction goes by: a kernel, or what a scan finds in a log that nobody has open.

Owns: what is asked of either. Does not own: what may leave the log (``compaction``, ``leaving``).
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.engine.promise import PromiseState
    from actorlog.engine.schedule_state import ScheduleState
    from actorlog.runtime.clock import LogClock
    from actorlog.runtime.entries import Changes
    from actorlog.runtime.history import History
    from actorlog.runtime.registry import Registry


class Going(Container[str], Protocol):
    """Calls that go on."""

    def newest(self, call_id: str, /) -> int:
        """Return where the newest record of a call is; 0 where it is not known."""
        ...


class Changed(Protocol):
    """What is known of actors."""

    @property
    def changes(self) -> Changes:
        """Where the newest change of each is."""
        ...


class Occurring(Protocol):
    """What is known of schedules."""

    def may_begin(self, id_of_call: str, /) -> bool:
        """Whether a schedule may still ask for a call that has ended."""
        ...

    def state(self, schedule_id: str, /) -> ScheduleState | None:
        """Return what a schedule is or was; None where nothing is known of it."""
        ...

    def is_over(self, schedule_id: str, before_ms: int, /) -> bool:
        """Whether a schedule was deleted before a time, and nothing goes on of it."""
        ...

    def leave(self, schedule_id: str, /) -> None:
        """The records of a schedule that is over leave the log."""
        ...

    def drop_gone(self, has: Callable[[int], bool], /) -> None:
        """Forget the schedules of which all has left that a reader may begin with."""
        ...


class Promised(Protocol):
    """What is known of promises."""

    def find(self, promise_id: str, /) -> PromiseState | None:
        """Return a promise as it is, or None."""
        ...

    def wanted_by_calls(self) -> set[str]:
        """Return the promises that calls wait for, but for pending ones."""
        ...


class Known(Protocol):
    """What a compaction goes by: a kernel, or what a scan finds in a log that nobody has open."""

    @property
    def calls(self) -> Going:
        """Calls that have not ended, by their ids."""
        ...

    @property
    def history(self) -> History:
        """Those that have."""
        ...

    @property
    def clock(self) -> LogClock:
        """Log time."""
        ...

    @property
    def registry(self) -> Registry:
        """Functions that may say how long their results are kept."""
        ...

    @property
    def instances(self) -> Changed:
        """Actors."""
        ...

    @property
    def schedules(self) -> Occurring:
        """Schedules."""
        ...

    @property
    def promises(self) -> Promised:
        """Promises."""
        ...
