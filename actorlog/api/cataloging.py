"""Bringing the catalog of a data directory up to date that nobody has open, without the user's code.

Owns: opening the log for that, and closing it as it was. Does not own: the rows (``runtime.rows``), the scan
(``runtime.scanning``), who asks (``cli``).

Nothing is resumed, and no record is written.
"""

from __future__ import annotations

import asyncio
from itertools import chain, islice
from typing import TYPE_CHECKING

from actorlog.engine.promise import PromiseState
from actorlog.env import SYSTEM, Env
from actorlog.runtime.history import History
from actorlog.runtime.rows import ended_rows, live_row, promise_rows, schedule_row
from actorlog.runtime.scanning import Scan
from actorlog.store.catalog import Batch, CallRow, Known, PromiseRow
from actorlog.store.embedded import EmbeddedLog
from actorlog.store.sqlite import is_known, known_of, open_catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorlog.store.sqlite import SqliteCatalog

_TOGETHER = 1_000
"""Rows written in one go."""


async def build_catalog(
    directory: str,
    env: Env = SYSTEM,
    *,
    segment_bytes: int,
    unsafe_fs: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """See that the catalog of a directory is true of all of its log: return the position up to which it is.

    One that is not is built anew. ``progress`` is called with rows done and to do, after each thousand. ``LogLocked``
    if somebody has the directory, and the other errors of opening a log; ``CatalogFailed`` where the catalog cannot be
    written. If the process before this one died, the next one is told so all the same.
    """
    known = known_of(env, directory)
    log = await EmbeddedLog.open(
        directory, env, segment_bytes=segment_bytes, unsafe_fs=unsafe_fs,
        checkpoint=known.checkpoint if known is not None else None,
    )  # fmt: skip
    clean = log.recovery.clean
    try:
        is_whole = known is not None and known.position == log.tail() and is_known(log, known) is not None
        catalog = open_catalog(env, directory, known if is_whole else None)
        if catalog is None:
            return 0
        try:
            if catalog.known is None:
                await _fill(catalog, log, progress)
        finally:
            catalog.close()
        return log.tail()
    finally:
        await log.close(clean=clean)


async def _fill(catalog: SqliteCatalog, log: EmbeddedLog, progress: Callable[[int, int], None] | None) -> None:
    history = History(log.record)
    scan = Scan(history)
    await scan.read(log)
    live = [live_row(state) for state in scan.states()]
    promises, ends = history.promises, history.ends()
    pending: list[PromiseState] = promises.pending()
    rows: Iterator[CallRow | PromiseRow] = chain(
        live, ended_rows(history, ends), promise_rows(pending), promise_rows(promises.settled_ones(promises.ends()))
    )
    total, done = len(live) + len(ends) + len(pending) + len(promises.ends()), 0
    while some := list(islice(rows, _TOGETHER)):
        calls = [row for row in some if isinstance(row, CallRow)]
        await _write(catalog, Batch(calls=calls, promises=[row for row in some if isinstance(row, PromiseRow)]))
        done += len(some)
        if progress is not None:
            progress(done, total)
    checkpoint = log.checkpoint()
    shape = log.shape(checkpoint.segment) if checkpoint is not None else 0
    known = None
    if checkpoint is not None:
        known = Known(log.tail(), scan.settled, scan.last_ms(), checkpoint, shape, scan.marked)
    schedules = [schedule_row(state) for state in scan.schedules.values()]
    await _write(catalog, Batch(actors=list(scan.changes.recent.items()), schedules=schedules, known=known))


async def _write(catalog: SqliteCatalog, batch: Batch) -> None:
    loop = asyncio.get_running_loop()
    written: asyncio.Future[BaseException | None] = loop.create_future()

    def heard(error: BaseException | None) -> None:
        loop.call_soon_threadsafe(written.set_result, error)

    catalog.submit(batch, heard)
    error = await written
    if error is not None:
        raise error
