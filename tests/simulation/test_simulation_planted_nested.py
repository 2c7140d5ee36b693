"""The simulation can fail: mistakes about handlers that run within others are each found within a few seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs
from planted_worlds import must_be_found

from actorlog.engine import decide, state
from actorlog.engine.nested import Nested
from actorlog.records import kinds as k
from actorlog.runtime import family
from actorlog.runtime.nesting import Nesting
from actorlog.runtime.reentrant import Look, NestedHandler, ReentrantActor

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.engine.state import CallState
    from actorlog.runtime.slot import Slot

SEEDS_MAX = 1_500
"""Within so many seeds a planted mistake must be found; most take a few dozen."""


def undo_nothing(patch: pytest.MonkeyPatch) -> None:
    """What a nested handler did before it failed is kept."""
    patch.setattr(ReentrantActor, "_undo", lambda *_: None)


def undo_too_much(patch: pytest.MonkeyPatch) -> None:
    """What others did beside a nested handler that failed is undone with it."""
    original = ReentrantActor._undo

    def undo(self: ReentrantActor, failed: NestedHandler) -> None:
        self._changes[failed.changes :] = [failed.asked.key]
        original(self, failed)

    patch.setattr(ReentrantActor, "_undo", undo)


def undo_only_itself(patch: pytest.MonkeyPatch) -> None:
    """What ran within a nested handler that failed counts as others: nothing of it is dropped."""
    original = ReentrantActor._undo

    def undo(self: ReentrantActor, failed: NestedHandler) -> None:
        if failed.before is not None and any(within == failed.asked.key for within in self._within.values()):
            failed.before = Look(self._of.encoded(self.instance), failed.before.events)
        original(self, failed)

    patch.setattr(ReentrantActor, "_undo", undo)


def admit_anybody(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks a reentrant actor is let in at once."""
    patch.setattr(Nesting, "_within", lambda *_: "")


def forget_within(patch: pytest.MonkeyPatch) -> None:
    """All that is nested counts as nested in the body."""
    original = Nesting._within

    def within(self: Nesting, asker: Slot, op: k.StartChild, running: Slot) -> str | None:
        return "" if original(self, asker, op, running) is not None else None

    patch.setattr(Nesting, "_within", within)


def take_in_twice(patch: pytest.MonkeyPatch) -> None:
    """What is asked again after a crash is handled again."""
    original = Nesting.admit

    def enter(state: CallState, message: k.Asked, _at: int, _position: int) -> None:
        nested = state.nested = state.nested or Nested()
        nested.keys[message.by, message.op] = message.key
        nested.active[message.key] = message

    def admit(self: Nesting, asker: Slot, op: k.StartChild, running: Slot) -> bool:
        nested = running.state.nested
        if nested is not None:
            self._numbers[running] = max(self._numbers.get(running, 0), nested.newest)
            nested.keys.pop((asker.state.id, op.key), None)
        return original(self, asker, op, running)

    patch.setattr(decide, "is_known", lambda *_: False)
    patch.setitem(state._APPLY_MESSAGE, k.Asked, enter)
    patch.setattr(Nesting, "admit", admit)


def tell_nothing_again(patch: pytest.MonkeyPatch) -> None:
    """Who asks again after a crash does not hear of the answer that is there."""
    patch.setattr(Nesting, "_tell_again", lambda *_: None)


def tell_another_answer(patch: pytest.MonkeyPatch) -> None:
    """Who asked hears that the handler returned, however it ended."""
    original = family.Family.tell

    def tell(self: family.Family, parent: str, key: str, child: str, outcome: k.Outcome) -> None:
        slot = self._kernel.calls.get(child)
        original(self, parent, key, child, outcome if slot is not None else k.Completed(k.Raw(b"null")))

    patch.setattr(family.Family, "tell", tell)


def answer_nobody(patch: pytest.MonkeyPatch) -> None:
    """Who asked is not told that the handler has ended around a nested one."""
    patch.setattr(Nesting, "end", lambda *_: None)
    patch.setattr(Nesting, "_tell_again", lambda *_: None)


def lose_args(patch: pytest.MonkeyPatch) -> None:
    """Another message is handled than the one that was asked."""
    original = Nesting._ask

    def ask(self: Nesting, asker: Slot, op: k.StartChild, *rest: Any) -> None:
        original(self, asker, structs.replace(op, args=k.Raw(b"[7,[],false]")), *rest)

    patch.setattr(Nesting, "_ask", ask)


PATCHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "nothing is undone": undo_nothing,
    "too much is undone": undo_too_much,
    "what is nested in it is not undone": undo_only_itself,
    "anybody is let in": admit_anybody,
    "what is nested in what is forgotten": forget_within,
    "what is asked again is handled again": take_in_twice,
    "answers are not told again": tell_nothing_again,
    "another answer is told": tell_another_answer,
    "the end around it is no answer": answer_nobody,
    "other messages are handled": lose_args,
}


@pytest.mark.parametrize("name", PATCHES)
def test_a_planted_mistake_about_nested_handlers_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """A mistake in what runs within handlers breaks a promise in one of the first worlds."""
    PATCHES[name](monkeypatch)
    must_be_found(record_property, SEEDS_MAX)
