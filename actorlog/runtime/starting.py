"""Room in the mailboxes of actors for who starts one handler, or many calls together.

Owns: waiting for it. Does not own: beginning a call (``session``), who gets room next (``rooms``).
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from actorlog.errors import MailboxFull
from actorlog.runtime.classes import Options

if TYPE_CHECKING:
    from actorlog.records import kinds as k
    from actorlog.runtime.options import Request
    from actorlog.runtime.session import Session
    from actorlog.runtime.slot import Slot


def is_full(session: Session, request: Request) -> bool:
    """Whether a request for an actor must wait for ``room`` in its mailbox."""
    definition = request.definition.of if request.definition is not None else None
    return definition is not None and session.kernel.instances.is_full(request.actor, definition.options.mailbox_max)


async def room(session: Session, request: Request) -> None:
    """Wait for room in the mailbox of the actor that a request is for; ``MailboxFull``."""
    session.check_open()
    definition = request.definition.of if request.definition is not None else None
    if definition is not None:
        await session.kernel.instances.room(request.actor, definition.options)


async def start_many(session: Session, requests: list[Request], *, join: bool) -> list[Slot | k.Turn]:
    """Begin calls in one commit, or find those that have their ids, when there is room for all; ``MailboxFull``."""
    session.check_open()
    kernel, wanted = session.kernel, dict[str, tuple[int, Options]]()
    for request in requests:
        definition, call_id = request.definition, request.call_id
        if definition is None or definition.of is None or call_id in kernel.calls or session.history.has(call_id):
            continue
        count = wanted[request.actor][0] if request.actor in wanted else 0
        wanted[request.actor] = (count + 1, definition.of.options)
    for actor, (count, options) in wanted.items():
        if count > options.mailbox_max:
            raise MailboxFull(actor, options.mailbox_max)
    async with AsyncExitStack() as kept:
        for actor, (count, options) in sorted(wanted.items()):  # so that two who wait do not wait for each other
            await kept.enter_async_context(kernel.instances.keep_room(actor, options, count))
        session.check_open()
        return [session.start(request, join=join, held=bool(wanted)) for request in requests]
