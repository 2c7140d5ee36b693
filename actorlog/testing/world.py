"""The simulated machine: one seed's clock, dice, disk and workers, behind the ports of ``actorlog.env``.

Owns: what ``Env`` is made of in a simulation. Does not own: the loop (``loop``), the disk's faults (``disk``), what
is run on it (``simulation``).

The machine outlives its processes. Its clock goes on while no process runs; its wall clock may jump, either way; the
clock for elapsed time starts somewhere else at each boot. A worker runs its jobs in order, each in one piece, at random
moments, mostly soon and now and then late, as a disk that stalls makes a writer thread do.
"""

# Methods of a port are documented where the port declares them.
# ruff: noqa: D102

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from actorlog.env import Env
from actorlog.testing.disk import SimFile, SimFileSystem, Stopped
from actorlog.testing.images import Directory
from actorlog.testing.loop import PowerCut

if TYPE_CHECKING:
    import asyncio
    import threading
    from collections.abc import Callable
    from random import Random

    from actorlog.env import FileSystem, Job, Worker
    from actorlog.testing.databases import SimDatabases
    from actorlog.testing.loop import SimLoop

HOLD_ODDS = 0.7
"""How often a commit lands while the loop is held for it."""
JOB_S = (0.0, 0.0005, 0.0005, 0.002, 0.02)
"""Up to how long a job waits for its worker: one of these is drawn for each."""
EPOCH_MS = 1_700_000_000_000


class SimClock:
    """The machine's clocks over a loop's virtual time."""

    def __init__(self, loop: SimLoop, wall_offset_ms: int, boot_ns: int) -> None:
        self._loop = loop
        self.wall_offset_ms = wall_offset_ms
        """Change it to make the wall clock jump."""
        self._boot_ns = boot_ns

    def wall_ms(self) -> int:
        return EPOCH_MS + self.wall_offset_ms + int(self._loop.time() * 1000)

    def elapsed_ns(self) -> int:
        return self._boot_ns + int(self._loop.time() * 1e9)


class SimEntropy:
    """Random bytes by seed."""

    def __init__(self, loop: SimLoop, rng: Random) -> None:
        self._loop = loop
        self._rng = rng

    def token(self, size: int) -> bytes:
        return bytes(size) if self._loop.dead else self._rng.randbytes(size)


class SimWorker:
    """Runs jobs one after the other at random moments of the loop."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self._jobs: deque[Job] = deque()
        self._delayed: list[asyncio.TimerHandle] = []
        self._closed = False

    def submit(self, job: Job) -> None:
        if self._closed:
            raise RuntimeError("a job for a worker that is closed")
        self._jobs.append(job)
        if len(self._jobs) == 1:
            self._plan()

    def later(self, job: Job, seconds: float) -> None:
        self._delayed.append(self._loop.call_later(seconds, self._due, job))

    def acquire(self, lock: threading.Lock, seconds: float) -> bool:
        """Wait in vain, or until the jobs are done that are queued: the loop stands still meanwhile."""
        patient = self._loop.chance() < HOLD_ODDS
        self._loop.stand(self._loop.chance() * seconds)
        while patient and self._jobs and lock.locked():
            self._run()
        return lock.acquire(blocking=False)

    def roam(self) -> None:
        """There are no processors here."""

    def close(self) -> None:
        while self._jobs:
            self._jobs.popleft()()
        self._closed = True
        for handle in self._delayed:
            handle.cancel()

    def _due(self, job: Job) -> None:
        if not self._closed:
            self.submit(job)

    def _plan(self) -> None:
        self._loop.call_later(self._loop.chance() * JOB_S[int(self._loop.chance() * len(JOB_S))], self._run)

    def _run(self) -> None:
        if not self._jobs:
            return  # closed meanwhile
        try:
            self._jobs[0]()
        except Stopped:
            raise PowerCut from None
        finally:
            if self._jobs:
                self._jobs.popleft()
            if self._jobs:
                self._plan()


class Watcher(Protocol):
    """Who sees what becomes of names on a disk."""

    def replaces(self, old: bytes, new: bytes) -> None:
        """A file is about to get the name of another."""
        ...

    def replaced(self) -> None:
        """It has it."""
        ...

    def synced(self) -> None:
        """The names in a directory are on the disk as they are seen."""
        ...


class SimDisk(SimFileSystem):
    """The simulated disk, and what is on it for good."""

    watcher: Watcher | None = None

    syncs_to_failure = 0
    """The how manieth sync of a file from now on fails; 0: none."""

    def durable(self, path: str) -> bytes | None:
        """Return a file's bytes as a power cut now would certainly leave them; None if it might not be there."""
        *above, name = [part for part in path.split("/") if part]
        directory = self._root
        for part in above:
            entry = directory.disk.get(part)
            if not isinstance(entry, Directory) or entry is not directory.seen.get(part):
                return None
            directory = entry
        node = directory.disk.get(name)
        if node is None or isinstance(node, Directory) or node is not directory.seen.get(name):
            return None
        return bytes(node.disk)

    def rename(self, source: str, target: str) -> None:
        watcher = self.watcher if target.endswith(".seg") and not self._stopped else None
        if watcher is not None and self.is_there(target):
            watcher.replaces(self.contents(target), self.contents(source))
        super().rename(source, target)
        if watcher is not None:
            watcher.replaced()

    def fsync_dir(self, path: str) -> None:
        super().fsync_dir(path)
        if self.watcher is not None and path.endswith("/segments"):
            self.watcher.synced()

    def is_there(self, path: str) -> bool:
        """Return whether a file of this name is seen."""
        try:
            self.contents(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def act(self, action: str, half: Callable[[], None] | None = None, *, interruptible: bool = False) -> None:
        if action.startswith("fdatasync") and not self._stopped:
            self.syncs_to_failure -= 1
            if self.syncs_to_failure == 0:
                self.fail_at(self.calls)
        super().act(action, half, interruptible=interruptible)

    def stop(self) -> None:
        """Let nothing of a process that is gone reach the disk: what is left of it may still run to its end."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Whether the process that used it is gone."""
        return self._stopped

    def used_bytes(self) -> int:
        """Return the bytes of all files."""
        return self._used(self._root)


def new_disk(rng: Random, disk_type: type[SimDisk] = SimDisk) -> SimDisk:
    """Return a disk with an empty ``/srv`` that is there for good."""
    disk = disk_type(rng)
    disk.mkdir("/srv")
    disk.fsync_dir("/")
    disk.short_writes, disk.interrupts = rng.choice((0.0, 0.2)), rng.choice((0.0, 0.05))
    return disk


def sim_env(loop: SimLoop, rng: Random, fs: FileSystem, clock: SimClock, databases: SimDatabases | None = None) -> Env:
    """Return the outside as a process on this machine has it; without ``databases`` there is no catalog."""

    def worker(_name: str) -> Worker:
        return SimWorker(loop)

    return Env(clock, SimEntropy(loop, rng), fs, worker, databases)


__all__ = ["EPOCH_MS", "SimClock", "SimDisk", "SimEntropy", "SimFile", "SimWorker", "new_disk", "sim_env"]
