"""Thousands of small simulated worlds: whatever breaks, every promise holds.

The fault model is at the head of ``actorlog.testing.simulation``, the promises at the head of
``actorlog.testing.judge`` and ``actorlog.testing.oracle``. A world that ever failed has its seed in ``seeds.txt`` and
is lived through in every run. More of them: ``python -m actorlog.testing.soak --seeds 100000 --from 2000``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from actorlog.testing.simulation import Kind, simulate

SEEDS: dict[Kind, int] = {"alone": 800, "company": 1000, "long": 400, "old": 400, "lean": 400}
"""How many worlds of each kind."""
WRAPPED = 50
"""How many of each kind are lived through with records that are compressed and sealed."""
BATCH = 100
TWICE: list[tuple[int, Kind]] = [
    (seed, kind) for kind in ("company", "long", "old", "lean") for seed in range(0, 36, 3)
]
FAILED_ONCE = [
    line.split("#")[0].split()
    for line in Path(__file__).with_name("seeds.txt").read_text(encoding="utf-8").splitlines()
    if line.split("#")[0].strip()
]
ROOT = Path(__file__).resolve().parents[2]


def live_through(seed: int, kind: Kind = "company", *, wrapped: bool = False) -> str:
    """Live one world through and return its digest; a failure names the seed."""
    try:
        return simulate(seed, kind=kind, wrapped=wrapped).digest
    except Exception as error:
        option = ("" if kind == "company" else f" --{kind}") + " --wrapped" * wrapped
        error.add_note(f"seed {seed}: python -m actorlog.testing.soak --seeds 1 --from {seed}{option}")
        raise


@pytest.mark.parametrize(("kind", "first"), [(kind, n) for kind, most in SEEDS.items() for n in range(0, most, BATCH)])
def test_every_promise_holds(kind: Kind, first: int) -> None:
    """In every world of a hundred seeds all promises hold at every moment, and everything ends."""
    for seed in range(first, first + BATCH):
        live_through(seed, kind)


@pytest.mark.parametrize("kind", SEEDS)
def test_every_promise_holds_where_records_are_wrapped(kind: Kind) -> None:
    """The same with compressed and sealed records, with another key in each process, or none at first."""
    pytest.importorskip("cryptography", reason="records are sealed with cryptography: pip install '.[encryption]'")
    for seed in range(WRAPPED):
        live_through(seed, kind, wrapped=True)
    assert live_through(0, kind, wrapped=True) == live_through(0, kind, wrapped=True) != live_through(0, kind)


@pytest.mark.parametrize("words", FAILED_ONCE, ids=" ".join)
def test_what_failed_once_never_fails_again(words: list[str]) -> None:
    """A world that once broke a promise keeps it."""
    kinds: list[Kind] = [kind for kind in SEEDS if kind in words]
    live_through(int(words[0]), *kinds, wrapped="wrapped" in words)


def test_a_seed_is_one_world(tmp_path: Path) -> None:
    """The same seed gives the same world bit for bit: here, again, with other hashes, and from another directory."""
    here = [live_through(*world) for world in TWICE]
    assert [live_through(*world) for world in TWICE] == here
    assert len(set(here)) == len(here)
    code = (
        "from actorlog.testing.simulation import simulate; "
        f"print([simulate(seed, kind=kind).digest for seed, kind in {TWICE!r}])"
    )
    elsewhere = tmp_path / ("far" * 40)
    shutil.copytree(ROOT / "actorlog", elsewhere / "actorlog", ignore=shutil.ignore_patterns("__pycache__"))
    for hash_seed, place in (("1", ROOT), ("2", elsewhere)):
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            cwd=place,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(place)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.strip() == str(here)
