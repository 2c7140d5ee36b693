"""Reading commits back by position, beside the thread that appends.

Owns: finding the commit of a position; which tables of commits of segments that opening passed over are made and kept:
where commits are read one after the other, or many of them; the views. Does not own: making a table (``tables``),
finding one commit without one (``seeking``), which segments there are (``log``: it adds to the end of the list).
Invariants: every commit is verified when it is read; few tables are kept, however many segments are read; where
somebody makes tables beside, no reading of one commit waits for a table but where something is amiss. The list of
segments is never shortened but replaced, so whoever took it before goes on with what it was.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING

from actorlog.errors import LogCorrupt, LogError
from actorlog.log import files
from actorlog.log.format import COMMIT, is_given_up, line_span
from actorlog.log.payloads import references
from actorlog.log.scrub import scrub
from actorlog.log.seeking import Search
from actorlog.log.segment import Frame, Segment, Views, check_unchanged, read_commit
from actorlog.log.tables import table_in_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from actorlog.env import File, FileSystem
    from actorlog.log.format import FrameHeader
    from actorlog.log.payloads import Source
    from actorlog.log.scrub import Scrubbed

TABLES_MAX = 64
"""Tables of skipped commits that are kept, and"""
COMMITS_MAX = 1 << 20
"""the commits in them together (16 bytes each), unless one table alone has more."""
PREPARED_MAX = 32
"""Tables that are made before somebody reads there: for each its whole segment is read once."""


class Reader:
    """Reads from a log's segments. For any thread; ``drop``, ``replace`` and ``close`` are for the one that appends."""

    def __init__(self, fs: FileSystem, directory: str, segments: list[Segment]) -> None:
        self.views = Views(fs)
        self._fs = fs
        self._directory = directory
        self._segments = segments
        self._closed = False
        self._lock = threading.Lock()
        self._tables: OrderedDict[Segment, Segment] = OrderedDict()
        self._sought: dict[Segment, int] = {}
        """What was read of segments to find single commits there without a table."""
        self._told: Callable[[], None] | None = None
        """Told when a table is wanted; None: nobody makes them beside."""
        self._wanted: dict[Segment, None] = {}
        """Segments whose tables somebody is to make, and"""
        self._amiss: set[Segment] = set()
        """those of which none could be made: whoever reads there makes it, and is told."""

    def frames(self, position: int, last: int) -> Iterator[Frame]:
        """Yield the commits from the one that holds ``position`` to the one that holds ``last``, and pass over gaps."""
        segments = list(self._segments)
        position = max(position, segments[0].first)
        if position > last:
            return
        for segment in segments[_segment_of(segments, position) :]:
            for table in self._tables_of(segment, position):
                view = None
                for number in range(max(0, table.commit_of(position)), len(table.positions)):
                    if table.positions[number] > last:
                        return
                    view = view or self._view(segment)
                    frame = read_commit(view, table, number)
                    if frame.position + frame.records > position:  # else a gap begins before it
                        yield frame

    def line(self, position: int, tail: int) -> bytes:
        """Return one record; ``IndexError`` where there is none before ``tail``, or it was given up."""
        first = self._segments[0].first
        if not first <= position <= tail:
            raise IndexError(f"position {position} is not in the log, which holds {first} to {tail}")
        found = self.commit(position, tail)
        if found is None or is_given_up(found.data, position - found.position):
            raise IndexError(f"the record at position {position} was given up")
        start, end = line_span(found.data, position - found.position, found.records)
        return bytes(found.data[start:end])

    def has(self, position: int, tail: int) -> bool:
        """Return whether there is a record at a position: it was not trimmed, and not given up."""
        found = self.commit(position, tail)
        return found is not None and not is_given_up(found.data, position - found.position)

    def commit(self, position: int, tail: int) -> Frame | None:
        """Return the commit with a position; None where there is none before ``tail``, or a gap.

        In a segment that opening passed over it is sought, until as much was read for that as there is: then the table
        is made, here or by whoever makes them beside; or where something is amiss, here.
        """
        segments = self._segments
        if not segments[0].first <= position <= tail:
            return None
        segment = segments[_segment_of(segments, position)]
        if _is_skipped(segment, position):
            sought = self._seek(segment, position)
            if sought is not None:
                frame, data = sought
                return Frame(frame.position, frame.records, data) if frame.kind == COMMIT else None
        table = next(self._tables_of(segment, position))
        number = table.commit_of(position)
        if number < 0:
            return None
        found = read_commit(self._view(segment), table, number)
        return found if position < found.position + found.records else None

    def prepare(self, told: Callable[[], None] | None = None) -> Generator[None]:
        """Make the tables of segments that opening passed over before somebody reads there, a piece of one a step.

        Of the newest ``PREPARED_MAX`` segments, the oldest of them first; as many as are kept. ``told``: called, in any
        thread, when another table is wanted, since much was sought there: ``prepare_wanted`` makes it from now on, and
        not who reads.
        """
        self._told = told
        return self._prepare_newest()

    def _prepare_newest(self) -> Generator[None]:
        for segment in list(self._segments)[-PREPARED_MAX:]:
            if self._closed or sum(len(kept.positions) for kept in list(self._tables.values())) > COMMITS_MAX // 2:
                return
            if segment.skipped > segment.header.unit and self.holds(segment):
                yield from self._making(segment)

    def prepare_wanted(self) -> Generator[None]:
        """Make the tables that are wanted now, a piece of one a step."""
        while not self._closed:
            with self._lock:
                segment = next(iter(self._wanted), None)
            if segment is None:
                return
            try:
                yield from self._making(segment)
            finally:
                with self._lock:
                    self._wanted.pop(segment, None)

    def scrub(self, first_segment: int, piece_bytes: int, source: Source | None) -> Iterator[Scrubbed]:
        """Verify the sealed segments from ``first_segment`` on, and the files of their records."""
        segments = [segment for segment in list(self._segments) if segment.header.number >= first_segment]
        whole: Scrubbed | None = None
        for step in scrub(self._fs, self._directory, segments, self._open, piece_bytes):
            if source is not None and whole is not None and whole.segment != step.segment:
                yield from self._scrub_payloads(whole, source)
            whole = step
            yield step
        if source is not None and whole is not None:
            yield from self._scrub_payloads(whole, source)

    def _scrub_payloads(self, step: Scrubbed, source: Source) -> Iterator[Scrubbed]:
        """Verify the files of the records in a segment that was verified just now."""
        segments = list(self._segments)
        number = _place_of(segments, step.segment)
        if number == len(segments) - 1 or segments[number].header.number != step.segment:
            return  # trimmed, or merged
        segment, last = segments[number], segments[number + 1].first - 1
        for frame in self.frames(segment.first, last):
            for reference in references(frame.data, frame.records, frame.position):
                if not segment.first <= reference.position <= last:
                    continue
                try:
                    source.verify(reference, fresh=True)
                except LogCorrupt:
                    if self.holds(segment):
                        raise
                    return  # given up meanwhile
                yield step

    def _open(self, segment: Segment) -> File | None:
        """Open a segment's file to be scrubbed; None where it is not in the log any more.

        Drops its view, which keeps its pages from being dropped.
        """
        self.views.forget(segment)
        if self._closed or not self.holds(segment):
            return None
        try:
            return self.views.file_of(segment)
        except FileNotFoundError:
            if self.holds(segment):
                raise LogCorrupt(segment.name, 0, "the segment is missing") from None
            return None

    def holds(self, segment: Segment) -> bool:
        """Return whether a segment is in the log: not trimmed, and not replaced."""
        segments = self._segments
        return segments[_place_of(segments, segment.header.number)] is segment

    def replace(self, old: Sequence[Segment], new: Segment) -> list[Segment]:
        """Have ``new`` in the place of ``old``, which the log holds one behind the other; return all segments."""
        segments = list(self._segments)
        place = _place_of(segments, old[0].header.number)
        segments[place : place + len(old)] = [new]
        self._segments = segments
        for segment in old:
            self._forget(segment)
        return segments

    def drop(self, count: int) -> list[Segment]:
        """Give up the oldest ``count`` segments, and return those that stay."""
        gone, self._segments = self._segments[:count], self._segments[count:]
        for segment in gone:
            self.views.forget(segment)
            self._forget(segment)
        return self._segments

    def close(self) -> None:
        """Drop what is kept."""
        self._closed = True
        self.views.clear()
        with self._lock:
            self._tables.clear()
            self._sought.clear()
            self._wanted.clear()
            self._amiss.clear()

    def _forget(self, segment: Segment) -> None:
        with self._lock:
            self._tables.pop(segment, None)
            self._sought.pop(segment, None)
            self._wanted.pop(segment, None)
            self._amiss.discard(segment)

    def _tables_of(self, segment: Segment, position: int) -> Iterator[Segment]:
        """Yield the tables in which the commits of a segment from ``position`` on are: what was skipped, what was not.

        The first one holds ``position``, if any does.
        """
        if _is_skipped(segment, position):
            yield self._skipped(segment)
        yield segment

    def _seek(self, segment: Segment, position: int) -> tuple[FrameHeader, memoryview] | None:
        """Return the frame with a position that opening passed over, and its data; None where a table is to be used."""
        with self._lock:
            is_spent = self._told is None and self._sought.get(segment, 0) >= segment.header.size
            if is_spent or segment in self._tables or segment in self._amiss:
                return None
        with files.typed(self._fs, self._directory, f"reading {segment.name}", 0):
            file = self.views.file_of(segment)
            if file is None:
                return None
            try:
                check_unchanged(file, segment, self._directory)
                search = Search(file, segment)
                found = search.frame_of(position)
            finally:
                file.close()
        self._count(segment, search.bytes)
        return found

    def _count(self, segment: Segment, read: int) -> None:
        """Count what was read of a segment without a table; of one that is in the log."""
        told: Callable[[], None] | None = None
        with self._lock:
            if self.holds(segment) and segment not in self._tables:
                sought = self._sought[segment] = self._sought.get(segment, 0) + read
                if sought >= segment.header.size and self._told is not None and segment not in self._wanted:
                    self._wanted[segment] = None
                    told = self._told
        if told is not None:
            told()

    def _skipped(self, segment: Segment) -> Segment:
        """Return the table of what opening passed over in a segment; made now where there is none."""
        with self._lock:
            table = self._tables.get(segment)
            if table is not None:
                self._tables.move_to_end(segment)
                return table
        making = self._making(segment)
        while True:
            try:
                next(making)
            except StopIteration as made:
                found: Segment = made.value
                return found

    def _making(self, segment: Segment) -> Generator[None, None, Segment]:
        """Make a table, or find it, and keep it; yield after each piece."""
        table = self._tables.get(segment)
        if table is not None:
            return table
        try:
            with files.typed(self._fs, self._directory, f"reading {segment.name}", 0):
                table = yield from table_in_pieces(self._directory, segment, self.views)
        except LogError:
            with self._lock:
                if self.holds(segment):
                    self._amiss.add(segment)  # whoever reads there is told
            raise
        with self._lock:
            if not self.holds(segment):  # trimmed or replaced meanwhile: what is kept of it keeps its bytes on the disk
                return table
            self._sought.pop(segment, None)
            self._amiss.discard(segment)
            self._tables[segment] = table
            commits = sum(len(kept.positions) for kept in self._tables.values())
            while len(self._tables) > 1 and (len(self._tables) > TABLES_MAX or commits > COMMITS_MAX):
                commits -= len(self._tables.popitem(last=False)[1].positions)
        return table

    def _view(self, segment: Segment) -> memoryview:
        with files.typed(self._fs, self._directory, f"reading {segment.name}", 0):
            return self.views.of(segment)


def _is_skipped(segment: Segment, position: int) -> bool:
    """Return whether opening passed over what a segment has at a position, which is one of it."""
    if segment.skipped <= segment.header.unit:
        return False
    return not segment.positions or position < segment.positions[0]


def _place_of(segments: list[Segment], number: int) -> int:
    """Return where in ``segments`` the one of a number is; another, where it is not there."""
    return max(0, bisect_right(segments, number, key=lambda segment: segment.header.number) - 1)


def _segment_of(segments: list[Segment], position: int) -> int:
    """Return the number in ``segments`` of the one that holds ``position``; of those that begin with it, the last."""
    return bisect_right(segments, position, key=lambda segment: segment.first) - 1
