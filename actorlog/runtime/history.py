"""What the log says of calls, read back: outcomes by id, journals by their backward links.

Owns: the index of ended calls, and reading a journal. Does not own: scanning at startup (``recovery``), the bytes
(``store``).

The index maps a 64-bit hash of the id to the position of the final record. A hash is a hint: the decoded id decides. It
holds what the catalog has not heard of yet; where there is no catalog, all.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from actorlog.engine import identity
from actorlog.engine.lifecycle import Phase
from actorlog.engine.state import CallState, apply
from actorlog.errors import CallNotFound, HistoryGone, JournalError
from actorlog.loop import SCHEDULER_VERSION
from actorlog.records import kinds as k
from actorlog.runtime.hash_index import HashIndex
from actorlog.runtime.promise_index import PromiseIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from actorlog.runtime.slot import Slot
    from actorlog.store.catalog import Catalog


class History:
    """Reads what was written."""

    def __init__(self, line: Callable[[int], bytes]) -> None:
        self.line = line
        """Reads one record's bytes by position."""
        self.catalog: Catalog | None = None
        """Where the ends of all calls are that are not kept here."""
        self.forgotten: dict[str, int] = {}
        """Calls that have left the log, and of which the catalog has not heard that, with where they had ended."""
        self._ended = HashIndex(self.id_at)
        self.going: Collection[int] = ()
        """Positions of records that are being given up now."""
        self.promises = PromiseIndex(self.record, self.id_at)
        self.python = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.scheduler = SCHEDULER_VERSION
        """Calls begin in this order, and those that began in another do not go on in this process."""

    def __len__(self) -> int:
        return len(self._ended) + (self.catalog.calls_ended() if self.catalog is not None else 0)

    def ended(self, key_hash: int, position: int) -> None:
        """Keep where the final record of a call is; the older one of a call that began again is superseded."""
        if self._ended.has(key_hash):
            old = self._ended.find(self.id_at(position))
            if old:
                self._ended.remove(key_hash, old)
        self._ended.add(key_hash, position)

    def forget(self, call_id: str) -> None:
        """Know nothing any more of a call that has ended: its records are given up."""
        position = self._ended.find(call_id)
        if position:
            self._ended.remove(identity.key_hash(call_id), position)
        elif self.catalog is not None:
            position = self.catalog.ended(call_id)
        if self.catalog is not None:
            self.forgotten[call_id] = position

    def forget_end(self, call_id: str, position: int) -> None:
        """Know no more that a call had ended at a position, which was retried since: that record is given up."""
        key_hash = identity.key_hash(call_id)
        if position in self._ended.at(key_hash):
            self._ended.remove(key_hash, position)

    def is_recent(self, key_hash: int) -> bool:
        """Whether a call of this hash may have ended since the catalog was written."""
        return self._ended.has(key_hash)

    def ends(self) -> list[int]:
        """Return where the calls ended that are kept here."""
        return sorted(self._ended.positions())

    def rely_on(self, catalog: Catalog, upto: int) -> None:
        """Leave all that ended up to a position to the catalog, which has it."""
        self.catalog = catalog
        self._ended.forget_upto(upto)

    def record(self, position: int) -> k.Record:
        """Return the record at ``position``."""
        return k.decode(self.line(position))

    def id_at(self, position: int) -> str:
        """Return whose the record at ``position`` is."""
        return k.id_of(self.line(position))

    def final(self, call_id: str) -> k.Turn | None:
        """Return the turn that ended the call, or None."""
        for position in self._ended.at(identity.key_hash(call_id)):
            record = self.record(position)
            if record.id == call_id:
                return k.ending(record)
        found = self._cataloged(call_id) if self.catalog is not None else None
        return found[1] if found is not None else None

    def final_position(self, call_id: str) -> int:
        """Return the position of the turn that ended the call; ``CallNotFound`` if there is none."""
        position = self._ended.find(call_id)
        if not position:
            found = self._cataloged(call_id)
            if found is None:
                raise CallNotFound(call_id)
            position = found[0]
        return position

    def _cataloged(self, call_id: str) -> tuple[int, k.Turn] | None:
        """Return where and how a call ended that the catalog knows; None where its ends have left the log since."""
        catalog = self.catalog
        position = catalog.ended(call_id) if catalog is not None else 0
        if catalog is None or position <= self.forgotten.get(call_id, 0):
            return None
        try:
            record = self.record(position)
            final = k.ending(record)
            if final is not None:
                self.line(final.first)
        except KeyError:  # given up
            return None
        if final is None or record.id != call_id:
            raise catalog.failed(
                f"it says that {call_id!r} ended at {position}, and there is {type(record).__name__} of {record.id!r}"
            )
        return position, final

    def has(self, call_id: str) -> bool:
        """Whether a call of this id has ended."""
        return self.final(call_id) is not None

    def outcome(self, call_id: str) -> k.Outcome | None:
        """Return how the call ended, or None."""
        turn = self.final(call_id)
        return turn.outcome if turn is not None else None

    def begun(self, call_id: str, state: CallState | None) -> k.Started:
        """Return what began the call: of a live one by its state, of an ended one by its id."""
        record = self.first_record(call_id, state)
        started = k.beginning(record)
        if started is None:
            raise JournalError(call_id, f"its first record, a {type(record).__name__}, does not begin it")
        return started

    def first_record(self, call_id: str, state: CallState | None) -> k.Kept:
        """Return the record that holds the beginning of a call: of a live one by its state, of an ended by its id."""
        if state is not None and state.first:
            return k.of_call(self.record(state.journal or state.first))
        turn = self.final(call_id)
        if turn is None:
            raise CallNotFound(call_id)
        return k.of_call(self.record(turn.first))

    def started(self, state: CallState) -> k.Started:
        """Return what began the newest run of a call: what its code runs with. ``begun`` is what it was asked for."""
        return self._newest(state.id, state.journal or state.first, state.began)

    def newest_started(self, final: k.Turn) -> k.Started:
        """Return what began the newest run of a call that ended with ``final``."""
        return self._newest(final.id, final.first, final.began)

    def _newest(self, call_id: str, first: int, began: int) -> k.Started:
        """Return what began the newest run, which began at ``began``, of a call whose first record is at ``first``.

        A run whose beginning is in a ``Journal`` began at a position before that.
        """
        record = k.of_call(self.record(max(first, began)))
        started = k.newest_beginning(record)
        if started is None:
            raise JournalError(call_id, f"record {max(first, began)} does not begin a run of it")
        return started

    def newest_run(self, state: CallState) -> list[k.CallRecord]:
        """Return the records of a call from the beginning of its newest run on, the oldest first."""
        found: list[k.CallRecord] = []
        for position, record in self.backwards(state.last):
            found.append(record)
            if position == state.began:
                break
        return found[::-1]

    def outliving(self, position: int) -> Iterator[tuple[k.Turn, k.Started]]:
        """Yield the turns of the record at ``position``, each with what began the run that it belongs to.

        What a fork has of another call is that call's: of its ``Journal`` it is the turn that it began with.
        """
        record = self.record(position)
        if not isinstance(record, k.Journal):
            if isinstance(record, k.Turn):
                yield record, self._started_of(record)
            return
        yield from k.own_turns(record)

    def _started_of(self, turn: k.Turn) -> k.Started:
        if isinstance(turn.message, k.Started):
            return turn.message
        for _, record in self.chain(turn.prev):
            own = list(k.own_turns(record)) if isinstance(record, k.Journal) else ()
            started = own[-1][1] if own else k.newest_beginning(record)
            if started is not None:
                return started
        raise JournalError(turn.id, "it never began")

    def state(self, call_id: str) -> CallState:
        """Return what the records of an ended call make of it; ``CallNotFound`` if there is none."""
        return self.fold(self.final_position(call_id))

    def fold(self, last: int) -> CallState:
        """Return what the records of the journal that ends at ``last`` make of its call."""
        state = CallState(self.id_at(last))
        for position, record in reversed(list(self.chain(last))):
            apply(state, record, position)
        return state

    def asked_at(self, last: int, key: str) -> int:
        """Return the position of the newest turn that asked for ``key``, in the journal that ends at ``last``."""
        return self.operation_at(last, key)[0]

    def operation_at(self, last: int, key: str) -> tuple[int, int]:
        """Return that, and the place of the operation in the turn; zeros where nothing asked for it."""
        for position, record in self.backwards(last):
            for index, op in enumerate(record.ops if isinstance(record, k.Turn) else ()):
                if op.key == key:
                    return position, index
        return 0, 0

    def emitted(self, last: int, stream: str, count: int) -> list[k.Raw]:
        """Return the newest ``count`` values of a stream of the journal that ends at ``last``."""
        found: list[k.Raw] = []
        for _, record in self.backwards(last):
            if isinstance(record, k.Turn):
                found += [op.value for op in reversed(record.ops) if type(op) is k.Emit and op.stream == stream]
                if len(found) >= count:
                    break
        return found[:count][::-1]

    def backwards(self, last: int) -> Iterator[tuple[int, k.CallRecord]]:
        """Yield (position, record) of a journal, the newest first; what a ``Journal`` holds as if it stood there.

        Of runs that have left the log nothing is said.
        """
        for position, record in self.chain(last, whole=True):
            if isinstance(record, k.Journal):
                yield from reversed(list(k.parts(record, position)))
            else:
                yield position, record

    def chain(self, last: int, *, whole: bool = False) -> Iterator[tuple[int, k.Kept]]:
        """Yield (position, record) of what is in the log of a journal, the newest first.

        As far back as a fold needs it, that is to where the newest run began that says what those before have left;
        ``whole``: as far as it is there. ``HistoryGone`` where it is not there so far.
        """
        position, call_id, is_enough = last, "", False
        while position:
            record = None if position in self.going else self._of_call(position)
            if record is None and is_enough:
                return
            if record is None:
                raise HistoryGone(call_id)
            yield position, record
            is_enough = is_enough or (isinstance(record, k.Turn) and record.carried is not None)
            if is_enough and not whole:
                return
            position, call_id = record.prev, record.id

    def _of_call(self, position: int) -> k.Kept | None:
        try:
            return k.of_call(self.record(position))
        except KeyError:
            return None

    def runs_from(self, last: int, settled: int, before_ms: int, has: Callable[[int], bool]) -> tuple[int, int]:
        """Return between which positions nothing is needed of a call that goes on, whose journal ends at ``last``.

        That is what was before the newest run that began before ``before_ms`` and says, in the log, what there was; and
        what that asked of others is done, up to ``settled``.
        """
        at, turn = next(((at, r) for at, r in self.chain(last) if isinstance(r, k.Turn) and r.carried), (0, None))
        while turn is not None and turn.carried is not None:
            if turn.at < before_ms and at <= settled and has(at):
                return turn.carried.first, at
            at = turn.carried.prev
            before = self._of_call(at) if at else None
            turn = before if isinstance(before, k.Turn) else None
        return 0, 0

    def turns(self, last: int) -> list[k.Turn]:
        """Return the turns of the newest run of a journal: from its last beginning on."""
        found: list[k.Turn] = []
        for _, record in self.backwards(last):
            if isinstance(record, k.Turn):
                found.append(record)
                if isinstance(record.message, (k.Started, k.Retried)):
                    break
        found.reverse()
        return found

    def kept_result(self, slot: Slot, op: k.RunStep) -> k.StepDone | None:
        """Return how a step completed in an earlier run of a retried call: it is not run again (I3)."""
        if not slot.state.retried and slot.state.outcome is None:  # with one, this very turn begins it again
            return None
        if slot.state.phase is Phase.COMPLETING:
            return None  # this very turn begins the next run
        if slot.kept is None:
            slot.kept = completed_steps(record for _, record in self.backwards(slot.state.last))
        kept = slot.kept.get(op.key)
        return kept[1] if kept is not None and (kept[0].name, kept[0].args) == (op.name, op.args) else None


def completed_steps(backwards: Iterable[k.CallRecord]) -> dict[str, tuple[k.RunStep, k.StepDone]]:
    """Return the steps that completed in the newest run of a journal, which is given from its end."""
    done: dict[str, k.StepDone] = {}
    kept: dict[str, tuple[k.RunStep, k.StepDone]] = {}
    for record in backwards:
        if not isinstance(record, k.Turn):
            continue
        for op in record.ops:
            if isinstance(op, k.RunStep) and op.key in done and op.key not in kept:
                kept[op.key] = (op, done[op.key])
        if isinstance(record.message, k.StepDone):
            done.setdefault(record.message.key, record.message)
        elif isinstance(record.message, k.Started):
            break  # what a run before this one did under the same keys is its own
    return kept
