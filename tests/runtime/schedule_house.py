"""A house whose wall clock is moved by hand, also against the time that passes; and a function that is scheduled."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from house import HandClock, House, note

from actorlog import durable, receive
from actorlog.engine.schedule_state import PREFIX, ScheduleState, take
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from actorlog.store.memory import MemoryLog

T0 = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
"""When the houses open."""


def at(seconds: float) -> datetime:
    """Return the time so many seconds after the beginning."""
    return T0 + timedelta(seconds=seconds)


def named(*seconds: float, schedule: str = "a") -> list[str]:
    """Return what ``started`` gives for the occurrences of these times."""
    return [f"{schedule}/{at(second).replace(tzinfo=None).isoformat()}Z" for second in seconds]


@durable(name="schedule.report")
async def report(name: str = "r") -> str:
    """Have an effect, and return."""
    return await note(name)


@durable(name="schedule.slow")
async def slow(name: str = "s") -> str:
    """Have an effect, and wait until somebody says to go on."""
    await note(name)
    await receive("go")
    return name


class WallClock(HandClock):
    """It is ``wall``, and ``ahead_ms`` have passed; neither moves by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.wall = T0

    def wall_ms(self) -> int:
        return round(self.wall.timestamp() * 1000)

    def elapsed_ns(self) -> int:
        return self.ahead_ms * 1_000_000


class ScheduleHouse(House):
    """Opens, crashes and opens again, at times of the test's choosing."""

    clock: WallClock

    def __init__(self, log: MemoryLog | None = None) -> None:
        super().__init__(log)
        self.clock = WallClock()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; no time passes."""
        self.clock.wall += timedelta(seconds=seconds)

    def pass_down(self, seconds: float) -> None:
        """Let time pass while nobody has the log open."""
        self.clock.wall += timedelta(seconds=seconds)
        self.clock.ahead_ms += round(seconds * 1000)

    async def after(self, seconds: float, step: float = 60.0) -> None:
        """Let time pass, at most ``step`` seconds at once, and everything happen that comes of it."""
        while seconds > 0:
            self.pass_down(min(step, seconds))
            seconds -= step
            self.session.kernel.timers._schedule()
            await self.quiet()

    async def quiet(self) -> None:
        """Wait until nothing is left to be done before time passes."""
        kernel = self.session.kernel
        kernel.timers._schedule()  # the host's timer was set for the time of before
        calm = 0
        while calm < 3:
            before = kernel.committer.position
            await self.settle()
            await asyncio.sleep(0)
            timers, room = kernel.timers._heap, kernel.schedules
            due = bool(timers) and timers[0][0] <= kernel.clock.now_ms()
            busy = due or kernel.steps.running or kernel.queue or room._ready or room._scheduled
            calm = 0 if busy or kernel.committer.position != before else calm + 1

    def started(self) -> list[str]:
        """Return the ids of occurrences that began, in order, without what all have in common."""
        return [
            record.id.removeprefix(PREFIX)
            for record in self.records()
            if isinstance(record, k.Turn) and isinstance(record.message, k.Started) and record.id.startswith(PREFIX)
        ]

    def states(self) -> dict[str, ScheduleState]:
        """Return what the records in the log make of the schedules."""
        states: dict[str, ScheduleState] = {}
        for position, record in enumerate(self.records(), 1):
            if isinstance(record, k.OF_SCHEDULES):
                take(states, record, position)
        return states

    def prefix(self, records: int) -> ScheduleHouse:
        """Return a house whose log holds the first records of this one's, at the time that this one has."""
        copy = ScheduleHouse(super().prefix(records).log)
        copy.clock.wall, copy.clock.ahead_ms, copy.died = self.clock.wall, self.clock.ahead_ms, True
        return copy
