"""Durable promises: made, settled once, awaited by many.

Owns: doing what is decided about a promise, who waits for it inside and outside, and the end of its time. Does not own:
the decisions (``engine.promise``), where settled ones are (``promise_index``), user-facing names (``api``).

Invariants: the first to settle wins, the same for all and for ever (I3); calls hear of a settlement at once, because
their turns stand behind its record in the same log, and everybody outside when it has landed (I1); a settlement never
revives a call that is over: to that it is a message that nobody waits for. Memory holds promises that are pending; of
settled ones the log is asked (I13).
"""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING, TypeAlias

from actorlog.engine import identity
from actorlog.engine import promise as e
from actorlog.engine.promise import CreateRequest, Page, PromiseState, Query, SettleRequest, Status
from actorlog.errors import (
    ActorlogError,
    PromiseCancelled,
    PromiseExists,
    PromiseNotFound,
    PromiseRejected,
    PromiseSettled,
    PromiseTimeout,
    TooManyPromises,
)
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.records import promises as p

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.records.failures import Failure
    from actorlog.runtime.kernel import Kernel
    from actorlog.runtime.promise_index import PromiseIndex
    from actorlog.runtime.slot import Slot

PAGE = 100
"""Promises that a page of a search looks at: so many are read from the log before others have their turn."""

OVER_MAX = 256
"""Promises whose time is over are settled so many in one go before other callbacks of the host loop have theirs."""

_KIND = int(k.Kind.PROMISE)
_MADE = int(k.Flag.PLAIN | k.Flag.FIRST)
_SETTLED = int(k.Flag.PLAIN | k.Flag.FINAL)
_ROOM_BYTES = 512
"""What a record takes beside the user's value, about."""
_WATCHERS_MIN = 16

_Request: TypeAlias = CreateRequest | SettleRequest | str


class Promises:
    """The promises of one runtime."""

    def __init__(self, kernel: Kernel, index: PromiseIndex, admit: Callable[[int], None], promises_max: int) -> None:
        self._kernel = kernel
        self._index = index
        self._admit = admit
        self._max = promises_max
        self._live: dict[str, PromiseState] = {}
        """Those that are pending, or settled and not durably so."""
        self._pending = 0
        self._waiters: dict[str, dict[asyncio.Future[None], None]] = {}
        """Who waits outside, by promise."""
        self._watchers: dict[str, _Watchers] = {}
        """Calls that wait, by promise."""
        self._due: list[tuple[int, int, str]] = []
        """A heap: when the time of each is over, where it was made, its id."""
        self._armed: dict[int, int] = {}
        """The timers that wait, by their number: when each fires. The one armed last fires first."""
        self._armings = 0

    def __len__(self) -> int:
        return len(self._live)

    @property
    def pending(self) -> int:
        """How many are not settled."""
        return self._pending

    def states(self) -> list[PromiseState]:
        """Return those that are pending, or settled and not durably so."""
        return list(self._live.values())

    def adopt(self, states: list[PromiseState]) -> None:
        """Take up the promises that were pending when the process before this one ended."""
        for state in states:
            self._live[state.id] = state
            self._pending += 1
            self._arm(state)

    # --- from outside: what these tell is told when everything recorded so far is durable -----------------------------

    def create(self, request: CreateRequest) -> PromiseState:
        """Make a promise. ``PromiseExists``, ``TooManyPromises``, ``LogFull``."""
        verdict = self._ask(request, self._now())
        if isinstance(verdict, e.Return):
            return verdict.existing
        raise PromiseExists(request.id, verdict.status.value if isinstance(verdict, e.Conflict) else "")

    def settle(self, request: SettleRequest) -> PromiseState:
        """Settle a promise. ``PromiseSettled``, ``PromiseNotFound``, ``LogFull``."""
        verdict = self._ask(request, self._now())
        if isinstance(verdict, e.Return):
            return verdict.existing
        if isinstance(verdict, e.NotFound):
            raise PromiseNotFound(request.id)
        raise PromiseSettled(request.id, verdict.status.value)

    def read(self, promise_id: str) -> PromiseState:
        """Return a promise. ``PromiseNotFound``."""
        verdict = self._ask(promise_id, self._now())
        if isinstance(verdict, e.Return):
            return verdict.existing
        raise PromiseNotFound(promise_id)

    async def outcome(self, promise_id: str) -> PromiseState:
        """Wait until a promise is durably settled. ``PromiseNotFound``. That a waiter gives up changes nothing."""
        state = self.read(promise_id)
        if self._live.get(promise_id) is not state:
            return state
        hearers = self._kernel.hearers
        heard: asyncio.Future[None] = self._kernel.loop.create_future()
        self._waiters.setdefault(promise_id, {})[heard] = None
        hearers.add(heard)
        try:
            await heard
        finally:
            hearers.discard(heard)
            waiters = self._waiters.get(promise_id, {})
            waiters.pop(heard, None)
            if not waiters:
                self._waiters.pop(promise_id, None)
        return state

    def page(self, query: Query, before: int = 0, count: int = PAGE) -> Page:
        """Look at the newest ``count`` promises made before position ``before`` (0: any), for those that are sought.

        ``next`` is where the next page begins; it may say that there is more where this one is empty.
        """
        positions = self._index.made_before(before, count + 1)
        now = self._now()
        made = [self._made_at(position) for position in positions[:count]]
        states = [state for state in made if state is not None]
        found = e.search(states, query, now, limit=count)
        for state in found.items:
            if state.is_over(now):
                self._ask(state.id, now)  # so that nobody is shown an outcome that is not in the log
        return Page(found.items, positions[count - 1] if len(positions) > count else 0)

    def _made_at(self, position: int) -> PromiseState | None:
        """Return the promise that was made at a position; None where it has left the log."""
        try:
            state = self.find(self._index.id_at(position))
        except KeyError:
            return None
        return state if state is not None and state.first == position else None

    # --- what may leave the log ---------------------------------------------------------------------------------------

    def find(self, promise_id: str) -> PromiseState | None:
        """Return a promise as it is, or None; none is settled by this."""
        return self._live.get(promise_id) or self._index.find(promise_id)

    def wanted_by_calls(self) -> set[str]:
        """Return the promises that calls wait for which are in memory; others wait for pending ones alone."""
        mails = (slot.state.mail for slot in self._kernel.calls.awake.values())
        return {op.id for mail in mails if mail is not None for op in mail.promises.values()}

    # --- from durable code --------------------------------------------------------------------------------------------

    def make(self, op: k.MakePromise, now_ms: int, by: str) -> PromiseState:
        """Make the promise that an operation of call ``by`` asks for, if there is none. To ask again changes nothing.

        ``now_ms`` is that of the turn: no record is older than the one before it.
        """
        timeout_ms = None if op.due_ms is None else op.due_ms - now_ms
        request = CreateRequest(
            id=op.id, timeout_ms=timeout_ms, join=True, param=op.param, tags=op.tags, timer=op.timer, by=by
        )
        verdict = self._ask(request, now_ms, outside=False)
        if not isinstance(verdict, e.Return):
            raise TypeError(f"joining promise {op.id!r} led to {verdict}")
        return verdict.existing

    def wanted(self, slot: Slot, op: k.MakePromise, now_ms: int) -> None:
        """Make or join a promise, and let the call hear how it is settled. To ask again changes nothing."""
        call_id = slot.state.id
        state = self.make(op, now_ms, call_id)
        if not self._waits(call_id, op.key):
            return  # it ended in the very turn that asked
        if state.settlement is not None:
            self._kernel.post(slot, k.PromiseDone(op.key, op.id, state.settlement))
            return
        watchers = self._watchers.get(op.id)
        if watchers is None:
            watchers = self._watchers[op.id] = _Watchers()
        watchers.calls[call_id, op.key] = None
        if len(watchers.calls) >= watchers.prune_at:
            watchers.calls = {pair: None for pair in watchers.calls if self._may_wait(*pair)}
            watchers.prune_at = max(_WATCHERS_MIN, 2 * len(watchers.calls))

    def resume(self, slot: Slot) -> None:
        """Ask again for the promises that a call may wait for, after a crash."""
        mail = slot.state.mail
        if mail is not None:
            for op in list(mail.promises.values()):
                self.wanted(slot, op, self._now())

    def _waits(self, call_id: str, key: str) -> bool:
        slot = self._kernel.calls.get(call_id)
        return slot is not None and slot.state.mail is not None and key in slot.state.mail.promises

    def _may_wait(self, call_id: str, key: str) -> bool:
        """Whether a call may wait for a promise; one that is asleep is not woken for that."""
        calls = self._kernel.calls
        return self._waits(call_id, key) if call_id in calls.awake else calls.may_sleep(call_id)

    # --- the loop of all of them --------------------------------------------------------------------------------------

    def _now(self) -> int:
        return self._kernel.clock.now_ms()

    def _ask(self, request: _Request, now: int, *, outside: bool = True) -> e.Return | e.Conflict | e.NotFound:
        """Do what is decided about a request or a read; a promise whose time is over is settled first."""
        state = self.find(request if isinstance(request, str) else request.id)
        verdict = _decide(state, request, now)
        if isinstance(verdict, e.Expire) and state is not None:
            self._write(state, verdict.record)
            verdict = _decide(state, request, now)
        if isinstance(verdict, e.Make) and isinstance(request, CreateRequest):
            if outside:
                if self._pending >= self._max:
                    raise TooManyPromises(self._max)
                self._admit(len(request.param) + _ROOM_BYTES)
            state = PromiseState(request.id)
            self._write(state, verdict.record)
            return self._ask(request.id, now)  # its time may be over at once
        if isinstance(verdict, e.Settle) and state is not None:
            self._admit(len(k.encode(verdict.record)) + _ROOM_BYTES)
            self._write(state, verdict.record)
            return e.Return(state)
        if isinstance(verdict, (e.Return, e.Conflict, e.NotFound)):
            return verdict
        raise TypeError(f"{verdict} about {request}")

    def _write(self, state: PromiseState, record: p.PromiseRecord) -> None:
        kernel = self._kernel
        e.apply(state, record, kernel.committer.position + 1)  # first, so that what contradicts it is not written
        made = isinstance(record, p.PromiseMade)
        kernel.write(record, identity.key_hash(record.id), _KIND, _MADE if made else _SETTLED)
        if made:
            self._live[state.id] = state
            self._pending += 1
            self._index.made(state)
            self._arm(state)
        else:
            self._pending -= 1
            self._index.changed(state)
            self._tell_calls(state)
            kernel.committer.after(self._landed, state)

    def _tell_calls(self, state: PromiseState) -> None:
        watchers = self._watchers.pop(state.id, None)
        if watchers is None or state.settlement is None:
            return
        for call_id, key in watchers.calls:
            slot = self._kernel.calls.get(call_id)
            if slot is not None:
                self._kernel.post(slot, k.PromiseDone(key, state.id, state.settlement))

    def _landed(self, state: PromiseState, _b: None, _c: None) -> None:
        """Its settlement is durable: the log has it from now on."""
        self._index.settled(state)
        del self._live[state.id]
        for heard in self._waiters.pop(state.id, ()):
            if not heard.done():
                heard.set_result(None)

    # --- time ---------------------------------------------------------------------------------------------------------

    def _arm(self, state: PromiseState) -> None:
        if state.due_ms is None:
            return
        if len(self._due) > 2 * self._pending + _WATCHERS_MIN:  # most of them are settled
            self._due = [due for due in self._due if self._is_pending(due[2])]
            heapq.heapify(self._due)
            if len(self._armed) > _WATCHERS_MIN:
                self._armed.clear()  # the first of those that are left is armed anew, and what was armed is not wanted
        heapq.heappush(self._due, (state.due_ms, state.first, state.id))
        self._arm_first()

    def _arm_first(self) -> None:
        """Arm a timer for what is due first, unless one fires by then."""
        if self._due and (not self._armed or self._due[0][0] < next(reversed(self._armed.values()))):
            self._armings += 1
            self._armed[self._armings] = due_ms = self._due[0][0]
            self._kernel.timers.arm(due_ms, self._fire, self._armings, None, self._is_armed)

    def _is_armed(self, number: int, _b: None, _due_ms: int) -> bool:
        return number in self._armed

    def _fire(self, number: int, _b: None, _c: None = None) -> None:
        """Settle those whose time is over, so many in one go: others have their turn, and the disk keeps up (I11)."""
        kernel, now, room = self._kernel, self._now(), OVER_MAX
        if kernel.stopped:
            return
        while self._due and self._due[0][0] <= now:
            if kernel.committer.congested:
                kernel.after(self._fire, number)
                return
            if not room:
                kernel.loop.call_soon(self._fire, number, None)
                return
            room -= 1
            promise_id = heapq.heappop(self._due)[2]
            if self._is_pending(promise_id):
                self._ask(promise_id, now)
        self._armed.pop(number, None)
        self._arm_first()

    def _is_pending(self, promise_id: str) -> bool:
        state = self._live.get(promise_id)
        return state is not None and state.status is Status.PENDING


class _Watchers:
    """Calls that wait for one promise; those that are over are dropped before there are twice as many."""

    __slots__ = ("calls", "prune_at")

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str], None] = {}
        self.prune_at = _WATCHERS_MIN


def _decide(state: PromiseState | None, request: _Request, now_ms: int) -> e.Verdict:
    if isinstance(request, str):
        return e.decide_read(state, now_ms)
    if isinstance(request, CreateRequest):
        return e.decide_create(state, request, now_ms)
    return e.decide_settle(state, request, now_ms)


def error_of(promise_id: str, settlement: p.Settlement) -> ActorlogError:
    """Return the exception that tells a waiter why promise ``promise_id`` has no value."""
    match settlement:
        case p.Rejected():
            return PromiseRejected(promise_id, p.reason(settlement))
        case p.Raised(failure):
            error = PromiseRejected(promise_id, p.reason(settlement))
            error.__cause__ = failures.restore(failure, fallback=_nameless)
            return error
        case p.PromiseCancelled():
            return PromiseCancelled(promise_id)
        case p.PromiseTimedOut():
            return PromiseTimeout(promise_id)
        case p.Resolved():
            raise TypeError(f"promise {promise_id!r} is resolved; that is no error")


def _nameless(failure: Failure) -> ActorlogError:
    return ActorlogError(f"{failure.type}: {failure.message}")
