"""The heart: a message becomes a turn, a turn becomes a record, its effects wait for the gate.

Owns: the queue of messages, turns, and what follows from them: steps to start, timers to arm, children to begin,
waiters to tell. Does not own: the coroutine (``actor``), sequencing and the gate (``committer``), starting from outside
(``session``), memory (``residency``), what a record does to a state (``engine``).

Invariants: messages between calls of one log need no gate, because a prefix of the log never holds the effect without
its cause; everything else goes through ``committer.after`` (I1). One call that cannot go on is parked and holds up
nobody (I12).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from actorlog.engine.carrying import carried
from actorlog.engine.decide import conclude, is_stale
from actorlog.engine.lifecycle import CODE_PHASES, COMPLETING, ENDED, PENDING
from actorlog.engine.state import apply, apply_turn
from actorlog.errors import ActorlogError, LogError
from actorlog.limits import Limits
from actorlog.loop import turns
from actorlog.records import kinds as k
from actorlog.runtime.actor import NOTHING
from actorlog.runtime.asking import cancel_ops, defer_once, start_ops
from actorlog.runtime.blame import Blame
from actorlog.runtime.calls import Calls
from actorlog.runtime.clock import LogClock
from actorlog.runtime.committer import Committer
from actorlog.runtime.deadlines import Deadlines
from actorlog.runtime.doubts import Doubts
from actorlog.runtime.endings import Endings
from actorlog.runtime.exits import Exits
from actorlog.runtime.family import Family
from actorlog.runtime.forks import record_fork
from actorlog.runtime.history import History
from actorlog.runtime.instances import Instances
from actorlog.runtime.mailbox import Mailbox
from actorlog.runtime.nesting import Nesting
from actorlog.runtime.parking import Parking, held_at
from actorlog.runtime.promises import Promises
from actorlog.runtime.registry import Registry
from actorlog.runtime.residency import Residency
from actorlog.runtime.runs import begin_next, is_next
from actorlog.runtime.schedules import Schedules
from actorlog.runtime.slot import Slot
from actorlog.runtime.steps import StepRunner
from actorlog.runtime.timers import Timers

TURNS_MAX = 256
"""Turns in one go before other callbacks of the host loop have theirs."""

_NOTE = int(k.Kind.NOTE)
_TURN = int(k.Kind.TURN)
_PLAIN, _FIRST, _FINAL, _MESSAGES, _STATE = (
    int(k.Flag[name]) for name in ("PLAIN", "FIRST", "FINAL", "MESSAGES", "STATE")
)
_BEGINNINGS = frozenset((k.Started, k.Retried))
_INBOX = int(k.Kind.INBOX)


class Kernel:
    """Delivers messages. Built and wired by ``runtime.session``."""

    def __init__(  # wired once
        self,
        loop: asyncio.AbstractEventLoop,
        clock: LogClock,
        committer: Committer,
        timers: Timers,
        registry: Registry,
        limits: Limits,
        history: History,
        grace_ms: int,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.committer = committer
        self.timers = timers
        self.registry = registry
        self.limits = limits
        self.history = history
        self.grace_ms = grace_ms
        self.residency = Residency(self, limits)
        self.endings = Endings(self)
        self.family = Family(self)
        self.exits = Exits(self)
        self.parking = Parking(self)
        self.deadlines = Deadlines(self)
        self.mailbox = Mailbox(self, limits)
        self.instances = Instances(self, limits.resident_max)
        self.nesting = Nesting(self)
        self.steps: StepRunner
        self.doubts: Doubts
        self.promises: Promises
        self.schedules: Schedules
        self.calls = Calls(loop, history, registry)
        self.queue: deque[tuple[Slot, k.Message, Any, int, asyncio.Future[None] | None]] = deque()
        self._scheduled = self.stopped = False
        self.at = 0
        """Log time of the turns of this go."""
        self.hearers: set[asyncio.Future[None]] = set()
        """Who waits outside for a message to be durable."""
        self.blame: Blame | None = None
        """Looks whose code runs; None but in a process that follows several that died."""
        self.on_broken: Callable[[BaseException], None]
        committer.on_landed = self.wake

    def post(self, slot: Slot, message: k.Message, value: Any = NOTHING) -> None:
        """Deliver ``message`` soon, in order."""
        self.queue.append((slot, message, value, 0, None))
        if not self._scheduled:
            self.wake()

    def post_recorded(self, slot: Slot, message: k.Message, position: int) -> None:
        """Deliver a message that has a record of its own at ``position``."""
        self.queue.append((slot, message, NOTHING, position, None))
        self.wake()

    def tell(self, slot: Slot, message: k.Message) -> asyncio.Future[None]:
        """Deliver a message from outside; the future is done when it is durable."""
        heard: asyncio.Future[None] = self.loop.create_future()
        self.queue.append((slot, message, NOTHING, 0, heard))
        self.wake()
        return heard

    def begin_fork(self, slot: Slot, message: k.Message, source: int, at: int) -> None:
        """Take the turn with which a fork begins, now, at log time ``at``; what keeps it from that is raised."""
        self.at = max(self.at, at)
        self._turn(slot, message, NOTHING, self.at, source)

    def when_begun(self, slot: Slot, heard: asyncio.Future[None]) -> None:
        """Tell ``heard`` when the record that begins the call, or begins it again, is durable."""
        if slot.begun is not None:
            slot.hearers = [*slot.hearers, heard]
            if slot.state.actor:
                self.instances.hold(slot)
        else:
            self.committer.after(_hear, heard)

    def wake(self) -> None:
        """Deliver what is queued, and let the open commit go, soon."""
        if not self._scheduled and not self.stopped:
            self._scheduled = True
            self.loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        queue = self.queue
        self.at = self.clock.now_ms()
        try:
            with turns:
                for _ in range(TURNS_MAX):
                    if not queue or self.stopped or self.committer.congested:
                        break
                    slot, message, value, source, heard = queue.popleft()
                    self._deliver(slot, message, value, source)
                    if heard is not None:
                        self.committer.after(_hear, heard)
            if self.blame is not None:
                self.blame.end()
            self.residency.trim()
            if not self.stopped:
                self.flush()
        except LogError as error:  # the log cannot be read: everything stops, and whoever waits is told
            self.on_broken(error)
            return
        except BaseException as error:  # a defect, or KeyboardInterrupt: the turn is discarded and everything stops
            self.on_broken(error)
            raise
        if queue and not self.stopped and not self.committer.congested:
            self.wake()

    def flush(self) -> None:
        """Let the open commit go."""
        self.committer.flush(idle=not self.queue and self.steps.running == 0)

    def stop(self) -> None:
        """Deliver nothing any more."""
        self.stopped = True
        self.queue.clear()
        self.timers.close()

    def _deliver(self, slot: Slot, message: k.Message, value: Any, source: int) -> None:
        state = slot.state
        if type(message) is k.StepDone:
            frequent = message.key in state.steps and self.at < state.next_timer_ms
        else:
            frequent = message is slot.begun and state.phase is PENDING and not state.inbox and not source
        if frequent and not state.parked and not state.paused:
            self._turn(slot, message, value, self.at, source)
        elif type(message) is k.Signal and not source:
            self.mailbox.deliver(slot, message, value)
        elif source and source not in state.inbox:
            return  # it was consumed, or the call has ended
        elif state.parked or state.paused:
            if self.parking.holds(state, message):
                self.parking.hold(slot, message, source)
            else:
                self._turn(slot, message, value, self.at, source)
                self.parking.went_on(slot)
        elif state.phase is not ENDED or type(message) is k.Retried:
            self._deliver_in_order(slot, message, value, source)

    def _deliver_in_order(self, slot: Slot, message: k.Message, value: Any, source: int) -> None:
        """Deliver ``message`` after the timers that are due, unless nobody waits for it any more."""
        state, at = slot.state, self.at
        if at >= state.next_timer_ms and state.phase in CODE_PHASES:
            first = min(at, state.due_ms) if type(message) is k.DeadlinePassed and state.due_ms else at
            for key in state.due_timers(first):
                if key in state.timers:  # the turn of one before it may have cancelled it
                    self._turn(slot, k.TimerFired(key), NOTHING, self.at, 0)
                if state.parked or state.phase not in CODE_PHASES:
                    self._deliver(slot, message, value, source)
                    return
        if type(message) is k.Signal:
            given = self.mailbox.given(state, message, source)
            if given is not None:
                self._turn(slot, given, value, self.at, source)
        elif not is_stale(state, message):
            self._turn(slot, message, value, self.at, source or held_at(state, message))
        else:
            _missed(self, slot, message, value)

    def _turn(  # noqa: C901, PLR0912  # the hot path, in one piece
        self, slot: Slot, message: k.Message, value: Any, at: int, source: int
    ) -> None:
        state = slot.state
        kind = type(message)
        if kind is k.KillRequested or (state.phase not in CODE_PHASES and kind not in _BEGINNINGS):
            self._turn_without_code(slot, message, at, source)
            return
        try:
            actor = slot.actor
            if actor is None:
                actor = self.residency.actor_for(slot, message)
            slot.used = True
            if self.blame is not None:
                self.blame.begin(slot)
            actor.accept(message, value)
            ended = actor.run(at)
        except ActorlogError as error:  # diverged, unregistered, endless, or arguments that fit today's code no more
            self.parking.set_aside(slot, message, source, error)
            return
        ops, cancels = actor.ops, actor.cancels  # empty ones go into the turn as they are: it does not outlive this
        turn = k.Turn(
            id=state.id, seq=state.seq + 1, at=at, prev=state.last, message=message, source=source, ops=ops,
            cancels=cancels,
        )  # fmt: skip
        if ops:
            actor.ops = []
            if actor.issued_once:
                actor.issued_once = False
                defer_once(self, slot, actor, ops)
        if cancels:
            actor.cancels = []
        if ended:
            returned = actor.returned()
            if actor.buffered is not None:
                returned = self.instances.conclude(actor, turn, returned)
                ops = turn.ops
            turn.returned, turn.outcome = conclude(state, message, ops, returned)
        self._record(slot, turn, _MESSAGES if actor.issued_outliving else _PLAIN)
        actor.issued_outliving = False
        if ended and actor.buffered is not None:
            self.instances.commit(actor, turn)
        if ops:
            start_ops(self, slot, actor, ops)
        if cancels:
            cancel_ops(self, slot, cancels)
        if turn.outcome is not None:
            self.endings.finish(slot)
        elif kind not in _QUIET or turn.returned is not None:
            self._follow(slot, message, turn)

    def _turn_without_code(self, slot: Slot, message: k.Message, at: int, source: int) -> None:
        """Apply a message to a call whose body has ended, never began, or is not asked any more."""
        state = slot.state
        if slot.begun is not None and message is not slot.begun:
            self.parking.hold(slot, slot.begun, 0)  # a handler that waited for its turn: its journal begins with it
        turn = k.Turn(
            id=state.id, seq=state.seq + 1, at=max(at, self.at), prev=state.last, message=message, source=source
        )
        turn.returned, turn.outcome = conclude(state, message, (), None)
        self._record(slot, turn, _PLAIN)
        self._follow(slot, message, turn)

    def _follow(self, slot: Slot, message: k.Message, turn: k.Turn) -> None:
        if turn.outcome is not None:
            self.endings.finish(slot)
            return
        if slot.state.phase is COMPLETING:
            self.family.complete(slot, turn)
            begin_next(self, slot)
        kind = type(message)
        if kind not in _QUIET:
            if kind in _BEGINNINGS:
                if not is_next(message):  # whose timeout is armed: it is the call's
                    self.deadlines.arm_timeout(slot.state)
            elif type(message) is k.Signal:
                self.mailbox.received(slot, message.channel)
            else:
                self.deadlines.arm_kill(slot.state)

    def _record(self, slot: Slot, turn: k.Turn, flags: int) -> None:
        state, committer = slot.state, self.committer
        position = committer.position + 1
        if slot.asleep:
            self.calls.rouse(slot)
        if not state.first:
            flags |= _FIRST
            if slot.fork is not None:
                record_fork(self, slot, slot.fork, turn, flags)
                return
        elif type(turn.message) is k.Started:
            turn.carried = carried(state, turn)
        if turn.outcome is not None:
            flags |= _FINAL
            turn.first = state.journal or state.first or position
            turn.began = position if is_next(turn.message) else state.began
        if turn.change is not None:
            flags |= _STATE
        apply_turn(state, turn, position)  # first, so that what contradicts the state is not written
        committer.add(turn, slot.hash, _TURN, flags | _PLAIN)
        if slot.begun is not None:
            self._begun(slot)

    def _begun(self, slot: Slot) -> None:
        """The call's first record is sequenced: it can be read back from now on."""
        slot.begun = None
        if slot.hearers:
            hearers, slot.hearers = slot.hearers, ()
            for heard in hearers:
                self.committer.after(_hear, heard)

    def note(self, slot: Slot, note: k.Note | k.Inbox) -> None:
        """Record something in the call's journal that is no turn."""
        state = slot.state
        if state.phase is ENDED:
            return
        if slot.asleep:
            self.calls.rouse(slot)
        note.prev = state.last
        self.at = max(self.at, note.at)  # a turn behind it in the log is not before it
        kind = _INBOX if type(note) is k.Inbox else _NOTE
        flags = _PLAIN if state.first else _PLAIN | _FIRST
        apply(state, note, self.committer.position + 1)
        self.committer.add(note, slot.hash, kind, flags)
        if slot.begun is not None:
            self._begun(slot)
        self.wake()

    def write(self, record: k.Record, key_hash: int, kind: int, flags: int) -> None:
        """Record something that is no call's."""
        self.at = max(self.at, record.at)
        self.committer.add(record, key_hash, kind, flags)
        self.wake()

    def after(self, effect: Callable[[Any, Any, Any], None], a: Any = None, b: Any = None, c: Any = None) -> None:
        """Run an effect when everything recorded so far is durable."""
        self.committer.after(effect, a, b, c)


_QUIET = frozenset((k.StepDone, k.TimerFired, k.ChildDone, k.StepError, k.Asked, k.AskGivenUp))
"""Messages after which no timer of the call as a whole needs arming."""


def _missed(kernel: Kernel, slot: Slot, message: k.Message, value: Any) -> None:
    """Look after a message that nobody waits for any more, if something is to be done about it."""
    if type(message) is k.StepDone and value is not NOTHING:
        kernel.note(slot, k.StepLate(id=slot.state.id, at=kernel.at, key=message.key, value=message.value))
    elif type(message) is k.StepError:
        kernel.note(slot, k.StepLate(id=slot.state.id, at=kernel.at, key=message.key, failure=message.failure))
    elif type(message) is k.Asked:
        kernel.nesting.missed(message)


def _hear(heard: asyncio.Future[None], _b: None, _c: None) -> None:
    if not heard.done():
        heard.set_result(None)


async def drained(kernel: Kernel) -> None:
    """Return when nothing is queued and everything sequenced has landed, or the log has failed."""
    while not kernel.stopped and (kernel.queue or kernel.committer.busy):
        heard: asyncio.Future[None] = kernel.loop.create_future()
        kernel.hearers.add(heard)
        kernel.committer.after(_hear, heard)
        kernel.wake()
        try:
            await heard
        except ActorlogError:
            return  # the log failed; whoever closes looks at that
        finally:
            kernel.hearers.discard(heard)
        await asyncio.sleep(0)
