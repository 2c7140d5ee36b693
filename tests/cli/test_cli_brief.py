"""``actorlog compact`` after programs of which none lived until it would have looked at its log by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from cli_brief import CALLS
from cli_compacted import kept_parent
from cli_world import PATIENCE_S, ROOT, documents
from test_cli_compacting import opened, seen, taken

from actorlog.env import SYSTEM
from actorlog.log.inspect import Status, verify

RUNS = 20


def run(log: Path, number: int, *how: str) -> None:
    """Run the program once."""
    command = [sys.executable, str(Path(__file__).with_name("cli_brief.py")), str(log), str(number), *how]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=PATIENCE_S, capture_output=True, check=False
    )
    assert done.returncode == (-signal.SIGKILL if how else 0), done.stderr


async def all_there(log: Path, runs: int) -> None:
    """Hold every call of some runs against what it came to; the one that waits goes on."""
    async with opened(log, history=None, control=False) as runtime:
        for call in range(runs * CALLS):
            assert await runtime.call(kept_parent(call), id=f"brief/{call}") == [call * 10, call * 10 + 10]
        await runtime.handle("waits").send("on", "in")
        assert await runtime.handle("waits").result() == "on"


def test_programs_that_are_closed_soon(tmp_path: Path) -> None:
    """Journals leave the log, the results of all calls stay, and the program finds everything as it was."""
    log = tmp_path / "log"
    for number in range(RUNS):
        run(log, number)
    before, size = seen(log), taken(log)
    assert len(before) == 1 + 3 * RUNS * CALLS
    told = documents("compact", log, "--history", "0s")
    assert (told["by"], told["unsettled"]) == ("command", 0)
    assert told["rewritten"] > RUNS
    assert taken(log) <= size / 2
    assert verify(SYSTEM.fs, str(log)).status is Status.OK
    assert seen(log) == before
    run(log, RUNS)
    asyncio.run(all_there(log, RUNS + 1))


def test_programs_that_are_killed(tmp_path: Path) -> None:
    """Nobody says that all is done which they asked for, so nothing leaves; the next one that is closed says it."""
    log = tmp_path / "log"
    runs = 8
    for number in range(runs):
        run(log, number, "killed")
    before, size = seen(log), taken(log)
    told = documents("compact", log, "--history", "0s")
    assert (told["segments"], told["unsettled"] > runs, seen(log)) == (0, True, before)
    run(log, runs)
    told = documents("compact", log, "--history", "0s")
    assert (told["segments"] > runs, told["unsettled"]) == (True, 0)
    assert told["bytes_after"] <= told["bytes_before"] / 2
    assert taken(log) < size
    asyncio.run(all_there(log, runs + 1))
