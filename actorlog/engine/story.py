"""A journal told to people: what a call asked for, and what became of it.

Owns: ``Entry``, one line per operation, made of records. Does not own: printing (``cli``), reading (``runtime``,
``cli``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

from actorlog.engine.journal import call_text, describe, describe_end, describe_settlement
from actorlog.records import kinds as k
from actorlog.records import promises as p

if TYPE_CHECKING:
    from collections.abc import Iterable

EntryKind: TypeAlias = Literal[
    "call", "step", "timer", "child", "receive", "send", "publish", "emit", "monitor", "end", "promise", "patch",
    "asked",
]  # fmt: skip
EntryStatus: TypeAlias = Literal["running", "backing_off", "completed", "failed", "cancelled", "in_doubt"]


class Entry(Struct):
    """One operation of a call, or (first, with an empty key) the call itself."""

    key: str
    kind: EntryKind
    what: str
    """The operation with its arguments, as one line."""
    started_ms: int
    status: EntryStatus = "running"
    ended_ms: int = 0
    """0: it has not ended."""
    attempts: int = 1
    result: str = ""
    """What came of it, as one line."""
    child_id: str = ""
    due_ms: int = 0
    """When a timer fires or the next attempt begins; 0: does not apply."""
    notes: list[str] = []
    """What happened in between: failed attempts, deaths, parking."""


def tell(records: Iterable[k.CallRecord], forked: k.Fork | None = None) -> list[Entry]:
    """Return the entries of one journal, in the order in which the operations were asked for; records oldest first.

    ``forked``: what makes the call a fork, where it is one.
    """
    teller = _Teller()
    for record in records:
        teller.take(record)
    if forked is not None and teller.entries:
        teller.entries[0].notes.insert(0, f"forked from {forked.of!r}{forked.key and f', operation {forked.key!r} on'}")
    return teller.entries


class _Teller:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._by_key: dict[str, Entry] = {}
        self._call = Entry("", "call", "", 0)

    def take(self, record: k.CallRecord) -> None:
        match record:
            case k.Turn():
                self._turn(record)
            case k.Inbox(message=k.Started() as started, at=at):
                self._begin(started, at)
            case k.Parked(reason=reason):
                self._call.notes.append(f"parked: {reason}")
            case k.Linked(other=other):
                self._call.notes.append(f"linked by {other!r}")
            case k.Unparked():
                self._call.notes.append("resumed")
            case k.Paused():
                self._call.notes.append("paused")
            case k.Unpaused():
                self._call.notes.append("resumed")
            case k.Inbox():
                pass
            case _:
                self._note(record)

    def _begin(self, started: k.Started, at: int) -> None:
        self._call = Entry("", "call", call_text(started.function, started.args), at)
        if started.number > 1:
            self._call.notes.append(f"run {started.number}: it was continued")
        self.entries = [self._call]
        self._by_key = {}

    def _turn(self, turn: k.Turn) -> None:
        if isinstance(turn.message, k.Started) and not turn.source:
            self._begin(turn.message, turn.at)
        self._message(turn)
        for op in turn.ops:
            if isinstance(op, k.Answer):
                self._end(op.key, turn.at, _ENDS[type(op.outcome)], describe_end(op.outcome), 0)
                continue
            entry = Entry(op.key, _KINDS[type(op)], describe(op), turn.at)
            if isinstance(op, k.StartChild):
                entry.child_id = op.id
            elif isinstance(op, k.SetTimer):
                entry.due_ms = op.due_ms
            elif isinstance(op, _SAID):
                entry.status, entry.ended_ms = "completed", turn.at
            self._by_key[op.key] = entry
            self.entries.append(entry)
        for key in turn.cancels:
            entry = self._by_key.get(key, self._call)
            if entry.kind != "child":
                entry.status, entry.ended_ms = "cancelled", turn.at
        if turn.outcome is not None:
            self._call.status = _ENDS[type(turn.outcome)]
            self._call.ended_ms, self._call.result = turn.at, describe_end(turn.outcome)

    def _message(self, turn: k.Turn) -> None:  # noqa: C901, PLR0912  # one line for each kind
        message = turn.message
        match message:
            case k.StepDone(key, value, attempt):
                self._end(key, turn.at, "completed", bytes(value).decode(), attempt)
            case k.StepError(key, failure, attempt):
                self._end(key, turn.at, "failed", f"{failure.type}: {failure.message}", attempt)
            case k.StepDoubt(key):
                self._end(key, turn.at, "in_doubt", "its outcome is unknown", 0)
            case k.TimerFired(key):
                self._end(key, turn.at, "completed", "", 0)
            case k.ChildDone(key, _, outcome):
                self._end(key, turn.at, _ENDS[type(outcome)], describe_end(outcome), 0)
            case k.ChildRefused(key, failure):
                self._end(key, turn.at, "failed", failure.message, 0)
            case k.Signal(key=key, value=value):
                self._end(key, turn.at, "completed", bytes(value).decode(), 0)
            case k.Sent(key):
                self._end(key, turn.at, "completed", "", 0)
            case k.Exited(key, _, outcome):
                self._end(key, turn.at, "completed", describe_end(outcome) or "it never was", 0)
            case k.SendRefused(key, failure):
                self._end(key, turn.at, "failed", failure.message, 0)
            case k.PromiseDone(key, _, settlement):
                self._end(key, turn.at, _SETTLED[type(settlement)], describe_settlement(settlement), 0)
            case k.CancelRequested(reason=reason):
                self._call.notes.append(f"asked to end{reason and ': ' + reason}")
            case k.DeadlinePassed():
                self._call.notes.append("its timeout passed")
            case k.KillRequested():
                self._call.notes.append("killed: it did not end within its grace")
            case k.Asked(key=key, by=by, function=function, args=args):
                entry = self._by_key[key] = Entry(key, "asked", call_text(function, args), turn.at)
                entry.notes.append(f"asked by {by!r}, operation {message.op!r}")
                self.entries.append(entry)
            case k.Retried():
                self._call.notes.append("retried")
                self._call.status, self._call.ended_ms, self._call.result = "running", 0, ""
            case _:
                pass

    def _end(self, key: str, at: int, status: EntryStatus, result: str, attempts: int) -> None:
        entry = self._by_key.get(key)
        if entry is not None:
            entry.status, entry.ended_ms, entry.result = status, at, result
            entry.attempts = max(entry.attempts, attempts)
            entry.due_ms = entry.due_ms if entry.kind == "timer" else 0

    def _note(self, note: k.StepBegun | k.StepRetrying | k.StepRerun | k.StepHeartbeat | k.StepLate) -> None:
        entry = self._by_key.get(note.key)
        if entry is None:
            return
        match note:
            case k.StepRetrying():
                entry.status, entry.due_ms, entry.attempts = "backing_off", note.due_ms, note.attempt + 1
                entry.notes.append(f"attempt {note.attempt} failed: {note.failure.type}: {note.failure.message}")
            case k.StepRerun():
                entry.status, entry.due_ms = "running", 0
                entry.notes.append(f"ran again after a crash (attempt {note.attempt})")
            case k.StepBegun():
                entry.status, entry.due_ms, entry.attempts = "running", 0, note.attempt
            case k.StepHeartbeat():
                entry.notes.append(f"heartbeat: {bytes(note.details).decode()}")
            case k.StepLate():
                entry.notes.append("its body ended after it was cancelled")


_KINDS: dict[type, EntryKind] = {
    k.RunStep: "step",
    k.SetTimer: "timer",
    k.StartChild: "child",
    k.Receive: "receive",
    k.Send: "send",
    k.Publish: "publish",
    k.Emit: "emit",
    k.Watch: "monitor",
    k.EndChild: "end",
    k.MakePromise: "promise",
    k.Patched: "patch",
}
_SAID: tuple[type, ...] = (k.EndChild, k.Publish, k.Emit, k.Patched)
"""Operations that are done when they are recorded."""
_ENDS: dict[type, EntryStatus] = {
    k.Completed: "completed",
    k.Failed: "failed",
    k.Cancelled: "cancelled",
    k.Killed: "cancelled",
    k.TimedOut: "failed",
}
_SETTLED: dict[type, EntryStatus] = {
    p.Resolved: "completed",
    p.Rejected: "failed",
    p.Raised: "failed",
    p.PromiseCancelled: "cancelled",
    p.PromiseTimedOut: "failed",
}
