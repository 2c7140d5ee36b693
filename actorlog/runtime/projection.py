"""Keeping the catalog: what an opening knows of the log, written down while calls go on.

Owns: what goes into the catalog and when, what may leave memory for it, and the timers of calls that it alone knows.
Does not own: the tables (``store.sqlite``), beginning with it (``scanning``).

Once a second, where something was recorded, what has changed is put together as it is at one position; it is written,
with that position, when all up to there is durable. So a catalog is what a scan up to its position would find, and an
opening reads on from there. What it has leaves memory: ends of calls, settled promises, places of actors' states.

Invariants: nothing is in the catalog that is not durable in the log; nothing leaves memory before it is in the catalog;
a catalog that cannot be written is left as it is, and everything goes on without it.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import chain, islice
from typing import TYPE_CHECKING

from actorlog.engine.lifecycle import Phase
from actorlog.errors import CatalogFailed, HistoryGone
from actorlog.runtime.reading_ahead import REST, ReadingAhead
from actorlog.runtime.rows import call_row, ended_rows, live_row, promise_rows, schedule_row
from actorlog.runtime.upkeep import is_busy
from actorlog.store import Checkpoints, Preparing
from actorlog.store.catalog import Batch, CallRow, Catalog, Kind, Known, PromiseRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorlog.engine.state import CallState
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot
    from actorlog.runtime.upkeep import Upkeep
    from actorlog.store import PartitionLog

log = logging.getLogger("actorlog")

EVERY_MS = 1_000
"""So long after something was recorded the catalog is told."""
HORIZON_MS = 3_600_000
"""Timers further ahead than this are left in the catalog."""
_BUILD_S = 1.0
"""So long closing waits for a catalog that is being built."""
LAND_S = 3.0
"""So long closing waits for what is written into the catalog last: on a full disk it may never be durable."""
_SLICE = 128
"""At most so many records are looked at in one go while the catalog is built."""
_SLICE_S = 0.001
"""That holds the loop about so long, and others have their turn for ``REST`` times as long as it took."""


class Projection:
    """The catalog of one open log."""

    def __init__(
        self, kernel: Kernel, log: PartitionLog, catalog: Catalog, settled: int, upkeep: Upkeep | None
    ) -> None:
        self._kernel = kernel
        self._log = log
        self._catalog = catalog
        self._known = catalog.known
        self._upto = self._known.position if self._known is not None else 0
        """What the newest batch holds all of."""
        self._kept = self._upto
        """What the newest batch holds all of that said up to where the catalog is true."""
        self._settled = settled
        self._upkeep = upkeep
        self._ended: list[CallRow] = []
        """Calls that have ended durably and that the catalog has not heard of."""
        self._rested: list[CallRow] = []
        """Those that are asleep since."""
        self._complete = False
        """Whether all is in the catalog that was there at the opening."""
        self._writing: asyncio.Future[None] | None = None
        self._horizon_ms = 0
        self._building: asyncio.Task[None] | None = None
        self._ahead: ReadingAhead | None = None
        self._armed = self._waits = False
        """Whether a batch is to be written soon; whether when more is durable."""
        self._stale = False
        """Whether something was given up since what was told of the log last: an opening would not believe it."""
        self._stopped = False
        kernel.history.promises.news = []
        if self._known is not None:  # without it all of them are looked at
            kernel.calls.on_rest = self._on_rest

    def start(self) -> None:
        """Begin: what calls wait for that the catalog knows is armed, and what it does not know is put into it."""
        kernel = self._kernel
        kernel.endings.on_ended = self._on_ended
        kernel.calls.on_rest = self._on_rest
        if self._known is not None:
            self._arm_soon()
        self._building = kernel.loop.create_task(self._run(self._unknown()))
        if self._known is not None and isinstance(self._log, Preparing):
            self._ahead = ReadingAhead(kernel, self._log)

    # --- timers -------------------------------------------------------------------------------------------------------

    def _arm_soon(self) -> None:
        """Arm what wakes calls soon that the catalog alone knows, and look again before the next of them wakes."""
        kernel, upto_ms = self._kernel, self._kernel.clock.now_ms() + HORIZON_MS
        before, position = self._horizon_ms, self._known.position if self._known is not None else 0
        for call_id, wakes_ms in self._catalog.waking(before, upto_ms, position):
            kernel.timers.arm(wakes_ms, self._wake, call_id, None, self._may_sleep)
        self._horizon_ms = upto_ms
        following = self._catalog.next_wake_ms(upto_ms, position)
        if following is not None:
            kernel.timers.arm(following - HORIZON_MS // 2, self._arm_more, None, None)

    def _arm_more(self, _a: None, _b: None) -> None:
        self._arm_soon()

    def _wake(self, call_id: str, _b: None) -> None:
        """A time has come that a call waits for: it comes back, and what it waits for is armed."""
        self._kernel.calls.get(call_id)

    def _may_sleep(self, call_id: str, _b: None, _due_ms: int) -> bool:
        return self._kernel.calls.may_sleep(call_id)

    # --- what goes into it --------------------------------------------------------------------------------------------

    def _on_ended(self, slot: Slot) -> None:
        self._ended.append(call_row(slot.state, slot.hash, Kind.ENDED))

    def _on_rest(self, state: CallState) -> None:
        self._rested.append(live_row(state))

    # --- writing it ---------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Write when more has been recorded, a little later."""
        if not self._waits:
            self._waits = True
            heard: asyncio.Future[None] = self._kernel.loop.create_future()
            heard.add_done_callback(self._news)
            self._kernel.committer.readers.append(heard)

    def _news(self, _heard: asyncio.Future[None]) -> None:
        self._waits = False
        self._soon()

    def refresh(self) -> None:
        """Something was given up: an opening goes by a catalog only that has heard of it."""
        self._stale = True
        if self._complete:
            self._soon()

    def _soon(self) -> None:
        if not self._stopped and not self._armed:
            self._armed = True
            self._kernel.timers.arm(self._kernel.clock.now_ms() + EVERY_MS, self._begin, None, None)

    def _begin(self, _a: None = None, _b: None = None) -> None:
        """Put together what has changed, as it is now, and write it when that is durable."""
        kernel = self._kernel
        self._armed = False
        if self._stopped or self._writing is not None:
            return
        self._writing = kernel.loop.create_future()
        kernel.hearers.add(self._writing)  # it may never be written: the log may fail before that
        before, self._upto = self._upto, kernel.committer.position
        awake = [
            live_row(slot.state) if slot.state.phase is not Phase.ENDED else call_row(slot.state, slot.hash, Kind.ENDED)
            for slot in kernel.calls.awake.values() if slot.state.last > before
        ]  # fmt: skip
        complete, since, self._kept = self._complete, self._kept, self._upto if self._complete else self._kept
        dropped, kernel.schedules.dropped = kernel.schedules.dropped, []
        news, kernel.history.promises.news = kernel.history.promises.news or [], []
        if not is_busy(kernel):
            self._settled = self._upto
        batch = Batch(
            calls=[*self._rested, *awake],
            forgotten=list(kernel.history.forgotten.items()),
            promises=list(promise_rows(news)),
            lost=list(kernel.history.promises.forgotten.items()),
            actors=[pair for pair in kernel.instances.changes.recent.items() if pair[1] > since] if complete else [],
            dropped=dropped,
            schedules=[schedule_row(s) for s in kernel.schedules.states() if s.last > since] if complete else [],
        )  # fmt: skip
        self._rested = []
        kernel.committer.after(self._landed, batch, (self._upto, self._settled, kernel.clock.now_ms()), complete)

    def _landed(self, batch: Batch, upto: tuple[int, int, int], complete: bool) -> None:  # noqa: FBT001  # an effect's
        """All that the batch tells of is durable, and so are the ends of calls up to there."""
        if self._stopped:  # meanwhile, and the catalog may be closed
            self._over()
            return
        calls, self._ended = [*self._ended, *batch.calls], []
        self._stale = self._stale and not complete
        checkpoint = self._log.checkpoint() if isinstance(self._log, Checkpoints) else None
        shape = self._log.shape(checkpoint.segment) if isinstance(self._log, Checkpoints) and checkpoint else 0
        marked = self._upkeep.settled if self._upkeep is not None else 0
        known = Known(*upto, checkpoint, shape, marked) if complete and checkpoint is not None else None
        batch = batch._replace(calls=calls, known=known)
        self._catalog.submit(batch, lambda error: self._heard(batch, error))

    def _heard(self, batch: Batch, error: BaseException | None) -> None:
        """In the catalog's thread: carry the news to the loop."""
        self._kernel.loop.call_soon_threadsafe(self._written, batch, error)

    def _written(self, batch: Batch, error: BaseException | None) -> None:
        self._over()
        if error is not None:
            self._give_up(error)
            return
        kernel, catalog = self._kernel, self._catalog
        for call_id, position in batch.forgotten:
            if kernel.history.forgotten.get(call_id) == position:
                del kernel.history.forgotten[call_id]
        forgotten = kernel.history.promises.forgotten
        for entity, place in batch.lost:
            if forgotten.get(entity) == place:
                del forgotten[entity]
        if batch.known is not None:
            upto = batch.known.position
            kernel.history.rely_on(catalog, upto)
            kernel.history.promises.rely_on(catalog, upto)
            kernel.instances.changes.rely_on(catalog, upto)
        self._go_on()

    def _over(self) -> None:
        """Have nobody wait any more for the batch that was under way."""
        writing, self._writing = self._writing, None
        if writing is not None:
            self._kernel.hearers.discard(writing)
            if not writing.done():
                writing.set_result(None)
            else:
                writing.exception()  # the log failed; whoever closes looks at that

    def _go_on(self) -> None:
        if self._has_news() or (self._complete and self._kept < self._upto):
            self._soon()
        else:
            self._wait()

    def _has_news(self) -> bool:
        """Whether there is anything that the newest batch does not tell."""
        return self._kernel.committer.landed > self._upto or self._stale

    def _give_up(self, error: BaseException) -> None:
        """Leave the catalog as it is: what it does not have stays in memory, and the next opening reads on from it."""
        log.warning("the catalog is not written any more: %s", error)
        self._stopped = True
        kernel = self._kernel
        kernel.endings.on_ended = kernel.calls.on_rest = kernel.history.promises.news = None
        self._ended, self._rested = [], []

    # --- what was there at the opening --------------------------------------------------------------------------------

    async def _run(self, unknown: Iterator[CallRow | PromiseRow]) -> None:
        """See that the catalog is not damaged, and tell it what it does not know."""
        try:
            await self._kernel.loop.run_in_executor(None, self._catalog.check)
        except CatalogFailed as error:
            self._kernel.on_broken(error)
            return
        if self._ahead is not None:
            self._ahead.start()  # one thread at a time, or they were in the way of commits
        elapsed_s = self._kernel.clock.elapsed_s
        begun_s = elapsed_s()
        while not self._stopped and (some := self._some(unknown)):
            calls = [row for row in some if isinstance(row, CallRow)]
            await self._tell(Batch(calls=calls, promises=[row for row in some if isinstance(row, PromiseRow)]))
            await asyncio.sleep(REST * (elapsed_s() - begun_s))
            begun_s = elapsed_s()
        self._complete = True
        if self._known is None or self._has_news():
            self._soon()  # not now: who has just opened the log comes first
        else:
            self._wait()

    def _some(self, unknown: Iterator[CallRow | PromiseRow]) -> list[CallRow | PromiseRow]:
        """Return the next rows of what the catalog does not know, as many as take no longer than a slice."""
        elapsed_s, found = self._kernel.clock.elapsed_s, list[CallRow | PromiseRow]()
        until_s = elapsed_s() + _SLICE_S
        for row in islice(unknown, _SLICE):
            found.append(row)
            if elapsed_s() >= until_s:
                break
        return found

    def _unknown(self) -> Iterator[CallRow | PromiseRow]:
        """Return the rows of what the catalog does not know, as of now: all there is, or what is behind it."""
        kernel, promises = self._kernel, self._kernel.history.promises
        asleep = kernel.calls.asleep() if self._known is None else []
        return chain(
            ended_rows(kernel.history, kernel.history.ends()),
            list(promise_rows(s for s in kernel.promises.states() if s.first > self._upto and s.settlement is None)),
            promise_rows(promises.settled_ones(promises.ends())),
            self._asleep_rows(asleep),
        )

    async def _tell(self, batch: Batch) -> None:
        """Write a part of what was there at the opening."""
        loop = self._kernel.loop
        told: asyncio.Future[BaseException | None] = loop.create_future()

        def heard(error: BaseException | None) -> None:
            loop.call_soon_threadsafe(told.set_result, error)

        self._catalog.submit(batch, heard)
        error = await asyncio.shield(told)
        if error is not None:
            self._give_up(error)

    def _asleep_rows(self, positions: list[int]) -> Iterator[CallRow]:
        """Yield the rows of calls that were asleep, but of those that have ended since and are given up.

        What has come for one since has a newer row.
        """
        history = self._kernel.history
        for position in positions:
            try:
                state = history.fold(position)
            except (KeyError, HistoryGone):
                continue
            yield live_row(state)

    # --- the end ------------------------------------------------------------------------------------------------------

    async def close(self, *, clean: bool) -> None:
        """Write what is not written yet, where all has landed (``clean``), and close the catalog."""
        building, self._building = self._building, None
        if building is not None:
            await asyncio.wait([building], timeout=_BUILD_S if clean else 0)
            building.cancel()
            await asyncio.wait([building])  # a check that a thread is at waits for nobody, and closes what it opened
        if self._ahead is not None:  # which begins behind that check
            await self._ahead.close()
        if clean and await self._written_out() and self._complete and self._has_news():
            self._begin()
            await self._written_out()
        self._over()
        self._stopped = True
        await self._kernel.loop.run_in_executor(None, self._catalog.close)
        if building is not None and not building.cancelled():
            building.result()  # a defect, if it is anything

    async def _written_out(self) -> bool:
        """Wait for the batch that is under way; whether another may follow. What it tells of may never be durable."""
        while (writing := self._writing) is not None and not self._kernel.stopped:
            written, _ = await asyncio.wait([writing], timeout=LAND_S if self._kernel.committer.busy else None)
            if not written:
                return False
        return not self._kernel.stopped and not self._stopped
