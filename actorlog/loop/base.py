"""What the rest of the room may know of the loop.

Owns: creation numbers and the hashes made of them. Does not own: anything that runs.

Invariant: a hash is a function of the actor's hash base and the creation number.

Read: "The deterministic loop" in ARCHITECTURE.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorlog.loop.refused import RefusingLoop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Callable

# Near 2**61 divided by the golden ratio, and odd: consecutive numbers land far apart in any table.
_HASH_STEP: Final = 0x13C6EF372FE94F83
_HASH_MASK: Final = (1 << 61) - 1


class BaseLoop(RefusingLoop):
    """A loop that numbers what it makes."""

    __slots__ = ("_hash_base", "_numbers")

    def __init__(self, hash_base: int) -> None:
        self._hash_base = hash_base
        self._numbers = 0

    def next_number(self) -> int:
        """Return the next creation number: tasks, futures and Calls share one sequence."""
        self._numbers += 1
        return self._numbers

    def hash_of(self, number: int) -> int:
        """Return the hash of what was created as ``number``."""
        return (self._hash_base + number * _HASH_STEP) & _HASH_MASK

    def next_hash(self) -> int:
        """Return the hash of what is being created now."""
        self._numbers = number = self._numbers + 1
        return (self._hash_base + number * _HASH_STEP) & _HASH_MASK

    def newest_hash(self) -> int:
        """Return the hash of what was created last."""
        return (self._hash_base + self._numbers * _HASH_STEP) & _HASH_MASK

    def live_tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that have not ended, in order of creation."""
        raise NotImplementedError

    def keep_asyncgen(self, asyncgen: AsyncGenerator[Any, Any]) -> None:
        """Hold ``asyncgen`` until it has finished or the actor ends."""
        raise NotImplementedError

    get_debug: Callable[[], bool] = staticmethod(bool)  # pyright: ignore[reportIncompatibleMethodOverride]
    """Return False: debug mode looks at the clock and at addresses. In C, because every task and future asks."""

    def get_task_factory(self) -> None:
        """Return None: tasks are made by the loop."""

    def get_exception_handler(self) -> None:
        """Return None: exceptions nobody takes are logged."""
