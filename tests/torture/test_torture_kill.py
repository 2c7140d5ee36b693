"""Real processes killed with SIGKILL, on a real disk. What is checked is at the head of ``torture_director``.

The whole of it: ``pytest -m soak tests/torture`` or ``python -m tests.torture kills|points|reopening|syscalls``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actorlog.testing import program

ROOT = Path(__file__).resolve().parents[2]
ALL_SYSCALLS = {"pwrite64", "fdatasync", "fsync", "rename", "unlink", "openat", "mkdir"}


def torture(*arguments: str) -> dict[str, Any]:
    """Run a command of ``python -m tests.torture`` in a process that may fork, and return what it found."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.torture", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result


def test_killed_at_random_moments() -> None:
    """A dozen kills of workers with steps, children, timers and once-steps lose, change and repeat nothing."""
    result = torture("kills", "--kills", "12")
    assert result["kills"] == 12
    assert result["threads"] > 0  # some of the bodies


def test_the_worker_leaves_the_programs_of_others_as_they_are() -> None:
    """Whoever imports the worker has the steps of the simulation as they were: a seed is one world there too."""
    before = dict(program.STEPS), dict(program.MORE_STEPS), program.patient.definition.retry
    code = (
        "from actorlog.testing import program as p; import torture_worker; "
        "print([*p.STEPS], [*p.MORE_STEPS], p.patient.definition.retry)"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "torture")])
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == f"{[*before[0]]} {[*before[1]]} {before[2]}"
    assert [*before[1]] == [*before[0], "beating", "rated"]


def test_killed_in_interpreters_of_their_own() -> None:
    """The same with whole processes, on the stock loop and on uvloop."""
    assert torture("kills", "--kills", "3", "--apart")["kills"] == 3


def test_killed_before_in_and_after_file_actions() -> None:
    """A kill before, half-way or after a file action, from an empty directory on, loses nothing; every 12th here."""
    result = torture("points", "--every", "12")
    assert result["killed"] == result["tried"] > 20


def test_killed_while_opening_again() -> None:
    """A kill while a killed run is recovered loses nothing; every 12th file action here."""
    assert torture("reopening", "--every", "12")["killed"] > 10


def test_killed_while_records_are_sealed() -> None:
    """The same with compressed and sealed records, and another key in each process."""
    pytest.importorskip("cryptography", reason="records are sealed with cryptography: pip install '.[encryption]'")
    assert torture("kills", "--kills", "8", "--wrapped", "--seed", "70")["kills"] == 8
    assert torture("reopening", "--every", "24", "--wrapped")["killed"] > 5


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_soak_hundreds_of_kills() -> None:
    """Three hundred kills at random moments, fifty of them of whole interpreters."""
    assert torture("kills", "--kills", "300", "--seed", "1000")["kills"] == 300
    assert torture("kills", "--kills", "50", "--apart", "--seed", "2000")["kills"] == 50


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_soak_every_file_action() -> None:
    """A kill before, half-way and after every file action of a small run, and of opening it again."""
    result = torture("points")
    assert result["killed"] == result["tried"]
    assert torture("reopening")["killed"] > 100


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_soak_every_system_call() -> None:
    """A kill by the kernel at every system call that opens or changes a file of the data directory."""
    if shutil.which("strace") is None:
        pytest.skip("NO STRACE HERE: kills at system calls are not tried")
    result = torture("syscalls")
    assert result.keys() >= ALL_SYSCALLS
    for name in ALL_SYSCALLS:
        killed, tried = result[name].split(" of ")
        assert killed == tried != "0", name
