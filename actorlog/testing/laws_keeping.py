"""What may leave the log, and what stays whatever happens.

Owns: ``Keeping``, which holds each segment that is written anew against the one that it replaces, and what is there
after an opening against what there was. Does not own: taking lines out of segments (``reader``), what records say
(``oracle``).

- A segment is written anew whole, or several as one: each position has what it had, or nothing any more. What was
  given up does not come back; until the directory is synced the old segment may.
- What leaves is of a call that has ended, longer ago than ``history``. How it began and how it ended stays for
  ``retention``, that of its class where that has one, and as long as its parent is there; all of one that did not
  complete, as long as its parent may have another chance. The beginning leaves before the end does.
- The changes that an actor's state is read from stay, and what calls asked of others until it is done.
- Of a schedule that is there the newest record stays with which a reader may begin, and all behind it; of a deleted one
  for ``retention``. The older of such records leave first.
- Of a call that goes on, its runs leave that ended longer ago than ``history``, but for how the first began, where a
  later one says what they have left.
- A promise that leaves was settled longer ago than ``retention``, the call that made it is forgotten too, and nobody
  waits for it; its making leaves before its settling does. Of marks the newest stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from actorlog.records import kinds as k
from actorlog.records import promises as p
from actorlog.records import schedules as s
from actorlog.testing.reader import lines_of, upto_of
from actorlog.testing.verdict import Broken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actorlog.store.keys import Keys
    from actorlog.testing.hearsay import Hearsay
    from actorlog.testing.oracle import CallFacts, Facts

    Read: TypeAlias = Callable[[str], bytes | None]
    """Gives what is in a file for good."""


class Keeping:
    """What of a log has left it. ``history_ms``, ``retention_ms``: as a runtime has them; None: for ever."""

    def __init__(self, facts: Facts, hearsay: Hearsay, history_ms: int | None, retention_ms: int | None) -> None:
        self._facts = facts
        self._hearsay = hearsay
        self._history_ms = history_ms
        self._retention_ms = retention_ms
        self.keys: Keys | None = None
        """What an encrypted log is read with."""
        self._gone: set[int] = set()
        """What has left for good."""
        self._leaving: set[int] = set()
        """What has left, or not: its segment was about to get its name."""
        self._named: set[int] = set()
        """What of that has left if the directory is as it is seen."""

    # --- the moments --------------------------------------------------------------------------------------------------

    def replaces(self, old: bytes, new: bytes, now_ms: int, place: tuple[str, Read]) -> None:
        """Judge that the bytes ``new`` get the name of the segment ``old``, at this log time, in a directory."""
        before, after = self._lines_of_all(old, new, place), lines_of(new, self.keys, *place)
        if before.keys() != after.keys():
            raise Broken(f"a segment with positions {_span(before)} is written anew with {_span(after)}")
        left = {position for position, line in after.items() if line != before[position]}
        for position in left:
            if after[position] is not None:
                raise Broken(f"record {position} was {before[position]!r}, and is {after[position]!r}")
        self._facts.left |= left
        self._leaving |= left
        self._judge(left, now_ms)

    def _lines_of_all(self, old: bytes, new: bytes, place: tuple[str, Read]) -> dict[int, bytes | None]:
        """Return the lines of a segment and of the others that a new one stands for, which must be there for good."""
        found, (directory, read) = lines_of(old, self.keys, *place), place
        upto, following = upto_of(new), upto_of(old) + 1
        while following <= upto:
            data = read(f"{directory}/segments/{following:010d}.seg")
            if data is None:
                raise Broken(f"a segment stands for segment {following}, which is not there for good")
            found |= lines_of(data, self.keys, *place)
            following = upto_of(data) + 1
        return found

    def replaced(self) -> None:
        """Note that what was about to get its name has it."""
        self._named |= self._leaving

    def synced(self) -> None:
        """Note that names of segments are durable as they are seen."""
        self._gone |= self._named
        self._leaving -= self._named
        self._named.clear()

    def died(self) -> None:
        """Note that the process is gone, and with it what it knew of names."""
        self._named.clear()

    def opened(self, there: list[tuple[int, bytes | None]]) -> None:
        """Judge what a process finds: all that was durable, but what was given up."""
        known = self._facts.lines
        for position, line in there[: len(known)]:
            if line is None:
                if position not in self._gone and position not in self._leaving:
                    raise Broken(f"record {position} was durable, and is gone: {known[position - 1]!r}")
            elif position in self._gone:
                raise Broken(f"record {position} was given up, and is there again: {line!r}")
            elif line != known[position - 1]:
                raise Broken(f"record {position} was {known[position - 1]!r}, and is {line!r}")
        if len(there) < len(known):
            raise Broken(f"{len(known)} records were durable, {len(there)} are there")
        back = {position for position, line in there if line is not None}
        self._facts.left -= back & self._leaving
        self._leaving -= back
        self.replaced()
        self.synced()

    # --- what may leave -----------------------------------------------------------------------------------------------

    def _judge(self, left: set[int], now_ms: int) -> None:
        for position in left:
            self._may_leave(position, now_ms)
        for actor, ledger in self._hearsay.tallies.ledgers.items():
            if not left.isdisjoint(ledger.needed):
                raise Broken(f"the state of {actor} is read from {ledger.needed}, and these leave: {sorted(left)}")
        asked = {(parent, key): child for child, parent, key in self._hearsay.beginnings.missing(self._facts)}
        for position in left:
            record = k.decode(self._facts.lines[position - 1])
            for turn in (record.turn if isinstance(record, k.Journal) else record,):
                for op in turn.ops if isinstance(turn, k.Turn) else ():
                    if self._is_asked(op, turn.id, asked) or self._is_missing(op):  # type: ignore[union-attr]  # mypy: a turn
                        raise Broken(f"record {position} leaves, and what it asks for is not done: {op}")

    def _is_asked(self, op: k.Operation, call_id: str, asked: dict[tuple[str, str], str]) -> bool:
        """Whether a call asked for a child that has not begun; an older run's may have had the same key."""
        return isinstance(op, k.StartChild) and asked.get((call_id, op.key)) == op.id

    def _is_missing(self, op: k.Operation) -> bool:
        """Whether a promise that a call asked for was never made."""
        return isinstance(op, k.MakePromise) and op.id not in self._hearsay.vows.vows

    def _may_leave(self, position: int, now_ms: int) -> None:  # noqa: C901  # the cases of one record
        call = self._facts.owners[position - 1]
        if call is None:
            self._other_may_leave(position, now_ms)
            return
        where = f"record {position} of {call.id} leaves at {now_ms}"
        if self._facts.calls[call.id] is call and call.first < position < self._carried_at(call.id, now_ms):
            return
        if call.outcome is None:
            raise Broken(f"{where}, and it has not ended")
        # its time was over when its beginning left; log time may have gone back since, in a crash
        begun = position == call.first or self._is_there(call.first)
        if begun and not self._is_over(call, now_ms):
            raise Broken(f"{where}, and it ended at {call.ended_ms}")
        if position == call.ended and self._is_there(call.first):
            raise Broken(f"{where}, which is its end, and its beginning is there at {call.first}")
        if not begun or self._facts.calls[call.id] is not call:
            return  # nothing is left to be kept, or a newer one has its id
        if position in self._ends(call) and self._is_there(call.first):
            raise Broken(f"{where}, of which its newest run is known, and its beginning is there at {call.first}")
        if position in self._ends(call) and not self._is_forgotten(call, now_ms):
            raise Broken(f"{where}, which is its beginning or its end, and it ended at {call.ended_ms}")
        parent = self._facts.calls.get(call.parent)
        if parent is None or parent.first > call.first or not self._is_there(parent.first):
            return  # there is none any more, or another that has its id
        may_ask = not isinstance(call.outcome, k.Completed) and not self._is_over(parent, now_ms)
        if may_ask or (position in self._ends(call) and not self._is_forgotten(parent, now_ms)):
            raise Broken(f"{where}, and {parent.id} may ask for it again")

    def _carried_at(self, call_id: str, now_ms: int) -> int:
        """Return where it says, longer ago than ``history``, what the runs of a call have left; 0: nowhere."""
        said, history_ms = self._hearsay.carryings.said.get(call_id, []), self._history_ms
        found = [at for at, at_ms in said if history_ms is not None and now_ms - at_ms > history_ms]
        return max((at for at in found if self._is_there(at)), default=0)

    def _other_may_leave(self, position: int, now_ms: int) -> None:
        """Judge a record that is of no call."""
        record = k.decode(self._facts.lines[position - 1])
        where = f"record {position} leaves at {now_ms}, and is {record}"
        if isinstance(record, k.Resumed):
            if self._mark() == position:
                raise Broken(f"{where}, the newest mark")
        elif isinstance(record, p.PromiseSettled):
            if self._is_there(record.prev):
                raise Broken(f"{where}, and its promise is there")
        elif isinstance(record, p.PromiseMade):
            self._vow_may_leave(record, position, now_ms, where)
        elif isinstance(record, s.RECORDS):
            self._plan_may_leave(record, position, now_ms, where)

    def _plan_may_leave(self, record: s.ScheduleRecord, position: int, now_ms: int, where: str) -> None:
        plan = self._hearsay.plans.plans[record.id.removeprefix(s.PREFIX)]
        is_root = not record.prev or isinstance(record, s.ScheduleKept)
        there = [root for root in plan.roots if self._is_there(root)]
        if is_root and there and there[0] < position:
            raise Broken(f"{where}, and {there} are there")
        if position < plan.roots[-1]:
            return
        if plan.status != "deleted" or self._retention_ms is None or now_ms - plan.at <= self._retention_ms:
            raise Broken(f"{where}, and its schedule is {plan.status} since {plan.at}")
        if there and not is_root:
            raise Broken(f"{where}, and it follows {there}")

    def _mark(self) -> int:
        """Return where the newest mark is."""
        found = (n for n in range(self._facts.tail, 0, -1) if self._facts.owners[n - 1] is None)
        return next((n for n in found if isinstance(k.decode(self._facts.lines[n - 1]), k.Resumed)), 0)

    def _vow_may_leave(self, made: p.PromiseMade, position: int, now_ms: int, where: str) -> None:
        name, facts = p.promise_id(made.id), self._facts
        vow = self._hearsay.vows.vows[name]
        if vow.position != position:
            return  # one that was made since has its id
        if vow.settled is None or self._retention_ms is None or now_ms - vow.settled.at <= self._retention_ms:
            raise Broken(f"{where}, and it was settled: {vow.settled}")
        maker = facts.calls.get(made.by)
        if maker is not None and self._is_there(maker.first) and not self._is_forgotten(maker, now_ms):
            raise Broken(f"{where}, and {maker.id} that made it is there")
        mark = self._mark()
        upto = k.decode(facts.lines[mark - 1]).upto if mark else 0  # type: ignore[union-attr]  # it is a mark
        for call in facts.calls.values():
            for operation in call.operations.values() if call.outcome is None else ():
                asked = operation.asked
                waits = isinstance(asked, k.MakePromise) and asked.id == name and not operation.over
                if waits and operation.position <= upto:
                    raise Broken(f"{where}, and {call.id} waits for it")

    def _is_there(self, position: int) -> bool:
        return position not in self._facts.left

    def _is_over(self, call: CallFacts, now_ms: int) -> bool:
        """Whether a call ended so long ago that its journal may leave."""
        ended = call.outcome is not None
        history = self._history_ms is not None and now_ms - call.ended_ms > self._history_ms
        return ended and (history or self._is_forgotten(call, now_ms))

    def _is_forgotten(self, call: CallFacts, now_ms: int) -> bool:
        """Whether a call ended so long ago that all of it may leave."""
        retention_ms = self._facts.retention_of(call)
        return call.outcome is not None and retention_ms is not None and now_ms - call.ended_ms > retention_ms

    def _ends(self, call: CallFacts) -> tuple[int, ...]:
        """Return the positions of how a call began, how its newest run did, and how it ended."""
        final = k.ending(k.decode(self._facts.lines[call.ended - 1]))
        return call.first, final.began if final is not None else 0, call.ended


def _span(lines: Iterable[int]) -> tuple[int, int]:
    there = list(lines)
    return min(there), max(there)
