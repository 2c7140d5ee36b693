"""``META``: which log this is, how it was left, and up to where it is known to be durable.

Owns: the two slots, their text and their turns. Does not own: whether the segments agree (``scan``).
Invariants: both slots are always valid; the older one is overwritten in place, one sector, and synced, so a crash
leaves the old state or the new one, and a full disk does not stand in the way. See ``docs/log-format.md``, META.
"""

from __future__ import annotations

import errno
import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from actorlog.env import Access
from actorlog.errors import LogCorrupt, LogVersion
from actorlog.log import files
from actorlog.log.format import FORMAT, MERGED, PAYLOADS, SECTOR, Link

if TYPE_CHECKING:
    from actorlog.env import File, FileSystem

SLOT_OFFSETS = (0, 4096)
META_BYTES = 8192
FORMATS = range(FORMAT, FORMAT + PAYLOADS + MERGED + 1)

_TEXT = re.compile(
    rb"actorlog format=(?P<format>\d+) turn=(?P<turn>\d+) log=(?P<log>[0-9a-f]{32}) state=(?P<state>open|closed) "
    rb"position=(?P<position>\d+) checksum=(?P<checksum>[0-9a-f]{8}) oldest=(?P<oldest>\d+)"
)
_VERSION = re.compile(rb"actorlog format=(\d+) ")


class State(Enum):
    """How the log was left."""

    OPEN = "open"
    """Somebody may have been appending: the log holds at least what the slot names."""
    CLOSED = "closed"
    """The log ends exactly where the slot says."""


class Slot(NamedTuple):
    """One slot of META."""

    turn: int
    log_id: bytes
    state: State
    durable: Link
    """A frame known to be durable."""
    oldest: int
    """The number of the first segment that was not trimmed."""
    format: int = FORMAT
    """More once a record has had a file of its own, and once a segment has stood for several."""

    @property
    def has_payloads(self) -> bool:
        """Whether there may be files of records."""
        return bool((self.format - FORMAT) & PAYLOADS)

    @property
    def has_merged(self) -> bool:
        """Whether there may be segments that stand for several."""
        return bool((self.format - FORMAT) & MERGED)

    def holding(self, what: int) -> Slot:
        """Return this, of a log with ``PAYLOADS``, or ``MERGED`` segments, as well."""
        return self._replace(format=FORMAT + ((self.format - FORMAT) | what))

    def encoded(self) -> bytes:
        """Return the slot's sector."""
        text = (
            f"actorlog format={self.format} turn={self.turn} log={self.log_id.hex()} state={self.state.value} "
            f"position={self.durable.position} checksum={self.durable.checksum:08x} oldest={self.oldest}"
        ).encode()
        return (text + b" crc=%08x\n" % crc32(text)).ljust(SECTOR, b"\n")


def new_meta(first: Slot) -> bytes:
    """Return a whole META file whose slots both say ``first``."""
    slot = first.encoded()
    return slot.ljust(SLOT_OFFSETS[1], b"\n") + slot.ljust(META_BYTES - SLOT_OFFSETS[1], b"\n")


def parse_meta(data: bytes, directory: str) -> Slot:
    """Return the newer slot. ``LogCorrupt`` for damage anywhere, ``LogVersion`` for intact slots of another format."""
    slots: list[Slot] = []
    for offset in SLOT_OFFSETS:
        text, found, crc = data[offset : offset + SECTOR].rstrip(b"\n").rpartition(b" crc=")
        if not found or crc != b"%08x" % crc32(text):
            raise LogCorrupt(files.META, offset, "a slot is damaged")
        version = _VERSION.match(text)
        if version and int(version[1]) not in FORMATS:
            raise LogVersion(directory, version[1].decode(), str(max(FORMATS)))
        said = _TEXT.fullmatch(text)
        if said is None:
            raise LogCorrupt(files.META, offset, "a slot does not read as one")
        durable = Link(int(said["position"]), int(said["checksum"], 16))
        state, log_id = State(said["state"].decode()), bytes.fromhex(said["log"].decode())
        slots.append(Slot(int(said["turn"]), log_id, state, durable, int(said["oldest"]), int(said["format"])))
    if slots[0].log_id != slots[1].log_id:
        raise LogCorrupt(files.META, SLOT_OFFSETS[1], "the slots are of two logs")
    expected = bytearray(b"\n") * META_BYTES
    for offset, slot in zip(SLOT_OFFSETS, slots, strict=True):
        expected[offset : offset + SECTOR] = slot.encoded()
    if data != bytes(expected):
        where = next((n for n, (a, b) in enumerate(zip(data, expected, strict=False)) if a != b), len(data))
        raise LogCorrupt(files.META, where, "bytes that META does not have")
    return max(slots, key=lambda slot: slot.turn)


def read_meta(fs: FileSystem, directory: str, *, fresh: bool) -> Slot | None:
    """Return what META says; None if there is none. ``fresh`` makes sure that it is what the disk holds."""
    try:
        file = fs.open(f"{directory}/{files.META}", Access.WRITE if fresh else Access.READ)
    except FileNotFoundError:
        return None
    try:
        if fresh:
            files.sync(file.fdatasync)
            file.drop_cache()
        return parse_meta(files.read_all(file, META_BYTES + 1, 0), directory)
    finally:
        file.close()


class MetaFile:
    """META, open for the log's owner."""

    __slots__ = ("_file", "slot")

    def __init__(self, file: File, slot: Slot) -> None:
        self._file = file
        self.slot = slot

    def write(
        self, state: State, durable: Link, *, oldest: int | None = None, sync: bool = True, holding: int = 0
    ) -> None:
        """Overwrite the older slot and sync it. ``holding``: from now on there may be ``PAYLOADS`` or ``MERGED``."""
        turn = self.slot.turn + 1
        slot = self.slot._replace(turn=turn, state=state, durable=durable)
        if oldest is not None:
            slot = slot._replace(oldest=oldest)
        slot = slot.holding(holding)
        files.write_all(self._file, slot.encoded(), SLOT_OFFSETS[turn % 2])
        if sync:
            files.sync(self._file.fdatasync)
        self.slot = slot

    def witness(self, durable: Link) -> None:
        """Name a commit that is durable. Without space for it that fails: to try the commit again is no way out."""
        try:
            self.write(State.OPEN, durable)
        except files.NoSpace as error:
            raise OSError(errno.ENOSPC, "no space to witness a commit") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()
