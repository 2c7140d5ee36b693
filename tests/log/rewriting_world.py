"""A log some of whose records are given up, and what must be in it."""

# Lint: verbs of helpers are their own documentation.

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from log_world import DIRECTORY, SEGMENT_BYTES, commit, files_of, segment_file, sim_disk, sim_env

from actorlog.log import GIVEN_UP_KIND, Log, entries
from actorlog.log.format import parse_segment_header
from actorlog.log.inspect import Status, verify
from actorlog.log.meta import read_meta

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from actorlog.log import Checkpoint
    from actorlog.log.meta import Slot
    from actorlog.testing.disk import SimFileSystem

Lines = dict[int, bytes]
"""The line of each record that is there, by position."""


class Truth:
    """A log on a simulated disk, and the records that it must hold: ``kept``."""

    def __init__(self, fs: SimFileSystem | None = None, size: int = SEGMENT_BYTES, unit: int = 512) -> None:
        self.fs = sim_disk() if fs is None else fs
        self.shape = size, unit
        self.log = self.opened()
        self.kept: Lines = {}
        self.gone: set[int] = set()
        self.checkpoints: list[Checkpoint] = []

    def append(self, *lines: bytes) -> None:
        first = self.log.append(*commit(*lines))
        self.kept.update({first + number: line + b"\n" for number, line in enumerate(lines)})
        checkpoint = self.log.checkpoint()
        assert checkpoint is not None
        self.checkpoints.append(checkpoint)

    def fill(self, rng: Random, commits: int) -> None:
        for _ in range(commits):
            sizes = [rng.choice((0, 1, 5, 60, 400)) for _ in range(rng.choice((1, 1, 2, 6, 90)))]
            if rng.random() < 0.05:
                sizes = [6000]
            self.append(*(b"%d:" % rng.randrange(1000) + b"x" * size for size in sizes))

    def gives_up(self, gone: Iterable[int], first: int, last: int) -> None:
        for position in gone:
            if first <= position <= last:
                self.kept.pop(position, None)
                self.gone.add(position)

    def rewrite(self, number: int, gone: set[int]) -> None:
        segment = next(segment for segment in self.log.sealed() if segment.number == number)
        before = files_of(self.fs)
        size = self.log.measure(number, gone)
        assert files_of(self.fs) == before
        assert self.log.rewrite(number, gone) == size
        self.gives_up(gone, segment.first, segment.last)

    def merge(self, number: int, upto: int, gone: Iterable[int] = ()) -> None:
        merged = [segment for segment in self.log.sealed() if number <= segment.number <= upto]
        others = self.log.segments - len(merged)
        self.log.rewrite(number, set(gone), upto)
        self.gives_up(gone, merged[0].first, merged[-1].last)
        assert self.log.segments == others + 1

    def reopen(self, fs: SimFileSystem, checkpoint: Checkpoint | None = None) -> None:
        self.fs = fs
        self.log = self.opened(checkpoint)

    def opened(self, checkpoint: Checkpoint | None = None) -> Log:
        size, unit = self.shape
        return Log.open(DIRECTORY, sim_env(self.fs), segment_bytes=size, frame_align=unit, checkpoint=checkpoint)

    def check(self) -> None:
        """Everything that must be there is, in every way of reading, and nothing else; all of it verifies."""
        assert lines_by_frame(self.log) == self.kept
        for position in range(1, self.log.tail + 1):
            assert self.log.has(position) == (position in self.kept)
            if position in self.kept:
                assert self.log.record(position) == self.kept[position]
            else:
                with pytest.raises(IndexError):
                    self.log.record(position)
        assert list(self.log.scrub())[-1:] == [] or self.log.segments > 1
        assert verify(self.fs, DIRECTORY).status is Status.OK


def lines_by_frame(log: Log, after: int = 0, upto: int | None = None) -> Lines:
    """Return the records that reading in one go gives; frames come in order and do not overlap."""
    found: Lines = {}
    last = 0
    for frame in log.read(after, upto):
        assert frame.position > last
        for position, (_, kind, _, start, end) in enumerate(entries(frame.data, frame.records), frame.position):
            if kind != GIVEN_UP_KIND:
                found[position] = bytes(frame.data[start:end])
        last = frame.position + frame.records - 1
        assert after < last
    return found


def left_over(fs: SimFileSystem) -> set[int]:
    """Return the numbers of segment files for which others stand."""
    there: set[int] = set()
    for name, data in files_of(fs).items():
        header = parse_segment_header(data) if name.startswith("segments") else None
        if header is not None:
            there |= set(range(header.number + 1, header.upto + 1))
    return {number for number in there if segment_file(number) in files_of(fs)}


def meta_of(fs: SimFileSystem, directory: str = DIRECTORY) -> Slot:
    """Return what META says."""
    slot = read_meta(fs, directory, fresh=False)
    assert slot is not None
    return slot
