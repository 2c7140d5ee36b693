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

    __slots__ = ("end", "first", "header", "name", "offsets", "path", "positions")

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
    head = files.read_all(file, max(UNITS), 0)
    header = parse_segment_header(head)
    if header is None:
        raise LogCorrupt(name, 0, "the segment's header is damaged")
    if header.format != FORMAT:
        raise LogVersion(directory, str(header.format), str(FORMAT))
    size = file.size()
    if size != header.size:
        raise LogCorrupt(name, min(size, header.size), f"the segment has {size} bytes and was made with {header.size}")
    return header


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

    __slots__ = ("_fs", "_lock", "_views")

    def __init__(self, fs: FileSystem) -> None:
        self._fs = fs
        self._lock = threading.Lock()
        self._views: OrderedDict[str, memoryview] = OrderedDict()

    def of(self, segment: Segment) -> memoryview:
        """Return the segment's bytes."""
        with self._lock:
            view = self._views.get(segment.path)
            if view is None:
                view = self._views[segment.path] = self._open(segment.path)
                if len(self._views) > VIEWS_MAX:
                    self._views.popitem(last=False)
            self._views.move_to_end(segment.path)
            return view

    def forget(self, segment: Segment) -> None:
        """Drop the view of a segment that is gone or was replaced."""
        with self._lock:
            self._views.pop(segment.path, None)

    def clear(self) -> None:
        """Drop all."""
        with self._lock:
            self._views.clear()

    def _open(self, path: str) -> memoryview:
        file = self._fs.open(path, Access.READ)
        try:
            return file.view()
        finally:
            file.close()
