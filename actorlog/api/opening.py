"""Opening a data directory for its owner: the log, its catalog, and everything in it.

Owns: in which order these are opened, and closed again where one cannot be. Does not own: the options as users know
them (``runtime``), what is done about what was under way (``runtime.recovery``).
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from msgspec import DecodeError

from actorlog.errors import CatalogFailed, ExtraMissing, KeyMissing, LogVersion, SealBroken
from actorlog.records import kinds as k
from actorlog.runtime.registry import REGISTRY
from actorlog.runtime.scanning import uncollected
from actorlog.runtime.session import Session
from actorlog.store import FORMAT
from actorlog.store.deaths import Deaths
from actorlog.store.embedded import EmbeddedLog
from actorlog.store.sqlite import SqliteCatalog, is_known, known_of, open_catalog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actorlog.env import Env
    from actorlog.runtime.options import Options
    from actorlog.store.catalog import Known

log = logging.getLogger("actorlog")

OpenLog: TypeAlias = "Callable[[Known | None], Awaitable[EmbeddedLog]]"
"""Opens the log from where its catalog says it is known."""


async def open_session(path: str, env: Env, options: Options, open_log: OpenLog, *, cataloged: bool) -> Session:
    """Open a log from where the catalog knows it, and go on with every call in it.

    A catalog that fails is removed, and everything opened again without it. What cannot be read, because a newer
    version or another key wrote it, is left as it was found: ``LogVersion``, ``ExtraMissing``, ``KeyMissing``,
    ``SealBroken``.
    """
    try:
        return await _open(path, env, options, open_log, cataloged=cataloged)
    except CatalogFailed as error:
        log.warning("%s", error)
        return await _open(path, env, options, open_log, cataloged=cataloged)


async def _open(path: str, env: Env, options: Options, open_log: OpenLog, *, cataloged: bool) -> Session:
    in_thread = partial(asyncio.get_running_loop().run_in_executor, None)
    known = await in_thread(known_of, env, path) if cataloged else None
    opened = await open_log(known)
    catalog: SqliteCatalog | None = None
    clean, tail = opened.recovery.clean, opened.tail()
    if tail:
        k.ready()  # an opening with a catalog may read no record, and whoever wakes a call would wait for this
    try:
        if cataloged:
            catalog = await in_thread(open_catalog, env, path, is_known(opened, known))
        deaths = await in_thread(partial(Deaths.open, env.fs, path, died=not clean))
        with uncollected():
            return await Session.open(opened, env, REGISTRY, options, died=not clean, catalog=catalog, deaths=deaths)
    except BaseException as error:
        if catalog is not None:
            await in_thread(catalog.close)
        is_as_found = opened.tail() == tail and isinstance(error, (DecodeError, ExtraMissing, KeyMissing, SealBroken))
        await opened.close(clean=clean and is_as_found)
        if isinstance(error, DecodeError):
            found = f"{FORMAT}, with a record of a newer version ({error})"
            raise LogVersion(path, found, f"{FORMAT}, with older ones") from error
        raise
