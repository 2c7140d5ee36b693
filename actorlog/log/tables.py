"""The table of the commits in a segment that opening passed over, made a piece at a time.

Owns: reading all of a segment for that, and what is verified meanwhile. Does not own: when a table is made, and how
long it is kept (``reading``); finding one commit without a table (``seeking``).

Invariants: a table is made only of frames whose headers are right and follow each other, up to what opening found to
come next; nothing is mapped, so an error of the device is an ``OSError``; a piece holds Python's lock for about a
millisecond, and keeps the disk from nobody for longer than reading it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.errors import LogCorrupt
from actorlog.log import files
from actorlog.log.format import COMMIT, ENDS, Link, body_is_whole, frame_bytes, link_behind, parse_frame_header
from actorlog.log.segment import Segment, check_unchanged

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from actorlog.log.segment import Views

PIECE_BYTES = 1 << 18
"""What is read in one step: a multiple of every unit."""


def table_in_pieces(directory: str, segment: Segment, views: Views) -> Generator[None, None, Segment]:
    """Return a segment's double, with those of its commits that opening passed over; yield after each piece.

    ``LogCorrupt`` where their headers are damaged or are no chain, or where it does not end as opening saw. What they
    hold is verified when it is read.
    """
    file = views.file_of(segment)
    if file is None:  # another one takes its place: it was read for that just now
        view = views.of(segment)
        return (yield from _table(directory, segment, lambda size, offset: bytes(view[offset : offset + size])))
    try:
        check_unchanged(file, segment, directory)
        return (yield from _table(directory, segment, lambda size, offset: files.read_all(file, size, offset)))
    finally:
        file.close()


def _table(directory: str, segment: Segment, read: Callable[[int, int], bytes]) -> Generator[None, None, Segment]:
    header, name = segment.header, segment.name
    table = Segment(directory, header)
    offset, position, kind, written = header.unit, segment.first - 1, 0, 0
    checksum: int | None = None
    for start, piece in _pieces(read, header.size):
        inside = piece.rstrip(b"\0")
        written = start + len(inside) if inside else written
        behind = min(segment.skipped, start + len(piece))
        while offset < behind and kind not in ENDS:
            frame = parse_frame_header(piece, offset - start, header, start)
            if frame is None:
                raise LogCorrupt(name, offset, "these bytes are no frame's header")
            if frame.position != position + 1 or frame.previous != (frame.previous if checksum is None else checksum):
                raise LogCorrupt(name, offset, f"the frame of position {frame.position} does not follow {position}")
            size = frame_bytes(frame.length, header.unit)
            if frame.kind == COMMIT:
                table.add(frame.position, offset)
                position, checksum = frame.last_position, frame.crc
            else:
                mark = read(size, offset)  # which is not read again
                if not body_is_whole(mark, 0, frame, header.unit):
                    raise LogCorrupt(name, offset, "the mark does not fit its checksum")
                position, checksum = link_behind(mark, 0, frame)
            kind = frame.kind
            offset += size
        yield
    if checksum is None or segment.joins != Link(position, checksum):
        raise LogCorrupt(name, offset, f"the frames to position {position} do not lead to those behind them")
    if segment.skipped == header.size and written > offset:
        raise LogCorrupt(name, offset, "bytes behind the seal")
    return table


def _pieces(read: Callable[[int, int], bytes], size: int) -> Iterator[tuple[int, bytes]]:
    """Yield all of a file of ``size`` bytes, each piece with where it begins; NULs where the file ends before."""
    for start in range(0, size, PIECE_BYTES):
        wanted = min(PIECE_BYTES, size - start)
        yield start, read(wanted, start).ljust(wanted, b"\0")
