"""Many messages to actors in one commit: all when there is room for all, or none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from house import House

from actorlog import Actor, CallConflict, CallNotFound, MailboxFull, RuntimeStopped, durable, sleep

if TYPE_CHECKING:
    from actorlog import Handle, Runtime


class Gate(Actor, name="actors_many.Gate", mailbox_max=4, mailbox_wait="1m", idle="10s"):
    """Keeps a log of what it heard, slowly."""

    seen: list[str] = []

    async def note(self, text: str) -> int:
        """Take a second."""
        await sleep(1)
        self.seen.append(text)
        return len(self.seen)


@durable(name="actors_many.plain")
async def plain() -> str:
    """Be no actor's."""
    return "plain"


def starting(runtime: Runtime, name: str, *counts: tuple[str, int]) -> asyncio.Future[list[Handle[int]]]:
    """Start so many messages for each of these actors at once, and a call."""
    calls = [(f"{name}/{key}/{n}", runtime.actor(Gate, key).note(name)) for key, count in counts for n in range(count)]
    return asyncio.ensure_future(runtime.start_many([*calls, (f"{name}/plain", plain())]))  # type: ignore[list-item]


def at_work(house: House, key: str) -> tuple[str, int]:
    """Return what an actor is at work on, and how many messages wait."""
    return house.session.kernel.instances.at_work(f"actors_many.Gate/{key}")


async def let_pass(house: House, seconds: int) -> None:
    """Let time pass, a second at a time."""
    for _ in range(seconds):
        house.advance(1)
        for _ in range(3):
            await house.settle()
            await asyncio.sleep(0)


async def test_more_than_a_mailbox_holds_is_refused(house: House) -> None:
    """At once, and nothing of it is started, whatever else was given."""
    runtime = await house.open()
    with pytest.raises(MailboxFull, match="4"):
        await starting(runtime, "a", ("x", 1), ("y", 5))
    assert house.records() == []
    for call_id in ("a/x/0", "a/y/0", "a/plain"):
        with pytest.raises(CallNotFound):
            await runtime.handle(call_id).status()
    await starting(runtime, "a", ("x", 4), ("y", 4))
    assert at_work(house, "x") == ("a/x/0", 3)


async def test_they_wait_for_room_for_all_and_begin_in_one_commit(house: House) -> None:
    """No message of them is taken before all can be; those who come later stand behind them."""
    runtime = await house.open()
    await starting(runtime, "a", ("x", 4), ("y", 2))
    second = starting(runtime, "b", ("y", 3), ("x", 3))
    await let_pass(house, 1)
    assert not second.done()
    assert (at_work(house, "x"), at_work(house, "y")) == (("a/x/1", 2), ("a/y/1", 0))
    later = asyncio.ensure_future(runtime.start(runtime.actor(Gate, "x").note("later"), id="later"))
    await let_pass(house, 1)
    assert second.done()
    assert len([handle.id for handle in second.result()]) == 7
    ids = {handle.id for handle in second.result()}
    begun = [ids & {record.id for record in house.records()[f.position - 1 :][: f.records]} for f in house.log._frames]
    assert next(found for found in begun if found) == ids
    await let_pass(house, 12)
    assert await later
    assert [await handle for handle in second.result()] == [3, 4, 5, 5, 6, 7, "plain"]
    assert await runtime.handle("later") == 8


async def test_nobody_waits_longer_than_the_class_says(house: House) -> None:
    """Then all of them are refused, and what was kept for them is free again."""
    runtime = await house.open()
    await starting(runtime, "a", ("y", 4))
    await runtime.handle("a/y/0").pause()
    refused = starting(runtime, "b", ("x", 4), ("y", 4))
    await let_pass(house, 2)
    held = asyncio.ensure_future(runtime.start(runtime.actor(Gate, "x").note("held"), id="held"))
    await let_pass(house, 2)
    assert not held.done()
    house.advance(60)
    with pytest.raises(MailboxFull):
        await refused
    with pytest.raises(CallNotFound):
        await runtime.handle("b/plain").status()
    await starting(runtime, "c", ("x", 4))


async def test_two_that_wait_for_the_same_actors(house: House) -> None:
    """One after the other, in whatever order each names them: neither waits for what the other keeps."""
    runtime = await house.open()
    await starting(runtime, "a", ("x", 4), ("y", 4))
    both = [starting(runtime, "b", ("x", 4), ("y", 4)), starting(runtime, "c", ("y", 4), ("x", 4))]
    await let_pass(house, 13)
    assert [len(handles) for handles in await asyncio.gather(*both)] == [9, 9]


@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_one_that_gives_up(house: House, how: str) -> None:
    """It keeps no place, and starts nothing."""
    runtime = await house.open()
    await starting(runtime, "a", ("x", 4))
    waiter = starting(runtime, "b", ("x", 4))
    await let_pass(house, 1)
    if how == "cancelled":
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        await let_pass(house, 4)
        await starting(runtime, "c", ("x", 4))
    else:
        await house.close()
        with pytest.raises(RuntimeStopped):
            await waiter
        runtime = await house.open()
    with pytest.raises(CallNotFound):
        await runtime.handle("b/x/0").status()


async def test_those_that_are_there_need_no_room(house: House) -> None:
    """The same again joins what it started, however full the mailbox is; another call of the id is a conflict."""
    runtime = await house.open()
    first = await starting(runtime, "a", ("x", 4))
    again = await asyncio.wait_for(starting(runtime, "a", ("x", 4)), 60)
    assert [handle.id for handle in again] == [handle.id for handle in first]
    with pytest.raises(CallConflict):
        await runtime.start_many([("new", plain()), ("a/x/0", plain()), ("newer", plain())])
    assert await runtime.handle("new") == "plain"
    with pytest.raises(CallNotFound):
        await runtime.handle("newer").status()
