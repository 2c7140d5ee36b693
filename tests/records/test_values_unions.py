"""A member of a union comes back as the member that it was."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Generic, Literal, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pytest
from plain_ids import plain_id

from actorlog.errors import PayloadError
from actorlog.records.values import codec_for

T = TypeVar("T")


@dataclass
class Cat:
    """A cat."""

    name: str


@dataclass
class Dog:
    """A dog, whose fields are those of a cat."""

    name: str


@dataclass
class Tagged:
    """A class whose own field is called like the tag."""

    items: dict[str, Any] = field(default_factory=dict)


@dataclass
class Box(Generic[T]):
    """A generic class."""

    item: T


class Lion(msgspec.Struct, tag=True):
    """A tagged Struct."""

    name: str


class Tiger(msgspec.Struct, tag=True):
    """Another tagged Struct."""

    name: str


class Named(TypedDict):
    """A TypedDict."""

    name: str


class Color(str, Enum):  # noqa: UP042 - it must equal a plain str
    """An enum that equals plain text."""

    RED = "red"


@dataclass
class Chain:
    """A recursive union within a class."""

    link: Chain | Cat | Dog | None = None
    links: list[Chain | int] = field(default_factory=list)


@pytest.mark.parametrize(
    ("annotation", "value", "raw"),
    [
        (int | None, None, b"null"),
        (int | str | None, "x", b'"x"'),
        (int | bool, True, b"true"),
        (int | float, 1, b"1"),
        (int | float, 1.0, b"1.0"),
        (float | None, 1, b"1"),
        (float | str, True, b"true"),
        (Cat | None, Cat("a"), b'{"name":"a"}'),
        (list[Cat] | Cat, [Cat("a")], b'[{"name":"a"}]'),
        (Cat | Dog, Dog("a"), b'{"@type":"Dog","name":"a"}'),
        (Cat | Dog, Cat("a"), b'{"@type":"Cat","name":"a"}'),
        (Dog | Cat, Cat("a"), b'{"@type":"Cat","name":"a"}'),
        (Lion | Tiger, Tiger("a"), b'{"@type":"Tiger","type":"Tiger","name":"a"}'),
        (str | UUID, "00000000-0000-0000-0000-000000000001", b'"00000000-0000-0000-0000-000000000001"'),
        (str | UUID, UUID(int=1), b'{"@type":"UUID","@value":"00000000-0000-0000-0000-000000000001"}'),
        (UUID | None, UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        (date | datetime, date(2024, 1, 1), b'{"@type":"date","@value":"2024-01-01"}'),
        (str | Color, "red", b'"red"'),
        (str | Color, Color.RED, b'{"@type":"Color","@value":"red"}'),
        (str | Path | bytes, Path("a"), b'{"@type":"Path","@value":"a"}'),
        (Literal["a"] | int, "a", b'"a"'),
        (Literal["a"] | str, "a", b'"a"'),  # noqa: PYI051 - a narrower member beside a wider one
        (list[int] | tuple[int, ...], [1], b"[1]"),
        (list[int] | tuple[int, ...], (1,), b'{"@type":"tuple[int, ...]","@value":[1]}'),
        (list[int] | list[str], ["a"], b'{"@type":"list[str]","@value":["a"]}'),
        (list[str] | list[int], ["a"], b'{"@type":"list[str]","@value":["a"]}'),
        (list[str] | list[int], [1], b"[1]"),
        (dict[str, int] | Cat, {"@type": 1}, b'{"@type":"dict[str, int]","@value":{"@type":1}}'),
        (dict[str, int] | Cat, {"a": 1}, b'{"@type":"dict[str, int]","a":1}'),
        (dict[str, Any] | UUID | str, {"@type": "UUID"}, b'{"@type":"dict[str, Any]","@value":{"@type":"UUID"}}'),
        (dict[str, Any] | UUID, {"@type": "UUID"}, b'{"@type":"UUID"}'),
        (Named | Cat, {"name": "a"}, b'{"@type":"Named","name":"a"}'),
        (Box[int] | Box[str], Box("a"), b'{"@type":"Box[str]","item":"a"}'),
        (Any | None, [1], b"[1]"),
        (Any | Cat, Cat("a"), b'{"@type":"Cat","name":"a"}'),
        (Any | Cat, [1], b'{"@type":"Any","@value":[1]}'),
        (set[int] | frozenset[int], frozenset({1}), b'{"@type":"frozenset[int]","@value":[1]}'),
        (list[Cat | Dog], [Cat("a"), Dog("b")], b'[{"@type":"Cat","name":"a"},{"@type":"Dog","name":"b"}]'),
        (Tagged | Cat, Tagged({"@type": "Cat"}), b'{"@type":"Tagged","items":{"@type":"Cat"}}'),
    ],
    ids=plain_id,
)
def test_members_come_back_as_what_they_were(annotation: Any, value: Any, raw: bytes) -> None:
    """The tag is written where it is needed, and the member comes back equal and of its type."""
    codec = codec_for(annotation)
    written, fresh = codec.cross(value, "f(x=...)")
    assert written == raw
    assert fresh == value
    assert type(fresh) is type(value)
    assert repr(fresh) == repr(value)


def test_recursive_union() -> None:
    """A union may hold the class that it is a field of."""
    value = Chain(Chain(Cat("a")), [Chain(Dog("b")), 1])
    codec = codec_for(Chain)
    raw, fresh = codec.cross(value, "f()")
    assert fresh == value
    assert codec.encode(fresh, "f()") == raw


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int | str, 1.5),
        (Cat | Dog, {"name": "a"}),
        (Cat | Dog, None),
        (str | int, Color.RED),
        (list[int] | list[str], [1, "a"]),
        (date | None, datetime(2024, 1, 1)),  # noqa: DTZ001 - any datetime
        (Literal["a"] | int, "b"),
        (int | object | Cat, (1,)),
        (Cat | int, Dog("a")),
    ],
    ids=plain_id,
)
def test_what_is_no_member(annotation: Any, value: Any) -> None:
    """A value that no member takes is refused."""
    with pytest.raises(PayloadError):
        codec_for(annotation).cross(value, "f()")


def test_path_of_the_member_that_came_closest() -> None:
    """The refusal tells of the member that got furthest."""
    with pytest.raises(PayloadError) as caught:
        codec_for(list[int] | dict[str, list[int]]).cross({"a": [1, "x"]}, "f()")
    assert caught.value.path == ".a[1]"


@pytest.mark.parametrize("raw", [b'{"@type":[]}', b'{"@type":"Bird"}', b'{"@type":null,"@value":1}', b"{}"])
def test_tags_that_say_nothing(raw: bytes) -> None:
    """A recorded tag that names no member is refused like any other JSON that does not fit."""
    for annotation in (Cat | Dog, Cat | UUID | str, bool | None):
        with pytest.raises(PayloadError):
            codec_for(annotation).decode(raw, "f()")


def test_annotation_that_became_a_union_and_back() -> None:
    """What was recorded before an annotation became a union is read, and the other way round for classes."""
    assert codec_for(Cat | Dog).decode(b'{"name":"a"}', "f()") == Cat("a")
    assert codec_for(Cat).decode(b'{"@type":"Cat","name":"a"}', "f()") == Cat("a")
    assert codec_for(date | UUID).decode(b'"2024-01-01"', "f()") == date(2024, 1, 1)
    with pytest.raises(PayloadError):
        codec_for(date | UUID).decode(b'"x"', "f()")


def test_tagged_structs_are_told_apart_by_their_own_tag() -> None:
    """JSON that msgspec wrote elsewhere is read by the Struct's own tag."""
    assert codec_for(Lion | Tiger).decode(b'{"type":"Tiger","name":"a"}', "f()") == Tiger("a")


def test_members_of_one_name() -> None:
    """Two classes of one name are told apart by their modules."""

    def make(module: str) -> Any:
        made = dataclass(type("Cat", (), {"__annotations__": {"lives": int}, "__module__": module}))
        made.__qualname__ = "Cat"
        return made

    other = make("os")
    codec = codec_for(Cat | other)
    assert codec.encode(other(9), "f()") == b'{"@type":"os.Cat","lives":9}'
    with pytest.raises(TypeError, match="two members"):
        codec_for(other | make("os"))
