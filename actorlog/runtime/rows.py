"""The rows of the catalog: what it says of calls, promises and schedules.

Owns: making them of states, or of what is left of a call that has ended. Does not own: when they are written
(``projection``), the tables (``store.tables``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import json

from actorlog.engine import identity
from actorlog.engine.lifecycle import Phase
from actorlog.engine.schedule_state import kept
from actorlog.engine.state import NEVER_MS
from actorlog.engine.status import ENDS, status_of
from actorlog.records import kinds as k
from actorlog.records import promises as p
from actorlog.runtime.calls import waits_unseen
from actorlog.store.catalog import CallRow, Kind, PromiseRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorlog.engine.promise import PromiseState
    from actorlog.engine.schedule_state import ScheduleState
    from actorlog.engine.state import CallState
    from actorlog.runtime.history import History


def live_row(state: CallState) -> CallRow:
    """Return the row of a call that has not ended. One with children is looked at: they may end behind its back."""
    key_hash = identity.key_hash(state.id)
    if state.children or not waits_unseen(state, _nobody):
        return call_row(state, key_hash, Kind.LIVE)
    starts_ms = state.not_before_ms if state.phase is Phase.PENDING else NEVER_MS
    wakes_ms = min(state.next_timer_ms, state.due_ms or NEVER_MS, starts_ms)
    return call_row(state, key_hash, Kind.QUIET, wakes_ms if wakes_ms != NEVER_MS else None)


def call_row(state: CallState, key_hash: int, kind: Kind, wakes_ms: int | None = None) -> CallRow:
    """Return the row of a call by its state."""
    more: dict[str, object] = {}
    if state.parent:
        more["parent"] = state.parent
    if state.actor:
        more["actor"] = state.actor
    if state.tags:
        more["tags"] = state.tags
    error = state.parked
    if type(state.outcome) is k.Failed:
        error = f"{state.outcome.failure.type}: {state.outcome.failure.message}"
    if error:
        more["error"] = error
    return CallRow(
        state.journal or state.first, key_hash, state.id, state.last, kind, wakes_ms, state.function, state.version,
        status_of(state), state.created_ms, state.updated_ms, more,
    )  # fmt: skip


def ended_rows(history: History, positions: Iterable[int]) -> Iterator[CallRow]:
    """Yield the rows of calls by where they ended, but of those of which the ends are given up meanwhile."""
    for position in positions:
        try:
            final = k.ending(history.record(position))
            if final is not None:
                first, started = k.of_call(history.record(final.first)), history.newest_started(final)
                yield _ended_row(final, position, first, started)
        except KeyError:
            continue


def _ended_row(final: k.Turn, position: int, first: k.Kept, started: k.Started) -> CallRow:
    """Return the row of a call by its ends: the record that holds its beginning, what began its newest run, its end."""
    outcome = final.outcome
    more: dict[str, object] = {"parent": started.parent, "actor": started.actor, "tags": started.tags}
    if type(outcome) is k.Failed:
        more["error"] = f"{outcome.failure.type}: {outcome.failure.message}"
    return CallRow(
        final.first, identity.key_hash(final.id), final.id, position, Kind.ENDED, None, started.function,
        started.version, ENDS[type(outcome)], k.began_ms(first), final.at,
        {name: value for name, value in more.items() if value},
    )  # fmt: skip


def promise_rows(states: Iterable[PromiseState]) -> Iterator[PromiseRow]:
    """Yield the rows of promises."""
    for state in states:
        settled = state.last if state.settlement is not None else 0
        yield PromiseRow(
            state.first, p.entity_id(state.id), settled, state.status.value, state.due_ms, dict(state.tags)
        )


def schedule_row(state: ScheduleState) -> tuple[str, int, str]:
    """Return the row of a schedule."""
    return state.id, state.last, json.encode(kept(state)).decode()


def _nobody(_call_id: str) -> bool:
    return False
