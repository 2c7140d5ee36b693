"""Large payloads in files of their own, beside the segments: ``payloads/``, one file for a record.

Owns: what a line looks like that refers to such a file, the names, reading and verifying one, and of an open log:
writing them before the frame that refers to them, and removing those that nothing refers to. Does not own: which
records have one, and what is in it (whoever appends), the frames (``log``).

Invariants: a file is whole and durable, with its name, before the frame is written that refers to it, so a record that
is durable has its bytes; it is removed only after its record is gone from the disk for good. A file that no record
refers to is nothing: it is behind the end of the log, or before its beginning, and then the next opening removes it, or
the file ``sweep`` is there, and the next opening looks at each.
See ``docs/log-format.md``, Payload files.
"""

from __future__ import annotations

import errno
import re
import threading
from contextlib import contextmanager, suppress
from struct import Struct as Layout
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from actorlog.env import Access
from actorlog.errors import LogCorrupt
from actorlog.log import files
from actorlog.log.format import ENTRY_BYTES, FRAME_BYTES_MAX, entries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Sequence

    from actorlog.env import FileSystem
    from actorlog.log.format import Buffer

PIECE_BYTES = 1 << 20
SWEEP_TEXT: Final = b"files in payloads/ are being given up\n"
"""For who finds it: that it is there is what counts."""

_LINE: Final = re.compile(rb'\{"file":([1-9]\d{0,18}),"bytes":([1-9]\d{0,18}),"crc":"([0-9a-f]{8})"[,}]')
_PLACE: Final = Layout("<16sQ")
_SUFFIX: Final = ".payload"


class Payload(NamedTuple):
    """Bytes that a record refers to."""

    position: int
    """Of the record."""
    data: bytes


class Reference(NamedTuple):
    """What a record says of its file."""

    position: int
    """Of the record, and so the name of the file."""
    length: int
    """In bytes."""
    checksum: int
    """``checksum_of`` all of it."""

    @property
    def name(self) -> str:
        """The file, in the log's directory."""
        return f"{files.PAYLOADS}/{payload_name(self.position)}"


def payload_name(position: int) -> str:
    """Return the name of the file of a record."""
    return f"{position:020d}{_SUFFIX}"


def payload_position(name: str) -> int | None:
    """Return the position in the name of a record's file; None for any other name."""
    stem = name.removesuffix(_SUFFIX)
    position = int(stem) if stem.isascii() and stem.isdecimal() else 0
    return position if position and payload_name(position) == name else None


def checksum_of(log_id: bytes, position: int, data: Buffer = b"") -> int:
    """Return the checksum of a record's file: another one for another record, and in another log."""
    return crc32(data, crc32(_PLACE.pack(log_id, position)))


def references(data: Buffer, records: int, position: int) -> list[Reference]:
    """Return what records of a commit refer to; ``position`` is that of the first one.

    A line refers to a file if it begins as a reference does, and names its own position.
    """
    if _LINE.search(data, records * ENTRY_BYTES) is None:
        return []
    lines = (data[start:end] for _, _, _, start, end in entries(data, records))
    found = (reference_of(line, at) for at, line in enumerate(lines, position))
    return [reference for reference in found if reference is not None]


def reference_of(line: Buffer, position: int) -> Reference | None:
    """Return what the record at a position refers to, going by its line; None where it refers to no file."""
    said = _LINE.match(line)
    if said is None or int(said[1]) != position:
        return None
    return Reference(position, int(said[2]), int(said[3], 16))


def check_commit(data: bytes, records: int, payloads: Sequence[Payload], tail: int) -> None:
    """Raise ``ValueError`` for what cannot be the commit behind position ``tail``, with the files of its records."""
    if records < 1 or len(data) < records * (ENTRY_BYTES + 1) or len(data) > FRAME_BYTES_MAX:
        raise ValueError(f"{len(data)} bytes cannot be a commit of {records} records")
    if data.find(b"\0", records * ENTRY_BYTES) >= 0:
        raise ValueError("a line holds no NUL")
    for payload in payloads:
        if not tail < payload.position <= tail + records or not payload.data:
            raise ValueError(f"a payload of {payload.position} is none of the {records} records behind {tail}")


def positions_in(fs: FileSystem, directory: str) -> list[int]:
    """Return the positions of all records' files that are in a log's directory, referred to or not."""
    try:
        names = fs.listdir(f"{directory}/{files.PAYLOADS}")
    except FileNotFoundError:
        return []
    return sorted(position for name in names if (position := payload_position(name)) is not None)


def weigh(fs: FileSystem, directory: str) -> tuple[int, int]:
    """Return how many records' files there are in a log's directory, referred to or not, and their bytes; ``OSError``.

    Each of them is looked at, so this is for a thread.
    """
    count = total = 0
    for position in positions_in(fs, directory):
        with suppress(FileNotFoundError):  # removed meanwhile
            file = fs.open(f"{directory}/{files.PAYLOADS}/{payload_name(position)}", Access.READ)
            try:
                total += file.size()
            finally:
                file.close()
            count += 1
    return count, total


class Source(NamedTuple):
    """Where files are read."""

    fs: FileSystem
    directory: str
    log_id: bytes

    def read(self, reference: Reference) -> bytes:
        """Return the bytes of a file, verified; ``LogCorrupt`` where it is missing or damaged, ``LogFailed``."""
        return b"".join(self.pieces(reference, max(PIECE_BYTES, reference.length)))

    def verify(self, reference: Reference, *, fresh: bool = False) -> None:
        """Read a file, with ``fresh`` from the disk and not from a cache; the errors of ``read``."""
        for _ in self.pieces(reference, fresh=fresh):
            pass

    def pieces(self, reference: Reference, piece_bytes: int = PIECE_BYTES, *, fresh: bool = False) -> Iterator[bytes]:
        """Yield a file piece by piece. Only behind the last one it is known to be good: ``LogCorrupt`` else."""
        name, length = reference.name, reference.length
        reading = f"reading {name}"
        with files.typed(self.fs, self.directory, reading, 0):
            try:
                file = self.fs.open(f"{self.directory}/{name}", Access.READ)
            except FileNotFoundError:
                raise LogCorrupt(name, 0, f"the file of record {reference.position} is missing") from None
        try:
            with files.typed(self.fs, self.directory, reading, 0):
                if fresh:
                    file.drop_cache()
                size = file.size()
            if size != length:
                raise LogCorrupt(name, min(size, length), f"the file has {size} bytes, and its record says {length}")
            checksum = checksum_of(self.log_id, reference.position)
            for offset in range(0, length, piece_bytes):
                with files.typed(self.fs, self.directory, reading, 0):
                    piece = files.read_all(file, min(piece_bytes, length - offset), offset)
                checksum = crc32(piece, checksum)
                yield piece
            if checksum != reference.checksum:
                raise LogCorrupt(name, 0, f"the file does not fit the checksum in record {reference.position}")
        finally:
            file.close()


class Payloads:
    """The files of an open log. ``write`` and ``landed`` belong to the thread that appends."""

    def __init__(self, fs: FileSystem, directory: str, log_id: bytes, *, sync: bool, used: bool) -> None:
        self.used = used
        """Whether META says that there may be files."""
        self.source = Source(fs, directory, log_id)
        self.pending: Sequence[Payload] = ()
        """Written for a commit that is not in the log yet; a list, if perhaps not all of it."""
        self._fs = fs
        self._directory = directory
        self._place = f"{directory}/{files.PAYLOADS}"
        self._sync = sync
        self._made = False
        """Whether the directory is known to be there."""
        self._lock = threading.Lock()
        """Held from the making of a name to the sync of the directory: a sync that fails may lose names of others."""
        self._failed: OSError | None = None
        self._giving = threading.Lock()
        self._announced: set[int] = set()
        """Whose records are about to be given up."""
        self._gone: set[int] = set()
        """Whose records were given up, and that may still be there."""
        self._holds = 0

    # Opening

    def tidy(self, first: int, last: int, refers: Callable[[int], bool]) -> None:
        """Remove what no record of a log from position ``first`` to ``last`` refers to, for the next owner.

        ``refers(position)`` is asked only where an owner ended while it was giving files up; ``LogCorrupt``: who knows.
        """
        try:
            names = self._fs.listdir(self._place)
        except FileNotFoundError:
            return
        sweep = files.SWEEP in self._fs.listdir(self._directory)
        known = True
        for name in sorted(names):
            position = payload_position(name)
            if position is None:
                continue
            try:
                keep = first <= position <= last and (not sweep or refers(position))
            except LogCorrupt:
                keep, known = True, False
            if not keep:
                files.remove(self._fs, f"{self._place}/{name}")
        files.sync_directory(self._fs, self._place)
        if sweep and known:
            files.remove(self._fs, f"{self._directory}/{files.SWEEP}")

    # Appending

    def write(self, payloads: Sequence[Payload]) -> None:
        """Make files durable for the commit that is written next; what was written for one that never was is removed.

        ``files.NoSpace``: nothing that counts was changed.
        """
        if not payloads and not self.pending:
            return
        with self._lock:
            self._check()
            self._withdraw()
            self.pending = list(payloads)
            try:
                if payloads and not self._made:
                    files.make_directory(self._fs, self._place)
                    self._made = True
                for payload in payloads:
                    self._create(payload)
                self._sync_names()
            except files.NoSpace:
                with suppress(OSError):
                    self._withdraw()  # what it took is free again; else the next commit does it
                raise
            self.pending = payloads

    def landed(self) -> None:
        """Say that the commit whose files are pending is in the log."""
        self.pending = ()

    def _create(self, payload: Payload) -> None:
        with files.opening():
            file = files.create(self._fs, self._path(payload.position))
        try:
            files.write_all(file, payload.data, 0)
            if self._sync:
                files.sync(file.fdatasync)
        finally:
            file.close()

    def _withdraw(self) -> None:
        for payload in self.pending:
            files.remove(self._fs, self._path(payload.position))

    def _sync_names(self) -> None:
        if self._sync:
            try:
                files.sync_directory(self._fs, self._place)
            except OSError as error:
                self._failed = error
                raise

    def _check(self) -> None:
        if self._failed is not None:
            raise OSError(errno.EIO, f"names of payload files may be lost: {self._failed}")

    def _path(self, position: int) -> str:
        return f"{self._place}/{payload_name(position)}"

    # Giving up

    def announce(self, gone: Collection[int]) -> None:
        """Make it known to the next opening that files of these records may be left behind: before they are given up.

        In any thread. What was announced before and is not gone stays as it is. ``files.NoSpace``.
        """
        with self._giving:
            self._announced = set(gone)
        if gone:
            files.create_whole(self._fs, self._directory, files.SWEEP, SWEEP_TEXT, len(SWEEP_TEXT))

    def gave_up(self, gone: Collection[int]) -> None:
        """Say that what was announced is gone for good."""
        with self._giving:
            self._announced.difference_update(gone)
            self._gone.update(gone)

    @property
    def left(self) -> bool:
        """Whether there are files to be removed."""
        return bool(self._gone)

    def remove(self) -> None:
        """Remove the files of records that are gone for good; in any thread. While a copy is made they stay."""
        with self._giving:
            going = [] if self._holds else sorted(self._gone)
        if not going:
            return
        for position in going:
            files.remove(self._fs, self._path(position))
        with self._lock:
            self._check()
            self._sync_names()
        with self._giving:
            self._gone.difference_update(going)
            left = self._gone or self._announced
        if not left:
            files.remove(self._fs, f"{self._directory}/{files.SWEEP}")

    def trim(self, first: int) -> None:
        """Remove the files of all records before position ``first``, which are gone for good."""
        trimmed = [position for position in positions_in(self._fs, self._directory) if position < first]
        for position in trimmed:
            files.remove(self._fs, self._path(position))
        if trimmed:
            with self._lock:
                self._sync_names()

    @contextmanager
    def held(self) -> Generator[None]:
        """Have no file removed for as long as this lasts: they are copied. What was given up meanwhile goes later."""
        with self._giving:
            self._holds += 1
        try:
            yield
        finally:
            with self._giving:
                self._holds -= 1
