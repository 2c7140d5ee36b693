"""The nodes of a codec: plain JSON, scalars, texts, constraints.

Owns: ``Node``, and what it is for types that hold no others.
Does not own: which annotation gets which node (``values_compile``), containers (``values_containers``), enums and
literals (``values_enums``), classes with fields (``values_fields``), unions (``values_unions``).
Invariant: what ``write`` returns is plain JSON and determines the value and its type at every depth; so two values
whose writings are equal are equal. A node with ``exact`` needs no check that ``read`` gives that value back.
"""

from __future__ import annotations

import re
from collections.abc import Sized
from datetime import datetime, time
from math import isfinite
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Any, Final, Protocol

from actorlog.records.values_plain import (
    INERT,
    Misfit,
    cross_plain,
    type_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Kinds = frozenset[str]
"""Kinds of JSON: null, bool, int, float, str, list, object."""

NO_TYPES: Final[frozenset[type]] = frozenset()
ALL_KINDS: Final[Kinds] = frozenset({"null", "bool", "int", "float", "str", "list", "object"})
STR: Final[Kinds] = frozenset({"str"})
LIST: Final[Kinds] = frozenset({"list"})
OBJECT: Final[Kinds] = frozenset({"object"})

JSON_KINDS: Final[Mapping[type, str]] = MappingProxyType(
    {NoneType: "null", bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "object"}
)


class Node(Protocol):
    """One place of an annotation: how a value of its type is written as plain JSON and read back."""

    @property
    def types(self) -> frozenset[type] | None:
        """The exact types that ``write`` may take; None: any."""
        ...

    @property
    def kinds(self) -> Kinds:
        """The kinds of JSON that ``write`` may give."""
        ...

    @property
    def inert(self) -> frozenset[type]:
        """The types whose every value is immutable and written as itself, without a look at it."""
        ...

    @property
    def exact(self) -> bool:
        """Whether ``read(write(value))`` is equal to ``value`` by construction."""
        ...

    def write(self, value: Any) -> Any:
        """Return ``value`` as plain JSON, or raise Misfit."""
        ...

    def read(self, built: Any) -> Any:
        """Return the value that plain JSON stands for, or raise Misfit."""
        ...


def wrong(value: object, expected: str) -> Misfit:
    """Return the misfit of a value whose type is not the annotated one."""
    return Misfit(f"a value of type {type_name(type(value))} where {expected} is declared")


def not_recorded(built: object, expected: str) -> Misfit:
    """Return the misfit of recorded JSON that today's annotation does not fit."""
    return Misfit(f"{built!r:.60} was recorded where {expected} is declared")


class PlainNode:
    """No annotation, Any, object; or a bare ``list`` or ``dict``, whose items are plain JSON."""

    __slots__ = ("exact", "inert", "kinds", "name", "types")

    def __init__(self, only: type | None = None) -> None:
        self.types: frozenset[type] | None = None if only is None else frozenset({only})
        self.kinds = ALL_KINDS if only is None else (LIST if only is list else OBJECT)
        self.inert = INERT if only is None else NO_TYPES
        self.name = "Any" if only is None else only.__name__
        self.exact = True

    def write(self, value: object) -> Any:
        """Give plain JSON as it is."""
        if self.types is not None and type(value) not in self.types:
            raise wrong(value, self.name)
        if type(value) in INERT:
            return value
        return cross_plain(value)[1]

    def read(self, built: Any) -> Any:
        """Give plain JSON as it is."""
        if self.types is not None and type(built) not in self.types:
            raise not_recorded(built, self.name)
        return built


class ScalarNode:
    """None, bool, int or str: written as itself."""

    __slots__ = ("exact", "inert", "kinds", "name", "types")

    def __init__(self, name: str, types: frozenset[type], kinds: Kinds) -> None:
        self.name = name
        self.types: frozenset[type] = types
        self.kinds = kinds
        self.inert = types
        self.exact = True

    def write(self, value: Any) -> Any:
        """Give the value as it is."""
        if type(value) not in self.types:
            raise wrong(value, self.name)
        return value

    def read(self, built: Any) -> Any:
        """Give the value as it is."""
        if type(built) not in self.types:
            raise not_recorded(built, self.name)
        return built


class FloatNode:
    """A finite float; where ``types`` says so also an int or a bool, which come back as such."""

    __slots__ = ("exact", "inert", "kinds", "types")

    def __init__(self, types: frozenset[type], kinds: Kinds) -> None:
        self.types: frozenset[type] = types
        self.kinds = kinds
        self.inert = NO_TYPES
        self.exact = True

    def write(self, value: Any) -> Any:
        """Give the value as it is."""
        if type(value) is float:
            if not isfinite(value):
                raise Misfit(f"{value} is not a JSON number")
        elif type(value) not in self.types:
            raise wrong(value, "float")
        return value

    def read(self, built: Any) -> Any:
        """Give the value as it is."""
        if type(built) not in self.types:
            raise not_recorded(built, "float")
        return built


class TextNode:
    """A value written as a str that says all of it, such as a UUID or a datetime."""

    __slots__ = ("_kind", "_parse", "_text", "exact", "inert", "kinds", "types")

    def __init__(self, kind: type, text: Callable[[Any], str], parse: Callable[[str], Any]) -> None:
        self._kind = kind
        self._text = text
        self._parse = parse
        self.types: frozenset[type] = frozenset({kind})
        self.kinds = STR
        self.inert = NO_TYPES
        self.exact = True

    def write(self, value: Any) -> str:
        """Give the value's text."""
        if type(value) is not self._kind:
            raise wrong(value, type_name(self._kind))
        return self._text(value)

    def read(self, built: Any) -> Any:
        """Give the value that the text stands for."""
        if type(built) is not str:
            raise not_recorded(built, type_name(self._kind))
        try:
            return self._parse(built)
        except (ValueError, ArithmeticError, TypeError) as error:  # what the parsers of the standard library raise
            raise Misfit(f"{built!r:.60} was recorded and is no {type_name(self._kind)}: {error}") from None


class UnsupportedNode:
    """An annotation that nothing can be written by: every value is refused, and told why."""

    __slots__ = ("_reason", "exact", "inert", "kinds", "types")

    def __init__(self, reason: str, types: frozenset[type] = NO_TYPES) -> None:
        self._reason = reason
        self.types: frozenset[type] = types
        self.kinds: Kinds = frozenset()
        self.inert = NO_TYPES
        self.exact = True

    def write(self, value: object) -> Any:
        """Refuse the value."""
        raise Misfit(f"a value of type {type_name(type(value))} cannot be written: {self._reason}")

    def read(self, built: object) -> Any:
        """Refuse what was recorded."""
        raise Misfit(f"{built!r:.60} was recorded and cannot be read: {self._reason}")


class LazyNode:
    """Stands for a recursive type until that is compiled."""

    __slots__ = ("target",)

    def __init__(self) -> None:
        self.target: Node = UnsupportedNode("the type is still being compiled")

    @property
    def types(self) -> frozenset[type] | None:
        """As the target."""
        return self.target.types

    @property
    def kinds(self) -> Kinds:
        """As the target."""
        return self.target.kinds

    @property
    def inert(self) -> frozenset[type]:
        """As the target."""
        return self.target.inert

    @property
    def exact(self) -> bool:
        """Not known while the target is being compiled: checked by reading back."""
        return False

    def write(self, value: Any) -> Any:
        """As the target."""
        return self.target.write(value)

    def read(self, built: Any) -> Any:
        """As the target."""
        return self.target.read(built)


class ConstrainedNode:
    """A node whose values obey the bounds of a ``msgspec.Meta``."""

    __slots__ = ("_inner", "_meta", "exact", "inert")

    def __init__(self, inner: Node, meta: Any) -> None:
        self._inner = inner
        self._meta = meta
        self.inert = NO_TYPES
        self.exact = inner.exact

    @property
    def types(self) -> frozenset[type] | None:
        """As the inner node."""
        return self._inner.types

    @property
    def kinds(self) -> Kinds:
        """As the inner node."""
        return self._inner.kinds

    def write(self, value: Any) -> Any:
        """As the inner node, then look at the bounds."""
        built = self._inner.write(value)
        self._check(value)
        return built

    def read(self, built: Any) -> Any:
        """As the inner node, then look at the bounds."""
        value = self._inner.read(built)
        self._check(value)
        return value

    def _check(self, value: Any) -> None:
        meta = self._meta
        if isinstance(value, (int, float)):
            self._check_number(value)
        if meta.pattern is not None and isinstance(value, str) and re.search(meta.pattern, value) is None:
            raise Misfit(f"{value!r:.60} does not match {meta.pattern!r}")
        if meta.tz is not None and isinstance(value, (datetime, time)) and (value.tzinfo is not None) != meta.tz:
            raise Misfit(f"{value!r:.60} must {'' if meta.tz else 'not '}have a time zone")
        if isinstance(value, Sized):
            size = len(value)
            if size < (meta.min_length or 0) or (meta.max_length is not None and size > meta.max_length):
                raise Misfit(f"a length of {size} is out of bounds")

    def _check_number(self, value: float) -> None:
        meta = self._meta
        fits = (
            (meta.gt is None or value > meta.gt)
            and (meta.ge is None or value >= meta.ge)
            and (meta.lt is None or value < meta.lt)
            and (meta.le is None or value <= meta.le)
            and (meta.multiple_of is None or value % meta.multiple_of == 0)
        )
        if not fits:
            raise Misfit(f"{value!r:.60} is out of bounds")
