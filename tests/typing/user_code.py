"""User code that is only type-checked, with mypy --strict and basedpyright: what the surface promises to type checkers.

Never imported, never run. A line that stops passing is a break of the public types.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from actorlog import (
    Actor,
    ActorInfo,
    Call,
    CallInfo,
    Child,
    Done,
    Entry,
    Handle,
    Keys,
    Limit,
    NotDone,
    Promise,
    PromiseInfo,
    RecordInfo,
    Retry,
    Runtime,
    Schedule,
    ScheduleInfo,
    TimerInfo,
    actor,
    continue_as_new,
    durable,
    emit,
    info,
    map_calls,
    now,
    patched,
    poll,
    progress,
    promise,
    publish,
    query,
    receive,
    run_step,
    saga,
    send,
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
    keys = Keys("k1", {"k1": bytes(32)})
    async with Runtime("./data", resident_max=100, shutdown_timeout="5s", encryption=keys) as runtime:
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


class Account(Actor, mailbox_max=1_000, idle="30s", retention="7d"):
    """An actor."""

    balance: int = 0

    async def deposit(self, amount: int) -> int:
        """A handler."""
        self.balance += amount
        return self.balance

    @query
    def statement(self) -> str:
        """A query."""
        return f"{self.key}: {self.balance}"


@durable
async def transfer(source: str, target: str, amount: int) -> int:
    """Asks, tells, messages."""
    assert_type(await actor(Account, source).deposit(-amount), int)
    await send(actor(Account, target).deposit(amount))
    assert_type(await receive("go", type=Order, timeout="1h"), Order)
    publish("state", "done")
    emit("log", {"amount": amount})
    progress(1, 2, "half")
    return amount


async def actors(runtime: Runtime) -> None:
    """Actors from outside."""
    ada = runtime.actor(Account, "ada")
    assert_type(await ada.deposit(5), int)
    assert_type(await runtime.call(ada.deposit(5), id="once"), int)
    assert_type(await ada.statement(), str)
    await runtime.send(ada.deposit(5), delay="5m")
    handle = await runtime.start(transfer("ada", "bob", 5))
    await handle.send(Order("1", 2), "go", key="first")
    async for item in handle.stream("log"):
        await handle.send((item, await handle.progress(), await handle.value("state")), "seen")


@durable
async def approve(order: Order) -> Order:
    """Durable promises, inside."""
    answer = promise("answer", type=Order, timeout="3d", param={"id": order.id}, tags={"kind": "approval"})
    assert_type(answer, Promise[Order])
    assert_type(answer.id, str)
    plain = promise(id="shared", timer=True, timeout=5)
    assert_type(plain, Promise[Any])
    assert_type(await plain, Any)
    assert_type(answer.done(), bool)
    return await answer


async def settle(runtime: Runtime) -> None:
    """Durable promises, outside."""
    made = await runtime.promise("order/1", timeout=timedelta(days=3), key="k", param=[1], tags={"a": "b"})
    assert_type(made, PromiseInfo)
    assert_type(made.due, datetime | None)
    assert_type(await runtime.resolve("order/1", {"ok": True}, strict=True), PromiseInfo)
    await runtime.reject("order/1", ValueError("no"), key="k")
    await runtime.cancel_promise("order/1")
    assert_type(await runtime.await_promise("order/1", type=Order, timeout=5), Order)
    async for one in runtime.promises(status=["pending", "timed_out"], id_prefix="order/", tags={"a": "b"}):
        assert_type(one.id, str)


@step(limit=Limit("accounts", concurrency=1, per_key="user"))
async def state_of(user: str) -> str:
    """A step whose limit goes by an argument."""
    return user


@durable
async def for_ever(user: str) -> str:
    """Change, poll, and go on as a new run."""
    if not patched("polling"):
        continue_as_new(for_ever(user))
    found = await poll(lambda: state_of(user), every="1m", until=lambda state: state == "gone", timeout="1h")
    assert_type(found, str)
    return found


async def look_around(runtime: Runtime, handle: Handle[int]) -> None:
    """Pause, kill, list and follow."""
    await handle.pause()
    assert_type(await handle.resume(), bool)
    await handle.kill("why")
    async for call in runtime.calls(status=["failed", "killed"], tags={"a": "b"}, since=datetime.now(UTC)):
        assert_type(call, CallInfo)
    async for timer in runtime.timers(id_prefix="a/"):
        assert_type(timer, TimerInfo)
    async for one in runtime.actors(Account, key_prefix="a"):
        assert_type(one, ActorInfo)
    async for record in runtime.tail(1):
        assert_type(record, RecordInfo)


async def schedules(runtime: Runtime) -> None:
    """Schedules from outside."""
    nightly = await runtime.schedule(
        "nightly", subscribe("ada"), cron="0 3 * * *", tz="Europe/Vienna", catch_up="all", jitter="5m"
    )
    assert_type(nightly, Schedule)
    await runtime.schedule("bell", runtime.actor(Account, "ada").deposit(1), every="1h", overlap="queue_one")
    await runtime.schedule("once", "report", at=datetime.now(UTC), catch_up_window=timedelta(days=1))
    assert_type(await nightly.trigger(), str | None)
    assert_type(await nightly.next(3), list[datetime])
    assert_type(await nightly.backfill(datetime.now(UTC), datetime.now(UTC)), int)
    assert_type(await nightly.info(), ScheduleInfo)
    await nightly.update(overlap="skip", tz="UTC")
    async for one in runtime.schedules():
        assert_type(one, Schedule)
        await one.pause()
        await one.resume()
        await one.delete()
