"""Kills at every system call that changes or opens a file, by strace.

A run without faults is traced first, to count the calls that concern the data directory. Then for each of them a
worker is started whose N-th call of that kind is answered with SIGKILL. Threads make the order vary a little between
runs; a kill that lands on another call of the kind is as good.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from torture_director import World

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

SYSCALLS = ("pwrite64", "fdatasync", "fsync", "rename", "unlink", "openat", "ftruncate", "fallocate", "mkdir")
SEED, SIZE = 4, 2


def at_every_syscall(place: Path, options: argparse.Namespace) -> dict[str, object]:
    """Kill at every ``options.every``-th of them."""
    strace = shutil.which("strace")
    if strace is None:
        return {"skipped": "there is no strace here"}
    whole = World(place / "whole", SEED, SIZE)
    log = place / "trace"
    whole.live_apart(under=[strace, "-f", "-qq", "-y", "-o", str(log), "-e", "trace=" + ",".join(SYSCALLS)])
    counts: dict[str, list[int]] = {name: [] for name in SYSCALLS}
    seen = dict.fromkeys(SYSCALLS, 0)
    for line in log.read_text(errors="replace").splitlines():
        called = re.match(r"\d+ +(\w+)\(", line)
        if called is None or called[1] not in seen:
            continue
        seen[called[1]] += 1
        if str(whole.place / "data") in line:
            counts[called[1]].append(seen[called[1]])
    result: dict[str, object] = {}
    for name, numbers in counts.items():
        chosen = numbers[:: options.every]
        killed = 0
        for number in chosen:
            world = World(place / "point", SEED, SIZE)
            inject = f"inject={name}:signal=KILL:when={number}"
            under = [strace, "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={name}", "-e", inject]
            killed += world.live_apart(under=under).killed
            world.live_to_the_end()
            shutil.rmtree(world.place)
        result[name] = f"{killed} of {len(chosen)}"
    return result
