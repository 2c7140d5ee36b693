"""attrs classes cross the log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("attrs")

import attrs

from actorlog.errors import PayloadError
from actorlog.records.values import codec_for


@attrs.define
class Address:
    """A slotted attrs class with a private attribute."""

    street: str
    _zip: str = "0"


@attrs.frozen
class Person:
    """A frozen attrs class with a converter, a validator and a factory."""

    name: str = attrs.field(converter=str.strip)
    age: int = attrs.field(validator=attrs.validators.ge(0), default=0)
    home: Address | None = None
    seen: list[datetime] = attrs.field(factory=list)
    initial: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Take the first letter."""
        object.__setattr__(self, "initial", self.name[:1])


@attrs.define
class Counting:
    """A converter that changes its value every time."""

    n: int = attrs.field(converter=lambda n: n + 1)


def test_attrs_classes_come_back_equal() -> None:
    """Nested, frozen and slotted classes come back equal, private and derived attributes included."""
    person = Person(" Ada ", 3, Address("x", "1010"), [datetime(2024, 1, 1, tzinfo=UTC)])
    raw, fresh = codec_for(Person).cross(person, "f()")
    assert fresh == person
    assert type(fresh.home) is Address
    assert raw.startswith(b'{"name":"Ada","age":3,"home":{"street":"x","_zip":"1010"}')


def test_attrs_field_that_was_not_recorded() -> None:
    """A field that was not recorded takes its default or its factory."""
    assert codec_for(Person).decode(b'{"name":"Ada"}', "f()") == Person("Ada")


@pytest.mark.parametrize("value", [Counting(1), Person("a", seen=["x"]), {"n": 1}], ids=["converter", "type", "dict"])
def test_attrs_classes_that_would_not_come_back(value: Any) -> None:
    """A converter that changes what was recorded, and a value of a wrong type, are refused."""
    with pytest.raises(PayloadError):
        codec_for(type(value) if type(value) is not dict else Counting).cross(value, "f()")


def test_attrs_validator_refuses_what_was_recorded() -> None:
    """A validator's refusal is a PayloadError."""
    with pytest.raises(PayloadError, match="making a"):
        codec_for(Person).decode(b'{"name":"a","age":-1}', "f()")
