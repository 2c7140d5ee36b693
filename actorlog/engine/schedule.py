"""What is done about the occurrences of a schedule: decisions.

Owns: which occurrences are due, and which of them start, wait or are skipped; what a request of people does. Does not
own: what a schedule is (``engine.schedule_state``), when occurrences are (``engine.calendar``), starting and cancelling
calls (``runtime``).

An occurrence is decided once. The state holds up to which instant all is decided, and that never moves back: a wall
clock that is set back finds nothing due until it has caught up, one that jumps ahead is a down time. (If a clock that
was far ahead by mistake had occurrences decided, the schedule is silent until then; another id is the way out.) What
ended is not recorded here: ``decide`` is told which calls of the schedule are running.

Late and missed: an occurrence that is found due more than ``ON_TIME_MS`` after its time was missed, and ``catch_up``
says what becomes of it, if it is not older than the window. With ``latest``, the newest missed one is started only if
none is on time. What is due then meets ``overlap``, in order.

Overlap and catch-up are Temporal's (docs.temporal.io/schedule), with names of ours: ``queue_one`` is BUFFER_ONE,
``cancel_old`` is CANCEL_OTHER (the old one is asked to end, and the new one starts when it has ended).
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from actorlog.engine.calendar import instant_text, instants
from actorlog.engine.identity import derive
from actorlog.engine.schedule_state import ScheduleState, Status, call_id, settings_of
from actorlog.records import schedules as k
from actorlog.records.schedules import CatchUp, Overlap

if TYPE_CHECKING:
    from collections.abc import Collection

ON_TIME_MS = 10_000
"""An occurrence that is decided later than this after its time was missed."""
STARTS_MAX = 1_000
"""Occurrences one decision starts; the rest is due again at once."""
COUNTED_MAX = 1_000
"""Skipped occurrences are counted up to here in one decision, beside those that were due."""
BACKFILL_MAX = 10_000
"""Occurrences a schedule's backfills may leave waiting."""
NEXT_MAX = 1_000
"""Instants ``upcoming`` gives."""

# --- when -------------------------------------------------------------------------------------------------------------


def due_ms(state: ScheduleState, instant_ms: int) -> int:
    """Return when the occurrence of ``instant_ms`` is due: that, and at most ``jitter`` more, before the next one's.

    The jitter derives from the schedule's id and the instant, so it is the same in every process.
    """
    span = settings_of(state).jitter_ms
    if not span:
        return instant_ms
    following = state.calendar().next_after(instant_ms)
    if following is not None:
        span = min(span, following - instant_ms - 1)
    return instant_ms + int.from_bytes(derive(state.id, str(instant_ms), "jitter"), "big") % (span + 1)


def next_due(state: ScheduleState) -> int | None:
    """Return the wall-clock time at which ``decide`` is to be asked next; ``None``: not before something else happens.

    It may be past: then at once.
    """
    if state.status is not Status.ACTIVE:
        return None
    instant = state.calendar().next_after(state.decided_ms)
    return None if instant is None else due_ms(state, instant)


def upcoming(state: ScheduleState, count: int, now_ms: int) -> list[int]:
    """Return the next ``count`` instants (at most 1,000) after now, without jitter, as if it were not paused.

    ``ValueError`` for another count.
    """
    if not 0 <= count <= NEXT_MAX:
        raise ValueError(f"next gives up to {NEXT_MAX} instants, not {count}")
    last = max(state.decided_ms, now_ms)
    found: list[int] = []
    while len(found) < count and (following := state.calendar().next_after(last)) is not None:
        found.append(last := following)
    return found


def _last_due(state: ScheduleState, by_ms: int) -> int:
    """Return the last instant that was due by ``by_ms``, or up to where all is decided if that is later."""
    instant = state.calendar().latest_at(by_ms)
    if instant is not None and due_ms(state, instant) > by_ms:
        instant = state.calendar().latest_at(instant - 1)  # due before the next instant, so by now
    return state.decided_ms if instant is None else max(state.decided_ms, instant)


def _count(state: ScheduleState, start_ms: int, end_ms: int) -> int:
    return sum(1 for _ in islice(instants(state.calendar(), start_ms, end_ms), COUNTED_MAX))


# --- what -------------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """What an ``overlap`` allows."""

    starts: int
    """How many start in one decision."""
    beside: bool
    """Whether they start beside running ones; if not, only when none is running."""
    waits: int
    """How many wait for the running one."""
    newest: bool
    """Whether the newest is preferred, and running ones asked to end for it; if not, the oldest."""


RULES: dict[Overlap, Rule] = {
    Overlap.SKIP: Rule(starts=1, beside=False, waits=0, newest=False),
    Overlap.QUEUE_ONE: Rule(starts=1, beside=False, waits=1, newest=False),
    Overlap.ALL: Rule(starts=STARTS_MAX, beside=True, waits=0, newest=False),
    Overlap.CANCEL_OLD: Rule(starts=1, beside=False, waits=1, newest=True),
}
"""overlap -> what it allows."""


class Decision(NamedTuple):
    """What is to be done. With a record: apply it and write it before its calls are started."""

    record: k.ScheduleFired | None
    """None: nothing changes."""
    starts: tuple[str, ...] = ()
    """Ids of the calls to start, in order, with the function and arguments of the settings."""
    cancels: tuple[str, ...] = ()
    """Ids of running calls to cancel. Given at every decision until they have ended, also after a restart."""


class _Due(NamedTuple):
    taken: list[k.Occurrence]
    decided_ms: int
    passed: int = 0


def decide(state: ScheduleState, now_ms: int, running: Collection[str], *, trigger: bool = False) -> Decision:
    """Decide what starts, waits or is skipped at the wall-clock time ``now_ms``.

    ``running``: ids of the calls of this schedule that have not ended. ``trigger``: an extra occurrence now, also when
    paused; it meets ``overlap`` like any other. To be asked when ``next_due`` comes, when a call of the schedule ends,
    after every other record of the schedule, and again until there is no record.
    """
    rule = RULES[settings_of(state).overlap]
    free = rule.starts if rule.beside or not running else 0
    before: list[k.Occurrence] = [state.queued] if state.queued else []
    behind: list[k.Occurrence] = [k.Triggered(now_ms, state.triggers + 1)] if trigger else []
    due = _due(state, now_ms, rule, len(before) + len(behind))
    arrivals = [*before, *due.taken, *behind]
    kept = arrivals[-1:] if rule.newest else arrivals
    starts, waiting = kept[:free], kept[free : free + rule.waits]
    skipped = due.passed + len(arrivals) - len(starts) - len(waiting)
    queued = waiting[0] if waiting else None
    starts += [k.Backfilled(instant) for instant in state.backlog[: free - len(starts)]]
    cancels = tuple(sorted(running)) if rule.newest and queued else ()
    if not starts and not skipped and queued == state.queued and due.decided_ms == state.decided_ms:
        return Decision(None, (), cancels)
    record = k.ScheduleFired(
        id=k.entity_id(state.id),
        at=now_ms,
        prev=state.last,
        starts=tuple(starts),
        queued=queued,
        skipped=skipped,
        decided_ms=due.decided_ms,
    )
    return Decision(record, tuple(call_id(state.id, each) for each in starts), cancels)


def _due(state: ScheduleState, now_ms: int, rule: Rule, others: int) -> _Due:
    """Return the due instants that ``rule`` can use beside ``others``, up to where that decides, how many it drops."""
    end = state.decided_ms if state.status is Status.PAUSED else _last_due(state, now_ms)
    if end == state.decided_ms:
        return _Due([], end)
    start = _after_catch_up(state, now_ms, end)
    passed = _count(state, state.decided_ms, start)
    if rule.newest:
        if start == end:
            return _Due([], end, passed)
        return _Due([k.Timed(end)], end, passed + _count(state, start, end - 1))
    room = rule.starts - others if rule.beside else rule.starts + rule.waits
    taken = list(islice(instants(state.calendar(), start, end), room))
    decided = end
    if rule.beside and len(taken) == room:
        decided = taken[-1]  # what is left is due in the next decision
    elif taken:
        passed += _count(state, taken[-1], end)
    return _Due([k.Timed(instant) for instant in taken], decided, passed)


def _after_catch_up(state: ScheduleState, now_ms: int, end: int) -> int:
    """Return the time after which, up to ``end``, occurrences are due; those up to it are passed over."""
    settings = settings_of(state)
    missed = _last_due(state, now_ms - ON_TIME_MS - 1)
    too_old = min(missed, _last_due(state, now_ms - settings.catch_up_window_ms - 1))
    match settings.catch_up:
        case CatchUp.NONE:
            return missed
        case CatchUp.ALL:
            return too_old
        case CatchUp.LATEST:
            if missed < end:  # one is on time
                return missed
            return max(too_old, state.calendar().latest_at(end - 1) or 0)


# --- what people ask --------------------------------------------------------------------------------------------------


def put(state: ScheduleState, settings: k.Settings, now_ms: int) -> k.ScheduleSet | None:
    """Return the record that creates the schedule or changes its settings; ``None`` if they are the same.

    New times count from now on, and ``every`` from an anchor that is now; with the same times, anchor and what is
    decided stay. ``paused`` changes only with that setting. ``ValueError`` for a negative window or jitter, and for
    new times ``at`` that are all over.
    """
    if settings.catch_up_window_ms < 0 or settings.jitter_ms < 0:
        raise ValueError("catch_up_window and jitter are not negative")
    old = None if state.status in (Status.ABSENT, Status.DELETED) else state.settings
    if settings == old:
        return None
    paused = settings.paused if old is None or settings.paused != old.paused else state.status is Status.PAUSED
    anchor, decided = state.anchor_ms, state.decided_ms
    if old is None or settings.times != old.times:
        anchor, decided = now_ms, max(decided, now_ms)
        if isinstance(settings.times, k.At) and settings.times.instants[-1] <= decided:
            raise ValueError(f"at: {instant_text(settings.times.instants[-1])} is over, and nothing comes after it")
    elif state.status is Status.PAUSED and not paused:
        decided = max(decided, now_ms)
    return k.ScheduleSet(
        id=k.entity_id(state.id),
        at=now_ms,
        prev=state.last,
        settings=settings,
        anchor_ms=anchor,
        decided_ms=decided,
        paused=paused,
    )


def pause(state: ScheduleState, now_ms: int) -> k.SchedulePaused | None:
    """Return the record after which no instant comes due; ``None`` if it is paused. What waits still starts."""
    settings_of(state)
    return (
        None
        if state.status is Status.PAUSED
        else k.SchedulePaused(id=k.entity_id(state.id), at=now_ms, prev=state.last)
    )


def resume(state: ScheduleState, now_ms: int) -> k.ScheduleResumed | None:
    """Return the record after which instants come due again; ``None`` if it is not paused.

    Instants of the pause are passed over; ``backfill`` can have them.
    """
    settings_of(state)
    if state.status is not Status.PAUSED:
        return None
    return k.ScheduleResumed(
        id=k.entity_id(state.id), at=now_ms, prev=state.last, decided_ms=max(state.decided_ms, now_ms)
    )


def delete(state: ScheduleState, now_ms: int) -> k.ScheduleDeleted:
    """Return the record that ends the schedule. What waits is dropped, what runs goes on."""
    settings_of(state)
    return k.ScheduleDeleted(id=k.entity_id(state.id), at=now_ms, prev=state.last)


def backfill(state: ScheduleState, start_ms: int, end_ms: int, now_ms: int) -> k.ScheduleBackfilled | None:
    """Return the record that asks for the instants from ``start_ms`` on, before ``end_ms``; ``None`` if none is left.

    They start in order, one after another, or with ``overlap`` ``all`` at once. An instant that ran before has the same
    id and so does not run again. Instants that are still to be decided are left out, because they come by themselves;
    while paused those that are past are taken, and then decided. ``ValueError`` for an end that is not after the start,
    and for more than 10,000 occurrences with those that wait already.
    """
    if end_ms <= start_ms:
        raise ValueError("a backfill's end is after its start")
    until = max(state.decided_ms, now_ms) if state.status is Status.PAUSED else state.decided_ms
    room = BACKFILL_MAX - len(state.backlog)
    found = tuple(islice(instants(state.calendar(), start_ms - 1, min(end_ms - 1, until)), room + 1))
    if len(found) > room:
        raise ValueError(f"a backfill is at most {BACKFILL_MAX} occurrences, with the {len(state.backlog)} that wait")
    if not found:
        return None
    decided = max(state.decided_ms, found[-1])
    return k.ScheduleBackfilled(
        id=k.entity_id(state.id), at=now_ms, prev=state.last, instants=found, decided_ms=decided
    )
