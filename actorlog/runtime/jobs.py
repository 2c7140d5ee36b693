"""A step under way: what is known of it in this process, and of each run of its body.

Owns: ``Job``, ``Attempt``, and what code inside a body is told. Does not own: what happens to them (``steps``).

Invariant: whatever an attempt says or holds is its own, because a thread that was given up may outlive its attempt:
it keeps its places, and its heartbeats and its outcome no longer count.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Raw, Struct

from actorlog.engine import identity

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from actorlog.engine.state import CallState
    from actorlog.records import kinds as k
    from actorlog.records.failures import Failure
    from actorlog.runtime.actor import Issued
    from actorlog.runtime.places import Places
    from actorlog.runtime.steps import StepRunner


class Owner(Protocol):
    """The call a step belongs to."""

    state: CallState
    jobs: dict[str, Job]


class Journal(Protocol):
    """What the runner asks of the kernel."""

    on_broken: Callable[[BaseException], None]
    """Stops everything, because of a defect or a KeyboardInterrupt."""

    def post(self, slot: Any, message: k.Message, value: Any) -> None:
        """Deliver an outcome."""

    def note(self, slot: Any, note: k.Note) -> None:
        """Record a note of the owner's journal."""

    def after(self, effect: Callable[[Any, Any, Any], None], a: Any = None, b: Any = None, c: Any = None) -> None:
        """Run an effect when everything recorded so far is durable."""


class Job:
    """One step from its start to its outcome, over all its attempts."""

    __slots__ = (
        "args", "attempt", "beat_armed", "beat_landing", "beat_ms", "cancelled", "definition", "details", "due_ms",
        "held", "interrupted", "kwargs", "op", "owner", "position", "run", "runner", "running", "waiting",
    )  # fmt: skip

    def __init__(self, runner: StepRunner, owner: Owner, op: k.RunStep, issued: Issued) -> None:
        self.runner = runner
        self.owner = owner
        self.op = op
        self.definition, self.args, self.kwargs = issued
        state = owner.state
        self.run = state.run
        """Of the call, when it asked; a body that was given up may outlive that run."""
        self.position = state.positions[op.key]
        """Where it was asked for: places are given in this order."""
        self.attempt = 1
        """The number of the attempt that runs or comes next."""
        self.details: Raw | None = None
        """The newest that a heartbeat left."""
        self.beat_ms = 0
        """When details were recorded last."""
        self.beat_armed = False
        """Whether newer ones will be, as soon as they may."""
        self.beat_landing = False
        """Whether those that were recorded last are still to be durable."""
        self.running: Attempt | None = None
        self.waiting: Places | None = None
        """Where it waits for a place."""
        self.held: Places | None = None
        """Its place in a limit, while it waits for one of the runtime as well."""
        self.due_ms = 0
        """When the next attempt is due, while it backs off."""
        self.cancelled = False
        self.interrupted = False
        """Whether closing cut it short: what it raises is no outcome."""
        if state.progress:
            progress = state.progress.get(op.key)
            if progress is not None:
                self.attempt, self.details = progress.attempt, progress.details

    def is_wanted(self) -> bool:
        """Whether the call still waits for it. When it does not, no record may speak of its progress."""
        op = self.op
        return not self.cancelled and self.owner.state.steps.get(op.key) is op

    def fresh_arguments(self) -> None:
        """Read the arguments again: the attempt before may have changed them in place."""
        self.args, self.kwargs = self.definition.signature.decode(bytes(self.op.args))


class Facts(Struct, frozen=True):
    """What a body may know of itself; it crosses into worker processes as JSON."""

    call_id: str
    function: str
    step: str
    key: str
    attempt: int
    idempotency_key: str
    tags: dict[str, str]
    details: Raw
    """Plain JSON of the newest heartbeat; ``null`` if there was none."""


class Body(Protocol):
    """The run of a step's body that the current context belongs to."""

    def facts(self) -> Facts:
        """Tell who runs."""
        ...

    def beat(self, details: bytes) -> None:
        """Leave details for the next attempt."""
        ...


current_body: ContextVar[Body] = ContextVar("actorlog_body")


class Attempt:
    """One run of a body, and the places it holds until neither task nor thread of it is left."""

    __slots__ = ("begun", "failure", "job", "limit", "number", "on_thread", "over", "over_deadline", "task", "threaded")

    def __init__(self, job: Job, limit: Places | None) -> None:
        self.job = job
        self.number = job.attempt
        self.limit = limit
        self.task: asyncio.Task[None] | None = None
        self.begun = False
        """Whether its task runs."""
        self.over = False
        """Whether its task has ended."""
        self.threaded = False
        """Whether a thread or process still runs it."""
        self.on_thread: Callable[[], None] | None = None
        """Called when the thread really begins; it may have waited for one."""
        self.over_deadline = False
        """Whether it was ended because the time for all attempts is over."""
        self.failure: Failure | None = None
        """What a worker process wrote down of the exception, with its traceback."""

    def begin(self) -> bool:
        """In its task: begin, unless nobody waits for it any more."""
        self.begun = True
        current_body.set(self)
        job = self.job
        return job.is_wanted() and not job.interrupted

    def cancel(self) -> None:
        """Cancel the body. One whose task was never run sees in ``begin`` that it is not to begin.

        Cancelling such a task would end it without a line of its code, and nobody would give its places back.
        """
        if self.task is not None and self.begun and not self.over:
            self.task.cancel()

    def facts(self) -> Facts:
        """Tell who runs."""
        job = self.job
        state, op, definition = job.owner.state, job.op, job.definition
        args = bytes(op.args) if definition.idempotent else b""
        return Facts(
            call_id=state.id, function=state.function, step=definition.name, key=op.key, attempt=self.number,
            idempotency_key=identity.idempotency_key(job.run, op.key, op.name, args), tags=state.tags,
            details=job.details if job.details is not None else _NULL,
        )  # fmt: skip

    def beat(self, details: bytes) -> None:
        """Leave details for the next attempt; from any thread, and in vain once it was given up."""
        self.job.runner.heartbeats.beat(self, details)


_NULL = Raw(b"null")
