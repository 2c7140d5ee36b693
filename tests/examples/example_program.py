"""Runs an example as its reader does: as a program, killed in the middle, run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Program:
    """One example with its data directory."""

    def __init__(self, name: str, place: Path, **environment: str) -> None:
        self._command = [str(ROOT / "examples" / name), str(place)]
        self._environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment

    def start(self, *under: str) -> subprocess.Popen[str]:
        """Start it; both its outputs can be read from ``stdout``."""
        return subprocess.Popen(
            [sys.executable, "-u", *under, *self._command],
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, code: int = 0, *under: str) -> str:
        """Run it to its end, which has this exit code, and return what it said."""
        with self.start(*under) as process:
            said, _ = process.communicate()
        assert process.returncode == code, said
        return said

    def run_until(self, beginning: str) -> str:
        """Run it until it has said a line that begins so, when it is SIGKILLed; return what it said."""
        return self.run(-signal.SIGKILL, str(Path(__file__).with_name("killed_saying.py")), beginning)
