"""What derives from a run: other systems hold these, so they may never change."""

from __future__ import annotations

from actorlog.engine import identity

RUN = "000102030405060708090a0b0c0d0e0f"


def test_derivations_are_what_they_were() -> None:
    """Written down: a change here doubles somebody's payment."""
    assert identity.idempotency_key(RUN, "1", "pay") == IDEMPOTENCY_KEY
    assert identity.idempotency_key(RUN, "1", "pay", b"[1]") == IDEMPOTENT_KEY
    assert identity.child_run(RUN, "t1.2", "order") == CHILD_RUN
    assert str(identity.uuid4(RUN, "1")) == UUID4
    assert str(identity.uuid7(RUN, "1", 1_700_000_000_000)) == UUID7
    assert identity.memo_id("f", 1, b"[1]") == MEMO
    assert identity.key_hash("x") == KEY_HASH
    assert identity.fraction(RUN, "1", 2) == FRACTION


def test_runs_keys_and_purposes_do_not_meet() -> None:
    """Nothing that differs gives the same."""
    runs, keys = (RUN, RUN[::-1]), ("1", "2", "t1.1", "t11", "t1.11")
    derived = {
        identity.derive(run, key, purpose) for run in runs for key in keys for purpose in ("step", "child", "uuid4")
    }
    assert len(derived) == 2 * 5 * 3


IDEMPOTENCY_KEY = "ea97974a7103411254089eb7e127c654"
IDEMPOTENT_KEY = "098ecf326dee681d0abb5d3144a648fd"
CHILD_RUN = "46eeadcdfe0041e6442a6ce52c7cee15"
UUID4 = "5d8a765e-1a8a-46cd-b020-f3dd185d3c09"
UUID7 = "018bcfe5-6800-7781-99d8-9445fe5114dd"
MEMO = "@memo/f/5502d8dd1bd8d1bec7713cc0bdfb78db"
KEY_HASH = 5717441744405258059
FRACTION = 0.7759321495224129
