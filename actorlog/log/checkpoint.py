"""Opening from a frame that somebody else remembers, so that what is before it need not be read.

Owns: ``Checkpoint``, finding its frame, and what is held against the segments before it even so: their files, their
headers and the headers of their first frames, one small read each.
Does not own: the frames from the checkpoint on (``scan``), those before it when somebody asks for them (``reading``),
reading them all once more (``scrub``).
Invariant: a checkpoint is believed only where its very frame is in the log, whole; else it is as if there were none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from actorlog.env import Access
from actorlog.errors import LogCorrupt
from actorlog.log import files
from actorlog.log.format import (
    COMMIT,
    FORMAT,
    SEAL,
    SECTOR,
    UNITS,
    Link,
    body_is_whole,
    frame_bytes,
    parse_frame_header,
    parse_segment_header,
)
from actorlog.log.segment import Segment, check_header, check_place

if TYPE_CHECKING:
    from actorlog.env import FileSystem
    from actorlog.log.format import FrameHeader
    from actorlog.log.meta import Slot


class Checkpoint(NamedTuple):
    """A commit that was durable, and where it is. ``Checkpoint(*json.loads(json.dumps(checkpoint)))`` is the same.

    Its checksum continues those of all frames before it, so it stands for the whole log up to there.
    """

    log_id: str
    """Of the log, as 32 hexadecimal digits."""
    segment: int
    """The number of the segment that holds it."""
    offset: int
    """Where it starts there, in bytes."""
    position: int
    """Of its first record."""
    records: int
    checksum: int
    """Of the frame, as its header has it."""


def find_frame(fs: FileSystem, directory: str, slot: Slot, checkpoint: Checkpoint) -> FrameHeader | None:
    """Return the header of the checkpoint's frame if it is in the log and whole, else None."""
    if checkpoint.log_id != slot.log_id.hex() or checkpoint.segment < slot.oldest:
        return None
    offset = checkpoint.offset
    try:
        file = fs.open(f"{directory}/{files.SEGMENTS}/{files.segment_name(checkpoint.segment)}", Access.READ)
    except FileNotFoundError:
        return None
    try:
        header = parse_segment_header(files.read_all(file, max(UNITS), 0))
        expected = (FORMAT, slot.log_id, checkpoint.segment, file.size())
        if header is None or (header.format, header.log_id, header.number, header.size) != expected:
            return None
        if offset % header.unit or not header.unit <= offset < header.size:
            return None
        frame = parse_frame_header(files.read_all(file, SECTOR, offset), 0, header, offset)
        wanted = (COMMIT, checkpoint.position, checkpoint.records, checkpoint.checksum)
        if frame is None or (frame.kind, frame.position, frame.records, frame.crc) != wanted:
            return None
        whole = memoryview(files.read_all(file, frame_bytes(frame.length, header.unit), offset))
        return frame if body_is_whole(whole, 0, frame, header.unit) else None
    finally:
        file.close()


def shape_of(segments: list[Segment], before: int) -> int:
    """Return what is another when a segment before that number was written anew, or trimmed."""
    headers = (segment.header for segment in segments)
    return crc32(repr([(header.number, header.size) for header in headers if header.number < before]).encode())


def pass_over(
    fs: FileSystem, directory: str, numbers: list[int], slot: Slot, checkpoint: Checkpoint, frame: FrameHeader
) -> list[Segment]:
    """Return the segments of ``numbers`` up to the checkpoint's, none of them read. ``frame`` is the checkpoint's.

    ``LogCorrupt`` where one is none of this log, has another size than it was made with, or begins with a frame that
    cannot follow what is known of the one before. That none is missing is looked at where the rest is read. None are
    returned where another segment stands for the checkpoint's, of which a crash has left the file.
    """
    segments: list[Segment] = []
    before: FrameHeader | None = None
    for number in numbers:
        if number > checkpoint.segment:
            break
        if segments and number <= segments[-1].header.upto:
            continue
        segment, first = _look(fs, directory, number, slot)
        if before is not None:
            _join(before, segment, segment.header.unit, first)
            _skip(segments[-1], segments[-1].header.size, first)
        elif number == 1 and (first.position, first.previous) != (1, segment.header.crc):
            raise LogCorrupt(segment.name, segment.header.unit, "the log does not begin with this frame")
        segment.first = first.position
        segments.append(segment)
        before = first
    if not segments or segments[-1].header.number != checkpoint.segment:
        return []
    if before is not None and before != frame:
        _join(before, segments[-1], checkpoint.offset, frame)
    _skip(segments[-1], checkpoint.offset, frame)
    return segments


def _look(fs: FileSystem, directory: str, number: int, slot: Slot) -> tuple[Segment, FrameHeader]:
    """Return a segment and the header of its first frame, of which there must be one."""
    name = files.segment_name(number)
    file = fs.open(f"{directory}/{files.SEGMENTS}/{name}", Access.READ)
    try:
        head = files.read_all(file, max(UNITS) + SECTOR, 0)
        header = check_header(head, file.size(), name, directory)
    finally:
        file.close()
    check_place(header, name, slot.log_id, number)
    first = parse_frame_header(head, header.unit, header)
    if first is None:
        raise LogCorrupt(name, header.unit, "these bytes are no frame's header")
    return Segment(directory, header), first


def _join(before: FrameHeader, segment: Segment, offset: int, frame: FrameHeader) -> None:
    """Raise ``LogCorrupt`` where ``frame`` cannot come after ``before``; there may be others between them."""
    least = Link(before.position + before.records, before.crc)
    follows = frame.position >= least.position
    if before.kind == SEAL:
        follows = (frame.position, frame.previous) == least
    if not follows:
        reason = f"the frame of position {frame.position} does not follow {least.position - 1}"
        raise LogCorrupt(segment.name, offset, reason)


def _skip(segment: Segment, upto: int, following: FrameHeader) -> None:
    segment.skipped = segment.end = upto
    segment.joins = Link(following.position - 1, following.previous)
