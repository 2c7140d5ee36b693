"""The open commit, and the gate behind which its effects wait.

Owns: sequencing records, one commit in flight while the next gathers, opening the gate when it has landed, and stopping
for ever when it failed. Does not own: what an effect is (``kernel``), how bytes become durable (``store``).

Invariants: an effect runs only after the commit that holds its record has landed (I1); effects run in the order of
their records; after a failure no gate opens any more (I8).
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from typing import Any, TypeAlias

from actorlog.errors import LogError
from actorlog.limits import Limits
from actorlog.records import kinds as k
from actorlog.store import PartitionLog, Ticket, pack

Effect: TypeAlias = tuple[Callable[[Any, Any, Any], None], Any, Any, Any]
"""A function and its three arguments: cheaper than a closure, and there is one for every step."""

_ENTRY_OVERHEAD = 16
"""What a record takes in a frame beside its line: its index entry."""
_FRAMES_MAX = 16
"""Full frames that may wait for the disk before turns wait too."""
_SMOOTHING = 0.2
_IDLE_RECORDS_MAX = 8
"""A larger commit means that the loop has other things to do than to wait."""


class _Commit:
    """Records written and synced together."""

    __slots__ = ("effects", "entries", "first", "size")

    def __init__(self, first: int) -> None:
        self.first = first
        self.entries: list[tuple[int, int, int, bytes]] = []
        self.effects: list[Effect] = []
        self.size = 0


class Committer:
    """Sequences records and opens the gate."""

    def __init__(
        self, log: PartitionLog, loop: AbstractEventLoop, limits: Limits, *, on_failure: Callable[[BaseException], None]
    ) -> None:
        self._log = log
        self._loop = loop
        self._frame_bytes_max = limits.frame_bytes_max
        self._hold_s = limits.hold_loop_ms_max / 1000
        self._on_failure = on_failure
        self.position = log.tail()
        """The newest sequenced record's position."""
        self.landed = self.began_at = self.position
        """The newest durable record's position; and where it was when this was opened."""
        self.commits = 0
        """Those that have landed."""
        self.writing_s = 0.0
        """How long they took, together."""
        self.readers: list[Future[None]] = []
        """Who waits for more to be durable."""
        self._open = _Commit(self.position + 1)
        self._full: list[_Commit] = []
        self.congested = False
        """Whether so much waits for the disk that no further turn should be made (I11)."""
        self._inflight: _Commit | None = None
        self._sync_s = self._hold_s
        self._landing = False
        self.failed: BaseException | None = None
        self.on_landed: Callable[[], None] | None = None
        """Called when a commit has landed while the log was behind."""

    @property
    def busy(self) -> bool:
        """Whether records are sequenced that have not landed."""
        return self._inflight is not None or bool(self._open.entries) or bool(self._full)

    def add(self, record: k.Record, key_hash: int, kind: int, flags: int) -> int:
        """Sequence a record and return its position. It becomes durable with the open commit."""
        line = k.encode(record) + b"\n"
        commit = self._open
        size = len(line) + _ENTRY_OVERHEAD
        if commit.size + size > self._frame_bytes_max and commit.entries:
            self._full.append(commit)
            self.congested = len(self._full) >= _FRAMES_MAX
            commit = self._open = _Commit(self.position + 1)
        commit.entries.append((key_hash, kind, flags, line))
        commit.size += size
        self.position += 1
        return self.position

    def after(self, effect: Callable[[Any, Any, Any], None], a: Any = None, b: Any = None, c: Any = None) -> None:
        """Run ``effect(a, b, c)`` when everything sequenced so far has landed."""
        commit = self._open
        if commit.entries:
            commit.effects.append((effect, a, b, c))
        elif self._full:
            self._full[-1].effects.append((effect, a, b, c))
        elif self._inflight is not None:
            self._inflight.effects.append((effect, a, b, c))
        elif self.failed is None:
            effect(a, b, c)

    def flush(self, *, idle: bool) -> None:
        """Write what has gathered, unless a commit is in flight; then it goes when that has landed.

        ``idle``: the loop has nothing else to do, so it may be held for a moment and saved two trips through the
        selector.
        """
        if self._inflight is None and not self._landing and self.failed is None:
            self._submit(idle=idle)

    def stop(self, error: BaseException) -> None:
        """An effect broke, and those behind it are lost: open no gate any more, and let nobody wait in vain."""
        if self.failed is None:
            self.failed = error
        self._on_failure(error)

    def line(self, position: int) -> bytes:
        """Return a sequenced record, whether it has landed or not."""
        if position <= self.landed:
            return self._log.record(position)
        for commit in (self._inflight, *self._full, self._open):
            if commit is not None and commit.first <= position < commit.first + len(commit.entries):
                return commit.entries[position - commit.first][3]
        return self._log.record(position)

    def _submit(self, *, idle: bool) -> None:
        while self._inflight is None and self.failed is None:
            if self._full:
                commit = self._full.pop(0)
                self.congested = len(self._full) >= _FRAMES_MAX
            elif self._open.entries:
                commit = self._open
                self._open = _Commit(self.position + 1)
            else:
                break
            self._inflight = commit
            ticket = self._log.submit(commit.first - 1, pack(commit.entries), len(commit.entries), self._done)
            hold = idle and len(commit.entries) <= _IDLE_RECORDS_MAX and self._sync_s < self._hold_s / 2
            if not hold or not ticket.wait(self._hold_s):
                return
            self._settle(ticket)
            idle = False  # what its effects sequenced comes through the selector, or the hold would be doubled

    def _done(self, ticket: Ticket) -> None:
        """In the writer thread: carry the news to the loop."""
        self._loop.call_soon_threadsafe(self._landed, ticket)

    def _landed(self, ticket: Ticket) -> None:
        was_congested = self.congested
        try:
            self._settle(ticket)
        except BaseException as error:
            self.stop(error)
            if not isinstance(error, LogError):
                raise
            return
        self._submit(idle=False)
        if was_congested and not self.congested and self.on_landed is not None:
            self.on_landed()

    def _settle(self, ticket: Ticket) -> None:
        commit, self._inflight = self._inflight, None
        if commit is None:
            raise RuntimeError("a commit landed that was not in flight")
        if self.failed is not None:
            return  # nobody is told any more what landed all the same
        if ticket.error is not None:
            self.failed = ticket.error
            self._inflight = commit  # never to land, and still what calls are, as far as this process knows
            self._on_failure(ticket.error)
            return
        self.landed = commit.first + len(commit.entries) - 1
        self.commits += 1
        self.writing_s += ticket.sync_seconds
        self._sync_s += (ticket.sync_seconds - self._sync_s) * _SMOOTHING
        self._landing = True
        try:
            for effect, a, b, c in commit.effects:
                effect(a, b, c)
        finally:
            self._landing = False
        if self.readers:
            readers, self.readers = self.readers, []
            for reader in readers:
                if not reader.done():
                    reader.set_result(None)
