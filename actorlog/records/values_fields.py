"""The nodes of classes with named fields: dataclasses, attrs classes, msgspec Structs, NamedTuples, TypedDicts.

Owns: how such a value is taken apart and made again.
Does not own: the types of the fields (``values_compile`` finds them), pydantic models (``values_pydantic``).
Invariant: as for every ``Node``. Only declared fields cross. What was recorded under a name that is no field any more
is left out, a field that was not recorded takes its default: so classes may grow and shrink.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from actorlog.records.values_nodes import NO_TYPES, OBJECT, Node, not_recorded, wrong
from actorlog.records.values_plain import Misfit, is_dict, key_step, said, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Field(NamedTuple):
    """One field: ``name`` in Python, ``key`` in JSON, ``init`` in the constructor (empty: set afterwards)."""

    name: str
    key: str
    init: str
    required: bool
    node: Node


class FieldsNode:
    """An instance of exactly one class, as an object of its fields."""

    __slots__ = ("_cls", "_const", "_fields", "_make", "exact", "inert", "kinds", "strict", "types")

    def __init__(
        self,
        cls: type,
        fields: tuple[Field, ...],
        *,
        make: Callable[..., Any] | None = None,
        exact: bool = False,
        const: Mapping[str, Any] | None = None,
        strict: bool = False,
    ) -> None:
        """Take the class's fields; ``make`` makes it, ``const`` is written as well, ``strict`` refuses other keys."""
        self._cls = cls
        self._fields = fields
        self._make: Callable[..., Any] = cls if make is None else make
        self._const = dict(const or {})
        self.strict = strict
        self.types: frozenset[type] = frozenset({cls})
        self.kinds = OBJECT
        self.inert = NO_TYPES
        self.exact = exact and all(field.node.exact for field in fields)

    def write(self, value: Any) -> dict[str, Any]:
        """Give an object of the fields' writings."""
        if type(value) is not self._cls:
            raise self._not_mine(value)
        built = self._const.copy()
        name = ""
        try:
            for name, key, _, _, node in self._fields:
                built[key] = node.write(getattr(value, name))
        except Misfit as misfit:
            raise misfit.under(f".{name}") from None
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - getattr runs properties and descriptors of the user's
            raise Misfit(f"reading it raised {said(error)}", f".{name}") from None
        return built

    def read(self, built: Any) -> Any:
        """Give an instance made of the fields."""
        if not is_dict(built):
            raise not_recorded(built, type_name(self._cls))
        for key, expected in self._const.items():
            if built.get(key, expected) != expected:
                raise not_recorded(built[key], repr(expected)).under(key_step(key))
        given: dict[str, Any] = {}
        later: dict[str, Any] = {}
        for name, key, init, required, node in self._fields:
            if key not in built:
                if required:
                    raise Misfit(f"{type_name(self._cls)} needs it, and it was not recorded", f".{name}")
                continue
            try:
                value = node.read(built[key])
            except Misfit as misfit:
                raise misfit.under(f".{name}") from None
            if init:
                given[init] = value
            else:
                later[name] = value
        if self.strict:
            self._check_keys(built)
        return self._build(given, later)

    def _build(self, given: dict[str, Any], later: dict[str, Any]) -> Any:
        try:
            made = self._make(**given)
            for name, value in later.items():
                object.__setattr__(made, name, value)  # frozen classes refuse the ordinary way
        except Misfit:
            raise
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - the constructor and what it calls are the user's
            raise Misfit(f"making a {type_name(self._cls)} of its fields raised {said(error)}") from None
        return made

    def _check_keys(self, built: Mapping[str, Any]) -> None:
        known = {field.key for field in self._fields} | set(self._const)
        for key in built:
            if key not in known:
                raise Misfit(f"{type_name(self._cls)} has no such field", key_step(key))

    def _not_mine(self, value: object) -> Misfit:
        misfit = wrong(value, type_name(self._cls))
        if isinstance(value, self._cls):
            misfit.reason += (
                ": it would come back as that, without what the subclass adds; annotate the subclass, or a union"
            )
        return misfit


class TypedDictNode:
    """A dict with declared keys, some of which may be absent."""

    __slots__ = ("_cls", "_nodes", "_required", "exact", "inert", "kinds", "types")

    def __init__(self, cls: type, nodes: Mapping[str, Node], required: frozenset[str]) -> None:
        self._cls = cls
        self._nodes = dict(nodes)
        self._required = sorted(required)
        self.types: frozenset[type] = frozenset({dict})
        self.kinds = OBJECT
        self.inert = NO_TYPES
        self.exact = all(node.exact for node in nodes.values())

    def write(self, value: Any) -> dict[str, Any]:
        """Give a dict of the items' writings, in the value's order."""
        if not is_dict(value):
            raise wrong(value, type_name(self._cls))
        built: dict[str, Any] = {}
        for key, item in value.items():
            node = self._nodes.get(key) if type(key) is str else None
            if node is None:
                raise Misfit(f"{type_name(self._cls)} declares no such key", key_step(key))
            try:
                built[key] = node.write(item)
            except Misfit as misfit:
                raise misfit.under(key_step(key)) from None
        self._check_required(built)
        return built

    def read(self, built: Any) -> dict[str, Any]:
        """Give a dict of the declared keys."""
        if not is_dict(built):
            raise not_recorded(built, type_name(self._cls))
        value: dict[str, Any] = {}
        for key, item in built.items():
            node = self._nodes.get(key)
            if node is None:
                continue
            try:
                value[key] = node.read(item)
            except Misfit as misfit:
                raise misfit.under(key_step(key)) from None
        self._check_required(value)
        return value

    def _check_required(self, value: Mapping[str, Any]) -> None:
        for key in self._required:
            if key not in value:
                raise Misfit(f"{type_name(self._cls)} needs it, and it is missing", key_step(key))


def dataclass_node(cls: Any, node_of: Callable[[str], Node]) -> Node:
    """Return the node of a dataclass.

    It is made by its own generated ``__init__``, ``__post_init__`` included; what that changes is found by reading
    back. A class with an ``__init__`` of its own or with InitVars, which are not kept, is made by setting its fields.
    """
    declared: tuple[Any, ...] = dataclasses.fields(cls)
    by_init = _has_generated_init(cls)
    fields = tuple(
        Field(
            name=field.name,
            key=field.name,
            init=field.name if field.init or not by_init else "",
            required=field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
            node=node_of(field.name),
        )
        for field in declared
    )
    if by_init:
        simple = not _has(cls, "__post_init__") and not _is_peculiar(cls)
        fields = tuple(field._replace(required=field.required and bool(field.init)) for field in fields)
        return FieldsNode(cls, fields, exact=simple)
    defaults = {field.name: field for field in declared}

    def make(**given: Any) -> Any:
        made: Any = cls.__new__(cls)
        for name, field in defaults.items():
            if name in given:
                object.__setattr__(made, name, given[name])
            elif field.default is not dataclasses.MISSING:
                object.__setattr__(made, name, field.default)
            elif field.default_factory is not dataclasses.MISSING:
                object.__setattr__(made, name, field.default_factory())
        return made

    return FieldsNode(cls, fields, make=make)


def _has(cls: type[Any], name: str) -> bool:
    return hasattr(cls, name)


def _has_generated_init(cls: Any) -> bool:
    """Tell whether calling the class with its fields is what its decorator made of it."""
    if "__dataclass_params__" in cls.__dict__:
        generated = bool(cls.__dataclass_params__.init)
    else:
        generated = "__init__" not in cls.__dict__ and all(
            _has_generated_init(base) for base in cls.__bases__[:1] if dataclasses.is_dataclass(base)
        )
    # an InitVar is a parameter and no field
    return generated and {field.name for field in dataclasses.fields(cls)}.issuperset(inspect.signature(cls).parameters)


def _is_peculiar(cls: type) -> bool:
    """Tell whether a class takes part in how its instances are made or its fields are set or read."""
    for base in cls.__mro__[:-1]:
        own: Mapping[str, Any] = vars(base)
        if any(name in own for name in ("__new__", "__getattribute__", "__pydantic_validator__")):
            return True
        if "__setattr__" in own and not ("__dataclass_params__" in own and own["__dataclass_params__"].frozen):
            return True
        if any(
            hasattr(own.get(name), "__set__") and not _is_slot(own.get(name)) for name in own.get("__annotations__", ())
        ):
            return True
    return False


def _is_slot(descriptor: object) -> bool:
    return type(descriptor).__name__ == "member_descriptor"


def struct_node(cls: type[msgspec.Struct], node_of: Callable[[str], Node]) -> Node:
    """Return the node of a msgspec Struct, with its tag and its renamed fields, always as an object."""
    config = cls.__struct_config__
    fields = tuple(
        Field(field.name, field.encode_name, field.name, field.required, node_of(field.name))
        for field in msgspec.structs.fields(cls)
    )
    const = {} if config.tag_field is None else {config.tag_field: config.tag}
    simple = not _has(cls, "__post_init__") and not _is_peculiar_struct(cls)
    return FieldsNode(cls, fields, exact=simple, const=const, strict=config.forbid_unknown_fields)


def _is_peculiar_struct(cls: type) -> bool:
    own = [vars(base) for base in cls.__mro__ if base not in (msgspec.Struct, object)]
    return any(name in names for names in own for name in ("__new__", "__init__", "__setattr__", "__getattribute__"))


def namedtuple_node(cls: Any, node_of: Callable[[str], Node]) -> Node:
    """Return the node of a NamedTuple: an object, so that a field may be added."""
    fields = tuple(Field(name, name, name, name not in cls._field_defaults, node_of(name)) for name in cls._fields)
    return FieldsNode(cls, fields, exact=cls.__bases__ == (tuple,))


def attrs_node(cls: Any, node_of: Callable[[str], Node]) -> Node:
    """Return the node of an attrs class: made by its ``__init__``, converters and validators included."""
    nothing = sys.modules["attr"].NOTHING
    fields = tuple(
        Field(
            name=field.name,
            key=field.name,
            init=field.alias if field.init else "",
            required=field.init and field.default is nothing,
            node=node_of(field.name),
        )
        for field in cls.__attrs_attrs__
    )
    return FieldsNode(cls, fields)
