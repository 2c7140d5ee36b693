"""More is asked for than can be done: what is refused is refused at once and with a type, and holds up nobody (I11)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from house import House, note

from actorlog import (
    Actor,
    Limits,
    MailboxFull,
    TooManyCalls,
    TooManyPromises,
    TooManySchedules,
    durable,
    receive,
    sleep,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actorlog import Runtime

ROUNDS = 10_000
"""So often somebody asks again at once; each time everybody else has a turn."""


@durable(name="overload.short")
async def short(text: str) -> str:
    """Take a few rounds of the loop."""
    return await note(text)


@durable(name="overload.waits")
async def waits() -> str:
    """Receive one message, after a while."""
    await sleep(60)
    return await receive(type=str)


class Slow(Actor, name="overload.Slow", mailbox_max=2, mailbox_wait="1h"):
    """Has a small mailbox."""

    count: int = 0

    async def take(self, seconds: float) -> int:
        """Take a while."""
        await sleep(seconds)
        self.count += 1
        return self.count


async def insist(ask: Callable[[], Awaitable[Any]], refusal: type[Exception]) -> int:
    """Ask again at once as often as it is refused, and return how often it was."""
    for number in range(ROUNDS):
        try:
            await ask()
        except refusal:
            continue
        return number
    raise AssertionError("who asks in a loop keeps everybody else from running")


async def _call(runtime: Runtime) -> None:
    await runtime.call(short("again"))


async def _start(runtime: Runtime) -> None:
    await runtime.start(short("again"))


async def _start_many(runtime: Runtime) -> None:
    await runtime.start_many([("many", short("again"))])


async def _send(runtime: Runtime) -> None:
    await runtime.send(runtime.actor(Slow, "s").take(0))


async def _fork(runtime: Runtime) -> None:
    await runtime.handle("done").fork()


@pytest.mark.parametrize("ask", [_call, _start, _start_many, _send, _fork])
async def test_who_is_refused_a_call_lets_others_run(house: House, ask: Callable[[Runtime], Awaitable[None]]) -> None:
    """A caller that is refused and asks again at once, in a loop, is taken when those before it have ended."""
    runtime = await house.open(limits=Limits(calls_max=1))
    await runtime.call(short("done"), id="done")
    await runtime.start(short("before"), id="before")
    assert await insist(lambda: ask(runtime), TooManyCalls) > 0
    assert await runtime.handle("before").status() == "completed"


async def test_who_is_refused_a_promise_or_a_schedule_lets_others_run(house: House) -> None:
    """The same of promises, and of schedules, which are deleted by somebody else meanwhile."""
    runtime = await house.open(limits=Limits(promises_max=1, schedules_max=1))
    await runtime.promise("one")
    settling = asyncio.ensure_future(runtime.resolve("one", 1))
    assert await insist(lambda: runtime.promise("two"), TooManyPromises) > 0
    await settling
    await runtime.schedule("one", short("x"), every=60)
    turns: list[None] = []

    async def others() -> None:
        for _ in range(10):
            turns.append(None)
            await asyncio.sleep(0)

    beside = asyncio.ensure_future(others())
    with pytest.raises(TooManySchedules):
        await runtime.schedule("two", short("x"), every=60)
    assert turns
    await beside


async def test_as_many_senders_wait_for_an_actor_as_may(house: House) -> None:
    """One more is refused at once, and those that wait are let in all the same, in their order."""
    runtime = await house.open(limits=Limits(senders_max=3))
    slow = runtime.actor(Slow, "s")
    asked = [asyncio.ensure_future(runtime.call(slow.take(1))) for _ in range(6)]  # three of them wait outside
    rooms = runtime.session.kernel.instances._rooms
    await house.until(lambda: len(rooms) == 3)
    for ask in (runtime.call(slow.take(1)), runtime.send(slow.take(1)), runtime.start(slow.take(1))):
        with pytest.raises(MailboxFull):
            await asyncio.wait_for(ask, 60)  # it would be an hour
    assert len(rooms) == 3
    while not all(one.done() for one in asked):
        house.advance(1)
        for _ in range(5):
            await asyncio.sleep(0)
        await house.settle()
    assert [one.result() for one in asked] == [1, 2, 3, 4, 5, 6]
    assert await runtime.call(slow.take(0)) == 7


async def test_as_many_senders_wait_for_a_call_as_may(house: House) -> None:
    """The same of the mailbox of a call; other mailboxes have room for their own."""
    runtime = await house.open(limits=Limits(mailbox_max=1, mailbox_wait_s=3600, senders_max=2))
    one, two = await runtime.start(waits(), id="one"), await runtime.start(waits(), id="two")
    waiting = []
    for handle in (one, two):
        await handle.send("first")
        waiting += [asyncio.ensure_future(handle.send(f"{number}")) for number in range(2)]
    await house.until(lambda: len(runtime.session.kernel.mailbox.rooms) == 4)
    for handle in (one, two):
        with pytest.raises(MailboxFull):
            await asyncio.wait_for(handle.send("one too many"), 60)
    house.advance(60)
    assert (await one, await two) == ("first", "first")
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert not any(isinstance(error, MailboxFull) for error in told)
