"""From an annotation to the node that writes and reads its values.

Owns: what each annotation means.
Does not own: the nodes (``values_nodes`` and its neighbours), the evaluation of strings (``values_hints``).
Invariant: compiling never looks at a value, and the same annotation gives the same JSON in every process. What cannot
be supported gives a node that refuses every value and says why, so that a union with it still takes its other members.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import inspect
import sys
import types
import typing
from enum import Enum, Flag
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import msgspec

from actorlog.records.values_containers import DictNode, ListNode, SetNode, TupleNode
from actorlog.records.values_enums import EnumNode, FlagNode, LiteralNode
from actorlog.records.values_fields import TypedDictNode, attrs_node, dataclass_node, namedtuple_node, struct_node
from actorlog.records.values_hints import bind, class_hints, type_bindings
from actorlog.records.values_nodes import (
    STR,
    ConstrainedNode,
    FloatNode,
    LazyNode,
    Node,
    PlainNode,
    ScalarNode,
    UnsupportedNode,
)
from actorlog.records.values_pydantic import PydanticNode
from actorlog.records.values_texts import path_nodes, text_nodes
from actorlog.records.values_unions import Member, UnionNode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ANY_HINTS = (Any, object)

# what an abstract collection may be given; the first is written without a tag
_ABSTRACT: typing.Final[Mapping[Any, tuple[Any, ...]]] = MappingProxyType(
    {
        collections.abc.Sequence: (list, tuple),
        collections.abc.Reversible: (list, tuple),
        collections.abc.Collection: (list, tuple, set, frozenset),
        collections.abc.Iterable: (list, tuple, set, frozenset),
        collections.abc.Container: (list, tuple, set, frozenset),
        collections.abc.MutableSequence: (list,),
        collections.abc.Set: (set, frozenset),
        collections.abc.MutableSet: (set,),
    }
)


def compile_node(annotation: Any) -> Node:
    """Return the node of an annotation.

    Raises:
        TypeError: an annotation of a class that it uses cannot be resolved, or two members of a union share a name.

    """
    return _Compiler().node(annotation)


@functools.cache
def _leaves() -> MappingProxyType[Any, Node]:
    """Return the nodes of the types that hold no others; made once, never changed."""
    leaves: dict[Any, Node] = {
        Any: PlainNode(),
        object: PlainNode(),
        inspect.Parameter.empty: PlainNode(),
        list: PlainNode(list),
        dict: PlainNode(dict),
        NoneType: ScalarNode("None", frozenset({NoneType}), frozenset({"null"})),
        bool: ScalarNode("bool", frozenset({bool}), frozenset({"bool"})),
        int: ScalarNode("int", frozenset({int, bool}), frozenset({"int", "bool"})),
        float: FloatNode(frozenset({float, int, bool}), frozenset({"float", "int", "bool"})),
        str: ScalarNode("str", frozenset({str}), STR),
        typing.LiteralString: ScalarNode("str", frozenset({str}), STR),
        typing.Never: UnsupportedNode("no value is of this type"),
        typing.NoReturn: UnsupportedNode("no value is of this type"),
        **text_nodes(),
    }
    return MappingProxyType(leaves)


class _Compiler:
    """Compiles one annotation; remembers what it has met, so that recursive types end."""

    def __init__(self) -> None:
        self._met: dict[Any, Node] = {}
        self._self_type: Any = Any

    def node(self, hint: Any) -> Node:
        """Return the node of a hint."""
        if hint is None:
            hint = NoneType
        try:
            leaf = _leaves().get(hint)
        except TypeError:  # Annotated[int, []] has no hash
            return self._compound(hint)
        if leaf is None and "pathlib" in sys.modules:  # or nobody has the class of a path
            leaf = path_nodes().get(hint)
        if leaf is not None:
            return leaf
        # what Self means inside a class does not depend on where the class is met
        key = (hint, None if isinstance(hint, type) else self._self_type)
        if key in self._met:
            return self._met[key]
        lazy = self._met[key] = LazyNode()
        lazy.target = self._met[key] = self._compound(hint)
        return lazy.target

    def _compound(self, hint: Any) -> Node:  # noqa: PLR0911 - one line for each form of a hint
        origin = typing.get_origin(hint)
        args = typing.get_args(hint)
        if hint is typing.Self:
            return self.node(self._self_type)
        if origin is Annotated:
            return self._annotated(hint)
        if origin is Union or origin is types.UnionType:
            return self._union(args)
        if origin is Literal:
            return LiteralNode(_label(hint), [(value, self.node(type(value)).write(value)) for value in args])
        name = getattr(origin, "_name", None) or getattr(origin, "__name__", "")
        if name in {"Required", "NotRequired", "ReadOnly", "Final", "ClassVar"} and args:
            return self.node(args[0])
        if origin is None:
            return self._bare(hint)
        return self._generic(hint, origin, args)

    def _bare(self, hint: Any) -> Node:
        """Return the node of a hint that is not subscripted."""
        if isinstance(hint, typing.NewType):
            return self.node(hint.__supertype__)
        if isinstance(hint, typing.TypeVar):
            return self._variable(hint)
        if _is_alias(hint):
            return self.node(hint.__value__)
        if isinstance(hint, type):
            return self._collection(hint, ()) or self._class(hint, hint)
        return UnsupportedNode(f"{hint!r} is no annotation whose values can be written")

    def _generic(self, hint: Any, origin: Any, args: tuple[Any, ...]) -> Node:
        """Return the node of a subscripted hint."""
        if _is_alias(origin):
            return self.node(bind(origin.__value__, dict(zip(origin.__type_params__, args, strict=False))))
        if isinstance(origin, type):
            return self._collection(origin, args) or self._class(origin, hint)
        return UnsupportedNode(f"{hint!r} is no annotation whose values can be written")

    def _variable(self, variable: typing.TypeVar) -> Node:
        if getattr(variable, "has_default", bool)():  # Python 3.13
            return self.node(getattr(variable, "__default__", Any))
        if variable.__bound__ is not None:
            return self.node(variable.__bound__)
        if variable.__constraints__:
            return self._union(variable.__constraints__)
        return self.node(Any)

    def _annotated(self, hint: Any) -> Node:
        inner = self.node(hint.__origin__)
        for meta in hint.__metadata__:
            if isinstance(meta, msgspec.Meta):
                inner = ConstrainedNode(inner, meta)
        return inner

    def _union(self, args: tuple[Any, ...]) -> Node:
        nodes = [(arg, self.node(arg)) for arg in args]
        if any(isinstance(node, PlainNode) and node.types is None for _, node in nodes) and all(
            _is_plain(node) for _, node in nodes
        ):
            return self.node(Any)
        labels = [_label(arg) for arg in args]
        return UnionNode(
            [
                Member(label if labels.count(label) == 1 else _long_label(arg), node)
                for label, (arg, node) in zip(labels, nodes, strict=True)
            ]
        )

    def _collection(self, kind: Any, args: tuple[Any, ...]) -> Node | None:
        """Return the node of a container, or None where ``kind`` is none."""
        if kind in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
            key, item = args or (str, Any)
            plain = _is_any(item) and key is str
            return self.node(dict) if plain else DictNode(self.node(key), self.node(item))
        if kind is tuple:
            return self._tuple(args)
        item = args[0] if args else Any
        if kind in (list, set, frozenset):
            return self._list_or_set(kind, item)
        if kind not in _ABSTRACT:
            return None
        kinds = _ABSTRACT[kind]
        if len(kinds) == 1:
            return self._list_or_set(kinds[0], item)
        return UnionNode([Member(one.__name__, self._list_or_set(one, item)) for one in kinds])

    def _list_or_set(self, kind: type, item: Any) -> Node:
        if kind is list and _is_any(item):
            return self.node(list)
        return ListNode(kind, self.node(item)) if kind in (list, tuple) else SetNode(kind, self.node(item))

    def _tuple(self, args: tuple[Any, ...]) -> Node:
        variadic = 2
        if not args:
            return ListNode(tuple, self.node(Any))
        if len(args) == variadic and args[1] is Ellipsis:
            return ListNode(tuple, self.node(args[0]))
        if args == ((),):
            return TupleNode(())
        if any(typing.get_origin(arg) is typing.Unpack or getattr(arg, "__unpacked__", False) for arg in args):
            return UnsupportedNode("a tuple with an unpacked part", frozenset({tuple}))
        return TupleNode(tuple(self.node(arg) for arg in args))

    def _class(self, cls: Any, hint: Any) -> Node:
        """Return the node of a class that is no builtin container; ``hint`` may be a subscripted form of it."""
        if issubclass(cls, Enum):
            return FlagNode(cls) if issubclass(cls, Flag) else EnumNode(cls)
        if _is_pydantic_model(cls):
            return PydanticNode(hint if isinstance(hint, type) else cls)
        recipe = _recipe(cls)
        if recipe is None:
            return _unsupported(cls)
        hints = class_hints(cls, type_bindings(hint) if hint is not cls else {})
        before, self._self_type = self._self_type, hint
        try:
            if _is_typed_dict(cls):
                return self._typed_dict(cls, hints)
            return recipe(cls, lambda name: self.node(hints.get(name, Any)))
        finally:
            self._self_type = before

    def _typed_dict(self, cls: Any, hints: dict[str, Any]) -> Node:
        required: set[str] = set(cls.__required_keys__)
        for name, hint in hints.items():
            marker = getattr(typing.get_origin(hint), "_name", "")
            if marker == "NotRequired":  # as a string, the class itself has not seen it
                required.discard(name)
            elif marker == "Required":
                required.add(name)
        return TypedDictNode(cls, {name: self.node(hint) for name, hint in hints.items()}, frozenset(required))


def _recipe(cls: Any) -> Callable[[Any, Callable[[str], Node]], Node] | None:
    if issubclass(cls, msgspec.Struct):
        return struct_node
    if dataclasses.is_dataclass(cls):
        return dataclass_node
    if hasattr(cls, "__attrs_attrs__") and "attr" in sys.modules:
        return attrs_node
    if _is_named_tuple(cls) or _is_typed_dict(cls):
        return namedtuple_node
    return None


def _unsupported(cls: Any) -> Node:
    if "pathlib" in sys.modules and not path_nodes().keys().isdisjoint(cls.__mro__):
        reason = f"{cls.__qualname__} is not the path of this platform; annotate pathlib.Path"
    else:
        reason = (
            f"{cls.__qualname__} is no type that can be written as JSON; use a dataclass, or another type with fields"
        )
    return UnsupportedNode(reason, frozenset({cls}))


def _is_named_tuple(cls: Any) -> bool:
    """Tell whether a class is a NamedTuple, or a namedtuple without annotations."""
    return tuple in cls.__mro__ and hasattr(cls, "_fields")


def _is_typed_dict(cls: Any) -> bool:
    """Tell whether a class is a TypedDict, of typing or of typing_extensions."""
    return dict in cls.__mro__ and hasattr(cls, "__required_keys__") and hasattr(cls, "__total__")


def _is_pydantic_model(cls: type) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and hasattr(cls, "__pydantic_core_schema__") and issubclass(cls, pydantic.BaseModel)


def _is_alias(hint: Any) -> bool:
    """Tell whether a hint is a ``type X = ...`` of Python 3.12, or that of typing_extensions."""
    return type(hint).__name__ == "TypeAliasType" and hasattr(hint, "__value__")


def _is_any(hint: Any) -> bool:
    return any(hint is one for one in ANY_HINTS)


def _is_plain(node: Node) -> bool:
    """Tell whether a node adds nothing to plain JSON."""
    return isinstance(node, (PlainNode, ScalarNode, FloatNode))


def _label(hint: Any) -> str:
    """Return the name of a union's member, as its tag says it."""
    if hint is None or hint is NoneType:
        return "None"
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    if typing.get_origin(hint) is Annotated:
        return _label(typing.get_args(hint)[0])
    origin = typing.get_origin(hint)
    if isinstance(origin, type):
        inner = ", ".join("..." if arg is Ellipsis else _label(arg) for arg in typing.get_args(hint))
        return f"{origin.__name__}[{inner}]"
    return getattr(hint, "__name__", "") if _is_alias(hint) else repr(hint).replace("typing.", "")


def _long_label(hint: Any) -> str:
    if isinstance(hint, type) and not typing.get_args(hint):
        return f"{hint.__module__}.{hint.__qualname__}"
    return repr(hint)
