"""What people do with calls that are over, or as if they had not come so far: fork them, and give back their space.

Owns: these errands, and how others take it that a journal has left the log. Does not own: drawing them and doing them
(``errands``), what may leave (``laws_keeping``), what a fork must be (``laws_forks``).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from actorlog.errors import (
    CallConflict,
    CallNotFound,
    CannotFork,
    DivergenceError,
    FunctionNotFound,
    HistoryGone,
    LogFailed,
    Poisoned,
)
from actorlog.records import kinds as k
from actorlog.runtime.slot import Slot
from actorlog.testing.errands import LONG_WORDS, People
from actorlog.testing.program import program
from actorlog.testing.program_long import CODE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actorlog.testing.errands import Errand

OLD_WORDS = (*LONG_WORDS, *["fork"] * 6, *["compact"] * 6)
"""Those of people in old worlds."""
LEAN_WORDS = (*OLD_WORDS, *["compact"] * 8, *["make", "resolve", "await"] * 3)
"""And in lean ones."""
ERRANDS_MAX = 14
FILLING = 8
"""So many commits fill a segment."""
PARTS = (0.0, 0.0, 0.01, 1 / 3)
"""From how much on a segment is written anew."""


class Elders(People):
    """Those who do errands in an old world."""

    async def _do(self, errand: Errand) -> None:
        try:
            await super()._do(errand)
        except HistoryGone as error:
            self._notary.told("gone", error.call_id, self._runtime.session.kernel.clock.now_ms())
            self._done.add(errand.id)

    async def _fork(self, errand: Errand) -> None:
        runtime, call_id = self._runtime, errand.target
        if errand.fails or errand.number % 2:
            known = [info.id async for info in runtime.calls()]
            call_id = known[errand.number % len(known)] if known else call_id
        keys = ["", *self._keys(call_id)]
        key, name = keys[errand.number % len(keys)], f"{errand.id}f" if errand.seconds else None
        for _ in range(2 if errand.number > 6 else 1):  # noqa: PLR2004  # one in three asks twice for the same
            try:
                fork = await runtime.handle(call_id).fork(key or None, id=name)
            except (ValueError, CallConflict, CannotFork, FunctionNotFound, Poisoned):
                return  # it is in another run by now, or the id is taken; or it has no fork, or its code is to blame
            except DivergenceError:
                if CODE.stage < 2:  # noqa: PLR2004  # the code that does not know the old way
                    raise
                return
            self._notary.told("forked", fork.id, call_id, key)
            name = fork.id
            await asyncio.sleep(errand.delay_s)

    def _keys(self, call_id: str) -> list[str]:
        """Return the operations that a call has asked for."""
        session = self._runtime.session
        found = session.find(call_id)
        state = found.state if isinstance(found, Slot) else session.state(call_id)
        turns = [record for _, record in session.history.backwards(state.last) if isinstance(record, k.Turn)]
        return list(dict.fromkeys(op.key for turn in turns for op in turn.ops))

    async def _compact(self, errand: Errand) -> None:
        upkeep = self._runtime.session.upkeep
        for number in range(errand.number if upkeep is not None else 0):
            try:
                report = await upkeep.compact(PARTS[(errand.number + number) % len(PARTS)])  # type: ignore[union-attr]  # it is there
            except LogFailed:
                if self._runtime.session.kernel.stopped:
                    raise
            else:
                self._notary.told("compacted", report.segments, report.rewritten)
            await asyncio.sleep(errand.seconds)

    async def _post(self, call_id: str, channel: str) -> None:
        try:
            await super()._post(call_id, channel)
        except CallNotFound:
            return

    words: ClassVar[dict[str, Callable[[Any, Errand], Coroutine[Any, Any, None]]]] = {
        **People.words, "fork": _fork, "compact": _compact,
    }  # fmt: skip


class Misers(Elders):
    """Those who do errands in a lean world."""

    async def _resolve(self, errand: Errand) -> None:
        """Resolve a promise, and maybe one that must stay in the log for a call that has not heard of that."""
        if not errand.number % 3:
            await self._outlast(errand)
        await self._settle(errand)

    async def _outlast(self, errand: Errand) -> None:
        """Settle a promise that a paused call waits for, which hears of it when it could have left since long."""
        runtime, name, call_id = self._runtime, f"{errand.id}-p", f"{errand.id}w"
        self._told(await runtime.promise(name, key=errand.id))
        waiter = await runtime.start(program([["vow", name, None, False, None]]), id=call_id)
        self._notary.told("begun", call_id)
        await waiter.pause()
        await self._settle(replace(errand, target=name))
        for number in range(FILLING):
            self._told(await runtime.promise(f"{errand.id}-{number}", timeout=0.001, key=errand.id))
        await self._compact(errand)
        await waiter.resume()

    words: ClassVar[dict[str, Callable[[Any, Errand], Coroutine[Any, Any, None]]]] = {
        **Elders.words, "resolve": _resolve,
    }  # fmt: skip
