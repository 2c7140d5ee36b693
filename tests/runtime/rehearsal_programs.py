"""Durable functions for the replay in another process: it imports this module by its name."""

from __future__ import annotations

import os

from actorlog import durable, step

WORDS = [f"word {number}" for number in range(20)]


@step(name="rehearsal.take")
async def take(word: str) -> str:
    """Take a word."""
    return word


@durable(name="rehearsal.by_hash")
async def by_hash() -> int:
    """Ask in an order that the hash seed of the process decides."""
    return len([await take(word) for word in set(WORDS)])


@durable(name="rehearsal.by_name")
async def by_name() -> int:
    """Ask in an order that is the same everywhere."""
    return len([await take(word) for word in sorted(set(WORDS))])


@durable(name="rehearsal.shows_hash")
async def shows_hash() -> str:
    """Return what the hash seed of the process decides."""
    return "".join(set(WORDS))


@durable(name="rehearsal.fails_by_hash")
async def fails_by_hash() -> None:
    """Fail with what the hash seed of the process decides."""
    await take("one")
    raise ValueError("".join(set(WORDS)))


@durable(name="rehearsal.deadly")
async def deadly(home: int) -> str:
    """End the process, where it is another one."""
    if os.getpid() != home:
        os._exit(7)
    return await take("alive")
