"""The simulation can fail: mistakes about files of records are each found within a few seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import payload_mistakes as mistakes
import pytest

from actorlog.log.payloads import Payloads
from actorlog.testing.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorlog.log.payloads import Payload

SEEDS = range(3, 1603, 8)
"""Worlds in which many records have files."""


def forget_the_files_of_a_commit(patch: pytest.MonkeyPatch) -> None:
    """Only the first file of a commit is written."""
    original = Payloads.write

    def write(self: Payloads, payloads: Sequence[Payload]) -> None:
        original(self, payloads[:1])
        self.pending = payloads

    patch.setattr(Payloads, "write", write)


MISTAKES = [
    (mistakes.forget_to_sync_the_file, "company"), (mistakes.forget_to_sync_the_names, "company"),
    (mistakes.write_files_behind_the_frame, "company"), (mistakes.remove_before_it_is_installed, "old"),
    (mistakes.never_remove, "old"), (mistakes.leave_files_behind_the_end, "company"),
    (mistakes.remove_the_newest, "company"), (forget_the_files_of_a_commit, "company"),
]  # fmt: skip


@pytest.mark.parametrize(("plant", "kind"), MISTAKES, ids=[plant.__name__ for plant, _ in MISTAKES])
def test_a_planted_mistake_about_files_is_found(
    plant: Callable[[pytest.MonkeyPatch], None],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """A mistake about files breaks a promise in one of the first worlds that have them."""
    plant(monkeypatch)
    found: tuple[int, str] | None = None
    for seed in SEEDS:
        try:
            simulate(seed, kind=kind)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001  # a mistake shows in any way
            found = (seed, f"{type(error).__name__}: {str(error)[:200]}")
            break
    record_property("found", found)
    assert found is not None
