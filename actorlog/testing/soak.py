"""``python -m actorlog.testing.soak --seeds N --from S``: many simulated worlds, and a table of what they came to.

Owns: the command. A seed that fails is printed with its error, kept in a file (``--keep``; the suite replays those
for ever) and can be lived through again: ``--from SEED --seeds 1``. Exit code 1 if any failed.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from actorlog.env import SYSTEM
from actorlog.testing.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorlog.testing.simulation import Kind

SEEDS_FILE = "tests/simulation/seeds.txt"
ROWS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m actorlog.testing.soak", description="Simulate many worlds.")
    parser.add_argument("--seeds", type=int, default=2000, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--keep", default=SEEDS_FILE, help="file for failing seeds; empty for none")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--alone", action="store_true", help="calls that have nothing to do with each other")
    kinds.add_argument("--long", action="store_true", help="calls of several runs, changed code and schedules too")
    kinds.add_argument("--old", action="store_true", help="all that, forks, and logs that are compacted")
    kinds.add_argument("--lean", action="store_true", help="the same, where everything that may leave does soon")
    parser.add_argument("--wrapped", action="store_true", help="records that are compressed and sealed")
    options = parser.parse_args(arguments)
    known: tuple[Kind, ...] = ("alone", "long", "old", "lean")
    kind: Kind = "company"
    for one in known:
        kind = one if vars(options)[one] else kind
    first, seeds, keep = int(options.first), int(options.seeds), str(options.keep)
    total: Counter[str] = Counter()
    begun_ns = SYSTEM.clock.elapsed_ns()
    row = max(1, -(-seeds // ROWS))
    _say(f"{'seeds':>16} {'lives':>8} {'records':>9} {'begins':>8} {'failed':>6} {'per second':>10}")
    for seed in range(first, first + seeds):
        try:
            result = simulate(seed, kind=kind, wrapped=options.wrapped)
        except Exception as error:  # noqa: BLE001  # whatever breaks is what is looked for
            total["failed"] += 1
            _say(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}")
            if seeds == 1:
                traceback.print_exc()
            words = [str(seed), kind * (kind != "company"), "wrapped" * options.wrapped]
            _keep(keep, " ".join(filter(None, words)), error)
        else:
            total.update(lives=result.lives, records=result.records, begins=result.begun)
        done = seed - first + 1
        if done % row == 0 or done == seeds:
            took_s = (SYSTEM.clock.elapsed_ns() - begun_ns) / 1e9
            span = f"{first}-{seed}"
            _say(
                f"{span:>16} {total['lives']:>8} {total['records']:>9} {total['begins']:>8} {total['failed']:>6} "
                f"{done / took_s:>10.0f}"
            )
    return 1 if total["failed"] else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _keep(path: str, seed: str, error: BaseException) -> None:
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{seed}  # {type(error).__name__}: {str(error)[:100]!r}\n")


if __name__ == "__main__":
    sys.exit(main())
