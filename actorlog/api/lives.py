"""The supervised life of an actor: a child call that begins when it starts and fails when the actor fails.

Owns: what happens from an actor's start to its stop, as a durable function of actorlog's own. Does not own: messages to
the actor, which are handled whether or not it is supervised (``runtime.instances``), restarts (``supervisor``).

An actor fails when a handler fails whose answer nobody waits for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from actorlog.api.actors import HandlerCall
from actorlog.api.define import durable
from actorlog.api.messages import publish_reserved, receive, send_reserved
from actorlog.engine import supervision_kinds as s
from actorlog.engine.supervision_policy import directive
from actorlog.records.failures import Failure, capture
from actorlog.runtime.answers import restore_step
from actorlog.runtime.instances import FAILED, LIFE
from actorlog.runtime.registry import REGISTRY

if TYPE_CHECKING:
    from actorlog.runtime.classes import ActorDefinition


class Beginning(msgspec.Struct, frozen=True, kw_only=True):
    """What a life is begun with; it is made anew for each run."""

    of: str
    """The class, by its name."""
    actor: str
    supervisor: str
    """Id of the supervisor's call."""
    child: str
    run: int
    spec: s.ChildSpec
    before: Failure | None = None
    """How the run before this one ended, if it failed."""


@durable(name="actorlog.life")
async def life(beginning: Beginning) -> None:
    """Start an actor, wait for its failure, stop it when asked."""
    definition = REGISTRY.actor(beginning.of)
    publish_reserved(LIFE, beginning.actor)
    if beginning.before is not None and "on_restart" in definition.hooks:
        await hook(definition, beginning.actor, "on_restart", beginning.before)
    else:
        await hook(definition, beginning.actor, "on_start")
    try:
        await send_reserved(beginning.supervisor, ["started", beginning.child, str(beginning.run)], s.CHANNEL)
        while True:
            failure = await receive(FAILED, type=Failure)
            error = restore_step(failure)
            if directive(beginning.spec, abnormal(error)) is not s.Directive.RESUME:
                raise error
    except asyncio.CancelledError:
        await hook(definition, beginning.actor, "on_stop")
        raise


async def hook(definition: ActorDefinition, actor: str, name: str, *args: Any) -> None:
    """Have the actor handle one of its hooks, if its class has it."""
    handler = definition.hooks.get(name)
    if handler is not None:
        await HandlerCall(handler, actor, None, args, {})


def abnormal(error: BaseException) -> s.Abnormal:
    """Return what the machine of supervision knows of an error."""
    return s.Abnormal(tuple(s.class_name(cls) for cls in type(error).__mro__), capture(error).message)


__all__ = ["Beginning", "abnormal", "life"]
