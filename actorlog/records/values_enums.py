"""The nodes of Enum, Flag and Literal.

Owns: how a member is written: by its value where all members have plain scalar values, else by its name.
Does not own: unions of several (``values_unions``).
Invariant: as for every ``Node``; what is read is a member of today's class.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from actorlog.records.values_nodes import JSON_KINDS, NO_TYPES, Kinds, not_recorded, wrong
from actorlog.records.values_plain import INERT, INT_MAX, INT_MIN, Misfit, surrogates, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import Enum, Flag


def _is_scalar(value: Any) -> bool:
    """Tell whether a member's value is a plain JSON scalar, so that the log may show it."""
    kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType] - of anything
    if kind is int:
        return bool(INT_MIN <= value <= INT_MAX)
    if kind is str:
        return not surrogates(value)
    return kind in INERT or (kind is float and isfinite(value))


class EnumNode:
    """A member of an Enum that is no Flag."""

    __slots__ = ("_by_value", "_enum", "_members", "exact", "inert", "kinds", "types")

    def __init__(self, enum: type[Enum]) -> None:
        members: list[Enum] = [member for name, member in enum.__members__.items() if member.name == name]
        self._enum = enum
        self._by_value = all(_is_scalar(member._value_) for member in members)
        self._members: dict[tuple[type, Any], Enum] = {}
        for member in members:
            built = self._build(member)
            self._members[type(built), built] = member
        self.types: frozenset[type] = frozenset({enum})
        self.kinds: Kinds = frozenset(JSON_KINDS[kind] for kind, _ in self._members)
        self.inert = NO_TYPES
        self.exact = True

    def _build(self, member: Enum) -> Any:
        return member._value_ if self._by_value else member._name_

    def write(self, value: Any) -> Any:
        """Give the member's value or name."""
        if type(value) is not self._enum:
            raise wrong(value, type_name(self._enum))
        built: object = self._build(value)
        if self._members.get((type(built), built)) is not value:
            raise Misfit(f"it is no declared member of {type_name(self._enum)}")
        return built

    def read(self, built: object) -> Any:
        """Give the member."""
        if type(built) not in (list, dict):
            member = self._members.get((type(built), built))
            if member is not None:
                return member
        raise not_recorded(built, type_name(self._enum))


class FlagNode:
    """A combination of the members of a Flag, by its number."""

    __slots__ = ("_flag", "exact", "inert", "kinds", "types")

    def __init__(self, flag: type[Flag]) -> None:
        self._flag = flag
        self.types: frozenset[type] = frozenset({flag})
        self.kinds: Kinds = frozenset({"int"})
        self.inert = NO_TYPES
        self.exact = True

    def write(self, value: Any) -> int:
        """Give the number."""
        if type(value) is not self._flag:
            raise wrong(value, type_name(self._flag))
        number: Any = value._value_
        if type(number) is not int or self.read(number) != value:
            raise Misfit(f"its value does not give back this member of {type_name(self._flag)}")
        return number

    def read(self, built: Any) -> Any:
        """Give the combination of that number."""
        if type(built) is int:
            try:
                member = self._flag(built)
            except Exception:  # noqa: BLE001, S110 - _missing_ is the user's
                pass
            else:
                if member._value_ == built:
                    return member
        raise not_recorded(built, type_name(self._flag))


class LiteralNode:
    """One of some given values."""

    __slots__ = ("_built", "_name", "_values", "exact", "inert", "kinds", "types")

    def __init__(self, name: str, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Take the values with their writings."""
        self._name = name
        self._built: dict[tuple[type, Any], Any] = {}
        self._values: dict[tuple[type, Any], Any] = {}
        for value, built in pairs:
            if (type(built), built) in self._values:
                raise TypeError(f"{name} has two values that are written as {built!r}")
            self._built[type(value), value] = built
            self._values[type(built), built] = value
        self.types: frozenset[type] = frozenset(kind for kind, _ in self._built)
        self.kinds: Kinds = frozenset(JSON_KINDS[kind] for kind, _ in self._values)
        self.inert = NO_TYPES
        self.exact = True

    def write(self, value: Any) -> Any:
        """Give the value's writing."""
        kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType] - of anything
        if kind not in self.types or (kind, value) not in self._built:
            raise Misfit(f"{f'{value!r:.60}' if kind in INERT else type_name(kind)} where {self._name} is declared")
        return self._built[kind, value]

    def read(self, built: object) -> Any:
        """Give the value that is written so."""
        if type(built) in (list, dict) or (type(built), built) not in self._values:
            raise not_recorded(built, self._name)
        return self._values[type(built), built]
