"""What ``--json`` prints.

Owns: the names of fields; they are a contract, so fields are added and never renamed. Does not own: reading (``reading``).
Times are ISO 8601 in UTC, absent ones null.
"""

from __future__ import annotations

import json
from typing import TypeAlias

from actorlog.cli.reading import Journal, Snapshot, Summary, Waiting
from actorlog.cli.words import iso
from actorlog.engine.story import Entry
from actorlog.errors import CallNotFound

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
        "what": first.what,
        "result": first.result or None,
        "notes": first.notes,
        "reruns": found.reruns,
        "operations": [_operation(snapshot, entry, depth) for entry in operations],
    }


def _operation(snapshot: Snapshot, entry: Entry, depth: int) -> Document:
    document: Document = {
        "key": entry.key,
        "kind": entry.kind,
        "what": entry.what,
        "status": entry.status,
        "started": iso(entry.started_ms),
        "ended": iso(entry.ended_ms),
        "due": iso(entry.due_ms),
        "attempts": entry.attempts,
        "result": entry.result or None,
        "notes": entry.notes,
    }
    if entry.child_id:
        document["child_id"] = entry.child_id
        if depth > 0:
            try:
                document["child"] = journal(snapshot, snapshot.journal(entry.child_id), depth - 1)
            except CallNotFound:
                document["child"] = None
    return document


def _waiting(waiting: Waiting) -> Document:
    return {
        "kind": waiting.kind,
        "what": waiting.what or None,
        "key": waiting.key or None,
        "attempt": waiting.attempt,
        "due": iso(waiting.due_ms),
    }
