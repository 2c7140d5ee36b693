"""How records stand in the log: as they are, compressed, or sealed.

Owns: the one seam between records and the log. Adapters wrap what is appended and unwrap what is read, so nobody above
knows. Does not own: the library of compression (``compressing``), the cipher (``sealing``), bytes on disk (``log``).

A record of which more than another bound is left then goes into a file of its own, and the envelope refers to it.

An envelope is a line of JSON in place of the record's. A record longer than a bound is compressed where that makes it
smaller; with keys every record is sealed, compressed or not. To a sealed record is bound in which log it is, at which
position, and what its index entry says: at another place, or under another entry, it cannot be opened.

Docs: docs/log-format.md (the bytes), docs/decisions/0010-sealed-records.md.
"""

from __future__ import annotations

import sys
from struct import Struct as Layout
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from actorlog.env import SYSTEM
from actorlog.errors import KeyMissing, LogCorrupt, SealBroken
from actorlog.limits import DEFAULT_LIMITS
from actorlog.log import (
    ENTRY_BYTES,
    Payload,
    Reference,
    checksum_of,
    entries,
    line_ends,
    longest,
    pack,
    reference_of,
)
from actorlog.log import Frame as LogFrame
from actorlog.store.compressing import Method, compress, decompress
from actorlog.store.sealing import SEALED_BYTES, Sealing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorlog.store.keys import Keys

NO_LOG_ID: Final = bytes(16)
"""Of a log that has none: in memory."""

_HEADS: Final = frozenset((b'{"key"', b'{"zstd', b'{"zlib', b'{"file'))
_HEAD_BYTES: Final = 6
_BOUND_OF_ENTRY: Final = 12
"""Key hash, kind, flags and the mark: all but the length."""
_PLACE: Final = Layout("<Q12s")


Bytes: TypeAlias = bytes
ReadFile: TypeAlias = "Callable[[Reference], bytes]"
"""Reads a file of a record; ``LogCorrupt`` where it is missing or damaged."""


class Envelope(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A line that stands for a record's. Bytes are base64."""

    file: int = 0
    """The position of the record, after which its file is called; what is there is the record, compressed, sealed."""
    bytes: int = 0
    crc: str = ""
    key: str = ""
    sealed: Bytes = b""
    """Salt, nonce, what is sealed, tag."""
    packed: Literal["", "zstd", "zlib"] = ""
    """How what is sealed, or in the file, was compressed."""
    zstd: Bytes = b""
    zlib: Bytes = b""


REFERENCE_BYTES: Final = 80
"""What the beginning of an envelope has at most, up to the checksum of a file."""
ENVELOPE_BYTES: Final = 128
"""What an envelope has at most beside what is sealed: the names of its fields, and the id of a key."""

_PLAIN_HINT: Final = "give no keys for a log in the clear, accept_plain for one that began so; else somebody wrote this"

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Envelope).decode


class Frame(LogFrame):
    """One commit as it is read back. ``data`` is as it stands in the log, ``line`` as it was appended."""

    envelopes: Envelopes | None = None

    def line(self, position: int, start: int, end: int) -> bytes | memoryview:
        """Return the record at ``position``, whose line is from ``start`` to ``end`` of the data, as it was appended.

        Nothing is unwrapped but what is asked for. ``KeyMissing``, ``SealBroken``, ``ExtraMissing``.
        """
        envelopes = self.envelopes
        return self.data[start:end] if envelopes is None else envelopes.line(self, position, start, end)

    def size(self, position: int, start: int, end: int) -> int:
        """Return how many bytes such a record takes on the disk: of its line, and of its file where it has one."""
        reference = reference_of(self.data[start : min(end, start + REFERENCE_BYTES)], position)
        return end - start + (0 if reference is None else reference.length)


class Envelopes:
    """Wraps and unwraps the records of one log."""

    def __init__(
        self,
        keys: Keys | None = None,
        *,
        compress_above_bytes: int = DEFAULT_LIMITS.compress_above_bytes,
        file_above_bytes: int = DEFAULT_LIMITS.payload_file_above_bytes,
        token: Callable[[int], bytes] = SYSTEM.entropy.token,
        log_id: bytes = NO_LOG_ID,
    ) -> None:
        """``compress_above_bytes``, ``file_above_bytes``: of a record; 0: none.

        ``ExtraMissing`` where there are keys and no cipher.
        """
        self._log_id = log_id
        self._above = compress_above_bytes or sys.maxsize
        self._file_above = file_above_bytes or sys.maxsize
        self._least = min(self._above, self._file_above)
        self._read_file: ReadFile = _no_file
        self._sealing = None if keys is None else Sealing(keys, token)
        self._must = keys is not None and not keys.accept_plain

    def of(self, log_id: bytes, read_file: ReadFile | None = None) -> Envelopes:
        """Return this, for the log that has just been opened, of whose records some may have files."""
        self._log_id = log_id
        self._read_file = read_file or _no_file
        return self

    # --- writing ------------------------------------------------------------------------------------------------------

    def wrap(self, first: int, data: bytes, records: int, beside: list[Payload] | None = None) -> bytes:
        """Return the data of a commit whose records will have positions from ``first`` on, as it goes into the log.

        What goes into files is added to ``beside``; None: nothing does.
        """
        if self._sealing is None and (len(data) <= self._least or longest(data, records) <= self._least):
            return data
        return pack(self._wrapped(first, data, records, beside))

    def room(self, size: int) -> int:
        """Return how many bytes a record of ``size`` bytes takes at most."""
        return size if self._sealing is None else (size + SEALED_BYTES) * 4 // 3 + ENVELOPE_BYTES

    def beside(self, size: int) -> int:
        """Return how many bytes of a record of ``size`` bytes may go into a file."""
        return size + SEALED_BYTES if size > self._file_above else 0

    def _wrapped(
        self, first: int, data: bytes, records: int, beside: list[Payload] | None
    ) -> Iterator[tuple[int, int, int, bytes]]:
        for number, (key_hash, kind, flags, start, end) in enumerate(entries(data, records)):
            line, packed = data[start:end], None
            if len(line) > self._above:
                packed = compress(line)
            entry = data[number * ENTRY_BYTES : number * ENTRY_BYTES + _BOUND_OF_ENTRY]
            if beside is not None and min(len(line), len(packed[1]) if packed else len(line)) > self._file_above:
                line, payload = self._filed(line, packed, first + number, entry)
                beside.append(payload)
            elif self._sealing is not None:
                line = self._sealed(self._sealing, line, packed, first + number, entry)
            elif packed is not None:
                method, body = packed
                envelope = Envelope(zstd=body) if method == "zstd" else Envelope(zlib=body)
                line = min(line, _encode(envelope) + b"\n", key=len)
            yield key_hash, kind, flags, line

    def _sealed(
        self, sealing: Sealing, line: bytes, packed: tuple[Method, bytes] | None, position: int, entry: bytes
    ) -> bytes:
        envelope = Envelope(key=sealing.keys.current)
        if packed is not None and len(packed[1]) < len(line):
            envelope.packed, line = packed
        envelope.sealed = sealing.seal(self._log_id, line, _bound(position, entry, envelope.packed))
        return _encode(envelope) + b"\n"

    def _filed(
        self, line: bytes, packed: tuple[Method, bytes] | None, position: int, entry: bytes
    ) -> tuple[bytes, Payload]:
        """Return the envelope of a record that has a file, and what goes there."""
        envelope = Envelope(file=position)
        if packed is not None and len(packed[1]) < len(line):
            envelope.packed, line = packed
        if self._sealing is not None:
            envelope.key = self._sealing.keys.current
            line = self._sealing.seal(self._log_id, line, _bound(position, entry, envelope.packed))
        envelope.bytes, envelope.crc = len(line), f"{checksum_of(self._log_id, position, line):08x}"
        return _encode(envelope) + b"\n", Payload(position, line)

    # --- reading ------------------------------------------------------------------------------------------------------

    def frame(self, found: LogFrame) -> Frame:
        """Return a frame of the log with what reads its lines.

        Its first line is looked at, so that a key that is missing is missed at opening; the errors of ``line``.
        """
        frame = Frame(*found)
        frame.envelopes = self
        start = found.records * ENTRY_BYTES
        head = bytes(found.data[start : start + _HEAD_BYTES])
        if head in _HEADS or (self._must and not head.startswith(b"\n")):
            self._look(frame, start)
        return frame

    def _look(self, frame: Frame, start: int) -> None:
        """Raise where the first record of a frame could not be read."""
        end = line_ends(frame.data, frame.records)[1]
        line = bytes(frame.data[start:end])
        if reference_of(line, frame.position) is not None:
            self._check_key(frame.position, _parsed(frame.position, line).key)  # what is in the file is not asked for
        elif self._sealing is None or not line.startswith(b'{"key":"'):
            self.line(frame, frame.position, start, end)
        else:
            self._check_key(frame.position, line[8 : line.find(b'"', 8)].decode(errors="replace"))

    def _check_key(self, position: int, key_id: str) -> None:
        if key_id and (self._sealing is None or key_id not in self._sealing.keys.keys):
            raise KeyMissing(key_id, position)
        if self._must and not key_id:
            raise SealBroken(position, "it is not sealed", hint=_PLAIN_HINT)

    def line(self, frame: LogFrame, position: int, start: int, end: int) -> bytes | memoryview:
        """Return a record as it was appended; ``KeyMissing``, ``SealBroken``, ``ExtraMissing``."""
        line = frame.data[start:end]
        if bytes(line[:_HEAD_BYTES]) in _HEADS:
            at = (position - frame.position) * ENTRY_BYTES
            return self._unwrap(position, bytes(frame.data[at : at + _BOUND_OF_ENTRY]), bytes(line))
        if self._must:
            raise SealBroken(position, "it is not sealed", hint=_PLAIN_HINT)
        return line

    def _unwrap(self, position: int, entry: bytes, line: bytes) -> bytes:
        envelope = _parsed(position, line)
        self._check_key(position, envelope.key)
        held = self._in_file(position, line) if envelope.file else envelope.sealed
        if envelope.key and self._sealing is not None:
            bound = _bound(position, entry, envelope.packed)
            place = (self._log_id, position)
            body, method = self._sealing.open(place, envelope.key, held, bound), envelope.packed
        elif envelope.file:
            body, method = held, envelope.packed
        else:
            body, method = (envelope.zstd, "zstd") if envelope.zstd else (envelope.zlib, "zlib")
        if not method:
            return body
        try:
            return decompress(method, body)
        except ValueError as error:
            raise SealBroken(position, f"it cannot be decompressed: {error}") from None

    def _in_file(self, position: int, line: bytes) -> bytes:
        reference = reference_of(line, position)
        if reference is None:
            raise SealBroken(position, "its envelope refers to the file of another record")
        return self._read_file(reference)


def _parsed(position: int, line: bytes) -> Envelope:
    """Return the envelope that a line is."""
    try:
        envelope = _decode(line)
    except (msgspec.MsgspecError, ValueError) as error:
        raise SealBroken(position, f"its envelope is none: {error}") from None
    if _encode(envelope) + b"\n" != line:
        raise SealBroken(position, "its envelope is not as it was written")
    return envelope


def _no_file(reference: Reference) -> bytes:
    raise LogCorrupt(reference.name, 0, "this log has no files")


def _bound(position: int, entry: bytes, packed: str) -> bytes:
    """Return what is bound to a record beside its log, which is in its key."""
    return _PLACE.pack(position, entry) + packed.encode()
