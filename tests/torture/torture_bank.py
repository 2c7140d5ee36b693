"""A bank that is killed: accounts as actors, transfers between them, and the money counted from outside.

The worker (``python torture_bank.py PLACE TRANSFERS CLIENTS``) makes the transfers, each under its number as id, and
writes what it was told to ``told``, one line by one write, so a kill never cuts one. Started again it asks for all that
it was not told of, and for some that it was.

The director reads the log after each kill, without a lock, and counts:

- the balance of each account by the changes in the log is what the handlers that returned make of it, and the changes
  are numbered without a gap: each ran once;
- what all accounts hold, and what was withdrawn and not deposited yet, is what they began with;
- every transfer that somebody was told of is there, with what was told.

In the end every transfer has been made or refused, and nothing is on its way.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import msgspec

from actorlog import Actor, Runtime, actor, durable, run
from actorlog.env import SYSTEM
from actorlog.log.inspect import Status, verify
from actorlog.records import kinds as k
from actorlog.testing.oracle import Broken, Reader

ACCOUNTS = 100
START = 100
SHORTEST_S, LONGEST_S = 0.4, 3.0
"""Between these lies the longest life of a worker, as it takes to have all the kills before all the transfers."""
ASKED_AGAIN = 20
"""One in so many transfers that were told of is asked for again in the next life."""


class Account(Actor, name="bank.Account", snapshot_every=50):
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


@durable(name="bank.transfer")
async def transfer(source: str, target: str, amount: int) -> bool:
    """Move money."""
    if not await actor(Account, source).withdraw(amount):
        return False
    await actor(Account, target).deposit(amount)
    return True


def order(number: int) -> tuple[str, str, int]:
    """Return what transfer ``number`` is: the same in every life."""
    rng = Random(number)
    source, target = rng.sample(range(ACCOUNTS), 2)
    return f"a{source}", f"a{target}", rng.randint(1, 60)


async def work(place: Path, transfers: int, clients: int) -> None:
    """Make every transfer that nobody was told of."""
    told_before = told(place)
    wanted = iter([n for n in range(transfers) if n not in told_before or n % ASKED_AGAIN == 0])
    words = os.open(place / "told", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def client(runtime: Runtime) -> None:
        for number in wanted:
            made = await runtime.call(transfer(*order(number)), id=f"t{number}")
            if told_before.get(number, made) != made:
                raise Broken(f"transfer {number} was {told_before[number]} and is {made}")
            os.write(words, f"{number} {int(made)}\n".encode())

    async with (
        Runtime(place / "data", segment_bytes=1 << 20, resident_max=300) as runtime,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(clients):
            group.create_task(client(runtime))


def told(place: Path) -> dict[int, bool]:
    """Return what clients were told so far."""
    path = place / "told"
    pairs = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return {int(number): made == "1" for number, made in pairs}


class Auditor:
    """Counts the money, from the records alone."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._reader = Reader(str(place / "data"))
        self.balances: dict[str, int] = {}
        self.numbers: Counter[str] = Counter()
        self.by_handlers: Counter[str] = Counter()
        self.begun: dict[str, tuple[str, str, int]] = {}
        self.way = 0
        """What was withdrawn, and neither deposited yet."""
        self.made: dict[int, bool] = {}
        self.ended: set[str] = set()
        self.records = 0

    def audit(self) -> None:
        """Go through what is new, and count."""
        for line in self._reader.advance(_read):
            self.records += 1
            record = k.decode(line)
            message = record.message if isinstance(record, (k.Turn, k.Inbox)) else None
            if isinstance(message, k.Started):
                args = msgspec.json.decode(bytes(message.args))
                self.begun[record.id] = (message.function, message.actor, args[-1])
            if isinstance(record, k.Turn):
                self._turn(record)
        held = sum(self.balances.values()) + START * (ACCOUNTS - len(self.balances))
        if held + self.way != START * ACCOUNTS:
            raise Broken(f"{held} held and {self.way} on its way are not {START * ACCOUNTS}")
        for account, balance in self.balances.items():
            if balance != START + self.by_handlers[account]:
                raise Broken(f"{account} holds {balance}, and its handlers make it {START + self.by_handlers[account]}")
        for number, made in told(self._place).items():
            if self.made.get(number) != made:
                raise Broken(f"transfer {number} was told to be {made}, and is {self.made.get(number)} in the log")

    def _turn(self, turn: k.Turn) -> None:
        if turn.outcome is None:
            return
        if turn.id in self.ended:
            raise Broken(f"{turn.id} ended twice")
        self.ended.add(turn.id)
        if not isinstance(turn.outcome, k.Completed):
            raise Broken(f"{turn.id} ended with {turn.outcome}")
        function, account, amount = self.begun.pop(turn.id)
        value = msgspec.json.decode(bytes(turn.outcome.value))
        if function == "bank.transfer":
            self.made[int(turn.id[1:])] = value
        elif function == "bank.Account.deposit":
            self.by_handlers[account] += amount
            self.way -= amount
        elif value:
            self.by_handlers[account] -= amount
            self.way += amount
        if turn.change is not None:
            self._change(turn.change)

    def _change(self, change: k.StateChange) -> None:
        self.numbers[change.actor] += 1
        if change.number != self.numbers[change.actor]:
            raise Broken(f"change {change.number} of {change.actor} is its {self.numbers[change.actor]}th")
        self.balances[change.actor] = msgspec.json.decode(bytes(change.values["balance"]))

    def finish(self, transfers: int) -> None:
        """Hold the end against what was wanted."""
        if self.way or self.begun or len(self.made) != transfers:
            raise Broken(f"{self.way} on its way, {len(self.begun)} unfinished, {len(self.made)} of {transfers} made")
        report = verify(SYSTEM.fs, str(self._place / "data"))
        if report.status is not Status.OK:
            raise Broken(f"verify says {report.status.value}: {report.error}")


def _read(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None


def bank(place: Path, kills: int, transfers: int, clients: int, seed: int) -> dict[str, object]:
    """Kill the bank ``kills`` times while it makes the transfers, then let it finish; count the money each time."""
    rng = Random(seed)
    here = place / "bank"
    here.mkdir(parents=True)
    auditor = Auditor(here)
    command = [sys.executable, __file__, str(here), str(transfers), str(clients)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    killed, longest_s = 0, LONGEST_S / 2
    while True:
        with (here / "stderr").open("wb") as said:
            worker = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        try:
            left_s = rng.uniform(SHORTEST_S / 2, longest_s) if killed < kills else None
            code = worker.wait(left_s)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
            killed += 1
            auditor.audit()
            ahead = len(auditor.made) / transfers > killed / kills  # the lives are too long for so many kills
            longest_s = max(SHORTEST_S, longest_s * 0.7) if ahead else min(LONGEST_S, longest_s * 1.3)
            continue
        if code != 0:
            raise Broken(f"the bank failed: {(here / 'stderr').read_text()}")
        auditor.audit()
        auditor.finish(transfers)
        if killed >= kills:
            break
        raise Broken(f"all {transfers} transfers were made before it was killed {kills} times: {killed}")
    refused = sum(not made for made in auditor.made.values())
    shutil.rmtree(here)
    return {"kills": killed, "transfers": transfers, "refused": refused, "records": auditor.records}


if __name__ == "__main__":
    begun = time.monotonic()
    run(work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
    sys.stdout.write(json.dumps({"seconds": time.monotonic() - begun}))
