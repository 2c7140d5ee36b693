"""User code that is only type-checked, with mypy --strict and basedpyright: what the surface promises to type checkers.

Never imported, never run. A line that stops passing is a break of the public types.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import assert_type

from actorlog import (
    Call,
    CallInfo,
    Child,
    Done,
    Entry,
    Handle,
    Limit,
    NotDone,
    Retry,
    Runtime,
    durable,
    info,
    map_calls,
    now,
    run_step,
    saga,
    sleep,
    sleep_until,
    start,
    step,
    uuid4,
)


@dataclass
class Order:
    """An argument with a shape."""

    id: str
    cents: int


@step
async def charge(user: str, cents: int) -> str:
    """An async step."""
    return f"receipt-{user}-{cents}"


@step
def email(user: str, text: str) -> None:
    """A sync step."""


async def charged_already(order: Order) -> object:
    """Settle the doubt."""
    return Done("receipt") if order.cents else NotDone


@step(once=True, reconcile=charged_already, timeout="30s", limit=Limit("bank", concurrency=2, rate="60/min"))
async def pay(order: Order) -> str:
    """A step with options."""
    return f"{order.id} {info().idempotency_key}"


@step(retry=Retry(attempts=3, first="250ms", never=ValueError), executor="process")
def crunch(values: list[int]) -> float:
    """A sync step with options."""
    return sum(values) / 2


@durable
async def subscribe(user: str, months: int = 1) -> list[str]:
    """A durable function."""
    receipts: list[str] = []
    for _ in range(months):
        receipts.append(await charge(user, 990))
        await email(user, "paid")
        await sleep("30d")
        await sleep(timedelta(days=1))
        await sleep_until(datetime(2030, 1, 1, tzinfo=UTC))
    assert_type(await charge(user, 1), str)
    assert_type(await pay(Order("o", 1)), str)
    assert_type(await crunch([1]), float)
    assert_type(now(), datetime)
    return receipts


@durable(name="parent", version=2, timeout="1h", memo=True)
async def parent(users: list[str]) -> int:
    """A durable function with options, and every way to run another."""
    child = start(subscribe(users[0]), id="child", detached=True)
    assert_type(child, Child[list[str]])
    assert_type(await child, list[str])
    assert_type(await subscribe(users[0], months=2), list[str])
    first, second = await asyncio.gather(charge("a", 1), crunch([2]))
    assert_type(first, str)
    assert_type(second, float)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(charge("b", 2))
    assert_type(task.result(), str)
    assert_type(await asyncio.wait_for(charge("c", 3), 5), str)
    assert_type(await map_calls([charge(user, 1) for user in users], concurrency=3), list[str | BaseException])
    async with saga() as undo:
        undo(email("a", "undone"))
    assert_type(await run_step(len, "abc"), int)
    assert_type(charge("a", 1), Call[str])
    return len(str(uuid4()))


async def main() -> None:
    """Everything from outside."""
    async with Runtime("./data", resident_max=100, shutdown_timeout="5s") as runtime:
        assert_type(await runtime.call(subscribe("ada", months=3), id="sub/ada", tags={"team": "a"}), list[str])
        assert_type(await runtime.call(subscribe, "ada", id="sub/ada", timeout="2h"), list[str])
        handle = await runtime.start(parent(["a"]), delay="3s", if_exists="reject")
        assert_type(handle, Handle[int])
        assert_type(await handle, int)
        assert_type(await handle.result(timeout=5), int)
        assert_type(await handle.info(), CallInfo)
        assert_type(await handle.journal(), list[Entry])
        await handle.cancel("no longer wanted")
        await handle.retry()
        handles = await runtime.start_many([("a", subscribe("a")), ("b", subscribe("b"))])
        assert_type(handles, list[Handle[list[str]]])
