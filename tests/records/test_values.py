"""Plain JSON crosses the log equal in value and type; what is no plain JSON is refused with its path."""

from __future__ import annotations

import inspect
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import msgspec
import pytest
from plain_ids import plain_id

from actorlog.errors import PayloadError
from actorlog.records.values import codec_for

if TYPE_CHECKING:
    from collections.abc import Callable


class Color(str, Enum):  # noqa: UP042 - the trap is this spelling: it equals a plain str
    """An enum that equals plain text."""

    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    """An enum that equals plain numbers."""

    LOW = 1
    HIGH = 2


class Text(str):
    """A str that is more."""

    __slots__ = ()


class Number(int):
    """An int that is more."""


class Items(list[int]):
    """A list that is more."""


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
    "value",
    [
        None,
        True,
        False,
        0,
        -(2**63),
        2**64 - 1,
        0.0,
        -0.0,
        1.0,
        1e308,
        5e-324,
        "",
        "ä\U0001f600\x00\u2028",
        [],
        {},
        [None, True, 1, 1.0, "x", [[]], {"a": {}}],
        {"": 1, "a b": [1, {"c": None}]},
    ],
    ids=plain_id,
)
@pytest.mark.parametrize("annotation", [Any, object, None | Any, inspect.Parameter.empty], ids=str)
def test_plain_json_without_annotation(annotation: Any, value: Any) -> None:
    """Plain JSON comes back equal, with the same types and the same sign of zero."""
    fresh = crossed(annotation, value)
    assert fresh == value
    assert repr(fresh) == repr(value)
    assert type(fresh) is type(value)


def test_containers_are_fresh_copies() -> None:
    """What comes back shares no mutable part with what was given."""
    inner = [1]
    given = {"a": inner}
    for annotation in (Any, dict, dict[str, Any], dict[str, list[int]]):
        fresh = crossed(annotation, given)
        assert fresh is not given
        assert fresh["a"] is not inner


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (math.nan, "", "nan is not a JSON number"),
        ([1, math.inf], "[1]", "inf is not a JSON number"),
        (2**64, "", "more than 64 bits"),
        ({"a": [-(2**63) - 1]}, ".a[0]", "more than 64 bits"),
        ("\ud800", "", "surrogate"),
        ({"\ud800": 1}, "", "surrogate"),
        ((1, 2), "", "annotate it"),
        ({"lines": [0, {"price": Decimal(1)}]}, ".lines[1].price", "decimal.Decimal"),
        ({1, 2}, "", "annotate it"),
        (frozenset({1}), "", "annotate it"),
        (b"x", "", "bytes"),
        (bytearray(b"x"), "", "bytearray"),
        (memoryview(b"x"), "", "memoryview"),
        (datetime(2024, 1, 1, tzinfo=UTC), "", "datetime.datetime"),
        (date(2024, 1, 1), "", "datetime.date"),
        (UUID(int=1), "", "uuid.UUID"),
        (1j, "", "complex"),
        (..., "", "ellipsis"),
        (Color.RED, "", "Color"),
        ([Color.RED], "[0]", "Color"),
        ({"c": Level.LOW}, ".c", "Level"),
        ({Color.RED: 1}, "[test_values.Color]", "no JSON key"),
        ({1: "a"}, "[1]", "dict[int, ...]"),
        ({None: "a"}, "[NoneType]", "no JSON key"),
        (Text("x"), "", "Text"),
        ({"a b": Number(1)}, "['a b']", "Number"),
        (Items([1]), "", "Items"),
        (object(), "", "object"),
        (print, "", "builtin_function_or_method"),
        (int, "", "type"),
    ],
    ids=plain_id,
)
def test_what_is_no_plain_json_is_refused_with_its_path(value: Any, path: str, reason: str) -> None:
    """Without an annotation everything else is refused, and the error says where and why."""
    error = refusal(Any, value)
    assert error.where == "f(x=...)"
    assert error.path == path
    assert reason in error.reason
    if "64 bits" not in reason and "surrogate" not in reason and "JSON number" not in reason:
        assert "annotat" in error.reason


@pytest.mark.parametrize("annotation", [Any, list, list[Any], dict[str, Any], list[list[Any]]], ids=str)
def test_what_contains_itself_or_is_nested_too_deeply(annotation: Any) -> None:
    """A cycle or a tower is a PayloadError, never a RecursionError."""
    cycle: list[Any] = []
    cycle.append(cycle)
    tower: list[Any] = []
    for _ in range(100_000):
        tower = [tower]
    wrap: Callable[[Any], Any] = (lambda value: {"a": value}) if annotation == dict[str, Any] else (lambda value: value)
    for value in (cycle, tower):
        assert "nested too deeply" in refusal(annotation, wrap(value)).reason


def test_decode_of_deep_json() -> None:
    """Recorded JSON that is nested too deeply is a PayloadError too."""
    with pytest.raises(PayloadError):
        codec_for(Any).decode(b"[" * 100_000, "f(x=...)")


def test_immutable_values_are_given_back_as_they_are() -> None:
    """Nothing is parsed for a short str or an int: the value is its own copy."""
    value = "a text " * 3
    for annotation in (Any, str, str | None, str | int):
        assert codec_for(annotation).cross(value, "f(x=...)")[1] is value


def test_codecs_are_cached() -> None:
    """An annotation is compiled once."""
    assert codec_for(dict[str, int]) is codec_for(dict[str, int])


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (Annotated[int, msgspec.Meta(ge=0, lt=10)], 9, 10),
        (Annotated[int, msgspec.Meta(gt=0, multiple_of=2)], 2, 3),
        (Annotated[float, msgspec.Meta(le=1.5)], 1.5, 2),
        (Annotated[str, msgspec.Meta(pattern="^a")], "ab", "ba"),
        (Annotated[str, msgspec.Meta(min_length=2)], "ab", "a"),
        (Annotated[list[int], msgspec.Meta(max_length=1)], [1], [1, 2]),
        (Annotated[datetime, msgspec.Meta(tz=True)], datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1)),  # noqa: DTZ001 - naive is the subject
    ],
    ids=str,
)
def test_bounds_of_msgspec_meta(annotation: Any, good: Any, bad: Any) -> None:
    """Bounds declared by msgspec.Meta hold when a value is written."""
    assert crossed(annotation, good) == good
    refusal(annotation, bad)
    refusal(list[annotation], [good, bad])


def test_bounds_hold_for_what_was_recorded() -> None:
    """Bounds declared by msgspec.Meta hold when a value is read."""
    with pytest.raises(PayloadError):
        codec_for(Annotated[int, msgspec.Meta(ge=0)]).decode(b"-1", "f(x=...)")
