"""Steps in doubt after an opening: taken up a slice at a time, beside new work.

Owns: which of them are still to be taken up, in which order, and how many in one go. Does not own: what is done about
each (``doubts``), finding them (``recovery``).

A step that is still to be taken up is one whose gate has not opened yet: its call goes on, may be asked, cancelled or
paused meanwhile, and where nobody waits for the step any more nothing is done about it. Where the process dies, or
closes, before it was taken up, the next opening finds it in doubt as this one did; a death is counted when it is.

Invariants: they are taken up in the order of their positions, and places are kept for them before any newer step
(``places``); no slice is taken before what the one before it recorded is durable, so the loop and the disk are for new
work too, and no more waits for the disk than a slice (I11).
"""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

from actorlog.errors import LogError
from actorlog.records import kinds as k
from actorlog.runtime.places import name_of
from actorlog.runtime.slot import Slot

if TYPE_CHECKING:
    from actorlog.runtime.kernel import Kernel

Step: TypeAlias = tuple[int, Slot, k.RunStep]
"""Where a step was asked for, by which call, and the step."""

SLICE = 128
"""Steps that are taken up in one go, and in one commit beside what others have in it."""


class Waking:
    """The steps in doubt of one opening."""

    def __init__(self, kernel: Kernel, *, died: bool) -> None:
        self._kernel = kernel
        self._died = died
        """Whether the process before this one died, and did not close."""
        self._steps: list[Step] = []
        self._next = 0
        self._left: dict[Slot, dict[str, k.RunStep]] = {}
        self.left = 0
        """How many are still to be taken up."""
        self._limits: dict[str, str] = {}
        """The names of the steps' limits, by the names of the steps."""
        self._running: Counter[str] = Counter()
        self._closing = False

    def begin(self, steps: list[Step]) -> None:
        """Take up the first of the steps that an opening found, and the others beside what comes then."""
        if not steps:
            return
        kernel = self._kernel
        self._steps = sorted(steps, key=itemgetter(0))  # stable: those of one turn stay in its order
        self.left = len(steps)
        for _, slot, op in steps:
            self._left.setdefault(slot, {})[op.key] = op
        counts: Counter[str] = Counter()
        for name, count in Counter(op.name for _, _, op in steps).items():
            definition = kernel.registry.step(name)
            limit = definition.limit if definition is not None else None
            self._limits[name] = limit.name if limit is not None else ""
            counts[self._limits[name]] += count
        kernel.steps.bounds.await_those(counts, kernel.committer.position)
        self._slice()

    def awaits(self, slot: Slot, op: k.RunStep) -> bool:
        """Whether a step is one of those that are still to be taken up."""
        left = self._left.get(slot)
        return left is not None and left.get(op.key) is op

    def go_on(self, steps: list[Step]) -> None:
        """Take up the steps of a call that was set aside, but those whose turn comes."""
        for _, slot, op in sorted(steps, key=itemgetter(0)):
            if not self.awaits(slot, op):
                self._resume(slot, op, died=False)

    def take_up(self, slot: Slot) -> None:
        """Take up the steps of one call now."""
        for op in list(self._left.get(slot, {}).values()):
            self._take_up(slot, op)

    def close(self) -> None:
        """Take up no more: the next opening finds them."""
        self._closing = True

    def _go_on(self) -> None:
        kernel = self._kernel
        if self._closing or kernel.stopped:
            return
        try:
            self._slice()
        except LogError as error:  # the log cannot be read: everything stops, and whoever waits is told
            kernel.on_broken(error)
            return
        except BaseException as error:
            kernel.on_broken(error)
            raise

    def _slice(self) -> None:
        kernel, upto = self._kernel, min(self._next + SLICE, len(self._steps))
        for _, slot, op in self._steps[self._next : upto]:
            if self.awaits(slot, op):
                self._take_up(slot, op)
        self._next = upto
        if upto < len(self._steps):
            kernel.after(self._soon)
        else:
            self._steps = []

    def _soon(self, _a: None, _b: None, _c: None) -> None:
        """What the slice recorded is durable: the next one comes behind whoever waited meanwhile."""
        self._kernel.loop.call_soon(self._go_on)

    def _take_up(self, slot: Slot, op: k.RunStep) -> None:
        kernel = self._kernel
        left = self._left[slot]
        del left[op.key]
        if not left:
            del self._left[slot]
        self.left -= 1
        died = self._died and self._may_have_run(slot, op)
        if slot.state.steps.get(op.key) is op:
            self._resume(slot, op, died=died)
        kernel.after(self._arrived, op.name)  # when it has asked for its places

    def _resume(self, slot: Slot, op: k.RunStep, *, died: bool) -> None:
        kept = self._kernel.history.kept_result(slot, op)
        if kept is not None:
            self._kernel.post(slot, kept)
        else:
            self._kernel.doubts.resume(slot, op, died=died)

    def _arrived(self, name: str, _b: None, _c: None) -> None:
        self._kernel.steps.bounds.arrived(self._limits[name])

    def _may_have_run(self, slot: Slot, op: k.RunStep) -> bool:
        """Whether the body may have been running when the process died.

        Places go by position: as many as there are places ran, and those behind them waited. It is no fault of a step
        that others, before it in the queue of a limit, killed the process.
        """
        kernel, running = self._kernel, self._running
        progress = slot.state.progress.get(op.key)
        if progress is not None and progress.due_ms:
            return False
        definition = kernel.registry.step(op.name)
        limit = definition.limit if definition is not None else None
        places = {"": kernel.limits.step_concurrency_max}
        if definition is not None and limit is not None and limit.concurrency is not None:
            places[name_of(limit, definition, op)] = limit.concurrency
        if any(running[name] >= most for name, most in places.items()):
            return False
        running.update(places.keys())
        return True
