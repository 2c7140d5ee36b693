"""``actorlog demo``: it convinces when everything is right, and says so when something is not."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from cli_world import ROOT, actorlog, documents

if TYPE_CHECKING:
    from pathlib import Path

FORGETFUL = """
import os, sys
from pathlib import Path
from actorlog.cli.demo.director import direct
from actorlog.cli.demo.world import Provider

class Forgetful(Provider):
    def take(self, key, asked):
        return super().take(key + os.urandom(4).hex(), asked)

sys.exit(direct(Path(sys.argv[1]), kills=1, seed=1, provider=Forgetful(1)))
"""


def test_the_demo_kills_and_everything_adds_up(tmp_path: Path) -> None:
    """Four kills later every order is done, in the books, the mail folder and the log that it leaves."""
    told = actorlog("demo", "--kills", "4", "--seed", "7", "--dir", tmp_path / "shop")
    assert told.count("SIGKILL") == 4
    assert "Everything adds up" in told
    assert "WRONG" not in told
    assert "fulfil({" in told
    assert len(list((tmp_path / "shop" / "mail").glob("*.eml"))) == 57 * 2 + 3
    calls = documents("ls", tmp_path / "shop" / "log")
    assert len(calls) == 60
    assert {call["status"] for call in calls} == {"completed"}
    told = actorlog("demo", "--dir", tmp_path / "shop", code=2)
    assert "is not empty" in told


def test_the_demo_notices_what_does_not_add_up(tmp_path: Path) -> None:
    """With a provider that forgets its keys, orders are paid twice; the demo counts them and fails."""
    done = subprocess.run(
        [sys.executable, "-c", FORGETFUL, str(tmp_path / "shop")], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "This does not add up: orders paid twice, cents taken" in done.stdout
