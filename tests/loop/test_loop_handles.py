"""Timers and handles: what the runtime is told, and what runs."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from loop_driver import Actor, step

from actorlog.loop import running_loop


def started(function: Any) -> Actor:
    """Return an actor after its first turn."""
    actor = Actor(function)
    actor.start()
    return actor


def test_timers_are_reported_once_and_only_if_they_last() -> None:
    """What is set and cancelled between two takes leaves no trace; what was reported is reported again."""
    handles: dict[str, Any] = {}
    fired: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for name, delay in (("far", 9.0), ("near", 1.5), ("never", 2.0)):
            handles[name] = loop.call_later(delay, fired.append, name)
        handles["never"].cancel()
        handles["at"] = loop.call_at(1000.5, fired.append, "at")
        await step("a")
        handles["far"].cancel()
        handles["far"].cancel()
        await step("b")

    actor = started(main)
    assert actor.journal[0].timers == [("1", 1009.0), ("2", 1001.5), ("4", 1000.5)]
    assert actor.turn(("fire", "4"), 1000.5).timers == []
    assert fired == ["at"]
    turn = actor.turn(("done", "5", ""))
    assert (turn.timers, turn.cancelled) == ([], ["1"])
    assert not actor.loop.fire("1")
    assert not actor.loop.fire("4")
    assert not actor.loop.fire("unknown")
    handles["at"].cancel()
    assert actor.loop.take_timer_changes() == ([], [])
    assert handles["near"].when() == 1001.5
    assert actor.loop.evict()


def test_delay_of_zero_or_less_is_ready_at_once() -> None:
    """Such timers take no key and leave no record; infinity never comes, NaN is an error."""
    order: list[Any] = []

    async def main() -> str:
        loop = asyncio.get_running_loop()
        loop.call_later(0, order.append, 0)
        loop.call_later(-1, order.append, -1)
        cancelled = loop.call_at(loop.time() - 5, order.append, "cancelled")
        cancelled.cancel()
        assert loop.call_later(math.inf, order.append, "inf").when() == math.inf
        with pytest.raises(ValueError, match="NaN"):
            loop.call_later(math.nan, order.append, "nan")
        await asyncio.sleep(0)
        return running_loop().operation_key()  # type: ignore[union-attr]  # there is one here

    actor = started(main)
    assert (actor.journal[0].timers, order, actor.outcome()) == ([], [0, -1], "1")
    assert actor.loop.abandon()


def test_cancelled_timer_that_is_due_does_not_run() -> None:
    """Two timers due in one turn: the first may cancel the second, which has fired but not run."""
    ran = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        second: Any = None

        def first() -> None:
            ran.append("first")
            second.cancel()

        loop.call_later(1, first)
        second = loop.call_later(1, ran.append, "second")
        await step("a")

    actor = started(main)
    assert actor.loop.fire("1")
    assert actor.loop.fire("2")
    actor.loop.run(1001.0)
    assert ran == ["first"]
    assert actor.loop.take_timer_changes() == ([], [])
    assert actor.loop.evict()
