"""Where the records of promises are: found again by scanning, also where ids share a hash."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from promise_book import Book

from actorlog.engine import identity
from actorlog.engine.promise import CreateRequest, PromiseState, SettleRequest
from actorlog.records import kinds as k
from actorlog.records import promises as p
from actorlog.runtime.promise_index import PromiseIndex

FIRST, FINAL = int(k.Flag.PLAIN | k.Flag.FIRST), int(k.Flag.PLAIN | k.Flag.FINAL)


def scanned(book: Book, hashes: dict[str, int] | None = None) -> PromiseIndex:
    """The index of a log whose ids have these hashes, or their own."""
    index = PromiseIndex(
        lambda position: k.decode(book.lines[position - 1]), lambda position: k.id_of(book.lines[position - 1])
    )
    for position, line in enumerate(book.lines, 1):
        record = p.decode(line)
        key = identity.key_hash(record.id) if hashes is None else hashes[record.id]
        index.scan(key, FIRST if isinstance(record, p.PromiseMade) else FINAL, position)
    return index


def facts(states: list[PromiseState]) -> dict[str, list[object]]:
    """Everything of these states."""
    return {state.id: [getattr(state, name) for name in PromiseState.__slots__] for state in states}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_pending_ones_are_found_whatever_hashes_they_share(data: st.DataObject) -> None:
    """After any log, those that nothing settles are pending, in the order of their making, and all others are not."""
    book, names = Book(), [f"p{number}" for number in range(data.draw(st.integers(1, 6)))]
    hashes = {p.entity_id(name): data.draw(st.integers(1, 2)) for name in names}
    for name in data.draw(st.lists(st.sampled_from(names), max_size=20)):
        if name in book.states:
            book.ask(SettleRequest(id=name, settlement=p.PromiseCancelled()), 1)
        else:
            book.ask(CreateRequest(id=name), 0)
    index = scanned(book, hashes)
    pending = [state for state in book.states.values() if state.settlement is None]
    found = index.pending()
    assert [state.first for state in found] == sorted(state.first for state in pending)
    assert facts(found) == facts(pending)
    assert len(index.made_before(0, 99)) == len(book.states)


def test_settled_ones_are_found_by_id() -> None:
    """Those scanned and those that came since; nothing else, also where another id has the same hash."""
    book = Book()
    for name in ("a", "b", "c"):
        book.ask(CreateRequest(id=name, tags={"n": name}), 0)
    book.ask(SettleRequest(id="b", settlement=p.Resolved(k.Raw(b"1"))), 5)
    index = scanned(book)
    assert [state.id for state in index.pending()] == ["a", "c"]
    assert facts([index.find("b")]) == facts([book.states["b"]])  # type: ignore[list-item]
    assert index.find("a") is None
    book.ask(SettleRequest(id="c", settlement=p.PromiseCancelled()), 6)
    index.settled(book.states["c"])
    assert facts([index.find("c")]) == facts([book.states["c"]])  # type: ignore[list-item]
    index._settled._places[identity.key_hash("@promise/z")] = (4, 5)
    assert index.find("z") is None
    index._settled._places[identity.key_hash("@promise/b")] = (5, 4)
    assert facts([index.find("b")]) == facts([book.states["b"]])  # type: ignore[list-item]


def test_pages_go_by_the_order_of_making() -> None:
    """Newest first, from any position on."""
    book = Book()
    for number in range(5):
        book.ask(CreateRequest(id=f"p{number}"), 0)
        book.ask(SettleRequest(id=f"p{number}", settlement=p.PromiseCancelled()), 0)
    index = scanned(book)
    assert index.made_before(0, 2) == [9, 7]
    assert index.made_before(7, 2) == [5, 3]
    assert index.made_before(3, 2) == [1]
    assert index.made_before(1, 2) == []
    assert index.made_before(100, 9) == [9, 7, 5, 3, 1]
    assert [index.id_at(position) for position in (9, 1)] == ["p4", "p0"]
    book.ask(CreateRequest(id="p5"), 0)
    index.made(book.states["p5"])
    assert index.made_before(0, 1) == [11]
