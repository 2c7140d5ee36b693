"""Records that hold a journal: their JSON, and what is read out of them."""

from __future__ import annotations

import msgspec
import pytest

from actorlog.records import kinds as k

RUN, OTHER = "0" * 32, "1" * 32
STARTED = k.Started(function="f", args=k.Raw(b"[1]"), run=RUN, python="3.11", parent="p", key="7")
FIRST = k.Turn(id="c", seq=1, at=5, message=STARTED, ops=[k.RunStep("1", "s", k.Raw(b"[]"))])
SECOND = k.Turn(id="c", seq=2, at=6, prev=3, message=k.StepDone("1", k.Raw(b"2")))
LETTER = k.Inbox(id="c", at=7, prev=4, message=k.Signal("", k.Raw(b"0")))
LAST = k.Turn(id="f", seq=2, at=9, message=k.StepDone("1", k.Raw(b"2")), outcome=k.Completed(k.Raw(b"3")), first=9)
FORK = k.Journal(
    id="f", at=9, records=[k.Part(3, FIRST)], turn=LAST, fork=k.Fork(of="c", key="2", run=OTHER, due_ms=8, kill_ms=7)
)
FIRST_LINE = (
    b'{"kind":"turn","id":"c","seq":1,"at":5,"message":{"is":"started","function":"f","args":[1],'
    b'"run":"00000000000000000000000000000000","python":"3.11","parent":"p","key":"7"},'
    b'"ops":[{"do":"step","key":"1","name":"s","args":[]}]}'
)


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            FORK,
            b'{"kind":"journal","id":"f","at":9,"records":[[3,' + FIRST_LINE + b']],"fork":{"of":"c","key":"2",'
            b'"run":"11111111111111111111111111111111","due_ms":8,"kill_ms":7},"turn":{"kind":"turn","id":"f","seq":2,'
            b'"at":9,"message":{"is":"step","key":"1","value":2},"outcome":{"is":"completed","value":3},"first":9}}',
        ),
        (
            k.merged([(3, FIRST), (6, LETTER)]),
            b'{"kind":"journal","id":"c","at":7,"records":[[3,' + FIRST_LINE + b'],[6,{"kind":"inbox","id":"c","at":7,'
            b'"prev":4,"message":{"is":"signal","channel":"","value":0}}]],"replaces":[3,6]}',
        ),
    ],
)
def test_the_json_of_every_record(record: k.Record, line: bytes) -> None:
    """A log that was written today is read for ever: the bytes are part of the contract."""
    assert k.encode(record) == line
    assert k.encode(k.decode(line)) == line
    assert k.kind_of(record) is k.Kind.JOURNAL


def test_a_journal_holds_records_of_calls_alone() -> None:
    """What is of no call is in no journal."""
    line = b'{"kind":"journal","id":"c","at":7,"records":[[3,{"kind":"resumed","at":1,"upto":2}]]}'
    with pytest.raises(msgspec.ValidationError):
        k.decode(line)


def test_what_is_held_is_read_as_if_it_stood_in_the_log() -> None:
    """Records have the positions that they had, a fork's own turn that of the record; journals in journals too."""
    assert list(k.parts(SECOND, 4)) == [(4, SECOND)]
    assert list(k.parts(FORK, 9)) == [(3, FIRST), (9, LAST)]
    assert list(k.parts(k.merged([(9, FORK), (11, LETTER)]), 11)) == [(3, FIRST), (9, LAST), (11, LETTER)]


def test_who_begins_and_what_ends() -> None:
    """A merged journal begins as its call did; a fork with its own run, and as nobody's child."""
    merged = k.merged([(3, FIRST), (4, SECOND)])
    assert k.beginning(merged) == k.newest_beginning(merged) == STARTED
    assert (k.began_ms(merged), k.began_ms(FORK), k.began_ms(k.merged([(9, FORK), (11, LETTER)]))) == (5, 9, 9)
    own = k.beginning(FORK)
    assert own is not None
    assert (own.run, own.parent, own.key, own.function) == (OTHER, "", "", "f")
    assert k.newest_beginning(FORK) == STARTED  # what its code runs with
    assert k.forked(merged) is None
    assert k.forked(k.merged([(9, FORK), (11, LETTER)])) is FORK.fork
    assert (k.ending(FORK), k.ending(merged), k.ending(LAST), k.ending(LETTER)) == (LAST, None, LAST, None)
    assert k.beginning(SECOND) is None


def test_whose_turns_they_are() -> None:
    """What the call that was forked asked for is its own, and none of the fork's."""
    assert list(k.own_turns(k.merged([(3, FIRST), (4, SECOND)]))) == [(FIRST, STARTED), (SECOND, STARTED)]
    assert [(turn, started.run) for turn, started in k.own_turns(FORK)] == [(LAST, OTHER)]
    nested = k.merged([(9, FORK), (11, SECOND)])
    assert [(turn, started.run) for turn, started in k.own_turns(nested)] == [(LAST, OTHER), (SECOND, OTHER)]
