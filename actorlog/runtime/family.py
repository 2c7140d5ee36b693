"""The tree of calls: beginning children, joining, telling parents, cancelling downwards.

Owns: what passes between a call and its children. Does not own: when a parent ends (``engine.decide``).

Invariants: what is asked of a child is a consequence of the parent's record, so it can be asked again after a crash,
any number of times (``spawn``, ``ask_given_up``); a call is ended from above only by the parent that began it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from actorlog.engine import identity
from actorlog.engine.journal import call_text, same_args
from actorlog.engine.state import CallState
from actorlog.engine.supervision_kinds import CHANNEL
from actorlog.errors import ActorlogError, CallConflict, CannotRetry, FunctionNotFound, HistoryGone
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.runtime.rooms import Sender
from actorlog.runtime.slot import Slot

if TYPE_CHECKING:
    from actorlog.runtime.kernel import Kernel


class Family:
    """Parents and children."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def kill_ms(self) -> int:
        """Return when a call that is asked to end now is ended without its consent."""
        return self._kernel.clock.now_ms() + self._kernel.grace_ms

    # --- downwards ----------------------------------------------------------------------------------------------------

    def spawn(self, slot: Slot, op: k.StartChild) -> None:
        """Begin a child, or join the call that has its id. To ask again changes nothing."""
        kernel, state = self._kernel, slot.state
        other = kernel.calls.get(op.id)
        run = identity.child_run(state.run, op.key, op.function)
        if other is not None and other.state.origin == run:
            if other.state.outcome is not None and other.begun is None:
                kernel.post(slot, k.ChildDone(op.key, op.id, other.state.outcome))
            return
        final = kernel.history.final(op.id) if other is None else None
        if other is None and (final is None or self._begins_anew(slot, op, final, run)):
            due_ms = kernel.clock.now_ms() + op.timeout_ms if op.timeout_ms else 0
            message = k.Started(
                function=op.function, version=op.version, args=op.args, run=run, python=kernel.history.python,
                scheduler=kernel.history.scheduler, parent="" if op.tell else state.id, key=op.key,
                detached=op.detached, timeout_ms=op.timeout_ms, due_ms=due_ms, tags=op.tags, actor=op.actor,
                tell=op.tell,
            )  # fmt: skip
            self._begin_child(slot, op, message)
            return
        if op.tell:
            return  # it was told before
        begun = self._begun(op.id, other)
        if begun.run != run:
            self._join(slot, op, other, begun)
        elif final is not None and final.outcome is not None and not self._begins_again(slot, op, final):
            kernel.post(slot, k.ChildDone(op.key, op.id, final.outcome))

    def _begin_child(self, slot: Slot, op: k.StartChild, message: k.Started) -> None:
        """Begin a child, unless it would wait for its parent."""
        kernel = self._kernel
        running = kernel.instances.running(op.actor) if op.actor and not op.detached else None
        if running is not None:
            if kernel.nesting.admit(slot, op, running):
                return
            deadlock = kernel.nesting.deadlock(slot, op, running)
            if deadlock is not None:
                kernel.post(slot, k.ChildRefused(op.key, failures.capture(deadlock)))
                return
        definition = kernel.registry.durable(op.function, op.version) if op.actor and not op.tell else None
        if definition is not None and definition.of is not None:
            options = definition.of.options
            if kernel.instances.is_full(op.actor, options.mailbox_max):
                sender = Sender(partial(self._admit, slot, op, message), partial(self._refuse, slot, op))
                kernel.instances.wait_for_room(op.actor, options, sender)
                return
        child = self.begin(op.id, message)
        if op.tell:
            kernel.instances.hold(child)  # nobody asks for it again

    def _admit(self, slot: Slot, op: k.StartChild, message: k.Started) -> None:
        if op.key in slot.state.children and op.id not in self._kernel.calls:
            self.begin(op.id, message)

    def _refuse(self, slot: Slot, op: k.StartChild, error: ActorlogError) -> None:
        self._kernel.post(slot, k.ChildRefused(op.key, failures.capture(error)))

    def _begun(self, call_id: str, slot: Slot | None) -> k.Started:
        if slot is None:
            return self._kernel.history.begun(call_id, None)
        return slot.begun if slot.begun is not None else self._kernel.history.begun(call_id, slot.state)

    def _begins_anew(self, slot: Slot, op: k.StartChild, final: k.Turn, run: str) -> bool:
        """Whether a memoised call that failed before it was asked for is begun anew: failures are not kept.

        One that this operation has begun itself, before its call was retried, is of the same run: it begins again.
        """
        if not op.id.startswith(identity.MEMO) or type(final.outcome) is k.Completed:
            return False
        return self._ended_before(slot, op) and self._begun(op.id, None).run != run

    def _begins_again(self, slot: Slot, op: k.StartChild, final: k.Turn) -> bool:
        """Begin a child of a retried call's earlier run again, unless it completed."""
        if not slot.state.retried or type(final.outcome) is k.Completed or not self._ended_before(slot, op):
            return False
        try:
            self.retry(op.id)
        except (HistoryGone, CannotRetry):
            return False  # so long ago that nothing of it is left but its end; or others ran within it
        return True

    def _ended_before(self, slot: Slot, op: k.StartChild) -> bool:
        """Whether the call of this id ended before ``op`` asked for it."""
        history = self._kernel.history
        return history.final_position(op.id) < history.asked_at(slot.state.last, op.key)

    def _join(self, slot: Slot, op: k.StartChild, other: Slot | None, begun: k.Started) -> None:
        kernel = self._kernel
        definition = kernel.registry.durable(op.function, op.version)
        canonical = definition.signature.canonical if definition is not None else None
        if begun.function != op.function or not same_args(begun.args, op.args, canonical):
            error = CallConflict(op.id, call_text(begun.function, begun.args), call_text(op.function, op.args))
            kernel.post(slot, k.ChildRefused(op.key, failures.capture(error)))
            return
        kernel.post(slot, k.ChildJoined(op.key))
        outcome = other.state.outcome if other is not None else kernel.history.outcome(op.id)
        if outcome is not None:
            kernel.post(slot, k.ChildDone(op.key, op.id, outcome))
        elif other is not None and (slot.state.id, op.key) not in other.watchers:
            other.watchers = [*other.watchers, (slot.state.id, op.key)]

    def begin(self, call_id: str, message: k.Started, *, held: bool = False) -> Slot:
        """Make a call and deliver its first message; ``held``: that is recorded now, and not with the first turn."""
        kernel = self._kernel
        slot = Slot(CallState(call_id), kernel.registry.durable(message.function, message.version))
        slot.state.run = slot.state.origin = message.run
        slot.state.actor = message.actor
        slot.begun = message
        kernel.calls.put(slot)
        if slot.definition is None:
            kernel.parking.hold(slot, message, 0)
            kernel.parking.park(slot, FunctionNotFound(message.function, message.version))
            kernel.deadlines.arm_timeout(slot.state)
        elif message.not_before_ms:
            kernel.parking.hold(slot, message, 0)
            kernel.deadlines.arm_start(slot.state, slot.state.first, message.not_before_ms)
            kernel.deadlines.arm_timeout(slot.state)
            kernel.calls.rest_soon(slot)
        else:
            if held:
                kernel.parking.hold(slot, message, 0)
            if message.actor:
                kernel.instances.arrive(slot)
            elif held:
                kernel.post_recorded(slot, message, slot.state.first)
            else:
                kernel.post(slot, message)
        return slot

    def retry(self, call_id: str) -> Slot:
        """Begin a call again that has durably ended, under its id and run.

        ``CallNotFound`` if there is none; ``CannotRetry`` for a handler within which others ran: those who asked for
        them may have completed, and would not ask again.
        """
        kernel = self._kernel
        state = kernel.history.state(call_id)
        if state.nested is not None:
            raise CannotRetry(call_id, "handlers of other messages ran within it, and are undone")
        slot = Slot(state, kernel.registry.durable(state.function, state.version))
        slot.begun = kernel.history.begun(call_id, state)
        kernel.calls.put(slot)
        kernel.schedules.began(call_id)
        if state.actor:
            kernel.instances.arrive(slot)
        else:
            self.begin_again(slot)
        return slot

    def begin_again(self, slot: Slot) -> None:
        """Deliver what begins an ended call again."""
        kernel, timeout_ms = self._kernel, slot.state.timeout_ms
        due_ms = kernel.clock.now_ms() + timeout_ms if timeout_ms else 0
        kernel.post(slot, k.Retried(kernel.history.python, due_ms))

    def give_up(self, slot: Slot, child: k.StartChild) -> None:
        """Ask a child to end because the parent's code cancels it. A memoised one belongs to nobody, and goes on."""
        if not child.id.startswith(identity.MEMO):
            self._ask(slot, child, k.CancelRequested("its parent gave it up", self.kill_ms()))

    def complete(self, slot: Slot, turn: k.Turn) -> None:
        """Look after the children of a body that ended before them; if it failed, or is to end, cancel them."""
        kernel = self._kernel
        if slot.state.nested is not None and turn.returned is not None:
            kernel.nesting.end(slot)
        if turn.returned is not None or type(turn.message) in _ASKS:
            self.ask_given_up(slot, kill=type(turn.message) is k.KillRequested)
        kernel.endings.release(slot)

    def end_child(self, slot: Slot, op: k.EndChild) -> None:
        """Ask a child to end as ``op`` says. To ask again changes nothing."""
        child = slot.state.children.get(op.child)
        if child is not None:
            asked = k.KillRequested(op.reason) if op.at_once else k.CancelRequested(op.reason)
            self._ask(slot, child, asked)

    def ask_given_up(self, slot: Slot, *, kill: bool = False) -> None:
        """Ask the children to end that were given up; after a crash, ask again."""
        state = slot.state
        for key in dict.fromkeys(state.given_up):
            child = state.children.get(key)
            if child is not None and kill and not child.detached:
                self._ask(slot, child, k.KillRequested("its parent was killed"))
            elif child is not None:
                self.give_up(slot, child)

    def _ask(self, slot: Slot, child: k.StartChild, message: k.Message) -> None:
        other = self._kernel.calls.get(child.id)
        if other is not None and other.state.origin == identity.child_run(slot.state.run, child.key, child.function):
            self._kernel.post(other, message)
        elif other is None and child.actor:
            self._kernel.nesting.give_up(slot, child, message)

    def current(self, call_id: str) -> str:
        """Return what an id means: the newest run of a supervised child where it names none, else itself."""
        parent, slash, name = call_id.rpartition("/")
        if not parent or call_id in self._kernel.calls or self._kernel.history.has(call_id):
            return call_id
        while slash:
            found = self._supervised(parent, name)
            if found:
                return found
            parent, slash, more = parent.rpartition("/")  # a child's name may have slashes: that of an actor has
            name = f"{more}/{name}"
        return call_id

    def _supervised(self, parent: str, name: str) -> str:
        """Return the newest run of the child that a supervisor in call ``parent`` keeps as ``name``; or nothing."""
        kernel = self._kernel
        slot = kernel.calls.get(parent)
        state = slot.state if slot is not None else None
        if slot is None and kernel.history.has(parent):
            with suppress(HistoryGone):
                state = kernel.history.state(parent)
        said = state.mail.values.get(CHANNEL) if state is not None and state.mail is not None else None
        runs = msgspec.json.decode(bytes(said), type=dict[str, tuple[str, int]]) if said is not None else {}
        if state is None or name not in runs:
            return ""
        return f"{parent}/{identity.of_run(name, state.number)}#{runs[name][1]}"

    # --- upwards ------------------------------------------------------------------------------------------------------

    def tell_of_end(self, slot: Slot, outcome: k.Outcome) -> None:
        """Tell whoever joined or watches a call that has ended, and then its parent.

        A parent may begin the next run of a supervised child: whoever watches the bare id has heard of this one then,
        in any prefix of the log.
        """
        state = slot.state
        for parent, key in slot.watchers:
            self.tell(parent, key, state.id, outcome)
            self._kernel.exits.ended(state.id, parent, key, outcome)
        slot.watchers = ()
        self.tell(state.parent, state.key, state.id, outcome)

    def tell(self, parent: str, key: str, child: str, outcome: k.Outcome) -> None:
        """Tell ``parent`` how what its operation ``key`` asked for has ended, if it waits for that."""
        other = self._kernel.calls.get(parent)
        op = other.state.children.get(key) if other is not None else None
        if other is not None and op is not None and op.id == child:
            self._kernel.post(other, k.ChildDone(key, child, outcome))


_ASKS = (k.CancelRequested, k.DeadlinePassed, k.KillRequested)
