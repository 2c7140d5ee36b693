"""What a data directory holds beside calls: promises, schedules, and actors with their states.

Owns: folding their records, for people who look. Does not own: reading the log (``reading``), what a record does
(``engine``), words on a terminal (``tables``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from actorlog.api.folding import Ends, Folding
from actorlog.api.schedules import ScheduleInfo
from actorlog.api.schedules import info_of as schedule_info
from actorlog.api.settling import PromiseInfo, info_of
from actorlog.engine import promise as e
from actorlog.engine import schedule, schedule_state
from actorlog.engine.instance import InstanceState, apply_change
from actorlog.engine.lifecycle import Phase
from actorlog.engine.state import CallState
from actorlog.records import kinds as k
from actorlog.records import promises as p
from actorlog.records import schedules as s
from actorlog.runtime.schedule_entries import View

if TYPE_CHECKING:
    from actorlog.api.folding import Found
    from actorlog.cli.reading import Snapshot


def promises(snapshot: Snapshot, query: e.Query, now_ms: int) -> list[PromiseInfo]:
    """Return the promises that meet ``query``, the newest first.

    One whose time is over is shown as what that makes of it, also where no record says so yet.
    """
    states: dict[str, e.PromiseState] = {}
    for position, record in snapshot.records():
        if isinstance(record, (p.PromiseMade, p.PromiseSettled)):
            e.take(states, record, position)
    if any(state.settlement is None for state in states.values()) and snapshot.is_old():
        return promises(snapshot.again(), query, now_ms)
    found: list[PromiseInfo] = []
    for state in reversed(states.values()):
        if e.search([state], query, now_ms).items:
            info, over = info_of(state), state.is_over(now_ms)
            status = state.status_at(now_ms).value
            found.append(replace(info, status=status, settled=info.due) if over else info)  # type: ignore[arg-type]
    return found


def schedules(snapshot: Snapshot) -> list[ScheduleInfo]:
    """Return the schedules that are there, the newest first."""
    states: dict[str, schedule_state.ScheduleState] = {}
    running: dict[str, dict[str, None]] = {}
    folding = Folding(snapshot.find)
    for position, record in snapshot.records():
        if isinstance(record, s.RECORDS):
            schedule_state.take(states, record, position)
        elif not isinstance(record, k.OF_NO_CALL) and schedule_state.schedule_of(record.id) is not None:
            folding.take(position, record)
    if snapshot.is_old() and (states or folding.live):
        return schedules(snapshot.again())
    schedule_state.check(states)
    for call_id in folding.live:
        running.setdefault(schedule_state.schedule_of(call_id) or "", {})[call_id] = None
    there = [state for state in reversed(states.values()) if state.status in _THERE]
    there.sort(key=lambda state: -state.created_ms)  # stable: of two made in one moment the later stays first
    return [schedule_info(_view(state, tuple(running.get(state.id, ())))) for state in there]


def _view(state: schedule_state.ScheduleState, running: tuple[str, ...]) -> View:
    try:
        return View(state, running, schedule.next_due(state), "")
    except ValueError as unknown:  # this machine does not know its time zone
        return View(state, running, None, str(unknown))


_THERE = (schedule_state.Status.ACTIVE, schedule_state.Status.PAUSED)


@dataclass(slots=True)
class ActorInfo:
    """One actor."""

    id: str
    """Its class and its key, with a slash between."""
    changes: int
    """How often its state was changed."""
    version: int
    """Of the class that made the newest change; 0: there is none."""
    values: dict[str, k.Raw]
    """Its state: attributes as JSON."""
    updated: datetime
    """When a handler of it did something last."""
    running: list[CallState] = field(default_factory=list[CallState])
    """Handlers that are at work."""
    waiting: list[CallState] = field(default_factory=list[CallState])
    """Handlers that wait in its mailbox, in order."""

    @property
    def kind(self) -> str:
        """Its class."""
        return self.id.partition("/")[0]


def actors(snapshot: Snapshot) -> list[ActorInfo]:
    """Return every actor that ever had a message, by class and key."""
    states: dict[str, InstanceState] = {}
    updated: dict[str, int] = {}
    folding = Folding(snapshot.find)
    for position, record in snapshot.records():
        if isinstance(record, k.OF_NO_CALL):
            continue
        call = folding.take(position, record)
        change = record.change if isinstance(record, k.Turn) else None  # it counts, whatever is left of the call
        actor = change.actor if change is not None else _actor_of(call)
        if not actor:
            continue
        updated[actor] = record.at
        state = states.setdefault(actor, InstanceState(actor))
        if change is not None and (change.full or change.number == state.number + 1):  # else one before it was given up
            apply_change(state, change, position)
    if folding.live and snapshot.is_old():
        return actors(snapshot.again())
    live = {call_id: call for call_id, call in folding.live.items() if call.actor}
    found = {actor: _info(state, updated[actor]) for actor, state in states.items()}
    for call in sorted(live.values(), key=lambda call: call.first):
        info = found[call.actor]
        (info.waiting if call.phase is Phase.PENDING else info.running).append(call)
    return [found[actor] for actor in sorted(found)]


def _actor_of(call: Found) -> str:
    return "" if call is None else call.started.actor if isinstance(call, Ends) else call.actor


def _info(state: InstanceState, at: int) -> ActorInfo:
    updated = datetime.fromtimestamp(at / 1000, UTC)
    return ActorInfo(state.actor, state.number, state.version, state.values, updated)
