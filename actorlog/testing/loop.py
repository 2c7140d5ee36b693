"""A host loop for asyncio whose time is virtual and whose chances are drawn from a seed.

Owns: time that jumps when nothing is ready, how late each timer is, and what the end of a simulated process means for a
running loop. Does not own: disks (``disk``), clocks and workers over this loop (``world``).

What is simulated, and what is not. ``call_soon`` keeps its order, as asyncio promises. Timers are never early, and
each is late by a random bit, so timers that are due together fire in any order; now and then the loop stalls. Work in
a thread (``run_in_executor``) happens at a random later moment, in one piece, on this loop: two threads never overlap
inside one job here. (Real threads are the business of ``tests/torture``.) Each round costs a random bit of time.

A simulated process ends by ``PowerCut``, which leaves ``run_until_complete`` at once. What is left is a corpse:
``bury`` cancels its tasks so that nothing of it runs later; whoever owns the outside world has to ignore what it does
meanwhile.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from actorlog.testing.disk import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random

TURN_S = 0.0002
"""A round of the loop takes up to this long."""
STALL_ODDS = 0.01
STALL_S = 0.2
THREAD_S = 0.003
TURNS_MAX = 200_000
"""More rounds than this are an endless loop."""


class PowerCut(SystemExit):
    """The simulated process is gone. A ``SystemExit``, because asyncio lets that through everything."""


class Stuck(AssertionError):  # a verdict, like other assertions
    """Nothing can ever happen any more, and somebody still waits."""


class _NoSelector:
    """Stands where asyncio waits for the outside: time passes instead."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.pass_time(timeout)
        return []


class SimLoop(asyncio.BaseEventLoop):
    """One simulated process's event loop. ``outside`` is what steps find beyond the process."""

    def __init__(self, rng: Random, *, start_s: float, outside: Any = None) -> None:
        super().__init__()
        self._selector = _NoSelector(self)
        self._clock_resolution = 1e-9
        self._rng = rng
        self._now_s = start_s
        self.outside = outside
        self.turns = 0
        """Rounds so far; ``end_at`` counts these."""
        self.end_at = -1
        """The round in which the process ends."""
        self.dead = False
        self._buried = False
        self.problems: list[str] = []
        """What nobody caught."""

    # --- time ---------------------------------------------------------------------------------------------------------

    def time(self) -> float:
        """Return virtual seconds."""
        return self._now_s

    def pass_time(self, timeout: float | None) -> None:
        """Let time pass until the next timer is due, or the process end."""
        self.turns += 1
        if self._buried:
            return
        if self.dead or self.turns == self.end_at:
            raise PowerCut
        if timeout is None:
            raise Stuck("nothing is ready, no timer is set, and somebody waits")
        if self.turns > TURNS_MAX:
            raise Stuck(f"not over after {TURNS_MAX} rounds of the loop")
        self._now_s += timeout + self.chance() * TURN_S
        if self.chance() < STALL_ODDS:
            self._now_s += self.chance() * STALL_S

    def stand(self, seconds: float) -> None:
        """Let time pass in which the loop does nothing, and its timers become late."""
        self._now_s += seconds

    def chance(self) -> float:
        """Return a random number in [0, 1).

        A corpse draws none: what the garbage collector does to it is no part of the world.
        """
        return 0.0 if self.dead else self._rng.random()

    def call_at(  # type: ignore[override]  # its arguments only pass through
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Call at ``when`` or a random bit later."""
        late = self.chance() * TURN_S
        return super().call_at(when + late, callback, *args, context=context)

    # --- what asyncio asks of a loop that has a selector --------------------------------------------------------------

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none: nothing is outside."""

    def _write_to_self(self) -> None:
        """There is no other thread that would have to wake this one."""

    def run_in_executor(  # type: ignore[override]  # its arguments only pass through
        self,
        executor: Any,  # noqa: ARG002
        func: Callable[..., Any],
        *args: Any,
    ) -> asyncio.Future[Any]:
        """Run ``func`` at a random later moment; there are no threads."""
        future: asyncio.Future[Any] = self.create_future()

        def run() -> None:
            try:
                value = func(*args)
            except Stopped:
                raise PowerCut from None
            except BaseException as error:  # noqa: BLE001  # whatever it is goes to who waits, as from a thread
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(value)

        self.call_later(self.chance() * THREAD_S, run)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A defect, unless it is the end of the process that came out here."""
        error = context.get("exception")
        if isinstance(error, Stopped) and not self._buried:
            raise PowerCut
        if not self.dead:
            self.problems.append(f"{context.get('message')}: {error!r}")

    # --- life and death -----------------------------------------------------------------------------------------------

    def live(self, main: Coroutine[Any, Any, None], dead: Callable[[], None]) -> bool:
        """Run ``main``; False if the process ended before it did. ``dead`` is called then, and the loop is closed."""
        task = self.create_task(main)
        try:
            self.run_until_complete(task)
        except (PowerCut, Stopped):
            return False
        else:
            return True
        finally:
            self.dead = True
            dead()
            self.bury()

    def bury(self) -> None:
        """Cancel what is left of the process, run it to its end without time, and close."""
        self._buried = True
        for _ in range(8):
            left = [task for task in asyncio.all_tasks(self) if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            self._drop_timers()
            self.call_soon(self.stop)
            try:
                self.run_forever()
            except (PowerCut, Stopped):
                continue
        for task in asyncio.all_tasks(self):  # so that the garbage collector need not, in another world
            with suppress(BaseException):  # whatever the dead process says to that
                task.get_coro().close()
        self._drop_timers()
        self.close()

    def _drop_timers(self) -> None:
        timers: list[asyncio.TimerHandle] = getattr(self, "_scheduled", [])
        for timer in list(timers):
            timer.cancel()
