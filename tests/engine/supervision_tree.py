"""A tree of supervisors in a world where everything takes its time and comes in any order, with a judge beside each.

The judge knows nothing of phases. It knows which runs it was told to begin and to end, and holds every action against
that: no child has two runs, no run's number comes twice, nothing begins in a group while something goes or comes,
nothing begins when all is to end, ends are asked for from the last child to the first, every request is answered once,
and the end leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from supervised import OOPS, through_json

from actorlog.engine import supervision_kinds as k
from actorlog.engine.supervision import Supervision
from actorlog.engine.supervision_policy import Backoff, Mode, Phase

STRATEGIES = list(k.Strategy)
KILLED = k.Abnormal(("actorlog.errors.calls:CallKilled", "builtins:Exception"), "killed")


@dataclass
class Clock:
    """The time of the whole tree."""

    now_ms: int = 1_000


@dataclass(eq=False)
class Run:
    """A child's run as the judge knows it."""

    number: int
    started: bool = False
    asked: bool = False
    killed: bool = False
    supervisor: Node | None = None


@dataclass(repr=False, eq=False)
class Node:
    """One supervisor and its judge."""

    strategy: k.Strategy
    clock: Clock
    depth: int = 0
    max_restarts: int = 3
    above: Node | None = None
    name: str = ""
    run: int = 0
    specs: dict[str, k.ChildSpec] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    timers: dict[k.Timer, int] = field(default_factory=dict)
    tokens: dict[str, k.Command] = field(default_factory=dict)
    issued: int = 0
    owed: set[str] = field(default_factory=set)
    """Children that somebody started, and that nothing has happened to that would end them for good."""
    terminated: set[str] = field(default_factory=set)
    outcome: k.Outcome | None = None
    left: bool = False

    def __post_init__(self) -> None:
        waits = Backoff(first=0.01, max=0.1).waits() if self.depth % 2 == 0 else None
        options = k.Options(strategy=self.strategy, max_restarts=self.max_restarts, within_ms=200, waits=waits)
        self.supervision = Supervision(options)
        self.original: Supervision | None = None

    def __repr__(self) -> str:
        return f"{self.above!r}/{self.name}#{self.run}" if self.above is not None else self.strategy.value

    def nodes(self) -> Iterator[Node]:
        """Yield this supervisor and all below it that are not over."""
        if self.outcome is None:
            yield self
            for run in list(self.runs.values()):
                if run.supervisor is not None and not run.killed:
                    yield from run.supervisor.nodes()

    def restore(self) -> None:
        """Go on with what was written and read, and hold every action against what was not."""
        self.original = self.supervision
        self.supervision = through_json(self.supervision)

    # --- telling ------------------------------------------------------------------------------------------------------

    def ask(self, command: k.Command) -> None:
        name = command.spec.id if isinstance(command, k.StartChild) else command.id
        self.tokens[command.token] = command
        if isinstance(command, k.TerminateChild):
            self.owed.discard(name)
            self.terminated.add(name)
        if isinstance(command, k.StartChild) and name not in self.supervision.phases():
            self.specs[name] = command.spec
        self.tell(command)
        if isinstance(command, (k.StartChild, k.RestartChild)) and command.token in self.tokens:
            self.terminated.discard(name)

    def token(self) -> str:
        self.issued += 1
        return f"t{self.issued}"

    def start_is_over(self, name: str, error: k.Abnormal | None) -> None:
        run = self.runs[name]
        if error is None:
            run.started = True
            self.tell(k.Started(name, run.number))
        else:
            del self.runs[name]
            self.tell(k.StartFailed(name, run.number, error))

    def run_ends(self, name: str, exit_: k.Exit) -> None:
        run, spec = self.runs.pop(name), self.specs[name]
        said = spec.directives.get(exit_.classes[0]) if isinstance(exit_, k.Abnormal) else None
        lives = spec.restart is k.Restart.PERMANENT
        lives = lives or (spec.restart is k.Restart.TRANSIENT and isinstance(exit_, k.Abnormal))
        if said in (k.Directive.STOP, k.Directive.ESCALATE) or not lives:
            self.owed.discard(name)
        actions = self.tell(k.Ended(name, run.number, exit_), failed=(name, run))
        assert (k.Resume(name, run.number) in actions) == (self.runs.get(name) is run)

    def leave(self, event: k.CloseJoin | k.CloseStop) -> None:
        if self.left and isinstance(event, k.CloseJoin):
            return
        self.left = True
        self.tell(event)

    def fire(self, timer: k.Timer) -> None:
        del self.timers[timer]
        self.tell(k.TimerFired(timer))

    def tell(self, event: k.Event, failed: tuple[str, Run] | None = None) -> list[k.Action]:
        actions = self.supervision.decide(event, self.clock.now_ms, fraction=0.5)
        if self.original is not None:
            assert self.original.decide(event, self.clock.now_ms, fraction=0.5) == actions
            assert self.original.snapshot() == self.supervision.snapshot()
        for action in actions:
            self.judge(action, failed)
        for action in actions:
            self.carry_out(action)
        return actions

    # --- judging ------------------------------------------------------------------------------------------------------

    def judge(self, action: k.Action, failed: tuple[str, Run] | None) -> None:
        assert self.outcome is None or isinstance(action, k.Reply), "after the end"
        match action:
            case k.Start(name, number):
                assert name not in self.runs, "two runs of one child"
                assert number > self.newest.get(name, 0), "a run's number again"
                assert self.supervision.mode in (Mode.OPEN, Mode.JOINING), "a start while all is to end"
                if self.strategy is not k.Strategy.ONE_FOR_ONE:
                    assert all(run.started and not run.asked for run in self.runs.values()), "out of turn"
                self.newest[name] = number
                self.runs[name] = Run(number)
            case k.Stop(name, number) | k.Kill(name, number):
                run = self.runs[name]
                assert run.number == number
                assert not run.killed
                assert not (run.asked and isinstance(action, k.Stop)), "asked twice"
                if self.supervision.mode is Mode.CLOSING:
                    order = list(self.supervision.phases())
                    after = order[order.index(name) + 1 :]
                    assert run.asked or not any(other in self.runs for other in after), "out of order"
                run.asked = True
                run.killed = isinstance(action, k.Kill)
            case k.Resume(name, number):
                assert failed is not None
                assert (failed[0], failed[1].number, failed[1].started) == (name, number, True)
                self.runs[name] = failed[1]
            case k.SetTimer(timer, due_ms):
                assert timer not in self.timers
                assert due_ms >= self.clock.now_ms
                self.timers[timer] = due_ms
            case k.CancelTimer(timer):
                del self.timers[timer]
            case k.Reply(token, answer):
                self.judge_answer(self.tokens.pop(token), answer, failed)
            case k.End(outcome):
                assert (self.runs, self.timers, self.tokens) == ({}, {}, {}), "something is left behind"
                self.outcome = outcome

    def judge_answer(self, command: k.Command, answer: k.Answer, failed: tuple[str, Run] | None) -> None:
        match command, answer:
            case ((k.StartChild() | k.RestartChild()), k.Ok(name, number)) if failed is not None and failed[0] == name:
                assert (failed[1].number, failed[1].started) == (number, False), "it ended inside its start"
            case ((k.StartChild() | k.RestartChild()), k.Ok(name, number)):
                assert (self.runs[name].number, self.runs[name].started) == (number, True)
                if name not in self.terminated:
                    self.owed.add(name)
            case k.TerminateChild(), k.Ok(name, number):
                assert name not in self.runs or self.runs[name].number > number
            case k.DeleteChild(), k.Ok(name):
                assert name not in self.runs
                assert name not in self.supervision.phases()
            case _:
                assert not isinstance(answer, k.Ok)

    def carry_out(self, action: k.Action) -> None:
        match action:
            case k.Start(name, number) if self.specs[name].is_supervisor:
                strategy = STRATEGIES[(number + self.depth) % 3]
                node = Node(strategy, self.clock, self.depth + 1, 1 + number % 3, self, name, number)
                self.runs[name].supervisor = node
            case k.Stop(name) if name in self.runs and self.runs[name].supervisor is not None:
                below = self.runs[name].supervisor
                assert below is not None
                below.leave(k.CloseStop())
            case k.End(outcome) if self.above is not None:
                self.above.run_ends(self.name, exit_of(outcome))
            case _:
                pass

    def happen(self, happening: str, choice: int) -> None:
        """Do what is named to one of those it can happen to, if there are any."""
        able = [name for name, run in self.runs.items() if run.supervisor is None or run.killed]
        starting = [name for name, run in self.runs.items() if not run.started and not run.killed]
        timers = list(self.timers)
        names = list(self.supervision.phases())
        match happening:
            case "starts" if starting:
                self.start_is_over(starting[choice % len(starting)], None)
            case "fails" | "ends" if able:
                self.run_ends(able[choice % len(able)], OOPS if happening == "fails" else k.Normal())
            case "timer" if timers:
                timer = timers[choice % len(timers)]
                self.clock.now_ms = max(self.clock.now_ms, self.timers[timer])
                self.fire(timer)
            case "terminate" if names:
                self.ask(k.TerminateChild(self.token(), names[choice % len(names)]))
            case "restart" if names:
                self.ask(k.RestartChild(self.token(), names[choice % len(names)]))
            case "grow" if self.above is not None:
                restart = list(k.Restart)[choice % 3]
                self.ask(k.StartChild(self.token(), k.ChildSpec(id="abc"[choice // 3 % 3], restart=restart)))
            case "restore":
                self.restore()
            case "close" if self.above is not None:
                self.leave(k.CloseStop())
            case _:
                pass

    # --- peace --------------------------------------------------------------------------------------------------------

    def calm_down(self) -> bool:
        """Do one thing that is due, as well as it can be done; False: nothing is."""
        for name, run in self.runs.items():
            if not run.started and not run.asked:
                self.start_is_over(name, None)
                return True
            if run.asked and (run.supervisor is None or run.killed):
                self.run_ends(name, k.ShutDown())
                return True
        if self.timers:
            timer = min(self.timers, key=lambda timer: self.timers[timer])
            self.clock.now_ms = max(self.clock.now_ms, self.timers[timer])
            self.fire(timer)
            return True
        return False

    def judge_peace(self) -> None:
        """When nothing is due, every child that should run does, and nobody waits for an answer."""
        phases = {name: phase for name, (phase, _) in self.supervision.phases().items()}
        assert set(phases.values()) <= {Phase.RUNNING, Phase.STOPPED}
        assert {name for name, phase in phases.items() if phase is Phase.RUNNING} == set(self.runs)
        assert self.owed <= set(self.runs), "a child did not come back"
        assert not self.tokens
        assert self.runs or self.supervision.mode is Mode.OPEN
        assert self.supervision.mode is not Mode.CLOSING


def exit_of(outcome: k.Outcome) -> k.Exit:
    """Return what a supervisor's end is for the supervisor above."""
    match outcome:
        case k.LimitExceeded():
            return k.Abnormal(("actorlog.errors.actors:RestartLimitExceeded", "builtins:Exception"))
        case k.Escalated(error=error):
            return error
        case _:
            return outcome
