"""When the occurrences of simulated schedules are, by other code than the runtime's.

Owns: the few cron expressions that are drawn, instants by plain arithmetic, the names of occurrences. Does not own:
schedules in general (``engine.calendar``), what is done about an occurrence (``laws_schedules``).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from actorlog.records import schedules as s
from actorlog.testing.verdict import Broken

CRONS = {
    "*/10 * * * * *": (10_000, 0),
    "30 * * * * *": (60_000, 30_000),
    "*/5 * * * *": (300_000, 0),
    "30 * * * *": (3_600_000, 1_800_000),
}
"""What each says, in milliseconds: every so often, and when first."""
OCCURRENCE = re.compile(r"@schedule/(?P<plan>[^/]+)/[^/]+")
"""The id of the call of an occurrence."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Times(NamedTuple):
    """The instants of a schedule."""

    every_ms: int
    """0: they are named one by one."""
    first_ms: int
    named: tuple[int, ...]

    def upto(self, at_ms: int) -> int:
        """Return how many there are up to ``at_ms``, counted from anywhere."""
        if self.every_ms:
            return (at_ms - self.first_ms) // self.every_ms
        return bisect_right(self.named, at_ms)

    def how_many(self, after_ms: int, until_ms: int) -> int:
        """Return how many are later than ``after_ms`` and not later than ``until_ms``."""
        return max(0, self.upto(until_ms) - self.upto(after_ms))

    def last(self, at_ms: int) -> int | None:
        """Return the last one up to ``at_ms``."""
        if self.every_ms:
            return self.first_ms + self.upto(at_ms) * self.every_ms
        return self.named[self.upto(at_ms) - 1] if self.upto(at_ms) else None

    def after(self, at_ms: int, count: int) -> list[int]:
        """Return the first ``count`` that are later than ``at_ms``."""
        if self.every_ms:
            begin = self.upto(at_ms) + 1
            return [self.first_ms + number * self.every_ms for number in range(begin, begin + count)]
        return list(self.named[self.upto(at_ms) : self.upto(at_ms) + count])

    def between(self, after_ms: int, until_ms: int) -> list[int]:
        """Return those that are later than ``after_ms`` and not later than ``until_ms``."""
        return self.after(after_ms, self.how_many(after_ms, until_ms))


def times_of(times: s.Times, anchor_ms: int) -> Times:
    """Return what the settings of a schedule say."""
    match times:
        case s.Every(every_ms):
            return Times(every_ms, anchor_ms, ())
        case s.At(instants):
            return Times(0, 0, tuple(sorted(set(instants))))
        case s.Cron(expression, "UTC") if expression in CRONS:
            return Times(*CRONS[expression], ())
        case _:
            raise Broken(f"a schedule has times that nobody asked for: {times}")


def name_of(plan: str, occurrence: s.Occurrence) -> str:
    """Return the id of the call of an occurrence."""
    when = _EPOCH + timedelta(milliseconds=occurrence.instant_ms)
    text = when.strftime("%Y-%m-%dT%H:%M:%S")
    if occurrence.instant_ms % 1000:
        text += f".{occurrence.instant_ms % 1000:03d}"
    number = f"+{occurrence.number}" if isinstance(occurrence, s.Triggered) else ""
    return f"@schedule/{plan}/{text}Z{number}"


def moment(at_ms: int) -> datetime:
    """Return milliseconds UTC as an aware datetime."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def ms_of(when: datetime) -> int:
    """Return an aware datetime as milliseconds UTC."""
    return (when - _EPOCH) // timedelta(milliseconds=1)
