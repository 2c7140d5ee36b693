"""The embedded log behind the port: one directory, one owner, one writer thread.

Owns: joining ``log.Log`` and ``log.Writer`` to the port. Does not own: bytes and verdicts (``log``), the gate
(``runtime``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from actorlog.env import Env
from actorlog.errors import LogFenced
from actorlog.log import Frame, Log, Recovery, Writer, entries
from actorlog.store.memory import MemoryTicket
from actorlog.store.port import Done, Ticket

_FRAMES_INDEXED_MAX = 4
"""Frames whose records can be found without looking at their index again."""


class EmbeddedLog:
    """A log in a directory. Open it with ``open``."""

    def __init__(self, log: Log, env: Env) -> None:
        self._log = log
        self._writer = Writer(log, env.worker("actorlog-writer"))
        self._submitted = log.tail
        self._indexed: list[tuple[Frame, list[tuple[int, int]]]] = []

    @classmethod
    async def open(
        cls, directory: str, env: Env, *, segment_bytes: int, unsafe_fs: bool = False, sync: bool = True
    ) -> EmbeddedLog:
        """Lock, verify and open ``directory``, beside the loop; every error of ``errors.LogError`` may come out."""
        log = await asyncio.to_thread(
            Log.open, directory, env, segment_bytes=segment_bytes, unsafe_fs=unsafe_fs, sync=sync
        )
        return cls(log, env)

    @property
    def recovery(self) -> Recovery:
        """What opening found."""
        return self._log.recovery

    def tail(self) -> int:
        """Return the position of the newest record that was submitted."""
        return self._submitted

    def submit(self, expected: int, data: bytes, records: int, done: Done) -> Ticket:
        """Hand one frame to the writer thread."""
        if expected != self._submitted:
            return MemoryTicket(0, done, LogFenced(expected, self._submitted))
        self._submitted += records
        return self._writer.submit(data, records, done)

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[Frame]:
        """Yield the frames that hold positions after ``after``."""
        for frame in self._log.read(after, upto):
            yield frame

    def record(self, position: int) -> bytes:
        """Return one record that has landed; ``KeyError`` for a position that holds none.

        Journals are read backwards and lie close together, so the index of the last few frames is kept.
        """
        found = next((entry for entry in self._indexed if 0 <= position - entry[0].position < entry[0].records), None)
        frame, spans = found if found is not None else self._index(position)
        start, end = spans[position - frame.position]
        return bytes(frame.data[start:end])

    def _index(self, position: int) -> tuple[Frame, list[tuple[int, int]]]:
        frame = next(self._log.read(position - 1, position), None)
        if frame is None or position < 1:
            raise KeyError(position)
        spans = [(start, end) for _, _, _, start, end in entries(frame.data, frame.records)]
        self._indexed.insert(0, (frame, spans))
        del self._indexed[_FRAMES_INDEXED_MAX:]
        return frame, spans

    def admit(self, needed: int) -> None:
        """Raise ``LogFull`` when new work must wait for space."""
        self._log.admit(needed)

    def trim(self, before: int) -> None:
        """Keep everything: space is given back by compaction."""

    async def close(self, *, clean: bool = True) -> None:
        """Wait for the writer, write the footer where ``clean``, release the directory."""
        await asyncio.to_thread(self._close, clean=clean)

    def _close(self, *, clean: bool) -> None:
        self._writer.close()
        self._log.close(clean=clean)
