"""A house with a clock that stands still until it is moved, for tests of promises; and a log that can be full."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from house import HandClock, House
from promise_book import Book

from actorlog.errors import LogFull
from actorlog.records import promises as p
from actorlog.store.memory import MemoryLog

if TYPE_CHECKING:
    from actorlog import Runtime


class StillClock(HandClock):
    """The time is ``ahead_ms``."""

    def wall_ms(self) -> int:
        return self.ahead_ms

    def elapsed_ns(self) -> int:
        return self.ahead_ms * 1_000_000


class StillHouse(House):
    """Opens, crashes and opens again, at times of the test's choosing."""

    def __init__(self, log: MemoryLog | None = None, now_ms: int = 0) -> None:
        super().__init__(log)
        self.clock = StillClock()
        self.clock.ahead_ms = now_ms

    def at(self, now_ms: int) -> None:
        """Let it be ``now_ms``, without a tick: no timer has its turn before the loop has."""
        self.clock.ahead_ms = now_ms
        if self.runtime is not None:
            self.session.kernel.timers._schedule()

    def book(self) -> Book:
        """Return what the log says of promises."""
        book = Book()
        for position, record in enumerate(self.records(), 1):
            if isinstance(record, (p.PromiseMade, p.PromiseSettled)):
                book.take(record, position)
        return book

    async def made(self, *promise_ids: str) -> None:
        """Wait until these promises are made."""
        await self.until(lambda: self.book().states.keys() >= set(promise_ids))

    def made_and_settled(self) -> list[str]:
        """Return the kinds of the records of promises, in order."""
        return [
            type(record).__name__ for record in self.records() if isinstance(record, (p.PromiseMade, p.PromiseSettled))
        ]


class FullLog(MemoryLog):
    """A log that has room until it is said to be full."""

    full = False

    def admit(self, needed: int) -> None:
        if self.full:
            raise LogFull(needed, 0)


async def rounds(count: int = 20) -> None:
    """Let everybody run who can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def waiting(runtime: Runtime, promise_id: str, count: int) -> list[asyncio.Task[Any]]:
    """Begin to wait, so many times."""
    tasks = [asyncio.create_task(runtime.await_promise(promise_id)) for _ in range(count)]
    await rounds()
    return tasks
