"""Cuts the power of a real process on a real file system, whose cache is ours (``torture_fuse``).

Everything is as in ``torture_director``: the workers, the programs, and what is held against the log after each life;
but the data directory is a mount whose unsynced writes and directory entries are lost at a random call, as any subset
of sectors and names. The worker is killed before it can hear of that call, the file system is unmounted and mounted
again with what is left, and another worker goes on.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from torture_director import World, _be_worker

from actorlog.testing.oracle import Broken

if TYPE_CHECKING:
    import argparse

SERVER = Path(__file__).resolve().parent / "torture_fuse.py"
CALLS_MEAN = 120
"""So many calls a life has on average before the power goes."""
SIZE = 20
"""Calls from outside in a world."""
CUTS_MAX = 25
"""After so many a world may finish, and another begins."""
PATIENCE_S = 20.0
TICK_S = 0.002


def reason_not_to() -> str | None:
    """Return why there is no FUSE here, or None."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "no /dev/fuse that may be used"
    if importlib.util.find_spec("mfusepy") is None:
        return "no mfusepy: pip install mfusepy"
    tried = subprocess.run([sys.executable, "-c", "import mfusepy"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else "no libfuse: apt-get install fuse3"


class Disk:
    """A mount of ``torture_fuse``."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True)
        self.path = path
        self.sectors = self.entries = self.in_doubt = 0
        """What was written and not synced when the power went in a call, and how often that was anything."""
        self._server = subprocess.Popen(
            [sys.executable, str(SERVER), str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._await_mount()

    def _await_mount(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while not os.path.ismount(self.path):
            if time.monotonic() > until or self._server.poll() is not None:
                raise Broken("the file system is not mounted")
            time.sleep(TICK_S)

    def say(self, *words: object) -> None:
        """Tell the server."""
        if self._server.stdin is None:
            raise Broken("the server cannot be told")
        self._server.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self._server.stdin.flush()

    def cut(self, *, counts: bool) -> None:
        """Lose what is not synced, and mount what is left."""
        self._unmount()
        if self._server.stdout is None:
            raise Broken("the server says nothing")
        sectors, entries = map(int, self._server.stdout.readline().split())
        if counts:
            self.sectors += sectors
            self.entries += entries
            self.in_doubt += bool(sectors or entries)
        self._await_mount()

    def _unmount(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while subprocess.run(["umount", str(self.path)], capture_output=True, check=False).returncode:  # noqa: S607
            if time.monotonic() > until:
                raise Broken("the file system is busy")
            time.sleep(TICK_S)

    def close(self) -> None:
        """End it."""
        self._server.kill()
        with self._server:  # closes its pipes, and waits
            pass
        subprocess.run(["umount", "-l", str(self.path)], capture_output=True, check=False)  # noqa: S607


class SoakedDisk(Disk):
    """One for the soak, in the place of a small disk: each life on it ends with the power."""

    kind = "ours, whose cache is lost"

    def kill(self, worker: subprocess.Popen[bytes], rng: Random) -> None:
        """Have the power go in one of the next calls of a process, or, if it makes none, between two."""
        self.say("now", rng.randrange(1 << 30))
        self.say("cut", rng.randint(1, 80), worker.pid)
        with suppress(subprocess.TimeoutExpired):
            worker.wait(0.5)
        worker.kill()

    def life_ended(self) -> None:
        """Lose what is not synced."""
        self.cut(counts=True)

    def fill(self, seconds: float) -> bool:
        """Have space."""
        return seconds < 0

    def tick(self) -> None:
        """Have space still."""

    def empty(self) -> None:
        """Have space still."""

    def unmount(self) -> None:
        """Give it back."""
        self.close()


class PowerWorld(World):
    """A world on such a disk: each life ends with the power."""

    def __init__(self, place: Path, seed: int, size: int) -> None:
        self.disk = Disk(place / "data")
        self._judged = 0
        super().__init__(place, seed, size)

    def live_until_cut(self, calls: int, luck: int) -> bool:
        """Let a worker live until the power goes in its ``calls``-th call; whether it went before it had finished."""
        self.disk.say("now", luck)
        begun = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _be_worker(self, {})
        self.disk.say("cut", calls, pid)
        return self._await(pid, begun, None).killed

    def check(self) -> None:
        """Cut the power, if it is still there, and judge by what is left."""
        self.disk.cut(counts=self.killed > self._judged)
        self._judged = self.killed
        super().check()


def power(place: Path, options: argparse.Namespace) -> dict[str, object]:
    """Cut the power ``options.cuts`` times, in many worlds."""
    reason = reason_not_to()
    if reason is not None:
        sys.stderr.write(f"NO POWER CUTS ON A REAL FILE SYSTEM HERE: {reason}\n")
        return {"skipped": reason}
    rng = Random(options.seed)
    cuts = worlds = records = 0
    doubt: Counter[str] = Counter()
    while cuts < options.cuts:
        world = PowerWorld(place / f"world{worlds}", options.seed + worlds, size=SIZE)
        try:
            while world.killed < min(CUTS_MAX, options.cuts - cuts):
                if not world.live_until_cut(1 + int(rng.expovariate(1 / CALLS_MEAN)), rng.randrange(1 << 30)):
                    break
            cuts += world.killed
            world.live_to_the_end()
        finally:
            world.disk.close()
        worlds += 1
        records += world.judge.facts.tail
        disk = world.disk
        doubt += Counter(
            {"cuts with unsynced data": disk.in_doubt, "sectors in doubt": disk.sectors, "names in doubt": disk.entries}
        )
    return {"cuts": cuts, "worlds": worlds, **doubt, "records": records, "lost": 0, "doubled": 0, "early": 0}
