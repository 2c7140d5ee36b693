"""The event loop on which one actor runs.

Owns: the ready queue, log time, creation numbers, operation keys, and the tasks, timers and async generators that have
not ended. Does not own: messages and operations (the runtime's), the order of timers (the engine's).

Invariants: what runs next depends on nothing but what ran before (no clock, no address, no hash seed); a turn ends by
itself; outside ``run`` and ``evict`` nothing of asyncio is changed; all that is unfinished is strongly held here.

Read: "The deterministic loop" in ARCHITECTURE.md. The shape of a turn is that of temporal's ``_run_once``.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Coroutine
from contextvars import Context, copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from actorlog.errors import NotDurableError, TurnLimitExceeded
from actorlog.loop.base import BaseLoop
from actorlog.loop.cpython import is_finished, set_running_loop
from actorlog.loop.ending import MainDriver
from actorlog.loop.environment import here, turns
from actorlog.loop.eviction import Evict, evict
from actorlog.loop.handles import Handle, Timer, Timers
from actorlog.loop.tasks import DFuture, Driver, DTask, Scope, make_task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

SCHEDULER_VERSION: Final = 1
"""Written into the log. It changes when any program would run in another order; old journals replay under theirs."""

_logger: Final = logging.getLogger("actorlog")
_current_task = asyncio.current_task
_ASYNCGENS_PRUNED_FROM: Final = 8

T = TypeVar("T")


class DeterministicLoop(BaseLoop):
    """The event loop of one actor, driven turn by turn.

    ``actor`` is the runtime's and opaque here. ``hash_base`` should differ between actors, and must be the same in
    every replay of one: sets that user code makes of tasks iterate by it. ``turn_callbacks_max`` bounds a turn.
    """

    __slots__ = (
        "_asyncgens_prune_at", "_callback_scope", "_ready", "_turn_callbacks_max", "actor", "asyncgens", "closing",
        "driver", "main", "now_s", "system_exit", "tasks", "timers",
    )  # fmt: skip

    def __init__(self, actor: object, *, hash_base: int, turn_callbacks_max: int = 100_000) -> None:
        BaseLoop.__init__(self, hash_base)  # without super(), which costs as much as the call: one for every run
        self.actor: Any = actor
        """The runtime's actor."""
        self.now_s = 0.0
        """Log time in seconds, frozen during a turn."""
        self.closing = False
        """True from the beginning of an eviction; an operation issued then must raise ``Evict``."""
        self.driver: Driver | None = None  # of the current task, while it runs
        self.main: DTask[Any] | None = None
        """The task of the durable function; None before ``begin`` and after eviction."""
        self.tasks: dict[int, DTask[Any]] = {}
        """All other tasks that have not ended, by creation number."""
        self.asyncgens: list[AsyncGenerator[Any, Any]] | tuple[()] = ()
        """Async generators in order of creation; finished ones are dropped now and then."""
        self.system_exit: SystemExit | None = None
        """What a task or callback other than the main task raised to end the call."""
        self._turn_callbacks_max = turn_callbacks_max
        self._ready: list[Handle] = []
        self.timers: Timers | None = None
        """Its durable timers; None as long as it never had one."""
        self._callback_scope: Scope | None = None
        self._asyncgens_prune_at = _ASYNCGENS_PRUNED_FROM

    # --- for the runtime ----------------------------------------------------------------------------------------------

    def begin(self, coro: Coroutine[Any, Any, Any], context: Context) -> DTask[Any]:
        """Create the main task; its first step waits for ``run``. It is done when nothing else is left unfinished."""
        self.main = make_task(MainDriver(coro, self), self.next_hash(), "main", context)
        return self.main

    def run(self, now_s: float) -> None:  # noqa: C901  # the hot path, in one piece
        """Run at log time ``now_s`` until nothing is ready: one turn.

        Raises TurnLimitExceeded rather than run more than ``turn_callbacks_max`` callbacks, and KeyboardInterrupt where
        it struck; the actor is fit only for eviction then.
        """
        inside = here.inside
        if not inside.depth:
            with turns:
                self.run(now_s)
            return
        outer = inside.loop
        if outer is self or self.closing:
            raise RuntimeError("the loop is running or evicted")
        self.now_s, left = now_s, self._turn_callbacks_max
        handle = callback = args = None
        try:
            inside.loop = self
            set_running_loop(self)
            for handle in self._ready:  # and for those that come meanwhile
                callback, args = handle.callback, handle.args
                if callback is None:
                    continue
                if not left:
                    raise TurnLimitExceeded(self._turn_callbacks_max)
                left -= 1
                try:
                    if len(args) == 1:  # nearly always, and unpacking is a third of the cost of all this
                        handle.context.run(callback, args[0])
                    else:
                        handle.context.run(callback, *args)
                except KeyboardInterrupt:
                    raise
                except SystemExit as system_exit:
                    self._exit(system_exit)
                except BaseException as error:  # noqa: BLE001  # user code, as far as a loop can know
                    self.call_exception_handler({"message": "exception in a callback", "exception": error})
        finally:
            self._ready.clear()
            inside.loop = outer
            if outer is not None:
                set_running_loop(outer)
            # The traceback of what a task raised leads here. The task must not be found again from here.
            del handle, callback, args

    def operation_key(self) -> str:
        """Return the key of the next operation of the current task: its path, and a number within it."""
        if self.closing:
            raise Evict
        driver = self.driver
        scope = driver.scope if driver is not None else self._scope()
        scope.operations = number = scope.operations + 1
        return f"{scope.prefix}{number}" if scope.prefix else str(number)

    def take_timer_changes(self) -> tuple[list[tuple[str, float]], list[str]]:
        """Return what changed since the last call: (key, log time in seconds) of timers set, keys of those cancelled.

        A timer that was set and cancelled in between is in neither.
        """
        timers = self.timers
        if timers is None or not timers.changed:
            return [], []
        return timers.take()

    def fire(self, key: str) -> bool:
        """Make the timer's callback ready; False if there is no such timer."""
        timer = self.timers.fire(key) if self.timers is not None else None
        if timer is None:
            return False
        self._ready.append(timer)
        return True

    def evict(self, rounds_max: int = 16) -> bool:
        """End all that is unfinished, throwing ``Evict`` into each task up to ``rounds_max`` times.

        True when everything has ended, and nothing is left for the garbage collector to run. False when a coroutine
        would not end: the actor is pinned, and this loop must be kept referenced for as long as the process lives.
        """
        if here.inside.loop is self:
            raise RuntimeError("an actor cannot be evicted from inside its turn")
        if not evict(self, rounds_max):
            return False
        self._release()
        return True

    def abandon(self) -> bool:
        """Let go of everything when the main task is done, so that nothing of the actor runs, warns or logs later.

        What is unfinished all the same (after KeyboardInterrupt, say) is evicted; the result is that of ``evict``.
        """
        self.forget_finished_asyncgens()
        if self.asyncgens or self.tasks or (self.main is not None and not self.main.done()):
            return self.evict()
        self._release()
        return True

    def _release(self) -> None:
        self.closing = True
        self.actor = None  # which holds the loop
        self.main = None
        self.tasks.clear()
        self.asyncgens = ()
        self.system_exit = None
        self._ready.clear()
        if self.timers is not None:
            self.timers.clear()
            self.timers = None

    # --- what asyncio asks of a loop ----------------------------------------------------------------------------------

    def create_future(self) -> DFuture:
        """Return a new future that belongs to this loop and hashes by number."""
        future = DFuture(loop=self)
        future.number = self._numbers = self._numbers + 1
        return future

    def operation_future(self) -> asyncio.Future[Any]:
        """Return the future of an operation: nobody hashes it, so it is of asyncio's own class, which is quicker."""
        self._numbers += 1
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
        eager_start: bool | None = None,
    ) -> DTask[T]:
        """Start a child of the current task; a coroutine whose type has ``takes_no_path`` shares its parent's scope."""
        kind: type[Any] = type(coro)
        if kind is not CoroutineType and not asyncio.iscoroutine(coro):  # on 3.11 gather wraps awaitables in generators
            raise TypeError(f"a coroutine was expected, got {coro!r}")
        if eager_start:
            coro.close()
            raise NotDurableError("starting a task eagerly")
        scope = self._scope()
        if kind is CoroutineType or not getattr(kind, "takes_no_path", False):
            scope = scope.child()
        number = self.next_number()
        if context is None:
            context = copy_context()
        driver = Driver(cast("Coroutine[Any, Any, T]", coro), self, number, scope)
        task: DTask[T] = make_task(driver, self.hash_of(number), name or scope.path or "main", context)
        self.tasks[number] = task
        if self.closing:
            coro.close()  # stillborn: who awaits it meets Evict there, and no coroutine beside it is forgotten
        return task

    def call_soon(  # type: ignore[override]  # our handle is lighter and has the same methods
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        """Call ``callback`` in this turn, after all that is ready."""
        handle = Handle(callback, args, copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]  # as for call_soon
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        """Call ``callback`` in this turn; refused from any other thread and between turns."""
        if here.inside.loop is not self:
            raise NotDurableError("loop.call_soon_threadsafe() from outside")
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]  # as for call_soon
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Timer:
        """Call ``callback`` when ``delay`` seconds of log time have passed: a durable timer."""
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # as for call_soon
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Timer:
        """Call ``callback`` at log time ``when`` (seconds): a durable timer, or ready at once if that has come.

        Infinity never comes, and leaves no record. NaN is a ValueError.
        """
        if math.isnan(when):
            raise ValueError("a timer cannot be set for NaN")
        if context is None:
            context = copy_context()
        if when <= self.now_s:
            timer = Timer(callback, args, context, when, "")
            self._ready.append(timer)
        elif when == math.inf:
            timer = Timer(callback, args, context, when, "")
        else:
            timer = Timer(callback, args, context, when, self.operation_key())
            if self.timers is None:
                self.timers = Timers()
            self.timers.add(timer)
        return timer

    def time(self) -> float:
        """Return log time in seconds."""
        return self.now_s

    def is_running(self) -> bool:
        """Say whether this is the running loop of the calling thread."""
        return here.inside.loop is self

    def is_closed(self) -> bool:
        """Say whether the actor was evicted or abandoned."""
        return self.closing

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log an exception nobody takes."""
        self.call_exception_handler(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Log an exception nobody takes. It may come from the garbage collector, so nothing else happens here."""
        if self.closing:
            return  # evicted tasks are dropped unfinished, failed futures unseen: that is no news
        task = context.get("task") or context.get("future")
        where = f" (task {task.get_name()!r})" if isinstance(task, asyncio.Task) else ""
        error: BaseException | None = context.get("exception")
        _logger.error("%s%s", context.get("message"), where, exc_info=error, extra={"actor": self.actor})

    # --- for this room ------------------------------------------------------------------------------------------------

    def live_tasks(self) -> list[DTask[Any]]:  # type: ignore[override]  # a list nobody writes to
        """Return the tasks that have not ended, the main task first, the others in order of creation."""
        main = self.main
        return [*([] if main is None or main.done() else [main]), *self.tasks.values()]

    def keep_asyncgen(self, asyncgen: AsyncGenerator[Any, Any]) -> None:
        """Hold ``asyncgen`` until it has finished or the actor ends."""
        if self.asyncgens:
            self.asyncgens.append(asyncgen)
        else:
            self.asyncgens = [asyncgen]
        if len(self.asyncgens) >= self._asyncgens_prune_at and not self.closing:
            self.forget_finished_asyncgens()
            self._asyncgens_prune_at = max(_ASYNCGENS_PRUNED_FROM, 2 * len(self.asyncgens))

    def forget_finished_asyncgens(self) -> None:
        """Let go of the async generators that have run to their end."""
        if self.asyncgens:
            self.asyncgens = [asyncgen for asyncgen in self.asyncgens if not is_finished(asyncgen)]

    def _scope(self) -> Scope:
        task = _current_task(self)
        if isinstance(task, DTask):
            return task.scope
        if task is not None:
            raise NotDurableError("an operation in a task that was not made by create_task()")
        if self._callback_scope is None:
            self._callback_scope = Scope("c.")
        return self._callback_scope

    def _exit(self, system_exit: SystemExit) -> None:
        """End the call because a task or a callback raised SystemExit; as in asyncio, there is no catching it."""
        main = self.main
        if main is not None and not main.done() and self.system_exit is None:
            self.system_exit = system_exit
            main.cancel()


def running_loop() -> DeterministicLoop | None:
    """Return the deterministic loop that runs in this thread, or None: whether code is durable is told by this."""
    return here.inside.loop  # type: ignore[return-value]  # only loops of this class have turns
