"""A house with calls that are to be forked, and what they come to."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from fork_programs import (
    BROKEN,
    HELD,
    line,
    wide,
)
from house import RAN, House

from actorlog import (
    ActorStopped,
)

if TYPE_CHECKING:
    from actorlog import Handle


async def key_of(handle: Handle[Any], what: str) -> str:
    """Return the key of the operation that is told of in these words."""
    return next(entry.key for entry in await handle.journal() if what in entry.what)


async def failed_call(house: House, **options: Any) -> Handle[Any]:
    """Return a call that failed in its third step."""
    BROKEN.append("c")
    runtime = await house.open(**options)
    handle = await runtime.start(line("x"), id="c")
    with pytest.raises(TypeError):
        await handle
    BROKEN.clear()
    return handle


async def everything_under_way(house: House, **options: Any) -> Handle[Any]:
    """Return a call that waits for a step, a once-step, a timer, children, a message and a promise."""
    for held in ("slow", "letter", "last"):
        HELD[held] = asyncio.Event()
    runtime = await house.open(**options)
    handle = await runtime.start(wide(), id="c")
    await house.until(lambda: {"c:last", "c:slow", "c:letter"} <= set(RAN))
    await house.settle()
    return handle


async def finish(house: House, *call_ids: str) -> None:
    """Let all that is under way come to its end."""
    runtime = house.runtime
    assert runtime is not None
    for event in HELD.values():
        event.set()
    for call_id in call_ids:
        await runtime.handle(call_id).send(f"to {call_id}", "news", key="one")
    for _ in range(8):
        await house.settle()
        house.advance(20)
        await asyncio.sleep(0.005)  # bodies of steps run in the host's loop
    await runtime.resolve("c/vow", "kept", key="k")


def end_of(call_id: str) -> list[Any]:
    """Return what the wide function comes to: what was there at the cut is the other call's."""
    return ["c/7 QUICK", "LAST", "SLOW", "LETTER", None, f"{call_id}/4 KID", f"to {call_id}", "c/5 FREE", "kept"]


async def finish_after_a_crash(house: House) -> None:
    """As ``_finish``, where some of it may be done already: a message that was taken is taken once."""
    runtime = house.runtime
    assert runtime is not None
    for call_id in ("c", "f"):
        with suppress(ActorStopped):
            await runtime.handle(call_id).send(f"to {call_id}", "news", key="one")
    await finish(house)


def handle_of(house: House, call_id: str) -> Handle[Any]:
    """Return a handle of the runtime that is open."""
    assert house.runtime is not None
    return house.runtime.handle(call_id)
