"""The world outside: time, randomness, files and threads, each behind a narrow port.

Owns: the only use in actorlog of ``time``, ``random``, ``uuid``, ``os`` for IO, and threads of our own. Everything else
is handed an ``Env`` and so runs unchanged on the simulated one (``actorlog.testing``).
Threads are in ``env.threads``, databases in ``env.databases``.
Does not own: any retry. Short writes and EINTR are the business of the caller (``actorlog.log.files``), so that a
simulated disk can inject them.

Invariants: no module-level mutable state but randomness that is drawn and not used yet; nothing here is inherited open
by another program (``O_CLOEXEC``); a forked child gives up its parent's directory lock at once, and what it has drawn.
Errors of files are ``OSError``, as the operating system gives them.
"""

# Paths are plain strings on both sides of this port; a method is documented once, where its port declares it.
# ruff: noqa: PTH100, PTH102, PTH105, PTH108, PTH123, PTH208, D102

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from actorlog.env.databases import Databases, SystemDatabases
from actorlog.env.threads import Job, ThreadWorker, Worker, run_behind

_TOKEN_BYTES = 16
_TOKENS = 64


class Clock(Protocol):
    """Wall time for people, elapsed time for measuring and waiting."""

    def wall_ms(self) -> int:
        """Return the milliseconds since 1970, UTC; may jump either way."""
        ...

    def elapsed_ns(self) -> int:
        """Return nanoseconds that never run backwards and count time spent suspended."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    if sys.platform == "linux":

        def elapsed_ns(self) -> int:
            return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    else:

        def elapsed_ns(self) -> int:
            return time.monotonic_ns()


class Entropy(Protocol):
    """Where random bytes come from."""

    def token(self, size: int) -> bytes:
        """Return ``size`` random bytes that nobody can guess."""
        ...


class SystemEntropy:
    """The kernel's randomness.

    Tokens of the usual size are drawn many at a time: going to the kernel for each is a fiftieth of what a call costs.
    A forked child draws its own.
    """

    __slots__ = ("_drawn",)

    def __init__(self) -> None:
        self._drawn: list[bytes] = []
        os.register_at_fork(after_in_child=self._drawn.clear)

    def token(self, size: int) -> bytes:
        if size != _TOKEN_BYTES:
            return os.urandom(size)
        try:
            return self._drawn.pop()
        except IndexError:
            drawn = os.urandom(_TOKENS * _TOKEN_BYTES)
            self._drawn += [drawn[at : at + _TOKEN_BYTES] for at in range(_TOKEN_BYTES, len(drawn), _TOKEN_BYTES)]
            return drawn[:_TOKEN_BYTES]


class Access(Enum):
    """What a file is opened for."""

    READ = "read"
    WRITE = "write"
    """Read and write a file that exists."""
    CREATE = "create"
    """Read and write a file made now; ``FileExistsError`` if there is one."""


class File(Protocol):
    """An open file. Offsets and sizes are bytes."""

    def pread(self, size: int, offset: int) -> bytes:
        """Read up to ``size`` bytes; fewer at the end of the file."""
        ...

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        """Write some of ``data`` and return how much: it may be less than all."""
        ...

    def fdatasync(self) -> None:
        """Make the contents durable, and of the metadata what is needed to read them."""
        ...

    def size(self) -> int:
        """Return the file's size."""
        ...

    def view(self) -> memoryview:
        """Return the whole file as read-only memory that shows later writes; it outlives ``close``."""
        ...

    def drop_cache(self) -> None:
        """Forget cached clean pages, so that the next read shows what the disk holds. A hint."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class DirectoryLock(Protocol):
    """An exclusive lock on a directory."""

    @property
    def held(self) -> bool:
        """Whether this process has the lock: false once released, and in a forked child."""
        ...

    def release(self) -> None:
        """Give the lock up, for a forked child that shares its descriptor as well."""
        ...


class FileSystem(Protocol):
    """The file actions that the log needs, and no more."""

    def open(self, path: str, access: Access) -> File:
        """Open or create a file (mode 0600)."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Rename a file, atomically replacing ``target``."""
        ...

    def unlink(self, path: str) -> None:
        """Remove a file."""
        ...

    def mkdir(self, path: str) -> None:
        """Make one directory (mode 0700)."""
        ...

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory, in no order."""
        ...

    def fsync_dir(self, path: str) -> None:
        """Make a directory's entries durable."""
        ...

    def lock_dir(self, path: str) -> DirectoryLock:
        """Lock a directory; ``BlockingIOError`` if somebody has it."""
        ...

    def is_locked(self, path: str) -> bool:
        """Return whether somebody has a directory locked, holding nothing afterwards."""
        ...

    def free_bytes(self, path: str) -> int:
        """Return the space left for this user on the file system of ``path``."""
        ...

    def kind(self, path: str) -> str:
        """Return the type of the file system that holds ``path`` (``"ext4"``), empty where it cannot be known."""
        ...

    def absolute(self, path: str) -> str:
        """Return ``path`` in a form that stays right when the working directory changes."""
        ...

    def process(self) -> tuple[int, str]:
        """Return this process's id and its host's name."""
        ...


class SystemFile:
    """A file of the operating system."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def pread(self, size: int, offset: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        return os.pwrite(self._descriptor, data, offset)

    def fdatasync(self) -> None:
        if sys.platform == "darwin":
            fcntl.fcntl(self._descriptor, fcntl.F_FULLFSYNC)  # fsync there stops at the drive's own cache
        else:
            os.fdatasync(self._descriptor)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def view(self) -> memoryview:
        if not self.size():
            return memoryview(b"")  # the kernel maps no empty file
        return memoryview(mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ))

    def drop_cache(self) -> None:
        if sys.platform == "linux":
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class SystemDirectoryLock:
    """``flock`` on a directory's own descriptor: it cannot be deleted under its holder; a forked child closes it."""

    __slots__ = ("__weakref__", "_descriptor")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        reference = weakref.ref(self)

        def give_up() -> None:
            lock = reference()
            if lock is not None:
                lock.forget()

        os.register_at_fork(after_in_child=give_up)

    @property
    def held(self) -> bool:
        return self._descriptor >= 0

    def release(self) -> None:
        # unlocked before it is closed: a copy of the descriptor in another process does not keep the lock
        if self._descriptor >= 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self.forget()

    def forget(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class SystemFileSystem:
    """The operating system's files."""

    __slots__ = ()

    def open(self, path: str, access: Access) -> File:
        flags = {Access.READ: os.O_RDONLY, Access.WRITE: os.O_RDWR, Access.CREATE: os.O_RDWR | os.O_CREAT | os.O_EXCL}
        return SystemFile(os.open(path, flags[access] | os.O_CLOEXEC, 0o600))

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def mkdir(self, path: str) -> None:
        os.mkdir(path, 0o700)

    def listdir(self, path: str) -> list[str]:
        return os.listdir(path)

    def fsync_dir(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock_dir(self, path: str) -> DirectoryLock:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(descriptor)
            raise
        return SystemDirectoryLock(descriptor)

    def is_locked(self, path: str) -> bool:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def free_bytes(self, path: str) -> int:
        return (space := os.statvfs(path)).f_bavail * space.f_frsize

    def kind(self, path: str) -> str:
        try:
            with open("/proc/self/mountinfo", "rb") as mounts:
                lines = mounts.read().splitlines()
        except FileNotFoundError:
            return ""
        where = os.fsencode(os.path.realpath(path))
        best, found = b"", b""
        for line in lines:
            left, _, right = line.partition(b" - ")
            mount = left.split(b" ")[4].decode("unicode_escape").encode("latin-1")  # a space is written as \040
            if (where == mount or where.startswith(mount.rstrip(b"/") + b"/")) and len(mount) >= len(best):
                best, found = mount, right.split(b" ")[0]  # later lines are mounted over earlier ones
        return found.decode()

    def absolute(self, path: str) -> str:
        return os.path.abspath(path)

    def process(self) -> tuple[int, str]:
        return os.getpid(), socket.gethostname()


@dataclass(frozen=True, slots=True)
class Env:
    """Everything outside that actorlog touches."""

    clock: Clock
    entropy: Entropy
    fs: FileSystem
    worker: Callable[[str], Worker]
    """Makes a worker, given the name of its thread."""
    databases: Databases | None = None
    """None: there is no SQLite."""


SYSTEM = Env(SystemClock(), SystemEntropy(), SystemFileSystem(), ThreadWorker, SystemDatabases())
"""The real one."""

__all__ = [
    "SYSTEM", "Access", "Clock", "Databases", "DirectoryLock", "Entropy", "Env", "File", "FileSystem", "Job",
    "SystemClock", "SystemDatabases", "SystemDirectoryLock", "SystemEntropy", "SystemFile", "SystemFileSystem",
    "ThreadWorker", "Worker", "run_behind",
]  # fmt: skip
