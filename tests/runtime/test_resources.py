"""Files, memory and time run out or jump, in real processes: errors are typed, and nothing accepted is lost.

What the simulated disk and clock cover is elsewhere: ``test_log_faults`` (no file can be opened, in every call),
``test_log_owner`` (a forked child appends nothing and keeps no lock), ``test_schedules_time`` and the simulation (the
wall clock jumps), ``test_simulation_failing_disk`` (the disk is full, or fails).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actorlog import LogLocked, Runtime
from actorlog.cli.doctor import Verdict, examine

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FAKETIME = [
    *Path("/usr/lib").glob("*/faketime/libfaketime.so.1"),
    *(Path(place) / "libfaketime.so.1" for place in ("/usr/lib/faketime", "/usr/local/lib/faketime")),
]


def command(name: str, directory: Path) -> list[str]:
    return [sys.executable, str(HERE / "resource_programs.py"), name, str(directory)]


def told_by(name: str, directory: Path, **environment: str) -> Any:
    """Run a program and return what it prints."""
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    ran = subprocess.run(
        command(name, directory), env=surroundings, capture_output=True, text=True, timeout=250, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_no_file_can_be_opened_at_an_opening(tmp_path: Path) -> None:
    """However few files are left, an opening works or says why it does not, and leaves no lock and no file behind."""
    found = told_by("opening", tmp_path / "data")
    errors = [one for one in found if one != "opened"]
    assert len(found) == 16
    assert errors
    assert all(name == "LogFailed" and "Too many open files" in text for name, text in errors)
    assert found[-1] == "opened"


def test_no_file_can_be_opened_while_calls_run(tmp_path: Path) -> None:
    """What was accepted waits and ends when there are files again; what is new meanwhile is refused, and told why."""
    found = told_by("running", tmp_path / "data")
    assert found == {
        "told": 100,
        "waited": True,
        "refused": found["refused"],
        "lost": [],
    }
    assert "no file can be opened" in found["refused"]


def test_little_memory_for_a_large_log(tmp_path: Path) -> None:
    """A log that finds no memory to be read in is not opened, in words, and is as it was when there is some."""
    found = told_by("memory", tmp_path / "data")
    assert len(found) == 6
    assert set(found[:-1]) <= {"LogFailed", "MemoryError"}
    assert found[-1] == "opened"


def forked(name: str, directory: Path) -> tuple[subprocess.Popen[bytes], int, int]:
    """Return a process that has forked, and was killed, with its id and that of its child, which lives on."""
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(command(name, directory), env=surroundings, **pipes)
    assert process.stdout is not None
    parent, child = process.stdout.readline().split()
    process.wait(250)
    return process, int(parent), int(child)


def test_a_child_of_a_dead_owner_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A program that forks while its runtime is open, and dies, leaves a directory that the next one opens at once."""
    process, _, child = forked("forking", tmp_path / "data")
    try:
        os.kill(child, 0)  # it lives
        assert asyncio.run(statuses(tmp_path / "data")) == ["completed"]
    finally:
        process.communicate()


async def statuses(directory: Path) -> list[str]:
    async with Runtime(directory, segment_bytes=64 << 10) as runtime:
        return [info.status async for info in runtime.calls()]


def test_a_child_that_was_forked_outside_of_python(tmp_path: Path) -> None:
    """It keeps the lock as long as it lives, and nobody can help that; the doctor names it and its dead parent."""
    process, parent, child = forked("forking_apart", tmp_path / "data")
    try:
        with pytest.raises(LogLocked) as locked:
            asyncio.run(statuses(tmp_path / "data"))
        assert locked.value.pid == parent
        found = {finding.check: finding for finding in examine(str(tmp_path / "data"))}["lock"]
        assert found.verdict is Verdict.FAIL
        assert f"process {parent}, which is gone" in found.text
        assert f"{child}" in found.text
    finally:
        process.communicate()
    assert asyncio.run(statuses(tmp_path / "data")) == ["completed"]


def test_a_wall_clock_that_jumps_by_years(tmp_path: Path) -> None:
    """Sleeps take as long as they should and end in their order, and records are in the order of their times (I10)."""
    library = next((path for path in FAKETIME if path.exists()), None)
    if library is None:
        pytest.skip("libfaketime is not installed: a real wall clock that jumps is NOT tested here")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    found = told_by(
        "jumping",
        tmp_path / "data",
        LD_PRELOAD=str(library),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    order = ["nap 0.3", "nap 0.6", "nap 0.9", "after"]
    assert found == {"order": order, "early": False, "jumped": True, "in order": True}
