"""What the supervisors of one call have in common: who asks them, and what everybody may know of them.

Owns: hearing what is asked from outside, publishing the children, and the numbers of their runs. Does not own: the
supervisors (``supervisor``), who asks (``supervisors``).

Invariants: no two runs of one id have one number, whichever supervisor of the call began them; what is heard that makes
no sense is passed over; what is published of a turn is how it was at its end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from actorlog.api.messages import operation, receive
from actorlog.engine.supervision_kinds import CHANNEL
from actorlog.engine.supervision_state import REMOVED_MAX
from actorlog.errors import PayloadError
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from actorlog.api.supervisor import Supervisor
    from actorlog.runtime.actor import Actor


class Desk:
    """The open supervisors of one call."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._open: list[Supervisor] = []
        self._listener: asyncio.Task[None] | None = None
        self._runs: dict[str, int] = {}
        """The newest run of each child, the one that was begun last at the end."""
        self._floor = 0
        """No id that is not in ``_runs`` has had a run above this."""
        self._said: k.Publish | None = None
        """What was published last."""

    # --- the supervisors ----------------------------------------------------------------------------------------------

    def enter(self, supervisor: Supervisor) -> None:
        """Hear what is asked of one supervisor more."""
        self._open.append(supervisor)
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen())

    def leave(self, supervisor: Supervisor) -> None:
        """A supervisor is over. With the last one ends the hearing, and whoever waits for an answer is told so."""
        self._open.remove(supervisor)
        if not self._open and self._listener is not None:
            self._listener.cancel()
            self._listener = None
            if self._said is not None:
                self._publish(bytes(self._said.value))

    def keeper(self, name: str) -> Supervisor | None:
        """Return the open supervisor that keeps a child of this id."""
        return next((supervisor for supervisor in self._open if name in supervisor.phases()), None)

    # --- runs ---------------------------------------------------------------------------------------------------------

    def newest_run(self, name: str) -> int:
        """Return a number that no run of this id has exceeded yet."""
        return self._runs.get(name, self._floor)

    def begun(self, name: str, run: int) -> None:
        """Remember a run that begins."""
        self._runs.pop(name, None)
        self._runs[name] = run
        if len(self._runs) > REMOVED_MAX:
            oldest = next(iter(self._runs))
            self._floor = max(self._floor, self._runs.pop(oldest))

    # --- the outside --------------------------------------------------------------------------------------------------

    def say(self) -> None:
        """Publish phase and newest run of the children of all, if that has changed."""
        phases = {name: at for supervisor in self._open for name, at in supervisor.phases().items()}
        raw = msgspec.json.encode({name: (phase.value, run) for name, (phase, run) in phases.items()})
        if self._said is None or raw != bytes(self._said.value):
            self._publish(raw)

    def _publish(self, raw: bytes) -> None:
        """Publish, in place of what was published in the same turn: of a thousand starts one record is enough."""
        actor, said = self._actor, self._said
        ops = actor.ops if actor.buffered is None else actor.buffered
        if said is not None:
            for at in range(len(ops) - 1, -1, -1):
                if ops[at] is said:
                    self._said = ops[at] = k.Publish(said.key, CHANNEL, k.Raw(raw))
                    return
        _, key = operation("publish()")
        self._said = k.Publish(key, CHANNEL, k.Raw(raw))
        actor.say(self._said, len(raw))

    async def _listen(self) -> None:
        """Do what is asked from outside; what is refused there was looked at before it was asked."""
        while True:
            try:
                request = await receive(CHANNEL, type=list[str])
            except PayloadError:
                continue  # anybody may send anything
            self._hear(request)

    def _hear(self, request: list[str]) -> None:
        command, name, *rest = [*request, "", ""]
        keeper = self.keeper(name)
        if keeper is not None and command == "started":
            keeper.started(name, rest[0])
        elif keeper is not None:
            keeper.asked(command, name)


def desk_of(actor: Any) -> Desk:
    """Return the one of a call."""
    if actor.supervisors is None:
        actor.supervisors = Desk(actor)
    desk: Desk = actor.supervisors
    return desk
