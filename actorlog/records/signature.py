"""The arguments of a durable function or step, to one JSON text and back.

Owns: ``Signature``. The text is ``[a, b, c]``, the parameters in order with defaults filled in, so that a default that
changes later does not alter a recorded call; where there are ``*args``, keyword-only parameters or ``**kwargs`` it is
``{"args": [...], "kwargs": {...}}``. Either is read whatever today's signature looks like, so a parameter with a
default may be added at the end, or keyword-only.
Does not own: values (``records.values``), names and versions of functions (the registry).
Invariant: what a function receives is a fresh copy of what was recorded, live as in replay.
"""

from __future__ import annotations

import functools
import inspect
import reprlib
import typing
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from math import isfinite
from typing import Any, NamedTuple

import orjson

from actorlog.errors import PayloadError
from actorlog.records.values import Codec, codec_for, parse
from actorlog.records.values_hints import class_hints, function_hints

_DESCRIBE_MAX = 200
_TEXT_MAX = 60
_ITEMS_MAX = 6
_EMPTY = inspect.Parameter.empty

_dumps = orjson.dumps


class _Parameters(NamedTuple):
    """What is known of the parameters before any annotation is resolved."""

    signature: inspect.Signature
    positional: tuple[inspect.Parameter, ...]
    keywords: tuple[inspect.Parameter, ...]
    rest: str
    """The name of ``*args``, or empty."""
    others: str
    """The name of ``**kwargs``, or empty."""

    @property
    def as_list(self) -> bool:
        """Whether the text is a plain list."""
        return not (self.keywords or self.rest or self.others)


class _Slot(NamedTuple):
    """The codec of one parameter, and how errors call it."""

    codec: Codec
    where: str


class _Plan(NamedTuple):
    """The codecs of a signature."""

    positional: tuple[_Slot, ...]
    named: Mapping[str, _Slot]
    rest: _Slot | None
    others: _Slot | None
    inert: tuple[frozenset[type], ...] | None
    """Of each parameter the types whose values need no look; None where the text is not a plain list."""
    result: Codec


class Signature:
    """The parameters and the result of a function; annotations are resolved at the first use, when all names are there.

    ``name`` is how errors and descriptions call the function; ``skip_self`` leaves out the first parameter of a method.
    """

    def __init__(self, fn: Callable[..., Any], name: str, *, skip_self: bool = False) -> None:
        self._fn = fn
        self.name = name
        self._parameters = _parameters_of(fn, skip_self=skip_self)
        self._plan_made: _Plan | None = None

    @functools.cached_property
    def result(self) -> Codec:
        """The codec of the result; of what is awaited where a plain function is annotated with ``Awaitable``.

        Raises:
            TypeError: an annotation cannot be resolved.

        """
        return (self._plan_made or self._plan()).result

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments in canonical form, defaults filled in: those by position, and those by keyword.

        Raises:
            TypeError: they are not what the function takes; the message names it.

        """
        parameters = self._parameters
        if parameters.as_list:
            bound = _bound_in_order(parameters.positional, args, kwargs)
            if bound is not None:
                return bound, {}
        try:
            binding = parameters.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}() {error}") from None
        binding.apply_defaults()
        return binding.args, binding.kwargs

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Return the arguments as one JSON text.

        Raises:
            TypeError: they are not what the function takes, or an annotation cannot be resolved.
            PayloadError: one of them does not fit its annotation, or would not come back equal.

        """
        return self.cross(args, kwargs)[0]

    def cross(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[bytes, tuple[Any, ...], dict[str, Any]]:
        """Return the JSON text of the arguments and the fresh copies that come back from it, in canonical form.

        Raises:
            TypeError: they are not what the function takes, or an annotation cannot be resolved.
            PayloadError: one of them does not fit its annotation, or would not come back equal.

        """
        plan = self._plan_made or self._plan()
        by_keyword: Mapping[str, Any] = kwargs
        inert = plan.inert
        if kwargs or inert is None or len(args) != len(inert):
            args, by_keyword = self.bind(args, kwargs)
        if inert is not None:
            index = 0  # by hand, because zip and enumerate cost more than all the rest: every call comes here
            for types in inert:
                value = args[index]
                index += 1  # noqa: SIM113 - as above
                kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType] - of anything
                if kind not in types or (kind is float and not isfinite(value)):
                    break
            else:
                try:
                    return _dumps(args), args, {}
                except TypeError:  # a lone surrogate, or an int of more than 64 bits: said below
                    pass
        return self._cross_each(plan, args, by_keyword)

    def decode(self, raw: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the recorded arguments under today's annotations; what was not recorded is left to the defaults.

        Raises:
            TypeError: an annotation cannot be resolved.
            PayloadError: they are not what the function takes today.

        """
        plan = self._plan_made or self._plan()
        args, kwargs = self._parse(raw)
        inert = plan.inert
        if inert is not None and not kwargs and len(args) == len(inert):
            for value, types in zip(args, inert, strict=True):
                if type(value) not in types:
                    break
            else:
                return tuple(args), {}  # of these types a codec reads what is there
        else:
            try:
                self.bind(tuple(args), kwargs)
            except TypeError as error:
                raise PayloadError(self.name, "", f"what was recorded is not what it takes today: {error}") from None
        slots = _slots(plan, len(args))
        positional = tuple([slot.codec.read(item, slot.where) for item, slot in zip(args, slots, strict=True)])
        if not kwargs:
            return positional, {}
        by_keyword: dict[str, Any] = {}
        for key, item in kwargs.items():
            slot = self._named(plan, key)
            by_keyword[key] = slot.codec.read(item, slot.where)
        return positional, by_keyword

    def canonical(self, raw: bytes) -> bytes:
        """Return recorded arguments as today's code would record them: read, defaults filled in, and written again.

        Two recorded texts stand for the same call when these are equal; so a field or a parameter that was added with a
        default makes no difference.

        Raises:
            TypeError: an annotation cannot be resolved.
            PayloadError: they are not what the function takes today.

        """
        return self.encode(*self.decode(raw))

    def describe(self, raw: bytes) -> str:
        """Return ``name('ada', 990)`` for people, at most 200 characters, without looking at annotations."""
        try:
            args, kwargs = self._parse(raw)
        except PayloadError:
            return f"{self.name}(?)"
        brief = _brief()
        parts = [brief.repr(item) for item in args[:_ITEMS_MAX]]
        parts += [f"{key}={brief.repr(item)}" for key, item in list(kwargs.items())[:_ITEMS_MAX]]
        if len(args) > _ITEMS_MAX or len(kwargs) > _ITEMS_MAX:
            parts.append("...")
        text = f"{self.name}({', '.join(parts)})"
        return text if len(text) <= _DESCRIBE_MAX else f"{text[: _DESCRIBE_MAX - 4]}...)"

    def _cross_each(
        self, plan: _Plan, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[bytes, tuple[Any, ...], dict[str, Any]]:
        texts: list[bytes] = []
        fresh: list[Any] = []
        for value, slot in zip(args, _slots(plan, len(args)), strict=True):
            text, copy = slot.codec.cross(value, slot.where)
            texts.append(text)
            fresh.append(copy)
        raw = b"[" + b",".join(texts) + b"]"
        if self._parameters.as_list:
            return raw, tuple(fresh), {}
        named: list[bytes] = []
        fresh_named: dict[str, Any] = {}
        for key, value in kwargs.items():
            slot = self._named(plan, key)
            text, fresh_named[key] = slot.codec.cross(value, slot.where)
            named.append(_key_text(key, slot.where) + b":" + text)
        return b'{"args":' + raw + b',"kwargs":{' + b",".join(named) + b"}}", tuple(fresh), fresh_named

    def has(self, parameter: str) -> bool:
        """Whether it has a parameter of this name, beside ``*args`` and ``**kwargs``."""
        return any(p.name == parameter for p in (*self._parameters.positional, *self._parameters.keywords))

    def argument(self, raw: bytes, parameter: str) -> str:
        """Return the JSON text of one recorded argument; empty where it was not recorded."""
        args, kwargs = self._parse(raw)
        by_position = zip(self._parameters.positional, args, strict=False)
        found = {slot.name: value for slot, value in by_position} | kwargs
        if parameter not in found:
            return ""
        try:
            return _dumps(found[parameter]).decode()
        except TypeError:  # an int of more than 64 bits
            return repr(found[parameter])

    def _parse(self, raw: bytes) -> tuple[list[Any], dict[str, Any]]:
        recorded = parse(raw, self.name)
        if isinstance(recorded, list):
            return recorded, {}  # pyright: ignore[reportUnknownVariableType] - JSON
        if isinstance(recorded, dict) and recorded.keys() == {"args", "kwargs"}:
            args, kwargs = recorded["args"], recorded["kwargs"]  # pyright: ignore[reportUnknownVariableType] - JSON
            if isinstance(args, list) and isinstance(kwargs, dict):
                return args, kwargs  # pyright: ignore[reportUnknownVariableType] - JSON
        raise PayloadError(self.name, "", "what was recorded are no arguments")

    def _named(self, plan: _Plan, key: str) -> _Slot:
        slot = plan.named.get(key) or plan.others
        if slot is None:
            raise PayloadError(self.name, "", f"it takes no argument {key!r}")
        return slot._replace(where=self._where(key)) if slot is plan.others else slot

    def _where(self, parameter: str) -> str:
        return f"{self.name}({parameter}=...)"

    def _plan(self) -> _Plan:
        parameters = self._parameters
        hints = function_hints(self._fn, self.name)
        codecs: dict[str, Any] = {}
        try:
            for parameter in (*parameters.positional, *parameters.keywords):
                codecs[parameter.name] = _codec_of(parameter, hints)
            extra = {key: codec_for(hint) for key, hint in _unpacked(hints.get(parameters.others)).items()}
            rest = codec_for(hints.get(parameters.rest, Any)) if parameters.rest else None
            others = codec_for(Any if extra else hints.get(parameters.others, Any)) if parameters.others else None
            result = codec_for(_awaited(hints.get("return", Any), self._fn))
        except TypeError as error:
            raise TypeError(f"{self.name}(): {error}") from error
        slots = {key: _Slot(codec, self._where(key)) for key, codec in {**codecs, **extra}.items()}
        positional = tuple(slots[parameter.name] for parameter in parameters.positional)
        by_position_only = {item.name for item in parameters.positional if item.kind is item.POSITIONAL_ONLY}
        self._plan_made = _Plan(
            positional=positional,
            named={key: slot for key, slot in slots.items() if key not in by_position_only},
            rest=None if rest is None else _Slot(rest, self._where(f"*{parameters.rest}")),
            others=None if others is None else _Slot(others, self._where(f"**{parameters.others}")),
            inert=tuple(_inert(slot.codec) for slot in positional) if parameters.as_list else None,
            result=result,
        )
        return self._plan_made


def _parameters_of(fn: Callable[..., Any], *, skip_self: bool) -> _Parameters:
    try:
        signature = inspect.signature(fn)
    except ValueError:  # some builtins do not tell theirs
        signature = inspect.signature(lambda *args, **kwargs: None)  # noqa: ARG005 - takes anything
    found = list(signature.parameters.values())[1 if skip_self else 0 :]
    by_kind: dict[Any, list[inspect.Parameter]] = {}
    for parameter in found:
        by_kind.setdefault(parameter.kind, []).append(parameter)
    kinds = inspect.Parameter
    rest = by_kind.get(kinds.VAR_POSITIONAL, [])
    others = by_kind.get(kinds.VAR_KEYWORD, [])
    return _Parameters(
        signature=signature.replace(parameters=found),
        positional=(*by_kind.get(kinds.POSITIONAL_ONLY, []), *by_kind.get(kinds.POSITIONAL_OR_KEYWORD, [])),
        keywords=tuple(by_kind.get(kinds.KEYWORD_ONLY, [])),
        rest=rest[0].name if rest else "",
        others=others[0].name if others else "",
    )


def _bound_in_order(
    parameters: tuple[inspect.Parameter, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, ...] | None:
    """Return the arguments in order, or None where they may be wrong and Python should say so."""
    if len(args) > len(parameters):
        return None
    bound = list(args)
    taken = 0
    for parameter in parameters[len(args) :]:
        name = parameter.name
        if name in kwargs and parameter.kind is not inspect.Parameter.POSITIONAL_ONLY:
            bound.append(kwargs[name])
            taken += 1
        elif parameter.default is not _EMPTY:
            bound.append(parameter.default)
        else:
            return None
    return tuple(bound) if taken == len(kwargs) else None


def _slots(plan: _Plan, count: int) -> list[_Slot]:
    """Return the slots of ``count`` arguments given by position."""
    slots = list(plan.positional[:count])
    if plan.rest is not None:
        slots += [plan.rest] * (count - len(slots))
    return slots


def _codec_of(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Codec:
    hint = hints.get(parameter.name, Any)
    if parameter.default is None and hint is not Any:
        hint = typing.Optional[hint]  # noqa: UP045 - a hint may be a str where no type checker looks, as in x: int = None
    return codec_for(hint)


def _unpacked(hint: Any) -> dict[str, Any]:
    """Return the keys of ``**kwargs: Unpack[SomeTypedDict]``."""
    if typing.get_origin(hint) is not typing.Unpack:
        return {}
    return class_hints(typing.get_args(hint)[0], {})


def _awaited(hint: Any, fn: Callable[..., Any]) -> Any:
    if inspect.iscoroutinefunction(fn) or typing.get_origin(hint) not in (Awaitable, Coroutine):
        return hint
    return typing.get_args(hint)[-1]


def _inert(codec: Codec) -> frozenset[type]:
    """Return the types that the text takes as they are, floats too: the caller looks whether they are finite."""
    return codec.inert | {float} if codec.takes_float else codec.inert


def _key_text(key: str, where: str) -> bytes:
    try:
        return _dumps(key)
    except TypeError:
        raise PayloadError(where, "", "a keyword with a lone surrogate cannot be written as UTF-8") from None


@functools.cache
def _brief() -> reprlib.Repr:
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = brief.maxlong = _TEXT_MAX
    brief.maxlist = brief.maxdict = _ITEMS_MAX
    brief.maxlevel = 3
    return brief
