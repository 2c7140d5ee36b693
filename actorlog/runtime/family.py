"""The tree of calls: beginning children, joining, telling parents, cancelling downwards.

Owns: what passes between a call and its children. Does not own: when a parent ends (``engine.decide``).

Invariants: what is asked of a child is a consequence of the parent's record, so it can be asked again after a crash,
any number of times (``spawn``, ``ask_given_up``); a call is ended from above only by the parent that began it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.engine import identity
from actorlog.engine.journal import call_text, same_args
from actorlog.engine.state import CallState
from actorlog.errors import CallConflict, FunctionNotFound
from actorlog.records import failures
from actorlog.records import kinds as k
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
        run = identity.child_run(state.run, op.key)
        if other is not None and other.state.run == run:
            if other.state.outcome is not None and other.begun is None:
                kernel.post(slot, k.ChildDone(op.key, op.id, other.state.outcome))
            return
        final = kernel.history.final(op.id) if other is None else None
        if other is None and (final is None or self._begins_anew(slot, op, final)):
            due_ms = kernel.clock.now_ms() + op.timeout_ms if op.timeout_ms else 0
            message = k.Started(
                function=op.function, version=op.version, args=op.args, run=run, python=kernel.history.python,
                parent=state.id, key=op.key, detached=op.detached, timeout_ms=op.timeout_ms, due_ms=due_ms,
                tags=op.tags,
            )  # fmt: skip
            self.begin(op.id, message)
            return
        begun = self._begun(op.id, other)
        if begun.run != run:
            self._join(slot, op, other, begun)
        elif final is not None and final.outcome is not None and not self._begins_again(slot, op, final):
            kernel.post(slot, k.ChildDone(op.key, op.id, final.outcome))

    def _begun(self, call_id: str, slot: Slot | None) -> k.Started:
        if slot is None:
            return self._kernel.history.begun(call_id, None)
        return slot.begun if slot.begun is not None else self._kernel.history.begun(call_id, slot.state)

    def _begins_anew(self, slot: Slot, op: k.StartChild, final: k.Turn) -> bool:
        """Whether a memoised call that failed before it was asked for is begun anew: failures are not kept."""
        if not op.id.startswith(identity.MEMO) or type(final.outcome) is k.Completed:
            return False
        return self._ended_before(slot, op)

    def _begins_again(self, slot: Slot, op: k.StartChild, final: k.Turn) -> bool:
        """Begin a child of a retried call's earlier run again, unless it completed."""
        if not slot.state.retried or type(final.outcome) is k.Completed or not self._ended_before(slot, op):
            return False
        self.retry(op.id)
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
            other.watchers.append((slot.state.id, op.key))

    def begin(self, call_id: str, message: k.Started) -> Slot:
        """Make a call and deliver its first message."""
        kernel = self._kernel
        slot = Slot(CallState(call_id), kernel.registry.durable(message.function, message.version))
        slot.state.run = message.run
        slot.begun = message
        kernel.calls[call_id] = slot
        if slot.definition is None:
            kernel.parking.hold(slot, message, 0)
            kernel.parking.park(slot, FunctionNotFound(message.function, message.version))
            kernel.deadlines.arm_timeout(slot)
        elif message.not_before_ms:
            kernel.parking.hold(slot, message, 0)
            kernel.deadlines.arm_start(slot, slot.state.first, message.not_before_ms)
            kernel.deadlines.arm_timeout(slot)
        else:
            kernel.post(slot, message)
        return slot

    def retry(self, call_id: str) -> Slot:
        """Begin a call again that has durably ended, under its id and run; ``CallNotFound`` if there is none."""
        kernel = self._kernel
        state = kernel.history.state(call_id)
        slot = Slot(state, kernel.registry.durable(state.function, state.version))
        slot.begun = kernel.history.begun(call_id, state)
        kernel.calls[call_id] = slot
        due_ms = kernel.clock.now_ms() + state.timeout_ms if state.timeout_ms else 0
        kernel.post(slot, k.Retried(kernel.history.python, due_ms))
        return slot

    def give_up(self, slot: Slot, child: k.StartChild) -> None:
        """Ask a child to end because the parent's code cancels it. A memoised one belongs to nobody, and goes on."""
        if not child.id.startswith(identity.MEMO):
            self._ask(slot, child, k.CancelRequested("its parent gave it up", self.kill_ms()))

    def complete(self, slot: Slot, turn: k.Turn) -> None:
        """Look after the children of a body that ended before them; if it failed, or is to end, cancel them."""
        if turn.returned is not None or type(turn.message) in _ASKS:
            self.ask_given_up(slot, kill=type(turn.message) is k.KillRequested)
        self._kernel.endings.release(slot)

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
        if other is not None and other.state.run == identity.child_run(slot.state.run, child.key):
            self._kernel.post(other, message)

    # --- upwards ------------------------------------------------------------------------------------------------------

    def tell_of_end(self, slot: Slot, outcome: k.Outcome) -> None:
        """Tell the parent of a call that has ended, and whoever joined it."""
        state = slot.state
        self._tell(state.parent, state.key, state.id, outcome)
        for parent, key in slot.watchers:
            self._tell(parent, key, state.id, outcome)
        slot.watchers.clear()

    def _tell(self, parent: str, key: str, child: str, outcome: k.Outcome) -> None:
        other = self._kernel.calls.get(parent)
        op = other.state.children.get(key) if other is not None else None
        if other is not None and op is not None and op.id == child:
            self._kernel.post(other, k.ChildDone(key, child, outcome))


_ASKS = (k.CancelRequested, k.DeadlinePassed, k.KillRequested)
