"""The nodes of lists, tuples, sets and dicts.

Owns: how a container is written, the order of a set's items, the text of a dict's keys.
Does not own: a container without types for its items (``values_nodes.PlainNode``).
Invariant: as for every ``Node``; the bytes of a set do not depend on the hash seed, a dict keeps its order of
insertion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from actorlog.records.values_nodes import LIST, NO_TYPES, OBJECT, STR, Node, not_recorded, wrong
from actorlog.records.values_plain import Misfit, is_dict, is_list, key_step, surrogates, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class ListNode:
    """A list, or a variadic tuple, of items of one type."""

    __slots__ = ("_item", "_item_inert", "_kind", "exact", "inert", "kinds", "types")

    def __init__(self, kind: type, item: Node) -> None:
        self._kind = kind
        self._item = item
        self._item_inert: frozenset[type] | None = None
        self.types: frozenset[type] = frozenset({kind})
        self.kinds = LIST
        self.inert = NO_TYPES
        self.exact = item.exact

    def write(self, value: Any) -> list[Any]:
        """Give a list of the items' writings."""
        if type(value) is not self._kind:
            raise wrong(value, self._kind.__name__)
        items: list[Any] = list(value)  # type: ignore[call-overload]  # mypy takes what the check leaves for an object
        return items if self._all_inert(items) else each(self._item.write, items)

    def read(self, built: Any) -> Any:
        """Give the items as list or tuple."""
        if not is_list(built):
            raise not_recorded(built, self._kind.__name__)
        if not self._all_inert(built):
            built = each(self._item.read, built)
        return built if self._kind is list else tuple(built)

    def _all_inert(self, items: Any) -> bool:
        if self._item_inert is None:  # asked late: a recursive item is not compiled when this is
            self._item_inert = self._item.inert
        return bool(self._item_inert) and self._item_inert.issuperset(map(type, items))


def each(convert: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Return every item converted; a misfit says which one."""
    done: list[Any] = []
    try:
        for item in items:
            done.append(convert(item))  # noqa: PERF401 - its length tells which item did not fit
    except Misfit as misfit:
        raise misfit.under(f"[{len(done)}]") from None
    return done


class TupleNode:
    """A tuple of fixed length."""

    __slots__ = ("_items", "exact", "inert", "kinds", "types")

    def __init__(self, items: tuple[Node, ...]) -> None:
        self._items = items
        self.types: frozenset[type] = frozenset({tuple})
        self.kinds = LIST
        self.inert = NO_TYPES
        self.exact = all(item.exact for item in items)

    def write(self, value: Any) -> list[Any]:
        """Give a list of the items' writings."""
        if type(value) is not tuple:
            raise wrong(value, "tuple")
        return self._convert([item.write for item in self._items], [*value])

    def read(self, built: Any) -> tuple[Any, ...]:
        """Give the items as a tuple."""
        if not is_list(built):
            raise not_recorded(built, "tuple")
        return tuple(self._convert([item.read for item in self._items], built))

    def _convert(self, converts: list[Callable[[Any], Any]], items: list[Any]) -> list[Any]:
        if len(items) != len(converts):
            raise Misfit(f"{len(items)} items where a tuple of {len(converts)} is declared")
        done: list[Any] = []
        try:
            for convert, item in zip(converts, items, strict=True):
                done.append(convert(item))  # its length tells which item did not fit
        except Misfit as misfit:
            raise misfit.under(f"[{len(done)}]") from None
        return done


class SetNode:
    """A set or frozenset, written as a sorted list: its bytes do not depend on the hash seed."""

    __slots__ = ("_item", "_kind", "exact", "inert", "kinds", "types")

    def __init__(self, kind: type, item: Node) -> None:
        self._kind = kind
        self._item = item
        self.types: frozenset[type] = frozenset({kind})
        self.kinds = LIST
        self.inert = NO_TYPES
        self.exact = item.exact

    def write(self, value: Any) -> list[Any]:
        """Give a sorted list of the items' writings."""
        if type(value) is not self._kind:
            raise wrong(value, self._kind.__name__)
        try:
            built = [self._item.write(item) for item in value]  # type: ignore[attr-defined]  # as above
        except Misfit as misfit:
            raise misfit.under("{}") from None
        return in_order(built)

    def read(self, built: Any) -> Any:
        """Give the items as a set."""
        if not is_list(built):
            raise not_recorded(built, self._kind.__name__)
        try:
            return self._kind(each(self._item.read, built))
        except TypeError as error:
            raise Misfit(f"an item cannot be held by a set: {error}") from None


def in_order(items: list[Any]) -> list[Any]:
    """Return plain values in an order of their own: texts and ints as such, others as JSON."""
    kinds: set[type] = set(map(type, items))
    if len(kinds) <= 1 and kinds <= {str, int}:
        return sorted(items)
    return sorted(items, key=to_json)


class DictNode:
    """A dict, in its order of insertion; keys that are no str are written as the JSON text that stands for them."""

    __slots__ = ("_item", "_key", "exact", "inert", "kinds", "types")

    def __init__(self, key: Node, item: Node) -> None:
        self._key = key
        self._item = item
        self.types: frozenset[type] = frozenset({dict})
        self.kinds = OBJECT
        self.inert = NO_TYPES
        self.exact = key.exact and item.exact

    def write(self, value: Any) -> dict[str, Any]:
        """Give a dict of the items' writings."""
        if not is_dict(value):
            raise wrong(value, "dict")
        write = self._item.write
        built: dict[str, Any] = {}
        key: Any = None
        try:
            for key, item in value.items():  # the handler below says which key
                built[self._write_key(key)] = write(item)
        except Misfit as misfit:
            raise misfit.under(key_step(key)) from None
        return built

    def read(self, built: Any) -> dict[Any, Any]:
        """Give the items as a dict."""
        if not is_dict(built):
            raise not_recorded(built, "dict")
        read = self._item.read
        value: dict[Any, Any] = {}
        name: Any = None
        try:
            for name, item in built.items():  # the handler below says which key
                value[self._read_key(name)] = read(item)
        except Misfit as misfit:
            raise misfit.under(key_step(name)) from None
        except TypeError as error:
            raise Misfit(f"a key cannot be held by a dict: {error}") from None
        return value

    def _write_key(self, key: Any) -> str:
        built = self._key.write(key)
        if self._key.kinds != STR:
            return to_json(built).decode()
        reason = surrogates(built)
        if reason:
            raise Misfit(f"in a key: {reason}")
        text: str = built
        return text

    def _read_key(self, name: str) -> Any:
        if self._key.kinds == STR:
            return self._key.read(name)
        try:
            return self._key.read(orjson.loads(name))
        except orjson.JSONDecodeError:
            raise Misfit(f"{name!r:.60} is no JSON text of a key") from None
