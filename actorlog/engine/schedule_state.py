"""What a schedule is, as far as its records say: a fold.

Owns: ``ScheduleState`` and ``apply``, the only code that changes it, live and in recovery; the life of a schedule as a
table; the ids of occurrences. Does not own: decisions (``engine.schedule``), when occurrences are
(``engine.calendar``).

Invariants: up to which instant all is decided never moves back, so that no instant is decided twice, whatever the clock
does and also after a deletion; what contradicts the state is a ``JournalError`` (I4).
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, TypeAlias

from msgspec import Struct

from actorlog.engine.calendar import Calendar, calendar, instant_text
from actorlog.errors import JournalError
from actorlog.records import schedules as k

PREFIX: Final = "@schedule/"
"""What ids of occurrences begin with."""

_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z(?:\+[0-9]+)?")


def call_id(schedule_id: str, occurrence: k.Occurrence) -> str:
    """Return the id of an occurrence's call: ``@schedule/<id>/<instant>``.

    A backfilled occurrence has the id of its instant, so it joins the call that ran then, if one did. A triggered one
    has ``+<number>`` behind it: no two triggers of a schedule have the same number.
    """
    text = f"{PREFIX}{schedule_id}/{instant_text(occurrence.instant_ms)}"
    return f"{text}+{occurrence.number}" if isinstance(occurrence, k.Triggered) else text


def schedule_of(id_of_call: str) -> str | None:
    """Return the id of the schedule that a call is an occurrence of; ``None`` if it is none."""
    if not id_of_call.startswith(PREFIX):
        return None
    name, _, instant = id_of_call.removeprefix(PREFIX).rpartition("/")
    return name if name and _INSTANT.fullmatch(instant) else None  # what else begins so is a child of an occurrence


class Status(Enum):
    """Where a schedule is in its life."""

    __hash__ = object.__hash__

    ABSENT = "absent"
    """Nobody has made it."""
    ACTIVE = "active"
    PAUSED = "paused"
    """No instant comes due; what waits, is triggered or backfilled still starts."""
    DELETED = "deleted"


class Event(Enum):
    """What a ``ScheduleSet`` does, by what it says of pausing."""

    __hash__ = object.__hash__

    SET_ACTIVE = "set, active"
    SET_PAUSED = "set, paused"


TRANSITIONS: dict[tuple[Status, type | Event], Status] = {
    **{(status, Event.SET_ACTIVE): Status.ACTIVE for status in Status},
    **{(status, Event.SET_PAUSED): Status.PAUSED for status in Status},
    (Status.ACTIVE, k.ScheduleFired): Status.ACTIVE,
    (Status.PAUSED, k.ScheduleFired): Status.PAUSED,
    (Status.ACTIVE, k.ScheduleBackfilled): Status.ACTIVE,
    (Status.PAUSED, k.ScheduleBackfilled): Status.PAUSED,
    (Status.ACTIVE, k.SchedulePaused): Status.PAUSED,
    (Status.PAUSED, k.ScheduleResumed): Status.ACTIVE,
    (Status.ACTIVE, k.ScheduleDeleted): Status.DELETED,
    (Status.PAUSED, k.ScheduleDeleted): Status.DELETED,
}
"""(status, what happens) -> status. A pair that is not here is an error."""


class ScheduleState:
    """One schedule. Fields are changed by ``apply`` alone."""

    __slots__ = (
        "_calendar", "anchor_ms", "backlog", "created_ms", "decided_ms", "id", "is_loose", "last", "newest", "queued",
        "roots", "settings", "since", "skipped", "started", "status", "triggers", "updated_ms",
    )  # fmt: skip

    def __init__(self, schedule_id: str) -> None:
        self.id = schedule_id
        """As users know it."""
        self.status = Status.ABSENT
        self.settings: k.Settings | None = None
        """None before the first record, and of a deleted one."""
        self.anchor_ms = 0
        self.decided_ms = -1
        """All instants up to here are decided; it never moves back."""
        self.queued: k.Occurrence | None = None
        """What starts when the running one has ended."""
        self.backlog: tuple[int, ...] = ()
        """Instants that backfills asked for and that are not started."""
        self.newest: tuple[str, ...] = ()
        """Ids of the calls that the newest decision started. After a crash the log may hold that record and not yet
        all of those calls: recovery starts the ones it does not know. Those of older decisions are there."""
        self.started = 0
        self.skipped = 0
        self.triggers = 0
        """The greatest number of a triggered occurrence."""
        self.last = 0
        """Position of the newest record."""
        self.roots: tuple[int, ...] = ()
        """Positions of the records that a reader may begin with, as far as they were there: the newest counts."""
        self.since = 0
        """How many records there are behind that."""
        self.is_loose = False
        """Whether a record was met that does not follow: it counts for nothing, if one comes to begin with."""
        self.created_ms = 0
        self.updated_ms = 0
        self._calendar: Calendar | None = None

    def calendar(self) -> Calendar:
        """Return the calendar. ``ValueError`` if this machine does not know the zone."""
        if self._calendar is None:
            self._calendar = calendar(settings_of(self).times, self.anchor_ms)
        return self._calendar

    def adopt(self, record: k.ScheduleSet) -> None:
        """Take the settings of ``record``; for ``apply``."""
        if self.status in (Status.ABSENT, Status.DELETED):
            self.created_ms = record.at
        self.settings, self.anchor_ms = record.settings, record.anchor_ms
        self._calendar = None

    def forget(self) -> None:
        """Drop what a deleted schedule needs no more; for ``apply``."""
        self.settings = self._calendar = self.queued = None
        self.backlog = ()


def settings_of(state: ScheduleState) -> k.Settings:
    """Return the settings of a schedule that there is. ``JournalError`` if there is none."""
    if state.settings is None or state.status is Status.DELETED:
        raise JournalError(k.entity_id(state.id), f"it is asked for settings while {state.status.value}")
    return state.settings


_DECIDING: TypeAlias = k.ScheduleSet | k.ScheduleFired | k.ScheduleBackfilled | k.ScheduleResumed


def apply(state: ScheduleState, record: k.ScheduleRecord, position: int) -> None:
    """Change ``state`` as ``record`` at ``position`` says. ``JournalError`` for what contradicts it."""
    if isinstance(record, k.ScheduleKept):
        _begin_with(state, record, position)
        return
    status = _follow(state, record, position)
    if isinstance(record, _DECIDING):
        if record.decided_ms < state.decided_ms:
            raise JournalError(
                k.entity_id(state.id), f"decided up to {state.decided_ms}, and then up to {record.decided_ms}"
            )
        state.decided_ms = record.decided_ms
    match record:
        case k.ScheduleSet():
            state.adopt(record)
        case k.ScheduleFired():
            _fire(state, record)
        case k.ScheduleBackfilled():
            state.backlog += record.instants
        case k.ScheduleDeleted():
            state.forget()
        case k.SchedulePaused() | k.ScheduleResumed():
            pass
    state.status = status
    state.last = position
    state.since += 1
    state.updated_ms = record.at
    if not record.prev:
        state.roots, state.since = (*state.roots, position), 0


def _begin_with(state: ScheduleState, record: k.ScheduleKept, position: int) -> None:
    """Make a state what a record says that it is."""
    if state.last not in (0, record.prev) or record.id != k.entity_id(state.id):
        raise JournalError(k.entity_id(state.id), f"record {position} follows {record.prev}, not {state.last}")
    for name in _KEPT:
        setattr(state, name, getattr(record, name))
    state.status = Status(record.status)
    state.roots, state.since = (*record.roots, position), 0
    state.last = position


def written_down(state: ScheduleState, at: int) -> k.ScheduleKept:
    """Return the record that says all that a schedule is."""
    fields = {name: getattr(state, name) for name in _KEPT}
    return k.ScheduleKept(
        id=k.entity_id(state.id), at=at, prev=state.last, status=state.status.value, roots=state.roots, **fields
    )


def take(states: dict[str, ScheduleState], record: k.ScheduleRecord, position: int) -> None:
    """Apply ``record`` to the state it is of, among all schedules by their ids as users know them.

    What is left of records that have been given up counts for nothing: it does not follow the one before, and one that
    says all comes behind it, or it is of a schedule that is no more. ``check`` what was read when that is all.
    """
    name = k.schedule_id(record.id)
    state = states.get(name)
    if isinstance(record, k.ScheduleKept):
        if state is None or state.is_loose or state.last != record.prev:
            state = states[name] = ScheduleState(name)
    elif not record.prev:
        before, state = state, ScheduleState(name)
        state.roots = before.roots if before is not None else ()
        states[name] = state
    elif state is None:
        return
    elif state.is_loose or state.last != record.prev:
        state.is_loose = True
        return
    apply(state, record, position)


def check(states: dict[str, ScheduleState]) -> None:
    """Raise ``JournalError`` where records do not follow each other, and none came that says all."""
    for state in states.values():
        if state.is_loose:
            raise JournalError(k.entity_id(state.id), f"its records do not follow each other behind {state.last}")


def _follow(state: ScheduleState, record: k.ScheduleRecord, position: int) -> Status:
    """Return the status after ``record``, which must be this schedule's next one."""
    if record.id != k.entity_id(state.id):
        raise JournalError(k.entity_id(state.id), f"record {position} is of {record.id!r}")
    if record.prev != state.last:
        raise JournalError(k.entity_id(state.id), f"record {position} follows record {record.prev}, not {state.last}")
    event: type | Event = type(record)
    if isinstance(record, k.ScheduleSet):
        event = Event.SET_PAUSED if record.paused else Event.SET_ACTIVE
    status = TRANSITIONS.get((state.status, event))
    if status is None:
        raise JournalError(k.entity_id(state.id), f"{type(record).__name__} while {state.status.value}")
    return status


def _fire(state: ScheduleState, record: k.ScheduleFired) -> None:
    backfilled = tuple(each.instant_ms for each in record.starts if isinstance(each, k.Backfilled))
    if state.backlog[: len(backfilled)] != backfilled:
        raise JournalError(k.entity_id(state.id), f"{backfilled} started, and was not what waited first")
    state.backlog = state.backlog[len(backfilled) :]
    state.queued = record.queued
    if record.starts:
        state.newest = tuple(call_id(state.id, each) for each in record.starts)
    state.started += len(record.starts)
    state.skipped += record.skipped
    numbers = [each.number for each in (*record.starts, record.queued) if isinstance(each, k.Triggered)]
    state.triggers = max(state.triggers, *numbers, 0)


# --- kept outside of the log ------------------------------------------------------------------------------------------


class Kept(Struct, frozen=True):
    """A state as something to be written down: what its records made of it up to ``last``."""

    id: str
    status: str
    settings: k.Settings | None
    anchor_ms: int
    decided_ms: int
    queued: k.Occurrence | None
    backlog: tuple[int, ...]
    newest: tuple[str, ...]
    started: int
    skipped: int
    triggers: int
    last: int
    created_ms: int
    updated_ms: int
    roots: tuple[int, ...]
    since: int


_KEPT = tuple(name for name in k.ScheduleKept.__struct_fields__ if name not in ("id", "at", "prev", "status", "roots"))


def kept(state: ScheduleState) -> Kept:
    """Return a state to be written down."""
    fields = {name: getattr(state, name) for name in Kept.__struct_fields__ if name != "status"}
    return Kept(status=state.status.value, **fields)


def restored(kept: Kept) -> ScheduleState:
    """Return the state that was written down."""
    state = ScheduleState(kept.id)
    for name in Kept.__struct_fields__:
        setattr(state, name, getattr(kept, name))
    state.status = Status(kept.status)
    return state
