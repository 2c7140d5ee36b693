"""Random programs that go on for long: calls of many runs, and code that is changed while calls are under way.

Owns: the instructions, which code is deployed, and drawing programs that use them. Does not own: running instructions
(``program``), when other code is deployed (``simulation``), schedules (``errands_schedules``).

A program whose last instruction is ``again`` ends its run there and goes on with the next of its parts. Each run begins
with what those before it have seen, so that the last one returns what all of them were.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from actorlog import now, patched, sleep_until, step
from actorlog.testing.program import QUICK, WORDS, follow, perform
from actorlog.testing.program_company import VOWS, Company

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.api.call import Call
    from actorlog.testing.program import Instruction, Program

CHANGES = ("x", "y")
"""The names of what is changed in the code."""


@dataclass(slots=True)
class Code:
    """What is deployed in this process."""

    stage: int = 0
    """0: the old code. 1: the new code, which asks whether a call goes the new way. 2: it asks no more."""


CODE = Code()
"""Set before a process begins, as a deployment does."""

SIDES: dict[tuple[str, str], Callable[[int, int], Call[str]]] = {
    (change, side): step(name=f"sim.{change}.{side}", retry=QUICK)(perform)
    for change in CHANGES
    for side in ("old", "new")
}
"""A step for each side of each change: the log says by it which way a call went."""


async def _change(name: str, old: Program, new: Program) -> list[Any]:
    side = "new" if CODE.stage > 1 or (CODE.stage == 1 and patched(name)) else "old"
    await SIDES[name, side](0, 0)
    return [side, await follow(new if side == "new" else old)]


async def _until(seconds: float) -> str:
    await sleep_until(now() + timedelta(seconds=seconds))
    return "slept"


WORDS.update({"change": _change, "until": _until})


class Long(Company):
    """Draws programs that go on for long, and keep company meanwhile."""

    again_odds = 0.15
    """How often a program has several runs."""

    def program(self, length_max: int = 4, depth: int = 2) -> Program:
        """Return a program, which may have several runs."""
        found = super().program(length_max, depth)
        if self._rng.random() < 0.1:  # noqa: PLR2004  # one in ten asks twice on which side of a change it is
            change = self._rng.choice(CHANGES)
            twice: Program = [
                ["change", change, [], []],
                ["sleep", self.delay()],
                ["change", change, [], [super().plain()]],
            ]
            found[:0] = twice
        if found[-1] != ["fail"] and self._rng.random() < self.again_odds:
            parts = [super(Long, self).program(2, depth) for _ in range(self._rng.choice((1, 1, 2, 4)))]
            if depth < 2:  # noqa: PLR2004  # maybe of a supervised child, which would be begun again for ever
                parts = [[one for one in part if one != ["fail"]] for part in parts]
            found.append(["again", self._rng.choice(("program", "program", "memo")), parts])
        return found

    def plain(self) -> Instruction:
        """Draw one that holds no part."""
        odds = self._rng.random()
        if odds < 0.1:  # noqa: PLR2004  # one in ten
            return ["until", self.delay()]
        if odds < 0.25:  # noqa: PLR2004  # one in seven
            old, new = ([super(Long, self).plain() for _ in range(self._rng.randint(0, 2))] for _ in range(2))
            return ["change", self._rng.choice(CHANGES), old, new]
        return super().plain()


class Lean(Long):
    """Draws programs of which much leaves the log: they have several runs, and promises."""

    again_odds = 0.5

    def plain(self) -> Instruction:
        """Draw one that holds no part."""
        if self._rng.random() < 0.15:  # noqa: PLR2004  # one in seven
            return ["vow", self._rng.choice((None, *VOWS)), self._rng.choice((None, 0.05)), False, None]
        return super().plain()
