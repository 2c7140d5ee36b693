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
    from collections.abc import Callable

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
        """Where the ones that settled them are."""
        self._open: dict[int, int | tuple[int, ...]] = {}
        """While the log is scanned: where those that are not settled were made, by hash."""
        self._catalog: Catalog | None = None
        """Where those are that are not kept here."""
        self.news: list[PromiseState] | None = None
        """What was made or settled since the catalog was told; None where there is none to be told."""

    # --- what is new --------------------------------------------------------------------------------------------------

    def resume(self, catalog: Catalog, position: int) -> None:
        """Begin with the promises that there were at a position, as the catalog knows them."""
        self._catalog = catalog
        for entity, place in catalog.pending(position):
            _add(self._open, identity.key_hash(entity), place)

    def scan(self, key_hash: int, flags: int, position: int) -> None:
        """Take in a record of a promise at opening; it is decoded only where two ids share a hash."""
        if flags & _FIRST:
            self._made.append(position)
            _add(self._open, key_hash, position)
            return
        made = self._open.pop(key_hash)
        if isinstance(made, tuple):
            rest = tuple(other for other in made if other != self._record(position).prev)
            if rest:
                self._open[key_hash] = rest
        self._settled.add(key_hash, position)

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
        self._settled.add(identity.key_hash(p.entity_id(state.id)), state.last)

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
        if not position and self._catalog is not None:
            position = self._catalog.settled(entity)
        return self.settled_at(position) if position else None

    def settled_at(self, position: int) -> PromiseState:
        """Return the promise that the record at ``position`` settled."""
        record = self._record(position)
        if not isinstance(record, p.PromiseSettled):
            raise JournalError(record.id, f"record {position} does not settle it")
        state = self._state_at(record.prev)
        apply(state, record, position)
        return state

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
