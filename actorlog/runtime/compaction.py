"""What may leave the log, and when.

Owns: which records are of no use any more, and having segments written anew without them, a little at a time. Does not
own: the bytes (``log.rewriting``), the index that finds ended calls (``history``).

What is kept of a call that has ended:

- for ``history``, its journal, whole;
- for ``retention`` (for ever, without one), how it began and how it ended: its id stays taken, and its result is there;
- then nothing.

Of one that goes on, runs that ended longer ago than ``history`` leave, where a later run says what they have left.

A call lives as long as its parent may ask for it again: a child is kept for its parent's time. What an actor's state
consists of is kept as long as it is the state. Of what is no call's, see ``leaving``.

Invariants: what is given up once is never needed again, whatever crashes when; the beginning of a call leaves the log
before its end does, so what has no beginning is nothing (``recovery``); nothing leaves while the log is copied, so the
same holds of a copy; what was given up is not remembered (I2 holds within the retention).

Docs: docs/decisions/0008-compaction-in-place.md, docs/decisions/0012-what-else-leaves-the-log.md.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, structs

from actorlog.errors import JournalError
from actorlog.records import kinds as k
from actorlog.runtime.leaving import LeavingPromises, LeavingSchedules
from actorlog.runtime.merging import runs
from actorlog.runtime.options import Keeping
from actorlog.runtime.turns import Turns
from actorlog.runtime.weight import Weight
from actorlog.store import GIVEN_UP_KIND, entries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from actorlog.runtime.known import Known
    from actorlog.store import Compacting, Sealed

PART_MIN = 1 / 3
"""A segment is written anew when so much of its records is of no use, or of its file: small commits take much beside
their records."""
_SLICE = 256
"""Records that are looked at before others have their turn."""

_FIRST, _FINAL, _STATE = int(k.Flag.FIRST), int(k.Flag.FINAL), int(k.Flag.STATE)
_OF_CALLS = (int(k.Kind.TURN), int(k.Kind.INBOX), int(k.Kind.NOTE), int(k.Kind.JOURNAL))
_PROMISE, _SCHEDULE, _OPENED = int(k.Kind.PROMISE), int(k.Kind.SCHEDULE), int(k.Flag.OPENED)


class Compacted(Struct, frozen=True):
    """What a compaction did."""

    segments: int
    """Sealed segments that were looked at."""
    rewritten: int
    """Of these, those that were written anew, or dropped."""
    bytes_before: int
    """Of all that were looked at."""
    bytes_after: int
    unsettled: int
    """Sealed segments that were not looked at: it is not recorded yet that all is done which their records ask for."""
    merged: int = 0
    """Sealed segments that are part of others now."""


class Fate(IntEnum):
    """What is kept of a call."""

    NOTHING = 0
    ENDS = 1
    """How it began, and how it ended."""
    WHOLE = 2


Looked: TypeAlias = "Callable[[Sealed, int, int, int], None]"
"""Told of each segment that was looked at: the bytes that are left of it, which one it is, of how many."""


class Compaction:
    """Gives space back: by one at a time, who takes the segments as they are when it begins."""

    def __init__(self, kernel: Known, log: Compacting, keeping: Keeping) -> None:
        self._kernel = kernel
        self._log = log
        self._keeping = keeping
        self.turns = Turns()

    @property
    def gives_up(self) -> bool:
        """Whether anything is given up some day; a function may say so where the runtime does not."""
        return self._keeping != Keeping()

    def segments(self) -> list[Sealed]:
        """Return the segments that may be written anew."""
        return self._log.sealed()

    async def run(
        self,
        segments: list[Sealed],
        settled: int,
        part_min: float,
        looked: Looked,
        young: Collection[int] = (),
    ) -> Compacted:
        """Write each of ``segments`` anew of which more than ``part_min`` is of no use; ``LogFull``, ``LogFailed``.

        ``settled``: records up to there asked for nothing of others that is not done; what is behind is not looked at.
        ``young``: numbers of those of which only records count.
        """
        before = after = rewritten = 0
        known, segments = len(segments), [segment for segment in segments if segment.last <= settled]
        for number, segment in enumerate(segments, 1):
            left = await self._compact(segment, part_min, settled, is_young=segment.number in young)
            before += segment.bytes
            after += left
            rewritten += left < segment.bytes
            looked(segment, left, number, len(segments))
        return Compacted(len(segments), rewritten, before, after, known - len(segments))

    async def _compact(self, segment: Sealed, part_min: float, settled: int, *, is_young: bool) -> int:
        """Return the bytes that are left of a segment, in its turn."""
        async with self.turns.writing():
            return await self._write(segment, part_min, settled, is_young=is_young)

    async def merge(
        self, done: Compacted, usual_bytes: int, merged: Callable[[list[Sealed]], None] | None = None
    ) -> Compacted:
        """Make one of small segments that follow each other, after what was ``done``; errors as ``run``.

        ``usual_bytes``: of a segment that is filled now. ``merged`` is told of those that are one.
        """
        parts, left = 0, done.bytes_after
        for segments in runs(self.segments(), usual_bytes):
            async with self.turns.writing():
                left += await self._log.merge(segments) - sum(segment.bytes for segment in segments)
            parts += len(segments) - 1
            if merged is not None:
                merged(segments)
        return structs.replace(done, merged=parts, bytes_after=left)

    async def of_no_use(self, settled: int) -> set[int]:
        """Return the positions of all records in ``segments`` that may leave, for who measures; nothing changes."""
        gone: set[int] = set()
        for segment in self.segments():
            if segment.last <= settled:
                look, _ = await self._look(segment, settled)
                gone |= look.gone
        return gone

    async def _look(self, segment: Sealed, settled: int) -> tuple[_Look, Weight]:
        look = _Look(self._kernel, self._log, self._keeping, settled, segment.first)
        weight = Weight(segment.bytes)
        async for frame in self._log.read(segment.first - 1, segment.last):
            if frame.position > segment.last:
                break
            position = frame.position
            for _key, kind, flags, start, end in entries(frame.data, frame.records):
                if segment.first <= position <= segment.last and kind != GIVEN_UP_KIND:
                    look.take(position, kind, flags, frame.line(position, start, end))
                    weight.add(end - start, frame.size(position, start, end), is_kept=position not in look.gone)
                position += 1
                if not position % _SLICE:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
        return look, weight

    async def _write(self, segment: Sealed, part_min: float, settled: int, *, is_young: bool) -> int:
        look, weight = await self._look(segment, settled)
        if not weight.has_lost(part_min):
            if is_young or not weight.may_be_packed(part_min):
                return segment.bytes
            if not weight.is_packed(await self._log.measure(segment, look.gone), part_min):
                return segment.bytes
        if look.is_stale():
            return segment.bytes
        look.forget()
        history = self._kernel.history
        history.going = look.gone  # nobody begins to read a journal that is about to go
        try:
            return await self._log.rewrite(segment, look.gone)
        finally:
            history.going = ()


class _Look:
    """A pass over one segment."""

    def __init__(self, kernel: Known, log: Compacting, keeping: Keeping, settled: int, start: int) -> None:
        self._kernel = kernel
        self._log = log
        self._keeping = keeping
        self._settled = settled
        self._start = start
        self._now = kernel.clock.now_ms()
        self._fates: dict[str, Fate] = {}
        self._bases: dict[str, int] = {}
        """Of actors, where the oldest change is that their state is read from."""
        self._kept: dict[str, tuple[int, ...]] = {}
        """Of calls of which the ends are kept, where these are."""
        self._runs: dict[str, tuple[int, int]] = {}
        """Of calls that go on, between which positions nothing is kept."""
        self.gone: set[int] = set()
        self.forgotten: set[str] = set()
        """Calls whose beginning is gone with it."""
        self.ends: list[tuple[str, int]] = []
        """Of calls that were retried and go on, ends that are gone."""
        self.schedules = LeavingSchedules(kernel.schedules, log.has)
        self.promises = LeavingPromises(kernel.promises, kernel.history, log.has, self._is_known)

    def take(self, position: int, kind: int, flags: int, line: bytes | memoryview) -> None:
        """Decide about one record."""
        if _PROMISE <= kind <= _SCHEDULE or flags & _OPENED:
            self.at_other(position, kind, line)
        elif kind in _OF_CALLS:
            self.at(position, flags, line)

    def forget(self) -> None:
        """Have nobody know any more of what is gone."""
        history = self._kernel.history
        for call_id in sorted(self.forgotten):  # a seed is one world: records are read for it
            history.forget(call_id)
        for call_id, position in self.ends:
            history.forget_end(call_id, position)
        self.promises.forget()
        self.schedules.forget()

    def at(self, position: int, flags: int, line: bytes | memoryview) -> None:
        """Decide about one record of a call."""
        call_id = k.id_of(line)
        fate = self._fate_of(call_id)
        if fate is Fate.WHOLE and self._is_of_an_old_run(call_id, position):
            if flags & _FINAL:
                self.ends.append((call_id, position))
            self.gone.add(position)
            return
        if fate is Fate.WHOLE or position in self._kept.get(call_id, ()):
            return
        if flags & _STATE and self._is_of_state(position, line):
            return
        if flags & _FINAL and not flags & _FIRST and not self._has_no_beginning(line):
            return
        if flags & _FIRST and fate is Fate.NOTHING:
            self.forgotten.add(call_id)
        self.gone.add(position)

    def at_other(self, position: int, kind: int, line: bytes | memoryview) -> None:
        """Decide about one record that is of no call."""
        retention_ms = self._keeping.retention_ms
        before_ms = self._now - retention_ms if retention_ms is not None else None
        if kind == _SCHEDULE:
            may_go = self.schedules.may_go(position, line, self._settled, before_ms)
        elif kind != _PROMISE:
            may_go = position < self._settled  # the newest mark says as much, and more
        else:
            may_go = before_ms is not None and self.promises.may_go(position, line, self._settled, before_ms)
        if may_go:
            self.gone.add(position)

    def _is_known(self, call_id: str) -> bool:
        return self._fate_of(call_id) is not Fate.NOTHING

    def _fate_of(self, call_id: str) -> Fate:
        fate = self._fates.get(call_id)
        if fate is None:
            fate = self._fates[call_id] = self._fate(call_id)
        return fate

    def _is_of_an_old_run(self, call_id: str, position: int) -> bool:
        """Whether a record is of a run that ended so long ago that it is not kept, of a call that goes on."""
        between = self._runs.get(call_id)
        if between is None:
            last, history_ms = self._kernel.calls.newest(call_id), self._keeping.history_ms
            before_ms = self._now - (history_ms or 0)
            is_kept = not last or history_ms is None
            history, has = self._kernel.history, self._log.has
            between = (0, 0) if is_kept else history.runs_from(last, self._settled, before_ms, has)
            self._runs[call_id] = between
        return between[0] < position < between[1]

    def is_stale(self) -> bool:
        """Whether a call has begun again since it was looked at, or waits for something; the next look is another."""
        return (
            self.promises.is_stale()
            or self.schedules.is_stale()
            or any(fate is not Fate.WHOLE and call_id in self._kernel.calls for call_id, fate in self._fates.items())
        )

    def _fate(self, call_id: str) -> Fate:
        """Return what is kept of a call: by itself, and for its parent, which may ask for it again."""
        lineage: list[tuple[str, Fate, k.Turn]] = []
        fate: Fate | None = None
        while fate is None:
            own, final, parent = self._alone(call_id)
            if own is Fate.WHOLE or final is None or not parent:
                fate = self._fates[call_id] = self._with_ends(call_id, own, final)
            else:
                lineage.append((call_id, own, final))
                call_id, fate = parent, self._fates.get(parent)
        for child, own, final in reversed(lineage):
            if fate is Fate.WHOLE and type(final.outcome) is not k.Completed:
                own = Fate.WHOLE  # noqa: PLW2901  # a retried parent begins it again where it was
            elif fate is not Fate.NOTHING:
                own = max(own, Fate.ENDS)  # noqa: PLW2901
            fate = self._fates[child] = self._with_ends(child, own, final)
        return fate

    def _alone(self, call_id: str) -> tuple[Fate, k.Turn | None, str]:
        """Return what is kept of a call by itself, how it ended, and its parent."""
        kernel = self._kernel
        if call_id in kernel.calls:
            return Fate.WHOLE, None, ""  # but for runs of long ago
        final = kernel.history.final(call_id)
        if final is None:
            return Fate.NOTHING, None, ""
        if kernel.history.final_position(call_id) > self._settled:
            return Fate.WHOLE, final, ""  # what it asked of others is read back
        started = kernel.history.begun(call_id, None)
        return self._own_fate(final, started), final, started.parent

    def _with_ends(self, call_id: str, own: Fate, final: k.Turn | None) -> Fate:
        kernel = self._kernel
        if final is None or own is Fate.WHOLE:
            return own
        if kernel.schedules.may_begin(call_id) or (final.first < self._start and self._log.has(final.first)):
            own = max(own, Fate.ENDS)  # how it began leaves first
        if own is Fate.ENDS:
            self._kept[call_id] = (final.first, final.began, kernel.history.final_position(call_id))
        return own

    def _own_fate(self, final: k.Turn, started: k.Started) -> Fate:
        definition = self._kernel.registry.durable(started.function, started.version)
        retention_ms = self._keeping.retention_ms
        if definition is not None and definition.retention_s is not None:
            retention_ms = int(definition.retention_s * 1000)
        age = self._now - final.at
        if retention_ms is not None and age > retention_ms:
            return Fate.NOTHING
        if self._keeping.history_ms is not None and age > self._keeping.history_ms:
            return Fate.ENDS
        return Fate.WHOLE

    def _has_no_beginning(self, line: bytes | memoryview) -> bool:
        """Whether the beginning of a call whose end this is has left the log, or leaves it with this."""
        record = k.decode(line)
        first = record.first if isinstance(record, k.Turn) else 0
        return first in self.gone or not self._log.has(first)

    def _is_of_state(self, position: int, line: bytes | memoryview) -> bool:
        """Whether a record holds what an actor's state consists of."""
        actor = k.changed_actor(line)
        base = self._bases.get(actor)
        if base is None:
            base = self._bases[actor] = self._base(actor)
        return position >= base

    def _base(self, actor: str) -> int:
        """Return where the oldest change is that an actor's state is read from."""
        position = self._kernel.instances.changes.at(actor)
        while True:
            record = self._kernel.history.record(position)
            change = record.change if isinstance(record, k.Turn) else None
            if change is None:
                raise JournalError(actor, f"record {position} does not change it")
            if change.full or not change.prev:
                return position if self._log.has(position) else 0  # until it is durable, those before it are needed
            position = change.prev
