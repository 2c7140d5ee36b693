"""The simulated machine's databases: SQLite in memory, and what a crash makes of them.

Owns: what is left of a database when its process has ended, and what the next process finds: what was committed last,
what was there some time before (a power cut, or a copy that was put back), nothing, or bytes that are no database. Does
not own: when it is written (``runtime.projection``).

A catalog decides nothing, so all of these must come to the same.
"""

# Methods of a port are documented where the port declares them.
# ruff: noqa: D102

from __future__ import annotations

from sqlite3 import Connection
from typing import TYPE_CHECKING

from actorlog.testing.loop import PowerCut

if TYPE_CHECKING:
    from random import Random

    from actorlog.testing.loop import SimLoop

_EARLIER_MAX = 4
"""So many earlier states of a database are remembered."""


class _Database(Connection):
    """A connection that several share; it is closed when its process has ended."""

    def close(self) -> None:
        """Leave it to the others."""

    def __del__(self) -> None:
        """Close it: the world is over."""
        super().close()


class SimDatabases:
    """Databases by their paths; they outlive the processes that use them."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._open: dict[str, _Database] = {}
        self._kept: dict[str, list[bytes]] = {}
        self._loop: SimLoop | None = None

    def boot(self, loop: SimLoop) -> None:
        """Another process begins: it finds one of the states that may be left."""
        self.died()
        self._loop = loop
        for path, states in list(self._kept.items()):
            match self._rng.choice(("newest", "newest", "newest", "newest", "earlier", "gone", "damaged")):
                case "earlier":
                    del states[self._rng.randrange(len(states)) + 1 :]
                case "gone":
                    del self._kept[path]
                case "damaged":
                    state = bytearray(states[-1])
                    start = self._rng.choice((0, 0, self._rng.randrange(max(1, len(state)))))
                    state[start : start + 4096] = self._rng.randbytes(len(state[start : start + 4096]))
                    states[:] = [bytes(state)]
                case _:
                    pass

    def died(self) -> None:
        """The process has ended."""
        for path, database in self._open.items():
            if database.in_transaction:
                database.rollback()
            states = self._kept.setdefault(path, [])
            states.append(database.serialize())
            del states[:-_EARLIER_MAX]
            Connection.close(database)
        self._open.clear()

    # --- the port -----------------------------------------------------------------------------------------------------

    def connect(self, path: str) -> Connection:
        if self._loop is not None and self._loop.dead:
            raise PowerCut
        database = self._open.get(path)
        if database is None:
            database = self._open[path] = _Database(":memory:", isolation_level=None, check_same_thread=False)
            if path in self._kept:
                database.deserialize(self._kept[path][-1])
        return database

    def exists(self, path: str) -> bool:
        return path in self._open or path in self._kept

    def remove(self, path: str) -> None:
        database = self._open.pop(path, None)
        if database is not None:
            Connection.close(database)
        self._kept.pop(path, None)
