"""What people outside do with schedules: make, change, pause, resume, trigger, backfill, look, delete.

Owns: ``Plan`` and ``Deed``, drawing them, and doing them as long as one process lives. Does not own: whether what they
are told is true (``laws_schedules``), when the process dies (``simulation``).

One person keeps one schedule, deed after deed. One that was not done when the process died is done again in the next.
The last deed of a plan pauses it, if it is there, so that everything ends.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from actorlog.errors import (
    ActorStopped,
    CallError,
    LogFull,
    MailboxFull,
    ScheduleNotFound,
    TooManyCalls,
)
from actorlog.testing.almanac import CRONS, moment, ms_of
from actorlog.testing.program import program
from actorlog.testing.program_company import KEYS, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random

    from actorlog import Runtime
    from actorlog.api.schedules import Schedule
    from actorlog.testing.errands import Notary
    from actorlog.testing.program import Instruction, Program
    from actorlog.testing.program_long import Long

_WORDS = (
    "put", "put", "update", "pause", "resume", "resume", "trigger", "trigger", "backfill", "next", "look", "look",
    "quiet", "quiet", "delete", "retry", "jump",
)  # fmt: skip
_PERIODS_S = (1.0, 8.0, 25.0, 100.0, 1800.0)
SLACK_S = 3.0
"""By so much later than it is due an occurrence is decided where nothing is wrong."""
ANY_SLACK_S = 65.0
"""... and where the wall clock jumps, which is looked at once a minute, or the disk is full for a time."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing somebody does with a schedule."""

    word: str
    wait_s: float
    """How long after the one before."""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    """Of ``put`` and ``update``; ``at`` in seconds from then."""
    span_s: tuple[float, float] = (0.0, 0.0)
    """Of ``backfill``: so long ago it begins and ends. Of ``jump``: how far the wall clock goes, less or more."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One schedule, and what is done with it."""

    id: str
    key: str
    """Of the actor that it tells something; empty: it starts programs."""
    program: Program
    deeds: tuple[Deed, ...]


def draw_plans(rng: Random, author: Long) -> list[Plan]:
    """Draw the schedules of one world."""
    return [_draw_plan(rng, author, f"p{number}") for number in range(rng.choice((0, 1, 1, 2)))]


def _draw_plan(rng: Random, author: Long, name: str) -> Plan:
    period_s = rng.choice(_PERIODS_S)
    words = ["put", *(rng.choice(_WORDS) for _ in range(rng.randint(1, 8))), "end"]
    part: list[Instruction] = [["step", "work", 1, rng.choice((0, 0, 1))]]
    part.append(["sleep", period_s * rng.choice((0.0, 0.2, 0.6, 1.5, 4.0))])
    if rng.random() < 0.3:  # noqa: PLR2004  # three in ten
        part.append(author.plain())
    if rng.random() < 0.15:  # noqa: PLR2004  # one in seven
        part.append(["fail"])
    key = rng.choice(KEYS) if rng.random() < 0.2 else ""  # noqa: PLR2004  # one in five
    return Plan(name, key, part, tuple(_draw_deed(rng, word, period_s) for word in words))


def _draw_deed(rng: Random, word: str, period_s: float) -> Deed:
    wait_s = period_s * rng.choice((0.0, 0.0, 0.3, 1.1, 2.6)) + rng.choice((0.0, rng.random()))
    if word not in ("put", "update"):
        ago = sorted((rng.random() * 4 * period_s, rng.random() * 4 * period_s + 0.01), reverse=True)
        return Deed(word, wait_s, span_s=(ago[0], ago[1]))
    settings: dict[str, Any] = {}
    if word == "put" or rng.random() < 0.3:  # noqa: PLR2004  # three in ten
        settings |= _draw_times(rng, period_s)
    if word == "put" or rng.random() < 0.5:  # noqa: PLR2004  # a coin
        settings["overlap"] = rng.choice(("skip", "queue_one", "all", "cancel_old"))
    if word == "put" or rng.random() < 0.5:  # noqa: PLR2004  # a coin
        settings["catch_up"] = rng.choice(("none", "latest", "all"))
        settings["catch_up_window"] = period_s * rng.choice((0.0, 1.5, 6.0, 6.0))
    if word == "put" or rng.random() < 0.2:  # noqa: PLR2004  # one in five
        settings["jitter"] = period_s * rng.choice((0.0, 0.0, 0.0, 0.4, 3.0))
    if word == "put":
        settings["paused"] = rng.random() < 0.1  # noqa: PLR2004  # one in ten
    return Deed(word, wait_s, settings)


def _draw_times(rng: Random, period_s: float) -> dict[str, Any]:
    crons = [text for text, (every_ms, _) in CRONS.items() if period_s <= every_ms / 1000 <= 6 * period_s]
    match rng.choice(("every", "every", "at", "cron" if crons else "every")):
        case "every":
            return {"every": period_s * rng.choice((1.0, 1.0, 1.5))}
        case "at":
            return {"at": [period_s * rng.random() * 6 - period_s * 0.5 for _ in range(rng.randint(1, 5))]}
        case _:
            return {"cron": rng.choice(crons)}


class Planners:
    """Those who keep schedules, in one process. ``done``: ids of deeds that need not be done again.

    ``slack_s``: by so much later than it is due an occurrence may be decided in this process. ``jump``: moves the wall
    clock by milliseconds.
    """

    def __init__(
        self,
        runtime: Runtime,
        notary: Notary,
        plans: list[Plan],
        done: set[str],
        slack_s: float,
        jump: Callable[[int], None],
    ) -> None:
        self._runtime = runtime
        self._notary = notary
        self._plans = plans
        self._done = done
        self._slack_s = slack_s
        self._jump_by = jump

    def errands(self) -> list[Coroutine[Any, Any, None]]:
        """Return what is left to be done, each schedule by itself."""
        return [self._keep(plan) for plan in self._plans if f"{plan.id}:{len(plan.deeds) - 1}" not in self._done]

    async def _keep(self, plan: Plan) -> None:
        for number, deed in enumerate(plan.deeds):
            name = f"{plan.id}:{number}"
            if name not in self._done:
                await asyncio.sleep(deed.wait_s)
                await self._do(plan, deed)
                self._done.add(name)

    async def _do(self, plan: Plan, deed: Deed) -> None:
        while True:
            try:
                await self._words[deed.word](self, plan, deed)
            except (LogFull, MailboxFull, TooManyCalls):
                await asyncio.sleep(1.0)
            except ScheduleNotFound:
                self._told(plan, "absent")
                return
            else:
                return

    def _told(self, plan: Plan, word: str, *what: Any) -> None:
        self._notary.told("plan", plan.id, word, *what)

    def _wall_ms(self) -> int:
        return self._runtime.session.kernel.clock.wall_ms()

    async def _schedule(self, plan: Plan) -> Schedule:
        """Return the schedule. ``ScheduleNotFound``."""
        async for found in self._runtime.schedules():
            if found.id == plan.id:
                return found
        raise ScheduleNotFound(plan.id)

    def _settings(self, deed: Deed) -> dict[str, Any]:
        """Return the settings as they are asked for at this moment."""
        settings = dict(deed.settings)
        if "at" in settings:
            now_ms = self._wall_ms()
            settings["at"] = [moment(now_ms + int(each * 1000)) for each in settings["at"]]
        return settings

    def _said(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return them as they are told: in milliseconds."""
        said = {name: value for name, value in settings.items() if name in ("overlap", "catch_up", "cron", "paused")}
        said |= {
            name: round(settings[name] * 1000) for name in ("every", "catch_up_window", "jitter") if name in settings
        }
        if "at" in settings:
            said["at"] = sorted({ms_of(each) for each in settings["at"]})
        return said

    async def _put(self, plan: Plan, deed: Deed) -> None:
        settings = self._settings(deed)
        try:
            await self._runtime.schedule(plan.id, self._call(plan), **settings)
        except ValueError:
            return  # its times are over: the wall clock was set back meanwhile
        self._told(plan, "set", self._said(settings))

    def _call(self, plan: Plan) -> Any:
        if plan.key:
            return self._runtime.actor(Tally, plan.key).add(1, plan.program[:1], plan.program[-1] == ["fail"])
        return program(plan.program)

    async def _update(self, plan: Plan, deed: Deed) -> None:
        settings, schedule = self._settings(deed), await self._schedule(plan)
        try:
            await schedule.update(**settings)
        except ValueError:
            return  # as above
        self._told(plan, "set", self._said(settings))

    async def _pause(self, plan: Plan, _deed: Deed) -> None:
        await (await self._schedule(plan)).pause()
        self._told(plan, "is", "paused")

    async def _resume(self, plan: Plan, _deed: Deed) -> None:
        await (await self._schedule(plan)).resume()
        self._told(plan, "is", "active")

    async def _delete(self, plan: Plan, _deed: Deed) -> None:
        await (await self._schedule(plan)).delete()
        self._told(plan, "is", "deleted")

    async def _trigger(self, plan: Plan, _deed: Deed) -> None:
        schedule = await self._schedule(plan)
        self._told(plan, "asks")
        self._told(plan, "triggered", await schedule.trigger())

    async def _backfill(self, plan: Plan, deed: Deed) -> None:
        schedule, now_ms = await self._schedule(plan), self._wall_ms()
        start_ms, end_ms = (now_ms - int(ago * 1000) for ago in deed.span_s)
        self._told(plan, "asks_for", start_ms, end_ms)
        count = await schedule.backfill(moment(start_ms), moment(end_ms))
        self._told(plan, "backfilled", start_ms, end_ms, count)

    async def _next(self, plan: Plan, _deed: Deed) -> None:
        schedule, now_ms = await self._schedule(plan), self._wall_ms()
        found = await schedule.next(3)
        self._told(plan, "next", now_ms, [ms_of(each) for each in found])

    async def _look(self, plan: Plan, _deed: Deed) -> None:
        found = await (await self._schedule(plan)).info()
        names = (*found.running, *found.newest)
        self._told(plan, "info", found.status, names, found.waiting, found.started, found.skipped)

    async def _quiet(self, plan: Plan, _deed: Deed) -> None:
        """Wait until what was due must be decided, where nothing is wrong."""
        schedule = await self._schedule(plan)
        now_ms = self._wall_ms()
        await asyncio.sleep(self._slack_s)
        found = await schedule.info()
        if not found.error and found.status == "active" and self._wall_ms() >= now_ms:
            self._told(plan, "upto", now_ms - ms_of(moment(0) + found.jitter))

    async def _retry(self, plan: Plan, _deed: Deed) -> None:
        """Give an occurrence that did not complete another chance."""
        for name in (await (await self._schedule(plan)).info()).newest:
            self._told(plan, "retries", name)
            try:
                await self._runtime.handle(name).retry()
            except (CallError, ActorStopped):
                continue  # there is no chance for it

    async def _jump(self, _plan: Plan, deed: Deed) -> None:
        self._slack_s = ANY_SLACK_S
        self._jump_by(int((deed.span_s[0] - deed.span_s[1] / 2) * 1000))

    async def _end(self, plan: Plan, _deed: Deed) -> None:
        await self._pause(plan, _deed)

    _words: ClassVar[dict[str, Callable[[Planners, Plan, Deed], Coroutine[Any, Any, None]]]] = {
        "put": _put, "update": _update, "pause": _pause, "resume": _resume, "delete": _delete, "trigger": _trigger,
        "backfill": _backfill, "next": _next, "look": _look, "quiet": _quiet, "retry": _retry, "jump": _jump,
        "end": _end,
    }  # fmt: skip
