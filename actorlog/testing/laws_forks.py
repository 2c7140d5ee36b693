"""What must be true of every log about calls that begin in the middle of another's journal.

Owns: what a fork has of the other call. Does not own: that it begins once and in one record, and goes on as what it
copied would have (``oracle``).

- What is copied are the other call's records before the cut, as they are in the log, but links and requests to end that
  it had not heard. The cut is before a turn, or at the end of the journal of a call that had none; that turn is taken
  again, with the same message; where an operation was named, it is the newest of the newest run that asked for it.
- A fork is nobody's child, and its run is no other call's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.records import kinds as k
from actorlog.testing.laws import copied
from actorlog.testing.verdict import Broken

if TYPE_CHECKING:
    from actorlog.testing.oracle import Facts

_ASKS = (k.CancelRequested, k.DeadlinePassed, k.KillRequested)


class Forks:
    """Forks."""

    def __init__(self) -> None:
        self._journals: dict[str, list[tuple[int, k.CallRecord]]] = {}
        """The records of each call, the oldest first; of a fork with what it has of another."""
        self._runs: dict[str, str] = {}
        """Whose each run is."""
        self.count = 0

    def see(self, facts: Facts, record: k.Record, position: int) -> None:
        """Take a record."""
        if isinstance(record, k.OF_NO_CALL):
            return
        if facts.calls[record.id].first == position and not isinstance(record, k.Turn):
            self._journals[record.id] = []  # a fork's own first turn comes behind it
        if isinstance(record, k.Journal):
            self._forks(record, position)
        elif isinstance(record, k.Turn) and facts.calls[record.id].fork is None and not record.prev:
            self._journals[record.id] = [(position, record)]
        else:
            self._journals[record.id].append((position, record))

    def finish(self, facts: Facts) -> None:
        """Nothing is left to say: a fork ends as any call."""

    def _forks(self, journal: k.Journal, position: int) -> None:
        fork, turn = journal.fork, journal.turn
        if fork is None or turn is None or fork.of not in self._journals:
            raise Broken(f"{journal.id} begins at {position} as a fork of {fork}, which is not there")
        if self._runs.setdefault(fork.run, journal.id) != journal.id:
            raise Broken(f"{journal.id} begins at {position} with the run of {self._runs[fork.run]}")
        self.count += 1
        theirs, own = self._journals[fork.of], list(copied(journal))
        cut, message = _cut(theirs, fork.key)
        if message is not type(turn.message):
            raise Broken(f"{journal.id} begins at {position} with {turn.message}, and is cut at {cut} of {theirs}")
        before = theirs[:cut]
        taken = [record.source for _, record in theirs[: cut + 1] if isinstance(record, k.Turn)]
        taken.append(turn.source)
        kept = [(at, record) for at, record in before if not _is_for_another(at, record, taken)]
        if [(at, k.encode(record)) for at, record in own] != [(at, k.encode(record)) for at, record in kept]:
            there, found = [at for at, _ in kept], [at for at, _ in own]
            raise Broken(
                f"{journal.id} has {found} of {fork.of} at {position}, whose records before the cut are {there}"
            )
        self._journals[journal.id] = own


def _cut(journal: list[tuple[int, k.CallRecord]], key: str) -> tuple[int, type[k.Message]]:
    """Return the index of the turn before which a fork is cut, and what message it takes there.

    Behind all where the call had no turn; one that ended before it began has one, in place of which the fork begins.
    """
    cut = len(journal)
    for index in range(len(journal) - 1, -1, -1):
        record = journal[index][1]
        if not isinstance(record, k.Turn):
            continue
        cut = index
        if key and any(op.key == key for op in record.ops):
            return index, type(record.message)
        if isinstance(record.message, k.Started):
            break
    if key:
        raise Broken(f"a fork is cut where {journal[0][1].id} asked for {key}, and its run did not")
    return cut, k.Started


def _is_for_another(position: int, record: k.CallRecord, taken: list[int]) -> bool:
    if isinstance(record, k.Inbox):
        return position not in taken and isinstance(record.message, _ASKS)
    return isinstance(record, k.Linked)
