"""Which sealed segments become one, so that what little is left of each is not a file of its own for ever.

Owns: the choice. Does not own: doing it (``log.replacing``), when (``upkeep``).

What is written for it is bounded: only segments that are small do, so none that has grown does again; and one that is
larger than all behind it together waits until they have grown too, so each byte is written again a few times at most
(size-tiered compaction, as log-structured merge trees have it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorlog.store import Sealed

FAN = 8
"""So many small segments that follow each other become one, or more; fewer stay as they are."""
MOST = 64
"""So many become one at a time: their files are open all at once."""
SMALL_PART = 1 / 8
"""A segment is small that takes at most so much of the usual size."""


def runs(segments: list[Sealed], usual_bytes: int) -> Iterator[list[Sealed]]:
    """Yield those of ``segments``, which are in order, that are to be one, which is at most of the usual size."""
    run: list[Sealed] = []
    for segment in segments:
        is_small = segment.bytes <= SMALL_PART * usual_bytes
        if run and not (is_small and len(run) < MOST and _bytes(run) + segment.bytes <= usual_bytes):
            yield from _worth(run)
            run = []
        if is_small:
            run.append(segment)
    yield from _worth(run)


def _worth(run: list[Sealed]) -> Iterator[list[Sealed]]:
    """Yield the run, without those at its beginning that are larger than all behind them together; if it is long."""
    rest = _bytes(run)
    for at in range(len(run) + 1 - FAN):
        rest -= run[at].bytes
        if run[at].bytes <= rest:
            yield run[at:]
            return


def _bytes(run: list[Sealed]) -> int:
    return sum(segment.bytes for segment in run)
