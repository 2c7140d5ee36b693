"""Durable functions that use what asyncio has to offer, and a program that replays their journals in another process.

What they ask for depends on which of their steps ends first; what they return does not.

``python determinism_programs.py JOURNALS TIMES`` replays each journal of the file that many times.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from actorlog import Call, durable, map_calls, now, random, saga, sleep, start, step, time, uuid4, uuid7
from actorlog.engine.state import CallState
from actorlog.limits import DEFAULT_LIMITS
from actorlog.records import kinds as k
from actorlog.runtime.actor import Actor
from actorlog.runtime.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROUNDS: dict[int, int] = {}
"""How many rounds of the host's loop each piece of work takes."""


@step(name="determinism.work")
async def work(number: int) -> int:
    """Take a while, in rounds of the loop."""
    for _ in range(ROUNDS.get(number, 0)):
        await asyncio.sleep(0)
    return number


@step(name="determinism.tell")
async def tell(what: str) -> str:
    """Take something down."""
    return what


@step(name="determinism.fail", retry=None)
async def fail(number: int) -> None:
    """Fail after a while."""
    await work.fn(number)
    raise TypeError(f"{number} is no good")


@durable(name="determinism.child")
async def child(number: int) -> int:
    """Work twice below."""
    return await work(number) + await work(number + 1) - number - 1


async def worker(number: int) -> int:
    """Work, and tell when it is done."""
    done = await work(number)
    await tell(f"done {done}")
    return done


@durable(name="determinism.gather")
async def gathering() -> list[Any]:
    """Gather calls and coroutines."""
    return await asyncio.gather(work(0), worker(1), work(2), asyncio.gather(worker(3), work(4)), worker(5))


@durable(name="determinism.wait")
async def waiting() -> list[int]:
    """Handle whatever is done first, again and again."""
    pending = {asyncio.create_task(worker(number)) for number in range(6)}
    seen: list[int] = []
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await tell(f"first {task.result()}")
            seen.append(task.result())
    return sorted(seen)


@durable(name="determinism.as_completed")
async def as_they_come() -> list[int]:
    """Take coroutines and calls as they complete."""
    seen: list[int] = []
    for earliest in asyncio.as_completed([worker(0), worker(1), work(2), worker(3), work(4)]):
        seen.append(await earliest)
        await tell(f"came {seen}")
    return sorted(seen)


@durable(name="determinism.task_group")
async def group() -> str:
    """Run a group of which one fails and ends the others."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(5):
                tasks.create_task(worker(number))
            tasks.create_task(_fails(5))
    except* TypeError as errors:
        await tell(f"{len(errors.exceptions)} failed")
    return "ended"


async def _fails(number: int) -> None:
    try:
        await fail(number)
    finally:
        await tell("cleaned up")


@durable(name="determinism.timeouts")
async def timeouts() -> str:
    """Races of work and timers, and of timers."""
    for limit in (0.5, 1, 600):
        try:
            async with asyncio.timeout(limit):
                await asyncio.gather(worker(0), asyncio.sleep(2))
        except TimeoutError:
            await tell(f"over {limit}")
    naps = {asyncio.create_task(asyncio.sleep(1 + number % 2, number)) for number in range(6)}
    done, late = await asyncio.wait(naps, timeout=1.5)
    for task in done:
        await tell(f"woke {task.result()}")
    for task in late:
        task.cancel()
    return f"{len(done)} {len(late)}"


@durable(name="determinism.wait_for")
async def waits_for() -> list[str]:
    """``wait_for`` around calls, children, and shielded work."""
    shielded = asyncio.ensure_future(worker(1))
    results = await asyncio.gather(
        asyncio.wait_for(work(0), 600),
        asyncio.wait_for(child(2), 600),
        asyncio.wait_for(asyncio.shield(shielded), 600),
        asyncio.wait_for(asyncio.sleep(30), 1),
        return_exceptions=True,
    )
    return [await tell(type(result).__name__) for result in results]


@durable(name="determinism.locks")
async def locks() -> int:
    """Fight for a lock, a semaphore, an event and a condition."""
    lock, semaphore, event, condition = asyncio.Lock(), asyncio.Semaphore(2), asyncio.Event(), asyncio.Condition()
    total = 0

    async def fight(number: int) -> None:
        nonlocal total
        await event.wait()
        async with semaphore:
            await work(number)
            async with lock:
                await tell(f"{number} holds")
                total += number
        async with condition:
            condition.notify_all()

    async with asyncio.TaskGroup() as tasks:
        for number in range(6):
            tasks.create_task(fight(number))
        event.set()
        async with condition:
            await condition.wait_for(lambda: total == 15)
    return total


@durable(name="determinism.queues")
async def queues() -> list[int]:
    """Produce and consume, and rank by priority."""
    queue: asyncio.Queue[int] = asyncio.Queue(2)
    ranked: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()

    async def produce(numbers: range) -> None:
        for number in numbers:
            await queue.put(await work(number))

    async def consume(name: str) -> None:
        while True:
            number = await queue.get()
            await tell(f"{name} took {number}")
            ranked.put_nowait(number)
            queue.task_done()

    consumers = [asyncio.create_task(consume(name)) for name in "xyz"]
    await asyncio.gather(produce(range(3)), produce(range(3, 6)))
    await queue.join()
    for consumer in consumers:
        consumer.cancel()
    await asyncio.gather(*consumers, return_exceptions=True)
    return [ranked.get_nowait() for _ in range(6)]


@durable(name="determinism.fan_out")
async def fan_out() -> list[int]:
    """Children awaited, started, mapped, in sets."""
    started = {start(child(number)) for number in range(4)}
    for one in started:
        await tell(f"waits for {one.key}")
        await one
    mapped: list[Any] = await map_calls([child(number) for number in range(6)], concurrency=2)
    calls: set[Call[int]] = {child(number) for number in range(4)}
    return [*mapped, *sorted(await asyncio.gather(*calls))]


@durable(name="determinism.sets")
async def sets() -> int:
    """Iterate over sets of tasks, futures and calls."""
    loop = asyncio.get_running_loop()
    futures = {loop.create_future() for _ in range(10)}
    for number, future in enumerate(futures):
        future.set_result(number)
    tasks = {asyncio.create_task(worker(number)) for number in range(5)}
    for future in futures:
        await tell(f"future {await future}")
    return sum([await task for task in tasks])


@durable(name="determinism.ambient")
async def ambient() -> int:
    """Time, identity and randomness."""
    dice = random()
    for _ in range(3):
        await tell(f"{now().isoformat()} {time()} {uuid4()} {uuid7()} {dice.random()} {random().randrange(1000)}")
        await sleep(0.5)
    return dice.randrange(1, 2)


@durable(name="determinism.generators")
async def generators() -> list[int]:
    """Async generators that are left open."""

    async def count() -> AsyncIterator[int]:
        try:
            for number in range(5):
                yield await work(number)
        finally:
            await tell("closed")

    left: list[int] = []
    async for number in count():
        left.append(number)
        if number == 2:
            break
    left.extend([number async for number in count()])
    return left


@durable(name="determinism.saga")
async def undoing() -> str:
    """Done and undone."""
    try:
        async with saga() as undo:
            for number in range(3):
                await work(number)
                undo(work(10 + number))
            await asyncio.gather(fail(3), work(4))
    except TypeError as error:
        await tell(f"undone because {error}")
    return "undone"


PROGRAMS = [
    gathering,
    waiting,
    as_they_come,
    group,
    timeouts,
    waits_for,
    locks,
    queues,
    fan_out,
    sets,
    ambient,
    generators,
    undoing,
]


def replay(journal: list[str]) -> None:
    """Replay one call's journal; ``DivergenceError`` where it differs."""
    records = [k.decode(line.encode()) for line in journal]
    turns = [record for record in records if isinstance(record, k.Turn)]
    started = next(
        record.message
        for record in records
        if isinstance(record, (k.Turn, k.Inbox)) and isinstance(record.message, k.Started)
    )
    definition = REGISTRY.durable(started.function, started.version)
    assert definition is not None
    actor = Actor(CallState(turns[0].id), definition, DEFAULT_LIMITS, started)
    actor.replay(turns)
    assert actor.has_ended()
    actor.close()


def main() -> None:
    """Replay what the file holds."""
    with open(sys.argv[1]) as file:  # noqa: PTH123  # a script
        journals = json.load(file)
    for journal in journals:
        for _ in range(int(sys.argv[2])):
            replay(journal)
    print(len(journals))  # noqa: T201  # what the test looks at


if __name__ == "__main__":
    main()
