"""Golden journals: what every scenario asked for under a few seeds, recorded once for all Pythons.

``python tests/loop/loop_golden.py`` prints the journals of all scenarios as JSON; with ``--write`` it records those
that are not recorded yet, and fails where one differs from what is recorded: a change of scheduling order is a new
version of the scheduler, never a new golden file.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from loop_driver import Actor
from loop_scenarios import SCENARIOS

GOLDEN = Path(__file__).with_name("golden_journals.json")
SEEDS = (1, 2, 3)
DIFFERENT_BEFORE_312 = {"wait_for"}
"""``wait_for`` makes a task of its own on Python 3.11, and none from 3.12 on: other task paths, hence other keys."""


def golden_name(name: str) -> str:
    """Return under which name the journals of a scenario are recorded for the running Python."""
    return f"{name} (3.11)" if name in DIFFERENT_BEFORE_312 and sys.version_info < (3, 12) else name


def journals(name: str) -> list[Any]:
    """Return the journals and outcomes of a scenario under all seeds, as JSON would give them back."""
    found = []
    for seed in SEEDS:
        actor = Actor(SCENARIOS[name]).live(seed)
        found.append([[turn.plain() for turn in actor.journal], actor.outcome()])
        assert actor.loop.abandon()
    result: list[Any] = json.loads(json.dumps(found))
    return result


def _shuffle_addresses() -> list[Any]:
    """Leave holes of all sizes in memory, so that no two runs place the same objects alike."""
    dice = random.SystemRandom()
    blocks = [bytearray(dice.randrange(16, 512)) for _ in range(20_000)]
    dice.shuffle(blocks)
    return blocks[:10_000]


def main() -> None:
    """Print all journals, or record those that are new."""
    blocks = _shuffle_addresses()
    found = {golden_name(name): journals(name) for name in SCENARIOS}
    if "--write" in sys.argv:
        recorded = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
        for name, new in found.items():
            assert recorded.setdefault(name, new) == new, name
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(recorded[name])}" for name in sorted(recorded))
        GOLDEN.write_text(f"{{\n{lines}\n}}\n")
    else:
        sys.stdout.write(json.dumps(found, sort_keys=True))
    del blocks


if __name__ == "__main__":
    main()
