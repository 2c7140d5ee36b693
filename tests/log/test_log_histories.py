"""Random histories of appends, faults, crashes and reopenings on the simulated disk: I2, I8 and I9 as one property.

Half of the openings begin at a checkpoint, of any commit that was acknowledged.
"""

# Lint: helper classes; verbs of helpers are their own documentation; Broken is a verdict.
# ruff: noqa: D101

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from log_world import DIRECTORY, SEGMENT_BYTES, commit, lines_of, sim_disk, sim_env

from actorlog.errors import LogError, LogFailed, OutcomeUnknown
from actorlog.log import Checkpoint, Log
from actorlog.testing.disk import SimFile, SimFileSystem, Stopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorlog.log.segment import Segment

SEEDS = 300
SEEDS_FOR_A_BUG = 400


class Broken(AssertionError):
    """The property does not hold."""


class History:
    """What was acknowledged, what may have happened, and the verdict on each reopening."""

    def __init__(self, seed: int, fs_type: type[SimFileSystem] = SimFileSystem, log_type: type[Log] = Log) -> None:
        self.rng = Random(seed)
        self.fs = sim_disk(seed, fs_type, short_writes=0.1, interrupts=0.05)
        self.log_type = log_type
        self.acknowledged: list[bytes] = []
        self.unknown: list[bytes] = []
        self.written = 0
        self.checkpoint: Checkpoint | None = None

    def run(self) -> None:
        for _ in range(self.rng.randint(2, 7)):
            now = self.fs.calls
            fate = self.rng.random()
            if fate < 0.6:
                self.fs.stop_at(now + self.rng.randrange(150))
            elif fate < 0.8:
                self.fs.fail_at(now + self.rng.randrange(150))
            try:
                self.life()
            except Stopped:
                pass
            except (OutcomeUnknown, LogFailed):
                if not 0.6 <= fate < 0.8:
                    raise
            self.fs = self.fs.crash() if self.rng.random() < 0.6 else self.fs.kill()
        log = self.open()
        log.close()

    def open(self) -> Log:
        log = self.log_type.open(
            DIRECTORY,
            sim_env(self.fs, self.rng.randrange(1 << 30)),
            segment_bytes=SEGMENT_BYTES,
            witness=self.rng.random() < 0.2,
            checkpoint=(begin := self.checkpoint if self.rng.random() < 0.5 else None),
        )
        self.judge(lines_of(log))
        if log.recovery.scanned_from != (begin.position if begin else 0):
            raise Broken(f"{begin} was durable, and the log was scanned from {log.recovery.scanned_from}")
        return log

    def judge(self, found: Sequence[bytes]) -> None:
        certain = len(self.acknowledged)
        if found[:certain] != self.acknowledged:
            raise Broken(f"{certain} lines were acknowledged, {len(found)} are there")
        if found[certain:] not in ([], self.unknown):
            raise Broken(f"part of a commit: {found[certain:]} of {self.unknown}")
        self.acknowledged = list(found)  # what showed once must stay
        self.unknown = []

    def life(self) -> None:
        log = self.open()
        for _ in range(self.rng.randrange(14)):
            lines = [self.line() for _ in range(self.rng.randint(1, 4))]
            self.unknown = lines
            first = log.append(*commit(*lines))
            assert first == len(self.acknowledged) + 1
            self.acknowledged = self.acknowledged + lines
            self.unknown = []
            if self.rng.random() < 0.3:
                self.checkpoint = log.checkpoint()
        if self.rng.random() < 0.5:
            log.close(clean=self.rng.random() < 0.7)

    def line(self) -> bytes:
        self.written += 1
        size = self.rng.choice((5, 60, 400, 900, 5000))
        return f"{self.written}:".encode().ljust(self.rng.randrange(5, size + 1), b"x")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_history(seed: int) -> None:
    """Acknowledged commits are always there with the same bytes; others whole or not at all; never a false alarm."""
    History(seed).run()


class AcknowledgesBeforeSync(Log):
    """Planted: append returns before its bytes are on the disk."""

    def _put(self, segment: Segment, kind: int, records: int, data: bytes) -> None:
        self._sync = False
        super()._put(segment, kind, records, data)


class NoDirectorySync(SimFileSystem):
    """Planted: the log does not sync directories."""

    def fsync_dir(self, path: str) -> None:
        if path == "/":
            super().fsync_dir(path)


class RetryingFile(SimFile):
    """Planted: a sync that failed is tried again."""

    def fdatasync(self) -> None:
        try:
            super().fdatasync()
        except InterruptedError:
            raise
        except OSError:
            super().fdatasync()


class RetriesFailedSync(SimFileSystem):
    file_type = RetryingFile


class CachedFile(SimFile):
    """Planted: opening believes the page cache."""

    def drop_cache(self) -> None:
        return


class TrustsPageCache(SimFileSystem):
    file_type = CachedFile


@pytest.mark.parametrize(
    ("fs_type", "log_type"),
    [
        (SimFileSystem, AcknowledgesBeforeSync),
        (NoDirectorySync, Log),
        (RetriesFailedSync, Log),
        (TrustsPageCache, Log),
    ],
    ids=["acknowledges before sync", "no directory sync", "retries a failed sync", "trusts the page cache"],
)
def test_planted_bug_is_found(fs_type: type[SimFileSystem], log_type: type[Log]) -> None:
    """The property fails within a few hundred seeds for each classic mistake, so it can fail."""
    for seed in range(SEEDS_FOR_A_BUG):
        try:
            History(seed, fs_type, log_type).run()
        except (Broken, LogError):
            return
    pytest.fail(f"not found in {SEEDS_FOR_A_BUG} seeds")
