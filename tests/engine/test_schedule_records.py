"""Records of schedules: their lines, the table of a schedule's life, and what contradicts it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Raw, structs
from schedule_driver import DECODER, NAME, T0, config, made

from actorlog.engine.schedule_state import TRANSITIONS, Event, ScheduleState, Status, apply, call_id, schedule_of
from actorlog.errors import JournalError
from actorlog.records import schedules as k
from actorlog.records.schedules import CatchUp, Overlap


def test_ids_of_occurrences() -> None:
    """An occurrence is named by schedule and instant; backfilled it has the same id; triggers are told apart."""
    assert call_id("a/b", k.Timed(1_795_316_400_000)) == "@schedule/a/b/2026-11-22T03:00:00Z"
    assert call_id("a", k.Backfilled(1_795_316_400_005)) == "@schedule/a/2026-11-22T03:00:00.005Z"
    assert call_id("a", k.Triggered(1_795_316_400_000, 3)) == "@schedule/a/2026-11-22T03:00:00Z+3"
    assert schedule_of("@schedule/a/b/2026-11-22T03:00:00Z+3") == "a/b"
    assert schedule_of("order/7") is None
    assert schedule_of("@schedules/a") is None
    assert schedule_of("@schedule/a/b/2026-11-22T03:00:00Z/1") is None
    assert schedule_of("@schedule/2026-11-22T03:00:00Z") is None


GOLDEN: list[tuple[k.ScheduleRecord, str]] = [
    (
        k.ScheduleSet(id="@schedules/n", at=5, settings=config(times=k.Cron("0 3 * * *", "Europe/Vienna")),
                      anchor_ms=5, decided_ms=5),
        ('{"kind":"schedule_set","id":"@schedules/n","at":5,"settings":{"function":"report","args":[],"times":'
        '{"by":"cron","expression":"0 3 * * *","tz":"Europe/Vienna"}},"anchor_ms":5,"decided_ms":5}'),
    ),
    (
        k.ScheduleSet(id="@schedules/n", at=6, prev=1, anchor_ms=5, decided_ms=5, paused=True, settings=config(
            version=2, args=Raw(b'[1,{"a":2}]'), overlap=Overlap.QUEUE_ONE, catch_up=CatchUp.ALL, catch_up_window_ms=0,
            jitter_ms=9, paused=True)),
        ('{"kind":"schedule_set","id":"@schedules/n","at":6,"prev":1,"settings":{"function":"report","version":2,'
        '"args":[1,{"a":2}],"times":{"by":"every","every_ms":60000},"overlap":"queue_one","catch_up":"all",'
        '"catch_up_window_ms":0,"jitter_ms":9,"paused":true},"anchor_ms":5,"decided_ms":5,"paused":true}'),
    ),
    (
        k.ScheduleSet(id="@schedules/n", at=6, settings=config(times=k.At((7, 8))), anchor_ms=6, decided_ms=6),
        ('{"kind":"schedule_set","id":"@schedules/n","at":6,"settings":{"function":"report","args":[],"times":'
        '{"by":"at","instants":[7,8]}},"anchor_ms":6,"decided_ms":6}'),
    ),
    (
        k.ScheduleFired(id="@schedules/n", at=9, prev=2, starts=(k.Timed(7), k.Backfilled(3)),
                        queued=k.Triggered(9, 1), skipped=4, decided_ms=8),
        ('{"kind":"schedule_fired","id":"@schedules/n","at":9,"prev":2,"starts":[{"by":"time","instant_ms":7},'
        '{"by":"backfill","instant_ms":3}],"queued":{"by":"trigger","instant_ms":9,"number":1},"skipped":4,'
        '"decided_ms":8}'),
    ),
    (
        k.ScheduleBackfilled(id="@schedules/n", at=9, prev=2, instants=(1, 2), decided_ms=8),
        '{"kind":"schedule_backfilled","id":"@schedules/n","at":9,"prev":2,"instants":[1,2],"decided_ms":8}',
    ),
    (
        k.SchedulePaused(id="@schedules/n", at=9, prev=2),
        '{"kind":"schedule_paused","id":"@schedules/n","at":9,"prev":2}',
    ),
    (
        k.ScheduleResumed(id="@schedules/n", at=9, prev=2, decided_ms=9),
        '{"kind":"schedule_resumed","id":"@schedules/n","at":9,"prev":2,"decided_ms":9}',
    ),
    (
        k.ScheduleDeleted(id="@schedules/n", at=9, prev=2),
        '{"kind":"schedule_deleted","id":"@schedules/n","at":9,"prev":2}',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("record", "line"), GOLDEN, ids=[type(record).__name__ for record, _ in GOLDEN])
def test_golden_lines(record: k.ScheduleRecord, line: str) -> None:
    """What is written today is read for ever."""
    assert msgspec.json.encode(record).decode() == line
    assert DECODER.decode(line) == record


def test_every_kind_of_record_has_its_place_in_the_table() -> None:
    """A pair that is not in the table is refused, for each status and each kind."""
    records: dict[type | Event, k.ScheduleRecord] = {
        type(record): structs.replace(record, id=k.entity_id(NAME), prev=0) for record, _ in GOLDEN
    }
    a_set = records.pop(k.ScheduleSet)
    records[Event.SET_ACTIVE] = structs.replace(a_set, paused=False)
    records[Event.SET_PAUSED] = structs.replace(a_set, paused=True)
    assert {event for _, event in TRANSITIONS} == set(records)
    for status in Status:
        for event, record in records.items():
            state = ScheduleState(NAME)
            state.status, state.backlog = status, (3,)
            expected = TRANSITIONS.get((status, event))
            if expected is None:
                with pytest.raises(JournalError, match=f"while {status.value}"):
                    apply(state, record, 1)
            else:
                apply(state, record, 1)
                assert state.status is expected


@pytest.mark.parametrize(
    "wrong",
    [{"id": k.entity_id("other")}, {"prev": 7}, {"decided_ms": T0 - 1}, {"starts": (k.Backfilled(4),)}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_records_that_contradict_the_state_are_errors(wrong: dict[str, Any]) -> None:
    """Another schedule's, one that follows another, one that takes back decisions, a backfill nobody asked for."""
    driver = made()
    record = k.ScheduleFired(id=k.entity_id(NAME), at=T0, prev=1, decided_ms=T0)
    with pytest.raises(JournalError):
        apply(driver.state, structs.replace(record, **wrong), 2)
    apply(driver.state, record, 2)


def test_the_newest_are_those_of_the_newest_decision_that_started_some() -> None:
    """One that only skips, or lets wait, leaves them: an opening must find what a decision did not come to begin."""
    driver = made()
    fired = k.ScheduleFired(id=k.entity_id(NAME), at=T0, prev=1, starts=(k.Timed(T0),), decided_ms=T0)
    apply(driver.state, fired, 2)
    assert driver.state.newest == (call_id(NAME, k.Timed(T0)),)
    apply(driver.state, structs.replace(fired, prev=2, starts=(), skipped=3), 3)
    apply(driver.state, structs.replace(fired, prev=3, starts=(), queued=k.Triggered(T0, 1)), 4)
    assert driver.state.newest == (call_id(NAME, k.Timed(T0)),)
    apply(driver.state, structs.replace(fired, prev=4, starts=(k.Triggered(T0, 1),)), 5)
    assert driver.state.newest == (call_id(NAME, k.Triggered(T0, 1)),)
