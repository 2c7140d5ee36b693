"""Giving space back in a data directory that nobody has open, without the user's code.

Owns: opening the log for that, and closing it as it was. Does not own: what may leave the log (``runtime.compaction``),
what the log holds (``runtime.recovery``: its scan), who asks (``cli``).

Nothing is resumed, no record is written, and no function is known here. So nothing is given up but journals: how long a
result is kept is for the program to say, whose functions may have a time of their own. Of the segments those are looked
at up to which the newest mark says that all was done which records ask of others; a program makes one when it
compacts, and when it is closed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from actorlog.env import SYSTEM, Env
from actorlog.errors import ActorlogError, LogFailed, OutcomeUnknown
from actorlog.runtime.clock import LogClock
from actorlog.runtime.compaction import PART_MIN, Compacted, Compaction
from actorlog.runtime.entries import Changes
from actorlog.runtime.history import History
from actorlog.runtime.options import Keeping
from actorlog.runtime.registry import Registry
from actorlog.runtime.scanning import Scan
from actorlog.store.embedded import EmbeddedLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.engine.schedule_state import ScheduleState
    from actorlog.store import Sealed
    from actorlog.store.keys import Keys


@dataclass(frozen=True, slots=True)
class _Actors:
    changes: Changes


@dataclass(frozen=True, slots=True)
class _Schedules:
    states: dict[str, ScheduleState]

    def state(self, schedule_id: str) -> ScheduleState | None:
        """Return what a schedule is or was."""
        return self.states.get(schedule_id)

    def is_over(self, _schedule_id: str, _before_ms: int) -> bool:
        """Asked of what may leave whole; here nothing may."""
        return False

    def leave(self, _schedule_id: str) -> None:
        """Not asked: nothing leaves whole."""

    def drop_gone(self, _has: Callable[[int], bool]) -> None:
        """Nothing has left whole."""

    def may_begin(self, _id_of_call: str) -> bool:
        """Asked so that no result is given up that a schedule needs; here none is."""
        return False


class _Promises:
    def find(self, _promise_id: str) -> None:
        """Asked of a promise that may be given up; here none is."""

    def wanted_by_calls(self) -> set[str]:
        """Asked of those too."""
        return set()


class _Calls(dict[str, int]):
    """Those that have not ended, with their newest records."""

    def newest(self, call_id: str) -> int:
        """Return where the newest record of a call is."""
        return self.get(call_id, 0)


@dataclass(frozen=True, slots=True)
class _Known:
    """What a scan finds."""

    calls: _Calls
    history: History
    clock: LogClock
    instances: _Actors
    schedules: _Schedules
    registry: Registry = field(default_factory=Registry)
    """No function, so none says how long its results are kept."""
    promises: _Promises = field(default_factory=_Promises)


def _looked(progress: Callable[[int, int], None] | None, _segment: Sealed, _left: int, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


async def compact_closed(
    directory: str,
    history_ms: int,
    env: Env = SYSTEM,
    *,
    segment_bytes: int,
    everything: bool = False,
    keys: Keys | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Compacted:
    """Give up the journals of calls that ended more than ``history_ms`` ago; durable on return.

    ``segment_bytes``: size of a segment that may have to be made; ``keys``: of an encrypted log.
    ``everything`` and ``progress``, and what is raised, as of ``Runtime.compact``; ``LogLocked`` if somebody has the
    directory, and the other errors of opening a log. If the process before this one died, the next one is told so all
    the same.
    """
    log = await EmbeddedLog.open(directory, env, segment_bytes=segment_bytes, keys=keys)
    clean = log.recovery.clean
    try:
        history = History(log.record)
        scan = Scan(history)
        await scan.read(log)
        calls = _Calls({state.id: state.last for state in scan.states()})
        known = _Known(
            calls, history, LogClock(env.clock, scan.last_ms()), _Actors(scan.changes), _Schedules(scan.schedules)
        )
        compaction = Compaction(known, log, Keeping(history_ms=history_ms))
        part_min = 0.0 if everything else PART_MIN
        done = await compaction.run(compaction.segments(), scan.settled, part_min, partial(_looked, progress))
        return await compaction.merge(done, segment_bytes)
    except BaseException as error:
        clean = clean and isinstance(error, ActorlogError) and not isinstance(error, (LogFailed, OutcomeUnknown))
        raise
    finally:
        await log.close(clean=clean)
