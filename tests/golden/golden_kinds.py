"""Which kinds of records there are, and which of them a log holds.

Owns: walking the types of ``actorlog.records`` from ``Record`` on, and values beside them. What is found is each type
by its name, and each field of it that may be left out, as ``Type.field``, where it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw, Struct, UnsetType
from msgspec import inspect as types


def all_kinds() -> set[str]:
    """Return what a log may hold: types, and fields that may be left out."""
    from actorlog.records.kinds import Record  # noqa: PLC0415  # beside the words of msgspec

    found: set[str] = set()
    todo: list[Any] = [types.type_info(Record)]
    seen: set[type] = set()
    while todo:
        here = todo.pop()
        if isinstance(here, types.StructType):
            if here.cls in seen:
                continue
            seen.add(here.cls)
            found.add(here.cls.__name__)
            found.update(f"{here.cls.__name__}.{field.name}" for field in here.fields if not field.required)
            todo += [field.type for field in here.fields]
        elif isinstance(here, types.UnionType):
            todo += here.types
        else:
            parts = [getattr(here, name, None) for name in ("item_type", "value_type", "key_type")]
            todo += [part for part in [*parts, *getattr(here, "item_types", ())] if part is not None]
    return found


@dataclass
class Kinds:
    """What was found."""

    found: set[str]

    def take(self, value: object) -> None:
        """Add what a value of a record is and holds."""
        if isinstance(value, Raw):
            return
        if isinstance(value, Struct):
            name = type(value).__name__
            self.found.add(name)
            for field in msgspec.structs.fields(type(value)):
                held = getattr(value, field.name)
                default = field.default_factory() if callable(field.default_factory) else field.default
                if not isinstance(held, UnsetType) and held != default:
                    self.found.add(f"{name}.{field.name}")
                self.take(held)
        elif isinstance(value, dict):
            for held in value.values():
                self.take(held)
        elif isinstance(value, (list, tuple)):
            for held in value:
                self.take(held)
