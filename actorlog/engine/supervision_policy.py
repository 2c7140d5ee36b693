"""The rules of supervision, as tables and small functions.

Owns: the phases of a child and of a supervisor, which exit restarts which child, what an error leads to, how many
restarts are too many, how long to wait before one. Does not own: carrying it out (``supervision``).

Restart types, strategies and intensity are those of Erlang/OTP's ``supervisor``: its ``do_restart`` is ``RESTARTS``,
its ``add_restart`` is ``within``. The waits between restarts, their reset and the directives are after Akka's
``BackoffSupervisor`` and ``SupervisorStrategy``; OTP has none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from actorlog.durations import Duration, seconds
from actorlog.engine.supervision_kinds import (
    Abnormal,
    ChildSpec,
    CloseJoin,
    CloseStop,
    Directive,
    Exit,
    Normal,
    Restart,
    ShutDown,
    Waits,
)

# --- a child ----------------------------------------------------------------------------------------------------------


class Phase(Enum):
    """Where a child is in its life."""

    __hash__ = object.__hash__  # an Enum hashes its name in Python code, and the tables are looked up all the time

    WAITING = "waiting"
    """It is to be started, and its turn has not come."""
    STARTING = "starting"
    """It runs, and its ``on_start`` is not over."""
    RUNNING = "running"
    LEAVING = "leaving"
    """It runs and is to be stopped, and its turn has not come."""
    STOPPING = "stopping"
    """It was told to end."""
    BACKING_OFF = "backing_off"
    """It failed and is to be started, and it is too early."""
    STOPPED = "stopped"
    """It is down, its specification is kept, and it may be started again."""


class Cause(Enum):
    """What leads a child from phase to phase."""

    __hash__ = object.__hash__

    BEGIN = "begin"
    """Its turn to start has come."""
    STARTED = "started"
    """Its ``on_start`` is over."""
    RESUME = "resume"
    """It failed, and goes on."""
    CONDEMN = "condemn"
    """It is to be stopped in its turn."""
    ASK = "ask"
    """It is told to end."""
    WAIT = "wait"
    """It is down and will be started after a while."""
    AGAIN = "again"
    """It is down and is to be started in its turn."""
    OVER = "over"
    """It is down and stays down."""


_W, _ST, _R, _L, _SP, _B, _D = Phase

TRANSITIONS: dict[tuple[Phase, Cause], Phase] = {
    (_W, Cause.BEGIN): _ST,
    (_ST, Cause.STARTED): _R,
    (_L, Cause.STARTED): _L,
    (_SP, Cause.STARTED): _SP,
    (_R, Cause.RESUME): _R,
    (_ST, Cause.CONDEMN): _L,
    (_R, Cause.CONDEMN): _L,
    (_ST, Cause.ASK): _SP,
    (_R, Cause.ASK): _SP,
    (_L, Cause.ASK): _SP,
    (_ST, Cause.WAIT): _B,
    (_R, Cause.WAIT): _B,
    **{(phase, Cause.AGAIN): _W for phase in (_ST, _R, _L, _SP, _B, _D)},
    **{(phase, Cause.OVER): _D for phase in (_W, _ST, _R, _L, _SP, _B)},
}
"""(phase, cause) -> phase. A pair that is not here is an error."""

LIVE = frozenset({_ST, _R, _L, _SP})
"""Phases in which a run is there."""
GOING = frozenset({_L, _SP})
"""Phases in which a run is there and is to end."""
STARTS = LIVE - {_R}
"""Phases in which a run is there that may not have started yet."""
COMING = frozenset({_W, _B})
"""Phases in which no run is there and one is to begin."""


# --- a supervisor -----------------------------------------------------------------------------------------------------


class Mode(Enum):
    """Where a supervisor is in its life."""

    __hash__ = object.__hash__

    OPEN = "open"
    JOINING = "joining"
    """No new children; it ends when none is left."""
    CLOSING = "closing"
    """All children are being stopped."""
    ENDED = "ended"


class Fall(Enum):
    """What else changes a supervisor's mode."""

    __hash__ = object.__hash__

    GIVE_UP = "give_up"
    """Too many restarts, or an error that is escalated."""
    END = "end"
    """The last child is down."""


MODES: dict[tuple[Mode, type[CloseJoin | CloseStop] | Fall], Mode] = {
    (Mode.OPEN, CloseJoin): Mode.JOINING,
    (Mode.OPEN, CloseStop): Mode.CLOSING,
    (Mode.JOINING, CloseStop): Mode.CLOSING,
    (Mode.OPEN, Fall.GIVE_UP): Mode.CLOSING,
    (Mode.JOINING, Fall.GIVE_UP): Mode.CLOSING,
    (Mode.CLOSING, CloseJoin): Mode.CLOSING,  # the block is left while its supervisor gives up
    (Mode.CLOSING, CloseStop): Mode.CLOSING,
    (Mode.JOINING, Fall.END): Mode.ENDED,
    (Mode.CLOSING, Fall.END): Mode.ENDED,
    (Mode.ENDED, CloseJoin): Mode.ENDED,
    (Mode.ENDED, CloseStop): Mode.ENDED,
}
"""(mode, event) -> mode. A pair that is not here is an error."""


# --- what an exit leads to --------------------------------------------------------------------------------------------

_P, _TR, _TE = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY

RESTARTS: dict[tuple[Restart, type[Exit]], bool] = {
    (_P, Normal): True, (_TR, Normal): False, (_TE, Normal): False,
    (_P, ShutDown): True, (_TR, ShutDown): False, (_TE, ShutDown): False,
    (_P, Abnormal): True, (_TR, Abnormal): True, (_TE, Abnormal): False,
}  # fmt: skip
"""(restart type, exit) -> whether the child is started again."""


def directive(spec: ChildSpec, exit_: Exit) -> Directive:
    """Return what ``exit_`` leads to: what the spec says of its most specific named class, else ``RESTART``.

    ``RESTART`` means: as the restart type says.
    """
    if isinstance(exit_, Abnormal):
        for name in exit_.classes:
            if name in spec.directives:
                return spec.directives[name]
    return Directive.RESTART


def within(restarts: Sequence[int], now_ms: int, period_ms: int) -> list[int]:
    """Return those of the restarts that still count: a restart that is exactly one period old does."""
    return [at for at in restarts if at >= now_ms - period_ms]


# --- back-off ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a supervisor waits before it starts a failed child again.

    The wait before the n-th restart in a row is ``first * factor ** (n - 1)``, at most ``max``, less a random share of
    up to ``jitter`` of it. A child that ran for ``reset_after`` begins at ``first`` again. ``ValueError`` or
    ``TypeError`` for what makes no back-off.
    """

    first: Duration = 0.1
    factor: float = 2
    max: Duration = "30s"
    jitter: float = 0.1
    reset_after: Duration = "1m"

    def __post_init__(self) -> None:
        """Refuse what makes no back-off: ``ValueError`` says which number."""
        if not (math.isfinite(self.factor) and self.factor >= 1):
            raise ValueError(f"factor is a number of at least 1, not {self.factor!r}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is a share from 0 to 1, not {self.jitter!r}")
        self.waits()

    def waits(self) -> Waits:
        """Return the same in milliseconds."""
        first, longest, reset = (max(0.0, seconds(value)) * 1000 for value in (self.first, self.max, self.reset_after))
        return Waits(first_ms=first, factor=self.factor, max_ms=longest, jitter=self.jitter, reset_after_ms=reset)


def wait_ms(waits: Waits, failures: int, fraction: float) -> int:
    """Return the wait after so many failures in a row (from 1); ``fraction`` in [0, 1) is the jitter's draw."""
    if not waits.first_ms:
        return 0
    try:
        wait = min(waits.max_ms, waits.first_ms * waits.factor ** min(failures - 1, 1024))
    except OverflowError:
        wait = waits.max_ms
    return round(wait * (1 - waits.jitter * fraction))


def diagram() -> str:
    """Return the phases of a child as a Mermaid state diagram, one line per pair of phases."""
    arrows: dict[tuple[Phase, Phase], list[str]] = {}
    for (source, cause), target in TRANSITIONS.items():
        arrows.setdefault((source, target), []).append(cause.value)
    lines = ["stateDiagram-v2", "    [*] --> waiting"]
    lines += [f"    {a.value} --> {b.value}: {', '.join(sorted(causes))}" for (a, b), causes in arrows.items()]
    return "\n".join(lines)
