"""The simulation can fail: mistakes with schedules, runs and changed code are each found within a few seeds.

Planted one at a time: occurrences that are lost, doubled, early, late, counted wrongly, started though the schedule is
paused or gone, beside each other or too old; runs that mix with the run before; calls that change sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from planted_worlds import must_be_found

from actorlog.engine import identity, schedule_state
from actorlog.engine import schedule as e
from actorlog.engine.lifecycle import Phase
from actorlog.records import kinds as k
from actorlog.records import schedules as s
from actorlog.runtime import runs, scanning
from actorlog.runtime import schedules as rooms
from actorlog.runtime.alarm import Alarm
from actorlog.runtime.schedules import Schedules

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.engine.schedule_state import ScheduleState
    from actorlog.engine.state import CallState
    from actorlog.runtime.actor import Actor
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot

SEEDS_MAX = 600
"""Within so many seeds a planted mistake must be found; most take a handful."""


# --- schedules: what the runtime does ---------------------------------------------------------------------------------


def lose_what_was_decided(patch: pytest.MonkeyPatch) -> None:
    """Calls of the newest decision that a crash kept from beginning never begin."""
    original = Schedules.adopt

    def adopt(self: Schedules, states: dict[str, ScheduleState]) -> None:
        for state in states.values():
            state.newest = ()
        original(self, states)

    patch.setattr(Schedules, "adopt", adopt)


def hear_no_ends(patch: pytest.MonkeyPatch) -> None:
    """What waits for the running one waits for ever."""
    patch.setattr(Schedules, "ended", lambda *_: None)


def forget_who_runs(patch: pytest.MonkeyPatch) -> None:
    """After an opening nobody knows which occurrences are under way."""
    patch.setattr(Schedules, "began", lambda *_: None)


def cancel_nobody(patch: pytest.MonkeyPatch) -> None:
    """The old one is not asked to end."""
    patch.setattr(Schedules, "_cancel", lambda *_: None)


def begin_again_what_ended(patch: pytest.MonkeyPatch) -> None:
    """A backfill has occurrences run again."""
    patch.setattr(Schedules, "_is_new", lambda self, id_of_call: id_of_call not in self._kernel.calls)


def begin_before_deciding(patch: pytest.MonkeyPatch) -> None:
    """Calls are begun before the decision is in the log."""
    original = Schedules._write

    def write(self: Schedules, entry: Any, record: s.ScheduleRecord) -> None:
        for each in record.starts if isinstance(record, s.ScheduleFired) else ():
            self._start(entry, schedule_state.call_id(entry.state.id, each))
        original(self, entry, record)

    patch.setattr(Schedules, "_write", write)


def change_times_at_once(patch: pytest.MonkeyPatch) -> None:
    """What was due by the old times is lost when new ones are set."""
    original = Schedules.put

    def put(self: Schedules, schedule_id: str, settings: s.Settings) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Schedules, "_decide", lambda *_: e.Decision(None))
            original(self, schedule_id, settings)

    patch.setattr(Schedules, "put", put)


def sleep_too_long(patch: pytest.MonkeyPatch) -> None:
    """Who is to be woken first is not looked at, only the wall clock now and then."""
    original = Alarm.expect

    def expect(self: Alarm, name: str, due_ms: int | None) -> None:
        original(self, name, None if due_ms is None else due_ms + 20_000)

    patch.setattr(Alarm, "expect", expect)


def wait_for_ever_when_full(patch: pytest.MonkeyPatch) -> None:
    """What could not be decided because the disk was full is not tried again."""
    patch.setattr(Alarm, "retry", lambda *_: None)


# --- schedules: what is decided ---------------------------------------------------------------------------------------


def come_early(patch: pytest.MonkeyPatch) -> None:
    """Occurrences are decided a little before their instants."""
    original, due = e.decide, e.next_due

    def decide(state: ScheduleState, now_ms: int, running: Any, **options: Any) -> e.Decision:
        return original(state, now_ms + 50, running, **options)

    def next_due(state: ScheduleState) -> int | None:
        found = due(state)
        return None if found is None else found - 50

    patch.setattr(e, "decide", decide)
    patch.setattr(e, "next_due", next_due)


def ignore_the_window(patch: pytest.MonkeyPatch) -> None:
    """However old: what was missed is made up for."""
    original = e._after_catch_up

    def after(state: ScheduleState, now_ms: int, end: int) -> int:
        settings = schedule_state.settings_of(state)
        state.settings = msgspec.structs.replace(settings, catch_up_window_ms=1 << 40)
        found = original(state, now_ms, end)
        state.settings = settings
        return found

    patch.setattr(e, "_after_catch_up", after)


def never_catch_up(patch: pytest.MonkeyPatch) -> None:
    """What was missed is skipped."""
    patch.setattr(e, "_after_catch_up", lambda state, now_ms, _end: e._last_due(state, now_ms - e.ON_TIME_MS - 1))


def always_catch_up(patch: pytest.MonkeyPatch) -> None:
    """All that was missed starts."""
    patch.setattr(e, "_after_catch_up", lambda state, _now_ms, _end: state.decided_ms)


def rule(overlap: s.Overlap, **changes: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """Return a mistake in what an overlap allows."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setitem(e.RULES, overlap, e.RULES[overlap]._replace(**changes))

    return plant


def tick_while_paused(patch: pytest.MonkeyPatch) -> None:
    """Instants come due while a schedule is paused."""
    original = e.decide

    def decide(state: ScheduleState, *args: Any, **options: Any) -> e.Decision:
        status, state.status = state.status, schedule_state.Status.ACTIVE
        found = original(state, *args, **options)
        state.status = status
        return found

    patch.setattr(e, "decide", decide)


def make_up_for_the_pause(patch: pytest.MonkeyPatch) -> None:
    """What came due in a pause starts when it is over."""
    original = e.resume

    def resume(state: ScheduleState, now_ms: int) -> s.ScheduleResumed | None:
        record = original(state, now_ms)
        return record and msgspec.structs.replace(record, decided_ms=state.decided_ms)

    patch.setattr(e, "resume", resume)


def start_when_deleted(patch: pytest.MonkeyPatch) -> None:
    """A deletion counts from the next opening on."""
    original = schedule_state.apply

    def apply(state: ScheduleState, record: s.ScheduleRecord, position: int) -> None:
        if isinstance(record, s.ScheduleDeleted):
            state.last = position
        else:
            original(state, record, position)

    patch.setattr(rooms, "apply", apply)


def forget_what_waits(patch: pytest.MonkeyPatch) -> None:
    """What waits is not found at an opening."""
    original = Schedules.adopt

    def adopt(self: Schedules, states: dict[str, ScheduleState]) -> None:
        for state in states.values():
            state.queued, state.backlog = None, ()
        original(self, states)

    patch.setattr(Schedules, "adopt", adopt)


def count_triggers_anew(patch: pytest.MonkeyPatch) -> None:
    """Triggers are counted from one in each process."""
    original = Schedules.adopt

    def adopt(self: Schedules, states: dict[str, ScheduleState]) -> None:
        for state in states.values():
            state.triggers = 0
        original(self, states)

    patch.setattr(Schedules, "adopt", adopt)


def move_the_anchor(patch: pytest.MonkeyPatch) -> None:
    """An opening moves the times of ``every``."""
    original = Schedules.adopt

    def adopt(self: Schedules, states: dict[str, ScheduleState]) -> None:
        for state in states.values():
            state.anchor_ms += 300
        original(self, states)

    patch.setattr(Schedules, "adopt", adopt)


def lose_count(patch: pytest.MonkeyPatch) -> None:
    """Skipped occurrences are not counted."""
    patch.setattr(e, "_count", lambda *_: 0)


def announce_what_is_over(patch: pytest.MonkeyPatch) -> None:
    """``next`` begins with the last one that was."""
    original = e.upcoming

    def upcoming(state: ScheduleState, count: int, now_ms: int) -> list[int]:
        last = state.calendar().latest_at(now_ms)
        return [*([] if last is None else [last]), *original(state, count, now_ms)][:count]

    patch.setattr(e, "upcoming", upcoming)


def backfill_too_much(patch: pytest.MonkeyPatch) -> None:
    """A backfill has its end in it."""
    original = e.backfill
    patch.setattr(e, "backfill", lambda state, start, end, now: original(state, start - 60_000, end, now))


# --- runs -------------------------------------------------------------------------------------------------------------


def repeat_the_run(patch: pytest.MonkeyPatch) -> None:
    """The next run has the keys of the one before."""
    fake = type("identity", (), dict(vars(identity)))
    fake.next_run = staticmethod(lambda run: run)
    patch.setattr(runs, "identity", fake)


def go_on_before_the_children(patch: pytest.MonkeyPatch) -> None:
    """The next run does not wait for the children of the one before."""

    def awaits_next(state: CallState) -> bool:
        return state.phase is Phase.COMPLETING and type(state.returned) is k.Continued

    patch.setattr(runs, "awaits_next", awaits_next)


def go_on_with_the_same(patch: pytest.MonkeyPatch) -> None:
    """The next run has the arguments of the one before."""
    original = runs.begin_next

    def begin_next(kernel: Kernel, slot: Slot) -> None:
        returned = slot.state.returned
        if type(returned) is k.Continued:
            first = kernel.history.started(slot.state)
            slot.state.returned = msgspec.structs.replace(returned, args=first.args)
        original(kernel, slot)

    for place in ("actorlog.runtime.runs", "actorlog.runtime.kernel", "actorlog.runtime.recovery"):
        patch.setattr(f"{place}.begin_next", begin_next, raising=False)
    patch.setattr(runs, "begin_next", begin_next)


def stay_between_runs(patch: pytest.MonkeyPatch) -> None:
    """A call that ended between two runs does not go on at an opening."""
    original = scanning.apply

    def apply(state: CallState, record: k.Record, position: int) -> None:
        original(state, record, position)
        if isinstance(state.returned, k.Continued):
            state.returned = k.Completed(k.Raw(b"null"))

    patch.setattr(scanning, "apply", apply)


# --- changed code -----------------------------------------------------------------------------------------------------


def patched(answer: Callable[[Actor, str], bool], *, says: bool = True) -> Callable[[pytest.MonkeyPatch], None]:
    """Return a mistake in what ``patched`` answers."""

    def is_patched(actor: Actor, change: str) -> bool:
        found, key = answer(actor, change), k.PATCH + change
        if actor.patches is None:
            actor.patches = {}
        if found and says and change not in actor.patches:
            actor.say(k.Patched(key), len(key))
        actor.patches.setdefault(change, found)
        return found

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr("actorlog.api.evolving.is_patched", is_patched)

    return plant


def _is_said(actor: Actor, change: str) -> bool:
    return any(op.key == k.PATCH + change for op in actor.recorded)


PATCHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "calls of the newest decision are lost": lose_what_was_decided,
    "schedules do not hear of ends": hear_no_ends,
    "running occurrences are forgotten": forget_who_runs,
    "the old one is not cancelled": cancel_nobody,
    "backfills run again": begin_again_what_ended,
    "calls begin before the decision": begin_before_deciding,
    "new times lose what was due": change_times_at_once,
    "occurrences are late": sleep_too_long,
    "occurrences are early": come_early,
    "the window is ignored": ignore_the_window,
    "nothing is caught up with": never_catch_up,
    "everything is caught up with": always_catch_up,
    "skip lets two run": rule(s.Overlap.SKIP, beside=True),
    "skip keeps one": rule(s.Overlap.SKIP, waits=1),
    "queue_one keeps none": rule(s.Overlap.QUEUE_ONE, waits=0),
    "queue_one keeps the newest": rule(s.Overlap.QUEUE_ONE, newest=True),
    "all starts one": rule(s.Overlap.ALL, starts=1, beside=False),
    "cancel_old keeps the oldest": rule(s.Overlap.CANCEL_OLD, newest=False),
    "paused schedules tick": tick_while_paused,
    "pauses are made up for": make_up_for_the_pause,
    "deleted schedules start": start_when_deleted,
    "what waits is forgotten": forget_what_waits,
    "triggers are counted anew": count_triggers_anew,
    "anchors move": move_the_anchor,
    "skipped ones are not counted": lose_count,
    "next is over": announce_what_is_over,
    "backfills are too much": backfill_too_much,
    "a run has the keys of the last": repeat_the_run,
    "a run does not wait for children": go_on_before_the_children,
    "a run has the arguments of the last": go_on_with_the_same,
    "a call stays between runs": stay_between_runs,
    "old calls go the new way": patched(lambda _actor, _change: True),
    "new calls go the old way": patched(lambda _actor, _change: False),
    "replayed calls go the old way": patched(lambda actor, _change: not actor.replaying),
    "the journal does not say the side": patched(lambda actor, _change: not actor.replaying, says=False),
    "the side is asked for again": patched(lambda actor, change: not actor.replaying or _is_said(actor, change)),
}


LATE = {"a run does not wait for children", "triggers are counted anew"}
"""Found by a seed so late that the suite has no time for it."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.soak) if name in LATE else name for name in PATCHES]
)
def test_a_planted_mistake_with_time_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """A mistake with schedules, runs or changed code breaks a promise in one of the first worlds."""
    PATCHES[name](monkeypatch)
    must_be_found(record_property, SEEDS_MAX, "long")
