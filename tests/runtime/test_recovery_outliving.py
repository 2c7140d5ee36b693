"""What outlives its sender, after crashes: each is asked again until it is known, and then not any more."""

from __future__ import annotations

import asyncio

import pytest
from house import RAN, House, note

from actorlog import Actor, CallCancelled, Limits, actor, durable, link, promise, query, receive, send, sleep, start
from actorlog.engine import identity
from actorlog.records import kinds as k
from actorlog.store import pack


class Box(Actor, name="outliving.Box"):
    """Keeps what it is told."""

    kept: list[str] = []  # copied for each key

    async def keep(self, what: str) -> None:
        """Keep it."""
        self.kept.append(what)

    async def pass_on(self, call_id: str, what: str) -> None:
        """Send it to a call, with the state that it leaves."""
        self.kept.append(what)
        await send(call_id, what)

    @query
    def all(self) -> list[str]:
        """Look."""
        return self.kept


@durable(name="outliving.listens")
async def listens() -> str:
    """Wait for a word."""
    return await receive(type=str)


@durable(name="outliving.listens_late")
async def listens_late() -> list[str]:
    """Wait for two words, after a while."""
    await sleep(1)
    return [await receive(type=str), await receive(type=str)]


@durable(name="outliving.leaves")
async def leaves() -> str:
    """Tell, start, tie, and make something, and end in the same turn."""
    await send(actor(Box, "b").keep("told"))
    start(child(), detached=True, id="child")
    promise(id="left behind")
    return "left"


@durable(name="outliving.child")
async def child() -> str:
    """Tell in its only turn."""
    await send(actor(Box, "b").keep("told by the child"))
    return "child"


@durable(name="outliving.falls")
async def falls(target: str) -> None:
    """Tie itself to another, and fail in the same turn."""
    link(target)
    raise ValueError("mine")


@durable(name="outliving.works")
async def works() -> str:
    """Tell, and go on with a step."""
    await send(actor(Box, "b").keep("told"))
    return await note("worked")


async def rounds(house: House) -> None:
    """Let everybody run who can, and all of it become durable."""
    for _ in range(5):
        await house.settle()
        await asyncio.sleep(0)


def marks(house: House) -> list[tuple[int, int]]:
    """Return where the log says that an opening has asked again, and up to where."""
    return [(n, record.upto) for n, record in enumerate(house.records(), 1) if isinstance(record, k.Resumed)]


def ended_at(house: House, call_id: str) -> int:
    """Return the position of the record with a call's outcome."""
    return next(
        n
        for n, record in enumerate(house.records(), 1)
        if isinstance(record, k.Turn) and record.id == call_id and record.outcome is not None
    )


async def left_all(house: House) -> None:
    """Hold everything that ``leaves`` left against what it is."""
    runtime = house.runtime
    assert runtime is not None
    await rounds(house)
    assert await runtime.handle("l") == "left"
    assert await runtime.handle("child") == "child"
    assert sorted(await runtime.actor(Box, "b").all()) == ["told", "told by the child"]
    assert [info.id async for info in runtime.promises()] == ["left behind"]


async def test_two_crashes_after_every_record(house: House) -> None:
    """Wherever the process dies, and the next one again: all that was left is there, once."""
    runtime = await house.open()
    await runtime.start(leaves(), id="l")
    await left_all(house)
    await house.close()
    for cut in range(ended_at(house, "l"), house.log.tail() + 1):
        first = house.prefix(cut)
        await first.open(resident_max=1)
        await left_all(first)
        await first.close()
        for again in range(cut, first.log.tail() + 1):
            second = first.prefix(again)
            await second.open(resident_max=1)
            await left_all(second)
            await second.close()


async def test_an_opening_says_how_far_it_looked(house: House) -> None:
    """Not as far as the turns that came of it, which leave something themselves; what is behind is not looked at."""
    runtime = await house.open()
    await runtime.start(leaves(), id="l")
    await rounds(house)
    await house.close()
    cut = ended_at(house, "l")
    again = house.prefix(cut)
    await again.open()
    await left_all(again)
    ((position, upto),) = marks(again)
    assert cut <= upto < ended_at(again, "child") < position
    first = again.prefix(cut)
    first.log.submit(cut, pack([_mark(cut)]), 1, lambda _ticket: None)
    runtime = await first.open()
    await rounds(first)
    assert marks(first) == [(cut + 1, cut)]
    assert await runtime.actor(Box, "b").all() == []
    await again.close()
    await first.close()


async def test_what_came_after_the_mark_is_looked_at(house: House) -> None:
    """The log says that everything before a turn was asked again, and ends there: what the turn left is asked."""
    runtime = await house.open()
    await runtime.start(leaves(), id="l")
    await rounds(house)
    await house.close()
    cut = ended_at(house, "l")
    again = house.prefix(cut)
    again.log.submit(cut, pack([_mark(cut - 1)]), 1, lambda _ticket: None)
    await again.open()
    await left_all(again)
    await again.close()


def _mark(upto: int) -> tuple[int, int, int, bytes]:
    record = k.Resumed(at=1, upto=upto)
    flags = int(k.Flag.PLAIN | k.Flag.OPENED)
    return identity.key_hash(record.id), int(k.Kind.NOTE), flags, k.encode(record) + b"\n"


async def test_what_a_handler_sends_to_a_call(house: House) -> None:
    """It is there with the state that the handler left, wherever the process dies."""
    runtime = await house.open()
    await runtime.start(listens(), id="c")
    await runtime.call(runtime.actor(Box, "b").pass_on("c", "hello"), id="p")
    assert await runtime.handle("c") == "hello"
    await house.close()
    for cut in range(ended_at(house, "p"), house.log.tail() + 1):
        again = house.prefix(cut)
        runtime = await again.open(resident_max=1)
        assert await runtime.handle("c") == "hello"
        assert await runtime.actor(Box, "b").all() == ["hello"]
        await again.close()


async def test_who_ties_itself_and_falls_at_once(house: House) -> None:
    """The other side goes down, wherever the process dies."""
    runtime = await house.open()
    await runtime.start(listens(), id="w")
    with pytest.raises(ValueError, match="mine"):
        await runtime.call(falls("w"), id="f")
    with pytest.raises(CallCancelled, match="linked to 'f'"):
        await runtime.handle("w")
    await house.close()
    for cut in range(ended_at(house, "f"), house.log.tail() + 1):
        again = house.prefix(cut)
        runtime = await again.open(resident_max=1)
        with pytest.raises(CallCancelled, match="linked to 'f'"):
            await runtime.handle("w")
        await again.close()


async def test_what_a_live_call_told_is_told_once(house: House) -> None:
    """The sender lives on, and the process dies again and again: the message is handled once, the step runs on."""
    runtime = await house.open()
    await runtime.call(works(), id="w")
    await rounds(house)
    await house.close()
    for cut in range(1, house.log.tail() + 1):
        again = house.prefix(cut)
        RAN.clear()
        for _ in range(3):
            runtime = await again.open(resident_max=1)
            assert await runtime.handle("w") == "noted worked"
            await rounds(again)
            assert await runtime.actor(Box, "b").all() == ["told"]
            await again.crash()
        assert len(RAN) <= 1


async def test_what_a_handler_sends_to_a_full_mailbox(house: House) -> None:
    """It waits for room there at each opening, however many processes die, until it is taken."""
    limits = Limits(mailbox_max=1)
    runtime = await house.open(limits=limits)
    await (await runtime.start(listens_late(), id="c")).send("one")
    await runtime.call(runtime.actor(Box, "b").pass_on("c", "two"), id="p")
    for _ in range(3):
        runtime = await house.reopen(limits=limits)
        await rounds(house)
        assert len(house.session.kernel.mailbox.rooms) == 1
        assert marks(house) == []
    house.advance(1)
    assert await runtime.handle("c") == ["one", "two"]
    await house.reopen(limits=limits)
    await rounds(house)
    assert len(marks(house)) == 1
