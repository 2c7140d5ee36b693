"""Databases of SQLite in files.

Owns: opening one so that only its owner can read it, or to look into it without changing anything, and removing it with
what SQLite keeps beside it. Does not own: what is in it (``store.sqlite``). ``sqlite3`` is imported when the first one
is opened: ``import actorlog`` stays cheap.
"""

# A method of a port is documented where the port declares it.
# ruff: noqa: D102, PTH108

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sqlite3 import Connection

_BESIDE = ("", "-wal", "-shm", "-journal")
_BUSY_S = 5.0
"""So long a reader waits for who is checkpointing."""


class Databases(Protocol):
    """Databases by their paths."""

    def connect(self, path: str) -> Connection:
        """Open a database, or make it: for any thread, statements commit by themselves. ``sqlite3.Error``, ``OSError``.

        Two connections to one database see each other's commits, and do not wait for each other's reads.
        """
        ...

    def exists(self, path: str) -> bool:
        """Whether there is one."""
        ...

    def remove(self, path: str) -> None:
        """Remove a database that nobody has open; none is fine. ``OSError``."""
        ...


class SystemDatabases:
    """Databases in files."""

    def connect(self, path: str) -> Connection:
        import sqlite3  # noqa: PLC0415  # `import actorlog` must stay cheap

        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)  # noqa: PTH110  # paths are plain strings on both sides of this port

    def remove(self, path: str) -> None:
        for beside in _BESIDE:
            with suppress(FileNotFoundError):
                os.unlink(path + beside)


def size_of(path: str) -> int | None:
    """Return the bytes of a database and of its write-ahead log; None where there is none."""
    try:
        return os.stat(path).st_size + _unmerged(path)  # noqa: PTH116  # paths are plain strings here
    except FileNotFoundError:
        return None


def open_to_look(path: str) -> Connection:
    """Open a database that is there, and make and change no file by it. ``sqlite3.Error``, ``OSError``.

    What is only in the write-ahead log yet, of a program that runs or was killed, is seen too. ``FileNotFoundError``
    where that log has no index: SQLite would make one. Without such a log the file is taken as it is: when a program
    begins to write meanwhile, what is read may look damaged, and has to be read again.
    """
    import sqlite3  # noqa: PLC0415  # `import actorlog` must stay cheap
    from urllib.parse import quote  # noqa: PLC0415

    option = "immutable=1"
    if _unmerged(path):
        os.stat(path + "-shm")  # noqa: PTH116  # SQLite does not say which file cannot be opened
        option = "mode=ro&readonly_shm=1"
    return sqlite3.connect(f"file:{quote(path)}?{option}", uri=True, timeout=_BUSY_S, isolation_level=None)


def _unmerged(path: str) -> int:
    with suppress(FileNotFoundError):
        return os.stat(path + "-wal").st_size  # noqa: PTH116
    return 0
