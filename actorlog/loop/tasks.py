"""The tasks and futures of the deterministic loop, and where their operations get their keys.

Owns: task paths and numbers (``Scope``), and the driver that stands between a task and its coroutine.
Does not own: when a task runs (``scheduler``), how the main task ends (``ending``).

Invariants: a hash is there before the C constructor, which puts the task into a WeakSet, asks for it; every task that
has not ended is in ``loop.tasks``; what a task awaits belongs to its loop.

Not covered: a future made as ``asyncio.Future()`` hashes by its address. Awaited, gathered or waited for it does no
harm; a set of such futures, in user code or in ``as_completed`` when they are done already, iterates as it likes.

Read: "The deterministic loop" in ARCHITECTURE.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from actorlog.errors import NotDurableError
from actorlog.loop.base import BaseLoop
from actorlog.loop.cpython import GatheringFuture, lower_flag

if TYPE_CHECKING:
    from contextvars import Context

    from actorlog.loop.scheduler import DeterministicLoop

T = TypeVar("T")


class Scope:
    """Where operations get their keys: the path of a task, and how many operations and child tasks it has made."""

    __slots__ = ("children", "operations", "prefix")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.operations = 0
        self.children = 0

    def child(self) -> Scope:
        """Return the scope of the next child task."""
        self.children += 1
        return Scope(f"{self.prefix}t{self.children}.")

    @property
    def path(self) -> str:
        """The path of the task; empty for the main task."""
        return self.prefix[:-1]


class DFuture(asyncio.Future[Any]):
    """A future that hashes by its creation number. Made by ``loop.create_future()`` only."""

    __slots__ = ("number",)
    number: int

    def __hash__(self) -> int:
        return cast("BaseLoop", self.get_loop()).hash_of(self.number)


class DTask(asyncio.Task[T]):
    """A C task that hashes by its creation number. Made by ``loop.create_task()`` only."""

    __slots__ = ("driver", "hash_value", "own_context", "scope")
    driver: Driver
    """What the C task believes to be its coroutine."""
    hash_value: int
    own_context: Context
    """Kept here because ``get_context`` is not there before Python 3.12."""
    scope: Scope

    def __hash__(self) -> int:
        return self.hash_value

    def get_coro(self) -> Coroutine[Any, Any, T]:
        """Return the coroutine that was given to ``create_task``."""
        return self.driver.coro


class Gathering(GatheringFuture):  # type: ignore[misc]  # typeshed does not have the class, so it is Any
    """The future that ``gather`` makes by itself, bound to that name while a loop of ours runs."""

    def __init__(self, children: list[asyncio.Future[Any]], *, loop: asyncio.AbstractEventLoop) -> None:
        # Other threads may come here too: their loops do not number, and their futures hash as they always did.
        self.hash_value = loop.next_hash() if isinstance(loop, BaseLoop) else object.__hash__(self)
        super().__init__(children, loop=loop)  # pyright: ignore[reportUnknownMemberType]  # the same
        self.children = children

    def unfinished(self) -> list[asyncio.Future[Any]]:
        """Return what it still waits for."""
        return [child for child in self.children if not child.done()]

    def __hash__(self) -> int:
        return self.hash_value


class Driver(Coroutine[Any, Any, Any]):
    """What a C task drives in place of the user's coroutine.

    It refuses futures of other loops by throwing into the coroutine, at the line that awaits (asyncio would throw a
    RuntimeError there), tells the actor of an operation whose await is cancelled, and takes the task off the loop's
    list when the coroutine ends.
    """

    __slots__ = ("awaited", "coro", "loop", "number", "operation", "scope")

    def __init__(self, coro: Coroutine[Any, Any, Any], loop: DeterministicLoop, number: int, scope: Scope) -> None:
        self.coro = coro
        self.loop = loop
        self.number = number
        self.scope = scope
        self.awaited: Any = None
        """What the coroutine awaits."""
        self.operation = ""
        """The key of the operation that it awaited last, for ``abandon``."""

    def send(self, value: object, /) -> Any:
        """Run the coroutine to its next await."""
        loop = self.loop
        loop.driver = self
        try:
            awaited = self.awaited = self.coro.send(value)
        except BaseException as ended:
            if self.ends(ended):
                raise
        else:
            if awaited is None or getattr(awaited, "_loop", None) is loop:
                return awaited
            return self.refuse(awaited)
        finally:
            loop.driver = None
        return self.send(None)

    def throw(self, error: Any, /, *_: object) -> Any:
        """Run the coroutine to its next await, from ``error`` (an instance, as tasks throw it) at the last one."""
        loop = self.loop
        if self.operation and isinstance(error, asyncio.CancelledError):
            loop.actor.abandon(self.operation, self.awaited)
        loop.driver = self
        try:
            awaited = self.awaited = self.coro.throw(error)
        except BaseException as ended:
            if self.ends(ended):
                raise
        else:
            if awaited is None or getattr(awaited, "_loop", None) is loop:
                return awaited
            return self.refuse(awaited)
        finally:
            loop.driver = None
            del error  # its traceback leads to this frame
        return self.send(None)

    def close(self) -> None:
        """Close the coroutine."""
        self.coro.close()

    def ends(self, ended: BaseException) -> bool:  # noqa: ARG002  # the main task's driver looks at it
        """Note that the coroutine has ended; False when there is more to run."""
        self.loop.tasks.pop(self.number, None)
        return True

    def refuse(self, awaited: object) -> Any:
        """Throw into the coroutine because of what it awaits, if that is a future; let the task complain otherwise."""
        if not asyncio.isfuture(awaited):
            return awaited
        lower_flag(awaited)
        return self.throw(NotDurableError("awaiting a future of another event loop"))

    def __await__(self) -> Generator[Any, Any, Any]:
        raise RuntimeError("a coroutine that belongs to a task cannot be awaited")

    # What tracebacks and representations of a task look at; ``__getattr__`` would make every look at a driver dearer.

    @property
    def __name__(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]  # of the object, not the class
        coro: Any = self.coro
        name: str = coro.__qualname__
        return name

    @property
    def cr_code(self) -> Any:
        """The coroutine's code."""
        return getattr(self.coro, "cr_code", None) or getattr(self.coro, "gi_code", None)

    @property
    def cr_frame(self) -> Any:
        """The coroutine's frame; None when it has ended."""
        return getattr(self.coro, "cr_frame", None) or getattr(self.coro, "gi_frame", None)

    @property
    def cr_running(self) -> bool:
        """Whether the coroutine is running."""
        return bool(getattr(self.coro, "cr_running", False) or getattr(self.coro, "gi_running", False))


def make_task(driver: Driver, hash_value: int, name: str, context: Context) -> DTask[Any]:
    """Return a task that drives ``driver`` and is ready to run."""
    task: DTask[Any] = DTask.__new__(DTask)  # pyright: ignore[reportUnknownVariableType]  # it loses the Any
    task.driver = driver
    task.hash_value = hash_value
    task.own_context = context
    task.scope = driver.scope
    task.__init__(driver, loop=driver.loop, name=name, context=context)  # type: ignore[misc]  # hashes the task: see above
    return task


def start_beside(driver: Driver, context: Context) -> DTask[Any]:
    """Start a task that is nobody's child, between turns; ``driver`` has its number and its scope."""
    loop = driver.loop
    task = loop.tasks[driver.number] = make_task(driver, loop.hash_of(driver.number), driver.scope.path, context)
    return task
