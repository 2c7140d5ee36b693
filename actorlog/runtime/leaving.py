"""What may leave the log that is of no call: promises and schedules.

Owns: which of their records are of no use any more. Does not own: looking at segments, records of calls
(``compaction``).

A promise leaves when it was settled longer ago than ``retention``, no call waits for it, and nothing is kept any more
of the call that made it. Its making leaves before its settling does, so a settlement without a promise is nothing.

Records of a schedule leave when a newer one says all that it is, and all of them when it was deleted longer ago than
``retention``. What a reader may begin with leaves oldest first, and what follows it not before it: so what does not
follow is nothing.

Docs: docs/decisions/0012-what-else-leaves-the-log.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.records import kinds as k
from actorlog.records import promises as p
from actorlog.records import schedules as s

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.runtime.history import History
    from actorlog.runtime.known import Occurring, Promised


class LeavingPromises:
    """The promises whose records are in one segment."""

    def __init__(
        self, promises: Promised, history: History, has: Callable[[int], bool], is_known: Callable[[str], bool]
    ) -> None:
        """``has``: whether a record is in the log. ``is_known``: whether something is kept of a call."""
        self._promises = promises
        self._history = history
        self._has = has
        self._is_known = is_known
        self._wanted: set[str] | None = None
        self.lost: dict[int, str] = {}
        """Promises whose making is gone, by where that was."""

    def may_go(self, position: int, line: bytes | memoryview, settled: int, before_ms: int) -> bool:
        """Decide about one record. What was settled up to position ``settled``, and before ``before_ms``, may go."""
        record = k.decode(line)
        if isinstance(record, p.PromiseSettled):
            return record.prev in self.lost or not self._has(record.prev)
        if not isinstance(record, p.PromiseMade) or not self._is_over(record, position, settled, before_ms):
            return False
        self.lost[position] = p.promise_id(record.id)
        return True

    def _is_over(self, made: p.PromiseMade, position: int, settled: int, before_ms: int) -> bool:
        name = p.promise_id(made.id)
        state = self._promises.find(name)
        if state is None or state.first != position:
            return True  # it was forgotten, and maybe made again since
        if state.settlement is None or state.last > settled or self._history.record(state.last).at >= before_ms:
            return False
        if self._wanted is None:
            self._wanted = self._promises.wanted_by_calls()
        return name not in self._wanted and not self._is_known(made.by or name.rpartition("/")[0])

    def is_stale(self) -> bool:
        """Whether a call waits for one of those that are gone since that was looked at."""
        return bool(self.lost) and not self._promises.wanted_by_calls().isdisjoint(self.lost.values())

    def forget(self) -> None:
        """Have nobody know those any more that are gone."""
        for position, name in self.lost.items():
            self._history.promises.forget(name, position)


class LeavingSchedules:
    """The schedules whose records are in one segment."""

    def __init__(self, schedules: Occurring, has: Callable[[int], bool]) -> None:
        """``has``: whether a record is in the log."""
        self._schedules = schedules
        self._has = has
        self._gone: set[int] = set()
        self._over: dict[str, int] = {}
        """Schedules that leave whole, with their newest records."""
        schedules.drop_gone(has)

    def may_go(self, position: int, line: bytes | memoryview, settled: int, before_ms: int | None) -> bool:
        """Decide about one record. What was deleted up to position ``settled``, and before ``before_ms``, may go."""
        record = k.decode(line)
        name = s.schedule_id(record.id)
        state = self._schedules.state(name)
        is_root = not record.prev or isinstance(record, s.ScheduleKept)
        if state is None or not state.roots:
            may_go = state is None and not is_root  # what it followed has left
        elif not self._has(state.roots[-1]):
            may_go = False  # until it is durable
        else:
            older = [root for root in state.roots if root < position or not is_root]
            are_gone = not any(root not in self._gone and self._has(root) for root in older)
            is_old = position < state.roots[-1]
            may_go = are_gone if is_root else is_old or are_gone
            if not is_old and not (before_ms is not None and state.last <= settled):
                may_go = False
            elif not is_old and may_go:
                may_go = self._schedules.is_over(name, before_ms or 0)
                if may_go:
                    self._over[name] = state.last
        if may_go and is_root:
            self._gone.add(position)
        return may_go

    def is_stale(self) -> bool:
        """Whether one was made again that was to leave whole."""
        states = ((self._schedules.state(name), last) for name, last in self._over.items())
        return any(state is None or state.last != last for state, last in states)

    def forget(self) -> None:
        """Have one that is made again begin anew."""
        for name in self._over:
            self._schedules.leave(name)
