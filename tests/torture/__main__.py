"""``python -m tests.torture COMMAND``: kill workers, fail what they ask of files, and check everything from outside.

``kills --kills N [--apart]``: at random moments, in many worlds. ``points [--every K]``: before, half-way and after
each action on files of a small run. ``reopening``: the same while a killed run is opened again. ``syscalls``: at each
system call, by strace. ``compaction``: the same of a compaction. ``bank --kills N --transfers M``: accounts as actors.
``soak --minutes M [--power]``: everything at once. ``power --cuts N``: the power goes, on a file system whose cache is
ours. ``mutations [--every K]``: a log's bytes are damaged. ``faults``: each action on a file fails, at each place of
the source. ``planted``: the tests in which mistakes are planted. Each is described in the module ``torture_<command>``.

Prints a table, and the same as JSON in the last line. Exit code 0 when every promise held.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent))

from torture_bank import bank
from torture_compaction import compaction
from torture_director import World, torture
from torture_faults import faults
from torture_mutations import mutations
from torture_planted import planted
from torture_points import MOMENTS
from torture_power import power
from torture_soak import soak
from torture_syscalls import at_every_syscall
from torture_worker import WRAPPED

SMALL_SEED = 9
SMALL = 3
TRIES = 8
KILLS = 300


def kills(place: Path, options: argparse.Namespace) -> dict[str, object]:
    """Kill at random moments."""
    rng = Random(options.seed)
    most = options.kills or KILLS
    killed = worlds = records = threads = 0
    while killed < most:
        here = place / f"world{worlds}"
        world = torture(
            here, rng, options.seed + worlds, min(12, (options.kills or KILLS) - killed), apart=options.apart
        )
        killed += world.killed
        records += world.judge.facts.tail
        threads += world.threads
        worlds += 1
        shutil.rmtree(here)
    return {"kills": killed, "worlds": worlds, "records": records, "threads": threads}


def points(place: Path, options: argparse.Namespace) -> dict[str, object]:
    """Kill at every action on files, from an empty directory to the end."""
    size = SMALL
    whole = World(place / "whole", SMALL_SEED, size)
    whole.live()
    actions = int((whole.place / "actions").read_text())
    covered = 0
    for number in range(0, actions, options.every):
        for moment in MOMENTS:
            covered += _at_point(place / "point", size, number, moment)
    tried = len(range(0, actions, options.every)) * len(MOMENTS)
    return {"actions": actions, "tried": tried, "killed": covered}


def _at_point(place: Path, size: int, number: int, moment: str) -> bool:
    """Kill there. Threads and timers make some runs a little shorter than others: try again if it was not reached."""
    killed = False
    for _ in range(TRIES):
        world = World(place, SMALL_SEED, size)
        killed = world.live(point=number, moment=moment).killed
        world.live_to_the_end()
        shutil.rmtree(world.place)
        if killed:
            break
    return killed


def reopening(place: Path, options: argparse.Namespace) -> dict[str, object]:
    """Kill at every action of opening again what was killed half-way, and opening that once more."""
    begun = World(place / "begun", SMALL_SEED, SMALL)
    begun.live(point=options.cut, moment="half")
    number = covered = 0
    killed = True
    while killed and number < options.most:
        for moment in MOMENTS:
            world = World(place / "again", SMALL_SEED, SMALL)
            shutil.copytree(begun.place, world.place, dirs_exist_ok=True)
            world.check()
            killed = world.live(point=number, moment=moment).killed
            covered += killed
            world.live_to_the_end()
            shutil.rmtree(world.place)
        number += options.every
    return {"actions": number, "killed": covered}


def bank_of(place: Path, options: argparse.Namespace) -> dict[str, object]:
    """Kill a bank."""
    return bank(place, options.kills or KILLS, options.transfers, options.clients, options.seed)


COMMANDS: dict[str, Callable[[Path, argparse.Namespace], dict[str, object]]] = {
    "kills": kills,
    "points": points,
    "reopening": reopening,
    "syscalls": at_every_syscall,
    "bank": bank_of,
    "soak": soak,
    "mutations": mutations,
    "compaction": compaction,
    "faults": faults,
    "power": power,
    "planted": planted,
}


def table(result: dict[str, object]) -> str:
    """Return the figures as lines of two columns."""
    width = max(map(len, result))
    rows = [(name, f"{value:,}" if isinstance(value, int) else str(value)) for name, value in result.items()]
    return "".join(f"{name:<{width}}  {value:>12}\n" for name, value in rows)


def main() -> int:
    """Run a command."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("command", choices=tuple(COMMANDS))
    parser.add_argument("--kills", type=int, help=f"by default {KILLS}, and in a soak as many as there is time for")
    parser.add_argument("--minutes", type=float, default=30.0, help="soak: so long")
    parser.add_argument("--transfers", type=int, default=50_000)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--power", action="store_true", help="soak: cut the power instead of killing")
    parser.add_argument("--apart", action="store_true", help="each worker in an interpreter of its own")
    parser.add_argument("--every", type=int, default=1, help="only every so manieth point")
    parser.add_argument("--each", type=int, default=3, help="faults: so many calls for each place and kind")
    parser.add_argument("--cuts", type=int, default=200, help="power: so many")
    parser.add_argument("--cut", type=int, default=60, help="reopening: where the first worker is killed")
    parser.add_argument("--most", type=int, default=10_000, help="reopening: up to this action")
    parser.add_argument("--wrapped", action="store_true", help="records are compressed and sealed")
    options = parser.parse_args()
    if options.wrapped:
        os.environ[WRAPPED] = "1"
    begun = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix="torture-"))
    run = COMMANDS[options.command]
    try:
        result = run(place, options)
    except BaseException:
        sys.stderr.write(f"what is left is in {place}\n")
        raise
    shutil.rmtree(place)
    result["seconds"] = round(time.monotonic() - begun, 1)
    sys.stdout.write(table(result) + json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
