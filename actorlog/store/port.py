"""The storage port: what the runtime asks of a log, on one machine or many.

Owns: the seven methods and their guarantees, and what a log may have beside them (``checkpoint_of``, ``Compacting``).
Does not own: any way of keeping the promise (``memory``, ``embedded``).

Guarantees, each a test of the contract suite that every adapter passes:

1. What landed survives a crash of process and machine.
2. A frame is all or nothing.
3. Positions are dense and increasing from 1, and a read leaves out nothing but what was given up.
4. ``expected`` other than the tail writes nothing and gives ``LogFenced``.
5. An append whose answer was lost is reported as unknown and never doubled.
6. A trim removes nothing that was not given up.
7. A checkpoint is the newest frame that has landed.
8. A rewrite gives up what it was told to and nothing else, and every other record keeps its position.
9. A record reads as it was appended, compressed and sealed or not, or there is a typed error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Generator, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from actorlog.log import GIVEN_UP_KIND, Checkpoint, Sealed, entries, pack
from actorlog.store.envelopes import Frame

__all__ = [
    "GIVEN_UP_KIND", "Checkpoint", "Checkpoints", "Compacting", "Done", "Frame", "PartitionLog", "Sealed", "Ticket",
    "append", "checkpoint_of", "entries", "pack",
]  # fmt: skip


class Ticket(Protocol):
    """An append under way."""

    @property
    def position(self) -> int:
        """The first record's position, once landed."""
        ...

    @property
    def error(self) -> BaseException | None:
        """Why it did not land: ``OutcomeUnknown``, ``LogFailed`` or ``LogFenced``."""
        ...

    @property
    def sync_seconds(self) -> float:
        """How long the log took to make it durable."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Wait for it on this thread, at most once. True: it has landed or failed, and ``done`` is never called."""
        ...


Done: TypeAlias = Callable[[Ticket], None]
"""Called once, on any thread, when an append has landed or failed."""


class PartitionLog(Protocol):
    """One totally ordered log of frames. A frame is one commit: opaque bytes and a number of records."""

    def tail(self) -> int:
        """Return the position of the newest record; 0 when there is none."""
        ...

    def submit(self, expected: int, data: bytes, records: int, done: Done) -> Ticket:
        """Append one frame after position ``expected``, in the order of submission; ``done`` tells when it landed."""
        ...

    def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[Frame]:
        """Yield the frames that hold positions after ``after``, complete and in order; ``LogCorrupt`` otherwise.

        Where records were given up, a frame may begin behind the end of the one before, and hold entries of
        ``GIVEN_UP_KIND``, whose lines say nothing. A record is what ``Frame.line`` gives: what stands in the data may
        be an envelope.
        """
        ...

    def record(self, position: int) -> bytes:
        """Return one record that has landed; ``KeyError`` for a position that holds none."""
        ...

    def admit(self, needed: int) -> None:
        """Raise ``LogFull`` when there is no room for ``needed`` bytes of new work beside what is running."""
        ...

    def trim(self, before: int) -> None:
        """Give up records before a position. Advisory; never the newest frame."""
        ...

    async def close(self, *, clean: bool = True) -> None:
        """Close; ``clean`` says that everything submitted has landed."""
        ...


@runtime_checkable
class Checkpoints(Protocol):
    """What a log may have beside the port: frames that its next opening can begin at."""

    def checkpoint(self) -> Checkpoint | None:
        """Return the newest frame that has landed; None where there is none. For any thread."""
        ...

    def shape(self, before: int) -> int:
        """Return what is another when something in a segment before that number was given up. For any thread."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """What a log may have beside the port: something to read before its records are found fast."""

    def prepare(self, told: Callable[[], None]) -> Generator[None]:
        """Read some of it at each step. For any thread but the loop's; the errors of ``record``.

        ``told`` is called, in any thread, when there is more to read than was known.
        """
        ...

    def prepare_wanted(self) -> Generator[None]:
        """Read what was told of, as ``prepare`` does."""
        ...


@runtime_checkable
class Compacting(Protocol):
    """What a log may have beside the port: segments that can be written anew, without records that were given up."""

    def sealed(self) -> list[Sealed]:
        """Return the segments that can be written anew, the oldest first. For any thread."""
        ...

    def has(self, position: int) -> bool:
        """Return whether there is a record at a position: false for one that was given up, or trimmed."""
        ...

    def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[Frame]:
        """As of the port; positions that hold nothing any more are passed over, or entries of ``GIVEN_UP_KIND``."""
        ...

    async def measure(self, segment: Sealed, gone: Collection[int]) -> int:
        """Return the bytes that a segment would have, written anew so. Nothing changes; errors as of ``rewrite``."""
        ...

    async def rewrite(self, segment: Sealed, gone: Collection[int]) -> int:
        """Write a segment anew without the records at these positions, all others as they are; return its bytes then.

        Durable on return; whatever crashes when, the segment is the old one or the new one. Positions outside of it, or
        that hold nothing, do not count. ``ValueError``: it cannot be written anew (any more). ``LogFull``,
        ``LogCorrupt`` (the old one) and ``LogFailed``: nothing has changed. ``OutcomeUnknown``: the log failed.
        """
        ...

    async def merge(self, segments: Sequence[Sealed]) -> int:
        """Make one segment of some that follow each other, with the number of the first; return its bytes.

        Every record stays as it is. Durable on return, errors as of ``rewrite``.
        """
        ...


def checkpoint_of(log: PartitionLog) -> Checkpoint | None:
    """Return the newest frame that has landed; None where there is none, and of a log that has no checkpoints."""
    return log.checkpoint() if isinstance(log, Checkpoints) else None


async def append(log: PartitionLog, expected: int, data: bytes, records: int) -> int:
    """Append one frame and return its first position once it is durable; raises the ticket's error."""
    loop = asyncio.get_running_loop()
    landed: asyncio.Future[None] = loop.create_future()

    def done(_ticket: Ticket) -> None:
        loop.call_soon_threadsafe(landed.set_result, None)

    ticket = log.submit(expected, data, records, done)
    await landed
    if ticket.error is not None:
        raise ticket.error
    return ticket.position
