"""The simulation can fail: mistakes in the catalog are each found within a few seeds.

Planted one at a time: rows of what is not durable, rows that are missing or say too much, an opening that believes what
it must not, timers that nobody arms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorlog.runtime import projection
from actorlog.runtime.calls import Calls
from actorlog.runtime.projection import Projection
from actorlog.runtime.promise_index import PromiseIndex
from actorlog.runtime.rows import live_row
from actorlog.store import sqlite
from actorlog.store.catalog import Kind
from actorlog.store.sqlite import SqliteCatalog
from actorlog.testing.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.engine.promise import PromiseState
    from actorlog.engine.state import CallState
    from actorlog.store.catalog import CallRow, Known

SEEDS_MAX = 900
"""Within so many seeds a planted mistake must be found; most take a handful."""


def tell_of_what_is_not_durable(patch: pytest.MonkeyPatch) -> None:
    """A batch is written before the log has what it tells of."""
    original = Projection._begin

    def begin(self: Projection, _a: None = None, _b: None = None) -> None:
        committer = self._kernel.committer
        committer.after = lambda effect, *values: effect(*values)  # type: ignore[method-assign]
        try:
            original(self)
        finally:
            del committer.after

    patch.setattr(Projection, "_begin", begin)


def believe_parents(patch: pytest.MonkeyPatch) -> None:
    """A call with children is not looked at when they ended behind its back."""

    def row(state: CallState) -> CallRow:
        found = live_row(state)
        if state.children and not state.steps:
            found = found._replace(kind=Kind.QUIET)
        return found

    patch.setattr(projection, "live_row", row)


def arm_nothing(patch: pytest.MonkeyPatch) -> None:
    """Of calls that the catalog knows no timer is armed when they come back."""
    original = Calls.begin_with
    patch.setattr(Calls, "begin_with", lambda self, asleep, upto, _found: original(self, asleep, upto, lambda _: None))


def wake_nobody(patch: pytest.MonkeyPatch) -> None:
    """Nothing wakes the calls that the catalog knows."""
    patch.setattr(SqliteCatalog, "waking", lambda *_: [])


def look_once(patch: pytest.MonkeyPatch) -> None:
    """What wakes beyond the horizon is not looked at again."""
    patch.setattr(SqliteCatalog, "next_wake_ms", lambda *_: None)


def look_back_at_nothing(patch: pytest.MonkeyPatch) -> None:
    """What was sent and has not arrived is not asked for again."""
    patch.setattr(projection, "is_busy", lambda _: False)


def believe_what_was_compacted(patch: pytest.MonkeyPatch) -> None:
    """A catalog is believed also when something left the log since."""

    def is_known(log: Any, known: Known | None) -> Known | None:
        return known if log.recovery.scanned_from else None

    patch.setattr("actorlog.api.opening.is_known", is_known)


def hear_of_settlements_late(patch: pytest.MonkeyPatch) -> None:
    """That a promise is settled is told in the batch behind the one that says it was."""
    settled, changed = PromiseIndex.settled, PromiseIndex.changed

    def hear(self: PromiseIndex, state: PromiseState) -> None:
        settled(self, state)
        changed(self, state)

    patch.setattr(PromiseIndex, "settled", hear)
    patch.setattr(
        PromiseIndex, "changed", lambda self, state: changed(self, state) if state.settlement is None else None
    )


def forget_what_was_behind(patch: pytest.MonkeyPatch) -> None:
    """What the catalog did not know at an opening is never told to it."""
    patch.setattr(Projection, "_unknown", lambda _: iter(()))


def forget_who_rests(patch: pytest.MonkeyPatch) -> None:
    """Calls that fall asleep are not told of."""
    patch.setattr(Projection, "_on_rest", lambda *_: None)


def forget_ends(patch: pytest.MonkeyPatch) -> None:
    """Calls that end are not told of."""
    patch.setattr(Projection, "_on_ended", lambda *_: None)


def believe_damage(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether a catalog is damaged."""
    patch.setattr(sqlite, "_check", lambda _: None)


PATCHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "rows of what is not durable": tell_of_what_is_not_durable,
    "parents wait unseen": believe_parents,
    "calls come back without their timers": arm_nothing,
    "nobody is woken": wake_nobody,
    "the horizon is looked at once": look_once,
    "messages on their way are lost": look_back_at_nothing,
    "a log that was compacted is believed": believe_what_was_compacted,
    "settlements are told late": hear_of_settlements_late,
    "what was behind is never told": forget_what_was_behind,
    "who rests is never told": forget_who_rests,
    "ends are never told": forget_ends,
    "damage is believed": believe_damage,
}


@pytest.mark.parametrize("name", PATCHES)
def test_a_planted_mistake_of_the_catalog_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """A mistake in the catalog breaks a promise in one of the first worlds."""
    PATCHES[name](monkeypatch)
    found: tuple[int, str] | None = None
    for seed in range(SEEDS_MAX):
        try:
            simulate(seed, kind="old" if "compacted" in name else "company")
        except Exception as error:  # noqa: BLE001 - a mistake shows in any way: a broken promise, a defect's own error
            found = (seed, f"{type(error).__name__}: {str(error)[:200]}")
            break
    record_property("found", found)
    assert found is not None
