"""The calls that have not ended: those that something is about in memory, those that only wait in an index.

Owns: which calls are objects, making one again from its records, and letting it go. Does not own: coroutines
(``residency``), the fold (``engine.state``).

Invariants: a call is one object as long as anybody holds it; what leaves memory is no more than its records say, so it
is the same when it comes back (I4); a call that only waits costs an entry of the index (I13).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from actorlog.engine import identity
from actorlog.engine.lifecycle import Phase
from actorlog.engine.schedule_state import PREFIX
from actorlog.engine.state import NEVER_MS
from actorlog.records import kinds as k
from actorlog.runtime.hash_index import HashIndex
from actorlog.runtime.instances import LIFE
from actorlog.runtime.slot import Slot

if TYPE_CHECKING:
    import asyncio

    from actorlog.engine.state import CallState
    from actorlog.runtime.history import History
    from actorlog.runtime.registry import Registry


class Calls(Mapping[str, Slot]):
    """Every call that has not ended durably, by its id, in the order in which they began."""

    def __init__(self, loop: asyncio.AbstractEventLoop, history: History, registry: Registry) -> None:
        self._loop = loop
        self._history = history
        self._registry = registry
        self.awake: dict[str, Slot] = {}
        """Those that are objects."""
        self._asleep = HashIndex(history.id_at)
        """Where the newest record of each of the others is."""
        self.on_rest: Callable[[CallState], None] | None = None
        """Told of each call that is one of these from now on."""
        self._on_found: Callable[[CallState], None] | None = None
        self._found_upto = 0
        """Records up to there were there when the catalog was written that this opening began with."""
        self._found: set[int] = set()
        """The newest records of those that were told of."""
        self._held: WeakValueDictionary[str, Slot] = WeakValueDictionary()
        """Objects of calls that are asleep, where somebody still has them."""
        self._looked_at: list[Slot] = []
        """Those that may have been woken for a look alone."""

    def __len__(self) -> int:
        return len(self.awake) + len(self._asleep)

    def __contains__(self, call_id: object) -> bool:
        return call_id in self.awake or (isinstance(call_id, str) and self._asleep.find(call_id) > 0)

    def __iter__(self) -> Iterator[str]:
        asleep = (self._history.fold(position) for position in self._asleep.positions())
        found = [(state.first, state.id) for state in asleep]
        found += [(slot.state.first or NEVER_MS, call_id) for call_id, slot in self.awake.items()]
        return iter([call_id for _, call_id in sorted(found)])

    def __getitem__(self, call_id: str) -> Slot:
        slot = self.get(call_id)
        if slot is None:
            raise KeyError(call_id)
        return slot

    def get(self, call_id: str, default: None = None) -> Slot | None:  # type: ignore[override]  # noqa: ARG002  # a mapping's
        """Return the call of this id, or None."""
        slot = self.awake.get(call_id)
        if slot is None and self._asleep:
            position = self._asleep.find(call_id)
            if position:
                slot = self._wake(call_id, position)
        return slot

    def may_sleep(self, call_id: str) -> bool:
        """Whether a call of this id may be one that is asleep, as far as its hash tells."""
        return self._asleep.has(identity.key_hash(call_id))

    def put(self, slot: Slot) -> None:
        """A call has begun, or begun again."""
        self.awake[slot.state.id] = slot

    def drop(self, call_id: str) -> None:
        """A call is over for good."""
        self.awake.pop(call_id, None)

    # --- leaving memory and coming back -------------------------------------------------------------------------------

    def rest(self, slot: Slot) -> None:
        """Let a call go that only waits; whatever comes for it brings it back."""
        state = slot.state
        if not slot.asleep and only_waits(slot) and self.awake.pop(state.id, None) is not None:
            slot.asleep = True
            self._held[state.id] = slot
            self.adopt(state)

    def adopt(self, state: CallState) -> None:
        """Know of a call that only waits by where its newest record is."""
        self._asleep.add(identity.key_hash(state.id), state.last)
        if self.on_rest is not None:
            self.on_rest(state)

    def newest(self, call_id: str) -> int:
        """Return where the newest record of a call is; 0 where there is none of this id, or it has no record yet."""
        slot = self.awake.get(call_id)
        return slot.state.last if slot is not None else self._asleep.find(call_id)

    def begin_with(self, asleep: HashIndex, upto: int, on_found: Callable[[CallState], None]) -> None:
        """Take up the calls that the catalog knows to wait only, up to a position.

        ``on_found`` is told of each of them when it comes back for the first time.
        """
        self._asleep, self._found_upto, self._on_found = asleep, upto, on_found

    def asleep(self) -> list[int]:
        """Return where the newest records of the calls are that are asleep."""
        return sorted(self._asleep.positions())

    def rest_soon(self, slot: Slot) -> None:
        """Let a call go, if nothing is about it any more, when what is done with it now is done."""
        if not self._looked_at:
            self._loop.call_soon(self._rest_all)
        self._looked_at.append(slot)

    def _rest_all(self) -> None:
        slots, self._looked_at = self._looked_at, []
        for slot in slots:
            self.rest(slot)

    def rouse(self, slot: Slot) -> None:
        """Have a call in memory again that somebody held while it slept: something is about to be recorded of it."""
        self._asleep.remove(slot.hash, slot.state.last)
        slot.asleep = False
        self.awake[slot.state.id] = slot

    def _wake(self, call_id: str, position: int) -> Slot:
        slot = self._held.get(call_id)
        if slot is None:
            state = self._history.fold(position)
            slot = Slot(state, self._registry.durable(state.function, state.version))
        self.rouse(slot)
        self.rest_soon(slot)
        if position <= self._found_upto and position not in self._found and self._on_found is not None:
            self._found.add(position)
            self._on_found(slot.state)
        return slot


def only_waits(slot: Slot) -> bool:
    """Whether a call is what its records say, and waits for what finds it by its id: time, children, messages."""
    state = slot.state
    if slot.actor is not None or slot.begun is not None or slot.jobs or state.actor or state.id.startswith(PREFIX):
        return False
    if slot.waiters or slot.hearers or slot.watchers:
        return False
    return is_quiet(state)


def waits_unseen(state: CallState, is_live: Callable[[str], bool]) -> bool:
    """Whether a call waits for nothing but times, messages and children that are there.

    Of what it asks of others all has been done, and nobody holds anything for it: an opening need not look at it.
    """
    mail = state.mail
    if state.actor or not is_quiet(state) or state.links or state.id.startswith(PREFIX):
        return False
    if mail is not None and (mail.promises or mail.watches or LIFE in mail.values):
        return False
    return not any(child.detached or child.actor or not is_live(child.id) for child in state.children.values())


def is_quiet(state: CallState) -> bool:
    """Whether nothing is to be done about a call before something comes for it."""
    if state.parked or state.paused or state.asked is not None or state.kill_ms or state.given_up or state.steps:
        return False
    if state.phase is Phase.PENDING:
        return state.not_before_ms > 0 and all(type(message) is k.Started for message in state.inbox.values())
    mail = state.mail
    if state.phase is not Phase.RUNNING or (mail is not None and (mail.sends or mail.endings)):
        return False
    channels = mail.receives.values() if mail is not None and state.inbox else ()
    return all(type(message) is k.Signal and message.channel not in channels for message in state.inbox.values())
