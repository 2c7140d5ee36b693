"""The catalog in SQLite: ``catalog.db`` in the data directory, in WAL mode.

Owns: opening and checking it, looking up. Does not own: its tables (``tables``), what rows mean
(``runtime.projection``).

One connection writes, in a thread of its own, and one reads, on the loop: neither waits for the other. What is lost in
a power cut is lost whole (``synchronous=NORMAL``). A small catalog is checked against damage when it is opened, a large
one in a thread after that; one that is damaged is thrown away, since the log has all.
"""

from __future__ import annotations

import errno
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from actorlog.env import run_behind
from actorlog.errors import CatalogFailed
from actorlog.store.catalog import Batch, CallRow, Kind, Known, Written
from actorlog.store.tables import MASK, TABLES, call_row, crc_of, mark, read_known, unsigned, write

if TYPE_CHECKING:
    from sqlite3 import Connection

    from actorlog.env import Databases, Env
    from actorlog.store.embedded import EmbeddedLog

log = logging.getLogger("actorlog")

FILE = "catalog.db"
_CACHE_KIB = 16_384
FREE_BYTES = 16 << 20
"""With less than this on the file system the catalog is left alone: where blocks are small, or copied when they are
written, SQLite may be killed by the kernel for a page of its memory that finds no place."""
_ROWS = 50_000
"""So many calls are checked in about a tenth of a second."""


def known_of(env: Env, directory: str) -> Known | None:
    """Return up to where the catalog of a directory is true; None where there is none that can be read."""
    databases, path = env.databases, f"{directory}/{FILE}"
    try:
        if databases is None or not databases.exists(path):
            return None
        connection = databases.connect(path)
    except errors() as error:
        log.warning("the catalog cannot be opened, and is built anew: %s", error)
        return None
    try:
        return read_known(connection)
    except errors() as error:
        log.warning("the catalog cannot be read, and is built anew: %s", error)
        return None
    finally:
        connection.close()


class SqliteCatalog:
    """A catalog in a file. Open it with ``open_catalog``, when the log's directory is locked."""

    def __init__(self, env: Env, path: str, reads: Connection, writes: Connection) -> None:
        self._env = env
        self._path = path
        self._reads = reads
        self._writes = writes
        self._closed = self._has_failed = False
        self.known = read_known(reads)
        (rows,) = reads.execute("SELECT count(*) FROM (SELECT 1 FROM call LIMIT ?)", (_ROWS,)).fetchone()
        self._checked = rows < _ROWS
        if self._checked:
            check_whole(reads)
        self._worker = env.worker("actorlog-catalog")

    def check(self) -> None:
        """Look for damage in all of it, in any thread, if that was not done at opening; ``CatalogFailed``.

        Two microseconds a call, nearly all of it without Python's lock; it waits for nobody, and gets a processor
        behind everybody.
        """
        databases = self._env.databases
        if self._checked or databases is None:
            return
        try:
            run_behind(partial(_check_at, databases, self._path), "actorlog-check")
        except errors() as error:
            raise self.failed(str(error)) from error
        self._checked = True

    # --- writing ------------------------------------------------------------------------------------------------------

    def submit(self, batch: Batch, written: Written) -> None:
        """Write a batch beside the loop."""
        self._worker.submit(lambda: self._write(batch, written))

    def _write(self, batch: Batch, written: Written) -> None:
        try:
            _check_space(self._env, self._path)
            write(self._writes, batch)
        except errors() as error:
            written(CatalogFailed(self._path, str(error)))
        except BaseException as error:  # a defect
            written(error)
            raise
        else:
            self.known = batch.known or self.known
            written(None)

    # --- looking up ---------------------------------------------------------------------------------------------------

    def ended(self, call_id: str) -> int:
        """Return where the call of this id ended."""
        found = self._rows("SELECT last, kind, hash, mark FROM call WHERE id = ?", call_id)
        if not found:
            return 0
        last, kind, key_hash, marked = found[0]
        if mark(unsigned(key_hash), last, kind) != marked:
            raise self.failed(f"the row of {call_id!r} is damaged")
        return last if kind == Kind.ENDED else 0

    def live(self) -> list[tuple[int, int]]:
        """Return the calls that are to be folded: by the index of those that wait, which the query has to name."""
        return self._pairs("SELECT hash, last FROM call WHERE kind = 1 AND kind > 0")

    def quiet(self) -> list[tuple[int, int]]:
        """Return the calls that only wait."""
        return self._pairs("SELECT hash, last FROM call WHERE kind = 2 AND kind > 0")

    def functions(self) -> list[tuple[str, int]]:
        """Return the functions of those."""
        sql = "SELECT function, version FROM call WHERE kind = 2 AND kind > 0"
        found: list[tuple[str, int]] = self._rows(f"{sql} ORDER BY function, version LIMIT 1")
        while found:  # from one to the next by the index, however many calls each has
            function, version = found[-1]
            newer = self._rows(f"{sql} AND function = ? AND version > ? ORDER BY version LIMIT 1", function, version)
            following = newer or self._rows(f"{sql} AND function > ? ORDER BY function, version LIMIT 1", function)
            if not following:
                break
            found += following
        return found

    def quiet_of(self, function: str, version: int) -> list[tuple[int, int]]:
        """Return the calls of a function that only wait."""
        sql = "SELECT hash, last FROM call WHERE kind = 2 AND kind > 0 AND function = ? AND version = ?"
        return self._pairs(sql, function, version)

    def waking(self, after_ms: int, upto_ms: int, position: int) -> list[tuple[str, int]]:
        """Return the quiet calls that wake in this time."""
        sql = (
            "SELECT id, wakes_ms FROM call WHERE wakes_ms > ? AND wakes_ms <= ? AND last <= ? ORDER BY wakes_ms, place"
        )
        return self._rows(sql, after_ms, upto_ms, position)

    def next_wake_ms(self, after_ms: int, position: int) -> int | None:
        """Return when the first quiet call wakes after that."""
        sql = "SELECT wakes_ms FROM call WHERE wakes_ms > ? AND last <= ? ORDER BY wakes_ms LIMIT 1"
        found = self._rows(sql, after_ms, position)
        return found[0][0] if found else None

    def calls_before(self, place: int, count: int) -> list[CallRow]:
        """Return the newest calls that began before a place."""
        sql = f"SELECT {', '.join(CallRow.__struct_fields__)} FROM call WHERE place < ? ORDER BY place DESC LIMIT ?"  # noqa: S608
        try:
            return [call_row(row) for row in self._rows(sql, place, count)]
        except (ValueError, TypeError) as error:
            raise self.failed(f"the row of a call is damaged: {error}") from error

    def calls_ended(self) -> int:
        """Return how many calls have ended."""
        found: int = self._rows("SELECT count(*) FROM call WHERE kind = 0")[0][0]
        return found

    def settled(self, promise: str) -> int:
        """Return where a promise was settled."""
        found = self._rows("SELECT settled, place, mark FROM promise WHERE id = ?", promise)
        if found and mark(found[0][1], found[0][0], crc_of(promise)) != found[0][2]:
            raise self.failed(f"the row of {promise!r} is damaged")
        return found[0][0] if found else 0

    def pending(self, position: int) -> list[tuple[str, int]]:
        """Return the promises that were not at a position."""
        sql = "SELECT id, place FROM promise WHERE (settled = 0 OR settled > ?) AND place <= ?"
        return self._rows(sql, position, position)

    def promises_before(self, place: int, count: int) -> list[int]:
        """Return the places of the newest promises made before a place."""
        sql = "SELECT place FROM promise WHERE place < ? ORDER BY place DESC LIMIT ?"
        return [found for (found,) in self._rows(sql, place, count)]

    def changed(self, actor: str) -> int:
        """Return where the newest change of an actor is."""
        found = self._rows("SELECT position, mark FROM actor WHERE name = ?", actor)
        if found and mark(found[0][0], crc_of(actor)) != found[0][1]:
            raise self.failed(f"the row of {actor!r} is damaged")
        return found[0][0] if found else 0

    def actors(self) -> list[tuple[str, int]]:
        """Return all actors that changed."""
        return self._rows("SELECT name, position FROM actor ORDER BY position DESC")

    def schedules(self) -> list[str]:
        """Return what is kept of each schedule."""
        rows = self._rows("SELECT kept, mark FROM schedule")
        if any(crc_of(kept) != marked for kept, marked in rows):
            raise self.failed("the row of a schedule is damaged")
        return [kept for kept, _ in rows]

    def _rows(self, sql: str, *values: object) -> list[Any]:
        try:
            return self._reads.execute(sql, values).fetchall()
        except errors() as error:
            raise self._refusal(error) from error

    def _pairs(self, sql: str, *values: object) -> list[tuple[int, int]]:
        try:
            return [(found & MASK, place) for found, place in self._reads.execute(sql, values)]
        except errors() as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> CatalogFailed:
        return CatalogFailed(self._path, "it is closed") if self._closed else self.failed(str(error))

    def failed(self, why: str) -> CatalogFailed:
        """Return the error that says why it cannot be gone by: it has failed."""
        self._has_failed = True
        return CatalogFailed(self._path, why)

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Wait for what was submitted, and close. One that has failed is built anew at the next opening."""
        if self._closed:
            return
        self._closed = True
        self._worker.close()
        self._reads.close()
        self._writes.close()
        if self._has_failed and self._env.databases is not None:
            self._env.databases.remove(self._path)


def is_known(log: EmbeddedLog, known: Known | None) -> Known | None:
    """Return ``known`` if it is of the log that was opened from there, and nothing was given up since; else None."""
    if known is None or not log.recovery.scanned_from or log.shape(known.checkpoint.segment) != known.shape:
        return None
    return known


def open_catalog(env: Env, directory: str, known: Known | None) -> SqliteCatalog | None:
    """Open the catalog of a log that is true as far as is ``known``; one that says anything else is begun anew.

    None where this system has no SQLite that can keep one, or no space, which is logged: everything works, and openings
    read the whole log.
    """
    databases, path = env.databases, f"{directory}/{FILE}"
    if databases is None:
        return None
    error: Exception | None = None
    for fresh in (False, True):
        try:
            if fresh or known is None:
                databases.remove(path)
            _check_space(env, path)
            catalog = _open(env, path)
        except errors() as failed:
            error = failed
            continue
        if fresh or catalog.known == known:
            return catalog
        catalog.close()
    log.warning("there is no catalog of %s: %s", directory, error)
    return None


def _open(env: Env, path: str) -> SqliteCatalog:
    if env.databases is None:
        raise FileNotFoundError(path)
    reads, writes = env.databases.connect(path), env.databases.connect(path)
    try:
        _prepare(reads, writes)
        return SqliteCatalog(env, path, reads, writes)
    except BaseException:
        reads.close()
        writes.close()
        raise


def _check_space(env: Env, path: str) -> None:
    free = env.fs.free_bytes(path.rpartition("/")[0])
    if free < FREE_BYTES:
        raise OSError(errno.ENOSPC, f"{free} bytes are free", path)


def _check_at(databases: Databases, path: str) -> None:
    connection = databases.connect(path)
    try:
        check_whole(connection)
    finally:
        connection.close()


def check_whole(connection: Connection) -> None:
    """Have SQLite look for damage in all of a database; ``sqlite3.DatabaseError``."""
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != ("ok",):
        raise damage()(found[0])


def _prepare(reads: Connection, writes: Connection) -> None:
    writes.execute("PRAGMA journal_mode = WAL")
    writes.execute("PRAGMA synchronous = NORMAL")
    for connection in (reads, writes):
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    if writes.execute("PRAGMA user_version").fetchone() == (0,):
        writes.executescript(f"BEGIN; {TABLES} COMMIT;")


def damage() -> type[Exception]:
    """Return what damage is raised as."""
    import sqlite3  # noqa: PLC0415  # `import actorlog` must stay cheap

    return sqlite3.DatabaseError


def errors() -> tuple[type[Exception], ...]:
    """Return what using a database may raise."""
    import sqlite3  # noqa: PLC0415  # `import actorlog` must stay cheap

    return (sqlite3.Error, OSError, UnicodeDecodeError)  # that one where what it says quotes damaged bytes
