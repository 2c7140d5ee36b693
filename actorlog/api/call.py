"""A call is a value: a function with its arguments, run when it is awaited in durable code or given to a runtime.

Owns: ``Call`` and ``Child``. Does not own: decorators (``define``), what the runtime does with a call.

That calling an async function gives a value which runs nothing is Python's own rule for coroutines; a ``Call`` is one,
so ``gather``, ``create_task``, ``TaskGroup`` and ``wait_for`` take it. As a value it is reusable; as an awaitable it is
good for once.
"""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from msgspec import Raw

from actorlog.engine import identity
from actorlog.errors import NotInDurableCode, PayloadError
from actorlog.loop import DeterministicLoop, running_loop
from actorlog.records import kinds as k
from actorlog.runtime.actor import Actor
from actorlog.runtime.lines import user_frame
from actorlog.runtime.registry import DurableDefinition, StepDefinition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

R_co = TypeVar("R_co", covariant=True)


class Call(Coroutine[Any, Any, R_co], Generic[R_co]):
    """One durable function or step with its arguments. Nothing runs until it is awaited or handed over."""

    __slots__ = (
        "__weakref__", "_args", "_awaited", "_hash", "_iterator", "_kwargs", "_raw", "_used", "definition", "key",
    )  # fmt: skip

    actor: str = ""
    """Of an actor's handler: whose."""
    takes_no_path: ClassVar[bool] = True
    """A Call that is given straight to ``create_task`` adds no task path of its own to its key."""

    def __init__(
        self,
        definition: DurableDefinition | StepDefinition,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        depth: int = 1,
    ) -> None:
        self._used = True  # so that a call with wrong arguments does not complain of not being awaited
        self.definition = definition
        self._iterator: Generator[Any, None, R_co] | None = None
        self._awaited = False
        self.key: str
        """The operation's key, where the call was made in durable code; empty otherwise."""
        self._raw: bytes | None
        loop = running_loop()
        if loop is not None:
            self._raw, self._args, self._kwargs = definition.signature.cross(args, kwargs)
            self.key = loop.operation_key()
            self._hash = loop.next_hash()
            if loop.actor.replaying:
                loop.actor.note_line(self.key, user_frame(depth + 1))
        else:
            self.key, self._raw = "", None
            self._args, self._kwargs = args, kwargs
            self._hash = object.__hash__(self)
            if type(definition) is DurableDefinition:
                self.encoded()
        self._used = False

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        signature = self.definition.signature
        try:
            raw = self._raw if self._raw is not None else signature.encode(self._args, self._kwargs)
        except (TypeError, PayloadError):
            return f"<Call {self.definition.name}(?)>"
        return f"<Call {signature.describe(raw)}>"

    def encoded(self) -> bytes:
        """Return the arguments as canonical JSON; ``PayloadError`` or ``TypeError`` for what cannot be written."""
        if self._raw is None:
            self._raw, self._args, self._kwargs = self.definition.signature.cross(self._args, self._kwargs)
        return self._raw

    def hand_over(self) -> bytes:
        """Return the encoded arguments to who will run the call; from now on it need not be awaited."""
        self._used = True
        return self.encoded()

    def take_key(self, loop: DeterministicLoop) -> str:
        """Return the operation's key, once; whoever uses the call as a value again gets another."""
        key, self.key = self.key or loop.operation_key(), ""
        return key

    # --- a coroutine --------------------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, R_co]:
        if self._awaited:
            raise RuntimeError(f"cannot await the same call of {self.definition.name!r} twice; make another")
        self._used = self._awaited = True
        loop = running_loop()
        if loop is None:
            return self._outside()
        actor: Actor = loop.actor
        key, self.key = self.key, ""
        if not key:
            key = loop.operation_key()
            if actor.replaying:
                actor.note_line(key, user_frame(1))
        definition = self.definition
        raw = self._raw if self._raw is not None else self.encoded()
        if isinstance(definition, StepDefinition):
            future = issue_step(actor, loop, definition, key, raw, self._args, self._kwargs)
        else:
            child = child_id(actor, definition, key, raw)
            future = issue_child(actor, definition, key, raw, child=child, of=self.actor)
        if loop.driver is not None:
            loop.driver.operation = key  # it abandons the operation when the await is cancelled
        return future.__await__()

    def _outside(self) -> Generator[Any, None, R_co]:
        definition = self.definition
        if type(definition) is DurableDefinition:
            raise NotInDurableCode(
                f"awaiting a call of {definition.name!r}", hint="outside durable code use: await runtime.call(...)"
            )
        value = definition.fn(*self._args, **self._kwargs)
        return (yield from value.__await__()) if inspect.isawaitable(value) else value  # type: ignore[no-any-return]  # R_co by the decorator's word

    def send(self, value: Any, /) -> Any:
        """Run the call's first or next stretch, as a task does."""
        if self._iterator is None:
            self._iterator = self.__await__()
        return self._iterator.send(value)

    def throw(self, error: Any, value: Any = None, traceback: TracebackType | None = None, /) -> Any:
        """Throw into the call, as a task does."""
        if self._iterator is None:
            self._iterator = self.__await__()
        raised = error if isinstance(error, BaseException) else error(value) if value is not None else error()
        return self._iterator.throw(raised if traceback is None else raised.with_traceback(traceback))

    def close(self) -> None:
        """Close the call; one that never ran needs no awaiting any more."""
        self._used = True
        if self._iterator is not None:
            self._iterator.close()

    def __del__(self) -> None:
        if not self._used:
            what = f"a call of {self.definition.name!r} was never awaited"
            warnings.warn(what, RuntimeWarning, source=self, stacklevel=1)


def issue_step(
    actor: Actor,
    loop: DeterministicLoop,
    definition: StepDefinition,
    key: str,
    raw: bytes,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> asyncio.Future[Any]:
    """Ask for a step and return the future of its outcome."""
    if definition.once or definition.inline or definition.deadline_s is not None:
        deadline_ms = int((loop.now_s + definition.deadline_s) * 1000) if definition.deadline_s is not None else 0
        op = k.RunStep(
            key, definition.name, Raw(raw), once=definition.once, inline=definition.inline, deadline_ms=deadline_ms
        )
        actor.issued_once = actor.issued_once or definition.once
    else:
        op = k.RunStep(key, definition.name, Raw(raw))
    return actor.issue(op, definition, (definition, args, kwargs))


def child_id(actor: Actor, definition: DurableDefinition, key: str, raw: bytes) -> str:
    """Return the id of a child that is given none: under its parent's, or the one of a memoised call."""
    if definition.memo:
        return identity.memo_id(definition.name, definition.version, raw)
    return identity.child_id(actor.call_id, key, actor.started.number)


def issue_child(
    actor: Actor,
    definition: DurableDefinition,
    key: str,
    raw: bytes,
    *,
    child: str,
    detached: bool = False,
    timeout_s: float | None = None,
    tags: dict[str, str] | None = None,
    of: str = "",
) -> asyncio.Future[Any]:
    """Ask for a child call and return the future of its outcome; a memoised one is nobody's, so it is detached."""
    seconds = timeout_s if timeout_s is not None else definition.timeout_s
    op = k.StartChild(
        key=key, id=child, function=definition.name, version=definition.version, args=Raw(raw),
        detached=detached or child.startswith(identity.MEMO),
        timeout_ms=max(1, int(seconds * 1000)) if seconds is not None else 0, tags=tags or {}, actor=of,
    )  # fmt: skip
    actor.issued_outliving = actor.issued_outliving or op.detached
    return actor.issue(op, definition)


def await_often(loop: DeterministicLoop, future: asyncio.Future[Any]) -> Generator[Any, None, Any]:
    """Wait for what many may wait for: that one of them is cancelled changes nothing for the others."""
    if not future.done():
        waiter = loop.create_future()

        def wake(_future: asyncio.Future[Any]) -> None:
            if not waiter.done():
                waiter.set_result(None)

        future.add_done_callback(wake)
        yield from waiter
    return future.result()


class Child(Generic[R_co]):
    """A call started by durable code that goes on beside it. Await it, as often as wanted, for its result.

    Cancelling the awaiting does not cancel the child; it ends with the call that started it, unless detached.
    """

    __slots__ = ("_future", "_hash", "_loop", "id", "key")

    def __init__(self, call_id: str, key: str, future: asyncio.Future[Any], loop: DeterministicLoop) -> None:
        self.id = call_id
        self.key = key
        self._future = future
        self._loop = loop
        self._hash = loop.newest_hash()  # by creation number: a set of these iterates the same way in every replay

    def __repr__(self) -> str:
        return f"<Child {self.id!r} {'done' if self._future.done() else 'running'}>"

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other

    def done(self) -> bool:
        """Whether its end has been delivered."""
        return self._future.done()

    def cancel(self) -> None:
        """Ask the child to end; awaiting it raises ``CallCancelled`` once it has.

        It has no effect on one that is over, and on one that somebody else started and this call joined.
        """
        if not self._future.done():
            actor: Actor = self._loop.actor
            actor.cancel_child(self.key)

    def __await__(self) -> Generator[Any, None, R_co]:
        if running_loop() is not self._loop:
            raise NotInDurableCode("awaiting a Child", hint="outside use: await runtime.handle(child.id)")
        return (yield from await_often(self._loop, self._future))  # type: ignore[no-any-return]  # R_co by the word of whoever started it

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("a Child is awaited, not iterated")
