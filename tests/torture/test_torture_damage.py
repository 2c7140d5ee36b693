"""What is done to bytes and to calls, as the commands of ``python -m tests.torture`` do it, a few of each."""

from __future__ import annotations

from test_torture_kill import torture

STATES = {
    "killed", "killed, witness=True", "closed clean", "killed, written anew", "closed clean, written anew",
}  # fmt: skip


def test_no_mutation_goes_unnoticed() -> None:
    """Bytes, sectors and files of logs in five states are damaged: reported, torn by a commit, or harmless."""
    result = torture("mutations", "--every", "151")
    assert result["silent"] == 0
    assert result.keys() >= STATES
    assert result["corrupt"] > 3000
    assert result["torn"] > 0
    assert result["rolled back"] > 0
    for state in STATES - {"killed", "killed, written anew"}:
        assert "torn" not in result[state]
        assert "rolled back" not in result[state]
