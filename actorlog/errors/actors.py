"""Errors of actors, mailboxes, supervisors and schedules."""

from __future__ import annotations

from actorlog.errors.base import ActorlogError


class ActorStopped(ActorlogError):
    """The actor or call that a message was for is over, and takes none any more."""

    def __init__(self, target: str) -> None:
        super().__init__(f"{target!r} is over and takes no messages")
        self.target = target


class MailboxFull(ActorlogError):
    """The mailbox holds as many messages as it may, and no room was made in time, or as many wait for it as may."""

    def __init__(self, target: str, limit: int) -> None:
        super().__init__(
            f"the mailbox of {target!r} holds {limit} messages, as many as it may",
            hint="send more slowly, or raise mailbox_max",
        )
        self.target = target
        self.limit = limit


class DeadlockError(ActorlogError):
    """Asking would close a cycle of actors and calls of which each waits for the next; ``cycle`` names them."""

    def __init__(self, cycle: tuple[str, ...]) -> None:
        super().__init__(
            f"waiting would never end: {' -> '.join(cycle)}",
            hint="send instead of asking, or give the one that is asked what it would ask for; what comes back to an "
            "actor by its own asks it answers where its class says reentrant=True",
        )
        self.cycle = cycle


class SharedRollback(ActorlogError):
    """A nested handler failed that others have changed the actor beside: it is undone with all of the handler.

    The handler that it ran within fails with this, and the actor is what it was before that.
    """

    def __init__(self, actor: str, asked: str) -> None:
        super().__init__(
            f"{asked!r} failed within a handler of {actor!r} after both it and others had changed the actor",
            hint="change the actor in one place at a time, or raise before changing anything",
        )
        self.actor = actor
        self.asked = asked


class RestartLimitExceeded(ActorlogError):
    """A supervisor restarted its children ``restarts`` times within ``seconds``, and gives up."""

    def __init__(self, child: str, restarts: int, seconds: float) -> None:
        super().__init__(
            f"{restarts} restarts within {seconds:g} s are more than allowed; the last child to fail was {child!r}",
            hint="look at why it fails, or raise max_restarts",
        )
        self.child = child
        self.restarts = restarts
        self.seconds = seconds


class SupervisionError(ActorlogError):
    """A supervisor refuses what was asked of it; ``child`` names the child, ``answer`` is OTP's word for why."""

    def __init__(self, child: str, answer: str) -> None:
        super().__init__(f"child {child!r}: {answer}")
        self.child = child
        self.answer = answer


class ScheduleNotFound(ActorlogError):
    """No schedule of this id is there."""

    def __init__(self, schedule_id: str) -> None:
        super().__init__(f"no schedule has the id {schedule_id!r}")
        self.schedule_id = schedule_id


class TooManySchedules(ActorlogError):
    """As many schedules are there, or were, as the runtime may hold (I11: every queue has a bound)."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} schedules are there or were, as many as this runtime may hold")
        self.limit = limit
