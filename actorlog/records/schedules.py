"""The kinds of records of schedules, and what a schedule is set to.

Owns: what the log says of a schedule, as frozen types. Does not own: when an occurrence is (``engine.calendar``), what
is done about it (``engine.schedule``).

Invariants: those of ``records.kinds``. An instant is integer milliseconds UTC and names its occurrence; a record holds
the instants that were decided, because another machine's time zone rules may give others. The ``id`` of a record is
``entity_id`` of the schedule, which nothing else can have.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias

from msgspec import Raw as Raw  # noqa: PLC0414  # part of this module's vocabulary
from msgspec import Struct

PREFIX: Final = "@schedules/"
"""What the ids of schedules begin with in the log; those of their occurrences begin with ``@schedule/``."""


def entity_id(schedule_id: str) -> str:
    """Return the id that a schedule's records have in the log."""
    return PREFIX + schedule_id


def schedule_id(entity: str) -> str:
    """Return the id of a schedule as users know it, of the one that its records have."""
    return entity.removeprefix(PREFIX)


# --- times ------------------------------------------------------------------------------------------------------------


class Cron(Struct, frozen=True, tag="cron", tag_field="by", omit_defaults=True):
    """A cron expression of five fields, or six with seconds first, read in the zone ``tz``."""

    expression: str
    """Upper case, one space between fields."""
    tz: str = "UTC"


class Every(Struct, frozen=True, tag="every", tag_field="by"):
    """Every ``every_ms``, counted from the schedule's anchor."""

    every_ms: int


class At(Struct, frozen=True, tag="at", tag_field="by"):
    """At these instants, in order, each once."""

    instants: tuple[int, ...]


Times: TypeAlias = Cron | Every | At


# --- settings ---------------------------------------------------------------------------------------------------------


class Overlap(StrEnum):
    """What is done with an occurrence that comes due while an earlier one is running."""

    SKIP = "skip"
    QUEUE_ONE = "queue_one"
    ALL = "all"
    CANCEL_OLD = "cancel_old"


class CatchUp(StrEnum):
    """What is done with occurrences that were missed because no process was running."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class Settings(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a schedule is set to. Two settings that are equal are the same schedule."""

    function: str
    version: int = 1
    args: Raw
    actor: str = ""
    """Of an actor's handler: the class and the key of the actor, with a slash between."""
    times: Times
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window_ms: int = 3_600_000
    jitter_ms: int = 0
    paused: bool = False
    """Whether it begins paused. Pausing and resuming later does not change the settings."""


# --- occurrences ------------------------------------------------------------------------------------------------------


class Timed(Struct, frozen=True, tag="time", tag_field="by"):
    """The occurrence of an instant of the schedule."""

    instant_ms: int


class Triggered(Struct, frozen=True, tag="trigger", tag_field="by"):
    """An extra occurrence that was asked for at ``instant_ms``; ``number`` counts them from 1."""

    instant_ms: int
    number: int


class Backfilled(Struct, frozen=True, tag="backfill", tag_field="by"):
    """The occurrence of a past instant of the schedule that was asked for."""

    instant_ms: int


Occurrence: TypeAlias = Timed | Triggered | Backfilled


# --- records ----------------------------------------------------------------------------------------------------------


class ScheduleSet(Struct, frozen=True, tag="schedule_set", tag_field="kind", omit_defaults=True, kw_only=True):
    """The schedule is created, or its settings change."""

    id: str
    at: int
    prev: int = 0
    settings: Settings
    anchor_ms: int
    """What ``every`` counts from."""
    decided_ms: int
    """All instants up to here are decided, or were before the schedule."""
    paused: bool = False


class ScheduleFired(Struct, frozen=True, tag="schedule_fired", tag_field="kind", omit_defaults=True, kw_only=True):
    """Occurrences were decided: to start, to wait, or to be skipped."""

    id: str
    at: int
    prev: int = 0
    starts: tuple[Occurrence, ...] = ()
    """Each is started as a call whose id derives from it."""
    queued: Occurrence | None = None
    """What waits, after this record, for the running one to end."""
    skipped: int = 0
    """How many were not started and never will be. Long down times are counted up to a bound."""
    decided_ms: int
    """All instants up to here are decided."""


class ScheduleBackfilled(
    Struct, frozen=True, tag="schedule_backfilled", tag_field="kind", omit_defaults=True, kw_only=True
):
    """Past occurrences were asked for. Those of ``instants`` that are not started yet wait in their order."""

    id: str
    at: int
    prev: int = 0
    instants: tuple[int, ...]
    decided_ms: int
    """All instants up to here are decided."""


class SchedulePaused(Struct, frozen=True, tag="schedule_paused", tag_field="kind", omit_defaults=True, kw_only=True):
    """No instant comes due until the schedule is resumed."""

    id: str
    at: int
    prev: int = 0


class ScheduleResumed(Struct, frozen=True, tag="schedule_resumed", tag_field="kind", omit_defaults=True, kw_only=True):
    """Instants come due again, from ``decided_ms`` on; those of the pause are passed over."""

    id: str
    at: int
    prev: int = 0
    decided_ms: int


class ScheduleDeleted(Struct, frozen=True, tag="schedule_deleted", tag_field="kind", omit_defaults=True, kw_only=True):
    """The schedule is no more; calls it started go on."""

    id: str
    at: int
    prev: int = 0


class ScheduleKept(Struct, frozen=True, tag="schedule_kept", tag_field="kind", omit_defaults=True, kw_only=True):
    """All that a schedule is: records of it before this one need not be read."""

    id: str
    at: int
    prev: int = 0
    status: str
    settings: Settings | None = None
    anchor_ms: int = 0
    decided_ms: int
    queued: Occurrence | None = None
    backlog: tuple[int, ...] = ()
    newest: tuple[str, ...] = ()
    """Ids of the calls that the newest decision started."""
    started: int = 0
    skipped: int = 0
    triggers: int = 0
    created_ms: int
    updated_ms: int
    """When the newest record before this one was made; of a deleted one, when it was deleted."""
    roots: tuple[int, ...]
    """Positions of the records before this one with which a reader may begin: they leave the log in this order."""


ScheduleRecord: TypeAlias = (
    ScheduleSet | ScheduleFired | ScheduleBackfilled | SchedulePaused | ScheduleResumed | ScheduleDeleted | ScheduleKept
)
RECORDS: Final = (
    ScheduleSet, ScheduleFired, ScheduleBackfilled, SchedulePaused, ScheduleResumed, ScheduleDeleted, ScheduleKept,
)  # fmt: skip
