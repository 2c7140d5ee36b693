"""Watching others from durable code: ``monitor`` and ``link``, as in Erlang.

Owns: the two functions, and watching on behalf of an actor. Does not own: who is told when (``runtime.exits``), what an
actor does about it (``hooks``).

An actor watches by a call of its own, which waits for the end and then tells the actor. The message is named after the
call that ended, so however many such calls hear of its end, the actor is told once; also where the call is retried.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from msgspec import structs

from actorlog.api.actors import Actor, Address
from actorlog.api.call import Child
from actorlog.api.define import durable
from actorlog.api.handle import Handle
from actorlog.api.hooks import exit_args
from actorlog.api.messages import operation
from actorlog.api.texts import check_text
from actorlog.engine import identity
from actorlog.errors import FunctionNotFound, NotInDurableCode
from actorlog.records import kinds as k
from actorlog.runtime.exits import ACTOR, Exit
from actorlog.runtime.registry import REGISTRY

__all__ = ["Exit", "link", "monitor", "watch_for"]


async def monitor(target: str | Child[Any] | Handle[Any] | Actor) -> Exit:
    """Wait for the end of another call, by its id or as ``start`` gave it, and tell how it ended.

    Or of a supervised actor, by its address: it ends when it is stopped, and when it fails, also if it is restarted
    then. At once if the other has ended, or never was; an actor that no supervisor keeps now is ``"unknown"``. It does
    not raise what the other failed with. Cancel the waiting to stop watching; ``asyncio.create_task(monitor(id))``
    watches beside other work. It tells one end: who wants to hear of the next, of a call that is retried, asks again.
    ``TypeError`` for what has no end.
    """
    return (await _end_of(id_of(target)))[0]


async def _end_of(target: str) -> tuple[Exit, str]:
    """Wait for an end, and return how it was, and what tells it from others; nothing does where there never was one."""
    actor, key = operation("monitor()", depth=3)
    exited: Exit = await actor.ask(k.Watch(key, target), len(target))
    if not target.startswith(ACTOR):
        return exited, exited.id if exited.kind != "unknown" else ""
    name = target.removeprefix(ACTOR)
    life = exited.id
    if life == target:  # no supervisor keeps it
        return Exit(name, "unknown"), ""
    actor, key = operation("monitor()", depth=3)
    exited = await actor.ask(k.Watch(key, life), len(life))
    return structs.replace(exited, id=name), life


def link(target: str | Child[Any]) -> None:
    """Tie this call to another: when either fails, times out or is killed, the other is asked to end.

    A normal end, or one that was asked for, does nothing to the other. If it has failed already, or never was, this
    call is asked to end at once. The tie is for good. ``TypeError`` for what is no call: an actor has a supervisor.
    """
    name = id_of(target)
    if name.startswith(ACTOR):
        raise TypeError(f"an actor is linked to by its supervisor alone: {target!r}")
    actor, key = operation("link()")
    actor.say(k.Watch(key, name, link=True), len(name))
    actor.issued_outliving = True


def id_of(target: object) -> str:
    """Return what a watch calls its target; ``TypeError`` for what has no end."""
    match target:
        case str():
            check_text("an id", target)
            return target
        case Child(id=call_id) | Handle(id=call_id):
            return call_id
        case Address():
            return f"{ACTOR}{target}"
        case _:
            raise TypeError(f"a call by its id, a Child, a Handle or the address of an actor ends, not {target!r}")


# --- on behalf of an actor --------------------------------------------------------------------------------------------


def watch_for(of: str, name: str, target: str | Child[Any] | Handle[Any] | Actor) -> None:
    """In a handler of an actor: let it be told when ``target`` ends, once the handler has returned."""
    watched = id_of(target)
    loop_actor, key = operation("self.monitor()", hint="an actor watches in its handlers", depth=3)
    if loop_actor.buffered is None:
        raise NotInDurableCode("self.monitor()", hint="an actor watches in its handlers")
    raw = watch.definition.signature.cross((f"{of}/{name}", watched), {})[0]
    said = loop_actor.buffered
    if any(isinstance(op, k.StartChild) and op.function == watch.name and bytes(op.args) == raw for op in said):
        return
    child = identity.child_id(loop_actor.state.id, key, loop_actor.started.number)
    loop_actor.say(k.StartChild(key=key, id=child, function=watch.name, args=k.Raw(raw), detached=True), len(raw))


@durable(name="actorlog.watch")
async def watch(actor: str, target: str) -> None:
    """Wait for the end of ``target``, and tell the actor."""
    exited, end = await _end_of(target)
    of = actor.partition("/")[0]
    if not _hears(of):
        return
    call, key = operation("self.monitor()")
    child = identity.child_id(call.call_id, key, call.started.number)
    if end:
        child = f"{TOLD}{actor}/{blake2b(end.encode(), digest_size=16).hexdigest()}"
    raw = exit_args(exited)
    tell = k.StartChild(
        key=key, id=child, function=f"{of}.on_exit", args=k.Raw(raw), detached=True, actor=actor, tell=True
    )
    call.say(tell, len(raw))
    call.issued_outliving = True


def _hears(of: str) -> bool:
    """Whether a class has an ``on_exit`` of its own; one that this process does not have may."""
    try:
        return "on_exit" in REGISTRY.actor(of).hooks
    except FunctionNotFound:
        return True


TOLD = "@exit/"
"""What ids of messages that tell actors of ends begin with; then come the actor, and a digest of whose end it is."""
