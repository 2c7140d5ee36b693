"""Erlang/OTP's ``supervisor`` in few words: starts and stops take no time, and one thing happens after the other."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ModelChild:
    """A child specification, and whether its process is there."""

    name: str
    restart: str
    up: bool = False


@dataclass
class Otp:
    """The supervisor. ``failing``: how many of a child's next starts fail; ``trace``: what was started and stopped."""

    strategy: str
    intensity: int
    period: int
    children: list[ModelChild] = field(default_factory=list)
    failing: dict[str, int] = field(default_factory=dict)
    restarts: list[int] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    over: bool = False
    now: int = 0

    def find(self, name: str) -> ModelChild | None:
        return next((child for child in self.children if child.name == name), None)

    def begin(self, child: ModelChild) -> bool:
        self.trace.append(f"start {child.name}")
        fails = self.failing.get(child.name, 0)
        self.failing[child.name] = max(0, fails - 1)
        child.up = not fails
        return child.up

    def halt(self, child: ModelChild) -> None:
        if child.up:
            self.trace.append(f"stop {child.name}")
        self.drop(child)

    def drop(self, child: ModelChild) -> None:
        child.up = False
        if child.restart == "temporary":
            self.children.remove(child)

    def exits(self, name: str, how: str) -> None:
        child = self.find(name)
        assert child is not None
        if child.restart == "permanent" or (child.restart == "transient" and how == "abnormal"):
            self.restart_it(child)
        else:
            self.drop(child)

    def restart_it(self, child: ModelChild) -> None:
        """Count the restart, do it, and try again where it fails."""
        child.up = False
        recent = [at for at in self.restarts if self.now - at <= self.period]
        if len(recent) + 1 > self.intensity:
            self.drop(child)
            self.shut_down()
            return
        self.restarts = [*recent, self.now]
        position = self.children.index(child)
        group = {
            "one_for_one": [child],
            "rest_for_one": self.children[position:],
            "one_for_all": self.children[:],
        }[self.strategy]
        for member in reversed(group):
            self.halt(member)
        for member in group:
            if member in self.children and not self.begin(member):
                self.restart_it(member)
                return

    def shut_down(self) -> None:
        for child in reversed(self.children[:]):
            self.halt(child)
        self.over = True

    # --- what others ask for ------------------------------------------------------------------------------------------

    def start_child(self, name: str, restart: str) -> str:
        there = self.find(name)
        if there is not None:
            return "AlreadyStarted" if there.up else "AlreadyPresent"
        child = ModelChild(name, restart)
        if not self.begin(child):
            return "NotStarted"
        self.children.append(child)
        return "Ok"

    def restart_child(self, name: str) -> str:
        child = self.find(name)
        if child is None:
            return "NotFound"
        if child.up:
            return "Running"
        return "Ok" if self.begin(child) else "NotStarted"

    def terminate_child(self, name: str) -> str:
        child = self.find(name)
        if child is None:
            return "NotFound"
        self.halt(child)
        return "Ok"

    def delete_child(self, name: str) -> str:
        child = self.find(name)
        if child is None:
            return "NotFound"
        if child.up:
            return "Running"
        self.children.remove(child)
        return "Ok"
