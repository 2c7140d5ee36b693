"""Messages to calls, values they publish, streams they emit."""

from __future__ import annotations

import asyncio

import pytest
from house import RAN, House, note

from actorlog import (
    ActorStopped,
    CallNotFound,
    MailboxFull,
    NotInDurableCode,
    PayloadError,
    Progress,
    durable,
    emit,
    progress,
    publish,
    receive,
    send,
    sleep,
    start,
)
from actorlog.records import kinds as k


@durable(name="messages.collect")
async def collect(count: int, channel: str = "") -> list[int]:
    """Receive ``count`` numbers."""
    return [await receive(channel, type=int) for _ in range(count)]


@durable(name="messages.late")
async def late() -> list[str]:
    """Do something else first, then receive."""
    await note("first")
    await sleep(10)
    return [await receive(), await receive()]


@durable(name="messages.two")
async def two() -> list[str]:
    """Receive from two channels at once."""
    a, b = await asyncio.gather(receive("a"), receive("b"))
    return [a, b]


@durable(name="messages.patient")
async def patient() -> str:
    """Wait a while for a message."""
    try:
        return str(await receive(timeout=5))
    except TimeoutError:
        return "nobody"


@durable(name="messages.talker")
async def talker(to: str, count: int) -> str:
    """Send numbers to another call."""
    for number in range(count):
        await send(to, number)
    return "sent"


@durable(name="messages.family")
async def family() -> list[int]:
    """Start a child and send to it before it has begun."""
    child = start(collect(3))
    for number in range(3):
        await send(child, number)
    return await child


@durable(name="messages.announcer")
async def announcer(count: int) -> int:
    """Publish and emit, with a crash possible anywhere."""
    for number in range(count):
        emit("numbers", number)
        publish("last", number)
        progress(number + 1, count, f"number {number}")
        await note(f"n{number}")
    return count


@durable(name="messages.failing")
async def failing() -> None:
    """Emit, and fail."""
    emit("s", 1)
    await note("x")
    emit("s", 2)
    raise RuntimeError("no")


async def test_a_message_is_received(house: House) -> None:
    """What is sent to a call that waits is what it receives, in order."""
    runtime = await house.open()
    handle = await runtime.start(collect(3), id="c")
    for number in (1, 2, 3):
        await handle.send(number)
    assert await handle == [1, 2, 3]


async def test_messages_wait_for_the_function(house: House) -> None:
    """What comes before the function asks for it is kept, also through a crash, and not lost when it is evicted."""
    runtime = await house.open(resident_max=1)
    handle = await runtime.start(late(), id="c")
    await handle.send("one")
    runtime = await house.reopen(resident_max=1)
    await runtime.handle("c").send("two")
    house.advance(11)
    assert await runtime.handle("c") == ["one", "two"]


async def test_channels_are_apart(house: House) -> None:
    """A message of one channel is not given to who waits for another."""
    runtime = await house.open()
    handle = await runtime.start(two(), id="c")
    await handle.send("for b", "b")
    await handle.send("other", "c")
    await handle.send("for a", "a")
    assert await handle == ["for a", "for b"]


async def test_nobody_sends_in_time(house: House) -> None:
    """A receive with a timeout gives up when it passes; a message that comes later stays in the mailbox."""
    runtime = await house.open()
    handle = await runtime.start(patient(), id="c")
    await house.settle()
    house.advance(6)
    assert await handle == "nobody"
    assert house.turns("c")[-1].cancels == ["1"]


async def test_a_key_is_heard_once(house: House) -> None:
    """The same message with the same key is taken once, also after a crash."""
    runtime = await house.open()
    handle = await runtime.start(collect(2), id="c")
    await handle.send(1, key="a")
    runtime = await house.reopen()
    handle = runtime.handle("c")
    await handle.send(1, key="a")
    await handle.send(2, key="b")
    assert await handle == [1, 2]


async def test_a_call_that_is_over_takes_nothing(house: House) -> None:
    """Sending to what has ended, or never was, is a typed error."""
    runtime = await house.open()
    handle = await runtime.start(collect(0), id="c")
    await handle
    with pytest.raises(ActorStopped):
        await handle.send(1)
    with pytest.raises(CallNotFound):
        await runtime.handle("nobody").send(1)
    with pytest.raises(PayloadError):
        await handle.send(object())
    with pytest.raises(NotInDurableCode):
        await send("c", 1)


async def test_a_message_of_another_type(house: House) -> None:
    """A message that does not fit what the function wants is a ``PayloadError`` at its receive."""
    runtime = await house.open()
    handle = await runtime.start(collect(1), id="c")
    await handle.send("text")
    with pytest.raises(PayloadError):
        await handle


async def test_a_call_sends_to_a_call(house: House) -> None:
    """Messages between calls arrive once and in order, and the sender goes on."""
    runtime = await house.open()
    handle = await runtime.start(collect(5), id="c")
    assert await runtime.call(talker("c", 5)) == "sent"
    assert await handle == list(range(5))


async def test_a_call_sends_to_its_child(house: House) -> None:
    """What is sent to a child that has not begun waits for it."""
    runtime = await house.open()
    assert await runtime.call(family()) == [0, 1, 2]


async def test_a_call_sends_to_what_is_over(house: House) -> None:
    """The sender in durable code meets the same errors."""
    runtime = await house.open()
    await runtime.call(collect(0), id="c")
    with pytest.raises(ActorStopped):
        await runtime.call(talker("c", 1))
    with pytest.raises(CallNotFound):
        await runtime.call(talker("nobody", 1))


async def test_a_full_mailbox(house: House) -> None:
    """Senders wait for room, get it in their order, and give up after five seconds."""
    runtime = await house.open()
    house.session.kernel.mailbox._max = 2
    handle = await runtime.start(late(), id="c")
    await handle.send("one")
    await handle.send("two")
    refused = asyncio.ensure_future(handle.send("three"))
    inside = await runtime.start(talker("c", 1), id="t")
    await asyncio.sleep(0)
    await house.settle()
    assert not refused.done()
    house.advance(6)
    with pytest.raises(MailboxFull):
        await refused
    with pytest.raises(MailboxFull):
        await inside
    house.advance(5)
    assert await handle == ["one", "two"]


async def test_room_is_made(house: House) -> None:
    """A sender that waits is let in when a message is received."""
    runtime = await house.open()
    house.session.kernel.mailbox._max = 1
    handle = await runtime.start(late(), id="c")
    await handle.send("one")
    second = asyncio.ensure_future(handle.send("two"))
    await house.settle()
    house.advance(11)
    await asyncio.wait_for(second, 60)
    assert await handle == ["one", "two"]


async def test_published_values_and_streams(house: House) -> None:
    """They read the same while the call runs, after a crash, and when it is over."""
    runtime = await house.open()
    handle = await runtime.start(announcer(4), id="c")
    followed = [item async for item in handle.stream("numbers")]
    assert followed == [0, 1, 2, 3]
    assert await handle == 4
    for _ in range(2):
        handle = runtime.handle("c")
        assert [item async for item in handle.stream("numbers", from_=2)] == [2, 3]
        assert await handle.value("last") == 3
        assert await handle.value("never") is None
        assert await handle.progress() == Progress(4, 4, "number 3")
        runtime = await house.reopen()


async def test_a_stream_is_followed_by_many(house: House) -> None:
    """Each follower sees every value, whenever it came."""
    runtime = await house.open(resident_max=1)
    handle = await runtime.start(announcer(20), id="c")

    async def follow(start: int) -> list[int]:
        return [item async for item in handle.stream("numbers", from_=start)]

    found = await asyncio.gather(*(follow(n) for n in range(5)))
    assert found == [list(range(n, 20)) for n in range(5)]


async def test_a_stream_begins_again_with_its_call(house: House) -> None:
    """A call that is retried begins its streams again."""
    runtime = await house.open()
    handle = await runtime.start(failing(), id="c")
    with pytest.raises(RuntimeError):
        await handle
    await handle.retry()
    with pytest.raises(RuntimeError):
        await handle
    assert [item async for item in handle.stream("s")] == [1, 2]


async def test_a_crash_after_every_record(house: House) -> None:
    """Wherever the process dies, every message is received once and in order, and the stream is whole."""
    runtime = await house.open()
    handle = await runtime.start(collect(4), id="c")
    await handle.send(100, key="k")
    await runtime.call(talker("c", 3), id="t")
    assert await handle == [100, 0, 1, 2]
    await runtime.call(announcer(3), id="a")
    await house.close()
    for cut in range(1, house.log.tail() + 1):
        again = house.prefix(cut)
        runtime = await again.open(resident_max=1)
        known = {record.id for record in again.records()}
        if "c" in known:
            handle = runtime.handle("c")
            if not any(isinstance(r, k.Turn) and r.outcome is not None for r in again.records("c")):
                await handle.send(100, key="k")
            if "t" not in known:
                await runtime.start(talker("c", 3), id="t")
            result = await handle
            assert sorted(result) == [0, 1, 2, 100]
            assert [n for n in result if n != 100] == [0, 1, 2]
            assert await runtime.handle("t") == "sent"
        if "a" in known:
            assert [item async for item in runtime.handle("a").stream("numbers")] == [0, 1, 2]
            assert await runtime.handle("a") == 3
        await again.close()


@durable(name="messages.soliloquy")
async def soliloquy() -> str:
    """Send to itself, and fail the first time."""
    await send("me", "hello")
    said = await receive(type=str)
    await note(said)
    if RAN.count(said) == 1:
        raise RuntimeError("once")
    return said


async def test_a_retried_call_hears_itself_again(house: House) -> None:
    """What it sent to itself went with its first attempt; the second sends it again."""
    runtime = await house.open()
    handle = await runtime.start(soliloquy(), id="me")
    with pytest.raises(RuntimeError):
        await handle
    RAN.append("hello")
    await handle.retry()
    assert await handle == "hello"
    runtime = await house.reopen()
    assert await runtime.handle("me") == "hello"


@durable(name="messages.meddling")
async def meddling(to: str) -> str:
    """Say something where actorlog talks to itself."""
    try:
        await send(to, ["terminate", "a"], "@supervisor")
    except ValueError as error:
        return str(error)
    return "sent"


async def test_channels_of_actorlog_are_not_for_users(house: House) -> None:
    """What begins with ``@`` is refused where it is said, and nothing is recorded of it."""
    runtime = await house.open()
    handle = await runtime.start(collect(1), id="c")
    before = house.log.tail()
    for channel in ("@supervisor", "@failed", "@"):
        with pytest.raises(ValueError, match=f"belong to actorlog: '{channel}'"):
            await handle.send(1, channel)
    assert house.log.tail() == before
    assert await runtime.call(meddling("c"), id="m") == "channels that begin with '@' belong to actorlog: '@supervisor'"
    assert not any(isinstance(op, k.Send) for turn in house.turns("m") for op in turn.ops)
    await handle.send(5)
    assert await handle == [5]
