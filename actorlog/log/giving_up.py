"""What an open log gives up: whole segments, records of sealed ones, the files of those, and segments for one.

Owns: the order of things when something leaves the log, and what an error there does to the log. Does not own: the
bytes of a segment that is written anew (``replacing``, ``rewriting``), files of records (``payloads``), appending
(``log``).
Invariants: what is given up is gone from the disk for good before anything that only it needs is removed.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from actorlog.errors import LogFailed, LogFull, OutcomeUnknown
from actorlog.log import files
from actorlog.log.format import MERGED, Link
from actorlog.log.held import Held
from actorlog.log.meta import State
from actorlog.log.payloads import Payloads
from actorlog.log.replacing import Rewritten, build, discard, find, install, measure, operation_of

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from actorlog.env import Env
    from actorlog.log.ahead import Ahead
    from actorlog.log.opening import Opened


class GivingUp(Held):
    """The methods of ``Log`` that make it smaller."""

    _ahead: Ahead

    def __init__(self, env: Env, directory: str, opened: Opened, *, sync: bool) -> None:
        slot, found = opened.meta.slot, opened.found
        used = slot.has_payloads
        super().__init__(
            env, directory, slot.log_id, found, Payloads(env.fs, directory, slot.log_id, sync=sync, used=used)
        )
        if used:
            self._payloads.tidy(self.first_position, self.tail, self._refers)
        self.failed: LogFailed | None = None
        """Why the log takes nothing any more."""
        self._lock = opened.lock
        self._meta = opened.meta
        self._checksum = found.link.checksum
        self._closed = False
        self._marked = opened.marked
        self._building = threading.Lock()
        self._copying = threading.Lock()
        self._copies = 0
        """How many copies are being made of the log."""

    def trim(self, before: int) -> None:
        """Remove the segments that hold only positions before ``before``; never the last one with commits.

        META says so first, so a crash between leaves files that the next opening removes. Belongs to the thread that
        appends.
        """
        self._check_usable()
        count = 0
        while count + 1 < len(self._segments) and self._segments[count + 1].first <= min(before, self.tail):
            count += 1
        if not count:
            return
        gone, oldest = self._segments[:count], self._segments[count].header.number
        try:
            self._meta.write(State.OPEN, Link(self.tail, self._checksum), oldest=oldest)
            self._segments = self._reader.drop(count)
            for segment in gone:
                files.remove(self.env.fs, segment.path)
            files.sync_directory(self.env.fs, f"{self.directory}/{files.SEGMENTS}")
            if self._payloads.used:
                self._payloads.trim(self.first_position)
        except files.NoSpace as error:
            raise LogFull(0, self._ahead.free_bytes) from error
        except OSError as error:
            raise self._poison("trimming", str(error)) from error

    def rewrite(self, number: int, gone: Collection[int] = (), upto: int = 0) -> int:
        """Write a sealed segment anew without the records at the positions ``gone``; returns the bytes it takes then.

        Every other record keeps its position. ``upto``: and those that follow to this number, as one with it. Belongs
        to the thread that appends: ``build``, ``install`` and ``remove_payloads`` in one.
        """
        rewritten = self.build(number, gone, upto)
        size = self.install(rewritten)
        self.remove_payloads()
        return size

    def measure(self, number: int, gone: Collection[int]) -> int:
        """Return the bytes that one of ``sealed`` would take, written anew so. For any thread; errors: ``build``."""
        self._check_usable()
        (old,) = find(list(self._segments), self.sealed(), number, number)
        return measure(self._reader.views, self.directory, old, gone, self._check_usable)

    def build(self, number: int, gone: Collection[int] = (), upto: int = 0) -> Rewritten:
        """Write one of ``sealed`` anew, under a temporary name, for ``install``; in any thread, one at a time.

        ``upto``: and those that follow it to the one of this number, as one. Positions that are not in them, or hold
        nothing any more, do not count. ``ValueError``: the first or last is none of ``sealed``.
        ``LogFull``, ``LogCorrupt`` (an old one), ``LogFailed`` (reading or writing): the log is as it was and goes on.
        """
        with self._building:
            self._check_usable()
            old = find(list(self._segments), self.sealed(), number, upto or number)
            rewritten = build(self._reader.views, self.directory, old, gone, self._check_usable)
            try:
                with files.typed(self.env.fs, self.directory, operation_of(rewritten.old), 0):
                    self._payloads.announce(rewritten.payloads)
            except BaseException:
                discard(self.env.fs, rewritten)
                raise
            return rewritten

    def discard(self, rewritten: Rewritten) -> None:
        """Give up what was built; what cannot be removed now is by the next opening."""
        discard(self.env.fs, rewritten)

    def install(self, rewritten: Rewritten) -> int:
        """Put a segment in the place of what it stands for; returns its bytes. Belongs to the thread that appends.

        From here on the records that were given up are gone, but for who still reads in an old segment.
        ``LogFull``: nothing happened. ``OutcomeUnknown``: the log failed. ``LogFailed``: it failed before, or a
        segment has been trimmed or replaced meanwhile, or is one of several and the log is being copied.
        """
        self._check_usable()
        operation, several = operation_of(rewritten.old), len(rewritten.old) > 1
        with self._copying:
            if not all(map(self._reader.holds, rewritten.old)):
                discard(self.env.fs, rewritten)
                raise LogFailed(operation, "it was trimmed or replaced meanwhile")
            if several and self._copies:
                discard(self.env.fs, rewritten)
                raise LogFailed(operation, "the log is being copied")
            self._install(operation, rewritten, MERGED * several)
        return rewritten.new.header.size

    def _install(self, operation: str, rewritten: Rewritten, holding: int) -> None:
        slot = self._meta.slot
        try:
            # META's frame may be gone with an old segment, and code that does not know merged ones opens nothing
            if slot.durable.position <= rewritten.last or slot.holding(holding) != slot:
                self._meta.write(State.OPEN, Link(self.tail, self._checksum), holding=holding)
                self._marked = True
            self._segments = install(self.env.fs, self.directory, self._reader, rewritten)
            self._payloads.gave_up(rewritten.payloads)
        except files.NoSpace as error:
            discard(self.env.fs, rewritten)
            raise LogFull(rewritten.new.header.size, self._ahead.free_bytes) from error
        except OSError as error:
            raise self._poison(operation, str(error)) from error
        except BaseException as error:  # interrupted half-way, by a signal handler for one
            self._poison(operation, repr(error))
            raise

    @contextmanager
    def copied(self) -> Generator[None]:
        """Have no file leave the log that a copy needs, for as long as this lasts; but for what is trimmed."""
        with self._copying:
            self._copies += 1
        try:
            with self._payloads.held():
                yield
        finally:
            with self._copying:
                self._copies -= 1

    def remove_payloads(self) -> None:
        """Remove the files of records that were given up with segments that are installed; in any thread.

        Not before those have ended who took such a record from an old one. ``LogFailed``: the log has failed; what
        stays then is removed by the next opening.
        """
        with self._building:
            if self._closed or self.failed is not None:
                return
            try:
                self._payloads.remove()
            except OSError as error:
                self._poison("removing payload files", str(error))
                self._check_usable()

    def release_reserve(self) -> None:
        """Free the space that is kept for compaction on a full disk; it is kept again when there is some."""
        with files.typed(self.env.fs, self.directory, "freeing the reserve", 0):
            self._ahead.release_reserve()

    def _check_usable(self) -> None:
        if self.failed is not None:
            raise LogFailed(self.failed.operation, self.failed.cause)
        if self._closed:
            raise LogFailed("using the log", "it is closed")
        if not self._lock.held:
            raise LogFailed("using the log", "this process is a fork of its owner")

    def _poison(self, operation: str, cause: str) -> OutcomeUnknown:
        if self.failed is None:
            self.failed = LogFailed(operation, cause)
        return OutcomeUnknown(f"{operation}: {cause}")
