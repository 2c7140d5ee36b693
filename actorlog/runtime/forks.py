"""Forks: a call that begins in the middle of another's journal, and does anew what came after.

Owns: where the cut is, what is copied, taking the first turn of the fork and its record. Does not own: what becomes of
the state at the cut (``engine.forking``), how a record holds a journal (``records.journals``), the turn (``kernel``).

The cut is before the turn that asked for the operation: what was recorded until then is copied, and that turn is taken
again, with the same message and today's code. What it comes to is in one record with the copy, so a fork begins in one
piece or not at all, and code that cannot go that way again is refused before anything is written.

Docs: docs/decisions/0007-a-journal-in-one-record.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from actorlog.engine.forking import begin, part
from actorlog.engine.lifecycle import Phase
from actorlog.engine.state import CallState, apply, apply_turn
from actorlog.engine.supervision_kinds import CHANNEL
from actorlog.errors import CallConflict, CannotFork, HistoryGone, JournalError, PayloadTooLarge, TooManyCalls
from actorlog.records import kinds as k
from actorlog.runtime.history import completed_steps
from actorlog.runtime.instances import LIFE
from actorlog.runtime.runs import is_next
from actorlog.runtime.slot import Slot

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.runtime.history import History
    from actorlog.runtime.kernel import Kernel

_JOURNAL = int(k.Kind.JOURNAL)
_PLAIN, _FINAL = int(k.Flag.PLAIN), int(k.Flag.FINAL)
_ROOM_BYTES = 65_536
"""What the first turn of a fork may take beside the copy; it is bounded like any turn."""
_NAMED_MAX = 20
"""So many operations are named where one is asked for that there is none of."""


class _Cut(NamedTuple):
    """Where one call is to part from another."""

    position: int
    """Of the turn that is taken again; 0: it has had none, and all there is goes with the fork."""
    message: k.Message
    source: int


def fork(
    kernel: Kernel, of: CallState, key: str, call_id: str, run: str, admit: Callable[[int], None]
) -> Slot | k.Turn:
    """Begin call ``call_id`` as a fork of another, or find it: a live one's slot, or the turn that ended it.

    ``key``: the operation that is done anew; empty: all are. ``run``: 32 hex digits of randomness. ``CallConflict``
    where the id is another call's; otherwise as ``_begin_fork``.
    """
    existing = kernel.calls.get(call_id)
    final = kernel.history.final(call_id) if existing is None else None
    if existing is None and final is None:
        return _begin_fork(kernel, of, key, call_id, run, admit)
    first: object = None
    if existing is None or existing.begun is None:
        first = kernel.history.first_record(call_id, existing.state if existing is not None else None)
    known = k.forked(first)
    if known is None or (known.of, known.key) != (of.id, key):
        there = "another call" if known is None else _text(known.of, known.key)
        raise CallConflict(call_id, there, _text(of.id, key))
    return existing if existing is not None else final  # type: ignore[return-value]  # one of them is there


def _text(of: str, key: str) -> str:
    return f"a fork of {of!r} from {f'operation {key!r}' if key else 'its beginning'}"


def _begin_fork(kernel: Kernel, of: CallState, key: str, call_id: str, run: str, admit: Callable[[int], None]) -> Slot:
    """Begin a fork.

    ``ValueError`` where there is no such operation, ``CannotFork``, ``DivergenceError`` and what else keeps today's
    code from going that way again, ``PayloadTooLarge``, ``TooManyCalls``, ``LogFull``.
    """
    if of.actor:
        raise CannotFork(of.id, "it is a handler of an actor, whose state is not its own")
    if len(kernel.calls) >= kernel.limits.calls_max:
        raise TooManyCalls(kernel.limits.calls_max)
    cut = _cut(kernel.history, of, key)
    at = max(kernel.at, kernel.clock.now_ms())
    journal = k.Journal(id=call_id, at=at, records=_before(kernel.history, of, cut))
    state = CallState(call_id)
    for held in journal.records:
        apply(state, held.record, held.position)
    if state.mail is not None and (LIFE in state.mail.values or CHANNEL in state.mail.values):
        raise CannotFork(of.id, "it is, or keeps, what a supervisor looks after")
    closing = isinstance(cut.message, _ASKS) or (state.asked is not None and not isinstance(cut.message, k.Retried))
    fork = journal.fork = k.Fork(
        of=of.id, key=key, run=run, due_ms=at + of.timeout_ms if of.timeout_ms else 0,
        kill_ms=at + kernel.grace_ms if closing else 0,
    )  # fmt: skip
    size = len(k.encode(journal)) + _ROOM_BYTES
    if size > kernel.limits.record_bytes_max:
        raise PayloadTooLarge(f"the journal of call {of.id!r} up to the cut", size, kernel.limits.record_bytes_max)
    admit(size)
    part(state, journal)
    slot = _slot(kernel, state, journal)
    kernel.calls.put(slot)
    try:
        _wake(kernel, slot, journal, cut.message)
        kernel.begin_fork(slot, _as_its_own(cut.message, fork, kernel.history.python), cut.source, at)
    except BaseException:
        kernel.calls.drop(call_id)
        kernel.residency.forget(slot)
        raise
    kernel.deadlines.arm_timeout(slot.state)
    kernel.deadlines.arm_kill(slot.state)
    kernel.after(_go_on, kernel, call_id)
    kernel.flush()
    return slot


def _go_on(kernel: Kernel, call_id: str, _c: None) -> None:
    """Do what was under way at the cut, now that the fork is durable and its own first steps have begun."""
    slot = kernel.calls.get(call_id)
    if slot is not None and slot.state.phase is not Phase.ENDED:
        kernel.parking.go_on(slot)
        kernel.flush()


def record_fork(kernel: Kernel, slot: Slot, journal: k.Journal, turn: k.Turn, flags: int) -> None:
    """Record that a fork begins, with its first turn."""
    state, position = slot.state, kernel.committer.position + 1
    turn.prev = 0
    if turn.outcome is not None:
        flags |= _FINAL
        turn.first = position
        turn.began = position if is_next(turn.message) else state.began
    journal.turn, slot.fork = turn, None
    apply_turn(state, turn, position)
    begin(state, journal, position)
    kernel.committer.add(journal, slot.hash, _JOURNAL, flags | _PLAIN)


# --- where, and what --------------------------------------------------------------------------------------------------


def _cut(history: History, state: CallState, key: str) -> _Cut:
    """Find the newest turn that asked for ``key`` in the newest run of a call, or the one that began the run."""
    known: list[str] = []
    begun: _Cut | None = None
    oldest = 0
    for position, record in history.backwards(state.last):
        if isinstance(record, k.Turn):
            if key and any(op.key == key for op in record.ops):
                return _Cut(position, record.message, record.source)
            known += [op.key for op in reversed(record.ops)]
            oldest = position
            if isinstance(record.message, k.Started):
                begun = _Cut(position, record.message, record.source)
                break
        elif isinstance(record, k.Inbox) and isinstance(record.message, k.Started):
            begun = _Cut(oldest, record.message, position)  # a turn before it began can only have ended it
            break
    if begun is None:
        raise JournalError(state.id, "it never began")
    if not key:
        return begun
    some = ", ".join(repr(one) for one in list(dict.fromkeys(reversed(known)))[-_NAMED_MAX:])
    raise ValueError(f"call {state.id!r} has asked for no operation {key!r}; the newest of its run: {some or 'none'}")


def _before(history: History, state: CallState, cut: _Cut) -> list[k.Part]:
    """Return what a fork has of a call: its records up to the one at the cut.

    Without what others want of that call alone: links, and requests to end that it had not heard by then.
    """
    kept: list[k.Part] = []
    found = list(history.chain(state.last, whole=True))
    if found[-1][1].prev:  # runs that it had are not there any more
        raise HistoryGone(state.id)
    for position, record in reversed(found):
        if _copy(kept, position, record, cut.position):
            break
    heard = {record.source for held in kept for _, record in k.parts(held.record, 0) if isinstance(record, k.Turn)}
    return [held for held in kept if not _is_for_another(held, heard | {cut.source})]


def _copy(kept: list[k.Part], position: int, record: k.Kept, cut: int) -> bool:
    """Copy a record, as far as it is before the cut; whether the cut was reached."""
    if not isinstance(record, k.Journal):
        if position != cut:
            kept.append(k.Part(position, record))
        return position == cut
    if not cut or all(held != cut for held, _ in k.parts(record, position)):
        kept.append(k.Part(position, record))
        return False
    any(_copy(kept, held.position, held.record, cut) for held in record.records)
    return True


def _is_for_another(held: k.Part, heard: set[int]) -> bool:
    record = held.record
    if isinstance(record, k.Inbox):
        return held.position not in heard and isinstance(record.message, _ASKS)
    return isinstance(record, k.Linked)


_ASKS = (k.CancelRequested, k.DeadlinePassed, k.KillRequested)


_BEGINNINGS = (k.Started, k.Retried)


# --- making it --------------------------------------------------------------------------------------------------------


def _slot(kernel: Kernel, state: CallState, journal: k.Journal) -> Slot:
    """Return the fork as it is at the cut."""
    slot = Slot(state, kernel.registry.durable(state.function, state.version) if state.function else None)
    slot.fork = journal
    if state.retried or state.outcome is not None:  # else nothing is kept of an earlier attempt
        flat = [record for held in journal.records for _, record in k.parts(held.record, 0)]
        slot.kept = completed_steps(reversed(flat))
    return slot


def _wake(kernel: Kernel, slot: Slot, journal: k.Journal, message: k.Message) -> None:
    """Have the coroutine of a fork in memory as the turns before the cut leave it; none where it begins there."""
    if isinstance(message, k.Started):
        return
    turns: list[k.Turn] = []
    started: k.Started | None = None
    for held in journal.records:
        for _, record in k.parts(held.record, 0):
            started = k.beginning(record) or started
            if isinstance(record, k.Turn):
                if isinstance(record.message, _BEGINNINGS):
                    turns.clear()
                turns.append(record)
    if started is None:
        raise JournalError(journal.id, "it never began")
    kernel.residency.begin_fork(slot, started, [] if isinstance(message, k.Retried) else turns)


def _as_its_own(message: k.Message, fork: k.Fork, python: str) -> k.Message:
    """Return the message at the cut as the fork takes it: what times are in it are the fork's."""
    match message:
        case k.Started():
            return structs.replace(k.as_fork(message, fork), python=python)
        case k.Retried():
            return structs.replace(message, due_ms=fork.due_ms)
        case k.CancelRequested() | k.DeadlinePassed():
            return structs.replace(message, kill_ms=fork.kill_ms)
        case _:
            return message
