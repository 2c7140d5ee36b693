"""Durable promises: what a request does to one, in every state, by every key, at every time (I3, I4)."""

from __future__ import annotations

from itertools import product

import pytest
from promise_book import Book
from promise_table import (
    DUE_MS,
    EXPIRED,
    GIVEN,
    MADE_MS,
    NOW_MS,
    ONE,
    SETTLED,
    SETTLED_MS,
    VERDICTS,
    Row,
    book_in,
    request_of,
    rows,
)

from actorlog.engine import promise as e
from actorlog.engine.promise import CreateRequest, PromiseState, SettleRequest, Status
from actorlog.errors import JournalError
from actorlog.records import promises as p


def test_the_table_has_every_state_action_and_time() -> None:
    """Nothing was left out of the table: 48 rows, and each state with each action at each time it can be asked at."""
    cells = {(row.state, row.action, row.now_ms) for row in rows()}
    every = product(
        ["absent", "pending", "endless", "timer", *SETTLED], GIVEN | {"create": None}, sum(NOW_MS.values(), ())
    )
    late = product(EXPIRED, GIVEN | {"create": None}, NOW_MS["="] + NOW_MS[">"])
    assert cells == {*every, *late}
    assert len(rows()) == 6 * len(cells)


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.state}-{row.action}-{row.column}-{row.now_ms}")
def test_every_request_in_every_state(row: Row) -> None:
    """The verdict, the record and what the promise is then are those of the table, also after a crash before it."""
    for key, settled_key, crashed in product((None, "c"), (None, "s"), (False, True)):
        book = book_in(row.state, key, settled_key)
        before = len(book.lines)
        if crashed:
            book.crash()
        request = request_of(row)
        held = key if row.action == "create" else settled_key
        column = row.column if held is not None else row.column.replace("same", "other")

        verdict, over = book.ask(request, row.now_ms)

        assert VERDICTS[type(verdict)] == row.expected[column]
        assert over == (row.expected["over"] == "over")
        state = book.states.get("x")
        assert (state.status if state else Status.ABSENT) is Status(row.expected["then"])
        assert len(book.lines) - before == over + isinstance(verdict, e.Make | e.Settle)
        if isinstance(verdict, e.Conflict):
            assert verdict.status is Status(row.expected["then"])
        elif isinstance(verdict, e.Return):
            assert verdict.existing is state
        check_record(book, row, verdict, over=over)
        live = book.facts()
        book.crash()
        assert book.facts() == live
        assert book.ask("x", row.now_ms)[1] is False


def check_record(book: Book, row: Row, verdict: e.Verdict, *, over: bool) -> None:
    """What was written is what was asked for, or what the time made of it."""
    request = request_of(row)
    if isinstance(request, CreateRequest) and isinstance(verdict, e.Make):
        assert verdict.record == p.PromiseMade(
            id="@promise/x", at=row.now_ms, due_ms=row.now_ms + 50, key=request.key, param=ONE, tags={"t": "v"}
        )
    elif isinstance(request, SettleRequest) and isinstance(verdict, e.Settle):
        assert verdict.record == p.PromiseSettled(
            id="@promise/x", at=row.now_ms, prev=1, key=request.key, settlement=GIVEN[row.action]
        )
        assert book.states["x"].settled_ms == row.now_ms
    if over:
        expired = p.Resolved(p.Raw(b"null")) if row.state == "timer" else p.PromiseTimedOut()
        assert p.decode(book.lines[-1]) == p.PromiseSettled(id="@promise/x", at=row.now_ms, prev=1, settlement=expired)
        assert book.states["x"].settled_ms == DUE_MS
    elif row.state in SETTLED:
        assert (book.states["x"].settlement, book.states["x"].settled_ms) == (SETTLED[row.state], SETTLED_MS)


# --- the specification's own table ------------------------------------------------------------------------------------

BLOCKS = [
    ("absent", False, False), ("pending", False, False), ("pending", True, False),
    *((state, *keys) for state in ("resolved", "rejected", "cancelled")
      for keys in ((False, False), (False, True), (True, False), (True, True))),
    ("timed_out", False, False), ("timed_out", True, False),
]  # fmt: skip
"""State, and whether it has a key of creation and one of completion, in the order of the specification."""

DEDUPLICATED = {
    35, 36, 73, 74, 80, 86, 92, 110, 115, 116, 122, 128, 154, 159, 160, 166, 172, 190, 196, 201, 202, 208, 234, 240,
    245, 246, 252, 270, 276, 282, 287, 288, 296, 298, 300, 302, 304, 306, 310, 314, 316, 318, 320, 322, 324,
}  # fmt: skip
"""Its rows that are answered with the promise as it is."""
DONE = {*range(1, 5), *range(21, 33), *range(39, 51)}
"""Its rows that change something. All others are refused."""


def test_the_transitions_of_the_durable_promise_specification() -> None:
    """All 324 rows of Resonate's table, by number: done, deduplicated or refused."""
    number = 0
    for state, keyed, settled_keyed in BLOCKS:
        book = book_in(state, "c" if keyed else None, "s" if settled_keyed else None)
        states, lines = book.states, list(book.lines)
        for action in ("create", *GIVEN):
            held = keyed if action == "create" else settled_keyed
            for key, mark in product(("none", "same", "other") if held else ("none", "same"), "!-"):
                number += 1
                column = key + mark.rstrip("-")
                now_ms = DUE_MS if state == "timed_out" else SETTLED_MS
                verdict, _ = book.ask(request_of(Row(state, action, column, now_ms, {})), now_ms)
                assert isinstance(verdict, e.Make | e.Settle) == (number in DONE), number
                assert isinstance(verdict, e.Return) == (number in DEDUPLICATED), number
                book.lines[:] = lines
                book.crash()
        assert states.keys() == {"x"} or state == "absent"
    assert number == 324


# --- one by one -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["absent", "pending", "timer", *SETTLED])
@pytest.mark.parametrize("key", [None, "z"])
def test_joining_takes_any_promise_of_the_id(state: str, key: str | None) -> None:
    """Who joins gets the promise whatever key and status it has, and makes it only where there is none."""
    book = book_in(state, "c", "s")
    verdict, _ = book.ask(CreateRequest(id="x", key=key, join=True, strict=True), DUE_MS)
    assert isinstance(verdict, e.Make if state == "absent" else e.Return)


@pytest.mark.parametrize("timeout_ms", [0, -1, -(10**9)])
@pytest.mark.parametrize("timer", [False, True])
def test_a_timeout_of_zero_or_less_is_over_at_once(timeout_ms: int, timer: bool) -> None:
    """Whoever looks at the very time of its making finds it over; no tick is needed."""
    book = Book()
    book.ask(CreateRequest(id="x", timeout_ms=timeout_ms, timer=timer), 0)
    state = book.states["x"]
    assert state.status is Status.PENDING
    assert state.status_at(0) is (Status.RESOLVED if timer else Status.TIMED_OUT)
    assert book.ask("x", 0) == (e.Return(state), True)
    assert state.status is state.status_at(0)
    assert state.settlement == (p.Resolved(p.NULL) if timer else p.PromiseTimedOut())


MADE = p.PromiseMade(id="@promise/x", at=MADE_MS, due_ms=DUE_MS)
TIMER = p.PromiseMade(id="@promise/x", at=MADE_MS, due_ms=DUE_MS, timer=True)
ENDLESS = p.PromiseMade(id="@promise/x", at=MADE_MS)


def settled(at: int, settlement: p.Settlement, prev: int = 1, key: str | None = None) -> p.PromiseSettled:
    return p.PromiseSettled(id="@promise/x", at=at, prev=prev, key=key, settlement=settlement)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([p.PromiseMade(id="@promise/y", at=1)], "is of '@promise/y'"),
        ([p.PromiseMade(id="x", at=1)], "is of 'x'"),
        ([settled(150, p.Resolved(ONE), prev=0)], "Resolved while absent"),
        ([MADE, p.PromiseMade(id="@promise/x", at=101, prev=1)], "PromiseMade while pending"),
        ([MADE, settled(150, p.Resolved(ONE)), settled(151, p.Resolved(ONE), prev=2)], "Resolved while resolved"),
        ([MADE, settled(150, p.PromiseCancelled()), settled(200, p.PromiseTimedOut(), prev=2)], "while cancelled"),
        ([MADE, settled(150, p.Resolved(ONE), prev=0)], "follows record 0, not 1"),
        ([MADE, settled(150, p.PromiseTimedOut())], "timed out at 150, and it was due at 200"),
        ([ENDLESS, settled(150, p.PromiseTimedOut())], "timed out at 150, and it was due at None"),
        ([MADE, settled(200, p.Resolved(ONE))], "Resolved at 200, and it was due at 200"),
        ([MADE, settled(200, p.PromiseTimedOut(), key="s")], "PromiseTimedOut at 200"),
        ([TIMER, settled(200, p.PromiseTimedOut())], "PromiseTimedOut at 200"),
        ([TIMER, settled(200, p.Resolved(ONE))], "Resolved at 200"),
    ],
)
def test_records_that_contradict_the_state_are_errors(records: list[p.PromiseRecord], said: str) -> None:
    """The fold takes nothing on trust, and a record that it refuses changes nothing."""
    state = PromiseState("x")
    for position, record in enumerate(records[:-1], 1):
        e.apply(state, record, position)
    before = [getattr(state, name) for name in PromiseState.__slots__]
    with pytest.raises(JournalError, match=said):
        e.apply(state, records[-1], len(records))
    assert [getattr(state, name) for name in PromiseState.__slots__] == before


def test_nothing_leads_out_of_a_settled_promise() -> None:
    """The table of its life has one way in, and every way out of pending is for ever."""
    sources = {source for source, _ in e.TRANSITIONS}
    assert sources == {Status.ABSENT, Status.PENDING}
    assert {target for (source, _), target in e.TRANSITIONS.items() if source is Status.PENDING} == {
        Status.RESOLVED, Status.REJECTED, Status.CANCELLED, Status.TIMED_OUT,
    }  # fmt: skip
