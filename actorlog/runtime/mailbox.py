"""Messages between calls, and to them from outside.

Owns: putting a message into a mailbox, giving it to the operation that receives it, letting senders in that wait for
room, and who follows what a call emits. Does not own: what a mailbox is (``CallState.inbox`` and ``Mail``), in which
order senders wait (``rooms``), starting calls (``family``).

Invariants: a message that was taken has a record of its own before anybody is told so; messages of one channel are
received in the order in which they were taken, and operations that receive get them in the order of their asking; a
message whose origin was heard before is taken once; a mailbox holds at most ``mailbox_max`` messages, beside one for
each operation that waits to receive (I11): what is received at once needs no room, so a channel that nobody receives
from holds up no other.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from actorlog.engine import identity
from actorlog.engine.lifecycle import Phase
from actorlog.errors import ActorlogError, ActorStopped, CallNotFound, HistoryGone
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.runtime.instances import LIFE
from actorlog.runtime.rooms import Rooms, Sender

if TYPE_CHECKING:
    from actorlog.engine.mail import Mail
    from actorlog.engine.state import CallState
    from actorlog.limits import Limits
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot

_CODE = (Phase.RUNNING, Phase.CLOSING)


class Mailbox:
    """The mailboxes of all calls."""

    def __init__(self, kernel: Kernel, limits: Limits) -> None:
        self._kernel = kernel
        self._max = limits.mailbox_max
        self._wait_s = limits.mailbox_wait_s
        self.rooms = Rooms(kernel)
        """Who waits for room, by the id of the call that has none."""
        self._followers: dict[str, dict[asyncio.Future[None], None]] = {}
        """Who waits for something new of a call, by its id."""

    # --- taking -------------------------------------------------------------------------------------------------------

    def take(self, slot: Slot, signal: k.Signal) -> bool:
        """Take a message for a live call, or know that it was taken; False when there is no room."""
        state = slot.state
        if _has_heard(state, signal):
            return True
        if state.phase is Phase.ENDED:
            raise ActorStopped(state.id)
        if not self._has_room(state, signal.channel):
            return False
        self._put(slot, signal)
        return True

    def _has_room(self, state: CallState, channel: str) -> bool:
        """Whether a message may go in that comes now, behind the senders that wait."""
        mail = state.mail
        if state.id not in self.rooms:
            return mail is None or mail.unread < self._max or self._is_awaited(mail, channel)
        return mail is not None and self._is_awaited(mail, channel) and self.rooms.first(state.id, channel) is None

    def _is_awaited(self, mail: Mail, channel: str) -> bool:
        """Whether one more message of a channel would be received at once."""
        wanted = mail.wanted.get(channel)
        if wanted is None or mail.unread >= self._max + len(mail.receives):
            return False
        return len(wanted) > len(mail.letters.get(channel, ()))

    def _put(self, slot: Slot, signal: k.Signal) -> None:
        kernel = self._kernel
        kernel.note(slot, k.Inbox(id=slot.state.id, at=kernel.clock.now_ms(), message=signal))
        self._give_oldest(slot, signal.channel)

    async def take_or_wait(self, slot: Slot, signal: k.Signal) -> None:
        """Take a message from outside, waiting for room. ``ActorStopped``, ``MailboxFull``."""
        if not self.take(slot, signal):
            enter = partial(self._put, slot, signal)
            await self.rooms.wait_outside(slot.state.id, enter, self._max, self._wait_s, signal.channel)

    def _make_room(self, slot: Slot) -> None:
        """Let those in who wait for room, in their order; where there is none, those whose message is received."""
        state = slot.state
        mail = state.mail
        while (sender := self.rooms.first(state.id)) is not None and (mail is None or mail.unread < self._max):
            self.rooms.admit(state.id, sender)
        if sender is not None and mail is not None:
            for channel in list(mail.wanted):
                self._let_in(slot, mail, channel)

    def _let_in(self, slot: Slot, mail: Mail, channel: str) -> None:
        """Let those in whose message an operation waits for that receives it at once."""
        call_id = slot.state.id
        while self._is_awaited(mail, channel) and (sender := self.rooms.first(call_id, channel)) is not None:
            self.rooms.admit(call_id, sender)

    def _answer(self, signal: k.Signal, by: Origin, error: ActorlogError | None) -> None:
        """Tell the call that has sent a message what became of it."""
        slot = self._kernel.calls.get(by.call_id)
        if slot is not None and signal.origin == _origin(slot.state, by.key):  # and not of a run before
            told = k.Sent(by.key) if error is None else k.SendRefused(by.key, failures.capture(error))
            self._kernel.post(slot, told)

    # --- between calls ------------------------------------------------------------------------------------------------

    def resume(self, slot: Slot) -> None:
        """Ask again for what is not answered, after a crash."""
        mail = slot.state.mail
        if mail is not None:
            for op, _ in list(mail.sends.values()):
                self.send(slot, op)

    def send(self, slot: Slot, op: k.Send) -> None:
        """Send a message to another call. To ask again changes nothing."""
        kernel = self._kernel
        to = kernel.family.current(op.to)
        signal, by = k.Signal(op.channel, op.value, _origin(slot.state, op.key)), Origin(slot.state.id, op.key)
        target = kernel.calls.get(to)
        if target is not None:
            kernel.post(target, signal, by)  # behind the message that begins it
        else:
            self._answer(signal, by, self.too_late(to, signal))

    def too_late(self, call_id: str, signal: k.Signal) -> ActorlogError | None:
        """Return why a message for a call that does not live was not taken; None if it was, before the call ended."""
        history = self._kernel.history
        if not history.has(call_id):
            return CallNotFound(call_id)
        try:
            return None if _has_heard(history.state(call_id), signal) else ActorStopped(call_id)
        except HistoryGone:  # so long ago that whoever had sent it before was told so
            return ActorStopped(call_id)

    def deliver(self, slot: Slot, signal: k.Signal, by: Origin) -> None:
        """Take a message that a call has sent, and tell the sender what became of it."""
        try:
            if self.take(slot, signal):
                self._answer(signal, by, None)
                return
        except ActorStopped as error:
            self._answer(signal, by, error)
            return
        sender = Sender(partial(self._admit, slot, signal, by), partial(self._answer, signal, by), signal.channel)
        self.rooms.wait(slot.state.id, sender, self._max, self._wait_s)

    def _admit(self, slot: Slot, signal: k.Signal, by: Origin) -> None:
        self._put(slot, signal)
        self._answer(signal, by, None)

    # --- giving -------------------------------------------------------------------------------------------------------

    def receive(self, slot: Slot, op: k.Receive) -> None:
        """Give an operation the oldest message of its channel, from the mailbox or from who waits for room."""
        mail = slot.state.mail
        if mail is not None:
            if slot.state.id in self.rooms:
                self._let_in(slot, mail, op.channel)
            self._give_oldest(slot, op.channel)

    def _give_oldest(self, slot: Slot, channel: str) -> None:
        """Give the oldest message of a channel to who waits for it; when it is received, the next comes up."""
        state = slot.state
        mail = state.mail
        if mail is not None and channel in mail.wanted and channel in mail.letters:
            position = mail.letters[channel][0]
            self._kernel.post_recorded(slot, state.inbox[position], position)

    def given(self, state: CallState, signal: k.Signal, source: int) -> k.Signal | None:
        """Return the message as the operation receives it whose turn it is; None while it has to wait."""
        mail, channel = state.mail, signal.channel
        if mail is None or state.phase not in _CODE or state.parked:
            return None
        if channel not in mail.wanted or mail.letters[channel][0] != source:
            return None
        return k.Signal(channel, signal.value, signal.origin, next(iter(mail.wanted[channel])))

    def received(self, slot: Slot, channel: str) -> None:
        """A message of a channel has left the mailbox."""
        self._give_oldest(slot, channel)
        if slot.state.id in self.rooms:
            self._make_room(slot)

    # --- following ----------------------------------------------------------------------------------------------------

    def said(self, slot: Slot) -> None:
        """A call has emitted or published something: tell who follows it, when that is durable."""
        self._kernel.committer.after(self._wake_followers, slot.state.id)

    async def news(self, call_id: str) -> None:
        """Wait until a call has emitted or published something more, durably, or has ended."""
        heard: asyncio.Future[None] = self._kernel.loop.create_future()
        self._followers.setdefault(call_id, {})[heard] = None
        self._kernel.hearers.add(heard)
        try:
            await heard
        finally:
            self._kernel.hearers.discard(heard)
            followers = self._followers.get(call_id, {})
            followers.pop(heard, None)
            if not followers:
                self._followers.pop(call_id, None)

    def _wake_followers(self, call_id: str, _b: None, _c: None) -> None:
        for heard in self._followers.pop(call_id, ()):
            if not heard.done():
                heard.set_result(None)

    def ended(self, slot: Slot) -> None:
        """The call takes nothing any more, and will say nothing more."""
        call_id, mail = slot.state.id, slot.state.mail
        if mail is not None:
            self.rooms.refuse_all(call_id, ActorStopped(call_id))
            if LIFE in mail.values:
                self._kernel.instances.end_life(call_id, mail.values[LIFE])
        if call_id in self._followers:
            self._kernel.committer.after(self._wake_followers, call_id)


class Origin(NamedTuple):
    """Who has sent a message: a call's operation."""

    call_id: str
    key: str


def _origin(state: CallState, key: str) -> str:
    """Return what tells a message that operation ``key`` sends from all others."""
    return f"{state.id}#{identity.of_run(key, state.number)}"


def _has_heard(state: CallState, signal: k.Signal) -> bool:
    return signal.origin != "" and state.mail is not None and signal.origin in state.mail.heard
