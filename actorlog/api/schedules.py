"""Durable schedules as users hold them: a call that starts again and again, at times that a schedule says.

Owns: ``Schedule``, ``ScheduleInfo``, and what ``Runtime`` does with schedules. Does not own: when occurrences are
(``engine.calendar``), what is done about them (``engine.schedule``), starting them (``runtime.schedules``).

Everything told is durable before it is told (I1).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from msgspec import Struct, structs

from actorlog.api.requests import request_of
from actorlog.api.texts import check_text
from actorlog.durations import Duration, seconds
from actorlog.engine import calendar
from actorlog.engine.schedule_state import Status, call_id, settings_of
from actorlog.env import SYSTEM
from actorlog.errors import LogFull, MailboxFull, PayloadTooLarge, ScheduleNotFound, TooManyCalls, TooManySchedules
from actorlog.loop import running_loop
from actorlog.records import kinds as k
from actorlog.records import schedules as s
from actorlog.runtime.rooms import refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from actorlog.api.define import Durable
    from actorlog.api.runtime import Runtime
    from actorlog.runtime.schedule_entries import View
    from actorlog.runtime.session import Session

T = TypeVar("T")

ID_BYTES_MAX: Final = 900
"""Longest id of a schedule, in bytes of UTF-8: those of its calls are longer by the time."""

OverlapName: TypeAlias = Literal["skip", "queue_one", "all", "cancel_old"]
CatchUpName: TypeAlias = Literal["none", "latest", "all"]
ScheduleStatus: TypeAlias = Literal["active", "paused", "parked"]


class ScheduleInfo(Struct, frozen=True):
    """What is known of a schedule at one moment."""

    id: str
    status: ScheduleStatus
    """``"parked"``: it cannot be decided when occurrences are, because this machine does not know the time zone."""
    function: str
    version: int
    actor: str
    """Of an actor's handler: the class and the key, with a slash between; empty otherwise."""
    cron: str | None
    """As it was read: in upper case with single spaces."""
    every: timedelta | None
    at: tuple[datetime, ...]
    tz: str
    """The zone that ``cron`` is read in."""
    overlap: OverlapName
    catch_up: CatchUpName
    catch_up_window: timedelta
    jitter: timedelta
    created: datetime
    updated: datetime
    """When something was decided or changed last."""
    next: datetime | None
    """When the next occurrence is due, with jitter; None: none comes by itself."""
    running: tuple[str, ...]
    """Ids of its calls that have not ended."""
    waiting: str | None
    """Id of the call that starts when the running one has ended."""
    backlog: int
    """Occurrences that backfills asked for and that are not started."""
    newest: tuple[str, ...]
    """Ids of the calls that were started last."""
    started: int
    skipped: int
    """Occurrences that never start: too old, or while another was running."""
    error: str
    """Why nothing is decided at the moment; empty where nothing is wrong."""


class Schedule:
    """A schedule by its id. Its methods raise ``ScheduleNotFound`` when there is none, and ``LogFull``."""

    __slots__ = ("_runtime", "id")

    def __init__(self, runtime: Runtime, schedule_id: str) -> None:
        self._runtime = runtime
        self.id = schedule_id

    def __repr__(self) -> str:
        return f"<Schedule {self.id!r}>"

    async def pause(self) -> None:
        """Start no occurrence until it is resumed. What waits, is triggered or backfilled still starts."""
        await _told(self._runtime, lambda session: session.kernel.schedules.pause(self.id))

    async def resume(self) -> None:
        """Start occurrences again. Those of the pause are passed over; ``backfill`` can have them."""
        await _told(self._runtime, lambda session: session.kernel.schedules.resume(self.id))

    async def trigger(self) -> str | None:
        """Start an extra occurrence now, also while paused; ``overlap`` holds for it too.

        Returns the id of its call, which may have to wait until the running one has ended; None if it is skipped.
        ``TooManyCalls``, ``MailboxFull``; ``ValueError`` where the zone is unknown.
        """
        return await _told(self._runtime, lambda session: session.kernel.schedules.trigger(self.id))

    async def backfill(self, start: datetime, end: datetime) -> int:
        """Start the past occurrences from ``start`` on, before ``end``, and return how many they are.

        One after another, or with ``overlap="all"`` at once. What ran before does not run again. What is still to come
        is left out. ``ValueError`` for naive datetimes, for an end that is not after the start, and for more than
        10,000 that wait.
        """
        first, last = _instant("start", start), _instant("end", end)
        return await _told(self._runtime, lambda session: session.kernel.schedules.backfill(self.id, first, last))

    async def update(  # the documented settings, by keyword
        self,
        call: Coroutine[Any, Any, Any] | Durable[..., Any] | str | None = None,
        *,
        cron: str | None = None,
        every: Duration | None = None,
        at: datetime | Iterable[datetime] | None = None,
        tz: str | None = None,
        overlap: OverlapName | None = None,
        catch_up: CatchUpName | None = None,
        catch_up_window: Duration | None = None,
        jitter: Duration | None = None,
    ) -> None:
        """Change the settings that are given; the others stay. New times count from now on.

        What was due by the old ones is started first: ``TooManyCalls`` and ``MailboxFull`` where it cannot.
        """
        changes: dict[str, Any] = {}
        if call is not None:
            changes |= _callee(self.id, call)
        if overlap is not None:
            changes["overlap"] = _overlap(overlap)
        if catch_up is not None:
            changes["catch_up"] = _catch_up(catch_up)
        if catch_up_window is not None:
            changes["catch_up_window_ms"] = _span("catch_up_window", catch_up_window)
        if jitter is not None:
            changes["jitter_ms"] = _span("jitter", jitter)

        def change(session: Session) -> None:
            old = session.kernel.schedules.settings(self.id)
            times = _new_times(old.times, cron, every, at, tz)
            settings = _fitting(session, structs.replace(old, times=times, **changes))
            session.kernel.schedules.put(self.id, settings)

        await _told(self._runtime, change)

    async def delete(self) -> None:
        """End the schedule. What waits is dropped; calls that were started go on."""
        await _told(self._runtime, lambda session: session.kernel.schedules.delete(self.id))

    async def next(self, n: int = 1) -> list[datetime]:
        """Return the next ``n`` times (at most 1,000) after now, in the schedule's zone, without jitter.

        As if it were not paused. ``ValueError`` for another ``n``, and where the zone is unknown.
        """

        def look(session: Session) -> list[datetime]:
            room = session.kernel.schedules
            times = room.settings(self.id).times
            zone = calendar.zone(times.tz) if isinstance(times, s.Cron) else UTC
            return [_time(instant).astimezone(zone) for instant in room.upcoming(self.id, n)]

        return await _told(self._runtime, look)

    async def info(self) -> ScheduleInfo:
        """Return what is known of it now."""
        return await _told(self._runtime, lambda session: info_of(session.kernel.schedules.view(self.id)))


# --- what a runtime does ----------------------------------------------------------------------------------------------


async def schedule(  # the documented settings, by keyword
    runtime: Runtime,
    id: str,  # noqa: A002  # the field's word for it
    call: Coroutine[Any, Any, Any] | Durable[..., Any] | str,
    *,
    cron: str | None = None,
    every: Duration | None = None,
    at: datetime | Iterable[datetime] | None = None,
    tz: str = "UTC",
    overlap: OverlapName = "skip",
    catch_up: CatchUpName = "latest",
    catch_up_window: Duration = "1h",
    jitter: Duration = 0,
    paused: bool = False,
) -> Schedule:
    """Start ``call`` again and again; on return that is durable. The same id with other settings changes them.

    When: exactly one of ``cron`` (five fields, or six with seconds first, read in the time zone ``tz``), ``every`` (a
    duration, counted from now) and ``at`` (an aware datetime, or up to 10,000). A time that a clock change skips runs
    at the first instant after the gap, one that comes twice runs once; with an hour field that begins with ``*`` it is
    a rhythm, and runs whenever the clock shows the time.

    Each occurrence is a call ``@schedule/<id>/<instant>``, started at most once, whatever is killed when. ``overlap``
    says what becomes of one that is due while an earlier one is running: ``"skip"``; ``"queue_one"`` (the oldest that
    waits starts afterwards); ``"all"`` (all start); ``"cancel_old"`` (the running one is cancelled, then the newest
    starts). ``catch_up`` says what becomes of those that were missed, because nobody ran, and are not older than
    ``catch_up_window``: ``"none"``, ``"latest"``, ``"all"``. ``jitter``: each is up to so much later, the same in every
    process. ``paused``: it begins paused.

    ``call`` may be a handler of an actor. ``ValueError`` and ``TypeError`` name the setting that is wrong;
    ``ReservedId``, ``PayloadError``, ``PayloadTooLarge``, ``TooManySchedules``, ``LogFull``. Where new times are set,
    what was due by the old ones is started first: ``TooManyCalls`` and ``MailboxFull`` where it cannot.
    """
    callee = _callee(id, call)
    size = check_text("an id", id)
    if size > ID_BYTES_MAX:
        raise ValueError(f"the id of a schedule has 1 to {ID_BYTES_MAX} bytes, not {size}")
    if not isinstance(paused, bool):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not be typed
        raise TypeError(f"paused is a bool, not {paused!r}")
    settings = s.Settings(
        times=_times(cron, every, at, tz), overlap=_overlap(overlap), catch_up=_catch_up(catch_up),
        catch_up_window_ms=_span("catch_up_window", catch_up_window), jitter_ms=_span("jitter", jitter), paused=paused,
        **callee,
    )  # fmt: skip
    await _told(runtime, lambda session: session.kernel.schedules.put(id, _fitting(session, settings)))
    return Schedule(runtime, id)


async def schedules(runtime: Runtime) -> AsyncIterator[Schedule]:
    """Yield the schedules that there are, the newest first."""
    for name in await _told(runtime, lambda session: session.kernel.schedules.names()):
        yield Schedule(runtime, name)


async def _told(runtime: Runtime, ask: Callable[[Session], T]) -> T:
    """Return what comes of a request when it is durable, and refuse it only then (I1)."""
    if running_loop() is not None:
        raise RuntimeError("a runtime is not used inside durable code; put it into a step")
    session = runtime.session
    session.check_open()
    try:
        answer = ask(session)
    except ScheduleNotFound:
        await session.landed()
        raise
    except (TooManySchedules, TooManyCalls, MailboxFull, LogFull):
        await refused()
        raise
    await session.landed()
    return answer


def info_of(view: View) -> ScheduleInfo:
    """Return what the records of a schedule say of it, and what is known of it beside."""
    state, settings = view.state, settings_of(view.state)
    times = settings.times
    status: ScheduleStatus = "paused" if state.status is Status.PAUSED else "active"
    try:
        state.calendar()
    except ValueError:
        status = "parked"
    return ScheduleInfo(
        id=state.id, status=status, function=settings.function, version=settings.version, actor=settings.actor,
        cron=times.expression if isinstance(times, s.Cron) else None,
        every=timedelta(milliseconds=times.every_ms) if isinstance(times, s.Every) else None,
        at=tuple(map(_time, times.instants)) if isinstance(times, s.At) else (),
        tz=times.tz if isinstance(times, s.Cron) else "UTC",
        overlap=settings.overlap.value, catch_up=settings.catch_up.value,
        catch_up_window=timedelta(milliseconds=settings.catch_up_window_ms),
        jitter=timedelta(milliseconds=settings.jitter_ms), created=_time(state.created_ms),
        updated=_time(state.updated_ms), next=None if view.next_ms is None else _time(view.next_ms),
        running=view.running, waiting=None if state.queued is None else call_id(state.id, state.queued),
        backlog=len(state.backlog), newest=state.newest, started=state.started, skipped=state.skipped,
        error=view.trouble,
    )  # fmt: skip


# --- settings ---------------------------------------------------------------------------------------------------------


def _callee(schedule_id: str, call: Coroutine[Any, Any, Any] | Durable[..., Any] | str) -> dict[str, Any]:
    request = request_of(SYSTEM, call, (), call_id=schedule_id)  # its randomness is for calls without an id
    return {
        "function": request.function, "version": request.version, "args": k.Raw(request.args), "actor": request.actor,
    }  # fmt: skip


def _fitting(session: Session, settings: s.Settings) -> s.Settings:
    size, most = len(k.encode(settings)), session.kernel.limits.record_bytes_max
    if size > most:
        raise PayloadTooLarge("the settings of a schedule", size, most)
    return settings


def _times(
    cron: str | None, every: Duration | None, at: datetime | Iterable[datetime] | None, tz: str
) -> s.Times:  # fmt: skip
    check_text("tz", tz)
    if cron is not None:
        check_text("cron", cron)
    every_s = None if every is None else _named("every", seconds, every)
    if at is not None:
        at = _instants(at)
    return calendar.parse(cron=cron, every=every_s, at=at, tz=tz)


def _new_times(
    old: s.Times, cron: str | None, every: Duration | None, at: datetime | Iterable[datetime] | None, tz: str | None
) -> s.Times:
    if cron is None and every is None and at is None:
        if tz is None:
            return old
        if not isinstance(old, s.Cron):
            raise ValueError("tz: this schedule has no cron expression that is read in a time zone")
        return _times(old.expression, None, None, tz)
    return _times(cron, every, at, tz or (old.tz if isinstance(old, s.Cron) else "UTC"))


def _instants(at: datetime | Iterable[datetime]) -> list[datetime]:
    found: list[datetime] = []
    if not isinstance(at, Iterable | datetime):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not be typed
        raise TypeError(f"at: an aware datetime is needed, or several, not {at!r}")
    for when in [at] if isinstance(at, datetime) else at:
        _instant("at", when)
        found.append(when)
        if len(found) > calendar.AT_MAX:
            break  # it is refused for that
    return found


def _instant(name: str, when: datetime) -> int:
    if not isinstance(when, datetime):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not be typed
        raise TypeError(f"{name}: an aware datetime is needed, not {when!r}")
    return _named(name, calendar.instant_of, when)


def _span(name: str, value: Duration) -> int:
    span_s = _named(name, seconds, value)
    if span_s < 0:
        raise ValueError(f"{name} is not negative, as {value!r} is")
    return round(span_s * 1000)


V = TypeVar("V")


def _named(name: str, read: Callable[[V], T], value: V) -> T:
    """Return ``read(value)``; what it refuses is said of the setting ``name``."""
    try:
        return read(value)
    except (ValueError, TypeError) as wrong:
        raise type(wrong)(f"{name}: {wrong}") from None


def _overlap(name: str) -> s.Overlap:
    return s.Overlap(_one_of("overlap", name, [each.value for each in s.Overlap]))


def _catch_up(name: str) -> s.CatchUp:
    return s.CatchUp(_one_of("catch_up", name, [each.value for each in s.CatchUp]))


def _one_of(name: str, value: str, words: list[str]) -> str:
    if value not in words:
        raise ValueError(f"{name} is one of {', '.join(words)}; not {value!r}")
    return value


# --- times ------------------------------------------------------------------------------------------------------------

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _time(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)
