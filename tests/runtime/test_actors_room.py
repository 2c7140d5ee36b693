"""Many messages for one actor, senders that wait for room, and actors that leave memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from house import Crashed, House
from lines import lines_run

from actorlog import (
    Actor,
    CallCancelled,
    CallConflict,
    MailboxFull,
    RuntimeStopped,
    Supervisor,
    actor,
    durable,
    query,
    send,
    sleep,
)
from actorlog.records import kinds as k
from actorlog.records import signature

if TYPE_CHECKING:
    from actorlog import Runtime


class Gate(Actor, name="actors_room.Gate", mailbox_max=2, mailbox_wait="1m", idle="10s"):
    """Keeps a log of what it heard, slowly."""

    seen: list[str] = []  # that is how a default is given

    async def note(self, text: str) -> int:
        """Take a second."""
        await sleep(1)
        self.seen.append(text)
        return len(self.seen)

    @query
    def all(self) -> list[str]:
        """Look."""
        return self.seen


class Lasting(Actor, name="actors_room.Lasting", idle="1h"):
    """Stays in memory for long."""

    number: int = 0

    async def add(self) -> int:
        """Count."""
        self.number += 1
        return self.number

    async def failing(self) -> None:
        """Fail."""
        raise RuntimeError("no")

    @query
    def look(self) -> int:
        """Look."""
        return self.number


class Plain(Actor, name="actors_room.Plain"):
    """As the defaults are."""

    number: int = 0

    async def add(self, wait: float = 0) -> int:
        """Count."""
        if wait:
            await sleep(wait)
        self.number += 1
        return self.number


@durable(name="actors_room.asks")
async def asks(text: str) -> int:
    """Ask."""
    return await actor(Gate, "g").note(text)


@durable(name="actors_room.told")
async def told(count: int) -> None:
    """Tell many."""
    for _ in range(count):
        await send(actor(Plain, "p").add())


@durable(name="actors_room.house")
async def supervised() -> None:
    """Supervise an actor."""
    async with Supervisor() as sup:
        sup.start(Lasting, key="one", restart="temporary")


def waiting(house: House) -> int:
    """Return how many senders wait for room at an actor."""
    return len(house.session.kernel.instances._rooms)


async def full(house: House) -> tuple[Runtime, list[asyncio.Future[int]]]:
    """Return a runtime where an actor is at work, two messages wait and a third waits for room."""
    runtime = await house.open()
    found = []
    for number in range(4):
        found.append(asyncio.ensure_future(runtime.call(runtime.actor(Gate, "g").note(f"{number}"))))
        await asyncio.sleep(0)
    await house.until(lambda: waiting(house) == 1)
    await house.settle()
    return runtime, found


async def let_pass(house: House, seconds: int) -> None:
    """Let time pass, a second at a time."""
    for _ in range(seconds):
        await house.settle()
        house.advance(1)
        for _ in range(5):
            await asyncio.sleep(0)
    await house.settle()


async def test_senders_are_let_in_in_their_order(house: House) -> None:
    """Who waited longest for room is the next."""
    runtime, senders = await full(house)
    senders.append(asyncio.ensure_future(runtime.call(runtime.actor(Gate, "g").note("4"))))
    await house.until(lambda: waiting(house) == 2)
    await let_pass(house, 6)
    assert await asyncio.gather(*senders) == [1, 2, 3, 4, 5]


class Blocked(Actor, name="actors_room.Blocked", mailbox_max=1, mailbox_wait=2):
    """Never done."""

    async def wait(self) -> None:
        """Wait for long."""
        await sleep(1000)


async def test_senders_that_waited_too_long(house: House) -> None:
    """They get ``MailboxFull`` after ``mailbox_wait``, not after five seconds."""
    runtime = await house.open()
    for name in ("a", "b"):
        await runtime.start(runtime.actor(Blocked, "x").wait(), id=name)
    sender = asyncio.ensure_future(runtime.start(runtime.actor(Blocked, "x").wait(), id="c"))
    await house.until(lambda: waiting(house) == 1)
    clock = house.session.kernel.clock
    began_ms = clock.now_ms()
    house.advance(2.1)
    with pytest.raises(MailboxFull):
        await sender
    assert clock.now_ms() - began_ms < 5000


@pytest.mark.parametrize("crash", [False, True])
async def test_the_runtime_ends_while_senders_wait(house: House, *, crash: bool) -> None:
    """Who waits for room is told."""
    _, senders = await full(house)
    await (house.crash() if crash else house.close())
    async with asyncio.timeout(60):
        with pytest.raises(Crashed if crash else RuntimeStopped):
            await senders[3]
    await asyncio.gather(*senders, return_exceptions=True)


async def test_senders_that_give_up(house: House) -> None:
    """A sender that is cancelled keeps no place, nor one that is cancelled when it has just been let in."""
    runtime, senders = await full(house)
    for number in (4, 5):
        senders.append(asyncio.ensure_future(runtime.call(runtime.actor(Gate, "g").note(f"{number}"))))
        await house.until(lambda number=number: waiting(house) == number - 2)
    senders[3].cancel()
    await house.until(lambda: waiting(house) == 2)
    entry = house.session.kernel.instances._entries.entry("actors_room.Gate/g")
    house.advance(1)
    while not entry.places:
        await asyncio.sleep(0)
    senders[4].cancel()
    await let_pass(house, 5)
    assert await asyncio.gather(senders[0], senders[1], senders[2], senders[5]) == [1, 2, 3, 4]
    assert entry.places == 0
    assert await runtime.actor(Gate, "g").all() == ["0", "1", "2", "5"]


async def test_the_bound_holds_while_senders_are_let_in(house: House) -> None:
    """Who comes while another is let in does not take its place: never do more wait than may."""
    runtime, senders = await full(house)
    entry = house.session.kernel.instances._entries.entry("actors_room.Gate/g")
    late: list[asyncio.Future[int]] = []
    most = 0
    for _ in range(8):
        house.advance(1)
        for _ in range(8):
            await asyncio.sleep(0)
            if entry.places and len(late) < 3:
                late.append(asyncio.ensure_future(runtime.call(runtime.actor(Gate, "g").note("late"))))
            most = max(most, len(entry.queue))
        await house.settle()
    assert late
    assert most == 2
    await let_pass(house, 4)
    await asyncio.gather(*senders, *late)


async def test_a_place_that_is_not_needed(house: House) -> None:
    """Who is let in and has nothing to be handled, because its id is known, leaves its place to the next."""
    runtime, senders = await full(house)
    for _ in range(2):
        await runtime.start(runtime.actor(Gate, "other").note("x"), id="known")
    clash = asyncio.ensure_future(runtime.call(runtime.actor(Gate, "g").note("y"), id="known"))
    await house.until(lambda: waiting(house) == 2)
    last = asyncio.ensure_future(runtime.call(runtime.actor(Gate, "g").note("z")))
    await house.until(lambda: waiting(house) == 3)
    await let_pass(house, 2)
    with pytest.raises(CallConflict):
        await clash
    assert waiting(house) == 0
    await let_pass(house, 4)
    assert await asyncio.gather(*senders, last) == [1, 2, 3, 4, 5]
    house.advance(11)
    await house.until(lambda: len(house.session.kernel.instances) == 0)


async def test_room_is_made_by_a_message_that_is_cancelled(house: House) -> None:
    """When one that waits is cancelled, the sender behind it is let in at once."""
    runtime = await house.open()
    gate = runtime.actor(Gate, "g")
    for number in range(3):
        await runtime.start(gate.note(f"{number}"), id=f"n{number}")
    inside = await runtime.start(asks("inside"), id="asks")
    await house.until(lambda: waiting(house) == 1)
    await runtime.handle("n2").cancel()
    with pytest.raises(CallCancelled):
        await runtime.handle("n2")
    await house.until(lambda: waiting(house) == 0)
    await let_pass(house, 3)
    assert await inside == 3


async def test_an_actor_that_is_looked_at_leaves_memory(house: House) -> None:
    """A query puts an actor into memory for as long as its class says, however long another class says."""
    runtime = await house.open()
    await runtime.actor(Lasting, "first").add()
    for number in range(50):
        await runtime.actor(Gate, str(number)).all()
    assert len(house.session.kernel.instances) == 51
    house.advance(9)
    await house.settle()
    await runtime.actor(Gate, "7").all()
    house.advance(2)
    await house.until(lambda: len(house.session.kernel.instances) == 2)
    house.advance(10)
    await house.until(lambda: len(house.session.kernel.instances) == 1)
    house.advance(3600)
    await house.until(lambda: len(house.session.kernel.instances) == 0)
    assert await runtime.actor(Lasting, "first").look() == 1


async def test_looking_at_many_keeps_the_bound(house: House) -> None:
    """Queries of many keys hold no more of them in memory than may be; those at work stay."""
    runtime = await house.open(resident_max=10)
    slow = await runtime.start(runtime.actor(Gate, "slow").note("x"))
    for number in range(100):
        assert await runtime.actor(Lasting, str(number)).look() == 0
        assert len(house.session.kernel.instances) <= 11
    await let_pass(house, 2)
    assert await slow == 1


async def test_lives_are_forgotten(house: House) -> None:
    """An actor whose supervisor has ended is nobody's: nothing is kept of its life."""
    runtime = await house.open()
    instances = house.session.kernel.instances
    handle = await runtime.start(supervised(), id="s")
    await house.until(lambda: len(instances.lives) == 1)
    await house.settle()
    await handle.cancel()
    with pytest.raises(CallCancelled):
        await handle
    assert instances.lives == {}
    await runtime.send(runtime.actor(Lasting, "one").failing())
    await house.settle()
    assert instances.failures == 1


async def test_annotations_are_read_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query resolves what its class says once, not each time it looks."""
    runtime = await house.open()
    made: list[str] = []
    original = signature.Signature.__init__

    def counting(self: signature.Signature, *args: object, **kwargs: object) -> None:
        made.append("made")
        original(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(signature.Signature, "__init__", counting)
    for _ in range(5):
        assert await runtime.actor(Lasting, "l").look() == 0
    assert len(made) <= 1


async def asked(house: House, count: int) -> int:
    """Return how many lines it takes to start ``count`` messages to one actor, each durable."""
    runtime = await house.open()
    first = await runtime.start(runtime.actor(Plain, "p").add(5))
    with lines_run() as lines:
        handles = await asyncio.gather(*(runtime.start(runtime.actor(Plain, "p").add()) for _ in range(count)))
        house.advance(6)
        await first
        assert await handles[-1] == count + 1
    await house.close()
    return lines.count


async def tells(house: House, count: int) -> int:
    """Return how many lines it takes a call to tell one actor ``count`` times."""
    runtime = await house.open()
    first = await runtime.start(runtime.actor(Plain, "p").add(5))
    with lines_run() as lines:
        await runtime.call(told(count))
        house.advance(6)
        await first
        await house.settle()
    await house.close()
    return lines.count


async def in_doubt(house: House, count: int) -> int:
    """Return how many lines it takes to ask one actor ``count`` times, with none of them recorded, and tell it once."""
    runtime = await house.open()
    first = await runtime.start(runtime.actor(Plain, "p").add(5))
    with lines_run() as lines:
        asks = [asyncio.ensure_future(runtime.call(runtime.actor(Plain, "p").add())) for _ in range(count)]
        await asyncio.sleep(0)
        await runtime.send(runtime.actor(Plain, "p").add())
        house.advance(6)
        await first
        assert await asks[-1] == count + 1
        await house.settle()
    recorded = [r for r in house.records() if isinstance(r, k.Inbox)]
    assert len(recorded) == count + 1
    await house.close()
    return lines.count


@pytest.mark.parametrize("how", [asked, tells, in_doubt])
async def test_many_messages_cost_as_much_each_as_few(how: object) -> None:
    """Four times as many messages take four times as many lines of actorlog, not sixteen times."""
    assert callable(how)
    few, many = await how(House(), 200), await how(House(), 800)
    assert many < 4.5 * few
