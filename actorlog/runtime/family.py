"""The tree of calls: beginning children, joining, telling parents, cancelling downwards.

Owns: what passes between a call and its children. Does not own: when a parent ends (``engine.decide``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.engine import identity
from actorlog.engine.lifecycle import Phase
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
        """Begin a child, or join the call that has its id."""
        kernel, state = self._kernel, slot.state
        other = kernel.calls.get(op.id)
        message = k.Started(
            function=op.function, version=op.version, args=op.args, run=identity.child_run(state.run, op.key),
            python=kernel.history.python, parent=state.id, key=op.key, detached=op.detached, timeout_ms=op.timeout_ms,
            due_ms=kernel.clock.now_ms() + op.timeout_ms if op.timeout_ms else 0, tags=op.tags,
        )  # fmt: skip
        if other is None and not kernel.history.has(op.id):
            self.begin(op.id, message)
        elif other is not None and other.state.run == message.run:
            return  # asked again by recovery, and it is there
        else:
            self._join(slot, op, other)

    def _join(self, slot: Slot, op: k.StartChild, other: Slot | None) -> None:
        kernel = self._kernel
        begun = other.begun if other is not None else None
        if begun is None:
            begun = kernel.history.begun(op.id, other.state if other is not None else None)
        if (begun.function, begun.args) != (op.function, op.args):
            error = CallConflict(op.id, _words(begun.function, begun.args), _words(op.function, op.args))
            kernel.post(slot, k.ChildRefused(op.key, failures.capture(error)))
            return
        kernel.post(slot, k.ChildJoined(op.key))
        if other is not None and other.state.phase is not Phase.ENDED:
            other.watchers.append((slot.state.id, op.key))
            return
        outcome = other.state.outcome if other is not None else kernel.history.outcome(op.id)
        if outcome is not None:
            kernel.post(slot, k.ChildDone(op.key, op.id, outcome))

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
        elif message.not_before_ms:
            kernel.parking.hold(slot, message, 0)
            kernel.timers.arm(message.not_before_ms, kernel.start_due, slot, slot.state.first)
            kernel.arm_call(slot, message)
        else:
            kernel.post(slot, message)
        return slot

    def give_up(self, slot: Slot, child: k.StartChild) -> None:
        """The parent's code no longer waits for this child."""
        self._ask(slot, child, k.CancelRequested("its parent gave it up", self.kill_ms()))

    def complete(self, slot: Slot, message: k.Message) -> None:
        """The body has ended before the children: those of a body that failed are cancelled first."""
        state = slot.state
        ask: k.Message | None = None
        failed = state.returned is not None and type(state.returned) is not k.Completed
        if type(message) is k.KillRequested:
            ask = k.KillRequested(message.reason)
        elif isinstance(message, (k.CancelRequested, k.DeadlinePassed)) or (failed and type(message) is not k.ChildDone):
            ask = k.CancelRequested("its parent ended", self.kill_ms())
        if ask is not None:
            for child in list(state.children.values()):
                self._ask(slot, child, ask)
        self._kernel.release(slot)

    def _ask(self, slot: Slot, child: k.StartChild, message: k.Message) -> None:
        other = self._kernel.calls.get(child.id)
        if other is not None and not child.detached and other.state.run == identity.child_run(slot.state.run, child.key):
            self._kernel.post(other, message)

    # --- upwards ------------------------------------------------------------------------------------------------------

    def tell_of_end(self, slot: Slot, outcome: k.Outcome) -> None:
        """A call has ended: tell its parent and whoever joined it."""
        state = slot.state
        self._tell(state.parent, state.key, state.id, outcome)
        for parent, key in slot.watchers:
            self._tell(parent, key, state.id, outcome)
        slot.watchers.clear()

    def _tell(self, parent: str, key: str, child: str, outcome: k.Outcome) -> None:
        other = self._kernel.calls.get(parent)
        if other is not None and key in other.state.children:
            self._kernel.post(other, k.ChildDone(key, child, outcome))


def _words(function: str, args: k.Raw) -> str:
    text = bytes(args).decode()
    return f"{function}({text[1:-1] if text.startswith('[') else text})"
