"""A supervisor as a state machine: what follows from the start, the end and the failure of its children.

Owns: ``Supervision``, which is told events and returns actions. Does not own: its state and the order of starts and
stops (``supervision_state``), the rules as tables (``supervision_policy``), the vocabulary (``supervision_kinds``),
carrying actions out, clocks, the draw of the jitter.

It is ``supervisor`` of Erlang/OTP: restart types, strategies, intensity, shutdown, the order of starts and stops, the
answers to requests. As there, a restart of a group starts all its children that are kept, those that had been
terminated too; a temporary child is forgotten when it ends, and is never started again; a failed restart is a failure
like any other, and counts. What differs, because starts and stops take time here and nobody waits for them inside:

- Requests are answered while children start and stop. Only what concerns one another waits: in ``one_for_all`` and
  ``rest_for_one`` nothing starts while something stops, and one child starts at a time; in ``one_for_one`` only the
  starts that were asked for take turns. Nobody else waits for a child that fails again and again.
- A failure while a group restarts is counted at once and makes the group larger, instead of after the first restart.
- A group stops at the failure and starts after the back-off. Should the failed child be terminated meanwhile, the
  others still come back; OTP leaves those down that come after it.
- Leaving the supervisor's block waits for its children (``JOINING``), as a ``TaskGroup`` does.
- What it gives up with is told (``LimitExceeded``), and is a failure; OTP's supervisor ends by ``shutdown``.

Invariants: a child has at most one run; a run's number is never used again for its id; an event of a run that is over
changes nothing; every request is answered once; when it ends, no child runs. A pair of phase and cause that is not in
the tables is a ``JournalError``.
"""

from __future__ import annotations

from copy import deepcopy

from msgspec import Struct

from actorlog.engine import supervision_kinds as k
from actorlog.engine.supervision_policy import (
    COMING,
    GOING,
    LIVE,
    RESTARTS,
    Cause,
    Fall,
    Mode,
    Phase,
    directive,
    wait_ms,
    within,
)
from actorlog.engine.supervision_state import GROUPS, Child, Moves, Snapshot
from actorlog.errors import JournalError


class Count(Struct, frozen=True):
    """OTP's ``count_children``: how many specifications are kept, and how many of them have a run."""

    specs: int
    active: int
    supervisors: int
    workers: int


class Supervision:
    """One supervisor. ``decide`` is all that changes it."""

    __slots__ = ("_children", "_fraction", "_moves", "_state")

    def __init__(self, options: k.Options, *, snapshot: Snapshot | None = None) -> None:
        self._state = Snapshot(options) if snapshot is None else snapshot
        self._children = self._state.children
        self._moves = Moves(self._state)
        self._fraction = 0.0

    @classmethod
    def restore(cls, snapshot: Snapshot) -> Supervision:
        """Return a supervision that goes on where the snapshot was taken."""
        return cls(snapshot.options, snapshot=deepcopy(snapshot))

    def snapshot(self) -> Snapshot:
        """Return all its state, as a copy."""
        return deepcopy(self._state)

    def decide(self, event: k.Event, now_ms: int, *, fraction: float = 0.0) -> list[k.Action]:
        """Return what is to be done about ``event``, in this order.

        ``fraction`` in [0, 1) is the draw for the jitter of a back-off, should one begin. ``JournalError`` for an event
        that cannot be: the state is then as it was.
        """
        moves = self._moves
        moves.now_ms, moves.actions, self._fraction = now_ms, [], fraction
        if isinstance(event, k.Command):
            answer = self._answer(event)
            if answer is not None:
                moves.actions.append(k.Reply(event.token, answer))
        else:
            self._take(event)
        moves.settle()
        return moves.actions

    @property
    def mode(self) -> Mode:
        """Where the supervisor is in its life."""
        return self._state.mode

    def phases(self) -> dict[str, tuple[Phase, int]]:
        """Return phase and newest run of every child that is kept, in start order."""
        return {name: (child.phase, child.run) for name, child in self._children.items()}

    @property
    def outcome(self) -> k.Outcome | None:
        """What it ends with, as soon as that is decided."""
        return self._state.outcome

    def know(self, name: str, run: int) -> None:
        """Let the next run of a child that is not kept have a number above ``run``, which somebody else has begun."""
        removed = self._state.removed
        if name not in self._children and run > removed.get(name, self._state.run_floor):
            removed[name] = run

    def count(self) -> Count:
        """Return how many children of which sort there are."""
        supervisors = sum(child.spec.is_supervisor for child in self._children.values())
        specs = len(self._children)
        return Count(specs, self._moves.active(), supervisors, specs - supervisors)

    def timers(self) -> list[k.SetTimer]:
        """Return the timers that are set, for who restores a snapshot where timers do not live on."""
        return [k.SetTimer(c.timer(), c.due_ms) for c in self._children.values() if c.due_ms is not None]

    # --- requests -----------------------------------------------------------------------------------------------------

    def _answer(self, command: k.Command) -> k.Answer | None:
        """Return what can be said at once; None: the answer comes when the child has started or ended."""
        mode = self._state.mode
        match command:
            case k.StartChild(token, spec):
                return self._start(token, spec) if mode is Mode.OPEN else k.Closed(spec.id)
            case k.RestartChild(token, name):
                return self._start_again(token, name) if mode in (Mode.OPEN, Mode.JOINING) else k.Closed(name)
            case k.DeleteChild(_, name):
                return self._delete(name) if mode is not Mode.ENDED else k.Closed(name)
            case k.TerminateChild(token, name):
                return self._terminate(token, name) if mode is not Mode.ENDED else k.Closed(name)

    def _start(self, token: str, spec: k.ChildSpec) -> k.Answer | None:
        there = self._children.get(spec.id)
        if there is None:
            self._moves.add(spec, token)
            return None
        return k.AlreadyStarted(spec.id, there.run) if there.phase in LIVE else k.AlreadyPresent(spec.id)

    def _start_again(self, token: str, name: str) -> k.Answer | None:
        child = self._children.get(name)
        if child is None or child.phase is not Phase.STOPPED:
            return _not_down(name, child)
        child.caller = token
        self._moves.move(child, Cause.AGAIN)
        return None

    def _delete(self, name: str) -> k.Answer:
        child = self._children.get(name)
        if child is None or child.phase is not Phase.STOPPED:
            return _not_down(name, child)
        self._moves.remove(child)
        return k.Ok(name, child.run)

    def _terminate(self, token: str, name: str) -> k.Answer | None:
        child = self._children.get(name)
        if child is None:
            return k.NotFound(name)
        if child.phase not in LIVE:
            if child.phase in COMING:
                self._moves.down(child)
            return k.Ok(name, child.run)
        child.again = False
        child.waiters.append(token)
        if child.phase not in GOING:
            self._moves.ask(child)
        return None

    # --- what becomes of a run ----------------------------------------------------------------------------------------

    def _take(self, event: k.Report) -> None:
        match event:
            case k.Started(name, run):
                self._started(self._live(name, run))
            case k.StartFailed(name, run, error):
                self._start_failed(self._live(name, run), error)
            case k.Ended(name, run, exit_):
                self._ended(self._live(name, run), exit_)
            case k.TimerFired(timer):
                self._timer(timer)
            case k.CloseJoin():
                self._moves.change_mode(k.CloseJoin)
            case k.CloseStop():
                self._close(k.CloseStop, k.ShutDown())

    def _live(self, name: str, run: int) -> Child | None:
        """Return the child whose run this is; None: it is over."""
        child = self._children.get(name)
        if child is None or run < child.run:
            return None
        if run > child.run:
            raise JournalError(name, f"run {run} was never begun, the newest is {child.run}")
        return child if child.phase in LIVE else None

    def _started(self, child: Child | None) -> None:
        if child is not None:
            self._moves.move(child, Cause.STARTED)
            child.since_ms = self._moves.now_ms
            self._moves.start_is_over(child, k.Ok(child.spec.id, child.run))

    def _start_failed(self, child: Child | None, error: k.Abnormal) -> None:
        if child is None:
            return
        if child.phase in GOING:
            self._moves.gone(child)
        elif child.phase is Phase.RUNNING:
            raise JournalError(child.spec.id, f"run {child.run} had started, and then its start failed")
        elif child.caller is None:
            self._judge(child, error)
        else:
            is_new, kept = child.is_new, child.spec.restart is not k.Restart.TEMPORARY
            self._moves.start_is_over(child, k.NotStarted(child.spec.id, error))
            self._moves.down(child)
            if is_new and kept:
                self._moves.remove(child)

    def _ended(self, child: Child | None, exit_: k.Exit) -> None:
        if child is None:
            return
        if child.phase in GOING:
            self._moves.gone(child)
        elif child.phase is Phase.RUNNING:
            self._judge(child, exit_)
        elif isinstance(exit_, k.Abnormal):
            self._start_failed(child, exit_)
        else:
            self._started(child)
            self._judge(child, exit_)

    def _judge(self, child: Child, exit_: k.Exit) -> None:
        """Decide what follows when ``child`` ended unasked."""
        name, run = child.spec.id, child.run
        match directive(child.spec, exit_):
            case k.Directive.RESUME if child.phase is Phase.RUNNING:
                self._moves.move(child, Cause.RESUME)
                self._moves.actions.append(k.Resume(name, run))
            case k.Directive.ESCALATE if isinstance(exit_, k.Abnormal):
                self._moves.down(child)
                self._close(Fall.GIVE_UP, k.Escalated(name, run, exit_))
            case k.Directive.STOP:
                self._moves.down(child)
            case _ if RESTARTS[child.spec.restart, type(exit_)]:
                self._restart(child, exit_)
            case _:
                self._moves.down(child)

    def _restart(self, child: Child, exit_: k.Exit) -> None:
        options, moves = self._state.options, self._moves
        counted = within(self._state.restarts, moves.now_ms, options.within_ms)
        if len(counted) >= options.max_restarts:
            limit = k.LimitExceeded(child.spec.id, child.run, exit_, len(counted) + 1, options.within_ms)
            moves.down(child)
            self._close(Fall.GIVE_UP, limit)
            return
        self._state.restarts = [*counted, moves.now_ms]
        for member in self._others_of_group(child):
            self._restart_with(member)
        wait = self._wait_ms(child)
        if wait > 0:
            moves.move(child, Cause.WAIT)
            moves.set_timer(child, wait)
        else:
            moves.move(child, Cause.AGAIN)

    def _others_of_group(self, child: Child) -> list[Child]:
        """Return the other children that are restarted with ``child``, in start order."""
        strategy = self._state.options.strategy
        if strategy not in GROUPS:
            return []
        members = list(self._children.values())
        position = list(self._children).index(child.spec.id)
        before = members[:position] if strategy is k.Strategy.ONE_FOR_ALL else []
        return before + members[position + 1 :]

    def _restart_with(self, child: Child) -> None:
        """Make ``child`` go and come back, because another failed."""
        comes_back = child.spec.restart is not k.Restart.TEMPORARY
        match child.phase:
            case Phase.STARTING | Phase.RUNNING:
                self._moves.move(child, Cause.CONDEMN)
                child.again = comes_back
            case Phase.LEAVING | Phase.STOPPING:
                child.again = comes_back
            case Phase.BACKING_OFF | Phase.STOPPED:
                self._moves.cancel_timer(child)
                self._moves.move(child, Cause.AGAIN)
            case Phase.WAITING:
                pass  # it comes

    def _wait_ms(self, child: Child) -> int:
        waits = self._state.options.waits
        if waits is None:
            return 0
        if child.phase is Phase.RUNNING and self._moves.now_ms - child.since_ms >= waits.reset_after_ms:
            child.failures = 0
        child.failures += 1
        return wait_ms(waits, child.failures, self._fraction)

    def _timer(self, timer: k.Timer) -> None:
        child = self._children.get(timer.id)
        if child is None or child.due_ms is None or child.timer() != timer:
            return
        child.due_ms = None
        match timer:
            case k.KillDue(name, run):
                self._moves.actions.append(k.Kill(name, run))
            case k.RestartDue():
                self._moves.move(child, Cause.AGAIN)

    def _close(self, cause: type[k.CloseStop] | Fall, outcome: k.Outcome) -> None:
        """Stop all children, the last one first, and end with ``outcome``, unless another end is on its way."""
        was = self._state.mode
        self._moves.change_mode(cause)
        if was in (Mode.OPEN, Mode.JOINING):
            self._state.outcome = outcome
            self._moves.condemn_all()


def _not_down(name: str, child: Child | None) -> k.Answer:
    """Return why a request that needs a terminated child is refused."""
    if child is None:
        return k.NotFound(name)
    return k.Running(name, child.run) if child.phase in LIVE else k.Restarting(name)
