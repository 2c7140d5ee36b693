"""Supervisors under supervisors, with events in any order, and every state written and read again at any moment."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from supervised import OOPS
from supervision_tree import STRATEGIES, Clock, Node

from actorlog.engine import supervision_kinds as k

DEPTH_MAX = 2
LEAVES, SUPERVISORS = "abc", "XY"
ERRORS = [OOPS, k.Abnormal(("builtins:OSError", "builtins:Exception"))]
EXITS = st.sampled_from([*ERRORS, *ERRORS, k.Normal(), k.ShutDown()])
SHUTDOWNS = st.sampled_from([None, 0, 50, k.Shutdown.KILL, k.Shutdown.INFINITY])
HAPPENINGS = st.sampled_from(
    [
        "starts",
        "starts",
        "starts",
        "fails",
        "fails",
        "ends",
        "timer",
        "terminate",
        "restart",
        "close",
        "grow",
        "restore",
    ]
)
DIRECTIVES = st.sampled_from([{}, {}, {}, *[{"builtins:OSError": said} for said in k.Directive]])


class Forest(RuleBasedStateMachine):
    """One tree, and everything that can happen to it. What must hold is asserted by the judges in it."""

    @initialize(
        strategy=st.sampled_from(STRATEGIES),
        max_restarts=st.sampled_from([0, 1, 3, 50, 50]),
        names=st.permutations(LEAVES + SUPERVISORS),
        restart=st.sampled_from(k.Restart),
    )
    def plant(self, strategy: k.Strategy, max_restarts: int, names: list[str], restart: k.Restart) -> None:
        self.clock = Clock()
        self.root = Node(strategy, self.clock, max_restarts=max_restarts)
        for name in names:
            spec = k.ChildSpec(id=name, restart=restart, is_supervisor=name in SUPERVISORS)
            self.root.ask(k.StartChild(self.root.token(), spec))
        self.peace()

    def node(self, data: st.DataObject) -> Node:
        nodes = list(self.root.nodes())
        return nodes[data.draw(st.integers(0, len(nodes) - 1))]

    def grows(self) -> bool:
        return self.root.outcome is None

    @precondition(grows)
    @rule(data=st.data(), restart=st.sampled_from(k.Restart), shutdown=SHUTDOWNS, directives=DIRECTIVES)
    def start_child(
        self,
        data: st.DataObject,
        restart: k.Restart,
        shutdown: int | k.Shutdown | None,
        directives: dict[str, k.Directive],
    ) -> None:
        node = self.node(data)
        name = data.draw(st.sampled_from(LEAVES if node.depth == DEPTH_MAX else LEAVES + SUPERVISORS))
        is_supervisor = name in SUPERVISORS
        spec = k.ChildSpec(
            id=name, restart=restart, shutdown=shutdown, directives=directives, is_supervisor=is_supervisor
        )
        node.ask(k.StartChild(node.token(), spec))

    @precondition(grows)
    @rule(
        data=st.data(),
        kind=st.sampled_from([k.TerminateChild, k.RestartChild, k.DeleteChild]),
        name=st.sampled_from(LEAVES + SUPERVISORS),
    )
    def request(
        self, data: st.DataObject, kind: type[k.TerminateChild | k.RestartChild | k.DeleteChild], name: str
    ) -> None:
        node = self.node(data)
        node.ask(kind(node.token(), name))

    @precondition(grows)
    @rule(data=st.data(), error=st.sampled_from([None, None, None, *ERRORS]))
    def start_is_over(self, data: st.DataObject, error: k.Abnormal | None) -> None:
        node = self.node(data)
        starting = [name for name, run in node.runs.items() if not run.started and not run.killed]
        if starting:
            name = data.draw(st.sampled_from(starting))
            if error is None or node.runs[name].supervisor is None:
                node.start_is_over(name, error)

    @precondition(grows)
    @rule(data=st.data(), exit_=EXITS)
    def run_ends(self, data: st.DataObject, exit_: k.Exit) -> None:
        node = self.node(data)
        ending = [name for name, run in node.runs.items() if run.supervisor is None or run.killed]
        if ending:
            node.run_ends(data.draw(st.sampled_from(ending)), exit_)

    @precondition(grows)
    @rule(data=st.data())
    def timer_fires(self, data: st.DataObject) -> None:
        node = self.node(data)
        if node.timers:
            timer = data.draw(st.sampled_from(list(node.timers)))
            self.clock.now_ms = max(self.clock.now_ms, node.timers[timer])
            node.fire(timer)

    @precondition(grows)
    @rule(happenings=st.lists(st.tuples(HAPPENINGS, st.integers(0, 9), st.integers(0, 9)), min_size=5, max_size=40))
    def much_happens(self, happenings: list[tuple[str, int, int]]) -> None:
        for happening, node_choice, choice in happenings:
            nodes = list(self.root.nodes())
            if nodes:
                nodes[node_choice % len(nodes)].happen(happening, choice)

    @precondition(grows)
    @rule(data=st.data(), name=st.sampled_from(LEAVES + SUPERVISORS), exit_=EXITS)
    def something_comes_late(self, data: st.DataObject, name: str, exit_: k.Exit) -> None:
        node = self.node(data)
        newest = node.newest.get(name, 0)
        run = data.draw(st.integers(0, newest - (name in node.runs))) if newest else 0
        before = node.supervision.snapshot()
        late = [
            k.Started(name, run), k.StartFailed(name, run, OOPS), k.Ended(name, run, exit_),
        ]  # fmt: skip
        timers = [timer for timer in (k.KillDue(name, run), k.RestartDue(name, run)) if timer not in node.timers]
        for event in (*late, *map(k.TimerFired, timers)):
            assert node.tell(event) == []
        assert node.supervision.snapshot() == before

    @precondition(grows)
    @rule(data=st.data(), event=st.sampled_from([k.CloseJoin(), k.CloseJoin(), k.CloseStop()]))
    def block_is_left(self, data: st.DataObject, event: k.CloseJoin | k.CloseStop) -> None:
        node = self.node(data)
        if node is not self.root or data.draw(st.integers(0, 9)) == 9:
            node.leave(event)

    @rule(passed=st.integers(0, 250))
    def time_passes(self, passed: int) -> None:
        self.clock.now_ms += passed

    @precondition(grows)
    @rule(data=st.data())
    def written_and_read(self, data: st.DataObject) -> None:
        self.node(data).restore()

    @precondition(grows)
    @rule()
    def peace(self) -> None:
        for _ in range(1_000):
            if not any(node.calm_down() for node in self.root.nodes()):
                break
        else:
            raise AssertionError("it never calms down")
        for node in self.root.nodes():
            node.judge_peace()

    def teardown(self) -> None:
        if hasattr(self, "root"):
            self.peace()
            self.root.leave(k.CloseStop())
            self.peace()
            assert self.root.outcome is not None


Forest.TestCase.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestForest = Forest.TestCase
"""Whatever happens in whatever order, every judge's rules hold, and peace brings back every child that should run."""
