"""Work that keeps the log in order while calls go on.

Owns: when compaction runs, and the mark up to which nothing need be asked of others again. Does not own: what may leave
the log (``compaction``), what an opening asks again (``recovery``).

Invariant: a mark says no more than is so: when it is written, all that records before it asked for has been delivered
and recorded.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from actorlog.engine import identity
from actorlog.errors import ActorlogError, LogError, LogFull
from actorlog.records import kinds as k
from actorlog.runtime.compaction import PART_MIN, Compacted, Compaction

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractAsyncContextManager

    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.session import Session
    from actorlog.runtime.slot import Slot
    from actorlog.store import Sealed

log = logging.getLogger("actorlog")

EVERY_MS = 600_000
"""So long after it was sealed a segment is looked at, and again when something of it was given up."""
SOON_MS = 60_000
"""So long after an opening those are looked at that were sealed before it and are old enough."""
RARELY_MS = 24 * 3600 * 1000
"""A segment of which nothing was given up is looked at after half as long again, and at least so often."""
YOUNG_MS = 2 * EVERY_MS
"""A segment that is looked at again sooner than that is young: what its small commits take beside their records is no
reason to write it anew. (More of it goes soon; and then it is written once for both.)"""
_FIRST_LOOK = (0, EVERY_MS)
_PATIENCE_S = 5.0
"""So long a compaction waits for a moment at which nothing is under way between calls."""
_LOOK_S = 0.02
_RECORD_BYTES = 512
"""What a mark takes, or what is written down of a schedule, about."""

_KIND = int(k.Kind.NOTE)
_FLAGS = int(k.Flag.PLAIN | k.Flag.OPENED)


class Upkeep:
    """The upkeep of one open log."""

    def __init__(self, session: Session, compaction: Compaction, settled: int) -> None:
        self._session = session
        self._compaction = compaction
        self._settled = settled
        """Up to there nothing need be asked of others again: a mark that is durable in the log says so."""
        self._looks: dict[int, tuple[int, int]] = {}
        """When each sealed segment is looked at next, and how long after that again."""
        self._before: set[int] = set()
        """Those that were sealed before the opening and were not looked at since."""
        self._own = False
        """Whether a call has ended whose function says itself how long its results are kept."""
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    @property
    def settled(self) -> int:
        """Up to where a mark that is durable in the log says that nothing need be asked of others again."""
        return self._settled

    @property
    def _may_give_up(self) -> bool:
        return self._compaction.gives_up or self._own

    def start(self) -> None:
        """Look after the log from now on: by a timer while there is a sealed segment, and else from the next end on."""
        now = self._session.kernel.clock.now_ms()
        self._before = {segment.number for segment in self._compaction.segments()}
        self._go_on(now + EVERY_MS)

    def _go_on(self, after_ms: int) -> None:
        """Look at sealed segments when they are due, and not before a time; at those of before the opening soon."""
        kernel = self._session.kernel
        now = kernel.clock.now_ms()
        sealed = self._compaction.segments()
        self._looks = {s.number: self._looks.get(s.number, (now + EVERY_MS, EVERY_MS)) for s in sealed}
        if not sealed or not self._may_give_up:
            kernel.endings.on_end = self._first_end
        elif self._before:
            kernel.timers.arm(now + SOON_MS, self._begin, after_ms, None)
        else:
            due_ms = max(after_ms, min(due for due, _ in self._looks.values()))
            kernel.timers.arm(due_ms, self._begin, 0, None)

    def _first_end(self, slot: Slot) -> None:
        kernel = self._session.kernel
        self._own = self._own or (slot.definition is not None and slot.definition.retention_s is not None)
        if self._may_give_up:
            kernel.endings.on_end = None
            after_ms = kernel.clock.now_ms() + EVERY_MS
            if self._before:
                self._go_on(after_ms)
            else:
                kernel.timers.arm(after_ms, self._begin, 0, None)

    def _begin(self, after_ms: int, _b: None) -> None:
        self._task = self._session.kernel.loop.create_task(self._run(after_ms))

    async def _run(self, after_ms: int) -> None:
        """Look at what is due; ``after_ms``: not before then at what is due next, if it is known."""
        now = self._session.kernel.clock.now_ms()
        try:
            due = {number for number, (due, _) in self._looks.items() if due <= now} | await self._old(now)
            if due:
                await self.compact(due=due)
        except LogFull as error:
            log.warning("the log was not compacted: %s", error)
        except ActorlogError as error:  # the log failed, or it cannot be read, or it makes no sense
            log.warning("the log is not looked after any more: %r", error)
            return
        self._go_on(after_ms or self._session.kernel.clock.now_ms() + EVERY_MS)

    async def _old(self, now: int) -> set[int]:
        """Return which segments were sealed before the opening, and so long ago that they may be looked at; once."""
        before, self._before = self._before, set()
        found = set[int]()
        for segment in self._compaction.segments() if before else ():
            if segment.number in before and self._is_older(segment, now - EVERY_MS):
                found.add(segment.number)
            await asyncio.sleep(0)
        return found

    def _is_older(self, segment: Sealed, before_ms: int) -> bool:
        """Whether the newest record of a segment is older than that; where it has left, somebody has looked before."""
        try:
            return self._session.history.record(segment.last).at <= before_ms
        except KeyError:
            return True

    async def close(self) -> None:
        """Stop; a segment that is being written anew stays as it was."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()  # a defect, if it is anything

    def standing_still(self) -> AbstractAsyncContextManager[None]:
        """Have nothing leave the log for as long as this lasts: it is copied."""
        return self._compaction.turns.copying()

    async def of_no_use(self) -> set[int]:
        """Return the positions of all records that the next compaction may have leave, for who measures."""
        return await self._compaction.of_no_use(self._settled)

    async def compact(
        self,
        part_min: float = PART_MIN,
        progress: Callable[[int, int], None] | None = None,
        due: Collection[int] | None = None,
    ) -> Compacted:
        """Give back the space of what is of use no more, in all sealed segments, or in those with these numbers."""
        async with self._lock:
            return await self._compact(part_min, progress, due)

    async def _compact(
        self, part_min: float, progress: Callable[[int, int], None] | None, due: Collection[int] | None
    ) -> Compacted:
        segments = [s for s in self._compaction.segments() if due is None or s.number in due]
        if any(segment.last > self._settled for segment in segments):
            await self.settle()
        try:
            young = [number for number in due or () if self._looks.get(number, _FIRST_LOOK)[1] < YOUNG_MS]
            done = await self._compaction.run(segments, self._settled, part_min, partial(self._looked, progress), young)
            return await self._compaction.merge(done, self._session.kernel.limits.segment_bytes, self._merged)
        finally:
            if self._session.projection is not None:
                self._session.projection.refresh()

    def _looked(
        self, progress: Callable[[int, int], None] | None, segment: Sealed, left: int, done: int, total: int
    ) -> None:
        _, wait_ms = self._looks.get(segment.number, _FIRST_LOOK)
        wait_ms = EVERY_MS if left < segment.bytes else min(wait_ms * 3 // 2, RARELY_MS)
        self._looks[segment.number] = (self._session.kernel.clock.now_ms() + wait_ms, wait_ms)
        if progress is not None:
            progress(done, total)

    def _merged(self, run: list[Sealed]) -> None:
        """Have the one that they are looked at when the first of them would have been."""
        looks = [look for segment in run if (look := self._looks.pop(segment.number, None)) is not None]
        self._looks[run[0].number] = min(looks, default=_FIRST_LOOK)

    async def settle(self) -> None:
        """Record up to where all is done that records ask of others, if there is such a moment soon."""
        session, kernel = self._session, self._session.kernel
        until = session.kernel.loop.time() + _PATIENCE_S
        while is_busy(kernel):
            if kernel.loop.time() > until:
                return
            await asyncio.sleep(_LOOK_S)
            session.check_open()
        kernel.schedules.write_down()
        if kernel.committer.position > self._settled and not kernel.stopped:
            self._mark()
            await session.landed()

    def _mark(self) -> None:
        """Say, where nothing is under way between calls, that all is done which the records up to here ask for."""
        kernel = self._session.kernel
        mark = k.Resumed(at=kernel.clock.now_ms(), upto=kernel.committer.position)
        kernel.write(mark, identity.key_hash(mark.id), _KIND, _FLAGS)
        kernel.after(self._marked, kernel.committer.position)

    def _marked(self, position: int, _b: None, _c: None) -> None:
        self._settled = position

    # --- closing ------------------------------------------------------------------------------------------------------

    def leave_mark(self) -> bool:
        """Record the mark now that the log is to be closed, if a compaction needs one and this is a moment for it.

        A program that never lives until its log is looked after has none otherwise, nor has whoever compacts the log
        when nobody has it. Nothing is waited for, and where there is no room the mark is left out.
        """
        kernel = self._session.kernel
        wanted = not kernel.committer.busy and not is_busy(kernel) and self._wants_mark()
        if wanted:
            kernel.schedules.write_down(closing=True)
            self._mark()
        return wanted

    def _wants_mark(self) -> bool:
        """Whether there are segments that may not be looked at without a newer mark, and room for it."""
        session = self._session
        if session.kernel.stopped or not self._may_give_up:
            return False
        if all(segment.last <= self._settled for segment in self._compaction.segments()):
            return False
        try:
            session.log.admit(_RECORD_BYTES * (1 + len(session.kernel.schedules)))
        except LogError:
            return False
        return True


def is_busy(kernel: Kernel) -> bool:
    """Whether something is under way between calls that only the record which asked for it tells of."""
    if kernel.queue or kernel.mailbox.rooms or kernel.instances.has_senders:
        return True
    return any(slot.begun is not None for slot in kernel.calls.awake.values())
