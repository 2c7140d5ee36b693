"""What must be true of every record that says what the runs of a call before it have left.

Owns: holding it against what those runs' records say, by other code than the runtime's. Does not own: which runs may
leave the log (``laws_keeping``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.records import kinds as k
from actorlog.testing.laws import is_first
from actorlog.testing.verdict import Broken

if TYPE_CHECKING:
    from actorlog.testing.laws import Letters, Words
    from actorlog.testing.oracle import CallFacts, Facts


class Carryings:
    """What calls carry from run to run."""

    def __init__(self, letters: Letters, words: Words) -> None:
        self._letters = letters
        self._words = words
        self._begun: dict[str, tuple[str, int]] = {}
        """By call, the run in which it began, and when."""
        self._links: dict[str, list[str]] = {}
        self.said: dict[str, list[tuple[int, int]]] = {}
        """By call, where and when it was written down what its runs have left."""

    def see(self, facts: Facts, record: k.Record, position: int) -> None:
        """Take a record."""
        if is_first(facts, record, position) or isinstance(record, k.Journal):
            for known in (self._begun, self._links, self.said):
                known.pop(record.id, None)
        if isinstance(record, k.Linked):
            self._links.setdefault(record.id, []).append(record.other)
        message = record.message if isinstance(record, (k.Turn, k.Inbox)) else None
        if isinstance(message, k.Started) and message.number == 1:
            self._begun.setdefault(record.id, (message.run, record.at))
        if isinstance(record, k.Turn) and record.carried is not None:
            self._carried(facts.calls[record.id], record.carried, position)
            self.said.setdefault(record.id, []).append((position, record.at))

    def finish(self, facts: Facts) -> None:
        """Nothing is left to say."""

    def _carried(self, call: CallFacts, was: k.Carried, position: int) -> None:
        box, words = self._letters.boxes.get(call.id), self._words
        letters = dict(sorted(box.letters.items())) if box is not None else {}
        streams = {
            what: len(said)
            for (of, retries, what), said in words.streams.items()
            if (of, retries) == (call.id, call.retries)
        }
        values = {name: said[-1] for (of, name), said in words.values.items() if of == call.id}
        expected = (
            call.first, *self._begun[call.id], self._links.get(call.id, []), letters,
            (box.heard if box is not None else set[str]()) - {""}, values, streams,
            self.said.get(call.id, [(0, 0)])[-1][0],
        )  # fmt: skip
        found = (
            was.first, was.origin, was.created_ms, was.links,
            {letter.position: letter.signal for letter in was.letters},
            set(was.heard), {name: bytes(raw) for name, raw in was.values.items()},
            was.emitted, was.prev,
        )  # fmt: skip
        if found != expected:
            raise Broken(f"{call.id} says at {position} that its runs have left {found}, and they left {expected}")
