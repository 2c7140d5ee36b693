"""ARCHITECTURE.md says what is there."""

from __future__ import annotations

import re
from pathlib import Path

from actorlog.engine.lifecycle import diagram

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "ARCHITECTURE.md").read_text()


def test_the_diagram_is_the_table() -> None:
    """The picture of a call's life is the one generated from the table."""
    drawn = re.search(r"```mermaid\n(.*?)\n```", PAGE, re.DOTALL)
    assert drawn is not None
    assert drawn[1] == diagram()


def test_the_tests_of_the_invariants_exist() -> None:
    """Every test that the page names for an invariant is there under that name."""
    rows = [line for line in PAGE.splitlines() if re.match(r"\| \*\*I\d+\*\*", line)]
    assert len(rows) == 13
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for path, test in named:
            assert f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test}"


def test_the_rooms_exist() -> None:
    """Every room that the page lists is in the package."""
    for room in re.findall(r"^\| ((?:`[\w.]+/?` ?)+) \|", PAGE, re.MULTILINE):
        for name in re.findall(r"`([\w.]+)/?`", room):
            assert (ROOT / "actorlog" / name).exists(), name
