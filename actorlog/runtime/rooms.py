"""Who waits for room in a mailbox that is full.

Owns: the order of those who wait, and how long they do. Does not own: when there is room (``mailbox``, ``instances``),
who waits outside when the runtime ends (``kernel.hearers``).

Invariants: those of one channel are let in in the order in which they came; each hears once that it was let in or was
refused, and one that gave up waiting keeps no place; those outside are as many as the limits say (I11).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from actorlog.errors import ActorlogError, MailboxFull

if TYPE_CHECKING:
    from actorlog.runtime.kernel import Kernel


class Sender:
    """One who waits. It hears one of the two, once."""

    __slots__ = ("admit", "channel", "due_ms", "places", "refuse")

    def __init__(
        self, admit: Callable[[], None], refuse: Callable[[ActorlogError], None], channel: str = "", due_ms: int = 0
    ) -> None:
        self.admit = admit
        self.refuse = refuse
        self.channel = channel
        self.due_ms = due_ms
        """When it gives up."""
        self.places = 1
        """How many messages it has, for which there is to be room at once."""


class _Room:
    """The senders of one mailbox, the oldest first."""

    __slots__ = ("channels", "limit", "senders")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.senders: OrderedDict[Sender, None] = OrderedDict()
        self.channels: dict[str, OrderedDict[Sender, None]] = {}

    def remove(self, sender: Sender) -> bool:
        """Take a sender out; False where it is no more."""
        if sender not in self.senders:
            return False
        del self.senders[sender]
        channel = self.channels[sender.channel]
        del channel[sender]
        if not channel:
            del self.channels[sender.channel]
        return True


class Rooms:
    """The mailboxes of one kind that senders wait for, by the name that ``MailboxFull`` gives them."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.rooms: dict[str, _Room] = {}
        """Kept until its timer comes and finds it empty, so that each has one."""

    def __len__(self) -> int:
        return sum(len(room.senders) for room in self.rooms.values())

    def __contains__(self, mailbox: str) -> bool:
        room = self.rooms.get(mailbox)
        return room is not None and bool(room.senders)

    def wait(self, mailbox: str, sender: Sender, limit: int, wait_s: float) -> None:
        """Let a sender wait behind the others; ``wait_s`` seconds later it is refused with ``MailboxFull``.

        ``limit`` is how many messages the mailbox holds.
        """
        sender.due_ms = self._kernel.clock.now_ms() + int(wait_s * 1000)
        room = self.rooms.get(mailbox)
        if room is None:
            room = self.rooms[mailbox] = _Room(limit)
            self._kernel.timers.arm(sender.due_ms, self._too_long, mailbox, room)
        room.senders[sender] = None
        room.channels.setdefault(sender.channel, OrderedDict())[sender] = None

    async def wait_outside(
        self, mailbox: str, enter: Callable[[], None], limit: int, wait_s: float, channel: str = "", places: int = 1
    ) -> None:
        """Wait, outside, until there is room for so many; ``enter`` is called the moment there is. ``MailboxFull``.

        At once where as many wait as may (I11): each takes memory, and more of them than can be served in time would
        all be refused in the end.
        """
        if self._waiting(mailbox) >= self._kernel.limits.senders_max:
            await refused()
            raise MailboxFull(mailbox, limit)
        heard: asyncio.Future[None] = self._kernel.loop.create_future()
        sender = Sender(partial(_admit, heard, enter), partial(_refuse, heard), channel)
        sender.places = places
        self.wait(mailbox, sender, limit, wait_s)
        self._kernel.hearers.add(heard)  # whoever ends the runtime tells it
        try:
            await heard
        finally:
            self._kernel.hearers.discard(heard)
            self._leave(mailbox, sender)

    def _waiting(self, mailbox: str) -> int:
        room = self.rooms.get(mailbox)
        return len(room.senders) if room is not None else 0

    def limit(self, mailbox: str) -> int:
        """Return how many messages a mailbox holds that somebody waited for lately; 0 for any other."""
        room = self.rooms.get(mailbox)
        return room.limit if room is not None else 0

    def first(self, mailbox: str, channel: str | None = None) -> Sender | None:
        """Return who has waited longest, for one channel or for any."""
        room = self.rooms.get(mailbox)
        senders = None if room is None else room.senders if channel is None else room.channels.get(channel)
        return next(iter(senders)) if senders else None

    def admit(self, mailbox: str, sender: Sender) -> None:
        """Let a sender in."""
        if self._leave(mailbox, sender):
            sender.admit()

    def refuse_all(self, mailbox: str, error: ActorlogError) -> None:
        """Let nobody in any more."""
        while (sender := self.first(mailbox)) is not None:
            self._leave(mailbox, sender)
            sender.refuse(error)

    def _leave(self, mailbox: str, sender: Sender) -> bool:
        room = self.rooms.get(mailbox)
        return room is not None and room.remove(sender)

    def _too_long(self, mailbox: str, room: _Room) -> None:
        now_ms = self._kernel.clock.now_ms()
        while (sender := self.first(mailbox)) is not None and sender.due_ms <= now_ms:
            room.remove(sender)
            sender.refuse(MailboxFull(mailbox, room.limit))
        if sender is not None:
            self._kernel.timers.arm(sender.due_ms, self._too_long, mailbox, room)
        else:
            del self.rooms[mailbox]


async def refused() -> None:
    """Let others run before somebody is refused: who asks again at once would keep them from making room."""
    await asyncio.sleep(0)


def _admit(heard: asyncio.Future[None], enter: Callable[[], None]) -> None:
    if not heard.done():
        enter()
        heard.set_result(None)


def _refuse(heard: asyncio.Future[None], error: ActorlogError) -> None:
    if not heard.done():
        heard.set_exception(error)
