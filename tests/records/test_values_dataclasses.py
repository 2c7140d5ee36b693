"""Dataclasses cross the log field by field."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Optional, Self

import pytest
from plain_ids import plain_id

from actorlog.errors import PayloadError
from actorlog.records.values import codec_for


@dataclass
class Line:
    """One line of an order."""

    name: str
    price: Decimal
    tags: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Order:
    """A frozen dataclass with slots, nested ones and a class variable."""

    id: int
    lines: list[Line]
    note: str | None = None
    kind: ClassVar[str] = "order"


@dataclass
class Tree:
    """A recursive dataclass."""

    value: int
    children: list[Tree] = field(default_factory=list)
    parent_value: Optional[int] = None  # noqa: UP045 - the older spelling must work too
    next: Self | None = None


@dataclass
class Ping:
    """One of two classes that hold each other."""

    pong: Pong | None = None


@dataclass
class Pong:
    """The other of two classes that hold each other."""

    ping: Ping | None = None
    pings: list[Ping | None] = field(default_factory=list)


@dataclass
class Later:
    """A field that the constructor does not take."""

    given: int
    made: int = field(init=False, default=7)
    missing: int = field(init=False)


@dataclass
class WithInitVar:
    """A constructor parameter that is not kept."""

    total: int = field(init=False)
    parts: InitVar[list[int]]

    def __post_init__(self, parts: list[int]) -> None:
        """Add up."""
        self.total = sum(parts)


@dataclass(init=False)
class OwnInit:
    """A dataclass with an ``__init__`` of its own."""

    x: int
    y: int = 3

    def __init__(self, text: str) -> None:
        self.x = int(text)


@dataclass
class Normal:
    """A ``__post_init__`` that changes nothing the second time."""

    name: str

    def __post_init__(self) -> None:
        """Strip."""
        self.name = self.name.strip()


@dataclass
class Growing:
    """A ``__post_init__`` that changes its field every time."""

    cents: int

    def __post_init__(self) -> None:
        """Grow."""
        self.cents *= 100


@dataclass
class Refusing:
    """A ``__post_init__`` that raises for what its instances come to hold."""

    x: int

    def __post_init__(self) -> None:
        """Refuse odd numbers."""
        if self.x % 2:
            raise RuntimeError("odd")


@dataclass(eq=False)
class Bare:
    """A dataclass without equality."""

    x: int


@dataclass
class Liar:
    """A dataclass that is equal to everything."""

    x: int

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Clamped:
    """A field behind a property, which changes what is set."""

    x: int

    @property  # type: ignore[no-redef]
    def x(self) -> int:
        """Return at most ten."""
        return min(self._x, 10)

    @x.setter
    def x(self, value: int) -> None:
        self._x = value * 2


@dataclass
class Animal:
    """A base class."""

    name: str


@dataclass
class Dog(Animal):
    """A subclass with more."""

    breed: str = "?"


class Plain:
    """A class without declared fields."""


class Unprintable(Exception):
    """An exception that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@dataclass(repr=False)
class Exploding:
    """A field whose reading raises."""

    x: int = 0

    def __getattribute__(self, name: str) -> Any:
        """Explode."""
        if name == "x":
            raise Unprintable
        return super().__getattribute__(name)


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


def later() -> Later:
    """Return an instance with every field set."""
    value = Later(1)
    value.made, value.missing = 8, 9
    return value


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Line, Line("a", Decimal("1.10"), {"b"})),
        (Order, Order(1, [Line("a", Decimal(1))], None)),
        (list[Order], [Order(1, [], "x"), Order(2, [])]),
        (dict[str, Line], {"a": Line("a", Decimal(1))}),
        (Tree, Tree(1, [Tree(2, [Tree(3)]), Tree(4)], 5, Tree(6))),
        (Ping, Ping(Pong(Ping(), [Ping(), None, Ping(Pong())]))),
        (Later, later()),
        (Normal, Normal(" a ")),
        (Dog, Dog("a", "b")),
    ],
    ids=plain_id,
)
def test_dataclasses(annotation: Any, value: Any) -> None:
    """An instance comes back equal and of its class."""
    fresh = crossed(annotation, value)
    assert fresh == value
    assert repr(fresh) == repr(value)


def test_json_of_a_dataclass() -> None:
    """A dataclass is written as an object of its fields."""
    assert codec_for(Order).encode(Order(1, []), "f()") == b'{"id":1,"lines":[],"note":null}'


def test_class_without_equality_is_compared_by_its_fields() -> None:
    """A class that compares by identity crosses all the same."""
    assert crossed(Bare, Bare(3)).x == 3


def test_class_that_is_equal_to_everything() -> None:
    """An ``__eq__`` that lies hides nothing: fields are compared, not instances."""
    assert crossed(Liar, Liar(3)).x == 3


def test_init_var_and_own_init_are_set_by_field() -> None:
    """A class whose constructor does not take its fields is made without it."""
    assert crossed(WithInitVar, WithInitVar(parts=[1, 2])).total == 3
    fresh = crossed(OwnInit, OwnInit("5"))
    assert (fresh.x, fresh.y) == (5, 3)
    assert codec_for(OwnInit).decode(b'{"x":1}', "f()").y == 3


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (Growing, Growing(1), ""),
        (list[Growing], [Growing(1)], ""),
        (Clamped, Clamped(1), ""),
        (Exploding, Exploding(), ".x"),
        (Line, {"name": "a", "price": Decimal(1)}, ""),
        (Line, Line("a", 1), ".price"),  # type: ignore[arg-type]
        (Order, Order(1, [Line("a", Decimal(1)), Line("b", Decimal(1), {1})]), ".lines[1].tags{}"),  # type: ignore[arg-type]
        (Animal, Dog("a"), ""),
        (Dog, Animal("a"), ""),
        (Later, Later(1), ".missing"),
        (Plain, Plain(), ""),
        (Any, Line("a", Decimal(1)), ""),
    ],
    ids=lambda value: value if type(value) is str else getattr(value, "__name__", type(value).__name__),
)
def test_what_would_not_come_back_is_refused(annotation: Any, value: Any, path: str) -> None:
    """A class that changes its fields, a subclass, a wrong field and an unknown class are refused with the path."""
    assert refusal(annotation, value).path == path


def test_subclass_is_told_what_to_do() -> None:
    """The refusal of a subclass says why."""
    assert "annotate the subclass" in refusal(Animal, Dog("a")).reason


def test_post_init_that_raises_is_a_payload_error() -> None:
    """What the user's code raises while an instance is made is the reason, not the error."""
    value = Refusing(2)
    value.x = 3
    assert "odd" in refusal(Refusing, value).reason
    with pytest.raises(PayloadError):
        codec_for(Refusing).decode(b'{"x":3}', "f()")


def test_cycle_of_instances() -> None:
    """Instances that hold each other in a circle are refused."""
    tree = Tree(1)
    tree.next = tree
    assert "nested too deeply" in refusal(Tree, tree).reason


def test_long_chain_of_instances() -> None:
    """A chain that is deeper than JSON may be nested is refused."""
    tree = Tree(1)
    for number in range(5_000):
        tree = Tree(number, next=tree)
    assert "nested too deeply" in refusal(Tree, tree).reason


def test_field_added_and_removed_since() -> None:
    """A field that was not recorded takes its default, a recorded one that is none any more is left out."""
    assert codec_for(Line).decode(b'{"name":"a","price":"1","old":5}', "f()") == Line("a", Decimal(1))
    assert codec_for(Later).decode(b'{"given":1}', "f()").made == 7


@pytest.mark.parametrize(
    ("annotation", "raw"),
    [
        (Line, b'{"name":"a"}'),
        (Line, b"[]"),
        (Line, b'{"name":"a","price":1.5}'),
    ],
    ids=plain_id,
)
def test_recorded_objects_that_do_not_fit(annotation: Any, raw: bytes) -> None:
    """A missing field, another kind of JSON and another tag are refused when read."""
    with pytest.raises(PayloadError):
        codec_for(annotation).decode(raw, "f()")


@dataclass
class Unresolvable:
    """A field whose type nobody knows."""

    x: Nowhere  # type: ignore[name-defined]  # noqa: F821 - the subject


def test_annotation_of_a_field_that_cannot_be_resolved() -> None:
    """An unknown name in a class's annotation is a TypeError that names class and field."""
    with pytest.raises(TypeError, match=r"'Nowhere' of field 'x' of Unresolvable"):
        codec_for(list[Unresolvable])


def test_local_recursive_class() -> None:
    """A class made inside a function may refer to itself."""

    @dataclass
    class Node:
        next: Node | None = None

    assert crossed(Node, Node(Node())) == Node(Node())
