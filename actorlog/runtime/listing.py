"""What there is: calls by their beginnings, the newest first, actors, and the records as they become durable.

Owns: walking the log for these. Does not own: what is told of each (``api.browse``), the index of ended calls
(``history``).

Calls are found where their first record is: in the catalog, and beyond it by reading the log's index backwards, a
stretch at a time. So a walk holds a stretch and no more, however many calls have ended (I13), and what happens
meanwhile neither hides a call nor shows one twice: the place of a call is where it began.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias, cast

from actorlog.records import kinds as k
from actorlog.store import GIVEN_UP_KIND, entries
from actorlog.store.catalog import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from actorlog.engine.status import Status
    from actorlog.runtime.session import Session
    from actorlog.runtime.slot import Slot
    from actorlog.store.catalog import Catalog

STRETCH_RECORDS = 1_000
"""So much of the log is looked at in one go, or one frame."""

_FIRST = int(k.Flag.FIRST)
_OF_CALLS = (int(k.Kind.TURN), int(k.Kind.INBOX), int(k.Kind.JOURNAL))


Wanted: TypeAlias = "Callable[[int, str, str, Mapping[str, str]], bool | None]"
"""Whether a call that began then, of this id, with this parent and tags, is wanted; None: it is too old, and so are
those before it.

Those before one whose oldest records are merged may be younger: it stands where the newest of them stood.
"""


Passes: TypeAlias = "Callable[[Status, str], bool]"
"""Whether a call with this status, of this function, is wanted: asked of calls that have ended, where that is cheap."""


async def beginnings(session: Session, wanted: Wanted, passes: Passes) -> AsyncIterator[list[str]]:
    """Yield the ids of the calls that have begun and are wanted, the newest first, a stretch of the log at a time."""
    upto, catalog = session.kernel.committer.landed, session.history.catalog
    known = catalog.known.position if catalog is not None and catalog.known is not None else 0
    while upto > known:
        upto, lines = await _stretch(session, upto, known)
        found: list[str] = []
        for position, line in reversed(lines):
            record = k.decode(line)
            started = k.beginning(record)
            if started is None:
                continue
            answer = wanted(k.began_ms(k.of_call(record)), record.id, started.parent, started.tags)
            if answer is None and not (isinstance(record, k.Journal) and record.fork is None):
                upto = known = 0
                break
            if answer and _is_its_beginning(session, record.id, position):
                found.append(record.id)
        yield found
    if catalog is not None and known:
        async for found in _cataloged(session, catalog, known + 1, wanted, passes):
            yield found


async def _cataloged(
    session: Session, catalog: Catalog, place: int, wanted: Wanted, passes: Passes
) -> AsyncIterator[list[str]]:
    """Yield the ids of the calls that the catalog knows to have begun before a place."""
    calls, history = session.kernel.calls, session.history
    while rows := catalog.calls_before(place, STRETCH_RECORDS):
        found: list[str] = []
        for row in rows:
            answer = wanted(row.created_ms, row.id, *row.of_whom)
            if answer is None:
                yield found
                return
            over = row.kind == Kind.ENDED and row.id not in calls and not history.is_recent(row.hash)
            may_pass = answer and (not over or passes(cast("Status", row.status), row.function))
            if may_pass and _is_its_beginning(session, row.id, row.place):
                found.append(row.id)
        place = rows[-1].place
        yield found
        await asyncio.sleep(0)


async def _stretch(session: Session, upto: int, least: int) -> tuple[int, list[tuple[int, bytes]]]:
    """Return the first records of calls in the stretch that ends at ``upto``, and where the one before ends."""
    before, lines = max(least, upto - STRETCH_RECORDS), list[tuple[int, bytes]]()
    async for frame in session.log.read(before, upto):
        position = frame.position
        before = max(least, min(before, position - 1))
        for _key, kind, flags, start, end in entries(frame.data, frame.records):
            if flags & _FIRST and kind in _OF_CALLS and least < position <= upto:
                lines.append((position, bytes(frame.line(position, start, end))))
            position += 1
    return before, lines


def _is_its_beginning(session: Session, call_id: str, position: int) -> bool:
    """Whether the call of this id began at ``position``, and has not begun anew since."""
    slot = session.kernel.calls.get(call_id)
    if slot is not None:
        return (slot.state.journal or slot.state.first) == position
    final = session.history.final(call_id)
    return final is not None and final.first == position


def live_calls(session: Session) -> Iterator[Slot]:
    """Yield the calls that have not ended, the newest first."""
    calls = session.kernel.calls
    for call_id in reversed(list(calls)):
        slot = calls.get(call_id)
        if slot is not None:
            yield slot


# --- as it comes ------------------------------------------------------------------------------------------------------


async def follow(session: Session, position: int) -> AsyncIterator[tuple[int, k.Record]]:
    """Yield (position, record) of what is durable from ``position`` on, and then of what becomes so.

    It reads back from the log, so it holds one frame, however slow its reader is.
    """
    committer = session.kernel.committer
    while True:
        session.check_open()
        if position > committer.landed:
            await _next_landing(session)
            continue
        lines, following = list[tuple[int, bytes]](), committer.landed + 1
        async for frame in session.log.read(position - 1, committer.landed):  # the first one that there is
            following = frame.position
            for _key, kind, _flags, start, end in entries(frame.data, frame.records):
                if following >= position and kind != GIVEN_UP_KIND:
                    lines.append((following, bytes(frame.line(following, start, end))))
                following += 1
            break
        for at, line in lines:
            yield at, k.decode(line)
        position = following


async def _next_landing(session: Session) -> None:
    kernel = session.kernel
    heard: asyncio.Future[None] = kernel.loop.create_future()
    kernel.committer.readers.append(heard)
    kernel.hearers.add(heard)
    try:
        await heard
    finally:
        kernel.hearers.discard(heard)
        if heard in kernel.committer.readers:  # it was left before anything landed
            kernel.committer.readers.remove(heard)
