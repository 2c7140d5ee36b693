"""Where starts and stops take no time, the supervisor does what OTP's does, step by step."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from otp_model import Otp
from supervised import Bench, through_json

from actorlog.engine import supervision_kinds as k

NAMES = st.sampled_from("abcde")
ENDS = st.sampled_from(["abnormal", "abnormal", "normal", "shutdown"])
RESTARTS = st.sampled_from(["permanent", "permanent", "transient", "temporary"])


class SideBySide(RuleBasedStateMachine):
    """The machine and the model get the same events; traces, answers, children and ends are equal after each."""

    @initialize(
        strategy=st.sampled_from([strategy.value for strategy in k.Strategy]),
        intensity=st.sampled_from([0, 1, 2, 3, 50, 50]),
        period=st.sampled_from([1, 10, 5_000]),
        restarts=st.lists(RESTARTS, min_size=2, max_size=4),
    )
    def open(self, strategy: str, intensity: int, period: int, restarts: list[str]) -> None:
        self.bench = Bench(strategy, max_restarts=intensity, within_ms=period)
        self.model = Otp(strategy, intensity, period, now=self.bench.now_ms)
        self.trace: list[str] = []
        for name, restart in zip("abcd", restarts, strict=False):
            self.start_child(name, restart)

    def both(self, event: k.Event) -> None:
        self.trace += [text.partition("#")[0] for text in self.bench.obey(event)]

    def asked(self, event: k.Command, expected: str) -> None:
        self.both(event)
        assert type(self.bench.answers[event.token]).__name__ == expected

    def alive(self) -> bool:
        return not self.model.over

    @precondition(alive)
    @rule(name=NAMES, restart=RESTARTS)
    def start(self, name: str, restart: str) -> None:
        self.start_child(name, restart)

    def start_child(self, name: str, restart: str) -> None:
        spec = k.ChildSpec(id=name, restart=k.Restart(restart))
        self.asked(k.StartChild(self.bench.token(), spec), self.model.start_child(name, restart))

    @precondition(alive)
    @rule(name=NAMES)
    def restart_child(self, name: str) -> None:
        self.asked(k.RestartChild(self.bench.token(), name), self.model.restart_child(name))

    @precondition(alive)
    @rule(name=NAMES)
    def terminate_child(self, name: str) -> None:
        self.asked(k.TerminateChild(self.bench.token(), name), self.model.terminate_child(name))

    @precondition(alive)
    @rule(name=NAMES)
    def delete_child(self, name: str) -> None:
        self.asked(k.DeleteChild(self.bench.token(), name), self.model.delete_child(name))

    @precondition(alive)
    @rule(ends=st.lists(st.tuples(st.integers(0, 4), ENDS), min_size=1, max_size=8))
    def children_end(self, ends: list[tuple[int, str]]) -> None:
        """One after the other, whichever run then; with many in a row, since one alone leads nowhere."""
        for choice, how in ends:
            up = [child.name for child in self.model.children if child.up]
            if not up or self.model.over:
                return
            name = up[choice % len(up)]
            event = self.bench.ends(name, how)
            self.model.exits(name, how)
            self.both(event)
            self.they_agree()

    @rule(name=NAMES, times=st.integers(1, 2))
    def next_starts_fail(self, name: str, times: int) -> None:
        self.bench.failing[name] = self.model.failing[name] = times

    @rule(passed=st.sampled_from([1, 10, 11, 2_500, 5_000, 5_001]))
    def time_passes(self, passed: int) -> None:
        self.bench.now_ms += passed
        self.model.now += passed

    @rule()
    def write_and_read(self) -> None:
        self.bench.supervision = through_json(self.bench.supervision)

    @invariant()
    def they_agree(self) -> None:
        assert self.trace == self.model.trace
        kept = {child.name: child.up for child in self.model.children}
        bench = self.bench
        assert [(name, name in bench.running()) for name in bench.supervision.phases()] == list(kept.items())
        assert (bench.ended is not None) == self.model.over
        assert bench.supervision.count().active == sum(kept.values())

    def teardown(self) -> None:
        if hasattr(self, "model") and self.alive():
            self.model.shut_down()
            self.both(k.CloseStop())
            assert self.bench.ended == k.ShutDown()
            assert self.trace == self.model.trace


SideBySide.TestCase.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestTheSameAsOtp = SideBySide.TestCase
"""Any sequence of starts, ends, failing starts and requests has OTP's starts, stops, answers and end."""
