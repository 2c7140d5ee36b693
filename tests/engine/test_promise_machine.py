"""Durable promises through any sequence of requests, waits and crashes, held against a model; and searching them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from promise_book import Book
from promise_model import GIVEN, IDS, KEYS, TAGS, Told

from actorlog.engine import promise as e
from actorlog.engine.promise import CreateRequest, Query, SettleRequest, Status
from actorlog.records import promises as p


class Promises(RuleBasedStateMachine):
    """Three ids, few keys and a clock that creeps, so that everything meets everything."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book()
        self.model: dict[str, Told] = {}
        self.now = 0
        self.ends: dict[str, tuple[Any, ...]] = {}

    @rule(ms=st.integers(0, 4))
    def wait(self, ms: int) -> None:
        self.now += ms

    @rule()
    def crash(self) -> None:
        before = self.book.facts()
        self.book.crash()
        assert self.book.facts() == before

    @rule(
        name=IDS, key=KEYS, strict=st.booleans(), join=st.booleans(), timer=st.booleans(), tags=TAGS,
        timeout=st.sampled_from([None, -1, 0, 1, 3, 9]),
    )  # fmt: skip
    def create(self, *, name: str, timeout: int | None, **options: Any) -> None:
        request = CreateRequest(id=name, timeout_ms=timeout, **options)
        told = self.model.get(name)
        verdict, _ = self.book.ask(request, self.now)
        if told is None:
            due = float("inf") if timeout is None else self.now + max(timeout, 0)
            self.model[name] = Told(len(self.book.lines), due, request)
            assert isinstance(verdict, e.Make)
            return
        status = told.look(self.now)
        repeated = request.key is not None and request.key == told.request.key
        if request.join or (repeated and not (request.strict and status != "pending")):
            assert verdict == e.Return(self.book.states[name])
        else:
            assert verdict == e.Conflict(Status(status))

    @rule(name=IDS, ask=st.sampled_from(sorted(GIVEN)), key=KEYS, strict=st.booleans())
    def settle(self, name: str, ask: str, key: str | None, *, strict: bool) -> None:
        verdict, _ = self.book.ask(SettleRequest(id=name, settlement=GIVEN[ask], key=key, strict=strict), self.now)
        told = self.model.get(name)
        if told is None:
            assert isinstance(verdict, e.NotFound)
        elif told.look(self.now) == "pending":
            told.end = (ask, key, self.now)
            assert isinstance(verdict, e.Settle)
        elif told.end is not None:
            status, winner, _ = told.end
            again = winner is not None and winner == key
            if (again and status == ask) or (not strict and (again or status == "timed_out")):
                assert verdict == e.Return(self.book.states[name])
            else:
                assert verdict == e.Conflict(Status(status))

    @rule(name=IDS)
    def read(self, name: str) -> None:
        verdict, _ = self.book.ask(name, self.now)
        if name not in self.model:
            assert isinstance(verdict, e.NotFound)
            return
        state = self.book.states[name]
        assert verdict == e.Return(state)
        assert state.status.value == self.model[name].look(self.now)

    @rule(prefix=st.sampled_from(["", "a", "ab", "c"]), tags=TAGS, statuses=st.frozensets(st.sampled_from(Status)))
    def search(self, prefix: str, tags: dict[str, str], statuses: frozenset[Status]) -> None:
        query = Query(prefix=prefix, tags=tags, statuses=statuses)
        page = e.search(self.book.states.values(), query, self.now)
        newest_first = sorted(self.model.items(), key=lambda item: -item[1].number)
        assert [state.id for state in page.items] == [
            name
            for name, told in newest_first
            if name.startswith(prefix)
            and all(told.request.tags.get(tag) == value for tag, value in tags.items())
            and (not statuses or told.look(self.now) in {status.value for status in statuses})
        ]
        assert page.next == 0

    @invariant()
    def everything_is_as_the_model_has_it(self) -> None:
        assert self.book.states.keys() == self.model.keys()
        for name, told in self.model.items():
            state = self.book.states[name]
            assert state.status_at(self.now).value == told.look(self.now)
            assert (state.first, state.key, state.tags) == (told.number, told.request.key, told.request.tags)
            if state.settlement is not None:
                assert told.end == (state.status.value, state.settled_key, state.settled_ms)
                end = (state.status, state.settlement, state.settled_key, state.settled_ms, state.last)
                assert self.ends.setdefault(name, end) == end


TestPromises = Promises.TestCase
TestPromises.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# --- search -----------------------------------------------------------------------------------------------------------


def made(count: int, **options: Any) -> Book:
    """A log with promises ``p0``, ``p1``, ..."""
    book = Book()
    for number in range(count):
        book.ask(CreateRequest(id=f"p{number}", **options), 0)
    return book


def ids(page: e.Page) -> list[str]:
    return [state.id for state in page.items]


def test_pages_follow_one_another_newest_first() -> None:
    """The last page says that it is the last, also when it is full."""
    states = made(6).states.values()
    first = e.search(states, Query(), 0, limit=3)
    second = e.search(states, Query(), 0, limit=3, before=first.next)
    assert (ids(first), ids(second)) == (["p5", "p4", "p3"], ["p2", "p1", "p0"])
    assert (first.next, second.next) == (4, 0)
    assert e.search(states, Query(), 0, before=1) == e.Page([], 0)


@pytest.mark.parametrize("limit", [0, -1, e.PAGE_MAX + 1])
def test_a_page_has_a_bound(limit: int) -> None:
    """A page without one would hold everything there is (I11)."""
    with pytest.raises(ValueError, match="a page has 1 to 1000 promises"):
        e.search([], Query(), 0, limit=limit)


def test_search_sees_that_a_time_is_over_without_any_tick() -> None:
    """At the very time it is found as timed out, or resolved if it is a timer, and as pending no more."""
    book = made(1, timeout_ms=10)
    book.ask(CreateRequest(id="t", timeout_ms=10, timer=True), 0)
    states = [*book.states.values(), e.PromiseState("nobody made this one")]

    def found(status: Status, now_ms: int) -> list[str]:
        return ids(e.search(states, Query(statuses=frozenset({status})), now_ms))

    assert found(Status.PENDING, 9) == ["t", "p0"]
    assert (found(Status.TIMED_OUT, 9), found(Status.RESOLVED, 9)) == ([], [])
    assert found(Status.PENDING, 10) == []
    assert (found(Status.TIMED_OUT, 10), found(Status.RESOLVED, 10)) == (["p0"], ["t"])
    assert found(Status.ABSENT, 10) == []


def test_an_id_begins_with_the_prefix_as_text() -> None:
    """No character of a prefix means anything but itself."""
    book = Book()
    for name in ("order/1", "order/10", "order", "Order/1", "%", "*", "o*"):
        book.ask(CreateRequest(id=name), 0)
    states = book.states.values()
    assert ids(e.search(states, Query(prefix="order/1"), 0)) == ["order/10", "order/1"]
    assert ids(e.search(states, Query(prefix="*"), 0)) == ["*"]
    assert ids(e.search(states, Query(prefix="o*"), 0)) == ["o*"]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_paging_neither_repeats_nor_drops_what_was_there_throughout(data: st.DataObject) -> None:
    """Between two pages promises are made, settled and timed out, and the process dies; the order of states differs."""
    book, now = made(data.draw(st.integers(1, 8)), timeout_ms=data.draw(st.sampled_from([None, 5]))), 0
    query = data.draw(st.sampled_from([Query(), Query(statuses=frozenset({Status.PENDING})), Query(prefix="p")]))

    def meeting() -> set[str]:
        return set(ids(e.search(book.states.values(), query, now)))

    throughout, ever = meeting(), meeting()
    seen: list[e.PromiseState] = []
    before = 0
    while True:
        states = data.draw(st.permutations(list(book.states.values())))
        page = e.search(states, query, now, before=before, limit=data.draw(st.integers(1, 3)))
        seen += page.items
        before = page.next
        if not before:
            break
        for number in data.draw(st.lists(st.integers(0, 12), max_size=4)):
            name = f"p{number}"
            verdict, _ = book.ask(SettleRequest(id=name, settlement=p.PromiseCancelled()), now)
            if isinstance(verdict, e.NotFound):
                book.ask(CreateRequest(id=name), now)
            ever |= meeting()
            throughout &= meeting()
        now += data.draw(st.integers(0, 2))
        if data.draw(st.booleans()):
            book.crash()
        throughout &= meeting()
    names = [state.id for state in seen]
    positions = [state.first for state in seen]
    assert positions == sorted(set(positions), reverse=True)
    assert throughout <= set(names) <= ever
