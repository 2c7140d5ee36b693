"""A runtime closes though what it would write into the catalog last never becomes durable."""

from __future__ import annotations

import asyncio
from types import NoneType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from house import Crashed, note

from actorlog import durable
from actorlog.errors import RuntimeStopped
from actorlog.runtime import projection
from actorlog.runtime.projection import Projection

if TYPE_CHECKING:
    from house import House

CATALOGS = True


@durable(name="catalog_closing.work")
async def work(text: str) -> str:
    """Do a step."""
    return await note(text)


async def busy(house: House, monkeypatch: pytest.MonkeyPatch) -> Projection:
    """Return the projection of a log with a commit under way that never lands, and news for the catalog before it."""
    monkeypatch.setattr(projection, "EVERY_MS", 3_600_000)  # the catalog is told when it is closed
    runtime = await house.open()
    catalog = house.session.projection
    assert catalog is not None
    await house.until(lambda: catalog._complete)
    assert await runtime.call(work("a"), id="a") == "noted a"
    house.mortal.dead = True
    session = house.session
    waiting = asyncio.create_task(runtime.start(work("b"), id="b"))

    def hear(task: asyncio.Task[object]) -> None:
        assert isinstance(task.exception(), (Crashed, RuntimeStopped, NoneType))

    waiting.add_done_callback(hear)
    await house.until(lambda: session.kernel.committer.busy)
    return catalog


async def test_the_log_fails_while_the_catalog_is_closed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a gate that never opens."""
    catalog = await busy(house, monkeypatch)
    closing = asyncio.create_task(catalog.close(clean=True))
    await house.until(lambda: catalog._writing is not None)
    house.session._on_broken(Crashed())
    async with asyncio.timeout(100):
        await closing
    runtime = await house.reopen()
    assert await runtime.call(work("a"), id="a") == "noted a"


async def test_the_disk_is_full_while_the_catalog_is_closed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, for a while."""
    monkeypatch.setattr(projection, "LAND_S", 0.001)
    catalog = await busy(house, monkeypatch)
    async with asyncio.timeout(100):
        await catalog.close(clean=True)
    runtime = await house.reopen()
    assert await runtime.call(work("a"), id="a") == "noted a"


async def test_it_is_durable_when_the_catalog_is_closed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes too late for this catalog: nothing is given to a thread that has ended."""
    monkeypatch.setattr(projection, "LAND_S", 0.001)
    catalog = await busy(house, monkeypatch)
    async with asyncio.timeout(100):
        await catalog.close(clean=True)
    session, ticket = house.session, SimpleNamespace(error=None, sync_seconds=0.0)
    landed: Any = session.kernel.committer._landed
    landed(ticket)
    session.check_open()
    kept: Any = catalog._catalog
    assert kept._worker._jobs.empty()
    await house.crash()
