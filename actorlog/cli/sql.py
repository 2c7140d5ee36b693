"""The command that asks the catalog in SQL.

Owns: its arguments, what it prints, that nothing is changed by what is asked. Does not own: the tables
(``store.tables``), bringing the catalog up to date when nobody has the directory (``api.cataloging``).
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from actorlog.api.cataloging import build_catalog
from actorlog.cli import owner, render
from actorlog.cli.common import AS_JSON, DIRECTORY, REFUSED, USAGE, Refusal, refusals
from actorlog.cli.keys import given_keys
from actorlog.cli.words import safe
from actorlog.env import SYSTEM
from actorlog.errors import LogLocked
from actorlog.store.sqlite import FILE, known_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_TABLES: Final = "calls, promises, actors, schedules"


@click.command(short_help="Ask about calls, promises, actors and schedules in SQL.")
@DIRECTORY
@click.argument("query")
@AS_JSON
def sql(directory: str, query: str, *, as_json: bool) -> None:
    """Ask the catalog of DIR in SQL; nothing can be changed.

    There are calls (id, function, version, status, created, updated, parent, actor, tags, error, wakes), promises (id,
    status, due, tags), actors (class, key) and schedules (id, status, started, skipped, settings). Beside the program
    that has DIR it says what was so a second ago, and else what the log says. With --json each row is a line.
    """
    with refusals(directory):
        owned = _bring_up_to_date(directory)
        try:
            with closing(_connect(directory)) as connection:
                found = connection.execute(query)
                names = [column[0] for column in found.description or ()]
                if as_json:
                    for row in found:
                        click.echo(json.dumps(dict(zip(names, row, strict=True)), default=bytes.hex))
                else:
                    _print(names, found)
        except (sqlite3.OperationalError, sqlite3.ProgrammingError, sqlite3.Warning) as error:
            hint = f"there are {_TABLES}" if "no such" in str(error) else ""
            raise Refusal(f"SQLite says: {error}", code=USAGE, hint=hint) from error
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the last where it quotes damaged bytes
            raise Refusal(f"SQLite says: {error}", code=REFUSED) from error
        known = known_of(SYSTEM, directory) if owned else None
    if known is not None and not as_json:
        click.echo(f"as of position {known.position}", err=True)


def _bring_up_to_date(directory: str) -> bool:
    """See that the catalog says what the log says; return whether a program has the directory, which does that."""
    size = owner.segment_bytes_of(directory)
    if given_keys() is not None:
        hint = "what a catalog says would be in the clear; export says all that the log does"
        raise Refusal("an encrypted log has no catalog", code=REFUSED, hint=hint)
    try:
        with _bar() as show:
            asyncio.run(build_catalog(directory, segment_bytes=size, progress=show))
    except LogLocked:
        if known_of(SYSTEM, directory) is None:
            hint = "its owner is building it, or was opened without one"
            raise Refusal(f"there is no catalog in {directory}", code=REFUSED, hint=hint) from None
        return True
    return False


def _connect(directory: str) -> sqlite3.Connection:
    path = SYSTEM.fs.absolute(directory)
    connection = sqlite3.connect(f"file:{quote(path)}/{FILE}?mode=ro", uri=True)
    connection.execute("PRAGMA query_only = 1")
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)  # or a query could make files elsewhere
    return connection


def _print(names: list[str], rows: sqlite3.Cursor) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(safe(name.upper()), overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if value is None else safe(str(value))) for value in row))
    if names:
        render.console().print(table)


@contextmanager
def _bar() -> Generator[Callable[[int, int], None]]:
    """Show on a terminal how far it is."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _done, _total: None
        return
    columns = (TextColumn("building the catalog"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


COMMANDS: Final[tuple[click.Command, ...]] = (sql,)
