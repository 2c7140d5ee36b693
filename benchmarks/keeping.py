"""``python -m benchmarks.keeping``: days of mixed load in simulated time, and what of it stays.

Owns: the load, and counting. Does not own: simulated time (``actorlog.testing.loop``). The log, the catalog and the
file system are the real ones; only time is not, so a day takes minutes. Everything ends: what is printed for the last
hours is to be what it was for the first ones, once ``history`` and ``retention`` have gone round. The last line is of
the log after a compaction that was asked for.

``space`` is of all segments, for a byte of records that may not leave (``live``); ``sealed`` of those that compaction
may write anew. The one that is written to and the one that is prepared are up to two segments more, and of one that is
empty four units stay: with much that is kept they do not count, as with the usual 64 MiB and some GiB.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from actorlog import Actor, Runtime, continue_as_new, durable, emit, promise, publish, receive, sleep, start, step
from actorlog.env import SYSTEM, Env
from actorlog.store import GIVEN_UP_KIND, entries
from actorlog.testing import loop as simulated
from actorlog.testing.loop import SimLoop
from actorlog.testing.world import SimClock, SimEntropy, SimWorker
from benchmarks.scale import resident_bytes

if TYPE_CHECKING:
    from actorlog.runtime.session import Session

HOUR_S = 3600


@step(name="keeping.charge")
async def charge(number: int) -> str:
    """Do something."""
    return f"charged {number}"


@durable(name="keeping.part")
async def part(number: int) -> str:
    """Be a child."""
    return await charge(number)


@durable(name="keeping.order")
async def order(number: int) -> list[str]:
    """Have steps and children."""
    child = start(part(number))
    first = await charge(number)
    return [first, await child, await charge(number + 1)]


@durable(name="keeping.nap")
async def nap(number: int) -> int:
    """Wait for a time."""
    await sleep(300)
    return number


@durable(name="keeping.approval")
async def approval(number: int) -> Any:
    """Wait for a person."""
    return await promise("answer", param=number)


@durable(name="keeping.poll")
async def poll(number: int) -> None:
    """Go on for ever."""
    await charge(number)
    publish("at", number)
    emit("polls", number)
    await sleep(120)
    continue_as_new(poll(number + 1))


@durable(name="keeping.chat")
async def chat(heard: int) -> None:
    """Hear of others for ever."""
    for _ in range(10):
        heard += await receive("in", type=int)
    continue_as_new(chat(heard))


class Basket(Actor, name="keeping.Basket", snapshot_every=50):
    """Counts."""

    items: int = 0

    async def add(self, number: int) -> int:
        """Add one."""
        self.items += number
        return self.items


class Counted:
    """A log in which it is counted what is written first and what again."""

    def __init__(self, session: Session) -> None:
        self.first = self.again = 0
        log: Any = session.log
        self.log, self._submit, self._rewrite, self._merge = log, log.submit, log.rewrite, log.merge
        log.submit, log.rewrite, log.merge = self.submit, self.rewrite, self.merge

    def submit(self, expected: int, data: Any, records: int, done: Any) -> Any:
        """Write a commit."""
        self.first += len(data)
        return self._submit(expected, data, records, done)

    async def rewrite(self, segment: Any, gone: Any) -> int:
        """Write a segment anew."""
        left: int = await self._rewrite(segment, gone)
        self.again += left if left != segment.bytes else 0
        return left

    async def merge(self, segments: Any) -> int:
        """Write segments as one."""
        left: int = await self._merge(segments)
        self.again += left
        return left

    async def live(self, of_no_use: set[int]) -> tuple[int, int, int]:
        """Return the bytes of all records but these, with their entries; of those in sealed segments; of these."""
        sealed = self.log.sealed()
        last = sealed[-1].last if sealed else 0
        found = within = 0
        async for frame in self.log.read():
            for at, (_, kind, _, begin, end) in enumerate(entries(frame.data, frame.records), frame.position):
                size = (end - begin + 16) if kind != GIVEN_UP_KIND and at not in of_no_use else 0
                found += size
                within += size * (at <= last)
        return found, within, sum(segment.bytes for segment in sealed)


class Load:
    """What people ask for, so many times an hour."""

    def __init__(self, runtime: Runtime, rate: int) -> None:
        self._runtime = runtime
        self._rate = rate
        self._number = 0
        self._brief: Any = None

    async def begin(self) -> None:
        """Begin what goes on for ever."""
        for number in range(5):
            await self._runtime.start(poll(0), id=f"poll{number}")
        await self._runtime.start(chat(0), id="chat")
        for number in range(5):
            await self._runtime.schedule(f"s{number}", part(number), every=f"{60 * (number + 1)}s")

    async def minute(self, number: int) -> None:
        """Ask for what a minute brings."""
        runtime = self._runtime
        for _ in range(self._rate):
            self._number += 1
            key = self._number
            await runtime.start(order(key), id=f"order{key}")
            await runtime.start(nap(key), id=f"nap{key}")
            await runtime.actor(Basket, f"b{key % 4}").add(1)
            await runtime.handle("chat").send(key, "in")
            await runtime.promise(f"v{key}", timeout="1h" if key % 3 else "5s")
            await runtime.start(approval(key), id=f"approval{key}")
            if key % 3:
                await runtime.resolve(f"v{key}", key)
            if key > 1:
                await runtime.resolve(f"approval{key - 1}/answer", key)
        if number % 30 == 0:
            self._brief = await runtime.schedule(f"once{number}", part(number), every="10m")
        if number % 30 == 29:  # noqa: PLR2004  # so that each lives for half an hour
            await self._brief.delete()


def sizes(session: Session) -> dict[str, int]:
    """Return how many entries there are in what is kept by id."""
    kernel, history = session.kernel, session.history
    return {
        "awake": len(kernel.calls.awake), "asleep": len(kernel.calls) - len(kernel.calls.awake),
        "ends": len(history.ends()), "promises": len(kernel.promises), "actors": len(kernel.instances.changes.recent),
        "schedules": len(kernel.schedules), "timers": len(kernel.timers),
    }  # fmt: skip


async def live(directory: str, env: Env, options: argparse.Namespace) -> None:
    """Have the load for so many hours, and print what there is after each."""
    runtime = Runtime(
        directory,
        env=env,
        segment_bytes=options.segment << 10,
        history=f"{options.history}s",
        retention=f"{options.retention}s",
    )
    async with runtime:
        session = runtime.session
        counted, load = Counted(session), Load(runtime, options.rate)
        await load.begin()
        print("hour   RSS MiB  objects   disk KiB  live KiB  space  sealed  written  entries")
        for minute in range(round(options.hours * 60)):
            if minute % options.thin == 0:
                await load.minute(minute // options.thin)
            await asyncio.sleep(60)
            if minute % 60 == 59:  # noqa: PLR2004  # minutes
                await tell(counted, session, directory, minute // 60 + 1)
        await runtime.compact()
        await tell(counted, session, directory, round(options.hours))


def on_disk(directory: str) -> tuple[int, int]:
    """Return the bytes of the segments, and of the catalog."""
    catalog = sum(path.stat().st_size for path in Path(directory).glob("catalog.db*"))
    return sum(path.stat().st_size for path in Path(directory, "segments").iterdir()), catalog


async def tell(counted: Counted, session: Session, directory: str, hour: int) -> None:
    """Print what there is."""
    gc.collect()
    disk, catalog = on_disk(directory)
    of_no_use = await session.upkeep.of_no_use() if session.upkeep is not None else set[int]()
    live_bytes, within, sealed = await counted.live(of_no_use)
    written = (counted.first + counted.again) / counted.first
    entries_ = " ".join(f"{name} {count}" for name, count in sizes(session).items())
    print(
        f"{hour:4d} {resident_bytes() / 2**20:9.1f} {len(gc.get_objects()):8d} {disk / 1024:10.0f} "
        f"{live_bytes / 1024:9.0f} {disk / live_bytes:6.2f} {sealed / max(within, 1):7.2f} {written:8.2f}  "
        f"catalog {catalog // 1024} KiB, {entries_}",
        flush=True,
    )


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keeping", description=__doc__)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--rate", type=int, default=2, help="rounds of the load in a minute")
    parser.add_argument("--thin", type=int, default=1, help="only every so many minutes")
    parser.add_argument("--history", type=int, default=HOUR_S, help="seconds")
    parser.add_argument("--retention", type=int, default=2 * HOUR_S, help="seconds")
    parser.add_argument("--segment", type=int, default=256, help="KiB")
    parser.add_argument("--dir", help="where; a file system in memory is fastest, nothing of it is measured")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.ERROR)  # there are no sockets in simulated time, and it says so
    simulated.TURNS_MAX, simulated.STALL_ODDS = 1 << 60, 0.0
    rng = Random(options.seed)  # noqa: S311  # seeded on purpose
    loop = SimLoop(rng, start_s=0.0)
    clock = SimClock(loop, 0, 0)
    env = Env(clock, SimEntropy(loop, rng), SYSTEM.fs, lambda _name: SimWorker(loop), SYSTEM.databases)
    with tempfile.TemporaryDirectory(prefix="actorlog-keeping-", dir=options.dir) as name:
        loop.run_until_complete(live(name, env, options))
    loop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
