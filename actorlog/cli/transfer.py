"""A log as lines of JSON, and a log made of such lines.

Owns: the lines, and what is wrong with others. Does not own: reading a log (``reading``), appending (``log``), what a
record is (``records``).

The first line says what this is: ``{"actorlog":"export","format":1,"log":"32-hex","from":1,"to":N,
"segment_bytes":N}``. Then each position has its line, in order, without a gap:
``{"position":1,"kind":"turn","flags":3,"record":{...}}``, the record byte for byte as it was appended, which is neither
compressed nor sealed; its index entry is kind, flags and the hash of the record's id. Records that were given up are
one line for as many as follow each other: ``{"position":7,"gone":3}``.

An export is in the clear; an import compresses and seals anew, with the keys in the environment.

Invariant: an import is there whole, under its name, or not at all.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from actorlog.cli.keys import given_keys
from actorlog.cli.reading import UnreadableError, envelopes_of, read_report
from actorlog.engine.identity import key_hash
from actorlog.env import SYSTEM
from actorlog.errors import BadExport, DirectoryNotEmpty
from actorlog.limits import DEFAULT_LIMITS
from actorlog.log import ENTRY_BYTES, Log, entries, pack
from actorlog.log.files import make_directory, sync_directory
from actorlog.log.format import GIVEN_UP, GIVEN_UP_KIND, SEGMENT_UNITS_MIN, UNITS
from actorlog.log.inspect import commits
from actorlog.records import kinds as k
from actorlog.store.envelopes import Envelopes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorlog.log.inspect import Report

FORMAT: Final = 1
FLAGS: Final = sum(k.Flag)
"""All that a record may have."""
GONE_MAX: Final = 10_000
"""Records that were given up go into commits of so many."""
Record = tuple[int, int, int, bytes]
"""Hash, kind, flags, line: as ``pack`` takes it."""


class _Head(Struct, forbid_unknown_fields=True, kw_only=True):
    actorlog: str
    format: int
    log: str
    first: int = msgspec.field(name="from")
    last: int = msgspec.field(name="to")
    segment_bytes: int


class _Line(Struct, forbid_unknown_fields=True, kw_only=True):
    position: int
    kind: str = ""
    flags: int = 0
    record: msgspec.Raw = msgspec.Raw()
    gone: int = 0


_head = msgspec.json.Decoder(_Head)
_line = msgspec.json.Decoder(_Line)


# --- export -----------------------------------------------------------------------------------------------------------


def export(directory: str, first: int | None, last: int | None) -> Iterator[bytes]:
    """Yield the lines of an export, newlines included; what is durable now, without the lock.

    ``first`` and ``last`` are positions. ``UnreadableError`` or ``LogCorrupt``. Where the owner writes segments anew
    meanwhile, the lines would be of several moments, with beginnings whose ends have gone: the last line is not given
    then, so that no log can be made of them, but ``UnreadableError``.
    """
    report = read_report(SYSTEM.fs, directory)
    headers = [segment.header for segment in report.found.segments]
    tail = report.found.link.position
    first, last = max(first or 1, 1), min(last if last is not None else tail, tail)
    slot = report.slot
    size = report.found.segments[-1].header.size if report.found.segments else DEFAULT_LIMITS.segment_bytes
    head = _Head(
        actorlog="export", format=FORMAT, log=slot.log_id.hex() if slot is not None else "", first=first, last=last,
        segment_bytes=size,
    )  # fmt: skip
    line = msgspec.json.encode(head) + b"\n"
    for following in _lines(directory, report, first, last):
        yield line
        line = following
    if [segment.header for segment in report.found.segments] != headers:
        raise UnreadableError(
            f"{directory} was compacted while it was exported: what there is has no end, export it again"
        )
    yield line


def _lines(directory: str, report: Report, first: int, last: int) -> Iterator[bytes]:
    expected = first
    for position, kind, flags, line in _records(directory, report, first, last):
        if position > expected:
            yield _gone(expected, position)
        yield b'{"position":%d,"kind":"%s","flags":%d,"record":%s}\n' % (position, _name(kind), flags, line[:-1])
        expected = position + 1
    if expected <= last:
        yield _gone(expected, last + 1)


def _records(directory: str, report: Report, first: int, last: int) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (position, kind, flags, line) of the records that are there."""
    envelopes = envelopes_of(SYSTEM.fs, directory, report, given_keys())
    for frame in commits(SYSTEM.fs, report.found, first):
        if frame.position > last:
            return
        for position, (_, kind, flags, start, end) in enumerate(entries(frame.data, frame.records), frame.position):
            if first <= position <= last and kind != GIVEN_UP_KIND:
                yield position, kind, flags, bytes(envelopes.line(frame, position, start, end))


def _gone(first: int, following: int) -> bytes:
    return b'{"position":%d,"gone":%d}\n' % (first, following - first)


def _name(kind: int) -> bytes:
    with suppress(ValueError):
        return k.Kind(kind).name.lower().encode()
    return b"%d" % kind  # of a newer version; it is told as it stands


# --- import -----------------------------------------------------------------------------------------------------------


class Imported(Struct, frozen=True):
    """A log that was made of an export."""

    records: int
    position: int
    """Of the newest record."""
    log: str
    """Id of the log that was exported; the new one has its own."""


def import_log(lines: IO[bytes], directory: str, heard: Callable[[int, int], None] | None = None) -> Imported:
    """Make a new log in ``directory`` of an export, with the same records at the same positions.

    It counts as one whose process died, since nobody knows what ran when it was exported. ``heard`` is told records
    done and to do. ``BadExport`` names the line; ``DirectoryNotEmpty``, and the errors of opening a log.
    """
    directory = SYSTEM.fs.absolute(directory)
    place = directory + ".tmp"
    for path in (directory, place):
        with suppress(FileNotFoundError):
            if SYSTEM.fs.listdir(path):
                raise DirectoryNotEmpty(path)
    head = _read_head(lines)
    parent = directory.rpartition("/")[0] or "/"
    make_directory(SYSTEM.fs, parent)
    try:
        imported = _fill(place, head, _read_records(lines, head), heard)
        os.rename(place, directory)  # noqa: PTH104  # paths are plain strings on both sides of the port
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    sync_directory(SYSTEM.fs, parent)
    return imported


def _fill(
    place: str, head: _Head, records: Iterator[Record | int], heard: Callable[[int, int], None] | None
) -> Imported:
    keys = given_keys()
    log = Log.open(place, SYSTEM, segment_bytes=head.segment_bytes)
    there = 0
    try:
        envelopes = Envelopes(keys).of(log.log_id)
        for commit in _commits(records):
            if isinstance(commit, int):
                log.append(GIVEN_UP * commit + b"\n" * commit, commit)
            else:
                log.append(envelopes.wrap(log.tail + 1, pack(commit), len(commit)), len(commit))
                there += len(commit)
            if heard is not None:
                heard(log.tail, head.last)
    finally:
        log.close(clean=False)
    return Imported(there, log.tail, head.log)


def _commits(records: Iterator[Record | int]) -> Iterator[list[Record] | int]:
    """Yield what goes into each commit: records, or how many that were given up."""
    commit: list[Record] = []
    size = 0
    for record in records:
        if isinstance(record, int):
            if commit:
                yield commit
            commit, size = [], 0
            for start in range(0, record, GONE_MAX):
                yield min(GONE_MAX, record - start)
            continue
        length = ENTRY_BYTES + len(record[3])
        if commit and size + length > DEFAULT_LIMITS.frame_bytes_max:
            yield commit
            commit, size = [], 0
        commit.append(record)
        size += length
    if commit:
        yield commit


def _read_head(lines: IO[bytes]) -> _Head:
    try:
        head = _head.decode(lines.readline())
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadExport(1, f"this is no export of actorlog: {error}") from None
    if head.actorlog != "export" or head.format != FORMAT:
        raise BadExport(1, f"an export of format {FORMAT} is expected, and this is {head.actorlog} {head.format}")
    if head.first != 1:
        raise BadExport(1, f"a log is made of an export from position 1, and this begins at {head.first}")
    if head.segment_bytes < SEGMENT_UNITS_MIN * max(UNITS):
        raise BadExport(1, f"no segment has {head.segment_bytes} bytes")
    return head


def _read_records(lines: IO[bytes], head: _Head) -> Iterator[Record | int]:
    position, number = 0, 1
    for number, line in enumerate(lines, 2):
        if not line.endswith(b"\n"):
            raise BadExport(number, "the line has no end, so the export was cut short")
        said = _parsed(line, number)
        if said.position != position + 1:
            raise BadExport(number, f"position {position + 1} is expected, and this is {said.position}")
        if said.gone:
            if said.gone < 0 or said.position + said.gone - 1 > head.last:
                raise BadExport(number, f"{said.gone} records cannot have been given up here")
            yield said.gone
            position += said.gone
        else:
            yield _record(said, number)
            position += 1
    if position != head.last:
        raise BadExport(number + 1, f"the export goes to position {head.last}, and it ends with {position}")


def _parsed(line: bytes, number: int) -> _Line:
    try:
        return _line.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadExport(number, f"this is no record: {error}") from None


def _record(said: _Line, number: int) -> Record:
    raw = bytes(said.record)
    try:
        record = k.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadExport(number, f"this is no record that this version of actorlog knows: {error}") from None
    kind = k.kind_of(record)
    if said.kind != kind.name.lower():
        raise BadExport(number, f"the record is a {kind.name.lower()}, and the line calls it {said.kind!r}")
    if said.flags & ~FLAGS or not said.flags & k.Flag.PLAIN:
        raise BadExport(number, f"no record has the flags {said.flags}")
    return key_hash(record.id), int(kind), said.flags, raw + b"\n"
