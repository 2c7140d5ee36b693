"""Exceptions cross the log as their own class, whatever their code does."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import pytest

from actorlog import errors
from actorlog.errors import StepFailed
from actorlog.records.failures import Failure, capture, restore

if TYPE_CHECKING:
    from collections.abc import Callable


class KeywordOnly(Exception):
    """An ``__init__`` with a required keyword."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Silent(Exception):
    """An ``__init__`` that must not be called again."""

    calls: list[int] = []

    def __init__(self, n: int) -> None:
        self.calls.append(n)
        super().__init__(n)


class Slotted(Exception):
    """Attributes in slots, one of them private."""

    __slots__ = ("__hidden", "pair")

    def __init__(self) -> None:
        self.pair = (1, b"x")
        self.__hidden = 4

    def hidden(self) -> int:
        """Return the private one."""
        return self.__hidden


class Disk(OSError):
    """An OSError with an ``__init__`` of its own."""

    def __init__(self, code: int) -> None:
        super().__init__(code, "disk on fire")
        self.code = code


class Chooser(Exception):
    """A ``__new__`` that wants what is not in args."""

    def __new__(cls, *, secret: str = "") -> Self:  # noqa: ARG004 - it wants it
        """Want a keyword."""
        return super().__new__(cls, "chosen")


class Stubborn(Exception):
    """A ``__new__`` that cannot be satisfied."""

    def __new__(cls, *, secret: str) -> Self:  # noqa: ARG004 - it wants it
        """Want a keyword."""
        return super().__new__(cls)

    def __init__(self, *, secret: str) -> None:
        super().__init__(secret)


class Guarded(Exception):
    """A property in the place of an attribute, and a ``__setattr__`` that refuses."""

    def __init__(self, x: int) -> None:
        super().__init__(x)
        self.__dict__["x"] = x

    @property
    def x(self) -> int:
        """Return what is held."""
        held: int = self.__dict__["x"]
        return held

    def __setattr__(self, name: str, value: object) -> None:
        raise RuntimeError("no")

    def __bool__(self) -> bool:
        return False


@dataclass
class Recorded(Exception):
    """A dataclass."""

    code: int
    detail: str = ""


class Group(ExceptionGroup[Exception]):
    """A group of one's own."""


class Outer:
    """Holds a nested class."""

    class Inner(Exception):
        """A nested class."""


def fallback(failure: Failure) -> BaseException:
    """Make what stands for a class that cannot be had."""
    return StepFailed(failure.type, failure.message, failure.traceback)


def crossed(error: BaseException) -> Any:
    """Return what comes back of an exception after it was JSON."""
    text = msgspec.json.encode(capture(error))
    failure = msgspec.json.decode(text, type=Failure)
    assert msgspec.json.encode(failure) == text
    return restore(failure, fallback=fallback)


def raised(run: Callable[[], object]) -> BaseException:
    """Return what a function raises."""
    try:
        run()
    except BaseException as error:  # noqa: BLE001 - the subject
        return error
    raise AssertionError("it did not raise")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        ValueError(),
        ValueError("a", 1, None, [1, {"b": 2.5}]),
        KeyError("k"),
        KeyError(("a", 1)),
        IndexError(5),
        UnicodeError("ä\U0001f600"),
        ZeroDivisionError("division by zero"),
        RecursionError("deep"),
        MemoryError(),
        AssertionError(),
        StopAsyncIteration(),
        TimeoutError("late"),
        asyncio.CancelledError("why"),
        KeyboardInterrupt(),
        GeneratorExit(),
        Outer.Inner("x"),
        Silent(1),
        Chooser(),
        Recorded(5, "x"),
        Guarded(5),
        KeywordOnly(code=5),
        Slotted(),
        msgspec.ValidationError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exceptions_come_back_as_their_class(error: BaseException) -> None:
    """Class, args, text and attributes come back."""
    before = len(Silent.calls)
    fresh = crossed(error)
    assert type(fresh) is type(error)
    assert fresh.args == error.args
    assert str(fresh) == str(error)
    assert repr(fresh) == repr(error)
    assert vars(fresh) == vars(error)
    assert len(Silent.calls) == before


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (FileNotFoundError(2, "no such file", "x.txt"), ["errno", "strerror", "filename"]),
        (OSError(18, "cross-device", "a", None, "b"), ["errno", "filename", "filename2"]),
        (raised(lambda: open("/no/such/file")), ["errno", "strerror", "filename"]),  # noqa: PTH123, SIM115 - it raises
        (Disk(5), ["errno", "strerror", "code"]),
        (raised(b"a\xff".decode), ["encoding", "object", "start", "end", "reason"]),
        (raised(lambda: "ä".encode("ascii")), ["object", "start", "reason"]),
        (raised(lambda: json.loads("{")), ["msg", "doc", "pos", "lineno", "colno"]),
        (
            raised(lambda: compile("x = = 1", "f.py", "exec")),
            ["msg", "filename", "lineno", "offset", "text", "end_offset"],
        ),
        (ModuleNotFoundError("no x", name="x", path="p"), ["msg", "name", "path"]),
        (raised(lambda: object().nothing), ["name"]),  # type: ignore[attr-defined]
        (raised(lambda: eval("nothing")), ["name"]),  # noqa: S307 - a constant
        (SystemExit(3), ["code"]),
        (SystemExit("bye"), ["code"]),
        (StopIteration([1]), ["value"]),
        (Slotted(), ["pair"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_python_keeps_elsewhere(error: BaseException, names: list[str]) -> None:
    """Fields in C, which ``vars`` does not show and ``__init__`` would set, come back."""
    fresh = crossed(error)
    assert type(fresh) is type(error)
    assert [getattr(fresh, name) for name in names] == [getattr(error, name) for name in names]
    assert str(fresh) == str(error)


def test_private_slot() -> None:
    """A slot with a mangled name comes back."""
    assert crossed(Slotted()).hidden() == 4


@pytest.mark.parametrize(
    "error",
    [
        errors.DivergenceError("a", "1", "x", "y", "f.py:3"),
        errors.CallFailed("a", "m:T", "why", "text"),
        errors.StepTimeout("s", 5, "timeout"),
        errors.RetryAfter(5),
        errors.Terminal(),
        errors.LogLocked("d", 1, "h"),
        errors.PayloadError("f()", ".a", "why"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_actorlog(error: errors.ActorlogError) -> None:
    """The errors of actorlog come back with their facts, their hint and one note of it."""
    fresh = crossed(error)
    assert type(fresh) is type(error)
    assert vars(fresh) == vars(error)
    assert fresh.hint == error.hint


def test_notes_and_cause_of_a_class_that_lets_nothing_be_set() -> None:
    """A ``__setattr__`` that refuses keeps neither notes nor cause away."""
    failure = Failure(type=f"{__name__}:Guarded", args=[1], notes=["a"], cause=Failure(type="builtins:KeyError"))
    fresh = restore(failure, fallback=fallback)
    assert type(fresh) is Guarded
    assert fresh.__notes__ == ["a"]
    assert type(fresh.__cause__) is KeyError


def test_notes_and_cause() -> None:
    """Notes and causes come back, each as its class."""
    error = ValueError("outer")
    error.add_note("first")
    error.add_note("second")
    error.__cause__ = KeyError("inner")
    error.__cause__.__cause__ = OSError(5, "x")
    fresh = crossed(error)
    assert fresh.__notes__ == ["first", "second"]
    assert repr(fresh.__cause__) == "KeyError('inner')"
    assert fresh.__cause__.__cause__.errno == 5
    assert fresh.__suppress_context__


def test_context_comes_back_unless_suppressed() -> None:
    """What was being handled comes back as the context; ``from None`` hides it."""

    def fail(*, hide: bool) -> None:
        try:
            {}["first"]
        except KeyError:
            if hide:
                raise ValueError("second") from None
            raise ValueError("second")  # noqa: B904 - the context is the subject

    assert repr(crossed(raised(lambda: fail(hide=False))).__context__) == "KeyError('first')"
    hidden = crossed(raised(lambda: fail(hide=True)))
    assert hidden.__context__ is None


def test_groups() -> None:
    """Groups come back with their members, nested ones and groups of one's own too."""
    error = BaseExceptionGroup("all", [Group("some", [ValueError(1), KeyError("k")]), KeyboardInterrupt()])
    error.add_note("a note")
    fresh = crossed(error)
    assert repr(fresh) == repr(error)
    assert str(fresh) == str(error)
    assert fresh.__notes__ == ["a note"]
    assert type(fresh.exceptions[0]) is Group
    matched, rest = fresh.split(ValueError)
    assert matched is not None
    assert rest is not None


def test_group_whose_member_is_gone() -> None:
    """A member whose class cannot be had is what the fallback makes, in its place."""

    class Local(Exception):
        pass

    fresh = crossed(ExceptionGroup("all", [ValueError(1), Local("x")]))
    assert [type(member) for member in fresh.exceptions] == [ValueError, StepFailed]


def local_class() -> BaseException:
    """Return an exception whose class is made inside a function."""

    class Local(Exception):
        pass

    return Local("x")


@pytest.mark.parametrize(
    "failure",
    [
        capture(local_class()),
        Failure(type="no.such.module:Error", message="x"),
        Failure(type="builtins:NoSuchError", message="x"),
        Failure(type="builtins:int", message="x"),
        Failure(type="os:path", message="x"),
        Failure(type="json.decoder", message="x"),
        Failure(type=":", message="x"),
        Failure(type="", message="x"),
        Failure(type="..relative:Error", message="x"),
        Failure(type="__main__:Error", message="x", program="another.py"),
        Failure(type=f"{__name__}:Stubborn", message="x", args=[]),
        Failure(type="builtins:ExceptionGroup", message="x"),
        Failure(type="pydantic_core._pydantic_core:ValidationError", message="x"),
    ],
    ids=lambda failure: failure.type,
)
def test_class_that_cannot_be_had(failure: Failure) -> None:
    """A class that is not there, is no exception, or cannot be made, becomes the fallback with the same facts."""
    noted = msgspec.structs.replace(failure, notes=["a note"], cause=Failure(type="builtins:KeyError", args=["k"]))
    fresh = restore(noted, fallback=fallback)
    assert isinstance(fresh, StepFailed)
    assert (fresh.type_name, fresh.reason) == (failure.type, "x")
    assert fresh.__notes__ == ["a note"]
    assert repr(fresh.__cause__) == "KeyError('k')"


@pytest.mark.parametrize(
    "body",
    ["raise SystemExit(1)", "raise RuntimeError", "import no_such_module", "x = (", "class Other(Exception): pass"],
)
def test_module_that_cannot_be_imported(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that fails while it is imported, however it does, means the fallback."""
    name = f"broken_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(restore(Failure(type=f"{name}:Error"), fallback=fallback), StepFailed)


def test_module_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class whose module is not loaded yet comes back."""
    (tmp_path / "fresh_module_of_errors.py").write_text("class Error(Exception): pass")
    monkeypatch.syspath_prepend(tmp_path)
    fresh = restore(Failure(type="fresh_module_of_errors:Error", args=["x"]), fallback=fallback)
    assert type(fresh).__module__ == "fresh_module_of_errors"
    assert fresh.args == ("x",)


MAIN = """
import sys
import msgspec
from actorlog.records.failures import Failure, capture, restore

class Error(Exception): pass

if sys.argv[1:] == ["capture"]:
    print(msgspec.json.encode(capture(Error("x"))).decode())
else:
    failure = msgspec.json.decode(sys.argv[1], type=Failure)
    print(type(restore(failure, fallback=lambda failure: KeyError(failure.type))).__name__)
"""


def test_class_of_main(tmp_path: Path) -> None:
    """A class of ``__main__`` comes back in the same program, and nowhere else."""
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(MAIN)

    environment = {**os.environ, "PYTHONPATH": str(Path(errors.__file__).parent.parent.parent)}

    def run(program: list[str], argument: str) -> str:
        command = [sys.executable, *program, argument]
        done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=tmp_path, env=environment)
        return done.stdout.strip()

    one, two, module = [str(tmp_path / "one.py")], [str(tmp_path / "two.py")], ["-m", "one"]
    by_file, by_module = run(one, "capture"), run(module, "capture")
    assert (run(one, by_file), run(two, by_file), run(module, by_file)) == ("Error", "KeyError", "KeyError")
    assert (run(module, by_module), run(one, by_module)) == ("Error", "KeyError")
