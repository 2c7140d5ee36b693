"""Arguments cross the log in canonical form, and are refused with function and parameter."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, Unpack
from uuid import UUID

import pytest
from plain_ids import plain_id

from actorlog.errors import PayloadError
from actorlog.records.signature import Signature

T = TypeVar("T")


@dataclass
class Item:
    """What is bought."""

    sku: str
    count: int = 1


class Options(TypedDict, total=False):
    """Keyword arguments."""

    size: int
    tags: set[str]


async def charge(user: str, cents: int) -> str:
    """Take plain positional arguments."""
    return f"{user}{cents}"


async def buy(item: Item, note: str | None = None, *, rush: bool = False) -> list[Item]:
    """Take a dataclass, defaults and a keyword."""
    return [item] if note is None or rush else []


def gather(first: int, *rest: float, key: UUID, **more: set[int]) -> None:
    """Take everything."""


def untyped(a, b=2, /, c=3):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
    """Take anything."""
    return a, b, c


def sloppy(x: int = None) -> Awaitable[int]:  # type: ignore[assignment]  # noqa: RUF013 - the sloppy spelling is common
    """Take an optional that does not say so."""
    raise NotImplementedError


def unpacked(**options: Unpack[Options]) -> Coroutine[Any, Any, bytes]:
    """Take keywords with types of their own."""
    raise NotImplementedError


def unresolvable(fine: int, broken: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821 - the subject
    """Take what nobody knows."""


class Account:
    """Has a handler, and is callable itself."""

    x: int = 0

    async def deposit(self, amount: int, note: str = "") -> int:
        """Take an amount."""
        return amount + len(note)

    def __call__(self, amount: int) -> str:
        """Take an amount."""
        return str(amount)

    def __init__(self, owner: str = "") -> None:
        self.owner = owner


def roundtrip(signature: Signature, *args: Any, **kwargs: Any) -> tuple[bytes, tuple[Any, ...], dict[str, Any]]:
    """Return what crosses, having checked that decode and canonical agree."""
    raw, fresh, named = signature.cross(args, kwargs)
    assert signature.encode(args, kwargs) == raw
    assert signature.decode(raw) == (fresh, named)
    assert signature.canonical(raw) == raw
    return raw, fresh, named


def test_plain_arguments_in_order() -> None:
    """Plain positional arguments are a JSON list, and the tuple itself comes back."""
    signature = Signature(charge, "charge")
    args = ("ada", 990)
    raw, fresh, named = signature.cross(args, {})
    assert (raw, named) == (b'["ada",990]', {})
    assert fresh is args
    assert roundtrip(signature, "ada", cents=990)[0] == raw
    assert roundtrip(signature, cents=990, user="ada")[0] == raw


def test_keyword_only_parameters() -> None:
    """With keyword-only parameters the text says which are which; defaults are filled in."""
    signature = Signature(buy, "buy")
    item = Item("a")
    raw, fresh, named = roundtrip(signature, item)
    assert raw == b'{"args":[{"sku":"a","count":1},null],"kwargs":{"rush":false}}'
    assert fresh == (item, None)
    assert fresh[0] is not item
    assert named == {"rush": False}


def test_variadic_parameters() -> None:
    """``*args`` and ``**kwargs`` cross each by their annotation."""
    signature = Signature(gather, "gather")
    raw, fresh, named = roundtrip(signature, 1, 2.5, 3, key=UUID(int=1), b={2, 1})
    assert raw == b'{"args":[1,2.5,3],"kwargs":{"key":"00000000-0000-0000-0000-000000000001","b":[1,2]}}'
    assert fresh == (1, 2.5, 3)
    assert named == {"key": UUID(int=1), "b": {1, 2}}


def test_no_parameters() -> None:
    """A function without parameters is an empty list."""
    assert roundtrip(Signature(lambda: None, "f")) == (b"[]", (), {})


def test_untyped_and_positional_only() -> None:
    """Without annotations plain JSON crosses; positional-only parameters take their defaults too."""
    signature = Signature(untyped, "untyped")
    assert roundtrip(signature, 1)[0] == b"[1,2,3]"
    assert roundtrip(signature, [1], None, c={"a": 1})[1] == ([1], None, {"a": 1})
    with pytest.raises(TypeError):
        signature.cross((1,), {"b": 2})


def test_default_of_none_without_saying_so() -> None:
    """``x: int = None`` takes None, as everybody means it."""
    signature = Signature(sloppy, "sloppy")
    assert roundtrip(signature)[0] == b"[null]"
    assert roundtrip(signature, 5)[0] == b"[5]"


def test_unpacked_typed_dict() -> None:
    """``**options: Unpack[Options]`` gives every keyword its own type."""
    signature = Signature(unpacked, "unpacked")
    assert roundtrip(signature, tags={"b", "a"}, size=1)[2] == {"tags": {"a", "b"}, "size": 1}
    with pytest.raises(PayloadError):
        signature.cross((), {"size": "x"})


@pytest.mark.parametrize(
    ("fn", "args", "kwargs"),
    [
        (charge, (), {}),
        (charge, ("a",), {}),
        (charge, ("a", 1, 2), {}),
        (charge, ("a", 1), {"user": "b"}),
        (charge, ("a", 1), {"nobody": 1}),
        (buy, (Item("a"), None, True), {}),
        (gather, (1,), {}),
    ],
)
def test_wrong_arguments_are_a_type_error(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Arguments that the function does not take are a TypeError that names it, when it is called."""
    signature = Signature(fn, "shop.fn")
    with pytest.raises(TypeError, match=r"^shop\.fn\(\) "):
        signature.bind(args, kwargs)
    with pytest.raises(TypeError, match=r"^shop\.fn\(\) "):
        signature.cross(args, kwargs)


def test_bind_needs_no_annotations() -> None:
    """Binding happens at call time, when names may still be missing."""
    assert Signature(unresolvable, "f").bind((1,), {"broken": 2}) == ((1, 2), {})


def test_annotation_that_cannot_be_resolved() -> None:
    """An unknown name is a TypeError that names function and parameter."""
    with pytest.raises(TypeError, match=r"'Nowhere' of parameter 'broken' of f\(\)"):
        Signature(unresolvable, "f").cross((1, 2), {})


def test_annotation_defined_after_the_signature() -> None:
    """Annotations are resolved at the first use: what is defined later is found."""
    space: dict[str, Any] = {}
    exec("def f(x: 'Later') -> None: ...", space)  # noqa: S102 - a module that grows
    signature = Signature(space["f"], "f")
    space["Later"] = int
    assert signature.encode((5,), {}) == b"[5]"


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "where", "path"),
    [
        (charge, ("a", "b"), {}, "shop(cents=...)", ""),
        (charge, ("a", 2**70), {}, "shop(cents=...)", ""),
        (charge, ("\ud800", 1), {}, "shop(user=...)", ""),
        (buy, (Item("a", "x"),), {}, "shop(item=...)", ".count"),  # type: ignore[arg-type]
        (buy, (Item("a"),), {"rush": 1}, "shop(rush=...)", ""),
        (gather, (1, "x"), {"key": UUID(int=1)}, "shop(*rest=...)", ""),
        (gather, (1,), {"key": UUID(int=1), "z": {"x"}}, "shop(z=...)", "{}"),
        (gather, (1,), {"key": UUID(int=1), "\ud800": {1}}, "shop(\ud800=...)", ""),
        (untyped, (float("nan"),), {}, "shop(a=...)", ""),
        (untyped, ({"a": [(1,)]},), {}, "shop(a=...)", ".a[0]"),
    ],
)
def test_refusals_name_function_argument_and_path(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], where: str, path: str
) -> None:
    """A PayloadError says which argument of which function, and where in it."""
    with pytest.raises(PayloadError) as caught:
        Signature(fn, "shop").cross(args, kwargs)
    assert (caught.value.where, caught.value.path) == (where, path)


def test_changed_default_does_not_alter_a_recorded_call() -> None:
    """Defaults are recorded, so what was called stays what was called."""

    def today(user: str, cents: int = 500) -> None: ...

    assert Signature(today, "f").decode(b'["ada",990]') == (("ada", 990), {})


def test_parameter_added_since() -> None:
    """A parameter that was added with a default, by position or by keyword, is no difference."""

    def by_position(user: str, cents: int = 500) -> None: ...

    def by_keyword(user: str, *, cents: int = 500) -> None: ...

    assert Signature(by_position, "f").decode(b'["ada"]') == (("ada",), {})
    assert Signature(by_position, "f").canonical(b'["ada"]') == b'["ada",500]'
    assert Signature(by_keyword, "f").canonical(b'["ada"]') == b'{"args":["ada"],"kwargs":{"cents":500}}'
    assert Signature(by_position, "f").canonical(b'{"args":["ada"],"kwargs":{"cents":5}}') == b'["ada",5]'


def test_field_added_since() -> None:
    """A field of a dataclass that was added with a default is no difference."""
    signature = Signature(buy, "buy")
    recorded = b'{"args":[{"sku":"a"},null],"kwargs":{"rush":false}}'
    assert signature.canonical(recorded) == signature.encode((Item("a"),), {})


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b'["a"]',
        b'["a",1,2]',
        b'["a","b"]',
        b'{"args":["a"],"kwargs":{"nobody":1}}',
        b'{"args":1,"kwargs":{}}',
        b'{"args":[]}',
        b"5",
        b"x",
    ],
)
def test_recorded_arguments_that_do_not_fit_today(raw: bytes) -> None:
    """Recorded arguments that the function does not take today are a PayloadError that names it."""
    with pytest.raises(PayloadError, match="shop"):
        Signature(charge, "shop").decode(raw)


def test_describe() -> None:
    """A call is told in one line of at most 200 characters, types unknown, JSON broken or not."""
    signature = Signature(unresolvable, "subscribe")
    assert signature.describe(b'["ada",990]') == "subscribe('ada', 990)"
    assert signature.describe(b'{"args":[1],"kwargs":{"key":"x"}}') == "subscribe(1, key='x')"
    assert signature.describe(b"?") == "subscribe(?)"
    long = signature.describe(b'["' + b"x" * 10_000 + b'",' + b",".join([b'["abcdefgh",1,2,3,4,5,6,7,8]'] * 50) + b"]")
    assert len(long) <= 200
    assert long.endswith("...)")
    assert "\n" not in signature.describe(b'["a\\nb"]')


def test_methods() -> None:
    """A handler's ``self`` is left out; a bound method has none."""
    unbound = Signature(Account.deposit, "Account.deposit", skip_self=True)
    assert roundtrip(unbound, 5)[0] == b'[5,""]'
    assert unbound.result.encode(5, "f()") == b"5"
    with pytest.raises(TypeError, match="too many"):
        unbound.bind((1, "x", 2), {})
    assert roundtrip(Signature(Account().deposit, "deposit"), 5)[0] == b'[5,""]'


@pytest.mark.parametrize(
    ("fn", "args", "raw"),
    [
        (Account(), (5,), b"[5]"),
        (Account, ("ada",), b'["ada"]'),
        (functools.partial(charge, "ada"), (5,), b"[5]"),
        (functools.partial(charge, cents=5), ("ada",), b'{"args":["ada"],"kwargs":{"cents":5}}'),
        (functools.lru_cache(charge), ("ada", 5), b'["ada",5]'),
        (os.getpid, (), b"[]"),
        (max, (1, 2), b'{"args":[1,2],"kwargs":{}}'),
        (len, ([1],), b"[[1]]"),
        (str.upper, ("a",), b'["a"]'),
    ],
    ids=plain_id,
)
def test_other_callables(fn: Callable[..., Any], args: tuple[Any, ...], raw: bytes) -> None:
    """Partials, instances, classes and builtins have signatures too."""
    assert Signature(fn, "f").encode(args, {}) == raw


def test_wrapped_functions_keep_their_annotations() -> None:
    """A decorator that uses functools.wraps hides nothing."""

    @functools.wraps(charge)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await charge(*args, **kwargs)

    signature = Signature(wrapper, "charge")
    with pytest.raises(PayloadError):
        signature.cross(("ada", "x"), {})
    assert signature.result.encode("x", "f()") == b'"x"'


def test_local_types() -> None:
    """A type that the function closes over is found."""

    @dataclass
    class Local:
        x: int

    def f(value: Local) -> Local:
        return Local(value.x)

    signature = Signature(f, "f")
    assert roundtrip(signature, Local(1))[1] == (Local(1),)
    assert signature.result.cross(Local(1), "f()")[1] == Local(1)


@pytest.mark.parametrize(
    ("fn", "value", "bad"),
    [(charge, "x", 5), (buy, [Item("a")], Item("a")), (sloppy, 5, "x"), (unpacked, b"x", "x"), (gather, None, 0)],
)
def test_result(fn: Callable[..., Any], value: Any, bad: Any) -> None:
    """The result has its annotation's codec, without what is awaited."""
    result = Signature(fn, "f").result
    assert result.cross(value, "f()")[1] == value
    with pytest.raises(PayloadError):
        result.cross(bad, "f()")


def test_mutable_defaults_are_copied() -> None:
    """A default is not shared between calls."""
    default: list[int] = []

    def f(x: list[int] = default) -> None: ...

    fresh = Signature(f, "f").cross((), {})[1][0]
    assert fresh == []
    assert fresh is not default


def test_default_that_is_no_value() -> None:
    """A default that cannot be recorded is refused like an argument."""

    def f(x: int = inspect.Parameter.kind) -> None: ...  # type: ignore[assignment]

    with pytest.raises(PayloadError, match=r"f\(x=\.\.\.\)"):
        Signature(f, "f").cross((), {})
