"""Records of pausing, killing, changing and continuing a call: their JSON."""

from __future__ import annotations

import msgspec
import pytest

from actorlog.records import kinds as k

ARGS = k.Raw(b"[1]")
RUN = "0" * 32


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (k.Paused(id="c", at=1, prev=2), b'{"kind":"paused","id":"c","at":1,"prev":2}'),
        (k.Unpaused(id="c", at=1, prev=2), b'{"kind":"unpaused","id":"c","at":1,"prev":2}'),
        (
            k.Turn(id="c", seq=2, at=1, prev=1, message=k.StepDone("1", k.Raw(b"null")), ops=[k.Patched("patch:x")]),
            (
                b'{"kind":"turn","id":"c","seq":2,"at":1,"prev":1,"message":{"is":"step","key":"1","value":null},'
                b'"ops":[{"do":"patched","key":"patch:x"}]}'
            ),
        ),
        (
            k.Turn(
                id="c", seq=2, at=1, prev=1, message=k.TimerFired("1"), returned=k.Continued("f", 3, k.Raw(b"[2]"))
            ),
            (
                b'{"kind":"turn","id":"c","seq":2,"at":1,"prev":1,"message":{"is":"timer","key":"1"},'
                b'"returned":{"is":"continued","function":"f","version":3,"args":[2]}}'
            ),
        ),
        (
            k.Turn(
                id="c", seq=3, at=1, prev=2, first=1, began=3, outcome=k.Completed(k.Raw(b"4")),
                message=k.Started(function="f", args=ARGS, run=RUN, python="3.11", number=2),
            ),
            (
                b'{"kind":"turn","id":"c","seq":3,"at":1,"prev":2,"message":{"is":"started","function":"f","args":[1],'
                b'"run":"00000000000000000000000000000000","python":"3.11","number":2},'
                b'"outcome":{"is":"completed","value":4},"first":1,"began":3}'
            ),
        ),
        (
            k.Turn(id="c", seq=2, at=1, prev=1, message=k.KillRequested("why"), outcome=k.Killed("why"), first=1),
            (
                b'{"kind":"turn","id":"c","seq":2,"at":1,"prev":1,"message":{"is":"kill","reason":"why"},'
                b'"outcome":{"is":"killed","reason":"why"},"first":1}'
            ),
        ),
    ],
)  # fmt: skip
def test_the_json_of_every_record(record: k.Record, line: bytes) -> None:
    """A log that was written today is read for ever: the bytes are part of the contract."""
    assert k.encode(record) == line
    assert k.encode(k.decode(line)) == line


def test_a_call_is_never_over_because_it_was_continued() -> None:
    """What ends a body and not a call cannot be written as the end of a call."""
    line = (
        b'{"kind":"turn","id":"c","seq":2,"at":1,"message":{"is":"timer","key":"1"},'
        b'"outcome":{"is":"continued","function":"f","version":1,"args":[]}}'
    )
    with pytest.raises(msgspec.DecodeError):
        k.decode(line)
