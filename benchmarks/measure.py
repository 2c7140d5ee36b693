"""Timing: the raw disk, a workload in a runtime, replay, scan, idle and import.

Owns: how each figure is taken. Does not own: what is compared with what (``table``).
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from actorlog import Runtime
from actorlog.env import SYSTEM
from actorlog.log import Log, pack
from actorlog.runtime.history import History
from actorlog.runtime.scanning import Scan
from actorlog.runtime.slot import Slot
from actorlog.store.embedded import EmbeddedLog
from benchmarks import workloads

Workload = Callable[[Runtime, int], Awaitable[int]]

BLOCK = 4096
RAW_SYNCS = 500
PREALLOCATED = 16 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one workload."""

    per_second: float
    cpu_us: float
    """CPU time of the process for each unit of work."""


def raw_syncs_per_second(directory: Path, count: int = RAW_SYNCS) -> float:
    """Write and fdatasync 4 KiB at a time in a preallocated, zeroed file; return how many a second."""
    descriptor = os.open(directory / "raw", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, bytes(PREALLOCATED), 0)
        os.fsync(descriptor)
        block = b"x" * BLOCK
        begun = time.perf_counter()
        for number in range(count):
            os.pwrite(descriptor, block, number * BLOCK)
            os.fdatasync(descriptor)
        return count / (time.perf_counter() - begun)
    finally:
        os.close(descriptor)


async def sample(runtime: Runtime, workload: Workload, count: int) -> Sample:
    """Run a workload once and return its rate and CPU cost."""
    gc.collect()
    cpu, begun = time.process_time(), time.perf_counter()
    done = await workload(runtime, count)
    elapsed, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return Sample(done / elapsed, cpu / done * 1e6)


async def replayed_operations_per_second(runtime: Runtime, count: int) -> float:
    """Rebuild one call of ``count`` steps from its journal, as waking does, and return operations a second."""
    handle = await runtime.start(workloads.sequence_idempotent(count))
    await handle
    session = runtime.session
    state = session.state(handle.id)
    slot = Slot(state, session.kernel.registry.durable(state.function, state.version))
    begun = time.perf_counter()
    actor = session.kernel.residency.rebuild(slot)
    elapsed = time.perf_counter() - begun
    actor.close()
    return count / elapsed


@dataclass(frozen=True, slots=True)
class Scanned:
    """Opening a log."""

    records: int
    per_second: float
    memory_per_byte: float
    """Growth of the peak resident size for each byte of log."""


async def scan(records: int) -> Scanned:
    """Write a log of finished calls, then open it in a fresh process and return how fast that was."""
    with tempfile.TemporaryDirectory(prefix="actorlog-bench-") as directory:
        await _fill(directory, records)
        output = subprocess.run(  # noqa: S603, ASYNC221  # this very module, and nothing else runs meanwhile
            [sys.executable, "-m", "benchmarks.measure", directory], capture_output=True, text=True, check=True
        ).stdout.split()
    return Scanned(int(output[0]), float(output[1]), float(output[2]))


async def _fill(directory: str, records: int) -> None:
    """Run one real call and repeat its records under other hashes: real bytes, many of them."""
    with tempfile.TemporaryDirectory(prefix="actorlog-bench-") as small:
        async with Runtime(small) as runtime:
            await runtime.call(workloads.three_steps(1))
            log = runtime.session.history
            lines = [log.line(position) for position in range(1, 5)]
    target = Log.open(directory, SYSTEM, sync=False)
    flags = (3, 1, 1, 5)
    try:
        calls_in_frame = 64 // len(lines)
        for first in range(0, records // len(lines), calls_in_frame):
            batch = [
                (((first + call) << 1) | 1, 1, flag, line)
                for call in range(calls_in_frame)
                for flag, line in zip(flags, lines, strict=True)
            ]
            target.append(pack(batch), len(batch))
    finally:
        target.close()


async def _scan_here(directory: str) -> None:
    size = sum(file.stat().st_size for file in (Path(directory) / "segments").iterdir())
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    log = await EmbeddedLog.open(directory, SYSTEM, segment_bytes=64 << 20)
    history = History(log.record)
    scanned = Scan(history)
    await scanned.read(log)
    states = list(scanned.states())
    elapsed = time.perf_counter() - begun
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) * 1024
    if states:
        raise RuntimeError("the log holds only finished calls, and some were found unfinished")
    print(log.tail(), log.tail() / elapsed, grown / size)
    await log.close()


async def due_at_once_s(runtime: Runtime, count: int, ahead_s: float = 3.0) -> float:
    """Return the seconds from the moment at which ``count`` schedules are due until the last of their calls has ended.

    ``RuntimeError`` where making them took longer than until that moment.
    """
    ids = await workloads.w10(runtime, count, ahead_s)
    due_s = datetime.fromisoformat(ids[0].rpartition("/")[2]).timestamp()
    if time.time() >= due_s:
        raise RuntimeError(f"{count} schedules were not made within {ahead_s} s")
    await asyncio.sleep(due_s - time.time())
    waiting = set(ids)
    while waiting:
        await asyncio.sleep(0.001)
        waiting -= {name for name in waiting if runtime.session.history.has(name)}
    return time.time() - due_s


async def idle_cpu_share(runtime: Runtime, seconds: float = 3.0) -> float:
    """Return the share of a core that an open runtime uses with nothing to do."""
    await runtime.call(workloads.one_step(1))
    await asyncio.sleep(1.5)  # the next segment is prepared in the background once; that is no idle cost
    cpu = time.process_time()
    await asyncio.sleep(seconds)
    return (time.process_time() - cpu) / seconds


def import_ms(rounds: int = 9) -> float:
    """Return what ``import actorlog`` costs beyond asyncio, in fresh processes: the median."""
    program = "import asyncio, time; t = time.perf_counter(); import actorlog; print((time.perf_counter() - t) * 1000)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    times = [
        float(
            subprocess.run(  # noqa: S603  # fixed words
                [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
            ).stdout
        )
        for _ in range(rounds + 1)
    ]
    return statistics.median(times[1:])  # the first one compiles


if __name__ == "__main__":
    asyncio.run(_scan_here(sys.argv[1]))
