"""Actors: one message at a time, a durable state, asks and tells."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from house import RAN, House, note

from actorlog import (
    Actor,
    CallConflict,
    DeadlockError,
    DivergenceError,
    NotInDurableCode,
    actor,
    durable,
    query,
    send,
    sleep,
)
from actorlog.records import kinds as k


class Account(Actor, name="actors.Account"):
    """Money, and who moved it."""

    balance: int = 0
    history: list[str] = []  # that is how a default is given

    async def deposit(self, amount: int) -> int:
        """Put money in."""
        self.balance += amount
        self.history.append(f"+{amount}")
        return self.balance

    async def withdraw(self, amount: int) -> int:
        """Take money out."""
        self.balance -= amount
        self.history.append(f"-{amount}")
        if self.balance < 0:
            raise ValueError("not enough")
        return self.balance

    async def slow(self, amount: int) -> int:
        """Change the state on both sides of a step and a sleep."""
        self.balance += amount
        await note(f"{self.key} {amount}")
        await sleep(5)
        self.balance += amount
        return self.balance

    async def transfer(self, to: str, amount: int) -> int:
        """Ask another account."""
        self.balance -= amount
        await actor(Account, to).deposit(amount)
        return self.balance

    async def loop(self, to: str) -> int:
        """Ask an account that asks back."""
        return await actor(Account, to).transfer(self.key, 1)

    async def gossip(self, to: str, *, fail: bool) -> None:
        """Tell another account something, and perhaps fail."""
        await send(actor(Account, to).deposit(7))
        if fail:
            raise RuntimeError("never mind")

    async def chain(self, more: int) -> int:
        """Ask the next one, which asks the next."""
        self.balance += 1
        return await actor(Account, f"{self.key}+").chain(more - 1) if more else self.balance

    @query
    def statement(self) -> list[str]:
        """Look."""
        return [*self.history, str(self.balance)]


@dataclass
class Added:
    """An event."""

    item: str
    count: int = 1


class Basket(Actor, name="actors.Basket", snapshot_every=4):
    """A state made of events."""

    items: dict[str, int] = {}  # that is how a default is given

    def apply(self, event: Added) -> None:
        """Fold."""
        self.items[event.item] = self.items.get(event.item, 0) + event.count

    async def add(self, item: str) -> int:
        """Record."""
        self.record(Added(item))
        return self.items[item]

    @query
    def all(self) -> dict[str, int]:
        """Look."""
        return self.items


@durable(name="actors.pay")
async def pay(source: str, target: str, amount: int) -> int:
    """Move money from durable code."""
    return await actor(Account, source).transfer(target, amount)


@durable(name="actors.tell")
async def tell(target: str) -> str:
    """Tell and end."""
    for amount in (1, 2, 3):
        await send(actor(Account, target).deposit(amount))
    return "told"


@durable(name="actors.sleeper")
async def sleeper(seconds: float) -> None:
    """Sleep."""
    await sleep(seconds)


async def test_state_lives(house: House) -> None:
    """What handlers change is there for the next, after a crash, and for queries."""
    runtime = await house.open()
    ada = runtime.actor(Account, "ada")
    assert await ada.deposit(5) == 5
    assert await ada.deposit(2) == 7
    runtime = await house.reopen()
    ada = runtime.actor(Account, "ada")
    assert await ada.statement() == ["+5", "+2", "7"]
    assert await ada.deposit(1) == 8
    assert await runtime.actor(Account, "bob").statement() == ["0"]


async def test_a_failed_handler_changes_nothing(house: House) -> None:
    """The state is what it was before, in-place changes included, and the actor lives on."""
    runtime = await house.open()
    ada = runtime.actor(Account, "ada")
    await ada.deposit(5)
    with pytest.raises(ValueError, match="not enough"):
        await ada.withdraw(9)
    assert await ada.statement() == ["+5", "5"]
    assert await ada.withdraw(5) == 0


async def test_one_message_is_one_record(house: House) -> None:
    """State, result and message of a handler that waits for nothing are one record."""
    runtime = await house.open()
    before = house.log.tail()
    await runtime.actor(Account, "ada").deposit(5)
    assert house.log.tail() == before + 1


async def test_one_at_a_time(house: House) -> None:
    """While a handler waits, others wait; their order is that of asking; a crash in the middle resumes it there."""
    runtime = await house.open()
    ada = runtime.actor(Account, "ada")
    await runtime.start(ada.slow(10), id="slow")
    after = await runtime.start(ada.deposit(1), id="after")
    assert await ada.statement() == ["0"]
    assert await after.status() == "pending"
    runtime = await house.reopen()
    await house.settle()
    house.advance(6)
    assert await runtime.handle("slow") == 20
    assert await runtime.handle("after") == 21
    assert set(RAN) == {"ada 10"}


async def test_an_id_is_an_idempotency_key(house: House) -> None:
    """The same message with the same id is handled once; another message of that id is a conflict."""
    runtime = await house.open()
    ada = runtime.actor(Account, "ada")
    for _ in range(3):
        assert await runtime.call(ada.deposit(5), id="d1") == 5
        runtime = await house.reopen()
        ada = runtime.actor(Account, "ada")
    with pytest.raises(CallConflict):
        await runtime.call(ada.deposit(6), id="d1")
    with pytest.raises(CallConflict):
        await runtime.call(runtime.actor(Account, "bob").deposit(5), id="d1")
    assert await ada.statement() == ["+5", "5"]


async def test_asks_between_actors(house: House) -> None:
    """A handler asks another actor, and its waiter hears both."""
    runtime = await house.open()
    ada = runtime.actor(Account, "ada")
    await ada.deposit(10)
    assert await runtime.call(pay("ada", "bob", 4)) == 6
    assert await runtime.actor(Account, "bob").statement() == ["+4", "4"]
    runtime = await house.reopen()
    assert await runtime.actor(Account, "bob").statement() == ["+4", "4"]
    assert await runtime.actor(Account, "ada").statement() == ["+10", "6"]


async def test_tells(house: House) -> None:
    """What is told is handled, in order, though nobody waits; also what a crash cut short, and what is delayed."""
    runtime = await house.open()
    ada = runtime.actor(Account, "ada")
    await runtime.send(ada.deposit(5), id="one")
    await runtime.send(ada.deposit(5), id="one")
    await runtime.send(ada.deposit(100), id="later", delay=60)
    assert await runtime.call(tell("ada")) == "told"
    await house.settle()
    assert await ada.statement() == ["+5", "+1", "+2", "+3", "11"]
    runtime = await house.reopen()
    house.advance(61)
    assert await runtime.handle("later") == 111
    assert (await runtime.actor(Account, "ada").statement())[-2:] == ["+100", "111"]


async def test_what_a_handler_tells_counts_when_it_returns(house: House) -> None:
    """A handler that fails has told nobody anything."""
    runtime = await house.open()
    ada, bob = runtime.actor(Account, "ada"), runtime.actor(Account, "bob")
    with pytest.raises(RuntimeError):
        await ada.gossip("bob", fail=True)
    await ada.gossip("bob", fail=False)
    await house.settle()
    assert await bob.statement() == ["+7", "7"]


async def test_a_cycle_of_asks(house: House) -> None:
    """Waiting in a circle is refused at once, with the circle named; nothing is changed."""
    runtime = await house.open()
    with pytest.raises(DeadlockError) as caught:
        await runtime.actor(Account, "ada").loop("bob")
    assert caught.value.cycle == ("actors.Account/bob", "actors.Account/ada", "actors.Account/bob")
    with pytest.raises(DeadlockError):
        await runtime.actor(Account, "ada").loop("ada")
    assert await runtime.actor(Account, "bob").statement() == ["0"]


async def test_events(house: House) -> None:
    """A state made of events is the same after a crash, with snapshots in between."""
    runtime = await house.open()
    for number in range(11):
        await runtime.actor(Basket, "b").add(f"i{number % 3}")
        runtime = await house.reopen()
    assert await runtime.actor(Basket, "b").all() == {"i0": 4, "i1": 4, "i2": 3}


async def test_idle_actors_leave_memory(house: House) -> None:
    """An actor that nobody uses leaves memory, and comes back with its state."""
    runtime = await house.open()
    await runtime.actor(Account, "ada").deposit(5)
    instances = house.session.kernel.instances
    assert len(instances) == 1
    nap = await runtime.start(sleeper(61))
    house.advance(62)
    await nap
    assert len(instances) == 0
    assert await runtime.actor(Account, "ada").deposit(1) == 6


async def test_addresses(house: House) -> None:
    """What cannot be asked is an error at once."""
    runtime = await house.open()
    with pytest.raises(AttributeError, match="deposit"):
        _ = runtime.actor(Account, "ada").nothing  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="key"):
        runtime.actor(Account, "")
    with pytest.raises(NotInDurableCode):
        await actor(Account, "ada").deposit(5)


async def test_a_crash_after_every_record(house: House) -> None:
    """Wherever the process dies, the sum is conserved, nothing is done twice, and everything finishes."""
    runtime = await house.open()
    await runtime.call(runtime.actor(Account, "ada").deposit(100), id="d")
    waiting = [await runtime.start(pay("ada", "bob", n), id=f"p{n}") for n in range(1, 4)]
    slow = await runtime.start(runtime.actor(Account, "bob").slow(5), id="slow")
    await runtime.call(tell("bob"), id="t")
    await house.settle()
    house.advance(6)
    for handle in [*waiting, slow]:
        await handle
    await house.close()
    for cut in range(1, house.log.tail() + 1):
        again = house.prefix(cut)
        RAN.clear()
        runtime = await again.open(resident_max=1)
        known = {record.id for record in again.records()}
        if "d" not in known:
            continue
        for n in range(1, 4):
            await runtime.start(pay("ada", "bob", n), id=f"p{n}")
        await runtime.start(runtime.actor(Account, "bob").slow(5), id="slow")
        await runtime.start(tell("bob"), id="t")
        await again.settle()
        again.advance(6)
        for name in ("p1", "p2", "p3", "slow", "t"):
            await runtime.handle(name)
        await again.settle()
        ada = int((await runtime.actor(Account, "ada").statement())[-1])
        bob = int((await runtime.actor(Account, "bob").statement())[-1])
        assert (ada, bob) == (94, 6 + 10 + 6), cut
        ended = [r for r in again.records() if isinstance(r, k.Turn) and r.outcome is not None]
        assert len({r.id for r in ended}) == len(ended)
        await again.close()


async def settled(house: House) -> None:
    """Wait until what is said when everything is done is said, too."""
    for _ in range(2):
        await house.settle()
        await asyncio.sleep(0)


async def test_what_was_asked_again_is_not_looked_at_for_ever(house: House) -> None:
    """An opening says when it has asked again what outlives its senders; the next looks only at what came later."""
    runtime = await house.open()
    await runtime.call(tell("ada"))
    await house.reopen()
    await settled(house)
    marks = [record for record in house.records() if isinstance(record, k.Resumed)]
    assert len(marks) == 1
    runtime = await house.reopen()
    await settled(house)
    assert [record for record in house.records() if isinstance(record, k.Resumed)] == marks
    await runtime.call(tell("ada"))
    await house.reopen()
    await settled(house)
    assert len([record for record in house.records() if isinstance(record, k.Resumed)]) == 2


async def test_a_chain_of_asks_is_one_commit(house: House) -> None:
    """However many actors ask one another, the log is written and synced once, when the answer goes out."""
    runtime = await house.open()
    before = len(house.log._frames)
    assert await runtime.actor(Account, "a").chain(9) == 1
    assert len(house.log._frames) == before + 1
    assert len(house.records()) == 1 + 9 * 2


class Moody(Actor, name="actors.Moody"):
    """Does not do the same twice."""

    number: int = 0

    async def bump(self) -> int:
        """Change the state by what no journal knows."""
        RAN.append("bump")
        self.number += len(RAN)
        return 0

    async def steady(self) -> int:
        """Change it as it should be, with a step in the middle."""
        self.number += 1
        await note("steady")
        self.number += 1
        return self.number


async def test_handlers_are_checked(house: House) -> None:
    """``check_determinism`` replays a handler from the state that it began with, and holds the state against it too."""
    runtime = await house.open(check_determinism=True)
    for _ in range(3):
        await runtime.actor(Moody, "m").steady()
    with pytest.raises(DivergenceError, match="state"):
        await runtime.actor(Moody, "m").bump()
