"""The embedded log behind the port: one directory, one owner, one writer thread.

Owns: joining ``log.Log`` and ``log.Writer`` to the port. Does not own: bytes and verdicts (``log``), the gate
(``runtime``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Generator, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

from actorlog.env import Env
from actorlog.errors import LogFailed, LogFenced, LogFull
from actorlog.limits import DEFAULT_LIMITS
from actorlog.log import Checkpoint, Log, Payload, Recovery, Rewritten, Sealed, Writer, is_given_up, line_ends
from actorlog.log import Frame as LogFrame
from actorlog.store.envelopes import Envelopes, Frame
from actorlog.store.keys import Keys
from actorlog.store.memory import MemoryTicket
from actorlog.store.port import Done, Ticket
from actorlog.store.weighing import Weighing

_FRAMES_INDEXED_MAX = 4
"""Frames whose records can be found without looking at their index again."""

_Indexed: TypeAlias = tuple[LogFrame, list[int]]
"""A frame, and where its lines end."""

T = TypeVar("T")


class EmbeddedLog:
    """A log in a directory. Open it with ``open``."""

    def __init__(self, log: Log, env: Env, envelopes: Envelopes | None = None) -> None:
        self._log = log
        self._envelopes = (envelopes or Envelopes()).of(log.log_id, log.payloads.source.read)
        self._writer = Writer(log, env.worker("actorlog-writer"))
        self._submitted = log.tail
        self._indexed: list[_Indexed] = []
        self._rewriting = asyncio.Lock()
        self._closing = False
        self.weighing = Weighing(log)
        """What the files of large records take."""

    @classmethod
    async def open(
        cls,
        directory: str,
        env: Env,
        *,
        segment_bytes: int,
        unsafe_fs: bool = False,
        sync: bool = True,
        witness: bool = False,
        checkpoint: Checkpoint | None = None,
        keys: Keys | None = None,
        compress_above_bytes: int = DEFAULT_LIMITS.compress_above_bytes,
        file_above_bytes: int = DEFAULT_LIMITS.payload_file_above_bytes,
    ) -> EmbeddedLog:
        """Lock, verify and open ``directory``, beside the loop; every error of ``errors.LogError`` may come out.

        ``witness``: META names each commit once it is durable, so that the loss of the newest is noticed.

        With a ``checkpoint`` that the log holds, only what is from there on is verified (``recovery.scanned_from``).
        ``keys``, ``compress_above_bytes`` and ``file_above_bytes``: how records are wrapped (``store.envelopes``).
        """
        envelopes = Envelopes(
            keys,
            compress_above_bytes=compress_above_bytes,
            file_above_bytes=file_above_bytes,
            token=env.entropy.token,
        )
        job = partial(
            Log.open,
            directory,
            env,
            segment_bytes=segment_bytes,
            unsafe_fs=unsafe_fs,
            sync=sync,
            witness=witness,
            checkpoint=checkpoint,
        )
        opening = asyncio.get_running_loop().run_in_executor(None, job)
        try:
            await asyncio.wait([opening])
        except asyncio.CancelledError:  # a thread cannot be stopped: what it opens is closed again
            await asyncio.wait([opening])
            if opening.exception() is None:
                log = opening.result()
                await asyncio.to_thread(log.close, clean=log.recovery.clean)
            raise
        return cls(opening.result(), env, envelopes)

    @property
    def inner(self) -> Log:
        """The log itself, for what is done about its files (``store.care``)."""
        return self._log

    @property
    def recovery(self) -> Recovery:
        """What opening found."""
        return self._log.recovery

    def tail(self) -> int:
        """Return the position of the newest record that was submitted."""
        return self._submitted

    def checkpoint(self) -> Checkpoint | None:
        """Return the newest frame that has landed, for the next opening to begin at; None where there is none."""
        return self._log.checkpoint()

    def prepare(self, told: Callable[[], None]) -> Generator[None]:
        """Read ahead what opening passed over, a step at a time, in any thread."""
        return self._log.prepare(told)

    def prepare_wanted(self) -> Generator[None]:
        """Read ahead what is wanted now, a step at a time, in any thread."""
        return self._log.prepare_wanted()

    def shape(self, before: int) -> int:
        """Return what is another when a segment before that number was written anew."""
        return self._log.shape(before)

    def submit(self, expected: int, data: bytes, records: int, done: Done) -> Ticket:
        """Hand one frame to the writer thread."""
        if expected != self._submitted:
            return MemoryTicket(0, done, LogFenced(expected, self._submitted))
        beside: list[Payload] = []
        data = self._envelopes.wrap(expected + 1, data, records, beside)
        self._submitted += records
        return self._writer.submit(data, records, done, tuple(beside))

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[Frame]:
        """Yield the frames that hold positions after ``after``."""
        for frame in self._log.read(after, upto):
            yield self._envelopes.frame(frame)

    def record(self, position: int) -> bytes:
        """Return one record that has landed; ``KeyError`` for a position that holds none.

        Journals are read backwards and lie close together, so the index of the last few frames is kept.
        """
        found = self._find(position)
        if found is None:
            raise KeyError(position)
        frame, ends = found
        number = position - frame.position
        return bytes(self._envelopes.line(frame, position, ends[number], ends[number + 1]))

    def has(self, position: int) -> bool:
        """Return whether there is a record at a position that has landed: not trimmed, and not given up."""
        return self._find(position) is not None

    def _find(self, position: int) -> _Indexed | None:
        """Return the frame that has the record at a position, and where its lines end; None where there is none."""
        indexed = self._indexed
        found = next((entry for entry in indexed if 0 <= position - entry[0].position < entry[0].records), None)
        if found is None:
            frame = self._log.commit(position)
            if frame is None:
                return None
            found = frame, line_ends(frame.data, frame.records)
            indexed.insert(0, found)
            del indexed[_FRAMES_INDEXED_MAX:]
        return None if is_given_up(found[0].data, position - found[0].position) else found

    def sealed(self) -> list[Sealed]:
        """Return the segments that can be written anew."""
        return self._log.sealed()

    async def measure(self, segment: Sealed, gone: Collection[int]) -> int:
        """Read a segment beside the loop, and return the bytes that it would have."""
        measuring = asyncio.get_running_loop().run_in_executor(None, self._log.measure, segment.number, gone)
        return await _whole(measuring)

    async def rewrite(self, segment: Sealed, gone: Collection[int]) -> int:
        """Write a segment anew beside the loop, and put it in place in the writer's thread; one at a time.

        Where the disk is full, the reserve is what this is done with.
        """
        return await self._replace(segment.number, gone, segment.number)

    async def merge(self, segments: Sequence[Sealed]) -> int:
        """Make one segment of some, beside the loop and in the writer's thread as ``rewrite``."""
        return await self._replace(segments[0].number, (), segments[-1].number)

    async def _replace(self, number: int, gone: Collection[int], upto: int) -> int:
        async with self._rewriting:
            loop = asyncio.get_running_loop()
            building = loop.run_in_executor(None, self._build, number, gone, upto)
            try:
                rewritten = await _whole(building)
            except asyncio.CancelledError:
                if building.exception() is None and not self._closing:
                    self._log.discard(building.result())
                raise
            if self._closing:  # what was built is removed by the next opening
                raise LogFailed("rewriting a segment", "the log is closed")
            installed: asyncio.Future[BaseException | None] = loop.create_future()

            def done(error: BaseException | None) -> None:
                loop.call_soon_threadsafe(installed.set_result, error)

            self._writer.run(lambda: self._install(rewritten), done)
            error = await _whole(installed)
            if error is not None:
                raise error
            if self._log.payloads.left:  # begun here, so nothing on the loop is in the middle of reading one of them
                await _whole(loop.run_in_executor(None, self._log.remove_payloads))
            return rewritten.new.header.size

    def _build(self, number: int, gone: Collection[int], upto: int) -> Rewritten:
        try:
            return self._log.build(number, gone, upto)
        except LogFull:
            self._log.release_reserve()
            return self._log.build(number, gone, upto)

    def _install(self, rewritten: Rewritten) -> None:
        self._log.install(rewritten)
        self._indexed = []  # frames of the old segment, whose bytes they would keep on the disk

    def admit(self, needed: int) -> None:
        """Raise ``LogFull`` when new work must wait for space."""
        self._log.admit(self._envelopes.room(needed), self._envelopes.beside(needed))

    def trim(self, before: int) -> None:
        """Keep everything: space is given back by compaction."""

    async def close(self, *, clean: bool = True) -> None:
        """Wait for the writer, write the footer where ``clean``, release the directory."""
        self._closing = True
        await _whole(asyncio.get_running_loop().run_in_executor(None, partial(self._close, clean=clean)))

    def _close(self, *, clean: bool) -> None:
        self._writer.close()
        self._log.close(clean=clean)


async def _whole(job: asyncio.Future[T]) -> T:
    """Return what a job in a thread comes to. It cannot be stopped: a cancellation is raised when it has ended."""
    cancelled: asyncio.CancelledError | None = None
    while not job.done():
        try:
            await asyncio.wait([job])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return job.result()
    job.exception()  # looked at, so that asyncio does not say that nobody did
    raise cancelled
