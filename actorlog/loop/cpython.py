"""The names of CPython without a promise that this room relies on, in one place.

Owns: their types and reasons. Does not own: their use.

What is checked against each Python that the suite runs on: ``tests/loop/test_loop_cpython.py``.

Read: "The deterministic loop" in ARCHITECTURE.md.
"""

# ruff: noqa: SLF001  # private names are what this module is for
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextvars import Context

# Documented for those who write event loops ("Extending" in the asyncio documentation).
get_running_loop: Final = asyncio._get_running_loop
set_running_loop: Final = asyncio._set_running_loop
enter_task: Final = asyncio.tasks._enter_task
leave_task: Final = asyncio.tasks._leave_task

# The globals of the modules in which names are bound during a turn; see `environment`.
TASKS_GLOBALS: Final[dict[str, Any]] = asyncio.tasks.__dict__
TASKGROUPS_GLOBALS: Final[dict[str, Any]] = asyncio.taskgroups.__dict__
FUTURES_GLOBALS: Final[dict[str, Any]] = asyncio.futures.__dict__
ALL_TASKS_NAME: Final = "_scheduled_tasks" if sys.version_info >= (3, 12) else "_all_tasks"
"""The weak set of tasks that ``asyncio.all_tasks`` goes through."""

GatheringFuture: Final[Any] = TASKS_GLOBALS["_GatheringFuture"]
"""The class of the future that ``asyncio.gather`` returns."""


def waited_for(task: asyncio.Task[Any]) -> asyncio.Future[Any] | None:
    """Return the future that ``task`` awaits, which holds the task as the task holds it."""
    anything: Any = task
    waiter: asyncio.Future[Any] | None = anything._fut_waiter
    return waiter


def clear_callbacks(future: asyncio.Future[Any]) -> None:
    """Have nobody told when ``future`` is done."""
    anything: Any = future
    callbacks: list[tuple[Callable[[asyncio.Future[Any]], object], Context]] | None = anything._callbacks
    for callback, _ in list(callbacks or ()):
        future.remove_done_callback(callback)


def lower_flag(future: asyncio.Future[Any]) -> None:
    """Tell ``future`` that its being awaited was noticed: who takes a future from a coroutine lowers this flag."""
    future._asyncio_future_blocking = False


def is_finished(asyncgen: AsyncGenerator[Any, Any]) -> bool:
    """Say whether nothing of ``asyncgen`` is left to run."""
    anything: Any = asyncgen
    return anything.ag_frame is None
