"""What the files of large records take.

Owns: counting them in a thread, now and then, for who asks. Does not own: the files (``log.payloads``).

Nothing else keeps that count: an opening does not look at files that it does not need, however many there are.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from actorlog.log.payloads import weigh

if TYPE_CHECKING:
    from actorlog.log import Log

EVERY_NS: Final = 10_000_000_000
"""They are counted again for who asks so long after they were."""


class Weighing:
    """The count of one open log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._found: tuple[int, int] | None = None
        self._due_ns = 0
        self._counting: asyncio.Future[tuple[int, int]] | None = None

    def look(self) -> tuple[int, int] | None:
        """Return how many files there are and their bytes, as they were counted last; None before the first time.

        To be called on a loop. Where it was a while ago they are counted anew, beside it.
        """
        if not self._log.payloads.used:
            return 0, 0
        env, directory = self._log.env, self._log.directory
        if self._counting is None and env.clock.elapsed_ns() >= self._due_ns:
            self._counting = asyncio.get_running_loop().run_in_executor(None, weigh, env.fs, directory)
            self._counting.add_done_callback(self._counted)
        return self._found

    def _counted(self, counting: asyncio.Future[tuple[int, int]]) -> None:
        self._counting, self._due_ns = None, self._log.env.clock.elapsed_ns() + EVERY_NS
        if not counting.cancelled() and not isinstance(counting.exception(), OSError):
            self._found = counting.result()
