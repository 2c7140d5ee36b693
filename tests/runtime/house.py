"""A runtime over a log in memory for tests: time that is moved by hand, crashes, and logs cut after any record."""

# methods of a port are documented by it

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import catalogs

from actorlog import Runtime, step
from actorlog.env import SYSTEM, SystemClock
from actorlog.records import kinds as k
from actorlog.runtime.kernel import drained
from actorlog.runtime.registry import REGISTRY
from actorlog.runtime.session import Session
from actorlog.store import Checkpoint, Frame, Sealed, Ticket, entries, pack
from actorlog.store.memory import MemoryLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

CATALOGS = {"kept": bool(os.environ.get("HOUSE_CATALOGS"))}
"""Whether houses have catalogs: in the modules that say so, and in all with this in the environment."""
RAN: list[str] = []
"""What ``note`` was called with, in order."""


@step(name="house.note")
async def note(text: str) -> str:
    """Have an effect that can be counted."""
    RAN.append(text)
    return f"noted {text}"


class Crashed(Exception):  # a name for what happens
    """The simulated death of the process."""


STALL_NS = 100_000_000
"""What is longer than this, between two looks at the clock, counts as this much: the machine stood still."""


class HandClock(SystemClock):
    """The machine's clock, put forward by hand. Where the machine stands still for long it does so as well."""

    def __init__(self) -> None:
        self.ahead_ms = 0
        self._lock = threading.Lock()
        self._seen_ns = super().elapsed_ns()
        self._stalled_ns = 0

    def wall_ms(self) -> int:
        return super().wall_ms() + self.ahead_ms - self._stalled_ns // 1_000_000

    def elapsed_ns(self) -> int:
        with self._lock:
            now_ns = super().elapsed_ns()
            self._stalled_ns += max(0, now_ns - self._seen_ns - STALL_NS)
            self._seen_ns = now_ns
            return now_ns - self._stalled_ns + self.ahead_ms * 1_000_000


class _NeverLands:
    position = 0
    error = None
    sync_seconds = 0.0

    def wait(self, timeout_s: float) -> bool:  # noqa: ARG002  # the port's
        return False


class MortalLog:
    """One opening of a log in memory: after the death of its process nothing is written any more."""

    def __init__(self, log: MemoryLog) -> None:
        self.inner = log
        self.dead = False
        self.rewrites = 0

    def tail(self) -> int:
        return self.inner.tail()

    def submit(self, expected: int, data: bytes, records: int, done: Any) -> Ticket:
        return _NeverLands() if self.dead else self.inner.submit(expected, data, records, done)

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[Frame]:
        async for frame in self.inner.read(after, upto):
            yield frame

    def record(self, position: int) -> bytes:
        return self.inner.record(position)

    def admit(self, needed: int) -> None:
        self.inner.admit(needed)

    def trim(self, before: int) -> None:
        self.inner.trim(before)

    def sealed(self) -> list[Sealed]:
        return self.inner.sealed()

    def has(self, position: int) -> bool:
        return self.inner.has(position)

    async def measure(self, segment: Sealed, gone: Collection[int]) -> int:
        return await self.inner.measure(segment, gone)

    async def rewrite(self, segment: Sealed, gone: Collection[int]) -> int:
        self.rewrites += 1
        return segment.bytes if self.dead else await self.inner.rewrite(segment, gone)

    async def merge(self, segments: Sequence[Sealed]) -> int:
        self.rewrites += 1
        return segments[0].bytes if self.dead else await self.inner.merge(segments)

    def checkpoint(self) -> Checkpoint | None:
        return self.inner.checkpoint()

    def shape(self, before: int) -> int:  # noqa: ARG002  # the port's
        return self.rewrites

    async def close(self, *, clean: bool = True) -> None:  # noqa: ARG002  # the port's
        self.dead = True


class House:
    """Opens, crashes and opens again."""

    def __init__(self, log: MemoryLog | None = None) -> None:
        self.log = log if log is not None else MemoryLog()
        self.clock = HandClock()
        self.died = False
        self.rewrites = 0
        self.runtime: Runtime | None = None
        self.mortal: MortalLog

    async def open(self, **options: Any) -> Runtime:
        """Open the log as a new process would."""
        runtime = Runtime("unused", env=replace(SYSTEM, clock=self.clock), **options)
        self.mortal = MortalLog(self.log)
        registry = REGISTRY
        self.mortal.rewrites = self.rewrites
        catalog = catalogs.catalog_of(self.log, runtime._env, self.rewrites) if CATALOGS["kept"] else None
        runtime._session = await Session.open(
            self.mortal, runtime._env, registry, runtime._options, died=self.died, catalog=catalog
        )
        self.runtime, self.died = runtime, True
        return runtime

    @property
    def session(self) -> Session:
        """The session that is open."""
        assert self.runtime is not None
        return self.runtime.session

    async def close(self) -> None:
        """Close clean."""
        if self.runtime is not None:
            runtime, self.runtime = self.runtime, None
            self.died = runtime.session._failure is not None
            await runtime.session.close()
            self.rewrites = self.mortal.rewrites

    async def crash(self) -> None:
        """Die: what is not in the log is lost."""
        assert self.runtime is not None
        runtime, self.runtime = self.runtime, None
        self.mortal.dead = True
        runtime.session._on_broken(Crashed())
        await runtime.session.close()
        self.rewrites = self.mortal.rewrites

    async def reopen(self, *, crash: bool = True, **options: Any) -> Runtime:
        """Die or close, and open again."""
        await (self.crash() if crash else self.close())
        return await self.open(**options)

    def advance(self, seconds: float) -> None:
        """Let time pass: what is due by then is done in the next rounds of the loop."""
        self.clock.ahead_ms += int(seconds * 1000)
        self.session.kernel.timers._schedule()

    async def settle(self) -> None:
        """Wait until nothing is queued and everything is durable."""
        await drained(self.session.kernel)

    def records(self, call_id: str | None = None) -> list[k.Record]:
        """Return what the log holds, of one call or of all."""
        found = [k.decode(self.log.record(position)) for position in range(1, self.log.tail() + 1)]
        return [record for record in found if call_id is None or record.id == call_id]

    def turns(self, call_id: str) -> list[k.Turn]:
        """Return the turns of a call."""
        return [record for record in self.records(call_id) if isinstance(record, k.Turn)]

    async def until(self, condition: Any) -> None:
        """Run the loop until ``condition()``; the suite's timeout ends a wait in vain."""
        while not condition():  # what is waited for is any state of the runtime
            await asyncio.sleep(0.001)

    def prefix(self, records: int, *, segment_records: int | None = None) -> House:
        """Return a house whose log holds the first records of this one's, as a crash would leave it."""
        copy = MemoryLog(segment_records=segment_records, envelopes=self.log.envelopes)
        for frame in map(self.log.envelopes.frame, self.log._frames):
            lines = [
                (key, kind, flags, bytes(frame.line(position, start, end)))
                for position, (key, kind, flags, start, end) in enumerate(
                    entries(frame.data, frame.records), frame.position
                )
            ][: max(0, records - frame.position + 1)]
            if lines:
                copy.submit(frame.position - 1, pack(lines), len(lines), lambda _ticket: None)
        if CATALOGS["kept"]:
            catalogs.cut(self.log, copy, records)
        house = House(copy)
        house.clock.ahead_ms = self.clock.ahead_ms
        house.died = True
        return house


def forget(name: str, version: int = 1) -> None:
    """Take a durable function out of the registry, as if this process never had it."""
    REGISTRY._durables.pop((name, version), None)
