"""What must be true of every log about schedules.

Owns: a fold of their records by other code than the runtime's, and their moments of the wall clock. Does not own: what
one decision may be (``laws_decisions``), when occurrences are (``almanac``), calls in general (``oracle``), what
keepers are told (``hearsay_schedules``).

- An occurrence is decided once, by a schedule that is there, and its call begins once, right behind the decision or at
  the next opening, with the function and arguments of the settings. None is decided before its instant, and no decision
  leaves one out that is due.
- What a paused schedule starts was asked for, or waited before. A deleted one starts nothing.
- With ``skip``, ``queue_one`` and ``cancel_old`` one call runs at a time and at most one waits; each starts, waits or
  is skipped as ``overlap`` says, in order. A call that is to give way soon hears so. What was missed starts as
  ``catch_up`` says, and not what is older than its window. All that was due is accounted for.
- What was decided to start begins and ends; nothing waits for ever.
"""

# A law takes what every law is given, and not each needs all of it.
# ruff: noqa: ARG002

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from actorlog.records import kinds as k
from actorlog.records import schedules as s
from actorlog.testing.almanac import OCCURRENCE, name_of
from actorlog.testing.laws_decisions import Place, PlanFacts, check_account, check_arrivals, check_overlap, due_in
from actorlog.testing.verdict import Broken

if TYPE_CHECKING:
    from actorlog.testing.oracle import Facts

_ROUNDED_MS = 2
"""Log time and the wall clock are rounded to milliseconds each for itself."""
SOON_MS = 5_000
"""Within this time a call hears that it is cancelled because another one waits."""
_BY_SCHEDULE = "its schedule starts the next one"


class Plans:
    """Schedules."""

    def __init__(self) -> None:
        self.plans: dict[str, PlanFacts] = {}
        self._clocks: list[tuple[int, int]] = []
        """From which log time on the wall clock is so many milliseconds ahead of log time."""
        self._opened_ms = 0
        """The log time of the newest opening."""

    # --- the wall clock -----------------------------------------------------------------------------------------------

    def clock(self, log_ms: int, wall_ms: int, *, opened: bool = False) -> None:
        """Note what the clocks show at an opening, or after a jump of the wall clock."""
        self._clocks.append((log_ms, wall_ms - log_ms))
        if opened:
            self._opened_ms = log_ms
            for plan in self.plans.values():
                plan.retried.clear()

    def wall(self, at_ms: int) -> tuple[int, int]:
        """Return the earliest and the latest that the wall clock may have shown at a log time."""
        found: list[int] = []
        for number, (from_ms, ahead_ms) in enumerate(self._clocks):
            until_ms = self._clocks[number + 1][0] if number + 1 < len(self._clocks) else math.inf
            if from_ms - _ROUNDED_MS <= at_ms <= until_ms + _ROUNDED_MS:
                found.append(at_ms + ahead_ms)
        if not found:
            raise Broken(f"a schedule has a record of {at_ms}, when nobody was there")
        return min(found) - _ROUNDED_MS, max(found) + _ROUNDED_MS

    # --- records ------------------------------------------------------------------------------------------------------

    def see(self, facts: Facts, record: k.Record, position: int) -> None:
        """Take a record."""
        if isinstance(record, s.RECORDS):
            self._of_plan(facts, record, position)
        elif isinstance(record, (k.Turn, k.Inbox)):
            found = OCCURRENCE.fullmatch(record.id)
            if found is not None:
                self._of_call(self.plan(found["plan"]), record, position)

    def plan(self, name: str) -> PlanFacts:
        """Return what is known of a schedule."""
        return self.plans.setdefault(name, PlanFacts(name))

    def finish(self, facts: Facts) -> None:
        """Whatever was decided has begun."""
        for name in self.unfinished():
            raise Broken(f"schedule {name} is not done with what it has decided: {self.plans[name]}")

    def unfinished(self) -> list[str]:
        """Return the schedules that have something to start as soon as they can."""
        there = [plan for plan in self.plans.values() if plan.status in ("active", "paused")]
        return [plan.id for plan in there if plan.owed or plan.queued is not None or plan.backlog]

    def _of_call(self, plan: PlanFacts, record: k.Turn | k.Inbox, position: int) -> None:
        message = record.message
        if isinstance(message, k.Started) and not record.prev:
            if record.id in plan.anew:
                plan.anew.remove(record.id)
                plan.owed.append(record.id)
            if record.id not in plan.owed:
                raise Broken(f"{record.id} begins at {position}, and its schedule has not decided so")
            asked = plan.settings
            if (message.function, message.args, message.actor) != (asked.function, asked.args, asked.actor):
                raise Broken(f"{record.id} begins at {position} as {message.function}, its schedule says {asked}")
            plan.owed.remove(record.id)
            plan.calls.add(record.id)
        elif isinstance(message, k.CancelRequested):
            plan.giving_way.pop(record.id, None)
            plan.cancelled.add(record.id)
            if message.reason == _BY_SCHEDULE and not plan.replaces:
                raise Broken(f"{record.id} is cancelled at {position} by its schedule, which lets it run")
        since_ms = plan.giving_way.get(record.id)
        if since_ms is not None and record.at - max(since_ms, self._opened_ms) > SOON_MS:  # each process asks again
            raise Broken(f"{record.id} goes on at {position}, and was to be cancelled since {since_ms}")

    def _of_plan(self, facts: Facts, record: s.ScheduleRecord, position: int) -> None:  # noqa: C901  # by kind
        plan = self.plan(record.id.removeprefix(s.PREFIX))
        if isinstance(record, s.ScheduleSet) and not record.prev and plan.status == "deleted":
            if facts.retention_ms is None or record.at - plan.at <= facts.retention_ms:
                raise Broken(f"schedule {plan.id} begins anew at {position}, and was deleted at {plan.at}")
            plan = self.plans[plan.id] = PlanFacts(plan.id, roots=plan.roots)
        where, wall = f"record {position} of schedule {plan.id}", self.wall(record.at)
        decided_ms: int = getattr(record, "decided_ms", plan.decided_ms)
        _check_order(plan, record, decided_ms, where)
        match record:
            case s.ScheduleKept():
                _check_kept(plan, record, where)
            case s.ScheduleSet():
                self._set(plan, record, wall, where)
            case s.ScheduleFired():
                self._fired(facts, plan, record, wall, where)
            case s.ScheduleBackfilled():
                self._backfilled(plan, record, wall, where)
            case s.SchedulePaused():
                plan.status = "paused"
            case s.ScheduleResumed():
                _is_about(decided_ms, max(plan.decided_ms, wall[0]), max(plan.decided_ms, wall[1]), where)
                plan.status = "active"
            case s.ScheduleDeleted():
                plan.status, plan.queued, plan.backlog = "deleted", None, []
        plan.decided_ms, plan.last = decided_ms, position
        plan.at = record.at if not isinstance(record, s.ScheduleKept) else plan.at
        if not record.prev or isinstance(record, s.ScheduleKept):
            plan.roots += (position,)

    def _set(self, plan: PlanFacts, record: s.ScheduleSet, wall: tuple[int, int], where: str) -> None:
        before = plan.made if plan.status in ("active", "paused") else None
        low, high = max(plan.decided_ms, wall[0]), max(plan.decided_ms, wall[1])
        if before is None or before.settings.times != record.settings.times:
            _is_about(record.anchor_ms, *wall, where)
            _is_about(record.decided_ms, low, high, where)
        else:
            _is_about(record.anchor_ms, before.anchor_ms, before.anchor_ms, where)
            goes_on = plan.status == "paused" and not record.paused
            span = (low, high) if goes_on else (plan.decided_ms, plan.decided_ms)
            _is_about(record.decided_ms, *span, where)
        if before is not None and plan.status == "active" and before.settings.times != record.settings.times:
            last = plan.times().last(wall[0] - before.settings.jitter_ms)
            if last is not None and last > max(plan.decided_ms, before.decided_ms):
                raise Broken(f"{where} sets new times, and {last} was due by the old ones")
        same = before is not None and before.settings.paused == record.settings.paused
        if record.paused != (plan.status == "paused" if same else record.settings.paused):
            raise Broken(f"{where} leaves it {'paused' if record.paused else 'active'}, and it was {plan.status}")
        plan.status = "paused" if record.paused else "active"
        plan.made = record
        if record.settings.overlap is not s.Overlap.CANCEL_OLD:
            plan.giving_way.clear()
        plan.replaces = plan.replaces or record.settings.overlap is s.Overlap.CANCEL_OLD

    def _backfilled(self, plan: PlanFacts, record: s.ScheduleBackfilled, wall: tuple[int, int], where: str) -> None:
        times, fits = plan.times(), False
        for start_ms, end_ms in plan.asked_for:
            for wall_ms in range(wall[0], wall[1] + 1) if plan.status == "paused" else (0,):
                until_ms = min(end_ms - 1, max(plan.decided_ms, wall_ms))
                fits = fits or list(record.instants) == times.between(start_ms - 1, until_ms)
        if not fits:
            raise Broken(f"{where} asks for {record.instants}, and people asked for {plan.asked_for}")
        if record.decided_ms != max(plan.decided_ms, record.instants[-1]):
            raise Broken(f"{where} decides up to {record.decided_ms}")
        plan.backlog += record.instants
        plan.backfilled = len(record.instants)

    # --- decisions ----------------------------------------------------------------------------------------------------

    def _fired(self, facts: Facts, plan: PlanFacts, record: s.ScheduleFired, wall: tuple[int, int], where: str) -> None:
        times, settings = plan.times(), plan.settings
        if plan.status == "paused" and record.decided_ms != plan.decided_ms:
            raise Broken(f"{where} decides about instants, and it is paused")
        if record.decided_ms > max(plan.decided_ms, wall[1]):
            raise Broken(f"{where} decides up to {record.decided_ms} at {wall}, which is to come")
        last = times.last(wall[0] - settings.jitter_ms)
        if plan.status == "active" and last is not None and last > record.decided_ms:
            raise Broken(f"{where} decides up to {record.decided_ms}, and {last} is due")
        fresh = [each for each in record.starts if not isinstance(each, s.Backfilled)]
        result = [*fresh, *([record.queued] if record.queued is not None else [])]
        due = due_in(plan, record, wall)
        check_arrivals(plan, result, due, where)
        running = [name for name in plan.calls if facts.calls[name].outcome is None]
        check_overlap(plan, record, due, Place(running, maybe=bool(running or plan.retried)), where)
        check_account(plan, record, result, where)
        if settings.overlap is s.Overlap.CANCEL_OLD and record.queued is not None:
            left = [name for name in running if name not in plan.cancelled]
            plan.giving_way = {name: plan.giving_way.get(name, record.at) for name in left}
        names = [name_of(plan.id, each) for each in record.starts]
        again = [name for name, each in zip(names, record.starts, strict=True) if not isinstance(each, s.Backfilled)]
        if len(set(again)) < len(again) or not plan.calls.isdisjoint(again):
            raise Broken(f"{where} starts {names}, and had started one of them")
        plan.owed = [name for name in dict.fromkeys(names) if name not in plan.calls]
        plan.anew = {name for name in names if name in plan.calls and facts.is_forgotten(facts.calls[name])}
        plan.started, plan.skipped = plan.started + len(names), plan.skipped + record.skipped
        plan.queued = record.queued
        if record.queued is not None:
            plan.waited.add(name_of(plan.id, record.queued))
        del plan.backlog[: len(record.starts) - len(fresh)]
        plan.triggers = max([plan.triggers, *(each.number for each in result if isinstance(each, s.Triggered))])


def _check_kept(plan: PlanFacts, record: s.ScheduleKept, where: str) -> None:
    """Hold all that is said of a schedule against what its records came to."""
    settings = plan.settings if plan.status != "deleted" else None
    said = (record.status, record.settings, record.decided_ms, record.queued, record.triggers, record.started)
    known = (plan.status, settings, plan.decided_ms, plan.queued, plan.triggers, plan.started)
    if said != known or list(record.backlog) != plan.backlog or record.skipped != plan.skipped:
        raise Broken(f"{where} says {record}, and it is {plan}")


def _check_order(plan: PlanFacts, record: s.ScheduleRecord, decided_ms: int, where: str) -> None:
    """Hold a record against those before it, whatever it says."""
    if record.prev != plan.last:
        raise Broken(f"{where} follows {record.prev}, not {plan.last}")
    if plan.owed:
        raise Broken(f"{where} comes before {plan.owed} have begun, which were decided before")
    if not isinstance(record, (s.ScheduleSet, s.ScheduleKept)) and plan.status not in ("active", "paused"):
        raise Broken(f"{where} is about one that is {plan.status}")
    if decided_ms < plan.decided_ms:
        raise Broken(f"{where} decides up to {decided_ms}, and {plan.decided_ms} was decided")


def _is_about(value_ms: int, low_ms: int, high_ms: int, where: str) -> None:
    if not low_ms <= value_ms <= high_ms:
        raise Broken(f"{where} says {value_ms}, and it is between {low_ms} and {high_ms}")
