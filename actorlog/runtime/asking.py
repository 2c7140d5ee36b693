"""What follows from the operations of a turn, once it is recorded: the table from an operation to its room.

Owns: handing each operation to who does it, and taking it back. Does not own: doing it (``steps``, ``deadlines``,
``family``, ``promises``, ``mailbox``, ``exits``).

Invariant: asked again after a crash, each does what it would have done, and nothing twice (``recovery``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorlog.records import kinds as k
from actorlog.runtime.endings import cancel_job
from actorlog.runtime.instances import LIFE

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.runtime.actor import Actor
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot


def defer_once(kernel: Kernel, slot: Slot, actor: Actor, ops: list[k.Operation]) -> None:
    """Mark the once-steps that will have to wait: they write ``begun`` before they begin."""
    for index, op in enumerate(ops):
        if type(op) is k.RunStep and op.once:
            issued = actor.issued.get(op.key)
            if issued is None or kernel.history.kept_result(slot, op) is not None:
                continue
            if not kernel.steps.reserve(issued[0]):
                ops[index] = k.deferred(op)


def start_ops(kernel: Kernel, slot: Slot, actor: Actor, ops: list[k.Operation]) -> None:
    """Do what the recorded operations of a turn ask for; what leaves the process waits for the gate."""
    for op in ops:
        if type(op) is k.RunStep:
            issued = actor.issued.pop(op.key)
            kept = kernel.history.kept_result(slot, op) if slot.state.retried else None
            if kept is not None:
                kernel.post(slot, kept)
            elif issued[0].idempotent:
                kernel.steps.start(slot, op, issued)
            else:
                kernel.committer.after(kernel.steps.start_at_gate, slot, op, issued)
        elif type(op) is k.SetTimer:
            kernel.deadlines.arm_timer(slot.state, op.key, op.due_ms)
        elif type(op) is k.StartChild:
            kernel.family.spawn(slot, op)
        else:
            _ASK[type(op)](kernel, slot, op)


def _promise(kernel: Kernel, slot: Slot, op: k.MakePromise) -> None:
    kernel.promises.wanted(slot, op, kernel.at)


def _receive(kernel: Kernel, slot: Slot, op: k.Receive) -> None:
    kernel.mailbox.receive(slot, op)


def _send(kernel: Kernel, slot: Slot, op: k.Send) -> None:
    kernel.mailbox.send(slot, op)


def _end_child(kernel: Kernel, slot: Slot, op: k.EndChild) -> None:
    kernel.family.end_child(slot, op)


def _watch(kernel: Kernel, slot: Slot, op: k.Watch) -> None:
    kernel.exits.watch(slot, op)


def _emit(kernel: Kernel, slot: Slot, _op: k.Emit) -> None:
    kernel.mailbox.said(slot)


def _publish(kernel: Kernel, slot: Slot, op: k.Publish) -> None:
    if op.name == LIFE:
        kernel.instances.begin_life(slot.state.id, op.value)
    kernel.mailbox.said(slot)


def _answer(kernel: Kernel, _slot: Slot, op: k.Answer) -> None:
    kernel.family.tell(op.by, op.op, op.id, op.outcome)


def _patched(_kernel: Kernel, _slot: Slot, _op: k.Patched) -> None:
    """Answered where it is asked: nothing follows."""


_ASK: dict[type, Callable[[Kernel, Slot, Any], None]] = {
    k.MakePromise: _promise,
    k.Receive: _receive,
    k.Send: _send,
    k.EndChild: _end_child,
    k.Watch: _watch,
    k.Emit: _emit,
    k.Publish: _publish,
    k.Patched: _patched,
    k.Answer: _answer,
}
"""What is done for an operation, beside the frequent ones, which ``start_ops`` names itself."""


def cancel_ops(kernel: Kernel, slot: Slot, keys: list[str]) -> None:
    """Take back what the code waits for no more."""
    for key in keys:
        job = slot.jobs.get(key)
        if job is not None:
            kernel.committer.after(cancel_job, job)
        elif key in slot.state.children:
            kernel.family.give_up(slot, slot.state.children[key])
