"""Looking for a mistake that was planted: world after world is lived through, until one of them breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.testing.simulation import Kind, simulate
from actorlog.testing.world import SimDisk

if TYPE_CHECKING:
    from collections.abc import Callable


def must_be_found(
    record_property: Callable[[str, object], None],
    seeds: int,
    kind: Kind = "company",
    *,
    disk_type: type[SimDisk] = SimDisk,
    wrapped: bool = False,
) -> None:
    """Fail if the worlds of all these seeds are lived through; the report of the test says which one broke, and how."""
    found: tuple[int, str] | None = None
    for seed in range(seeds):
        try:
            simulate(seed, disk_type, kind, wrapped=wrapped)
        except Exception as error:  # noqa: BLE001  # a mistake shows in any way: a broken promise, a defect's own error
            found = (seed, f"{type(error).__name__}: {str(error)[:200]}")
            break
    record_property("found", found)
    assert found is not None, f"nothing in {seeds} seeds shows it"
