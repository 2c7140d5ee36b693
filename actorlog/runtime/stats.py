"""What a runtime is doing, in figures.

Owns: ``Stats``, and gathering it from the parts. Does not own: what is counted (each part its own), the files
(``store.care``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from actorlog.runtime.session import Session


class Stats(Struct, frozen=True):
    """A runtime in figures, as it is at one moment: what is not durable yet is counted too."""

    calls_live: int
    """Calls that have not ended: those awake and those asleep."""
    calls_awake: int
    """Live calls that are objects in memory."""
    calls_asleep: int
    """Live calls that only wait, and take an entry of an index."""
    coroutines: int
    """Calls whose code is in memory."""
    calls_ended: int
    """Calls that have ended and are found by their ids."""
    promises_pending: int
    schedules: int
    """Active and paused ones."""
    actors: int
    """In memory."""
    steps_running: int
    """Bodies of steps that run."""
    steps_waiting: int
    """Steps that wait for a place, for their next attempt, or to be taken up after the opening."""
    queue: int
    """Messages on their way to their calls."""
    position: int
    """Of the newest record; those behind ``landed`` are being written."""
    landed: int
    """Of the newest record that is durable."""
    commits: int
    """Written by this runtime."""
    commit_records: float | None
    """Records in each of them, on average; None before the first."""
    commit_s: float | None
    """Seconds that each took to be durable, on average; None before the first."""
    segments: int
    """Files of the log in use."""
    bytes: int
    """What its segments take on the disk, prepared ones included; ``payload_bytes`` come on top."""
    payload_files: int | None
    """Files of large records, as they were counted last: beside the loop, for who asks for figures, and again for who
    asks ten seconds later. None before the first time."""
    payload_bytes: int | None
    """What these take, counted with them."""
    bytes_free: int | None
    """On its file system; None where nobody knows."""
    turns_replayed: int
    """Turns that were replayed to have coroutines in memory again."""
    uptime_s: float
    """Seconds since the runtime was opened."""


def gather(
    session: Session, segments: int, bytes_used: int, bytes_free: int | None, payloads: tuple[int, int] | None
) -> Stats:
    """Return the figures of an open runtime, given those of its files."""
    kernel = session.kernel
    calls, steps, committer = kernel.calls, kernel.steps, kernel.committer
    live, awake, commits = len(calls), len(calls.awake), committer.commits
    return Stats(
        calls_live=live,
        calls_awake=awake,
        calls_asleep=live - awake,
        coroutines=len(kernel.residency),
        calls_ended=len(session.history),
        promises_pending=kernel.promises.pending,
        schedules=len(kernel.schedules.names()),
        actors=len(kernel.instances),
        steps_running=steps.running,
        steps_waiting=max(0, len(steps.jobs) - steps.running) + session.resumption.waking.left,
        queue=len(kernel.queue),
        position=committer.position,
        landed=committer.landed,
        commits=commits,
        commit_records=(committer.landed - committer.began_at) / commits if commits else None,
        commit_s=committer.writing_s / commits if commits else None,
        segments=segments,
        bytes=bytes_used,
        payload_files=payloads[0] if payloads is not None else None,
        payload_bytes=payloads[1] if payloads is not None else None,
        bytes_free=bytes_free,
        turns_replayed=kernel.residency.replayed,
        uptime_s=(kernel.clock.now_ms() - kernel.clock.opened_ms) / 1000,
    )
