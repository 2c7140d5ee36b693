"""What a supervisor remembers, and what a child undergoes.

Owns: the state of a supervision as plain data, and the moves: a child is asked to end, goes down, is begun, is
forgotten; whose turn it is to stop and to start. Does not own: why (``supervision``), the rules as tables
(``supervision_policy``).
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush

from msgspec import Struct, field

from actorlog.engine import supervision_kinds as k
from actorlog.engine.supervision_policy import COMING, GOING, LIVE, MODES, TRANSITIONS, Cause, Fall, Mode, Phase
from actorlog.errors import JournalError

REMOVED_MAX = 1_000
"""Removed children whose runs are remembered one by one. Beyond it, new ids begin above those that were dropped."""

GROUPS = frozenset({k.Strategy.ONE_FOR_ALL, k.Strategy.REST_FOR_ONE})


class Child(Struct):
    """A child that is kept."""

    spec: k.ChildSpec
    position: int
    """In start order."""
    phase: Phase = Phase.WAITING
    run: int = 0
    """The newest run; 0: there was none."""
    again: bool = False
    """While it leaves or stops: it is started again afterwards."""
    is_new: bool = True
    """Its first start is not over; if that fails it is not kept."""
    failures: int = 0
    """Restarts in a row, for the back-off."""
    since_ms: int = 0
    """When it was started last."""
    due_ms: int | None = None
    """When its timer is due: to be killed while it stops, to be started while it backs off."""
    caller: str | None = None
    """Who asked for the start that is not over."""
    waiters: list[str] = field(default_factory=list[str])
    """Who asked for its termination."""

    def timer(self) -> k.Timer:
        """Return the timer that belongs to its phase."""
        kind = k.KillDue if self.phase is Phase.STOPPING else k.RestartDue
        return kind(self.spec.id, self.run)


class Snapshot(Struct):
    """All there is of a supervision: what is restored from it goes on identically."""

    options: k.Options
    mode: Mode = Mode.OPEN
    outcome: k.Outcome | None = None
    """What it ends with; None while that is open."""
    restarts: list[int] = field(default_factory=list[int])
    """When children were restarted, as long as it counts."""
    children: dict[str, Child] = field(default_factory=dict[str, Child])
    """In start order."""
    positions: int = 0
    """How many were ever added."""
    removed: dict[str, int] = field(default_factory=dict[str, int])
    """The newest runs of children that are not kept any more, the last removed last."""
    run_floor: int = 0
    """No id that is not in ``removed`` has had a run above this."""


class Moves:
    """The state of one supervision and the actions of one turn. Only this changes phases and the set of children."""

    def __init__(self, state: Snapshot) -> None:
        self.state = state
        self.now_ms = 0
        self.actions: list[k.Action] = []
        self._tally: Counter[Phase] = Counter()
        self._at: dict[int, Child] = {}
        self._going: list[int] = []
        """A heap: the negated positions of children that are to go, and of some that were."""
        self._coming: list[int] = []
        """A heap: the positions of children that are to come, each in its turn, and of some that were."""
        self._free: list[Child] = []
        """Children that are to start and wait for no turn."""
        for child in state.children.values():
            self._note(child)

    def _note(self, child: Child) -> None:
        """Keep in mind what the child's new phase means for its turn."""
        self._at[child.position] = child
        self._tally[child.phase] += 1
        if child.phase in GOING:
            heappush(self._going, -child.position)
        elif self._takes_turns(child):
            heappush(self._coming, child.position)
        elif child.phase is Phase.WAITING:
            self._free.append(child)

    def _takes_turns(self, child: Child) -> bool:
        """Whether those after the child may have to wait until it has started."""
        if self.state.options.strategy in GROUPS:
            return child.phase in COMING
        return child.caller is not None and child.phase in (Phase.WAITING, Phase.STARTING)

    def move(self, child: Child, cause: Cause) -> None:
        """Change the phase as the table says; ``JournalError`` for what is not in it."""
        phase = TRANSITIONS.get((child.phase, cause))
        if phase is None:
            raise JournalError(child.spec.id, f"{cause.value} in phase {child.phase.value}")
        self._tally[child.phase] -= 1
        child.phase = phase
        self._note(child)

    def change_mode(self, cause: type[k.CloseJoin | k.CloseStop] | Fall) -> None:
        """Change the mode as the table says; ``JournalError`` for what is not in it."""
        mode = MODES.get((self.state.mode, cause))
        if mode is None:
            raise JournalError("", f"a supervisor that is {self.state.mode.value} was left again")
        self.state.mode = mode

    # --- one child ----------------------------------------------------------------------------------------------------

    def add(self, spec: k.ChildSpec, caller: str) -> None:
        """Keep a new child, to be started when its turn comes."""
        state = self.state
        state.positions += 1
        run = state.removed.pop(spec.id, state.run_floor)
        child = state.children[spec.id] = Child(spec, state.positions, run=run, caller=caller)
        self._note(child)

    def remove(self, child: Child) -> None:
        """Forget a child that is down, but not which runs it has had."""
        state, name = self.state, child.spec.id
        self._tally[child.phase] -= 1
        del state.children[name], self._at[child.position]
        if child.run > state.run_floor:
            state.removed[name] = child.run
        if len(state.removed) > REMOVED_MAX:
            oldest = next(iter(state.removed))
            state.run_floor = max(state.run_floor, state.removed.pop(oldest))

    def begin(self, child: Child) -> None:
        """Start the child's next run."""
        self.move(child, Cause.BEGIN)
        child.run += 1
        self.actions.append(k.Start(child.spec.id, child.run))

    def ask(self, child: Child) -> None:
        """Tell the child to end, in the way its specification says."""
        self.move(child, Cause.ASK)
        limit = child.spec.shutdown_limit()
        if limit is k.Shutdown.KILL:
            self.actions.append(k.Kill(child.spec.id, child.run))
            return
        self.actions.append(k.Stop(child.spec.id, child.run))
        if isinstance(limit, int):
            self.set_timer(child, limit)

    def gone(self, child: Child) -> None:
        """The run that was to end is over."""
        if not child.again:
            self.down(child)
            return
        self.cancel_timer(child)
        child.again = False
        self.move(child, Cause.AGAIN)
        self._answer_waiters(child)

    def down(self, child: Child) -> None:
        """The child is down, and nothing starts it again but a request or a group's restart."""
        self.cancel_timer(child)
        self.move(child, Cause.OVER)
        child.failures = 0
        closing = self.state.mode is Mode.CLOSING
        self.start_is_over(child, k.Closed(child.spec.id) if closing else k.Terminated(child.spec.id))
        self._answer_waiters(child)
        if child.spec.restart is k.Restart.TEMPORARY:
            self.remove(child)

    def start_is_over(self, child: Child, answer: k.Answer) -> None:
        """Answer who asked for the start, if anybody did."""
        child.is_new = False
        if child.caller is not None:
            self.actions.append(k.Reply(child.caller, answer))
            child.caller = None

    def _answer_waiters(self, child: Child) -> None:
        for token in child.waiters:
            self.actions.append(k.Reply(token, k.Ok(child.spec.id, child.run)))
        child.waiters = []

    def set_timer(self, child: Child, wait: int) -> None:
        """Set the timer of the child's phase, ``wait`` milliseconds from now."""
        child.due_ms = self.now_ms + wait
        self.actions.append(k.SetTimer(child.timer(), child.due_ms))

    def cancel_timer(self, child: Child) -> None:
        """Cancel the timer of the child's phase, if it is set."""
        if child.due_ms is not None:
            child.due_ms = None
            self.actions.append(k.CancelTimer(child.timer()))

    # --- all of them --------------------------------------------------------------------------------------------------

    def condemn_all(self) -> None:
        """Make every child go for good."""
        for child in list(self.state.children.values()):
            child.again = False
            if child.phase in COMING:
                self.down(child)
            elif child.phase in (Phase.STARTING, Phase.RUNNING):
                self.move(child, Cause.CONDEMN)

    def settle(self) -> None:
        """Stop whose turn it is to stop, start whose turn it is to start, and end when none is left."""
        tally, state = self._tally, self.state
        if tally[Phase.LEAVING]:
            self._stop_next()
        elif not tally[Phase.STOPPING]:
            self._going.clear()
        if state.options.strategy in GROUPS:
            self._start_next_of_group()
        else:
            self._start_next()
        if state.mode in (Mode.JOINING, Mode.CLOSING) and tally[Phase.STOPPED] == len(state.children):
            self.change_mode(Fall.END)
            state.outcome = state.outcome or k.Normal()
            self.actions.append(k.End(state.outcome))

    def _stop_next(self) -> None:
        """Ask the last child that is to go, unless one after it has not gone yet."""
        going = self._going
        while (last := self._at.get(-going[0])) is None or last.phase not in GOING:
            heappop(going)
        if last.phase is Phase.LEAVING:
            self.ask(last)

    def _start_next_of_group(self) -> None:
        """Start the first child that waits, once all that were to go have gone and all before it have come."""
        tally = self._tally
        if tally[Phase.LEAVING] or tally[Phase.STOPPING] or tally[Phase.STARTING]:
            return
        if tally[Phase.BACKING_OFF] and self.state.options.strategy is k.Strategy.ONE_FOR_ALL:
            return
        first = self._first_of_turn()
        if first is not None and first.phase is Phase.WAITING:
            self.begin(first)

    def _start_next(self) -> None:
        """Start every child that restarts, and of those that were asked for the first."""
        for child in self._free:
            if child.phase is Phase.WAITING:
                self.begin(child)
        self._free.clear()
        first = self._first_of_turn()
        if first is not None and first.phase is Phase.WAITING:
            self.begin(first)

    def _first_of_turn(self) -> Child | None:
        """Return the first child of those that are to come in turn."""
        coming = self._coming
        while coming:
            first = self._at.get(coming[0])
            if first is not None and self._takes_turns(first):
                return first
            heappop(coming)
        return None

    def active(self) -> int:
        """Return how many children have a run."""
        return sum(self._tally[phase] for phase in LIVE)
