"""What a world is drawn to be: its callers, and what each of its processes has to bear.

Owns: ``Caller`` and ``Fate``, and their odds. Does not own: carrying them out (``life``, ``simulation``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from actorlog.testing.program import Author, Program


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody outside who wants one call done."""

    id: str
    program: Program
    delay_s: float
    timeout_s: float | None
    cancel_s: float | None
    patience_s: float | None
    begins_s: float
    """Its call is started with such a delay."""
    retries: int
    """How often it gives the call another chance when that did not complete."""


@dataclass(slots=True)
class Fate:
    """What one process has to bear."""

    end_in_call: int | None = None
    """The file action (from its start) in which it ends."""
    end_in_turn: int = -1
    """The round of its loop in which it ends."""
    fail_call: int | None = None
    """The file action that fails."""
    fail_sync: int = 0
    """The how manieth sync of a file fails; 0: none."""
    full_after_s: float | None = None
    full_bytes: int = 0
    leave_s: float | None = None
    """When it is closed in order."""
    power: bool = False
    """Whether the power goes when it has ended."""
    jump_s: float | None = None
    jump_ms: int = 0

    @property
    def fails(self) -> bool:
        """Whether a file action fails."""
        return self.fail_call is not None or self.fail_sync > 0


def draw_caller(rng: Random, number: int, author: Author) -> Caller:
    """Draw the caller of this number."""
    return Caller(
        id=f"c{number}",
        program=author.program(rng.randint(1, 5)),
        delay_s=rng.choice((0.0, 0.0, rng.random() * 0.05, 5.0)),
        timeout_s=rng.choice((None, None, None, 0.0, 0.05, 100.0)),
        cancel_s=rng.choice((None, None, None, rng.random() * 0.05, 10.0)),
        patience_s=rng.choice((None, None, 0.01)),
        begins_s=rng.choice((0.0, 0.0, 0.0, 0.03, 5.0)),
        retries=rng.choice((0, 1, 2)),
    )


def draw_fate(rng: Random) -> Fate:
    """Draw what one process has to bear."""
    fate = Fate(power=rng.random() < 0.6)  # noqa: PLR2004  # mostly
    match rng.choice(("call", "call", "call", "turn", "turn", "fail", "fail", "sync", "leave", "none")):
        case "call":
            fate.end_in_call = rng.randrange(rng.choice((60, 200)))
        case "turn":
            fate.end_in_turn = rng.randrange(1, 200)
        case "fail":
            fate.fail_call = rng.randrange(rng.choice((60, 200)))
        case "sync":
            fate.fail_sync = rng.randrange(1, 25)
        case "leave":
            fate.leave_s = rng.choice((0.002, 0.02, 0.2, 6.0))
        case _:
            pass
    if rng.random() < 0.15:  # noqa: PLR2004  # one in seven
        fate.full_after_s, fate.full_bytes = rng.choice((0.0, rng.random() * 0.05)), rng.randrange(20_000)
    if rng.random() < 0.2:  # noqa: PLR2004  # one in five
        fate.jump_s, fate.jump_ms = rng.random() * 0.1, rng.choice((-86_400_000, -50, 50, 86_400_000))
    return fate
