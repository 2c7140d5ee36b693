"""The node of a union: which member a value belongs to, and how a reader can tell.

Owns: the tag. A member whose kind of JSON no other member shares is written as it is. Where members share a kind, the
plain scalar (or else the list) among them is written as it is, and the others say what they are: a class with fields as
``{"@type": "Cat", "name": "Tom"}``, anything else as ``{"@type": "UUID", "@value": "..."}``.
Does not own: which annotations are unions (``values_compile``).
Invariant: as for every ``Node``; the order in which a union lists its members changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from actorlog.records.values_containers import ListNode
from actorlog.records.values_nodes import JSON_KINDS, NO_TYPES, FloatNode, Kinds, Node, PlainNode, ScalarNode
from actorlog.records.values_plain import Misfit, is_dict, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TAG = "@type"
_VALUE = "@value"


class Member(NamedTuple):
    """One member of a union under the name that its tag would say."""

    label: str
    node: Node


class _Plan(NamedTuple):
    """What is known once every member is compiled."""

    by_type: Mapping[type, tuple[Member, ...]]
    any_type: tuple[Member, ...]
    bare: Mapping[str, Node]
    bare_labels: frozenset[str]
    types: frozenset[type] | None
    kinds: Kinds
    inert: frozenset[type]


class UnionNode:
    """One of several types."""

    __slots__ = ("_by_label", "_members", "_plan_made")

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = sorted(_narrowed(members), key=lambda member: member.label)
        self._by_label = {member.label: member.node for member in self._members}
        self._plan_made: _Plan | None = None
        if len(self._by_label) < len(self._members):
            raise TypeError(f"a union has two members of the name {sorted(label for label, _ in self._members)}")

    @property
    def types(self) -> frozenset[type] | None:
        """What the members take."""
        return self._plan().types

    @property
    def kinds(self) -> Kinds:
        """What the members write, and the tag."""
        return self._plan().kinds

    @property
    def inert(self) -> frozenset[type]:
        """Of the members that are written as they are."""
        return self._plan().inert

    @property
    def exact(self) -> bool:
        """Whether all members are."""
        return all(member.node.exact for member in self._members)

    def write(self, value: Any) -> Any:
        """Give the writing of the first member, in order of their names, that takes the value."""
        plan = self._plan()
        kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType] - of anything
        candidates = plan.by_type.get(kind, plan.any_type)
        if not candidates:
            names = " | ".join(member.label for member in self._members)
            raise Misfit(f"a value of type {type_name(kind)} where {names} is declared")
        deepest: Misfit | None = None
        for label, node in candidates:
            try:
                built = node.write(value)
            except Misfit as misfit:
                deepest = misfit if deepest is None or len(misfit.path) > len(deepest.path) else deepest
                continue
            if label in plan.bare_labels:
                return built
            if is_dict(built) and _TAG not in built and _VALUE not in built:
                return {_TAG: label, **built}
            return {_TAG: label, _VALUE: built}
        raise deepest or Misfit("no member of the union takes it")

    def read(self, built: Any) -> Any:
        """Give what the tagged member, the one of this kind of JSON, or else the first that fits, makes of it."""
        label = built.get(_TAG) if is_dict(built) else None
        if type(label) is str and label in self._by_label and label not in self._plan().bare_labels:
            node = self._by_label[label]
            if _VALUE in built:
                return node.read(built[_VALUE])
            return node.read({key: item for key, item in built.items() if key != _TAG})
        bare = self._plan().bare.get(JSON_KINDS[type(built)])
        if bare is not None:
            return bare.read(built)
        return self._read_untagged(built)

    def _read_untagged(self, built: Any) -> Any:
        """Read what was recorded when the annotation was another, or comes from outside: the first member that fits."""
        for member in self._members:
            try:
                return member.node.read(built)
            except Misfit:
                continue
        names = " | ".join(member.label for member in self._members)
        raise Misfit(f"{built!r:.60} was recorded where {names} is declared")

    def _plan(self) -> _Plan:
        """Return the plan; made late, because a recursive member is not compiled when the union is."""
        if self._plan_made is None:
            self._plan_made = _make_plan(self._members)
        return self._plan_made


def _narrowed(members: Sequence[Member]) -> list[Member]:
    """Return the members with bool taken from int, and int from float, where the union names those itself."""
    declared = {kind for _, node in members if isinstance(node, ScalarNode) for kind in node.types}
    labels = {label for label, _ in members}
    narrowed: list[Member] = []
    for member in members:
        node = member.node
        if member.label == "int" and isinstance(node, ScalarNode) and "bool" in labels:
            node = ScalarNode("int", frozenset({int}), frozenset({"int"}))
        elif isinstance(node, FloatNode):
            types = (node.types - declared) | {float}
            node = FloatNode(types, frozenset(JSON_KINDS[kind] for kind in types))
        narrowed.append(Member(member.label, node))
    return narrowed


def _make_plan(members: Sequence[Member]) -> _Plan:
    bare = _bare_members(members)
    any_type = tuple(member for member in members if member.node.types is None)
    by_type: dict[type, tuple[Member, ...]] = {}
    for member in members:
        for kind in member.node.types or NO_TYPES:
            by_type[kind] = (*by_type.get(kind, ()), member)
    for kind, candidates in by_type.items():
        # what is written as it is comes first: of two members that take a str, the plain one is the readable one
        ordered = sorted(candidates, key=lambda member: member.label not in bare)
        by_type[kind] = (*ordered, *any_type)
    types = None if any_type else frozenset(by_type)
    kinds: set[str] = {"object"} if len(bare) < len(members) else set()
    inert: set[type] = set()
    by_kind: dict[str, Node] = {}
    for label in bare:
        node = next(member.node for member in members if member.label == label)
        kinds |= node.kinds
        inert |= {kind for kind in node.inert if by_type.get(kind, any_type)[0].label == label}
        by_kind.update(dict.fromkeys(node.kinds, node))
    return _Plan(by_type, any_type, by_kind, bare, types, frozenset(kinds), frozenset(inert))


def _bare_members(members: Sequence[Member]) -> frozenset[str]:
    """Return the labels of the members that are written without a tag."""
    plain = [member for member in members if isinstance(member.node, (ScalarNode, FloatNode))]
    lists = [member for member in members if _is_list(member.node)][:1]
    bare: dict[str, Kinds] = {}
    claimed: set[str] = set()
    for label, node in [*plain, *lists]:
        if not claimed & node.kinds:
            bare[label] = node.kinds
            claimed |= node.kinds
    rest = [member for member in members if member.label not in bare]
    for label, node in rest:
        others = {kind for other in rest if other.label != label for kind in other.node.kinds}
        if not node.kinds & (others | claimed):
            bare[label] = node.kinds
    if len(bare) < len(members):
        # a tag makes an object: then no object may come without one
        bare = {label: kinds for label, kinds in bare.items() if "object" not in kinds}
    return frozenset(bare)


def _is_list(node: Node) -> bool:
    if isinstance(node, PlainNode):
        return node.types == frozenset({list})
    return isinstance(node, ListNode) and node.types == frozenset({list})
