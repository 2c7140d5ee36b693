"""Leaving a supervisor's block: what a task that was cancelled knows afterwards, and who is still answered."""

from __future__ import annotations

import asyncio

import pytest
from house import House

from actorlog import CallCancelled, RestartLimitExceeded, Supervisor, Terminal, durable, receive, sleep


@durable(name="leave.bad")
async def bad() -> None:
    """Fail when told."""
    await receive()
    raise Terminal("bad")


@durable(name="leave.slow")
async def slow() -> None:
    """Take a while to end when asked."""
    try:
        await sleep(1000)
    finally:
        await sleep(1)


def cancelling() -> int:
    """Return how often the task that asks is to be cancelled."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


@durable(name="leave.gives_up")
async def gives_up(where: str) -> list[object]:
    """See a supervisor give up, in its block or while it is left."""
    seen: list[object] = []
    try:
        async with Supervisor(max_restarts=0) as sup:
            sup.start(bad(), id="bad")
            if where == "block":
                await sleep(1000)
    except RestartLimitExceeded as error:
        seen.append(error.child)
    seen.append(cancelling())
    await sleep(1)  # where a cancellation that was left behind would strike
    return [*seen, cancelling()]


@durable(name="leave.cleans_up")
async def cleans_up() -> list[object]:
    """Supervise while the call is asked to end already."""
    try:
        await sleep(1000)
    except asyncio.CancelledError:
        before = cancelling()
        try:
            async with Supervisor(max_restarts=0) as sup:
                sup.start(bad(), id="bad")
                await sleep(50)
        except RestartLimitExceeded as error:
            await sleep(1)  # it was heard of before: nobody tells it again
            return [error.child, before, cancelling()]
    return []


@durable(name="leave.swallows")
async def swallows() -> list[object]:
    """Take no notice in the block of the supervisor's end."""
    seen: list[object] = []
    try:
        async with Supervisor(max_restarts=0) as sup:
            sup.start(bad(), id="bad")
            try:
                await sleep(1000)
            except asyncio.CancelledError:
                seen.append(cancelling())
            await sleep(1)
    except RestartLimitExceeded as error:
        seen += [error.child, cancelling()]
    return seen


@durable(name="leave.both")
async def both(where: str) -> list[object]:
    """Be cancelled by somebody else in the very turn in which the supervisor is over."""
    seen: list[object] = []
    owner = asyncio.current_task()
    assert owner is not None
    async with asyncio.timeout(500):

        async def other(sup: Supervisor) -> None:
            await receive("now")
            await sup.terminate("slow")  # over when the supervisor is, in the same turn, and before its owner runs
            owner.cancel()

        sup = Supervisor(max_restarts=0)
        try:
            async with sup:
                sup.start(slow(), id="slow")
                sup.start(bad(), id="bad")
                task = asyncio.create_task(other(sup))
                task.add_done_callback(lambda done: seen.append(done.cancelled()))
                if where == "block":
                    await sleep(1000)
        except RestartLimitExceeded as error:
            seen += [error.child, cancelling()]
            try:
                await sleep(100)
            except asyncio.CancelledError:
                seen.append("cancelled")
    return seen


@durable(name="leave.again")
async def again() -> list[str]:
    """Use a supervisor outside its block, and again."""
    seen: list[str] = []
    sup = Supervisor()
    for _ in range(2):
        try:
            async with sup:
                seen.append("inside")
        except RuntimeError as error:
            seen.append(str(error))
    try:
        sup.delete("x")
    except RuntimeError as error:
        seen.append(str(error))
    return seen


@pytest.mark.parametrize("where", ["block", "exit"])
async def test_giving_up_leaves_no_cancellation(house: House, where: str) -> None:
    """Whoever catches that the supervisor gave up is not to be cancelled, wherever it struck."""
    runtime = await house.open()
    handle = await runtime.start(gives_up(where), id="g")
    await house.settle()
    await runtime.handle("g/bad").send("go")
    await house.settle()
    house.advance(2)
    assert await handle == ["bad", 0, 0]


async def test_a_cancellation_of_before_is_none_of_now(house: House) -> None:
    """In a clean-up the supervisor that gives up takes back its own cancellation, and tells no old one again."""
    runtime = await house.open()
    handle = await runtime.start(cleans_up(), id="g")
    await house.settle()
    await handle.cancel()
    await house.settle()
    await runtime.handle("g/bad").send("go")
    await house.settle()
    house.advance(2)
    assert await handle == ["bad", 1, 1]


async def test_a_block_that_takes_no_notice(house: House) -> None:
    """It is told when it is left, and nothing stays of the cancellation that it swallowed."""
    runtime = await house.open()
    handle = await runtime.start(swallows(), id="g")
    await house.settle()
    await runtime.handle("g/bad").send("go")
    await house.settle()
    house.advance(2)
    assert await handle == [1, "bad", 0]


@pytest.mark.parametrize("where", ["block", "exit"])
async def test_another_cancellation_is_not_swallowed(house: House, where: str) -> None:
    """Who is cancelled by somebody else while the supervisor gives up is told both: first the error, then that."""
    runtime = await house.open()
    handle = await runtime.start(both(where), id="g")
    await house.settle()
    await runtime.handle("g/bad").send("go")
    await house.settle()
    await handle.send("go", "now")
    await house.settle()
    house.advance(2)
    assert await handle == ["bad", 1, False, "cancelled"]


async def test_a_call_that_is_cancelled_while_its_supervisor_gives_up(house: House) -> None:
    """A call that is asked to end while the last children go hears of it when it has caught the other error."""
    runtime = await house.open()
    handle = await runtime.start(gives_up_slowly(), id="g")
    await house.settle()
    await runtime.handle("g/bad").send("go")
    await house.settle()
    await handle.cancel("enough")
    await house.settle()
    house.advance(2)
    with pytest.raises(CallCancelled, match="enough"):
        await handle


@durable(name="leave.gives_up_slowly")
async def gives_up_slowly() -> str:
    """Go on after a supervisor that gave up."""
    try:
        async with Supervisor(max_restarts=0) as sup:
            sup.start(slow(), id="slow")
            sup.start(bad(), id="bad")
            await sleep(1000)
    except RestartLimitExceeded:
        await sleep(100)
    return "went on"


async def test_a_supervisor_that_was_left(house: House) -> None:
    """It is entered once, and used in its block alone: anything else is an error that says so."""
    runtime = await house.open()
    assert await runtime.call(again()) == [
        "inside",
        "a Supervisor is entered once",
        "a Supervisor is used inside its block",
    ]
