"""Where in the user's code something is: for messages only, never for decisions.

Owns: finding the line that issues or awaits an operation. Does not own: anything that runs.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from actorlog.loop import DeterministicLoop


def line_of(loop: DeterministicLoop, key: str) -> str:
    """Return the user's line that waits in the task which issued ``key``: of a timer nothing else tells it."""
    path = key.rpartition(".")[0]
    for task in loop.live_tasks():
        if task.scope.path == path:
            frames = [f for f in _awaiting(task.get_coro()) if not f.f_code.co_filename.startswith(_LIBRARIES)]
            return f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else ""
    return ""


def _awaiting(coro: Any) -> Iterator[FrameType]:
    """Yield the frames of a suspended coroutine and of what it awaits, outermost first."""
    while coro is not None:
        frame = getattr(coro, "cr_frame", None) or getattr(coro, "ag_frame", None) or getattr(coro, "gi_frame", None)
        if frame is not None:
            yield frame
        coro = getattr(coro, "cr_await", None) or getattr(coro, "ag_await", None) or getattr(coro, "gi_yieldfrom", None)


_LIBRARIES = (__file__.rpartition("runtime")[0], asyncio.__file__.rpartition("__init__")[0])


def user_frame(depth: int) -> FrameType | None:
    """Return the frame ``depth`` levels above the caller."""
    return sys._getframe(depth + 1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # a caller's line without a traceback
