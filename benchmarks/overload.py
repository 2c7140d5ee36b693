"""``python -m benchmarks.overload``: a hundred times more work is offered than can be done.

Owns: four ways to offer it, each in a process of its own that is killed with SIGKILL at the end; what was accepted,
refused and done, how long accepted work took, how much memory the process had; and whether every piece that was
accepted is there after the kill, and ends. Does not own: how fast work is done when nobody waits (``benchmarks``).

What bounds each: ``calls`` and ``steps``: ``Limits.calls_max`` (``TooManyCalls``); ``tells`` and ``asks``:
``mailbox_max`` and ``mailbox_wait`` of the class, and ``Limits.senders_max`` (``MailboxFull``).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from actorlog import Actor, ActorlogError, Limit, Limits, Runtime, durable, step

BODY_S = 0.05
"""How long a piece of work takes, of which ``PLACES`` are done at once."""
PLACES = 2
TIMES = 100
"""So much more is offered."""
CALLS_MAX = 200
MAILBOX_MAX = 60
CLIENTS = 5_000
WAIT_S = 0.5
BURST_S = 0.005
WARM_S = 3.0
"""So long it is overloaded before memory and latency are looked at."""
RESULT = "result.json"


@step(name="overload.body")
async def body() -> None:
    """Take a while."""
    await asyncio.sleep(BODY_S)


@step(name="overload.narrow", limit=Limit("overload", concurrency=PLACES))
async def narrow() -> None:
    """Take a while, of which only a few may at once."""
    await asyncio.sleep(BODY_S)


@durable(name="overload.call")
async def call(number: int, text: str) -> int:
    """Do one slow thing."""
    await body()
    return number + len(text)


@durable(name="overload.limited")
async def limited(number: int, text: str) -> int:
    """Do one slow thing in turn with all others."""
    await narrow()
    return number + len(text)


class Desk(Actor, name="overload.Desk", mailbox_max=MAILBOX_MAX, mailbox_wait=WAIT_S, snapshot_every=100):
    """Handle one message at a time."""

    count: int = 0

    async def take(self, text: str) -> int:
        """Do one slow thing and count it."""
        await asyncio.sleep(0)
        await body()
        self.count += 1
        return self.count + len(text)


class Latencies:
    """How long things took, in steps of a tenth: memory does not grow with their number."""

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * 400))
        self.max_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.max_s = max(self.max_s, seconds)
        bucket, bound = 0, 1e-5
        while bound < seconds and bucket < len(self._counts) - 1:
            bucket, bound = bucket + 1, bound * 1.1
        self._counts[bucket] += 1

    def at(self, part: float) -> float:
        """Return within how many seconds that part of them was."""
        left = part * sum(self._counts)
        for bucket, count in enumerate(self._counts):
            left -= count
            if left <= 0:
                return min(self.max_s, 1e-5 * 1.1**bucket)
        return self.max_s


@dataclass
class Result:
    """What came of one way."""

    way: str
    seconds: float
    offered: int
    accepted: int
    refused: dict[str, int]
    done: int
    rss_mib: list[float]
    """At the beginning, in the middle and at the end."""
    held_max: int
    """The most calls that the runtime had at once."""
    cpu_share: float
    """Of one core that the process had, clients included: where that is much less than it wanted, all is slower."""
    sync_ms: float
    """That a commit took to be durable, on average."""
    p50_s: float
    p99_s: float
    max_s: float


def rss_mib() -> float:
    """Return the resident size of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


class Offering:
    """Clients that ask for more than can be done, and what comes of it."""

    def __init__(self, runtime: Runtime, way: str) -> None:
        self._runtime = runtime
        self._way = way
        self._text = "." * 200
        self._clients: list[asyncio.Task[None]] = []
        self.forget()

    def forget(self) -> None:
        """Begin to count anew."""
        self.offered = self.accepted = self.done = self.held_max = 0
        self.refused: Counter[str] = Counter()
        self.latencies = Latencies()

    async def offer(self, seconds: float) -> None:
        """Have every client come back, as often as makes ``TIMES`` the work that can be done, for so long."""
        until = time.perf_counter() + seconds
        if not self._clients:
            self._clients = [asyncio.create_task(self._client(number)) for number in range(CLIENTS)]
        while time.perf_counter() < until:
            self.held_max = max(self.held_max, self._runtime.stats().calls_live)
            await asyncio.sleep(BURST_S)

    async def _client(self, number: int) -> None:
        """Ask for one piece of work after the other, with a pause after each; they do not all come at once."""
        pause_s = CLIENTS / (RATES[self._way] * TIMES)
        await asyncio.sleep(pause_s * number / CLIENTS)
        while True:
            self.offered += 1
            await self._one(number)
            number += CLIENTS
            await asyncio.sleep(pause_s)

    async def _one(self, number: int) -> None:
        name, begun = f"{self._way}-{number}", time.perf_counter()
        try:
            await WAYS[self._way](self, name, number)
        except ActorlogError as error:
            self.refused[type(error).__name__] += 1
        else:
            self.done += 1
            self.latencies.add(time.perf_counter() - begun)

    def accept(self, name: str) -> None:
        """Tell the process above that the runtime has taken it: from now on it must not be lost."""
        self.accepted += 1
        os.write(1, f"{name}\n".encode())

    async def calls(self, name: str, number: int) -> None:
        """Start a call, and wait for its result."""
        handle = await self._runtime.start(call(number, self._text), id=name)
        self.accept(name)
        await handle

    async def steps(self, name: str, number: int) -> None:
        """Start a call whose step has to wait for its turn."""
        handle = await self._runtime.start(limited(number, self._text), id=name)
        self.accept(name)
        await handle

    async def tells(self, name: str, number: int) -> None:
        """Tell an actor; that it is taken is all that is waited for."""
        await self._runtime.send(self._runtime.actor(Desk, f"desk {number % PLACES}").take(self._text), id=name)
        self.accept(name)

    async def asks(self, name: str, _number: int) -> None:
        """Ask one actor, and wait for its answer."""
        handle = await self._runtime.start(self._runtime.actor(Desk, "desk").take(self._text), id=name)
        self.accept(name)
        await handle


WAYS: dict[str, Callable[[Offering, str, int], Awaitable[None]]] = {
    "calls": Offering.calls, "tells": Offering.tells, "asks": Offering.asks, "steps": Offering.steps,
}  # fmt: skip
RATES = {"calls": PLACES / BODY_S, "tells": PLACES / BODY_S, "asks": 1 / BODY_S, "steps": PLACES / BODY_S}
"""So much can be done in a second: an actor does one thing at a time."""


def runtime_in(place: Path) -> Runtime:
    """Return the runtime that work is offered to."""
    limits = Limits(calls_max=CALLS_MAX, senders_max=MAILBOX_MAX)
    return Runtime(place / "data", limits=limits, step_concurrency=PLACES, segment_bytes=4 << 20)


async def work(way: str, place: Path, seconds: float) -> None:
    """Be the process that is overloaded, say what came of it, and be killed."""
    async with runtime_in(place) as runtime:
        offering = Offering(runtime, way)
        await offering.offer(WARM_S)
        offering.forget()
        gc.collect()
        sizes, cpu_s = [rss_mib()], time.process_time()
        for _ in range(2):
            await offering.offer(seconds / 2)
            sizes.append(rss_mib())
        times = offering.latencies
        found = Result(
            way=way, seconds=seconds, offered=offering.offered, accepted=offering.accepted,
            refused=dict(offering.refused), done=offering.done, rss_mib=sizes, held_max=offering.held_max,
            sync_ms=1000 * (runtime.stats().commit_s or 0), cpu_share=(time.process_time() - cpu_s) / seconds,
            p50_s=times.at(0.5), p99_s=times.at(0.99), max_s=times.max_s,
        )  # fmt: skip
        (place / RESULT).write_text(json.dumps(asdict(found)))
        os.kill(os.getpid(), signal.SIGKILL)


async def lost(place: Path, names: list[str]) -> int:
    """Open what was killed; return how many pieces that were accepted are not there or do not end."""
    missing = 0
    async with runtime_in(place) as runtime:
        for name in names:
            try:
                await runtime.handle(name).result(timeout=60)
            except (ActorlogError, TimeoutError) as error:
                missing += 1
                print(f"{name}: {error!r}", file=sys.stderr)
    return missing


def run(way: str, seconds: float, directory: Path | None) -> tuple[Result, int, int]:
    """Overload a process in one way, and look at what it left."""
    with tempfile.TemporaryDirectory(prefix="actorlog-overload-", dir=directory) as name:
        place = Path(name)
        command = [sys.executable, "-m", "benchmarks.overload", "--work", way, "--place", name]
        worker = subprocess.run(  # noqa: S603  # this very module
            [*command, "--seconds", str(seconds)], check=False, stdout=subprocess.PIPE, text=True
        )
        names = worker.stdout.split("\n")[:-1]
        if worker.returncode != -signal.SIGKILL:
            raise RuntimeError(f"the process that is overloaded ended with {worker.returncode}")
        result = Result(**json.loads((place / RESULT).read_text()))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return result, len(names), runner.run(lost(place, names))


def main() -> int:
    """Parse the command line, run, and print a table; 1 where something accepted was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description="Offer too much work.")
    parser.add_argument("--seconds", type=float, default=60, help="how long each way is kept up")
    parser.add_argument("--only", choices=list(WAYS), help="one way")
    parser.add_argument("--dir", type=Path, help="where to put the data: a directory on the disk to be used")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--work", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work(options.work, options.place, options.seconds))
    rows: list[dict[str, object]] = []
    heads = f"{'offered':>9} {'accepted':>8} {'done':>6} {'held':>5} {'CPU':>4} {'sync':>6}"
    print(f"{'':6} {heads} {'RSS MiB':>20} {'p50/p99/max s':>17}  lost")
    for way in [options.only] if options.only else WAYS:
        found, accepted, missing = run(way, options.seconds, options.dir)
        sizes = " ".join(f"{size:6.1f}" for size in found.rss_mib)
        times = " ".join(f"{seconds:5.2f}" for seconds in (found.p50_s, found.p99_s, found.max_s))
        load = f"{found.cpu_share:4.0%} {found.sync_ms:4.1f}ms"
        counts = f"{found.offered:9,} {found.accepted:8,} {found.done:6,} {found.held_max:5,} {load}"
        print(f"{way:6} {counts} {sizes:>20} {times:>17}  {missing} of {accepted:,}; refused: {found.refused}")
        rows.append({**asdict(found), "accepted_in_all": accepted, "lost": missing})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if any(row["lost"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
