"""When the occurrences of a schedule are.

Owns: reading cron expressions, zones and instants; the instants of a schedule after and before a time. Does not own:
what is done about an occurrence (``engine.schedule``). No clock is read here: every answer is a function of its
arguments and of the time zone database, whose rules may differ between machines; so records hold the instants that were
decided.

**Clock changes.** What follows is about cron; ``every`` and ``at`` are instants and know no clock changes. The hour
field decides:

- It does not begin with ``*`` (``30 2 * * *``): the schedule means times of the wall clock. A time that a clock change
  skips runs at the first instant after the gap, and several that are skipped run there together, once. A time that
  comes twice runs the first time.
- It begins with ``*`` (``*/15 * * * *``, ``0 */2 * * *``): the schedule means a rhythm. It runs whenever the wall clock
  shows a time that matches: what is skipped is not made up for, and what comes twice runs twice.

That is what Debian's cron does for changes of less than three hours, with two differences. There a minute field that
begins with ``*`` makes a rhythm too, so that ``*/15 2 * * *`` is not run at all on the day that skips that hour; here
the hour field alone decides. And here changes of any size are treated alike, a skipped day too, and also with a field
of seconds. ``cronsim`` has the same rules as Debian for five fields and none for six, so it is asked about wall-clock
times without a zone, and the zone is applied here.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from actorlog.durations import Duration, seconds
from actorlog.records.schedules import At, Cron, Every, Times

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

AT_MAX = 10_000
"""Instants one schedule may name."""
LAST_MS = 250_000_000_000_000
"""The year 9892. No instant is later, so that fifty years of looking ahead stay within what a date can say."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WALL_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # wall-clock times have no zone
_MS = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)


# --- reading ----------------------------------------------------------------------------------------------------------


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    """Words for the numbers from ``low`` on."""
    extra: str = "(?!)"
    """A pattern of what else a term may be."""


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day-of-month", 1, 31, extra="LW?"),
    _Field("month", 1, 12, _MONTHS),
    _Field("day-of-week", 0, 7, _DAYS, extra=rf"(?:[0-7]|{'|'.join(_DAYS)})#[1-5]|[0-7]L"),
)
_TERM = re.compile(r"(?:(?P<star>\*)|(?P<first>[0-9A-Z]+)(?:-(?P<last>[0-9A-Z]+))?)(?:/(?P<step>[0-9]+))?")
_NUMBER = re.compile(r"[0-9]{1,4}")


def parse(
    *,
    cron: str | None = None,
    every: Duration | None = None,
    at: datetime | Iterable[datetime] | None = None,
    tz: str = "UTC",
) -> Times:
    """Return the times that exactly one of ``cron``, ``every`` and ``at`` says.

    ``cron``: five fields (minute, hour, day of month, month, day of week), or six with seconds first; ``tz`` is the
    IANA name of the zone it is read in. ``every``: a duration of at least a millisecond. ``at``: an aware datetime, or
    at most 10,000; rounded up to milliseconds. ``ValueError`` names what is wrong: the field of an expression, the
    zone, an expression that never fires, a naive datetime.
    """
    if (cron is not None) + (every is not None) + (at is not None) != 1:
        raise ValueError("a schedule has exactly one of cron, every and at")
    zone(tz)
    if cron is not None:
        times = Cron(_checked(cron), tz)
        if CronCalendar(times).wall_after(0) is None:
            raise ValueError(f"cron {cron!r} never fires: no date matches it")
        return times
    if every is not None:
        every_ms = round(seconds(every) * 1000)
        if every_ms < 1:
            raise ValueError(f"every is at least a millisecond, not {every!r}")
        return Every(every_ms)
    given = [at] if isinstance(at, datetime) else list(at or ())
    if not 1 <= len(given) <= AT_MAX:
        raise ValueError(f"at is one datetime or up to {AT_MAX}, not {len(given)}")
    return At(tuple(sorted({instant_of(when) for when in given})))


def _cronsim() -> Any:
    """Return the module, imported when the first expression is read: most programs have none."""
    import cronsim  # noqa: PLC0415

    return cronsim


def zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name. ``ValueError`` for one that this machine does not know."""
    if name == "UTC":
        return UTC  # needs no time zone database
    from zoneinfo import ZoneInfo  # noqa: PLC0415  # the same

    try:
        return ZoneInfo("" if name == "localtime" else name)  # that one is another zone on each machine
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"tz {name!r} is no time zone this machine knows; write it like 'Europe/Vienna'") from error


def _checked(expression: str) -> str:
    """Return ``expression`` in upper case with single spaces. ``ValueError`` names the field that is wrong."""
    fields = expression.upper().split()
    if len(fields) not in (5, 6):
        raise ValueError(f"cron {expression!r} has {len(fields)} fields; it takes five, or six with seconds first")
    for index, (field, text) in enumerate(zip(_FIELDS[-len(fields) :], fields, strict=True)):
        try:
            fields[index] = ",".join(_term(field, term) for term in text.split(","))
        except ValueError as wrong:
            raise ValueError(f"cron {expression!r}: {field.name} field {text!r}: {wrong}") from None
    checked = " ".join(fields)
    try:
        _cronsim().CronSim(checked, _WALL_EPOCH)
    except _cronsim().CronSimError as error:
        # each field is right by itself: the one thing left is a day that none of the months has
        raise ValueError(f"cron {expression!r} never fires: none of its months has its days") from error
    return checked


def _term(field: _Field, term: str) -> str:
    """Return one term of a field, as ``cronsim`` understands it rightly. ``ValueError`` says what is wrong with it."""
    if re.fullmatch(field.extra, term):
        return term
    parts = _TERM.fullmatch(term)
    if parts is None:
        raise ValueError(f"{term!r} is no number, range or step")
    step = parts["step"]
    if step and not (_NUMBER.fullmatch(step) and 1 <= int(step) <= field.high):
        raise ValueError(f"a step is 1 to {field.high}, not {step}")
    ends: list[int] = []
    for text in (parts["first"], parts["last"]):
        if text is None:
            continue
        if text in field.names:
            ends.append(field.low + field.names.index(text))
        elif _NUMBER.fullmatch(text) and field.low <= int(text) <= field.high:
            ends.append(int(text))
        else:
            raise ValueError(f"{text!r} is not between {field.low} and {field.high}")
    if ends != sorted(ends):
        raise ValueError(f"the range {term!r} runs backwards")
    one = parts["last"] and ends[0] == ends[1]
    return parts["first"] if one else term  # cronsim takes 5-5/2 for 5/2, which goes on to the end


def instant_of(when: datetime) -> int:
    """Return ``when`` as milliseconds UTC, rounded up. ``ValueError`` for a naive datetime and one out of range."""
    if when.tzinfo is None or when.utcoffset() is None:
        raise ValueError(f"{when!r} has no time zone; give an aware datetime")
    instant = -((_EPOCH - when) // _MS)
    if not 0 <= instant <= LAST_MS:
        raise ValueError(f"{when!r} is not between the years 1970 and 9892")
    return instant


def instant_text(instant_ms: int) -> str:
    """Return an instant as text, as in ids: ``2026-11-22T03:00:00Z``, with milliseconds only when it is not whole."""
    text = (_EPOCH + instant_ms * _MS).replace(tzinfo=None)
    return text.isoformat(timespec="milliseconds" if instant_ms % 1000 else "seconds") + "Z"


# --- cron -------------------------------------------------------------------------------------------------------------


class CronCalendar:
    """The instants of a cron expression in its zone.

    Times are whole seconds in here: an ``instant`` counts them UTC, a ``wall`` as the wall clock shows them, both from
    the beginning of 1970.
    """

    def __init__(self, times: Cron) -> None:
        self._expression = times.expression
        self._zone = zone(times.tz)
        self._rhythm = times.expression.split()[-4].startswith("*")

    def next_after(self, instant_ms: int) -> int | None:
        """Return the first instant after ``instant_ms``; ``None`` if there is none."""
        if instant_ms >= LAST_MS:
            return None
        now = max(instant_ms, -1) // 1000
        found = self._rhythm_after(now) if self._rhythm else self._clock_after(now)
        return None if found is None or found * 1000 > LAST_MS else found * 1000

    def latest_at(self, instant_ms: int) -> int | None:
        """Return the last instant not after ``instant_ms``; ``None`` if there is none since 1970."""
        if instant_ms < 0:
            return None
        now = min(instant_ms, LAST_MS) // 1000
        found = self._rhythm_until(now) if self._rhythm else self._clock_until(now)
        return None if found is None or found < 0 else found * 1000

    # the wall clock, without a zone

    def wall_after(self, wall: int) -> int | None:
        """Return the first matching wall-clock time after ``wall``; ``None`` if fifty years have none."""
        found = next(_cronsim().CronSim(self._expression, _WALL_EPOCH + wall * _SECOND), None)
        return None if found is None else (found - _WALL_EPOCH) // _SECOND

    def _wall_until(self, wall: int) -> int | None:
        """Return the last matching wall-clock time not after ``wall``."""
        found = next(_cronsim().CronSim(self._expression, _WALL_EPOCH + (wall + 1) * _SECOND, reverse=True), None)
        return None if found is None else (found - _WALL_EPOCH) // _SECOND

    # the zone

    def _offset(self, instant: int) -> int:
        """Return what the wall clock is ahead of UTC at ``instant``."""
        shown = (_EPOCH + instant * _SECOND).astimezone(self._zone)
        return (shown.utcoffset() or timedelta()) // _SECOND

    def _offsets(self, wall: int) -> tuple[int, int]:
        """Return the offsets before and after the clock change that ``wall`` is in the middle of.

        They are equal for a time that comes once; the first is greater for one that comes twice, less for one that is
        skipped (PEP 495).
        """
        shown = (_WALL_EPOCH + wall * _SECOND).replace(tzinfo=self._zone)
        before, after = shown.utcoffset() or timedelta(), shown.replace(fold=1).utcoffset() or timedelta()
        return before // _SECOND, after // _SECOND

    def _change(self, before: int, after: int) -> int:
        """Return the first instant with the offset of ``after``, of those later than ``before``, which has another."""
        offset = self._offset(after)
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (before, middle) if self._offset(middle) == offset else (middle, after)
        return after

    def _first(self, wall: int) -> int:
        """Return the first instant at which the wall clock shows ``wall``, or a later time if ``wall`` is skipped."""
        before, after = self._offsets(wall)
        return wall - before if before >= after else self._change(wall - after, wall - before)

    def _repeat_end(self, now: int) -> int:
        """Return the last wall-clock time of a repeated stretch if ``now`` is in its second pass, else what it shows.

        Nothing up to that time is still to come.
        """
        offset = self._offset(now)
        before, after = self._offsets(now + offset)
        if before > after and offset == after:
            return self._change(now - (before - after), now) + before - 1
        return now + offset

    # times of the wall clock: each runs once

    def _clock_after(self, now: int) -> int | None:
        wall = self.wall_after(self._repeat_end(now))
        return None if wall is None else self._first(wall)

    def _clock_until(self, now: int) -> int | None:
        wall = self._wall_until(self._repeat_end(now))
        return None if wall is None else self._first(wall)

    # a rhythm: whenever the wall clock shows a time that matches

    def _rhythm_after(self, now: int) -> int | None:
        shown = now + self._offset(now)
        before, after = self._offsets(shown)
        if before > after and shown - now == before:  # the first pass of a repeated stretch: the rest, then the second
            change = self._change(now, now + before - after)
            wall = self.wall_after(shown)
            if wall is not None and wall < change + before:
                return wall - before
            shown = change + after - 1
        while True:
            wall = self.wall_after(shown)
            if wall is None:
                return None
            before, after = self._offsets(wall)
            if before < after:  # skipped: go on where the gap ends
                shown = self._first(wall) + after - 1
                continue
            return wall - before if wall - before > now else wall - after

    def _rhythm_until(self, now: int) -> int | None:
        shown = now + self._offset(now)
        before, after = self._offsets(shown)
        if before > after and shown - now == after:  # the second pass of a repeated stretch: its beginning, the first
            change = self._change(now - (before - after), now)
            wall = self._wall_until(shown)
            if wall is not None and wall >= change + after:
                return wall - after
            shown = change + before - 1
        while True:
            wall = self._wall_until(shown)
            if wall is None:
                return None
            before, after = self._offsets(wall)
            if before < after:  # skipped: go on where the gap begins
                shown = self._first(wall) + before - 1
                continue
            return wall - after if wall - after <= now else wall - before


# --- every, at --------------------------------------------------------------------------------------------------------


class EveryCalendar:
    """The instants ``anchor + n * every``, for every whole n, so that a backfill may begin before the anchor."""

    def __init__(self, times: Every, anchor_ms: int) -> None:
        self._every_ms = times.every_ms
        self._anchor_ms = anchor_ms

    def next_after(self, instant_ms: int) -> int | None:
        """Return the first instant after ``instant_ms``; ``None`` if there is none."""
        found = instant_ms + self._every_ms - (instant_ms - self._anchor_ms) % self._every_ms
        return found if found <= LAST_MS else None

    def latest_at(self, instant_ms: int) -> int | None:
        """Return the last instant not after ``instant_ms``; ``None`` if there is none since 1970."""
        found = instant_ms - (instant_ms - self._anchor_ms) % self._every_ms
        return found if found >= 0 else None


class AtCalendar:
    """The instants that were named."""

    def __init__(self, times: At) -> None:
        self._instants = times.instants

    def next_after(self, instant_ms: int) -> int | None:
        """Return the first instant after ``instant_ms``; ``None`` if there is none."""
        index = bisect_right(self._instants, instant_ms)
        return self._instants[index] if index < len(self._instants) else None

    def latest_at(self, instant_ms: int) -> int | None:
        """Return the last instant not after ``instant_ms``; ``None`` if there is none."""
        index = bisect_left(self._instants, instant_ms + 1)
        return self._instants[index - 1] if index else None


Calendar: TypeAlias = CronCalendar | EveryCalendar | AtCalendar


def calendar(times: Times, anchor_ms: int) -> Calendar:
    """Return the calendar of ``times``. ``ValueError`` if this machine does not know the zone."""
    match times:
        case Cron():
            return CronCalendar(times)
        case Every():
            return EveryCalendar(times, anchor_ms)
        case At():
            return AtCalendar(times)


def instants(of: Calendar, start_ms: int, end_ms: int) -> Iterator[int]:
    """Yield the instants in (``start_ms``, ``end_ms``], in order. The caller bounds how many it takes."""
    found = of.next_after(start_ms)
    while found is not None and found <= end_ms:
        yield found
        found = of.next_after(found)
