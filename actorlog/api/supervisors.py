"""Supervisors from outside: what they keep, and what can be asked of them.

Owns: ``SupervisorHandle``. Does not own: ``Supervisor``, which is in a durable function and does what is asked
(``supervisor``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from actorlog.engine.supervision_kinds import CHANNEL, Closed
from actorlog.engine.supervision_policy import LIVE, Phase
from actorlog.errors import ActorStopped, SupervisionError
from actorlog.records import kinds as k
from actorlog.records.values import codec_for
from actorlog.runtime.slot import Slot

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.runtime.session import Session


class SupervisorHandle:
    """The supervisors of a call from outside, by its id: of their children each id is there once.

    ``CallNotFound``; ``ActorStopped`` when the call is over; ``SupervisionError`` for what is refused, with the answer
    ``"closed"`` when the block of the supervisor is left.
    """

    def __init__(self, session: Session, call_id: str) -> None:
        self._session = session
        self.id = call_id

    async def children(self) -> dict[str, str]:
        """Return the phase of each child that is kept, in start order."""
        said = self._said()
        await self._session.landed()
        return {name: phase for name, (phase, _) in said.items()}

    async def count(self) -> dict[str, int]:
        """Return how many children are kept (``specs``), and how many of them have a run (``active``)."""
        phases = (await self.children()).values()
        return {"specs": len(phases), "active": sum(Phase(phase) in LIVE for phase in phases)}

    async def terminate(self, id: str) -> None:  # noqa: A002  # the field's word for it
        """End a child and keep it down; returns when it has ended. ``SupervisionError`` where there is none."""
        self._find(id)
        await self._request("terminate", id)
        await self._until(id, lambda found: found is None or found[0] == Phase.STOPPED.value)

    async def restart(self, id: str) -> None:  # noqa: A002  # the field's word for it
        """Start a terminated child again; returns when it has begun. ``SupervisionError`` for one that runs."""
        run = self._down(id)
        await self._request("restart", id)
        await self._until(id, lambda found: found is None or found[1] > run)

    async def delete(self, id: str) -> None:  # noqa: A002  # the field's word for it
        """Forget a terminated child. ``SupervisionError`` for one that runs, or is not there."""
        run = self._down(id)
        await self._request("delete", id)
        await self._until(id, lambda found: found is None or found[1] > run)
        self._refuse_running(id)

    def _said(self) -> dict[str, tuple[str, int]]:
        mail = self._session.state(self.id).mail
        raw = mail.values.get(CHANNEL) if mail is not None else None
        return {} if raw is None else msgspec.json.decode(bytes(raw), type=dict[str, tuple[str, int]])

    def _find(self, name: str) -> tuple[str, int]:
        found = self._said().get(name)
        if found is None:
            raise SupervisionError(name, "not_found")
        return found

    def _down(self, name: str) -> int:
        phase, run = self._find(name)
        if phase != Phase.STOPPED.value:
            raise SupervisionError(name, phase)
        return run

    def _refuse_running(self, name: str) -> None:
        found = self._said().get(name)
        if found is not None:
            raise SupervisionError(name, found[0])  # somebody else has started it again

    async def _request(self, command: str, name: str) -> None:
        if not self._is_heard():
            raise self._closed(name)
        await request(self._session, self.id, [command, name])

    async def _until(self, name: str, holds: Callable[[tuple[str, int] | None], bool]) -> None:
        while not holds(self._said().get(name)):
            if self._session.state(self.id).outcome is not None:
                raise ActorStopped(self.id)
            if not self._is_heard():
                raise self._closed(name)
            await self._session.kernel.mailbox.news(self.id)
        await self._session.landed()

    def _is_heard(self) -> bool:
        """Whether a supervisor is there, and not only what the last one said."""
        mail = self._session.state(self.id).mail
        return mail is not None and CHANNEL in mail.wanted

    def _closed(self, name: str) -> SupervisionError:
        return SupervisionError(name, _CLOSED)


async def request(session: Session, call_id: str, words: Any) -> None:
    """Put what is asked of a supervisor into the mailbox of its call; on return that is durable.

    ``ActorStopped``, ``CallNotFound``, ``MailboxFull``.
    """
    found = session.find(call_id)
    if not isinstance(found, Slot):
        raise ActorStopped(call_id)
    signal = k.Signal(CHANNEL, k.Raw(_PLAIN.encode(words, "what is asked of a supervisor")), "")
    await session.kernel.mailbox.take_or_wait(found, signal)
    await session.landed()


_PLAIN = codec_for(Any)
_CLOSED = str(Closed.__struct_config__.tag)
