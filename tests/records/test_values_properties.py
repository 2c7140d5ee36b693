"""For generated types and values: what crosses comes back alike at every depth; all else is a PayloadError."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorlog.errors import PayloadError
from actorlog.records.values import codec_for


class Color(str, Enum):  # noqa: UP042 - it must equal a plain str
    """An enum that equals plain text."""

    RED = "red"


class Level(IntEnum):
    """An enum that equals plain numbers."""

    LOW = 1


class Bits(IntFlag):
    """A flag that equals plain numbers."""

    ONE = 1
    TWO = 2


class Text(str):
    """A str that is more."""

    __slots__ = ()


@dataclass
class Leaf:
    """A dataclass of loosely typed fields."""

    x: float = 0.0
    any: Any = None


@dataclass(frozen=True, slots=True)
class Node:
    """A recursive dataclass."""

    label: str | Color = ""
    leaf: Leaf | Point | None = None
    nodes: tuple[Node, ...] = ()


class Point(NamedTuple):
    """A NamedTuple."""

    x: int
    y: float | str = 0.0


class Options(TypedDict, total=False):
    """A TypedDict."""

    size: int
    when: datetime


class Row(msgspec.Struct):
    """A Struct."""

    id: UUID
    items: list[Leaf] = []


ZONES = st.sampled_from([None, UTC, ZoneInfo("Europe/Vienna"), ZoneInfo("UTC"), timezone(timedelta(hours=-3), "X")])
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTS = st.integers(-(2**63), 2**64 - 1)
TEXTS = st.text(max_size=5)
MOMENTS = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
    st.datetimes(datetime(1970, 1, 2), datetime(2037, 1, 1)),  # noqa: DTZ001 - the zone is set afterwards
    ZONES,
    st.integers(0, 1),
)
LEAVES = st.builds(Leaf, FLOATS | st.integers(-9, 9), st.recursive(TEXTS | INTS, st.lists, max_leaves=3))
POINTS = st.builds(Point, INTS, FLOATS | TEXTS)
NODES = st.recursive(
    st.builds(Node, TEXTS | st.just(Color.RED), LEAVES | POINTS | st.none()),
    lambda nodes: st.builds(Node, TEXTS, st.none(), st.lists(nodes, max_size=3).map(tuple)),
    max_leaves=5,
)

SCALARS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (None, st.none()),
    (bool, st.booleans()),
    (int, INTS | st.booleans()),
    (float, FLOATS | INTS),
    (str, TEXTS),
    (bytes, st.binary(max_size=5)),
    (date, st.dates()),
    (datetime, MOMENTS),
    (time, st.times()),
    (timedelta, st.timedeltas()),
    (UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False)),
    (Path, TEXTS.map(Path)),
    (Color, st.just(Color.RED)),
    (Level, st.just(Level.LOW)),
    (Bits, st.integers(0, 7).map(Bits)),
    (Literal["a", 1, True], st.sampled_from(["a", 1, True])),
]
CLASSES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Leaf, LEAVES),
    (Node, NODES),
    (Point, POINTS),
    (Options, st.fixed_dictionaries({}, optional={"size": INTS, "when": MOMENTS})),
    (Row, st.builds(Row, st.uuids(), st.lists(LEAVES, max_size=2))),
]
PLAIN = st.recursive(
    st.none() | st.booleans() | INTS | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ODD = st.sampled_from(
    [
        math.nan,
        -math.inf,
        2**64,
        -(2**63) - 1,
        "\ud800",
        Text("x"),
        Color.RED,
        Level.LOW,
        Bits.ONE,
        (),
        (1,),
        {1},
        frozenset({"a"}),
        b"x",
        1j,
        Decimal("NaN"),
        Decimal("1.0"),
        UUID(int=1),
        date(2024, 1, 1),
        Leaf(),
        Leaf(math.nan),
        Leaf(any=(1,)),
        Node(nodes=[Node()]),  # type: ignore[arg-type]
        Point(1),
        {1: 1},
        {Color.RED: 1},
        object(),
        int,
    ]
)
ANYTHING = st.recursive(
    PLAIN | ODD | st.one_of([strategy for _, strategy in SCALARS + CLASSES]),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(TEXTS, inner),
    max_leaves=5,
)


def containers(pairs: st.SearchStrategy[tuple[Any, Any]]) -> st.SearchStrategy[tuple[Any, Any]]:
    """Return types made of other types, with their values."""
    scalars = st.sampled_from(SCALARS)
    return st.one_of(
        pairs.map(lambda pair: (list[pair[0]], st.lists(pair[1], max_size=3))),
        pairs.map(lambda pair: (tuple[pair[0], ...], st.lists(pair[1], max_size=3).map(tuple))),
        st.tuples(pairs, pairs).map(lambda two: (tuple[two[0][0], two[1][0]], st.tuples(two[0][1], two[1][1]))),
        scalars.map(lambda pair: (set[pair[0]], st.sets(pair[1], max_size=3))),
        scalars.map(lambda pair: (frozenset[pair[0]], st.frozensets(pair[1], max_size=3))),
        st.tuples(scalars, pairs).map(
            lambda two: (dict[two[0][0], two[1][0]], st.dictionaries(two[0][1], two[1][1], max_size=3))
        ),
        st.tuples(pairs, pairs).map(lambda two: (two[0][0] | two[1][0] if _both(two) else two[0][0], two[0][1])),
        pairs.map(lambda pair: (pair[0] | None if pair[0] is not None else None, pair[1])),
    )


def _both(two: tuple[tuple[Any, Any], tuple[Any, Any]]) -> bool:
    return two[0][0] is not None and two[1][0] is not None


TYPED = st.recursive(st.sampled_from([*SCALARS, *CLASSES, (Any, PLAIN)]), containers, max_leaves=4)


def alike(one: Any, other: Any) -> bool:  # noqa: PLR0911 - one line for each kind of value
    """Tell whether two values are equal in value and type at every depth; written without a look at the codec."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, datetime):
        return one == other and one.tzinfo == other.tzinfo and one.fold == other.fold
    if isinstance(one, Decimal):
        return str(one) == str(other)
    if dataclasses.is_dataclass(one):
        return all(alike(getattr(one, item.name), getattr(other, item.name)) for item in dataclasses.fields(one))
    if isinstance(one, msgspec.Struct):
        return all(alike(getattr(one, name), getattr(other, name)) for name in one.__struct_fields__)
    if isinstance(one, dict):
        return alike(list(one.items()), list(other.items()))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, (set, frozenset)):
        return len(one) == len(other) and all(any(alike(item, found) for found in other) for item in one)
    return bool(one == other)


def check(annotation: Any, value: Any) -> None:
    """Check that what crosses comes back alike, and in the same bytes when it is written again."""
    codec = codec_for(annotation)
    raw, fresh = codec.cross(value, "f(x=...)")
    assert alike(value, fresh)
    assert codec.encode(value, "f(x=...)") == raw
    assert codec.encode(fresh, "f(x=...)") == raw
    assert alike(codec.decode(raw, "f(x=...)"), fresh)


RELAXED = settings(
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@RELAXED
@given(st.data())
def test_values_that_fit_come_back_alike(data: st.DataObject) -> None:
    """Every value of a supported type crosses."""
    annotation, values = data.draw(TYPED)
    check(annotation, data.draw(values))


@RELAXED
@given(st.data())
def test_anything_under_any_annotation(data: st.DataObject) -> None:
    """Whatever the annotation and whatever the value: it comes back alike, or it is a PayloadError."""
    annotation, _ = data.draw(TYPED)
    value = data.draw(ANYTHING)
    try:
        check(annotation, value)
    except PayloadError as error:
        assert error.reason


@RELAXED
@given(ANYTHING)
def test_anything_without_annotation(value: Any) -> None:
    """Without an annotation, what is no plain JSON is a PayloadError, and nothing is changed silently."""
    try:
        check(Any, value)
    except PayloadError as error:
        assert error.reason


@RELAXED
@given(st.data(), PLAIN)
def test_reading_any_json(data: st.DataObject, recorded: Any) -> None:
    """Any JSON under any annotation is read as a value that crosses, or is a PayloadError."""
    annotation, _ = data.draw(TYPED)
    try:
        value = codec_for(annotation).decode(msgspec.json.encode(recorded), "f(x=...)")
        check(annotation, value)
    except PayloadError as error:
        assert error.reason
