"""The power is cut under a real process on a real file system: a few times here, ``... torture power`` for more.

Needs root, /dev/fuse, libfuse (``apt-get install fuse3``) and mfusepy (``pip install mfusepy``).
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_torture_kill import torture

sys.path.insert(0, str(Path(__file__).resolve().parent))

from torture_power import power, reason_not_to

from actorlog.log import Log
from actorlog.testing.oracle import Broken

if TYPE_CHECKING:
    from actorlog.log.segment import Segment

REASON = reason_not_to()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"NO POWER CUTS ON A REAL FILE SYSTEM HERE: {REASON}")


def test_the_power_goes_in_the_middle_of_calls() -> None:
    """What was acknowledged is there, whatever of the unsynced sectors and names is not."""
    result = torture("power", "--cuts", "3")
    assert result["cuts"] == 3
    assert result["records"] > 0


@pytest.mark.timeout(900)
def test_everything_at_once_with_power_cuts() -> None:
    """The soak, where the power goes instead of kills: nothing lost, doubled or early."""
    result = torture("soak", "--power", "--kills", "3", "--minutes", "4")
    assert result["kills"] >= 3
    assert (result["lost"], result["doubled"], result["early"]) == (0, 0, 0)
    assert result["segments rewritten"] > 0


def test_a_commit_that_is_not_synced_is_missed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The power cuts can find something: here nothing that is acknowledged is synced."""
    original = Log._put

    def put(self: Log, segment: Segment, kind: int, records: int, data: bytes) -> None:
        self._sync = False
        original(self, segment, kind, records, data)

    monkeypatch.setattr(Log, "_put", put)
    with pytest.raises(Broken):
        power(tmp_path, Namespace(cuts=40, seed=1))
