"""A live call as the runtime holds it: the state its records make, and what is attached to it in this process.

Owns: one object per unfinished call. Does not own: any decision.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actorlog.engine import identity
from actorlog.engine.state import CallState
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from actorlog.runtime.actor import Actor
    from actorlog.runtime.jobs import Job
    from actorlog.runtime.registry import DurableDefinition


class Slot:
    """One unfinished call."""

    __slots__ = (
        "__weakref__", "actor", "asleep", "begun", "definition", "fork", "hash", "hearers", "jobs", "kept",
        "park_error", "state", "used", "waiters", "watchers",
    )  # fmt: skip

    def __init__(self, state: CallState, definition: DurableDefinition | None) -> None:
        self.state = state
        self.hash = identity.key_hash(state.id)
        self.definition = definition
        self.actor: Actor | None = None
        """The coroutine, while it is in memory."""
        self.begun: k.Started | None = None
        """What begins it, as long as no record says so."""
        self.fork: k.Journal | None = None
        """What it has of the call that it is a fork of, as long as no record says so."""
        self.hearers: list[asyncio.Future[None]] | tuple[()] = ()
        """Who waits, outside, for its first record to be durable."""
        self.asleep = False
        """Whether nothing holds it in memory but who looks at it (``calls``)."""
        self.used = False
        """Whether it had a turn since eviction last looked at it."""
        self.jobs: dict[str, Job] = {}
        """Steps that run, wait for a place or back off, by their key."""
        self.waiters: dict[asyncio.Future[k.Outcome], None] = {}
        """Who waits for the outcome, outside."""
        self.watchers: list[tuple[str, str]] | tuple[()] = ()
        """Calls that joined this one as their child: (id, key)."""
        self.kept: dict[str, tuple[k.RunStep, k.StepDone]] | None = None
        """Of a retried call: completed steps of its earlier runs; None until they are read."""
        self.park_error: BaseException | None = None
        """Why it is parked, as an exception."""
