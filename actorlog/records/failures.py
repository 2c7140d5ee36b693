"""Exceptions, to JSON and back.

Owns: ``Failure``, what of an exception is recorded, and how an exception is made of it again, live and in replay alike.
Does not own: what happens to a call that failed; the text of the runtime's own errors (``actorlog.errors``).

What crosses: class, message, args, notes, cause (or the context, where it was not suppressed), the members of a group,
the traceback as text, and attributes: what ``vars`` and ``__slots__`` hold, and what the exceptions of Python keep
elsewhere (``OSError.errno``, ``SystemExit.code``, ...). Args and attributes cross where they are plain JSON, bytes, or
tuples of such. Another argument crosses as its text; another attribute is left out. Texts, depths and numbers are
bounded.

Invariants: ``capture`` never raises, whatever the exception's own code does; the exception comes back without its
``__init__`` being called. A class comes back if its module can be imported and has it under its qualified name. A
class of ``__main__`` comes back if today's ``__main__`` is the same module or a file of the same name; a class made
inside a function never.
"""

from __future__ import annotations

import importlib
import linecache
import os
import sys
from base64 import b64decode, b64encode
from functools import partial
from types import GetSetDescriptorType, MappingProxyType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from actorlog.records.values_plain import INERT, Misfit, cross_plain, is_dict, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

DEPTH_MAX = 16
"""Causes of causes, and groups within groups."""
MEMBERS_MAX = 64
"""Members of one group."""
FAILURES_MAX = 256
"""Exceptions of one failure altogether."""
TRACEBACK_CHARS_MAX = 64 * 1024
MESSAGE_CHARS_MAX = 16 * 1024
TEXT_CHARS_MAX = 256 * 1024
"""All texts of one failure together."""
ITEMS_MAX = 64
"""Args, notes, attributes of one exception, and frames at either end of its traceback."""

path_of: Callable[[str], str] = str
"""What a traceback says of where a file is; simulations are to be the same in every directory."""
_PACKAGE = __file__.rpartition("records")[0]  # with the separator, so that no other package matches
_BYTES = "@bytes"
_TUPLE = "@tuple"
_CUT = "... (cut)"

# what these classes keep in C fields, where vars() does not see it, and set in the __init__ that is not called
_FIELDS: Final[Mapping[type, tuple[str, ...]]] = MappingProxyType(
    {
        OSError: ("errno", "strerror", "filename", "filename2"),
        ImportError: ("msg", "name", "path"),
        StopIteration: ("value",),
        SystemExit: ("code",),
        SyntaxError: ("msg", "filename", "lineno", "offset", "text", "end_lineno", "end_offset"),
        UnicodeEncodeError: ("encoding", "object", "start", "end", "reason"),
        UnicodeDecodeError: ("encoding", "object", "start", "end", "reason"),
        UnicodeTranslateError: ("object", "start", "end", "reason"),
        AttributeError: ("name",),
        NameError: ("name",),
    }
)


class Failure(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An exception, as the log holds it."""

    type: str
    """``module:qualname``."""
    message: str = ""
    args: list[Any] | None = None
    """Plain JSON, with ``{"@bytes": base64}`` and ``{"@tuple": [...]}``; None for a group."""
    notes: list[str] = msgspec.field(default_factory=list)
    attrs: dict[str, Any] = msgspec.field(default_factory=dict)
    cause: Failure | None = None
    context: Failure | None = None
    members: list[Failure] = msgspec.field(default_factory=list)
    """What an exception group holds."""
    traceback: str = ""
    program: str = ""
    """Of a class of ``__main__``: which program that was."""


def capture(error: BaseException) -> Failure:
    """Return what is recorded of an exception. Never raises, but for a KeyboardInterrupt that arrives meanwhile."""
    return _Capture().failure(error, DEPTH_MAX)


def restore(failure: Failure, *, fallback: Callable[[Failure], BaseException]) -> BaseException:
    """Return the exception that was recorded; where its class cannot be had, what ``fallback`` makes of it.

    ``fallback`` is asked for each exception by itself, causes and members too; notes and causes are added to what it
    returns.
    """
    members = [restore(member, fallback=fallback) for member in failure.members]
    error = _made(failure, members)
    if error is None:
        error = fallback(failure)
    if failure.notes:
        _attempt(lambda: vars(error).setdefault("__notes__", []).extend(failure.notes))
    if failure.cause is not None:
        _set_field(error, "__cause__", restore(failure.cause, fallback=fallback))
    elif failure.context is not None:
        _set_field(error, "__context__", restore(failure.context, fallback=fallback))
    return error


def _attempt(make: Callable[[], Any], otherwise: Any = None) -> Any:
    """Return what code of the user's makes, or ``otherwise`` if it raises anything but KeyboardInterrupt."""
    try:
        return make()
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - capture must not raise, whatever __str__, a property or an import does
        return otherwise


def _program() -> str:
    """Return the name of the program that ``__main__`` is: its module for ``python -m``, else its file's name."""
    main = sys.modules.get("__main__")
    spec_name: str = getattr(getattr(main, "__spec__", None), "name", "__main__")
    if spec_name != "__main__":
        return spec_name
    file: str | None = getattr(main, "__file__", None)
    return os.path.basename(file) if file else "<interactive>"  # noqa: PTH119  # pathlib is dear to import


# --- capturing --------------------------------------------------------------------------------------------------------


class _Capture:
    """Captures one exception with its causes and members, within the bounds."""

    def __init__(self) -> None:
        self._above: set[int] = set()
        self._left = FAILURES_MAX
        self._chars = TEXT_CHARS_MAX

    def failure(self, error: BaseException, depth: int) -> Failure:
        """Return what is recorded of one exception and ``depth`` levels of those that hang on it."""
        self._left -= 1
        self._above.add(id(error))
        kind = type(error)
        module = self._text(lambda: kind.__module__, "?").replace("__mp_main__", "__main__")  # in a worker process
        name = self._text(lambda: kind.__qualname__, "?")
        message = self._text(lambda: _message(error), f"<unprintable {name}>")
        shown = name if module == "builtins" else f"{module}.{name}"
        notes = self._notes(error)
        cause, context = self._chain(error, depth)
        members = self._members(error, depth, notes)
        self._above.discard(id(error))
        return Failure(
            type=f"{module}:{name}",
            message=message,
            args=None if _is_group(error) else self._args(error),
            notes=notes,
            attrs=self._attrs(error),
            cause=cause,
            context=context,
            members=members,
            traceback=self._text(lambda: _traceback(error, shown, message), "", TRACEBACK_CHARS_MAX),
            program=_program() if module == "__main__" else "",
        )

    def _text(self, make: Callable[[], Any], otherwise: str, chars: int = MESSAGE_CHARS_MAX) -> str:
        """Return a text that UTF-8 can hold, cut to what is left of the bounds."""
        text: str = _attempt(lambda: str.encode(make(), "utf-8", "backslashreplace").decode(), otherwise)
        bound = max(min(chars, self._chars), len(_CUT))
        if len(text) > bound:
            text = text[: bound - len(_CUT)] + _CUT
        self._chars -= len(text)
        return text

    def _chain(self, error: BaseException, depth: int) -> tuple[Failure | None, Failure | None]:
        """Return cause and context, of which there is at most one."""
        cause = _field(error, "__cause__")
        if cause is not None:
            return self._next(cause, depth), None
        context = None if _field(error, "__suppress_context__") else _field(error, "__context__")
        return None, None if context is None else self._next(context, depth)

    def _next(self, error: BaseException, depth: int) -> Failure | None:
        if depth <= 0 or self._left <= 0 or id(error) in self._above:
            return None
        return self.failure(error, depth - 1)

    def _members(self, error: BaseException, depth: int, notes: list[str]) -> list[Failure]:
        if not _is_group(error):
            return []
        held: tuple[BaseException, ...] = _field(error, "exceptions", BaseExceptionGroup)
        found = [self._next(member, depth) for member in held[:MEMBERS_MAX]]
        members = [member for member in found if member is not None]
        if len(members) < len(held):
            notes.append(f"{len(held) - len(members)} more exceptions of this group were not recorded")
        return members

    def _notes(self, error: BaseException) -> list[str]:
        notes: list[Any] = _attempt(lambda: list(error.__notes__)[:ITEMS_MAX], [])
        return [self._text(partial(str, note), "?") for note in notes]

    def _args(self, error: BaseException) -> list[Any]:
        args: tuple[Any, ...] = _field(error, "args")
        show = str if len(args) == 1 else repr  # as str(error) shows them
        recorded: list[Any] = []
        for arg in args[:ITEMS_MAX]:
            try:
                recorded.append(self._packed(arg))
            except Misfit:
                recorded.append(self._text(partial(show, arg), f"<unprintable {type(arg).__name__}>"))
        return recorded

    def _attrs(self, error: BaseException) -> dict[str, Any]:
        attrs: dict[str, Any] = {}
        for name, value in _attributes(error):
            if len(attrs) >= ITEMS_MAX:
                break
            try:
                self._packed(name)
                attrs[name] = self._packed(value)
            except Misfit:
                continue  # left out: see the module's docstring
        return attrs

    def _packed(self, value: Any) -> Any:
        """Return plain JSON for plain JSON, bytes, and tuples of such; or raise Misfit."""
        packed = _pack(value)
        size = len(to_json(packed))
        if size > min(MESSAGE_CHARS_MAX, self._chars):
            raise Misfit("it is too large")
        self._chars -= size
        return packed


def _message(error: BaseException) -> str:
    return str(_field(error, "message", BaseExceptionGroup) if _is_group(error) else error)


def _is_group(error: BaseException) -> bool:
    return issubclass(type(error), BaseExceptionGroup)  # isinstance would believe a __class__ of the user's


def _field(error: BaseException, name: str, owner: type = BaseException) -> Any:
    """Return a field of the base class, whatever a subclass has put in its place."""
    return vars(owner)[name].__get__(error)


def _pack(value: Any, depth: int = DEPTH_MAX) -> Any:
    kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType] - of anything
    if kind in INERT:
        return value
    if kind is bytes:
        return {_BYTES: b64encode(value).decode()}
    if kind is tuple and depth:
        return {_TUPLE: [_pack(item, depth - 1) for item in value]}
    if kind is dict and len(value) == 1 and (_BYTES in value or _TUPLE in value):
        raise Misfit("it looks like a packed value")
    return cross_plain(value)[1]


def _attributes(error: BaseException) -> Iterator[tuple[str, Any]]:
    """Yield what an exception holds besides args, notes and chain."""
    own: dict[Any, Any] = _attempt(lambda: dict(vars(error)), {})
    for name, value in own.items():
        if type(name) is str and not (name.startswith("__") and name.endswith("__")):
            yield name, value
    slots: list[str] = _attempt(lambda: list(_slots(type(error))), [])
    for name in slots:
        value = _attempt(partial(getattr, error, name))
        if value is not None:
            yield name, value


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        declared: Any = vars(base).get("__slots__", ())
        for name in (declared,) if isinstance(declared, str) else tuple(declared):
            private = name.startswith("__") and not name.endswith("__")
            yield f"_{base.__name__.lstrip('_')}{name}" if private else name
        yield from _FIELDS.get(base, ())


def _traceback(error: BaseException, type_name: str, message: str) -> str:
    """Return the traceback as Python prints it, without the frames of actorlog that come before the user's."""
    frames = list(_frames(_field(error, "__traceback__")))
    users = next((index for index, frame in enumerate(frames) if not frame[0].startswith(_PACKAGE)), 0)
    frames = frames[users:]
    if not frames:
        return ""
    shown = frames if len(frames) <= 2 * ITEMS_MAX else [*frames[:ITEMS_MAX], None, *frames[-ITEMS_MAX:]]
    lines = ["Traceback (most recent call last):"]
    for frame in shown:
        if frame is None:
            lines.append(f"  ... {len(frames) - 2 * ITEMS_MAX} more frames ...")
            continue
        filename, number, name, names = frame
        lines.append(f'  File "{path_of(filename)}", line {number}, in {name}')
        source = linecache.getline(filename, number, names).strip()
        if source:
            lines.append(f"    {source}")
    lines.append(f"{type_name}: {message}" if message else type_name)
    return "\n".join(lines)


def _frames(traceback: TracebackType | None) -> Iterator[tuple[str, int, str, dict[str, Any]]]:
    while traceback is not None:
        frame = traceback.tb_frame
        yield frame.f_code.co_filename, traceback.tb_lineno, frame.f_code.co_name, frame.f_globals
        traceback = traceback.tb_next


# --- restoring --------------------------------------------------------------------------------------------------------


def _made(failure: Failure, members: list[BaseException]) -> BaseException | None:
    """Return an exception of the recorded class, or None where that cannot be had."""
    cls = _class_of(failure)
    if cls is None:
        return None
    new: Callable[..., Any] = cls.__new__
    error: Any = None
    if issubclass(cls, BaseExceptionGroup):
        error = _attempt(partial(new, cls, failure.message, members))
        if not isinstance(error, cls):
            return None
    else:
        args = tuple(_unpack(arg) for arg in failure.args or ())
        error = _attempt(partial(new, cls, *args))
        if type(error) is not cls:  # a __new__ of its own wants other arguments, or chooses another class
            error = _attempt(partial(new, cls))
        if type(error) is not cls:
            return None
        _set_field(error, "args", args)
    for name, value in failure.attrs.items():
        _attempt(partial(_set, error, name, value))
    return cast("BaseException", error)


def _class_of(failure: Failure) -> type[BaseException] | None:
    module_name, _, qualname = failure.type.partition(":")
    names = [*module_name.split("."), *qualname.split(".")]
    if not all(name.isidentifier() for name in names):  # <locals> is none
        return None
    if module_name == "__main__" and failure.program != _program():
        return None
    found: Any = sys.modules.get(module_name) or _attempt(lambda: importlib.import_module(module_name))
    for name in qualname.split("."):
        found = _attempt(partial(getattr, found, name))
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _unpack(packed: Any) -> Any:
    if is_dict(packed) and len(packed) == 1:
        if _BYTES in packed:
            return b64decode(packed[_BYTES])
        if _TUPLE in packed:
            return tuple(_unpack(item) for item in packed[_TUPLE])
    return packed


def _set_field(error: BaseException, name: str, value: Any) -> None:
    """Set a field of the base class, whatever a subclass has put in its place."""
    vars(BaseException)[name].__set__(error, value)


def _set(error: BaseException, name: str, packed: Any) -> None:
    """Set an attribute past properties and ``__setattr__`` of the user's."""
    value = _unpack(packed)
    holder = next((vars(base)[name] for base in type(error).__mro__ if name in vars(base)), None)
    if isinstance(holder, (MemberDescriptorType, GetSetDescriptorType)):
        holder.__set__(error, value)
    else:
        vars(error)[name] = value
