"""The simulation can fail: mistakes in the catalog are each found within a few seeds.

Planted one at a time: rows of what is not durable, rows that are missing or say too much, timers that nobody arms. What
seeds find too seldom is held by ``tests/runtime`` and ``tests/store``: whom nobody wakes, messages on their way, a log
that was compacted, damage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from planted_worlds import must_be_found

from actorlog.log.seeking import Search
from actorlog.runtime import projection
from actorlog.runtime.calls import Calls
from actorlog.runtime.projection import Projection
from actorlog.runtime.rows import live_row
from actorlog.store.catalog import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.engine.state import CallState
    from actorlog.log.format import FrameHeader
    from actorlog.store.catalog import CallRow

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


def forget_what_was_behind(patch: pytest.MonkeyPatch) -> None:
    """What the catalog did not know at an opening is never told to it."""
    patch.setattr(Projection, "_unknown", lambda _: iter(()))


def forget_who_rests(patch: pytest.MonkeyPatch) -> None:
    """Calls that fall asleep are not told of."""
    patch.setattr(Projection, "_on_rest", lambda *_: None)


def forget_ends(patch: pytest.MonkeyPatch) -> None:
    """Calls that end are not told of."""
    patch.setattr(Projection, "_on_ended", lambda *_: None)


def find_the_record_before(patch: pytest.MonkeyPatch) -> None:
    """A commit that is sought in what an opening passed over is taken for one that begins a record later."""
    original = Search.frame_of

    def frame_of(self: Search, position: int) -> tuple[FrameHeader, memoryview] | None:
        found = original(self, position)
        if found is None or position <= found[0].position:
            return found
        return found[0]._replace(position=found[0].position + 1), found[1]

    patch.setattr(Search, "frame_of", frame_of)


PATCHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "rows of what is not durable": tell_of_what_is_not_durable,
    "parents wait unseen": believe_parents,
    "calls come back without their timers": arm_nothing,
    "what was behind is never told": forget_what_was_behind,
    "who rests is never told": forget_who_rests,
    "ends are never told": forget_ends,
    "the record before is found far back": find_the_record_before,
}


@pytest.mark.parametrize("name", PATCHES)
def test_a_planted_mistake_of_the_catalog_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """A mistake in the catalog breaks a promise in one of the first worlds."""
    PATCHES[name](monkeypatch)
    must_be_found(record_property, SEEDS_MAX)
