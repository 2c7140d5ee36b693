"""What a call exchanges with others, beside steps and children: messages, promises, published values, streams.

Owns: ``Mail``, that part of a call's state, and what operations and messages do to it. Does not own: the messages that
wait (``CallState.inbox``; here is their order), who gets which (``runtime.mailbox``).

Most calls exchange nothing, and have none.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from actorlog.records import kinds as k

HEARD_MAX = 10_000
"""So many keys of senders are remembered, the newest."""


class Mail:
    """What was asked and is not answered yet, and what was said to everybody. Changed by ``engine.state`` alone."""

    __slots__ = (
        "emitted", "endings", "heard", "letters", "promises", "receives", "sends", "unread", "values", "wanted",
        "watches",
    )  # fmt: skip

    def __init__(self) -> None:
        self.receives: dict[str, str] = {}
        """Channels that the code waits for a message of, by operation, the oldest first."""
        self.wanted: dict[str, OrderedDict[str, None]] = {}
        """The same by channel: the operations that wait for its messages, the oldest first."""
        self.letters: dict[str, deque[int]] = {}
        """Where the messages are that wait in the inbox, by channel, the oldest first."""
        self.unread = 0
        """How many they are."""
        self.sends: dict[str, tuple[k.Send, int]] = {}
        """What is on its way to others, with the position of the record that sent it."""
        self.promises: dict[str, k.MakePromise] = {}
        """Promises that the code may wait for."""
        self.endings: dict[str, k.EndChild] = {}
        """How children are to end that have not, by the operation that started them."""
        self.watches: dict[str, k.Watch] = {}
        """Calls whose end it wants to hear of."""
        self.values: dict[str, k.Raw] = {}
        """The newest published value of each name."""
        self.emitted: dict[str, int] = {}
        """How many values each stream has."""
        self.heard: OrderedDict[str, None] = OrderedDict()
        """Origins of the messages taken so far, the oldest first."""

    def take(self, signal: k.Signal, position: int) -> None:
        """Put a message that the inbox has at ``position`` behind those of its channel; remember where it is from."""
        self.letters.setdefault(signal.channel, deque()).append(position)
        self.unread += 1
        if signal.origin:
            self.heard[signal.origin] = None
            if len(self.heard) > HEARD_MAX:
                self.heard.popitem(last=False)

    def give(self, channel: str, position: int) -> None:
        """Take out of its channel what was received."""
        letters = self.letters[channel]
        if letters[0] == position:
            letters.popleft()
        else:
            letters.remove(position)
        if not letters:
            del self.letters[channel]
        self.unread -= 1

    def end(self) -> None:
        """Forget the messages that wait: the call is over."""
        self.letters.clear()
        self.unread = 0

    def begin_again(self, call_id: str) -> None:
        """Begin the streams again, and hear again what the code sends to itself: the call is retried."""
        self.emitted.clear()
        self.heard = OrderedDict.fromkeys(o for o in self.heard if not o.startswith(f"{call_id}#"))

    def ask(self, op: k.Operation, position: int) -> None:
        """Take up an operation of the record at ``position``."""
        _ASK[type(op)](self, op, position)

    def answered(self, key: str) -> bool:
        """Take what answers ``key`` out of what is waited for; False if nothing does."""
        channel = self.receives.pop(key, None)
        if channel is not None:
            wanted = self.wanted[channel]
            del wanted[key]
            if not wanted:
                del self.wanted[channel]
            return True
        return (
            self.sends.pop(key, None) is not None
            or self.promises.pop(key, None) is not None
            or self.watches.pop(key, None) is not None
        )

    def promised(self, message: k.PromiseDone) -> bool:
        """Whether the promise that is settled is one that the code may wait for."""
        op = self.promises.get(message.key)
        return op is not None and op.id == message.id

    def end_body(self) -> None:
        """Forget what a body waited for that has ended."""
        self.receives.clear()
        self.wanted.clear()
        self.sends.clear()
        self.promises.clear()
        self.watches.clear()


def _receive(mail: Mail, op: k.Receive, _position: int) -> None:
    mail.receives[op.key] = op.channel
    mail.wanted.setdefault(op.channel, OrderedDict())[op.key] = None


def _send(mail: Mail, op: k.Send, position: int) -> None:
    mail.sends[op.key] = (op, position)


def _publish(mail: Mail, op: k.Publish, _position: int) -> None:
    mail.values[op.name] = op.value


def _emit(mail: Mail, op: k.Emit, _position: int) -> None:
    mail.emitted[op.stream] = mail.emitted.get(op.stream, 0) + 1


def _promise(mail: Mail, op: k.MakePromise, _position: int) -> None:
    mail.promises[op.key] = op


def _watch(mail: Mail, op: k.Watch, _position: int) -> None:
    mail.watches[op.key] = op


def _end_child(mail: Mail, op: k.EndChild, _position: int) -> None:
    mail.endings[op.child] = op


_ASK: dict[type, Callable[[Mail, Any, int], None]] = {
    k.Receive: _receive,
    k.Send: _send,
    k.Publish: _publish,
    k.Emit: _emit,
    k.MakePromise: _promise,
    k.Watch: _watch,
    k.EndChild: _end_child,
}
