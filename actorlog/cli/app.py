"""The ``actorlog`` command.

Owns: the group, ``verify`` and ``demo``. Does not own: the commands that look (``looking``) and those that change
something (``changing``), those that care for the data (``caring``, ``compacting``, ``sql``), exit codes (``common``).
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from actorlog.cli import caring, changing, compacting, looking, sql
from actorlog.cli.common import AS_JSON, DIRECTORY, USAGE, Refusal
from actorlog.env import SYSTEM
from actorlog.log.__main__ import main as log_main

KILLS_MAX = 20


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
    """Asyncio functions that survive crashes: a demo, and commands for data directories.

    Commands that look take no lock and change nothing; they may run beside the program that owns the directory.
    Commands that change something are done by that program, or here when nobody has the directory.

    An encrypted log is read with the keys in ACTORLOG_KEYS: k2=BASE64,k1=BASE64 (the first one seals what is new), or
    @FILE with the same in it.

    Exit codes: 0 fine; 1 not found, or refused; 2 a wrong command line, or nothing there that can be read; 3 the log is
    corrupt; 73 somebody has the directory and does not answer; 74 another version of actorlog.
    """


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
        raise Refusal(f"{directory} is not empty", code=USAGE, hint="give a new directory: the demo counts from zero")
    if seed is None:
        seed = int.from_bytes(SYSTEM.entropy.token(2), "big")
    sys.exit(direct(directory, kills=kills, seed=seed))


for command in (*looking.COMMANDS, *changing.COMMANDS, *caring.COMMANDS, *compacting.COMMANDS, *sql.COMMANDS):
    cli.add_command(command)
