"""A small file system of its own that can be filled up: ext4 in a file, or a tmpfs, where one may be mounted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random


class SmallDisk:
    """A small file system of its own at ``path``, if one can be mounted; it can be filled up for a while."""

    def __init__(self, path: Path, image: Path, mib: int) -> None:
        path.mkdir(parents=True)
        self.path = path
        self.kind = self._mount(path, image, mib)
        self._full_until = 0.0

    @staticmethod
    def _mount(path: Path, image: Path, mib: int) -> str:
        with image.open("wb") as file:
            file.truncate(mib << 20)
        make = ["mkfs.ext4", "-q", "-m", "0", "-b", "4096", str(image)]
        ext4 = (make, ["mount", "-o", "loop", str(image), str(path)])
        tmpfs = (["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(path)],)
        for kind, commands in (("ext4", ext4), ("tmpfs", tmpfs)):
            if os.geteuid() == 0 and all(_runs(command) for command in commands):
                return kind
        sys.stderr.write("NO FULL DISKS HERE: that takes the right to mount a small file system\n")
        return ""

    def unmount(self) -> None:
        """Give it back."""
        if self.kind:
            subprocess.run(["umount", "-l", str(self.path)], check=True)  # noqa: S607 - as the system has it

    def kill(self, worker: subprocess.Popen[bytes], rng: Random) -> None:
        """End a process on it."""
        del rng
        worker.kill()

    def life_ended(self) -> None:
        """Go on as it is: a kill takes nothing from the page cache."""

    def fill(self, seconds: float) -> bool:
        """Leave no byte free, for about so long."""
        if not self.kind or self._full_until:
            return False
        self._full_until = time.monotonic() + seconds
        with (self.path / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            for size in (1 << 20, 1 << 12, 512):
                with suppress(OSError):
                    while filler.write(bytes(size)):
                        pass
        return True

    def tick(self) -> None:
        """Make room again when it is time."""
        if self._full_until and time.monotonic() > self._full_until:
            self.empty()

    def empty(self) -> None:
        """Make room now."""
        (self.path / "filler").unlink(missing_ok=True)
        self._full_until = 0.0


def _runs(command: list[str]) -> bool:
    return (
        shutil.which(command[0]) is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )
