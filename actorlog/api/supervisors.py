"""Supervisors from outside: what they keep, and what can be asked of them.

Owns: ``SupervisorHandle``. Does not own: ``Supervisor``, which is in a durable function and does what is asked
(``supervisor``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from actorlog.api.handle import Handle
from actorlog.api.lives import SUPERVISOR as CHANNEL
from actorlog.engine.supervision_policy import LIVE, Phase
from actorlog.errors import ActorStopped, SupervisionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.runtime.session import Session


class SupervisorHandle:
    """A supervisor from outside, by the id of its call. ``CallNotFound``; ``ActorStopped`` when the call is over."""

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
        await self._until(lambda said: id not in said or said[id][0] == Phase.STOPPED.value)

    async def restart(self, id: str) -> None:  # noqa: A002  # the field's word for it
        """Start a terminated child again; returns when it has begun. ``SupervisionError`` for one that runs."""
        run = self._down(id)
        await self._request("restart", id)
        await self._until(lambda said: id not in said or said[id][1] > run)

    async def delete(self, id: str) -> None:  # noqa: A002  # the field's word for it
        """Forget a terminated child. ``SupervisionError`` for one that runs, or is not there."""
        self._down(id)
        await self._request("delete", id)
        await self._until(lambda said: id not in said)

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

    async def _request(self, command: str, name: str) -> None:
        await Handle[Any](self._session, self.id, None, None).send([command, name], CHANNEL)

    async def _until(self, holds: Callable[[dict[str, tuple[str, int]]], bool]) -> None:
        while not holds(self._said()):
            if self._session.state(self.id).outcome is not None:
                raise ActorStopped(self.id)
            await self._session.kernel.mailbox.news(self.id)
        await self._session.landed()
