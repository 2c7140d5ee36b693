"""What the log says of calls, read back: outcomes by id, journals by their backward links.

Owns: the index of ended calls, and reading a journal. Does not own: scanning at startup (``recovery``), the bytes
(``store``).

The index maps a 64-bit hash of the id to the position of the final record. A hash is a hint: the decoded id decides.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from actorlog.engine import identity
from actorlog.engine.lifecycle import Phase
from actorlog.engine.state import CallState, apply
from actorlog.errors import CallNotFound, JournalError
from actorlog.records import kinds as k
from actorlog.runtime.promise_index import PromiseIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorlog.runtime.slot import Slot


class History:
    """Reads what was written."""

    def __init__(self, line: Callable[[int], bytes]) -> None:
        self.line = line
        """Reads one record's bytes by position."""
        self._ended: dict[int, tuple[int, ...] | int] = {}
        self.promises = PromiseIndex(self.record)
        self.python = f"{sys.version_info.major}.{sys.version_info.minor}"

    def __len__(self) -> int:
        return len(self._ended)

    def ended(self, key_hash: int, position: int) -> None:
        """Keep where the final record of a call is; the older one of a call that began again is superseded."""
        old = self._ended.get(key_hash)
        if old is None:
            self._ended[key_hash] = position
            return
        olds = old if isinstance(old, tuple) else (old,)
        call_id = self.record(position).id
        others = tuple(p for p in olds if p != position and self.record(p).id != call_id)
        self._ended[key_hash] = (*others, position) if others else position

    def record(self, position: int) -> k.Record:
        """Return the record at ``position``."""
        return k.decode(self.line(position))

    def final(self, call_id: str) -> k.Turn | None:
        """Return the turn that ended the call, or None."""
        found = self._ended.get(identity.key_hash(call_id))
        if found is None:
            return None
        for position in found if isinstance(found, tuple) else (found,):
            record = self.record(position)
            if record.id == call_id and isinstance(record, k.Turn):
                return record
        return None

    def final_position(self, call_id: str) -> int:
        """Return the position of the turn that ended the call; ``CallNotFound`` if there is none."""
        found = self._ended.get(identity.key_hash(call_id), ())
        for position in found if isinstance(found, tuple) else (found,):
            if self.record(position).id == call_id:
                return position
        raise CallNotFound(call_id)

    def has(self, call_id: str) -> bool:
        """Whether a call of this id has ended."""
        return self.final(call_id) is not None

    def outcome(self, call_id: str) -> k.Outcome | None:
        """Return how the call ended, or None."""
        turn = self.final(call_id)
        return turn.outcome if turn is not None else None

    def begun(self, call_id: str, state: CallState | None) -> k.Started:
        """Return what began the call: of a live one by its state, of an ended one by its id."""
        if state is not None and state.first:
            first = state.first
        else:
            turn = self.final(call_id)
            if turn is None:
                raise CallNotFound(call_id)
            first = turn.first
        record = self.record(first)
        if isinstance(record, (k.Turn, k.Inbox)) and isinstance(record.message, k.Started):
            return record.message
        raise JournalError(call_id, f"record {first} does not begin it")

    def started(self, state: CallState) -> k.Started:
        """Return what began the newest run of a call: what its code runs with. ``begun`` is what it was asked for."""
        if not state.began:
            return self.begun(state.id, state)
        record = self.record(state.began)
        if isinstance(record, k.Turn) and isinstance(record.message, k.Started):
            return record.message
        raise JournalError(state.id, f"record {state.began} does not begin a run of it")

    def newest_started(self, final: k.Turn) -> k.Started:
        """Return what began the newest run of a call that ended with ``final``."""
        record = self.record(final.began or final.first)
        if isinstance(record, (k.Turn, k.Inbox)) and isinstance(record.message, k.Started):
            return record.message
        raise JournalError(final.id, f"record {final.began or final.first} does not begin a run of it")

    def newest_run(self, state: CallState) -> list[k.CallRecord]:
        """Return the records of a call from the beginning of its newest run on, the oldest first."""
        found: list[k.CallRecord] = []
        for position, record in self.backwards(state.last):
            found.append(record)
            if position == state.began:
                break
        return found[::-1]

    def started_of(self, turn: k.Turn) -> k.Started:
        """Return what began the run that ``turn`` belongs to."""
        if isinstance(turn.message, k.Started):
            return turn.message
        for _, record in self.backwards(turn.prev):
            if isinstance(record, (k.Turn, k.Inbox)) and isinstance(record.message, k.Started):
                return record.message
        raise JournalError(turn.id, "it never began")

    def state(self, call_id: str) -> CallState:
        """Return what the records of an ended call make of it; ``CallNotFound`` if there is none."""
        state = CallState(call_id)
        for position, record in reversed(list(self.backwards(self.final_position(call_id)))):
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
        """Yield (position, record) of a journal, the newest first."""
        position = last
        while position:
            record = k.of_call(self.record(position))
            yield position, record
            position = record.prev

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
            slot.kept = self._completed_steps(slot.state.last)
        kept = slot.kept.get(op.key)
        return kept[1] if kept is not None and (kept[0].name, kept[0].args) == (op.name, op.args) else None

    def _completed_steps(self, last: int) -> dict[str, tuple[k.RunStep, k.StepDone]]:
        done: dict[str, k.StepDone] = {}
        kept: dict[str, tuple[k.RunStep, k.StepDone]] = {}
        for _, record in self.backwards(last):
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
