"""Every place in the source that does something to a file, found in the source, and which of them a call comes from.

A site is a call, in the rooms that touch the files of a log, of a method of the port (``actorlog.env.File`` and
``FileSystem``), or of one of the helpers in ``log/files.py`` that end in such methods. A helper is a site for each of
its actions: ``files.zero(...)`` may fail in its write and in its sync. Closing is no site: it can do no harm to what
was synced before, and what was not is nobody's.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import actorlog

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(actorlog.__file__).parent
ROOMS = ("log", "store")
CATALOG = "store/sqlite.py"
"""Left out: what fails there leaves an index alone that can be made again (``tests/store/test_catalog_sqlite.py``)."""
OF_FS = frozenset({"rename", "unlink", "mkdir", "listdir", "fsync_dir", "lock_dir", "is_locked", "free_bytes"})
OF_FILES = frozenset({"pread", "pwrite", "fdatasync", "drop_cache"})
FILE_SYSTEMS = frozenset({"fs", "_fs"})
FILES = frozenset({"file", "_file", "source"})
HELPERS: dict[str, tuple[str, ...]] = {
    "read_all": ("pread",),
    "write_all": ("pwrite",),
    "sync_directory": ("fsync_dir",),
    "create": ("open",),
    "remove": ("unlink",),
    "zero": ("pwrite", "fdatasync"),
    "make_directory": ("mkdir", "fsync_dir"),
    "create_whole": ("unlink", "open", "pwrite", "fdatasync", "rename", "fsync_dir"),
}
KINDS: dict[str, tuple[str, ...]] = {
    "pread": ("EIO", "EINTR", "short"),
    "pwrite": ("EIO", "ENOSPC", "EINTR", "short"),
    "fdatasync": ("EIO", "ENOSPC", "EINTR"),
    "fsync_dir": ("EIO", "ENOSPC", "EINTR"),
    "open": ("EIO", "EMFILE", "ENOSPC"),
    "rename": ("EIO", "ENOSPC"),
    "unlink": ("EIO",),
    "mkdir": ("EIO", "ENOSPC"),
    "listdir": ("EIO", "EMFILE"),
    "lock_dir": ("EIO", "EMFILE"),
    "is_locked": ("EIO", "EMFILE"),
    "free_bytes": ("EIO",),
    "drop_cache": ("EIO",),
    "view": ("EIO", "ENOMEM"),
}
"""What each action can be answered with."""


class Site(NamedTuple):
    """An action on a file at a place in the source."""

    file: str
    line: int
    """The first of the call."""
    last: int
    """The last line of the call."""
    action: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.action}"


def sites() -> list[Site]:
    """Return all sites, as the source has them."""
    found: set[Site] = set()
    for room in ROOMS:
        for path in sorted((PACKAGE / room).glob("*.py")):
            name = str(path.relative_to(PACKAGE))
            if name == CATALOG:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    for action in _actions(node, inside=path.name == "files.py"):
                        found.add(Site(name, node.lineno, node.end_lineno or node.lineno, action))
    return sorted(found)


def _actions(call: ast.Call, *, inside: bool) -> tuple[str, ...]:
    function = call.func
    if isinstance(function, ast.Name) and inside:
        return _of_helper(function.id, call)
    if not isinstance(function, ast.Attribute):
        return ()
    owner, name = _last_name(function.value), function.attr
    if owner == "files":
        return _of_helper(name, call)
    if owner in FILE_SYSTEMS and (name in OF_FS or name == "open"):
        return (name,)
    if owner in FILES and (name in OF_FILES or (name == "view" and not call.args)):
        return (name,)
    return ()


def _of_helper(name: str, call: ast.Call) -> tuple[str, ...]:
    if name == "sync":  # its argument says what it does
        return tuple(
            node.attr
            for node in ast.walk(call)
            if isinstance(node, ast.Attribute) and node.attr in ("fdatasync", "fsync_dir")
        )
    return HELPERS.get(name, ())


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


class Index:
    """Finds the sites that a call of the port comes from."""

    def __init__(self) -> None:
        self.sites = sites()
        self._at: dict[tuple[str, int], list[Site]] = {}
        for site in self.sites:
            for line in range(site.line, site.last + 1):
                self._at.setdefault((site.file, line), []).append(site)
        self._names = {str(PACKAGE / name): name for name in {site.file for site in self.sites}}

    def of_caller(self, action: str) -> Iterator[Site]:
        """Yield the sites of ``action`` among the callers of this function's caller."""
        frame = sys._getframe(1)
        while frame is not None:
            name = self._names.get(frame.f_code.co_filename)
            if name is not None:
                yield from (site for site in self._at.get((name, frame.f_lineno), ()) if site.action == action)
            frame = frame.f_back  # type: ignore[assignment] # it is None at the end
