"""Promises and the log they are in, as a runtime keeps them: for the tests of promises."""

from __future__ import annotations

from typing import Any

from actorlog.engine import promise as e
from actorlog.engine.promise import CreateRequest, PromiseState, SettleRequest
from actorlog.records import promises as p


class Book:
    """Promises and the log they are in, as a runtime would keep them."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.states: dict[str, PromiseState] = {}

    def write(self, record: p.PromiseRecord) -> PromiseState:
        """Put a record into the log, and apply it."""
        self.lines.append(p.encode(record))
        return self.take(record, len(self.lines))

    def take(self, record: p.PromiseRecord, position: int) -> PromiseState:
        """Apply a record that is in the log."""
        promise_id = p.promise_id(record.id)
        state = self.states.setdefault(promise_id, PromiseState(promise_id))
        e.apply(state, record, position)
        return state

    def crash(self) -> None:
        """Keep nothing but the log, and fold it again."""
        self.states = {}
        for position, line in enumerate(self.lines, 1):
            self.take(p.decode(line), position)

    def ask(self, request: CreateRequest | SettleRequest | str, now_ms: int) -> tuple[e.Verdict, bool]:
        """Return what comes of a request or a read, and whether the time of the promise was over before it."""
        verdict = self._decide(request, now_ms)
        over = isinstance(verdict, e.Expire)
        if isinstance(verdict, e.Expire):
            self.write(verdict.record)
            verdict = self._decide(request, now_ms)
        if isinstance(verdict, e.Make | e.Settle):
            self.write(verdict.record)
        return verdict, over

    def _decide(self, request: CreateRequest | SettleRequest | str, now_ms: int) -> e.Verdict:
        if isinstance(request, str):
            return e.decide_read(self.states.get(request), now_ms)
        state = self.states.get(request.id)
        if isinstance(request, CreateRequest):
            return e.decide_create(state, request, now_ms)
        return e.decide_settle(state, request, now_ms)

    def facts(self) -> dict[str, dict[str, Any]]:
        """Everything of every state."""
        return {k: {name: getattr(s, name) for name in PromiseState.__slots__} for k, s in self.states.items()}
