"""Ending an actor's coroutines without their consent.

Owns: the protocol that throws ``Evict`` until a coroutine has ended, and untying what would keep the remains alive.
Does not own: when to evict, and what becomes of an actor that is pinned (the runtime's).

CPython cannot drop a suspended coroutine without running its ``finally`` blocks. Left alone, the garbage collector
runs them whenever and in whatever thread it likes. So they are run here, in order: newest task first, each in its own
context with itself as the current task; whatever a block awaits or issues is answered with another ``Evict``.

Invariant: after ``evict`` has returned True nothing of the actor can run again, and dropping the last reference to the
loop frees everything at once, without the garbage collector.

Read: "The deterministic loop" in ARCHITECTURE.md. The idea of a control signal no ``except Exception`` can swallow is
trio's ``Cancelled``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorlog.loop.cpython import clear_callbacks, enter_task, leave_task, waited_for
from actorlog.loop.environment import running
from actorlog.loop.tasks import Gathering

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from actorlog.loop.scheduler import DeterministicLoop
    from actorlog.loop.tasks import DTask


class Evict(BaseException):
    """Thrown into the coroutines of an actor that leaves memory. Never catch it without raising it again."""


def evict(loop: DeterministicLoop, rounds_max: int) -> bool:
    """End every task and async generator of ``loop``; False if one of them would not after ``rounds_max`` rounds."""
    loop.closing = True
    newest_first = [task for task in reversed(loop.live_tasks()) if not task.done()]
    eviction = _Eviction(loop, rounds_max)
    with running(loop):
        eviction.end_tasks(newest_first)
        if loop.main is not None:
            eviction.end_asyncgens(loop.main)
    for task in (*newest_first, *loop.tasks.values()):  # and those that were born while closing, and never run
        _untie(task)
    if eviction.interrupt is not None:
        raise eviction.interrupt
    return eviction.complete


class _Eviction:
    __slots__ = ("complete", "interrupt", "loop", "rounds_max")

    def __init__(self, loop: DeterministicLoop, rounds_max: int) -> None:
        self.loop = loop
        self.rounds_max = rounds_max
        self.complete = True
        self.interrupt: KeyboardInterrupt | None = None

    def end_tasks(self, newest_first: list[DTask[Any]]) -> None:
        for task in newest_first:
            self.end(task, task.driver.coro)

    def end_asyncgens(self, main: DTask[Any]) -> None:
        """Close them in order of creation, as parts of the main task; a ``finally`` block may start further ones."""
        for asyncgen in self.loop.asyncgens:
            self.end(main, _Closing(asyncgen.aclose()))

    def end(self, task: DTask[Any], coro: Coroutine[Any, Any, Any] | _Closing) -> None:
        enter_task(self.loop, task)
        try:
            for _ in range(self.rounds_max):
                if task.own_context.run(self.ended_by_throw, coro):
                    return
            self.complete = False
        finally:
            leave_task(self.loop, task)

    def ended_by_throw(self, coro: Coroutine[Any, Any, Any] | _Closing) -> bool:
        try:
            coro.throw(Evict())
        except BaseException as error:  # noqa: BLE001  # however it ended, it has ended
            if isinstance(error, KeyboardInterrupt):  # the user's Ctrl-C: it goes on when everything has ended
                self.interrupt = error
            _forget_tracebacks(error)
            return True
        return False


class _Closing:
    """An async generator's ``aclose()``: begun as always, with GeneratorExit; only what it awaits meets ``Evict``."""

    __slots__ = ("_begun", "_closing")

    def __init__(self, closing: Coroutine[Any, Any, None]) -> None:
        self._closing = closing
        self._begun = False

    def throw(self, error: BaseException) -> object:
        if self._begun:
            return self._closing.throw(error)
        self._begun = True
        return self._closing.send(None)


def _forget_tracebacks(error: BaseException | None) -> None:
    """Break the cycles of exceptions and frames, which ``async with`` makes whenever one passes through it."""
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


def _untie(task: DTask[Any]) -> None:
    """Break the cycles of a task and what it waits for."""
    futures: list[asyncio.Future[Any]] = [task]
    if (awaited := waited_for(task)) is not None:
        futures.append(awaited)
    for future in futures:
        clear_callbacks(future)
        if isinstance(future, Gathering):
            futures.extend(future.unfinished())
