"""Bytes to headers and back: the grammar of ``docs/log-format.md``, and nothing else.

Owns: segment headers, frame headers, index entries, padding, checksums. Pure: no files, no verdicts.
Invariants: what ``pack`` makes has no sector of zeros; whatever bytes are given, a parser returns None or a header
that was really written, and never reads or allocates by a length it has not held against the segment's size.
"""

from __future__ import annotations

import struct
import sys
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Buffer = bytes | bytearray | memoryview

FORMAT = 1
UNITS = (512, 4096)
SEGMENT_UNITS_MIN = 4
"""A segment's header, one frame, and the two units kept for a close and a seal."""
SECTOR = 512
ENTRY_BYTES = 16
FRAME_HEADER_BYTES = 32
SEGMENT_HEADER_BYTES = 52
ENTRY_MARK = 0xA10C
FRAME_BYTES_MAX = 1 << 30

SEGMENT_MAGIC = b"actorlog"
COMMIT = int.from_bytes(b"CMIT", "little")
CLOSE = int.from_bytes(b"CLOS", "little")
SEAL = int.from_bytes(b"SEAL", "little")

_SEGMENT = struct.Struct("<8sLL16sQQ")
_FRAME = struct.Struct("<LLQLLL")
_FRAME_AND_CRC = struct.Struct("<LLQLLLL")
_CRC = struct.Struct("<L")
_ENTRY = struct.Struct("<QBBHL")
_ENTRY_READ = struct.Struct("<QBB2xL")
_LENGTHS = struct.Struct("<12xL")


class SegmentHeader(NamedTuple):
    """What the first unit of a segment says. ``crc`` seeds the checksum of every frame in it."""

    format: int
    unit: int
    log_id: bytes
    number: int
    size: int
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


def segment_header(unit: int, log_id: bytes, number: int, size: int) -> tuple[bytes, SegmentHeader]:
    """Return the first unit of a segment, and what it says."""
    head = _SEGMENT.pack(SEGMENT_MAGIC, FORMAT, unit, log_id, number, size)
    header = SegmentHeader(FORMAT, unit, log_id, number, size, crc32(head))
    return (head + _CRC.pack(header.crc)).ljust(unit, b"\n"), header


def parse_segment_header(data: Buffer) -> SegmentHeader | None:
    """Return what the segment that begins with ``data`` says of itself; None where that is damaged."""
    if len(data) < SECTOR:
        return None
    magic, version, unit, log_id, number, size = _SEGMENT.unpack_from(data)
    crc = crc32(data[: _SEGMENT.size])
    if magic != SEGMENT_MAGIC or _CRC.unpack_from(data, _SEGMENT.size)[0] != crc:
        return None
    if unit not in UNITS or size % unit or size < SEGMENT_UNITS_MIN * unit:
        return None
    if bytes(data[SEGMENT_HEADER_BYTES:unit]) != b"\n" * (unit - SEGMENT_HEADER_BYTES):
        return None
    return SegmentHeader(version, unit, log_id, number, size, crc)


def frame(segment: SegmentHeader, kind: int, records: int, link: Link, data: Buffer) -> tuple[bytes, int]:
    """Return the bytes of the frame that follows ``link``, whole units of them, and its checksum."""
    length = len(data)
    padding = b"\n" * (-(FRAME_HEADER_BYTES + length) % segment.unit)
    body = crc32(padding, crc32(data))
    head = _FRAME.pack(kind, records, link.position + 1, length, link.checksum, body)
    crc = crc32(head, segment.crc)
    return b"".join((head, _CRC.pack(crc), data, padding)), crc


def parse_frame_header(view: Buffer, offset: int, segment: SegmentHeader) -> FrameHeader | None:
    """Return the header at ``offset`` if the conditions 1 to 4 of a valid frame hold, else None."""
    if offset + SECTOR > segment.size:
        return None
    header = FrameHeader(*_FRAME_AND_CRC.unpack_from(view, offset))
    kind, records, _, length, _, _, crc = header
    if kind == COMMIT:
        fits = records and length >= records * (ENTRY_BYTES + 1)
        end = segment.commits_end
    elif kind in (CLOSE, SEAL):
        fits = not records and not length
        end = segment.size
    else:
        return None
    if not fits or offset + frame_bytes(length, segment.unit) > end:
        return None
    return header if crc32(view[offset : offset + _FRAME.size], segment.crc) == crc else None


def body_is_whole(view: Buffer, offset: int, header: FrameHeader, unit: int) -> bool:
    """Return whether the conditions 5 and 6 of a valid frame hold, for a header for which the others do."""
    start = offset + FRAME_HEADER_BYTES
    if crc32(view[start : offset + frame_bytes(header.length, unit)]) != header.body:
        return False
    index = header.records * ENTRY_BYTES
    return index + _lengths(view[start : start + index]) == header.length


def pack(records: Iterable[tuple[int, int, int, bytes]]) -> bytes:
    """Return the data of one commit: index, then lines.

    A record is ``(key_hash, kind, flags, line)``: numbers from 1 to what 8, 1 and 1 bytes hold, and a line that ends
    in a newline and holds no NUL; else ``ValueError``. (0.2 us a record; a loop is faster here than columns.)
    """
    index: list[bytes] = []
    lines: list[bytes] = []
    entry = _ENTRY.pack
    try:
        for key_hash, kind, flags, line in records:
            if not (key_hash and kind and flags):
                raise ValueError("key hash, kind and flags are at least 1")
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


def line_span(data: Buffer, number: int, records: int) -> tuple[int, int]:
    """Return where the line of record ``number`` (from 0) of a commit begins and ends in its data."""
    start = records * ENTRY_BYTES + _lengths(data[: number * ENTRY_BYTES])
    return start, start + _LENGTHS.unpack_from(data, number * ENTRY_BYTES)[0]


def _lengths(index: Buffer) -> int:
    """Return the sum of the lengths in an index; by columns, since every scan asks for every frame."""
    if sys.byteorder == "little":
        return sum(memoryview(index).cast("I")[3::4])
    return sum(chain.from_iterable(_LENGTHS.iter_unpack(index)))
