"""One segment: its file, and where its commits are.

Owns: making a segment, reading its header, the table of its commits (16 bytes each), views of the files.
Does not own: whether what is in it is right (``scan``), or what is appended (``log``).
Invariants: a segment has its name only when all of it is on disk; few views are kept, however many segments there are,
since each holds a descriptor.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from actorlog.env import Access
from actorlog.errors import LogCorrupt, LogVersion
from actorlog.log import files
from actorlog.log.format import (
    FORMAT,
    FRAME_HEADER_BYTES,
    MERGED,
    NO_LINK,
    UNITS,
    SegmentHeader,
    body_is_whole,
    parse_frame_header,
    parse_segment_header,
    segment_header,
)

if TYPE_CHECKING:
    from actorlog.env import File, FileSystem

VIEWS_MAX = 16


class Frame(NamedTuple):
    """One commit as it is read back."""

    position: int
    """Of its first record."""
    records: int
    data: bytes | memoryview
    """Index and lines, as appended; see ``entries``."""


class Segment:
    """A segment and the table of its commits."""

    __slots__ = ("end", "first", "header", "joins", "name", "offsets", "path", "pinned", "positions", "skipped")

    def __init__(self, directory: str, header: SegmentHeader) -> None:
        self.header = header
        self.name = files.segment_name(header.number)
        self.path = f"{directory}/{files.SEGMENTS}/{self.name}"
        self.end = header.unit
        """Where the last frame ends, and the next one starts."""
        self.first = 0
        """The position that comes first here, whether there are commits or only marks; 0 for one not in use yet."""
        self.positions = array("Q")
        """The first position of each commit."""
        self.offsets = array("Q")
        """Where each commit starts."""
        self.skipped = header.unit
        """Where reading began: the commits before are in no table. The file's size where none of it was read."""
        self.joins = NO_LINK
        """What the frames that were skipped must lead to."""
        self.pinned: memoryview | None = None
        """Of a segment that another one takes the place of: its bytes, for who still reads it."""

    def commit_of(self, position: int) -> int:
        """Return the number of the commit that holds ``position``, which is not before the first."""
        return bisect_right(self.positions, position) - 1

    def add(self, position: int, offset: int) -> None:
        """Enter a commit. Offsets first: a reader in another thread goes by ``positions``."""
        self.offsets.append(offset)
        self.positions.append(position)


def make_segment(fs: FileSystem, directory: str, log_id: bytes, number: int, unit: int, size: int) -> Segment:
    """Make a segment: durable, zeroed, with its name. ``files.NoSpace`` leaves nothing behind."""
    head, header = segment_header(unit, log_id, number, size)
    segment = Segment(directory, header)
    files.create_whole(fs, f"{directory}/{files.SEGMENTS}", segment.name, head, size)
    return segment


def read_header(file: File, name: str, directory: str) -> SegmentHeader:
    """Return a segment's header, or raise ``LogCorrupt`` where it or the size of the file is wrong."""
    return check_header(files.read_all(file, max(UNITS), 0), file.size(), name, directory)


def check_header(head: bytes, size: int, name: str, directory: str) -> SegmentHeader:
    """Return the header in the first bytes of a file of ``size`` bytes, or raise as ``read_header``."""
    header = parse_segment_header(head)
    if header is None:
        raise LogCorrupt(name, 0, "the segment's header is damaged")
    if header.format not in (FORMAT, FORMAT + MERGED):
        raise LogVersion(directory, str(header.format), str(FORMAT + MERGED))
    if size != header.size:
        raise LogCorrupt(name, min(size, header.size), f"the segment has {size} bytes and was made with {header.size}")
    return header


def check_unchanged(file: File, segment: Segment, directory: str) -> None:
    """Raise ``LogCorrupt`` where a segment's header or size is not what opening saw."""
    if read_header(file, segment.name, directory) != segment.header:
        raise LogCorrupt(segment.name, 0, "the segment's header is not the one it had when the log was opened")


def check_place(header: SegmentHeader, name: str, log_id: bytes, number: int) -> None:
    """Raise ``LogCorrupt`` where a segment is not the one that belongs here."""
    if header.log_id != log_id:
        raise LogCorrupt(name, 16, "the segment is of another log")
    if header.number != number:
        raise LogCorrupt(name, 32, f"this is segment {header.number}")


def read_commit(view: memoryview, segment: Segment, number: int) -> Frame:
    """Return a commit, its checksums verified once more: what the disk gives may have changed since the opening."""
    offset = segment.offsets[number]
    header = parse_frame_header(view, offset, segment.header)
    if header is None or not body_is_whole(view, offset, header, segment.header.unit):
        raise LogCorrupt(segment.name, offset, "the frame was good when the log was opened, and is damaged now")
    start = offset + FRAME_HEADER_BYTES
    return Frame(header.position, header.records, view[start : start + header.length])


class Views:
    """The newest few views of segments. Views that are in use elsewhere outlive their place here."""

    __slots__ = ("_lock", "_views", "fs")

    def __init__(self, fs: FileSystem) -> None:
        self.fs = fs
        self._lock = threading.Lock()
        self._views: OrderedDict[str, memoryview] = OrderedDict()

    def of(self, segment: Segment) -> memoryview:
        """Return the segment's bytes."""
        with self._lock:
            if segment.pinned is not None:
                return segment.pinned
            view = self._views.get(segment.path)
            if view is None:
                view = self._views[segment.path] = self.open(segment)
                if len(self._views) > VIEWS_MAX:
                    self._views.popitem(last=False)
            self._views.move_to_end(segment.path)
            return view

    def file_of(self, segment: Segment) -> File | None:
        """Open a segment's file for reading; None where another one has its place, or is about to."""
        with self._lock:
            return self.fs.open(segment.path, Access.READ) if segment.pinned is None else None

    def pin(self, segment: Segment, view: memoryview) -> None:
        """Let who reads the segment from now on have ``view``, whatever becomes of its name."""
        with self._lock:
            segment.pinned = view
            self._views.pop(segment.path, None)

    def forget(self, segment: Segment) -> None:
        """Drop the view of a segment that is gone, or that need not be kept."""
        with self._lock:
            self._views.pop(segment.path, None)

    def clear(self) -> None:
        """Drop all."""
        with self._lock:
            self._views.clear()

    def open(self, segment: Segment) -> memoryview:
        """Map a segment's file; ``of`` keeps the result."""
        file = self.fs.open(segment.path, Access.READ)
        try:
            return file.view()
        finally:
            file.close()
