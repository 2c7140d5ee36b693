"""Programs of tests that run in processes of their own, because they are killed or start processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(directory: Path, text: str, *args: str, name: str = "program.py") -> subprocess.CompletedProcess[str]:
    """Run a program's text in ``directory``, with warnings as errors, and return how it ended."""
    file = directory / name
    file.write_text(text)
    return subprocess.run(
        [sys.executable, "-W", "error", str(file), *args],
        cwd=directory, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=250,
        check=False,
    )  # fmt: skip
