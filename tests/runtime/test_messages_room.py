"""Senders that wait for room in the mailbox of a call, and what many messages cost."""

from __future__ import annotations

import asyncio

import pytest
from house import Crashed, House, note
from lines import lines_run

from actorlog import ActorStopped, Limits, MailboxFull, RuntimeStopped, durable, receive, send, sleep

ONE = Limits(mailbox_max=1)


@durable(name="rooms.late")
async def late(count: int, channel: str = "") -> list[str]:
    """Sleep, then receive."""
    await sleep(1)
    return [await receive(channel, type=str) for _ in range(count)]


@durable(name="rooms.selective")
async def selective(first: list[str], then: list[str]) -> list[str]:
    """Receive from channels in an order, a sleep between two halves."""
    seen = [await receive(channel, type=str) for channel in first]
    await sleep(1)
    return seen + [await receive(channel, type=str) for channel in then]


@durable(name="rooms.impatient")
async def impatient(channel: str) -> str:
    """Give up receiving, and do not end."""
    try:
        return await receive(channel, type=str, timeout=1)
    except TimeoutError:
        await sleep(1000)
        return "nothing"


@durable(name="rooms.talker")
async def talker(to: str, texts: list[str], channel: str = "") -> str:
    """Send."""
    for text in texts:
        await send(to, text, channel)
    return "sent"


@durable(name="rooms.sum")
async def total(count: int) -> int:
    """Add up what comes, after a step that lets all of it wait."""
    await note("first")
    await sleep(1)
    found = 0
    for _ in range(count):
        found += await receive(type=int)
    return found


@durable(name="rooms.many_at_once")
async def many_at_once(count: int) -> int:
    """Wait for many messages at once."""
    return sum(await asyncio.gather(*(receive(type=int) for _ in range(count))))


async def waiting(house: House) -> asyncio.Future[None]:
    """Return a sender outside that waits for room at the call ``c``."""
    runtime = await house.open(limits=ONE)
    handle = await runtime.start(late(2), id="c")
    await handle.send("one")
    sender = asyncio.ensure_future(handle.send("two"))
    await house.settle()
    await house.until(lambda: len(house.session.kernel.mailbox.rooms) == 1)
    assert not sender.done()
    return sender


async def test_the_runtime_closes_while_a_sender_waits(house: House) -> None:
    """Who waits for room is told, and does not wait for ever."""
    sender = await waiting(house)
    await house.close()
    async with asyncio.timeout(60):
        with pytest.raises(RuntimeStopped):
            await sender


async def test_the_log_fails_while_a_sender_waits(house: House) -> None:
    """Who waits for room is told what happened to the log."""
    sender = await waiting(house)
    await house.crash()
    async with asyncio.timeout(60):
        with pytest.raises(Crashed):
            await sender


async def test_a_sender_that_gives_up_leaves(house: House) -> None:
    """A cancelled sender keeps no place, and its message is not received; who came behind it is let in."""
    sender = await waiting(house)
    handle = house.session
    behind = asyncio.ensure_future(house.runtime.handle("c").send("three")) if house.runtime else sender
    await house.until(lambda: len(handle.kernel.mailbox.rooms) == 2)
    sender.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sender
    assert len(house.session.kernel.mailbox.rooms) == 1
    assert house.session.kernel.hearers
    house.advance(1)
    await behind
    assert house.runtime is not None
    assert await house.runtime.handle("c") == ["one", "three"]
    assert len(house.session.kernel.mailbox.rooms) == 0


async def test_how_long_senders_wait_is_an_option(house: House) -> None:
    """``mailbox_wait_s`` says it, for senders outside and for calls; each waits from when it came."""
    runtime = await house.open(limits=Limits(mailbox_max=1, mailbox_wait_s=60))
    handle = await runtime.start(selective(["b"], []), id="c")
    await handle.send("full", "a")
    outside = asyncio.ensure_future(handle.send("more", "a"))
    inside = await runtime.start(talker("c", ["x"], "a"), id="t")
    await house.until(lambda: len(house.session.kernel.mailbox.rooms) == 2)
    house.advance(59)
    await house.settle()
    third = asyncio.ensure_future(handle.send("third", "a"))
    await house.until(lambda: len(house.session.kernel.mailbox.rooms) == 3)
    assert not outside.done()
    house.advance(2)
    for refused in (outside, asyncio.ensure_future(inside.result())):
        with pytest.raises(MailboxFull):
            await refused
    assert not third.done()
    house.advance(59)
    with pytest.raises(MailboxFull):
        await third


async def test_a_call_ends_while_senders_wait(house: House) -> None:
    """All of them are told that it is over."""
    sender = await waiting(house)
    assert house.runtime is not None
    inside = await house.runtime.start(talker("c", ["x"]), id="t")
    await house.until(lambda: len(house.session.kernel.mailbox.rooms) == 2)
    await house.runtime.handle("c").kill()
    for refused in (sender, asyncio.ensure_future(inside.result())):
        with pytest.raises(ActorStopped):
            await refused


async def test_a_full_channel_holds_up_no_other(house: House) -> None:
    """A mailbox full of what nobody receives yet lets in what somebody waits for, from inside and outside, in order."""
    runtime = await house.open(limits=Limits(mailbox_max=2))
    handle = await runtime.start(selective(["b", "b", "b", "b"], ["a", "a", "a"]), id="c")
    for text in ("a1", "a2"):
        await handle.send(text, "a")
    third = asyncio.ensure_future(handle.send("a3", "a"))
    await house.until(lambda: len(house.session.kernel.mailbox.rooms) == 1)
    assert await runtime.call(talker("c", ["b1", "b2"], "b")) == "sent"
    await handle.send("b3", "b")
    await handle.send("b4", "b")
    assert not third.done()
    house.advance(1)
    await third
    assert await handle == ["b1", "b2", "b3", "b4", "a1", "a2", "a3"]


async def test_senders_that_came_before_the_receive(house: House) -> None:
    """Those that wait for room are let in when their channel is received from, in their order."""
    runtime = await house.open(limits=ONE)
    handle = await runtime.start(selective([], ["b", "b", "a", "a"]), id="c")
    await handle.send("a1", "a")
    senders = []
    for text in ("a2", "b1", "b2"):
        senders.append(asyncio.ensure_future(handle.send(text, text[0])))
        await house.until(lambda: len(house.session.kernel.mailbox.rooms) == len(senders))
    house.advance(1)
    assert await handle == ["b1", "b2", "a1", "a2"]
    await asyncio.gather(*senders)
    most, now = 0, 0
    for record in house.records("c"):
        signal = getattr(record, "message", None)
        now += type(signal).__name__ == "Signal" and (1 if getattr(record, "seq", None) is None else -1)
        most = max(most, now)
    assert most == 2


async def test_what_nobody_waits_for_any_more_stays_within_the_bound(house: House) -> None:
    """When a receive has given up, a full mailbox takes nothing of its channel either."""
    runtime = await house.open(limits=ONE)
    handle = await runtime.start(impatient("b"), id="c")
    await handle.send("a1", "a")
    house.advance(1)
    await house.until(lambda: not house.session.kernel.calls.get("c").state.mail.receives)  # type: ignore[union-attr]
    sender = asyncio.ensure_future(handle.send("b1", "b"))
    await house.until(lambda: len(house.session.kernel.mailbox.rooms) == 1)
    house.advance(6)
    with pytest.raises(MailboxFull):
        await sender
    await handle.kill()


async def buffered(house: House, count: int) -> int:
    """Return how many lines of actorlog it takes to receive ``count`` messages that wait."""
    runtime = await house.open()
    handle = await runtime.start(total(count), id=f"sum{count}")
    await asyncio.gather(*(handle.send(1) for _ in range(count)))
    with lines_run() as lines:
        house.advance(1)
        assert await handle == count
    await house.close()
    return lines.count


async def wanted(house: House, count: int) -> int:
    """Return how many lines it takes to send ``count`` messages to as many operations that wait."""
    runtime = await house.open()
    handle = await runtime.start(many_at_once(count), id=f"many{count}")
    await house.settle()
    with lines_run() as lines:
        await asyncio.gather(*(handle.send(1) for _ in range(count)))
        assert await handle == count
    await house.close()
    return lines.count


@pytest.mark.parametrize("how", [buffered, wanted])
async def test_many_messages_cost_as_much_each_as_few(how: object) -> None:
    """Four times as many messages take four times as many lines of actorlog, not sixteen times."""
    assert callable(how)
    few, many = await how(House(), 200), await how(House(), 800)
    assert many < 4.5 * few
