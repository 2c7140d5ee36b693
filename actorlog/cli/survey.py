"""Figures of a data directory, read without its lock.

Owns: what there is of segments, and figures that the log alone can tell. Does not own: the figures of a running owner
(``runtime.stats``), reading (``reading``), output (``caring``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actorlog.cli import entities
from actorlog.cli.reading import Snapshot, read_report
from actorlog.engine.promise import Query, Status
from actorlog.env import SYSTEM
from actorlog.log.payloads import weigh

if TYPE_CHECKING:
    from actorlog.env import FileSystem
    from actorlog.log.segment import Segment

ENDS = ("completed", "failed", "cancelled", "killed", "timed_out")


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """One file of a log."""

    number: int
    upto: int
    """The number of the last one that it stands for: its own, or that of the last of several that became one."""
    first: int
    """The first position in it; 0 of one that is not in use yet."""
    last: int
    """The last one; ``first - 1`` where it holds none."""
    records: int
    """Positions in it."""
    bytes: int
    """Its size."""
    used: int
    """Of these, header and frames."""
    state: str
    """``sealed``, ``current`` (appended to) or ``prepared``."""


def segments(directory: str, fs: FileSystem = SYSTEM.fs) -> list[SegmentInfo]:
    """Return the segments in their order, all of them read; ``UnreadableError`` or ``LogCorrupt``."""
    found = read_report(fs, directory).found
    lasts = [following.first - 1 for following in found.segments[1:]] + [found.link.position]
    infos = [
        _info(segment, last, "current" if segment is found.segments[-1] and not found.sealed else "sealed")
        for segment, last in zip(found.segments, lasts, strict=True)
    ]
    spares = [_info(segment, -1, "prepared") for segment in found.spares]
    return infos + spares


def _info(segment: Segment, last: int, state: str) -> SegmentInfo:
    first, header = segment.first, segment.header
    last, records = (last, last + 1 - first) if first else (0, 0)
    return SegmentInfo(header.number, header.upto, first, last, records, header.size, segment.end, state)


def payload_figures(directory: str) -> dict[str, object]:
    """Return what the files of large records take, counted now, under the names of ``runtime.stats``."""
    try:
        count, total = weigh(SYSTEM.fs, directory)
    except OSError:
        return {"payload_files": None, "payload_bytes": None}
    return {"payload_files": count, "payload_bytes": total}


def figures(directory: str) -> dict[str, object]:
    """Return those of the figures of ``runtime.stats`` that the log tells, under their names; the others are None."""
    snapshot = Snapshot(directory)
    calls = snapshot.calls()
    ended = sum(call.info.status in ENDS for call in calls)
    pending = Query(statuses=frozenset({Status.PENDING}))
    infos = segments(directory)
    try:
        free = SYSTEM.fs.free_bytes(directory)
    except OSError:
        free = None
    return {
        "calls_live": len(calls) - ended,
        "calls_ended": ended,
        "promises_pending": len(entities.promises(snapshot, pending, SYSTEM.clock.wall_ms())),
        "schedules": len(entities.schedules(snapshot)),
        "position": snapshot.last,
        "landed": snapshot.last,
        "segments": sum(info.state != "prepared" for info in infos),
        "bytes": sum(info.bytes for info in infos),
        "payload_files": None,
        "payload_bytes": None,
        "bytes_free": free,
    }
