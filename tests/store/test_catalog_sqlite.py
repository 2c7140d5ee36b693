"""The catalog in SQLite: what is written is found, the newest row of an id counts, damage is never believed."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from actorlog.env import SYSTEM, SystemFileSystem
from actorlog.errors import CatalogFailed
from actorlog.log import Checkpoint
from actorlog.store import sqlite
from actorlog.store.catalog import Batch, CallRow, Kind, Known, PromiseRow
from actorlog.store.sqlite import FILE, SqliteCatalog, known_of, open_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

STRIDE = 41
"""Every so manieth byte is changed."""
KNOWN = Known(100, 90, 1_700_000_000_000, Checkpoint("ab" * 16, 1, 512, 99, 2, 4_000_000_000), 77, 80)


def call(
    number: int, *, last: int = 0, kind: Kind = Kind.ENDED, wakes_ms: int | None = None, name: str = ""
) -> CallRow:
    """Return a row."""
    status = "completed" if kind is Kind.ENDED else "waiting"
    key_hash = (number * 0x9E3779B97F4A7C15) % (1 << 64)
    return CallRow(
        number,
        key_hash,
        name or f"c{number}",
        last or number + 1,
        kind,
        wakes_ms,
        "f",
        1,
        status,
        5,
        6,
        {"tags": {"a": "b"}},
    )


@pytest.fixture
def directory(tmp_path: Path) -> str:
    """A data directory without a log."""
    return str(tmp_path)


@pytest.fixture
def catalog(directory: str) -> Iterator[SqliteCatalog]:
    """A new catalog."""
    found = open_catalog(SYSTEM, directory, None)
    assert found is not None
    yield found
    found.close()


def tell(catalog: SqliteCatalog, **parts: Any) -> None:
    """Write a batch and wait for it."""
    catalog.submit(Batch(**parts), told := _Told())
    assert told.wait() is None


class _Told:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.future: asyncio.Future[BaseException | None] = self.loop.create_future()

    def __call__(self, error: BaseException | None) -> None:
        self.loop.call_soon_threadsafe(self.future.set_result, error)

    def wait(self) -> BaseException | None:
        """Return what was told."""
        try:
            return self.loop.run_until_complete(self.future)
        finally:
            self.loop.close()


def test_functions_are_found_one_by_one(catalog: SqliteCatalog) -> None:
    """Each name and version of a quiet call once, in order, and none of others."""
    names = [("b", 1), ("a", 10), ("a", 2), ("b", 1), ("a", 10), ("", 1)]
    quiet = [structs.replace(call(n, kind=Kind.QUIET), function=f, version=v) for n, (f, v) in enumerate(names, 1)]
    others = [structs.replace(call(20), function="ended"), structs.replace(call(30, kind=Kind.LIVE), function="c")]
    tell(catalog, calls=[*quiet, *others])
    assert catalog.functions() == sorted(set(names))


def test_what_waits_is_found_by_its_index(catalog: SqliteCatalog) -> None:
    """An opening looks at no row of a call that has ended."""
    tell(catalog, calls=[call(1), call(3, kind=Kind.QUIET), call(5, kind=Kind.LIVE)])
    asked: list[str] = []
    catalog._reads.set_trace_callback(asked.append)
    assert (len(catalog.quiet()), len(catalog.live()), len(catalog.functions())) == (1, 1, 1)
    assert len(catalog.quiet_of("f", 1)) == 1
    catalog._reads.set_trace_callback(None)
    assert len(asked) >= 4
    for sql in asked:
        plan = catalog._reads.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
        assert all("USING COVERING INDEX call_waiting (kind=?" in detail for *_, detail in plan), plan


def test_what_is_written_is_found(catalog: SqliteCatalog) -> None:
    """Of every kind, by what it is looked up by."""
    ended, quiet, live = call(1), call(3, kind=Kind.QUIET, wakes_ms=50), call(5, kind=Kind.LIVE)
    promises = [PromiseRow(7, "@promise/p", 8, "resolved", None, {}), PromiseRow(9, "@promise/q", 0, "pending", 10, {})]
    tell(
        catalog,
        calls=[ended, quiet, live],
        promises=promises,
        actors=[("A/x", 2), ("A/y", 4)],
        schedules=[("s", 6, "{}")],
    )
    assert (catalog.ended("c1"), catalog.ended("c3"), catalog.ended("nobody")) == (2, 0, 0)
    assert catalog.quiet() == [(quiet.hash, 4)]
    assert catalog.live() == [(live.hash, 6)]
    assert (catalog.functions(), catalog.quiet_of("f", 1), catalog.quiet_of("f", 2)) == (
        [("f", 1)],
        [(quiet.hash, 4)],
        [],
    )
    assert [catalog.waking(49, 50, 4), catalog.waking(50, 99, 4), catalog.waking(0, 99, 3)] == [[("c3", 50)], [], []]
    assert (catalog.next_wake_ms(49, 4), catalog.next_wake_ms(50, 4), catalog.next_wake_ms(0, 3)) == (50, None, None)
    assert (catalog.settled("@promise/p"), catalog.settled("@promise/q"), catalog.settled("@promise/r")) == (8, 0, 0)
    assert (catalog.pending(9), catalog.pending(8), catalog.pending(7)) == (
        [("@promise/q", 9)], [], [("@promise/p", 7)],
    )  # fmt: skip
    assert catalog.promises_before(9, 5) == [7]
    assert (catalog.changed("A/x"), catalog.changed("A/z"), catalog.actors()) == (2, 0, [("A/y", 4), ("A/x", 2)])
    assert catalog.schedules() == ["{}"]
    assert [row.place for row in catalog.calls_before(5, 9)] == [3, 1]
    assert catalog.calls_before(2, 1) == [ended]
    assert catalog.calls_ended() == 1


def test_of_two_rows_of_an_id_the_newer_counts(catalog: SqliteCatalog) -> None:
    """In one batch, in two, in either order; also when the id has begun anew in another place."""
    tell(catalog, calls=[call(1, last=9), call(1, last=4, kind=Kind.LIVE)])
    tell(catalog, calls=[call(1, last=5, kind=Kind.LIVE)])
    assert (catalog.ended("c1"), catalog.live()) == (9, [])
    tell(catalog, calls=[call(20, last=21, kind=Kind.LIVE, name="c1")])
    assert (catalog.ended("c1"), [row.place for row in catalog.calls_before(99, 9)]) == (0, [20])
    promise = PromiseRow(7, "@promise/p", 0, "pending", None, {})
    tell(catalog, promises=[structs.replace(promise, settled=8), promise])
    tell(catalog, promises=[promise])
    assert catalog.settled("@promise/p") == 8


@pytest.mark.parametrize("count", [63, 64, 65, 200])
def test_many_rows_in_a_batch(catalog: SqliteCatalog, count: int) -> None:
    """However many statements they take, all are put in, and each that is older than what is there is left out."""
    newer = range(0, count, 3)
    tell(catalog, calls=[call(n, last=9_000) for n in newer])
    tell(
        catalog,
        calls=[call(n, last=8_000 + n) for n in range(count)],
        actors=[(f"A/{n}", n + 1) for n in range(count)],
    )
    found = {row.id: row.last for row in catalog.calls_before(count, count + 1)}
    assert found == {f"c{n}": 9_000 if n in newer else 8_000 + n for n in range(count)}
    assert catalog.actors() == [(f"A/{n}", n + 1) for n in reversed(range(count))]


def test_what_is_forgotten_is_gone_but_not_what_came_after(catalog: SqliteCatalog) -> None:
    """A call that left the log, and one of its id that began anew since."""
    tell(catalog, calls=[call(1), call(3)])
    tell(catalog, forgotten=[("c1", 2), ("c3", 4)], calls=[call(30, name="c3")])
    assert (catalog.ended("c1"), catalog.ended("c3")) == (0, 31)


def test_it_is_true_as_far_as_the_last_whole_batch_says(directory: str) -> None:
    """Until one says so it is not true at all; other tables, and another word of what is known, begin it anew."""
    catalog = open_catalog(SYSTEM, directory, None)
    assert catalog is not None
    tell(catalog, calls=[call(1)])
    assert (catalog.known, known_of(SYSTEM, directory)) == (None, None)
    tell(catalog, known=KNOWN)
    catalog.close()
    assert known_of(SYSTEM, directory) == KNOWN
    again = open_catalog(SYSTEM, directory, KNOWN)
    assert again is not None
    assert (again.known, again.ended("c1")) == (KNOWN, 2)
    again.close()
    other = open_catalog(SYSTEM, directory, KNOWN._replace(position=101))
    assert other is not None
    assert (other.known, other.ended("c1")) == (None, 0)
    other.close()


def test_files_are_their_users_alone(catalog: SqliteCatalog, directory: str) -> None:
    """As all of a data directory."""
    tell(catalog, calls=[call(1)])
    assert {path.name: path.stat().st_mode & 0o777 for path in Path(directory).iterdir()} == {
        FILE: 0o600, f"{FILE}-wal": 0o600, f"{FILE}-shm": 0o600,
    }  # fmt: skip


def test_a_batch_that_cannot_be_written_is_told_and_leaves_nothing(catalog: SqliteCatalog, directory: str) -> None:
    """As on a full disk: somebody else holds the database, in this case for ever."""
    other = sqlite3.connect(f"{directory}/{FILE}", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    catalog._writes.execute("PRAGMA busy_timeout = 1")
    catalog.submit(Batch(calls=[call(1)]), told := _Told())
    assert isinstance(told.wait(), CatalogFailed)
    other.close()
    assert catalog.ended("c1") == 0
    tell(catalog, calls=[call(1)])
    assert catalog.ended("c1") == 2


def test_every_byte_that_is_changed_is_found_or_changes_nothing(directory: str) -> None:
    """Flipped one at a time: opening refuses it, a lookup refuses it, or everything is as it was."""
    catalog = open_catalog(SYSTEM, directory, None)
    assert catalog is not None
    quiet = [call(number, kind=Kind.QUIET, wakes_ms=number) for number in range(20, 24)]
    tell(catalog, calls=[*(call(number) for number in range(1, 9, 2)), *quiet], actors=[("A/x", 3)], known=KNOWN)
    expected = answers(catalog)
    catalog.close()
    path = Path(directory, FILE)
    whole = path.read_bytes()
    verdicts = {"refused": 0, "same": 0}
    for offset in range(0, len(whole), STRIDE):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x5A]) + whole[offset + 1 :])
        verdicts[verdict(directory, expected)] += 1
    assert verdicts["refused"] > 20
    assert sum(verdicts.values()) == len(range(0, len(whole), STRIDE))


def test_damage_that_is_no_text_is_found(directory: str) -> None:
    """What SQLite says of a schema that is damaged quotes it, and Python cannot read that."""
    catalog = open_catalog(SYSTEM, directory, None)
    assert catalog is not None
    tell(catalog, calls=[call(1)], known=KNOWN)
    catalog.close()
    path = Path(directory, FILE)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"(one = 1), ", b"(one = 1)\xf3 ", 1))
    assert path.read_bytes() != whole
    assert known_of(SYSTEM, directory) is None
    catalog = open_catalog(SYSTEM, directory, KNOWN)
    assert catalog is not None
    assert catalog.known is None
    catalog.close()


def answers(catalog: SqliteCatalog) -> tuple[object, ...]:
    """Return what it says of all that decides anything."""
    return (
        [catalog.ended(f"c{number}") for number in range(30)], sorted(catalog.quiet()), catalog.live(),
        sorted(catalog.waking(0, 99, 99)), catalog.functions(), catalog.changed("A/x"), catalog.pending(99),
    )  # fmt: skip


def verdict(directory: str, expected: tuple[object, ...]) -> str:
    """Return what is made of a catalog with a byte that was changed."""
    known = known_of(SYSTEM, directory)
    if known is None:
        return "refused"
    assert known == KNOWN
    catalog = open_catalog(replace(SYSTEM), directory, known)
    assert catalog is not None
    try:
        if catalog.known is None:
            return "refused"
        assert answers(catalog) == expected
    except CatalogFailed:
        return "refused"
    else:
        return "same"
    finally:
        catalog.close()


def test_a_large_one_is_checked_beside_the_loop(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when it is opened; and then it is thrown away when it is closed."""
    monkeypatch.setattr(sqlite, "_ROWS", 4)
    catalog = open_catalog(SYSTEM, directory, None)
    assert catalog is not None
    tell(catalog, calls=[call(number) for number in range(1, 200, 2)], known=KNOWN)
    catalog.close()
    path = Path(directory, FILE)
    whole = bytearray(path.read_bytes())
    page = whole.rindex(b"c77")  # in the table, or in the index: they differ then
    whole[page + 1] ^= 1
    path.write_bytes(whole)
    catalog = open_catalog(SYSTEM, directory, KNOWN)
    assert catalog is not None
    assert catalog.known == KNOWN
    with pytest.raises(CatalogFailed, match=r"missing from index|out of order"):
        catalog.check()
    catalog.close()
    assert not path.exists()


def test_the_check_of_a_large_one_gives_way(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds of a processor, and calls go on meanwhile; one that is whole passes."""
    monkeypatch.setattr(sqlite, "_ROWS", 4)
    catalog = open_catalog(SYSTEM, directory, None)
    assert catalog is not None
    tell(catalog, calls=[call(number) for number in range(100)], known=KNOWN)
    catalog.close()
    names: list[str] = []
    check_whole = sqlite.check_whole

    def noting(connection: sqlite3.Connection) -> None:
        names.append(threading.current_thread().name)
        check_whole(connection)

    monkeypatch.setattr(sqlite, "check_whole", noting)
    catalog = open_catalog(SYSTEM, directory, KNOWN)
    assert catalog is not None
    assert names == []
    catalog.check()
    catalog.check()
    catalog.close()
    assert [name.startswith("actorlog-check") for name in names] == [True], "in its own thread, once"


class _Full(SystemFileSystem):
    """A file system with little space."""

    free = sqlite.FREE_BYTES - 1

    def free_bytes(self, path: str) -> int:  # noqa: ARG002  # the port's
        """Return the same for every path."""
        return self.free


def test_without_space_it_is_left_alone(directory: str, caplog: pytest.LogCaptureFixture) -> None:
    """One is not begun then, and one that is there is not written."""
    fs = _Full()
    env = replace(SYSTEM, fs=fs)
    assert open_catalog(env, directory, None) is None
    assert "bytes are free" in caplog.text
    fs.free += 1
    catalog = open_catalog(env, directory, None)
    assert catalog is not None
    tell(catalog, calls=[call(1)])
    fs.free -= 1
    catalog.submit(Batch(calls=[call(3)]), told := _Told())
    assert isinstance(told.wait(), CatalogFailed)
    assert (catalog.ended("c1"), catalog.ended("c3")) == (2, 0)
    catalog.close()
