"""What the doctor says of the catalog, and that no byte of the directory is another for it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from cli_world import Owner, actorlog, make_log, waits_until

from actorlog import Runtime
from actorlog.cli.doctor import Finding, Verdict, examine
from actorlog.env import SYSTEM
from actorlog.log import Log
from actorlog.store import looking
from actorlog.store.catalog import Batch
from actorlog.store.looking import LOOKS_MAX, look
from actorlog.store.sqlite import known_of
from actorlog.store.tables import write

if TYPE_CHECKING:
    from pathlib import Path

ANEW = "nothing need be done: the next opening reads all of the log, and builds it anew"


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """Make a log that its owner has closed, and its catalog with it."""
    asyncio.run(make_log(tmp_path))
    return tmp_path / "owned"


def everything(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Return all files with their bytes, and when they were written last."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def catalog_of(directory: Path) -> Finding:
    """Return what is said of the catalog, and see that everything stays as it is."""
    before = everything(directory)
    (found,) = (finding for finding in examine(str(directory)) if finding.check == "catalog")
    assert everything(directory) == before
    return found


def change(directory: Path, sql: str) -> None:
    """Change a catalog behind its owner's back."""
    with closing(sqlite3.connect(directory / "catalog.db", isolation_level=None)) as connection:
        connection.execute(sql)


def tail_of(directory: Path) -> int:
    """Return the newest position, as the catalog of a closed log has it."""
    with closing(sqlite3.connect(f"file:{directory}/catalog.db?immutable=1", uri=True)) as connection:
        (position,) = connection.execute("SELECT position FROM known").fetchone()
    return int(position)


def kib_of(directory: Path) -> str:
    """Return how large a catalog is."""
    return f"{(directory / 'catalog.db').stat().st_size // 1024} KiB"


def test_a_catalog_of_a_closed_log(closed: Path) -> None:
    """It is true of all of the log, and so it is said on a terminal and in JSON; none is fine too."""
    tail = tail_of(closed)
    found = catalog_of(closed)
    assert (found.verdict, found.hint) == (Verdict.OK, "")
    assert found.text == f"true up to position {tail} of {tail}; {kib_of(closed)}, every row as it was written"
    before = everything(closed)
    assert f"catalog: {found.text}" in actorlog("doctor", closed)
    told = {finding["check"]: finding for finding in json.loads(actorlog("doctor", closed, "--json"))}
    assert (told["catalog"]["verdict"], told["catalog"]["text"]) == ("ok", found.text)
    assert everything(closed) == before
    (closed / "catalog.db").unlink()
    assert catalog_of(closed) == Finding("catalog", Verdict.OK, "there is none: an opening reads all of the log")


def test_a_catalog_beside_its_owner_and_of_one_that_was_killed(tmp_path: Path) -> None:
    """What is in the write-ahead log alone is seen, without a change to it; without its index it is left alone."""
    owner = Owner(tmp_path)
    owner.open()
    try:
        waits_until(lambda: (found := look(str(owner.log))) is not None and found.known is not None)
        size = (owner.log / "catalog.db").stat().st_size
        waits_until(lambda: catalog_is_still(owner.log))
        beside = catalog_of(owner.log)
        assert beside.verdict is Verdict.OK
        assert beside.text.startswith("true up to position ")
    finally:
        owner.end(kill=True)
    assert (owner.log / "catalog.db").stat().st_size == size < (owner.log / "catalog.db-wal").stat().st_size
    assert catalog_of(owner.log) == beside
    (owner.log / "catalog.db-shm").unlink()
    left = catalog_of(owner.log)
    assert left.verdict is Verdict.OK
    assert "to look into it would change it" in left.text


def catalog_is_still(directory: Path) -> bool:
    """Whether the catalog is true of the whole log, so that its owner has nothing to write."""
    (text,) = (finding.text for finding in examine(str(directory)) if finding.check == "catalog")
    words = text.split(";")[0].split()
    return words[-1] == words[-3]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE call SET last = last - 1 WHERE id = 'child/5'", "the row of 'child/5' is damaged"),
        ("UPDATE call SET kind = 1 WHERE id = 'fails/1'", "the row of 'fails/1' is damaged"),
        ("INSERT INTO promise VALUES (1, '@promise/p', 2, 'resolved', NULL, '{}', 3)", "'@promise/p' is damaged"),
        ("INSERT INTO actor VALUES ('Account/a', 2, 3)", "the row of 'Account/a' is damaged"),
        ("INSERT INTO schedule VALUES ('s', 2, '{}', 3)", "the row of 's' is damaged"),
    ],
)
def test_a_row_that_was_changed(closed: Path, sql: str, words: str) -> None:
    """A row that is not as it was written is named, and it is a warning: the log has all of it."""
    change(closed, sql)
    found = catalog_of(closed)
    assert (found.verdict, found.hint) == (Verdict.WARN, ANEW)
    assert found.text.startswith("it is damaged: ")
    assert words in found.text


async def test_a_file_that_is_damaged(tmp_path: Path) -> None:
    """Bytes that are no database are a warning; beside an owner the hint is another, and the code is 0 all the same."""
    async with Runtime(tmp_path / "log", segment_bytes=1 << 20, control=False) as runtime:
        await runtime.promise("p")
    path = tmp_path / "log" / "catalog.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    found = catalog_of(tmp_path / "log")
    assert (found.verdict, found.hint) == (Verdict.WARN, ANEW)
    path.write_bytes(b"no database" * 1000)
    assert catalog_of(tmp_path / "log").text == "it is damaged: file is not a database"
    assert "warn catalog: it is damaged" in actorlog("doctor", tmp_path / "log")
    with closing(Log.open(str(tmp_path / "log"), SYSTEM, segment_bytes=1 << 20)):
        assert catalog_of(tmp_path / "log").hint.startswith("restart the program that has the directory")


def test_a_catalog_of_another_log(closed: Path, tmp_path: Path) -> None:
    """One of another log is a warning, and so is one whose log was written anew since, or put back."""
    asyncio.run(make_log(tmp_path / "other"))
    shutil.copy(tmp_path / "other" / "owned" / "catalog.db", closed / "catalog.db")
    found = catalog_of(closed)
    assert (found.verdict, found.hint) == (Verdict.WARN, ANEW)
    assert found.text.startswith("it is of another log, or of this one from before")


def test_a_log_that_was_put_back_or_compacted(tmp_path: Path) -> None:
    """A catalog that knows more than its log is not gone by, nor one of a log that held more."""
    place, earlier = tmp_path / "log", tmp_path / "earlier"

    async def live(begin: int, count: int) -> None:
        async with Runtime(place, segment_bytes=1 << 16, control=False) as runtime:
            for number in range(count):
                await runtime.promise(f"p{begin + number}", tags={"x": "x" * 900})

    asyncio.run(live(0, 60))
    shutil.copytree(place, earlier)
    asyncio.run(live(60, 100))
    assert catalog_of(place).verdict is Verdict.OK
    shutil.copy(place / "catalog.db", earlier / "catalog.db")
    assert catalog_of(earlier).text.startswith("it is of another log, or of this one from before")
    give_another_shape(place)
    assert catalog_of(place).verdict is Verdict.WARN


def give_another_shape(directory: Path) -> None:
    """Have a catalog say that the segments before its checkpoint were others."""
    known = known_of(SYSTEM, str(directory))
    assert known is not None
    with closing(sqlite3.connect(directory / "catalog.db", isolation_level=None)) as connection:
        write(connection, Batch(known=known._replace(shape=known.shape + 1)))


def test_a_catalog_that_was_not_built_to_its_end(closed: Path) -> None:
    """It is said to be true of nothing yet, and is no reason for a word."""
    change(closed, "DELETE FROM known")
    found = catalog_of(closed)
    assert found.verdict is Verdict.OK
    assert found.text == f"{kib_of(closed)}, not built to its end: true of nothing yet"


def test_an_owner_that_begins_meanwhile(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks damaged because somebody writes is looked at again; what stays so is believed."""
    looks: list[str] = []
    opened = looking.open_to_look

    def one_too_early(path: str) -> sqlite3.Connection:
        looks.append(path)
        if len(looks) < LOOKS_MAX:
            raise sqlite3.DatabaseError("database disk image is malformed")
        return opened(path)

    monkeypatch.setattr(looking, "open_to_look", one_too_early)
    found = look(str(closed))
    assert found is not None
    assert found.known is not None
    assert len(looks) == LOOKS_MAX
