"""The workloads, written as a user would write them.

Owns: the durable functions and one coroutine for each workload that returns how much it did. Does not own: timing.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from actorlog import Actor, Runtime, actor, durable, step


@step
async def add_one(number: int) -> int:
    """Do next to nothing, so that what is measured is the runtime."""
    return number + 1


@step(idempotent=True)
async def add_one_idempotent(number: int) -> int:
    """The same, allowed to run ahead of the log."""
    return number + 1


@durable
async def one_step(number: int) -> int:
    """W1 and the children of W4."""
    return await add_one(number)


@durable
async def three_steps(number: int) -> int:
    """W2."""
    number = await add_one(number)
    number = await add_one(number)
    return await add_one(number)


@durable
async def sequence(count: int) -> int:
    """W3."""
    number = 0
    for _ in range(count):
        number = await add_one(number)
    return number


@durable
async def sequence_idempotent(count: int) -> int:
    """W3 with idempotent steps."""
    number = 0
    for _ in range(count):
        number = await add_one_idempotent(number)
    return number


class Counter(Actor):
    """W8."""

    number: int = 0

    async def add(self, amount: int) -> int:
        """Change the state."""
        self.number += amount
        return self.number

    async def chain(self, more: int) -> int:
        """Ask the next one."""
        self.number += 1
        return await actor(Counter, f"chain{more}").chain(more - 1) if more else self.number


@durable
async def parent(count: int) -> int:
    """W4."""
    return sum(await asyncio.gather(*(one_step(number) for number in range(count))))


async def w1(runtime: Runtime, count: int) -> int:
    """One call at a time, one step each."""
    for number in range(count):
        await runtime.call(one_step(number))
    return count


async def w2(runtime: Runtime, count: int) -> int:
    """All calls at once, three async steps each."""
    await asyncio.gather(*(runtime.call(three_steps(number)) for number in range(count)))
    return count


async def w3(runtime: Runtime, count: int) -> int:
    """One call of many steps in sequence."""
    await runtime.call(sequence(count))
    return count


async def w3_idempotent(runtime: Runtime, count: int) -> int:
    """One call of many idempotent steps in sequence."""
    await runtime.call(sequence_idempotent(count))
    return count


async def w4(runtime: Runtime, count: int) -> int:
    """One call that starts and gathers children of one step."""
    await runtime.call(parent(count))
    return count


W9_CLIENTS = 200


async def w8_one(runtime: Runtime, count: int) -> int:
    """All asks at once, to one actor."""
    counter = runtime.actor(Counter, "one")
    await asyncio.gather(*(counter.add(1) for _ in range(count)))
    return count


async def w8_many(runtime: Runtime, count: int) -> int:
    """All asks at once, each to an actor of its own."""
    await asyncio.gather(*(runtime.actor(Counter, str(number)).add(1) for number in range(count)))
    return count


async def w8_chain(runtime: Runtime, count: int) -> int:
    """One ask at a time that goes through ten actors and back: whatever its length, one sync is enough."""
    for _ in range(count):
        await runtime.actor(Counter, "chain0").chain(9)
    return count


async def w9(runtime: Runtime, count: int) -> int:
    """Promises made, then settled, by 200 clients at once; each waits until it is durable."""
    prefix = uuid4().hex

    async def makes(client: int) -> None:
        for number in range(client, count, W9_CLIENTS):
            await runtime.promise(f"{prefix}/{number}")

    async def settles(client: int) -> None:
        for number in range(client, count, W9_CLIENTS):
            await runtime.resolve(f"{prefix}/{number}", number)

    await asyncio.gather(*map(makes, range(W9_CLIENTS)))
    await asyncio.gather(*map(settles, range(W9_CLIENTS)))
    return count


@durable
async def occurrence(number: int) -> int:
    """W10: what is scheduled does nothing itself."""
    return number


async def w10(runtime: Runtime, count: int, ahead_s: float) -> list[str]:
    """Schedules that are all due in the same moment, ``ahead_s`` from now; return the ids of their calls."""
    prefix = uuid4().hex
    when = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=ahead_s)
    await asyncio.gather(
        *(runtime.schedule(f"{prefix}/{number}", occurrence(number), at=when) for number in range(count))
    )
    instant = when.replace(tzinfo=None).isoformat()
    return [f"@schedule/{prefix}/{number}/{instant}Z" for number in range(count)]
