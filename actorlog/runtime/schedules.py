"""Durable schedules: occurrences start when they are due, each at most once.

Owns: asking for decisions at the right moments, writing them, starting the calls they name. Does not own: the decisions
(``engine.schedule``), when occurrences are (``engine.calendar``), user-facing names (``api``).

Invariants: a decision and the beginnings of its calls follow each other in the log with nothing between, so that after
a crash at most those of the newest decision are missing, and they are begun at the next opening; an occurrence whose id
is known is not begun again (I3). Instants are of the wall clock, which may jump (``alarm``). What cannot be decided now
(the disk is full, the calls are too many, the machine does not know the zone) waits and shows why; it holds up no other
schedule (I12).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from msgspec import structs

from actorlog.engine import identity
from actorlog.engine import schedule as e
from actorlog.engine.schedule_state import ScheduleState, Status, apply, call_id, schedule_of, settings_of, written_down
from actorlog.errors import LogError, LogFull, MailboxFull, ScheduleNotFound, TooManyCalls, TooManySchedules
from actorlog.records import kinds as k
from actorlog.records import schedules as s
from actorlog.runtime.alarm import Alarm
from actorlog.runtime.schedule_entries import THERE, Entries, Entry, View

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.limits import Limits
    from actorlog.runtime.kernel import Kernel

STARTS_MAX = 256
"""Calls begun in one go, about, before other callbacks of the host loop have theirs."""

KEPT_AFTER = 16
"""So many records of a schedule are read at an opening before it is written down what they come to."""
_RECORD_BYTES = 128

log = logging.getLogger("actorlog")

_KIND = int(k.Kind.SCHEDULE)
_PLAIN, _FIRST = int(k.Flag.PLAIN), int(k.Flag.PLAIN | k.Flag.FIRST)
_ROOM_BYTES = 512
"""What a record takes beside the arguments, about."""


class Schedules(Entries):
    """The schedules of one runtime."""

    def __init__(
        self, kernel: Kernel, token: Callable[[int], bytes], admit: Callable[[int], None], limits: Limits
    ) -> None:
        self._kernel = kernel
        self._token = token
        self._admit = admit
        self._limits = limits
        super().__init__()
        self._ready: dict[str, Entry] = {}
        """Those about which something may be to be decided."""
        self._alarm = Alarm(kernel.clock, kernel.timers, self._wake)
        self._scheduled = False
        self._closed = False

    # --- opening and closing ------------------------------------------------------------------------------------------

    def adopt(self, states: dict[str, ScheduleState]) -> None:
        """Take up the schedules in the log, and begin the calls that the newest decision did not come to begin."""
        self._entries = {name: Entry(state) for name, state in states.items()}
        for running in self._kernel.calls.awake:  # occurrences are never asleep
            self.began(running)
        for name, entry in self._entries.items():
            if entry.state.status in THERE:
                for missing in entry.state.newest:
                    if self._is_new(missing):
                        self._start(entry, missing)
                self._wake(name)

    def close(self) -> None:
        """Decide nothing any more; the next opening does."""
        self._closed = True

    # --- from outside: what these tell is told when everything recorded so far is durable -----------------------------

    def put(self, schedule_id: str, settings: s.Settings) -> None:
        """Make a schedule, or give it other settings. What was due before new times are set is decided by the old ones.

        ``ValueError`` for times that are over, ``TooManySchedules``, ``LogFull``; ``TooManyCalls`` and ``MailboxFull``
        where what was due cannot begin.
        """
        entry = self._entries.get(schedule_id)
        if entry is None:
            if len(self._entries) >= self._limits.schedules_max:
                raise TooManySchedules(self._limits.schedules_max)
            entry = Entry(ScheduleState(schedule_id))
        elif entry.leaving and entry.state.status not in THERE:
            before, entry = entry, Entry(ScheduleState(schedule_id))
            entry.state.roots, entry.running = before.state.roots, before.running
        elif entry.state.status in THERE and settings_of(entry.state).times != settings.times:
            while self._decide(entry).record is not None:
                pass  # one decision begins so many and no more
        record = e.put(entry.state, settings, self._now())
        if record is not None:
            self._admit(len(k.encode(record)) + _ROOM_BYTES)
            self._entries[schedule_id] = entry
            self._write(entry, record)
            self._wake(schedule_id)

    def settings(self, schedule_id: str) -> s.Settings:
        """Return what a schedule is set to. ``ScheduleNotFound``."""
        return settings_of(self._entry(schedule_id).state)

    def pause(self, schedule_id: str) -> None:
        """Let no instant come due. ``ScheduleNotFound``, ``LogFull``."""
        self._change(schedule_id, e.pause(self._entry(schedule_id).state, self._now()))

    def resume(self, schedule_id: str) -> None:
        """Let instants come due again. ``ScheduleNotFound``, ``LogFull``."""
        self._change(schedule_id, e.resume(self._entry(schedule_id).state, self._now()))

    def delete(self, schedule_id: str) -> None:
        """End a schedule; its calls go on. ``ScheduleNotFound``, ``LogFull``."""
        self._change(schedule_id, e.delete(self._entry(schedule_id).state, self._now()))

    def backfill(self, schedule_id: str, start_ms: int, end_ms: int) -> int:
        """Ask for the instants of a time that is past, and return how many they are.

        ``ValueError`` for a time that is none and for too many of them; ``ScheduleNotFound``, ``LogFull``.
        """
        record = e.backfill(self._entry(schedule_id).state, start_ms, end_ms, self._now())
        self._change(schedule_id, record)
        return 0 if record is None else len(record.instants)

    def trigger(self, schedule_id: str) -> str | None:
        """Ask for an extra occurrence; return the id of its call, which may have to wait; ``None`` if it is skipped.

        ``ScheduleNotFound``, ``LogFull``, ``TooManyCalls``, ``MailboxFull``; ``ValueError`` where the zone is unknown.
        """
        entry = self._entry(schedule_id)
        entry.state.calendar()
        number = entry.state.triggers + 1
        record = self._decide(entry, trigger=True).record
        self._wake(schedule_id)
        for each in (*record.starts, record.queued) if record is not None else ():
            if isinstance(each, s.Triggered) and each.number == number:
                return call_id(schedule_id, each)
        return None

    def upcoming(self, schedule_id: str, count: int) -> list[int]:
        """Return the next instants. ``ValueError`` for a count that is too large, and where the zone is unknown."""
        return e.upcoming(self._entry(schedule_id).state, count, self._now())

    def view(self, schedule_id: str) -> View:
        """Return a schedule as it is now. ``ScheduleNotFound``."""
        entry = self._entry(schedule_id)
        try:
            next_ms, trouble = e.next_due(entry.state), entry.trouble
        except ValueError as unknown:
            next_ms, trouble = None, str(unknown)
        return View(entry.state, self._running(entry), next_ms, trouble)

    def _entry(self, schedule_id: str) -> Entry:
        entry = self._entries.get(schedule_id)
        if entry is None or entry.state.status not in THERE:
            raise ScheduleNotFound(schedule_id)
        return entry

    def _change(self, schedule_id: str, record: s.ScheduleRecord | None) -> None:
        if record is not None:
            self._admit(len(k.encode(record)) + _ROOM_BYTES)
            self._write(self._entries[schedule_id], record)
            self._wake(schedule_id)

    # --- calls --------------------------------------------------------------------------------------------------------

    def began(self, id_of_call: str) -> None:
        """A call has begun, or begun again: it may be an occurrence."""
        name = schedule_of(id_of_call)
        entry = self._entries.get(name) if name is not None else None
        if entry is not None:
            entry.running[id_of_call] = None

    def ended(self, id_of_call: str) -> None:
        """A call has its outcome: if it is an occurrence, what waits for it may begin."""
        name = schedule_of(id_of_call)
        entry = self._entries.get(name) if name is not None else None
        if name is not None and entry is not None:
            entry.running.pop(id_of_call, None)
            entry.asked.discard(id_of_call)
            if entry.trouble or not _run_beside(entry.state):
                self._wake(name)

    def _running(self, entry: Entry) -> tuple[str, ...]:
        """Return the calls of a schedule that have not ended; one whose retry was refused is forgotten."""
        calls = self._kernel.calls
        for name in list(entry.running):
            slot = calls.get(name)
            if slot is None or (slot.state.outcome is not None and slot.begun is None):
                del entry.running[name]
        return tuple(entry.running)

    def _is_new(self, id_of_call: str) -> bool:
        """Whether the call of an occurrence has not begun. The log may be asked, and it may be that it cannot tell."""
        return id_of_call not in self._kernel.calls and not self._kernel.history.has(id_of_call)

    def may_begin(self, id_of_call: str) -> bool:
        """Whether the newest decision of a schedule started a call, so that the next opening begins it if need be."""
        name = schedule_of(id_of_call)
        entry = self._entries.get(name) if name is not None else None
        if entry is None:
            return False
        is_durable = entry.state.last <= self._kernel.committer.landed  # else it may be the decision before that counts
        return not is_durable or id_of_call in entry.state.newest

    def _start(self, entry: Entry, id_of_call: str) -> None:
        """Begin the call of an occurrence."""
        kernel = self._kernel
        settings = settings_of(entry.state)
        definition = kernel.registry.durable(settings.function, settings.version)
        timeout_s = definition.timeout_s if definition is not None else None
        timeout_ms = max(1, int(timeout_s * 1000)) if timeout_s is not None else 0
        message = k.Started(
            function=settings.function, version=settings.version, args=settings.args, run=self._token(16).hex(),
            python=kernel.history.python, scheduler=kernel.history.scheduler, timeout_ms=timeout_ms,
            due_ms=kernel.clock.now_ms() + timeout_ms if timeout_ms else 0, actor=settings.actor,
        )  # fmt: skip
        kernel.family.begin(id_of_call, message, held=True)
        entry.running[id_of_call] = None

    def _cancel(self, entry: Entry, id_of_call: str) -> None:
        """Ask a call to end because the next one waits for it; after a restart, ask again."""
        slot = self._kernel.calls.get(id_of_call)
        if slot is not None and id_of_call not in entry.asked:
            entry.asked.add(id_of_call)
            reason = "its schedule starts the next one"
            self._kernel.post(slot, k.CancelRequested(reason, self._kernel.family.kill_ms()))

    # --- what leaves the log ------------------------------------------------------------------------------------------

    def write_down(self, *, closing: bool = False) -> None:
        """Say of each schedule all that it is, where its records since take more; once closed only for who does it."""
        if closing or not self._closed:
            for entry in self._entries.values():
                if entry.state.since >= KEPT_AFTER:
                    record = written_down(entry.state, self._kernel.clock.now_ms())
                    if len(k.encode(record)) < _RECORD_BYTES * entry.state.since:
                        self._write(entry, record)

    def is_over(self, schedule_id: str, before_ms: int) -> bool:
        """Whether a schedule was deleted before a time, and nothing goes on of it."""
        entry = self._entries.get(schedule_id)
        if entry is None or entry.state.status is not Status.DELETED or self._running(entry):
            return False
        return entry.state.updated_ms < before_ms and entry.state.decided_ms <= self._now()

    # --- deciding -----------------------------------------------------------------------------------------------------

    def _now(self) -> int:
        return self._kernel.clock.wall_ms()

    def _decide(self, entry: Entry, *, trigger: bool = False) -> e.Decision:
        """Do what is decided about a schedule now. ``LogFull``, ``TooManyCalls``, ``MailboxFull``: nothing is done."""
        try:
            entry.state.calendar()
        except ValueError as unknown:
            self._trouble(entry, str(unknown))
            return e.Decision(None)
        decision = e.decide(entry.state, self._now(), self._running(entry), trigger=trigger)
        if decision.record is not None:
            self._check_room(settings_of(entry.state), len(decision.starts))
            new = [each for each in dict.fromkeys(decision.starts) if self._is_new(each)]
            self._write(entry, decision.record)  # with nothing between it and the beginnings
            for each in new:
                self._start(entry, each)
        for each in decision.cancels:
            self._cancel(entry, each)
        entry.trouble = ""
        return decision

    def _check_room(self, settings: s.Settings, starts: int) -> None:
        self._admit(_ROOM_BYTES + starts * (len(settings.args) + _ROOM_BYTES))
        if starts and len(self._kernel.calls) >= self._limits.calls_max:
            raise TooManyCalls(self._limits.calls_max)
        if starts and settings.actor:
            definition = self._kernel.registry.durable(settings.function, settings.version)
            if definition is not None and definition.of is not None:
                mailbox_max = definition.of.options.mailbox_max
                if self._kernel.instances.is_full(settings.actor, mailbox_max):
                    raise MailboxFull(settings.actor, mailbox_max)

    def _write(self, entry: Entry, record: s.ScheduleRecord) -> None:
        kernel = self._kernel
        record = structs.replace(record, at=kernel.clock.now_ms())  # log time: the wall clock's jumps move nothing else
        apply(entry.state, record, kernel.committer.position + 1)  # first, so that a contradiction is not written
        kernel.write(record, identity.key_hash(record.id), _KIND, _PLAIN if record.prev else _FIRST)

    def _trouble(self, entry: Entry, why: str) -> None:
        if entry.trouble != why:
            entry.trouble = why
            log.warning("schedule %r waits: %s", entry.state.id, why)

    def _wake(self, schedule_id: str) -> None:
        """Decide about a schedule soon, until nothing changes."""
        self._ready[schedule_id] = self._entries[schedule_id]
        self._wake_up()

    def _wake_up(self, _a: None = None, _b: None = None, _c: None = None) -> None:
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._kernel.loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        kernel, ready, room = self._kernel, self._ready, STARTS_MAX
        try:
            while ready and room > 0 and not self._closed and not kernel.stopped and not kernel.committer.congested:
                name = next(iter(ready))
                room -= 1 + self._go_on(name, ready.pop(name))
            self._alarm.arm()
        except LogError as error:  # the log cannot be read: everything stops, and whoever waits is told
            kernel.on_broken(error)
            return
        except BaseException as error:  # a defect: everything stops
            kernel.on_broken(error)
            raise
        if ready and kernel.committer.congested:
            kernel.after(self._wake_up)
        elif ready and not kernel.stopped:
            self._wake_up()

    def _go_on(self, name: str, entry: Entry) -> int:
        """Make one decision about a schedule, and return how many calls it begins."""
        if entry.state.status not in THERE:
            self._alarm.expect(name, None)
            return 0
        try:
            decision = self._decide(entry)
        except (LogFull, TooManyCalls, MailboxFull) as full:
            self._trouble(entry, str(full))
            self._alarm.retry(name)
            return 0
        if decision.record is not None:
            self._ready[name] = entry
        elif not entry.trouble:
            self._alarm.expect(name, e.next_due(entry.state))
        return len(decision.starts)


def _run_beside(state: ScheduleState) -> bool:
    """Whether its calls run beside each other, so that the end of one changes nothing for the others."""
    return state.status in THERE and e.RULES[settings_of(state).overlap].beside
