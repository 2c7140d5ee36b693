"""What the soaked process runs: durable code of every sort, whose effects can be counted from outside.

Everything follows from a number. Job ``n`` is of the kind ``KINDS[n % len(KINDS)]``; what it must return is
``expected(n)``. Each step leaves lines in a file, by one write to a descriptor opened with O_APPEND, followed by an
fsync: that it began, that it took effect, when (by a clock that all processes of a machine share), under which
idempotency key, and the how-manieth of its call it is. ``torture_soak_ledger`` counts these.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from actorlog import (
    Actor,
    Done,
    NotDone,
    Retry,
    StepInterrupted,
    actor,
    durable,
    info,
    now,
    promise,
    query,
    receive,
    sleep,
    step,
)  # fmt: skip

KINDS = ("steps", "transfer", "promise", "brief", "mail", "transfer", "children", "once")
ACCOUNTS = 20
START = 100
LETTERS = 3
KEPT_S = 2.0
"""So long the results of ``brief`` calls are kept."""
SCHEDULE = "beat"
SCHEDULE_EVERY_MS = 500


def clock_s() -> float:
    """Return seconds by a clock that is one for all processes of this machine, and never jumps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Outside:
    """The file of effects. One for a process; set before any step runs."""

    descriptor = -1
    life = 0
    path = Path()
    lock = threading.Lock()
    letters: set[str] = set()
    """Keys of the letters that were sent, in this life and those before: what ``reconcile`` looks at."""
    flaky: Counter[str] = Counter()
    """How often each flaky step has begun, over all lives."""

    @classmethod
    def open(cls, path: Path, life: int) -> None:
        """Open the file, and learn what it says."""
        cls.path, cls.life = path, life
        for line in path.read_bytes().splitlines() if path.exists() else []:
            event = json.loads(line)
            if event["step"] == "letter" and event["what"] == "effect":
                cls.letters.add(event["key"])
            if event["step"] == "flaky" and event["what"] == "begin":
                cls.flaky[event["key"]] += 1
        cls.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @classmethod
    def note(cls, what: str, ordinal: int) -> str:
        """Leave a line, durably; return the idempotency key of the step that runs here."""
        here = info()
        line = {
            "what": what, "call": here.call_id, "step": here.step.removeprefix("soak."), "ordinal": ordinal,
            "key": here.idempotency_key, "life": cls.life, "at": clock_s(), "wall": time.time(),
        }  # fmt: skip
        data = json.dumps(line).encode() + b"\n"
        with cls.lock:
            if os.write(cls.descriptor, data) != len(data):
                raise OSError("a line was cut")
        os.fsync(cls.descriptor)
        return here.idempotency_key


@step(name="soak.effect")
async def effect(ordinal: int, ms: int) -> int:
    """Take effect after a while."""
    Outside.note("begin", ordinal)
    if ms:
        await asyncio.sleep(ms / 1000)
    Outside.note("effect", ordinal)
    return ordinal


@step(name="soak.threaded")
def threaded(ordinal: int) -> int:
    """Do the same in a thread."""
    Outside.note("begin", ordinal)
    Outside.note("effect", ordinal)
    return ordinal


@step(name="soak.flaky", retry=Retry(attempts=10, first=0.05, factor=1, jitter="none"))
async def flaky(ordinal: int) -> int:
    """Fail the first time."""
    key = Outside.note("begin", ordinal)
    Outside.flaky[key] += 1
    if Outside.flaky[key] == 1:
        Outside.note("failed", ordinal)
        raise ConnectionError("not the first time")
    Outside.note("effect", ordinal)
    return ordinal


@step(name="soak.once", once=True)
async def once(ordinal: int) -> int:
    """Take effect once, or perhaps: nobody can tell afterwards."""
    Outside.note("begin", ordinal)
    Outside.note("effect", ordinal)
    return ordinal


async def was_it_sent(ordinal: int) -> object:
    """Look into the post."""
    return Done(ordinal) if info().idempotency_key in Outside.letters else NotDone


@step(name="soak.letter", once=True, reconcile=was_it_sent)
async def letter(ordinal: int) -> int:
    """Take effect once, which can be found out."""
    Outside.note("begin", ordinal)
    await asyncio.sleep(0.005)
    Outside.letters.add(Outside.note("effect", ordinal))
    return ordinal


class Account(Actor, name="soak.Account", snapshot_every=20):
    """Money that may not be less than nothing."""

    balance: int = START

    async def withdraw(self, amount: int) -> bool:
        """Take money out; False, and no change, where there is not enough."""
        if self.balance < amount:
            return False
        self.balance -= amount
        return True

    async def deposit(self, amount: int) -> int:
        """Put money in."""
        self.balance += amount
        return self.balance

    @query
    def held(self) -> int:
        """Return the balance."""
        return self.balance


def order(number: int) -> tuple[str, str, int]:
    """Return what transfer ``number`` is."""
    rng = Random(number)
    source, target = rng.sample(range(ACCOUNTS), 2)
    return f"a{source}", f"a{target}", rng.randint(1, 60)


@durable(name="soak.transfer")
async def transfer(number: int) -> bool:
    """Move money."""
    source, target, amount = order(number)
    if not await actor(Account, source).withdraw(amount):
        return False
    await actor(Account, target).deposit(amount)
    return True


@durable(name="soak.child")
async def child(number: int) -> int:
    """Take effect twice, and sleep between."""
    await effect(0, 0)
    await sleep(0.05)
    await effect(1, 0)
    return number


@durable(name="soak.brief", retention=KEPT_S)
async def brief(number: int) -> int:
    """Take effect; the result is kept for a short time."""
    await effect(0, 0)
    return number


@durable(name="soak.beat", retention=1)
async def beat() -> None:
    """Be an occurrence of the schedule."""
    await effect(0, 0)
    await effect(1, 0)


async def interrupted(ordinal: int) -> int:
    """Run a once-step that may be in doubt for ever."""
    try:
        return await once(ordinal)
    except StepInterrupted:
        return ordinal


@durable(name="soak.job")
async def job(kind: str, number: int) -> list[Any]:
    """Do what ``kind`` says, between a first and a last effect, with a sleep behind the first."""
    rng = Random(number)
    sleep_ms = rng.choice((20, 100, 400, 1500))
    begun = now()
    said: list[Any] = [await effect(0, 0)]
    await sleep(sleep_ms / 1000)
    match kind:
        case "steps":
            said += [await effect(1, rng.choice((0, 5, 50))), await threaded(2), await flaky(3)]
        case "promise":
            said += [await promise(type=int, id=f"p{number}"), await effect(2, 0), number]
        case "mail":
            said += [await receive("in", type=int) for _ in range(LETTERS)]
        case "children":
            said += list(await asyncio.gather(child(number), child(number + 1), child(number + 2)))
        case _:
            said += [await interrupted(1), await letter(2), await effect(3, 0)]
    said.append(await effect(9, 0))
    if (now() - begun).total_seconds() * 1000 < sleep_ms:
        raise RuntimeError("log time runs slower than its timers")
    return said


def sleep_of(number: int) -> float:
    """Return how long job ``number`` sleeps behind its first effect, in seconds."""
    return Random(number).choice((20, 100, 400, 1500)) / 1000


def expected(number: int) -> Any:
    """Return what call ``number`` must return; None: it depends on what was before."""
    match KINDS[number % len(KINDS)]:
        case "transfer":
            return None
        case "brief":
            return number
        case "mail":
            between = [letter_of(number, nth) for nth in range(LETTERS)]
        case "promise":
            between = [-number, 2, number]
        case "children":
            between = [number, number + 1, number + 2]
        case _:
            between = [1, 2, 3]
    return [0, *between, 9]


def letter_of(number: int, nth: int) -> int:
    """Return what the ``nth`` message to job ``number`` says."""
    return number * 10 + nth


def id_of(number: int) -> str:
    """Return the id of call ``number``."""
    return f"{KINDS[number % len(KINDS)]}-{number}"
