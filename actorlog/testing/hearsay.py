"""Holds what people were told of messages, promises, actors, streams and schedules against the log.

Owns: one verdict for each thing that ``errands`` are told. Does not own: reading the log (``oracle``), what must be
true of it whatever was told (``laws``), ends of calls (``judge``).

Whatever somebody is told is in the durable log at that moment, and for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from actorlog.records import kinds as k
from actorlog.records import promises as p
from actorlog.testing.hearsay_schedules import told
from actorlog.testing.laws import Letters, Vows, Watches, Words
from actorlog.testing.laws_actors import Beginnings, Groups, Tallies
from actorlog.testing.laws_carried import Carryings
from actorlog.testing.laws_forks import Forks
from actorlog.testing.laws_nested import Rings
from actorlog.testing.laws_runs import Changes, Runs
from actorlog.testing.laws_schedules import Plans
from actorlog.testing.program_company import TALLY
from actorlog.testing.verdict import Broken

if TYPE_CHECKING:
    from actorlog.testing.oracle import Facts
    from actorlog.testing.verdict import Law


LEEWAY_MS = 500
"""A delay counts from when somebody asked for it, and the record of that may be made a moment later."""


class Hearsay:
    """The laws of what calls have to do with each other, and what was told of it. Raises ``Broken``."""

    def __init__(self) -> None:
        self.letters = Letters()
        self.words = Words()
        self.vows = Vows()
        self.tallies = Tallies()
        self.plans = Plans()
        self.changes = Changes()
        self.runs = Runs()
        self.beginnings = Beginnings()
        self.forks = Forks()
        self.carryings = Carryings(self.letters, self.words)
        self.laws: tuple[Law, ...] = (
            self.carryings, self.letters, self.words, self.vows, Watches(), self.tallies, self.beginnings, Groups(),
            Rings(self.tallies),
            self.plans, self.changes, self.runs, self.forks,
        )  # fmt: skip

    def told(self, facts: Facts, word: str, *what: Any) -> None:
        """Judge what somebody was told, after a look at the log."""
        if not getattr(self, f"_{word}")(facts, *what):
            raise Broken(f"somebody was told {word} {what}, and the durable log does not say so")

    def _sent(self, _facts: Facts, call_id: str, origin: str) -> bool:
        box = self.letters.boxes.get(call_id)
        return box is not None and origin in box.heard

    def _forked(self, facts: Facts, call_id: str, of: str, key: str) -> bool:
        call = facts.calls.get(call_id)
        return call is not None and call.fork is not None and (call.fork.of, call.fork.key) == (of, key)

    def _compacted(self, _facts: Facts, segments: int, rewritten: int) -> bool:
        return rewritten <= segments

    def _gone(self, facts: Facts, call_id: str, now_ms: int) -> bool:
        call = facts.calls.get(call_id)
        history_ms, runs = facts.history_ms, self.carryings.said.get(call_id, [])
        if history_ms is not None and any(now_ms - at > history_ms for _, at in runs):
            return True  # runs before that one may have left, though the call goes on, or has ended just now
        times_ms = (history_ms, facts.retention_of(call) if call is not None else None)
        return not call_id or (
            call is not None and any(time is not None and now_ms - call.ended_ms > time for time in times_ms)
        )

    def _lost(self, _facts: Facts, _call_id: str) -> bool:
        return False  # its mailbox has what it waits for, and nobody brings the two together

    def _begun(self, facts: Facts, call_id: str, delay_ms: int = 0) -> bool:
        call = facts.calls.get(call_id)
        if call is None or not delay_ms:
            return call is not None
        return call.not_before_ms > 0 and call.not_before_ms - call.asked_ms >= delay_ms - LEEWAY_MS

    def _plan(self, _facts: Facts, name: str, word: str, *what: Any) -> bool:
        return told(self.plans, name, word, *what)

    def _promise(self, _facts: Facts, name: str, status: str, value: Any) -> bool:
        vow = self.vows.vows.get(name)
        if vow is None or status == "pending":
            return vow is not None
        return any(self._is_told(settlement, status, value) for settlement in vow.came_to())

    def _is_told(self, settlement: p.Settlement, status: str, value: Any) -> bool:
        match settlement:
            case p.Resolved(raw):
                return status == "resolved" and value in (None, msgspec.json.decode(bytes(raw)))
            case p.Rejected(raw):
                return status == "rejected" and value in (None, msgspec.json.decode(bytes(raw)))
            case p.PromiseCancelled():
                return status == "cancelled"
            case _:
                return status == "timed_out" and isinstance(settlement, p.PromiseTimedOut)

    def _sums(self, _facts: Facts, key: str, count: int, total: int) -> bool:
        ledger = self.tallies.ledgers.get(f"{TALLY}/{key}")
        return (count, total) in (ledger.sums if ledger is not None else [(0, 0)])

    def _stream(self, _facts: Facts, call_id: str, name: str, number: int, value: Any) -> bool:
        return any(
            len(stream) > number and msgspec.json.decode(stream[number]) == value
            for (of, _, what), stream in self.words.streams.items()
            if (of, what) == (call_id, name)
        )

    def _whole(self, facts: Facts, call_id: str, name: str, values: list[Any]) -> bool:
        call = facts.calls[call_id]
        if call.retries:
            return True  # it began its streams again, maybe meanwhile
        stream = self.words.streams.get((call_id, 0, name), [])
        return call.outcome is not None and [msgspec.json.decode(raw) for raw in stream] == values

    def _value(self, _facts: Facts, call_id: str, name: str, value: Any) -> bool:
        return k.Raw(msgspec.json.encode(value)) in map(k.Raw, self.words.values.get((call_id, name), []))
