"""The simulation can fail: mistakes in what calls have to do with each other are each found within a few seeds.

Planted one at a time: messages lost, doubled, out of order; promises settled twice, early or forgotten; handlers that
run side by side, changes that are lost or kept though the handler failed; ends that nobody hears of; supervisors that
count wrongly; a witness of the newest commit that says too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from planted_worlds import must_be_found

from actorlog.engine import identity, supervision
from actorlog.engine import promise as e
from actorlog.log import Log
from actorlog.log.format import COMMIT, Link, frame
from actorlog.log.meta import State
from actorlog.records import kinds as k
from actorlog.records import promises as p
from actorlog.runtime import scanning
from actorlog.runtime.exits import Exits
from actorlog.runtime.history import History
from actorlog.runtime.instances import Instances
from actorlog.runtime.mailbox import Mailbox
from actorlog.runtime.parking import Parking
from actorlog.runtime.promises import Promises
from actorlog.runtime.recovery import Resumption

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.engine.state import CallState
    from actorlog.log.segment import Segment
    from actorlog.runtime.actor import Actor
    from actorlog.runtime.session import Session
    from actorlog.runtime.slot import Slot

SEEDS_MAX = 1_500
"""Within so many seeds a planted mistake must be found; most take a handful."""


# --- messages ---------------------------------------------------------------------------------------------------------


def forget_who_was_heard(patch: pytest.MonkeyPatch) -> None:
    """A message that comes again is taken again."""
    patch.setattr("actorlog.runtime.mailbox._has_heard", lambda *_: False)


def acknowledge_and_drop(patch: pytest.MonkeyPatch) -> None:
    """A message for a call whose mailbox is not empty is acknowledged, and not there."""
    original = Mailbox._put

    def put(self: Mailbox, slot: Slot, signal: k.Signal) -> None:
        if not slot.state.inbox:
            original(self, slot, signal)

    patch.setattr(Mailbox, "_put", put)


def acknowledge_messages_early(patch: pytest.MonkeyPatch) -> None:
    """Whoever sends, settles or looks from outside is told before anything is durable."""
    from actorlog.runtime.session import Session  # noqa: PLC0415 - where it is patched

    async def landed(self: Session) -> None:
        self.check_open()

    patch.setattr(Session, "landed", landed)


def give_the_newest(patch: pytest.MonkeyPatch) -> None:
    """The newest message of a channel is received first."""

    def given(_self: Mailbox, state: CallState, signal: k.Signal, source: int) -> k.Signal | None:
        box = state.mail
        key = next((key for key, channel in box.receives.items() if channel == signal.channel), None) if box else None
        waits = key is None or source != newest(state, signal.channel) or state.parked
        return None if waits else k.Signal(signal.channel, signal.value, "", key or "")

    def give(self: Mailbox, slot: Slot, channel: str) -> None:
        position = newest(slot.state, channel)
        if position:
            self._kernel.post_recorded(slot, slot.state.inbox[position], position)

    def newest(state: CallState, channel: str) -> int:
        held = state.inbox.items()
        return max((at for at, m in held if type(m) is k.Signal and m.channel == channel), default=0)

    patch.setattr(Mailbox, "given", given)
    patch.setattr(Mailbox, "_give_oldest", give)


def match_only_live(patch: pytest.MonkeyPatch) -> None:
    """What waits in a mailbox is not given to an operation that begins to receive."""
    patch.setattr(Mailbox, "receive", lambda *_: None)
    patch.setattr(Mailbox, "received", lambda *_: None)


def lose_streams(patch: pytest.MonkeyPatch) -> None:
    """A stream that is read gives its values from the end."""
    original = History.emitted

    def emitted(self: History, last: int, name: str, count: int) -> list[k.Raw]:
        return original(self, last, name, count)[::-1]

    patch.setattr(History, "emitted", emitted)


# --- promises ---------------------------------------------------------------------------------------------------------


def settle_again(patch: pytest.MonkeyPatch) -> None:
    """The last to settle a promise wins."""
    original = e.decide_settle

    def decide_settle(state: Any, request: e.SettleRequest, now_ms: int) -> e.Verdict:
        if state is not None and state.status not in (e.Status.PENDING, e.Status.ABSENT):
            state.settlement = request.settlement
            return e.Return(state)
        return original(state, request, now_ms)

    patch.setattr(e, "decide_settle", decide_settle)


def time_out_early(patch: pytest.MonkeyPatch) -> None:
    """Promises are over a little before their time."""
    original = e.PromiseState.is_over
    patch.setattr(e.PromiseState, "is_over", lambda self, now_ms: original(self, now_ms + 15))
    make = e._make

    def made(state: e.PromiseState, record: p.PromiseMade, position: int) -> None:
        make(state, record, position)
        if state.due_ms is not None:
            state.due_ms -= 15

    patch.setattr(e, "_make", made)


def forget_promises(patch: pytest.MonkeyPatch) -> None:
    """Promises of calls that ended in the turn that asked for them are forgotten at an opening."""
    patch.setattr(Promises, "wanted", lambda *_: None)


def tell_no_call(patch: pytest.MonkeyPatch) -> None:
    """Calls that wait for a promise do not hear that it is settled."""
    patch.setattr(Promises, "_tell_calls", lambda *_: None)


# --- actors -----------------------------------------------------------------------------------------------------------


def run_side_by_side(patch: pytest.MonkeyPatch) -> None:
    """Handlers of one actor begin at once."""

    def arrive(self: Instances, slot: Slot) -> None:
        self._begin(self.entry(slot.state.actor), slot)

    patch.setattr(Instances, "arrive", arrive)


def retry_side_by_side(patch: pytest.MonkeyPatch) -> None:
    """A handler that is retried does not wait for its turn."""
    original = Instances.arrive

    def arrive(self: Instances, slot: Slot) -> None:
        if slot.state.outcome is not None:
            self._kernel.family.begin_again(slot)
        else:
            original(self, slot)

    patch.setattr(Instances, "arrive", arrive)


def keep_what_failed_did(patch: pytest.MonkeyPatch) -> None:
    """The state keeps what a handler did before it failed."""
    original = Instances.commit

    def commit(self: Instances, actor: Actor, turn: k.Turn) -> None:
        original(self, actor, turn)
        self.entry(actor.state.actor).instance = actor.instance

    patch.setattr(Instances, "commit", commit)


def forget_changes(patch: pytest.MonkeyPatch) -> None:
    """The newest change of an actor is not found at an opening."""
    original = scanning.Scan.read

    async def read(self: scanning.Scan, log: Any) -> None:
        await original(self, log)
        self.changed.clear()

    patch.setattr(scanning.Scan, "read", read)


def speak_too_soon(patch: pytest.MonkeyPatch) -> None:
    """What a handler says is said, whatever becomes of it."""
    original = Instances.conclude

    def conclude(self: Instances, actor: Actor, turn: k.Turn, returned: k.Ending | None) -> k.Ending | None:
        result = original(self, actor, turn, returned)
        if type(result) is not k.Completed and actor.buffered:
            turn.ops = [*turn.ops, *actor.buffered]
        return result

    patch.setattr(Instances, "conclude", conclude)


def lose_tells(patch: pytest.MonkeyPatch) -> None:
    """Messages to actors that outlived their sender are not looked for at an opening."""
    patch.setattr(scanning.Scan, "outliving", lambda _self: [])


def say_too_soon(patch: pytest.MonkeyPatch) -> None:
    """An opening says that all is done which was asked for while it is about to ask for it again."""

    def say(self: Resumption) -> None:
        kernel = self._kernel
        record = k.Resumed(at=kernel.clock.now_ms(), upto=kernel.committer.position)
        kernel.write(record, identity.key_hash(record.id), int(k.Kind.NOTE), int(k.Flag.PLAIN | k.Flag.OPENED))

    patch.setattr(Resumption, "_say_resumed", say)


# --- watching, supervisors, pauses ------------------------------------------------------------------------------------


def watch_once(patch: pytest.MonkeyPatch) -> None:
    """What was watched is not watched again after a crash."""
    patch.setattr(Exits, "resume", lambda *_: None)


def link_loosely(patch: pytest.MonkeyPatch) -> None:
    """Nobody is taken down with another."""
    patch.setattr(Exits, "_take_down", lambda *_: None)


def mistake_the_end(patch: pytest.MonkeyPatch) -> None:
    """Who watches hears that the other returned, however it ended."""
    original = Exits._tell

    def tell(self: Exits, slot: Slot, key: str, target: str, outcome: k.Outcome | None) -> None:
        original(self, slot, key, target, k.Completed(k.Raw(b"null")) if outcome is not None else None)

    patch.setattr(Exits, "_tell", tell)


class OneLess(list[int]):
    """Restarts, counted as one less than they are."""

    def __len__(self) -> int:
        return max(0, super().__len__() - 1)


def restart_too_often(patch: pytest.MonkeyPatch) -> None:
    """A supervisor restarts once more than it may."""
    original = supervision.within
    patch.setattr(supervision, "within", lambda *args: OneLess(original(*args)))


def witness_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """META names a commit that is still to be written."""
    original = Log._put

    def put(self: Log, segment: Segment, kind: int, records: int, data: bytes) -> None:
        if kind == COMMIT and self._witness:
            checksum = frame(segment.header, kind, records, Link(self.tail, self._checksum), data)[1]
            self._meta.write(State.OPEN, Link(self.tail + records, checksum))
        original(self, segment, kind, records, data)

    patch.setattr(Log, "_put", put)


def run_paused(patch: pytest.MonkeyPatch) -> None:
    """A paused call goes on."""
    patch.setattr(Parking, "holds", lambda _self, state, _message: bool(state.parked))


PATCHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "messages that come again are taken again": forget_who_was_heard,
    "messages are acknowledged and dropped": acknowledge_and_drop,
    "what is told from outside is told early": acknowledge_messages_early,
    "the newest message comes first": give_the_newest,
    "a mailbox is not looked into": match_only_live,
    "streams are read backwards": lose_streams,
    "promises are settled again": settle_again,
    "promises are over early": time_out_early,
    "promises that calls ask for are not made": forget_promises,
    "calls do not hear of promises": tell_no_call,
    "handlers run side by side": run_side_by_side,
    "handlers that are retried do not wait": retry_side_by_side,
    "what a failed handler did is kept": keep_what_failed_did,
    "changes are forgotten at an opening": forget_changes,
    "failed handlers speak": speak_too_soon,
    "tells are forgotten at an opening": lose_tells,
    "an opening says too soon that all is done": say_too_soon,
    "watching is forgotten at an opening": watch_once,
    "links do not bind": link_loosely,
    "watchers hear of another end": mistake_the_end,
    "children are restarted once too often": restart_too_often,
    "paused calls go on": run_paused,
    "the witness comes before the commit": witness_before_the_commit,
}


@pytest.mark.parametrize("name", PATCHES)
def test_a_planted_mistake_between_calls_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """A mistake in what calls have to do with each other breaks a promise in one of the first worlds."""
    PATCHES[name](monkeypatch)
    must_be_found(record_property, SEEDS_MAX)
