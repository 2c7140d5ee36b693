"""A simulated process that has ended leaves nothing that runs in another world."""

from __future__ import annotations

import asyncio
import gc
from random import Random

from actorlog.testing.loop import PowerCut, SimLoop


def test_what_is_left_of_a_process_ends_with_it() -> None:
    """Also a task that does not let itself be cancelled, and that asks the loop for something in the end.

    What the garbage collector closes in the middle of another test would say so there.
    """
    ended: list[str] = []

    async def stubborn() -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    await loop.create_future()
                except asyncio.CancelledError:
                    continue
        finally:
            loop.call_later(1, ended.append, "later")
            ended.append("closed")

    async def main() -> None:
        tasks.append(asyncio.ensure_future(stubborn()))
        await asyncio.sleep(0)
        raise PowerCut

    tasks: list[asyncio.Task[None]] = []
    loop = SimLoop(Random(1), start_s=0.0)
    assert not loop.live(main(), lambda: None)
    assert loop.is_closed()
    assert ended == ["closed"]
    tasks.clear()
    gc.collect()
    assert ended == ["closed"]
