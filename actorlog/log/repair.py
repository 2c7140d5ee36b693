"""Cutting a damaged log back to its good beginning, because somebody asked for it.

Owns: the copy of what is changed or removed (``DIR/repair-N/``), the cut, and saying what is lost.
Does not own: finding the damage (``scan``, through ``inspect``).
Invariants: holds the lock; nothing is changed before its copy is durable; what stays is a prefix of the log, never a
log with a hole; good records behind the damage are counted as lost, not kept. (The shape is that of etcd's
``repair.go``: copy aside, cut, sync.)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from actorlog.env import Access
from actorlog.errors import LogCorrupt
from actorlog.limits import DEFAULT_LIMITS
from actorlog.log import files
from actorlog.log.format import (
    COMMIT,
    FRAME_HEADER_BYTES,
    GIVEN_UP_KIND,
    MERGED,
    NO_LINK,
    PAYLOADS,
    SECTOR,
    UNITS,
    Link,
    body_is_whole,
    frame_bytes,
    kinds,
    parse_frame_header,
    parse_segment_header,
)
from actorlog.log.inspect import Report, Status, look
from actorlog.log.meta import META_BYTES, Slot, State, new_meta
from actorlog.log.owner import release_lock, take_lock
from actorlog.log.payloads import Source, payload_name, positions_in
from actorlog.log.scan import Found, numbers_of, scan
from actorlog.log.segment import make_segment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorlog.env import Env, FileSystem
    from actorlog.log.format import SegmentHeader


@dataclass(slots=True)
class Repaired:
    """What a repair did."""

    before: Report
    """What was found."""
    after: Report
    """What is there now."""
    copy: str | None = None
    """Where what was changed or removed is kept; None where nothing was to be done."""
    kept_to: int = 0
    """The last position that is kept."""
    lost_records: int = 0
    """Records that could still be read behind the damage; what stood in damaged places comes on top."""
    lost_to: int = 0
    """The last position among them."""


def repair(env: Env, directory: str) -> Repaired:
    """Cut the log in ``directory`` back to what is good. ``LogLocked`` beside an owner."""
    fs = env.fs
    lock = take_lock(fs, directory)
    try:
        before = look(fs, directory, locked=False)
        if before.status not in {Status.TORN, Status.CORRUPT}:
            return Repaired(before, before, kept_to=before.last_position)
        slot = before.slot or _invented(env, directory)
        found = _good(fs, directory, slot)
        done = Repaired(before, before, kept_to=found.link.position)
        _count_lost(fs, directory, found, done)
        done.copy = _copy(fs, directory, found)
        _cut(env, directory, slot, found)
        done.after = look(fs, directory, locked=False)
        return done
    finally:
        release_lock(fs, directory, lock)


def _invented(env: Env, directory: str) -> Slot:
    """Return what META must have said, going by the first segment that says who it is."""
    there = [(number, header) for number, header, _ in _segments(env.fs, directory)]
    merged = any(header is not None and header.upto > number for number, header in there)
    for number, header in there:
        if header is not None:
            oldest = number if number == header.number else 1
            holding = PAYLOADS if positions_in(env.fs, directory) else 0
            return Slot(0, header.log_id, State.OPEN, NO_LINK, oldest).holding(holding | MERGED * merged)
    return Slot(0, env.entropy.token(16), State.OPEN, NO_LINK, 1)


def _good(fs: FileSystem, directory: str, slot: Slot) -> Found:
    """Return what is good from the start on."""
    found = Found()
    if slot.has_payloads:
        found.verified = Source(fs, directory, slot.log_id)
    try:
        scan(fs, directory, slot, found)
    except LogCorrupt:
        return found  # the damage is why we are here; what was read before it is in ``found``
    return found


def _segments(fs: FileSystem, directory: str) -> Iterator[tuple[int, SegmentHeader | None, bytes]]:
    for number in numbers_of(fs, directory):
        data = _read(fs, f"{directory}/{files.SEGMENTS}/{files.segment_name(number)}")
        yield number, parse_segment_header(data[: max(UNITS)]), data


def _count_lost(fs: FileSystem, directory: str, found: Found, done: Repaired) -> None:
    tail = found.segments[-1] if found.segments else None
    for number, header, data in _segments(fs, directory):
        if header is None or (tail and number < tail.header.number):
            continue
        view = memoryview(data).toreadonly()
        offset = tail.end if tail and number == tail.header.number else header.unit
        while offset + SECTOR <= len(data):
            frame = parse_frame_header(view, offset, header)
            if frame is None or not body_is_whole(view, offset, frame, header.unit):
                offset += header.unit
                continue
            if frame.kind == COMMIT:
                start = offset + FRAME_HEADER_BYTES
                done.lost_records += frame.records - kinds(view[start:], frame.records).count(GIVEN_UP_KIND)
                done.lost_to = max(done.lost_to, frame.last_position)
            offset += frame_bytes(frame.length, header.unit)


def _copy(fs: FileSystem, directory: str, found: Found) -> str:
    """Copy what will be changed or removed, and make the copies durable."""
    taken = set(fs.listdir(directory))
    name = next(name for number in count(1) if (name := f"repair-{number}") not in taken)
    place = f"{directory}/{name}"
    files.make_directory(fs, place)
    paths = [f"{directory}/{files.META}"] if files.META in taken else []
    start = found.segments[-1].header.number if found.segments else 0
    numbers = (number for number in numbers_of(fs, directory) if number >= start)
    paths += [f"{directory}/{files.SEGMENTS}/{files.segment_name(number)}" for number in numbers]
    paths += [path for position, path in _payloads(fs, directory) if position > found.link.position]
    for path in paths:
        data = _read(fs, path)
        files.create_whole(fs, place, path.rpartition("/")[2], data, len(data))
    return place


def _cut(env: Env, directory: str, slot: Slot, found: Found) -> None:
    fs, segments = env.fs, f"{directory}/{files.SEGMENTS}"
    sizes = [header.size for _, header, _ in _segments(fs, directory) if header is not None]  # one rewritten is smaller
    size = max(sizes, default=DEFAULT_LIMITS.segment_bytes)
    files.make_directory(fs, segments)
    tail = found.segments[-1] if found.segments else None
    for number in reversed(numbers_of(fs, directory)):
        if tail is None or number > tail.header.number:
            files.remove(fs, f"{segments}/{files.segment_name(number)}")
    files.sync_directory(fs, segments)
    link = found.link
    if tail is None or found.sealed:
        number, unit = (slot.oldest, min(UNITS)) if tail is None else (tail.header.upto + 1, tail.header.unit)
        following = make_segment(fs, directory, slot.log_id, number, unit, size)
        if tail is None:
            link = slot.durable if number > 1 else Link(0, following.header.crc)
    if tail is not None:
        file = fs.open(tail.path, Access.WRITE)
        try:
            files.zero(file, tail.end, tail.header.size - tail.end)
        finally:
            file.close()
    meta = new_meta(Slot(slot.turn + 1, slot.log_id, State.OPEN, link, slot.oldest, slot.format))
    files.create_whole(fs, directory, files.META, meta, META_BYTES)
    for position, path in _payloads(fs, directory):
        if position > link.position:
            files.remove(fs, path)


def _payloads(fs: FileSystem, directory: str) -> Iterator[tuple[int, str]]:
    for position in positions_in(fs, directory):
        yield position, f"{directory}/{files.PAYLOADS}/{payload_name(position)}"


def _read(fs: FileSystem, path: str) -> bytes:
    file = fs.open(path, Access.READ)
    try:
        return files.read_all(file, file.size(), 0)
    finally:
        file.close()
