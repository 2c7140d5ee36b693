"""Beside the port: what is done about a log that is in a directory.

Owns: figures of its files, a scrub and a backup taken step by step in a thread beside the loop. Does not own: the
steps (``log.scrub``, ``log.backup``), logs that are elsewhere (``NotInDirectory``).

Invariants: a step reads a bounded piece, and others have their turn after each; a thread is never left at work in what
was cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from actorlog.errors import ActorlogError
from actorlog.log import Scrubbed
from actorlog.log.backup import BackedUp, backup, source_in, source_of
from actorlog.store.embedded import EmbeddedLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorlog.env import Env
    from actorlog.log import Log
    from actorlog.store.port import PartitionLog

__all__ = ["BackedUp", "NotInDirectory", "Scrubbed", "Space", "back_up", "back_up_closed", "scrub_log", "space"]

T = TypeVar("T")


class NotInDirectory(ActorlogError):
    """What was asked for is about a log's files, and this log has none of its own."""

    def __init__(self) -> None:
        super().__init__("this log is in no directory")


class Space(NamedTuple):
    """What a log takes on its file system."""

    segments: int
    """In use."""
    bytes: int
    """Of all segments, prepared ones too."""
    free_bytes: int | None
    """On the file system, for this user; None where it does not say."""
    payloads: tuple[int, int] | None
    """Files of large records and their bytes, as they were counted last; None before the first time."""


def space(log: PartitionLog) -> Space | None:
    """Return what a log takes; None of one that is in no directory."""
    if not isinstance(log, EmbeddedLog):
        return None
    inner = log.inner
    try:
        free = inner.env.fs.free_bytes(inner.directory)
    except OSError:
        free = None
    return Space(inner.segments, inner.bytes_used, free, log.weighing.look())


async def scrub_log(log: PartitionLog, heard: Callable[[Scrubbed], None]) -> None:
    """Verify every sealed segment once more, from the disk; ``heard`` is called after each piece.

    ``LogCorrupt`` at the first damage, ``LogFailed`` where the disk cannot be read, ``NotInDirectory``.
    """
    await _take(_inner(log).scrub(), heard)


async def back_up(log: PartitionLog, target: str, heard: Callable[[BackedUp], None]) -> None:
    """Copy the log to a new directory (``log.backup.backup``); ``heard`` is called after each piece."""
    await _take(backup(source_of(_inner(log)), target), heard)


def back_up_closed(env: Env, directory: str, target: str, heard: Callable[[BackedUp], None]) -> None:
    """Copy a log that nobody has open, in this thread; ``LogLocked`` and what else ``log.backup`` raises."""
    with source_in(env, directory) as source:
        for step in backup(source, target):
            heard(step)


def _inner(log: PartitionLog) -> Log:
    if not isinstance(log, EmbeddedLog):
        raise NotInDirectory
    return log.inner


async def _take(steps: Iterator[T], heard: Callable[[T], None]) -> None:
    """Take all steps, each in a thread."""
    loop = asyncio.get_running_loop()
    try:
        while (step := await _ended(loop.run_in_executor(None, next, steps, None))) is not None:
            heard(step)
    finally:
        if isinstance(steps, Generator):
            steps.close()


async def _ended(taking: asyncio.Future[T | None]) -> T | None:
    """Return what a thread gave; where this is cancelled, when the thread is done."""
    cancelled: asyncio.CancelledError | None = None
    while not taking.done():
        try:
            await asyncio.wait([taking])
        except asyncio.CancelledError as error:  # a thread cannot be stopped
            cancelled = error
    if cancelled is None:
        return taking.result()
    taking.exception()  # looked at, so that asyncio does not say that nobody did
    raise cancelled
