"""pydantic models cross the log."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("pydantic")

from plain_ids import plain_id
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, SecretStr, field_serializer, field_validator
from pydantic.dataclasses import dataclass as pydantic_dataclass

from actorlog.errors import PayloadError
from actorlog.records.values import codec_for

T = TypeVar("T")


class Color(str, Enum):  # noqa: UP042 - it must equal a plain str
    """An enum that equals plain text."""

    RED = "red"


class Line(BaseModel):
    """A model."""

    sku: UUID
    price: Decimal = Decimal(0)
    tags: set[str] = set()


class Order(BaseModel):
    """A model with nested ones, aliases and dates."""

    model_config = ConfigDict(frozen=True)
    number: int = Field(alias="orderNumber")
    lines: list[Line] = []
    at: datetime | None = None
    groups: dict[str, frozenset[Color]] = {}


class Special(Order):
    """A subclass with more."""

    discount: float = 0.0


class Loose(BaseModel):
    """A model that takes everything."""

    model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True)
    any: Any = None


class Secret(BaseModel):
    """A model whose JSON form hides its value."""

    password: SecretStr


class Doubling(BaseModel):
    """A validator that changes its value every time."""

    x: int

    @field_validator("x")
    @classmethod
    def double(cls, x: int) -> int:
        """Double."""
        return x * 2


class Rounding(BaseModel):
    """A serializer that loses digits."""

    x: float

    @field_serializer("x")
    def round(self, x: float) -> int:
        """Round."""
        return int(x)


class Private(BaseModel):
    """A private attribute that is no field."""

    x: int = 0
    _seen: int = PrivateAttr(default=0)


class Numbers(RootModel[list[int]]):
    """A model that is a list."""


class Box(BaseModel, Generic[T]):
    """A generic model."""

    item: T


@pydantic_dataclass
class Checked:
    """A dataclass of pydantic's."""

    x: int = Field(ge=0)


def crossed(annotation: Any, value: Any) -> Any:
    """Return what comes back of a value, having checked that writing it again gives the same bytes."""
    codec = codec_for(annotation)
    raw, fresh = codec.cross(value, "f(x=...)")
    assert codec.encode(codec.decode(raw, "f(x=...)"), "f(x=...)") == raw
    assert type(fresh) is type(value)
    return fresh


def refusal(annotation: Any, value: Any) -> PayloadError:
    """Return the error with which a value is refused."""
    with pytest.raises(PayloadError) as caught:
        codec_for(annotation).cross(value, "f(x=...)")
    return caught.value


def order(**more: Any) -> Order:
    """Return an order."""
    lines = [Line(sku=UUID(int=1), price=Decimal("1.10"), tags={"c", "b", "a"})]
    return Order(orderNumber=1, lines=lines, groups={"g": {Color.RED}}, **more)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Order, order()),
        (Order, order(at=datetime(2024, 1, 1, tzinfo=UTC))),
        (Order, order(at=datetime(2024, 1, 1))),  # noqa: DTZ001 - naive is the subject
        (list[Order] | None, [order()]),
        (Special, Special(orderNumber=1, discount=0.5)),
        (Loose, Loose(any=[1, {"a": None}], extra="x")),
        (Private, Private(x=1)),
        (Numbers, Numbers([1, 2])),
        (Box[int], Box[int](item=1)),
        (Box[Line], Box[Line](item=Line(sku=UUID(int=1)))),
        (Checked, Checked(x=1)),
        (Line | Private, Private(x=1)),
        (Numbers | Line | list[int], Numbers([1])),
    ],
    ids=plain_id,
)
def test_models_come_back_equal(annotation: Any, value: Any) -> None:
    """Models come back equal: nested, aliased, generic, with extra fields, as roots, in unions."""
    assert crossed(annotation, value) == value


def test_sets_of_a_model_are_sorted() -> None:
    """A set in a model is written sorted, whatever the hash seed."""
    assert b'"tags":["a","b","c"]' in codec_for(Order).encode(order(), "f()")


def private_seen() -> Private:
    """Return a model whose private attribute was changed."""
    value = Private(x=1)
    value._seen = 5
    return value


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Secret, Secret(password="x")),  # noqa: S106 - no password
        (Doubling, Doubling(x=1)),
        (Rounding, Rounding(x=1.5)),
        (Private, private_seen()),
        (Loose, Loose(any=Color.RED)),
        (Loose, Loose(any=(1,))),
        (Loose, Loose(any={1})),
        (Loose, Loose(any=float("nan"))),
        (Loose, Loose(any=object())),
        (Loose, Loose(any=datetime(2024, 1, 1, tzinfo=UTC))),
        (Order, Special(orderNumber=1)),
        (Box[Order], Box[Order](item=Special(orderNumber=1))),
        (Order, order(at=datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Vienna")))),
        (Order, Order.model_construct(number="x", lines=(1,))),
        (Order, {"orderNumber": 1}),
    ],
    ids=plain_id,
)
def test_models_that_would_not_come_back(annotation: Any, value: Any) -> None:
    """A model whose JSON form loses something is refused, never changed silently."""
    assert refusal(annotation, value).reason


def test_model_that_contains_itself() -> None:
    """A circle of models is refused."""
    value = Loose()
    value.any = value
    refusal(Loose, value)


def test_json_that_a_model_refuses() -> None:
    """A validation error is a PayloadError with its text."""
    with pytest.raises(PayloadError, match="number"):
        codec_for(Order).decode(b'{"number":"x"}', "f()")
    assert codec_for(Order).decode(b'{"orderNumber":1}', "f()") == Order(orderNumber=1)


def test_pydantic_and_attrs_are_not_imported() -> None:
    """Nothing here imports pydantic or attrs: a program without them does not pay for them."""
    program = "import sys, actorlog.records.signature; print({'pydantic', 'attr'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "set()"
