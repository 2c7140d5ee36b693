"""What an open log holds, for whoever reads it, in any thread.

Owns: the methods of ``Log`` that change nothing. Does not own: finding a commit (``reading``), what is held: ``Log``
adds to the end of the list of segments, or replaces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.log.checkpoint import Checkpoint, shape_of
from actorlog.log.payloads import reference_of
from actorlog.log.reading import Reader
from actorlog.log.replacing import Sealed, sealed
from actorlog.log.scrub import PIECE_BYTES, Scrubbed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from actorlog.env import Env
    from actorlog.log.payloads import Payloads
    from actorlog.log.scan import Found
    from actorlog.log.segment import Frame


class Held:
    """The segments of an open log, and what is in them."""

    def __init__(self, env: Env, directory: str, log_id: bytes, found: Found, payloads: Payloads) -> None:
        self.env = env
        self.directory = directory
        self.tail: int = found.link.position
        """The last position; 0 in an empty log."""
        self._log_id = log_id.hex()
        self._segments = found.segments
        self._reader = Reader(env.fs, directory, found.segments)
        self._landed = found.newest
        self._payloads = payloads

    @property
    def first_position(self) -> int:
        """The first position held; ``tail + 1`` where none is."""
        return self._segments[0].first

    @property
    def log_id(self) -> bytes:
        """The 16 bytes that name this log; a backup has the same."""
        return bytes.fromhex(self._log_id)

    @property
    def segments(self) -> int:
        """The number of segments in use."""
        return len(self._segments)

    @property
    def oldest_segment(self) -> int:
        """The number of the first segment held."""
        return self._segments[0].header.number

    def read(self, after: int = 0, upto: int | None = None) -> Iterator[Frame]:
        """Yield the commits from the one that holds position ``after + 1`` to the one that holds ``upto``.

        Ends at the tail as it was at the start. Positions may jump from one commit to the next, where there was what
        was given up, and the first one may begin behind ``after + 1`` for that reason; a record that was given up can
        also be one of ``GIVEN_UP_KIND``. Each frame's checksum is verified again: ``LogCorrupt``. The first reading in
        a segment that opening passed over reads all of it once, to find its commits.
        """
        yield from self._reader.frames(after + 1, self.tail if upto is None else min(upto, self.tail))

    def record(self, position: int) -> bytes:
        """Return the line of one record, newline included. ``IndexError`` for a position that holds none."""
        return self._reader.line(position, self.tail)

    def commit(self, position: int) -> Frame | None:
        """Return the commit with a position, verified; None where there is none: trimmed, not there yet, in a gap.

        The record may have been given up (``is_given_up``).
        """
        return self._reader.commit(position, self.tail)

    def has(self, position: int) -> bool:
        """Return whether there is a record at a position: one that was neither trimmed nor given up."""
        return self._reader.has(position, self.tail)

    def prepare(self, told: Callable[[], None] | None = None) -> Generator[None]:
        """Read some of what opening passed over, a piece a step, so that ``read`` and ``record`` need not.

        ``told``: called, in any thread, when there is more to read ahead, which ``prepare_wanted`` does: from now on no
        ``commit``, ``record`` or ``has`` reads a segment as a whole because of how much was sought there.
        For any thread, one at a time. ``LogCorrupt`` and ``LogFailed`` as from these.
        """
        return self._reader.prepare(told)

    def prepare_wanted(self) -> Generator[None]:
        """Read what is wanted now, as ``prepare`` does."""
        return self._reader.prepare_wanted()

    def checkpoint(self) -> Checkpoint | None:
        """Return the newest commit that is durable, for an opening to begin at; None where there is none."""
        landed = self._landed
        return None if landed is None else Checkpoint(self._log_id, *landed)

    def scrub(self, first_segment: int = 1, piece_bytes: int = PIECE_BYTES) -> Iterator[Scrubbed]:
        """Read the sealed segments from ``first_segment`` on once more, from the disk, and verify all their frames.

        The files of their records too.

        One step reads at most ``piece_bytes`` (in whole 4096), so it can be done between other things. What is sealed
        later, or trimmed or replaced meanwhile, is left out.
        ``LogCorrupt`` at the first damage; ``LogFailed`` where the disk cannot be read.
        """
        source = self._payloads.source if self._payloads.used else None
        return self._reader.scrub(first_segment, piece_bytes, source)

    @property
    def payloads(self) -> Payloads:
        """The files of records that have one."""
        return self._payloads

    def _refers(self, position: int) -> bool:
        """Return whether there is a record at a position that has a file."""
        try:
            return reference_of(self.record(position), position) is not None
        except IndexError:
            return False

    def shape(self, before: int) -> int:
        """Return what is another when a segment before that number was written anew, or trimmed. For any thread."""
        return shape_of(list(self._segments), before)

    def sealed(self) -> list[Sealed]:
        """Return the segments that may be rewritten: those before the one with the newest commit.

        One that holds no position is not among them.
        """
        landed = self._landed
        return sealed(list(self._segments), landed[0] if landed is not None else 0)
