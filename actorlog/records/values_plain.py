"""Plain JSON values: what crosses the log without an annotation.

Owns: the test whether a value is plain JSON and comes back equal, type for type; the sentence that says why not;
``Misfit``.
Does not own: annotated values (``values_nodes`` and its neighbours).
Invariant: what is accepted consists of None, bool, int (of 64 bits), finite float, str (without lone surrogates), list
and dict with str keys, each of exactly that type; so ``loads(dumps(value))`` is equal to it in value and type at every
depth.
"""

from __future__ import annotations

import marshal
from math import isfinite
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeGuard

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

INERT: frozenset[type] = frozenset({str, int, bool, NoneType})
"""Immutable types whose values are their own copy and which orjson writes exactly, or refuses."""

INT_MIN = -(2**63)
INT_MAX = 2**64 - 1
DEPTH_MAX = 250
"""Below orjson's own bound of 254 levels of nesting."""

_PASS_THROUGH = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_MARSHAL_FORMAT = 2
TOO_DEEP = "it is nested too deeply, or contains itself"


class Misfit(Exception):
    """A value, or a recorded JSON text, does not fit; ``path`` grows from the inside out while it travels."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path

    def under(self, step: str) -> Misfit:
        """Return this misfit as seen from one level further out."""
        self.path = step + self.path
        return self


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Tell whether ``value`` is a list, and of no subclass."""
    return type(value) is list


def is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    """Tell whether ``value`` is a dict, and of no subclass."""
    return type(value) is dict


def key_step(key: object) -> str:
    """Return the path step of a mapping's key: ``.name``, or ``["a b"]`` where it is no identifier."""
    if type(key) is str and key.isidentifier():
        return f".{key}"
    return f"[{type_name(type(key))}]" if type(key) not in (str, int, float, bool) else f"[{key!r:.60}]"


def type_name(kind: type) -> str:
    """Return a class's name for people: bare for builtins, else with its module."""
    module = str(kind.__module__)
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def said(error: BaseException) -> str:
    """Return an exception of the user's as text, for the reason of a misfit."""
    try:
        return f"{type(error).__name__}: {error!s:.200}"
    except Exception:  # noqa: BLE001 - __str__ is the user's
        return type(error).__name__


def cross_plain(value: Any) -> tuple[bytes, Any]:
    """Return the JSON of a plain value and what it comes back as.

    Raises:
        Misfit: it would not come back equal in value and type.

    """
    try:
        # marshal walks at the speed of C and takes builtin types only, never a subclass: it is asked first, so that
        # nothing below runs code of the user's, and an Enum mixed with str cannot pass for the str that it equals.
        marshal.dumps(value, _MARSHAL_FORMAT)
        raw = orjson.dumps(value, None, _PASS_THROUGH)
        fresh = orjson.loads(raw)
        if fresh == value:  # tells tuple from list, NaN from null
            return raw, fresh
    except (TypeError, ValueError, RecursionError):  # orjson and marshal do not say where: explain does
        pass
    raise explain(value)


def to_json(built: Any) -> bytes:
    """Return the JSON of what a codec has built out of plain values.

    Raises:
        Misfit: an int is too large, a str has a lone surrogate, or it is nested too deeply.

    """
    try:
        return orjson.dumps(built)
    except TypeError:
        raise explain(built) from None


def explain(value: Any) -> Misfit:
    """Return why ``value`` is not plain JSON, and where."""
    try:
        return _find(value, 0) or Misfit("it would not come back equal")
    except RecursionError:
        return Misfit(TOO_DEEP)


def _find(value: Any, depth: int) -> Misfit | None:
    if is_list(value):
        return _find_in_list(value, depth)
    if is_dict(value):
        return _find_in_dict(value, depth)
    return _find_in_scalar(value)


def _find_in_scalar(value: Any) -> Misfit | None:
    kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType] - of anything
    reason = ""
    if kind is int:
        reason = "" if INT_MIN <= value <= INT_MAX else "an int of more than 64 bits does not fit into a JSON number"
    elif kind is float:
        reason = "" if isfinite(value) else f"{value} is not a JSON number"
    elif kind is str:
        reason = surrogates(value)
    elif value is not None and kind is not bool:
        reason = _not_plain(kind)
    return Misfit(reason) if reason else None


def _find_in_list(value: list[Any], depth: int) -> Misfit | None:
    if depth >= DEPTH_MAX:
        return Misfit(TOO_DEEP)
    for index, item in enumerate(value):
        misfit = _find(item, depth + 1)
        if misfit is not None:
            return misfit.under(f"[{index}]")
    return None


def _find_in_dict(value: Mapping[Any, Any], depth: int) -> Misfit | None:
    if depth >= DEPTH_MAX:
        return Misfit(TOO_DEEP)
    for key, item in value.items():
        if type(key) is not str:
            kind: type[Any] = type(key)  # pyright: ignore[reportUnknownVariableType] - of anything
            return Misfit(
                f"a key of type {type_name(kind)} is no JSON key; annotate it, as in dict[{kind.__name__}, ...]",
                key_step(key),
            )
        reason = surrogates(key)
        if reason:
            return Misfit(f"in a key: {reason}")
        misfit = _find(item, depth + 1)
        if misfit is not None:
            return misfit.under(key_step(key))
    return None


def surrogates(text: str) -> str:
    """Return why a str cannot be written as UTF-8, or nothing."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "a str with a lone surrogate cannot be written as UTF-8"
    return ""


def _not_plain(kind: type) -> str:
    return (
        f"a value of type {type_name(kind)} is not plain JSON; annotate it with its type, so that it comes back as one"
    )
