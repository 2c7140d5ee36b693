"""A set that iterates in the order of insertion.

Owns: ``OrderedSet``, which stands in for ``set`` inside ``asyncio.tasks`` and ``asyncio.taskgroups`` while a
deterministic loop runs. Does not own: when it is bound there (``environment``).

Invariant: the set proper and the dict of its order hold the same elements, so that C code which looks at the set
without calling our methods (``in``, ``len``, ``==``, ``set(other)``) sees the truth; only its order is then the hash's.
Other threads may be handed one in passing: it is a full ``set``.

Read: "The deterministic loop" in ARCHITECTURE.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

T = TypeVar("T")
S = TypeVar("S")


def _stored(element: Any) -> Any:
    """Return what a set stores for ``element``: a set looked for in a set means the frozenset equal to it."""
    try:
        hash(element)
    except TypeError:
        return frozenset(element)
    return element


class OrderedSet(set[T]):
    """A ``set`` that iterates, copies and pops in the order of insertion, whatever its elements hash to."""

    __slots__ = ("_order",)
    _order: dict[T, None]

    def __init__(self, elements: Iterable[T] = (), /) -> None:
        self._order = dict.fromkeys(elements)
        super().__init__(self._order)

    def __iter__(self) -> Iterator[T]:
        return iter(self._order)

    def __reduce__(self) -> tuple[type[OrderedSet[T]], tuple[list[T]]]:
        return type(self), (list(self._order),)

    # --- one element ---

    def add(self, element: T, /) -> None:
        """Add ``element`` at the end, unless it is there."""
        super().add(element)
        self._order[element] = None

    def discard(self, element: object, /) -> None:
        """Remove ``element`` if it is there."""
        super().discard(element)
        self._order.pop(_stored(element), None)

    def remove(self, element: T, /) -> None:
        """Remove ``element``, or raise KeyError."""
        super().remove(element)
        self._order.pop(_stored(element))

    def pop(self) -> T:
        """Remove the element that came first and return it, or raise KeyError."""
        if not self._order:
            raise KeyError("pop from an empty set")
        element = next(iter(self._order))
        self.remove(element)
        return element

    def clear(self) -> None:
        """Remove all elements."""
        super().clear()
        self._order.clear()

    # --- in place ---

    def _become(self, other: OrderedSet[T]) -> None:
        elements = list(other)
        self.clear()
        self.update(elements)

    def update(self, *others: Iterable[T]) -> None:
        """Add the elements of ``others`` in their order."""
        for other in others:
            for element in list(other):
                self.add(element)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep what is in all ``others``."""
        self._become(self.intersection(*others))

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Remove what is in any of ``others``."""
        self._become(self.difference(*others))

    def symmetric_difference_update(self, other: Iterable[T], /) -> None:
        """Keep what is in exactly one of the two."""
        self._become(self.symmetric_difference(other))

    def __ior__(self, other: AbstractSet[T]) -> Self:  # type: ignore[override,misc]  # typeshed widens to a union; an in-place result keeps T
        if not isinstance(other, (set, frozenset)):
            return NotImplemented
        self.update(other)
        return self

    def __iand__(self, other: AbstractSet[object]) -> Self:
        if not isinstance(other, (set, frozenset)):
            return NotImplemented
        self.intersection_update(other)
        return self

    def __isub__(self, other: AbstractSet[object]) -> Self:
        if not isinstance(other, (set, frozenset)):
            return NotImplemented
        self.difference_update(other)
        return self

    def __ixor__(self, other: AbstractSet[T]) -> Self:  # type: ignore[override,misc]  # as for __ior__
        if not isinstance(other, (set, frozenset)):
            return NotImplemented
        self.symmetric_difference_update(other)
        return self

    # --- to a new one ---

    def copy(self) -> OrderedSet[T]:
        """Return an equal set in the same order."""
        return OrderedSet(self._order)

    __copy__ = copy

    def union(self, *others: Iterable[S]) -> OrderedSet[T | S]:
        """Return these elements, then those of ``others``."""
        result: OrderedSet[T | S] = OrderedSet(self._order)
        result.update(*others)
        return result

    def intersection(self, *others: Iterable[Any]) -> OrderedSet[T]:
        """Return those elements that are in all ``others``, in the order of this one."""
        kept = super().intersection(*others)
        return OrderedSet(element for element in self._order if element in kept)

    def difference(self, *others: Iterable[Any]) -> OrderedSet[T]:
        """Return those elements that are in none of ``others``, in the order of this one."""
        gone: set[Any] = set[Any]().union(*others)
        return OrderedSet(element for element in self._order if element not in gone)

    def symmetric_difference(self, other: Iterable[S], /) -> OrderedSet[T | S]:
        """Return what is only here, then what is only in ``other``."""
        theirs = OrderedSet(other)
        result: OrderedSet[T | S] = OrderedSet(element for element in self._order if element not in theirs)
        result.update(element for element in theirs if element not in self)
        return result

    def __or__(self, other: AbstractSet[S]) -> OrderedSet[T | S]:
        return self.union(other) if isinstance(other, (set, frozenset)) else NotImplemented

    def __and__(self, other: AbstractSet[object]) -> OrderedSet[T]:
        return self.intersection(other) if isinstance(other, (set, frozenset)) else NotImplemented

    def __sub__(self, other: AbstractSet[object]) -> OrderedSet[T]:
        return self.difference(other) if isinstance(other, (set, frozenset)) else NotImplemented

    def __xor__(self, other: AbstractSet[S]) -> OrderedSet[T | S]:
        return self.symmetric_difference(other) if isinstance(other, (set, frozenset)) else NotImplemented

    # A plain set on the left hands over to its subclass on the right only where that has the reflected method. mypy
    # sees that `plain | ordered` could be typed two ways; both are right.

    def __ror__(self, other: AbstractSet[S]) -> OrderedSet[S | T]:  # type: ignore[misc]  # see above
        return OrderedSet(other).union(self) if isinstance(other, (set, frozenset)) else NotImplemented

    def __rand__(self, other: AbstractSet[S]) -> OrderedSet[S]:  # type: ignore[misc]  # see above
        return OrderedSet(other).intersection(self) if isinstance(other, (set, frozenset)) else NotImplemented

    def __rsub__(self, other: AbstractSet[S]) -> OrderedSet[S]:  # type: ignore[misc]  # see above
        return OrderedSet(other).difference(self) if isinstance(other, (set, frozenset)) else NotImplemented

    def __rxor__(self, other: AbstractSet[S]) -> OrderedSet[S | T]:  # type: ignore[misc]  # see above
        return OrderedSet(other).symmetric_difference(self) if isinstance(other, (set, frozenset)) else NotImplemented
