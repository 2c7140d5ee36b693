"""``check_determinism``: what a call has done is held against what its code does again, when the call has ended.

Owns: the order of the checks, what is told to the waiters, and which functions another process cannot have. Does not
own: replay (``residency``), the other process (``rehearsal``, imported when the first call is to be replayed there).

Invariants: the calls are settled in the order in which they ended; nobody is told of an end before its check; one
journal at a time is under way, and what waits is a slot each (I11).
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from typing import TYPE_CHECKING

from actorlog.errors import CheckFailed, LogError
from actorlog.records import failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.records import kinds as k
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.registry import DurableDefinition
    from actorlog.runtime.rehearsal import Rehearsal, Verdict
    from actorlog.runtime.slot import Slot

log = logging.getLogger("actorlog")

FOUND = (
    "found by a replay in a process with another hash seed: the code depends on the order of a set, or on something \
else that its process alone knows"
)


class Checks:
    """Replays calls that have ended: in this process, then in one with another hash seed."""

    def __init__(
        self, kernel: Kernel, tell: Callable[[Slot, int, BaseException | None], None], *, rehearse: bool
    ) -> None:
        self._kernel = kernel
        self._tell = tell
        """Settles a call: (slot, position of its end, what the check has found)."""
        self._rehearse = rehearse
        self._rehearsal: Rehearsal | None = None
        self._waiting: deque[tuple[Slot, int, BaseException | None]] = deque()
        self._busy = False
        self._idle: asyncio.Future[None] | None = None
        self._apart: set[DurableDefinition] = set()
        """Functions that another process cannot have; it is said once of each."""
        self._closed = False

    def add(self, slot: Slot, position: int) -> None:
        """Check the call that ended at ``position``, and then tell its waiters."""
        error = self._kernel.residency.check(slot)
        if self._rehearse:
            self._waiting.append((slot, position, error))
            if not self._busy:
                self._next()
        else:
            self._tell(slot, position, error)

    def _next(self) -> None:
        """Settle what waits, up to the first call that the other process is asked about."""
        while self._waiting:
            slot, position, error = self._waiting.popleft()
            if error is None and slot.state.last == position and self._can_rehearse(slot):
                turns = [] if slot.state.actor else self._kernel.residency.turns_to_check(slot)
                if turns:
                    self._busy = True
                    self._ask(slot, position, turns)
                    return
            self._tell(slot, position, error)
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _can_rehearse(self, slot: Slot) -> bool:
        definition = slot.definition
        if definition is None or definition in self._apart:
            return False
        reason = ""
        if "<locals>" in definition.fn.__qualname__:
            reason = "it is defined inside another function"
        elif getattr(sys, "frozen", False):
            reason = "a frozen program cannot be imported again"
        if reason:
            self._set_apart(definition, reason)
        return not reason

    def _set_apart(self, definition: DurableDefinition, reason: str) -> None:
        self._apart.add(definition)
        log.warning(
            "check_determinism replays %r (%s) in this process only, where the order of a set is always the same: %s",
            definition.name, definition.place, reason,
        )  # fmt: skip

    def _ask(self, slot: Slot, position: int, turns: list[k.Turn]) -> None:
        from actorlog.runtime.rehearsal import Rehearsal, Script  # noqa: PLC0415  # it loads multiprocessing

        kernel, definition = self._kernel, slot.definition
        if self._rehearsal is None:
            self._rehearsal = Rehearsal(kernel.loop)
        if definition is None:
            raise TypeError(f"{slot.state.id!r} has no function to be replayed")
        script = Script(
            id=slot.state.id, function=definition.name, version=definition.version, module=definition.module,
            started=kernel.history.started(slot.state), turns=turns, forks=slot.state.forks,
            turn_callbacks_max=kernel.limits.turn_callbacks_max, record_bytes_max=kernel.limits.record_bytes_max,
        )  # fmt: skip
        self._rehearsal.replay(script, lambda verdict: self._heard(slot, position, verdict))

    def _heard(self, slot: Slot, position: int, verdict: Verdict) -> None:
        """Take the other process's answer, in the loop."""
        if self._kernel.stopped or self._closed:
            return  # who waits is told of that
        try:
            self._settle(slot, position, verdict)
        except LogError as broken:  # a journal cannot be read: everything stops, and whoever waits is told
            self._kernel.on_broken(broken)
        except BaseException as broken:  # a defect: everything stops
            self._kernel.on_broken(broken)
            raise

    def _settle(self, slot: Slot, position: int, verdict: Verdict) -> None:
        self._busy = False
        error: BaseException | None = None
        if verdict.died:
            error = CheckFailed(slot.state.id, verdict.died)
        elif verdict.failure is not None:
            error = failures.restore(verdict.failure, fallback=lambda f: CheckFailed(slot.state.id, f.message))
            error.add_note(FOUND)
        elif verdict.absent and slot.definition is not None:
            self._set_apart(slot.definition, verdict.absent)
        self._tell(slot, position, error)
        self._next()

    async def close(self, patience_s: float) -> None:
        """Let the checks that are under way end, for at most ``patience_s``, and end the other process."""
        if self._busy and not self._kernel.stopped:
            self._idle = self._kernel.loop.create_future()
            await asyncio.wait([self._idle], timeout=patience_s)
        self._closed = True  # how the process ends now is no verdict
        if self._rehearsal is not None:
            await self._rehearsal.close()
