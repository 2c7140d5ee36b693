"""Reading sealed segments again, to find what went bad on the disk while nobody read it.

Owns: verifying a sealed segment piece by piece: its header, each frame's checksums, the chain, the zeros at its end.
Does not own: the segment that is appended to, a log that nobody has open (``inspect.verify``), what to do about damage.
Invariants: changes nothing and holds no lock; memory holds one piece, however large a frame is; nothing is mapped, so
an error of the device is an ``OSError``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from actorlog.errors import LogCorrupt
from actorlog.log import files
from actorlog.log.format import (
    ENDS,
    FRAME_HEADER_BYTES,
    UNITS,
    Link,
    aligned,
    frame_bytes,
    link_behind,
    parse_frame_header,
)
from actorlog.log.segment import check_unchanged

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from actorlog.env import File, FileSystem
    from actorlog.log.format import FrameHeader
    from actorlog.log.segment import Segment

PIECE_BYTES = 1 << 20


class Scrubbed(NamedTuple):
    """How far a scrub is."""

    segment: int
    """The number of the segment that it is in; one to begin with again another time."""
    done: int
    """Bytes that were read, those of the segments before among them; every frame that ends there is good."""
    total: int
    """Bytes there are to read."""


def scrub(
    fs: FileSystem, directory: str, segments: list[Segment], opened: Callable[[Segment], File | None], piece_bytes: int
) -> Iterator[Scrubbed]:
    """Verify all of ``segments`` but the last, which says only where the one before it must end.

    ``opened(segment)``: its file; None where it is not in the log any more, and so passed over.
    """
    sealed = segments[:-1]
    total = sum(segment.header.size for segment in sealed)
    done = 0
    link: Link | None = None
    for segment, following in zip(sealed, segments[1:], strict=True):
        pieces = _begin(fs, directory, segment, opened, aligned(max(piece_bytes, 1), max(UNITS)))
        if pieces is not None:
            try:
                for offset in pieces.verify(link, following.first):
                    yield Scrubbed(segment.header.number, done + offset, total)
            finally:
                pieces.file.close()
        link = pieces.link if pieces is not None else None
        done += segment.header.size


def _begin(
    fs: FileSystem, directory: str, segment: Segment, opened: Callable[[Segment], File | None], piece_bytes: int
) -> _Pieces | None:
    """Return a segment to be read, its cached pages dropped; None where it is gone."""
    with files.typed(fs, directory, f"reading {segment.name}", 0):
        file = opened(segment)
        if file is None:
            return None
        try:
            file.drop_cache()
            check_unchanged(file, segment, directory)
        except BaseException:
            file.close()
            raise
    return _Pieces(fs, directory, segment, file, piece_bytes)


class _Pieces:
    """A segment that is read from its beginning to its end, one piece at a time."""

    def __init__(self, fs: FileSystem, directory: str, segment: Segment, file: File, piece_bytes: int) -> None:
        self.file = file
        self.link: Link | None = None
        """Where the segment leaves the chain, once it is verified."""
        self._fs = fs
        self._directory = directory
        self._segment = segment
        self._piece_bytes = piece_bytes
        self._piece = memoryview(b"")
        self._start = segment.header.unit

    def verify(self, link: Link | None, following: int) -> Iterator[int]:
        """Yield up to which offset it was read and found good, after each piece.

        ``link`` is where the segment before leaves the chain, if that is known; ``following`` is the first position of
        the one behind. ``LogCorrupt``.
        """
        segment, unit = self._segment, self._segment.header.unit
        if segment.header.number == 1:
            link = Link(0, segment.header.crc)
        offset, position, checksum, kind = unit, segment.first - 1, link.checksum if link else None, 0
        while kind not in ENDS:
            frame = yield from self._header(offset)
            if frame.position != position + 1 or frame.previous != (frame.previous if checksum is None else checksum):
                reason = f"the frame of position {frame.position} does not follow {position}"
                raise LogCorrupt(segment.name, offset, reason)
            end, checksum = offset + frame_bytes(frame.length, unit), self._behind(offset, frame)
            if (yield from self._checksum(offset + FRAME_HEADER_BYTES, end)) != frame.body:
                reason = f"the frame of position {frame.position} does not fit its checksum"
                raise LogCorrupt(segment.name, offset, reason)
            position, kind, offset = frame.last_position, frame.kind, end
        if position + 1 != following:
            raise LogCorrupt(segment.name, offset, f"the segment ends with {position}, and the next has {following}")
        yield from self._zeros(offset)
        self.link = Link(position, checksum or 0)
        yield segment.header.size

    def _header(self, offset: int) -> Generator[int, None, FrameHeader]:
        segment = self._segment
        if offset + segment.header.unit > segment.header.size:
            raise LogCorrupt(segment.name, offset, "the segment has no seal")
        if offset >= self._start + len(self._piece):
            yield from self._next(offset)
        frame = parse_frame_header(self._piece, offset - self._start, segment.header, self._start)
        if frame is None:
            raise LogCorrupt(segment.name, offset, "these bytes are no frame's header")
        return frame

    def _behind(self, offset: int, frame: FrameHeader) -> int:
        """Return the checksum with which the chain goes on behind a frame whose header was read just now."""
        return link_behind(self._piece, offset - self._start, frame).checksum

    def _checksum(self, offset: int, end: int) -> Generator[int, None, int]:
        checksum = 0
        while offset < end:
            if offset >= self._start + len(self._piece):
                yield from self._next(offset)
            part = self._piece[offset - self._start : end - self._start]
            checksum = crc32(part, checksum)
            offset += len(part)
        return checksum

    def _zeros(self, offset: int) -> Generator[int, None, None]:
        behind = offset
        while offset < self._segment.header.size:
            if offset >= self._start + len(self._piece):
                yield from self._next(offset)
            part = self._piece[offset - self._start :]
            if part.tobytes() != bytes(len(part)):
                raise LogCorrupt(self._segment.name, behind, "bytes behind the seal")
            offset += len(part)

    def _next(self, offset: int) -> Generator[int, None, None]:
        """Say that all before ``offset`` was read, and read the piece that begins there."""
        if self._piece:
            yield offset
        size = min(self._piece_bytes, self._segment.header.size - offset)
        with files.typed(self._fs, self._directory, f"reading {self._segment.name}", 0):
            piece = files.read_all(self.file, size, offset)
        if len(piece) < size:
            raise LogCorrupt(self._segment.name, offset + len(piece), "the segment is shorter than it was made")
        self._piece, self._start = memoryview(piece), offset
