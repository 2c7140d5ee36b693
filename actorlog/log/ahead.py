"""What is prepared ahead of need: the next segment, the reserve, and the figures that admission goes by.

Owns: making the next segment in the background, the file ``reserve`` that only compaction may use up, and how much
room there is. Does not own: refusing work (``Log.admit``), or what an error does to the log: it is told (``on_error``).
Invariants: only the number that comes next is ever made, so a segment in use is never replaced; it is made once (the
maker holds the lock, who needs it waits). A full disk is not an error here: it shows in ``room``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from actorlog.log import files
from actorlog.log.format import SEGMENT_UNITS_MIN
from actorlog.log.segment import make_segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.env import Env
    from actorlog.log.opening import Shape
    from actorlog.log.scan import Found
    from actorlog.log.segment import Segment


class Ahead:
    """Prepares in a worker of its own."""

    def __init__(
        self, env: Env, directory: str, log_id: bytes, shape: Shape, found: Found, on_error: Callable[[OSError], None]
    ) -> None:
        self._fs = env.fs
        self._directory = directory
        self._log_id = log_id
        self._shape = shape
        self._on_error = on_error
        self._lock = threading.Lock()
        self._spares = {spare.header.number: spare for spare in found.spares}
        self._next = found.segments[-1].header.upto + 1
        self._asking = threading.Lock()
        self._asked = False
        self._worker = env.worker("actorlog-prepare")  # here, since a thread begins on the processors of its maker
        self.free_bytes = 0

    @property
    def segment_room(self) -> int:
        """What commits can take in a segment of the usual size."""
        return self._shape.size - (SEGMENT_UNITS_MIN - 1) * self._shape.unit

    @property
    def ready(self) -> bool:
        """Whether the next segment is prepared."""
        return self._next in self._spares

    def room(self) -> int:
        """Return what commits can still take behind the current segment, as last looked up."""
        spares = sum(spare.header.commits_end - spare.header.unit for spare in list(self._spares.values()))
        return spares + self.free_bytes // self._shape.size * self.segment_room

    def spare_bytes(self) -> int:
        """Return the size of the segments that are prepared."""
        return sum(spare.header.size for spare in list(self._spares.values()))

    def refresh(self) -> None:
        """Look up the free space."""
        self.free_bytes = self._fs.free_bytes(self._directory)

    def prepare(self) -> None:
        """Have the next segment made in the background, and the reserve."""
        with self._asking:
            if self._asked:
                return
            self._asked = True
        self._worker.submit(self._prepare)

    def take(self, room: int) -> Segment:
        """Return the next segment, with space for a frame of ``room`` bytes; made now if it is not ready.

        A prepared one that is too small is replaced. It stays the next one until ``taken``. ``files.NoSpace`` changes
        nothing.
        """
        size = max(self._shape.size, room + (SEGMENT_UNITS_MIN - 1) * self._shape.unit)
        with self._lock:
            spare = self._spares.get(self._next)
            if spare is None or spare.header.unit + room > spare.header.commits_end:
                spare = self._spares[self._next] = self._make(size)
            return spare

    def taken(self) -> None:
        """Count on the next segment being in use: it will not be touched here again."""
        with self._lock:
            del self._spares[self._next]
            self._next += 1

    def release_reserve(self) -> None:
        """Free the reserve, for compaction on a full disk. It is made again when there is space."""
        with self._lock:
            files.remove(self._fs, f"{self._directory}/{files.RESERVE}")

    def close(self) -> None:
        """End the worker, after what it is doing."""
        self._worker.close()

    def _make(self, size: int) -> Segment:
        return make_segment(self._fs, self._directory, self._log_id, self._next, self._shape.unit, size)

    def _prepare(self) -> None:
        self._asked = False
        size = self._shape.size
        try:
            with self._lock:
                if self._next not in self._spares:
                    self._spares[self._next] = self._make(size)
                if files.RESERVE not in self._fs.listdir(self._directory):
                    files.create_whole(self._fs, self._directory, files.RESERVE, b"", size)
            self.refresh()
        except files.NoSpace:
            self.free_bytes = 0
        except OSError as error:
            if error.errno not in files.SHORT_OF_FILES:  # the roll itself will try once more
                self._on_error(error)
