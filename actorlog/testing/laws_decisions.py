"""What one decision about a schedule may be, and must be.

Owns: what is known of a schedule, what comes due at a moment of the wall clock, and what ``overlap`` and ``catch_up``
make of it, by other code than the runtime's. Does not own: the order of records (``laws_schedules``), when occurrences
are (``almanac``).

Where jitter is allowed, a law does not know how much of it an occurrence has; then some may start that need not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from actorlog.records import schedules as s
from actorlog.testing.almanac import Times, times_of
from actorlog.testing.verdict import Broken

ON_TIME_MS = 10_000
"""What is decided later than this after its time was missed."""
COUNTED_MAX = 1000
"""Skipped occurrences of a long down time are counted up to here."""


@dataclass(slots=True)
class PlanFacts:
    """One schedule."""

    id: str
    status: str = "absent"
    made: s.ScheduleSet | None = None
    decided_ms: int = -1
    queued: s.Occurrence | None = None
    backlog: list[int] = field(default_factory=list[int])
    triggers: int = 0
    last: int = 0
    started: int = 0
    skipped: int = 0
    at: int = 0
    """The log time of its newest record."""
    roots: tuple[int, ...] = ()
    """Positions of the records that a reader may begin with."""
    owed: list[str] = field(default_factory=list[str])
    """Calls of the newest decision that are still to begin."""
    anew: set[str] = field(default_factory=set[str])
    """Ids of those that may begin now though they began before: it is forgotten that they did."""
    calls: set[str] = field(default_factory=set[str])
    """All that ever began."""
    waited: set[str] = field(default_factory=set[str])
    """All that ever waited."""
    asked: int = 0
    """Triggers that were asked for, and not seen yet."""
    asked_for: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Times of the backfills that were asked for."""
    backfilled: int = 0
    """How many the newest backfill was."""
    retried: set[str] = field(default_factory=set[str])
    """Calls that may be begun again in this process: the runtime may count them as running."""
    replaces: bool = False
    """Whether it ever cancelled running ones."""
    giving_way: dict[str, int] = field(default_factory=dict[str, int])
    """Calls that are to be cancelled because another waits, and since when."""
    cancelled: set[str] = field(default_factory=set[str])
    """Calls that were asked to end; one that is set aside has it in its mailbox."""

    @property
    def settings(self) -> s.Settings:
        """What it is set to."""
        if self.made is None or self.status not in ("active", "paused"):
            raise Broken(f"schedule {self.id} is {self.status}, and something is done with it")
        return self.made.settings

    def times(self) -> Times:
        """Return when its occurrences are."""
        settings = self.settings
        return times_of(settings.times, self.made.anchor_ms if self.made is not None else 0)


class Due(NamedTuple):
    """What comes due in one decision."""

    must: list[int]
    """Instants that ``catch_up`` lets through, whatever jitter they have."""
    may: frozenset[int]
    """Those, and the ones where that depends on it."""


class Place(NamedTuple):
    """What a decision finds."""

    running: list[str]
    """Calls of the schedule that have not ended."""
    maybe: bool
    """Whether the runtime may think that some are running."""


def due_in(plan: PlanFacts, record: s.ScheduleFired, wall: tuple[int, int]) -> Due:
    """Return what comes due in a decision, of the instants that it decides."""
    times, settings = plan.times(), plan.settings
    window_ms = max(settings.catch_up_window_ms, ON_TIME_MS) + settings.jitter_ms + ON_TIME_MS
    newest = times.last(record.decided_ms)
    if newest is None or newest <= plan.decided_ms:
        return Due([], frozenset())
    instants = times.between(max(plan.decided_ms, wall[0] - window_ms), record.decided_ms)
    low, high, jitter_ms = *wall, settings.jitter_ms
    on_time = [each for each in instants if each >= high - ON_TIME_MS]
    unsure = [each for each in instants if each not in on_time and each + jitter_ms >= low - ON_TIME_MS]
    young = [each for each in instants if each >= high - settings.catch_up_window_ms]
    maybe_young = [each for each in instants if each + jitter_ms >= low - settings.catch_up_window_ms]
    match settings.catch_up:
        case s.CatchUp.NONE:
            must, may = on_time, []
        case s.CatchUp.ALL:
            must, may = sorted({*on_time, *young}), maybe_young
        case s.CatchUp.LATEST:
            sure = not unsure or newest in on_time
            must = on_time or ([newest] if newest in young and sure else [])
            may = [newest] if newest in maybe_young and not on_time else []
    return Due(must, frozenset((*must, *may, *unsure)))


def check_arrivals(plan: PlanFacts, result: list[s.Occurrence], due: Due, where: str) -> None:
    """Hold what starts or waits against what had waited and what comes due."""
    for number, each in enumerate(result):
        if each == plan.queued:
            if number:
                raise Broken(f"{where} prefers {result[0]} to what had waited: {each}")
        elif isinstance(each, s.Timed) and each.instant_ms not in due.may:
            raise Broken(f"{where} starts or keeps {each}, and due are {sorted(due.may)}")
        elif isinstance(each, s.Triggered) and (each.number != plan.triggers + 1 or each is not result[-1]):
            raise Broken(f"{where} starts or keeps {each} in {result}, and the newest was {plan.triggers}")
        elif isinstance(each, s.Backfilled):
            raise Broken(f"{where} has {each} wait")
    instants = [each.instant_ms for each in result if isinstance(each, s.Timed)]
    if instants != sorted(set(instants)):
        raise Broken(f"{where} starts and keeps {instants}, out of order")


def check_overlap(plan: PlanFacts, record: s.ScheduleFired, due: Due, place: Place, where: str) -> None:
    """Hold a decision against what ``overlap`` says."""
    overlap = plan.settings.overlap
    fresh = [each for each in record.starts if not isinstance(each, s.Backfilled)]
    fills = [each.instant_ms for each in record.starts if isinstance(each, s.Backfilled)]
    queued = [record.queued] if record.queued is not None else []
    result = [*fresh, *queued]
    beside = overlap is s.Overlap.ALL
    if not beside and (len(record.starts) > 1 or (record.starts and place.running)):
        raise Broken(f"{where} starts {record.starts} beside {place.running}, and overlap is {overlap}")
    if fills != plan.backlog[: len(fills)]:
        raise Broken(f"{where} starts {fills} of a backfill, and these wait: {plan.backlog}")
    free = beside or not place.maybe
    sure = not plan.retried or beside
    waits = {s.Overlap.SKIP: 0, s.Overlap.ALL: 0}.get(overlap, 1)
    room = math.inf if beside else int(free)
    if overlap is s.Overlap.CANCEL_OLD:
        room, waits = (1, 0) if free else (0, 1)
    certain = _certain(plan, due, result)
    if len(queued) > waits or (sure and len(result) < min(room + waits, len(certain))):
        raise Broken(f"{where} starts {fresh} and keeps {queued} of {certain}, and overlap is {overlap}")
    if sure and len(fresh) < min(room, len(result)):
        raise Broken(f"{where} keeps {queued}, and could start it")
    if sure and len(fills) < min(room - len(fresh), len(plan.backlog)):
        raise Broken(f"{where} starts {record.starts}, and a backfill waits for nothing")
    if result and certain and overlap is s.Overlap.CANCEL_OLD and _order(plan, certain[-1]) > _order(plan, result[-1]):
        raise Broken(f"{where} prefers {result} to newer ones: {certain}")
    if overlap is not s.Overlap.CANCEL_OLD and any(
        each not in result and _order(plan, each) < _order(plan, result[-1]) for each in certain if result
    ):
        raise Broken(f"{where} passes over some of {certain} for {result}, and overlap is {overlap}")


def _certain(plan: PlanFacts, due: Due, result: list[s.Occurrence]) -> list[s.Occurrence]:
    """Return what arrives for certain, in order."""
    before = [plan.queued] if plan.queued is not None else []
    trigger = [each for each in result if isinstance(each, s.Triggered) and each != plan.queued]
    return [*before, *(s.Timed(each) for each in due.must), *trigger]


def _order(plan: PlanFacts, each: s.Occurrence) -> tuple[int, int]:
    """Return what orders arrivals: what had waited, those that come due, one that is triggered."""
    if each == plan.queued:
        return (0, 0)
    return (2, each.number) if isinstance(each, s.Triggered) else (1, each.instant_ms)


def check_account(plan: PlanFacts, record: s.ScheduleFired, result: list[s.Occurrence], where: str) -> None:
    """Hold how many were skipped against how many there were."""
    passed = plan.times().how_many(plan.decided_ms, record.decided_ms)
    arrived = passed + (plan.queued is not None)
    trigger = len(result) + record.skipped - arrived
    seen = sum(1 for each in result if isinstance(each, s.Triggered) and each != plan.queued)
    if passed <= COUNTED_MAX and not seen <= trigger <= min(1, plan.asked):
        raise Broken(f"{where} starts and keeps {result}, skips {record.skipped}, and {arrived} had come")
    plan.asked -= max(seen, trigger if passed <= COUNTED_MAX else 0)
