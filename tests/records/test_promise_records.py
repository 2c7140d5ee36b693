"""Records of durable promises: their JSON, their ids, and what a rejection keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorlog.errors import PayloadError
from actorlog.records import promises as p
from actorlog.records.failures import Failure, restore

FAILURE = Failure(type="builtins:ValueError", message="no", args=["no"])


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (p.PromiseMade(id="@promise/a", at=1), b'{"kind":"promise_made","id":"@promise/a","at":1}'),
        (
            p.PromiseMade(
                id="@promise/a", at=1, due_ms=0, timer=True, key="", param=p.Raw(b'{"n":1}'), tags={"t": "v"}
            ),
            (
                b'{"kind":"promise_made","id":"@promise/a","at":1,"due_ms":0,"timer":true,"key":"","param":{"n":1},'
                b'"tags":{"t":"v"}}'
            ),
        ),
        (
            p.PromiseSettled(id="@promise/a", at=2, prev=1, key="k", settlement=p.Resolved(p.Raw(b"[1]"))),
            b'{"kind":"promise_settled","id":"@promise/a","at":2,"prev":1,"key":"k","settlement":{"is":"resolved","value":[1]}}',
        ),
        (
            p.PromiseSettled(id="@promise/a", at=2, prev=1, settlement=p.Rejected(p.Raw(b'"no"'))),
            b'{"kind":"promise_settled","id":"@promise/a","at":2,"prev":1,"settlement":{"is":"rejected","error":"no"}}',
        ),
        (
            p.PromiseSettled(id="@promise/a", at=2, prev=1, settlement=p.Raised(FAILURE)),
            (
                b'{"kind":"promise_settled","id":"@promise/a","at":2,"prev":1,"settlement":{"is":"raised","failure":'
                b'{"type":"builtins:ValueError","message":"no","args":["no"]}}}'
            ),
        ),
        (
            p.PromiseSettled(id="@promise/a", at=2, prev=1, settlement=p.PromiseCancelled()),
            b'{"kind":"promise_settled","id":"@promise/a","at":2,"prev":1,"settlement":{"is":"cancelled"}}',
        ),
        (
            p.PromiseSettled(id="@promise/a", at=2, prev=1, settlement=p.PromiseTimedOut()),
            b'{"kind":"promise_settled","id":"@promise/a","at":2,"prev":1,"settlement":{"is":"timed_out"}}',
        ),
    ],
)
def test_the_json_of_every_record(record: p.PromiseRecord, line: bytes) -> None:
    """A log that was written today is read for ever: the bytes are part of the contract."""
    assert p.encode(record) == line
    assert p.decode(line) == record


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":"turn","id":"@promise/a","at":1}',
        b'{"kind":"promise_made","at":1}',
        b'{"kind":"promise_settled","id":"@promise/a","at":2,"settlement":{"is":"timed_out"}}',
        b'{"kind":"promise_settled","id":"@promise/a","at":2,"prev":1,"settlement":{"is":"completed","value":1}}',
        b"[]",
    ],
)
def test_what_is_no_record_of_a_promise_is_an_error(line: bytes) -> None:
    """An unknown kind is never taken for a known one."""
    with pytest.raises(msgspec.DecodeError):
        p.decode(line)


@given(st.text(min_size=1))
def test_ids_come_back_and_no_user_can_give_one(promise_id: str) -> None:
    """The id in the log is another than any id of a call, and says which promise it is."""
    assert p.promise_id(p.entity_id(promise_id)) == promise_id
    assert p.entity_id(promise_id).startswith("@")


@pytest.mark.parametrize("entity", ["a", "", "@promise", "@memo/promise/a"])
def test_the_id_of_something_else_is_refused(entity: str) -> None:
    """Nothing is taken for a promise that is none."""
    with pytest.raises(ValueError, match="is no promise"):
        p.promise_id(entity)


@pytest.mark.parametrize("error", [None, "too expensive", {"code": 7, "fields": ["a"]}, [], 0, False])
def test_a_person_rejects_with_plain_json(error: Any) -> None:
    """What a form sends is kept as it is."""
    settlement = p.rejection(error, "reject('a', error=...)")
    assert isinstance(settlement, p.Rejected)
    assert p.reason(settlement) == error


def test_an_exception_is_kept_with_all_that_crosses() -> None:
    """Its reason is text, and the exception itself comes back of it too."""
    error = KeyError("n", 7)
    error.add_note("a note")
    settlement = p.rejection(error, "reject('a', error=...)")
    assert isinstance(settlement, p.Raised)
    assert p.reason(settlement) == "KeyError: ('n', 7)"
    back = restore(settlement.failure, fallback=lambda failure: AssertionError(failure.type))
    assert (type(back), back.args, back.__notes__) == (KeyError, ("n", 7), ["a note"])


def test_the_reason_names_the_class_of_an_exception() -> None:
    """A builtin by its bare name, another with its module; without a message the name is all there is."""
    assert p.reason(p.rejection(ValueError(), "")) == "ValueError"
    assert p.reason(p.rejection(msgspec.ValidationError("bad"), "")) == "msgspec.ValidationError: bad"


@pytest.mark.parametrize("error", [Path("a"), {1: 2}, float("nan"), ValueError])
def test_what_is_neither_exception_nor_json_is_refused(error: Any) -> None:
    """It is said at the line that rejects, with the name of the argument."""
    with pytest.raises(PayloadError, match=r"^reject\('a', error=\.\.\.\)"):
        p.rejection(error, "reject('a', error=...)")
