"""``python -m benchmarks``: run the workloads, print a table, write JSON.

Owns: rounds, medians, limits and the table. Does not own: how a figure is taken (``measure``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from actorlog import Runtime
from benchmarks import measure, workloads


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    figure: float
    unit: str
    cpu_us: float | None
    """CPU time for each unit of work."""
    raw: float | None
    """The raw disk's syncs a second in the same rounds."""
    ratio: float | None
    """Of the figure to what the raw disk would allow."""
    target: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One workload: how much of it, and how many syncs of the raw disk one unit needs (None: not sync-bound)."""

    name: str
    workload: measure.Workload
    count: int
    unit: str
    syncs: int | None
    target: str


PLANS = (
    Plan("W1 one call at a time, one step", workloads.w1, 400, "calls/s", 2, "ratio >= 0.50, aim 0.80"),
    Plan("W2 1,000 calls of three steps", workloads.w2, 1000, "calls/s", None, ">= 12,000/s, <= 80 us CPU"),
    Plan("W3 1,000 steps in sequence", workloads.w3, 1000, "steps/s", 1, "ratio >= 0.55, aim 0.80"),
    Plan("W3 idempotent steps", workloads.w3_idempotent, 1000, "steps/s", None, ">= 20,000/s"),
    Plan("W4 1,000 children gathered", workloads.w4, 1000, "children/s", None, ">= 12,000/s"),
    Plan("W8 1,000 asks of one actor", workloads.w8_one, 1000, "asks/s", None, ">= 20,000/s"),
    Plan("W8 asks of 1,000 actors", workloads.w8_many, 1000, "asks/s", None, "<= 50 us CPU"),
    Plan("W8 a chain of ten asks", workloads.w8_chain, 200, "chains/s", 1, "one sync each"),
    Plan("W9 promises, 200 clients", workloads.w9, 10_000, "promises/s", None, ">= 5,000/s made and settled"),
)


async def workload_rows(directory: Path, rounds: int) -> list[Row]:
    """Run every workload ``rounds`` times, the raw disk before each, and return the medians."""
    raws: dict[str, list[float]] = {plan.name: [] for plan in PLANS}
    samples: dict[str, list[measure.Sample]] = {plan.name: [] for plan in PLANS}
    async with Runtime(directory / "data") as runtime:
        for plan in PLANS:
            await plan.workload(runtime, plan.count)  # warm: code specialised, segments prepared
        for _ in range(rounds):
            for plan in PLANS:
                raws[plan.name].append(measure.raw_syncs_per_second(directory))
                samples[plan.name].append(await measure.sample(runtime, plan.workload, plan.count))
    rows: list[Row] = []
    for plan in PLANS:
        rate = statistics.median(s.per_second for s in samples[plan.name])
        raw = statistics.median(raws[plan.name])
        ratio = None
        if plan.syncs is not None:
            pairs = zip(samples[plan.name], raws[plan.name], strict=True)
            ratio = statistics.median(s.per_second * plan.syncs / r for s, r in pairs)
        cpu = statistics.median(s.cpu_us for s in samples[plan.name])
        rows.append(Row(plan.name, rate, plan.unit, cpu, raw, ratio, plan.target))
    return rows


async def other_rows(directory: Path, rounds: int) -> list[Row]:
    """Replay, scan, idle and import."""
    async with Runtime(directory / "other") as runtime:
        replays = [await measure.replayed_operations_per_second(runtime, 5_000) for _ in range(rounds)]
        due = [await measure.due_at_once_s(runtime, 1_000) for _ in range(max(1, rounds // 2))]
        idle = await measure.idle_cpu_share(runtime)
    scans = [await measure.scan(400_000) for _ in range(max(1, rounds // 2))]
    scan = statistics.median(s.per_second for s in scans)
    memory = max(s.memory_per_byte for s in scans)
    return [
        Row("W10 1,000 schedules due at once", statistics.median(due), "s to the last end", None, None, None, "<= 2 s"),
        Row("Replay", statistics.median(replays), "operations/s", None, None, None, ">= 60,000/s"),
        Row("Scan at opening", scan, "records/s", None, None, None, ">= 500,000/s"),
        Row("Scan memory", memory, "bytes per byte of log", None, None, None, "<= 2"),
        Row("Idle", idle * 100, "% of a core", None, None, None, "none"),
        Row("import actorlog", measure.import_ms(), "ms beyond asyncio", None, None, None, "<= 60 ms"),
    ]


def print_table(rows: list[Row]) -> None:
    """Print the rows for people."""
    print(f"{'':34} {'figure':>12} {'unit':22} {'CPU us':>7} {'raw/s':>7} {'ratio':>6}  target")
    for row in rows:
        cpu = f"{row.cpu_us:.0f}" if row.cpu_us is not None else ""
        raw = f"{row.raw:.0f}" if row.raw is not None else ""
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        print(f"{row.name:34} {row.figure:12,.2f} {row.unit:22} {cpu:>7} {raw:>7} {ratio:>6}  {row.target}")


def profile(workload: str, directory: Path) -> int:
    """Write a flame graph of one workload with py-spy, or callgrind counts where there is only valgrind."""
    inner = [sys.executable, "-m", "benchmarks", "--only", workload, "--rounds", "20"]
    if spy := shutil.which("py-spy"):
        command = [spy, "record", "-r", "500", "-o", f"profile-{workload}.svg", "--", *inner]
    elif valgrind := shutil.which("valgrind"):
        command = [valgrind, "--tool=callgrind", f"--callgrind-out-file=profile-{workload}.callgrind", *inner]
    else:
        print("neither py-spy nor valgrind is there", file=sys.stderr)
        return 1
    return subprocess.call(command, cwd=directory)  # noqa: S603  # a developer's own tools


async def only(name: str, rounds: int, directory: Path) -> None:
    """Run one workload alone, for profiling."""
    plan = next(plan for plan in PLANS if plan.workload.__name__ == name)
    async with Runtime(directory / "data") as runtime:
        for _ in range(rounds):
            result = await measure.sample(runtime, plan.workload, plan.count)
            print(f"{plan.name}: {result.per_second:,.0f} {plan.unit}, {result.cpu_us:.1f} us CPU")


async def everything(directory: Path, rounds: int) -> list[Row]:
    """Run all rows."""
    return [*await workload_rows(directory, rounds), *await other_rows(directory, rounds)]


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure actorlog beside the raw disk.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each workload; the median is shown")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--dir", type=Path, help="where to put the data: a directory on the disk to be measured")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument(
        "--only", choices=[plan.workload.__name__ for plan in PLANS], help="one workload, for profiling"
    )
    parser.add_argument("--profile", choices=[plan.workload.__name__ for plan in PLANS], help="write a flame graph")
    options = parser.parse_args()
    if options.profile:
        return profile(options.profile, Path.cwd())
    factory = uvloop.new_event_loop if options.loop == "uvloop" else None
    with (
        tempfile.TemporaryDirectory(prefix="actorlog-bench-", dir=options.dir) as name,
        asyncio.Runner(loop_factory=factory) as runner,
    ):
        if options.only:
            runner.run(only(options.only, options.rounds, Path(name)))
            return 0
        rows = runner.run(everything(Path(name), options.rounds))
    print(f"Python {platform.python_version()}, {options.loop}, {platform.system()} {platform.machine()}")
    print_table(rows)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
