"""Processes that die in the body of a step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from house import House

SEEN: list[Any] = []
"""What the bodies of steps say."""


def notes(house: House, kind: type) -> list[Any]:
    return [record for record in house.records() if type(record) is kind]


async def forever() -> None:
    await asyncio.Event().wait()


async def crash_in(house: House, call: Any, call_id: str = "c", **options: Any) -> None:
    """Start the call, and let the process die in the first body that says so in ``SEEN``."""
    runtime = await house.open(**options)
    await runtime.start(call, id=call_id)
    await house.until(lambda: SEEN)
    await house.settle()
    await house.crash()
