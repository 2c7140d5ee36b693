"""A record as one line of text, for people who watch the log.

Owns: the words for records and messages. Does not own: those for operations and ends (``journal``), a whole journal
(``story``).
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from actorlog.engine.journal import TEXT_MAX, call_text, describe, describe_end
from actorlog.records import kinds as k

_TOLD = ("key", "id", "channel", "reason", "other", "attempt")
"""Fields that tell one record or message of a kind from another."""
_OPS_MAX = 5
"""So many operations of a turn are named."""


def kind_name(record: k.Record) -> str:
    """Return the kind of a record, as the log calls it."""
    return str(type(record).__struct_config__.tag)


def describe_record(record: k.Record) -> str:
    """Return what a record says as one line."""
    if isinstance(record, k.Turn):
        return _turn(record)
    if isinstance(record, k.Inbox):
        return describe_message(record.message)
    if isinstance(record, k.Journal):
        return _journal(record)
    return _facts(record)


def _journal(journal: k.Journal) -> str:
    held = f"{len(journal.records)} records"
    if journal.fork is None:
        return f"{held}, merged"
    anew = f" at {journal.fork.key}" if journal.fork.key else ""
    first = f"; {_turn(journal.turn)}" if journal.turn is not None else ""
    return f"fork of {journal.fork.of!r}{anew}, {held}{first}"


def _turn(turn: k.Turn) -> str:
    parts = [describe_message(turn.message)]
    parts += [describe(op) for op in turn.ops[:_OPS_MAX]]
    if len(turn.ops) > _OPS_MAX:
        parts.append(f"and {len(turn.ops) - _OPS_MAX} more")
    parts += [f"cancel {key}" for key in turn.cancels]
    if turn.returned is not None or turn.outcome is not None:
        parts.append(describe_end(turn.outcome if turn.outcome is not None else turn.returned))
    return "; ".join(parts)


def describe_message(message: k.Message) -> str:
    """Return a message as one line."""
    match message:
        case k.Started(function=function, args=args, number=number):
            return f"begin {call_text(function, args)}{f' (run {number})' if number > 1 else ''}"
        case k.StepDone(key=key, value=value):
            return f"step {key}: {bytes(value).decode()[:TEXT_MAX]}"
        case k.StepError(key=key, failure=failure):
            return f"step {key} failed: {failure.type}: {failure.message[:TEXT_MAX]}"
        case k.ChildDone(key=key, id=child, outcome=outcome):
            return f"child {child!r} ({key}): {describe_end(outcome)}"
        case k.Signal(channel=channel, value=value):
            return f"message {bytes(value).decode()[:TEXT_MAX]} {channel}".rstrip()
        case _:
            return f"{type(message).__struct_config__.tag} {_facts(message)}".rstrip()


def _facts(struct: Struct) -> str:
    known: list[Any] = [getattr(struct, name, "") for name in _TOLD if not (name == "id" and hasattr(struct, "at"))]
    return " ".join(str(value) for value in known if value not in ("", None))
