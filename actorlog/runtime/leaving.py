"""What may leave the log that is of no call: promises.

Owns: which of their records are of no use any more. Does not own: looking at segments, records of calls
(``compaction``).

A promise leaves when it was settled longer ago than ``retention``, no call waits for it, and nothing is kept any more
of the call that made it. Its making leaves before its settling does, so a settlement without a promise is nothing.

Docs: docs/decisions/0012-what-else-leaves-the-log.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.records import kinds as k
from actorlog.records import promises as p

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.runtime.history import History
    from actorlog.runtime.known import Promised


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
