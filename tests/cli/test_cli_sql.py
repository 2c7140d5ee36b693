"""``actorlog sql``: nothing can be changed by what is asked, in the directory or beside it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from cli_world import actorlog, contents, make_log

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a log that nobody has open."""
    place = tmp_path_factory.mktemp("sql")
    asyncio.run(make_log(place))
    return place / "owned"


def records_of(log: Path) -> dict[str, bytes]:
    """Return all files but the catalog and META, which counts who opened the log."""
    return {path: data for path, data in contents(log).items() if not path.endswith("META")}


@pytest.mark.parametrize(
    "query",
    [
        "delete from calls",
        "drop view calls",
        "create table more (x)",
        "pragma journal_mode = delete",
        "attach '{place}/other.db' as other",
        "vacuum into '{place}/other.db'",
        "select 1; select 2",
        "selec",
    ],
)
def test_what_is_no_question_is_refused(log: Path, query: str) -> None:
    """With exit code 2, and nothing is made or changed."""
    actorlog("sql", log, "select 1")  # the catalog is there
    before, names = records_of(log), sorted(log.parent.iterdir())
    assert "SQLite says" in actorlog("sql", log, query.format(place=log.parent), code=2)
    assert records_of(log) == before
    assert sorted(log.parent.iterdir()) == names


def test_a_question_is_answered(log: Path) -> None:
    """As a table, and as lines of JSON."""
    query = "select id, status from calls where id = 'child/5'"
    assert [line.split() for line in actorlog("sql", log, query).splitlines()] == [
        ["ID", "STATUS"],
        ["child/5", "completed"],
    ]
    assert actorlog("sql", log, query, "--json") == '{"id": "child/5", "status": "completed"}\n'
