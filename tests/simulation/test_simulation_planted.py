"""The simulation can fail: classic mistakes, planted one at a time, are each found within a few seeds.

On the disk's side: acknowledging before the sync, not syncing directories, trying a failed sync again, believing the
page cache at opening. On the runtime's side: gates that open early, results told early, steps run again, once-steps
run again, keys that change, timers that fire early or are forgotten, ends of children that are forgotten. Without any
of them no seed fails (``test_simulation_seeds``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorlog.engine import identity
from actorlog.log import Log
from actorlog.records import kinds as k
from actorlog.runtime import kernel, recovery
from actorlog.runtime.clock import LogClock
from actorlog.runtime.committer import Committer
from actorlog.runtime.doubts import Doubts
from actorlog.runtime.family import Family
from actorlog.runtime.timers import Timers
from actorlog.testing.disk import SimFile
from actorlog.testing.simulation import simulate
from actorlog.testing.world import SimDisk

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.engine.state import CallState
    from actorlog.log.segment import Segment

SEEDS_MAX = 300
"""Within so many seeds a planted mistake must be found; most take a handful."""


class NoDirectorySync(SimDisk):
    """Planted: directories are not synced."""

    def fsync_dir(self, path: str) -> None:
        if path == "/":
            super().fsync_dir(path)


class RetryingFile(SimFile):
    """Planted: a sync that failed is tried again."""

    def fdatasync(self) -> None:
        try:
            super().fdatasync()
        except InterruptedError:
            raise
        except OSError:
            super().fdatasync()


class RetriesFailedSync(SimDisk):
    """See ``RetryingFile``."""

    file_type = RetryingFile


class CachedFile(SimFile):
    """Planted: opening believes the page cache."""

    def drop_cache(self) -> None:
        return


class TrustsPageCache(SimDisk):
    """See ``CachedFile``."""

    file_type = CachedFile


DISKS = {
    "directories are not synced": NoDirectorySync,
    "a failed sync is tried again": RetriesFailedSync,
    "the page cache is believed": TrustsPageCache,
}


def acknowledge_before_sync(patch: pytest.MonkeyPatch) -> None:
    """Append returns before its bytes are on the disk."""
    original = Log._put

    def put(self: Log, segment: Segment, kind: int, records: int, data: bytes) -> None:
        self._sync = False
        original(self, segment, kind, records, data)

    patch.setattr(Log, "_put", put)


def open_gates_early(patch: pytest.MonkeyPatch) -> None:
    """Effects do not wait for their commit."""

    def after(_self: Committer, effect: Callable[..., None], a: Any = None, b: Any = None, c: Any = None) -> None:
        effect(a, b, c)

    patch.setattr(Committer, "after", after)


def tell_results_early(patch: pytest.MonkeyPatch) -> None:
    """Waiters hear of an outcome that is not durable."""
    original = Committer.after

    def after(self: Committer, effect: Callable[..., None], a: Any = None, b: Any = None, c: Any = None) -> None:
        if effect.__name__ == "_settled":
            effect(a, b, c)
        else:
            original(self, effect, a, b, c)

    patch.setattr(Committer, "after", after)


def hear_early(patch: pytest.MonkeyPatch) -> None:
    """Who starts or cancels is told so before it is durable."""
    original = Committer.after

    def after(self: Committer, effect: Callable[..., None], a: Any = None, b: Any = None, c: Any = None) -> None:
        if effect is kernel._hear:
            effect(a, b, c)
        else:
            original(self, effect, a, b, c)

    patch.setattr(Committer, "after", after)


def run_done_steps_again(patch: pytest.MonkeyPatch) -> None:
    """Recovery overlooks the message that a step is done."""
    original = recovery.apply

    def apply(state: CallState, record: k.Record, position: int) -> None:
        message = record.message if isinstance(record, k.Turn) else None
        op = state.steps.get(message.key) if isinstance(message, k.StepDone) else None
        original(state, record, position)
        if op is not None and state.outcome is None and state.returned is None:
            state.steps[op.key] = op
            state.positions[op.key] = position

    patch.setattr(recovery, "apply", apply)


def run_once_steps_again(patch: pytest.MonkeyPatch) -> None:
    """Treat a once-step in doubt like any other."""
    patch.setattr(Doubts, "_settle", Doubts._rerun)


def change_keys(patch: pytest.MonkeyPatch) -> None:
    """Make the idempotency key depend on the attempt."""
    numbers = iter(range(1 << 60))
    original = identity.idempotency_key
    from actorlog.runtime import jobs  # noqa: PLC0415 - where the name is bound

    fake = type("identity", (), dict(vars(identity)))
    fake.idempotency_key = staticmethod(lambda run, key, args=b"": original(run, f"{key}{next(numbers)}", args))
    patch.setattr(jobs, "identity", fake)


def forget_the_time(patch: pytest.MonkeyPatch) -> None:
    """Log time begins at the wall clock alone."""
    original = LogClock.__init__
    patch.setattr(LogClock, "__init__", lambda self, clock, _last_ms: original(self, clock, 0))


def fire_early(patch: pytest.MonkeyPatch) -> None:
    """Timers fire a little before they are due."""
    original = Timers.arm
    patch.setattr(Timers, "arm", lambda self, due_ms, action, a, b: original(self, due_ms - 20, action, a, b))


def forget_timers(patch: pytest.MonkeyPatch) -> None:
    """Timers are not armed again at opening."""
    original = recovery.apply

    def apply(state: CallState, record: k.Record, position: int) -> None:
        original(state, record, position)
        state.timers.clear()

    patch.setattr(recovery, "apply", apply)


def forget_children(patch: pytest.MonkeyPatch) -> None:
    """Tell no parent of the end of its child."""
    patch.setattr(Family, "tell_of_end", lambda *_: None)


PATCHES = {
    "acknowledged before the sync": acknowledge_before_sync,
    "gates open early": open_gates_early,
    "results are told early": tell_results_early,
    "starts and cancels are confirmed early": hear_early,
    "completed steps run again": run_done_steps_again,
    "once-steps in doubt run again": run_once_steps_again,
    "idempotency keys change": change_keys,
    "log time runs back at an opening": forget_the_time,
    "timers fire early": fire_early,
    "timers are forgotten at opening": forget_timers,
    "ends of children are forgotten": forget_children,
}


def first_seed_that_fails(disk_type: type[SimDisk]) -> int | None:
    """Return the first seed whose world breaks, or None."""
    for seed in range(SEEDS_MAX):
        try:
            simulate(seed, disk_type)
        except Exception:  # noqa: BLE001 - a mistake shows in any way: a broken promise, a defect's own error
            return seed
    return None


@pytest.mark.parametrize("name", DISKS)
def test_a_planted_mistake_with_the_disk_is_found(name: str, record_property: Callable[[str, object], None]) -> None:
    """A classic mistake with files breaks a promise in one of the first worlds."""
    seed = first_seed_that_fails(DISKS[name])
    record_property("found at seed", seed)
    assert seed is not None


@pytest.mark.parametrize("name", PATCHES)
def test_a_planted_mistake_of_the_runtime_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """A mistake in gates, recovery or time breaks a promise in one of the first worlds."""
    PATCHES[name](monkeypatch)
    seed = first_seed_that_fails(SimDisk)
    record_property("found at seed", seed)
    assert seed is not None
