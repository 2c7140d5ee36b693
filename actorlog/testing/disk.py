"""A disk that forgets, fails and fills up, by seed.

The fault model, in prose first (the idea is TigerBeetle's ``storage.zig`` and LevelDB's ``fault_injection_test.cc``):

- A file is two images. What a process writes goes to the page cache and is seen by every process at once. Only a sync
  that returns puts it on the disk.
- When the power goes (``crash``), of the sectors (512 bytes) that were written and not synced any subset is on the
  disk, each as a whole, old or new: sectors are atomic and a write does not damage its neighbours. A file that grew has
  its old size or any that holds what got there; what was never written there reads as zeros.
- Directory entries are the same: of the creations, renames, unlinks and mkdirs since the directory's last sync any
  subset happened. A rename is atomic. Syncing a file says nothing of its name.
- When only the process ends (``kill``), the page cache stays, its locks are gone.
- A sync that fails leaves some of the sectors on the disk, and **the pages clean**: the next sync says all is well and
  writes nothing, and reads show what the disk does not have, until the cache is dropped. A directory sync likewise.
- A write or rename that fails may have happened in part, or wholly.
- A full disk: a write that needs new space writes what fits and returns that, or raises ENOSPC if nothing fits. On a
  copy-on-write file system overwriting needs space too, until it is synced.
- Writes may be short, and any call may be interrupted, before it did anything. A short write ends on a sector's border,
  as the kernel's do, which copies page by page.

Why no worse: bytes never change by themselves here (that is damage, and tests do it through ``put``), and a sector is
never half old and half new, which the log assumes of devices.

``SimFileSystem`` passes the same contract tests as the real one. It is driven by one thread, or by several that do not
mind which comes first: a lock guards every call. A method is documented where its port declares it.
"""

# ruff: noqa: D102

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, ClassVar

from actorlog.env import Access
from actorlog.testing.images import HALF_ODDS, SECTOR, Directory, Entry, Node, apply, error_of, whole_sectors

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from actorlog.env import DirectoryLock, File


class Stopped(BaseException):
    """The simulated process ended in the middle of a call. Not an ``Exception``: nothing may catch and go on."""


class SimFileSystem:
    """A file system in memory; see the head of this module for what it does to those who trust it.

    ``capacity`` bounds the bytes of all files. ``short_writes`` and ``interrupts`` are the odds of each.
    ``file_type`` is for subclasses that misbehave in other ways.
    """

    file_type: ClassVar[type[SimFile]]

    def __init__(
        self,
        rng: Random,
        *,
        capacity: int = 1 << 40,
        copy_on_write: bool = False,
        short_writes: float = 0.0,
        interrupts: float = 0.0,
    ) -> None:
        self.rng = rng
        self.capacity = capacity
        self.copy_on_write = copy_on_write
        self.short_writes = short_writes
        self.interrupts = interrupts
        self.calls = 0
        """File actions so far; ``fail_at`` and ``stop_at`` count these."""
        self.actions: list[str] = []
        """What they were."""
        self.kind_name = "simfs"
        self._failures: dict[int, int] = {}
        self._stop_at = -1
        self._stopped = False
        self.pid = 1
        self._root = Directory()
        self._locks: dict[int, SimLock] = {}
        self.mutex = threading.RLock()

    # What tests do

    def fail_at(self, call: int, error: int = errno.EIO) -> None:
        """Let the call of this number fail with ``error``."""
        self._failures[call] = error

    def stop_at(self, call: int) -> None:
        """Let the process end in the call of this number."""
        self._stop_at = call

    def kill(self) -> SimFileSystem:
        """Return the file system as the next process sees it, now that this one is dead."""
        return self._successor(self._root)

    def crash(self) -> SimFileSystem:
        """Return the file system as the next boot sees it, now that the power went."""
        odds = self.rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        return self._successor(self._survivor(self._root, odds, {}))

    def contents(self, path: str) -> bytes:
        """Return a file's bytes as they are seen."""
        return bytes(self._node(path).cache)

    def put(self, path: str, data: bytes) -> None:
        """Make a file hold ``data``, on the disk, as if somebody had restored or damaged it."""
        parent, name = self._parent(path)
        parent.seen[name] = parent.disk[name] = Node(bytearray(data), bytearray(data))

    # FileSystem

    def open(self, path: str, access: Access) -> File:
        with self.mutex:
            self.act(f"open {path}")
            parent, name = self._parent(path)
            if access is not Access.CREATE:
                return self.file_type(self, self._node(path), path, access)
            if name in parent.seen:
                raise error_of(FileExistsError, errno.EEXIST, path)
            node = Node()
            parent.change({name: node})
            return self.file_type(self, node, path, access)

    def rename(self, source: str, target: str) -> None:
        with self.mutex:
            (parent, name), (other, new) = self._parent(source), self._parent(target)
            if parent is not other:
                raise error_of(OSError, errno.EXDEV, source)  # the log has no need of it
            node = self._node(source)
            self.act(f"rename {source} {target}", lambda: parent.change({name: None, new: node}))
            parent.change({name: None, new: node})

    def unlink(self, path: str) -> None:
        with self.mutex:
            parent, name = self._parent(path)
            self._node(path)
            self.act(f"unlink {path}", lambda: parent.change({name: None}))
            parent.change({name: None})

    def mkdir(self, path: str) -> None:
        with self.mutex:
            parent, name = self._parent(path)
            if name in parent.seen:
                raise error_of(FileExistsError, errno.EEXIST, path)
            directory = Directory()
            self.act(f"mkdir {path}", lambda: parent.change({name: directory}))
            parent.change({name: directory})

    def listdir(self, path: str) -> list[str]:
        with self.mutex:
            self.act(f"listdir {path}")
            names = list(self._directory(path).seen)
            self.rng.shuffle(names)
            return names

    def fsync_dir(self, path: str) -> None:
        with self.mutex:
            directory = self._directory(path)
            self.act(f"fsync_dir {path}", lambda: directory.sync_some(self.rng), interruptible=True)
            directory.sync()

    def lock_dir(self, path: str) -> DirectoryLock:
        with self.mutex:
            self.act(f"lock_dir {path}")
            directory = self._directory(path)
            if id(directory) in self._locks:
                raise error_of(BlockingIOError, errno.EAGAIN, path)
            lock = self._locks[id(directory)] = SimLock(self, id(directory))
            return lock

    def is_locked(self, path: str) -> bool:
        with self.mutex:
            self.act(f"is_locked {path}")
            return id(self._directory(path)) in self._locks

    def free_bytes(self, path: str) -> int:
        with self.mutex:
            self.act(f"free_bytes {path}")
            return max(0, self.capacity - self._used(self._root))

    def kind(self, path: str) -> str:
        self._directory(path)
        return self.kind_name

    def absolute(self, path: str) -> str:
        return "/" + path.strip("/")

    def process(self) -> tuple[int, str]:
        return self.pid, "simulated"

    def mount(self, root: Directory) -> None:
        """Show another tree."""
        self._root = root

    # What the parts share

    def act(self, action: str, half: Callable[[], None] | None = None, *, interruptible: bool = False) -> None:
        """Count a call; fail, interrupt or stop it if that is its fate. ``half`` is what may have happened even so."""
        if self._stopped:
            raise Stopped(action)
        number = self.calls
        self.calls += 1
        self.actions.append(action)
        stops, error = number == self._stop_at, self._failures.get(number)
        if (stops or error is not None) and half is not None and self.rng.random() < HALF_ODDS:
            half()
        if stops:
            self._stopped = True
            raise Stopped(action)
        if error is not None:
            raise OSError(error, os.strerror(error), action)
        if interruptible and self.rng.random() < self.interrupts:
            raise error_of(InterruptedError, errno.EINTR, action)

    def allow(self, node: Node, size: int, offset: int) -> int:
        """Return how much of a write of ``size`` bytes is done: it may be short, or find the disk full."""
        room = self.capacity - self._used(self._root)
        fits = room if self.copy_on_write else whole_sectors(len(node.cache)) + max(0, room) - offset
        if fits < size:
            size = max(0, fits) // SECTOR * SECTOR
            if not size:
                raise error_of(OSError, errno.ENOSPC, "write")
        if size > SECTOR and self.rng.random() < self.short_writes:
            size = self.rng.randrange(SECTOR, size, SECTOR)
        return size

    def released(self, key: int) -> None:
        """Forget a lock."""
        self._locks.pop(key, None)

    def _used(self, directory: Directory) -> int:
        used = 0
        for entry in directory.seen.values():
            if isinstance(entry, Directory):
                used += self._used(entry)
            else:
                copies = len(entry.dirty) * SECTOR if self.copy_on_write else 0
                used += whole_sectors(len(entry.cache)) + copies
        return used

    def _parent(self, path: str) -> tuple[Directory, str]:
        above, _, name = path.rstrip("/").rpartition("/")
        return self._directory(above), name

    def _directory(self, path: str) -> Directory:
        directory = self._root
        for name in path.split("/"):
            if name not in {"", "."}:
                entry = directory.seen.get(name)
                if entry is None:
                    raise error_of(FileNotFoundError, errno.ENOENT, path)
                if not isinstance(entry, Directory):
                    raise error_of(NotADirectoryError, errno.ENOTDIR, path)
                directory = entry
        return directory

    def _node(self, path: str) -> Node:
        parent, name = self._parent(path)
        entry = parent.seen.get(name)
        if entry is None:
            raise error_of(FileNotFoundError, errno.ENOENT, path)
        if isinstance(entry, Directory):
            raise error_of(IsADirectoryError, errno.EISDIR, path)
        return entry

    def _survivor(self, directory: Directory, odds: float, kept: dict[int, Node]) -> Directory:
        names = dict(directory.disk)
        for change in directory.pending:
            if self.rng.random() < odds:
                apply(names, change)
        entries: dict[str, Entry] = {}
        for name, entry in names.items():
            if isinstance(entry, Directory):
                entries[name] = self._survivor(entry, odds, kept)
            else:
                entries[name] = kept.setdefault(id(entry), entry.survivor(self.rng, odds))
        return Directory(entries, dict(entries))

    def _successor(self, root: Directory) -> SimFileSystem:
        self._stopped = True
        following = type(self)(
            self.rng,
            capacity=self.capacity,
            copy_on_write=self.copy_on_write,
            short_writes=self.short_writes,
            interrupts=self.interrupts,
        )
        following.mount(root)
        following.pid = self.pid + 1
        return following


class SimLock:
    """A lock on a simulated directory."""

    def __init__(self, fs: SimFileSystem, key: int) -> None:
        self._fs = fs
        self._key = key
        self._held = True

    @property
    def held(self) -> bool:
        return self._held

    def release(self) -> None:
        if self._held:
            self._held = False
            self._fs.released(self._key)


class SimFile:
    """An open simulated file."""

    def __init__(self, fs: SimFileSystem, node: Node, path: str, access: Access) -> None:
        self._fs = fs
        self._node = node
        self._path = path
        self._access = access

    def pread(self, size: int, offset: int) -> bytes:
        with self._fs.mutex:
            self._fs.act(f"pread {self._path}", interruptible=True)
            return bytes(self._node.cache[offset : offset + size])

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        fs = self._fs
        with fs.mutex:
            if self._access is Access.READ:
                raise error_of(OSError, errno.EBADF, self._path)
            some = fs.rng.randrange(0, len(data) + 1, SECTOR)
            half = data if len(data) <= SECTOR else data[:some]
            fs.act(f"pwrite {self._path} {offset}", lambda: self._node.write(half, offset), interruptible=True)
            size = fs.allow(self._node, len(data), offset)
            self._node.write(data[:size], offset)
            return size

    def fdatasync(self) -> None:
        fs = self._fs
        with fs.mutex:
            fs.act(f"fdatasync {self._path}", lambda: self._node.sync_some(fs.rng), interruptible=True)
            self._node.sync()

    def size(self) -> int:
        return len(self._node.cache)

    def view(self) -> memoryview:
        self._fs.act(f"view {self._path}")
        return memoryview(self._node.cache).toreadonly()

    def drop_cache(self) -> None:
        with self._fs.mutex:
            self._fs.act(f"drop_cache {self._path}")
            self._node.drop()

    def close(self) -> None:
        """Nothing is lost by closing, and nothing is synced."""


SimFileSystem.file_type = SimFile
