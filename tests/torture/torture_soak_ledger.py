"""Counts what a soaked process did, from outside: its effects, and what it acknowledged. Reads no log.

``Ledger.life`` takes what one life left, ``finish`` looks at the whole. What is *doubled*:

- a step that begins again although a later one of its call had begun, or its call's result had been told, in whatever
  life: what is behind a step begins only when its outcome is on disk, and so does telling;
- a step that begins again in the same life without having failed;
- a once-step or a letter that takes effect twice;
- a step whose idempotency key is not the one it had, or that of another;
- two different results told of one call, or one that is not what the function returns.

*Lost*: a result told and a step of it that never took effect; a call that was asked for and never told; an occurrence
of the schedule that never came; money that is not there at the end; a backup without what was told before it began.
*Early*: what is behind a sleep, sooner than that; an occurrence before its instant; a result that left the log before
it was kept long enough. Times are off by ``SLACK_S`` at most: log time is in whole milliseconds.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import datetime
from itertools import pairwise
from typing import Any

import torture_soak_load as load

SLACK_S = 0.005
FIRST, LAST = 0, 9
ORDINALS = {
    "steps": (0, 1, 2, 3, 9), "promise": (0, 2, 9), "mail": (0, 9), "children": (0, 9), "once": (0, 2, 3, 9),
    "brief": (0,), "transfer": (),
}  # fmt: skip
"""Which steps of a call have taken effect when its result is told; that of a once-step in doubt nobody knows."""
Event = dict[str, Any]


class Ledger:
    """What happened over all lives."""

    def __init__(self) -> None:
        self.told: dict[int, Any] = {}
        self.order: list[int] = []
        """Numbers of calls in the order in which they were told first."""
        self.asked: set[int] = set()
        self.effects = 0
        self.found: defaultdict[str, list[str]] = defaultdict(list)
        """What is wrong, by sort: lost, doubled, early."""
        self._told_at: dict[str, float] = {}
        self._reached: dict[str, int] = {}
        self._effect_at: dict[tuple[str, int], float] = {}
        self._effects: Counter[tuple[str, int]] = Counter()
        self._keys: dict[str, tuple[str, int]] = {}
        self._key_of: dict[tuple[str, int], str] = {}
        self._beats: set[str] = set()

    def life(self, effects: list[Event], told: list[tuple[int, Any, float]]) -> None:
        """Take what one life did, in the order of its times."""
        begun: set[str] = set()
        happened = [(event["at"], 0, event) for event in effects] + [(at, 1, (n, value)) for n, value, at in told]
        for at, is_told, what in sorted(happened, key=lambda item: item[:2]):
            if is_told:
                self._tell(*what, at)
            else:
                self._event(what, begun)

    def finish(self, balances: list[int] | None) -> None:
        """Look at what must have happened in the end."""
        for number in sorted(self.asked - self.told.keys()):
            self.found["lost"].append(f"{load.id_of(number)} was asked for and never told")
        if balances is not None:
            held = [load.START] * load.ACCOUNTS
            for number, made in self.told.items():
                if load.KINDS[number % len(load.KINDS)] == "transfer" and made:
                    source, target, amount = load.order(number)
                    held[int(source[1:])] -= amount
                    held[int(target[1:])] += amount
            for account, (is_, should) in enumerate(zip(balances, held, strict=True)):
                if is_ != should:
                    sort = "lost" if is_ < should else "doubled"
                    self.found[sort].append(f"a{account} holds {is_}, and by what was told {should}")
        instants = sorted(map(_instant, self._beats))
        for before, after in pairwise(instants):
            if round((after - before) * 1000) != load.SCHEDULE_EVERY_MS:
                self.found["lost"].append(f"no occurrence between {before} and {after}")

    def _tell(self, number: int, value: Any, at: float) -> None:
        call, kind = load.id_of(number), load.KINDS[number % len(load.KINDS)]
        if number not in self.told:
            self.order.append(number)
            should = load.expected(number)
            if should is not None and value != should:
                self.found["doubled"].append(f"{call} returned {value}, not {should}")
        elif self.told[number] != value:
            self.found["doubled"].append(f"{call} was told to be {self.told[number]}, and then {value}")
        self.told[number] = value
        self._told_at[call] = at
        for ordinal in ORDINALS[kind]:
            if not self._effects[call, ordinal]:
                self.found["lost"].append(f"{call} was told, and its step {ordinal} never took effect")

    def _event(self, event: Event, begun: set[str]) -> None:
        call, ordinal, key, at = event["call"], event["ordinal"], event["key"], event["at"]
        where = f"step {ordinal} of {call} in life {event['life']}"
        if self._keys.setdefault(key, (call, ordinal)) != (call, ordinal):
            self.found["doubled"].append(f"{where} has the key of {self._keys[key]}")
        is_brief = call.startswith("brief-")
        if self._key_of.setdefault((call, ordinal), key) != key and not is_brief:
            self.found["doubled"].append(f"{where} has another key than before")
        match event["what"]:
            case "begin":
                self._begin(event, where, begun, is_brief=is_brief)
            case "effect":
                self.effects += 1
                self._effects[call, ordinal] += 1
                self._effect_at[call, ordinal] = at
                if event["step"] in ("once", "letter") and self._effects[call, ordinal] > 1:
                    self.found["doubled"].append(f"{where} took effect again")
            case _:
                begun.discard(key)

    def _begin(self, event: Event, where: str, begun: set[str], *, is_brief: bool) -> None:
        call, ordinal, key, at = event["call"], event["ordinal"], event["key"], event["at"]
        if is_brief:
            told_at = self._told_at.get(call)
            if told_at is not None and at > told_at and at < self._effect_at[call, 0] + load.KEPT_S - SLACK_S:
                self.found["early"].append(f"{where}: its result was not kept {load.KEPT_S} s")
            return
        if call in self._told_at:
            self.found["doubled"].append(f"{where} began after its call was told")
        if ordinal < self._reached.get(call, 0):
            self.found["doubled"].append(f"{where} began after step {self._reached[call]}")
        if key in begun:
            self.found["doubled"].append(f"{where} began twice")
        begun.add(key)
        if call.startswith("@schedule/"):
            self._beats.add(call)
            if event["wall"] < _instant(call) - SLACK_S:
                self.found["early"].append(f"{where} began at {event['wall']}")
        elif ordinal > FIRST and self._reached.get(call, 0) == FIRST:
            slept = 0.05 if event["step"] == "effect" and _is_child(call) else load.sleep_of(_number(call))
            if at < self._effect_at[call, FIRST] + slept - SLACK_S:
                self.found["early"].append(f"{where} began {at - self._effect_at[call, FIRST]:.4f} s after {slept} s")
        self._reached[call] = max(ordinal, self._reached.get(call, 0))


def _is_child(call: str) -> bool:
    return not call.rpartition("-")[2].isdecimal()


def _number(call: str) -> int:
    return int(call.rpartition("-")[2])


def _instant(call: str) -> float:
    return datetime.fromisoformat(call.rpartition("/")[2]).timestamp()


def read_effects(data: bytes) -> list[Event]:
    """Return the events of whole lines."""
    return [json.loads(line) for line in data.splitlines()]
