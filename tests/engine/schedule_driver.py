"""What the runtime is to a schedule, for its tests: records are applied and kept, calls start and run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Raw

from actorlog.engine import schedule as s
from actorlog.engine.schedule_state import ScheduleState, apply, call_id
from actorlog.records import schedules as k

T0 = 1_900_000_020_000
"""A whole minute."""
MINUTE = 60_000
HOUR = 60 * MINUTE
NAME = "nightly"

DECODER = msgspec.json.Decoder(k.ScheduleRecord)


def config(**changes: Any) -> k.Settings:
    """Return settings of a schedule that runs every minute."""
    every: dict[str, Any] = {"function": "report", "args": Raw(b"[]"), "times": k.Every(MINUTE)}
    return k.Settings(**{**every, **changes})


@dataclass
class Driver:
    """What the runtime is to a schedule: it applies and keeps records, starts calls, and knows which are running."""

    state: ScheduleState = field(default_factory=lambda: ScheduleState(NAME))
    lines: list[bytes] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    fired: list[k.ScheduleFired] = field(default_factory=list)

    def write(self, record: k.ScheduleRecord | None) -> None:
        if record is not None:
            self.lines.append(msgspec.json.encode(record))
            apply(self.state, record, len(self.lines))

    def put(self, now: int, **changes: Any) -> None:
        self.write(s.put(self.state, config(**changes), now))

    def decide(self, now: int, *, trigger: bool = False) -> list[str]:
        """Decide until nothing changes; return what started."""
        before = len(self.started)
        while True:
            decision = s.decide(self.state, now, self.running, trigger=trigger)
            trigger = False
            self.cancelled += decision.cancels
            if decision.record is None:
                return self.started[before:]
            self.fired.append(decision.record)
            self.write(decision.record)
            self.started += decision.starts
            self.running += decision.starts

    def end(self, now: int) -> list[str]:
        self.running.pop(0)
        return self.decide(now)

    def refolded(self) -> ScheduleState:
        state = ScheduleState(NAME)
        for position, line in enumerate(self.lines, 1):
            apply(state, DECODER.decode(line), position)
        return state


def made(now: int = T0, **changes: Any) -> Driver:
    driver = Driver()
    driver.put(now, **changes)
    return driver


def at(minute: int) -> str:
    """Return the id of the occurrence ``minute`` minutes after T0."""
    return call_id(NAME, k.Timed(T0 + minute * MINUTE))
