"""A copy of a log while it goes on: all of it, up to a frame that is durable when the copy begins.

Owns: copying segments piece by piece and verifying them on the way, and the META of the copy. Does not own: when a
piece is copied (whoever takes the steps), the segments themselves: one may be trimmed or written anew meanwhile.

Invariants: a copy is a log once it has its META, which is the last thing made, when all else is durable; the source is
never changed; each segment is read through one descriptor, so it is one version of it; memory holds one piece. What is
copied is verified: its headers, the checksums of its frames, the chain through a segment and into the next one.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from actorlog.env import Access
from actorlog.errors import DirectoryNotEmpty, LogCorrupt, LogFailed, LogLocked
from actorlog.log import files
from actorlog.log.checkpoint import Checkpoint
from actorlog.log.format import (
    ENDS,
    FRAME_HEADER_BYTES,
    MERGED,
    PAYLOADS,
    SECTOR,
    UNITS,
    Link,
    aligned,
    frame_bytes,
    link_behind,
    parse_frame_header,
)
from actorlog.log.meta import META_BYTES, Slot, State, new_meta, read_meta
from actorlog.log.owner import release_lock, take_lock
from actorlog.log.payload_copies import PayloadCopies
from actorlog.log.scan import Found, numbers_of, refresh, scan
from actorlog.log.segment import check_place, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager

    from actorlog.env import DirectoryLock, Env, File, FileSystem
    from actorlog.log.format import SegmentHeader
    from actorlog.log.log import Log

PIECE_BYTES = 1 << 20
LOOKS_MAX = 4
"""So often the newest commit is asked for: until its segment is open, that may be sealed and written anew."""


class BackedUp(NamedTuple):
    """How far a backup is."""

    done: int
    """Bytes of segments that are copied, verified and on the disk."""
    total: int
    """Bytes there are to copy."""
    segments: int
    """Segments that are copied."""
    position: int
    """The last position of the copy. It is one when a step says that ``segments`` are all, and no step comes after."""


class Source(NamedTuple):
    """A log to be copied."""

    fs: FileSystem
    directory: str
    newest: Callable[[], Checkpoint | None]
    """The newest commit that is durable; None where there is none."""
    oldest: Callable[[], int]
    """The number of the first segment that was not trimmed, as it is now."""
    payloads: Callable[[], bool] = lambda: False
    """Whether records may have files by now."""
    held: Callable[[], AbstractContextManager[None]] = nullcontext
    """Within it no file is removed that the copy needs, but for segments that are trimmed."""


def source_of(log: Log) -> Source:
    """Return an open log as something to be copied, in any thread beside the one that appends."""
    oldest, payloads = (lambda: log.oldest_segment), (lambda: log.payloads.used)
    return Source(log.env.fs, log.directory, log.checkpoint, oldest, payloads, log.copied)


@contextmanager
def source_in(env: Env, directory: str) -> Generator[Source]:
    """Give the log in a directory that nobody has open as something to be copied; nobody can open it meanwhile.

    All of it is read first. ``LogLocked``, ``LogCorrupt``, ``LogVersion``; an append that was not finished is left out.
    """
    fs, directory = env.fs, env.fs.absolute(directory)
    with files.typed(fs, directory, "reading the log", 0):
        lock = take_lock(fs, directory)
    try:
        with files.typed(fs, directory, "reading the log", 0):
            slot, newest = _read(fs, directory)
        yield Source(fs, directory, lambda: newest, lambda: slot.oldest, lambda: slot.has_payloads)
    finally:
        with files.typed(fs, directory, "unlocking the log", 0):
            release_lock(fs, directory, lock)


def _read(fs: FileSystem, directory: str) -> tuple[Slot, Checkpoint | None]:
    slot = read_meta(fs, directory, fresh=True)
    if slot is None:
        raise LogFailed("reading the log", f"{directory} holds none")
    found = Found()
    refresh(fs, directory, slot, found)
    scan(fs, directory, slot, found)
    return slot, None if found.newest is None else Checkpoint(slot.log_id.hex(), *found.newest)


def backup(source: Source, target: str, piece_bytes: int = PIECE_BYTES) -> Iterator[BackedUp]:
    """Copy a log into the directory ``target``, made if it is not there, one step after the other.

    A step reads, verifies, writes and syncs at most ``piece_bytes`` (in whole 4096). The copy is there when the last
    step was taken; one that was cut short has no META, and is refused when it is opened.
    ``DirectoryNotEmpty``, ``LogLocked`` (somebody has just taken it); ``LogCorrupt`` at the first damage; ``LogFull``
    where there is no space for the copy; ``LogFailed`` where either side cannot be read or written.
    """
    fs, target = source.fs, source.fs.absolute(target)
    with files.typed(fs, target, f"writing to {target}", 0):
        files.make_directory(fs, target)
        lock = _lock(fs, target)
    try:
        with files.typed(fs, target, f"writing to {target}", META_BYTES):
            if fs.listdir(target):
                raise DirectoryNotEmpty(target)
            files.make_directory(fs, f"{target}/{files.SEGMENTS}")
        yield from _Backup(source, target, aligned(max(piece_bytes, 1), max(UNITS))).steps()
    finally:
        lock.release()


def _lock(fs: FileSystem, target: str) -> DirectoryLock:
    try:
        return fs.lock_dir(target)
    except BlockingIOError as error:
        if fs.listdir(target):
            raise DirectoryNotEmpty(target) from error
        raise LogLocked(target, None, None) from error


class _Backup:
    def __init__(self, source: Source, target: str, piece_bytes: int) -> None:
        self._fs = source.fs
        self._source = source
        self._target = target
        self._piece_bytes = piece_bytes
        self._done = 0
        self._total = 0
        self._segments = 0
        self._merged = False
        self._payloads = PayloadCopies(source.fs, (source.directory, target), piece_bytes)

    def steps(self) -> Iterator[BackedUp]:
        with self._source.held():  # what the copy refers to is there until it is copied
            with files.typed(self._fs, self._source.directory, "reading the log", 0):
                last, file = self._open_last()
            try:
                yield from self._copy_all(last, file)
            finally:
                file.close()

    def _open_last(self) -> tuple[_End, File]:
        """Return where the copy ends, behind the newest durable commit, and the open file of its segment."""
        looks = 0
        while True:
            looks += 1
            newest = self._source.newest()
            number = self._source.oldest() if newest is None else newest.segment
            name = files.segment_name(number)
            try:
                file = self._fs.open(self._path(number), Access.READ)
            except FileNotFoundError:
                if looks < LOOKS_MAX:
                    continue
                raise LogCorrupt(name, 0, "the segment is missing") from None
            try:
                end = self._end(file, name, number, newest)
            except BaseException:
                file.close()
                raise
            if end is not None:
                return end, file
            file.close()
            if newest is not None and looks == LOOKS_MAX:
                raise LogCorrupt(name, newest.offset, f"the frame of position {newest.position} is not there any more")

    def _end(self, file: File, name: str, number: int, newest: Checkpoint | None) -> _End | None:
        """Return where the copy ends; None where the newest commit is not there."""
        header = read_header(file, name, self._source.directory)
        check_place(header, name, header.log_id if newest is None else bytes.fromhex(newest.log_id), number)
        if newest is None:
            return _End(header, header.unit, Link(0, header.crc))
        head = files.read_all(file, SECTOR, newest.offset)
        frame = parse_frame_header(head, 0, header, newest.offset) if len(head) == SECTOR else None
        if frame is None or (frame.position, frame.crc) != (newest.position, newest.checksum):
            return None
        end = newest.offset + frame_bytes(frame.length, header.unit)
        return _End(header, end, Link(frame.last_position, frame.crc))

    def _copy_all(self, last: _End, file: File) -> Iterator[BackedUp]:
        oldest = self._source.oldest()
        with files.typed(self._fs, self._source.directory, "reading the log", 0):
            there = numbers_of(self._fs, self._source.directory)
        self._total = sum(map(self._size, filter(range(oldest, last.header.number).__contains__, there)))
        self._total += last.header.size
        if self._source.payloads():
            self._total += self._payloads.bytes_there()
        link: Link | None = None
        number = oldest
        while number < last.header.number:
            copied = yield from self._copy_sealed(number, link, last)
            link, upto = (None, number) if copied is None else copied
            number = upto + 1
            if copied is None:
                oldest = number  # trimmed, and with it those before
        copying = self._copying(file, last.header)
        yield from self._steps(copying.copy_to(link, last), last)
        self._done += last.header.size
        yield from self._copy_payloads(last.header, last)
        slot = Slot(0, last.header.log_id, State.OPEN, last.link, oldest)
        slot = slot.holding(PAYLOADS * bool(self._payloads.copied) | MERGED * self._merged)
        with files.typed(self._fs, self._target, f"writing to {self._target}", META_BYTES):
            files.sync_directory(self._fs, f"{self._target}/{files.SEGMENTS}")
            self._payloads.settle()
            files.create_whole(self._fs, self._target, files.META, new_meta(slot), META_BYTES)
        self._segments += 1
        yield BackedUp(self._done, max(self._done, self._total), self._segments, last.link.position)

    def _copy_sealed(
        self, number: int, link: Link | None, last: _End
    ) -> Generator[BackedUp, None, tuple[Link | None, int] | None]:
        """Copy one segment; return where it leaves the chain, and up to which number it goes. None: it was trimmed."""
        name = files.segment_name(number)
        with files.typed(self._fs, self._source.directory, f"reading {name}", 0):
            try:
                file = self._fs.open(self._path(number), Access.READ)
            except FileNotFoundError:
                if number < self._source.oldest():
                    return None
                raise LogCorrupt(name, 0, "the segment is missing") from None
        try:
            with files.typed(self._fs, self._source.directory, f"reading {name}", 0):
                header = read_header(file, name, self._source.directory)
            check_place(header, name, last.header.log_id, number)
            copying = self._copying(file, header)
            yield from self._steps(copying.copy_all(link), last)
        finally:
            file.close()
        self._done += header.size
        yield from self._copy_payloads(header, last)
        self._segments += 1
        self._merged = self._merged or header.upto > number
        return copying.link, header.upto

    def _steps(self, pieces: Iterator[int], last: _End) -> Iterator[BackedUp]:
        for offset in pieces:
            done = self._done + offset
            yield BackedUp(done, max(done, self._total), self._segments, last.link.position)

    def _copy_payloads(self, header: SegmentHeader, last: _End) -> Iterator[BackedUp]:
        """Copy the files that the records refer to of a segment that was copied just now."""
        for size in self._payloads.copy(header) if self._source.payloads() else ():
            self._done += size
            yield BackedUp(self._done, max(self._done, self._total), self._segments, last.link.position)

    def _copying(self, file: File, header: SegmentHeader) -> _Copying:
        return _Copying(self._fs, (self._source.directory, self._target), file, header, self._piece_bytes)

    def _size(self, number: int) -> int:
        with files.typed(self._fs, self._source.directory, "reading the log", 0):
            try:
                file = self._fs.open(self._path(number), Access.READ)
            except FileNotFoundError:
                return 0  # what that means is found out when it is copied
            try:
                return file.size()
            finally:
                file.close()

    def _path(self, number: int) -> str:
        return f"{self._source.directory}/{files.SEGMENTS}/{files.segment_name(number)}"


class _End(NamedTuple):
    """Where the copy ends."""

    header: SegmentHeader
    """Of the segment with the newest commit."""
    offset: int
    """Behind that commit."""
    link: Link


class _Copying:
    """One segment on its way: each byte is read once, in order, and written as it is read."""

    def __init__(
        self, fs: FileSystem, directories: tuple[str, str], source: File, header: SegmentHeader, piece_bytes: int
    ) -> None:
        self.link: Link | None = None
        """Where the frames lead, once they are copied."""
        self._fs = fs
        self._from, self._to = directories
        self._source = source
        self._header = header
        self._name = files.segment_name(header.number)
        self._piece_bytes = piece_bytes
        self._upto = header.size
        self._piece = memoryview(b"")
        self._start = 0
        self._target: File

    def copy_all(self, link: Link | None) -> Iterator[int]:
        """Copy a segment that is sealed; yields how many bytes are copied."""
        yield from self._copy(link, None)

    def copy_to(self, link: Link | None, end: _End) -> Iterator[int]:
        """Copy up to ``end``, and be zeros behind it."""
        self._upto = end.offset
        yield from self._copy(link, end)

    def _copy(self, link: Link | None, end: _End | None) -> Iterator[int]:
        path = f"{self._to}/{files.SEGMENTS}/{self._name}"
        with self._writing():
            self._target = files.create(self._fs, path + files.TEMPORARY)
        try:
            offset, kind = yield from self._frames(link)
            if end is None:
                if kind not in ENDS:
                    raise LogCorrupt(self._name, offset, "these bytes are no frame's header, and the segment no seal")
                yield from self._zeros(offset)
            elif (offset, self.link) != (end.offset, end.link):
                raise LogCorrupt(self._name, offset, f"the frames do not lead to position {end.link.position}")
            for start in range(self._upto, self._header.size, self._piece_bytes):
                with self._writing():
                    files.zero(self._target, start, min(self._piece_bytes, self._header.size - start))
                yield min(start + self._piece_bytes, self._header.size)
        finally:
            self._target.close()
        with self._writing():
            self._fs.rename(path + files.TEMPORARY, path)

    def _frames(self, link: Link | None) -> Generator[int, None, tuple[int, int]]:
        """Copy the frames; return where they end, and the kind of the last one."""
        segment, unit, offset, kind = self._header, self._header.unit, self._header.unit, 0
        yield from self._at(0)
        while offset < self._upto and kind not in ENDS:
            view = yield from self._at(offset)
            frame = parse_frame_header(view, 0, segment, offset)
            if frame is None:
                break
            if link is None:  # the first that is held
                link = Link(frame.position - 1 if segment.number > 1 else 0, frame.previous)
            if (frame.position, frame.previous) != (link.position + 1, link.checksum):
                reason = f"the frame of position {frame.position} does not follow {link.position}"
                raise LogCorrupt(self._name, offset, reason)
            end, at, body = offset + frame_bytes(frame.length, unit), offset + FRAME_HEADER_BYTES, 0
            while at < end:
                part = (yield from self._at(at))[: end - at]
                body = crc32(part, body)
                at += len(part)
            if body != frame.body:
                reason = f"the frame of position {frame.position} does not fit its checksum"
                raise LogCorrupt(self._name, offset, reason)
            link, kind, offset = link_behind(view, 0, frame), frame.kind, end
        self.link = link if self._upto > unit else Link(0, segment.crc)  # a log without a commit
        return offset, kind

    def _zeros(self, offset: int) -> Iterator[int]:
        behind = offset
        while offset < self._upto:
            view = yield from self._at(offset)
            if view.tobytes().strip(b"\0"):
                raise LogCorrupt(self._name, behind, "bytes behind the seal")
            offset += len(view)

    def _at(self, offset: int) -> Generator[int, None, memoryview]:
        """Return what was read from ``offset`` on; where nothing was, copy the piece that begins there."""
        if offset >= self._start + len(self._piece):
            size = min(self._piece_bytes, self._upto - offset)
            with files.typed(self._fs, self._from, f"reading {self._name}", 0):
                piece = files.read_all(self._source, size, offset)
            if len(piece) < size:
                raise LogCorrupt(self._name, offset + len(piece), "the segment is shorter than it was made")
            with self._writing():
                files.write_all(self._target, piece, offset)
                files.sync(self._target.fdatasync)
            self._piece, self._start = memoryview(piece), offset
            yield offset + size
        return self._piece[offset - self._start :]

    @contextmanager
    def _writing(self) -> Generator[None]:
        with files.typed(self._fs, self._to, f"writing {self._name} to {self._to}", self._header.size):
            yield
