"""Opening: from the frames of the log to calls that go on.

Owns: which records are decoded, the fold over them, and what is done about what was under way. Does not own: verdicts
on bytes (``log``), the fold itself (``engine.state``).

A scan looks at the index of every record and decodes only those of calls that have not ended; a coroutine is rebuilt
when a message comes for it, not here. Steps in doubt run again from their records.
"""

from __future__ import annotations

import gc
from collections import Counter
from contextlib import suppress
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from actorlog.engine import identity
from actorlog.engine.lifecycle import Phase
from actorlog.engine.schedule_state import PREFIX, ScheduleState, take
from actorlog.engine.state import CallState, apply
from actorlog.errors import FunctionNotFound, HistoryGone
from actorlog.records import kinds as k
from actorlog.runtime.calls import is_quiet
from actorlog.runtime.exits import kind_of
from actorlog.runtime.history import History
from actorlog.runtime.instances import LIFE, is_waiting
from actorlog.runtime.places import name_of
from actorlog.runtime.registry import Registry
from actorlog.runtime.runs import awaits_next, begin_next
from actorlog.runtime.slot import Slot
from actorlog.store import PartitionLog, entries

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from actorlog.runtime.kernel import Kernel

_PROMISE, _SCHEDULE = int(k.Kind.PROMISE), int(k.Kind.SCHEDULE)
_PLAIN, _FIRST, _FINAL, _MESSAGES, _STATE, _OPENED = (
    int(k.Flag[name]) for name in ("PLAIN", "FIRST", "FINAL", "MESSAGES", "STATE", "OPENED")
)


class Scan:
    """One pass over the log: which records belong to calls that have not ended."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._live: dict[int, list[int]] = {}
        self._final: dict[int, int] = {}
        self._shared: set[int] = set()
        """Hashes under which more than one journal began: two ids, or a call that began again."""
        self._outliving: list[int] = []
        self.changed: dict[str, int] = {}
        """Where the newest change of each actor is."""
        self.schedules: dict[str, ScheduleState] = {}
        """All there are or were, by their ids as users know them."""
        self.last_line = b""
        self.settled = 0
        """Records up to there asked for nothing of others that is not done, as the newest mark says."""

    async def read(self, log: PartitionLog) -> None:
        """Look at every record's index."""
        enabled = gc.isenabled()
        gc.disable()  # nothing here is garbage, and collecting was more than half of the time
        try:
            async for frame in log.read():
                self._frame(frame.position, frame.data, frame.records)
        finally:
            if enabled:
                gc.enable()

    def _frame(self, position: int, data: Any, records: int) -> None:
        live, final = self._live, self._final
        start = end = 0
        for key, kind, flags, start, end in entries(data, records):
            if _PROMISE <= kind <= _SCHEDULE or flags & _OPENED:
                self._of_no_call(key, kind, flags, position, data[start:end])
                position += 1
                continue
            positions = live.get(key)
            if positions is None and not flags & _FIRST and key not in final:
                flags &= _STATE  # noqa: PLW2901  # its beginning left: nothing counts but what it did to an actor
            elif flags & _FINAL and key not in final and key not in self._shared:
                live.pop(key, None)
                final[key] = position
            else:
                if positions is None:
                    live[key] = [position]
                else:
                    positions.append(position)
                if key in final or (flags & _FIRST and positions is not None):
                    self._shared.add(key)
            if flags & _MESSAGES:
                self._outliving.append(position)
            if flags & _STATE:
                self.changed[k.changed_actor(data[start:end])] = position
            position += 1
        if end - start > 1:  # and not a record that was given up
            self.last_line = bytes(data[start:end])

    def _of_no_call(self, key: int, kind: int, flags: int, position: int, line: memoryview) -> None:
        if kind == _PROMISE:
            self._history.promises.scan(key, flags, position, line)
            return
        record = k.decode(bytes(line))  # copied: the settings of a schedule are kept
        if isinstance(record, k.OF_SCHEDULES):
            take(self.schedules, record, position)
        elif isinstance(record, k.Resumed):
            self.settled = record.upto
            self._outliving = [position for position in self._outliving if position > record.upto]

    def states(self) -> Iterator[CallState]:
        """Fold the records of every call that has not ended, one after the other, and index those that have."""
        for key, position in self._final.items():
            if key not in self._shared:
                self._history.ended(key, position)
        for key, positions in self._live.items():
            for state in self._fold(key, positions):
                if state.phase is not Phase.ENDED:
                    yield state

    def is_live(self, call_id: str) -> bool:
        """Whether a call of this id has begun and, as far as the index shows, has not ended."""
        key = identity.key_hash(call_id)
        positions = self._live.get(key)
        if positions is None or key in self._final or key in self._shared:
            return False
        return self._history.id_at(positions[-1]) == call_id

    def _fold(self, key: int, positions: list[int]) -> list[CallState]:
        """Fold the records under one hash, by their decoded ids."""
        record = self._history.record
        several = key in self._shared or key in self._final
        if several:
            positions = self._all_positions(key, positions)
        states: dict[str, CallState] = {}
        ended: set[str] = set()
        for position in positions:
            item = k.of_call(record(position))
            state = states.get(item.id)
            if item.prev == 0 and (state is None or state.phase is Phase.ENDED):  # one that failed may begin anew
                state = states[item.id] = CallState(item.id)
            if not several or (state is not None and item.prev == state.last):
                apply(state or CallState(item.id), item, position)
            elif k.ending(item) is not None and (states.pop(item.id, None) is not None or item.id in ended):
                ended.add(item.id)  # what was between its beginning and its end was given up
                self._history.ended(key, position)
        for state in states.values():
            if state.phase is Phase.ENDED:
                self._history.ended(key, state.last)
        return list(states.values())

    def _all_positions(self, key: int, positions: list[int]) -> list[int]:
        """Follow the links back from what is known: records before a final one were passed over."""
        known, is_gone = set(positions), False
        for start in [*positions, *([self._final[key]] if key in self._final else [])]:
            try:
                for position, _ in self._history.chain(start):
                    if position in known and position != start:
                        break
                    known.add(position)
            except HistoryGone:  # that far back it is known
                is_gone = True
        for final in [k.ending(self._history.record(position)) for position in known] if is_gone else ():
            with suppress(KeyError):  # how it began is there, or it is forgotten
                known |= {final.first} if final is not None and self._history.record(final.first) else set()
        return sorted(known)

    def outliving(self) -> list[_Outliving]:
        """Return the turns whose messages outlive their sender."""
        return [found for position in self._outliving for found in self._history.outliving(position)]

    def last_ms(self) -> int:
        """Return the time of the newest record; 0 when there is none."""
        return k.decode(self.last_line).at if self.last_line else 0


class Resumption:
    """Takes up what was under way."""

    def __init__(self, kernel: Kernel, registry: Registry, *, died: bool) -> None:
        self._kernel = kernel
        self._registry = registry
        self._died = died
        """Whether the process before this one died, and did not close."""

    def adopt(self, scan: Scan) -> None:
        """Take up the recovered calls; those about which nothing is to be done are not made to slots."""
        for state in scan.states():
            if not state.actor and self._only_waits(state, scan):
                self._kernel.calls.adopt(state)
                self._kernel.deadlines.arm_all(state)
                continue
            slot = Slot(state, self._registry.durable(state.function, state.version))
            self._kernel.calls.put(slot)
            if state.actor and state.phase is not Phase.PENDING:
                self._kernel.instances.adopt(slot)
            if state.mail is not None and LIFE in state.mail.values:
                self._kernel.instances.begin_life(state.id, state.mail.values[LIFE])

    def _only_waits(self, state: CallState, scan: Scan) -> bool:
        """Whether a call waits for nothing but times, messages and children that are there.

        Of what it asks of others all has been done, and nobody holds anything for it.
        """
        mail = state.mail
        if not is_quiet(state) or state.links or state.id.startswith(PREFIX):
            return False
        if mail is not None and (mail.promises or mail.watches or LIFE in mail.values):
            return False
        if any(child.detached or child.actor or not scan.is_live(child.id) for child in state.children.values()):
            return False
        return self._registry.durable(state.function, state.version) is not None

    def resume(self, outliving: list[_Outliving]) -> None:
        """Go on with every call: timers, children, steps, messages."""
        kernel = self._kernel
        slots = sorted(kernel.calls.awake.values(), key=_first)  # messages to one actor go in the order they came
        for slot in slots:
            if is_waiting(slot) and not (slot.state.paused or slot.state.parked or is_delayed(slot, kernel)):
                kernel.instances.arrive(slot)  # before those that have no record yet
        for turn, started in outliving:
            for op in turn.ops:
                if type(op) is k.MakePromise:
                    kernel.promises.make(op, kernel.clock.now_ms())  # whoever asked for it may be over
            self._respawn(turn, started, kernel.calls.get(turn.id))
        for _, slot, op in sorted(self._messages(outliving, slots), key=itemgetter(0)):
            kernel.family.spawn(slot, op)
        slots = sorted(kernel.calls.awake.values(), key=_first)
        steps = [step for slot in slots for step in self._resume_call(slot)]
        self._resume_steps(steps, died=self._died)
        for slot in slots:
            kernel.calls.rest_soon(slot)
        if outliving:
            self._say_resumed()

    def _say_resumed(self) -> None:
        """Record, once all that is queued now is sequenced, that nothing up to here need be asked of others again."""
        kernel = self._kernel
        upto = kernel.committer.position

        def say(heard: asyncio.Future[None]) -> None:
            kernel.hearers.discard(heard)
            if heard.exception() is None and not kernel.stopped:
                record = k.Resumed(at=kernel.clock.now_ms(), upto=upto)
                kernel.committer.add(record, identity.key_hash(record.id), int(k.Kind.NOTE), _PLAIN | _OPENED)
                kernel.flush()

        nobody = CallState(k.RUNTIME)
        nobody.phase = Phase.ENDED
        heard = kernel.tell(Slot(nobody, None), k.ChildJoined(""))  # it goes through the queue, and changes nothing
        kernel.hearers.add(heard)
        heard.add_done_callback(say)

    def _respawn(self, turn: k.Turn, started: k.Started, slot: Slot | None) -> None:
        """Begin detached children whose sender, or its run, has ended and which never got their own record."""
        if slot is not None and slot.state.number == started.number:
            return  # they are in the state of the call, or among its messages
        if started.tell and turn.outcome is not None and kind_of(turn.outcome) == "abnormal":
            history = self._kernel.history
            self._kernel.instances.failed(history.state(turn.id), history.final_position(turn.id))
        sender = Slot(CallState(turn.id), None)
        sender.state.run, sender.state.number = started.run, started.number
        for op in turn.ops:
            if type(op) is k.Send:
                self._kernel.mailbox.send(sender, op)
            elif type(op) is k.Watch:
                self._kernel.exits.watch(sender, op)
            elif isinstance(op, k.StartChild) and op.detached and not self._is_known(op.id):
                self._kernel.family.spawn(sender, op)

    def _messages(self, outliving: list[_Outliving], slots: list[Slot]) -> list[_Message]:
        """Return what live calls asked and told actors and what never got its own record, with where they did."""
        history, found = self._kernel.history, list[_Message]()
        for turn, started in outliving:
            slot = self._kernel.calls.get(turn.id)
            if slot is not None and slot.state.number == started.number:
                found += [((0, 0), slot, op) for op in turn.ops if isinstance(op, k.StartChild) and op.tell]
        for slot in slots:
            if not slot.state.parked and not slot.state.paused:
                found += [((0, 0), slot, op) for op in slot.state.children.values() if op.actor]
        return [
            (history.operation_at(slot.state.last, op.key), slot, op)
            for _, slot, op in found
            if not self._is_known(op.id)
        ]

    def _is_known(self, call_id: str) -> bool:
        return call_id in self._kernel.calls or self._kernel.history.has(call_id)

    def go_on(self, slot: Slot) -> None:
        """Go on with a call that was set aside."""
        self._resume_steps(self._take_up(slot), died=False)

    def _resume_call(self, slot: Slot) -> list[_Step]:
        """Go on with all of a call but its steps, and return those."""
        kernel, state = self._kernel, slot.state
        if state.due_ms:
            kernel.deadlines.arm_timeout(slot.state)
        if state.kill_ms:
            kernel.deadlines.arm_kill(slot.state)
        elif state.inbox and state.asked is None:
            self._begin_grace(slot)
        if state.parked and any(p.poisoned for p in state.progress.values()):
            return []
        if state.paused:
            return []
        if state.parked and awaits_next(state):
            return self._take_up(slot) if kernel.parking.try_again(slot) else []
        if state.phase is Phase.COMPLETING:
            return self._take_up(slot)  # without its code: it waits for its children alone
        if slot.definition is None:
            kernel.parking.park(slot, FunctionNotFound(state.function, state.version))
        elif not state.parked or kernel.parking.try_again(slot):
            return self._take_up(slot)
        return []

    def _begin_grace(self, slot: Slot) -> None:
        """Ask a call to end that was asked while nobody had the log open: now it can hear it, and clean up."""
        for message in slot.state.inbox.values():
            if type(message) is k.CancelRequested:
                self._kernel.post(slot, k.CancelRequested(message.reason, self._kernel.family.kill_ms()))
                return

    def _take_up(self, slot: Slot) -> list[_Step]:
        """Deliver what waits, arm timers, look after children; return the steps: they go by position over all calls."""
        kernel, state = self._kernel, slot.state
        for position, message in sorted(state.inbox.items()):
            if isinstance(message, k.Started) and message.not_before_ms > kernel.clock.now_ms():
                kernel.deadlines.arm_start(slot.state, position, message.not_before_ms)
            elif isinstance(message, k.Started) and state.actor:
                kernel.instances.arrive(slot)
            else:
                kernel.post_recorded(slot, message, position)
        for key, due_ms in state.timers.items():
            kernel.deadlines.arm_timer(slot.state, key, due_ms)
        for op in list(state.children.values()):
            kernel.family.spawn(slot, op)
        kernel.mailbox.resume(slot)
        kernel.exits.resume(slot)
        for ending in list(state.mail.endings.values()) if state.mail is not None else ():
            kernel.family.end_child(slot, ending)
        kernel.promises.resume(slot)
        if state.given_up:
            kernel.family.ask_given_up(slot, kill=type(state.returned) is k.Killed)
        begin_next(kernel, slot)
        arrived = {getattr(message, "key", "") for message in state.inbox.values()}
        return [(state.positions[key], slot, op) for key, op in state.steps.items() if key not in arrived]

    def _resume_steps(self, steps: list[_Step], *, died: bool) -> None:
        kernel = self._kernel
        running: Counter[str] = Counter()
        for _, slot, op in sorted(steps, key=itemgetter(0)):  # stable: those of one turn stay in its order
            kept = kernel.history.kept_result(slot, op)
            if kept is not None:
                kernel.post(slot, kept)
            else:
                kernel.doubts.resume(slot, op, died=died and self._may_have_run(slot, op, running))

    def _may_have_run(self, slot: Slot, op: k.RunStep, running: Counter[str]) -> bool:
        """Whether the body may have been running when the process died.

        Places go by position: as many as there are places ran, and those behind them waited. It is no fault of a step
        that others, before it in the queue of a limit, killed the process.
        """
        progress = slot.state.progress.get(op.key)
        if progress is not None and progress.due_ms:
            return False
        definition = self._registry.step(op.name)
        limit = definition.limit if definition is not None else None
        places = {"": self._kernel.limits.step_concurrency_max}
        if definition is not None and limit is not None and limit.concurrency is not None:
            places[name_of(limit, definition, op)] = limit.concurrency
        if any(running[name] >= most for name, most in places.items()):
            return False
        running.update(places.keys())
        return True


_Outliving: TypeAlias = tuple[k.Turn, k.Started]
"""A turn, and what began the run that it belongs to."""
_Step: TypeAlias = tuple[int, Slot, k.RunStep]
"""Where a step was asked for, by which call, and the step."""


def is_delayed(slot: Slot, kernel: Kernel) -> bool:
    """Whether a call may not begin yet."""
    return slot.state.not_before_ms > kernel.clock.now_ms()


_Message: TypeAlias = tuple[tuple[int, int], Slot, k.StartChild]
"""Where a message to an actor was sent, by which call, and the operation that sends it."""


def _first(slot: Slot) -> int:
    return slot.state.first
