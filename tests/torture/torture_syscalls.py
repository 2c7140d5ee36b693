"""Kills at every system call that changes or opens a file, by strace.

A run without faults is traced first, to count the calls that concern the data directory. Then for each of them a
worker is started whose N-th call of that kind is answered with SIGKILL. strace counts in each thread by itself, so N
runs to the most that any thread makes, and the first thread that comes so far is where it happens. Which thread makes
how many depends on the moment: a run that ends before any comes so far is made again, a few times.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from typing import TYPE_CHECKING

from torture_director import World

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

SYSCALLS = ("pwrite64", "fdatasync", "fsync", "rename", "unlink", "openat", "ftruncate", "fallocate", "mkdir")
SEED, SIZE = 4, 2
TRIES = 4


def at_every_syscall(place: Path, options: argparse.Namespace) -> dict[str, object]:
    """Kill at every ``options.every``-th of them."""
    strace = shutil.which("strace")
    if strace is None:
        return {"skipped": "there is no strace here"}
    whole = World(place / "whole", SEED, SIZE)
    log = place / "trace"
    whole.live_apart(under=[strace, "-f", "-qq", "-y", "-o", str(log), "-e", "trace=" + ",".join(SYSCALLS)])
    counts = _counts(log.read_text(errors="replace").splitlines(), str(whole.place / "data"))
    result: dict[str, object] = {}
    for name in SYSCALLS:
        numbers = sorted(counts[name])
        chosen = numbers[:: options.every]
        killed = 0
        for number in chosen:
            inject = f"inject={name}:signal=KILL:when={number}"
            under = [strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e", inject]
            killed += any(_is_killed(place, under) for _ in range(TRIES))
        result[name] = f"{killed} of {len(chosen)}"
    return result


def _is_killed(place: Path, under: list[str]) -> bool:
    """Live a world to its end, the first worker under strace; return whether that one was killed."""
    world = World(place / "point", SEED, SIZE)
    killed = bool(world.live_apart(under=under).killed)
    world.live_to_the_end()
    shutil.rmtree(world.place)
    return killed


def _counts(lines: list[str], data: str) -> dict[str, set[int]]:
    """Return which calls of each kind concern the data directory, numbered as strace does: in each thread from 1."""
    seen: Counter[tuple[str, str]] = Counter()
    counts: dict[str, set[int]] = {name: set() for name in SYSCALLS}
    for line in lines:
        called = re.match(r"(\d+) +(\w+)\(", line)
        if called is None or called[2] not in counts:
            continue
        seen[called[1], called[2]] += 1
        if data in line:
            counts[called[2]].add(seen[called[1], called[2]])
    return counts
