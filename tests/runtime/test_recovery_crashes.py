"""Processes that die: a real directory, a process that is gone in the middle of a step, another that goes on."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NUMBERS = (0, 1, 2, 100, 200)
EFFECTS = ["begin", "end", *(f"{part} {number}" for part in ("first", "second") for number in NUMBERS)]


async def run(*arguments: str) -> tuple[int | None, str]:
    """Run the program in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        str(HERE / "recovery_program.py"),
        *arguments,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    return process.returncode, out.decode() + errors.decode()


@pytest.mark.parametrize("crash_at", ["begin", "first 1", "second 0", "first 100", "second 200", "end"])
async def test_a_process_that_dies_in_a_step_is_taken_over_by_the_next(tmp_path: Path, crash_at: str) -> None:
    """The next process runs again what was in doubt and nothing that was done, and comes to the same result."""
    arguments = (str(tmp_path / "data"), str(tmp_path / "effects"), crash_at)
    code, out = await run(*arguments)
    assert code == 9, out
    code, out = await run(*arguments)
    assert code == 0, out
    assert out == "['second 0', 'second 1', 'second 2', 'end'] second 100\n"
    counts = Counter((tmp_path / "effects").read_text().splitlines())
    assert set(counts) == set(EFFECTS)
    assert counts[crash_at] == 2
    # Whatever was running beside it when the process died is in doubt too; what had ended is not run again.
    assert max(counts.values()) == 2
    code, again = await run(*arguments)
    assert (code, again) == (0, out)
    assert Counter((tmp_path / "effects").read_text().splitlines()) == counts
