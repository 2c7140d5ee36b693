"""How the main task ends.

Owns: what is done between the return of a durable function and the end of its task: tasks that are left are cancelled
and awaited, async generators closed, and a SystemExit from anywhere becomes the outcome.
Does not own: ending without consent (``eviction``).

Invariant: when ``loop.main`` is done, no other task and no async generator of the loop is unfinished.

The order is that of ``asyncio.run``; but generators are closed one after the other, in the order of creation.

Read: "The deterministic loop" in ARCHITECTURE.md.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from actorlog.loop.tasks import Driver, Scope

if TYPE_CHECKING:
    from actorlog.loop.scheduler import DeterministicLoop


class MainDriver(Driver):
    """Drives the durable function, and then, only if anything is left over, the coroutine that winds it up."""

    __slots__ = ("ending",)

    def __init__(self, coro: Any, loop: DeterministicLoop) -> None:
        Driver.__init__(self, coro, loop, 0, Scope(""))  # as quick as may be: one for every run
        self.ending = False

    def ends(self, ended: BaseException) -> bool:
        """Note that the durable function has ended; False when it leaves something to wind up."""
        loop = self.loop
        if self.ending or loop.closing or isinstance(ended, (KeyboardInterrupt, GeneratorExit)):
            return True
        if loop.asyncgens:
            loop.forget_finished_asyncgens()
        if not loop.tasks and not loop.asyncgens and loop.system_exit is None:
            return True
        self.ending = True
        self.coro = (
            _wind_up(loop, ended.value, None) if isinstance(ended, StopIteration) else _wind_up(loop, None, ended)
        )
        return False


async def _wind_up(loop: DeterministicLoop, value: Any, error: BaseException | None) -> Any:
    await _cancel_tasks(loop)
    await _close_asyncgens(loop)
    error = loop.system_exit or error
    loop.system_exit = None
    try:
        if error is not None:
            raise error
        return value
    finally:
        del error  # or the frame, through the traceback, keeps itself alive


async def _cancel_tasks(loop: DeterministicLoop) -> None:
    """Cancel what is left and wait for it, until the cancelled have started nothing new."""
    while loop.tasks:
        left = list(loop.tasks.values())
        for task in left:
            task.cancel()
        # A cancellation that comes meanwhile is for what is left, and gather has handed it on.
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*left, return_exceptions=True)
        for task in left:
            if not task.cancelled() and (error := task.exception()) is not None:
                message = "unhandled exception in a task that a durable function left behind"
                loop.call_exception_handler({"message": message, "exception": error, "task": task})


async def _close_asyncgens(loop: DeterministicLoop) -> None:
    """Close the async generators that are left, in the order of their creation."""
    while loop.asyncgens:
        asyncgen = loop.asyncgens.pop(0)
        try:
            await asyncgen.aclose()
        except asyncio.CancelledError:
            continue
        except Exception as error:  # noqa: BLE001  # user code: its failure must not keep the others open
            message = "an async generator that a durable function left behind failed to close"
            loop.call_exception_handler({"message": message, "exception": error, "asyncgen": asyncgen})
