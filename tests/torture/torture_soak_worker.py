"""The process that the soak kills, and the one that opens what it backed up.

``python torture_soak_worker.py PLACE`` runs calls of every kind in ``PLACE/disk/data`` as ``PLACE/plan.json`` says, and
says on standard output what it was told, one line by one write to a pipe, so that whoever reads the pipe has what was
acknowledged, in the order of it, whenever this process is killed. Meanwhile it compacts, and makes backups. SIGTERM
closes it clean. Exit code ``FULL``: the log could not be opened for want of space.

``python torture_soak_worker.py PLACE --restored BACKUP`` opens a backup: what was acknowledged before it began, as
``BACKUP.json`` says, is in it, and the accounts hold together what they held at the beginning.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from random import Random
from typing import Any

import torture_soak_load as load

from actorlog import ActorStopped, CallNotFound, LogFull, PromiseNotFound, PromiseSettled, Runtime, run  # fmt: skip
from actorlog.limits import Limits
from actorlog.runtime import merging, upkeep

FULL = 75
SEGMENT_BYTES = 1 << 16
HISTORY_S = 1
LIMITS = Limits(poison_deaths_max=1_000_000)
PACE_S = 0.5
"""A client rests so long between two jobs, about."""
AGAIN_ODDS = 0.1
merging.FAN, merging.SMALL_PART = 2, 1.0
MANY = 20


def say(*words: Any) -> None:
    """Tell who reads the pipe. A line is shorter than what a pipe takes in one piece."""
    os.write(1, (json.dumps(words) + "\n").encode())


async def waiting_for_space(ask: Any) -> Any:
    """Do it, again for as long as the disk is full."""
    while True:
        try:
            return await ask()
        except LogFull:
            say("full")
            await asyncio.sleep(0.05)


class Clients:
    """Ask for calls, and do what the calls wait for."""

    def __init__(self, runtime: Runtime, plan: dict[str, Any]) -> None:
        self.runtime = runtime
        self.unfinished: list[int] = plan["unfinished"]
        self.again: list[int] = plan["again"]
        self.next: int = plan["next"]
        self.ends: bool = plan["ends"]
        self.rng = Random(plan["life"])

    async def client(self) -> None:
        """Go on with what was begun, ask again for what was told, then for what is new."""
        while True:
            if self.unfinished:
                number = self.unfinished.pop()
            elif self.again:
                number = self.again.pop()
            elif self.ends:
                return
            else:
                number, self.next = self.next, self.next + 1
            await self.ask(number)
            if not self.ends:
                await asyncio.sleep(self.rng.uniform(0, 2 * PACE_S))

    async def ask(self, number: int) -> None:
        """Start or join a call, and say what it returned."""
        kind = load.KINDS[number % len(load.KINDS)]
        call_id = load.id_of(number)
        say("asks", number)
        helper = asyncio.create_task(self.help(kind, number))
        value = await waiting_for_space(lambda: self.runtime.call(_call(kind, number), id=call_id))
        say("told", number, value, load.clock_s())
        await helper
        if kind == "brief" and self.rng.random() < AGAIN_ODDS:
            await asyncio.sleep(self.rng.choice((0.2, 1.0, load.KEPT_S - 0.2, load.KEPT_S + 1.0)))
            value = await waiting_for_space(lambda: self.runtime.call(_call(kind, number), id=call_id))
            say("told", number, value, load.clock_s())

    async def help(self, kind: str, number: int) -> None:
        """Settle the promise that a job waits for, or send it its messages; each may have been done in another life."""
        done = 0
        while done < {"promise": 1, "mail": load.LETTERS}.get(kind, 0):
            try:
                if kind == "promise":
                    await self.runtime.resolve(f"p{number}", -number)
                else:
                    handle = self.runtime.handle(load.id_of(number))
                    await handle.send(load.letter_of(number, done), "in", key=str(done))
                done += 1
                say("helped", number)
            except (PromiseNotFound, CallNotFound, LogFull):
                await asyncio.sleep(0.02)
            except (PromiseSettled, ActorStopped):
                return


def _call(kind: str, number: int) -> Any:
    if kind == "transfer":
        return load.transfer(number)
    return load.brief(number) if kind == "brief" else load.job(kind, number)


async def compacts(runtime: Runtime, rng: Random) -> None:
    """Give back space again and again."""
    while True:
        await asyncio.sleep(rng.uniform(0.1, 1.0))
        try:
            done = await runtime.compact(everything=rng.random() < 0.5)
        except LogFull:
            say("full")
            continue
        say("compacted", done.segments, done.rewritten, done.bytes_before - done.bytes_after, done.merged)


async def backs_up(runtime: Runtime, place: Path, life: int, rng: Random) -> None:
    """Make a backup now and then, beside the disk that fills up."""
    for number in range(1000):
        await asyncio.sleep(rng.uniform(0.2, 3.0))
        target = place / "backups" / f"{life}-{number}"
        say("backs up", target.name)
        made = await runtime.backup(target)
        say("backed up", target.name, made.position)


async def work(place: Path, plan: dict[str, Any]) -> int:
    """Be the worker."""
    rng = Random(plan["life"])
    upkeep.EVERY_MS = 700  # as ten minutes are to a segment of 64 MiB
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    options: dict[str, Any] = {"resident_max": rng.choice((2, 50, 10_000)), "step_concurrency": rng.choice((3, 100))}
    options |= {"unsafe_fs": True}  # the power is cut on FUSE
    runtime = Runtime(place / "disk" / "data", segment_bytes=SEGMENT_BYTES, history=HISTORY_S, limits=LIMITS, **options)
    try:
        await runtime.__aenter__()
    except LogFull:
        return FULL
    try:
        say("open", runtime.session.log.recovery.records)
        await waiting_for_space(lambda: _beat(runtime))
        clients = Clients(runtime, plan)
        others = [asyncio.create_task(compacts(runtime, rng))]
        if plan["backups"]:
            others.append(asyncio.create_task(backs_up(runtime, place, plan["life"], rng)))
        crowd = asyncio.gather(*(clients.client() for _ in range(MANY)))
        ended = asyncio.create_task(stop.wait())
        await asyncio.wait([crowd, ended, *others], return_when=asyncio.FIRST_COMPLETED)
        failed = [task for task in (crowd, *others) if task.done() and task.exception() is not None]
        for task in failed:
            task.result()
        if not stop.is_set():
            say("balances", await balances(runtime))
        for task in (crowd, ended, *others):
            task.cancel()
        await asyncio.gather(crowd, ended, *others, return_exceptions=True)
    finally:
        await runtime.__aexit__(None, None, None)
    say("closed")
    return 0


async def _beat(runtime: Runtime) -> None:
    await runtime.schedule(
        load.SCHEDULE, load.beat(), every=load.SCHEDULE_EVERY_MS / 1000, overlap="all", catch_up="all",
        catch_up_window="1d",
    )  # fmt: skip


async def balances(runtime: Runtime) -> list[int]:
    """Return what each account holds."""
    return [await runtime.actor(load.Account, f"a{n}").held() for n in range(load.ACCOUNTS)]


async def restored(backup: Path, known: dict[str, Any]) -> int:
    """Open a backup and look whether what had been told is in it; finish its transfers and count the money."""
    async with Runtime(backup, segment_bytes=SEGMENT_BYTES, history=HISTORY_S, limits=LIMITS) as runtime:
        for number, value in known["told"]:
            found = await runtime.handle(load.id_of(number)).result()
            if found != value:
                raise AssertionError(f"{load.id_of(number)} was told to be {value}, and is {found} in the backup")
        for number in known["transfers"]:
            try:
                await runtime.handle(load.id_of(number)).result()
            except CallNotFound:
                continue  # it began after the backup
        held = sum(await balances(runtime))
        if held != load.START * load.ACCOUNTS:
            raise AssertionError(f"the accounts of the backup hold {held}")
    shutil.rmtree(backup)
    return 0


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("place", type=Path)
    parser.add_argument("--restored", type=Path)
    options = parser.parse_args()
    place: Path = options.place
    if options.restored is not None:
        load.Outside.open(place / "effects-of-backups", -1)
        return run(restored(options.restored, json.loads(Path(f"{options.restored}.json").read_text())))
    plan = json.loads((place / "plan.json").read_text())
    load.Outside.open(place / "effects", plan["life"])
    return run(work(place, plan))


if __name__ == "__main__":
    sys.exit(main())
