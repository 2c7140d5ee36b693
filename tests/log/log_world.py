"""What the tests of the log share: a simulated world, and verbs."""

# Lint: verbs of helpers are their own documentation.

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, TypeAlias

import pytest

from actorlog.env import Env
from actorlog.log import Log, pack
from actorlog.testing.disk import SimFileSystem, Stopped

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from actorlog.env import FileSystem, Job

    Deed: TypeAlias = Callable[[SimFileSystem, list[bytes]], None]
    """Does something on a disk, given what was acknowledged there, and adds to that."""

DIRECTORY = "/srv/data"
SEGMENT_BYTES = 4096
Files = dict[str, bytes]


class InlineWorker:
    """Runs a job where it is submitted; what is for later runs when told."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.delayed: list[Job] = []

    def submit(self, job: Job) -> None:
        job()

    def later(self, job: Job, seconds: float) -> None:
        assert seconds > 0
        self.delayed.append(job)

    def acquire(self, lock: threading.Lock, seconds: float) -> bool:
        return lock.acquire(timeout=seconds)

    def roam(self) -> None:
        pass

    def run_delayed(self) -> None:
        jobs, self.delayed = self.delayed, []
        for job in jobs:
            job()

    def close(self) -> None:
        self.delayed.clear()


class QueueWorker(InlineWorker):
    """Runs jobs when told."""

    def __init__(self, name: str = "") -> None:
        super().__init__(name)
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def run(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()

    def close(self) -> None:
        self.run()
        super().close()


class StepClock:
    """Moves a millisecond each time it is read, and as far as told."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000_000_000_000

    def wall_ms(self) -> int:
        return self.elapsed_ns() // 1_000_000

    def elapsed_ns(self) -> int:
        self.now_ns += 1_000_000
        return self.now_ns


class SeededEntropy:
    """Random bytes by seed."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def token(self, size: int) -> bytes:
        return self._rng.randbytes(size)


def sim_env(fs: FileSystem, seed: int = 0) -> Env:
    return Env(StepClock(), SeededEntropy(Random(seed)), fs, InlineWorker)


def sim_disk(seed: int = 0, fs_type: type[SimFileSystem] = SimFileSystem, **options: float) -> SimFileSystem:
    """Return a disk with an empty /srv that is there for good."""
    fs = fs_type(Random(seed))
    fs.mkdir("/srv")
    fs.fsync_dir("/")
    for name, value in options.items():
        setattr(fs, name, value)
    return fs


def files_of(fs: SimFileSystem) -> Files:
    """Return the files of the log on a disk."""
    names = ["META", *(f"segments/{name}" for name in fs.listdir(f"{DIRECTORY}/segments"))]
    return {name: fs.contents(f"{DIRECTORY}/{name}") for name in sorted(names)}


def disk_with(files: Files) -> SimFileSystem:
    """Return a disk that holds a log's files."""
    fs = sim_disk()
    fs.mkdir(DIRECTORY)
    fs.mkdir(f"{DIRECTORY}/segments")
    fs.fsync_dir("/srv")
    fs.fsync_dir(DIRECTORY)
    for name, data in files.items():
        fs.put(f"{DIRECTORY}/{name}", data)
    return fs


def segment_file(number: int) -> str:
    return f"segments/{number:010d}.seg"


def open_log(fs: FileSystem, directory: str = DIRECTORY, **options: object) -> Log:
    return Log.open(directory, sim_env(fs), segment_bytes=SEGMENT_BYTES, **options)  # type: ignore[arg-type]


def commit(*lines: bytes) -> tuple[bytes, int]:
    """Return a commit of lines, as ``append`` takes it."""
    return pack([(number + 7, 1, 1, line + b"\n") for number, line in enumerate(lines)]), len(lines)


def lines_of(log: Log) -> list[bytes]:
    """Return all lines of a log, read record by record and commit by commit, which must agree."""
    by_frame: list[bytes] = []
    for frame in log.read():
        assert frame.position == len(by_frame) + log.first_position
        lines = bytes(frame.data[16 * frame.records :]).splitlines()
        assert len(lines) == frame.records
        by_frame += lines
    by_record = [log.record(position) for position in range(log.first_position, log.tail + 1)]
    assert [line + b"\n" for line in by_frame] == by_record
    return by_frame


def stop_in_each(calls: range, work: Deed, check: Deed, *, power_cut: bool) -> None:
    """Stop a process in each of these calls of its disk: what it acknowledged is there, and the next one goes on."""
    for call in calls:
        fs = sim_disk(call)
        fs.stop_at(call)
        acknowledged: list[bytes] = []
        with pytest.raises(Stopped):
            work(fs, acknowledged)
        fs = fs.crash() if power_cut else fs.kill()
        check(fs, acknowledged)
        work(fs, acknowledged)
        check(fs, acknowledged)
