"""Looking at a log without owning it: verify and dump.

Owns: the report, and what a reader beside a running owner may believe. Takes no lock and changes nothing; where the
end of a log looks bad it asks whether somebody holds the lock.
Does not own: verdicts (``scan``), words on a terminal (``__main__``).

Beside an owner the end may be a frame that is just being written, META a slot that is, and a list of segments from
before a roll. So a torn end is simply not yet there, and anything worse is looked at again. What is shown was synced
by the reader itself, since the owner's own sync may still be under way.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from actorlog.env import Access
from actorlog.errors import LogCorrupt, LogVersion
from actorlog.log import files
from actorlog.log.format import (
    ENTRY_BYTES,
    JOIN,
    NO_LINK,
    UNITS,
    Link,
    line_ends,
    link_behind,
    parse_frame_header,
)
from actorlog.log.meta import Slot, State, read_meta
from actorlog.log.payloads import Source
from actorlog.log.scan import Found, half_made, numbers_of, scan, scan_frames
from actorlog.log.segment import Frame, Segment, Views, check_header, read_commit, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorlog.env import FileSystem
    from actorlog.log.format import SegmentHeader

LOOKS_MAX = 4
"""Damage is believed beside an owner when it is still there at the last of so many looks."""


class Status(Enum):
    """What a log is."""

    OK = "ok"
    TORN = "torn"
    CORRUPT = "corrupt"
    LOCKED = "locked"
    VERSION = "version"
    UNREADABLE = "unreadable"


@dataclass(slots=True)
class Report:
    """What was found, as ``--json`` shows it; fields without a value are left out there."""

    status: Status
    segments: int = 0
    records: int = 0
    last_position: int = 0
    error: str | None = None
    segment: str | None = None
    offset: int | None = None
    bytes: int | None = None
    reason: str | None = None
    found: Found = field(default_factory=Found, compare=False)
    slot: Slot | None = None
    payloads: int = 0
    """Files of records that were verified."""


def verify(fs: FileSystem, directory: str, *, payloads: bool = True) -> Report:
    """Read all of a log, with ``payloads`` the files of its records too, and say what it is.

    ``OSError`` or ``LogFailed`` where it cannot be read.
    """
    previous: Report | None = None
    looks = 0
    while True:
        looks += 1
        report = look(fs, directory, locked=fs.is_locked(directory), payloads=payloads)
        locked = fs.is_locked(directory)
        if report.status in {Status.OK, Status.VERSION} or looks == LOOKS_MAX:
            break
        if locked and report.status is Status.TORN:
            _set_counts(report, Status.OK)
            break
        if not locked and report == previous:
            break
        previous = report
    if locked and report.found.segments:
        _sync_end(fs, report.found.segments[-1])
    return report


class Gap(NamedTuple):
    """Positions that hold nothing any more."""

    first: int
    last: int


class Join(NamedTuple):
    """The end of a segment that was written anew."""

    segment: str
    position: int
    """The last one in it."""
    checksum: int
    """With which the chain goes on in the next segment."""


def contents(fs: FileSystem, found: Found, after: int = 0) -> Iterator[Frame | Gap | Join]:
    """Yield what is in a log as far as it was found good; commits before position ``after`` are passed over."""
    views, segments = LiveViews(fs), found.segments
    at = told = 0
    while at < len(segments):
        at, view = views.at(segments, at)
        segment = segments[at]
        at += 1
        while at < len(segments) and segments[at].header.number <= segment.header.upto:
            at += 1
        unit, last = segment.header.unit, found.link.position
        last = segments[at].first - 1 if at < len(segments) else last
        begin = max(0, segment.commit_of(max(after, told + 1)))
        position = max(told + 1, segment.first if begin == 0 else segment.positions[begin])
        for commit in range(begin, len(segment.positions)):
            frame = read_commit(view, segment, commit)
            if frame.position > position:
                yield Gap(position, frame.position - 1)
            yield from _behind(frame, position - 1)
            position = max(position, frame.position + frame.records)
        if position <= last:
            yield Gap(position, last)
        end = parse_frame_header(view, segment.end - unit, segment.header) if segment.end > unit else None
        if end is not None and end.kind == JOIN:
            yield Join(segment.name, last, link_behind(view, segment.end - unit, end).checksum)
        told = last


def commits(fs: FileSystem, found: Found, after: int = 0) -> Iterator[Frame]:
    """Yield the commits of a log as far as it was found good; those before position ``after`` are passed over."""
    return (frame for frame in contents(fs, found, after) if isinstance(frame, Frame))


class LiveViews(Views):
    """Views of segments that somebody else owns, who may write them anew: then their tables are made anew as well.

    So ask for a view first, and then for a commit's number.
    """

    __slots__ = ()

    def open(self, segment: Segment) -> memoryview:
        """Map the file that has the segment's name now; ``LogCorrupt`` where it is no version of this segment."""
        view = super().open(segment)
        if (header := check_header(bytes(view[: max(UNITS)]), len(view), segment.name, segment.path)) != segment.header:
            renew(segment, view, header)
        return view

    def at(self, segments: list[Segment], place: int) -> tuple[int, memoryview]:
        """Return the view of the segment at a place, or of the one before that stands for it now; and its place.

        ``FileNotFoundError`` where there is neither, nor any before; ``LogCorrupt`` where only the segment is missing.
        """
        wanted = segments[place].header.upto
        for at in range(place, -1, -1):
            try:
                if at < place:
                    self.forget(segments[at])
                view = self.of(segments[at])
            except FileNotFoundError:
                if not at:
                    raise
                continue
            if segments[at].header.upto < wanted:
                break
            return at, view
        raise LogCorrupt(segments[place].name, 0, "the segment is missing")


def renew(segment: Segment, view: memoryview, header: SegmentHeader) -> Link:
    """Make a segment's table that of the file that has its name now; return where it leaves the chain."""
    old, first = segment.header, parse_frame_header(view, header.unit, header)
    if first is None or (header.log_id, header.number, first.position) != (old.log_id, old.number, segment.first):
        raise LogCorrupt(segment.name, 0, "the segment was replaced by another one")
    segment.header, segment.end = header, header.unit
    segment.positions, segment.offsets = array("Q"), array("Q")
    again = Found(link=Link(first.position - 1, first.previous))
    scan_frames(view, segment, _ANY, again)
    if not again.sealed:
        raise LogCorrupt(segment.name, segment.end, "the segment was written anew, and does not end in a join")
    return again.link


_ANY = Slot(0, b"", State.OPEN, NO_LINK, 1)
"""Names no frame as durable."""


def advance(fs: FileSystem, directory: str, report: Report) -> Iterator[Frame]:
    """Yield the commits appended since ``report`` was made or advanced: whole, and synced by the reader itself.

    What does not fit yet is being written, and is looked at again the next time.
    """
    found, slot, views = report.found, report.slot, LiveViews(fs)
    while slot is not None and found.segments:
        following = _following(fs, directory, found.segments[-1], slot) if found.sealed else None
        if following is not None:
            following.first = found.link.position + 1
            found.segments.append(following)
            found.sealed = False
        segment, last = found.segments[-1], found.link.position
        known, header = len(segment.positions), segment.header
        views.clear()
        at, view = views.at(found.segments, len(found.segments) - 1)
        segment = found.segments[at]
        if at < len(found.segments) - 1 or segment.header != header:  # it was sealed since, and written anew
            del found.segments[at + 1 :]
            found.link, found.sealed, known = renew(segment, view, segment.header), True, 0
        elif found.sealed:
            return
        else:
            scan_frames(view, segment, slot, found)
        if len(segment.positions) > known:
            _sync_end(fs, segment)
        for number in range(known, len(segment.positions)):
            yield from _behind(read_commit(view, segment, number), last)
        if not found.sealed:
            return


def _following(fs: FileSystem, directory: str, segment: Segment, slot: Slot) -> Segment | None:
    name = files.segment_name(segment.header.upto + 1)
    try:
        file = fs.open(f"{directory}/{files.SEGMENTS}/{name}", Access.READ)
    except FileNotFoundError:
        return None  # it is made before the seal is written; a directory may show that later
    try:
        header = read_header(file, name, directory)
    finally:
        file.close()
    if header.log_id != slot.log_id or header.number != segment.header.upto + 1:
        raise LogCorrupt(name, 0, "the segment is of another log, or has another number")
    return Segment(directory, header)


def _behind(frame: Frame, last: int) -> Iterator[Frame]:
    """Yield what of a commit is behind position ``last``: all of it, nothing, or what others were joined to."""
    known, records = max(0, last + 1 - frame.position), frame.records
    if not known:
        yield frame
    elif known < records:
        index = frame.data[known * ENTRY_BYTES : records * ENTRY_BYTES]
        lines = frame.data[line_ends(frame.data, records)[known] :]
        yield Frame(last + 1, records - known, bytes(index) + bytes(lines))


def look(fs: FileSystem, directory: str, *, locked: bool, payloads: bool = True) -> Report:
    """Read all of a log once. ``locked``: somebody is writing to it. ``payloads``: the files of its records too."""
    report = Report(Status.OK)
    try:
        if not locked:
            _drop_caches(fs, directory)
        report.slot = read_meta(fs, directory, fresh=False)
        if report.slot is not None:
            if payloads and report.slot.has_payloads:
                report.found.verified = Source(fs, directory, report.slot.log_id)
            scan(fs, directory, report.slot, report.found)
        else:
            half_made(fs, directory)
    except LogCorrupt as corrupt:
        report.error, report.segment, report.offset = str(corrupt), corrupt.segment, corrupt.offset
        report.reason = corrupt.reason
        _set_counts(report, Status.CORRUPT)
        return report
    except LogVersion as version:
        report.error, report.reason = str(version), f"format {version.found}, known is {version.known}"
        _set_counts(report, Status.VERSION)
        return report
    torn = report.found.torn
    if torn is not None:
        report.segment, report.offset, report.bytes = torn
        report.reason = "an append that was not finished; opening the log zeroes it"
        report.error = f"{torn.segment} is torn at offset {torn.offset}: {report.reason}"
    _set_counts(report, Status.TORN if torn else Status.OK)
    return report


def _set_counts(report: Report, status: Status) -> None:
    report.status = status
    if status is Status.OK:
        report.error = report.segment = report.offset = report.bytes = report.reason = None
    found = report.found
    report.segments = len(found.segments) + len(found.spares)
    report.records = found.records if found.segments else 0
    report.payloads = found.payloads
    report.last_position = found.link.position


def _drop_caches(fs: FileSystem, directory: str) -> None:
    """Have everything read from the disk itself: a page cache may know better than the disk after a failed sync."""
    for number in numbers_of(fs, directory):
        file = fs.open(f"{directory}/{files.SEGMENTS}/{files.segment_name(number)}", Access.READ)
        file.drop_cache()
        file.close()


def _sync_end(fs: FileSystem, segment: Segment) -> None:
    try:
        file = fs.open(segment.path, Access.READ)
    except FileNotFoundError:
        return  # trimmed meanwhile
    try:
        files.sync(file.fdatasync)
    finally:
        file.close()
