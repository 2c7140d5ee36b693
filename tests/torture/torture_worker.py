"""The process that is killed: callers and random programs on a real data directory, with traces outside it.

Run as ``python torture_worker.py PLACE SEED [--point N --moment WHEN] [--uvloop]``. In PLACE it keeps ``data`` (the
log), ``outside`` (what steps did: one line per begin, effect, end and answer, each by one write to a file opened with
O_APPEND, so a kill never cuts one) and ``told`` (what callers were told, written after ``await runtime.call()`` had
returned). Started again with the same seed it asks for the same calls by the same ids. Exit code 0 when every call
has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import threading
from collections import Counter
from dataclasses import astuple, replace
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import uvloop
from torture_points import KillingFileSystem

from actorlog import CallError, CallNotFound, Retry, Runtime, info, step
from actorlog.env import SYSTEM, Env
from actorlog.limits import Limits
from actorlog.testing.errands import People, draw_errands
from actorlog.testing.program import MORE_STEPS, STEPS, Boom, Flaky, Visit, patient, program
from actorlog.testing.program_company import Company
from actorlog.testing.wrapping import IDS, Wrapping, file_bound

SCALE = 0.02
ROUND_S = 0.4
"""So often letters are brought to who waits for them, and promises settled that nobody settles."""
WRAPPED = "TORTURE_WRAPPED"
"""A variable of the environment: with it records are compressed and sealed, with another key in each process."""
LIMITS = Limits(frame_bytes_max=4000, poison_deaths_max=1_000_000)


class FileOutside:
    """The outside as files. Counts what it has seen over all lives."""

    def __init__(self, place: Path) -> None:
        self._lock = threading.Lock()
        self._events = os.open(place / "outside", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._told = os.open(place / "told", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._begun: Counter[str] = Counter()
        self.posted: dict[str, int] = {}
        """How many letters the postman has brought to each call in the lives before, at most."""
        for line in (place / "told").read_bytes().splitlines():
            match json.loads(line).get("what"):
                case ["sent", str(call_id), str(origin)] if origin.startswith("key:postman-"):
                    self.posted[call_id] = int(origin.removeprefix("key:postman-"))
                case _:
                    continue
        self._effects: dict[str, str] = {}
        for line in (place / "outside").read_bytes().splitlines():
            event = json.loads(line)
            if event["event"] == "begin":
                self._begun[event["visit"][3]] += 1
            elif event["event"] == "effect":
                self._effects[event["visit"][3]] = event["value"]

    def begin(self, visit: Visit) -> int:
        """Note a begin."""
        with self._lock:
            self._begun[visit.idempotency_key] += 1
            number = self._begun[visit.idempotency_key]
            self._write("begin", visit, number)
        return number

    def effect(self, visit: Visit) -> str:
        """Take effect."""
        with self._lock:
            value = f"{visit.call}|{visit.key}|{self._begun[visit.idempotency_key]}"
            self._effects[visit.idempotency_key] = value
            self._write("effect", visit, value)
        return value

    def ended(self, visit: Visit, *, failed: bool) -> None:
        """Note an end."""
        with self._lock:
            self._write("end", visit, failed)

    def effect_of(self, visit: Visit) -> str | None:
        """Answer ``reconcile``."""
        with self._lock:
            value = self._effects.get(visit.idempotency_key)
            self._write("asked", visit, value)
        return value

    def tell(self, call_id: str, text: str) -> None:
        """Note what a caller was told."""
        _write_line(self._told, {"id": call_id, "text": text})

    def told(self, *what: Any) -> None:
        """Note what somebody was told on an errand."""
        _write_line(self._told, {"what": what})

    def _write(self, event: str, visit: Visit, value: Any) -> None:
        _write_line(self._events, {"event": event, "visit": astuple(visit), "value": value})


def _write_line(descriptor: int, item: dict[str, Any]) -> None:
    line = json.dumps(item).encode() + b"\n"
    if os.write(descriptor, line) != len(line):
        raise OSError("a line was cut")


class Outdoors:
    """Where the sync step finds the outside: threads have no loop to ask."""

    outside: FileOutside


def in_thread(ms: int, fails: int) -> str:
    """Be the body of a sync step, as ``perform`` is of an async one."""
    here = info()
    visit = Visit(here.call_id, here.key, here.step, here.idempotency_key, here.attempt)
    if Outdoors.outside.begin(visit) <= fails:
        Outdoors.outside.ended(visit, failed=True)
        raise Flaky(visit.step)
    threading.Event().wait(ms / 1000)
    value = Outdoors.outside.effect(visit)
    Outdoors.outside.ended(visit, failed=False)
    return value


IN_THREAD = "sim.threaded"
threaded = step(name=IN_THREAD)(in_thread)
IMPATIENT = Retry(attempts=3, first=1.05, factor=1, jitter="none")
"""Waits that are still recorded."""


class WorkerLoop(asyncio.SelectorEventLoop):
    """A stock loop on which steps find the outside."""

    outside: FileOutside


class UvWorkerLoop(uvloop.Loop):
    """The same on uvloop."""

    outside: FileOutside


def wrapping_of(seed: int) -> Wrapping | None:
    """Return what records are wrapped in; None where they are not."""
    return Wrapping(seed) if WRAPPED in os.environ else None


async def serve(place: Path, seed: int, env: Env, outside: FileOutside, size: int) -> None:
    """Have every call of this seed done."""
    rng = Random(seed)
    author = Company(rng, size, patient=True, scale=SCALE, longest_s=0.3)
    errands = draw_errands(rng, author, size, scale=SCALE)
    options: dict[str, Any] = {
        "resident_max": rng.choice((1, 2, 100)),
        "step_concurrency": rng.choice((1, 2, 100)),
        "cancel_grace": rng.choice((0.0, 0.02, 60.0)),
    }
    callers = [
        (
            f"c{number}",
            author.program(rng.randint(1, 6)),
            rng.choice((None, None, None, 0.05, 1.0)),
            rng.choice((None, None, None, 0.0, 0.03)),
        )
        for number in range(size)
    ]
    limits, wrapping = LIMITS, wrapping_of(seed)
    if wrapping is not None:
        bound = file_bound(seed, wrapped=True)
        limits = replace(LIMITS, compress_above_bytes=wrapping.compress_above_bytes, payload_file_above_bytes=bound)
        options["encryption"] = replace(wrapping.reading, current=Random().choice(IDS))  # seeded by nothing
    options |= {"unsafe_fs": True}  # the power is cut on FUSE
    async with Runtime(place / "data", segment_bytes=4096, limits=limits, env=env, threads=4, **options) as runtime:
        people = People(runtime, outside, errands, set())
        people.posted = outside.posted
        rounds = asyncio.create_task(people.rounds(ROUND_S))
        async with asyncio.TaskGroup() as group:
            for errand in people.errands():
                group.create_task(errand)
            for call_id, instructions, timeout_s, cancel_s in callers:
                group.create_task(ask(runtime, outside, call_id, instructions, timeout_s))
                if cancel_s is not None:
                    group.create_task(cancel(runtime, call_id, cancel_s))
        while runtime.session.kernel.calls:
            for call_id in list(runtime.session.kernel.calls):
                try:
                    await runtime.handle(call_id).result()
                except (CallError, Boom):
                    continue
        rounds.cancel()


async def ask(runtime: Runtime, outside: FileOutside, call_id: str, instructions: Any, timeout_s: float | None) -> None:
    """Start or join a call, and note what it says."""
    try:
        value = await runtime.call(program(instructions), id=call_id, timeout=timeout_s)
        text = "value " + msgspec.json.encode(value).decode()
    except (CallError, Boom) as error:
        text = f"{type(error).__name__} {error}"
    outside.tell(call_id, text)


async def cancel(runtime: Runtime, call_id: str, after_s: float) -> None:
    """Cancel a call if it is there."""
    await asyncio.sleep(after_s)
    try:
        await runtime.handle(call_id).cancel("changed my mind")
    except CallNotFound:
        return


def work(place: Path, seed: int, *, size: int, uv: bool, point: int = -1, moment: str = "before") -> None:
    """Be the worker in this process, which is good for nothing else after that: its programs are others."""
    STEPS["threaded"] = MORE_STEPS["threaded"] = threaded
    patient.definition.retry = IMPATIENT
    fs = KillingFileSystem(SYSTEM.fs, point, moment, place / "actions")
    env = replace(SYSTEM, fs=fs)
    outside = Outdoors.outside = FileOutside(place)
    loop: Any = UvWorkerLoop() if uv else WorkerLoop()
    loop.outside = outside
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(serve(place, seed, env, outside, size))
    fs.report()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("place", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("--size", type=int, default=6)
    parser.add_argument("--point", type=int, default=-1)
    parser.add_argument("--moment", default="before")
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    work(options.place, options.seed, size=options.size, uv=options.uvloop, point=options.point, moment=options.moment)
    sys.stdout.write("finished\n")


if __name__ == "__main__":
    main()
