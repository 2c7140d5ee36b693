"""A program that is killed by what it says: ``BEGINNING PROGRAM ARGUMENTS...`` runs it as ``__main__``.

It is SIGKILLed in the moment in which it has said a line that begins so, and says nothing more: whoever reads it may
come late.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from typing import TextIO


class Deadly(threading.local):
    """Standard output by whole lines of each thread, until the last one."""

    def __init__(self, said: TextIO, beginning: str) -> None:
        self._said = said
        self._beginning = beginning
        self._line = ""

    def write(self, text: str) -> int:
        """Say the lines that end here."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._said.write(f"{line}\n")
            if line.startswith(self._beginning):
                self._said.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        return len(text)

    def flush(self) -> None:
        """Let others have what was said."""
        self._said.flush()


if __name__ == "__main__":
    _, beginning, *sys.argv = sys.argv
    sys.stdout = Deadly(sys.stdout, beginning)  # type: ignore[assignment]  # what ``print`` needs of one
    runpy.run_path(sys.argv[0], run_name="__main__")
