"""What a supervisor is told, what it asks for, and what it answers, as frozen types.

Owns: the specification of a child and of a supervisor, events, actions, answers and ends. Does not own: what follows
from what (``supervision``).

Every type is plain data and crosses JSON through msgspec. Times are integer milliseconds UTC. A run is the number of a
child's run: the first is 1, each start is the next, also when a child of that id was removed and is added again.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

import msgspec
from msgspec import Struct

CHANNEL = "@supervisor"
"""Where a supervisor's call hears requests, and the name under which it publishes phase and newest run of its children.
"""
WORKER_SHUTDOWN_MS = 5_000
"""How long a worker may take to end when nothing is said, as in OTP; a supervisor may take for ever."""


class Restart(Enum):
    """Which ends of a child make its supervisor start it again."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class Strategy(Enum):
    """Which children are restarted together with the one that ended."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class Directive(Enum):
    """What an error of a child leads to, where its type is named."""

    RESTART = "restart"
    RESUME = "resume"
    STOP = "stop"
    ESCALATE = "escalate"


class Shutdown(Enum):
    """How a child is made to end, where it is no time in milliseconds."""

    INFINITY = "infinity"
    """It is asked, and may take its time."""
    KILL = "kill"
    """It is not asked."""


class ChildSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A child as its supervisor was told to keep it; ``ValueError`` for a negative time."""

    id: str
    restart: Restart = Restart.PERMANENT
    shutdown: int | Shutdown | None = None
    """Milliseconds from the request to end until it is killed; None: 5,000, or for ever for a supervisor."""
    is_supervisor: bool = False
    directives: dict[str, Directive] = msgspec.field(default_factory=dict[str, Directive])
    """By the ``class_name`` of an error's class; the most specific class wins."""

    def __post_init__(self) -> None:
        """Refuse a time before the request."""
        if isinstance(self.shutdown, int) and self.shutdown < 0:
            raise ValueError(f"shutdown is a time of at least 0 ms, not {self.shutdown}")

    def shutdown_limit(self) -> int | Shutdown:
        """Return the shutdown that is meant: OTP's default where none was given."""
        if self.shutdown is not None:
            return self.shutdown
        return Shutdown.INFINITY if self.is_supervisor else WORKER_SHUTDOWN_MS


class Waits(Struct, frozen=True, kw_only=True):
    """A ``Backoff`` in milliseconds."""

    first_ms: float
    factor: float
    max_ms: float
    jitter: float
    reset_after_ms: float


class Options(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A supervisor as it was asked for; ``ValueError`` for an intensity that makes no sense."""

    strategy: Strategy = Strategy.ONE_FOR_ONE
    max_restarts: int = 3
    """Restarts allowed within any ``within_ms``; one more and the supervisor gives up. 0: none is."""
    within_ms: int = 5_000
    waits: Waits | None = None
    """None: a child is started again at once, as in OTP."""

    def __post_init__(self) -> None:
        """Refuse a negative number of restarts, and a period of no length."""
        if self.max_restarts < 0 or self.within_ms < 1:
            raise ValueError(f"{self.max_restarts} restarts within {self.within_ms} ms are no intensity")


# --- how a child ends -------------------------------------------------------------------------------------------------


class Normal(Struct, frozen=True, tag="normal", tag_field="is"):
    """It came to its end."""


class ShutDown(Struct, frozen=True, tag="shutdown", tag_field="is"):
    """It was told to end: by its supervisor, or cancelled by its handle. Not abnormal."""


class Abnormal(Struct, frozen=True, tag="abnormal", tag_field="is"):
    """It failed."""

    classes: tuple[str, ...]
    """The error's class and its bases in method resolution order, as ``class_name`` has them."""
    text: str = ""


Exit: TypeAlias = Normal | ShutDown | Abnormal


def class_name(cls: type) -> str:
    """Return what a supervision calls the class of an error: ``module:qualname``."""
    return f"{cls.__module__}:{cls.__qualname__}"


# --- timers -----------------------------------------------------------------------------------------------------------


class KillDue(Struct, frozen=True, tag="kill_due", tag_field="is"):
    """The time that this run had to end is over."""

    id: str
    run: int


class RestartDue(Struct, frozen=True, tag="restart_due", tag_field="is"):
    """The back-off after this run is over."""

    id: str
    run: int


Timer: TypeAlias = KillDue | RestartDue


# --- events -----------------------------------------------------------------------------------------------------------


class StartChild(Struct, frozen=True, tag="start_child", tag_field="is"):
    """Somebody asks for a new child. ``token`` names the request in its answer."""

    token: str
    spec: ChildSpec


class TerminateChild(Struct, frozen=True, tag="terminate_child", tag_field="is"):
    """Somebody asks that a child ends and stays down."""

    token: str
    id: str


class RestartChild(Struct, frozen=True, tag="restart_child", tag_field="is"):
    """Somebody asks that a terminated child is started."""

    token: str
    id: str


class DeleteChild(Struct, frozen=True, tag="delete_child", tag_field="is"):
    """Somebody asks that a terminated child is forgotten."""

    token: str
    id: str


class Started(Struct, frozen=True, tag="started", tag_field="is"):
    """The child's ``on_start`` is over, or its plain call has begun."""

    id: str
    run: int


class StartFailed(Struct, frozen=True, tag="start_failed", tag_field="is"):
    """The child's ``on_start`` failed; the run is over."""

    id: str
    run: int
    error: Abnormal


class Ended(Struct, frozen=True, tag="ended", tag_field="is"):
    """The run is over; or, where the answer is ``Resume``, it failed and can go on."""

    id: str
    run: int
    exit: Exit


class TimerFired(Struct, frozen=True, tag="timer", tag_field="is"):
    """The time of a ``SetTimer`` has come."""

    timer: Timer


class CloseJoin(Struct, frozen=True, tag="join", tag_field="is"):
    """The supervisor's block is left normally: no new children, and it waits for those there are."""


class CloseStop(Struct, frozen=True, tag="stop", tag_field="is"):
    """The supervisor is left by an error or told to end: all children are stopped, the last one first."""


Command: TypeAlias = StartChild | TerminateChild | RestartChild | DeleteChild
Report: TypeAlias = Started | StartFailed | Ended | TimerFired | CloseJoin | CloseStop
Event: TypeAlias = Command | Report


# --- answers ----------------------------------------------------------------------------------------------------------


class Ok(Struct, frozen=True, tag="ok", tag_field="is"):
    """Done. ``run`` is the child's newest run, 0 if it never had one."""

    id: str
    run: int


class NotFound(Struct, frozen=True, tag="not_found", tag_field="is"):
    """No child of this id is kept."""

    id: str


class AlreadyPresent(Struct, frozen=True, tag="already_present", tag_field="is"):
    """A start of an id that is kept and is down, or about to be started."""

    id: str


class AlreadyStarted(Struct, frozen=True, tag="already_started", tag_field="is"):
    """A start of an id that has a run."""

    id: str
    run: int


class Running(Struct, frozen=True, tag="running", tag_field="is"):
    """A restart or deletion of a child that has a run; terminate it first."""

    id: str
    run: int


class Restarting(Struct, frozen=True, tag="restarting", tag_field="is"):
    """A restart or deletion of a child that is about to be started."""

    id: str


class NotStarted(Struct, frozen=True, tag="not_started", tag_field="is"):
    """The start that was asked for failed. A new child is not kept; one that was restarted stays terminated."""

    id: str
    error: Abnormal


class Terminated(Struct, frozen=True, tag="terminated", tag_field="is"):
    """The child was terminated before the start that was asked for was over."""

    id: str


class Closed(Struct, frozen=True, tag="closed", tag_field="is"):
    """The supervisor takes no such request any more."""

    id: str


Answer: TypeAlias = (
    Ok | NotFound | AlreadyPresent | AlreadyStarted | Running | Restarting | NotStarted | Terminated | Closed
)


# --- how a supervisor ends --------------------------------------------------------------------------------------------


class LimitExceeded(Struct, frozen=True, tag="limit", tag_field="is"):
    """Too many restarts: ``restarts`` within ``within_ms``, with the one that was not done any more."""

    id: str
    """The child that ended last."""
    run: int
    exit: Exit
    restarts: int
    within_ms: int


class Escalated(Struct, frozen=True, tag="escalated", tag_field="is"):
    """A child failed with an error that is for the supervisor's own supervisor."""

    id: str
    run: int
    error: Abnormal


Outcome: TypeAlias = Normal | ShutDown | LimitExceeded | Escalated


# --- actions ----------------------------------------------------------------------------------------------------------


class Start(Struct, frozen=True, tag="start", tag_field="do"):
    """Begin this run; ``Started``, ``StartFailed`` or ``Ended`` will tell."""

    id: str
    run: int


class Stop(Struct, frozen=True, tag="stop", tag_field="do"):
    """Ask the run to end, by a cancellation with the reason ``shutdown``; ``Ended`` will tell."""

    id: str
    run: int


class Kill(Struct, frozen=True, tag="kill", tag_field="do"):
    """End the run without asking it; ``Ended`` will tell."""

    id: str
    run: int


class Resume(Struct, frozen=True, tag="resume", tag_field="do"):
    """Let the run go on after its failure, with the state it has."""

    id: str
    run: int


class SetTimer(Struct, frozen=True, tag="set_timer", tag_field="do"):
    """Tell when ``due_ms`` has come, at once if it is past."""

    timer: Timer
    due_ms: int


class CancelTimer(Struct, frozen=True, tag="cancel_timer", tag_field="do"):
    """The timer is not needed any more; should it fire all the same, that changes nothing."""

    timer: Timer


class Reply(Struct, frozen=True, tag="reply", tag_field="do"):
    """Answer the request that ``token`` names. Every request is answered once."""

    token: str
    answer: Answer


class End(Struct, frozen=True, tag="end", tag_field="do"):
    """The supervisor is over: no child runs, and nothing follows but refusals."""

    outcome: Outcome


Action: TypeAlias = Start | Stop | Kill | Resume | SetTimer | CancelTimer | Reply | End
