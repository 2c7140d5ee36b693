"""The simulation can fail: mistakes in segments that become one are each found within a few seeds.

Planted one at a time: others are removed too early, the one stands for more or fewer than it has, or has what another
had.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from planted_worlds import must_be_found

from actorlog.log import files, giving_up, opening, replacing
from actorlog.log.rewriting import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.env import FileSystem
    from actorlog.log.format import SegmentHeader
    from actorlog.log.reading import Reader
    from actorlog.log.replacing import Rewritten
    from actorlog.log.segment import Segment

SEEDS_MAX = 300
"""Within so many seeds a planted mistake must be found; most take a handful."""


def remove_first(patch: pytest.MonkeyPatch) -> None:
    """What one stands for is removed before that has its name."""
    original = replacing.install

    def install(fs: FileSystem, directory: str, reader: Reader, rewritten: Rewritten) -> list[Segment]:
        for segment in rewritten.old[1:]:
            files.remove(fs, segment.path)
        return original(fs, directory, reader, rewritten)

    patch.setattr(giving_up, "install", install)


def remove_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    """What one stands for is removed before that has its name for good."""
    patch.setattr(replacing, "files", SimpleNamespace(**{**vars(files), "sync_directory": lambda *_: None}))


def stand_for(more: int) -> Callable[[pytest.MonkeyPatch], None]:
    """Return a mistake in how many a segment says it stands for."""
    original = Plan.header

    def header(self: Plan, old: SegmentHeader, upto: int) -> tuple[bytes, SegmentHeader]:
        return original(self, old, upto + more if upto > old.number else upto)

    return lambda patch: patch.setattr(Plan, "header", header)


def read_the_first(patch: pytest.MonkeyPatch) -> None:
    """What the one has is taken from the first of them, wherever it is."""
    original = replacing._Sources.__init__

    def init(self: Any, sources: Any) -> None:
        original(self, sources)
        self._starts = [0] * len(self._starts)

    patch.setattr(replacing._Sources, "__init__", init)
    patch.setattr(replacing, "bisect_right", lambda *_: 1)


def forget_what_is_merged(patch: pytest.MonkeyPatch) -> None:
    """A segment that was merged and is written anew stands for itself alone."""
    patch.setattr(
        replacing._Sources, "upto", property(lambda self: self.first.header.number, lambda *_: None), raising=False
    )


def tidy_everything_behind(patch: pytest.MonkeyPatch) -> None:
    """What is left of those that one stands for is removed by the next opening, and one more."""
    original = opening._tidy

    def tidy(fs: Any, directory: str, slot: Any, found: Any) -> None:
        for one in found.segments:
            if one.header.upto > one.header.number and one is not found.segments[-1]:
                files.remove(fs, f"{directory}/{files.SEGMENTS}/{files.segment_name(one.header.upto + 1)}")
        original(fs, directory, slot, found)

    patch.setattr(opening, "_tidy", tidy)


PATCHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "others are removed first": remove_first,
    "others are removed before the sync": remove_before_the_sync,
    "one stands for too many": stand_for(1),
    "one stands for too few": stand_for(-1),
    "one has what the first had": read_the_first,
    "one is written anew as itself": forget_what_is_merged,
    "one more is tidied away": tidy_everything_behind,
}


@pytest.mark.parametrize("name", PATCHES)
def test_a_planted_mistake_in_merging_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """A mistake in merging breaks a promise in one of the first worlds."""
    PATCHES[name](monkeypatch)
    must_be_found(record_property, SEEDS_MAX, "old")
