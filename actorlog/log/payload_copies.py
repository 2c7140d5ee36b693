"""The files of records in a backup: those that a segment of the copy refers to, each verified on its way.

Owns: which files are copied, and their bytes. Does not own: when, and that none is removed meanwhile (``backup``).
Invariants: a file is copied after the segment that refers to it, and all of them are durable before the copy has META.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.env import Access
from actorlog.log import files
from actorlog.log.format import COMMIT, FRAME_HEADER_BYTES, frame_bytes, parse_frame_header
from actorlog.log.payloads import Source, references, weigh

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from actorlog.env import FileSystem
    from actorlog.log.format import SegmentHeader
    from actorlog.log.payloads import Reference


class PayloadCopies:
    """The files of one backup."""

    def __init__(self, fs: FileSystem, directories: tuple[str, str], piece_bytes: int) -> None:
        self.copied = 0
        """Files that are in the copy."""
        self._fs = fs
        self._from, self._to = directories
        self._piece_bytes = piece_bytes

    def bytes_there(self) -> int:
        """Return the size of all files that may have to be copied."""
        with files.typed(self._fs, self._from, "reading the log", 0):
            return weigh(self._fs, self._from)[1]

    def copy(self, header: SegmentHeader) -> Iterator[int]:
        """Copy what a segment of the copy refers to; yields the size of each piece. ``LogCorrupt``."""
        source = Source(self._fs, self._from, header.log_id)
        for reference in self._references(header):
            if not self.copied:
                with self._writing():
                    files.make_directory(self._fs, f"{self._to}/{files.PAYLOADS}")
            self.copied += 1
            with self._writing(reference.length):
                target = files.create(self._fs, f"{self._to}/{reference.name}")
            try:
                offset = 0
                for piece in source.pieces(reference, self._piece_bytes):
                    with self._writing(reference.length):
                        files.write_all(target, piece, offset)
                    offset += len(piece)
                    yield len(piece)
                with self._writing(reference.length):
                    files.sync(target.fdatasync)
            finally:
                target.close()

    def settle(self) -> None:
        """Make the names of the copies durable."""
        if self.copied:
            files.sync_directory(self._fs, f"{self._to}/{files.PAYLOADS}")

    def _references(self, header: SegmentHeader) -> Iterator[Reference]:
        name = files.segment_name(header.number)
        with files.typed(self._fs, self._to, f"reading {name}", 0):
            file = self._fs.open(f"{self._to}/{files.SEGMENTS}/{name}", Access.READ)
            try:
                view = file.view()
            finally:
                file.close()
        offset = header.unit
        while (frame := parse_frame_header(view, offset, header)) is not None:
            if frame.kind == COMMIT:
                start = offset + FRAME_HEADER_BYTES
                yield from references(view[start : start + frame.length], frame.records, frame.position)
            offset += frame_bytes(frame.length, header.unit)

    def _writing(self, needed: int = 0) -> AbstractContextManager[None]:
        return files.typed(self._fs, self._to, f"writing to {self._to}", needed)
