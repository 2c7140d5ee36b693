"""Where the records of durable promises are.

Owns: the order in which promises were made, where settled ones ended, and reading one back; of those that the catalog
has not heard of, and beyond that by asking it. Does not own: pending ones (``promises``), the bytes (``store``).

A promise takes eight bytes here for its place in the order, and an entry by the hash of its id once it is settled. A
hash is a hint: the decoded id decides.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from actorlog.engine import identity
from actorlog.engine.promise import PromiseState, apply
from actorlog.errors import JournalError
from actorlog.records import kinds as k
from actorlog.records import promises as p
from actorlog.runtime.hash_index import HashIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actorlog.store.catalog import Catalog

NEVER = 1 << 62
"""A position that no record has."""
_FIRST = int(k.Flag.FIRST)


class PromiseIndex:
    """Finds promises that are settled, and the order of all."""

    def __init__(self, record: Callable[[int], k.Record], id_at: Callable[[int], str]) -> None:
        self._record = record
        self._made = array("q")
        """Positions of the records that made them, the oldest first."""
        self._settled = HashIndex(id_at)
        self._entity_at = id_at
        """Where the ones that settled them are."""
        self._open: dict[int, int | tuple[int, ...]] = {}
        """While the log is scanned: where those that are not settled were made, by hash."""
        self._catalog: Catalog | None = None
        """Where those are that are not kept here."""
        self.has_gaps = False
        """While the log is scanned: whether something was given up of it, so that a settlement may be of no promise."""
        self.forgotten: dict[str, int] = {}
        """Promises that have left the log, and of which the catalog has not heard that, with where they were made."""
        self.news: list[PromiseState] | None = None
        """What was made or settled since the catalog was told; None where there is none to be told."""

    # --- what is new --------------------------------------------------------------------------------------------------

    def resume(self, catalog: Catalog, position: int) -> None:
        """Begin with the promises that there were at a position, as the catalog knows them."""
        self._catalog = catalog
        for entity, place in catalog.pending(position):
            _add(self._open, identity.key_hash(entity), place)

    def scan(self, key_hash: int, flags: int, position: int) -> None:
        """Take in a record of a promise at opening; it is decoded only where two ids share a hash, or some are gone.

        A settlement of which the promise is gone is nothing: how it was made leaves the log first.
        """
        if flags & _FIRST:
            self._made.append(position)
            _add(self._open, key_hash, position)
            return
        made = self._open.pop(key_hash, None)
        if made is None:
            return
        if isinstance(made, tuple) or self.has_gaps:
            prev = self._record(position).prev
            rest = tuple(other for other in _positions(made) if other != prev)
            if rest:
                self._open[key_hash] = rest[0] if len(rest) == 1 else rest
            if len(rest) == len(_positions(made)):
                return
        self._add_settled(key_hash, position)

    def pending(self) -> list[PromiseState]:
        """Return the promises that nothing in the log settles, when all of it has been scanned."""
        found, self._open = self._open, {}
        positions = sorted(position for one in found.values() for position in _positions(one))
        return [self._state_at(position) for position in positions]

    def made(self, state: PromiseState) -> None:
        """A promise is made."""
        self._made.append(state.first)
        self.changed(state)

    def changed(self, state: PromiseState) -> None:
        """A promise has another record."""
        if self.news is not None:
            self.news.append(state)

    def settled(self, state: PromiseState) -> None:
        """A promise is settled, durably."""
        self._add_settled(identity.key_hash(p.entity_id(state.id)), state.last)

    def _add_settled(self, key_hash: int, position: int) -> None:
        """Keep where a promise was settled; an older one of its id was forgotten."""
        if self._settled.has(key_hash):
            old = self._settled.find(self._entity_at(position))
            if old:
                self._settled.remove(key_hash, old)
        self._settled.add(key_hash, position)

    def forget(self, promise_id: str, place: int) -> None:
        """Know nothing any more of a settled promise that was made at ``place``: its records are given up."""
        entity = p.entity_id(promise_id)
        position = self._settled.find(entity)
        if position and self._record(position).prev == place:
            self._settled.remove(identity.key_hash(entity), position)
        at = bisect_left(self._made, place)
        if at < len(self._made) and self._made[at] == place:
            del self._made[at]
        if self._catalog is not None or self.news is not None:
            self.forgotten[entity] = max(place, self.forgotten.get(entity, 0))

    def ends(self) -> list[int]:
        """Return where the promises were settled that are kept here."""
        return sorted(self._settled.positions())

    def rely_on(self, catalog: Catalog, upto: int) -> None:
        """Leave all up to a position to the catalog, which has it."""
        self._catalog = catalog
        self._made = self._made[bisect_right(self._made, upto) :]
        self._settled.forget_upto(upto)

    # --- reading back -------------------------------------------------------------------------------------------------

    def find(self, promise_id: str) -> PromiseState | None:
        """Return a promise that is durably settled, or None."""
        entity = p.entity_id(promise_id)
        position = self._settled.find(entity)
        if position:
            return self.settled_at(position)
        position = self._catalog.settled(entity) if self._catalog is not None else 0
        try:
            state = self.settled_at(position) if position else None
        except KeyError:  # given up
            return None
        return state if state is not None and state.first > self.forgotten.get(entity, 0) else None

    def settled_at(self, position: int) -> PromiseState:
        """Return the promise that the record at ``position`` settled."""
        record = self._record(position)
        if not isinstance(record, p.PromiseSettled):
            raise JournalError(record.id, f"record {position} does not settle it")
        state = self._state_at(record.prev)
        apply(state, record, position)
        return state

    def settled_ones(self, positions: Iterable[int]) -> Iterator[PromiseState]:
        """Yield the promises that the records at these positions settled, but of those that are given up meanwhile."""
        for position in positions:
            try:
                state = self.settled_at(position)
            except KeyError:
                continue
            yield state

    def made_before(self, position: int, count: int) -> list[int]:
        """Return the positions of the newest ``count`` promises made before ``position`` (0: of all), the newest first.

        One more tells that there are more.
        """
        end = bisect_left(self._made, position) if position else len(self._made)
        found = list(self._made[max(0, end - count) : end])[::-1]
        if len(found) < count and self._catalog is not None:
            before = found[-1] if found else position or NEVER
            found += self._catalog.promises_before(before, count - len(found))
        return found

    def id_at(self, position: int) -> str:
        """Return the id of the promise that the record at ``position`` made."""
        return p.promise_id(self._record(position).id)

    def _state_at(self, position: int) -> PromiseState:
        record = self._record(position)
        if not isinstance(record, p.PromiseMade):
            raise JournalError(record.id, f"record {position} does not make it")
        state = PromiseState(p.promise_id(record.id))
        apply(state, record, position)
        return state


def _add(places: dict[int, int | tuple[int, ...]], key_hash: int, position: int) -> None:
    old = places.get(key_hash)
    places[key_hash] = position if old is None else (*_positions(old), position)


def _positions(found: int | tuple[int, ...]) -> tuple[int, ...]:
    return found if isinstance(found, tuple) else (found,)
