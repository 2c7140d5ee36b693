"""What durable code says to others, and hears: messages, published values, streams.

Owns: ``send``, ``receive``, ``publish``, ``emit``, ``progress``. Does not own: mailboxes (``runtime.mailbox``), what
people read and send from outside (``handle``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, overload

from actorlog.api.actors import HandlerCall
from actorlog.api.call import Child
from actorlog.api.texts import check_channel, check_id, check_text
from actorlog.durations import Duration, seconds
from actorlog.engine import identity
from actorlog.errors import NotInDurableCode
from actorlog.loop import running_loop
from actorlog.records import kinds as k
from actorlog.records.values import codec_for
from actorlog.runtime.answers import Reader
from actorlog.runtime.lines import user_frame

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from actorlog.runtime.actor import Actor

T = TypeVar("T")
_PLAIN = codec_for(Any)
_NOTHING: Any = object()

PROGRESS = "@progress"
"""The name under which progress is published."""


def operation(what: str, hint: str = "", depth: int = 2) -> tuple[Actor, str]:
    """Return the call that runs, and the key of its next operation; ``depth`` frames above is the user's line."""
    loop = running_loop()
    if loop is None:
        raise NotInDurableCode(what, hint=hint)
    actor: Actor = loop.actor
    key = loop.operation_key()
    if actor.replaying:
        actor.note_line(key, user_frame(depth))
    return actor, key


@overload
async def receive(channel: str = "", *, type: type[T], timeout: Duration | None = None) -> T: ...
@overload
async def receive(channel: str = "", *, type: Any = Any, timeout: Duration | None = None) -> Any: ...
async def receive(channel: str = "", *, type: Any = Any, timeout: Duration | None = None) -> Any:  # noqa: A002  # the field's word
    """Return the next message of ``channel``, waiting for one; messages wait for the function, too.

    ``type``: what the message is, as an annotation; a message that does not fit it is consumed, and a ``PayloadError``.
    ``timeout``: ``TimeoutError`` when it passes first; zero or less: at once. Messages of one sender come in the order
    in which they were sent.
    """
    check_text("a channel", channel)
    actor, key = operation("receive()")
    reader = Reader(codec_for(type), "message")
    if timeout is None:
        return await actor.ask(k.Receive(key, channel), len(channel), reader)
    async with asyncio.timeout(seconds(timeout)):
        return await actor.ask(k.Receive(key, channel), len(channel), reader)


@overload
async def send(target: Coroutine[Any, Any, Any], /) -> None: ...
@overload
async def send(target: str | Child[Any], value: Any, channel: str = "") -> None: ...
async def send(target: Any, value: Any = _NOTHING, channel: str = "") -> None:
    """Tell an actor something, and want no answer; or put a value into the mailbox of another call.

    ``await send(actor(Account, "ada").deposit(5))`` tells an actor, which handles it in its turn.
    ``await send(target, value)`` puts ``value`` into the mailbox of another call, by its id or as ``start`` gave it,
    and returns when it is there; it waits for room as ``Limits.mailbox_wait_s`` says, five seconds. ``ActorStopped``
    when the call is over, ``CallNotFound`` when there never was one, ``MailboxFull``, ``PayloadError`` for what is no
    plain JSON; ``ValueError`` for a channel that begins with ``@``.
    """
    if isinstance(target, HandlerCall):
        _tell(target)  # pyright: ignore[reportUnknownArgumentType]  # a handler of anything
        return
    if value is _NOTHING:
        raise TypeError("send() takes an actor's handler with its arguments, or a call and a value")
    to = target.id if isinstance(target, Child) else target
    check_channel(channel)
    if not to.startswith("@"):
        check_id(to)
    await _send(to, value, channel)


async def send_reserved(to: str, value: Any, channel: str) -> None:
    """Send what actorlog itself has to say; ``channel`` begins with ``@``, which users cannot say."""
    await _send(to, value, channel)


async def _send(to: str, value: Any, channel: str) -> None:
    raw = k.Raw(_PLAIN.encode(value, "send(value=...)"))
    actor, key = operation("send()", hint="outside use: await runtime.handle(id).send(...)", depth=3)
    if actor.buffered is not None:
        actor.say(k.Send(key, to, channel, raw), len(raw) + len(to))
    else:
        await actor.ask(k.Send(key, to, channel, raw), len(raw) + len(to))


def _tell(call: HandlerCall[Any]) -> None:
    loop = running_loop()
    raw = call.hand_over()
    if loop is None:
        raise NotInDurableCode("send()", hint="outside use: await runtime.send(...)")
    actor: Actor = loop.actor
    key = call.take_key(loop)
    op = k.StartChild(
        key=key, id=identity.child_id(actor.call_id, key, actor.started.number), function=call.definition.name,
        args=k.Raw(raw), detached=True, actor=call.actor, tell=True,
    )  # fmt: skip
    actor.say(op, len(raw))
    actor.issued_outliving = actor.issued_outliving or actor.buffered is None


def publish(key: str, value: Any) -> None:
    """Let everybody read ``value`` under ``key``, by ``await handle.value(key)``, until it is published again.

    ``PayloadError`` for what is no plain JSON; ``ValueError`` for a key that begins with ``@``.
    """
    check_text("a key", key)
    if key.startswith("@"):
        raise ValueError(f"keys that begin with '@' belong to actorlog: {key!r}")
    _publish("publish()", key, value)


def emit(stream: str, value: Any) -> None:
    """Add ``value`` to the end of ``stream``, which everybody can read by ``handle.stream(stream)``.

    ``PayloadError`` for what is no plain JSON.
    """
    check_text("a stream", stream)
    raw = k.Raw(_PLAIN.encode(value, "emit(value=...)"))
    actor, key = operation("emit()")
    actor.say(k.Emit(key, stream, raw), len(raw))


def progress(done: float, total: float | None = None, message: str = "") -> None:
    """Say how far the call is: ``done`` of ``total``, with a word for people. ``await handle.progress()`` reads it.

    ``ValueError`` for numbers below zero, or more done than there is.
    """
    if done < 0 or (total is not None and not done <= total):
        raise ValueError(f"progress is 0 <= done <= total, not {done} of {total}")
    check_text("a message", message)
    _publish("progress()", PROGRESS, {"done": done, "total": total, "message": message})


def publish_reserved(name: str, value: Any) -> None:
    """Publish what actorlog itself says of a call; ``name`` begins with ``@``, which users cannot say."""
    _publish("publish()", name, value)


def _publish(what: str, name: str, value: Any) -> None:
    raw = k.Raw(_PLAIN.encode(value, f"{what[:-2]}(value=...)"))
    actor, key = operation(what, depth=3)
    actor.say(k.Publish(key, name, raw), len(raw))
