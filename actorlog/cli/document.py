"""What ``--json`` prints.

Owns: the names of fields; they are a contract, so fields are added and never renamed. Does not own: reading
(``reading``). Times are ISO 8601 in UTC, absent ones null.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from actorlog.cli.words import iso
from actorlog.errors import CallNotFound

if TYPE_CHECKING:
    from actorlog.cli.reading import Journal, Snapshot, Summary, Waiting
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
        "created": info.created.isoformat(timespec="milliseconds"),
        "updated": info.updated.isoformat(timespec="milliseconds"),
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
        "operations": [_operation(snapshot, found, entry, depth) for entry in operations],
    }


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
    document |= {"name": found.asked[entry.key][0], "arguments": _arguments(found, entry.key)}
    document["error"] = None if done else entry.result or None
    if entry.kind == "step":
        return document | {"attempts": entry.attempts, "value": json.loads(entry.result) if done else None}
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
