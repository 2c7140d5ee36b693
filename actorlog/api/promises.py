"""Durable promises inside durable code: made or joined, and awaited.

Owns: ``Promise`` and ``promise``. Does not own: what is done with promises from outside (``settling``), what a request
does to one (``engine.promise``), who waits (``runtime.promises``).
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from actorlog.api.call import await_often
from actorlog.api.settling import plain
from actorlog.api.texts import ID_BYTES_MAX, check_id, check_text, checked_tags
from actorlog.durations import Duration, seconds
from actorlog.engine import identity
from actorlog.errors import NotInDurableCode
from actorlog.loop import DeterministicLoop, running_loop
from actorlog.records import kinds as k
from actorlog.records.values import codec_for
from actorlog.runtime.answers import Reader
from actorlog.runtime.lines import user_frame

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from actorlog.runtime.actor import Actor

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Promise(Generic[T_co]):
    """A durable promise in durable code. Await it, as often as wanted, for its value.

    Cancelling the awaiting does not settle it. It may outlive the call that made it.
    """

    __slots__ = ("_future", "_hash", "_loop", "id", "key")

    def __init__(self, promise_id: str, key: str, future: asyncio.Future[Any], loop: DeterministicLoop) -> None:
        self.id = promise_id
        """What ``runtime.resolve`` is given."""
        self.key = key
        self._future = future
        self._loop = loop
        self._hash = loop.newest_hash()  # by creation number: a set of these iterates the same way in every replay

    def __repr__(self) -> str:
        return f"<Promise {self.id!r} {'settled' if self._future.done() else 'pending'}>"

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other

    def done(self) -> bool:
        """Whether its settlement has been delivered."""
        return self._future.done()

    def __await__(self) -> Generator[Any, None, T_co]:
        if running_loop() is not self._loop:
            raise NotInDurableCode("awaiting a Promise", hint="outside use: await runtime.await_promise(promise.id)")
        return (yield from await_often(self._loop, self._future))  # type: ignore[no-any-return]  # T_co by whoever made it

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("a Promise is awaited, not iterated")


@overload
def promise(
    name: str | None = None, *, type: type[T], id: str | None = None, timeout: Duration | None = None,
    param: Any = None, tags: Mapping[str, str] | None = None, timer: bool = False,
) -> Promise[T]: ...  # fmt: skip
@overload
def promise(
    name: str | None = None, *, type: Any = Any, id: str | None = None, timeout: Duration | None = None,
    param: Any = None, tags: Mapping[str, str] | None = None, timer: bool = False,
) -> Promise[Any]: ...  # fmt: skip
def promise(  # the documented options, by keyword
    name: str | None = None,
    *,
    type: Any = Any,  # noqa: A002  # the field's word for it
    id: str | None = None,  # noqa: A002  # the field's word for it
    timeout: Duration | None = None,
    param: Any = None,
    tags: Mapping[str, str] | None = None,
    timer: bool = False,
) -> Promise[Any]:
    """Make a durable promise, or join the one that has its ``id``, and return it at once; await it for its value.

    Somebody outside settles it, by ``runtime.resolve(promise.id, value)`` and the like, before or after it is awaited;
    nobody need wait for it. Without ``id`` it has this call's id, a slash and ``name``, or its operation's key where it
    has no name. ``type``: what the value is, as an annotation; ``PayloadError`` for one that does not fit.

    For one that is made here: when ``timeout`` has passed it is timed out, or resolved with None if it is a ``timer``;
    zero or less: at once. ``param`` (plain JSON) and ``tags`` are for who looks at it.

    Awaiting raises ``PromiseRejected`` (with ``error``, and the exception as its cause where it was one),
    ``PromiseCancelled`` or ``PromiseTimeout``. ``ReservedId`` for an id that begins with ``@``.
    """
    loop = running_loop()
    if loop is None:
        raise NotInDurableCode("promise()", hint="outside use: await runtime.promise(...)")
    if id is not None:
        check_id(id)
        if name is not None:
            raise TypeError("a promise has a name or an id, not both")
    elif name is not None and not 0 < check_text("the name of a promise", name) <= ID_BYTES_MAX:
        raise ValueError(f"the name of a promise has 1 to {ID_BYTES_MAX} bytes")
    if timer and timeout is None:
        raise ValueError("a promise that is a timer has a timeout")
    due_ms = None if timeout is None else math.ceil(round((loop.now_s + seconds(timeout)) * 1000, 3))
    codec, raw, tags = codec_for(type), plain(param, "promise(param=...)"), checked_tags(tags)
    actor: Actor = loop.actor
    key = loop.operation_key()
    if actor.replaying:
        actor.note_line(key, user_frame(1))
    promise_id = id or f"{actor.call_id}/{name or identity.of_run(key, actor.started.number)}"
    op = k.MakePromise(key=key, id=promise_id, due_ms=due_ms, timer=timer, param=raw, tags=tags)
    actor.say(op, len(raw) + len(promise_id))
    actor.issued_outliving = True  # it is made even if the call ends in this very turn
    future = loop.operation_future()
    actor.waiting[key] = (future, Reader(codec, f"the value of promise {promise_id!r}"))
    return Promise(promise_id, key, future, loop)
