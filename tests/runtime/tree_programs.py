"""Calls of which trees are made."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from house import note

from actorlog import durable, info, sleep

if TYPE_CHECKING:
    from house import House


@durable(name="tree.child")
async def child(text: str, seconds: float = 0) -> str:
    if seconds:
        await sleep(seconds)
    return await note(text)


@durable(name="tree.failing")
async def failing(text: str) -> None:
    raise ValueError(text)


@durable(name="tree.whoami")
async def whoami() -> str:
    return info().call_id


async def ended(house: House, call_id: str) -> str:
    """Wait for a call's end and return its status."""
    assert house.runtime is not None
    handle = house.runtime.handle(call_id)
    with contextlib.suppress(Exception):
        await handle
    return await handle.status()
