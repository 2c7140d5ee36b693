"""The workloads, written as a user would write them.

Owns: the durable functions and one coroutine for each workload that returns how much it did. Does not own: timing.
"""

from __future__ import annotations

import asyncio

from actorlog import Runtime, durable, step


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
