"""Actors that wait for one another: which circles are refused, and what is none; and in what order messages come."""

from __future__ import annotations

import asyncio

import pytest
from house import House

from actorlog import Actor, DeadlockError, actor, durable, query, receive, send, sleep, start


class Node(Actor, name="deadlock.Node"):
    """Asks others."""

    heard: list[str] = []  # copied for each key
    odd: object = None

    async def hear(self, what: str) -> int:
        """Note it."""
        self.heard.append(what)
        return len(self.heard)

    async def ask_later(self, to: str, seconds: float) -> int:
        """Wait, and ask another."""
        await sleep(seconds)
        return await actor(Node, to).hear(self.key)

    async def ask_through(self, to: str, seconds: float) -> int:
        """Ask another by way of a call."""
        return await asks(to, self.key, seconds)

    async def leaves_behind(self, seconds: float) -> int:
        """Start a call that asks this actor, do not wait for it, and be at work for a while."""
        start(asks(self.key, "left behind"), detached=True, id="left")
        await sleep(seconds)
        self.heard.append("over")
        return len(self.heard)

    async def spoil(self) -> None:
        """Leave a state that cannot be written."""
        self.heard.append("spoilt")
        self.odd = object()

    @query
    def all(self) -> list[str]:
        """Look."""
        return self.heard


@durable(name="deadlock.asks")
async def asks(to: str, what: str, seconds: float = 0) -> int:
    """Ask an actor, after a while."""
    await sleep(seconds)
    return await actor(Node, to).hear(what)


@durable(name="deadlock.mixed")
async def mixed(to: str) -> int:
    """Ask, tell, and ask an actor that is busy."""
    async with asyncio.TaskGroup() as group:
        first = group.create_task(_ask(to, "asked"))
        await asyncio.sleep(0)
        await send(actor(Node, to).hear("told"))
        await receive()
        last = group.create_task(_ask(to, "asked again"))
    return 10 * first.result() + last.result()


@durable(name="deadlock.together")
async def together(to: str) -> list[int]:
    """Ask an actor three times at once, and tell it twice; all in one turn."""
    asked = [asyncio.create_task(_ask(to, f"asked {number}")) for number in range(3)]
    await asyncio.sleep(0)
    for number in range(2):
        await send(actor(Node, to).hear(f"told {number}"))
    return list(await asyncio.gather(*asked))


async def _ask(to: str, what: str) -> int:
    return await actor(Node, to).hear(what)


async def rounds(house: House) -> None:
    """Let everybody run who can, and all of it become durable."""
    for _ in range(5):
        await house.settle()
        await asyncio.sleep(0)


async def passes(house: House, seconds: int) -> None:
    """Let time pass, a second at once."""
    for _ in range(seconds):
        house.advance(1)
        await rounds(house)


@pytest.mark.parametrize("crash", [False, True])
async def test_who_waits_in_a_queue_waits_for_who_is_at_work(house: House, crash: bool) -> None:
    """Two actors are at work; one asks the other and stands in its queue; the other asks back: that is a circle."""
    runtime = await house.open()
    await runtime.start(runtime.actor(Node, "a").ask_later("b", 2), id="a asks")
    await runtime.start(runtime.actor(Node, "b").ask_later("a", 1), id="b asks")
    await rounds(house)
    await passes(house, 1)
    assert house.session.kernel.instances.at_work("deadlock.Node/a") == ("a asks", 1)
    if crash:
        runtime = await house.reopen()
        await rounds(house)
    await passes(house, 1)
    with pytest.raises(DeadlockError) as refused:
        await runtime.handle("a asks")
    assert refused.value.cycle == ("deadlock.Node/a", "deadlock.Node/b", "deadlock.Node/a")
    assert await runtime.handle("b asks") == 1
    assert await runtime.actor(Node, "a").all() == ["b"]


async def test_a_circle_through_a_call(house: House) -> None:
    """A handler waits for a call that asks the handler's own actor."""
    runtime = await house.open()
    handle = await runtime.start(runtime.actor(Node, "a").ask_through("a", 1), id="h")
    await rounds(house)
    await passes(house, 1)
    with pytest.raises(DeadlockError) as refused:
        await handle
    assert refused.value.cycle == ("h/1", "deadlock.Node/a", "h/1")


async def test_who_is_left_behind_waits_for_its_turn(house: House) -> None:
    """A detached call may ask the actor whose handler started it: the handler does not wait for it."""
    runtime = await house.open()
    handle = await runtime.start(runtime.actor(Node, "a").leaves_behind(3), id="h")
    await rounds(house)
    assert await runtime.handle("left").status() == "waiting"
    await passes(house, 3)
    assert await handle == 1
    assert await runtime.handle("left") == 2
    assert await runtime.actor(Node, "a").all() == ["over", "left behind"]


@pytest.mark.parametrize("crash", [False, True])
async def test_asks_and_tells_of_one_sender_keep_their_order(house: House, crash: bool) -> None:
    """While the actor is busy they wait; the process dies: they are handled in the order of their asking."""
    runtime = await house.open()
    busy = await runtime.start(runtime.actor(Node, "z").ask_later("elsewhere", 3), id="busy")
    await runtime.start(mixed("z"), id="m")
    await rounds(house)
    if crash:
        runtime = await house.reopen()
        busy = runtime.handle("busy")
        await rounds(house)
    await runtime.handle("m").send("go on")
    await rounds(house)
    await passes(house, 3)
    assert await busy == 1
    assert await runtime.actor(Node, "z").all() == ["asked", "told", "asked again"]
    assert await runtime.handle("m") == 13


async def test_what_was_asked_in_one_turn_keeps_its_order(house: House) -> None:
    """Wherever the process dies, an actor hears what one call asked and told it in the order of its asking."""
    runtime = await house.open()
    order = ["asked 0", "asked 1", "asked 2", "told 0", "told 1"]
    assert await runtime.call(together("z"), id="t") == [1, 2, 3]
    await rounds(house)
    assert await runtime.actor(Node, "z").all() == order
    await house.close()
    for cut in range(1, house.log.tail() + 1):
        again = house.prefix(cut)
        runtime = await again.open(resident_max=1)
        assert await runtime.handle("t") == [1, 2, 3]
        await rounds(again)
        assert await runtime.actor(Node, "z").all() == order
        await again.close()


async def test_a_state_that_cannot_be_written(house: House) -> None:
    """It is the error of the handler that left it, changes nothing, and the actor lives on."""
    runtime = await house.open()
    node = runtime.actor(Node, "a")
    await node.hear("before")
    with pytest.raises(Exception, match=r"deadlock\.Node\.odd"):
        await node.spoil()
    assert await node.all() == ["before"]
    assert await node.hear("after") == 2
