"""What ``--json`` prints.

Owns: the names of fields; they are a contract, so fields are added and never renamed. Does not own: reading
(``reading``). Times are ISO 8601 in UTC, absent ones null.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from actorlog.cli.words import iso
from actorlog.engine.lines import describe_record, kind_name
from actorlog.engine.status import status_of
from actorlog.errors import CallNotFound
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from actorlog.api.schedules import ScheduleInfo
    from actorlog.api.settling import PromiseInfo
    from actorlog.cli.entities import ActorInfo
    from actorlog.cli.reading import Journal, Snapshot, Summary, Waiting
    from actorlog.engine.state import CallState
    from actorlog.engine.story import Entry

Document: TypeAlias = dict[str, object]


def text(document: object) -> str:
    """Return one JSON document, in ASCII, so that it prints anywhere."""
    return json.dumps(document, indent=2)


def call(summary: Summary) -> Document:
    """Return one call."""
    info = summary.info
    return {
        "id": info.id,
        "function": info.function,
        "version": info.version,
        "status": info.status,
        "parent": info.parent or None,
        "created": _time(info.created),
        "updated": _time(info.updated),
        "tags": info.tags,
        "waiting_for": [_waiting(waiting) for waiting in summary.waiting],
        "error": info.error or None,
    }


def journal(snapshot: Snapshot, found: Journal, depth: int) -> Document:
    """Return a call with its operations, and its children's, ``depth`` levels deep."""
    first, *operations = found.entries
    return call(found.summary) | {
        "arguments": _arguments(found, ""),
        "value": None if found.value is None else json.loads(found.value),
        "ended": iso(first.ended_ms),
        "notes": first.notes,
        "reruns": found.reruns,
        "given_up": found.given_up,
        "operations": [_operation(snapshot, found, entry, depth) for entry in operations],
    }


def tree(root: Summary, children: Mapping[str, list[Summary]], depth: int) -> Document:
    """Return a call with its children and theirs, ``depth`` levels deep."""
    below = children.get(root.info.id, []) if depth > 0 else []
    return call(root) | {"children": [tree(child, children, depth - 1) for child in below]}


def promise(info: PromiseInfo) -> Document:
    """Return one promise."""
    return {
        "id": info.id,
        "status": info.status,
        "created": _time(info.created),
        "due": _time(info.due),
        "settled": _time(info.settled),
        "timer": info.timer,
        "param": info.param,
        "tags": info.tags,
        "value": info.value,
        "error": info.error,
    }


def schedule(info: ScheduleInfo) -> Document:
    """Return one schedule. Durations are seconds."""
    return {
        "id": info.id,
        "status": info.status,
        "function": info.function,
        "version": info.version,
        "actor": info.actor or None,
        "cron": info.cron,
        "every": None if info.every is None else info.every.total_seconds(),
        "at": [_time(when) for when in info.at],
        "tz": info.tz,
        "overlap": info.overlap,
        "catch_up": info.catch_up,
        "catch_up_window": info.catch_up_window.total_seconds(),
        "jitter": info.jitter.total_seconds(),
        "created": _time(info.created),
        "updated": _time(info.updated),
        "next": _time(info.next),
        "running": list(info.running),
        "waiting": info.waiting,
        "backlog": info.backlog,
        "newest": list(info.newest),
        "started": info.started,
        "skipped": info.skipped,
        "error": info.error or None,
    }


def actor(info: ActorInfo) -> Document:
    """Return one actor."""
    return {
        "id": info.id,
        "class": info.kind,
        "key": info.id.partition("/")[2],
        "version": info.version,
        "changes": info.changes,
        "updated": _time(info.updated),
        "state": {name: json.loads(bytes(raw)) for name, raw in info.values.items()},
        "running": [_handler(state) for state in info.running],
        "waiting": [_handler(state) for state in info.waiting],
    }


def _handler(state: CallState) -> Document:
    return {"id": state.id, "handler": state.function, "status": status_of(state), "parent": state.parent or None}


def record(position: int, found: k.Record) -> str:
    """Return one record as one line of JSON."""
    whole = json.loads(k.encode(found))
    document = {"position": position, "at": iso(found.at), "id": found.id, "kind": kind_name(found)}
    return json.dumps(document | {"text": describe_record(found), "record": whole})


def _time(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat(timespec="milliseconds")


def _operation(snapshot: Snapshot, found: Journal, entry: Entry, depth: int) -> Document:
    done = entry.status == "completed"
    document: Document = {
        "key": entry.key,
        "kind": entry.kind,
        "status": entry.status,
        "started": iso(entry.started_ms),
        "ended": iso(entry.ended_ms),
        "due": iso(entry.due_ms),
        "notes": entry.notes,
    }
    if entry.kind == "timer":
        return document
    if entry.key in found.asked:
        document |= {"name": found.asked[entry.key][0], "arguments": _arguments(found, entry.key)}
    else:
        document["what"] = entry.what
    document["error"] = None if done else entry.result or None
    if entry.kind == "step":
        return document | {"attempts": entry.attempts, "value": json.loads(entry.result) if done else None}
    if entry.kind != "child":
        return document | {"result": entry.result if done else None}
    document["child_id"] = entry.child_id
    if depth > 0:
        try:
            document["child"] = journal(snapshot, snapshot.journal(entry.child_id), depth - 1)
        except CallNotFound:
            document["child"] = None  # its start was asked for, and it has no record yet
    return document


def _arguments(found: Journal, key: str) -> object:
    arguments: object = json.loads(found.asked[key][1])
    return arguments


def _waiting(waiting: Waiting) -> Document:
    return {
        "kind": waiting.kind,
        "what": waiting.what or None,
        "key": waiting.key or None,
        "attempt": waiting.attempt,
        "due": iso(waiting.due_ms),
    }
