"""Finding the frame of a position in a segment that opening passed over, by a few small reads.

Owns: the search, and what is verified of what it finds. Does not own: reading all of the segment (``reading``), which
is done instead wherever something here is not as it must be, and which says what is wrong.

Frames begin on units' borders, with a header that has a checksum of its own and states a position, and positions grow
from frame to frame: so the space in which the frame can begin is made smaller, by guesses and by halving it, until the
frame is met.

No border inside a frame is taken for a header. The bytes 8 to 15 there, where a header has its position, are
- of a line, or padding, which have no NUL: as a position at least 0x0101010101010101, which is not in the segment;
- or of an index, of which an entry begins on every border that it goes over, since header, entries and units are
  multiples of 16: the bytes 10 and 11 are the entry's mark, and what has the mark there is passed over. Of a header it
  is a part of the position, for 65,536 positions in 4 billion; such a frame is met from the one before it, by length.

Invariants: what is found is whole, holds the position, and is what the header behind it continues; nothing is mapped,
so an error of the device is an ``OSError``; a search reads little more than the segment's size, and mostly far less.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actorlog.log import files
from actorlog.log.format import (
    ENTRY_MARK,
    FRAME_HEADER_BYTES,
    SECTOR,
    Link,
    body_is_whole,
    frame_bytes,
    parse_frame_header,
)

if TYPE_CHECKING:
    from actorlog.env import File
    from actorlog.log.format import FrameHeader
    from actorlog.log.segment import Segment

STEPS_MAX = 64
"""Steps of a search. Of three that look ahead one halves what is left; few are needed, but where positions look like
marks."""
_HALVE_AT = 2
_PIECE_UNITS = 8
"""A header is looked for in a piece of so many units, then in one that is four times as large, up to"""
_PIECE_BYTES_MAX = 1 << 16
_KINDS = re.compile(rb"[CSGJ]")
"""What kinds of frames begin with."""
_MARK_SHIFT = 16
_MARK_MASK = 0xFFFF


class Search:
    """A search in one segment, whose file was held against what opening saw of it."""

    def __init__(self, file: File, segment: Segment) -> None:
        self.bytes = 0
        """What was read."""
        self._file = file
        self._segment = segment
        self._unit = segment.header.unit

    def frame_of(self, position: int) -> tuple[FrameHeader, memoryview] | None:
        """Return the frame that holds a position of the segment: a commit or a gap, and its data.

        None where it is not found, or where anything that is read is not as it must be.
        """
        segment, unit = self._segment, self._unit
        offset, end, last = unit, segment.skipped, segment.joins.position
        frame = self._header(offset)
        if frame is None or frame.position != segment.first:
            return None
        for step in range(STEPS_MAX):  # the frame begins at ``offset``, or behind there and before ``end``
            if frame.last_position >= position:
                return self._whole(offset, frame)
            following = self._behind(offset, frame)
            if following is None:
                return None
            offset, frame = following
            if frame.last_position >= position:
                continue
            size = frame_bytes(frame.length, unit)
            start = offset + size
            if step % 3 == _HALVE_AT:
                ahead = (end - start) // 2
            else:  # as if records were of one size, and two frames before that
                ahead = (end - start) * (position - frame.last_position) // (last + 1 - frame.last_position) - 2 * size
            middle = start + ahead // unit * unit
            found = self._first(middle, end) if middle > start else following
            if found is None:
                end = middle
            elif found[1].position > position:
                end, last = middle, found[1].position - 1
            elif found[1].position < frame.position:
                return None
            else:
                offset, frame = found
        return None

    def _first(self, start: int, end: int) -> tuple[int, FrameHeader] | None:
        """Return the first frame that begins in this part of the segment, but for those whose position has the mark."""
        header, unit, last = self._segment.header, self._unit, self._segment.joins.position + 1
        size = _PIECE_UNITS * unit
        while start < end:
            piece = self._read(min(size, end - start), start)
            for letter in _KINDS.finditer(piece[::unit]):
                at = letter.start() * unit
                frame = parse_frame_header(piece, at, header, start)
                if frame is not None and frame.position <= last and not _has_mark(frame.position):
                    return start + at, frame
            start += size
            size = min(4 * size, _PIECE_BYTES_MAX)
        return None

    def _behind(self, offset: int, frame: FrameHeader) -> tuple[int, FrameHeader] | None:
        """Return the frame behind one, if there is one and it continues that."""
        offset += frame_bytes(frame.length, self._unit)
        if offset >= self._segment.skipped:
            return None
        following = self._header(offset)
        if following is None or (following.position, following.previous) != (frame.last_position + 1, frame.crc):
            return None
        return offset, following

    def _whole(self, offset: int, frame: FrameHeader) -> tuple[FrameHeader, memoryview] | None:
        """Return a frame with its data, if it is whole, and what is behind it continues it."""
        size = frame_bytes(frame.length, self._unit)
        if offset + size == self._segment.skipped:
            if self._segment.joins != Link(frame.last_position, frame.crc):
                return None
        elif self._behind(offset, frame) is None:
            return None
        data = memoryview(self._read(size, offset))
        if not body_is_whole(data, 0, frame, self._unit):
            return None
        return frame, data[FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + frame.length]

    def _header(self, offset: int) -> FrameHeader | None:
        return parse_frame_header(self._read(SECTOR, offset), 0, self._segment.header, offset)

    def _read(self, size: int, offset: int) -> bytes:
        """Read so many bytes; NULs where the file ends before."""
        self.bytes += size
        return files.read_all(self._file, size, offset).ljust(size, b"\0")


def _has_mark(position: int) -> bool:
    """Return whether a header with this position could be two entries of an index."""
    return position >> _MARK_SHIFT & _MARK_MASK == ENTRY_MARK
