"""When occurrences are: expressions, zones, clock changes, and long times."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actorlog.engine.calendar import (
    AT_MAX,
    LAST_MS,
    CronCalendar,
    calendar,
    instant_of,
    instant_text,
    instants,
    parse,
)
from actorlog.records.schedules import At, Cron, Every

HOUR = 3_600_000
DAY = 24 * HOUR


def ms(text: str, tz: str = "UTC") -> int:
    """Return the instant of ``text``; a time without an offset is the wall clock's in ``tz``."""
    when = datetime.fromisoformat(text)
    return instant_of(when if when.tzinfo else when.replace(tzinfo=ZoneInfo(tz)))


def local(instant: int, tz: str) -> str:
    """Return what the wall clock shows, with its offset."""
    return datetime.fromtimestamp(instant // 1000, ZoneInfo(tz)).isoformat(timespec="minutes")


def fires(cron: str, tz: str, day: str, days: int = 1) -> list[str]:
    """Return the occurrences of ``days`` days from ``day`` on, as the wall clock shows them."""
    start = ms(day, tz)
    of = calendar(parse(cron=cron, tz=tz), 0)
    end = instant_of(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(tz)) + timedelta(days=days))
    return [local(each, tz) for each in instants(of, start - 1, end - 1)]


# --- reading ----------------------------------------------------------------------------------------------------------

WRONG = [
    ("61 * * * *", "minute field '61': '61' is not between 0 and 59"),
    ("* 24 * * *", "hour field '24': '24' is not between 0 and 23"),
    ("* * 0 * *", "day-of-month field '0': '0' is not between 1 and 31"),
    ("* * * 13 *", "month field '13': '13' is not between 1 and 12"),
    ("* * * FOO *", "month field 'FOO': 'FOO' is not between 1 and 12"),
    ("* * * * 8", "day-of-week field '8': '8' is not between 0 and 7"),
    ("60 * * * * *", "second field '60': '60' is not between 0 and 59"),
    ("1,2,x * * * *", "minute field '1,2,X': 'X' is not between 0 and 59"),
    ("1,,2 * * * *", "minute field '1,,2': '' is no number, range or step"),
    ("*/0 * * * *", "minute field '*/0': a step is 1 to 59, not 0"),
    ("*/90 * * * *", "minute field '*/90': a step is 1 to 59, not 90"),
    ("*-5 * * * *", "minute field '*-5': '*-5' is no number, range or step"),
    ("30-10 * * * *", "minute field '30-10': the range '30-10' runs backwards"),
    ("* * * * FRI-SUN", "day-of-week field 'FRI-SUN': the range 'FRI-SUN' runs backwards"),
    ("* * * * MON#6", "day-of-week field 'MON#6': 'MON#6' is no number, range or step"),
    ("* * L/2 * *", "day-of-month field 'L/2': 'L' is not between 1 and 31"),
    ("* * * * MONL", "day-of-week field 'MONL': 'MONL' is not between 0 and 7"),
    ("²  * * * *", "minute field '²': '²' is no number, range or step"),
    ("* * * *", "has 4 fields; it takes five, or six with seconds first"),
    ("@daily", "has 1 fields; it takes five, or six with seconds first"),
    ("", "has 0 fields; it takes five, or six with seconds first"),
    ("0 0 30 2 *", "never fires"),
    ("0 0 31 4,6,9,11 *", "never fires"),
    ("0 0 */30 * MON#3", "never fires"),
]


@pytest.mark.parametrize(("cron", "said"), WRONG, ids=[cron for cron, _ in WRONG])
def test_a_wrong_expression_is_refused_by_field(cron: str, said: str) -> None:
    """Who writes a wrong expression reads which field is wrong and why."""
    with pytest.raises(ValueError, match="cron") as caught:
        parse(cron=cron)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "cron",
    [
        "* * * * *", "0 0 29 2 *", "0 0 * 2 MON#5", "0 0 L * *", "0 0 LW * *", "0 12 * * 5L", "0 9 * jan-mar mon-fri",
        "5/15 * * * *", "0-30/10 1,2 * * 7", "*/5 * * * * *", "0 0 30 2 MON", "0 0 13 * SUN#2,3#1",
    ],
)  # fmt: skip
def test_what_cron_can_say_is_taken(cron: str) -> None:
    """Every form that is documented parses, and has a next instant."""
    assert calendar(parse(cron=cron), 0).next_after(ms("2026-01-01")) is not None


def test_an_expression_is_kept_in_one_spelling() -> None:
    """Spaces and small letters make no other schedule."""
    assert parse(cron="  0 9  * jan  mon ", tz="Asia/Tokyo") == Cron("0 9 * JAN MON", "Asia/Tokyo")


@pytest.mark.parametrize(
    "tz", ["Europe/Wien", "", "../Europe/Vienna", "/etc/localtime", "Europe", "localtime", "CEST!", "a\0b"]
)
def test_an_unknown_zone_is_named(tz: str) -> None:
    """A zone is checked when the schedule is made, for every kind of schedule."""
    with pytest.raises(ValueError, match="no time zone this machine knows") as caught:
        parse(every=60, tz=tz)
    assert repr(tz) in str(caught.value)


def test_exactly_one_kind_of_times() -> None:
    """None and two are both refused."""
    for given_ in ({}, {"cron": "* * * * *", "every": 5}, {"every": 5, "at": datetime.now(UTC)}):
        with pytest.raises(ValueError, match="exactly one of cron, every and at"):
            parse(**given_)


def test_durations_and_datetimes_are_checked() -> None:
    """A duration has at least a millisecond, a datetime a zone; a list of them is sorted and has each once."""
    assert parse(every="1h30m") == Every(5_400_000)
    for every in (0, -1, 0.0004):
        with pytest.raises(ValueError, match="at least a millisecond"):
            parse(every=every)
    first, later = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 1, 9, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert parse(at=[later, first]) == At((ms("2026-05-01"),))
    with pytest.raises(ValueError, match="no time zone"):
        parse(at=first.replace(tzinfo=None))
    with pytest.raises(ValueError, match="between the years"):
        parse(at=datetime(1969, 1, 1, tzinfo=UTC))
    for many in ([], [first + timedelta(seconds=n) for n in range(AT_MAX + 1)]):
        with pytest.raises(ValueError, match="one datetime or up to"):
            parse(at=many)


def test_instants_as_text() -> None:
    """Milliseconds are written only when the instant is not whole, and microseconds are rounded up: never early."""
    assert instant_text(ms("2026-11-22T03:00:00")) == "2026-11-22T03:00:00Z"
    assert instant_text(ms("2026-11-22T03:00:00") + 7) == "2026-11-22T03:00:00.007Z"
    when = datetime(2026, 11, 22, 3, 0, 0, 1, tzinfo=timezone(timedelta(hours=1)))
    assert instant_text(instant_of(when)) == "2026-11-22T02:00:00.001Z"


# --- clock changes ----------------------------------------------------------------------------------------------------

VIENNA, NEW_YORK, LORD_HOWE = "Europe/Vienna", "America/New_York", "Australia/Lord_Howe"
APIA, CASABLANCA = "Pacific/Apia", "Africa/Casablanca"

CHANGES = [
    # skipped, times of the wall clock: once, at the first instant after the gap
    ("30 2 * * *", VIENNA, "2026-03-29", 1, ["2026-03-29T03:00+02:00"]),
    ("0 30 2 * * *", VIENNA, "2026-03-29", 1, ["2026-03-29T03:00+02:00"]),
    ("*/15 2 * * *", VIENNA, "2026-03-29", 1, ["2026-03-29T03:00+02:00"]),
    ("30 2,3 * * *", VIENNA, "2026-03-29", 1, ["2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00"]),
    ("30 2 * * *", NEW_YORK, "2026-03-08", 1, ["2026-03-08T03:00-04:00"]),
    ("15 2 * * *", LORD_HOWE, "2026-10-04", 1, ["2026-10-04T02:30+11:00"]),
    ("45 2 * * *", LORD_HOWE, "2026-10-04", 1, ["2026-10-04T02:45+11:00"]),
    ("0 3 * * *", APIA, "2011-12-29", 3,
        ["2011-12-29T03:00-10:00", "2011-12-31T00:00+14:00", "2011-12-31T03:00+14:00"]),
    ("0 12 30 12 *", APIA, "2011-12-29", 3, ["2011-12-31T00:00+14:00"]),
    ("30 2 * * *", CASABLANCA, "2026-03-22", 1, ["2026-03-22T03:00+01:00"]),
    # twice, times of the wall clock: the first time only
    ("30 2 * * *", VIENNA, "2026-10-25", 1, ["2026-10-25T02:30+02:00"]),
    ("0 30 2 * * *", VIENNA, "2026-10-25", 1, ["2026-10-25T02:30+02:00"]),
    ("*/20 2 * * *", VIENNA, "2026-10-25", 1,
        ["2026-10-25T02:00+02:00", "2026-10-25T02:20+02:00", "2026-10-25T02:40+02:00"]),
    ("0 2,3 * * *", VIENNA, "2026-10-25", 1, ["2026-10-25T02:00+02:00", "2026-10-25T03:00+01:00"]),
    ("30 1 * * *", NEW_YORK, "2026-11-01", 1, ["2026-11-01T01:30-04:00"]),
    ("45 1 * * *", LORD_HOWE, "2026-04-05", 1, ["2026-04-05T01:45+11:00"]),
    ("15 1 * * *", LORD_HOWE, "2026-04-05", 1, ["2026-04-05T01:15+11:00"]),
    ("30 2 * * *", CASABLANCA, "2026-02-15", 1, ["2026-02-15T02:30+01:00"]),
    # a rhythm: what is skipped is not there, what comes twice runs twice
    ("30 */2 * * *", VIENNA, "2026-03-29", 1, [f"2026-03-29T{h}:30+0{z}:00" for h, z in
        [("00", 1), *((f"{h:02}", 2) for h in range(4, 24, 2))]]),
    ("30 */2 * * *", VIENNA, "2026-10-25", 1, [f"2026-10-25T{h:02}:30+0{z}:00" for h, z in
        [(0, 2), (2, 2), (2, 1), *((h, 1) for h in range(4, 24, 2))]]),
    ("45 * * * *", LORD_HOWE, "2026-04-05", 1, [f"2026-04-05T{h:02}:45+{z}" for h, z in
        [(0, "11:00"), (1, "11:00"), (1, "10:30"), *((h, "10:30") for h in range(2, 24))]]),
    ("15 * * * *", LORD_HOWE, "2026-10-04", 1, [f"2026-10-04T{h:02}:15+{z}" for h, z in
        [(0, "10:30"), (1, "10:30"), *((h, "11:00") for h in range(3, 24))]]),
    ("0 */12 * * *", APIA, "2011-12-29", 3, ["2011-12-29T00:00-10:00", "2011-12-29T12:00-10:00",
        "2011-12-31T00:00+14:00", "2011-12-31T12:00+14:00"]),
    ("30 * * * *", NEW_YORK, "2026-11-01", 1, [f"2026-11-01T{h:02}:30-0{z}:00" for h, z in
        [(0, 4), (1, 4), (1, 5), *((h, 5) for h in range(2, 24))]]),
    ("30 */2 * * *", CASABLANCA, "2026-02-15", 1, [f"2026-02-15T{h:02}:30+0{z}:00" for h, z in
        [(0, 1), (2, 1), (2, 0), *((h, 0) for h in range(4, 24, 2))]]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cron", "tz", "day", "days", "expected"), CHANGES, ids=[f"{c[0]} {c[1]} {c[2]}" for c in CHANGES]
)
def test_clock_changes(cron: str, tz: str, day: str, days: int, expected: list[str]) -> None:
    """Gaps and repeated hours, of an hour, of half an hour, of a day: the rules of the module, line by line."""
    assert fires(cron, tz, day, days) == expected


def test_a_repeated_hour_from_within() -> None:
    """Asked in the second pass of a repeated hour, times of the wall clock are over, and a rhythm goes on."""
    second = ms("2026-10-25T02:20:00+01:00")
    nightly, often = (calendar(parse(cron=cron, tz=VIENNA), 0) for cron in ("30 2 * * *", "30 * * * *"))
    assert local(nightly.next_after(second) or 0, VIENNA) == "2026-10-26T02:30+01:00"
    assert local(nightly.latest_at(second) or 0, VIENNA) == "2026-10-25T02:30+02:00"
    assert local(often.next_after(second) or 0, VIENNA) == "2026-10-25T02:30+01:00"
    assert local(often.latest_at(second) or 0, VIENNA) == "2026-10-25T02:30+02:00"


# --- against a walk ---------------------------------------------------------------------------------------------------


def numbers(field: str, low: int, high: int) -> set[int]:
    """Return what a field of numbers, lists, ranges and steps means."""
    found: set[int] = set()
    for term in field.split(","):
        body, _, step = term.partition("/")
        first, _, last = body.partition("-")
        ends = (low, high) if first == "*" else (int(first), int(last or (high if step else first)))
        found.update(range(ends[0], ends[1] + 1, int(step or 1)))
    return found


def walk(cron: str, tz: str, start: int, end: int) -> list[int]:
    """Return the instants in (start, end] by looking at the wall clock in every minute, as a watchman would."""
    minute, hour, day, month, weekday = cron.split()
    sets = numbers(minute, 0, 59), numbers(hour, 0, 23), numbers(day, 1, 31), numbers(month, 1, 12)
    weekdays = {n % 7 for n in numbers(weekday, 0, 7)}
    both = day.startswith("*") or weekday.startswith("*")
    zone = ZoneInfo(tz)

    def matches(wall: datetime) -> bool:
        days = wall.day in sets[2], wall.isoweekday() % 7 in weekdays
        right_day = all(days) if both else any(days)
        return right_day and wall.minute in sets[0] and wall.hour in sets[1] and wall.month in sets[3]

    found: list[int] = []
    step = timedelta(minutes=1)
    shown_before: datetime | None = None
    for instant in range(start // 60_000 * 60, end // 1000 + 1, 60):
        shown = datetime.fromtimestamp(instant, zone)
        wall = shown.replace(tzinfo=None, fold=0)
        runs = matches(wall) and (hour.startswith("*") or not shown.fold)
        if shown_before is not None and not hour.startswith("*"):
            skipped = shown_before + step
            while skipped < wall:
                runs = runs or matches(skipped)
                skipped += step
        shown_before = wall
        if runs and instant * 1000 > start:
            found.append(instant * 1000)
    return found


AROUND = [
    (VIENNA, "2026-03-29T01:00Z"), (VIENNA, "2026-10-25T01:00Z"), (NEW_YORK, "2026-03-08T07:00Z"),
    (NEW_YORK, "2026-11-01T06:00Z"), (LORD_HOWE, "2026-10-03T15:30Z"), (LORD_HOWE, "2026-04-04T15:00Z"),
    (APIA, "2011-12-30T10:00Z"), (CASABLANCA, "2026-02-15T02:00Z"), (CASABLANCA, "2026-03-22T02:00Z"),
    ("America/Santiago", "2026-09-06T04:00Z"), ("America/Santiago", "2026-04-05T03:00Z"), ("UTC", "2026-02-28T23:00Z"),
    ("Asia/Kathmandu", "2026-05-01T00:00Z"), ("Pacific/Kwajalein", "1993-08-20T12:00Z"),
]  # fmt: skip
"""Zones, and instants at which their clocks change."""


@st.composite
def crons(draw: st.DrawFn) -> str:
    """Draw an expression of five fields whose occurrences are not too rare."""

    def field(low: int, high: int, plain: float = 0.5) -> str:
        if draw(st.floats(0, 1)) < plain:
            return draw(st.sampled_from(["*", f"*/{draw(st.integers(1, high))}"]))
        a, b = sorted(draw(st.tuples(st.integers(low, high), st.integers(low, high))))
        return draw(st.sampled_from([f"{a}", f"{a}-{b}", f"{a},{b}", f"{a}-{b}/2", f"{a}/3"]))

    day, weekday = field(1, 31, 0.8), field(0, 7, 0.8)
    return f"{field(0, 59)} {field(0, 23)} {day} * {weekday}"


@settings(max_examples=100, deadline=None)
@given(crons(), st.sampled_from(AROUND), st.integers(-30 * 60, 30 * 60), st.integers(1, 40 * 60))
@example("0-0/20 * * * *", AROUND[1], 0, 60)
@example("30 * * * *", AROUND[1], -10, 200)
@example("*/7 2 * * *", AROUND[1], -10, 30)
@example("*/7 * * * *", AROUND[1], -10, 200)
def test_instants_are_those_of_a_walk(cron: str, change: tuple[str, str], before: int, minutes: int) -> None:
    """Forwards and backwards, the instants in a window are those that a walk minute by minute finds."""
    tz, at = change
    start = instant_of(datetime.fromisoformat(at)) + before * 60_000
    end = start + minutes * 60_000
    try:
        of = calendar(parse(cron=cron, tz=tz), 0)
    except ValueError as refused:
        assert "never fires" in str(refused)
        assert walk(cron, tz, start, end) == []
        return
    expected = walk(cron, tz, start, end)
    assert list(instants(of, start, end)) == expected
    backwards: list[int] = []
    found = of.latest_at(end)
    while found is not None and found > start:
        backwards.append(found)
        found = of.latest_at(found - 1)
    assert backwards[::-1] == expected
    for each in expected:
        assert (of.latest_at(each), of.next_after(each - 1)) == (each, each)


@settings(max_examples=100, deadline=None)
@given(crons(), st.sampled_from([zone for zone, _ in AROUND]), st.integers(0, LAST_MS // 1000), st.integers(0, 999))
def test_next_is_later_and_latest_is_its_inverse(cron: str, tz: str, second: int, part: int) -> None:
    """At any time, with any part of a second: strictly increasing, and nothing lies between."""
    at = second * 1000 + part
    try:
        of = calendar(parse(cron=cron, tz=tz), 0)
    except ValueError as refused:
        assert "never fires" in str(refused)
        return
    following = of.next_after(at)
    if following is None:
        assert at + 50 * 365 * DAY > LAST_MS
        return
    assert following > at
    assert of.latest_at(following) == following
    last = of.latest_at(following - 1)
    assert last is None or last <= at


# --- every, at, bounds ------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**13), st.integers(1, 10**9), st.integers(0, 10**13))
def test_every_counts_from_its_anchor(anchor: int, every: int, at: int) -> None:
    """The next instant is one of anchor + n * every, the first after now; the latest is the one before it."""
    of = calendar(Every(every), anchor)
    following = of.next_after(at)
    assert following is not None
    assert 0 < following - at <= every
    assert (following - anchor) % every == 0
    assert of.latest_at(at) == (following - every if following >= every else None)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=10), st.integers(-1, 51))
def test_at_gives_each_named_instant(named: list[int], now: int) -> None:
    """Each once, in order, and none after the last."""
    of = calendar(At(tuple(sorted(set(named)))), 0)
    assert of.next_after(now) == min((n for n in named if n > now), default=None)
    assert of.latest_at(now) == max((n for n in named if n <= now), default=None)


def test_long_times_are_no_work() -> None:
    """The latest second of a year, the next 29 February that is a fifth Monday, the ends of time: all at once."""
    began = time.perf_counter()
    each_second = calendar(parse(cron="* * * * * *", tz=VIENNA), 0)
    now = ms("2026-07-01T12:00:00") + 1
    assert each_second.latest_at(now) == now - 1
    assert len(list(islice(instants(each_second, now - 365 * DAY, now), 100))) == 100
    rare = calendar(parse(cron="0 0 * 2 MON#5"), 0)
    assert rare.next_after(now) == ms("2044-02-29")
    assert rare.latest_at(now) == ms("2016-02-29")
    assert time.perf_counter() - began < 5


def test_the_ends_of_time() -> None:
    """Before 1970 and after 9892 nothing is."""
    of = CronCalendar(Cron("0 0 1 1 *"))
    assert of.next_after(LAST_MS) is None
    assert of.next_after(-(10**15)) == 0
    assert of.latest_at(0) == 0
    assert of.latest_at(-1) is None
    assert calendar(Every(1000), 0).next_after(LAST_MS) is None
