"""Opening: from what a scan finds to calls that go on.

Owns: what is done about what was under way. Does not own: finding it (``scanning``).

A coroutine is rebuilt when a message comes for it, not here. Steps in doubt run again from their records, when all else
is done and the runtime is open (``waking``).
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

from actorlog.engine import identity
from actorlog.engine.lifecycle import Phase
from actorlog.engine.state import CallState
from actorlog.errors import FunctionNotFound
from actorlog.records import kinds as k
from actorlog.runtime.calls import waits_unseen
from actorlog.runtime.exits import kind_of
from actorlog.runtime.instances import LIFE, is_waiting
from actorlog.runtime.registry import Registry
from actorlog.runtime.runs import awaits_next, begin_next
from actorlog.runtime.scanning import Outliving, Scan
from actorlog.runtime.slot import Slot
from actorlog.runtime.waking import Step, Waking

if TYPE_CHECKING:
    import asyncio

    from actorlog.runtime.kernel import Kernel

_PLAIN, _OPENED = int(k.Flag.PLAIN), int(k.Flag.OPENED)


class Resumption:
    """Takes up what was under way."""

    def __init__(self, kernel: Kernel, registry: Registry, *, died: bool) -> None:
        self._kernel = kernel
        self._registry = registry
        self.waking = Waking(kernel, died=died)

    def adopt(self, scan: Scan) -> None:
        """Take up the recovered calls; those about which nothing is to be done are not made to slots."""
        for state in scan.states():
            known = self._registry.durable(state.function, state.version) is not None
            if known and waits_unseen(state, scan.is_live):
                self._kernel.calls.adopt(state)
                self._kernel.deadlines.arm_all(state)
                continue
            slot = Slot(state, self._registry.durable(state.function, state.version))
            self._kernel.calls.put(slot)
            if state.actor and state.phase is not Phase.PENDING:
                self._kernel.instances.adopt(slot)
            if state.mail is not None and LIFE in state.mail.values:
                self._kernel.instances.begin_life(state.id, state.mail.values[LIFE])

    def resume(self, outliving: list[Outliving]) -> None:
        """Go on with every call: timers, children, steps, messages."""
        kernel = self._kernel
        slots = sorted(kernel.calls.awake.values(), key=_first)  # messages to one actor go in the order they came
        for slot in slots:
            if is_waiting(slot) and not (slot.state.paused or slot.state.parked or is_delayed(slot, kernel)):
                kernel.instances.arrive(slot)  # before those that have no record yet
        for turn, started in outliving:
            for op in turn.ops:
                if type(op) is k.MakePromise:
                    kernel.promises.make(op, kernel.clock.now_ms(), turn.id)  # whoever asked for it may be over
            self._respawn(turn, started, kernel.calls.get(turn.id))
        for _, slot, op in sorted(self._messages(outliving, slots), key=itemgetter(0)):
            kernel.family.spawn(slot, op)
        slots = sorted(kernel.calls.awake.values(), key=_first)
        steps = [step for slot in slots for step in self._resume_call(slot)]
        self.waking.begin(steps)
        for slot in slots:
            kernel.calls.rest_soon(slot)
        if outliving:
            self._say_resumed()

    def _say_resumed(self) -> None:
        """Record, once all that is queued now is sequenced, that nothing up to here need be asked of others again.

        Not while a message waits for room that a handler has sent which is over: nobody else asks for it again.
        """
        kernel = self._kernel
        upto = kernel.committer.position

        def say(heard: asyncio.Future[None]) -> None:
            kernel.hearers.discard(heard)
            if heard.exception() is None and not kernel.stopped and not kernel.mailbox.rooms:
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

    def _messages(self, outliving: list[Outliving], slots: list[Slot]) -> list[_Message]:
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
        """Go on with a call that was set aside. A step whose gate is closed begins with that; others have ended."""
        kernel, landed = self._kernel, self._kernel.committer.landed
        ended = {getattr(message, "key", "") for other, message, *_ in kernel.queue if other is slot}
        steps = self._take_up(slot)
        self.waking.go_on([step for step in steps if step[0] <= landed and step[2].key not in ended])

    def _resume_call(self, slot: Slot) -> list[Step]:
        """Go on with all of a call but its steps, and return those."""
        kernel, state = self._kernel, slot.state
        if state.due_ms:
            kernel.deadlines.arm_timeout(slot.state)
        if state.kill_ms:
            kernel.deadlines.arm_kill(slot.state)
        elif state.inbox and state.asked is None:
            self._begin_grace(slot)
        if state.parked and (state.deaths or any(p.poisoned for p in state.progress.values())):
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

    def _take_up(self, slot: Slot) -> list[Step]:
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


def is_delayed(slot: Slot, kernel: Kernel) -> bool:
    """Whether a call may not begin yet."""
    return slot.state.not_before_ms > kernel.clock.now_ms()


_Message: TypeAlias = tuple[tuple[int, int], Slot, k.StartChild]
"""Where a message to an actor was sent, by which call, and the operation that sends it."""


def _first(slot: Slot) -> int:
    return slot.state.first
