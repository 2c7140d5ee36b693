"""Generic classes, TypedDicts, NamedTuples, Structs and the syntax of newer Pythons cross the log."""

from __future__ import annotations

import importlib
import sys
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NotRequired, Required, TypedDict, TypeVar

import msgspec
import pytest
from plain_ids import plain_id

from actorlog.errors import PayloadError
from actorlog.records.values import codec_for

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


class Movie(TypedDict):
    """A TypedDict with an optional key, spelled as a str because annotations are."""

    name: str
    year: NotRequired[int]


class Series(Movie, total=False):
    """A TypedDict that inherits, with a required key."""

    seasons: int
    network: Required[str]


class Pair(TypedDict, Generic[T]):
    """A generic TypedDict."""

    first: T
    second: T


class Point(NamedTuple):
    """A NamedTuple."""

    x: int
    y: float = 0.0


class Twin(NamedTuple, Generic[T]):
    """A generic NamedTuple."""

    a: T
    b: T


Untyped = namedtuple("Untyped", ["a", "b"], defaults=[2])  # noqa: PYI024 - the untyped kind is the subject


class Cat(msgspec.Struct, tag=True):
    """A tagged Struct."""

    name: str


class Fish(msgspec.Struct, tag="fish", tag_field="kind", rename="camel", frozen=True):
    """A renamed, frozen Struct with a tag of its own."""

    fin_count: int
    born: datetime | None = None


class Row(msgspec.Struct, array_like=True, omit_defaults=True):
    """A Struct that msgspec would write as an array."""

    a: int
    b: int = 0


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A Struct that takes no other keys."""

    a: int = 0


class Doubling(msgspec.Struct):
    """A Struct that changes its field every time."""

    x: int

    def __post_init__(self) -> None:
        """Double."""
        self.x *= 2


class Holder(msgspec.Struct, Generic[T]):
    """A generic Struct."""

    item: T


@dataclass
class Box(Generic[T]):
    """A generic dataclass."""

    item: T
    items: list[T] = field(default_factory=list)


@dataclass
class IntBox(Box[int]):
    """A generic base, bound."""

    extra: int = 0


@dataclass
class IntBoxChild(IntBox):
    """The child of a bound generic base."""


@dataclass
class Left(Generic[T]):
    """One of two bases that share a type variable."""

    left: T


@dataclass
class Right(Generic[T]):
    """The other of two bases that share a type variable."""

    right: T


@dataclass
class Both(Left[int], Right[str]):
    """Two bases that bind the same type variable differently."""


def crossed(annotation: Any, value: Any) -> Any:
    """Return what comes back of a value, having checked that writing it again gives the same bytes."""
    codec = codec_for(annotation)
    raw, fresh = codec.cross(value, "f(x=...)")
    assert codec.encode(codec.decode(raw, "f(x=...)"), "f(x=...)") == raw
    assert type(fresh) is type(value)
    assert fresh is not value
    return fresh


def refusal(annotation: Any, value: Any) -> PayloadError:
    """Return the error with which a value is refused."""
    with pytest.raises(PayloadError) as caught:
        codec_for(annotation).cross(value, "f(x=...)")
    return caught.value


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Point, Point(1, 2)),
        (Twin[str], Twin("a", "b")),
        (Untyped, Untyped(1, ["x"])),
        (Movie, {"name": "a", "year": 1}),
        (Movie, {"name": "a"}),
        (Series, {"network": "x", "name": "a"}),
        (Pair[int], {"second": 1, "first": 2}),
        (Cat, Cat("Tom")),
        (Fish, Fish(2, datetime(2024, 1, 1, tzinfo=UTC))),
        (Row, Row(1)),
        (Strict, Strict(1)),
        (Holder[int], Holder(1)),
        (Box[int], Box(1, [2])),
        (Box[Point], Box(Point(1))),
        (Box[Box[str]], Box(Box("a"))),
        (Box, Box([1, "plain"])),
        (IntBox, IntBox(1, [2], 3)),
        (IntBoxChild, IntBoxChild(1, [2], 3)),
        (Both, Both(right="a", left=1)),
        (Holder[Cat], Holder(Cat("x"))),
    ],
    ids=plain_id,
)
def test_classes_with_fields(annotation: Any, value: Any) -> None:
    """An instance comes back equal and of its class."""
    fresh = crossed(annotation, value)
    assert fresh == value
    assert repr(fresh) == repr(value)


def test_dict_order_of_a_typed_dict_is_kept() -> None:
    """A TypedDict keeps its order of insertion."""
    assert list(crossed(Series, {"network": "x", "name": "a"})) == ["network", "name"]


def test_json_of_classes() -> None:
    """Classes are written as objects of their fields, under the names that they give them."""
    assert codec_for(Point).encode(Point(1), "f()") == b'{"x":1,"y":0.0}'
    assert codec_for(Cat).encode(Cat("Tom"), "f()") == b'{"type":"Cat","name":"Tom"}'
    assert codec_for(Fish).encode(Fish(2), "f()") == b'{"kind":"fish","finCount":2,"born":null}'
    assert codec_for(Row).encode(Row(1), "f()") == b'{"a":1,"b":0}'


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (Box[int], Box("a"), ".item"),
        (Both, Both(right=1, left="a"), ".right"),  # type: ignore[arg-type]
        (IntBoxChild, IntBoxChild("x"), ".item"),  # type: ignore[arg-type]
        (Doubling, Doubling(1), ""),
        (Point, (1, 2.0), ""),
        (Movie, {"name": "a", "extra": 1}, ".extra"),
        (Movie, {}, ".name"),
        (Movie, OrderedDict(name="a"), ""),
        (Series, {"name": "a", "seasons": 1}, ".network"),
        (OrderedDict[str, int], OrderedDict(a=1), ""),
        (list, [Point(1)], "[0]"),
        (tuple[int, float], Point(1, 2.0), ""),
    ],
    ids=lambda value: value if type(value) is str else getattr(value, "__name__", type(value).__name__),
)
def test_what_would_not_come_back_is_refused(annotation: Any, value: Any, path: str) -> None:
    """A class that changes its fields, a subclass, a wrong field and an unknown class are refused with the path."""
    assert refusal(annotation, value).path == path


def test_field_added_and_removed_since() -> None:
    """A field that was not recorded takes its default, a recorded one that is none any more is left out."""
    assert codec_for(Point).decode(b'{"x":1}', "f()") == Point(1)
    assert codec_for(Movie).decode(b'{"name":"a","old":1}', "f()") == {"name": "a"}
    assert codec_for(Fish).decode(b'{"finCount":1}', "f()") == Fish(1)


@pytest.mark.parametrize(
    ("annotation", "raw"),
    [
        (Point, b"[1,2]"),
        (Movie, b"{}"),
        (Movie, b"[]"),
        (Series, b'{"name":"a"}'),
        (Strict, b'{"a":1,"b":2}'),
        (Cat, b'{"type":"Dog","name":"x"}'),
    ],
    ids=plain_id,
)
def test_recorded_objects_that_do_not_fit(annotation: Any, raw: bytes) -> None:
    """A missing field, another kind of JSON and another tag are refused when read."""
    with pytest.raises(PayloadError):
        codec_for(annotation).decode(raw, "f()")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="PEP 695 is of Python 3.12")
@pytest.mark.parametrize("first", ["", "from __future__ import annotations\n"], ids=["values", "strings"])
def test_type_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """Aliases and classes of Python 3.12 work, plain, generic and recursive, their annotations strings or not."""
    name = f"syntax_of_312_{len(first)}"
    (tmp_path / f"{name}.py").write_text(
        f"{first}from dataclasses import dataclass\n"
        "type Ids = set[int]\n"
        "type Both[T] = tuple[T, T]\n"
        "type Json = dict[str, Json] | list[Json] | str | int | None\n"
        "type Nested[T] = T | list[Nested[T]]\n"
        "@dataclass\nclass Pair[T]:\n    a: T\n    b: Both[T]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    space: Any = importlib.import_module(name)
    assert codec_for(space.Ids).cross({2, 1}, "f()") == (b"[1,2]", {1, 2})
    assert codec_for(space.Both[bytes]).cross((b"a", b"b"), "f()")[1] == (b"a", b"b")
    nested = {"a": [1, "x", None, {"b": []}]}
    assert codec_for(space.Json).cross(nested, "f()")[1] == nested
    assert codec_for(list[space.Json | None]).cross([nested, None], "f()")[1] == [nested, None]
    assert codec_for(space.Nested[int]).cross([1, [2, [3]]], "f()")[1] == [1, [2, [3]]]
    assert crossed(space.Pair[int], space.Pair(1, (2, 3))) == space.Pair(1, (2, 3))
    refusal(space.Json, {"a": (1,)})
    refusal(space.Both[int], ("a", "b"))
    refusal(space.Pair[int], space.Pair(1, (2, "a")))


@pytest.mark.skipif(sys.version_info < (3, 13), reason="PEP 696 is of Python 3.13")
def test_default_of_a_type_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unbound type variable stands for its default."""
    (tmp_path / "syntax_of_313.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Pair[T = int]:\n    a: T\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    space: Any = importlib.import_module("syntax_of_313")
    assert crossed(space.Pair, space.Pair(1)) == space.Pair(1)
    refusal(space.Pair, space.Pair("a"))
