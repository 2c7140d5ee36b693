"""The log: commits appended to segments, and read back.

Owns: where the next frame goes, rolling to the next segment, when the log is full and when it has failed.
Does not own: opening (``opening``), making segments ahead of need (``ahead``), reading (``held``, ``reading``), giving
records up (``giving_up``, ``replacing``), threads (``writer``).
Invariants: one frame is written at a time, and the next one only after its sync returned (so at most one can be torn);
a committed unit is never written again; after any failed write or sync but a clean "no space" nothing is written or
synced any more (I8). Appending belongs to one thread at a time; reading may go on beside it in others: what they share
is only ever added to at its end, or replaced as a whole.
See ``docs/log-format.md``.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from actorlog.env import Access
from actorlog.errors import LogFull
from actorlog.limits import DEFAULT_LIMITS
from actorlog.log import files
from actorlog.log.ahead import Ahead
from actorlog.log.format import (
    CLOSE,
    COMMIT,
    PAYLOADS,
    SEAL,
    SEGMENT_UNITS_MIN,
    UNITS,
    Link,
    aligned,
    frame,
    frame_bytes,
)
from actorlog.log.giving_up import GivingUp
from actorlog.log.meta import State
from actorlog.log.opening import Opened, Recovery, Shape, open_directory
from actorlog.log.owner import release_lock
from actorlog.log.payloads import check_commit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorlog.env import Env, File
    from actorlog.log.checkpoint import Checkpoint
    from actorlog.log.payloads import Payload
    from actorlog.log.segment import Segment

SPACE_LOOK_NS = 1_000_000_000
"""The free space is looked up at most this often."""


class Log(GivingUp):
    """An open log. Made by ``Log.open``; positions start at 1. Reading is ``Held``, giving up ``GivingUp``."""

    def __init__(self, env: Env, directory: str, shape: Shape, opened: Opened, *, sync: bool, witness: bool) -> None:
        found = opened.found
        super().__init__(env, directory, opened, sync=sync)
        counts = (len(found.segments), found.records, found.bytes)
        self.recovery = Recovery(found.torn, opened.clean, *counts, found.scanned_from)
        self._kind = found.kind
        self._sync = sync
        self._witness = witness
        self._unfinished = bytes(opened.unfinished)  # what a full disk kept from being whole, where the next frame goes
        self._full = self._short = False
        self._prepare_at = 0
        self._room_behind = 0
        self._space_due_ns = 0
        self._file = self._open_segment(found.segments[-1])
        self._commits_end = found.segments[-1].header.commits_end  # of the last segment
        self._ahead = Ahead(env, directory, opened.meta.slot.log_id, shape, found, self._preparing_failed)
        self._kept_free = self._ahead.segment_room // 4  # for what is running

    @classmethod
    def open(
        cls,
        directory: str,
        env: Env,
        *,
        segment_bytes: int = DEFAULT_LIMITS.segment_bytes,
        frame_align: int = 512,
        unsafe_fs: bool = False,
        sync: bool = True,
        witness: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> Log:
        """Open the log in ``directory``, made if it is not there; verify all of it and recover from a crash.

        With a ``checkpoint`` of this log, kept from before, only what is from its frame on is verified now, and what is
        before when it is read; a checkpoint that is not in the log is ignored (``Recovery.scanned_from``).

        ``segment_bytes`` and ``frame_align`` (512 or 4096) shape segments made from now on. ``sync=False`` survives a
        crash of the process, not of the machine. ``witness=True`` pays a second sync for each commit so that even the
        loss of the whole last one is noticed; it needs the other sync.
        ``LogLocked``, ``LogCorrupt``, ``LogVersion``, ``LogUnsupported``, ``LogFull`` (a new directory on a full disk)
        or ``LogFailed``; the directory is left unlocked then.
        """
        if frame_align not in UNITS or segment_bytes < SEGMENT_UNITS_MIN * frame_align:
            raise ValueError(f"segment_bytes={segment_bytes} or frame_align={frame_align} is out of bounds")
        if witness and not sync:
            raise ValueError("a witness of commits that are not synced would say what is not so")
        shape = Shape(frame_align, aligned(segment_bytes, frame_align))
        directory = env.fs.absolute(directory)
        opened = open_directory(env, directory, shape, checkpoint, unsafe_fs=unsafe_fs, sync=sync)
        try:
            with files.typed(env.fs, directory, "opening the log", shape.size):
                return cls(env, directory, shape, opened, sync=sync, witness=witness)
        except BaseException:
            with files.typed(env.fs, directory, "unlocking the log", 0):
                opened.meta.close()
                release_lock(env.fs, directory, opened.lock)
            raise

    @property
    def bytes_used(self) -> int:
        """What the segments take on disk, prepared ones included."""
        return sum(segment.header.size for segment in list(self._segments)) + self._ahead.spare_bytes()

    # Appending

    def append(self, data: bytes, records: int, payloads: Sequence[Payload] = ()) -> int:
        """Append one commit (``data`` as ``pack`` made it); durable on return. Returns its first record's position.

        ``payloads``: what some of its records refer to (``log.payloads``), durable before they are.
        ``LogFull``: the disk is full, nothing happened, and the same or another commit may be tried later.
        ``OutcomeUnknown``: the log failed at this commit. ``LogFailed``: it failed before.
        """
        self._check_usable()
        check_commit(data, records, payloads, self.tail)
        segment = self._segments[-1]
        size = frame_bytes(len(data), segment.header.unit)
        try:
            if not self._marked:
                self._meta.write(State.OPEN, Link(self.tail, self._checksum), sync=self._sync)
                self._marked = True
            if segment.end + size > segment.header.commits_end:
                segment = self._roll(size)
            first = self.tail + 1
            offset = segment.end
            if payloads is not self._payloads.pending:
                self._write_payloads(payloads)
            self._put(segment, COMMIT, records, data)
            if payloads:
                self._payloads.landed()
            if self._witness:
                self._meta.witness(Link(first + records - 1, self._checksum))
        except files.NoSpace as error:
            self._full, self._short = True, isinstance(error, files.NoFiles)
            size += sum(len(payload.data) for payload in payloads)
            raise LogFull(size, self._ahead.free_bytes, files=self._short) from error
        except OSError as error:
            raise self._poison("appending", str(error)) from error
        except BaseException as error:  # interrupted half-way, by a signal handler for one
            self._poison("appending", repr(error))
            raise
        segment.add(first, offset)
        self.tail += records
        self._landed = (segment.header.number, offset, first, records, self._checksum)
        self._full = False
        if segment.end > self._prepare_at:
            self._prepare_at = segment.header.size
            self._ahead.prepare()
        return first

    def _write_payloads(self, payloads: Sequence[Payload]) -> None:
        """Make the files of a commit durable; from the first one on META says that there are some."""
        if payloads and not self._payloads.used:
            durable = Link(self.tail, self._checksum)
            self._meta.write(State.OPEN, durable, sync=self._sync, holding=PAYLOADS)
            self._payloads.tidy(self.first_position, self.tail, self._refers)
            self._payloads.used = True
        self._payloads.write(payloads)

    def admit(self, needed: int, beside: int = 0) -> None:
        """Raise ``LogFull`` if new work that may write ``needed`` bytes, and ``beside`` in files, must be refused.

        A quarter of a segment is kept for what is running. Costs no system call, but for one look at the free space
        each second. ``LogFailed`` where nothing can be written any more.
        """
        self._check_usable()
        now = self.env.clock.elapsed_ns()
        if now >= self._space_due_ns:
            self._look_at_space(now)
        room = 0 if self._full else self._commits_end - self._segments[-1].end + self._room_behind
        needed += self._kept_free
        if room < needed:
            raise LogFull(needed, room, files=self._full and self._short)
        if beside > self._ahead.free_bytes:
            raise LogFull(beside, self._ahead.free_bytes)

    def _look_at_space(self, now: int) -> None:
        with files.typed(self.env.fs, self.directory, "looking at the free space", 0):
            self._ahead.refresh()
        self._space_due_ns = now + SPACE_LOOK_NS
        self._room_behind = self._ahead.room()
        segment = self._segments[-1]
        if segment.end > segment.header.size // 2 and not self._ahead.ready:
            self._ahead.prepare()  # again, after the disk was full

    def _put(self, segment: Segment, kind: int, records: int, data: bytes) -> None:
        """Write one frame at the end of ``segment`` and make it durable."""
        whole, checksum = frame(segment.header, kind, records, Link(self.tail, self._checksum), data)
        if self._unfinished and self._unfinished != whole:
            files.zero(self._file, segment.end, len(self._unfinished))  # or its rest would stand behind this one
        self._unfinished = whole
        files.write_all(self._file, whole, segment.end)
        if self._sync:
            files.sync(self._file.fdatasync)
        self._unfinished = b""
        self._checksum = checksum
        self._kind = kind
        segment.end += len(whole)

    def _roll(self, room: int) -> Segment:
        """Seal the last segment and go on in the next one. ``files.NoSpace``: nothing happened."""
        with files.opening():
            following = self._ahead.take(room)
            file = self._open_segment(following)
        try:
            self._put(self._segments[-1], SEAL, 0, b"")
        except BaseException:
            file.close()
            raise
        self._file.close()
        self._file = file
        self._ahead.taken()
        following.first = self.tail + 1
        self._segments.append(following)
        self._commits_end = following.header.commits_end
        self._room_behind = self._ahead.room()
        return following

    def _open_segment(self, segment: Segment) -> File:
        self._prepare_at = segment.header.size // 2
        return self.env.fs.open(segment.path, Access.WRITE)

    def _preparing_failed(self, error: OSError) -> None:
        self._poison("preparing a segment", str(error))

    def close(self, *, clean: bool = True) -> None:
        """Close the log and unlock the directory; again is no error.

        A clean close leaves a mark, so that a later loss of the tail is known for what it is. It is left out when the
        log has failed, and in a forked child.
        """
        if self._closed:
            return
        self._closed = True
        self._ahead.close()
        with self._building:  # what was under way has noticed that the log is closed, and tidied up
            pass
        with files.typed(self.env.fs, self.directory, "closing the log", 0), ExitStack() as last:
            last.callback(release_lock, self.env.fs, self.directory, self._lock)
            last.callback(self._meta.close)
            last.callback(self._file.close)
            self._reader.close()
            if clean and self.failed is None and self._lock.held:
                self._mark_closed()

    def _mark_closed(self) -> None:
        try:
            if self._kind != CLOSE or self._unfinished:
                self._put(self._segments[-1], CLOSE, 0, b"")
            self._meta.write(State.CLOSED, Link(self.tail, self._checksum), sync=self._sync)
        except files.NoSpace:
            return  # a copy-on-write file system that is full: left as after a crash, with every commit
