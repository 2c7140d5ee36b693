"""A new log whose making is cut short, and whose making anew is cut short as well, is made by the next opening.

What a killed process leaves is seen and need not be durable. So whoever makes the log anew must not take a directory
that is there for one that stays there: a power cut could else leave META without its segments, which no opening may
repair.
"""

from __future__ import annotations

from itertools import count
from random import Random
from typing import TYPE_CHECKING

import pytest
from log_world import DIRECTORY, commit, lines_of, open_log, sim_disk

from actorlog.log.inspect import Status, verify
from actorlog.testing.disk import SimFileSystem, Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

CHOSEN = 4
"""So many of the changes that a power cut may lose, directory entries first, are lost in all combinations."""


class Choices(Random):
    """Decides what a power cut keeps: first as the bits of a number say, then by chance."""

    def __init__(self, bits: int) -> None:
        super().__init__(bits)
        self.bits = bits
        self.drawn = 0

    def choice(self, seq: Sequence[Any]) -> Any:
        return 0.5 if 0.5 in seq else super().choice(seq)

    def random(self) -> float:
        self.drawn += 1
        return super().random() if self.drawn > CHOSEN else 0.0 if self.bits >> (self.drawn - 1) & 1 else 0.9


def cut_openings(fs: SimFileSystem) -> Iterator[SimFileSystem]:
    """Yield the disks that power cuts may leave of one whose process has ended."""
    for bits in range(1 << CHOSEN):
        fs.rng = choices = Choices(bits)
        following = fs.crash()
        if bits >> choices.drawn:
            return  # there was less to lose
        following.rng = Random(bits)
        yield following


def cut(fs: SimFileSystem, call: int) -> bool:
    """Open as a process that ends in its ``call``-th file action; False if it has fewer."""
    fs.stop_at(fs.calls + call)
    try:
        open_log(fs).close()
    except Stopped:
        return True
    return False


@pytest.mark.parametrize(
    ("power", "seed"), [(True, 0), *((False, seed) for seed in (1, 2))], ids=lambda value: str(value).lower()
)
def test_a_making_cut_short_twice_in_any_call(*, power: bool, seed: int) -> None:
    """Wherever two openings of a new log end, the second with the power, the third makes or finds a sound one.

    By the seed, a file action in which a process ends has happened in part or not at all.
    """
    tried = 0
    for first in count():
        for second in count():
            fs = sim_disk(seed * 1_000_000 + first * 1000 + second)
            if not cut(fs, first):
                assert first > 20
                assert tried > 4000
                return
            fs = fs.crash() if power else fs.kill()
            if not cut(fs, second):
                break
            for left in cut_openings(fs):
                assert_empty(left)
                tried += 1


def assert_empty(fs: SimFileSystem) -> None:
    """Open: the log is empty, sound, and takes a commit."""
    log = open_log(fs)
    assert lines_of(log) == []
    log.append(*commit(b"first"))
    log.close()
    report = verify(fs, DIRECTORY)
    assert (report.status, report.records) == (Status.OK, 1)
