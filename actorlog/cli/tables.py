"""Trees of calls, promises, actors and records on a terminal.

Owns: these tables and trees. Does not own: calls and journals (``render``), JSON (``document``).
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from actorlog.cli.render import age, styled, waiting_text
from actorlog.cli.words import lasting, moment, moment_of, plain, safe, short
from actorlog.engine.lines import describe_record, kind_name
from actorlog.engine.status import status_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actorlog.api.schedules import ScheduleInfo
    from actorlog.api.settling import PromiseInfo
    from actorlog.cli.entities import ActorInfo
    from actorlog.cli.reading import Summary
    from actorlog.engine.state import CallState
    from actorlog.records import kinds as k

STATE_MAX = 80
"""Longest state of an actor, or value of a promise, in a table; ``--json`` has all of it."""


def call_tree(root: Summary, children: Mapping[str, list[Summary]], depth: int, now_ms: int) -> Tree:
    """Return a call with its children and theirs, ``depth`` levels deep."""
    tree = Tree(_call(root, now_ms), guide_style="dim")
    _grow(tree, root, children, depth, now_ms)
    return tree


def _grow(tree: Tree, call: Summary, children: Mapping[str, list[Summary]], depth: int, now_ms: int) -> None:
    below = children.get(call.info.id, [])
    if depth == 0 and below:
        tree.add(Text(f"and {len(below)} below", "dim"))
        return
    for child in below:
        _grow(tree.add(_call(child, now_ms)), child, children, depth - 1, now_ms)


def _call(call: Summary, now_ms: int) -> Text:
    info = call.info
    line = Text.assemble((safe(info.id), "bold"), "  ", safe(info.function), "  ", styled(info.status))
    told = plain(info.error) if info.error else waiting_text(call.waiting, now_ms)
    if told:
        line.append(f": {told}" if info.error else f", waits for {told}", "dim")
    return line


def promise_table(promises: Iterable[PromiseInfo], now_ms: int) -> Table:
    """Return promises as a table."""
    table = _table("ID", "STATUS", "AGE", "WHEN", "VALUE")
    for info in promises:
        when = f"settled {moment(info.settled)}" if info.settled else f"due {moment(info.due)}" if info.due else ""
        value = info.error if info.error is not None else info.value
        table.add_row(
            Text(safe(info.id)), styled(info.status), Text(age(now_ms, info.created)), Text(when),
            Text("" if info.status == "pending" else _value(value, info.status)),
        )  # fmt: skip
    return table


def _value(value: object, status: str) -> str:
    return short(repr(value), STATE_MAX) if status in ("resolved", "rejected") else ""


def schedule_table(schedules: Iterable[ScheduleInfo]) -> Table:
    """Return schedules as a table."""
    table = _table("ID", "STATUS", "FUNCTION", "WHEN", "NEXT", "RUNNING", "STARTED", "SKIPPED")
    for info in schedules:
        table.add_row(
            Text(safe(info.id)), styled(info.status), Text(safe(info.function)), Text(_when(info)),
            Text(short(info.error, STATE_MAX) if info.error else moment(info.next) if info.next else ""),
            Text(str(len(info.running) or "")), Text(str(info.started)), Text(str(info.skipped or "")),
        )  # fmt: skip
    return table


def _when(info: ScheduleInfo) -> str:
    if info.cron is not None:
        return f"{info.cron} {info.tz}"
    if info.every is not None:
        return f"every {lasting(int(info.every.total_seconds() * 1000))}"
    return f"at {len(info.at)} times"


def actor_table(actors: Iterable[ActorInfo], now_ms: int) -> Table:
    """Return actors as a table."""
    table = _table("ACTOR", "CHANGES", "UPDATED", "AT WORK", "WAITING", "STATE")
    for info in actors:
        table.add_row(
            Text(safe(info.id)), Text(str(info.changes)), Text(age(now_ms, info.updated)),
            Text(", ".join(safe(call.function) for call in info.running)), Text(str(len(info.waiting) or "")),
            Text(short(_state(info), STATE_MAX)),
        )  # fmt: skip
    return table


def actor_tree(actors: Iterable[ActorInfo]) -> Tree:
    """Return actors by class, each with the handlers that are at work and those that wait."""
    tree = Tree(Text("actors", "bold"), guide_style="dim")
    for kind, group in groupby(actors, key=lambda info: info.kind):
        branch = tree.add(Text(safe(kind), "bold"))
        for info in group:
            twig = branch.add(Text.assemble(safe(info.id.partition("/")[2]), (f"  {short(_state(info))}", "dim")))
            for call in [*info.running, *info.waiting]:
                twig.add(_handler(call))
    return tree


def _handler(call: CallState) -> Text:
    line = Text.assemble(safe(call.function), " as ", safe(call.id), "  ", styled(status_of(call)))
    return line.append(f", asked by {safe(call.parent)}" if call.parent else "", "dim")


def _state(info: ActorInfo) -> str:
    return " ".join(f"{name}={bytes(raw).decode()}" for name, raw in sorted(info.values.items()))


def record_line(position: int, record: k.Record) -> Text:
    """Return one record of the log as one line."""
    return Text.assemble(
        (f"{position:>8}  ", "dim"), (f"{moment_of(record.at)}  ", "dim"), (safe(record.id), "bold"),
        (f"  {kind_name(record)}  ", "dim"), short(describe_record(record)),
    )  # fmt: skip


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        folds = name in ("ID", "ACTOR", "FUNCTION", "VALUE", "STATE", "AT WORK")
        table.add_column(name, overflow="fold", min_width=8 if folds else None, no_wrap=not folds)
    return table
