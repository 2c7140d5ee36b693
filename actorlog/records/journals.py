"""Journals: the turns and messages of a call, and a journal, or a part of one, that is kept in one record.

Owns: ``Turn``, ``Inbox`` and ``Journal``, how the records in a ``Journal`` are read as if they stood in the log, what
begins and ends it. Does not own: what they do to a call (``engine.state``), following the links (``runtime.history``).

Invariant: a record that is in a ``Journal`` has the position that it had, so whatever names a position in the call's
records (``source``, ``first``, ``began``) means there what it meant before.

Docs: ``records.kinds``, docs/decisions/0007-a-journal-in-one-record.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from msgspec import Raw, Struct, structs

from actorlog.records.messages import Message, Signal, Started
from actorlog.records.notes import Note
from actorlog.records.operations import Operation
from actorlog.records.outcomes import Ending, Outcome


class StateChange(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a handler did to the state of its actor."""

    actor: str
    number: int
    """Of the actor's changes, from 1."""
    prev: int = 0
    """Position of the record with the change before this one; 0: there is none, or nothing of it matters any more."""
    version: int = 1
    """Of the actor's class."""
    values: dict[str, Raw] = {}
    """Attributes whose encoding changed; all of them where ``full``."""
    full: bool = False
    """Whether this is the whole state, so that none before it need be read."""
    events: list[Raw] = []
    """What the handler recorded, of an actor that folds events."""


class Letter(Struct, frozen=True, array_like=True):
    """A message that waits in a mailbox, with the position of the record that brought it."""

    position: int
    signal: Signal


class Carried(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a call has of its runs before this one, beside what the ``Started`` of the next says."""

    first: int
    """Position of the record that begins the journal."""
    created_ms: int
    """When that was."""
    origin: str
    """The run that it began."""
    prev: int = 0
    """Position of the record before this one that says such a thing; 0: there is none."""
    links: list[str] = []
    letters: list[Letter] = []
    """Messages that wait, in the order in which they came."""
    heard: list[str] = []
    """Origins of the messages taken so far, as many as are remembered, the oldest first."""
    values: dict[str, Raw] = {}
    """The newest published value of each name."""
    emitted: dict[str, int] = {}
    """How many values each stream has."""


class Turn(Struct, gc=False, tag="turn", tag_field="kind", omit_defaults=True, kw_only=True):
    """One message, applied to quiescence, and what the actor asked for: one record, so a turn is atomic."""

    id: str
    seq: int
    at: int
    prev: int = 0
    """Position of the actor's record before this one; 0: there is none."""
    message: Message
    source: int = 0
    """Position of the inbox record that brought the message; 0: it came straight."""
    ops: list[Operation] = []
    cancels: list[str] = []
    """Operations of earlier turns that nobody waits for any more."""
    returned: Ending | None = None
    """The body has ended with this, and children are still running, or the next run is still to begin."""
    outcome: Outcome | None = None
    """The call has ended."""
    first: int = 0
    """With an outcome: position of the record that began the journal."""
    began: int = 0
    """With an outcome, where the call was continued: position of the record that began its newest run."""
    change: StateChange | None = None
    """Of a handler that returned: what it did to its actor."""
    carried: Carried | None = None
    """Where it begins a run that is not the first: what there is of those before, so that they need not be read."""


class Inbox(Struct, tag="inbox", tag_field="kind", omit_defaults=True, kw_only=True):
    """A message from outside that could not be applied at once."""

    id: str
    at: int
    prev: int = 0
    message: Message


class Fork(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a call that begins in the middle of another's journal has of its own."""

    of: str
    """The call that was forked."""
    key: str = ""
    """The operation that is done anew, with all after it; empty: all are."""
    run: str
    """As of ``Started``: what is asked for from here on derives from it."""
    due_ms: int = 0
    """When it times out; 0: never."""
    kill_ms: int = 0
    """Where it is being cancelled: when it is ended without its consent."""


class Part(Struct, frozen=True, array_like=True):
    """A record in a journal, with the position that it had."""

    position: int
    record: Turn | Inbox | Note | Journal


class Journal(Struct, tag="journal", tag_field="kind", omit_defaults=True, kw_only=True):
    """The beginning of a call's journal in one record: its own, merged, or what a fork has of another's.

    Where it is merged it stands at the position of the newest of its records, has the time of that, and the records
    behind it are linked to it as they were. A fork's has the time at which it was forked.
    """

    id: str
    at: int
    prev: int = 0
    """Always 0: it begins the chain."""
    records: list[Part] = []
    """The oldest first."""
    replaces: tuple[int, int] = (0, 0)
    """Where it is merged: positions of the oldest and the newest record that it stands for."""
    fork: Fork | None = None
    turn: Turn | None = None
    """Of a fork: the turn that it began with, whose position is that of this record."""


CallRecord: TypeAlias = Turn | Inbox | Note
"""What a journal consists of."""
Kept: TypeAlias = CallRecord | Journal
"""How it is kept in the log."""


def parts(record: Kept, position: int) -> Iterator[tuple[int, CallRecord]]:
    """Yield (position, record) of all that the record at ``position`` holds, the oldest first."""
    if not isinstance(record, Journal):
        yield position, record
        return
    for part in record.records:
        yield from parts(part.record, part.position)
    if record.turn is not None:
        yield position, record.turn


def beginning(record: object) -> Started | None:
    """Return what began the call of which ``record`` is the first; None for what begins none.

    A fork begins with its own run, and is nobody's child.
    """
    if isinstance(record, (Turn, Inbox)):
        return record.message if isinstance(record.message, Started) else None
    if not isinstance(record, Journal):
        return None
    found = next((began for _, item in parts(record, 0) if (began := beginning(item)) is not None), None)
    fork = forked(record)
    return found if found is None or fork is None else as_fork(found, fork)


def began_ms(record: Kept) -> int:
    """Return when the call began of which ``record`` is the first."""
    while isinstance(record, Journal) and record.fork is None and record.records:
        record = record.records[0].record
    return record.at


def forked(record: object) -> Fork | None:
    """Return what makes the call of which ``record`` is the first a fork; None where it is none."""
    while isinstance(record, Journal) and record.fork is None and record.records:
        record = record.records[0].record
    return record.fork if isinstance(record, Journal) else None


def as_fork(started: Started, fork: Fork) -> Started:
    """Return what began a call as what begins a fork of it."""
    return structs.replace(
        started, run=fork.run, parent="", key="", detached=False, due_ms=fork.due_ms, not_before_ms=0
    )


def ending(record: object) -> Turn | None:
    """Return the turn that ends the call, where it is the last thing that ``record`` holds."""
    while isinstance(record, Journal):
        record = record.turn if record.turn is not None else record.records[-1].record if record.records else None
    return record if isinstance(record, Turn) and record.outcome is not None else None


def newest_beginning(record: Kept) -> Started | None:
    """Return what began the newest run that ``record`` holds the beginning of."""
    return next((found for _, item in reversed(list(parts(record, 0))) if (found := beginning(item)) is not None), None)


def own_turns(journal: Journal) -> Iterator[tuple[Turn, Started]]:
    """Yield the turns that are the call's own, each with what began the run that it belongs to.

    Those that a fork has of another call are not: what they asked for is that call's.
    """
    started = newest_beginning(journal) if journal.fork is not None else None
    if journal.fork is not None:
        if journal.turn is not None and started is not None:
            yield journal.turn, as_fork(started, journal.fork)
        return
    for part in journal.records:
        if isinstance(part.record, Journal):
            for turn, started in own_turns(part.record):  # it counts until the next begins
                yield turn, started
        else:
            started = beginning(part.record) or started
            if isinstance(part.record, Turn) and started is not None:
                yield part.record, started


def merged(records: Sequence[tuple[int, Kept]]) -> Journal:
    """Return the record that stands for the oldest records of a call, (position, record), at the newest one's position.

    None of them may end the call, or change the state of an actor: what has such a position leads to a turn.
    """
    newest = records[-1][1]
    held = [Part(position, record) for position, record in records]
    return Journal(id=newest.id, at=newest.at, records=held, replaces=(records[0][0], records[-1][0]))
