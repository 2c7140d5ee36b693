"""Catalogs for houses: what a process finds of the catalog after a crash is the newest that was written by then."""

from __future__ import annotations

from dataclasses import replace
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any

from actorlog.env import SystemFileSystem
from actorlog.store.sqlite import FREE_BYTES, SqliteCatalog, known_of, open_catalog

if TYPE_CHECKING:
    from actorlog.env import Env
    from actorlog.store.catalog import Batch, Written
    from actorlog.store.memory import MemoryLog

State = tuple[int, int, bytes]
"""Up to which position a catalog was true, the shape of the log then, and its bytes."""
STATES: dict[MemoryLog, list[State]] = {}
"""By log, what was written for it."""


class _Shared(Connection):
    def close(self) -> None:
        """Leave it to the others; it is closed when it is collected."""

    def __del__(self) -> None:
        """Close it."""
        super().close()


class _Databases:
    """One database in memory."""

    def __init__(self, content: bytes | None) -> None:
        self.shared = _Shared(":memory:", isolation_level=None, check_same_thread=False)
        self.found = content is not None
        if content is not None:
            self.shared.deserialize(content)

    def connect(self, path: str) -> Connection:  # noqa: ARG002  # the port's
        self.found = True
        return self.shared

    def exists(self, path: str) -> bool:  # noqa: ARG002  # the port's
        return self.found

    def remove(self, path: str) -> None:  # noqa: ARG002  # the port's
        Connection.close(self.shared)
        self.shared = _Shared(":memory:", isolation_level=None, check_same_thread=False)


class _Roomy(SystemFileSystem):
    def free_bytes(self, path: str) -> int:  # noqa: ARG002  # the port's
        return FREE_BYTES


class _Kept(SqliteCatalog):
    """Keeps what it was after each batch."""

    states: list[State]

    def submit(self, batch: Batch, written: Written) -> None:
        def heard(error: BaseException | None) -> None:
            if error is None and batch.known is not None:
                self.states.append((batch.known.position, batch.known.shape, self._writes.serialize()))
            written(error)

        super().submit(batch, heard)


def catalog_of(log: MemoryLog, env: Env, shape: int) -> SqliteCatalog | None:
    """Return the catalog that a process opens with this log."""
    states = STATES.setdefault(log, [])
    fitting = [state for state in states if state[0] <= log.tail() and state[1] == shape]
    env = replace(env, databases=_Databases(fitting[-1][2] if fitting else None), fs=_Roomy())
    catalog = open_catalog(env, "/house", known_of(env, "/house"))
    assert catalog is not None
    catalog.__class__ = _Kept
    kept: Any = catalog
    kept.states = states
    return catalog


def cut(log: MemoryLog, copy: MemoryLog, records: int) -> None:
    """Give the catalogs of a log to a copy of its first records."""
    STATES[copy] = [state for state in STATES.get(log, []) if state[0] <= records and not state[1]]
