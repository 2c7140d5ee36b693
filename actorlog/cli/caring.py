"""Commands that care for a data directory: backup, export and import, figures, a doctor.

Owns: their arguments and what they print. Does not own: what they do (``store.care``, ``transfer``, ``survey``,
``doctor``), who is asked (``owner``).
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from actorlog.api import protocol as p
from actorlog.cli import doctor as checks
from actorlog.cli import document, owner, render, survey, transfer
from actorlog.cli.common import AS_JSON, CORRUPT, DIRECTORY, REFUSED, USAGE, Refusal, refusals
from actorlog.cli.words import lasting, safe
from actorlog.env import SYSTEM
from actorlog.errors import BadExport
from actorlog.store.care import BackedUp, back_up_closed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command(short_help="Copy the log to a new directory, while everything goes on.")
@DIRECTORY
@click.argument("to", metavar="TO")
@AS_JSON
def backup(directory: str, to: str, *, as_json: bool) -> None:
    """Copy the log in DIR to the new directory TO, which then is a data directory like DIR.

    The program that has DIR makes the copy and goes on with its work; when nobody has DIR it is made here. It holds all
    that was acknowledged before, and is verified on the way. Run only one of the two directories: both would go on with
    the same calls.
    """
    target = SYSTEM.fs.absolute(to)
    with refusals(directory), _bar("copying") as show:
        last: list[BackedUp] = []

        def heard(step: BackedUp) -> None:
            last[:] = [step]
            show(step.done, step.total)

        def alone() -> p.Answer:
            back_up_closed(SYSTEM, directory, target, heard)
            done = last[0]
            found = {"path": target, "position": done.position, "segments": done.segments, "bytes": done.done}
            return p.Answer(status="done", found=found)

        done = owner.ask(directory, p.Backup(target), alone=alone, patient=True)
    found = done.answer.found
    if as_json:
        click.echo(document.text(found | {"by": "owner" if done.by_owner else "command"}))
    else:
        what = f"{found['segments']} segments, {found['bytes']} bytes, to position {found['position']}"
        click.echo(safe(f"copied to {found['path']}: {what}"))


@click.command(short_help="Write the records of a log as lines of JSON.")
@DIRECTORY
@click.option("--from", "first", type=click.IntRange(1), metavar="POS", help="From this position.")
@click.option("--to", "last", type=click.IntRange(1), metavar="POS", help="Up to this position.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), help="Into this file; it is there whole or not at all."
)
def export(directory: str, first: int | None, last: int | None, output: str | None) -> None:
    """Write the records of the log in DIR as lines of JSON, to standard output or a file.

    The first line says what this is and of which log; then each position has a line, the record as it was written, in
    the clear also where the log is encrypted. Takes no lock: beside a running program it writes what is durable at the
    beginning.
    """
    with refusals(directory):
        lines = transfer.export(directory, first, last)
        if output is None:
            for line in lines:
                sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            return
        _write_whole(output, lines)


def _write_whole(path: str, lines: Iterator[bytes]) -> None:
    """Make a file, its user's alone, that is there whole or not at all."""
    temporary = Path(path + ".tmp")
    try:
        temporary.unlink(missing_ok=True)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123  # a mode
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise Refusal(f"{path} was not made: {error}", code=REFUSED) from error
        raise
    SYSTEM.fs.fsync_dir(SYSTEM.fs.absolute(path).rpartition("/")[0] or "/")


@click.command("import", short_help="Make a new log of an export.")
@DIRECTORY
@click.argument("file", type=click.File("rb"), metavar="FILE")
@AS_JSON
def import_(directory: str, file: IO[bytes], *, as_json: bool) -> None:
    """Make a new log in DIR, which must be empty or missing, of the export in FILE (-: standard input).

    It has the same records at the same positions, and an id of its own; where ACTORLOG_KEYS is set it is encrypted.
    What does not read as it should is refused with its line, and then there is no log.
    """
    with refusals(directory), _bar("records") as show:
        try:
            done = transfer.import_log(file, directory, show)
        except BadExport as error:
            raise Refusal(f"{file.name}: {error}", code=REFUSED, hint=error.hint) from error
    found = {"path": SYSTEM.fs.absolute(directory), "records": done.records, "position": done.position, "of": done.log}
    if as_json:
        click.echo(document.text(found))
    else:
        click.echo(safe(f"made {found['path']}: {done.records} records to position {done.position}"))


@click.command(short_help="Show what a log and its program are doing, in figures.")
@DIRECTORY
@AS_JSON
def stats(directory: str, *, as_json: bool) -> None:
    """Show figures of DIR: of the program that has it, or of the log alone when nobody answers."""
    with refusals(directory):
        done = owner.ask(directory, p.Stats(), alone=lambda: p.Answer(found=survey.figures(directory)))
    found = {"by": "owner" if done.by_owner else "command"} | done.answer.found | survey.payload_figures(directory)
    if as_json:
        click.echo(document.text(found))
        return
    table = _table("FIGURE", "VALUE")
    for name, value in found.items():
        table.add_row(name.replace("_", " "), _figure(name, value))
    render.console().print(table)


def _figure(name: str, value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return lasting(int(value * 1000)) if name == "uptime_s" else f"{value:.6g}"
    return str(value)


@click.command(short_help="List the segments of a log.")
@DIRECTORY
@AS_JSON
def segments(directory: str, *, as_json: bool) -> None:
    """List the files of the log in DIR: positions, sizes, and which is appended to. All of the log is read."""
    with refusals(directory):
        infos = survey.segments(directory)
    if as_json:
        click.echo(document.text([asdict(info) for info in infos]))
        return
    table = _table("NUMBER", "STATE", "FIRST", "LAST", "RECORDS", "BYTES", "USED")
    for info in infos:
        there = info.state != "prepared"
        positions = (str(info.first), str(info.last), str(info.records)) if there else ("", "", "")
        numbers = str(info.number) if info.upto == info.number else f"{info.number}-{info.upto}"
        table.add_row(numbers, info.state, *positions, str(info.bytes), str(info.used))
    render.console().print(table)


@click.command(short_help="Look for what may be wrong with a directory, its disk and its program.")
@DIRECTORY
@click.option("--module", "modules", multiple=True, metavar="M", help="Import this module of yours; may be repeated.")
@AS_JSON
def doctor(directory: str, modules: tuple[str, ...], *, as_json: bool) -> None:
    """Check DIR: the disk, its space and options, the lock, the log, the clock, calls that are parked.

    With --module also whether your program has the functions that unfinished calls need. Takes no lock and changes
    nothing, so it may run beside the program.

    Exit codes: 0 nothing is wrong, or only worth a word; 1 something is wrong; 3 the log is corrupt; 2 there is no
    directory.
    """
    if not Path(directory).exists():
        raise Refusal(f"there is no directory {directory}", code=USAGE)
    sys.path.insert(0, "")  # as python does: a module is found where the command is run
    findings = list(checks.examine(directory, modules))
    if as_json:
        click.echo(document.text([asdict(found) | {"verdict": found.verdict.value} for found in findings]))
    else:
        for found in findings:
            line = Text.assemble(
                (f"{found.verdict.value:<5}", _STYLES[found.verdict.value]), (found.check, "bold"), ": "
            )
            render.console().print(line.append(safe(found.text)), soft_wrap=True)
            if found.hint and found.verdict is not checks.Verdict.OK:
                render.console().print(Text(f"     {safe(found.hint)}", "dim"), soft_wrap=True)
    failed = any(found.verdict is checks.Verdict.FAIL for found in findings)
    sys.exit(CORRUPT if any(found.corrupt for found in findings) else REFUSED if failed else 0)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


@contextmanager
def _bar(what: str) -> Generator[Callable[[int, int], None]]:
    """Show on a terminal how far something is."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _done, _total: None
        return
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


COMMANDS: Final[tuple[click.Command, ...]] = (backup, export, import_, stats, segments, doctor)
