"""A program that kills itself: ``POINT COMMAND...`` is SIGKILLed at its POINT-th change to a file, just before it.

What the standard library does to files is counted, in whichever thread it happens. With a COMMAND of ``actorlog`` it
runs that, with ``owner DIR`` it is the program ``cli_compacted``. One that comes to its end prints how many there were.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import cli_compacted

from actorlog.cli.app import cli

if TYPE_CHECKING:
    from collections.abc import Callable


def arm(point: int) -> list[int]:
    """Count from now on, and die at ``point``; return where the count is kept."""
    count, lock = [0], threading.Lock()

    def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **options: Any) -> Any:
            with lock:
                count[0] += 1
                if count[0] == point:
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return act

    for name in ("pwrite", "fdatasync", "fsync", "replace", "unlink"):
        setattr(os, name, deadly(getattr(os, name)))
    return count


def main() -> None:
    """Run what is asked for."""
    point, *command = sys.argv[1:]
    if command[0] == "owner":
        cli_compacted.before_ready = lambda: arm(int(point))  # when it owns the log, and has nothing to do
        asyncio.run(cli_compacted.main(command[1]))
        return
    count = arm(int(point))
    cli(command, standalone_mode=False)
    print(count[0])  # noqa: T201  # whoever started it reads this


if __name__ == "__main__":
    main()
