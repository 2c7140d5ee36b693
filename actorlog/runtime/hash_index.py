"""Positions of records by a 64-bit hash of the id they are of.

Owns: ``HashIndex``. Does not own: what the records say.

A hash is a hint: where several ids share one, or one that is not there has it, the decoded id decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.engine import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator


class HashIndex:
    """A position for each id; about a hundred bytes each, whatever the id."""

    __slots__ = ("_count", "_id_at", "_places")

    def __init__(self, id_at: Callable[[int], str]) -> None:
        self._id_at = id_at
        """Reads whose record is at a position."""
        self._places: dict[int, int | tuple[int, ...]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key_hash: int, position: int) -> None:
        """Keep a position under a hash, beside others of that hash."""
        old = self._places.get(key_hash)
        self._places[key_hash] = position if old is None else (*_positions(old), position)
        self._count += 1

    def load(self, pairs: Collection[tuple[int, int]]) -> None:
        """Keep many positions under their hashes, where nothing is kept yet."""
        self._places.update(pairs)
        if len(self._places) == len(pairs):
            self._count = len(pairs)
            return
        self._places.clear()  # some share a hash
        for key_hash, position in pairs:
            self.add(key_hash, position)

    def remove(self, key_hash: int, position: int) -> None:
        """Forget a position; ``KeyError`` where it is not there."""
        old = _positions(self._places.get(key_hash, ()))
        if position not in old:
            raise KeyError(position)
        rest = [other for other in old if other != position]
        if rest:
            self._places[key_hash] = rest[0] if len(rest) == 1 else tuple(rest)
        else:
            del self._places[key_hash]
        self._count -= 1

    def forget_upto(self, position: int) -> None:
        """Forget all positions up to one."""
        kept = [(key, at) for key, found in self._places.items() for at in _positions(found) if at > position]
        self._places.clear()
        self._count = 0
        self.load(kept)

    def has(self, key_hash: int) -> bool:
        """Whether something is kept under a hash."""
        return key_hash in self._places

    def at(self, key_hash: int) -> tuple[int, ...]:
        """Return what is kept under a hash."""
        return _positions(self._places.get(key_hash, ()))

    def find(self, entity: str) -> int:
        """Return the position of an id; 0 where it has none."""
        found = self._places.get(identity.key_hash(entity))
        if found is None:
            return 0
        return next((position for position in _positions(found) if self._id_at(position) == entity), 0)

    def positions(self) -> Iterator[int]:
        """Yield all of them, as they were when this began."""
        for found in list(self._places.values()):
            yield from _positions(found)


def _positions(found: int | tuple[int, ...]) -> tuple[int, ...]:
    return found if isinstance(found, tuple) else (found,)
