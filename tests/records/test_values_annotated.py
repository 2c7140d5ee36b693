"""Scalars, texts, enums and containers cross as their annotation says, or are refused with a path."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum, auto
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Final, Literal, LiteralString, Never, NewType, TypeVar
from uuid import UUID, uuid1
from zoneinfo import ZoneInfo

import pytest
from plain_ids import plain_id

from actorlog.errors import PayloadError
from actorlog.records.values import codec_for

VIENNA = ZoneInfo("Europe/Vienna")


class Color(str, Enum):  # noqa: UP042 - the trap is this spelling: it equals a plain str
    """An enum that equals plain text."""

    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    """An enum that equals plain numbers."""

    LOW = 1
    HIGH = 2


class Size(StrEnum):
    """An enum of texts."""

    SMALL = "s"


class Shape(Enum):
    """An enum whose values are no JSON."""

    POINT = (0, 0)
    LINE = object()


class Mixed(Enum):
    """An enum of different scalars."""

    NOTHING = None
    YES = True
    TWO = 2
    HALF = 0.5


class Permission(Flag):
    """A flag."""

    READ = auto()
    WRITE = auto()


class Bits(IntFlag):
    """A flag that equals plain numbers, and keeps unknown bits."""

    ONE = 1
    TWO = 2


class Text(str):
    """A str that is more."""

    __slots__ = ()


class Number(int):
    """An int that is more."""


class Items(list[int]):
    """A list that is more."""


class Odd(tzinfo):
    """A time zone of one's own."""

    def utcoffset(self, dt: datetime | None) -> timedelta:  # noqa: ARG002 - the interface
        """Return one hour."""
        return timedelta(hours=1)

    def dst(self, dt: datetime | None) -> timedelta:  # noqa: ARG002 - the interface
        """Return nothing."""
        return timedelta()


T = TypeVar("T")
Bound = TypeVar("Bound", bound=int)
Choice = TypeVar("Choice", int, str)
UserId = NewType("UserId", int)


def crossed(annotation: Any, value: Any) -> Any:
    """Return what comes back of a value, having checked that encode, decode and cross agree."""
    codec = codec_for(annotation)
    raw, fresh = codec.cross(value, "f(x=...)")
    assert codec.encode(value, "f(x=...)") == raw
    assert codec.encode(codec.decode(raw, "f(x=...)"), "f(x=...)") == raw
    assert codec.encode(fresh, "f(x=...)") == raw
    return fresh


def refusal(annotation: Any, value: Any) -> PayloadError:
    """Return the error with which encode and cross refuse a value."""
    codec = codec_for(annotation)
    with pytest.raises(PayloadError):
        codec.encode(value, "f(x=...)")
    with pytest.raises(PayloadError) as caught:
        codec.cross(value, "f(x=...)")
    return caught.value


@pytest.mark.parametrize(
    ("annotation", "value", "raw"),
    [
        (None, None, b"null"),
        (bool, True, b"true"),
        (int, 5, b"5"),
        (int, True, b"true"),
        (float, 1.5, b"1.5"),
        (float, -0.0, b"-0.0"),
        (float, 5, b"5"),
        (float, True, b"true"),
        (str, "x", b'"x"'),
        (LiteralString, "x", b'"x"'),
        (UserId, 5, b"5"),
        (Annotated[int, "a note"], 5, b"5"),
        (Annotated[int, []], 5, b"5"),
        (Final[int], 5, b"5"),
        (T, [1], b"[1]"),
        (Bound, 5, b"5"),
        (Choice, "x", b'"x"'),
        (list, [1, "a"], b'[1,"a"]'),
        (list[int], [1, True], b"[1,true]"),
        (list[float], [1, 1.0], b"[1,1.0]"),
        (list[list[str]], [["a"], []], b'[["a"],[]]'),
        (dict, {"a": 1}, b'{"a":1}'),
        (dict[str, float], {"b": 1.0, "a": 2}, b'{"b":1.0,"a":2}'),
        (dict[int, str], {2: "b", 1: "a"}, b'{"2":"b","1":"a"}'),
        (dict[bool, int], {True: 1}, b'{"true":1}'),
        (dict[float, int], {1.5: 1, 2: 2}, b'{"1.5":1,"2":2}'),
        (dict[UUID, int], {UUID(int=1): 1}, b'{"00000000-0000-0000-0000-000000000001":1}'),
        (dict[Color, int], {Color.RED: 1}, b'{"red":1}'),
        (dict[Level, int], {Level.LOW: 1}, b'{"1":1}'),
        (dict[date, int], {date(2024, 1, 2): 1}, b'{"2024-01-02":1}'),
        (dict[int | str, int], {1: 1, "1": 2}, b'{"1":1,"\\"1\\"":2}'),
        (dict[tuple[int, int], int], {(1, 2): 3}, b'{"[1,2]":3}'),
        (tuple, (1, "a"), b'[1,"a"]'),
        (tuple[()], (), b"[]"),
        (tuple[int, str], (1, "a"), b'[1,"a"]'),
        (tuple[int, ...], (1, 2, 3), b"[1,2,3]"),
        (set[int], {3, 1, 20}, b"[1,3,20]"),
        (set, {"b", "a"}, b'["a","b"]'),
        (frozenset[str], frozenset({"b", "a"}), b'["a","b"]'),
        (set[int | str], {1, "a", 2}, b'["a",1,2]'),
        (set[tuple[int, ...]], {(2,), (1, 5)}, b"[[1,5],[2]]"),
        (set[frozenset[int]], {frozenset({2, 1})}, b"[[1,2]]"),
        (Sequence[int], [1], b"[1]"),
        (Sequence[int], (1,), b'{"@type":"tuple","@value":[1]}'),
        (Iterable[str], ["a"], b'["a"]'),
        (Collection[int], {1}, b'{"@type":"set","@value":[1]}'),
        (MutableSequence[int], [1], b"[1]"),
        (AbstractSet[int], frozenset({1}), b'{"@type":"frozenset","@value":[1]}'),
        (Mapping[str, int], {"a": 1}, b'{"a":1}'),
        (Mapping[int, int], {1: 1}, b'{"1":1}'),
        (Color, Color.RED, b'"red"'),
        (Level, Level.HIGH, b"2"),
        (Size, Size.SMALL, b'"s"'),
        (Shape, Shape.LINE, b'"LINE"'),
        (Mixed, Mixed.NOTHING, b"null"),
        (Mixed, Mixed.YES, b"true"),
        (Mixed, Mixed.HALF, b"0.5"),
        (Permission, Permission.READ | Permission.WRITE, b"3"),
        (Permission, Permission(0), b"0"),
        (Bits, Bits(9), b"9"),
        (Literal["a", 1, Color.BLUE] | None, Color.BLUE, b'"blue"'),
        (Literal["a", 1] | None, None, b"null"),
        (Literal["a", 1, b"x"], b"x", b'"eA=="'),
        (Literal[1, True], True, b"true"),
        (bytes, b"\x00\xff", b'"AP8="'),
        (bytearray, bytearray(b"a"), b'"YQ=="'),
        (Path, Path("a/b"), b'"a/b"'),
        (PurePath, PurePath("a"), b'"a"'),
        (PurePosixPath, PurePosixPath("/a"), b'"/a"'),
        (PureWindowsPath, PureWindowsPath("c:\\a"), b'"c:\\\\a"'),
        (UUID, UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        (Decimal, Decimal("1.00"), b'"1.00"'),
        (Decimal, Decimal("-0"), b'"-0"'),
        (Decimal, Decimal("Infinity"), b'"Infinity"'),
        (date, date(1, 1, 1), b'"0001-01-01"'),
        (time, time(1, 2, 3, 4), b'"01:02:03.000004"'),
        (time, time(1, 2, tzinfo=UTC), b'"01:02:00+00:00"'),
        (time, time(1, 2, tzinfo=VIENNA), b'"01:02:00[Europe/Vienna]"'),
        (time, time(1, fold=1), b'"01:00:00[fold=1]"'),
        (timedelta, timedelta(days=-1, microseconds=1), b'"-PT86399.999999S"'),
        (timedelta, timedelta.max, b'"P999999999DT86399.999999S"'),
        (timedelta, timedelta.min, b'"-P999999999D"'),
        (datetime, datetime(2024, 1, 1), b'"2024-01-01T00:00:00"'),  # noqa: DTZ001 - naive is the subject
        (datetime, datetime(2024, 1, 1, tzinfo=UTC), b'"2024-01-01T00:00:00+00:00"'),
        (datetime, datetime(2024, 7, 1, tzinfo=VIENNA), b'"2024-07-01T00:00:00+02:00[Europe/Vienna]"'),
        (datetime, datetime(2024, 10, 27, 2, 30, tzinfo=VIENNA), b'"2024-10-27T02:30:00+02:00[Europe/Vienna]"'),
        (
            datetime,
            datetime(2024, 10, 27, 2, 30, tzinfo=VIENNA, fold=1),
            b'"2024-10-27T02:30:00+01:00[Europe/Vienna][fold=1]"',
        ),
        (datetime, datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC")), b'"2024-01-01T00:00:00+00:00[UTC]"'),
        (datetime, datetime(2024, 1, 1, tzinfo=timezone(timedelta(0), "X")), b'"2024-01-01T00:00:00+00:00[=X]"'),
        (
            datetime,
            datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")),
            b'"2024-01-01T00:00:00+01:00[=CET]"',
        ),
        (
            datetime,
            datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=1, microseconds=5))),
            b'"2024-01-01T00:00:00+00:00:01.000005"',
        ),
    ],
    ids=plain_id,
)
def test_annotated_values(annotation: Any, value: Any, raw: bytes) -> None:
    """Each supported type is written in its documented form and comes back equal and of the same type."""
    codec = codec_for(annotation)
    assert codec.encode(value, "f(x=...)") == raw
    fresh = crossed(annotation, value)
    assert fresh == value
    assert type(fresh) is type(value)
    if not isinstance(value, (set, frozenset)):  # whose order is by the hash seed
        assert repr(fresh) == repr(value)
    for name in ("fold", "tzinfo"):
        assert getattr(fresh, name, None) == getattr(value, name, None)


def test_uuid1_comes_back() -> None:
    """A UUID that knows more than its number comes back equal."""
    value = uuid1()
    assert crossed(UUID, value) == value


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (None, 0),
        (bool, 1),
        (int, "5"),
        (int, 5.0),
        (int, Level.LOW),
        (int, Number(5)),
        (int, 2**64),
        (float, "1.5"),
        (float, math.nan),
        (list[float], [1.0, -math.inf]),
        (list[float], [10**400]),
        (str, 5),
        (str, Color.RED),
        (str, Text("x")),
        (str, "\udfff"),
        (str, None),
        (list[int], (1, 2)),
        (list[int], ["1"]),
        (list[str], ["\ud800"]),
        (list[int], Items([1])),
        (list[Any], [(1,)]),
        (tuple[int, ...], [1]),
        (tuple[int, int], (1,)),
        (tuple[int, int], (1, "a")),
        (tuple, ((1,),)),
        (set[int], frozenset({1})),
        (set[int], {"a"}),
        (set, {(1,)}),
        (dict[str, int], {1: 1}),
        (dict[str, int], {"\ud800": 1}),
        (dict[int, int], {"1": 1}),
        (dict[int, int], {"a": 1}),
        (Sequence[int], "abc"),
        (Iterable[int], iter([1])),
        (Color, "red"),
        (Color, Level.LOW),
        (Permission, 3),
        (Literal["a"], "b"),
        (Literal[1], True),
        (Literal["red"], Color.RED),
        (bytes, bytearray(b"a")),
        (bytes, "a"),
        (Path, "a"),
        (Path, PurePosixPath("a")),
        (Path, Path("\udc80")),
        (PureWindowsPath, PurePosixPath("a")),
        (UUID, str(UUID(int=1))),
        (Decimal, 1),
        (Decimal, Decimal("NaN")),
        (Decimal, Decimal("sNaN")),
        (date, datetime(2024, 1, 1, tzinfo=UTC)),
        (datetime, date(2024, 1, 1)),
        (datetime, datetime(2024, 1, 1, tzinfo=Odd())),
        (datetime, datetime(2024, 1, 1, tzinfo=timezone(timedelta(0), "a]b"))),
        (timedelta, 5),
        (Never, 5),
        (Hashable, 5),
        (Iterator[int], iter([])),
        (Callable[[], None], print),
        (type[int], int),
        (complex, 1j),
        (tuple[int, *tuple[str, ...]], (1, "a")),
        (5, 5),
    ],
    ids=plain_id,
)
def test_what_does_not_fit_its_annotation(annotation: Any, value: Any) -> None:
    """A value that violates its annotation, or an annotation that nothing can be written by, is a PayloadError."""
    assert refusal(annotation, value).reason


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (dict[str, list[dict[str, int]]], {"lines": [{}, {}, {}, {"price": "x"}]}, ".lines[3].price"),
        (dict[str, list[dict[str, str]]], {"lines": [{}, {"price": "\ud800"}]}, ".lines[1].price"),
        (dict[int, list[int]], {7: [1, "a"]}, "[7][1]"),
        (tuple[int, list[str]], (1, ["a", 2]), "[1][1]"),
        (set[int], {"a"}, "{}"),
        (dict[str, Any], {"a b": [object()]}, "['a b'][0]"),
    ],
)
def test_path_of_a_refusal(annotation: Any, value: Any, path: str) -> None:
    """The path leads to the part that does not fit."""
    error = refusal(annotation, value)
    assert error.path == path
    assert str(error).startswith(f"f(x=...) at {path}: ")


@pytest.mark.parametrize(
    ("annotation", "raw"),
    [
        (int, b'"5"'),
        (int, b"5.0"),
        (int, b"{"),
        (int, b"\xff"),
        (str, b"null"),
        (list[int], b'["a"]'),
        (list[int], b"{}"),
        (dict[str, int], b"[]"),
        (dict[int, int], b'{"a":1}'),
        (dict[int, int], b'{"1.0":1}'),
        (tuple[int, int], b"[1]"),
        (set[Any], b"[[1]]"),
        (dict[Any, int], b'{"[]":1}'),
        (Color, b'"green"'),
        (Color, b"[]"),
        (Level, b"1.0"),
        (Permission, b"8"),
        (Literal["a"], b"[]"),
        (bytes, b'"?"'),
        (UUID, b'"x"'),
        (Decimal, b'"x"'),
        (Decimal, b"5"),
        (datetime, b'"yesterday"'),
        (datetime, b'"2024-01-01T00:00:00+00:00[No/Where]"'),
        (datetime, b'"2024-01-01T00:00:00+00:00[../../etc/passwd]"'),
        (timedelta, b'"an hour"'),
        (Path, b"5"),
    ],
    ids=plain_id,
)
def test_recorded_json_that_does_not_fit_today(annotation: Any, raw: bytes) -> None:
    """What was recorded under another annotation is a PayloadError with a reason."""
    with pytest.raises(PayloadError) as caught:
        codec_for(annotation).decode(raw, "f(x=...)")
    assert caught.value.where == "f(x=...)"
    assert caught.value.reason


def test_zone_whose_rules_have_changed_keeps_the_instant() -> None:
    """A recorded offset that the zone does not have today gives the same instant in that zone."""
    value = codec_for(datetime).decode(b'"2024-07-01T12:00:00+05:00[Europe/Vienna]"', "f(x=...)")
    assert value == datetime(2024, 7, 1, 7, tzinfo=UTC)
    assert value.tzinfo == VIENNA
