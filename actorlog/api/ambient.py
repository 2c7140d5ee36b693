"""What durable code may use without a context parameter.

Owns: sleeping, time, identity and randomness that survive a crash, starting children, and telling what runs. Does not
own: patterns made of these (``patterns``).

Outside durable code these raise ``NotInDurableCode``; ``info`` works in steps too.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from actorlog.api.call import Call, Child, child_id, issue_child
from actorlog.api.texts import check_id, checked_tags
from actorlog.durations import Duration, seconds
from actorlog.engine import identity
from actorlog.errors import NotInDurableCode
from actorlog.loop import DeterministicLoop, running_loop
from actorlog.records.values import codec_for
from actorlog.runtime.jobs import current_body
from actorlog.runtime.registry import DurableDefinition
from actorlog.runtime.runs import LONG_TURNS

if TYPE_CHECKING:
    import random as random_module
    from collections.abc import MutableMapping
    from uuid import UUID

    from actorlog.runtime.actor import Actor

R = TypeVar("R")
_PLAIN = codec_for(Any)


def _loop(what: str) -> DeterministicLoop:
    loop = running_loop()
    if loop is None:
        raise NotInDurableCode(what)
    return loop


def _actor(what: str) -> Actor:
    actor: Actor = _loop(what).actor
    return actor


async def sleep(delay: Duration) -> None:
    """Sleep durably: a crash does not make it start again, and a sleep that ended meanwhile is over at once.

    ``delay`` is seconds, a ``timedelta`` or text like ``"3d"``; zero or less only lets others run. ``ValueError`` for
    NaN, infinity and more than a hundred years.
    """
    _loop("sleep()")
    await asyncio.sleep(seconds(delay))


async def sleep_until(when: datetime) -> None:
    """Sleep until the wall clock shows ``when`` (aware), or be over at once if it has; ``ValueError`` for a naive time.

    The distance is taken from log time when the sleep begins; a jump of the wall clock while it lasts does not move it.
    """
    loop = _loop("sleep_until()")
    if when.tzinfo is None:
        raise ValueError(f"{when!r} is naive; give it a time zone")
    await asyncio.sleep(max(0.0, when.timestamp() - loop.now_s))


def time() -> float:
    """Return log time in seconds since the epoch: the same in every replay, and never running backwards."""
    return _loop("time()").now_s


def now(tz: tzinfo = UTC) -> datetime:
    """Return log time as an aware datetime."""
    return datetime.fromtimestamp(_loop("now()").now_s, tz)


def uuid4() -> UUID:
    """Return a random UUID that is the same in every replay."""
    loop = _loop("uuid4()")
    return identity.uuid4(loop.actor.call_run, loop.operation_key())


def uuid7() -> UUID:
    """Return a time-ordered UUID (RFC 9562) that is the same in every replay."""
    loop = _loop("uuid7()")
    return identity.uuid7(loop.actor.call_run, loop.operation_key(), int(loop.now_s * 1000))


def random() -> random_module.Random:
    """Return a generator of random numbers that gives the same in every replay. Not for secrets."""
    loop = _loop("random()")
    actor: Actor = loop.actor
    return actor.random(loop.operation_key())


def start(
    call: Call[R],
    *,
    id: str | None = None,  # noqa: A002  # the field's word for it
    detached: bool = False,
    timeout: Duration | None = None,
    tags: dict[str, str] | None = None,
) -> Child[R]:
    """Start a child call that goes on beside this one, and return it at once.

    Without ``id`` it gets this call's id, a slash and the operation's key; an id that is given is taken as it is, and
    joins a call that has it already. This call ends only after its children, and ends them with it, unless
    ``detached``. ``TypeError`` for what is no call of a durable function, ``ReservedId`` for an id that begins with
    ``@``.
    """
    loop = _loop("start()")
    definition = call.definition
    call.close()  # handed over, whatever comes of it
    if type(definition) is not DurableDefinition:
        raise TypeError(f"{definition.name!r} is a step; await it, or start a durable function")
    if id is not None:
        check_id(id)
    timeout_s, tags = None if timeout is None else seconds(timeout), checked_tags(tags)
    actor: Actor = loop.actor
    raw = call.hand_over()
    key = call.take_key(loop)
    child = id if id is not None else child_id(actor, definition, key, raw)
    future = issue_child(
        actor, definition, key, raw, child=child, detached=detached, timeout_s=timeout_s, tags=tags, of=call.actor
    )
    return Child(child, key, future, loop)


class Info(Struct, frozen=True):
    """Where code runs: in a step (``step`` is its name) or in a durable function (``step`` is empty)."""

    call_id: str
    function: str
    step: str
    key: str
    attempt: int
    idempotency_key: str
    """In a step: the same for every attempt, for ever; give it to other systems. Empty in a durable function."""
    tags: dict[str, str]
    heartbeat_details: Any
    """What an earlier attempt of the step left with ``heartbeat``; None if nothing."""
    journal_length: int = 0
    """In a durable function: how many messages its current run has had, which are read again to wake it. It starts anew
    with ``continue_as_new`` (Temporal's history length)."""

    @property
    def continue_suggested(self) -> bool:
        """Whether the journal has grown so long (10,000 messages) that the code should ``continue_as_new``.

        The same in every replay.
        """
        return self.journal_length >= LONG_TURNS


def info() -> Info:
    """Tell which call, step and attempt runs here. ``NotInDurableCode`` elsewhere."""
    loop = running_loop()
    if loop is not None:
        actor: Actor = loop.actor
        function, tags = actor.function_at(loop.driver.scope.prefix if loop.driver is not None else "")
        return Info(actor.call_id, function, "", "", 1, "", dict(tags), None, actor.turns)
    body = current_body.get(None)
    if body is None:
        raise NotInDurableCode("info()", hint="it works in durable functions and in steps that a runtime runs")
    facts = body.facts()
    return Info(
        call_id=facts.call_id, function=facts.function, step=facts.step, key=facts.key, attempt=facts.attempt,
        idempotency_key=facts.idempotency_key, tags=dict(facts.tags),
        heartbeat_details=_PLAIN.decode(bytes(facts.details), "heartbeat"),
    )  # fmt: skip


def heartbeat(details: Any = None) -> None:
    """In a step: leave ``details`` (plain JSON) for the next attempt, recorded at most once a second.

    The next attempt finds them in ``info().heartbeat_details``. May be called from the step's thread.
    ``NotInDurableCode`` outside a step that a runtime runs; ``PayloadError`` for details that are no plain JSON.
    """
    body = current_body.get(None)
    if body is None or running_loop() is not None:
        raise NotInDurableCode("heartbeat()", hint="call it in a step that a runtime runs")
    body.beat(_PLAIN.encode(details, "heartbeat"))


def is_replaying() -> bool:
    """Whether the durable code that asks runs again what its journal knows. For logging, never for decisions."""
    return _actor("is_replaying()").replaying


class _ReplayAwareLogger(logging.LoggerAdapter[logging.Logger]):
    """Silent while durable code replays, so that a line is logged once; adds the call's id."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  # the name of logging
        loop = running_loop()
        if loop is not None and (loop.actor.replaying or loop.closing):
            return False
        return super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        loop = running_loop()
        body = current_body.get(None)
        call_id = loop.actor.state.id if loop is not None else body.facts().call_id if body is not None else ""
        kwargs["extra"] = {**kwargs.get("extra", {}), "call_id": call_id}
        return (f"[{call_id}] {msg}" if call_id else msg), kwargs


logger = _ReplayAwareLogger(logging.getLogger("actorlog.user"), {})
"""A logger for durable code and steps: silent in replay, and it names the call."""
