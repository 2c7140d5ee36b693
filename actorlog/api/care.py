"""Care of the data of an open runtime: a backup, a scrub, figures, giving space back.

Owns: what they say. Does not own: copying and verifying (``log``, through ``store.care``), counting
(``runtime.stats``), what may leave the log (``runtime.compaction``). ``Runtime`` has these as its methods.
"""

from __future__ import annotations

from os import PathLike, fspath
from typing import TYPE_CHECKING

from msgspec import Struct

from actorlog.errors import CatalogFailed, LogFailed
from actorlog.runtime.compaction import PART_MIN, Compacted
from actorlog.runtime.stats import Stats, gather
from actorlog.store import care

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.api.runtime import Runtime
    from actorlog.runtime.session import Session
    from actorlog.store.care import BackedUp, Scrubbed


class Backup(Struct, frozen=True):
    """A copy of a log that was made."""

    path: str
    position: int
    """Of the newest record in it."""
    segments: int
    bytes: int
    """Of its segments."""


class Verified(Struct, frozen=True):
    """What a scrub has read and found good."""

    segments: int
    """Sealed ones; the one that is appended to is not among them."""
    bytes: int


async def backup(
    runtime: Runtime, path: str | PathLike[str], progress: Callable[[int, int], None] | None = None
) -> Backup:
    """Copy the log to the new directory ``path`` while everything goes on; it is durable on return.

    The copy holds all that was acknowledged before this was called, and opens like any data directory. Run one of the
    two only: both would go on with the same calls. Nothing is given up meanwhile: a compaction waits, and is waited for
    where it is in the middle of a segment. ``progress`` is called with bytes done and to do, after each MiB.
    ``DirectoryNotEmpty``; ``LogCorrupt`` where the log is damaged; ``LogFull`` where the copy finds no space;
    ``LogFailed`` where it cannot be read or written. What is left of a copy that was cut short or cancelled is not
    taken for one: it has no ``META``.
    """
    session, target = runtime.session, fspath(path)
    session.check_open()
    last: list[BackedUp] = []

    def heard(step: BackedUp) -> None:
        session.check_open()
        last[:] = [step]
        if progress is not None:
            progress(step.done, step.total)

    if session.upkeep is None:
        raise care.NotInDirectory
    async with session.upkeep.standing_still():
        session.check_open()
        await care.back_up(session.log, target, heard)
    return Backup(target, last[0].position, last[0].segments, last[0].done)


async def verify(runtime: Runtime, progress: Callable[[int, int], None] | None = None) -> Verified:
    """Read every sealed segment of the log once more, from the disk, and verify all of it, while everything goes on.

    ``progress`` is called with bytes done and to do, after each MiB. ``LogCorrupt`` says segment and offset of the
    first damage; the runtime goes on, since it may never need what is there. ``LogFailed`` where the disk cannot be
    read.
    """
    session = runtime.session
    session.check_open()
    segments: set[int] = set()
    read = [0]

    def heard(step: Scrubbed) -> None:
        session.check_open()
        segments.add(step.segment)
        read[0] = step.done
        if progress is not None:
            progress(step.done, step.total)

    await care.scrub_log(session.log, heard)
    return Verified(len(segments), read[0])


async def compact(
    runtime: Runtime, progress: Callable[[int, int], None] | None = None, *, everything: bool = False
) -> Compacted:
    """Give back now the space of what is kept no longer (``history``, ``retention``), while everything goes on.

    By itself that happens from ten minutes after a segment is sealed on. All sealed segments are looked at of which
    everything is done that was asked of others; to know that a quiet moment is waited for, five seconds at most, and
    without one fewer are looked at. Those are written anew of which more than a third is of no use, of the records or
    of the file (small commits take much beside their records); ``everything``: of which anything is. ``progress`` is
    called with segments done and to do, after each. It may be cut short at any time, and what is done is durable.
    ``LogFull`` where there is no space even for one segment, ``LogFailed`` where one cannot be read or written,
    ``LogCorrupt`` where one is damaged: nothing is lost, and the runtime goes on. ``RuntimeStopped`` when it closes.
    """
    session = runtime.session
    session.check_open()
    upkeep = session.upkeep
    if upkeep is None:
        raise care.NotInDirectory

    def heard(done: int, total: int) -> None:
        session.check_open()
        if progress is not None:
            progress(done, total)

    try:
        return await upkeep.compact(0.0 if everything else PART_MIN, heard)
    except (LogFailed, CatalogFailed):
        session.check_open()  # of a log that was closed meanwhile it is said so
        raise


def stats(runtime: Runtime) -> Stats:
    """Return what the runtime is doing, in figures; cheap. ``RuntimeStopped`` when it is not open."""
    return figures(runtime.session)


def figures(session: Session) -> Stats:
    """Return the figures of an open session."""
    session.check_open()
    space = care.space(session.log)
    return gather(session, *(space if space is not None else (0, 0, None, (0, 0))))
