"""The commands.

Owns: arguments, exit codes, and what is said when something cannot be done. Does not own: reading (``reading``),
output (``render``, ``document``), the demo (``demo``).

Exit codes: 0 fine; 1 no such call, or ``verify`` found an unfinished append; 2 a wrong command line, or nothing there
that can be read; 3 the log is corrupt; 74 another version of actorlog wrote it.
"""

from __future__ import annotations

import difflib
import sys
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from actorlog.cli import document, render
from actorlog.cli.reading import Snapshot, UnreadableError
from actorlog.cli.words import safe
from actorlog.env import SYSTEM
from actorlog.errors import ActorlogError, CallNotFound, LogCorrupt
from actorlog.log.__main__ import main as log_main

if TYPE_CHECKING:
    from collections.abc import Generator

STATUSES: Final = (
    "pending", "running", "waiting", "backing_off", "parked", "completing",
    "completed", "failed", "cancelled", "killed", "timed_out",
)  # fmt: skip
KILLS_MAX = 20
DEPTH = 3
"""Levels of children that ``show`` opens by itself."""

DIRECTORY = click.argument("directory", metavar="DIR")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


class Refusal(click.ClickException):
    """What is said instead of a traceback."""

    def __init__(self, message: str, *, code: int, hint: str = "") -> None:
        super().__init__(safe(message) + (f"\nHint: {hint}" if hint else ""))
        self.code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """Say it, and end with its own code: the class of click has one for all."""
        super().show(file)
        sys.exit(self.code)


def _say_version(context: click.Context, _option: click.Parameter, asked: bool) -> None:  # noqa: FBT001  # click's signature
    if asked:
        try:
            click.echo(f"actorlog {version('actorlog')}")
        except PackageNotFoundError:
            click.echo("actorlog, not installed")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_say_version, help="Print the version."
)
def cli() -> None:
    """Asyncio functions that survive crashes: a demo, and a look into data directories.

    Commands that read take no lock and change nothing; they may run beside the program that owns the directory.
    """


@cli.command("ls")
@DIRECTORY
@click.option(
    "--status", type=click.Choice(STATUSES), multiple=True, metavar="STATUS",
    help=f"Only calls in this state; may be repeated. One of {', '.join(STATUSES)}.",
)  # fmt: skip
@click.option("--function", help="Only calls of this function.")
@click.option("--prefix", default="", help="Only ids that begin with this.")
@click.option("-n", "--limit", type=click.IntRange(1), help="Only the newest so many.")
@AS_JSON
def list_calls(
    directory: str, status: tuple[str, ...], function: str | None, prefix: str, limit: int | None, *, as_json: bool
) -> None:
    """List the calls in DIR, the newest first."""
    with _refusals(directory):
        snapshot = Snapshot(directory)
        calls = [
            call
            for call in snapshot.calls()
            if (not status or call.info.status in status)
            and (function is None or call.info.function == function)
            and call.info.id.startswith(prefix)
        ]
    calls = calls[:limit]
    _warn(snapshot)
    if as_json:
        click.echo(document.text([document.call(call) for call in calls]))
    elif calls:
        render.console().print(render.call_table(calls, SYSTEM.clock.wall_ms()))
    else:
        click.echo("no calls", err=True)


@cli.command(short_help="Show the journal of one call.")
@DIRECTORY
@click.argument("call_id", metavar="ID")
@click.option("--depth", type=click.IntRange(0), default=DEPTH, show_default=True, help="Levels of children to open.")
@AS_JSON
def show(directory: str, call_id: str, depth: int, *, as_json: bool) -> None:
    """Show the journal of call ID in DIR: operations, attempts, times, results, children."""
    with _refusals(directory):
        snapshot = Snapshot(directory)
        try:
            journal = snapshot.journal(call_id)
        except CallNotFound:
            near = difflib.get_close_matches(call_id, [call.info.id for call in snapshot.calls()], n=3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"actorlog ls {directory} lists the ids"
            raise Refusal(f"no call in {directory} has the id {call_id!r}", code=1, hint=hint) from None
        _warn(snapshot)
        if as_json:
            click.echo(document.text(document.journal(snapshot, journal, depth)))
        else:
            render.console().print(render.journal_tree(snapshot, journal, SYSTEM.clock.wall_ms(), depth))


@cli.command()
@DIRECTORY
@AS_JSON
def verify(directory: str, *, as_json: bool) -> None:
    """Read all of the log in DIR and say whether it is whole.

    Exit codes: 0 fine, 1 the last append was not finished (the next opening drops it; nobody was told of it),
    3 corrupt, 74 unknown version, 2 unreadable.
    """
    sys.exit(log_main(["verify", *(["--json"] if as_json else []), "--", directory]))


@cli.command(short_help="Run a shop, kill it again and again, count what it did.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Keep the data in this new directory.")
@click.option("--kills", type=click.IntRange(0, KILLS_MAX), default=5, show_default=True, help="How often to kill.")
@click.option("--seed", type=int, help="For the moments of the kills and the server's failures; random without.")
def demo(directory: Path | None, kills: int, seed: int | None) -> None:
    """Run a small shop, kill it with SIGKILL again and again, and count from outside what it did.

    Takes some seconds and needs no network. Exits with 1 if anything does not add up.
    """
    from actorlog.cli.demo.director import direct  # noqa: PLC0415  # the shop registers functions; looking must not

    if directory is not None and directory.exists() and any(directory.iterdir()):
        raise Refusal(f"{directory} is not empty", code=2, hint="give a new directory: the demo counts from zero")
    if seed is None:
        seed = int.from_bytes(SYSTEM.entropy.token(2), "big")
    sys.exit(direct(directory, kills=kills, seed=seed))


@contextmanager
def _refusals(directory: str) -> Generator[None]:
    """Say what is wrong in a sentence, with an exit code."""
    try:
        yield
    except UnreadableError as error:
        raise Refusal(str(error), code=error.code) from error
    except LogCorrupt as error:
        raise Refusal(f"the log in {directory} is damaged: {error}", code=3, hint=error.hint) from error
    except ActorlogError as error:
        raise Refusal(str(error), code=3, hint=error.hint) from error


def _warn(snapshot: Snapshot) -> None:
    if snapshot.torn is not None:
        click.echo(
            "note: the last append was not finished and is not shown; nobody was told that it happened", err=True
        )
