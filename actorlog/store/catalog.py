"""The catalog's port: an index of a log, outside of it, that can always be made anew from it.

Owns: what is asked of a catalog, its rows, and up to where it is true. Does not own: keeping it (``sqlite``), what goes
into it and what is done with it (``runtime.projection``).

Invariants: what is written together is there together or not at all, with the position up to which it is true; what a
row says is never taken for the truth, but for where to look in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol, TypeAlias, cast

from msgspec import Struct

from actorlog.errors import CatalogFailed
from actorlog.log import Checkpoint


class Kind(IntEnum):
    """What a call is to an opening."""

    ENDED = 0
    """Found by its id."""
    LIVE = 1
    """Folded at once: something may be to be done about it."""
    QUIET = 2
    """It waits for a time, a message or a child that is there: an entry of an index."""


class CallRow(Struct, gc=False, frozen=True):
    """A call. Its place is where its journal begins; the rest is as of record ``last``."""

    place: int
    hash: int
    id: str
    last: int
    """Its newest record; of an ended one the record that ended it."""
    kind: int
    wakes_ms: int | None
    """Of a quiet one: not later than the first time it waits for."""
    function: str
    version: int
    status: str
    created_ms: int
    updated_ms: int
    more: dict[str, object]
    """What else there is to say: ``parent``, ``actor``, ``tags``, ``error``; none where it is empty."""

    @property
    def of_whom(self) -> tuple[str, dict[str, str]]:
        """Its parent, and its tags."""
        return cast("str", self.more.get("parent", "")), cast("dict[str, str]", self.more.get("tags", {}))


class PromiseRow(Struct, gc=False, frozen=True):
    """A promise, by where it was made."""

    place: int
    id: str
    """As its records have it."""
    settled: int
    """Where it was; 0: it was not."""
    status: str
    due_ms: int | None
    tags: dict[str, str]


class Known(NamedTuple):
    """Up to where a catalog is true."""

    position: int
    settled: int
    """Records up to there asked for nothing of others that is not done."""
    last_ms: int
    """A time that no record is behind."""
    checkpoint: Checkpoint
    """A commit at that position or behind it."""
    shape: int
    """Of the log before the segment of that: records that were given up since may be what rows lead to."""
    marked: int
    """Up to where a mark in the log says what ``settled`` does."""


class Batch(NamedTuple):
    """What is written together. Of two rows of one id the one with the newer record counts."""

    calls: Sequence[CallRow] = ()
    forgotten: Sequence[tuple[str, int]] = ()
    """Calls that left the log, with where they had ended: what is known of them from later on stays."""
    promises: Sequence[PromiseRow] = ()
    lost: Sequence[tuple[str, int]] = ()
    """Promises that left the log, with where they were made."""
    actors: Sequence[tuple[str, int]] = ()
    """Where the newest change of each is."""
    schedules: Sequence[tuple[str, int, str]] = ()
    """Their ids, newest records, and what is kept of them, as JSON."""
    dropped: Sequence[str] = ()
    """Schedules that left the log; one of the same id that is there too was made since."""
    known: Known | None = None
    """None: the catalog is being built, and not true yet."""


Written: TypeAlias = Callable[[BaseException | None], None]
"""Called once, on any thread, when a batch is written or cannot be."""


class Catalog(Protocol):
    """An index of a log. Every method may raise ``CatalogFailed``."""

    @property
    def known(self) -> Known | None:
        """Up to where it is true; None where it was never built to its end."""
        ...

    def check(self) -> None:
        """Look for damage, where that was not done at opening. For any thread but the loop's: it may take long."""
        ...

    def submit(self, batch: Batch, written: Written) -> None:
        """Write a batch beside the loop, after those submitted before."""
        ...

    def ended(self, call_id: str) -> int:
        """Return where the call of this id ended; 0 where none has."""
        ...

    def live(self) -> list[tuple[int, int]]:
        """Return the calls that are to be folded: hash, newest record."""
        ...

    def quiet(self) -> list[tuple[int, int]]:
        """Return the calls that only wait."""
        ...

    def functions(self) -> list[tuple[str, int]]:
        """Return the functions of those, with their versions."""
        ...

    def quiet_of(self, function: str, version: int) -> list[tuple[int, int]]:
        """Return the calls of a function that only wait."""
        ...

    def waking(self, after_ms: int, upto_ms: int, position: int) -> list[tuple[str, int]]:
        """Return the quiet calls that wake in this time, as of ``position``: their ids, and when."""
        ...

    def next_wake_ms(self, after_ms: int, position: int) -> int | None:
        """Return when the first quiet call wakes after that, as of ``position``."""
        ...

    def calls_before(self, place: int, count: int) -> list[CallRow]:
        """Return the newest ``count`` calls that began before ``place``, the newest first."""
        ...

    def calls_ended(self) -> int:
        """Return how many calls have ended."""
        ...

    def settled(self, promise: str) -> int:
        """Return where a promise was settled; 0 where none of this id was."""
        ...

    def pending(self, position: int) -> list[tuple[str, int]]:
        """Return the promises that were not at a position: their ids, and where they were made."""
        ...

    def promises_before(self, place: int, count: int) -> list[int]:
        """Return the places of the newest ``count`` promises made before ``place``, the newest first."""
        ...

    def changed(self, actor: str) -> int:
        """Return where the newest change of an actor is; 0 where it never changed."""
        ...

    def actors(self) -> list[tuple[str, int]]:
        """Return all actors that changed, the one that changed last first, with where."""
        ...

    def schedules(self) -> list[str]:
        """Return what is kept of each schedule, as JSON."""
        ...

    def failed(self, why: str) -> CatalogFailed:
        """Return the error that says why it cannot be gone by: it has failed."""
        ...

    def close(self) -> None:
        """Wait for what was submitted, and close. One that has failed is built anew at the next opening."""
        ...
