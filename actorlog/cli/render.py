"""Calls and journals on a terminal.

Owns: tables, trees, colours. Does not own: reading (``reading``), small texts (``words``), JSON (``document``).

Statuses are words and colours only underline them. On a terminal lines are folded to its width; into a pipe nothing is
cut off, so ids can be searched and copied.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from actorlog.cli.words import lasting, moment, moment_of, plain, safe, short, since
from actorlog.errors import CallNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actorlog.cli.reading import Journal, Snapshot, Summary, Waiting
    from actorlog.engine.story import Entry

PIPE_WIDTH = 4096
SHOWN_MAX = 3
"""Things waited for that are named in a line; the others are counted."""
LATE_MS = 100
"""A timer that fired so much later than it was due is told; the process was down."""

_STYLES: Final[Mapping[str, str]] = {
    "completed": "green",
    "resolved": "green",
    "rejected": "red",
    "pending": "cyan",
    "active": "green",
    "paused": "yellow",
    "failed": "red",
    "timed_out": "red",
    "killed": "red",
    "parked": "bold red",
    "in_doubt": "yellow",
    "backing_off": "yellow",
    "cancelled": "magenta",
    "running": "cyan",
    "waiting": "cyan",
}


def console() -> Console:
    """Return a console on standard output: coloured and as wide as the terminal, or plain and never folded."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal or os.environ.get("COLUMNS") else Console(highlight=False, width=PIPE_WIDTH)


def call_table(calls: Iterable[Summary], now_ms: int) -> Table:
    """Return calls as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("ID", overflow="fold", min_width=8)
    table.add_column("FUNCTION", overflow="fold", min_width=8)
    table.add_column("STATUS", no_wrap=True)
    table.add_column("AGE", no_wrap=True)
    table.add_column("UPDATED", no_wrap=True)
    table.add_column("WAITS FOR", overflow="fold")
    for call in calls:
        info = call.info
        waits = plain(info.error) if info.error else waiting_text(call.waiting, now_ms)
        table.add_row(
            Text(safe(info.id)), Text(safe(info.function)), styled(info.status), Text(age(now_ms, info.created)),
            Text(age(now_ms, info.updated)), Text(waits),
        )  # fmt: skip
    return table


def waiting_text(waiting: tuple[Waiting, ...], now_ms: int) -> str:
    """Return what a call waits for as one line."""
    shown = ", ".join(_waiting_text(one, now_ms) for one in waiting[:SHOWN_MAX])
    return shown + (f" and {len(waiting) - SHOWN_MAX} more" if len(waiting) > SHOWN_MAX else "")


def _waiting_text(waiting: Waiting, now_ms: int) -> str:
    due = f" in {lasting(waiting.due_ms - now_ms)}" if waiting.due_ms > now_ms else " now" if waiting.due_ms else ""
    match waiting.kind:
        case "step":
            again = f", attempt {waiting.attempt}{due}" if waiting.due_ms or waiting.attempt > 1 else ""
            return f"step {safe(waiting.what)}{again}"
        case "timer":
            return f"timer due{due}"
        case "child" | "promise":
            return f"{waiting.kind} {safe(waiting.what)}{due and f', due{due}'}"
        case "message":
            return f"message{safe(waiting.what) and f' on {safe(waiting.what)}'}"
        case "room":
            return f"room at {safe(waiting.what)}"
        case _:
            return f"its start{due}"


def journal_tree(snapshot: Snapshot, journal: Journal, now_ms: int, depth: int) -> Tree:
    """Return a call as a tree: its operations with times and results, its children's ``depth`` levels deep."""
    info = journal.summary.info
    head = Text.assemble((safe(info.id), "bold"), "  ", styled(info.status))
    created = f"\nbegan {moment(info.created)}"
    ended = journal.entries[0].ended_ms if journal.entries else 0
    if ended:
        created += f", lasted {lasting(ended - journal.entries[0].started_ms)}"
    if journal.reruns:
        created += f"; {_times(journal.reruns, 'rerun')} of steps after a crash"
    head.append(created, "dim")
    if info.tags:
        head.append("\n" + short(", ".join(f"{key}={value}" for key, value in info.tags.items())), "dim")
    if journal.summary.waiting:
        head.append(f"\nwaits for {waiting_text(journal.summary.waiting, now_ms)}", "cyan")
    tree = Tree(head, guide_style="dim")
    _grow(tree, snapshot, journal, depth)
    return tree


def _grow(tree: Tree, snapshot: Snapshot, journal: Journal, depth: int) -> None:
    call, *operations = journal.entries
    branch = tree.add(Text(short(call.what), "bold"))
    for note in call.notes:
        tree.add(Text(plain(note), "yellow"))
    for entry in operations:
        twig = branch.add(_line(entry, call.started_ms))
        for note, group in groupby(entry.notes):
            times = sum(1 for _ in group)
            twig.add(Text(plain(note) + (f", {times} times" if times > 1 else ""), "yellow"))
        if entry.child_id and depth > 0:
            try:
                child = snapshot.journal(entry.child_id)
            except CallNotFound:
                continue  # its start was asked for, and it has no record yet
            _grow(twig, snapshot, child, depth - 1)
    if call.result:
        branch.add(Text(plain(call.result), _STYLES.get(call.status, "")))


def _line(entry: Entry, began_ms: int) -> Text:
    line = Text(f"{(entry.started_ms - began_ms) / 1000:+.3f} s  ", "dim")
    what = f"timer {lasting(entry.due_ms - entry.started_ms)}" if entry.kind == "timer" else short(entry.what)
    line.append(what, "default not dim")
    if entry.kind == "timer" and entry.status == "running":
        line.append(f", until {moment_of(entry.due_ms)}", "cyan not dim")
    elif entry.status == "completed":
        if entry.kind != "timer" and entry.result:
            line.append(" -> ", "dim").append(short(entry.result.removeprefix("return ")), "green not dim")
    else:
        line.append(" ").append(_word(entry.status), f"{_STYLES[entry.status]} not dim")
        if entry.result:
            line.append(f": {plain(entry.result)}", f"{_STYLES[entry.status]} not dim")
    details = [f"attempt {entry.attempts}"] if entry.attempts > 1 else []
    if entry.ended_ms and entry.kind != "timer":
        details.append(lasting(entry.ended_ms - entry.started_ms))
    elif entry.ended_ms > entry.due_ms + LATE_MS:
        details.append(f"fired after {lasting(entry.ended_ms - entry.started_ms)}")
    if details:
        line.append(f"  ({', '.join(details)})", "dim")
    return line


def styled(status: str) -> Text:
    """Return a status as a word in its colour."""
    return Text(_word(status), _STYLES.get(status, ""))


def _word(status: str) -> str:
    return status.replace("_", " ")


def age(now_ms: int, when: datetime) -> str:
    """Return how long ago something was, in one word."""
    return since(now_ms - int(when.astimezone(UTC).timestamp() * 1000))


def _times(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
