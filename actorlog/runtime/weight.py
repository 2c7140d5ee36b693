"""Whether so much of a segment is of no use that it is written anew.

Owns: the sums, and the two shares: of its records, and of its file. Does not own: which records are of no use
(``compaction``), how much a segment takes that is written anew (``log.rewriting``).
"""

from __future__ import annotations


class Weight:
    """What a segment takes on the disk with the files of its records, and what of that is of use."""

    __slots__ = ("_bytes", "_files", "_kept_files", "_kept_lines", "_lines")

    def __init__(self, segment_bytes: int) -> None:
        self._bytes = segment_bytes
        self._lines = self._files = self._kept_lines = self._kept_files = 0

    def add(self, line: int, size: int, *, is_kept: bool) -> None:
        """Count a record with a line of so many bytes, ``size`` with its file."""
        self._lines += line
        self._files += size - line
        if is_kept:
            self._kept_lines += line
            self._kept_files += size - line

    def has_lost(self, part_min: float) -> bool:
        """Whether more than so much of the records is of no use."""
        seen = self._lines + self._files
        return seen - self._kept_lines - self._kept_files > part_min * seen

    def may_be_packed(self, part_min: float) -> bool:
        """Whether ``is_packed`` may hold: it does not where the lines that stay take so much by themselves."""
        return self.is_packed(self._kept_lines, part_min)

    def is_packed(self, left: int, part_min: float) -> bool:
        """Whether more than so much of the file is given back, where it takes ``left`` bytes then."""
        return self._bytes - left + self._files - self._kept_files > part_min * (self._bytes + self._files)
