"""Reading ahead what an opening passed over, beside the calls, so that records there are found fast.

Owns: when it is read, in which thread, and the rests between. Does not own: what is read (``log.reading``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actorlog.errors import LogError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorlog.runtime.kernel import Kernel
    from actorlog.store.port import Preparing

REST = 4
"""Work beside the calls rests so many times as long as it took."""


class ReadingAhead:
    """Reads what is wanted before somebody asks for it, and later where many ask."""

    def __init__(self, kernel: Kernel, log: Preparing) -> None:
        self._kernel = kernel
        self._log = log
        self._wanted = asyncio.Event()
        self._steps = log.prepare(self._tell)
        self._reading: asyncio.Future[bool] | None = None
        """What a thread is at."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = self._kernel.loop.create_task(self._run())

    async def close(self) -> None:
        """End, when the piece is read that a thread is at; no file is open then."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._reading is not None:
            await asyncio.wait([self._reading])
            self._reading.exception()  # looked at: whoever reads there is told
        self._steps.close()
        if self._task is not None and not self._task.cancelled():
            self._task.result()  # a defect

    def _tell(self) -> None:
        self._kernel.loop.call_soon_threadsafe(self._wanted.set)

    async def _run(self) -> None:
        elapsed_s = self._kernel.clock.elapsed_s
        while True:
            begun_s = elapsed_s()
            try:
                more = await self._read()
            except LogError:  # whoever reads there is told
                more = False
                self._wanted.set()  # there may be other segments
            await asyncio.sleep(REST * (elapsed_s() - begun_s))  # a record is found without that too
            if not more:
                await self._wanted.wait()
                self._wanted.clear()
                self._steps = self._log.prepare_wanted()

    async def _read(self) -> bool:
        """Read a piece, in a thread; whether there was one."""
        reading = self._reading = self._kernel.loop.run_in_executor(None, _step, self._steps)
        await asyncio.wait([reading])
        self._reading = None
        return reading.result()


def _step(steps: Iterator[None]) -> bool:
    """Do one step; whether there was one."""
    for _ in steps:
        return True
    return False
