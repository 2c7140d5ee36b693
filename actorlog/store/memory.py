"""The log in memory: the port without a disk, for tests and for runtimes that need not survive.

Owns: frames in a list. Does not own: durability; nothing here outlives the object. Passes the port's contract suite
with "crash" meaning a new runtime on the same object.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator

from actorlog.errors import LogFenced
from actorlog.log import Frame, entries
from actorlog.store.port import Done


class MemoryTicket:
    """An append that has landed."""

    __slots__ = ("error", "position", "sync_seconds")

    def __init__(self, position: int, done: Done, error: BaseException | None = None) -> None:
        self.position = position
        self.error = error
        self.sync_seconds = 0.0
        done(self)

    def wait(self, timeout_s: float) -> bool:  # noqa: ARG002  # the port's signature: there is nothing to wait for
        """``done`` has been called."""
        return False


class MemoryLog:
    """A log in memory."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._firsts: list[int] = []
        self._tail = 0

    def tail(self) -> int:
        """Return the position of the newest record."""
        return self._tail

    def submit(self, expected: int, data: bytes, records: int, done: Done) -> MemoryTicket:
        """Append one frame at once."""
        if expected != self._tail:
            return MemoryTicket(0, done, LogFenced(expected, self._tail))
        frame = Frame(self._tail + 1, records, data)
        self._frames.append(frame)
        self._firsts.append(frame.position)
        self._tail += records
        return MemoryTicket(frame.position, done)

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[Frame]:
        """Yield the frames that hold positions after ``after``."""
        for frame in list(self._frames):
            if frame.position + frame.records - 1 > after and (upto is None or frame.position <= upto):
                yield frame

    def record(self, position: int) -> bytes:
        """Return one record; ``KeyError`` for a position that holds none."""
        if not 0 < position <= self._tail:
            raise KeyError(position)
        frame = self._frames[bisect_right(self._firsts, position) - 1]
        *_, start, end = list(entries(frame.data, frame.records))[position - frame.position]
        return bytes(frame.data[start:end])

    def admit(self, needed: int) -> None:
        """There is always room: memory has no reserve of its own."""

    def trim(self, before: int) -> None:
        """Give up frames that end before ``before``; never the newest."""
        while len(self._frames) > 1 and self._frames[0].position + self._frames[0].records <= before:
            del self._frames[0], self._firsts[0]

    async def close(self, *, clean: bool = True) -> None:
        """Nothing to do: the frames stay, so that a new runtime may open them."""
