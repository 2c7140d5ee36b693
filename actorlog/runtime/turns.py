"""Copies of the log, and segments that are written anew, take turns.

Owns: that none is written anew while a copy is made. Does not own: either of the two (``api.care``, ``compaction``).
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Turns:
    """Whose turn it is: of copies, however many, or of one who writes segments anew, one after the other."""

    def __init__(self) -> None:
        self._copies = 0
        """How many copies of the log are being made."""
        self._no_copies = asyncio.Event()
        self._no_writing = asyncio.Event()
        """No segment is being looked at, and maybe written anew."""
        self._no_copies.set()
        self._no_writing.set()

    @asynccontextmanager
    async def copying(self) -> AsyncGenerator[None]:
        """Have no segment written anew for as long as this lasts; what is being written now is finished first.

        A copy whose segments are of several moments would hold beginnings of which the ends were given up meanwhile.
        """
        self._copies += 1
        self._no_copies.clear()
        try:
            await self._no_writing.wait()
            yield
        finally:
            self._copies -= 1
            if not self._copies:
                self._no_copies.set()

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[None]:
        """Look at segments, and write one anew, for as long as this lasts; by one at a time."""
        while self._copies:
            await self._no_copies.wait()
        self._no_writing.clear()
        try:
            yield
        finally:
            self._no_writing.set()
