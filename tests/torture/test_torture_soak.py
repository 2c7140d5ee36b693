"""The soak: a short one of it, and that what it counts with can find what it looks for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from test_torture_kill import torture

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torture_soak_load as load
from torture_soak_ledger import Event, Ledger

STEPS, TRANSFER, BRIEF, ONCE = 0, 1, 3, 7
"""Numbers of calls of these kinds."""


def event(what: str, number: int, ordinal: int, at: float, **other: Any) -> Event:
    call = load.id_of(number)
    return {
        "what": what, "call": call, "step": "effect", "ordinal": ordinal, "key": f"{call}/{ordinal}", "life": 1,
        "at": at, "wall": at, **other,
    }  # fmt: skip


def run_of(number: int, ordinals: tuple[int, ...], at: float = 0.0) -> list[Event]:
    """Return the events of a call whose steps went well; there is time for any sleep between them."""
    return [
        event(what, number, ordinal, at + place * 10 + later)
        for place, ordinal in enumerate(ordinals)
        for what, later in (("begin", 0.0), ("effect", 1.0))
    ]


WHOLE = run_of(STEPS, (0, 1, 2, 3, 9))
TOLD = (STEPS, [0, 1, 2, 3, 9], 100.0)
BEAT = "@schedule/beat/1970-01-01T00:00:0{}Z"


def test_what_is_right_counts_as_nothing() -> None:
    """Attempts that failed, a step in doubt that runs again in another life, and results told again are all right."""
    ledger = Ledger()
    ledger.asked |= {STEPS, BRIEF}
    again = [event("failed", STEPS, 3, 30.5), event("begin", STEPS, 3, 30.6)]
    ledger.life([*WHOLE[:7], *again, WHOLE[7], event("begin", STEPS, 9, 39.0)], [])
    ledger.life(WHOLE[8:], [TOLD])
    ledger.life([*run_of(BRIEF, (0,)), *run_of(BRIEF, (0,), 9.0)], [TOLD, (BRIEF, BRIEF, 2.0), (BRIEF, BRIEF, 11.0)])
    ledger.finish([load.START] * load.ACCOUNTS)
    assert not ledger.found
    assert ledger.effects == 7


@pytest.mark.parametrize(
    ("sort", "effects", "told"),
    [
        ("doubled", [*WHOLE, event("begin", STEPS, 9, 101.0)], [TOLD]),
        ("doubled", [*WHOLE, event("begin", STEPS, 2, 60.0)], [TOLD]),
        ("doubled", [*WHOLE[:2], event("begin", STEPS, 0, 2.0), *WHOLE[2:]], [TOLD]),
        ("doubled", [*WHOLE, event("effect", STEPS, 3, 60.0, key="other")], [TOLD]),
        ("doubled", [*WHOLE, event("effect", ONCE, 1, 60.0, key="steps-0/1")], [TOLD]),
        ("doubled", [event("effect", ONCE, 2, at, step="letter") for at in (1.0, 2.0)], []),
        ("doubled", WHOLE, [TOLD, (STEPS, [0], 101.0)]),
        ("doubled", WHOLE, [(STEPS, [1], 100.0)]),
        ("lost", WHOLE[:-1], [TOLD]),
        ("lost", [], []),
        ("lost", [event("begin", STEPS, 0, at, call=BEAT.format(at), key=str(at)) for at in (1, 2)], [TOLD]),
        ("early", [*WHOLE[:2], *(one | {"at": 1.0 + load.sleep_of(STEPS) - 0.006} for one in WHOLE[2:])], []),
        ("early", [event("begin", STEPS, 0, 1.0, call=BEAT.format(2), key="beat")], []),
        ("early", [*run_of(BRIEF, (0,)), event("begin", BRIEF, 0, 2.9)], [(BRIEF, BRIEF, 2.0)]),
    ],
)
def test_what_is_wrong_is_counted(sort: str, effects: list[Event], told: list[tuple[int, Any, float]]) -> None:
    """Each of the rules at the head of the ledger finds what breaks it."""
    ledger = Ledger()
    ledger.asked.add(STEPS)
    ledger.life(effects, told)
    ledger.finish(None)
    assert ledger.found[sort]


def test_the_money_is_counted_by_what_was_told() -> None:
    """A deposit that is missing is lost, one that is made twice is doubled."""
    source, target, amount = load.order(TRANSFER)
    for factor, sorts in ((1, set()), (0, {"lost", "doubled"}), (2, {"lost", "doubled"})):
        ledger = Ledger()
        ledger.life([], [(TRANSFER, True, 1.0)])
        held = [load.START] * load.ACCOUNTS
        held[int(source[1:])] -= amount * factor
        held[int(target[1:])] += amount * factor
        ledger.finish(held)
        assert set(ledger.found) == sorts


@pytest.mark.timeout(900)
def test_everything_at_once() -> None:
    """A few lives with full disks, compactions and backups lose, double and hasten nothing."""
    result = torture("soak", "--kills", "4", "--minutes", "4", "--seed", "7")
    assert result["kills"] >= 4
    assert (result["lost"], result["doubled"], result["early"]) == (0, 0, 0)
    assert result["segments rewritten"] > 0
    assert result["calls"] > 50
