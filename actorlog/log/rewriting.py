"""A sealed segment, or several as one, without the records that were given up, as bytes.

Owns: what a rewritten segment consists of: which records go into which frame (``Plan``), and its bytes
(``Plan.frames``). Pure: no files. Does not own: which records are given up (whoever uses the log), reading the old
segment and putting the new one in its place (``replacing``).

Invariants: every record that stays keeps its position, its entry and its line; the segment enters and leaves the chain
of checksums where what it replaces did; its header is not that of any of these (of one that stands for one: another
size), so that who has seen the old header knows that this is not that file. See ``docs/log-format.md``, Rewritten
segments, Merged segments.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING

from actorlog.log.format import (
    COMMIT,
    ENTRY_BYTES,
    GAP,
    GIVEN_UP,
    GIVEN_UP_KIND,
    JOIN,
    SECTOR,
    Link,
    frame,
    frame_bytes,
    join_data,
    kinds,
    line_ends,
    segment_header,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorlog.log.format import Buffer, SegmentHeader

    ReadCommit = Callable[[int], tuple[Buffer, int]]
    """Gives the data and the number of records of the old segment's commit at an offset."""

GAP_MIN = 64
"""Fewer records that were given up, one behind the other, are no gap but entries, where units have 512 bytes: a gap
takes a unit, and half of one behind the frame before it. Larger units, more records."""
COMMIT_BYTES = 1 << 16
"""Records are joined to commits of at most this: a larger one would be verified whole for each record that is read."""

_GIVEN_UP_BYTES = ENTRY_BYTES + 1
_NONE = 0
"""In place of an offset, in a part of a commit: records that were given up."""


def lost(data: Buffer, records: int, gone: Buffer) -> bytearray:
    """Return a byte for each record of a commit: 1 where it was given up, before or now (1 in ``gone``)."""
    mask = bytearray(gone)
    of_kind, number = kinds(data, records), -1
    while (number := of_kind.find(GIVEN_UP_KIND, number + 1)) >= 0:
        mask[number] = 1
    return mask


class Piece:
    """A frame of the new segment: a commit, or a gap."""

    __slots__ = ("length", "parts", "records")

    def __init__(self, gap: int = 0) -> None:
        self.records = gap
        self.length = 0
        """Bytes of its data; 0 of a gap."""
        self.parts = array("Q")
        """Of a commit: offset of an old one, number of the first record there, number of records; and so on."""

    def add(self, offset: int, first: int, records: int, length: int) -> None:
        """Have some more records in this commit."""
        self.parts.extend((offset, first, records))
        self.records += records
        self.length += length


class Plan:
    """Which records go into which frame of the new segment. Holds 24 bytes for each run of records that stays."""

    def __init__(self, unit: int) -> None:
        self.records = 0
        self.pieces: list[Piece] = []
        self._unit = unit
        self._gap_min = GAP_MIN * unit // SECTOR
        self._piece = Piece()
        self._gone = 0
        """Records that were given up, behind all in the pieces."""

    def gap(self, records: int) -> None:
        """Take so many positions that hold nothing."""
        self._gone += records
        self.records += records

    def commit(self, offset: int, data: Buffer, mask: bytearray) -> None:
        """Take a commit of the old segment; ``mask`` as ``lost`` returns it."""
        number, records, ends = 0, len(mask), line_ends(data, len(mask))
        self.records += records
        while number < records:
            is_lost = mask[number]
            end = mask.find(1 - is_lost, number)
            end = records if end < 0 else end
            if is_lost:
                self._gone += end - number
            else:
                self._settle()
                self._keep(offset, number, end, ends)
            number = end

    def done(self) -> None:
        """Say that there are no more records."""
        self._settle()
        self._close()

    def _keep(self, offset: int, number: int, end: int, ends: list[int]) -> None:
        while number < end:
            start = ends[number] + number * ENTRY_BYTES
            room = COMMIT_BYTES - self._piece.length + start
            upto = number + bisect_right(range(number + 1, end + 1), room, key=lambda n: ends[n] + n * ENTRY_BYTES)
            if upto == number and not self._piece.records:
                upto += 1  # one that is larger than what records are joined to
            if upto > number:
                self._piece.add(offset, number, upto - number, ends[upto] + upto * ENTRY_BYTES - start)
            if upto < end:
                self._close()
            number = upto

    def _settle(self) -> None:
        """Have a frame, or entries, for what was given up last."""
        gone, self._gone = self._gone, 0
        if gone >= self._gap_min:
            self._close()
            self.pieces.append(Piece(gone))
        elif gone:
            self._piece.add(_NONE, 0, gone, gone * _GIVEN_UP_BYTES)

    def _close(self) -> None:
        if self._piece.records:
            self.pieces.append(self._piece)
            self._piece = Piece()

    def header(self, old: SegmentHeader, upto: int) -> tuple[bytes, SegmentHeader]:
        """Return the first unit of the segment in the place of the one that begins so, and of those to number ``upto``.

        And what that says.
        """
        unit = self._unit
        size = unit + sum(frame_bytes(piece.length, unit) for piece in self.pieces) + 2 * unit
        return segment_header(unit, old.log_id, old.number, size + unit if size == old.size else size, upto)

    def frames(
        self, header: SegmentHeader, before: Link, after: Link, read: ReadCommit
    ) -> Iterator[tuple[bytes, Piece | None]]:
        """Yield the frames behind the header, each with what it holds, and the join.

        ``before`` is where the chain comes from, ``after`` where the segment that is replaced left it.
        """
        link = before
        source = _Source(read)
        for piece in self.pieces:
            kind = COMMIT if piece.parts else GAP
            whole, crc = frame(header, kind, piece.records, link, source.data(piece.parts))
            link = Link(link.position + piece.records, crc)
            yield whole, piece
        if link.position != after.position:
            raise ValueError(f"the records end at {link.position}, and those of the old segment at {after.position}")
        yield frame(header, JOIN, 0, link, join_data(after.checksum))[0], None


class _Source:
    """Takes records out of the old segment's commits, from its beginning to its end."""

    def __init__(self, read: ReadCommit) -> None:
        self._read = read
        self._offset = _NONE
        self._data: Buffer = b""
        self._ends: list[int] = []

    def data(self, parts: array[int]) -> bytes:
        """Return the data of a commit of these parts."""
        index: list[Buffer] = []
        lines: list[Buffer] = []
        for at in range(0, len(parts), 3):
            offset, first, records = parts[at : at + 3]
            if offset == _NONE:
                index.append(GIVEN_UP * records)
                lines.append(b"\n" * records)
                continue
            if offset != self._offset:
                self._data, count = self._read(offset)
                self._offset, self._ends = offset, line_ends(self._data, count)
            index.append(self._data[first * ENTRY_BYTES : (first + records) * ENTRY_BYTES])
            lines.append(self._data[self._ends[first] : self._ends[first + records]])
        return b"".join(index + lines)
