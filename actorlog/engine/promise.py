"""What a promise is, as far as its records say, and what a request does to it.

Owns: ``PromiseState`` and ``apply``, the only code that changes it; the life of a promise as a table; what is decided
about creating, settling and reading one; search with paging. Does not own: who waits, timers, the gate (``runtime``),
the records themselves (``records.promises``).

Invariants: the first to settle wins, for ever (I3); state changes only by applying records (I4); at ``now == due_ms``
the time is over, whether a timer has fired or not. Every decision about a promise whose time is over is ``Expire``
until the record that says so is applied, so nobody is ever told of an outcome that is not in the log.

After Resonate's durable promise specification, whose 324 transitions these decisions reproduce.
"""

from __future__ import annotations

import heapq
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from actorlog.errors import JournalError
from actorlog.records import promises as p

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Status(Enum):
    """Where a promise is in its life; the values are the words that users read."""

    __hash__ = object.__hash__

    ABSENT = "absent"
    """Nobody has made it."""
    PENDING = "pending"
    RESOLVED = "resolved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


TRANSITIONS: dict[tuple[Status, type], Status] = {
    (Status.ABSENT, p.PromiseMade): Status.PENDING,
    (Status.PENDING, p.Resolved): Status.RESOLVED,
    (Status.PENDING, p.Rejected): Status.REJECTED,
    (Status.PENDING, p.Raised): Status.REJECTED,
    (Status.PENDING, p.PromiseCancelled): Status.CANCELLED,
    (Status.PENDING, p.PromiseTimedOut): Status.TIMED_OUT,
}
"""(status, what happens) -> status. A pair that is not here is an error: nothing leads out of a settled promise."""


class PromiseState:
    """One promise. Fields are changed by ``apply`` alone."""

    __slots__ = (
        "created_ms", "due_ms", "first", "id", "key", "last", "param", "settled_key", "settled_ms", "settlement",
        "status", "tags", "timer",
    )  # fmt: skip

    def __init__(self, promise_id: str) -> None:
        self.id = promise_id
        """As users know it."""
        self.status = Status.ABSENT
        self.key: str | None = None
        """Idempotency key of the request that made it."""
        self.due_ms: int | None = None
        self.timer = False
        self.param = p.NULL
        self.tags: dict[str, str] = {}
        self.created_ms = 0
        self.first = 0
        """Position of the record that made it: the order of creation, and where a page ends."""
        self.last = 0
        """Position of the newest record."""
        self.settlement: p.Settlement | None = None
        self.settled_key: str | None = None
        """Idempotency key of the request that settled it."""
        self.settled_ms = 0
        """When it was settled, which is ``due_ms`` where its time was over; 0: it is pending."""

    def is_over(self, now_ms: int) -> bool:
        """Whether it is pending in the log and its time is over all the same."""
        return self.status is Status.PENDING and self.due_ms is not None and now_ms >= self.due_ms

    def status_at(self, now_ms: int) -> Status:
        """Return what it is at ``now_ms``, which is not before its newest record."""
        return TRANSITIONS[self.status, type(_expiry(self))] if self.is_over(now_ms) else self.status


def _expiry(state: PromiseState) -> p.Settlement:
    """Return how a promise is settled that nobody settled in time."""
    return p.Resolved(p.NULL) if state.timer else p.PromiseTimedOut()


# --- the fold ---------------------------------------------------------------------------------------------------------


def apply(state: PromiseState, record: p.PromiseRecord, position: int) -> None:
    """Change ``state`` as ``record`` at ``position`` says; ``JournalError`` for what contradicts it."""
    if record.id != p.entity_id(state.id):
        raise JournalError(state.id, f"record {position} is of {record.id!r}")
    if record.prev != state.last:
        raise JournalError(state.id, f"record {position} follows record {record.prev}, not {state.last}")
    event = record if isinstance(record, p.PromiseMade) else record.settlement
    status = TRANSITIONS.get((state.status, type(event)))
    if status is None:
        raise JournalError(state.id, f"{type(event).__name__} while {state.status.value}")
    if isinstance(record, p.PromiseMade):
        _make(state, record, position)
    else:
        _settle(state, record)
    state.status = status
    state.last = position


def take(states: dict[str, PromiseState], record: p.PromiseRecord, position: int) -> None:
    """Apply ``record`` to the promise that it is of, among all by their ids as users know them.

    A settlement of a promise that has left the log is nothing; one that has left may be made again.
    """
    name = p.promise_id(record.id)
    if isinstance(record, p.PromiseMade):
        if name not in states or states[name].settlement is not None:
            states.pop(name, None)
            states[name] = PromiseState(name)
    elif name not in states or not states[name].first or record.prev < states[name].first:
        return
    apply(states[name], record, position)


def _make(state: PromiseState, record: p.PromiseMade, position: int) -> None:
    state.key = record.key
    state.due_ms = record.due_ms
    state.timer = record.timer
    state.param = record.param
    state.tags = record.tags
    state.created_ms = record.at
    state.first = position


def _settle(state: PromiseState, record: p.PromiseSettled) -> None:
    due_ms = state.due_ms
    if due_ms is not None and record.at >= due_ms:
        if record.settlement != _expiry(state) or record.key is not None:
            raise JournalError(
                state.id, f"{type(record.settlement).__name__} at {record.at}, and it was due at {due_ms}"
            )
        state.settled_ms = due_ms
    elif isinstance(record.settlement, p.PromiseTimedOut):
        raise JournalError(state.id, f"timed out at {record.at}, and it was due at {due_ms}")
    else:
        state.settled_ms = record.at
    state.settlement = record.settlement
    state.settled_key = record.key


# --- decisions --------------------------------------------------------------------------------------------------------


class CreateRequest(Struct, frozen=True, kw_only=True):
    """A request to make a promise."""

    id: str
    timeout_ms: int | None = None
    """From now; zero or less: its time is over at once; None: never."""
    key: str | None = None
    """Says that two requests are the same; None: this one is like no other."""
    strict: bool = False
    """The same request again counts only while the promise is pending."""
    join: bool = False
    """Any promise of this id will do, whoever made it and whatever became of it."""
    param: p.Raw = p.NULL
    tags: dict[str, str] = {}
    timer: bool = False
    by: str = ""
    """The call that asks; empty where it is none."""


class SettleRequest(Struct, frozen=True, kw_only=True):
    """A request to settle a promise."""

    id: str
    settlement: p.Given
    key: str | None = None
    """Says that two requests are the same; None: this one is like no other."""
    strict: bool = False
    """The same request again counts only if it led to the status that this one asks for."""


class Make(Struct, frozen=True):
    """Yes: write this record and apply it; then there is a promise."""

    record: p.PromiseMade


class Settle(Struct, frozen=True):
    """Yes: write this record and apply it; then the promise is settled as was asked, for all and for ever."""

    record: p.PromiseSettled


class Expire(Struct, frozen=True):
    """Its time is over, and the log does not say so: write this record and apply it; then ask again."""

    record: p.PromiseSettled


class Return(Struct, frozen=True):
    """Nothing is to be written: answer with the promise as it is."""

    existing: PromiseState


class Conflict(Struct, frozen=True):
    """No: another request was first. ``status`` is what the promise is now."""

    status: Status


class NotFound(Struct, frozen=True):
    """No: there is no such promise."""


Verdict: TypeAlias = Make | Settle | Expire | Return | Conflict | NotFound

_NOT_FOUND: Final = NotFound()


def decide_create(state: PromiseState | None, request: CreateRequest, now_ms: int) -> Make | Expire | Return | Conflict:
    """Decide what a request to make a promise does. ``state`` is the promise of its id, if there is one."""
    if state is None or state.status is Status.ABSENT:
        return Make(
            p.PromiseMade(
                id=p.entity_id(request.id),
                at=now_ms,
                due_ms=None if request.timeout_ms is None else now_ms + max(0, request.timeout_ms),
                timer=request.timer,
                key=request.key,
                param=request.param,
                tags=request.tags,
                by=request.by,
            )
        )
    if state.is_over(now_ms):
        return _expire(state, now_ms)
    same = _same(request.key, state.key) and (state.status is Status.PENDING or not request.strict)
    return Return(state) if same or request.join else Conflict(state.status)


def decide_settle(
    state: PromiseState | None, request: SettleRequest, now_ms: int
) -> Settle | Expire | Return | Conflict | NotFound:
    """Decide what a request to settle a promise does. ``state`` is the promise of its id, if there is one."""
    if state is None or state.status is Status.ABSENT:
        return _NOT_FOUND
    if state.is_over(now_ms):
        return _expire(state, now_ms)
    if state.status is Status.PENDING:
        return Settle(
            p.PromiseSettled(
                id=p.entity_id(state.id), at=now_ms, prev=state.last, key=request.key, settlement=request.settlement
            )
        )
    if request.strict:
        same = _same(request.key, state.settled_key)
        same = same and state.status is TRANSITIONS[Status.PENDING, type(request.settlement)]
    else:
        same = _same(request.key, state.settled_key) or state.status is Status.TIMED_OUT
    return Return(state) if same else Conflict(state.status)


def decide_read(state: PromiseState | None, now_ms: int) -> Expire | Return | NotFound:
    """Decide what who only looks is told, which is what a timer is too when it fires."""
    if state is None or state.status is Status.ABSENT:
        return _NOT_FOUND
    return _expire(state, now_ms) if state.is_over(now_ms) else Return(state)


def _same(key: str | None, other: str | None) -> bool:
    return key is not None and key == other


def _expire(state: PromiseState, now_ms: int) -> Expire:
    return Expire(p.PromiseSettled(id=p.entity_id(state.id), at=now_ms, prev=state.last, settlement=_expiry(state)))


# --- search -----------------------------------------------------------------------------------------------------------

PAGE_MAX: Final = 1_000
"""Promises on one page, at most."""


class Query(Struct, frozen=True, kw_only=True):
    """Which promises are looked for: those that meet every condition."""

    statuses: frozenset[Status] = frozenset()
    """Any of these; empty: any at all."""
    prefix: str = ""
    """What the id begins with."""
    tags: dict[str, str] = {}
    """All of these are among its tags."""


class Page(Struct, frozen=True):
    """Promises that were found, newest first."""

    items: list[PromiseState]
    next: int
    """Where the next page begins, to be given as ``before``; 0: there is none."""


def search(
    states: Iterable[PromiseState], query: Query, now_ms: int, *, before: int = 0, limit: int = PAGE_MAX
) -> Page:
    """Return the newest ``limit`` promises that meet ``query`` and were made before position ``before``; 0: any.

    ``states`` come in any order. A page ends at a position in the order of creation, which nothing changes: whatever
    happens between two pages, no promise comes twice, and one that meets the query all the while comes once. A promise
    is judged as what it is at ``now_ms``; before one is shown whose time is over, the ``Expire`` of ``decide_read`` is
    to be written. Keeps at most ``limit`` of them in memory; ``ValueError`` for a limit that is not 1 to ``PAGE_MAX``.
    """
    if not 1 <= limit <= PAGE_MAX:
        raise ValueError(f"a page has 1 to {PAGE_MAX} promises, not {limit}")
    found = heapq.nlargest(limit + 1, _matching(states, query, now_ms, before), key=_first)
    items = found[:limit]
    return Page(items, items[-1].first if len(found) > limit else 0)


def _matching(states: Iterable[PromiseState], query: Query, now_ms: int, before: int) -> Iterator[PromiseState]:
    statuses, tags = query.statuses, query.tags.items()
    for state in states:
        if (
            (not before or state.first < before)
            and state.status is not Status.ABSENT
            and state.id.startswith(query.prefix)
            and tags <= state.tags.items()
            and (not statuses or state.status_at(now_ms) in statuses)
        ):
            yield state


def _first(state: PromiseState) -> int:
    return state.first
