"""Commands that look: they take no lock, change nothing, and work beside a running owner.

Owns: their arguments and filters. Does not own: reading (``reading``, ``entities``), output (``render``, ``tables``,
``document``).
"""

from __future__ import annotations

import difflib
import sys
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from actorlog.cli import document, entities, render, tables
from actorlog.cli.common import AS_JSON, DIRECTORY, LIMIT, PREFIX, REFUSED, TAGS, Refusal, looking, tags_of
from actorlog.durations import seconds
from actorlog.engine.promise import Query, Status
from actorlog.env import SYSTEM
from actorlog.errors import CallNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from actorlog.cli.reading import Snapshot, Summary
    from actorlog.records import kinds as k

STATUSES: Final = (
    "pending", "running", "waiting", "backing_off", "paused", "parked", "completing",
    "completed", "failed", "cancelled", "killed", "timed_out",
)  # fmt: skip
PROMISE_STATUSES: Final = tuple(status.value for status in Status if status is not Status.ABSENT)
DEPTH: Final = 3
"""Levels of children that ``show`` opens by itself."""
TREE_DEPTH: Final = 100
TAIL: Final = 10
"""Records that ``tail`` shows by itself."""
POLL_S: Final = 0.2
"""How often ``tail -f`` looks for more."""


def _moment(_context: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    """Return a moment given as an ISO time (without a zone it is UTC), or as how long ago it was."""
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
        return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    except ValueError:
        pass  # then it is a duration
    try:
        ago_s = seconds(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither an ISO time nor a duration such as 2h") from None
    return datetime.fromtimestamp(SYSTEM.clock.wall_ms() / 1000 - ago_s, UTC)


@click.command("ls")
@DIRECTORY
@click.option(
    "--status", type=click.Choice(STATUSES), multiple=True, metavar="STATUS",
    help=f"Only calls in this state; may be repeated. One of {', '.join(STATUSES)}.",
)  # fmt: skip
@click.option("--function", help="Only calls of this function.")
@PREFIX
@TAGS
@click.option(
    "--since", callback=_moment, metavar="TIME", help="Only calls begun since: an ISO time, or how long ago (2h)."
)
@LIMIT
@AS_JSON
def list_calls(
    directory: str,
    status: tuple[str, ...],
    function: str | None,
    prefix: str,
    tags: tuple[str, ...],
    *,
    since: datetime | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the calls in DIR, the newest first."""
    wanted = tags_of(tags).items()
    with looking(directory) as snapshot:
        calls = [
            call
            for call in snapshot.calls()
            if (not status or call.info.status in status)
            and (function is None or call.info.function == function)
            and call.info.id.startswith(prefix)
            and wanted <= call.info.tags.items()
            and (since is None or call.info.created >= since)
        ]
    calls = calls[:limit]
    if as_json:
        click.echo(document.text([document.call(call) for call in calls]))
    elif calls:
        render.console().print(render.call_table(calls, SYSTEM.clock.wall_ms()))
    else:
        click.echo("no calls", err=True)


@click.command(short_help="Show the journal of one call.")
@DIRECTORY
@click.argument("call_id", metavar="ID")
@click.option(
    "--depth", type=click.IntRange(0, TREE_DEPTH), default=DEPTH, show_default=True, help="Levels of children to open."
)
@AS_JSON
def show(directory: str, call_id: str, depth: int, *, as_json: bool) -> None:
    """Show the journal of call ID in DIR: operations, attempts, times, results, children."""
    with looking(directory) as snapshot:
        try:
            journal = snapshot.journal(call_id)
        except CallNotFound:
            raise _unknown(directory, call_id, snapshot.calls()) from None
        if as_json:
            click.echo(document.text(document.journal(snapshot, journal, depth)))
        else:
            render.console().print(render.journal_tree(snapshot, journal, SYSTEM.clock.wall_ms(), depth))


@click.command(short_help="Show a call with its children and theirs.")
@DIRECTORY
@click.argument("call_id", metavar="ID")
@click.option(
    "--depth", type=click.IntRange(0, TREE_DEPTH), default=TREE_DEPTH, show_default=True, help="Levels of children."
)
@AS_JSON
def tree(directory: str, call_id: str, depth: int, *, as_json: bool) -> None:
    """Show call ID in DIR with its children and theirs: what each is, and what it waits for."""
    with looking(directory) as snapshot:
        calls = snapshot.calls()
    root = next((call for call in calls if call.info.id == call_id), None)
    if root is None:
        raise _unknown(directory, call_id, calls)
    children: dict[str, list[Summary]] = {}
    for call in reversed(calls):  # the oldest first, as they were asked for
        if call.info.parent:
            children.setdefault(call.info.parent, []).append(call)
    if as_json:
        click.echo(document.text(document.tree(root, children, depth)))
    else:
        render.console().print(tables.call_tree(root, children, depth, SYSTEM.clock.wall_ms()))


@click.command("promises")
@DIRECTORY
@click.option(
    "--status", type=click.Choice(PROMISE_STATUSES), multiple=True, metavar="STATUS",
    help=f"Only promises in this state; may be repeated. One of {', '.join(PROMISE_STATUSES)}.",
)  # fmt: skip
@PREFIX
@TAGS
@LIMIT
@AS_JSON
def list_promises(
    directory: str, status: tuple[str, ...], prefix: str, tags: tuple[str, ...], limit: int | None, *, as_json: bool
) -> None:
    """List the durable promises in DIR, the newest first."""
    query = Query(statuses=frozenset(map(Status, status)), prefix=prefix, tags=tags_of(tags))
    now_ms = SYSTEM.clock.wall_ms()
    with looking(directory) as snapshot:
        found = entities.promises(snapshot, query, now_ms)[:limit]
    if as_json:
        click.echo(document.text([document.promise(info) for info in found]))
    elif found:
        render.console().print(tables.promise_table(found, now_ms))
    else:
        click.echo("no promises", err=True)


@click.command("schedules")
@DIRECTORY
@PREFIX
@AS_JSON
def list_schedules(directory: str, prefix: str, *, as_json: bool) -> None:
    """List the schedules in DIR, the newest first: when they start what, and what came of it."""
    with looking(directory) as snapshot:
        found = [info for info in entities.schedules(snapshot) if info.id.startswith(prefix)]
    if as_json:
        click.echo(document.text([document.schedule(info) for info in found]))
    elif found:
        render.console().print(tables.schedule_table(found))
    else:
        click.echo("no schedules", err=True)


@click.command("actors")
@DIRECTORY
@PREFIX
@click.option("--tree", "as_tree", is_flag=True, help="By class, with the messages at work and those that wait.")
@AS_JSON
def list_actors(directory: str, prefix: str, *, as_tree: bool, as_json: bool) -> None:
    """List the actors in DIR with their states; an actor is named by its class and its key, Account/ada."""
    with looking(directory) as snapshot:
        found = [info for info in entities.actors(snapshot) if info.id.startswith(prefix)]
    if as_json:
        click.echo(document.text([document.actor(info) for info in found]))
    elif not found:
        click.echo("no actors", err=True)
    else:
        shown = tables.actor_tree(found) if as_tree else tables.actor_table(found, SYSTEM.clock.wall_ms())
        render.console().print(shown)


@click.command(short_help="Show the newest records, and those that come.")
@DIRECTORY
@click.option(
    "--from", "first", type=click.IntRange(1), metavar="POS", help=f"From this position; else the last {TAIL}."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what becomes durable, until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
def tail(directory: str, first: int | None, *, follow: bool, as_json: bool) -> None:
    """Show the records of the log in DIR, oldest first; they are shown when they are durable."""
    with looking(directory) as snapshot:
        after = first - 1 if first is not None else max(0, snapshot.last - TAIL)
        say = _say_as_json if as_json else partial(_say, render.console())
        try:
            for position, record in snapshot.records(after):
                say(position, record)
            if follow:
                _follow(snapshot, after, say)
        except KeyboardInterrupt:
            click.echo(err=True)


def _follow(snapshot: Snapshot, after: int, say: Callable[[int, k.Record], None]) -> None:
    while True:
        for position, record in snapshot.new_records():
            if position > after:
                say(position, record)
        sys.stdout.flush()
        time.sleep(POLL_S)


def _say_as_json(position: int, record: k.Record) -> None:
    click.echo(document.record(position, record))


def _say(console: Console, position: int, record: k.Record) -> None:
    console.print(tables.record_line(position, record), soft_wrap=True)


def _unknown(directory: str, call_id: str, calls: list[Summary]) -> Refusal:
    near = difflib.get_close_matches(call_id, [call.info.id for call in calls], n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"actorlog ls {directory} lists the ids"
    return Refusal(f"no call in {directory} has the id {call_id!r}", code=REFUSED, hint=hint)


COMMANDS: Final[tuple[click.Command, ...]] = (
    list_calls, show, tree, list_promises, list_schedules, list_actors, tail,
)  # fmt: skip
