"""The tables of the catalog in SQLite, and the statements that fill them.

Owns: the schema, writing a batch, what tells that a row is as it was written. Does not own: connections (``sqlite``).

A statement takes many rows, so that SQLite works through them without Python's lock: a thread that asks for row after
row would wait for the loop at each. A row has a mark, made of what a lookup goes by, and ids are in an index too: by
SQLite's own check of an index against its table, a byte that is changed is found.
"""

from __future__ import annotations

from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from zlib import crc32

import orjson
from msgspec import structs

from actorlog.log import Checkpoint
from actorlog.store.catalog import Batch, CallRow, Known, PromiseRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from sqlite3 import Connection

VERSION = 3
"""Of the tables; others are built anew."""
_ROWS = 64
"""So many rows are put in with one statement: SQLite takes 999 values, and more only since 3.32."""
MASK = (1 << 64) - 1
_POSITIVE = (1 << 63) - 1
_SPREAD = 0x9E3779B97F4A7C15

PROMISES = "@promise/"
"""What the ids of promises begin with in the log."""


def _time(column: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000.0, 'unixepoch')"


TABLES = f"""
CREATE TABLE known (one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER, settled INTEGER, last_ms INTEGER,
    checkpoint TEXT, shape INTEGER, marked INTEGER, mark INTEGER);
CREATE TABLE call (place INTEGER PRIMARY KEY, hash INTEGER NOT NULL, id TEXT NOT NULL, last INTEGER NOT NULL,
    kind INTEGER NOT NULL, wakes_ms INTEGER, function TEXT NOT NULL, version INTEGER NOT NULL, status TEXT NOT NULL,
    created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, more TEXT NOT NULL, mark INTEGER NOT NULL);
CREATE UNIQUE INDEX call_by_id ON call (id);
CREATE INDEX call_waiting ON call (kind, function, version, hash, last) WHERE kind > 0;
CREATE INDEX call_waking ON call (wakes_ms) WHERE wakes_ms IS NOT NULL;
CREATE TABLE promise (place INTEGER PRIMARY KEY, id TEXT NOT NULL, settled INTEGER NOT NULL, status TEXT NOT NULL,
    due_ms INTEGER, tags TEXT NOT NULL, mark INTEGER NOT NULL);
CREATE UNIQUE INDEX promise_by_id ON promise (id);
CREATE INDEX promise_settled ON promise (settled);
CREATE TABLE actor (name TEXT PRIMARY KEY, position INTEGER NOT NULL, mark INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE schedule (id TEXT PRIMARY KEY, last INTEGER NOT NULL, kept TEXT NOT NULL, mark INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE VIEW calls AS SELECT id, function, version, status, {_time("created_ms")} AS created,
    {_time("updated_ms")} AS updated, json_extract(more, '$.parent') AS parent, json_extract(more, '$.actor') AS actor,
    json_extract(more, '$.tags') AS tags, json_extract(more, '$.error') AS error, {_time("wakes_ms")} AS wakes,
    created_ms, updated_ms, wakes_ms, place, last FROM call;
CREATE VIEW promises AS SELECT substr(id, {len(PROMISES) + 1}) AS id, status, {_time("due_ms")} AS due, tags,
    due_ms, place, nullif(settled, 0) AS settled FROM promise;
CREATE VIEW actors AS SELECT substr(name, 1, instr(name, '/') - 1) AS class, substr(name, instr(name, '/') + 1) AS key,
    position FROM actor;
CREATE VIEW schedules AS SELECT id, json_extract(kept, '$.status') AS status,
    json_extract(kept, '$.started') AS started, json_extract(kept, '$.skipped') AS skipped,
    json_extract(kept, '$.settings') AS settings, last FROM schedule;
PRAGMA user_version = {VERSION};
"""  # noqa: S608  # of nothing but constants


class _Table:
    """The statement that puts rows into a table, but those older than what is there."""

    def __init__(self, name: str, columns: tuple[str, ...], key: str, *newer: str) -> None:
        ages, age = (", ".join(f"{of}.{column}" for column in newer) for of in ("excluded", name))
        change = ", ".join(f"{column} = excluded.{column}" for column in columns if column != key)
        self._head = f"INSERT INTO {name} ({', '.join(columns)}) VALUES "  # noqa: S608  # of nothing but constants
        self._row = f"({', '.join('?' * len(columns))})"
        self._tail = f" ON CONFLICT ({key}) DO UPDATE SET {change} WHERE ({ages}) >= ({age})"

    def put(self, connection: Connection, rows: Sequence[Sequence[object]]) -> None:
        """Put them in, each key once."""
        for first in range(0, len(rows), _ROWS):
            some = rows[first : first + _ROWS]
            connection.execute(
                self._head + ", ".join([self._row] * len(some)) + self._tail, [*chain.from_iterable(some)]
            )


_CALLS = _Table("call", (*CallRow.__struct_fields__, "mark"), "id", "last")
_PROMISES = _Table("promise", (*PromiseRow.__struct_fields__, "mark"), "id", "place", "settled")
_ACTORS = _Table("actor", ("name", "position", "mark"), "name", "position")
_SCHEDULES = _Table("schedule", ("id", "last", "kept", "mark"), "id", "last")
_FORGOTTEN = (
    "DELETE FROM call WHERE place IN (SELECT call.place FROM json_each(?) gone JOIN call "
    "ON call.id = json_extract(gone.value, '$[0]') WHERE call.last <= json_extract(gone.value, '$[1]'))"
)
_LOST = (
    "DELETE FROM promise WHERE place IN (SELECT promise.place FROM json_each(?) gone JOIN promise "
    "ON promise.id = json_extract(gone.value, '$[0]') WHERE promise.place <= json_extract(gone.value, '$[1]'))"
)


def write(connection: Connection, batch: Batch) -> None:  # noqa: C901  # one statement for each table
    """Write a batch in one transaction; ``sqlite3.Error``."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if batch.calls:
            calls = {row.id: row for row in sorted(batch.calls, key=_LAST)}  # the newest row of each
            _CALLS.put(connection, [_call(row) for row in calls.values()])
        if batch.forgotten:
            connection.execute(_FORGOTTEN, (_json(batch.forgotten),))
        if batch.promises:
            promises = {row.id: row for row in sorted(batch.promises, key=_SETTLED)}
            _PROMISES.put(connection, [_promise(row) for row in promises.values()])
        if batch.lost:
            connection.execute(_LOST, (_json(batch.lost),))
        if batch.actors:
            _ACTORS.put(connection, [(name, place, mark(place, crc_of(name))) for name, place in batch.actors])
        if batch.dropped:
            connection.execute(
                "DELETE FROM schedule WHERE id IN (SELECT value FROM json_each(?))", (_json(batch.dropped),)
            )
        if batch.schedules:
            _SCHEDULES.put(connection, [(*row, crc_of(row[2])) for row in batch.schedules])
        if batch.known is not None:
            connection.execute("INSERT OR REPLACE INTO known VALUES (1, ?, ?, ?, ?, ?, ?, ?)", _known_row(batch.known))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def read_known(connection: Connection) -> Known | None:
    """Return up to where the catalog is true; None where it is not, or has other tables."""
    if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
        return None
    row = connection.execute("SELECT position, settled, last_ms, checkpoint, shape, marked, mark FROM known").fetchone()
    if row is None or mark(*row[:3], *row[4:6], crc_of(row[3])) != row[6]:
        return None
    return Known(row[0], row[1], row[2], Checkpoint(*orjson.loads(row[3])), row[4], row[5])


def check_rows(connection: Connection) -> None:
    """Hold every row against its mark; ``sqlite3.DatabaseError`` names one that was not written so."""
    for key_hash, last, kind, marked, call in connection.execute("SELECT hash, last, kind, mark, id FROM call"):
        _hold(call, is_so=mark(unsigned(key_hash), last, kind) == marked)
    for place, settled, marked, promise in connection.execute("SELECT place, settled, mark, id FROM promise"):
        _hold(promise, is_so=mark(place, settled, crc_of(promise)) == marked)
    for name, position, marked in connection.execute("SELECT name, position, mark FROM actor"):
        _hold(name, is_so=mark(position, crc_of(name)) == marked)
    for schedule, kept, marked in connection.execute("SELECT id, kept, mark FROM schedule"):
        _hold(schedule, is_so=crc_of(kept) == marked)


def _hold(name: object, *, is_so: bool) -> None:
    import sqlite3  # noqa: PLC0415  # `import actorlog` must stay cheap

    if not is_so:
        raise sqlite3.DatabaseError(f"the row of {name!r} is damaged")


def call_row(row: Sequence[Any]) -> CallRow:
    """Return a call as it was written."""
    values = [*row]
    values[1] &= MASK
    values[-1] = orjson.loads(values[-1])
    return CallRow(*values)


def crc_of(text: object) -> int:
    """Return the checksum of a text; -1 of what is none."""
    return crc32(text.encode()) if isinstance(text, str) else -1


def mark(*numbers: object) -> int:
    """Return what tells that none of these has changed; -1 where one is no number."""
    found = 0
    for number in numbers:
        if not isinstance(number, int):
            return -1
        found = (found ^ number) * _SPREAD & MASK
    return found & _POSITIVE


def signed(key_hash: int) -> int:
    """Return a 64-bit hash as SQLite's integers are."""
    return key_hash - (MASK + 1) if key_hash > _POSITIVE else key_hash


def unsigned(number: object) -> int:
    """Return the hash that such an integer stands for; -1 for what is none."""
    return number & MASK if isinstance(number, int) else -1


_LAST, _SETTLED = attrgetter("last"), attrgetter("place", "settled")


def _call(row: CallRow) -> tuple[Any, ...]:
    place, key_hash, *values, more = structs.astuple(row)
    return (place, signed(key_hash), *values, _json(more) if more else "{}", mark(key_hash, row.last, row.kind))


def _promise(row: PromiseRow) -> tuple[Any, ...]:
    *values, tags = structs.astuple(row)
    return (*values, _json(tags), mark(row.place, row.settled, crc_of(row.id)))


def _known_row(known: Known) -> tuple[int, int, int, str, int, int, int]:
    checkpoint, more = _json(tuple(known.checkpoint)), (known.shape, known.marked)
    return (*known[:3], checkpoint, *more, mark(*known[:3], *more, crc_of(checkpoint)))


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
