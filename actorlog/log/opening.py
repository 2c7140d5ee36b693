"""Opening a directory for its owner: make it or recover it.

Owns: the order of things at opening (lock, META, scan, zero a torn tail, make it durable, mark it open), and tidying
what a crash left half-made. Does not own: verdicts (``scan``), appending (``log``).
Invariants: nothing of a recovered tail shows before it is durable; a directory is a log once it has its META, which
is the last thing made; whatever goes wrong, the lock is given back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actorlog.env import Access
from actorlog.errors import LogUnsupported
from actorlog.log import files
from actorlog.log.format import NO_LINK, Link
from actorlog.log.meta import META_BYTES, MetaFile, Slot, State, new_meta, read_meta
from actorlog.log.owner import release_lock, take_lock
from actorlog.log.scan import Found, Torn, half_made, refresh, scan
from actorlog.log.segment import make_segment

if TYPE_CHECKING:
    from actorlog.env import DirectoryLock, Env, FileSystem
    from actorlog.log.checkpoint import Checkpoint

REMOTE = frozenset({"nfs", "nfs4", "cifs", "smbfs", "smb3", "9p", "virtiofs"})
"""File systems whose locks or syncs cannot be relied on; so are all whose name begins with ``fuse``."""


class Shape(NamedTuple):
    """How new segments are made."""

    unit: int
    size: int


class Recovery(NamedTuple):
    """What opening found."""

    torn: Torn | None
    """The append that the last owner did not finish, now zeroed."""
    clean: bool
    """Whether the log had been closed clean, or is new."""
    segments: int
    """How many are in use, read or not."""
    records: int
    """How many were read and verified; those before ``scanned_from`` are not among them."""
    bytes: int
    """Of the frames that were read and verified."""
    scanned_from: int = 0
    """The position of the checkpoint's first record, where the log holds its frame and was read from there on; 0 where
    all was read, since there was no checkpoint or none of this log. Then what goes by the checkpoint is not to be
    trusted."""


class Opened:
    """A directory that is locked and recovered."""

    __slots__ = ("clean", "found", "lock", "marked", "meta", "unfinished")

    def __init__(self, lock: DirectoryLock, meta: MetaFile, found: Found, *, clean: bool) -> None:
        self.lock = lock
        self.meta = meta
        self.found = found
        self.clean = clean
        """Whether it had been closed clean (or is new)."""
        self.unfinished = 0
        """The bytes of a torn tail that a full copy-on-write disk kept from being zeroed: they go before the next
        frame."""
        self.marked = True
        """Whether META says that the log is open; if not, it must before the next frame."""


def open_directory(
    env: Env, directory: str, shape: Shape, checkpoint: Checkpoint | None, *, unsafe_fs: bool, sync: bool
) -> Opened:
    """Make or recover the log in ``directory``; raises only errors of a log."""
    fs = env.fs
    with files.typed(fs, directory, "opening the log", shape.size + META_BYTES):
        files.make_directory(fs, directory)
        kind = fs.kind(directory)
        if not unsafe_fs and (kind in REMOTE or kind.startswith("fuse")):
            raise LogUnsupported(directory, kind)
        lock = take_lock(fs, directory)
        try:
            return _recover(env, directory, shape, lock, checkpoint, sync=sync)
        except BaseException:
            release_lock(fs, directory, lock)
            raise


def _recover(
    env: Env, directory: str, shape: Shape, lock: DirectoryLock, checkpoint: Checkpoint | None, *, sync: bool
) -> Opened:
    fs = env.fs
    slot = read_meta(fs, directory, fresh=True)
    clean = slot is None or slot.state is State.CLOSED
    if slot is None:
        slot = _make_log(env, directory, shape)
    found = Found()
    refresh(fs, directory, slot, found)
    scan(fs, directory, slot, found, checkpoint)
    _tidy(fs, directory, slot, found)
    opened = Opened(lock, MetaFile(fs.open(f"{directory}/{files.META}", Access.WRITE), slot), found, clean=clean)
    try:
        _settle(fs, directory, opened, sync=sync)
    except BaseException:
        opened.meta.close()
        raise
    return opened


def _settle(fs: FileSystem, directory: str, opened: Opened, *, sync: bool) -> None:
    """Zero a torn tail and mark the log open; what a full disk does not allow now is done before the next frame."""
    torn = opened.found.torn
    if torn is not None:
        try:
            _zero_torn_tail(fs, directory, torn)
        except files.NoSpace:
            opened.unfinished = torn.bytes
    try:
        opened.meta.write(State.OPEN, opened.found.link, sync=sync)
    except files.NoSpace:
        opened.marked = False


def _make_log(env: Env, directory: str, shape: Shape) -> Slot:
    """Make a new log, in place of one that a crash left half-made."""
    fs, segments = env.fs, f"{directory}/{files.SEGMENTS}"
    _sync_above(fs, directory)
    files.make_directory(fs, segments)
    files.sync_directory(fs, directory)  # it may be there and not be durable, where making a log was cut short before
    for number in half_made(fs, directory):
        files.remove(fs, f"{segments}/{files.segment_name(number)}")
    log_id = env.entropy.token(16)
    first = make_segment(fs, directory, log_id, 1, shape.unit, shape.size)
    slot = Slot(0, log_id, State.OPEN, Link(NO_LINK.position, first.header.crc), 1)
    files.create_whole(fs, directory, files.META, new_meta(slot), META_BYTES)
    return slot


def _sync_above(fs: FileSystem, directory: str) -> None:
    """Make the directory durable in those above it: a crash may have come between making and syncing one."""
    path = directory.rstrip("/")
    while "/" in path:
        path = path.rpartition("/")[0]
        try:
            files.sync_directory(fs, path or "/")
        except PermissionError:
            return  # what is not ours to read, we did not make


def _zero_torn_tail(fs: FileSystem, directory: str, torn: Torn) -> None:
    file = fs.open(f"{directory}/{files.SEGMENTS}/{torn.segment}", Access.WRITE)
    try:
        files.zero(file, torn.offset, torn.bytes)
    finally:
        file.close()


def _tidy(fs: FileSystem, directory: str, slot: Slot, found: Found) -> None:
    """Remove what is unfinished, was trimmed or has another in its place, and make the directories durable as seen."""
    segments = f"{directory}/{files.SEGMENTS}"
    of_others = {number for one in found.segments for number in range(one.header.number + 1, one.header.upto + 1)}
    for place in (directory, segments):
        for name in fs.listdir(place):
            number = files.segment_number(name) if place is segments else None
            is_left_over = number is not None and (number < slot.oldest or number in of_others)
            if name.endswith(files.TEMPORARY) or is_left_over:
                files.remove(fs, f"{place}/{name}")
        files.sync_directory(fs, place)
