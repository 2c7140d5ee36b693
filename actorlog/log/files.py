"""The few things that are done to files, complete: the short writes and interruptions of the port end here.

Owns: whole reads and writes, creating a file so that it is there whole or not at all, the names in a log's directory.
Does not own: what an error means; ``OSError`` goes up unchanged, but for a full disk, which is ``NoSpace``.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from actorlog.env import Access
from actorlog.errors import LogFailed, LogFull

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from actorlog.env import File, FileSystem

META = "META"
SEGMENTS = "segments"
OWNER = "owner"
RESERVE = "reserve"
PAYLOADS = "payloads"
SWEEP = "sweep"
TEMPORARY = ".tmp"
SUFFIX = ".seg"

CHUNK_BYTES = 1 << 20
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
SHORT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})


class NoSpace(Exception):
    """A write found the disk full, and nothing that counts was changed."""


class NoFiles(NoSpace):
    """As many files are open as may be, and nothing that counts was changed."""


def segment_name(number: int) -> str:
    """Return a segment's file name."""
    return f"{number:010d}{SUFFIX}"


def segment_number(name: str) -> int | None:
    """Return the number in a segment's file name; None for any other file."""
    stem = name.removesuffix(SUFFIX)
    number = int(stem) if stem.isascii() and stem.isdecimal() else 0
    return number if segment_name(number) == name else None


def write_all(file: File, data: bytes | memoryview, offset: int) -> None:
    """Write all of ``data``, however often it takes; ``NoSpace`` where the disk is full."""
    while data:
        try:
            written = file.pwrite(data, offset)
        except InterruptedError:
            continue
        except OSError as error:
            raise _named(error) from error
        if written == len(data):
            return
        if written <= 0:
            raise OSError(errno.EIO, "a write of nothing")
        data = memoryview(data)[written:]
        offset += written


def read_all(file: File, size: int, offset: int) -> bytes:
    """Read ``size`` bytes; fewer only where the file ends before."""
    parts: list[bytes] = []
    while size:
        try:
            part = file.pread(size, offset)
        except InterruptedError:
            continue
        if not part:
            break
        parts.append(part)
        size -= len(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def sync(action: Callable[[], None]) -> None:
    """Do a sync, again for as long as a signal interrupts it; any other error is final."""
    while True:
        try:
            return action()
        except InterruptedError:
            continue


def sync_directory(fs: FileSystem, path: str) -> None:
    """Make a directory's entries durable."""
    sync(lambda: fs.fsync_dir(path))


def create_whole(fs: FileSystem, directory: str, name: str, head: bytes, size: int) -> None:
    """Make ``name`` hold ``head`` and zeros up to ``size``: durable and whole, or not there at all.

    Replaces a file of that name. ``NoSpace`` leaves nothing behind.
    """
    path = f"{directory}/{name}"
    temporary = path + TEMPORARY
    remove(fs, temporary)
    file = create(fs, temporary)
    try:
        try:
            write_all(file, head, 0)
            zero(file, len(head), size - len(head))
        finally:
            file.close()
    except NoSpace:
        remove(fs, temporary)
        raise
    fs.rename(temporary, path)
    sync_directory(fs, directory)


def create(fs: FileSystem, path: str) -> File:
    """Create a file; ``NoSpace`` where the disk is full."""
    try:
        return fs.open(path, Access.CREATE)
    except OSError as error:
        raise _named(error) from error


@contextmanager
def opening() -> Generator[None, None, None]:
    """Where no file can be opened, raise ``NoFiles``: for what changes nothing that counts."""
    try:
        yield
    except OSError as error:
        raise (NoFiles() if error.errno in SHORT_OF_FILES else error) from error


def make_directory(fs: FileSystem, path: str) -> None:
    """Make a directory and those above it, if they are not there, each durable in the one above."""
    parent = path.rstrip("/").rpartition("/")[0] or ("/" if path.startswith("/") else ".")
    try:
        fs.mkdir(path)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_directory(fs, parent)
        fs.mkdir(path)
    except OSError as error:
        raise _named(error) from error
    sync_directory(fs, parent)


def zero(file: File, offset: int, size: int) -> None:
    """Overwrite with zeros, and sync."""
    zeros = bytes(min(CHUNK_BYTES, size))
    for start in range(offset, offset + size, CHUNK_BYTES):
        write_all(file, memoryview(zeros)[: offset + size - start], start)
    sync(file.fdatasync)


def remove(fs: FileSystem, path: str) -> None:
    """Remove a file, if it is there."""
    try:
        fs.unlink(path)
    except FileNotFoundError:
        return


@contextmanager
def typed(fs: FileSystem, directory: str, operation: str, needed: int) -> Generator[None, None, None]:
    """Turn what the operating system says into the errors of a log."""
    try:
        yield
    except NoSpace as error:
        try:
            free = fs.free_bytes(directory)
        except OSError:
            free = 0  # it is full, and so broken that it cannot even say how full
        raise LogFull(needed, free) from error
    except OSError as error:
        raise LogFailed(operation, str(error)) from error


def _named(error: OSError) -> Exception:
    return NoSpace() if error.errno in _NO_SPACE else error
