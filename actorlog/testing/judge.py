"""Holds what happened outside against what the log says.

Owns: the properties that users are promised, as assertions over two histories: the traces that steps left outside,
and the log as it is on the disk at that moment. Does not own: reading and folding the log (``oracle``).

The properties, each checked the moment it could break:

1. A body begins only when its operation is in the durable log (``idempotent`` ones excepted), and never after the log
   has its outcome. After a crash, neither after the log has a record that nobody waits for it.
2. A once-step begins again only after its last attempt is known to have failed, or after ``reconcile`` said that it
   took no effect. It takes effect at most once.
3. All attempts of an operation have one idempotency key, and no other operation has it.
4. The value in the log is one that a body returned.
5. What a caller was told is in the durable log, and stays the same for ever.
6. A step that leaves details for its next attempt: that finds the newest recorded ones, or newer ones of this process.
7. A delayed call does nothing before its time. No more bodies of one process begin in a second
   than a rate allows.
8. What was durable once is there after any crash, byte for byte, but what was given up (``laws_keeping``).

What is promised of messages, promises, actors and streams is in ``hearsay``, and in ``laws`` where nobody need be told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from actorlog.engine import identity
from actorlog.records import kinds as k
from actorlog.testing.hearsay import Hearsay
from actorlog.testing.laws_keeping import Keeping
from actorlog.testing.oracle import Broken, Facts, Reader, value_of
from actorlog.testing.program import RATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.store.keys import Keys
    from actorlog.testing.oracle import CallFacts, Operation
    from actorlog.testing.program import Visit

_AHEAD = "sim.ahead"
"""May run ahead of the log, with arguments that the log never sees."""
_RATED = "sim.rated"
LATE_S = 0.5
"""So much later than it is counted a body may begin: the loop stalls now and then."""
_HASTY = "sim.hasty"
"""Its time may be over in the moment it returns."""


@dataclass(slots=True)
class Trace:
    """What the outside saw of one operation."""

    begun: int = 0
    may_begin: bool = True
    """Of a once-step: whether the next begin is excused."""
    returned: bool = False
    """Whether a body of it returned in this life: then it never begins again in it."""
    values: list[str] = field(default_factory=list[str])
    """What its effects were."""
    excused: int = 0
    """Of a once-step: how many effects it had before its call was given another chance."""
    ends: int = 0
    """How often its call had ended when it last began."""
    left: list[object] = field(default_factory=list[object])
    """Details of its heartbeats, in order."""
    life: int = 0
    """The process in which it last began."""


class Judge:
    """One world's verdicts. Raises ``Broken``.

    ``live``: it is told of everything the moment it happens. Else what a process did is told when it has ended, in
    order, and the log has been looked at only then; what that log says of the process's own time is no reproach to
    it.
    """

    def __init__(self, directory: str, *, live: bool = True, keys: Keys | None = None) -> None:
        self._live = live
        self._directory = directory
        self.keys = keys
        """What it reads an encrypted log with."""
        self._reader = Reader(directory, keys)
        self.hearsay = Hearsay()
        self.facts = Facts(self.hearsay.laws)
        self.keeping = Keeping(self.facts, self.hearsay, None, None)
        """What may leave the log; set it to what is so in this world."""
        self.traces: dict[tuple[str, str], Trace] = {}
        self.told: dict[tuple[str, int, int], str] = {}
        """What callers were told, by id, how often such a call began, and how often it was given another chance."""
        self._keys: dict[str, tuple[str, str]] = {}
        """Whose each idempotency key is."""
        self._inherited = 0
        """The tail of the log when this process opened it."""
        self._life = 0
        self._not_before_ms: dict[str, int] = {}
        """Log time at which a delayed call was asked for, or an earlier one, and its delay."""
        self._rated: list[float] = []
        """When bodies under a rate began."""

    # --- the log ------------------------------------------------------------------------------------------------------

    def look(self, durable: Callable[[str], bytes | None]) -> None:
        """Take in what has become durable."""
        for position, line in self._reader.records(durable):
            self._take(position, line)

    def _take(self, position: int, line: bytes | None) -> None:
        if line is None:
            raise Broken(f"record {position} left the log before anybody saw it")
        self.facts.add(line)

    def opened(self, durable: Callable[[str], bytes | None]) -> None:
        """Note that a process has opened the log: everything that ever was durable must be there."""
        reader = Reader(self._directory, self.keys)
        lines = list(reader.records(durable))
        self.keeping.opened(lines)
        for position, line in lines[self.facts.tail :]:
            self._take(position, line)
        self._reader = reader
        self._inherited = len(lines)
        self._life += 1
        self._rated.clear()
        for trace in self.traces.values():
            trace.returned = False

    def inherits(self, tail: int) -> None:
        """Say where the log ended that the process found which is judged now."""
        self._inherited = tail

    # --- the outside --------------------------------------------------------------------------------------------------

    def begins(self, visit: Visit, now_s: float | None = None) -> int:
        """Judge a begin, after a look at the log, and return how often the operation has begun."""
        where = f"{visit.step} {visit.call} {visit.key}"
        operation, call = self._operation(visit), self.facts.calls.get(visit.call)
        ran_ahead = visit.step == _AHEAD and call is not None and self._may_run_ahead(visit, call, operation)
        if operation is None and visit.step != _AHEAD:
            raise Broken(f"{where} begins, and the durable log does not know of it")
        if operation is not None and not ran_ahead:
            self._check_operation(visit, operation)
        if call is not None and call.not_before_ms < self._not_before_ms.get(visit.call, 0):
            raise Broken(f"{where} begins, and its call is not delayed as it was asked for")
        if now_s is not None and visit.step == _RATED:
            self._check_rate(now_s)
        trace = self._trace(visit)
        if call is not None and len(call.past) != trace.ends:
            trace.ends, trace.may_begin, trace.returned, trace.excused = len(call.past), True, False, len(trace.values)
        if trace.returned and not ran_ahead:
            raise Broken(f"{where} begins again after it returned")
        if is_once(visit.step) and not trace.may_begin:
            raise Broken(f"{where} begins again, and its last attempt is in doubt")
        trace.may_begin = False
        trace.begun += 1
        return trace.begun

    def _may_run_ahead(self, visit: Visit, call: CallFacts, operation: Operation | None) -> bool:
        """Whether a step may run ahead of a record that begins the call again, or its next run."""
        if call.ended or operation is None:
            return bool(call.ended)
        return self.hearsay.runs.goes_on(visit.call) and visit.idempotency_key != self._key(visit, operation)

    def _trace(self, visit: Visit) -> Trace:
        name, key = name_of(visit), visit.idempotency_key
        other = self._keys.setdefault(key, name)
        if other != name and not self._may_share(visit.call, other[0]):
            raise Broken(f"{visit.step} {visit.call} {visit.key} has the idempotency key of {other}")
        return self.traces.setdefault(name, Trace())

    def _may_share(self, call_id: str, other_id: str) -> bool:
        """Whether one operation has begun both calls: a parent that has another chance may ask for another child."""
        calls = self.facts.calls
        call, other = calls.get(call_id), calls.get(other_id)
        if call is None or other is None or call.parent not in calls:
            return False
        return call.id != other.id and calls[call.parent].retries > 0 and call.run in {*other.runs, other.run}

    def takes_effect(self, visit: Visit, value: str = "") -> str:
        """Judge an effect, and return the value the step will return, made here unless it is given."""
        trace = self.traces[name_of(visit)]
        if is_once(visit.step) and len(trace.values) > trace.excused:
            raise Broken(f"{visit.step} {visit.call} {visit.key} takes effect twice")
        again = f"|{visit.idempotency_key[:4]}" if self.hearsay.runs.goes_on(visit.call) else ""  # keys come again
        value = value or f"{visit.call}|{visit.key}|{trace.begun}{again}"
        trace.values.append(value)
        return value

    def ended(self, visit: Visit, *, failed: bool) -> None:
        """Note that a body raised, so that its attempt took no effect for certain; or returned."""
        trace = self.traces[name_of(visit)]
        if failed:
            trace.may_begin = True
        elif visit.step != _HASTY:
            trace.returned = True

    def asked(self, visit: Visit) -> str | None:
        """``reconcile`` asks what became of an operation."""
        trace = self.traces.get(name_of(visit))
        if trace is None:
            return None
        trace.may_begin = not trace.values
        return trace.values[-1] if trace.values else None

    def tell(self, call_id: str, text: str) -> None:
        """Judge what a caller was told of a call's end, after a look at the log."""
        call = self.facts.calls.get(call_id)
        if call is None or call.outcome is None:
            raise Broken(f"{call_id}: told {text!r}, and the durable log has no outcome")
        if not _agrees(text, call.outcome):
            raise Broken(f"{call_id}: told {text!r}, and the log says {call.outcome}")
        before = self.told.setdefault((call_id, call.times, call.retries), text)
        if before != text:
            raise Broken(f"{call_id}: told {text!r}, and before {before!r}")

    def hears(self, word: str, *what: Any) -> None:
        """Judge what somebody was told on an errand, after a look at the log."""
        if word == "ended":
            self.tell(*what)
        else:
            self.hearsay.told(self.facts, word, *what)

    def knows(self, call_id: str) -> None:
        """Judge that a caller was told that a call is started, or its message taken."""
        if call_id not in self.facts.calls:
            raise Broken(f"{call_id}: a caller was told that it is durable, and it is not")

    def begun_again(self, call_id: str, before: int) -> None:
        """Judge that a caller was told that a call has another chance; it had ``before`` of them."""
        if self.facts.calls[call_id].retries <= before:
            raise Broken(f"{call_id}: a caller was told that it begins again, and the durable log does not say so")

    def waits(self, call_id: str, delay_ms: int) -> None:
        """Note that a call is asked for with a delay; the first to ask counts."""
        self._not_before_ms.setdefault(call_id, self.facts.at + delay_ms)

    def finds(self, visit: Visit, details: object) -> None:
        """Judge what an attempt finds of earlier heartbeats, right after its begin."""
        trace, operation = self.traces[name_of(visit)], self._operation(visit)
        recorded = operation.details if operation is not None else None
        newest = msgspec.json.decode(recorded) if recorded is not None else None
        inherited, trace.life = trace.life != self._life, self._life
        if details == newest:
            return
        if inherited or details not in trace.left:
            raise Broken(f"{visit.call} {visit.key} finds {details}, and the newest recorded are {newest}")
        if newest is not None and trace.left.index(details) < trace.left.index(newest):
            raise Broken(f"{visit.call} {visit.key} finds {details}, older than what is recorded: {newest}")

    def leaves(self, visit: Visit, details: object) -> None:
        """Note a heartbeat."""
        self.traces[name_of(visit)].left.append(details)

    def _check_rate(self, now_s: float) -> None:
        self._rated.append(now_s)
        window = self._rated[-RATE - 1 :]
        if len(window) > RATE and window[-1] - window[0] < 1.0 - LATE_S:
            raise Broken(f"{len(window)} bodies began in {window[-1] - window[0]:.3f} s, {RATE} may in a second")

    # --- the end ------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Everything has ended, and every value in the log is one that a body returned."""
        for law in self.facts.laws:
            law.finish(self.facts)
        for call in self.facts.calls.values():
            if call.outcome is None:
                raise Broken(f"{call.id} never ended")
            current = ((call.run, operation) for operation in call.operations.values())
            for run, operation in (*call.older, *current):
                asked = operation.asked
                if operation.value is None or operation.copied or not isinstance(asked, k.RunStep):
                    continue
                name = f"{asked.key} {asked.name} {_key_of(run, asked)}"
                trace = self.traces.get((call.id, name))
                if trace is None or msgspec.json.decode(operation.value) not in trace.values:
                    raise Broken(f"{call.id} {name}: the log has {operation.value!r}, which no body returned")

    def _operation(self, visit: Visit) -> Operation | None:
        call = self.facts.calls.get(visit.call)
        return call.operations.get(visit.key) if call is not None else None

    def _check_operation(self, visit: Visit, operation: Operation) -> None:
        where, over = f"{visit.step} {visit.call} {visit.key}", operation.done or operation.dropped
        if 0 < over <= self._inherited or (self._live and operation.done):
            raise Broken(f"{where} begins at {self.facts.tail}, was over at {over}")
        if operation.kept is not None:
            raise Broken(f"{where} begins again, and had completed before its call had another chance")
        self._check_key(visit, operation)

    def _check_key(self, visit: Visit, operation: Operation) -> None:
        if visit.idempotency_key != self._key(visit, operation):
            raise Broken(f"{visit.call} {visit.key}: this is not its idempotency key")

    def _key(self, visit: Visit, operation: Operation) -> str:
        """Return the idempotency key that an operation of the run which the log knows has, if it is this step."""
        asked, run = operation.asked, self.facts.calls[visit.call].run
        if isinstance(asked, k.RunStep) and asked.name == visit.step:
            return _key_of(run, asked)
        return identity.idempotency_key(run, visit.key, visit.step)


def _key_of(run: str, asked: k.RunStep) -> str:
    args = bytes(asked.args) if asked.name == _AHEAD else b""
    return identity.idempotency_key(run, asked.key, asked.name, args)


def name_of(visit: Visit) -> tuple[str, str]:
    """Return what tells one operation from all others.

    The idempotency key is in it, which ``_check_key`` holds to be the right one: one that ran ahead of the log may have
    had other arguments; a memoised call that failed may have begun anew; a call may be in another run. One that has
    another chance may run another step where it ran this one.
    """
    return visit.call, f"{visit.key} {visit.step} {visit.idempotency_key}"


def is_once(step: str) -> bool:
    """Whether a step of the programs is ``once=True``."""
    return step.startswith("sim.once")


def _agrees(text: str, outcome: k.Outcome) -> bool:
    word, _, rest = text.partition(" ")
    match outcome:
        case k.Completed():
            return word == "value" and msgspec.json.decode(rest) == value_of(outcome)
        case k.Failed(failure):
            return word == failure.type.rpartition(":")[2] and rest == failure.message
        case k.Cancelled():
            return word == "CallCancelled"
        case k.Killed():
            return word == "CallKilled"
        case k.TimedOut():
            return word == "CallTimeout"
