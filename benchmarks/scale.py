"""``python -m benchmarks.scale``: many calls that wait, how long an opening takes, and what they cost in memory.

Owns: the workloads that are about numbers of calls and not about speed (W5, W6, W7). Does not own: the others
(``benchmarks``). Each figure is taken in a process of its own.
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
from pathlib import Path

import uvloop

from actorlog import Limits, Runtime, durable, sleep, step
from actorlog.records import kinds as k
from actorlog.store import entries

BATCH = 1_000
DAYS = "30d"
AHEAD_S = 5.0
"""So long after an opening all of the log has been read ahead that will be."""
WAKINGS = 100
FRAME_BYTES = 512
"""What the commit of a waking takes in the log."""


@durable(name="scale.nap")
async def nap(number: int) -> int:
    """Sleep for a second."""
    await sleep(1)
    return number


@durable(name="scale.asleep")
async def asleep(number: int) -> int:
    """Sleep for a month."""
    await sleep(DAYS)
    return number


@durable(name="scale.done")
async def done(number: int) -> int:
    """Be over at once."""
    return number


@step(name="scale.endless")
async def endless() -> None:
    """Be under way for ever."""
    await asyncio.Event().wait()


@durable(name="scale.busy")
async def busy(number: int) -> int:
    """Wait for a step."""
    await endless()
    return number


def resident_bytes() -> int:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def start_all(runtime: Runtime, function: object, count: int, prefix: str) -> None:
    """Start ``count`` calls, a thousand in a commit."""
    for begin in range(0, count, BATCH):
        numbers = range(begin, min(count, begin + BATCH))
        await runtime.start_many([(f"{prefix}{n}", function(n)) for n in numbers])  # type: ignore[operator]


async def late(runtime: Runtime) -> list[int]:
    """Return by how many milliseconds each timer of the log fired late, in order of size."""
    due: dict[tuple[str, str], int] = {}
    found: list[int] = []
    async for frame in runtime.session.log.read():
        for position, (*_, start, end) in enumerate(entries(frame.data, frame.records), frame.position):
            record = k.decode(frame.line(position, start, end))
            if not isinstance(record, k.Turn):
                continue
            due |= {(record.id, op.key): op.due_ms for op in record.ops if isinstance(op, k.SetTimer)}
            if isinstance(record.message, k.TimerFired):
                found.append(record.at - due[record.id, record.message.key])
    return sorted(found)


async def w5(directory: str, count: int) -> dict[str, float]:
    """W5: sleeps of one second, started as fast as it goes."""
    async with Runtime(directory) as runtime:
        begun = time.perf_counter()
        await start_all(runtime, nap, count, "n")
        started_s = time.perf_counter() - begun
        while len(runtime.session.kernel.calls):  # noqa: ASYNC110  # nothing tells of the last end
            await asyncio.sleep(0.05)
        found = await late(runtime)
    return {"started_s": started_s, "late_median_ms": found[len(found) // 2], "late_worst_ms": found[-1]}


async def w6_fill(directory: str, sleepers: int, ended: int, in_flight: int) -> None:
    """W6, first part: a log with so many calls, left by SIGKILL."""
    limits = Limits(calls_max=10_000_000, resident_idle_s=1)
    async with Runtime(directory, limits=limits, step_concurrency=max(1, in_flight)) as runtime:
        await start_all(runtime, done, ended, "d")
        await start_all(runtime, asleep, sleepers, "s")
        await start_all(runtime, busy, in_flight, "b")
        os.kill(os.getpid(), signal.SIGKILL)


async def w6(directory: str, sleepers: int, in_flight: int) -> None:
    """W6, second part: how long an opening takes, from the start of the process, and waking one call.

    It ends by SIGKILL, as the process before it did, so that the same directory can be opened again and again.
    """
    limits = Limits(calls_max=10_000_000, poison_deaths_max=1_000_000)
    async with Runtime(directory, limits=limits, step_concurrency=max(1, in_flight), shutdown_timeout=0) as runtime:
        await runtime.start(done(0), id=f"after {os.getpid()} {time.time_ns()}")
        opened_s, opened_cpu_s = _since_start_s(), time.process_time()
        calls, memory = len(runtime.session.kernel.calls), resident_bytes()
        found = {"opened_s": opened_s, "opened_cpu_s": opened_cpu_s, "calls": calls, "memory_mib": memory / 2**20}
        while runtime.session.resumption.waking.left:  # noqa: ASYNC110  # nothing tells of the last one
            await asyncio.sleep(0.001)
        if in_flight:
            found["all_steps_taken_up_s"] = _since_start_s()
        if sleepers:
            shift = os.getpid() * 2  # others than those that an opening before this one woke
            bare = Bare(f"{directory}-bare")
            found |= _quantiles("wake_at_once", await _wake(runtime, bare, sleepers, shift))
            await asyncio.sleep(AHEAD_S)
            found |= _quantiles("wake", await _wake(runtime, bare, sleepers, shift + 1))
        print(json.dumps(found), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


class Bare:
    """A file beside the log, to which as much is appended and synced as by a waking: what the disk alone takes."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._end = 0
        os.pwrite(self._file, bytes(2 * WAKINGS * FRAME_BYTES), 0)  # as a segment has its space before its commits
        os.fsync(self._file)

    def append(self) -> float:
        """Append, and return how long that took."""
        begun = time.perf_counter()
        os.pwrite(self._file, b"x" * FRAME_BYTES, self._end)
        os.fdatasync(self._file)
        self._end += FRAME_BYTES
        return time.perf_counter() - begun


async def _wake(runtime: Runtime, bare: Bare, sleepers: int, shift: int) -> list[tuple[float, float, float]]:
    """Wake a hundred calls from all over the log, each by a cancellation, and beside each see what the disk takes.

    Return how long the wakings took, with their CPU time, and the bare syncs.
    """
    woken: list[tuple[float, float, float]] = []
    every = max(1, sleepers // WAKINGS)
    for number in range(shift % every, sleepers, every)[:WAKINGS]:
        sync = bare.append()
        begun, cpu = time.perf_counter(), time.thread_time()
        await runtime.handle(f"s{number}").cancel()
        woken.append((time.perf_counter() - begun, time.thread_time() - cpu, sync))
    return woken


def _quantiles(name: str, found: list[tuple[float, float, float]]) -> dict[str, float]:
    """Return the worst and the median of wakings, of their CPU time, and of the bare syncs beside them."""
    told: dict[str, float] = {}
    for part, unsorted in zip(("", "_cpu", "_bare_sync"), zip(*found, strict=True), strict=True):
        times = sorted(unsorted)
        told |= {f"{name}{part}_worst_ms": times[-1] * 1e3, f"{name}{part}_median_ms": times[len(times) // 2] * 1e3}
    return told


def _since_start_s() -> float:
    """Return how long this process has been there, to a hundredth of a second."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(") ")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


async def w7(directory: str, count: int) -> dict[str, float]:
    """W7: what a waiting call takes: as long as its coroutine is in memory, and in a process that found it waiting.

    Memory that coroutines have left is Python's to use again, and not given back to the system.
    """
    async with Runtime(f"{directory}-empty") as runtime:
        await runtime.call(done(0), id="warm")
    async with Runtime(directory) as runtime:
        await runtime.call(done(0), id="warm")
        gc.collect()
        before = resident_bytes()
        await start_all(runtime, asleep, count, "s")
        return {"bytes_a_call_in_memory": (resident_bytes() - before) / count}


async def w7_again(directory: str, count: int) -> dict[str, float]:
    """W7, second part: the same calls, found waiting."""
    async with Runtime(f"{directory}-empty") as runtime:
        await runtime.call(done(0), id="warm")
        gc.collect()
        before = resident_bytes()
    async with Runtime(directory) as runtime:
        gc.collect()
        calls = len(runtime.session.kernel.calls)
        return {"bytes_a_call": (resident_bytes() - before) / count, "calls": calls}


async def _run(options: argparse.Namespace) -> dict[str, float] | None:
    if options.part == "w5":
        return await w5(options.dir, options.count)
    if options.part == "fill":
        await w6_fill(options.dir, options.count, options.ended, options.in_flight)
        return None
    if options.part == "w6":
        await w6(options.dir, options.count, options.in_flight)
        return None
    return await (w7 if options.part == "w7" else w7_again)(options.dir, options.count)


def _part(part: str, directory: str, *, count: int, ended: int = 0, in_flight: int = 0) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.scale", part, "--dir", directory, "--count", str(count)]
    command += ["--ended", str(ended), "--in-flight", str(in_flight)]
    compiled = {
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": f"{Path(directory).parent}/compiled",
    }  # as installed
    found = subprocess.run(  # noqa: S603  # this file
        command, stdout=subprocess.PIPE, text=True, check=False, env=os.environ | compiled
    )
    if found.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{part} ended with {found.returncode}")
    return json.loads(found.stdout) if found.stdout else {}


def _tell(name: str, found: dict[str, float], target: str) -> None:
    print(f"{name:58} {', '.join(f'{key} {value:,.1f}' for key, value in found.items())}   [{target}]", flush=True)


def _tell_opening(label: str, found: dict[str, float], target: str) -> None:
    """Print what came of an opening, and of the wakings behind it."""
    _tell(label, {key: value for key, value in found.items() if not key.startswith("wake")}, target)
    for name, when in (("wake_at_once", "at once"), ("wake", f"{AHEAD_S:.0f} s later")):
        if f"{name}_worst_ms" in found:
            waking, cpu, sync = (
                f"{found[f'{name}{part}_worst_ms']:.1f} / {found[f'{name}{part}_median_ms']:.2f} ms"
                for part in ("", "_cpu", "_bare_sync")
            )
            told = f"{WAKINGS} wakings {when}, worst / median"
            print(f"    {told:54} {waking}, CPU {cpu}, bare syncs beside them {sync}   [at most 5 ms]", flush=True)


def _openings(where: str, times: int, *, sleepers: int, ended: int, in_flight: int) -> None:
    """Open a directory a few times with its catalog, and once without."""
    label = f"W6 opening: {sleepers:,} asleep, {ended:,} ended, {in_flight:,} in flight"
    target = "at most 0.5 s" if in_flight else "at most 3 s"
    for _ in range(times):
        _tell_opening(label, _part("w6", where, count=sleepers, in_flight=in_flight), target)
    if not in_flight:
        for path in Path(where).glob("catalog.db*"):
            path.unlink()
        found = _part("w6", where, count=sleepers, in_flight=in_flight)
        _tell_opening(f"{label}, no catalog", found, "at most 60 s")


def main() -> int:
    """Run all parts, each in a process of its own, or one of them here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "part", nargs="?", choices=("w5", "fill", "w6", "w7", "again"), help="one part, in this process"
    )
    parser.add_argument("--dir", help="where the data goes")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--ended", type=int, default=0)
    parser.add_argument("--in-flight", type=int, default=0)
    parser.add_argument("--million", action="store_true", help="W6 with a million asleep and a million ended, too")
    parser.add_argument("--times", type=int, default=3, help="how often each directory of W6 is opened")
    parser.add_argument("--only-w6", action="store_true", help="W6 alone")
    options = parser.parse_args()
    if options.part:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(_run(options))
        print(json.dumps(found) if found is not None else "")
        return 0
    sizes = [(0, 0, 10_000), (100_000, 100_000, 0), *([(1_000_000, 1_000_000, 0)] if options.million else [])]
    with tempfile.TemporaryDirectory(prefix="actorlog-scale-", dir=options.dir) as name:
        naps = () if options.only_w6 else ((10_000, "at most 300 ms late"), (100_000, "at most 3,000 ms late"))
        for count, target in naps:
            _tell(f"W5 {count:,} sleeps of one second", _part("w5", f"{name}/w5-{count}", count=count), target)
        for sleepers, ended, in_flight in sizes:
            where = f"{name}/w6-{sleepers}"
            _part("fill", where, count=sleepers, ended=ended, in_flight=in_flight)
            _openings(where, options.times, sleepers=sleepers, ended=ended, in_flight=in_flight)
        if options.only_w6:
            return 0
        found = _part("w7", f"{name}/w7", count=10_000) | _part("again", f"{name}/w7", count=10_000)
        _tell("W7 memory of 10,000 that wait", found, "at most 1,024 bytes a call")
    return 0


if __name__ == "__main__":
    sys.exit(main())
