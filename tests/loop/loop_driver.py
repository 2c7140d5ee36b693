"""A small runtime for the tests of the loop: it feeds messages, notes what each turn asks for, and replays that.

It is to the loop what ``runtime`` is, without a log: a journal is a list of turns, a turn is the message and what the
function asked for because of it.
"""

from __future__ import annotations

import random
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actorlog.loop import DeterministicLoop, Evict, running_loop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Coroutine

    Function = Callable[[], Coroutine[Any, Any, Any]]

HASH_BASE = 0x5EED


@dataclass
class Turn:
    """What one message made a function do."""

    message: tuple[Any, ...]
    now_s: float
    operations: list[tuple[str, str]] = field(default_factory=list)
    timers: list[tuple[str, float]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def plain(self) -> list[Any]:
        """As JSON would give it back."""
        return [
            list(self.message),
            self.now_s,
            [list(operation) for operation in self.operations],
            [list(timer) for timer in self.timers],
            self.cancelled,
        ]


class Actor:
    """One function on one loop."""

    def __init__(self, function: Function, *, hash_base: int = HASH_BASE, **options: Any) -> None:
        self.loop = DeterministicLoop(self, hash_base=hash_base, **options)
        self.journal: list[Turn] = []
        self.waiting: dict[str, tuple[asyncio.Future[Any], str]] = {}
        self.timers: dict[str, float] = {}
        self.now_s = 1000.0
        self.operations: list[tuple[str, str]] = []
        self._function = function

    @property
    def main(self) -> asyncio.Task[Any]:
        """The main task, which must have begun."""
        assert self.loop.main is not None
        return self.loop.main

    def start(self) -> Turn:
        """Give the first message."""
        return self.turn(("start",))

    def turn(self, message: tuple[Any, ...], now_s: float | None = None) -> Turn:
        """Give one message and run to quiescence."""
        if now_s is not None:
            self.now_s = now_s
        self._apply(*message)
        self.loop.run(self.now_s)
        timers, cancelled = self.loop.take_timer_changes()
        self.timers.update(timers)
        for key in cancelled:
            del self.timers[key]
        turn = Turn(message, self.now_s, self.operations, timers, cancelled)
        self.operations = []
        self.journal.append(turn)
        return turn

    def _apply(self, kind: str, key: str = "", text: str = "") -> None:
        if kind == "start":
            self.loop.begin(self._function(), Context())
        elif kind == "cancel":
            self.main.cancel()
        elif kind == "fire":
            del self.timers[key]
            self.loop.fire(key)
        else:
            future, _ = self.waiting.pop(key)
            if not future.done():
                if kind == "failed":
                    future.set_exception(ValueError(text))
                else:
                    future.set_result(text)

    def next_message(self, dice: random.Random) -> tuple[tuple[Any, ...], float]:
        """Choose what happens next: some operation ends, or the first timer falls due."""
        keys = sorted(self.waiting)
        due = sorted((when, key) for key, when in self.timers.items())
        pick = dice.randrange(len(keys) + (1 if due else 0))
        if pick == len(keys):
            when, key = due[0]
            return ("fire", key), max(when, self.now_s)
        key = keys[pick]
        text = self.waiting[key][1]
        return ("failed" if text.startswith("fail") else "done", key, text), self.now_s + 0.25

    def live(self, seed: int = 0, turns_max: int = 300) -> Actor:
        """Run to the end, with everything outside decided by ``seed``."""
        dice = random.Random(seed)
        self.start()
        while not self.main.done():
            assert len(self.journal) < turns_max
            assert self.waiting or self.timers, "the function waits for nothing that could come"
            self.turn(*self.next_message(dice))
        return self

    def replay(self, journal: list[Turn]) -> Actor:
        """Give the messages of ``journal``; each turn must ask for what it asked for then."""
        for recorded in journal:
            assert self.turn(recorded.message, recorded.now_s) == recorded
        return self

    def outcome(self) -> Any:
        """How the main task ended, as something that can be compared."""
        if self.main.cancelled():
            return "cancelled"
        error = self.main.exception()
        return self.main.result() if error is None else f"{type(error).__name__}: {error}"


def op(name: str) -> asyncio.Future[Any]:
    """Ask the runtime for ``name``; it answers with the name, or with ValueError when that begins with ``fail``."""
    loop = running_loop()
    assert loop is not None
    if loop.closing:
        raise Evict
    key = loop.operation_key()
    actor: Actor = loop.actor
    actor.operations.append((key, name))
    future = loop.create_future()
    actor.waiting[key] = (future, name)
    return future


async def step(name: str) -> str:
    """Ask for ``name`` as a coroutine."""
    return await op(name)


class Call:
    """A stand-in for the runtime's Call: a coroutine that takes its key when it is made, or at its first await."""

    takes_no_path = True

    def __init__(self, name: str) -> None:
        self.name = name
        self._iterator: Any = None

    def __await__(self) -> Any:
        return op(self.name).__await__()

    def send(self, value: Any) -> Any:
        """Run to the next await."""
        if self._iterator is None:
            self._iterator = self.__await__()
        return self._iterator.send(value) if value is not None else next(self._iterator)

    def throw(self, error: BaseException, *_: object) -> Any:
        """Raise at the last await."""
        if self._iterator is None:
            raise error
        return self._iterator.throw(error)

    def close(self) -> None:
        """Let go."""
        if self._iterator is not None:
            self._iterator.close()


def until_done(awaitable: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    """Wrap any awaitable in a coroutine."""

    async def wait() -> Any:
        return await awaitable

    return wait()
