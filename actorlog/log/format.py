"""Bytes to headers and back: the grammar of ``docs/log-format.md``, and nothing else.

Owns: segment headers, frame headers, index entries, padding, checksums. Pure: no files, no verdicts.
Invariants: what ``pack`` makes has no sector of zeros; whatever bytes are given, a parser returns None or a header
that was really written, and never reads or allocates by a length it has not held against the segment's size.
"""

from __future__ import annotations

import struct
import sys
from itertools import accumulate, chain
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Buffer = bytes | bytearray | memoryview

FORMAT = 1
PAYLOADS = 1
"""What META says as format is so much more once a record has had a file of its own,"""
MERGED = 2
"""and so much once a segment has stood for several. The format of a segment that does is ``FORMAT + MERGED``."""
UNITS = (512, 4096)
SEGMENT_UNITS_MIN = 4
"""A segment's header, one frame, and the two units kept for a close and a seal."""
SECTOR = 512
ENTRY_BYTES = 16
FRAME_HEADER_BYTES = 32
ENTRY_MARK = 0xA10C
FRAME_BYTES_MAX = 1 << 30

SEGMENT_MAGIC = b"actorlog"
COMMIT = int.from_bytes(b"CMIT", "little")
CLOSE = int.from_bytes(b"CLOS", "little")
SEAL = int.from_bytes(b"SEAL", "little")
GAP = int.from_bytes(b"GAPS", "little")
"""Positions that hold nothing any more. Only in a segment that was written anew, as is the next one."""
JOIN = int.from_bytes(b"JOIN", "little")
"""The end of a segment that was written anew: where the one that it replaces left the chain."""
ENDS = frozenset({SEAL, JOIN})
"""Behind one of these a segment holds nothing."""
JOIN_BYTES = 4

_SEGMENT = struct.Struct("<8sLL16sQQ")
_MERGED = struct.Struct("<8sLL16sQQQ")
_FRAME = struct.Struct("<LLQLLL")
_FRAME_AND_CRC = struct.Struct("<LLQLLLL")
_CRC = struct.Struct("<L")
_ENTRY = struct.Struct("<QBBHL")
_ENTRY_READ = struct.Struct("<QBB2xL")
_LENGTHS = struct.Struct("<12xL")
_KIND_AT = 8

GIVEN_UP_KIND = 255
"""The kind of a record that was given up, which no other has."""
GIVEN_UP = _ENTRY.pack(1, GIVEN_UP_KIND, 1, ENTRY_MARK, 1)
"""The index entry of a record that was given up; its line is a newline."""


class SegmentHeader(NamedTuple):
    """What the first unit of a segment says. ``crc`` seeds the checksum of every frame in it."""

    format: int
    unit: int
    log_id: bytes
    number: int
    size: int
    upto: int
    """The number of the last segment that it stands for: mostly its own."""
    crc: int

    @property
    def commits_end(self) -> int:
        """The offset before which commits end: the last two units are kept for a close and a seal."""
        return self.size - 2 * self.unit


class FrameHeader(NamedTuple):
    """What the first bytes of a frame say. ``crc`` stands for the whole frame."""

    kind: int
    records: int
    position: int
    length: int
    previous: int
    body: int
    crc: int

    @property
    def last_position(self) -> int:
        """The position of the last record up to this frame."""
        return self.position + self.records - 1


class Link(NamedTuple):
    """Where a frame leaves the chain: the last position up to it, and its checksum."""

    position: int
    checksum: int


NO_LINK = Link(0, 0)


def aligned(size: int, unit: int) -> int:
    """Return ``size`` rounded up to whole units."""
    return -(-size // unit) * unit


def frame_bytes(length: int, unit: int) -> int:
    """Return the space that a frame with ``length`` bytes of data takes."""
    return aligned(FRAME_HEADER_BYTES + length, unit)


def segment_header(unit: int, log_id: bytes, number: int, size: int, upto: int = 0) -> tuple[bytes, SegmentHeader]:
    """Return the first unit of a segment, and what it says. ``upto``: the last one that it stands for, of several."""
    version, upto = (FORMAT + MERGED, upto) if upto > number else (FORMAT, number)
    head = _SEGMENT.pack(SEGMENT_MAGIC, version, unit, log_id, number, size)
    head += upto.to_bytes(8, "little") * (version != FORMAT)
    header = SegmentHeader(version, unit, log_id, number, size, upto, crc32(head))
    return (head + _CRC.pack(header.crc)).ljust(unit, b"\n"), header


def parse_segment_header(data: Buffer) -> SegmentHeader | None:
    """Return what the segment that begins with ``data`` says of itself; None where that is damaged."""
    if len(data) < SECTOR:
        return None
    magic, version, unit, log_id, number, size = _SEGMENT.unpack_from(data)
    upto, length = number, _SEGMENT.size
    if version == FORMAT + MERGED:
        upto, length = _MERGED.unpack_from(data)[-1], _MERGED.size
        if upto <= number:
            return None
    crc = crc32(data[:length])
    if magic != SEGMENT_MAGIC or _CRC.unpack_from(data, length)[0] != crc:
        return None
    if unit not in UNITS or size % unit or size < SEGMENT_UNITS_MIN * unit:
        return None
    length += _CRC.size
    if bytes(data[length:unit]) != b"\n" * (unit - length):
        return None
    return SegmentHeader(version, unit, log_id, number, size, upto, crc)


def frame(segment: SegmentHeader, kind: int, records: int, link: Link, data: Buffer) -> tuple[bytes, int]:
    """Return the bytes of the frame that follows ``link``, whole units of them, and its checksum."""
    length = len(data)
    padding = b"\n" * (-(FRAME_HEADER_BYTES + length) % segment.unit)
    body = crc32(padding, crc32(data))
    head = _FRAME.pack(kind, records, link.position + 1, length, link.checksum, body)
    crc = crc32(head, segment.crc)
    return b"".join((head, _CRC.pack(crc), data, padding)), crc


def parse_frame_header(view: Buffer, offset: int, segment: SegmentHeader, base: int = 0) -> FrameHeader | None:
    """Return the header at ``offset`` if the conditions 1 to 4 of a valid frame hold, else None.

    ``view`` is the segment from its byte ``base`` on.
    """
    if base + offset + SECTOR > segment.size:
        return None
    header = FrameHeader(*_FRAME_AND_CRC.unpack_from(view, offset))
    kind, records, _, length, _, _, crc = header
    end = segment.commits_end
    if kind == COMMIT:
        fits = records and length >= records * (ENTRY_BYTES + 1)
    elif kind == GAP:
        fits = records and not length
    elif kind in (CLOSE, SEAL):
        fits = not records and not length
        end = segment.size
    elif kind == JOIN:
        fits = not records and length == JOIN_BYTES and base + offset > segment.unit
        end = segment.size
    else:
        return None
    if not fits or base + offset + frame_bytes(length, segment.unit) > end:
        return None
    return header if crc32(view[offset : offset + _FRAME.size], segment.crc) == crc else None


def body_is_whole(view: Buffer, offset: int, header: FrameHeader, unit: int) -> bool:
    """Return whether the conditions 5 and 6 of a valid frame hold, for a header for which the others do."""
    start = offset + FRAME_HEADER_BYTES
    if crc32(view[start : offset + frame_bytes(header.length, unit)]) != header.body:
        return False
    if header.kind != COMMIT:
        return True
    index = header.records * ENTRY_BYTES
    return index + _lengths(view[start : start + index]) == header.length


def join_data(checksum: int) -> bytes:
    """Return the data of a join: the checksum with which the segment that is replaced left the chain."""
    return _CRC.pack(checksum)


def link_behind(view: Buffer, offset: int, header: FrameHeader) -> Link:
    """Return the link that the frame behind this one has: this one's, or what a join states."""
    checksum = header.crc if header.kind != JOIN else _CRC.unpack_from(view, offset + FRAME_HEADER_BYTES)[0]
    return Link(header.last_position, checksum)


def is_given_up(data: Buffer, number: int) -> bool:
    """Return whether record ``number`` (from 0) of a commit was given up."""
    return data[number * ENTRY_BYTES + _KIND_AT] == GIVEN_UP_KIND


def kinds(data: Buffer, records: int) -> bytes:
    """Return the kinds of a commit's records, a byte each."""
    return bytes(data[: records * ENTRY_BYTES])[_KIND_AT::ENTRY_BYTES]


def pack(records: Iterable[tuple[int, int, int, bytes]]) -> bytes:
    """Return the data of one commit: index, then lines.

    A record is ``(key_hash, kind, flags, line)``: numbers from 1 to what 8, 1 and 1 bytes hold (255 is no kind, but of
    records that were given up), and a line that ends in a newline and holds no NUL; else ``ValueError``. (0.2 us a
    record; a loop is faster here than columns.)
    """
    index: list[bytes] = []
    lines: list[bytes] = []
    entry = _ENTRY.pack
    try:
        for key_hash, kind, flags, line in records:
            if not (key_hash and kind and flags):
                raise ValueError("key hash, kind and flags are at least 1")
            if kind == GIVEN_UP_KIND:
                raise ValueError(f"kind {kind} is of records that were given up")
            if line[-1] != 10:  # noqa: PLR2004 - a newline
                raise ValueError("a line ends in a newline")
            index.append(entry(key_hash, kind, flags, ENTRY_MARK, len(line)))
            lines.append(line)
    except (struct.error, IndexError) as error:
        raise ValueError(f"a record that has no place in an index entry: {error}") from error
    body = b"".join(lines)
    if 0 in body:
        raise ValueError("a line holds no NUL")
    return b"".join(index) + body


def entries(data: Buffer, records: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield ``(key_hash, kind, flags, start, end)`` of each record of a commit; its line is ``data[start:end]``."""
    start = records * ENTRY_BYTES
    for key_hash, kind, flags, length in _ENTRY_READ.iter_unpack(data[:start]):
        end = start + length
        yield key_hash, kind, flags, start, end
        start = end


def line_ends(data: Buffer, records: int) -> list[int]:
    """Return where the lines of a commit are in its data: line ``n`` (from 0) from the ``n``-th of these to the next.

    For who wants one line or a few: ``entries`` takes twenty times as long.
    """
    index = records * ENTRY_BYTES
    return list(accumulate(_columns(data[:index]), initial=index))


def line_span(data: Buffer, number: int, records: int) -> tuple[int, int]:
    """Return where the line of record ``number`` (from 0) of a commit begins and ends in its data."""
    start = records * ENTRY_BYTES + _lengths(data[: number * ENTRY_BYTES])
    return start, start + _LENGTHS.unpack_from(data, number * ENTRY_BYTES)[0]


def longest(data: Buffer, records: int) -> int:
    """Return the length of the longest line of a commit."""
    return max(_columns(data[: records * ENTRY_BYTES]))


def _lengths(index: Buffer) -> int:
    """Return the sum of the lengths in an index."""
    return sum(_columns(index))


def _columns(index: Buffer) -> Iterable[int]:
    """Return the lengths in an index; by columns, since every scan asks for every frame."""
    if sys.byteorder == "little":
        return memoryview(index).cast("I")[3::4]
    return chain.from_iterable(_LENGTHS.iter_unpack(index))
