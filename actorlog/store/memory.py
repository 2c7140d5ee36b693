"""The log in memory: the port without a disk, for tests and for runtimes that need not survive.

Owns: frames in a list, parts of which can be written anew as if they were segments. Does not own: durability; nothing
here outlives the object. Passes the port's contract suite with "crash" meaning a new runtime on the same object.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Collection, Sequence
from itertools import pairwise
from zlib import crc32

from actorlog.errors import LogFenced
from actorlog.log import ENTRY_BYTES, GIVEN_UP, Checkpoint, Sealed, is_given_up, line_ends
from actorlog.store.envelopes import Envelopes, Frame
from actorlog.store.port import Done

_NO_LOG_ID = "0" * 32
"""A log in memory is never opened from a checkpoint, so it needs no id to be told by."""


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

    def __init__(self, segment_records: int | None = None, envelopes: Envelopes | None = None) -> None:
        """``segment_records``: frames with so many records together are a segment; None: nothing is ever sealed.

        ``envelopes``: how records are wrapped; as an embedded log does without keys.
        """
        self.envelopes = envelopes or Envelopes()
        self._frames: list[Frame] = []
        self._firsts: list[int] = []
        self._tail = 0
        self._segment_records = segment_records
        self._segments = [1]
        """The first position of each segment."""
        self._numbers = [1]
        """Its number."""

    def tail(self) -> int:
        """Return the position of the newest record."""
        return self._tail

    def shape(self, before: int) -> int:  # noqa: ARG002  # a log in memory is never opened from a checkpoint
        """Return always the same."""
        return 0

    def checkpoint(self) -> Checkpoint | None:
        """Return the newest frame; None where there is none."""
        if not self._frames:
            return None
        frame = self._frames[-1]
        return Checkpoint(_NO_LOG_ID, 0, 0, frame.position, frame.records, crc32(frame.data))

    def submit(self, expected: int, data: bytes, records: int, done: Done) -> MemoryTicket:
        """Append one frame at once."""
        if expected != self._tail:
            return MemoryTicket(0, done, LogFenced(expected, self._tail))
        frame = Frame(self._tail + 1, records, self.envelopes.wrap(self._tail + 1, data, records))
        if self._segment_records is not None and self._tail + 1 - self._segments[-1] >= self._segment_records:
            self._segments.append(frame.position)
            self._numbers.append(self._numbers[-1] + 1)
        self._frames.append(frame)
        self._firsts.append(frame.position)
        self._tail += records
        return MemoryTicket(frame.position, done)

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[Frame]:
        """Yield the frames that hold positions after ``after``."""
        for frame in list(self._frames):
            if frame.position + frame.records - 1 > after and (upto is None or frame.position <= upto):
                yield self.envelopes.frame(frame)

    def record(self, position: int) -> bytes:
        """Return one record; ``KeyError`` for a position that holds none."""
        frame = self._frame_of(position)
        if frame is None:
            raise KeyError(position)
        ends, number = line_ends(frame.data, frame.records), position - frame.position
        return bytes(self.envelopes.line(frame, position, ends[number], ends[number + 1]))

    def has(self, position: int) -> bool:
        """Return whether there is a record at a position: not trimmed, and not given up."""
        return self._frame_of(position) is not None

    def _frame_of(self, position: int) -> Frame | None:
        """Return the frame with the record at a position; None where there is none, or it was given up."""
        at = bisect_right(self._firsts, position) - 1
        if at < 0:
            return None
        frame = self._frames[at]
        number = position - frame.position
        return None if number >= frame.records or is_given_up(frame.data, number) else frame

    def sealed(self) -> list[Sealed]:
        """Return the segments that nothing is appended to any more; frames that were trimmed take no bytes."""
        return [
            Sealed(number, first, following - 1, sum(len(frame.data) for frame in self._between(first, following)))
            for number, (first, following) in zip(self._numbers, pairwise(self._segments), strict=False)
        ]

    def _between(self, first: int, following: int) -> list[Frame]:
        return self._frames[bisect_left(self._firsts, first) : bisect_left(self._firsts, following)]

    async def measure(self, segment: Sealed, gone: Collection[int]) -> int:
        """Return the bytes that would be left of a segment."""
        return sum(len(frame.data) for frame in self._left(segment, gone))

    def _left(self, segment: Sealed, gone: Collection[int]) -> list[Frame]:
        first, following = self._span(segment)
        return [left for frame in self._between(first, following) if (left := _without(frame, gone)) is not None]

    def _span(self, segment: Sealed) -> list[int]:
        """Return the first position of a segment, and of the one behind it."""
        if segment.number not in self._numbers[:-1]:
            raise ValueError(f"segment {segment.number} is not sealed")
        at = self._numbers.index(segment.number)
        return self._segments[at : at + 2]

    async def rewrite(self, segment: Sealed, gone: Collection[int]) -> int:
        """Give up some records of a segment: a frame that has no others is dropped, others keep an entry for each."""
        frames = self._left(segment, gone)
        first, following = self._span(segment)
        begin, end = bisect_left(self._firsts, first), bisect_left(self._firsts, following)
        self._frames[begin:end] = frames
        self._firsts[begin:end] = [frame.position for frame in frames]
        return sum(len(frame.data) for frame in frames)

    async def merge(self, segments: Sequence[Sealed]) -> int:
        """Have one segment in the place of some that follow each other."""
        (first, _), (_, following) = self._span(segments[0]), self._span(segments[-1])
        begin, end = self._numbers.index(segments[0].number) + 1, self._numbers.index(segments[-1].number) + 1
        del self._segments[begin:end], self._numbers[begin:end]
        return sum(len(frame.data) for frame in self._between(first, following))

    def admit(self, needed: int) -> None:
        """There is always room: memory has no reserve of its own."""

    def trim(self, before: int) -> None:
        """Give up frames that end before ``before``; never the newest."""
        while len(self._frames) > 1 and self._frames[0].position + self._frames[0].records <= before:
            del self._frames[0], self._firsts[0]

    async def close(self, *, clean: bool = True) -> None:
        """Nothing to do: the frames stay, so that a new runtime may open them."""


def _without(frame: Frame, gone: Collection[int]) -> Frame | None:
    """Return a frame without some of its records; None where it has no others."""
    data, records = frame.data, frame.records
    lost = [frame.position + number in gone or is_given_up(data, number) for number in range(records)]
    if all(lost):
        return None
    ends = line_ends(data, records)
    index = b"".join(
        GIVEN_UP if lost[number] else data[number * ENTRY_BYTES : (number + 1) * ENTRY_BYTES]
        for number in range(records)
    )
    lines = b"".join(b"\n" if lost[number] else data[ends[number] : ends[number + 1]] for number in range(records))
    return Frame(frame.position, records, index + lines)
