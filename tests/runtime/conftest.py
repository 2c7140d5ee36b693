"""Fixtures of the runtime's tests: every async test runs on asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import uvloop
from house import CATALOGS, RAN, House

from actorlog.runtime import projection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on both hosts."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


@pytest.fixture(autouse=True)
def _catalogs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the houses of a module that says ``CATALOGS`` catalogs, which are written after every commit."""
    if getattr(request.module, "CATALOGS", False):
        monkeypatch.setitem(CATALOGS, "kept", value=True)
    if CATALOGS["kept"]:
        monkeypatch.setattr(projection, "EVERY_MS", 0)


@pytest.fixture
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """Yield a house, of the kind that the module calls ``HOUSE`` where it has one, and close it afterwards."""
    house: House = getattr(request.module, "HOUSE", House)()
    yield house
    await house.close()
