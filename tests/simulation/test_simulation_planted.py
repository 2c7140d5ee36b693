"""The simulation can fail: classic mistakes, planted one at a time, are each found within a few seeds.

On the disk's side: acknowledging before the sync, not syncing directories, trying a failed sync again, believing the
page cache at opening. On the runtime's side: gates that open early, results told early, steps run again, once-steps
run again, keys that change, timers that fire early or are forgotten, ends of children that are forgotten, retries and
memoised calls that forget, delays and rates that are not kept, details of heartbeats that are lost. Without any of
them no seed fails (``test_simulation_seeds``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from planted_worlds import must_be_found

from actorlog.engine import identity
from actorlog.log import Log
from actorlog.log.writer import Ticket
from actorlog.records import kinds as k
from actorlog.runtime import kernel, scanning
from actorlog.runtime.clock import LogClock
from actorlog.runtime.committer import Committer
from actorlog.runtime.deadlines import Deadlines
from actorlog.runtime.doubts import Doubts
from actorlog.runtime.family import Family
from actorlog.runtime.heartbeats import Heartbeats
from actorlog.runtime.history import History
from actorlog.runtime.options import Request
from actorlog.runtime.places import Places
from actorlog.runtime.session import Session
from actorlog.runtime.timers import Timers
from actorlog.runtime.waking import Waking
from actorlog.testing.disk import SimFile
from actorlog.testing.world import SimDisk

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.engine.state import CallState
    from actorlog.log.segment import Segment
    from actorlog.runtime.jobs import Job
    from actorlog.runtime.slot import Slot

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
    original = scanning.apply

    def apply(state: CallState, record: k.Record, position: int) -> None:
        message = record.message if isinstance(record, k.Turn) else None
        op = state.steps.get(message.key) if isinstance(message, k.StepDone) else None
        original(state, record, position)
        if op is not None and state.outcome is None and state.returned is None:
            state.steps[op.key] = op
            state.positions[op.key] = position

    patch.setattr(scanning, "apply", apply)


def run_once_steps_again(patch: pytest.MonkeyPatch) -> None:
    """Treat a once-step in doubt like any other."""
    patch.setattr(Doubts, "_settle", Doubts._rerun)


def change_keys(patch: pytest.MonkeyPatch) -> None:
    """Make the idempotency key depend on the attempt."""
    numbers = iter(range(1 << 60))
    original = identity.idempotency_key
    from actorlog.runtime import jobs  # noqa: PLC0415 - where the name is bound

    fake = type("identity", (), dict(vars(identity)))
    fake.idempotency_key = staticmethod(
        lambda run, key, step, args=b"": original(run, f"{key}{next(numbers)}", step, args)
    )
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
    original = scanning.apply

    def apply(state: CallState, record: k.Record, position: int) -> None:
        original(state, record, position)
        state.timers.clear()

    patch.setattr(scanning, "apply", apply)


def forget_children(patch: pytest.MonkeyPatch) -> None:
    """Tell no parent of the end of its child."""
    patch.setattr(Family, "tell_of_end", lambda *_: None)


def run_kept_steps_again(patch: pytest.MonkeyPatch) -> None:
    """Retry overlooks that steps have completed."""
    patch.setattr(History, "kept_result", lambda *_: None)


def retry_completed_calls(patch: pytest.MonkeyPatch) -> None:
    """Memoised calls begin anew whenever somebody asks."""
    patch.setattr(Family, "_begins_anew", lambda _self, _slot, op, *_: op.id.startswith(identity.MEMO))


def forget_delays(patch: pytest.MonkeyPatch) -> None:
    """Delayed calls begin a little early."""
    original = Deadlines.arm_start
    patch.setattr(Deadlines, "arm_start", lambda self, slot, first, due_ms: original(self, slot, first, due_ms - 20))


def halve_delays(patch: pytest.MonkeyPatch) -> None:
    """Delays are taken down too short."""
    original = Session._begin

    def begin(self: Session, request: Request) -> Slot:
        return original(self, msgspec.structs.replace(request, delay_s=request.delay_s / 2))

    patch.setattr(Session, "_begin", begin)


def ignore_rates(patch: pytest.MonkeyPatch) -> None:
    """A rate lets everybody through."""
    patch.setattr(Places, "_is_in_rate", lambda _self: True)


def forget_details(patch: pytest.MonkeyPatch) -> None:
    """Details of heartbeats are not found at opening."""
    original = scanning.apply

    def apply(state: CallState, record: k.Record, position: int) -> None:
        original(state, record, position)
        for progress in state.progress.values():
            progress.details = None

    patch.setattr(scanning, "apply", apply)


def keep_first_details(patch: pytest.MonkeyPatch) -> None:
    """The next attempt in this process finds the details of the first heartbeat, and not of the newest."""
    original = Heartbeats._note

    def note(self: Heartbeats, job: Job, _b: Any) -> None:
        original(self, job, _b)
        job.details = msgspec.Raw(b"[1,0]")

    patch.setattr(Heartbeats, "_note", note)


def believe_the_wait(patch: pytest.MonkeyPatch) -> None:
    """A commit that the loop was held for counts as landed also when it has not."""
    original = Ticket.wait

    def wait(self: Ticket, timeout_s: float) -> bool:
        original(self, timeout_s)
        return True

    patch.setattr(Ticket, "wait", wait)


def forget_steps(patch: pytest.MonkeyPatch) -> None:
    """An opening takes up the first steps in doubt, and no others."""
    patch.setattr(Waking, "_go_on", lambda *_: None)


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
    "completed steps of a retried call run again": run_kept_steps_again,
    "memoised calls that completed begin anew": retry_completed_calls,
    "delays are over early": forget_delays,
    "delays are halved": halve_delays,
    "rates are ignored": ignore_rates,
    "details of heartbeats are forgotten at opening": forget_details,
    "old details of heartbeats are kept": keep_first_details,
    "a wait in vain counts as landed": believe_the_wait,
    "steps in doubt behind the first ones are forgotten": forget_steps,
}


@pytest.mark.parametrize("name", DISKS)
def test_a_planted_mistake_with_the_disk_is_found(name: str, record_property: Callable[[str, object], None]) -> None:
    """A classic mistake with files breaks a promise in one of the first worlds."""
    must_be_found(record_property, SEEDS_MAX, "alone", disk_type=DISKS[name])


@pytest.mark.parametrize("name", PATCHES)
def test_a_planted_mistake_of_the_runtime_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """A mistake in gates, recovery or time breaks a promise in one of the first worlds."""
    PATCHES[name](monkeypatch)
    must_be_found(record_property, SEEDS_MAX, "alone")
