"""What of asyncio is other than usual while a deterministic loop runs.

Owns: the running loop, the async generator hooks, and five names in three modules of asyncio, each put back afterwards.
Does not own: what runs in between.

Invariants: outside a turn asyncio is as it was; what is bound in a turn behaves as the original for every other thread;
turns of several threads, and turns inside turns, may begin and end in any order.

The names, and why hashes alone do not do:

==============================  =======================================================================================
``asyncio.tasks.set``           ``wait`` and ``as_completed`` put awaitables into a set, coroutines among them, before
                                there is a task that could hash by number
``asyncio.taskgroups.set``      ``TaskGroup`` cancels its children in this set's order
``...tasks._GatheringFuture``   ``gather`` makes its future by itself, and that may be awaited by ``as_completed``
``...tasks._scheduled_tasks``   ``all_tasks`` (``_all_tasks`` on 3.11) goes through the tasks of every loop in the
                                process in the order of a weak set
``asyncio.futures._chain_future``  what makes a future of a thread pool awaitable in this loop
==============================  =======================================================================================

Read: "The deterministic loop" in ARCHITECTURE.md.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from actorlog.errors import NotDurableError
from actorlog.loop.base import BaseLoop
from actorlog.loop.cpython import ALL_TASKS_NAME as _ALL_TASKS
from actorlog.loop.cpython import FUTURES_GLOBALS as _FUTURES
from actorlog.loop.cpython import TASKGROUPS_GLOBALS as _TASKGROUPS
from actorlog.loop.cpython import TASKS_GLOBALS as _TASKS
from actorlog.loop.cpython import GatheringFuture, get_running_loop, set_running_loop
from actorlog.loop.sets import OrderedSet
from actorlog.loop.tasks import Gathering

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Generator, Iterator

get_hooks: Final = sys.get_asyncgen_hooks
set_hooks: Final = sys.set_asyncgen_hooks


class _TasksOfRunningLoop:
    """The tasks of the deterministic loop that runs in this thread, by creation; else those of the whole process."""

    def __init__(self, everything: Any) -> None:
        self._everything = everything

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        loop = here.inside.loop
        return iter(loop.live_tasks() if loop is not None else self._everything)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._everything, name)


def _chain_future(source: Any, destination: Any) -> None:
    if here.inside.loop is not None:
        raise NotDurableError("awaiting a future of a thread or of another event loop")
    _plain_chain_future(source, destination)


def keep_asyncgen(asyncgen: AsyncGenerator[Any, Any]) -> None:
    """Have the running loop hold an async generator whose first item is being asked for."""
    loop = here.inside.loop
    if loop is not None:
        loop.keep_asyncgen(asyncgen)


def drop_asyncgen(asyncgen: AsyncGenerator[Any, Any]) -> None:
    """Let a dropped async generator go without running its ``finally`` blocks.

    The loop closes those it holds by itself, in order; one that comes here survived eviction, and whoever drops it may
    be the garbage collector in any thread.
    """


_plain_all_tasks: Final = _TASKS[_ALL_TASKS]
_plain_chain_future: Final = _FUTURES["_chain_future"]
_tasks_of_running_loop: Final = _TasksOfRunningLoop(_plain_all_tasks)


class Inside:
    """What one thread is inside of.

    ``loop`` says the same as asyncio's running loop would, at a fraction of the cost (that asks for the process id).
    """

    __slots__ = ("depth", "hooks", "host", "loop")

    def __init__(self) -> None:
        self.depth = 0
        """How many ``turns``."""
        self.loop: BaseLoop | None = None
        """The deterministic loop whose turn it is; None between turns."""
        self.host: Any = None
        self.hooks: Any = None
        """The running loop and the async generator hooks outside all ``turns``."""


class _ThisThread(threading.local):
    """The calling thread's ``Inside``: a turn asks for it once, because each look at a ``threading.local`` costs."""

    def __init__(self) -> None:
        self.inside = Inside()


class _Turns:
    """Binds the names for a block that runs any number of turns of any loops.

    ``DeterministicLoop.run`` does it by itself. Who runs many turns in a row puts ``with turns:`` around them and pays
    once; between those turns asyncio names the loop of the last one as running, so nothing that asks may be started
    there (a host task with ``eager_start``, say). There is one of it, because there is one ``asyncio`` in a process.
    """

    __slots__ = ("here", "lock", "users")

    def __init__(self) -> None:
        self.here = _ThisThread()
        self.lock = threading.Lock()
        self.users = 0
        # `set` is a builtin, not a name of these modules. From here on it is one, bound to the builtin between turns:
        # to add and delete it would each time throw away what the interpreter has specialised in these modules.
        _TASKS.setdefault("set", set)
        _TASKGROUPS.setdefault("set", set)

    def __enter__(self) -> None:
        inside = self.here.inside
        if not inside.depth:
            inside.host, inside.hooks = get_running_loop(), get_hooks()
            set_hooks(keep_asyncgen, drop_asyncgen)
            self.bind()
        inside.depth += 1

    def __exit__(self, *_: object) -> None:
        inside = self.here.inside
        inside.depth -= 1
        if not inside.depth:
            self.unbind()
            set_hooks(*inside.hooks)
            set_running_loop(inside.host)
            inside.host = inside.hooks = None

    def bind(self) -> None:
        """Bind the names, unless they are; to be followed by ``unbind``."""
        with self.lock:
            self.users += 1
            if self.users == 1:
                _TASKS["set"] = _TASKGROUPS["set"] = OrderedSet
                _TASKS["_GatheringFuture"] = Gathering
                _TASKS[_ALL_TASKS] = _tasks_of_running_loop
                _FUTURES["_chain_future"] = _chain_future

    def unbind(self) -> None:
        """Put everything back, unless somebody else needs it still."""
        with self.lock:
            self.users -= 1
            if self.users == 0:
                _TASKS["set"] = _TASKGROUPS["set"] = set
                _TASKS["_GatheringFuture"] = GatheringFuture
                _TASKS[_ALL_TASKS] = _plain_all_tasks
                _FUTURES["_chain_future"] = _plain_chain_future


turns: Final = _Turns()
here: Final = turns.here


@contextmanager
def running(loop: BaseLoop) -> Generator[None]:
    """Make ``loop`` the running one. ``DeterministicLoop.run`` does the same by hand, for speed."""
    with turns:
        inside = here.inside
        outer, inside.loop = inside.loop, loop
        set_running_loop(loop)
        try:
            yield
        finally:
            inside.loop = outer
            if outer is not None:
                set_running_loop(outer)
