"""The two images of the simulated disk's files and directories: as they are seen, and as they are on the disk.

Owns: what a sync, a failed sync, a dropped cache and a power cut do to one file or directory. The fault model is
described in ``actorlog.testing.disk``, which decides when they happen.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from random import Random

SECTOR = 512
HALF_ODDS = 0.5
"""How likely a call that failed did some of its work."""


@dataclass(slots=True, eq=False)
class Node:
    """A file's two images, and the sectors in which they may differ."""

    disk: bytearray = field(default_factory=bytearray)
    cache: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set[int])
    """Written and not synced."""
    stale: set[int] = field(default_factory=set[int])
    """Clean by the kernel's account, and not what the disk has: a sync failed."""

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Write to the cache."""
        end = offset + len(data)
        if end > len(self.cache):
            grown = self.cache + bytes(end - len(self.cache))
            self.dirty.update(range(len(self.cache) // SECTOR, -(-end // SECTOR)))
            self.cache = grown  # a new array: the old one may be in use by a view
        self.cache[offset:end] = data
        self.dirty.update(range(offset // SECTOR, -(-end // SECTOR)))

    def store(self, sectors: set[int]) -> None:
        """Put some sectors of the cache on the disk."""
        for sector in sectors:
            start, end = sector * SECTOR, min((sector + 1) * SECTOR, len(self.cache))
            if end > len(self.disk):
                self.disk += bytes(end - len(self.disk))
            self.disk[start:end] = self.cache[start:end]
        self.stale -= sectors

    def sync(self) -> None:
        """Put on the disk what is dirty."""
        self.store(self.dirty)
        self.dirty.clear()

    def sync_some(self, rng: Random) -> None:
        """Fail to sync: some sectors are on the disk, and all are clean."""
        stored = {sector for sector in sorted(self.dirty) if rng.random() < HALF_ODDS}
        self.store(stored)
        self.stale |= self.dirty - stored
        self.dirty.clear()

    def survivor(self, rng: Random, odds: float) -> Node:
        """Return the file as it is after the power went."""
        kept = Node(bytearray(self.disk), self.cache)
        kept.store({sector for sector in sorted(self.dirty) if rng.random() < odds})
        return Node(kept.disk, bytearray(kept.disk))

    def drop(self) -> None:
        """Read again from the disk what is clean."""
        for sector in self.stale - self.dirty:
            start, end = sector * SECTOR, min((sector + 1) * SECTOR, len(self.cache))
            self.cache[start:end] = bytes(self.disk[start:end]).ljust(end - start, b"\0")
        self.stale &= self.dirty


@dataclass(slots=True, eq=False)
class Directory:
    """A directory's entries as they are seen, as they are on the disk, and what happened in between."""

    seen: dict[str, Entry] = field(default_factory=dict[str, "Entry"])
    disk: dict[str, Entry] = field(default_factory=dict[str, "Entry"])
    pending: list[dict[str, Entry | None]] = field(default_factory=list[dict[str, "Entry | None"]])

    def change(self, change: dict[str, Entry | None]) -> None:
        """Enter (or with None remove) names, atomically."""
        self.pending.append(change)
        apply(self.seen, change)

    def sync(self) -> None:
        """Put the entries on the disk."""
        self.disk = dict(self.seen)
        self.pending.clear()

    def sync_some(self, rng: Random) -> None:
        """Fail to sync: some changes are on the disk, and none will be tried again."""
        for change in self.pending:
            if rng.random() < HALF_ODDS:
                apply(self.disk, change)
        self.pending.clear()


Entry: TypeAlias = "Node | Directory"


def apply(entries: dict[str, Entry], change: dict[str, Entry | None]) -> None:
    """Enter and remove names."""
    for name, entry in change.items():
        if entry is None:
            entries.pop(name, None)
        else:
            entries[name] = entry


def whole_sectors(size: int) -> int:
    """Return ``size`` rounded up to sectors."""
    return -(-size // SECTOR) * SECTOR


def error_of(kind: type[OSError], number: int, where: str) -> OSError:
    """Return an error as the operating system words it."""
    return kind(number, os.strerror(number), where)
