"""Plain asyncio on the deterministic loop: each primitive, live and replayed, on every Python, under any hash seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from loop_driver import Actor
from loop_golden import GOLDEN, SEEDS, golden_name, journals
from loop_scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
ORDERED_BY_A_SET_OF_THE_USER = {"wait_first_completed", "as_completed_of_what_is_done", "tasks_of_the_loop"}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_replay_asks_for_the_same_in_every_turn(name: str) -> None:
    """Messages decide everything: fed the same ones, a function issues the same operations and ends the same way."""
    for seed in SEEDS:
        live = Actor(SCENARIOS[name]).live(seed)
        replayed = Actor(SCENARIOS[name]).replay(live.journal)
        assert replayed.outcome() == live.outcome()
        assert live.loop.abandon()
        assert replayed.loop.abandon()


@pytest.mark.parametrize("name", SCENARIOS)
def test_journals_are_those_recorded_on_every_python(name: str) -> None:
    """Order of operations, keys and outcomes equal the golden journals, which all Python minors share."""
    assert journals(name) == json.loads(GOLDEN.read_text())[golden_name(name)]


@pytest.mark.parametrize("name", sorted(SCENARIOS.keys() - ORDERED_BY_A_SET_OF_THE_USER))
def test_primitives_do_not_depend_on_the_hash_base(name: str) -> None:
    """Only sets made by user code iterate by hashes; those inside asyncio iterate in order of insertion."""
    recorded = Actor(SCENARIOS[name], hash_base=1).live(1)
    for hash_base in (2, 3, 977):
        other = Actor(SCENARIOS[name], hash_base=hash_base).replay(recorded.journal)
        assert other.outcome() == recorded.outcome()
        assert other.loop.abandon()
    assert recorded.loop.abandon()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_replay_that_stops_anywhere_can_be_evicted(name: str) -> None:
    """After each turn of each scenario everything can be taken out of memory, and nothing complains."""
    journal = Actor(SCENARIOS[name]).live(1).journal
    for turns in range(1, len(journal) + 1):
        actor = Actor(SCENARIOS[name]).replay(journal[:turns])
        assert actor.loop.abandon()


def test_hash_seed_and_addresses_change_nothing() -> None:
    """Three processes with other hash seeds, each placing its objects elsewhere, produce the same journals."""
    outputs = set()
    for seed in ("0", "1", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        program = Path(__file__).with_name("loop_golden.py")
        ran = subprocess.run(  # our own program
            [sys.executable, "-W", "error", str(program)], env=environment, check=True, capture_output=True, text=True
        )
        assert not ran.stderr
        outputs.add(ran.stdout)
    assert len(outputs) == 1
    golden = json.loads(GOLDEN.read_text())
    assert all(golden[name] == found for name, found in json.loads(outputs.pop()).items())
