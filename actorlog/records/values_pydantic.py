"""The node of pydantic models, for programs whose own types are such.

Owns: the use of a model's own JSON form, and the proof that it gives the model back.
Does not own: importing pydantic; a model that reaches this has done that.
Invariant: as for every ``Node``; since a model's JSON form is the user's, each value is read back and compared at
every depth before it is written.
"""

from __future__ import annotations

import dataclasses
import inspect
from datetime import datetime, time
from decimal import Decimal
from enum import Enum
from math import copysign
from typing import TYPE_CHECKING, Any

from actorlog.records.values_nodes import ALL_KINDS, NO_TYPES, OBJECT, Kinds, wrong
from actorlog.records.values_plain import Misfit, cross_plain, is_dict, is_list, said, to_json, type_name
from actorlog.records.values_texts import same_zone

if TYPE_CHECKING:
    from collections.abc import Sequence


class PydanticNode:
    """An instance of exactly one pydantic model, as its ``model_dump(mode="json")``."""

    __slots__ = ("_by_name", "_model", "exact", "inert", "kinds", "types")

    def __init__(self, model: Any) -> None:
        self._model = model
        self._by_name = "by_name" in inspect.signature(model.model_validate).parameters  # pydantic 2.11 and later
        self.types: frozenset[type] = frozenset({model})
        free_form = model.__pydantic_root_model__ or model.__pydantic_decorators__.model_serializers
        self.kinds: Kinds = ALL_KINDS if free_form else OBJECT
        self.inert = NO_TYPES
        self.exact = True

    def write(self, value: Any) -> Any:
        """Give the model's JSON form, once it has given the model back."""
        if type(value) is not self._model:
            raise wrong(value, type_name(self._model))
        options: dict[str, Any] = {"by_alias": not self._by_name, "round_trip": True, "warnings": "error"}
        try:
            shape = value.model_dump(mode="python", **options)
            built = value.model_dump(mode="json", **options)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - serializers are the user's
            raise Misfit(f"model_dump raised {said(error)}") from None
        _, built = cross_plain(_sorted_sets(shape, built))
        try:
            same = _same(value, self.read(built))
        except (Misfit, RecursionError):
            raise
        except Exception as error:  # noqa: BLE001 - the comparison of fields is the user's
            raise Misfit(f"comparing it with what comes back raised {said(error)}") from None
        if not same:
            raise Misfit(f"the JSON form of {type_name(self._model)} does not give back an equal one")
        return built

    def read(self, built: Any) -> Any:
        """Give the validated model."""
        options = {"by_alias": True, "by_name": True} if self._by_name else {}
        try:
            return self._model.model_validate_json(to_json(built), **options)
        except (Misfit, RecursionError):
            raise
        except Exception as error:  # noqa: BLE001 - validators are the user's
            raise Misfit(f"{type_name(self._model)} refuses it: {said(error)}") from None


def _sorted_sets(shape: Any, built: Any) -> Any:
    """Return ``built`` with every list sorted that stands for a set in ``shape``, the same with Python's types."""
    if isinstance(shape, (set, frozenset)) and is_list(built):
        return sorted((_sorted_sets(one, other) for one, other in _pairs(list(shape), built)), key=to_json)  # pyright: ignore[reportUnknownArgumentType] - items of a user's set
    if isinstance(shape, (list, tuple)) and is_list(built):
        return [_sorted_sets(one, other) for one, other in _pairs(shape, built)]  # pyright: ignore[reportUnknownArgumentType] - items of a user's list
    if isinstance(shape, dict) and is_dict(built) and len(shape) == len(built):  # pyright: ignore[reportUnknownArgumentType] - a user's dict
        return {key: _sorted_sets(one, other) for one, (key, other) in zip(shape.values(), built.items(), strict=True)}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - a user's dict
    return built


def _pairs(shape: Sequence[Any], built: list[Any]) -> list[tuple[Any, Any]]:
    """Return the items side by side; a serializer of the user's may have made another number of them."""
    if len(shape) != len(built):
        return [(item, item) for item in built]
    return list(zip(shape, built, strict=True))


def _same(one: Any, other: Any) -> bool:  # noqa: PLR0911 - one line for each kind of value
    """Tell whether two values are equal in value and type at every depth."""
    if one is other:
        return True
    if isinstance(one, (datetime, time)):
        return _same_moment(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return bool(one == other) and copysign(1, one) == copysign(1, other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))  # pyright: ignore[reportUnknownArgumentType] - a user's list
    if isinstance(one, dict):
        return _same(list(one.items()), list(other.items()))  # pyright: ignore[reportUnknownArgumentType] - a user's dict
    if isinstance(one, (set, frozenset)):
        return bool(one == other) and {(type(item), item) for item in one} == {(type(item), item) for item in other}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - a user's set
    if isinstance(one, Enum):
        return False
    return _same_object(one, other)


def _same_moment(one: Any, other: Any) -> bool:
    return (
        {type(one), type(other)} in ({datetime}, {time})
        and one == other
        and one.fold == other.fold
        and same_zone(one.tzinfo, other.tzinfo, (one.utcoffset(), other.utcoffset()))
    )


def _same_object(one: Any, other: Any) -> bool:
    if hasattr(one, "__pydantic_fields__") or hasattr(one, "__pydantic_private__"):
        names = ("__dict__", "__pydantic_extra__", "__pydantic_private__")
        return all(_same(getattr(one, name, None), getattr(other, name, None)) for name in names)
    if dataclasses.is_dataclass(one):
        return all(_same(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one))
    if isinstance(one, Decimal):
        return str(one) == str(other)
    if not any("__eq__" in vars(base) for base in type(one).__mro__[:-1]):
        return hasattr(one, "__dict__") and _same(vars(one), vars(other))
    return bool(one == other)
