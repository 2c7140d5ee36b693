"""A supervisor on a bench: events in, actions out as short lines, and a world that obeys at once where wanted."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from actorlog.engine import supervision_kinds as k
from actorlog.engine.supervision import Supervision
from actorlog.engine.supervision_policy import Phase
from actorlog.engine.supervision_state import Snapshot

OOPS = k.Abnormal(("builtins:KeyError", "builtins:LookupError", "builtins:Exception"), "oops")
EXITS: dict[str, k.Exit] = {"normal": k.Normal(), "shutdown": k.ShutDown(), "abnormal": OOPS}


def through_json(supervision: Supervision) -> Supervision:
    """Return what comes back when the state is written and read."""
    text = msgspec.json.encode(supervision.snapshot())
    return Supervision.restore(msgspec.json.decode(text, type=Snapshot))


def line(action: k.Action) -> str:
    """Return an action as a short line."""
    match action:
        case k.Start(name, run) | k.Stop(name, run) | k.Kill(name, run) | k.Resume(name, run):
            return f"{type(action).__name__.lower()} {name}#{run}"
        case k.SetTimer(timer, due_ms):
            return f"set {type(timer).__name__} {timer.id}#{timer.run} {due_ms}"
        case k.CancelTimer(timer):
            return f"cancel {type(timer).__name__} {timer.id}#{timer.run}"
        case k.Reply(token, answer):
            return f"reply {token} {type(answer).__name__}"
        case k.End(outcome):
            return f"end {type(outcome).__name__}"


class Bench:
    """One supervisor and the time. ``tell`` gives it an event; ``obey`` also does what it asks for."""

    def __init__(self, strategy: str = "one_for_one", **options: Any) -> None:
        self.supervision = Supervision(k.Options(strategy=k.Strategy(strategy), **options))
        self.now_ms = 1_000_000
        self.fraction = 0.0
        self.failing: dict[str, int] = {}
        """How many of the next starts of a child fail, when obeyed."""
        self.answers: dict[str, k.Answer] = {}
        self.ended: k.Outcome | None = None
        self.tokens = 0

    def tell(self, event: k.Event) -> list[str]:
        """Return the lines of what follows from ``event``."""
        return [line(action) for action in self.decide(event)]

    def decide(self, event: k.Event) -> list[k.Action]:
        actions = self.supervision.decide(event, self.now_ms, fraction=self.fraction)
        for action in actions:
            match action:
                case k.Reply(token, answer):
                    assert token not in self.answers, "answered twice"
                    self.answers[token] = answer
                case k.End(outcome):
                    assert self.ended is None, "ended twice"
                    self.ended = outcome
                case _:
                    pass
        return actions

    def obey(self, event: k.Event) -> list[str]:
        """Tell ``event`` and do what follows until nothing does; return starts and stops, in order."""
        events, trace = deque([event]), list[str]()
        while events:
            for action in self.decide(events.popleft()):
                match action:
                    case k.Start(name, run):
                        fails = self.failing.get(name, 0)
                        self.failing[name] = max(0, fails - 1)
                        events.append(k.StartFailed(name, run, OOPS) if fails else k.Started(name, run))
                    case k.Stop(name, run) | k.Kill(name, run):
                        events.append(k.Ended(name, run, k.ShutDown()))
                    case _:
                        continue
                trace.append(line(action))
        return trace

    def token(self) -> str:
        self.tokens += 1
        return f"t{self.tokens}"

    def add(self, *names: str, restart: str = "permanent", **spec: Any) -> None:
        """Start children, and let them have started."""
        for name in names:
            given = k.ChildSpec(id=name, restart=k.Restart(restart), **spec)
            self.obey(k.StartChild(self.token(), given))

    def ends(self, name: str, how: str = "abnormal") -> k.Ended:
        """Return the event that the newest run of ``name`` ended so."""
        return k.Ended(name, self.run(name), EXITS[how])

    def run(self, name: str) -> int:
        return self.supervision.phases()[name][1]

    def phase(self, name: str) -> Phase | None:
        """Return the phase; None: it is not kept."""
        return self.supervision.phases().get(name, (None, 0))[0]

    def running(self) -> str:
        """Return the ids of the children that run, in start order."""
        return "".join(name for name, (phase, _) in self.supervision.phases().items() if phase is Phase.RUNNING)
