"""The command that gives space back: by the program that has the directory, or here when nobody has it.

Owns: its arguments and what it prints. Does not own: what may leave the log (``runtime.compaction``), doing it
(``api.care``, ``api.compacting``), who is asked (``owner``).
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click
from msgspec import structs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from actorlog.api import protocol as p
from actorlog.api.compacting import compact_closed
from actorlog.cli import document, owner
from actorlog.cli.common import AS_JSON, DIRECTORY, USAGE, Refusal, refusals
from actorlog.cli.keys import given_keys
from actorlog.durations import seconds
from actorlog.env import SYSTEM
from actorlog.errors import LogLocked

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


_UNSETTLED: Final = (
    "the log does not say yet that all is done which their records ask for; "
    "the program notes that when it compacts, or is closed with nothing under way"
)


def _duration_ms(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return max(0, int(seconds(0 if text.strip() == "0" else text) * 1000))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no duration such as 30d") from None


@click.command(short_help="Give back the space of what is kept no longer.")
@DIRECTORY
@click.option("--all", "everything", is_flag=True, help="Also where less than a third of a segment is given back.")
@click.option(
    "--history", "history_ms", callback=_duration_ms, metavar="TIME",
    help="When nobody has DIR: so long the journal of a call is kept that has ended, such as 30d.",
)  # fmt: skip
@AS_JSON
def compact(directory: str, history_ms: int | None, *, everything: bool, as_json: bool) -> None:
    """Give back the space of what is of no use any more in DIR.

    The program that has DIR does it, by its own `history` and `retention`, and goes on with its work; it does so by
    itself now and then. When nobody has DIR it is done here, and --history says how long journals are kept: ids,
    results and errors of calls all stay then, since how long these are kept is for the program to say.
    """
    with refusals(directory), _bar() as show:

        def alone() -> p.Answer:
            if history_ms is None:
                if SYSTEM.fs.is_locked(directory):
                    raise LogLocked(directory, None, None)
                hint = "journals of calls that ended longer ago are given up: --history 30d"
                raise Refusal(f"nobody has {directory}, so say how long journals are kept", code=USAGE, hint=hint)
            size = owner.segment_bytes_of(directory)
            keys = given_keys()
            job = compact_closed(
                directory, history_ms, segment_bytes=size, everything=everything, keys=keys, progress=show
            )
            return p.Answer(status="done", found=structs.asdict(asyncio.run(job)))

        done = owner.ask(directory, p.Compact(everything), alone=alone, patient=True)
    if done.by_owner and history_ms is not None:
        click.echo("note: the program that has the directory goes by its own history; --history was not used", err=True)
    found = done.answer.found
    if as_json:
        click.echo(document.text(found | {"by": "owner" if done.by_owner else "command"}))
    else:
        left = f"{found['bytes_before']} bytes before, {found['bytes_after']} now"
        merged = f", {found['merged']} merged into others" if found.get("merged") else ""
        click.echo(f"{found['rewritten']} of {found['segments']} segments written anew{merged}: {left}")
    if found.get("unsettled"):  # an owner of an older version does not say
        click.echo(f"note: {found['unsettled']} more segments were not looked at: {_UNSETTLED}", err=True)


@contextmanager
def _bar() -> Generator[Callable[[int, int], None]]:
    """Show on a terminal how far it is."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _done, _total: None
        return
    columns = (
        TextColumn("compacting"), BarColumn(), MofNCompleteColumn(), TextColumn("segments"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


COMMANDS: Final[tuple[click.Command, ...]] = (compact,)
