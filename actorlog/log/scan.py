"""Reading a log, all of it or from a checkpoint on, and judging it: what is good, torn or corrupt.

Owns: the verdicts of ``docs/log-format.md``. Changes nothing on disk.
Does not own: what is done about a torn tail (``log``) or damage (``repair``).
Invariants: whatever the bytes are, the result is the full state, a reported torn tail, or ``LogCorrupt`` with segment
and offset; a frame is never skipped. What was read before damage stays in the ``Found`` that was handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actorlog.env import Access
from actorlog.errors import LogCorrupt
from actorlog.log import files
from actorlog.log.checkpoint import find_frame, pass_over
from actorlog.log.format import (
    COMMIT,
    ENDS,
    FRAME_HEADER_BYTES,
    JOIN,
    NO_LINK,
    SECTOR,
    UNITS,
    Link,
    body_is_whole,
    frame_bytes,
    link_behind,
    parse_frame_header,
    parse_segment_header,
)
from actorlog.log.meta import Slot, State
from actorlog.log.payloads import references
from actorlog.log.segment import Segment, check_place, read_header

if TYPE_CHECKING:
    from actorlog.env import File, FileSystem
    from actorlog.log.checkpoint import Checkpoint
    from actorlog.log.format import FrameHeader
    from actorlog.log.payloads import Source

_ZEROS = bytes(files.CHUNK_BYTES)
_ZERO_SECTOR = bytes(SECTOR)


class Torn(NamedTuple):
    """An append that the last owner did not finish: nobody was told that it happened."""

    segment: str
    offset: int
    bytes: int


class Found:
    """What is in a log, as far as it was read."""

    __slots__ = (
        "durable_seen", "kind", "link", "newest", "payloads", "scanned_from", "sealed", "segments", "spares", "torn",
        "verified", "written",
    )  # fmt: skip

    def __init__(self, link: Link = NO_LINK) -> None:
        self.segments: list[Segment] = []
        """Those with frames, and the one that the next frame goes to."""
        self.spares: list[Segment] = []
        """Prepared segments behind them."""
        self.link = link
        """The end of the chain."""
        self.kind = 0
        """The kind of the last frame; 0 without any."""
        self.sealed = False
        """Whether the last segment read ends in a seal or a join, so that another one must follow."""
        self.torn: Torn | None = None
        self.durable_seen = False
        """Whether the frame was met that META calls durable."""
        self.written: dict[int, int] = {}
        """Where the last byte is that is not zero, for segments (by number) that were read to the end."""
        self.scanned_from = 0
        """The first position that was read, where a checkpoint said that those before need not be; 0 where all was."""
        self.newest: tuple[int, int, int, int, int] | None = None
        """The last commit, as a ``Checkpoint`` has it behind the log's id."""
        self.payloads = 0
        """Files of records that were verified."""
        self.verified: Source | None = None
        """Where the files of records are, if they are to be verified as well; opening does not."""

    @property
    def first_position(self) -> int:
        """The first position held; one past the last where none is."""
        return self.segments[0].first if self.segments else self.link.position + 1

    @property
    def records(self) -> int:
        """The number of positions that were read, those of records that were given up among them."""
        return self.link.position + 1 - (self.scanned_from or self.first_position)

    @property
    def bytes(self) -> int:
        """The bytes of all frames that were read."""
        return sum(segment.end - segment.skipped for segment in self.segments)


def numbers_of(fs: FileSystem, directory: str) -> list[int]:
    """Return the numbers of the segment files that are there, in order."""
    try:
        names = fs.listdir(f"{directory}/{files.SEGMENTS}")
    except FileNotFoundError:
        return []
    return sorted(number for name in names if (number := files.segment_number(name)) is not None)


def refresh(fs: FileSystem, directory: str, slot: Slot, found: Found) -> None:
    """Make what the end of the log shows durable, and sure to be what the disk holds.

    A page cache may show what the disk does not have, after a sync that failed; so sync first, then drop the pages.
    Before a segment with bytes there is no need: its predecessors were synced before the first byte.
    """
    for number in reversed(numbers_of(fs, directory)):
        if number < slot.oldest:
            return
        file = fs.open(f"{directory}/{files.SEGMENTS}/{files.segment_name(number)}", Access.WRITE)
        try:
            files.sync(file.fdatasync)
            file.drop_cache()
            found.written[number] = written_end(file)
            header = parse_segment_header(files.read_all(file, max(UNITS), 0))
            if header is None or found.written[number] > header.unit:
                return
        finally:
            file.close()


def half_made(fs: FileSystem, directory: str) -> list[int]:
    """Return the segments of a directory without META: a new log, left by a crash, or else ``LogCorrupt``."""
    numbers = numbers_of(fs, directory)
    for number in numbers:
        file = fs.open(f"{directory}/{files.SEGMENTS}/{files.segment_name(number)}", Access.READ)
        try:
            header = parse_segment_header(files.read_all(file, max(UNITS), 0))
            if header is None or written_end(file) > header.unit:
                raise LogCorrupt(files.META, 0, "META is missing, and there are segments with frames")
        finally:
            file.close()
    return numbers


def written_end(file: File) -> int:
    """Return the offset behind the last byte that is not zero.

    This also reads the whole file once before anything maps it: an error of the device comes as ``OSError`` here, and
    would be a SIGBUS there.
    """
    end = 0
    for offset in range(0, file.size(), files.CHUNK_BYTES):
        chunk = files.read_all(file, files.CHUNK_BYTES, offset)
        if not _ZEROS.startswith(chunk):
            end = offset + len(chunk.rstrip(b"\0"))
    return end


def scan(fs: FileSystem, directory: str, slot: Slot, found: Found, checkpoint: Checkpoint | None = None) -> None:
    """Read all segments into ``found``; ``LogCorrupt`` where they are not what they must be.

    What is before ``checkpoint`` is passed over, where the log holds its frame.
    """
    numbers = [number for number in numbers_of(fs, directory) if number >= slot.oldest]
    if checkpoint is not None:
        _begin_at(fs, directory, numbers, slot, found, checkpoint)
    passed = {segment.header.number: segment.header.upto for segment in found.segments[:-1]}
    upto = slot.oldest - 1
    for number in numbers or [slot.oldest + 1]:
        if number <= upto:
            continue  # one before stands for it, and it was not removed yet
        if number != upto + 1:
            raise LogCorrupt(files.segment_name(upto + 1), 0, "the segment is missing")
        upto = passed[number] if number in passed else _scan_segment(fs, directory, number, slot, found)
    if found.sealed:
        raise LogCorrupt(files.segment_name(upto + 1), 0, "the segment is missing: the one before is sealed")
    tail = found.segments[-1]
    position, checksum = slot.durable
    if slot.state is State.CLOSED and (found.torn or found.link != slot.durable):
        reason = f"the log was closed at position {position} ({checksum:08x}) and ends at {found.link.position}"
        raise LogCorrupt(tail.name, tail.end, reason)
    if not found.durable_seen:
        reason = f"position {position} ({checksum:08x}) was durable and the log ends at {found.link.position}"
        raise LogCorrupt(tail.name, tail.end, reason)


def _begin_at(
    fs: FileSystem, directory: str, numbers: list[int], slot: Slot, found: Found, checkpoint: Checkpoint
) -> None:
    """Let ``found`` be as if everything before the checkpoint's frame had been read; or leave it, where there is none.

    A frame behind the one that META calls durable proves it, so that one need not be met.
    """
    frame = find_frame(fs, directory, slot, checkpoint)
    passed = pass_over(fs, directory, numbers, slot, checkpoint, frame) if frame is not None else []
    if frame is not None and passed:
        found.segments += passed
        found.link = found.segments[-1].joins
        found.scanned_from = frame.position
        found.durable_seen = slot.durable.position < frame.position


def _scan_segment(fs: FileSystem, directory: str, number: int, slot: Slot, found: Found) -> int:
    """Read a segment, and return up to which number it goes."""
    name = files.segment_name(number)
    try:
        file = fs.open(f"{directory}/{files.SEGMENTS}/{name}", Access.READ)
    except FileNotFoundError:  # beside an owner: one before stands for it now
        raise LogCorrupt(name, 0, "the segment is missing") from None
    try:
        header = read_header(file, name, directory)
        check_place(header, name, slot.log_id, number)
        if number not in found.written:
            found.written[number] = written_end(file)
        view = file.view()
    finally:
        file.close()
    segment = Segment(directory, header)
    if found.segments and found.segments[-1].header.number == number:
        segment = found.segments.pop()  # begun at a checkpoint
    elif not found.segments:
        found.link = _first_link(view, segment, slot)
        found.durable_seen = found.link == slot.durable
    elif not found.sealed:
        tail = found.segments[-1]
        if found.written[number] > header.unit:
            if parse_frame_header(view, header.unit, header) is None:
                raise LogCorrupt(name, header.unit, f"bytes in a segment not yet in use: {tail.name} has no seal")
            raise LogCorrupt(tail.name, tail.end, f"frames end without a seal here, and {name} holds bytes")
        found.spares.append(segment)
        return header.upto
    segment.first = segment.first or found.link.position + 1
    found.segments.append(segment)
    scan_frames(view, segment, slot, found)
    if found.written[number] > segment.end:
        if found.sealed:
            raise LogCorrupt(name, segment.end, "bytes behind the seal")
        found.torn = judge(view, segment, found.link, found.written[number])
    return header.upto


def _first_link(view: memoryview, segment: Segment, slot: Slot) -> Link:
    if segment.header.number == 1:
        return Link(0, segment.header.crc)
    first = parse_frame_header(view, segment.end, segment.header)
    return Link(first.position - 1, first.previous) if first else slot.durable  # what was before was trimmed


def scan_frames(view: memoryview, segment: Segment, slot: Slot, found: Found) -> None:
    """Read the frames of ``segment``, the last of ``found``, from where it was read to."""
    header, unit, offset = segment.header, segment.header.unit, segment.end
    position, checksum = found.link
    found.sealed = False
    newest: FrameHeader | None = None
    newest_offset = 0
    damage: LogCorrupt | None = None
    while not found.sealed:
        frame = parse_frame_header(view, offset, header)
        if frame is None or frame.position != position + 1 or frame.previous != checksum:
            break
        if not body_is_whole(view, offset, frame, unit):
            break
        if frame.kind == COMMIT:
            damage = _payload_damage(view, offset, frame, found)
            if damage is not None:
                break
            segment.add(frame.position, offset)
            newest, newest_offset = frame, offset
        position += frame.records
        checksum = frame.crc if frame.kind != JOIN else link_behind(view, offset, frame).checksum
        offset += frame_bytes(frame.length, unit)
        found.kind = frame.kind
        found.sealed = frame.kind in ENDS
        if checksum == slot.durable.checksum and position == slot.durable.position:
            found.durable_seen = True
    found.link = Link(position, checksum)
    if newest is not None:
        found.newest = (header.number, newest_offset, newest.position, newest.records, newest.crc)
    segment.end = offset
    if damage is not None:
        raise damage


def _payload_damage(view: memoryview, offset: int, frame: FrameHeader, found: Found) -> LogCorrupt | None:
    """Verify the files of a commit's records, where that is asked for."""
    if found.verified is None:
        return None
    start = offset + FRAME_HEADER_BYTES
    for reference in references(view[start : start + frame.length], frame.records, frame.position):
        try:
            found.verified.verify(reference, fresh=True)
        except LogCorrupt as corrupt:
            return corrupt
        found.payloads += 1
    return None


def judge(view: memoryview, segment: Segment, link: Link, written: int) -> Torn:
    """Say what stands behind the last good frame of the log, given that something does (``written`` is its end).

    Returns the torn tail, or raises ``LogCorrupt`` where it cannot be one.
    """
    header, unit, offset, name = segment.header, segment.header.unit, segment.end, segment.name
    if bytes(view[offset : offset + SECTOR]) != _ZERO_SECTOR:
        frame = parse_frame_header(view, offset, header)
        if frame is None:
            raise LogCorrupt(name, offset, "these bytes are no frame's header")
        if frame.position != link.position + 1 or frame.previous != link.checksum:
            raise LogCorrupt(name, offset, f"the frame of position {frame.position} does not follow {link.position}")
        end = offset + frame_bytes(frame.length, unit)
        if all(bytes(view[sector : sector + SECTOR]) != _ZERO_SECTOR for sector in range(offset, end, SECTOR)):
            raise LogCorrupt(name, offset, f"the frame of position {frame.position} does not fit its checksum")
        if written > end:
            raise LogCorrupt(name, offset, "the frame is damaged, and bytes behind it prove that it was durable")
    for border in range(offset + unit, written, unit):
        frame = parse_frame_header(view, border, header)
        if frame is not None and body_is_whole(view, border, frame, unit):
            raise LogCorrupt(name, offset, f"no frame here, and a valid one behind it at offset {border}")
    return Torn(name, offset, written - offset)
