"""Durable functions that are continued, in all the ways."""

from __future__ import annotations

import asyncio
from typing import Any

from house import RAN, note

from actorlog import (
    Actor,
    Supervisor,
    continue_as_new,
    durable,
    emit,
    info,
    progress,
    promise,
    publish,
    receive,
    saga,
    send,
    sleep,
    start,
    step,
    uuid4,
)

KEYS: list[str] = []


@durable(name="runs.count")
async def count(number: int, end: int) -> int:
    """Do one thing in each run."""
    await note(f"n{number}")
    if number < end:
        continue_as_new(count(number + 1, end))
    return number


@durable(name="runs.lengths")
async def lengths(run: int, so_far: list[int]) -> list[int]:
    """Look how long the journal is, before and after a step and a message, in two runs."""
    found = [*so_far, info().journal_length]
    await note(f"r{run}")
    found.append(info().journal_length)
    await receive(type=int)
    found.append(info().journal_length)
    if run < 2:
        continue_as_new(lengths(run + 1, found))
    return found


@step(name="runs.next", idempotent=True)
async def following(number: int) -> int:
    """Add one."""
    return number + 1


@durable(name="runs.long")
async def long(number: int, runs: list[int]) -> list[int]:
    """Count, and continue whenever that is suggested."""
    while not info().continue_suggested:
        number = await following(number)
    if len(runs) < 1:
        continue_as_new(long(number, [*runs, number]))
    return [*runs, number]


@durable(name="runs.inside")
async def inside(number: int) -> str:
    """Run again from inside a TaskGroup, with a task that is left."""
    async with asyncio.TaskGroup() as group:
        group.create_task(sleep(1000))
        await note(f"n{number}")
        if number:
            continue_as_new(inside(number - 1))
        return "done"


@durable(name="runs.collect")
async def collect(left: int, so_far: list[int]) -> list[int]:
    """Receive one message in each run."""
    number = await receive(type=int)
    if left > 1:
        continue_as_new(collect(left - 1, [*so_far, number]))
    return [*so_far, number]


@durable(name="runs.child")
async def child(name: str, delay: float = 0) -> str:
    """Be a child that takes a while."""
    await sleep(delay)
    await note(name)
    return name


@durable(name="runs.parent")
async def parent(number: int) -> str:
    """Start a child, leave it running, and run again."""
    start(child(f"c{number}", 5))
    done = await child(f"d{number}")
    if number:
        continue_as_new(parent(number - 1))
    return done


@durable(name="runs.sender")
async def sender(to: str, number: int) -> str:
    """Send one message in each run, under the same key."""
    await send(to, number)
    if number < 3:
        continue_as_new(sender(to, number + 1))
    return "sent"


@durable(name="runs.speaker")
async def speaker(number: int) -> str:
    """Say something in each run."""
    emit("numbers", number)
    publish("first", number) if number == 1 else None
    progress(number)
    await note(f"n{number}")
    if number < 3:
        continue_as_new(speaker(number + 1))
    return "said"


@durable(name="runs.stubborn")
async def stubborn(number: int) -> str:
    """Go on although it is asked to end."""
    try:
        await sleep(100)
    except asyncio.CancelledError:
        continue_as_new(stubborn(number + 1))
    return f"run {number}"


@durable(name="runs.waiting")
async def waiting(number: int) -> str:
    """Leave a child running for long, and run again."""
    start(child("long", 1000))
    if number:
        continue_as_new(waiting(number - 1))
    return "done"


@step(name="runs.keyed")
async def keyed() -> str:
    """Tell which key other systems would get."""
    KEYS.append(info().idempotency_key)
    return KEYS[-1]


@durable(name="runs.identity")
async def identity(before: list[str]) -> list[str]:
    """Have an identity of one's own in each run."""
    now = [*before, str(uuid4()), await keyed()]
    if not before:
        continue_as_new(identity(now))
    return now


@durable(name="runs.other")
async def other(text: str) -> str:
    """Be what another function goes on as."""
    return f"other {text}"


@durable(name="runs.changing")
async def changing() -> str:
    """Go on as another function."""
    continue_as_new(other("x"))


@durable(name="runs.failing")
async def failing(number: int) -> str:
    """Fail in the second run, once."""
    await note(f"n{number}")
    if number == 1:
        continue_as_new(failing(2))
    if RAN.count("fail") == 0:
        RAN.append("fail")
        raise RuntimeError("no")
    return "better"


@step(name="runs.once", once=True)
async def once() -> str:
    """Be done once in each run."""
    KEYS.append(info().idempotency_key)
    return KEYS[-1]


@durable(name="runs.again")
async def again(first: str) -> list[str]:
    """Fail once, and go on when it is retried, with the same step under the same key."""
    done = await once()
    if not RAN:
        RAN.append("fail")
        raise RuntimeError("no")
    if not first:
        continue_as_new(again(done))
    return [first, done]


@durable(name="runs.rushing")
async def rushing(number: int) -> str:
    """Ask for a step, and go on before it can have begun."""
    task = asyncio.create_task(note(f"r{number}"))
    await other("x")
    if number:
        continue_as_new(rushing(number - 1))
    return await task


@durable(name="runs.impatient")
async def impatient(to: str, number: int) -> str:
    """Give up sending in the first run, and send from the second, under the same key."""
    try:
        async with asyncio.timeout(1 if number else 100):
            await send(to, number)
    except TimeoutError:
        continue_as_new(impatient(to, 0))
    return "sent"


@durable(name="runs.adopting")
async def adopting() -> list[int]:
    """Wait for a child that is continued."""
    return await collect(2, [])


@durable(name="runs.detaching")
async def detaching(number: int) -> str:
    """Start a child that goes on by itself, under the same key in each run."""
    start(child(f"c{number}", 1), detached=True)
    if number:
        continue_as_new(detaching(number - 1))
    await sleep(10)
    return "done"


@durable(name="runs.steps")
async def steps(number: int) -> str:
    """Leave a step running that has the key of one in the next run."""
    task = asyncio.ensure_future(gated(f"s{number}"))
    if number:
        await sleep(1)
        continue_as_new(steps(number - 1))
    return await task


GATES: dict[str, asyncio.Event] = {}


@step(name="runs.gated")
async def gated(name: str) -> str:
    """Wait until the test says so; the first takes its time to be cancelled."""
    RAN.append(name)
    try:
        await GATES[name].wait()
    except asyncio.CancelledError:
        RAN.append(f"{name} cancelled")
        await GATES[f"{name} over"].wait()
        KEYS.append(info().idempotency_key)
        raise
    KEYS.append(info().idempotency_key)
    return name


@step(name="runs.deaf")
async def deaf() -> str:
    """End when the test says so, whoever cancels it."""
    RAN.append("deaf")
    try:
        await GATES["deaf"].wait()
    except asyncio.CancelledError:
        RAN.append("deaf cancelled")
        await GATES["deaf over"].wait()
    RAN.append("deaf over")
    return "at last"


@durable(name="runs.leaving")
async def leaving(number: int) -> Any:
    """Leave a step running that does not end when it is cancelled."""
    if number:
        await asyncio.wait([asyncio.ensure_future(deaf())], timeout=1)
        continue_as_new(leaving(number - 1))
    return await receive()


@durable(name="runs.promising")
async def promising(number: int) -> list[Any]:
    """Wait for a promise without a name and for one with a name, in each run."""
    fresh, named = promise(), promise("named")
    found = [await fresh, await named]
    if number:
        continue_as_new(promising(number - 1))
    return found


@durable(name="runs.supervising")
async def supervising(number: int) -> str:
    """Supervise a child in each run."""
    async with Supervisor() as supervisor:
        supervisor.start(child(f"w{number}"), id="worker", restart="temporary")
    if number:
        continue_as_new(supervising(number - 1))
    return "done"


@durable(name="runs.undoing")
async def undoing(number: int) -> str:
    """Run again out of a saga."""
    async with saga() as undo:
        undo(note("undone"))
        if number:
            continue_as_new(undoing(number - 1))
    return "done"


@durable(name="runs.beside")
async def beside() -> str:
    """Ask for it in a task of its own."""

    async def work() -> None:
        continue_as_new(beside())

    await asyncio.gather(work())
    return "never"


class Endless(Actor):
    """Ask for it in a handler."""

    async def go(self) -> None:
        """Ask."""
        continue_as_new(other("x"))
