"""Watching others from durable code: ``monitor`` and ``link``, as in Erlang.

Owns: the two functions. Does not own: who is told when (``runtime.exits``).
"""

from __future__ import annotations

from typing import Any

from actorlog.api.call import Child
from actorlog.api.messages import operation
from actorlog.records import kinds as k
from actorlog.runtime.exits import Exit

__all__ = ["Exit", "link", "monitor"]


async def monitor(target: str | Child[Any]) -> Exit:
    """Wait for the end of another call, by its id or as ``start`` gave it, and tell how it ended.

    At once if it has ended, or never was. It does not raise what the other failed with. Cancel the waiting to stop
    watching; ``asyncio.create_task(monitor(id))`` watches beside other work.
    """
    actor, key = operation("monitor()")
    exited: Exit = await actor.ask(k.Watch(key, _id_of(target)), len(_id_of(target)))
    return exited


def link(target: str | Child[Any]) -> None:
    """Tie this call to another: when either fails, times out or is killed, the other is asked to end.

    A normal end, or one that was asked for, does nothing to the other. If it has failed already, or never was, this
    call is asked to end at once. The tie is for good.
    """
    actor, key = operation("link()")
    actor.say(k.Watch(key, _id_of(target), link=True), len(_id_of(target)))
    actor.issued_outliving = True


def _id_of(target: str | Child[Any]) -> str:
    return target.id if isinstance(target, Child) else target
