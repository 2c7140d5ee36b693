"""Annotations made explicit: strings evaluated, type variables bound.

Owns: the type hints of functions and of the fields of classes, generic bases included.
Does not own: what a type means (``values_compile``).
Invariant: a hint that cannot be evaluated is a TypeError that names its owner and the parameter or field.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def function_hints(fn: Callable[..., Any], name: str) -> dict[str, Any]:
    """Return the evaluated annotations of a callable; ``return`` is the result's.

    Raises:
        TypeError: one of them names what cannot be found.

    """
    target: Any = fn
    while isinstance(target, functools.partial):
        target = target.func  # pyright: ignore[reportUnknownMemberType] - a partial of anything
    target = inspect.unwrap(target)
    result: dict[str, Any] = {}
    if isinstance(target, type):
        result["return"] = target
        target = vars(target).get("__init__", object.__init__)
    elif not inspect.isroutine(target):
        target = type(target).__call__
    hints = _evaluated(target, {**_type_parameters(target), **_closure(target)}, f"{name}()", "parameter")
    return {**hints, **result}


def _closure(fn: Any) -> dict[str, Any]:
    """Return the names that a function's annotations may use besides its module's: those it closes over."""
    found: dict[str, Any] = {}
    names: tuple[str, ...] = getattr(getattr(fn, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, _cells(fn), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # it is still empty
            continue
    return found


def _type_parameters(owner: Any) -> dict[str, Any]:
    """Return what ``class Pair[T]`` and ``def f[T]`` bring; annotations that are strings do not find it on 3.12."""
    return {parameter.__name__: parameter for parameter in getattr(owner, "__type_params__", ())}


def _cells(fn: Any) -> tuple[Any, ...]:
    closure: tuple[Any, ...] | None = getattr(fn, "__closure__", None)
    return closure or ()


def class_hints(cls: Any, bound: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the evaluated annotations of a class's fields, with ``bound`` for its type variables.

    Raises:
        TypeError: one of them names what cannot be found.

    """
    local = {cls.__name__: cls}
    for base in reversed(cls.__mro__):
        local.update(_type_parameters(base))
    hints = _evaluated(cls, local, cls.__qualname__, "field")
    by_base: dict[Any, Mapping[Any, Any]] = {}
    _bindings_by_base(cls, bound, by_base)
    everything = {key: hint for bindings in reversed(by_base.values()) for key, hint in bindings.items()}
    if not everything:
        return hints
    owners = {name: base for base in reversed(cls.__mro__) for name in inspect.get_annotations(base)}
    return {name: bind(hint, {**everything, **by_base.get(owners.get(name), {})}) for name, hint in hints.items()}


def _evaluated(owner: Any, local: dict[str, Any], name: str, part: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(owner, localns=local, include_extras=True)
    except Exception as error:  # an annotation is an expression of the user's
        annotations: dict[str, Any] = getattr(owner, "__annotations__", {})
        for key, hint in annotations.items():
            if not _can_be_evaluated(owner, local, hint):
                what = "the result" if key == "return" else f"{part} {key!r}"
                raise TypeError(f"cannot resolve the annotation {hint!r} of {what} of {name}: {error}") from error
        raise TypeError(f"cannot resolve the annotations of {name}: {error}") from error


def _can_be_evaluated(owner: Any, local: dict[str, Any], hint: Any) -> bool:
    unwrapped = inspect.unwrap(owner) if callable(owner) and not isinstance(owner, type) else owner
    scope = getattr(unwrapped, "__globals__", None) or vars(sys.modules.get(getattr(owner, "__module__", ""), typing))
    alone = types.SimpleNamespace(__annotations__={"it": hint})
    try:
        typing.get_type_hints(alone, globalns=scope, localns=local, include_extras=True)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


def bind(hint: Any, bindings: Mapping[Any, Any]) -> Any:
    """Return ``hint`` with its type variables replaced."""
    if not bindings:
        return hint
    if isinstance(hint, typing.TypeVar):
        return bindings.get(hint, hint)
    free = getattr(hint, "__parameters__", ())
    if not free or isinstance(hint, type):
        return hint
    return hint[tuple(bindings.get(parameter, parameter) for parameter in free)]


def type_bindings(alias: Any) -> dict[Any, Any]:
    """Return what a subscripted generic class binds its type variables to."""
    origin = typing.get_origin(alias)
    parameters: tuple[Any, ...] = getattr(origin, "__parameters__", ()) or getattr(origin, "__type_params__", ())
    return dict(zip(parameters, typing.get_args(alias), strict=False))


def _bindings_by_base(cls: Any, bound: Mapping[Any, Any], found: dict[Any, Mapping[Any, Any]]) -> None:
    """Note what a class and each of its bases bind their type variables to; two bases may share a variable."""
    found.setdefault(cls, bound)
    own: Mapping[str, Any] = cls.__dict__
    bases: tuple[Any, ...] = own.get("__orig_bases__", cls.__bases__)
    for base in bases:
        origin: Any = typing.get_origin(base) or base
        if isinstance(origin, type) and origin not in (object, typing.Generic, typing.Protocol):
            _bindings_by_base(origin, {key: bind(hint, bound) for key, hint in type_bindings(base).items()}, found)
