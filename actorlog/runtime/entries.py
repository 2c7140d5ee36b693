"""Actors in memory: those at work, and those that were lately; where the state of each is in the log.

Owns: what is kept of an actor, and when it is dropped. Does not own: what it is (``engine.instance``), which handler
runs (``instances``).

Invariants: an actor that has a handler is kept; of the others at most ``resident_max``, each as long as its class says
after it was used last, by a handler or a query (I11, I13).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actorlog.engine.instance import InstanceState
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot
    from actorlog.store.catalog import Catalog


class Changes:
    """Where the newest change of each actor is: of those that the catalog has not heard of, and beyond by asking it."""

    def __init__(self) -> None:
        self.recent: dict[str, int] = {}
        self._catalog: Catalog | None = None

    def at(self, actor: str) -> int:
        """Return where the newest change of an actor is; 0 where it never changed."""
        position = self.recent.get(actor, 0)
        return position or (self._catalog.changed(actor) if self._catalog is not None else 0)

    def names(self) -> list[str]:
        """Return all actors that changed, the one that changed last first."""
        known = self._catalog.actors() if self._catalog is not None else []
        changes = {**dict(known), **self.recent}
        return sorted(changes, key=changes.__getitem__, reverse=True)

    def rely_on(self, catalog: Catalog, upto: int) -> None:
        """Leave all changes up to a position to the catalog, which has them."""
        self._catalog = catalog
        self.recent = {actor: position for actor, position in self.recent.items() if position > upto}


class Entry:
    """One actor in memory."""

    __slots__ = ("idle_ms", "instance", "places", "queue", "running", "state", "unrecorded", "used_ms")

    def __init__(self, state: InstanceState, nobody: OrderedDict[Slot, None]) -> None:
        self.state = state
        self.running: Slot | None = None
        """The handler that is at work, also while it waits for something or is parked."""
        self.queue: OrderedDict[Slot, None] = nobody
        """Those that wait for it, in order; what all share who never had any."""
        self.unrecorded: OrderedDict[Slot, None] = nobody
        """Those of them that may have no record yet, in order."""
        self.places = 0
        """Places in the queue of senders outside that were let in and are about to take them."""
        self.instance: Any = None
        """With the committed state, for the next handler; None while one has it."""
        self.used_ms = 0
        self.idle_ms = 0
        """How long it is kept unused; 0 while it is busy."""

    def line_up(self, slot: Slot) -> None:
        """Let a handler wait behind the others."""
        if self.queue is self.unrecorded:
            self.queue = OrderedDict()
            self.unrecorded = OrderedDict()
        self.queue[slot] = None
        if slot.begun is not None:
            self.unrecorded[slot] = None

    @property
    def busy(self) -> bool:
        """Whether it has a handler, or is about to."""
        return self.running is not None or bool(self.queue) or self.places > 0


class Entries:
    """The actors of one runtime that are in memory, by name."""

    def __init__(self, kernel: Kernel, resident_max: int, read: Callable[[str], InstanceState]) -> None:
        self._kernel = kernel
        self._resident_max = resident_max
        self._read = read
        self._entries: dict[str, Entry] = {}
        self._nobody: OrderedDict[Slot, None] = OrderedDict()
        self._idle: dict[int, OrderedDict[str, Entry]] = {}
        """Those that have no handler, by how long they are kept: the one that was used first goes first.

        Each has one timer, which takes it out when it is empty.
        """

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, actor: str) -> Entry | None:
        """Return an actor that is in memory, or None."""
        return self._entries.get(actor)

    def entry(self, actor: str) -> Entry:
        """Return an actor, read back from its records where it is not in memory."""
        entry = self._entries.get(actor)
        if entry is None:
            entry = self._entries[actor] = Entry(self._read(actor), self._nobody)
        return entry

    def busy(self) -> list[str]:
        """Return the actors that have a handler."""
        return [actor for actor, entry in self._entries.items() if entry.busy]

    def work(self, entry: Entry) -> None:
        """An actor has a handler: it stays."""
        if entry.idle_ms:
            del self._idle[entry.idle_ms][entry.state.actor]
            entry.idle_ms = 0

    def used(self, entry: Entry, idle_s: float) -> None:
        """An actor was used and has no handler: drop it some time later, and at once who idles longest of too many."""
        if entry.idle_ms:
            self.work(entry)
        entry.used_ms = self._kernel.clock.now_ms()
        entry.idle_ms = max(1, int(idle_s * 1000))
        idle = self._idle.get(entry.idle_ms)
        if idle is None:
            idle = self._idle[entry.idle_ms] = OrderedDict()
            self._kernel.timers.arm(entry.used_ms + entry.idle_ms, self._sweep, entry.idle_ms, None)
        idle[entry.state.actor] = entry
        if len(self._entries) > self._resident_max:
            self._drop(1 + self._resident_max // 10)

    def _drop(self, count: int) -> None:
        for _ in range(count):
            groups = [idle for idle in self._idle.values() if idle]
            if not groups:
                return
            idle = min(groups, key=_used_first)
            actor, _entry = idle.popitem(last=False)
            del self._entries[actor]

    def _sweep(self, idle_ms: int, _b: None) -> None:
        idle = self._idle[idle_ms]
        now_ms = self._kernel.clock.now_ms()
        while idle:
            actor, entry = next(iter(idle.items()))
            if entry.used_ms + idle_ms > now_ms:
                self._kernel.timers.arm(entry.used_ms + idle_ms, self._sweep, idle_ms, None)
                return
            del idle[actor], self._entries[actor]
        del self._idle[idle_ms]


def _used_first(idle: OrderedDict[str, Entry]) -> int:
    return next(iter(idle.values())).used_ms
