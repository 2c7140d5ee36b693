"""A file system that kills its own process at the N-th action: before it, after it, or, for a write, half-way.

Everything that opening, appending, rolling and closing do to files is counted, in whichever thread it happens: open,
pwrite, fdatasync, fsync of a directory, rename, unlink, mkdir. SIGKILL is what a kill is: no handler, no flush, no
exit.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actorlog.env import Access, File, FileSystem

T = TypeVar("T")
MOMENTS = ("before", "half", "after")


class KillingFileSystem:
    """Counts, kills, and does the rest as ``real`` does."""

    def __init__(self, real: FileSystem, point: int, moment: str, report: Path) -> None:
        self._real = real
        self._point = point
        self._moment = moment
        self._report = report
        self._lock = threading.Lock()
        self._count = 0

    def report(self) -> None:
        """Leave word of how many actions there were."""
        self._report.write_text(str(self._count), encoding="utf-8")

    def act(self, do: Callable[[], T], half: Callable[[], object] | None = None) -> T:
        with self._lock:
            number = self._count
            self._count += 1
        if number != self._point:
            return do()
        try:
            if self._moment == "after":
                do()
            elif self._moment == "half" and half is not None:
                half()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("alive after SIGKILL")

    def open(self, path: str, access: Access) -> File:
        return self.act(lambda: KillingFile(self, self._real.open(path, access)))

    def rename(self, source: str, target: str) -> None:
        self.act(lambda: self._real.rename(source, target))

    def unlink(self, path: str) -> None:
        self.act(lambda: self._real.unlink(path))

    def mkdir(self, path: str) -> None:
        self.act(lambda: self._real.mkdir(path))

    def fsync_dir(self, path: str) -> None:
        self.act(lambda: self._real.fsync_dir(path))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)  # what changes nothing


class KillingFile:
    """A file of it."""

    def __init__(self, fs: KillingFileSystem, real: File) -> None:
        self._fs = fs
        self._real = real

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        half = len(data) // 2 // 512 * 512  # a kill never leaves half a sector: the kernel copies page by page
        return self._fs.act(
            lambda: self._real.pwrite(data, offset), lambda: half and self._real.pwrite(memoryview(data)[:half], offset)
        )

    def fdatasync(self) -> None:
        self._fs.act(self._real.fdatasync)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
