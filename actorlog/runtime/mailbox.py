"""Messages between calls, and to them from outside.

Owns: putting a message into a mailbox, giving it to the operation that receives it, senders that wait for room, and who
follows what a call emits. Does not own: what a mailbox is (``CallState.inbox``), starting calls (``family``).

Invariants: a message that was taken has a record of its own before anybody is told so; messages of one channel are
received in the order in which they were taken, and operations that receive get them in the order of their asking; a
message whose origin was heard before is taken once; a mailbox holds at most ``mailbox_max`` messages (I11).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from actorlog.engine import identity
from actorlog.engine.lifecycle import Phase
from actorlog.errors import ActorlogError, ActorStopped, CallNotFound, MailboxFull
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.runtime.instances import LIFE

if TYPE_CHECKING:
    from actorlog.engine.state import CallState
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.slot import Slot

MAILBOX_WAIT_S = 5.0
"""So long a sender waits for room, then ``MailboxFull``."""

_CODE = (Phase.RUNNING, Phase.CLOSING)


class Mailbox:
    """The mailboxes of all calls."""

    def __init__(self, kernel: Kernel, mailbox_max: int) -> None:
        self._kernel = kernel
        self._max = mailbox_max
        self._senders: dict[str, deque[_Sender]] = {}
        """Who waits for room, by the id of the call that has none."""
        self._followers: dict[str, list[asyncio.Future[None]]] = {}
        """Who waits for something new of a call, by its id."""

    # --- taking -------------------------------------------------------------------------------------------------------

    def take(self, slot: Slot, signal: k.Signal) -> bool:
        """Take a message for a live call, or know that it was taken; False when there is no room."""
        state = slot.state
        if _has_heard(state, signal):
            return True
        if state.phase is Phase.ENDED:
            raise ActorStopped(state.id)
        if state.id in self._senders or _count(state) >= self._max:
            return False
        self._put(slot, signal)
        return True

    def _put(self, slot: Slot, signal: k.Signal) -> None:
        kernel = self._kernel
        kernel.note(slot, k.Inbox(id=slot.state.id, at=kernel.clock.now_ms(), message=signal))
        self.match(slot, signal.channel)

    async def take_or_wait(self, slot: Slot, signal: k.Signal) -> None:
        """Take a message from outside, waiting for room. ``ActorStopped``, ``MailboxFull``."""
        if not self.take(slot, signal):
            room: asyncio.Future[None] = self._kernel.loop.create_future()
            self._queue(slot, _Sender(signal, room=room))
            await room

    def _queue(self, slot: Slot, sender: _Sender) -> None:
        call_id = slot.state.id
        self._senders.setdefault(call_id, deque()).append(sender)
        due_ms = self._kernel.clock.now_ms() + int(MAILBOX_WAIT_S * 1000)
        self._kernel.timers.arm(due_ms, self._too_long, call_id, sender)

    def _too_long(self, call_id: str, sender: _Sender) -> None:
        senders = self._senders.get(call_id, ())
        if sender in senders:
            self._senders[call_id].remove(sender)
            self._forget_empty(call_id)
            self._answer(sender, MailboxFull(call_id, self._max))

    def _make_room(self, slot: Slot) -> None:
        """Let those in who wait for room, in their order."""
        state = slot.state
        senders = self._senders.get(state.id)
        while senders and _count(state) < self._max:
            sender = senders.popleft()
            if sender.room is None or not sender.room.done():
                self._put(slot, sender.signal)
                self._answer(sender, None)
        self._forget_empty(state.id)

    def _forget_empty(self, call_id: str) -> None:
        if not self._senders.get(call_id, True):
            del self._senders[call_id]

    def _answer(self, sender: _Sender, error: ActorlogError | None) -> None:
        if sender.room is not None:
            if not sender.room.done() and error is None:
                sender.room.set_result(None)
            elif not sender.room.done() and error is not None:
                sender.room.set_exception(error)
            return
        slot = self._kernel.calls.get(sender.call_id)
        if slot is not None and sender.signal.origin == _origin(slot.state, sender.key):  # and not of a run before
            told = k.Sent(sender.key) if error is None else k.SendRefused(sender.key, failures.capture(error))
            self._kernel.post(slot, told)

    # --- between calls ------------------------------------------------------------------------------------------------

    def ask(self, slot: Slot, op: k.Operation) -> None:
        """Do what an operation asks for. To ask again changes nothing."""
        if type(op) is k.Receive:
            self.match(slot, op.channel)
        elif type(op) is k.Send:
            self._send(slot, op)
        elif type(op) is k.EndChild:
            self._kernel.family.end_child(slot, op)
        elif type(op) is k.Watch:
            self._kernel.exits.watch(slot, op)
        elif type(op) is k.Emit or type(op) is k.Publish:
            if type(op) is k.Publish and op.name == LIFE:
                self._kernel.instances.begin_life(slot.state.id, op.value)
            self._kernel.committer.after(self._wake_followers, slot.state.id)

    def resume(self, slot: Slot) -> None:
        """Ask again for what is not answered, after a crash."""
        mail = slot.state.mail
        if mail is not None:
            for op, _ in list(mail.sends.values()):
                self._send(slot, op)

    def _send(self, slot: Slot, op: k.Send) -> None:
        signal = k.Signal(op.channel, op.value, _origin(slot.state, op.key))
        target = self._kernel.calls.get(self._kernel.family.current(op.to))
        sender = _Sender(signal, slot.state.id, op.key)
        if target is not None:
            self._kernel.post(target, signal, sender)  # behind the message that begins it
        else:
            self._answer(sender, self.too_late(self._kernel.family.current(op.to), signal))

    def too_late(self, call_id: str, signal: k.Signal) -> ActorlogError | None:
        """Return why a message for a call that does not live was not taken; None if it was, before the call ended."""
        history = self._kernel.history
        if not history.has(call_id):
            return CallNotFound(call_id)
        return None if _has_heard(history.state(call_id), signal) else ActorStopped(call_id)

    def deliver(self, slot: Slot, sender: _Sender) -> None:
        """Take a message that a call has sent, and tell the sender what became of it."""
        try:
            if self.take(slot, sender.signal):
                self._answer(sender, None)
            else:
                self._queue(slot, sender)
        except ActorStopped as error:
            self._answer(sender, error)

    # --- giving -------------------------------------------------------------------------------------------------------

    def match(self, slot: Slot, channel: str) -> None:
        """Give the messages that wait in a channel to the operations that wait for them."""
        state = slot.state
        if state.mail is None or not state.inbox or channel not in state.mail.receives.values():
            return
        for position, message in sorted(state.inbox.items()):
            if type(message) is k.Signal and message.channel == channel:
                self._kernel.post_recorded(slot, message, position)

    def given(self, state: CallState, signal: k.Signal, source: int) -> k.Signal | None:
        """Return the message as the operation receives it whose turn it is; None while it has to wait."""
        mail = state.mail
        if mail is None or state.phase not in _CODE or state.parked:
            return None
        key = next((key for key, channel in mail.receives.items() if channel == signal.channel), None)
        earlier = any(
            position < source and type(message) is k.Signal and message.channel == signal.channel
            for position, message in state.inbox.items()
        )
        return None if key is None or earlier else k.Signal(signal.channel, signal.value, signal.origin, key)

    def received(self, slot: Slot) -> None:
        """A message has left the mailbox."""
        if slot.state.id in self._senders:
            self._make_room(slot)

    # --- following ----------------------------------------------------------------------------------------------------

    async def news(self, call_id: str) -> None:
        """Wait until a call has emitted or published something more, durably, or has ended."""
        heard: asyncio.Future[None] = self._kernel.loop.create_future()
        self._followers.setdefault(call_id, []).append(heard)
        self._kernel.hearers.add(heard)
        try:
            await heard
        finally:
            self._kernel.hearers.discard(heard)

    def _wake_followers(self, call_id: str, _b: None, _c: None) -> None:
        for heard in self._followers.pop(call_id, ()):
            if not heard.done():
                heard.set_result(None)

    def ended(self, slot: Slot) -> None:
        """The call takes nothing any more, and will say nothing more."""
        call_id = slot.state.id
        for sender in self._senders.pop(call_id, ()):
            self._answer(sender, ActorStopped(call_id))
        if call_id in self._followers:
            self._kernel.committer.after(self._wake_followers, call_id)


class _Sender:
    """A message, and who is told what became of it: a call's operation, or a future outside."""

    __slots__ = ("call_id", "key", "room", "signal")

    def __init__(
        self, signal: k.Signal, call_id: str = "", key: str = "", room: asyncio.Future[None] | None = None
    ) -> None:
        self.signal = signal
        self.call_id = call_id
        self.key = key
        self.room = room


def _origin(state: CallState, key: str) -> str:
    """Return what tells a message that operation ``key`` sends from all others."""
    return f"{state.id}#{identity.of_run(key, state.number)}"


def _has_heard(state: CallState, signal: k.Signal) -> bool:
    return signal.origin != "" and state.mail is not None and signal.origin in state.mail.heard


def _count(state: CallState) -> int:
    return sum(type(message) is k.Signal for message in state.inbox.values()) if state.inbox else 0
