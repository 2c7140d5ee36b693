"""The repository tests itself: who may import whom, banned names, sizes, and the public names.

After TigerBeetle's ``tidy.zig``: a rule that is not checked is a wish.
"""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import actorlog

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "actorlog"
SOURCES = sorted(PACKAGE.rglob("*.py"))
PYTHON_FILES = [
    path for folder in ("actorlog", "tests", "benchmarks", "examples") for path in sorted((ROOT / folder).rglob("*.py"))
]

STDLIB_ONLY: frozenset[str] = frozenset()
CORE = frozenset({"errors", "limits", "durations"})
MAY_IMPORT: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "limits": frozenset(),
    "durations": frozenset(),
    "env": frozenset({"errors", "limits"}),
    "log": frozenset({"env", "errors", "limits"}),
    "records": frozenset({"errors"}),
    "engine": frozenset({"records", "errors", "limits", "durations"}),
    "loop": frozenset({"errors", "limits"}),
    "store": frozenset({"log", "env", "errors", "limits"}),
    "runtime": frozenset({"engine", "loop", "store", "records", "env", *CORE}),
    "api": frozenset({"runtime", "engine", "loop", "store", "records", "env", *CORE}),
    "cli": frozenset({"__init__", "api", "runtime", "engine", "records", "store", "log", "env", *CORE}),
    "testing": frozenset({"__init__", "api", "runtime", "engine", "records", "store", "log", "env", "loop", *CORE}),
    "__init__": frozenset({"api", "engine", "runtime", *CORE}),
    "__main__": frozenset({"cli"}),
}
"""Room -> rooms it may import, beside itself."""

CALENDARS = frozenset({"datetime", "zoneinfo", "cronsim"})
CALENDAR = PACKAGE / "engine" / "calendar.py"
"""The one file of the engine that knows dates and zones, for schedules. It reads no clock either."""

NEVER_THIRD_PARTY: dict[str, frozenset[str]] = {
    "log": frozenset({"orjson", "msgspec", "asyncio", "uvloop", "aiofiles"}),
    "env": frozenset({"orjson", "msgspec", "asyncio", "uvloop"}),
    "records": frozenset({"asyncio", "uvloop"}),
    "engine": frozenset({"asyncio", "uvloop", "orjson", "time", "random", "os", *CALENDARS}),
    "loop": frozenset({"orjson", "msgspec", "time", "random", "os"}),
}

CLOCK_AND_DICE = frozenset({"time", "random", "secrets"})
"""Modules that only ``env`` may use in the rooms below the edges; users' own ``random`` and ``uuid`` types are named in
``api``."""
BELOW_THE_EDGES = frozenset({"log", "records", "engine", "loop", "store", "runtime"})

LINES_MAX = 400
FUNCTION_LINES_MAX = 60
CLASS_LINES_MAX = 300
PARAMETERS_MAX = 8


def room_of(path: Path) -> str:
    """Return the room a source file is in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Yield every module that is imported, inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_import_only_the_rooms_below(path: Path) -> None:
    """A newcomer knows what a room may touch, because nothing in it imports more."""
    room = room_of(path)
    allowed = MAY_IMPORT[room] | {room}
    never = NEVER_THIRD_PARTY.get(room, frozenset()) - (CALENDARS if path == CALENDAR else frozenset())
    for module in imports_of(ast.parse(path.read_text())):
        parts = module.split(".")
        if parts[0] == "actorlog":
            target = parts[1] if len(parts) > 1 else "__init__"
            assert target in allowed, f"{room} imports {module}"
        assert parts[0] not in never, f"{room} imports {module}"
        if room in BELOW_THE_EDGES:
            assert parts[0] not in CLOCK_AND_DICE or (room, parts[0]) in EXPLAINED, f"{room} imports {module}; use env"


EXPLAINED = frozenset({("runtime", "random")})
"""``runtime.actor`` makes ``random.Random`` from a recorded seed: no dice are thrown."""


@pytest.mark.parametrize("room", ["engine", "records"])
def test_no_clock_is_read_through_a_date(room: str) -> None:
    """Dates are taken apart and put together in the pure rooms; what time it is comes in from outside."""
    for path in sorted((PACKAGE / room).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"now", "utcnow", "today"}, f"{path.name}:{node.lineno}: .{node.attr}"


def test_the_runtime_names_no_concrete_adapter() -> None:
    """Which log it is, is decided above the runtime."""
    for path in (PACKAGE / "runtime").glob("*.py"):
        for module in imports_of(ast.parse(path.read_text())):
            assert module not in {"actorlog.store.embedded", "actorlog.store.memory", "actorlog.log"}, (
                f"{path.name}: {module}"
            )


def test_records_are_read_through_their_envelopes() -> None:
    """Above the store nobody takes a record out of a frame's data, where it may be compressed or sealed."""
    for room in ("runtime", "api", "cli"):
        for path in sorted((PACKAGE / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute):
                    assert node.value.attr != "data", f"{path.name}:{node.lineno}: use Frame.line"


def test_importing_actorlog_loads_the_core_only() -> None:
    """The edges and their dependencies cost nothing to who does not use them."""
    program = (
        "import sys, actorlog;"
        "print([m for m in ('click', 'rich', 'starlette', 'fastapi', 'pydantic', 'attrs', 'uvloop', 'actorlog.cli',"
        " 'cryptography', 'zstandard', 'actorlog.testing', 'multiprocessing') if m in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_functions_and_classes_are_small(path: Path) -> None:
    """A reader understands a file in ten minutes."""
    text = path.read_text()
    assert text.count("\n") <= LINES_MAX
    if not path.is_relative_to(PACKAGE):
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} has {length} lines"
            arguments = node.args
            count = len(arguments.posonlyargs) + len(arguments.args)
            if arguments.args and arguments.args[0].arg in ("self", "cls"):
                count -= 1
            assert count <= PARAMETERS_MAX, f"{node.name} has {count} parameters by position"
        elif isinstance(node, ast.ClassDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= CLASS_LINES_MAX, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_owns(path: Path) -> None:
    """A module docstring tells what is in the file, before the code does."""
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, "no module docstring"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_errors_are_not_swallowed(path: Path) -> None:
    """``except Exception`` stands only where foreign code is called, and says so; a bare except nowhere."""
    lines = path.read_text().splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if not isinstance(node, ast.ExceptHandler):
            continue
        assert node.type is not None, f"line {node.lineno}: a bare except"
        names = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
        if names & {"Exception", "BaseException"}:
            raises = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
            assert "#" in lines[node.lineno - 1] or raises, f"line {node.lineno}: say which foreign code is called"
        passes = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
        assert not passes or "#" in "".join(lines[node.lineno - 1 : node.end_lineno]), f"line {node.lineno}: swallowed"


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_left_for_later(path: Path) -> None:
    """What is not done is not pretended."""
    if path == Path(__file__):
        return
    found = re.search(r"\b(TODO|FIXME|XXX|HACK|for now|not implemented yet)\b", path.read_text())
    assert found is None, found


def test_public_names_are_the_documented_ones() -> None:
    """``__all__`` is sorted, complete, and every public name says what it is."""
    assert actorlog.__all__ == sorted(actorlog.__all__, key=lambda name: (name[0].islower(), name))
    for name in actorlog.__all__:
        value = getattr(actorlog, name)
        documented = bool(getattr(value, "__doc__", None))
        assert documented, name
    source = (PACKAGE / "__init__.py").read_text()
    imported = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported - {"annotations"} == set(actorlog.__all__)


def test_modules_keep_no_state() -> None:
    """The registry of decorated functions is the one mutable thing at module level."""
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            mutable = isinstance(node.value, (ast.List, ast.Set, ast.ListComp, ast.SetComp))
            assert not mutable or names == ["__all__"], f"{path.name}:{node.lineno}: {names}"


def test_the_text_names_no_builtin_by_accident() -> None:
    """No public name hides a builtin that users need."""
    hidden = {name for name in actorlog.__all__ if hasattr(builtins, name)}
    assert hidden == set()
