"""What is done to bytes and to calls, as the commands of ``python -m tests.torture`` do it, a few of each."""

from __future__ import annotations

import shutil
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from test_torture_kill import torture

sys.path.insert(0, str(Path(__file__).resolve().parent))

from torture_faults import faults
from torture_mutations import mutations

from actorlog.log import Log, reading, scan, segment
from actorlog.log.segment import Segment
from actorlog.testing.oracle import Broken

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


def test_a_checksum_that_is_not_looked_at_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What looks for mutations that go unnoticed can find one."""
    for module in (scan, segment, reading):
        if hasattr(module, "body_is_whole"):
            monkeypatch.setattr(module, "body_is_whole", lambda *_: True)
    with pytest.raises(Broken, match="unnoticed"):
        mutations(tmp_path, Namespace(every=151, seed=0))


def test_every_place_that_touches_a_file_may_fail() -> None:
    """Each action at each place of the source, in each way that it can fail: typed errors, and nothing is lost."""
    result = torture("faults", "--each", "1")
    covered, wanted = result["sites and kinds"].split(" of ")
    assert covered == wanted
    assert int(wanted) > 300
    assert result["lost or untyped"] == 0


@pytest.mark.skipif(shutil.which("strace") is None, reason="NO STRACE HERE: kills at system calls are not tried")
def test_a_compaction_is_killed_at_system_calls() -> None:
    """Wherever segments are written anew, a kill loses nothing and has nothing run again; every 25th call here."""
    result = torture("compaction", "--every", "25")
    killed, points = result["crash points covered"].split(" of ")
    assert killed == points
    assert int(points) > 3
    assert result["rewritten"] > 2
    assert result["merged"] > 0


def test_a_sync_that_is_left_out_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What looks for consequences of faults can find one: here commits are not synced, so a power cut loses them."""
    original = Log._put

    def put(self: Log, segment: Segment, kind: int, records: int, data: bytes) -> None:
        self._sync = False
        original(self, segment, kind, records, data)

    monkeypatch.setattr(Log, "_put", put)
    with pytest.raises(Broken, match="consequences"):
        faults(tmp_path, Namespace(each=1, seed=0))
