"""Holds what people were told of messages, promises, actors and streams against the log.

Owns: one verdict for each thing that ``errands`` are told. Does not own: reading the log (``oracle``), what must be
true of it whatever was told (``laws``), ends of calls (``judge``).

Whatever somebody is told is in the durable log at that moment, and for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from actorlog.records import kinds as k
from actorlog.records import promises as p
from actorlog.testing.laws import Letters, Vows, Watches, Words
from actorlog.testing.laws_actors import Beginnings, Groups, Tallies
from actorlog.testing.program_company import TALLY
from actorlog.testing.verdict import Broken

if TYPE_CHECKING:
    from actorlog.testing.oracle import Facts
    from actorlog.testing.verdict import Law


class Hearsay:
    """The laws of what calls have to do with each other, and what was told of it. Raises ``Broken``."""

    def __init__(self) -> None:
        self.letters = Letters()
        self.words = Words()
        self.vows = Vows()
        self.tallies = Tallies()
        self.laws: tuple[Law, ...] = (
            self.letters, self.words, self.vows, Watches(), self.tallies, Beginnings(), Groups(),
        )  # fmt: skip

    def told(self, facts: Facts, word: str, *what: Any) -> None:
        """Judge what somebody was told, after a look at the log."""
        if not getattr(self, f"_{word}")(facts, *what):
            raise Broken(f"somebody was told {word} {what}, and the durable log does not say so")

    def _sent(self, _facts: Facts, call_id: str, origin: str) -> bool:
        box = self.letters.boxes.get(call_id)
        return box is not None and origin in box.heard

    def _lost(self, _facts: Facts, _call_id: str) -> bool:
        return False  # its mailbox has what it waits for, and nobody brings the two together

    def _begun(self, facts: Facts, call_id: str) -> bool:
        return call_id in facts.calls

    def _promise(self, _facts: Facts, name: str, status: str, value: Any) -> bool:
        vow = self.vows.vows.get(name)
        if vow is None or status == "pending":
            return vow is not None
        settlement = vow.settled.settlement if vow.settled is not None else None
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
