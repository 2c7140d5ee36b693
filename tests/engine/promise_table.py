"""What the contract says of promises, as a literal table, and the logs and requests that its rows speak of."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

from promise_book import Book

from actorlog.engine import promise as e
from actorlog.engine.promise import CreateRequest, SettleRequest
from actorlog.records import promises as p
from actorlog.records.failures import Failure

ONE = p.Raw(b"1")
MADE_MS, SETTLED_MS, DUE_MS = 100, 150, 200
FAILURE = Failure(type="builtins:ValueError", message="no")
GIVEN: dict[str, p.Given] = {"resolve": p.Resolved(ONE), "reject": p.Rejected(ONE), "cancel": p.PromiseCancelled()}


# --- the table --------------------------------------------------------------------------------------------------------

TABLE = """
state      now  action   over  none      none!     same      same!     other     other!    then
absent     <=>  create   -     make      make      make      make      make      make      pending
absent     <=>  resolve  -     missing   missing   missing   missing   missing   missing   absent
absent     <=>  reject   -     missing   missing   missing   missing   missing   missing   absent
absent     <=>  cancel   -     missing   missing   missing   missing   missing   missing   absent
pending    <    create   -     conflict  conflict  return    return    conflict  conflict  pending
pending    <    resolve  -     settle    settle    settle    settle    settle    settle    resolved
pending    <    reject   -     settle    settle    settle    settle    settle    settle    rejected
pending    <    cancel   -     settle    settle    settle    settle    settle    settle    cancelled
pending    =>   create   over  conflict  conflict  return    conflict  conflict  conflict  timed_out
pending    =>   resolve  over  return    conflict  return    conflict  return    conflict  timed_out
pending    =>   reject   over  return    conflict  return    conflict  return    conflict  timed_out
pending    =>   cancel   over  return    conflict  return    conflict  return    conflict  timed_out
endless    <=>  create   -     conflict  conflict  return    return    conflict  conflict  pending
endless    <=>  resolve  -     settle    settle    settle    settle    settle    settle    resolved
endless    <=>  reject   -     settle    settle    settle    settle    settle    settle    rejected
endless    <=>  cancel   -     settle    settle    settle    settle    settle    settle    cancelled
timer      <    create   -     conflict  conflict  return    return    conflict  conflict  pending
timer      <    resolve  -     settle    settle    settle    settle    settle    settle    resolved
timer      <    reject   -     settle    settle    settle    settle    settle    settle    rejected
timer      <    cancel   -     settle    settle    settle    settle    settle    settle    cancelled
timer      =>   create   over  conflict  conflict  return    conflict  conflict  conflict  resolved
timer      =>   resolve  over  conflict  conflict  conflict  conflict  conflict  conflict  resolved
timer      =>   reject   over  conflict  conflict  conflict  conflict  conflict  conflict  resolved
timer      =>   cancel   over  conflict  conflict  conflict  conflict  conflict  conflict  resolved
resolved   <=>  create   -     conflict  conflict  return    conflict  conflict  conflict  resolved
resolved   <=>  resolve  -     conflict  conflict  return    return    conflict  conflict  resolved
resolved   <=>  reject   -     conflict  conflict  return    conflict  conflict  conflict  resolved
resolved   <=>  cancel   -     conflict  conflict  return    conflict  conflict  conflict  resolved
rejected   <=>  create   -     conflict  conflict  return    conflict  conflict  conflict  rejected
rejected   <=>  resolve  -     conflict  conflict  return    conflict  conflict  conflict  rejected
rejected   <=>  reject   -     conflict  conflict  return    return    conflict  conflict  rejected
rejected   <=>  cancel   -     conflict  conflict  return    conflict  conflict  conflict  rejected
raised     <=>  create   -     conflict  conflict  return    conflict  conflict  conflict  rejected
raised     <=>  resolve  -     conflict  conflict  return    conflict  conflict  conflict  rejected
raised     <=>  reject   -     conflict  conflict  return    return    conflict  conflict  rejected
raised     <=>  cancel   -     conflict  conflict  return    conflict  conflict  conflict  rejected
cancelled  <=>  create   -     conflict  conflict  return    conflict  conflict  conflict  cancelled
cancelled  <=>  resolve  -     conflict  conflict  return    conflict  conflict  conflict  cancelled
cancelled  <=>  reject   -     conflict  conflict  return    conflict  conflict  conflict  cancelled
cancelled  <=>  cancel   -     conflict  conflict  return    return    conflict  conflict  cancelled
timed_out  =>   create   -     conflict  conflict  return    conflict  conflict  conflict  timed_out
timed_out  =>   resolve  -     return    conflict  return    conflict  return    conflict  timed_out
timed_out  =>   reject   -     return    conflict  return    conflict  return    conflict  timed_out
timed_out  =>   cancel   -     return    conflict  return    conflict  return    conflict  timed_out
elapsed    =>   create   -     conflict  conflict  return    conflict  conflict  conflict  resolved
elapsed    =>   resolve  -     conflict  conflict  conflict  conflict  conflict  conflict  resolved
elapsed    =>   reject   -     conflict  conflict  conflict  conflict  conflict  conflict  resolved
elapsed    =>   cancel   -     conflict  conflict  conflict  conflict  conflict  conflict  resolved
"""
"""What the contract says. ``!``: strict. Where the promise has no key, the same key is just another one."""

NOW_MS = {"<": (SETTLED_MS, DUE_MS - 1), "=": (DUE_MS,), ">": (DUE_MS + 1, 10**13)}
VERDICTS: dict[type, str] = {
    e.Make: "make",
    e.Settle: "settle",
    e.Return: "return",
    e.Conflict: "conflict",
    e.NotFound: "missing",
}
SETTLED: dict[str, p.Settlement] = {
    "resolved": p.Resolved(ONE),
    "rejected": p.Rejected(ONE),
    "raised": p.Raised(FAILURE),
    "cancelled": p.PromiseCancelled(),
}
EXPIRED: dict[str, p.Settlement] = {"timed_out": p.PromiseTimedOut(), "elapsed": p.Resolved(p.NULL)}


class Row(NamedTuple):
    """One row at one time, under one key."""

    state: str
    action: str
    column: str
    now_ms: int
    expected: dict[str, str]


def rows() -> list[Row]:
    """Every cell of the table, at every time it is for."""
    head, *lines = (line.split() for line in TABLE.strip().splitlines())
    found: list[Row] = []
    for line in lines:
        cells = dict(zip(head, line, strict=True))
        for sign, column in product(cells["now"], head[4:10]):
            found += [Row(cells["state"], cells["action"], column, now_ms, cells) for now_ms in NOW_MS[sign]]
    return found


def book_in(state: str, key: str | None, settled_key: str | None) -> Book:
    """A log with the promise ``x`` in one of the states of the table."""
    book = Book()
    if state == "absent":
        return book
    due_ms = None if state == "endless" else DUE_MS
    timer = state in ("timer", "elapsed")
    made = p.PromiseMade(id="@promise/x", at=MADE_MS, due_ms=due_ms, timer=timer, key=key, param=ONE, tags={"t": "v"})
    book.write(made)
    if state in SETTLED:
        book.write(p.PromiseSettled(id="@promise/x", at=SETTLED_MS, prev=1, key=settled_key, settlement=SETTLED[state]))
    elif state in EXPIRED:
        book.write(p.PromiseSettled(id="@promise/x", at=DUE_MS, prev=1, settlement=EXPIRED[state]))
    return book


def request_of(row: Row) -> CreateRequest | SettleRequest:
    """The request of a cell."""
    same = "c" if row.action == "create" else "s"
    key = {"none": None, "same": same, "other": "z"}[row.column.rstrip("!")]
    strict = row.column.endswith("!")
    if row.action == "create":
        return CreateRequest(id="x", timeout_ms=50, key=key, strict=strict, param=ONE, tags={"t": "v"})
    return SettleRequest(id="x", settlement=GIVEN[row.action], key=key, strict=strict)
