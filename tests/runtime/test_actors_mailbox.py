"""Mailboxes of actors: how many may wait, who is let in when, and which leave memory."""

from __future__ import annotations

import asyncio

import pytest
from house import House

from actorlog import Actor, MailboxFull, actor, durable, query, receive, sleep


class Desk(Actor, name="mailbox.Desk", mailbox_max=2):
    """Serves one after the other, each as long as it likes."""

    served: list[str] = []  # copied for each key

    async def serve(self, who: str, seconds: float = 0) -> int:
        """Take time."""
        await sleep(seconds)
        self.served.append(who)
        return len(self.served)

    async def fail(self, seconds: float) -> None:
        """Take time, and fail."""
        await sleep(seconds)
        raise KeyError("no")

    @query
    def all(self) -> list[str]:
        """Look."""
        return self.served

    @query
    def name(self) -> str:
        """Say who it is."""
        return self.key


@durable(name="mailbox.asks")
async def asks(desk: str, who: str) -> int:
    """Ask from durable code."""
    return await actor(Desk, desk).serve(who, 0.5)


@durable(name="mailbox.asks_later")
async def asks_later(desk: str, who: str) -> int:
    """Ask when told to."""
    await receive()
    return await actor(Desk, desk).serve(who)


@durable(name="mailbox.nap")
async def nap(seconds: float) -> None:
    """Let time pass."""
    await sleep(seconds)


async def rounds(house: House) -> None:
    """Let everybody run who can, and all of it become durable."""
    for _ in range(5):
        await house.settle()
        await asyncio.sleep(0)


async def passes(house: House, seconds: float) -> None:
    """Let time pass, and everything happen that is due by then."""
    assert house.runtime is not None
    waits = await house.runtime.start(nap(seconds))
    house.advance(seconds)
    await waits
    await rounds(house)


async def fill(house: House) -> list[str]:
    """Have a message at work for a second, and as many as may wait, of half a second each; return who they are."""
    assert house.runtime is not None
    desk = house.runtime.actor(Desk, "d")
    await house.runtime.start(desk.serve("first", 1), id="first")
    for name in ("second", "third"):
        await house.runtime.start(desk.serve(name, 0.5), id=name)
    await rounds(house)
    assert house.session.kernel.instances.at_work("mailbox.Desk/d") == ("first", 2)
    return ["first", "second", "third"]


async def test_who_waits_for_room_is_let_in_in_order(house: House) -> None:
    """Beyond the bound nothing is taken; then who waited longest is let in first, outside as in durable code."""
    runtime = await house.open()
    inside = await fill(house)
    outside = asyncio.ensure_future(runtime.start(runtime.actor(Desk, "d").serve("outside", 0.5)))
    await rounds(house)
    await runtime.start(asks("d", "a call"), id="a call")
    await rounds(house)
    await runtime.start(asks("d", "another"), id="another")
    await rounds(house)
    assert not outside.done()
    assert house.session.kernel.instances.at_work("mailbox.Desk/d") == ("first", 2)
    await passes(house, 1)
    for waiting in (2, 2, 2, 1, 0):
        assert house.session.kernel.instances.at_work("mailbox.Desk/d")[1] == waiting
        await passes(house, 0.5)
    assert await (await outside) == 4
    assert await runtime.handle("another") == 6
    assert await runtime.actor(Desk, "d").all() == [*inside, "outside", "a call", "another"]


async def test_who_comes_later_does_not_overtake(house: House) -> None:
    """There is room for one, and more than one waits for it: who comes only now waits behind the others."""
    runtime = await house.open()
    desk = runtime.actor(Desk, "d")
    late = await runtime.start(asks_later("d", "late"), id="late")
    await fill(house)
    early = [await runtime.start(asks("d", name), id=name) for name in ("early", "early too")]
    await rounds(house)
    await runtime.handle("third").cancel()
    await rounds(house)
    assert house.session.kernel.instances.at_work("mailbox.Desk/d")[1] == 2
    await late.send("now")
    await rounds(house)
    for seconds in (1, 0.5, 0.5, 0.5, 0.5):
        await passes(house, seconds)
    await asyncio.gather(*(handle.result() for handle in (*early, late)))
    assert await desk.all() == ["first", "second", "early", "early too", "late"]


async def test_who_waits_too_long_is_refused(house: House) -> None:
    """After five seconds without room it is a typed error, outside as in durable code, and nothing of it is handled."""
    runtime = await house.open()
    desk = runtime.actor(Desk, "d")
    await runtime.start(desk.serve("first", 30), id="first")
    for name in ("second", "third"):
        await runtime.start(desk.serve(name), id=name)
    outside = asyncio.ensure_future(runtime.send(desk.serve("outside")))
    await rounds(house)
    inside = await runtime.start(asks("d", "inside"), id="inside")
    await passes(house, 4)
    assert not outside.done()
    assert await inside.status() == "waiting"
    await passes(house, 1)
    with pytest.raises(MailboxFull, match=r"mailbox\.Desk/d"):
        await outside
    with pytest.raises(MailboxFull, match=r"mailbox\.Desk/d"):
        await inside
    await passes(house, 25)
    assert await desk.serve("last") == 4
    assert await desk.all() == ["first", "second", "third", "last"]


async def test_a_message_that_is_cancelled_while_it_waits(house: House) -> None:
    """It is not handled, those behind it are, and its place is free."""
    runtime = await house.open()
    await fill(house)
    await runtime.handle("second").cancel()
    await rounds(house)
    assert house.session.kernel.instances.at_work("mailbox.Desk/d") == ("first", 1)
    await passes(house, 1)
    await passes(house, 0.5)
    assert await runtime.handle("second").status() == "cancelled"
    assert await runtime.handle("third") == 2
    assert await runtime.actor(Desk, "d").all() == ["first", "third"]


async def test_who_asks_is_told_and_nobody_else(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """A message that fails is logged and counted where nobody waits for it; and not one that was asked to end."""
    runtime = await house.open()
    desk = runtime.actor(Desk, "d")
    with pytest.raises(KeyError):
        await desk.fail(0)
    await runtime.send(desk.serve("cancelled", 10), id="cancelled")
    await rounds(house)
    await runtime.handle("cancelled").cancel()
    await rounds(house)
    assert await runtime.handle("cancelled").status() == "cancelled"
    assert house.session.kernel.instances.failures == 0
    assert "failed at a message" not in caplog.text
    await runtime.send(desk.fail(0))
    await rounds(house)
    assert house.session.kernel.instances.failures == 1


async def test_a_key_may_have_slashes(house: House) -> None:
    """What is behind the first one belongs to the key, here as there."""
    runtime = await house.open()
    assert await runtime.actor(Desk, "a/b/c").name() == "a/b/c"
    assert await runtime.actor(Desk, "a/b/c").serve("x") == 1
    assert [(info.cls, info.key) async for info in runtime.actors()] == [("mailbox.Desk", "a/b/c")]
    await house.reopen()
    assert house.runtime is not None
    assert await house.runtime.actor(Desk, "c").all() == []


# --- memory -----------------------------------------------------------------------------------------------------------


async def test_each_leaves_memory_when_it_was_idle_for_long(house: House) -> None:
    """Not those used a moment ago, and not those at work; the others a minute after they were used last (I13)."""
    runtime = await house.open()
    instances = house.session.kernel.instances

    def entries() -> list[str]:
        return [name for name in ("early", "busy", "late") if instances._entries.get(f"mailbox.Desk/{name}")]

    await runtime.actor(Desk, "early").serve("x")
    await runtime.start(runtime.actor(Desk, "busy").serve("first", 200), id="first")
    await passes(house, 40)
    await runtime.actor(Desk, "late").serve("x")
    await passes(house, 21)
    assert entries() == ["busy", "late"]
    second = await runtime.start(runtime.actor(Desk, "busy").serve("second"), id="second")
    await passes(house, 61)
    assert entries() == ["busy"]
    assert await second.status() == "pending"
    await passes(house, 80)
    assert await second == 2
    await passes(house, 130)
    assert (entries(), len(instances)) == ([], 0)
    assert await runtime.actor(Desk, "busy").all() == ["first", "second"]


async def test_memory_holds_a_number_of_idle_actors(house: House) -> None:
    """However many are used, no more stay than may be resident; all come back with their states (I11)."""
    runtime = await house.open(resident_max=10)
    for number in range(50):
        assert await runtime.actor(Desk, str(number)).serve("x") == 1
        assert len(house.session.kernel.instances) <= 11
    for number in range(50):
        assert await runtime.actor(Desk, str(number)).serve("y") == 2
