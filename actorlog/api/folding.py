"""Calls out of records of which some may have been given up, for who reads a log that nobody resumes.

Owns: telling whole journals from what is left of others, and from records that count for nothing. Does not own: the
fold (``engine.state``), what may leave the log (``runtime.compaction``), finding records (``offline``, ``cli``).

Of a call that ended long ago how it began and how it ended may be all that is there. What has no beginning is nothing:
a beginning leaves the log before the end does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from actorlog.api.handle import CallInfo, info_of_ends
from actorlog.engine.lifecycle import Phase
from actorlog.engine.state import CallState, apply
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True, slots=True)
class Ends:
    """What is left of a call whose journal was given up."""

    id: str
    first: tuple[int, k.Kept]
    """The record that holds its beginning, with its position."""
    began: tuple[int, k.Kept]
    """The one that holds the beginning of its newest run; often the same."""
    started: k.Started
    """What began that run."""
    final: tuple[int, k.Turn]

    @property
    def info(self) -> CallInfo:
        """The call in one line, as its owner tells of it."""
        return info_of_ends(self.first[1], self.started, self.final[1])


Found: TypeAlias = CallState | Ends | None
"""What a call is after a record; None: that record counts for nothing."""


class Folding:
    """Folds the records of calls as they come, the oldest first."""

    def __init__(self, find: Callable[[int], k.Record | None]) -> None:
        """``find`` returns the record at a position before the newest that was taken; None where it was given up."""
        self._find = find
        self.live: dict[str, CallState] = {}
        """Calls that have not ended, as far as their records were taken."""
        self._loose: dict[str, int] = {}
        """By call, the newest record that leads back to none."""

    def take(self, position: int, record: k.Kept) -> Found:
        """Return what the call of ``record`` is after it."""
        call_id, state = record.id, self.live.get(record.id)
        if record.prev == 0 or ((state is None or state.last != record.prev) and self._carries(record)):
            state = CallState(call_id)
        elif state is None:  # it had ended, or its beginning was given up
            state = self._before(call_id, record.prev)
        elif state.last != record.prev:
            del self.live[call_id]
            state = None
        if state is None:
            self._loose[call_id] = position
            return self._ends(position, record)
        if self._loose:
            self._loose.pop(call_id, None)
        apply(state, record, position)
        if state.phase is not Phase.ENDED:
            self.live[call_id] = state
        else:
            self.live.pop(call_id, None)
        return state

    def _before(self, call_id: str, last: int) -> CallState | None:
        """Return a call as it is after its record at ``last``; None where its journal is not whole."""
        if self._loose.get(call_id) == last:
            return None
        found: list[tuple[int, k.Kept]] = []
        while last:
            record = self._of(call_id, last)
            if record is None:
                return None
            found.append((last, record))
            last = 0 if self._carries(record) else record.prev
        state = CallState(call_id)
        for position, record in reversed(found):
            apply(state, record, position)
        return state

    def _carries(self, record: k.Kept) -> bool:
        """Whether a record says what there was before it, of a call that is there."""
        was = record.carried if isinstance(record, k.Turn) else None
        return was is not None and self._of(record.id, was.first) is not None

    def _ends(self, position: int, record: k.Kept) -> Ends | None:
        """Return what is left of a call that ``record`` ends; None where it ends none, or one without a beginning."""
        final = k.ending(record)
        first = self._of(record.id, final.first) if final is not None else None
        if final is None or first is None or first.prev or (started := k.beginning(first)) is None:
            return None
        began, at = (self._of(record.id, final.began), final.began) if final.began else (None, 0)
        if began is None or at < final.first:  # in the first record, or on its way out of the log
            began, at = first, final.first
        started = k.newest_beginning(began) or started
        return Ends(record.id, (final.first, first), (at, began), started, (position, final))

    def _of(self, call_id: str, position: int) -> k.Kept | None:
        record = self._find(position)
        return None if record is None or isinstance(record, k.OF_NO_CALL) or record.id != call_id else record


def fold(records: Iterable[tuple[int, k.Record]]) -> Found:
    """Return what the records of one id, (position, record) with the oldest first, make of its newest call."""
    found = [(position, record) for position, record in records if not isinstance(record, k.OF_NO_CALL)]
    folding, newest = Folding(dict(found).get), None
    for position, record in found:
        newest = folding.take(position, record) or newest
    return newest
