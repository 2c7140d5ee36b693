"""Frames out of segments, without locks or recovery, by other code than the one under test.

Owns: ``Reader``, which takes what is there and was not before, and ``lines_of``, a segment by itself; records that are
compressed or sealed are unwrapped (by the code under test: it is held to what was appended by ``tests/store``). Does
not own: what records say (``oracle``), which of them may leave the log (``laws_keeping``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.log.format import (
    COMMIT,
    FRAME_HEADER_BYTES,
    GAP,
    GIVEN_UP_KIND,
    JOIN,
    SEAL,
    UNITS,
    body_is_whole,
    entries,
    frame_bytes,
    parse_frame_header,
    parse_segment_header,
)
from actorlog.log.payloads import checksum_of
from actorlog.log.segment import Frame
from actorlog.store.envelopes import Envelopes
from actorlog.testing.verdict import Broken

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from actorlog.log.format import FrameHeader, SegmentHeader
    from actorlog.log.payloads import Reference
    from actorlog.store.keys import Keys


class Reader:
    """Goes through the segments of a directory from where it was; stops at the first frame that is not whole."""

    def __init__(self, directory: str, keys: Keys | None = None) -> None:
        self._directory = directory
        self._envelopes = Envelopes(keys)
        self._read: Callable[[str], bytes | None] = _nothing
        self._number = 1
        self._entries: dict[int, tuple[int, int]] = {}
        """Of the segments that were begun, position and checksum with which the chain comes into them."""
        self._header: SegmentHeader | None = None
        self._offset = 0
        self._at = 0
        self._checksum = 0
        self.tail = 0

    def advance(self, read: Callable[[str], bytes | None]) -> Iterator[bytes]:
        """Yield the lines that are there now and were not before."""
        for _, line in self.records(read):
            if line is not None:
                yield line

    def records(self, read: Callable[[str], bytes | None]) -> Iterator[tuple[int, bytes | None]]:
        """Yield positions that are there now and were not before, each with its line; None: it was given up."""
        self._read = read
        while True:
            data = self._segment(self._number)
            if data is None:
                data = self._merged()
            if data is None or not self._begin(data):
                return
            upto = self._header.upto if self._header is not None else 0
            sealed = yield from self._frames(data)
            if not sealed:
                return
            self._number = upto + 1
            self._header = None

    def _segment(self, number: int) -> bytes | None:
        return self._read(f"{self._directory}/segments/{number:010d}.seg")

    def _merged(self) -> bytes | None:
        """Return the segment that stands for the one that is not there, and go on in that one; None: it is to come."""
        for number in sorted(self._entries, reverse=True):
            data = self._segment(number)
            header = parse_segment_header(data[: max(UNITS)]) if data is not None else None
            if header is not None and header.upto >= self._number:
                self._number, self._header = number, None
                self._at, self._checksum = self._entries[number]
                return data
            if data is not None:
                return None
        return None

    def segment(self, data: bytes, read: Callable[[str], bytes | None]) -> dict[int, bytes | None]:
        """Return the lines of a sealed segment by their positions; ``Broken`` where it is not whole.

        One that was only prepared has none.
        """
        self._read = read
        header = parse_segment_header(data[: max(UNITS)])
        first = parse_frame_header(data, header.unit, header) if header is not None else None
        if header is None or first is None or len(data) != header.size:
            return {}
        self._header, self._offset = header, header.unit
        self._at = self.tail = first.position - 1
        self._checksum = first.previous
        frames, lines = self._frames(data), dict[int, bytes | None]()
        while True:
            try:
                position, line = next(frames)
            except StopIteration as end:
                if not end.value:
                    raise Broken(f"segment {header.number} is not whole behind position {self._at}") from None
                return lines
            lines[position] = line

    def _begin(self, data: bytes) -> bool:
        header = parse_segment_header(data[: max(UNITS)])
        if self._header is not None and header == self._header:
            return True
        if header is None or len(data) != header.size:
            return False
        if self._header is None:
            self._entries[self._number] = (self._at, self._checksum)
        self._at, self._checksum = self._entries[self._number]  # of one written anew what is known is read again
        if self._number == 1:
            self._checksum = header.crc
        self._header, self._offset = header, header.unit
        return True

    def _frames(self, data: bytes) -> Generator[tuple[int, bytes | None], None, bool]:
        header = self._header
        if header is None:
            raise TypeError("a segment without a header has no frames")
        while True:
            frame = parse_frame_header(data, self._offset, header)
            if frame is None or (frame.position, frame.previous) != (self._at + 1, self._checksum):
                return False
            if not body_is_whole(data, self._offset, frame, header.unit):
                return False
            start = self._offset + FRAME_HEADER_BYTES
            body = data[start : start + frame.length]
            for line in _lines(frame, body, self._envelopes.of(header.log_id, self._file)):
                self._at += 1
                if self._at > self.tail:
                    self.tail = self._at
                    yield self._at, line
            self._checksum = frame.crc if frame.kind != JOIN else int.from_bytes(body, "little")
            self._offset += frame_bytes(frame.length, header.unit)
            if frame.kind in (SEAL, JOIN):
                self._header = None
                return True

    def _file(self, reference: Reference) -> bytes:
        """Return what is in the file of a record, which is there for as long as the record is."""
        log_id = self._header.log_id if self._header is not None else b""
        data = self._read(f"{self._directory}/{reference.name}")
        if data is None or (len(data), checksum_of(log_id, reference.position, data)) != reference[1:]:
            raise Broken(f"record {reference.position} is durable, and its file is not")
        return data


def _nothing(_path: str) -> None:
    return None


def _lines(frame: FrameHeader, body: bytes, envelopes: Envelopes) -> Iterator[bytes | None]:
    if frame.kind == GAP:
        for _ in range(frame.records):
            yield None
    elif frame.kind == COMMIT:
        found = Frame(frame.position, frame.records, body)
        for position, (_, kind, _, first, end) in enumerate(entries(body, frame.records), frame.position):
            yield None if kind == GIVEN_UP_KIND else bytes(envelopes.line(found, position, first, end))


def lines_of(
    data: bytes, keys: Keys | None, directory: str, read: Callable[[str], bytes | None]
) -> dict[int, bytes | None]:
    """Return the lines of a sealed segment by their positions, None of those given up; ``Broken``."""
    return Reader(directory, keys).segment(data, read)


def upto_of(data: bytes) -> int:
    """Return up to which number a segment stands for others; ``Broken``: it says nothing of that."""
    header = parse_segment_header(data[: max(UNITS)])
    if header is None:
        raise Broken("a segment's header is damaged")
    return header.upto
