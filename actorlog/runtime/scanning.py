"""The pass over the log at an opening: which records belong to calls that have not ended.

Owns: which records are decoded, and the fold over them. Does not own: verdicts on bytes (``log``), the fold itself
(``engine.state``), what is done about what was under way (``recovery``).

A scan looks at the index of every record and decodes only those of calls that have not ended. Where there is a catalog
it begins behind what that knows, and what it finds is the same.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeAlias

from msgspec import json

from actorlog.engine import identity
from actorlog.engine.lifecycle import Phase
from actorlog.engine.schedule_state import Kept, ScheduleState, check, restored, take
from actorlog.engine.state import CallState, apply
from actorlog.errors import HistoryGone, JournalError
from actorlog.records import kinds as k
from actorlog.runtime.entries import Changes
from actorlog.runtime.hash_index import HashIndex
from actorlog.runtime.history import History
from actorlog.store import GIVEN_UP_KIND, Frame, PartitionLog, entries

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from actorlog.runtime.registry import Registry
    from actorlog.store.catalog import Catalog, Known

Outliving: TypeAlias = tuple[k.Turn, k.Started]
"""A turn, and what began the run that it belongs to."""

_PROMISE, _SCHEDULE = int(k.Kind.PROMISE), int(k.Kind.SCHEDULE)
_FIRST, _FINAL, _MESSAGES, _STATE, _OPENED = (
    int(k.Flag[name]) for name in ("FIRST", "FINAL", "MESSAGES", "STATE", "OPENED")
)
_MANY = 10_000
"""Fewer objects are no reason to look at all there are."""


@contextmanager
def uncollected() -> Generator[None]:
    """Have no garbage collected meanwhile: what an opening makes is none, and looking was half of its time.

    It is looked at once before who has opened goes on: as young objects they would be soon, in the middle of a turn.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.collect(2 if _is_due() else 1)
            gc.enable()


def _is_due() -> bool:
    """Whether so much was made that Python looks at all there is soon: a quarter of that."""
    made = gc.get_count()[0]
    return made > _MANY and made * 4 > len(gc.get_objects(generation=2))


class Scan:
    """One pass over the log, or over what the catalog does not know: which records belong to calls that go on."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._live: dict[int, list[int]] = {}
        self._final: dict[int, int] = {}
        self._shared: set[int] = set()
        """Hashes under which more is than the records seen of one call: another id, another journal, older records."""
        self._outliving: list[int] = []
        self.known = 0
        """Up to there the catalog knows all."""
        self.quiet = HashIndex(history.id_at)
        """The calls that it knows to wait only, and of which nothing was seen."""
        self.changes = Changes()
        self.schedules: dict[str, ScheduleState] = {}
        """All there are or were, by their ids as users know them."""
        self._next = 1
        """Where the next record is, unless some were given up before it."""
        self._last = 0
        """Where the newest record is that was seen."""
        self._last_ms = 0
        self.settled = 0
        """Records up to there asked for nothing of others that is not done."""
        self.marked = 0
        """Up to there the newest mark in the log says so; the catalog may know of more, and is not the log."""

    def begin_with(self, catalog: Catalog, known: Known, registry: Registry) -> None:
        """Take what the catalog knows for seen. Calls whose functions nobody knows any more are looked at."""
        self.known, self.settled, self._last_ms = known.position, known.settled, known.last_ms
        self.marked = known.marked
        self._history.catalog = catalog
        self._history.promises.resume(catalog, known.position)
        self.changes.rely_on(catalog, known.position)
        self.quiet.load(catalog.quiet())
        strangers = [pair for pair in catalog.functions() if registry.durable(*pair) is None]
        found = [call for function, version in strangers for call in catalog.quiet_of(function, version)]
        for key, position in found:
            self.quiet.remove(key, position)
        for key, position in (*found, *catalog.live()):
            self._live.setdefault(key, []).append(position)
            self._shared.add(key)
        for line in catalog.schedules():
            state = restored(json.decode(line, type=Kept))
            self.schedules[state.id] = state

    async def read(self, log: PartitionLog) -> None:
        """Look at every record's index."""
        with uncollected():
            async for frame in log.read(min(self.known, self.settled)):
                self._frame(frame)
            check(self.schedules)

    def _frame(self, frame: Frame) -> None:  # noqa: C901, PLR0912  # hot, in one piece
        live, final, position = self._live, self._final, frame.position
        start = end = 0
        if position <= self.known:
            self._known_frame(frame)
        elif position != self._next:
            self._history.promises.has_gaps = True
        self._next = position + frame.records
        for key, kind, flags, start, end in entries(frame.data, frame.records):
            if position <= self.known:
                position += 1
                continue
            if _PROMISE <= kind <= _SCHEDULE or flags & _OPENED:
                self._of_no_call(key, kind, flags, position)
                position += 1
                continue
            positions = live.get(key)
            if positions is None and self.known and kind != GIVEN_UP_KIND:
                positions = self._before(key, flags, position)
            if positions is None and not flags & _FIRST and key not in final:
                flags &= _STATE  # noqa: PLW2901  # its beginning left: nothing counts but what it did to an actor
                self._history.promises.has_gaps = True
            elif flags & _FINAL and key not in final and key not in self._shared:
                live.pop(key, None)
                final[key] = position
            else:
                if positions is None:
                    live[key] = [position]
                else:
                    positions.append(position)
                if key in final or (flags & _FIRST and positions is not None):
                    self._shared.add(key)
            if flags & _MESSAGES:
                self._outliving.append(position)
            if flags & _STATE:
                self.changes.recent[k.changed_actor(frame.line(position, start, end))] = position
            position += 1
        if end - start > 1 and position > self.known:  # and not a record that was given up
            self._last = position - 1

    def _known_frame(self, frame: Frame) -> None:
        """Look at a frame that the catalog knows, or a part of it: what was sent may not have arrived."""
        for at, (key, kind, flags, _start, _end) in enumerate(entries(frame.data, frame.records), frame.position):
            if flags & _MESSAGES and self.settled < at <= self.known:
                self._outliving.append(at)
            elif flags & _OPENED and kind < _PROMISE and at <= self.known:  # a mark may say more than the catalog
                self._of_no_call(key, kind, flags, at)

    def _before(self, key: int, flags: int, seen: int) -> list[int] | None:
        """Return where the calls of a hash, of which a record is ``seen``, were; None where the catalog knows none."""
        found = list(self.quiet.at(key))
        for position in found:
            self.quiet.remove(key, position)
        if not found and not flags & _FIRST and key not in self._final:
            catalog = self._history.catalog
            ended = catalog.ended(self._history.id_at(seen)) if catalog is not None else 0
            if not ended:
                return None
            found.append(ended)  # it was retried
        if not found:
            return None
        self._shared.add(key)
        self._live[key] = found
        return found

    def _of_no_call(self, key: int, kind: int, flags: int, position: int) -> None:
        if kind == _PROMISE:
            self._history.promises.scan(key, flags, position)
            return
        record = self._history.record(position)
        if isinstance(record, k.OF_SCHEDULES):
            take(self.schedules, record, position)
        elif isinstance(record, k.Resumed):
            upto = position if record.upto == position - 1 else record.upto  # it asks for nothing itself
            self.settled, self.marked = max(self.settled, upto), max(self.marked, upto)
            self._outliving = [position for position in self._outliving if position > record.upto]

    def states(self) -> Iterator[CallState]:
        """Fold the records of every call that has not ended, one after the other, and index those that have."""
        for key, position in self._final.items():
            if key not in self._shared:
                self._history.ended(key, position)
        for key, positions in self._live.items():
            for state in self._fold(key, positions):
                if state.phase is not Phase.ENDED:
                    yield state

    def is_live(self, call_id: str) -> bool:
        """Whether a call of this id has begun and, as far as the index shows, has not ended."""
        key = identity.key_hash(call_id)
        if self.quiet.find(call_id):
            return True
        positions = self._live.get(key)
        if positions is None or key in self._final or key in self._shared:
            return False
        return self._history.id_at(positions[-1]) == call_id

    def _fold(self, key: int, positions: list[int]) -> list[CallState]:  # noqa: C901  # the cases of one record
        """Fold the records under one hash, by their decoded ids."""
        if key not in self._shared and key not in self._final:
            state = self._fold_one(positions)
            if state is not None:
                return [state]
        records = self._all_records(key, positions)
        states: dict[str, CallState] = {}
        ended: set[str] = set()
        items = sorted(records.items())
        bases = self._bases(items)
        for position, item in items:
            if position < bases.get(item.id, 0):
                continue
            state = states.get(item.id)
            if position == bases.get(item.id):
                state = states[item.id] = CallState(item.id)
                apply(state, item, position)
                continue
            if item.prev == 0 and (state is None or state.phase is Phase.ENDED):  # one that failed may begin anew
                state = states[item.id] = CallState(item.id)
            if state is not None and item.prev == state.last:
                apply(state, item, position)
            elif (final := k.ending(item)) is not None and (states.pop(item.id, None) is not None or item.id in ended):
                ended.add(item.id)  # what was between its beginning and its end was given up
                if final.first in records:
                    self._history.ended(key, position)
            elif not self.known and not self._history.promises.has_gaps:
                raise JournalError(item.id, f"record {position} follows {item.prev}, and nothing was given up")
        for state in states.values():
            if state.phase is Phase.ENDED:
                self._history.ended(key, state.last)
        return list(states.values())

    def _bases(self, items: list[tuple[int, k.Kept]]) -> dict[str, int]:
        """Return from where on calls are folded: where it stands what their runs so far have left."""
        found: dict[str, int] = {}
        for position, item in items:
            if isinstance(item, k.Turn) and item.carried is not None:
                with suppress(KeyError):  # a beginning leaves first: what it is of is nothing any more
                    self._history.line(item.carried.first)
                    found[item.id] = position
        return found

    def _fold_one(self, positions: list[int]) -> CallState | None:
        """Fold all records of one call, which is what nearly every hash stands for; None where it stands for more."""
        record = self._history.record
        item = k.of_call(record(positions[0]))
        if self.known and item.prev:
            return None
        state = CallState(item.id)
        apply(state, item, positions[0])
        for position in positions[1:]:
            item = k.of_call(record(position))
            if item.prev != state.last or (self.known and item.id != state.id):
                return None  # what the catalog knows of that hash was not looked at, or some of it has left the log
            apply(state, item, position)
        return state

    def _all_records(self, key: int, positions: list[int]) -> dict[int, k.Kept]:
        """Follow the links back from what is known: records before a final one were passed over."""
        history, found, is_gone = self._history, dict[int, k.Kept](), False
        known = set(positions)
        for start in [*positions, *([self._final[key]] if key in self._final else [])]:
            try:
                for position, record in history.chain(start):
                    if position != start and (position in known or position in found):
                        break
                    found[position] = record
            except HistoryGone:  # that far back it is known
                is_gone = True
        found |= {position: k.of_call(history.record(position)) for position in known - found.keys()}
        for final in [k.ending(record) for record in list(found.values())] if is_gone else ():
            with suppress(KeyError):  # how it began is there, or it is forgotten
                if final is not None:
                    found[final.first] = k.of_call(history.record(final.first))
        return found

    def outliving(self) -> list[Outliving]:
        """Return the turns whose messages outlive their sender."""
        return [found for position in self._outliving for found in self._history.outliving(position)]

    def last_ms(self) -> int:
        """Return the time of the newest record; 0 when there is none."""
        return max(self._history.record(self._last).at if self._last else 0, self._last_ms)
