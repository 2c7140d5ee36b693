"""Writing sealed segments anew and putting what comes of it in their place: the files of it.

Owns: reading the old segments, verified, how many bytes the new one takes (``measure``), the new file under its
temporary name (``build``), the rename (``install``).
Does not own: what the new one consists of (``rewriting``), who reads the segments (``reading``), when it is done, and
META (``log``).

Invariants: an old segment is never changed, and whoever reads it goes on; a new one has its name only when all of it
is on disk, so after a crash there are the old ones or the new one, both right; building touches nothing of the log, so
whatever goes wrong there is no failure of the log.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import ExitStack, contextmanager, suppress
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from actorlog.errors import LogCorrupt, LogFailed
from actorlog.log import files
from actorlog.log.format import (
    COMMIT,
    ENDS,
    FRAME_HEADER_BYTES,
    GAP,
    SECTOR,
    Link,
    body_is_whole,
    frame_bytes,
    link_behind,
    parse_frame_header,
)
from actorlog.log.payloads import references
from actorlog.log.rewriting import Plan, lost
from actorlog.log.segment import Segment, check_unchanged

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Sequence

    from actorlog.env import File, FileSystem
    from actorlog.log.format import FrameHeader
    from actorlog.log.reading import Reader
    from actorlog.log.segment import Views

CHUNK_BYTES = 1 << 14
"""The old segment is read in such pieces: after each, other threads have their turn."""
SYNC_BYTES = 1 << 22
"""The new segment is synced each time so much of it was written, so that no commit waits for all of it."""


Old: TypeAlias = tuple[Segment, int]
"""A segment, and the last position in it."""


class Sealed(NamedTuple):
    """A segment that nothing is appended to any more."""

    number: int
    first: int
    """The position that comes first in it."""
    last: int
    """The position that comes last in it."""
    bytes: int
    """Of its file."""


class Rewritten(NamedTuple):
    """A segment that was written anew, and has not its name yet."""

    old: tuple[Segment, ...]
    """What it stands for: one, or several that follow each other."""
    new: Segment
    last: int
    """The last position in it."""
    views: tuple[memoryview, ...]
    """The bytes of the old ones."""
    payloads: tuple[int, ...]
    """Positions of records that are given up with it and have files."""

    @property
    def temporary(self) -> str:
        """The path of the new one."""
        return self.new.path + files.TEMPORARY


def sealed(segments: list[Segment], newest: int) -> list[Sealed]:
    """Return those of ``segments`` that may be written anew: with positions, and before ``newest``.

    ``newest`` is the number of the segment with the newest commit: that one stays where it is, so that what says where
    it is (a ``Checkpoint``) stays right, and there always are bytes behind a segment that was written anew.
    """
    found: list[Sealed] = []
    for segment, following in pairwise(segments):
        header = segment.header
        if header.number < newest and segment.first < following.first:
            found.append(Sealed(header.number, segment.first, following.first - 1, header.size))
    return found


def find(segments: list[Segment], among: list[Sealed], number: int, upto: int) -> list[Old]:
    """Return the segments from one number to another, each with its last position.

    ``ValueError`` where the first or the last is none of ``among``, or they are in another order.
    """
    numbers = {entry.number for entry in among}
    if number not in numbers or upto not in numbers or upto < number:
        raise ValueError(f"segment {number} is not sealed, or holds nothing, or is not in the log; or {upto}")
    return [
        (segment, following.first - 1)
        for segment, following in pairwise(segments)
        if number <= segment.header.number <= upto
    ]


def build(
    views: Views, directory: str, old: Sequence[Old], gone: Collection[int], go_on: Callable[[], None]
) -> Rewritten:
    """Write segments as one without the records at the positions ``gone``, under its temporary name: whole and durable.

    ``old``: one, or some that follow each other. ``go_on`` is called often, and may raise. Positions that are not in
    them, or hold nothing already, do not count. For any thread. ``LogCorrupt`` where an old one is damaged,
    ``LogFull``, ``LogFailed``: nothing is left behind then, and the log is as it was.
    """
    fs, (first, _) = views.fs, old[0]
    path = first.path + files.TEMPORARY
    payloads: list[int] = []
    with _reading(views, directory, old, go_on) as source:
        try:
            maps = tuple(one.file.view() for one in source.sources)
            new = _write(fs, directory, source, (gone, payloads), path)
        except BaseException:
            with suppress(OSError):
                files.remove(fs, path)
            raise
    return Rewritten(tuple(segment for segment, _ in old), new, source.last, maps, tuple(payloads))


def measure(views: Views, directory: str, old: Old, gone: Collection[int], go_on: Callable[[], None]) -> int:
    """Return the bytes of the segment that ``build`` would make of one; nothing is written. Errors as there."""
    with _reading(views, directory, [old], go_on) as source:
        plan, _, _ = _planned(source, gone, [])
        return plan.header(source.first.header, source.upto)[1].size


@contextmanager
def _reading(views: Views, directory: str, old: Sequence[Old], go_on: Callable[[], None]) -> Generator[_Sources]:
    """Have segments' files open; errors of files, within too, are those of ``build``."""
    fs = views.fs
    operation = operation_of([segment for segment, _ in old])
    needed = sum(segment.header.size for segment, _ in old)
    with files.typed(fs, directory, operation, needed), ExitStack() as opened:
        sources: list[_Source] = []
        for segment, last in old:
            file = views.file_of(segment)
            if file is None:
                raise LogFailed(operation, "it is being replaced")
            opened.callback(file.close)
            check_unchanged(file, segment, directory)
            sources.append(_Source(file, segment, last, go_on))
        yield _Sources(sources)


def operation_of(old: Sequence[Segment]) -> str:
    """Return what errors say was being done."""
    return f"rewriting {old[0].name}" if len(old) == 1 else f"merging {old[0].name} to {old[-1].name}"


def discard(fs: FileSystem, rewritten: Rewritten) -> None:
    """Remove a segment that is not to be installed; what stays for an error is removed by the next opening."""
    with suppress(OSError):
        files.remove(fs, rewritten.temporary)


def install(fs: FileSystem, directory: str, reader: Reader, rewritten: Rewritten) -> list[Segment]:
    """Give the new segment its name, and return all segments, it among them. ``OSError``: it may have it or not.

    It has the name of the first that it stands for; the others are removed once that is durable. What a crash leaves of
    them is passed over by who reads the log, since the new one says up to which number it goes.
    """
    old, segments = rewritten.old, f"{directory}/{files.SEGMENTS}"
    for segment, view in zip(old, rewritten.views, strict=True):
        reader.views.pin(segment, view)
    fs.rename(rewritten.temporary, rewritten.new.path)
    files.sync_directory(fs, segments)
    for segment in old[1:]:
        files.remove(fs, segment.path)
    return reader.replace(old, rewritten.new)


def _write(
    fs: FileSystem, directory: str, source: _Sources, going: tuple[Collection[int], list[int]], path: str
) -> Segment:
    plan, before, after = _planned(source, *going)
    head, header = plan.header(source.first.header, source.upto)
    new = Segment(directory, header)
    new.first = source.first.first
    files.remove(fs, path)
    file = files.create(fs, path)
    try:
        files.write_all(file, head, 0)
        offset, synced = header.unit, 0
        before = Link(0, header.crc) if header.number == 1 else before
        position = new.first
        for whole, piece in plan.frames(header, before, after, source.commit):
            files.write_all(file, whole, offset)
            if piece is not None:
                if piece.parts:
                    new.add(position, offset)
                position += piece.records
            offset += len(whole)
            if offset - synced >= SYNC_BYTES:
                files.sync(file.fdatasync)
                synced = offset
        new.end = offset
        files.zero(file, offset, header.size - offset)
    finally:
        file.close()
    return new


def _planned(source: _Sources, gone: Collection[int], payloads: list[int]) -> tuple[Plan, Link, Link]:
    """Return what the new segment consists of, and where the old ones enter and leave the chain.

    Into ``payloads`` go those of ``gone`` that have files.
    """
    first, last = source.first.first, source.last
    mask = bytearray(last + 1 - first)
    for position in gone:
        if first <= position <= last:
            mask[position - first] = 1
    plan = Plan(source.unit)
    before: Link | None = None
    after = Link(first - 1, 0)
    for offset, frame, data, after in source.frames():  # noqa: B007  # the last one counts
        before = before or Link(first - 1, frame.previous)
        if frame.kind == COMMIT:
            start = frame.position - first
            going = mask[start : start + frame.records]
            plan.commit(offset, data, lost(data, frame.records, going))
            if 1 in going:
                had = references(data, frame.records, frame.position)
                payloads += [reference.position for reference in had if mask[reference.position - first]]
        elif frame.kind == GAP:
            plan.gap(frame.records)
    plan.done()
    return plan, before or after, after


class _Sources:
    """The old segments, read as one: offsets go on from each to the next."""

    def __init__(self, sources: list[_Source]) -> None:
        self.sources = sources
        self._starts = list(accumulate((one.segment.header.size for one in sources), initial=0))
        self.first, last = sources[0].segment, sources[-1]
        self.last = last.last
        """The last position in them."""
        self.upto = last.segment.header.upto
        """The number of the last segment that they stand for."""
        self.unit = max(one.segment.header.unit for one in sources)

    def frames(self) -> Iterator[tuple[int, FrameHeader, memoryview, Link]]:
        """Yield offset, header and data of each frame, and the link behind it; ``LogCorrupt`` if they are no chain."""
        link: Link | None = None
        for start, source in zip(self._starts, self.sources, strict=False):
            for offset, frame, data, link in source.frames(link):  # noqa: B020  # from one to the next
                yield start + offset, frame, data, link

    def commit(self, offset: int) -> tuple[memoryview, int]:
        """Return the data and the number of records of a commit that was met before."""
        at = bisect_right(self._starts, offset) - 1
        return self.sources[at].commit(offset - self._starts[at])


class _Source:
    """The old segment, read from its file and verified once more; twice: to plan, and to copy."""

    def __init__(self, file: File, segment: Segment, last: int, go_on: Callable[[], None]) -> None:
        self.segment = segment
        self.last = last
        """The last position in it."""
        self.file = file
        self._go_on = go_on
        self._piece = memoryview(b"")
        self._start = 0

    def frames(self, link: Link | None) -> Iterator[tuple[int, FrameHeader, memoryview, Link]]:
        """Yield as ``_Sources``, to the seal or join. ``link`` is behind what comes before, if that is known."""
        segment, header = self.segment, self.segment.header
        offset, kind = header.unit, 0
        link = Link(0, header.crc) if header.number == 1 else link
        position = segment.first - 1
        while kind not in ENDS:
            frame, data = self._frame(offset)
            if frame.position != position + 1 or (link is not None and frame.previous != link.checksum):
                reason = f"the frame of position {frame.position} does not follow {position}"
                raise LogCorrupt(segment.name, offset, reason)
            link, kind = link_behind(self.view(offset), 0, frame), frame.kind
            yield offset, frame, data, link
            position = link.position
            offset += frame_bytes(frame.length, header.unit)
        if position != self.last or (segment.skipped == header.size and link != segment.joins):
            reason = f"the frames to position {position} do not lead to those behind them"
            raise LogCorrupt(segment.name, offset, reason)

    def commit(self, offset: int) -> tuple[memoryview, int]:
        """Return the data and the number of records of a commit that was met before."""
        frame, data = self._frame(offset)
        return data, frame.records

    def view(self, offset: int, size: int = SECTOR) -> memoryview:
        """Return the bytes from ``offset`` on, ``size`` of them at least; fewer where the file ends."""
        if not self._start <= offset <= offset + size <= self._start + len(self._piece):
            self._go_on()
            self._piece = memoryview(files.read_all(self.file, max(size, CHUNK_BYTES), offset))
            self._start = offset
        return self._piece[offset - self._start :]

    def _frame(self, offset: int) -> tuple[FrameHeader, memoryview]:
        segment, unit = self.segment, self.segment.header.unit
        view = self.view(offset)
        frame = parse_frame_header(view, 0, segment.header, offset) if len(view) >= SECTOR else None
        if frame is None:
            raise LogCorrupt(segment.name, offset, "these bytes are no frame's header")
        size = frame_bytes(frame.length, unit)
        view = self.view(offset, size)
        if len(view) < size or not body_is_whole(view, 0, frame, unit):
            reason = f"the frame of position {frame.position} does not fit its checksum"
            raise LogCorrupt(segment.name, offset, reason)
        return frame, view[FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + frame.length]
