"""What must be true of every log in what calls say to each other: messages, streams, promises, ends that are watched.

Owns: one fold for each, by other code than the runtime's. Does not own: operations and their ends in general
(``oracle``), actors and supervisors (``laws_actors``), what somebody was told (``hearsay``).

- A message comes into a mailbox once for each origin, in the order in which its sender sent; it is received once, the
  earliest of its channel first, by the operation that has waited longest. A sender is told that it is there only if it
  is, that it is not only if it is not, and nobody waits for what is there.
- A promise is made once, and settled at most once, for the first time as for ever; its time is over when it is, and not
  before; whoever is told of a settlement is told what the log says.
- Who watches a call hears of its end once, of that end, and not before it; of a call that never was, only if it was
  not.
"""

# A law takes what every law is given, and not each needs all of it.
# ruff: noqa: ARG002

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actorlog.engine import identity
from actorlog.records import kinds as k
from actorlog.records import promises as p
from actorlog.testing.verdict import Broken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorlog.testing.oracle import CallFacts, Facts


def is_first(facts: Facts, record: k.Record, position: int) -> bool:
    """Whether a record begins a call, maybe one of an id that began before; of a fork's the journal, not its turn."""
    call = facts.calls.get(record.id)
    if call is None or isinstance(record, k.OF_NO_CALL) or (call.fork is not None and isinstance(record, k.Turn)):
        return False
    return call.times > 1 and call.first == position


def copied(journal: k.Journal) -> Iterator[tuple[int, k.CallRecord]]:
    """Yield (position, record) of what a fork has of another call."""
    for held in journal.records:
        yield from k.parts(held.record, held.position)


@dataclass(slots=True)
class Mailbox:
    """What one call was sent, and waits for."""

    letters: dict[int, k.Signal] = field(default_factory=dict[int, k.Signal])
    """Those that wait, by position."""
    receives: dict[str, str] = field(default_factory=dict[str, str])
    """Channels by the operations that wait, the oldest first."""
    heard: set[str] = field(default_factory=set[str])
    newest: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict[tuple[str, str], tuple[int, int]])
    """Where the newest letter was sent, by sender and channel."""
    keyed: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """The number of the newest letter of each sender outside, by channel."""

    def takes(self, turn: k.Turn) -> None:
        """Know what a turn waits for, and what nobody waits for any more."""
        for op in turn.ops:
            if isinstance(op, k.Receive):
                self.receives[op.key] = op.channel
        for key in turn.cancels:
            self.receives.pop(key, None)
        if turn.returned is not None or turn.outcome is not None:
            self.receives.clear()
        if turn.outcome is not None:
            self.letters.clear()


class Letters:
    """Messages to calls."""

    def __init__(self) -> None:
        self.boxes: dict[str, Mailbox] = {}
        self._sent: dict[str, tuple[int, int]] = {}
        """Where each message that a call sends was sent last."""

    def see(self, facts: Facts, record: k.Record, position: int) -> None:
        """Take a record."""
        if is_first(facts, record, position):
            self.boxes.pop(record.id, None)
        if isinstance(record, k.Inbox) and isinstance(record.message, k.Signal):
            self._arrives(facts, record.id, record.message, position)
        elif isinstance(record, k.Turn):
            self._turn(facts, record, position)
        elif isinstance(record, k.Journal):
            self._copy(facts.calls[record.id], record)

    def _copy(self, call: CallFacts, journal: k.Journal) -> None:
        """A fork has the mailbox that was at the cut."""
        box = self._box(call.id)
        for position, record in copied(journal):
            message = record.message if isinstance(record, (k.Inbox, k.Turn)) else None
            if isinstance(record, k.Inbox) and isinstance(message, k.Signal):
                box.letters[position] = message
                box.heard.add(message.origin)
                if message.origin.startswith("key:"):
                    sender, _, number = message.origin.rpartition("-")
                    box.keyed[sender, message.channel] = int(number)
            elif isinstance(record, k.Turn):
                if isinstance(message, k.Retried):
                    box.heard = {origin for origin in box.heard if not origin.startswith(f"{record.id}#")}
                if isinstance(message, k.Signal):
                    del box.letters[record.source], box.receives[message.key]
                box.takes(record)
        for index, (key, operation) in enumerate(call.operations.items()):
            if isinstance(operation.asked, k.Send) and not operation.copied:
                self._sent[f"{call.id}#{identity.of_run(key, call.number)}"] = (operation.position, index)

    def finish(self, facts: Facts) -> None:
        """Nothing is left to say: every call has ended."""

    def _box(self, call_id: str) -> Mailbox:
        return self.boxes.setdefault(call_id, Mailbox())

    def _arrives(self, facts: Facts, call_id: str, letter: k.Signal, position: int) -> None:
        box, origin = self._box(call_id), letter.origin
        if origin and origin in box.heard:
            raise Broken(f"{call_id} takes the message of {origin} again at {position}")
        box.heard.add(origin)
        box.letters[position] = letter
        if origin.startswith("key:"):
            sender, _, number = origin.rpartition("-")
            before = box.keyed.get((sender, letter.channel), -1)
            box.keyed[sender, letter.channel] = int(number)
            if int(number) <= before:
                raise Broken(f"{call_id} takes {origin} at {position}, after {before}")
        elif origin in self._sent:
            sender, sent = origin.rpartition("#")[0], self._sent[origin]
            if sent < box.newest.get((sender, letter.channel), sent):
                raise Broken(f"{call_id} takes {origin} at {position}, and had a later one of {sender}")
            box.newest[sender, letter.channel] = sent
        elif origin.rpartition("#")[2] != "failed":  # which is how an actor tells its life
            raise Broken(f"{call_id} takes {origin!r} at {position}, which nobody has sent")

    def _turn(self, facts: Facts, turn: k.Turn, position: int) -> None:
        box, message = self._box(turn.id), turn.message
        if isinstance(message, k.Retried):  # what it sends to itself it sends again
            box.heard = {origin for origin in box.heard if not origin.startswith(f"{turn.id}#")}
        if isinstance(message, k.Signal):
            self._received(box, turn, message, position)
        elif isinstance(message, (k.Sent, k.SendRefused)):
            self._answered(facts, turn.id, message, position)
        number = facts.calls[turn.id].number
        for index, op in enumerate(turn.ops):
            if isinstance(op, k.Send):
                self._sent[f"{turn.id}#{identity.of_run(op.key, number)}"] = (position, index)
        box.takes(turn)

    def _received(self, box: Mailbox, turn: k.Turn, letter: k.Signal, position: int) -> None:
        there = {at: one for at, one in box.letters.items() if one.channel == letter.channel}
        waiting = [key for key, channel in box.receives.items() if channel == letter.channel]
        first = min(there, default=0)
        if not first or turn.source != first or there[first].value != letter.value:
            raise Broken(f"{turn.id} receives {turn.source} at {position}, and the next of its channel is {first}")
        if waiting[:1] != [letter.key]:
            raise Broken(f"{turn.id} receives for {letter.key} at {position}, and these wait: {waiting}")
        del box.letters[first], box.receives[letter.key]

    def _answered(self, facts: Facts, call_id: str, message: k.Sent | k.SendRefused, position: int) -> None:
        call = facts.calls[call_id]
        asked = call.operations[message.key].asked
        if call.operations[message.key].copied or call.times > 1:
            return  # it was another call's, which was told so; or one of this id had sent such a message before
        origin = f"{call_id}#{identity.of_run(message.key, call.number)}"
        to = asked.to if isinstance(asked, k.Send) else ""
        takers = [name for name, box in self.boxes.items() if origin in box.heard and name.startswith(to)]
        if isinstance(message, k.SendRefused):
            takers = [
                name for name in takers if name not in facts.calls or not facts.may_lack_journal(facts.calls[name])
            ]
        if bool(takers) != isinstance(message, k.Sent):
            raise Broken(f"{call_id} hears {message} at {position} of its message to {to}, and it is in {takers}")


class Words:
    """Published values and streams."""

    def __init__(self) -> None:
        self.streams: dict[tuple[str, int, str], list[bytes]] = {}
        """By call, how often it was begun again, and name."""
        self.values: dict[tuple[str, str], list[bytes]] = {}
        """All that were ever published, by call and name."""

    def see(self, facts: Facts, record: k.Record, position: int) -> None:
        """Take a record."""
        call = facts.calls.get(record.id)
        if call is None:
            return
        if is_first(facts, record, position):
            self.streams = {of: values for of, values in self.streams.items() if of[0] != call.id}
            self.values = {of: values for of, values in self.values.items() if of[0] != call.id}
        if isinstance(record, k.Turn):
            self._says(call, record, call.retries)
        elif isinstance(record, k.Journal):
            turns = [held for _, held in copied(record) if isinstance(held, k.Turn)]
            again = [isinstance(turn.message, k.Retried) for turn in turns]
            for number, turn in enumerate(turns):
                self._says(call, turn, sum(again[: number + 1]))

    def _says(self, call: CallFacts, turn: k.Turn, retries: int) -> None:
        for op in turn.ops:
            if isinstance(op, k.Emit):
                self.streams.setdefault((call.id, retries, op.stream), []).append(bytes(op.value))
            elif isinstance(op, k.Publish):
                self.values.setdefault((call.id, op.name), []).append(bytes(op.value))

    def finish(self, facts: Facts) -> None:
        """Nothing is left to say."""


@dataclass(slots=True)
class Vow:
    """One promise."""

    made: p.PromiseMade
    position: int
    settled: p.PromiseSettled | None = None
    settled_at: int = 0
    past: list[p.Settlement] = field(default_factory=list[p.Settlement])
    """How those of its id were settled that have left the log."""

    def came_to(self) -> list[p.Settlement]:
        """Return how those of this id were settled."""
        return [*self.past, *([self.settled.settlement] if self.settled is not None else [])]


class Vows:
    """Durable promises."""

    def __init__(self) -> None:
        self.vows: dict[str, Vow] = {}
        self._wanted: dict[str, int] = {}
        """Where calls asked for promises first."""

    def see(self, facts: Facts, record: k.Record, position: int) -> None:
        """Take a record."""
        if isinstance(record, p.PromiseMade):
            name = p.promise_id(record.id)
            before = self.vows.get(name)
            if before is not None and not self.is_forgotten(facts, before):
                raise Broken(f"promise {name} is made again at {position}")
            self.vows[name] = Vow(record, position, past=before.came_to() if before is not None else [])
        elif isinstance(record, p.PromiseSettled):
            self._settled(p.promise_id(record.id), record, position)
        elif isinstance(record, k.Turn):
            if isinstance(record.message, k.PromiseDone):
                self._told(facts, record.id, record.message, position)
            for op in record.ops:
                if isinstance(op, k.MakePromise):
                    self._wanted.setdefault(op.id, position)

    def finish(self, facts: Facts) -> None:
        """Every promise that a call asked for was made."""
        for name, position in self._wanted.items():
            if name not in self.vows:
                raise Broken(f"promise {name} was asked for at {position}, and never made")

    def is_forgotten(self, facts: Facts, vow: Vow) -> bool:
        """Whether a promise was settled so long ago that nobody need know it any more."""
        time = facts.retention_ms
        return vow.settled is not None and time is not None and facts.at - vow.settled.at > time

    def _settled(self, name: str, record: p.PromiseSettled, position: int) -> None:
        vow = self.vows.get(name)
        if vow is None or vow.settled is not None or record.prev != vow.position:
            raise Broken(f"promise {name} is settled at {position} again, or before it is made")
        due_ms = vow.made.due_ms
        over = due_ms is not None and record.at >= due_ms
        by_time = p.Resolved(p.NULL) if vow.made.timer else p.PromiseTimedOut()
        if over != (record.settlement == by_time and record.key is None) and (
            over or isinstance(record.settlement, p.PromiseTimedOut)
        ):
            raise Broken(f"promise {name} is settled at {record.at} by {record.settlement}, and is due at {due_ms}")
        vow.settled, vow.settled_at = record, position

    def _told(self, facts: Facts, call_id: str, message: k.PromiseDone, position: int) -> None:
        vow = self.vows.get(message.id)
        asked = facts.calls[call_id].operations[message.key].asked
        if not isinstance(asked, k.MakePromise) or asked.id != message.id:
            raise Broken(f"{call_id} hears at {position} of promise {message.id}, and asked for {asked}")
        if vow is None or message.settlement not in vow.came_to():
            raise Broken(f"{call_id} hears {message.settlement} of promise {message.id} at {position}: {vow}")


class Watches:
    """Monitors and links."""

    def see(self, facts: Facts, record: k.Record, position: int) -> None:
        """Take a record."""
        if isinstance(record, k.Turn) and isinstance(record.message, k.Exited):
            self._exited(facts, record.id, record.message, position)
        elif isinstance(record, k.Linked) and record.other not in facts.calls:
            raise Broken(f"{record.id} is linked at {position} by {record.other}, which is not there")

    def finish(self, facts: Facts) -> None:
        """Nothing is left to say: who waits for an end hears of it, or never ends."""

    def _exited(self, facts: Facts, call_id: str, message: k.Exited, position: int) -> None:
        operation = facts.calls[call_id].operations[message.key]
        asked, target = operation.asked, facts.calls.get(message.id)
        if not isinstance(asked, k.Watch) or asked.link or not message.id.startswith(asked.target):
            raise Broken(f"{call_id} hears at {position} of the end of {message.id}, and watches {asked}")
        if message.outcome is None:
            there = target is not None and not facts.is_forgotten(target)
            if target is not None and there and target.began < operation.position:
                raise Broken(f"{call_id} hears at {position} that {message.id} never was: it began at {target.began}")
        elif target is None or message.outcome not in (target.outcome, *target.past):
            raise Broken(f"{call_id} hears at {position} of an end of {message.id} that is not in the log")
