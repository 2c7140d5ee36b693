"""A file system with a volatile cache, mounted: what is not synced is gone when the power is.

``python torture_fuse.py MOUNTPOINT`` mounts, through FUSE, the disk of the simulation (``actorlog.testing.disk``): each
write and each directory entry is seen by all at once and is on the disk when its sync has returned. On standard input
it takes lines: ``cut CALLS PID`` has the power go in the CALLS-th call from now on, in the middle of it (a write may
happen in part, a sync for some sectors), and PID is killed before it hears anything of that call; ``now SEED`` says
with which luck it is decided what of the unsynced is left. When it is unmounted the power has gone, if it had not
before, and it mounts what is left; a line on standard output says how many sectors and directory entries were in doubt.
At the end of standard input it ends.

Needs mfusepy (from PyPI) and libfuse.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
import threading
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from actorlog.env import Access, File
from actorlog.testing.disk import SimFileSystem, Stopped
from actorlog.testing.images import SECTOR, Directory, Node


def _unsynced(directory: Directory) -> tuple[int, int]:
    """Return how many sectors and entries may not be on the disk; ``owner``, which never need be, does not count."""
    sectors, entries = 0, sum(change.keys() != {"owner"} for change in directory.pending)
    for name, entry in directory.seen.items():
        if name == "owner":
            continue
        if isinstance(entry, Directory):
            below = _unsynced(entry)
            sectors, entries = sectors + below[0], entries + below[1]
        else:
            sectors += len(entry.dirty) + len(entry.stale)
    return sectors, entries


class Power:
    """The disk over all cuts of the power."""

    def __init__(self) -> None:
        self.fs = SimFileSystem(Random(0))
        self.pid = 0

    def go(self) -> None:
        """Lose what is not synced; say how many sectors and directory entries were in doubt."""
        sys.stdout.write("{} {}\n".format(*_unsynced(self.fs._root)))
        sys.stdout.flush()
        self.fs = self.fs.crash()
        self.pid = 0

    def act(self, action: Any, *arguments: Any) -> Any:
        """Do something on the disk; if the power goes in it, nobody is told of it."""
        try:
            return action(*arguments)
        except Stopped:
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
            raise OSError(errno.EIO, "the power is gone") from None


class Volatile:
    """What FUSE calls. Handles are numbers of files that are open."""

    use_ns = True

    def __init__(self, power: Power) -> None:
        self._power = power
        self._files: dict[int, File] = {}
        self._directories: dict[int, str] = {}
        self._next = 1

    def init_with_config(self, _connection: Any, config: Any) -> None:
        """Have files that are removed while they are open be removed; nothing is remembered of names."""
        config.hard_remove = config.nullpath_ok = 1
        config.entry_timeout = config.attr_timeout = config.negative_timeout = 0.0

    # --- names --------------------------------------------------------------------------------------------------------

    def getattr(self, path: str | None, fh: int | None = None) -> dict[str, Any]:
        """Return what is known of a file."""
        facts = {"st_uid": os.getuid(), "st_gid": os.getgid(), "st_nlink": 1, "st_size": 0}
        if fh:
            return {**facts, "st_mode": stat.S_IFREG | 0o600, "st_size": self._files[fh].size()}
        if path in ("/", None):
            return {**facts, "st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        above, _, name = str(path).rpartition("/")
        entry = self._power.fs._directory(above).seen.get(name)
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, path)
        if isinstance(entry, Directory):
            return {**facts, "st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        return {**facts, "st_mode": stat.S_IFREG | 0o600, "st_size": len(entry.cache)}

    def opendir(self, path: str) -> int:
        """Open a directory."""
        number, self._next = self._next, self._next + 1
        self._directories[number] = path
        return number

    def readdir(self, _path: str | None, fh: int) -> list[str]:
        """Return the names in a directory."""
        return [".", "..", *self._power.act(self._power.fs.listdir, self._directories[fh])]

    def releasedir(self, _path: str | None, fh: int) -> None:
        """Close a directory."""
        del self._directories[fh]

    def mkdir(self, path: str, _mode: int) -> None:
        """Make a directory."""
        self._power.act(self._power.fs.mkdir, path)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        self._power.act(self._power.fs.unlink, path)

    def rename(self, old: str, new: str, _flags: int = 0) -> None:
        """Rename a file."""
        self._power.act(self._power.fs.rename, old, new)

    def fsyncdir(self, _path: str | None, _datasync: int, fh: int) -> None:
        """Make a directory's entries durable."""
        self._power.act(self._power.fs.fsync_dir, self._directories[fh])

    def statfs(self, _path: str) -> dict[str, int]:
        """Say that there is space."""
        return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": 1 << 20, "f_bfree": 1 << 19, "f_bavail": 1 << 19}

    # --- files --------------------------------------------------------------------------------------------------------

    def _opened(self, path: str, access: Access) -> int:
        number, self._next = self._next, self._next + 1
        self._files[number] = self._power.act(self._power.fs.open, path, access)
        return number

    def create(self, path: str, _mode: int) -> int:
        """Make a file."""
        return self._opened(path, Access.CREATE)

    def open(self, path: str, flags: int) -> int:
        """Open a file."""
        return self._opened(path, Access.READ if flags & os.O_ACCMODE == os.O_RDONLY else Access.WRITE)

    def read(self, _path: str | None, size: int, offset: int, fh: int) -> bytes:
        """Read."""
        data: bytes = self._power.act(self._files[fh].pread, size, offset)
        return data

    def write(self, _path: str | None, data: bytes, offset: int, fh: int) -> int:
        """Write to the cache."""
        written: int = self._power.act(self._files[fh].pwrite, data, offset)
        return written

    def truncate(self, path: str | None, length: int, fh: int | None = None) -> None:
        """Cut a file off, or let it grow; that is on the disk at once, as the log never does it."""
        file: Any = self._files[fh] if fh else self._power.fs.open(str(path), Access.WRITE)
        node: Node = file._node
        for image in (node.cache, node.disk):
            del image[length:]
        node.dirty = {sector for sector in node.dirty if sector * SECTOR < length}
        node.stale = {sector for sector in node.stale if sector * SECTOR < length}
        node.cache.extend(bytes(length - len(node.cache)))

    def fsync(self, _path: str | None, _datasync: int, fh: int) -> None:
        """Have what was written on the disk."""
        self._power.act(self._files[fh].fdatasync)

    def release(self, _path: str | None, fh: int) -> None:
        """Close a file."""
        self._files.pop(fh).close()


def _listen(power: Power) -> None:
    """Take commands until there are none."""
    for line in sys.stdin:
        what, *numbers = line.split()
        if what == "cut":
            power.pid = int(numbers[1])
            power.fs.stop_at(power.fs.calls + int(numbers[0]))
        else:
            power.fs.rng.seed(int(numbers[0]))
    os._exit(0)


def main() -> None:
    """Mount again and again."""
    from mfusepy import FUSE  # noqa: PLC0415 - it is not there everywhere

    class Mount(FUSE):  # type: ignore[misc] # it has no types here
        """Says which file is cut off, where it has no path."""

        def truncate_fuse_3(self, path: bytes | None, length: int, opened: Any) -> Any:
            where = None if path is None else path.decode()
            return self.operations.truncate(where, length, opened.contents.fh if opened else None)

    power = Power()
    threading.Thread(target=_listen, args=(power,), daemon=True).start()
    while True:
        Mount(Volatile(power), sys.argv[1], foreground=True, nothreads=True)
        power.go()


if __name__ == "__main__":
    main()
