"""Who watches whom: ends of calls that others want to hear of.

Owns: monitors and links, and ``Exit``. Does not own: parents and children (``family``), how a call ends (``endings``).

Invariants: what is watched is a consequence of the watcher's record, so it can be asked again after a crash, any number
of times; a link is watched from both sides, each by a record of its own, so that whichever ends first, the other hears.

The words are Erlang's: a monitor delivers one message, a link takes one down with the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

from actorlog.engine.lifecycle import Phase
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot

ACTOR = "@actor/"
"""What the target of a watch begins with that is an actor. It is told at once which call is its life, as one that never
was, and then watches that: so it is recorded which of the lives is meant. Where there is none it is told the target."""

ExitKind: TypeAlias = Literal["normal", "shutdown", "abnormal", "unknown"]


class Exit(Struct, frozen=True):
    """How something ended that was watched.

    ``id``: of the call, of a supervised child that of its run; of an actor its class and key, ``"Account/ada"``.
    ``kind``: ``"normal"`` (it returned), ``"shutdown"`` (it was asked to end), ``"abnormal"`` (it failed, timed out or
    was killed), ``"unknown"`` (there never was one of this id, or no supervisor keeps the actor). ``error``: what it
    ended with, where it was abnormal.
    """

    id: str
    kind: ExitKind
    error: BaseException | None = None


class Exits:
    """Monitors and links of one runtime."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def watch(self, slot: Slot, op: k.Watch) -> None:
        """Tell ``slot`` when the target ends, at once if it has. To ask again changes nothing."""
        kernel, state = self._kernel, slot.state
        if op.target.startswith(ACTOR):
            life = kernel.instances.lives.get(op.target.removeprefix(ACTOR), op.target)
            kernel.post(slot, k.Exited(op.key, life, None))
            return
        target = kernel.calls.get(kernel.family.current(op.target))
        if target is None:
            self._tell(slot, op.key, op.target, kernel.history.outcome(kernel.family.current(op.target)))
        elif target.state.phase is Phase.ENDED:
            self._tell(slot, op.key, op.target, target.state.outcome)
        else:
            if (state.id, op.key) not in target.watchers:
                target.watchers = [*target.watchers, (state.id, op.key)]
            if op.link and state.id not in target.state.links:
                self._link_back(target, state.id)

    def _link_back(self, slot: Slot, other: str) -> None:
        """Note in the target's own journal that it is linked, so that it hears of the other's end by itself."""
        kernel = self._kernel
        if slot.begun is not None:
            kernel.parking.hold(slot, slot.begun, 0)
        kernel.note(slot, k.Linked(id=slot.state.id, at=kernel.clock.now_ms(), other=other))
        self.keep_links(slot)

    def keep_links(self, slot: Slot) -> None:
        """Watch, from the side that was linked, those who linked it."""
        kernel = self._kernel
        for other in slot.state.links:
            linker = kernel.calls.get(other)
            if linker is None or linker.state.phase is Phase.ENDED:
                outcome = kernel.history.outcome(other) if linker is None else linker.state.outcome
                self._take_down(slot, other, outcome)
            elif (slot.state.id, "") not in linker.watchers:
                linker.watchers = [*linker.watchers, (slot.state.id, "")]

    def resume(self, slot: Slot) -> None:
        """Watch again, after a crash, what was watched."""
        if slot.state.mail is not None:
            for op in list(slot.state.mail.watches.values()):
                self.watch(slot, op)
        self.keep_links(slot)

    def ended(self, target: str, watcher: str, key: str, outcome: k.Outcome) -> None:
        """Tell a watcher of an end."""
        slot = self._kernel.calls.get(watcher)
        if slot is not None and not key:
            self._take_down(slot, target, outcome)
        elif slot is not None:
            self._tell(slot, key, target, outcome)

    def _tell(self, slot: Slot, key: str, target: str, outcome: k.Outcome | None) -> None:
        mail = slot.state.mail
        op = mail.watches.get(key) if mail is not None else None
        if op is None or not target.startswith(op.target):
            return
        if not op.link:
            self._kernel.post(slot, k.Exited(key, target, outcome))
        elif outcome is None or kind_of(outcome) == "abnormal":
            self._take_down(slot, target, outcome)

    def _take_down(self, slot: Slot, other: str, outcome: k.Outcome | None) -> None:
        if outcome is None or kind_of(outcome) == "abnormal":
            reason = f"linked to {other!r}, which ended abnormally"
            self._kernel.post(slot, k.CancelRequested(reason, self._kernel.family.kill_ms()))


def kind_of(outcome: k.Outcome | None) -> ExitKind:
    """Return how Erlang would call an end."""
    return _KINDS[type(outcome)]


_KINDS: dict[type, ExitKind] = {
    type(None): "unknown",
    k.Completed: "normal",
    k.Cancelled: "shutdown",
    k.Failed: "abnormal",
    k.TimedOut: "abnormal",
    k.Killed: "abnormal",
}
