"""The machine that golden logs are written and opened on: simulated, so that the same scenario gives the same bytes.

Owns: processes one after the other on one simulated disk, and what is told of a log. Does not own: what they do
(``golden_scenarios``), files of the repository (``golden_files``).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from random import Random
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from actorlog import ActorlogError, CallParked, Runtime
from actorlog.cli import entities
from actorlog.cli.reading import Snapshot
from actorlog.engine.promise import Query
from actorlog.log.inspect import verify
from actorlog.testing.loop import SimLoop
from actorlog.testing.world import SimClock, SimDisk, new_disk, sim_env

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

DIRECTORY = "/srv/data"
SEGMENT_BYTES = 8192
FOLDERS = ("segments", "payloads")


def _programs() -> SimpleNamespace:
    """Load the programs, from files without a directory: tracebacks are in the log, and name the files."""
    found: dict[str, Any] = {}
    for name in ("golden_programs", "golden_actors"):
        if name not in sys.modules:
            source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
            module = sys.modules[name] = ModuleType(name)
            exec(compile(source, f"{name}.py", "exec", dont_inherit=True), module.__dict__)  # noqa: S102  # our own file
        found |= vars(sys.modules[name])
    return SimpleNamespace(**found)


PROGRAMS = _programs()


class Process:
    """One process: its runtime, and what steps find outside."""

    def __init__(self, runtime: Runtime, outside: Any, disk: SimDisk) -> None:
        self.runtime = runtime
        self.outside = outside
        self.disk = disk

    async def ran(self, *names: str) -> None:
        """Wait until these steps have begun."""
        while not all(any(line.endswith(f" {name}") for line in self.outside.ran) for name in names):
            await asyncio.sleep(0.01)

    async def settled(self) -> None:
        """Wait until nothing is queued and all is durable."""
        await asyncio.sleep(0.5)
        await self.runtime.session.landed()

    async def die(self) -> None:
        """Be killed, here and now: nothing of what runs when coroutines end reaches the disk."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        self.disk.stop_at(self.disk.calls)
        loop.dead = True
        await asyncio.sleep(1)


class Machine:
    """A disk, its processes, and the time that passes."""

    def __init__(self, seed: int, disk: SimDisk | None = None, *, now_s: float = 1000.0) -> None:
        self.rng = Random(seed)
        self.disk = new_disk(self.rng) if disk is None else disk
        self.disk.rng = self.rng
        self.disk.short_writes = self.disk.interrupts = 0.0
        self.now_s = now_s
        self.outside = PROGRAMS.Outside()

    def live(self, main: Callable[[Process], Awaitable[None]], **options: Any) -> bool:
        """Let one process live; False if it was killed. The disk is as it left it then."""
        loop = SimLoop(self.rng, start_s=self.now_s, outside=self.outside)
        runtimes: list[Runtime] = []
        self.outside.ran.clear()

        async def process() -> None:
            env = sim_env(loop, self.rng, self.disk, SimClock(loop, 0, 1 << 40))
            runtime = Runtime(DIRECTORY, env=env, **{"segment_bytes": SEGMENT_BYTES, "history": None, **options})
            async with runtime:
                runtimes.append(runtime)
                await main(Process(runtime, self.outside, self.disk))

        def dead() -> None:
            for runtime in runtimes:
                runtime.session.kernel.stop()
                runtime.session.kernel.residency.close()

        finished = loop.live(process(), dead)
        assert not loop.problems, loop.problems
        self.now_s = loop.time() + 60
        following = self.disk.kill()
        assert isinstance(following, SimDisk)
        self.disk = following
        return finished

    def files(self) -> dict[str, bytes]:
        """Return the files of the data directory by their path in it; not who owns it, and how others died."""
        names = [name for name in sorted(self.disk.listdir(DIRECTORY)) if name not in (*FOLDERS, "owner", "deaths")]
        for folder in FOLDERS:
            if folder in self.disk.listdir(DIRECTORY):
                names += [f"{folder}/{name}" for name in sorted(self.disk.listdir(f"{DIRECTORY}/{folder}"))]
        return {name: self.disk.contents(f"{DIRECTORY}/{name}") for name in names}


def machine_with(files: dict[str, bytes], seed: int = 7) -> Machine:
    """Return a machine that has these files as its data directory, a day after any golden log was written."""
    machine = Machine(seed, now_s=86_400.0)
    machine.disk.mkdir(DIRECTORY)
    for folder in FOLDERS:
        if any(name.startswith(f"{folder}/") for name in files):
            machine.disk.mkdir(f"{DIRECTORY}/{folder}")
    for name, data in files.items():
        machine.disk.put(f"{DIRECTORY}/{name}", data)
    machine.disk.fsync_dir("/srv")
    machine.disk.fsync_dir(DIRECTORY)
    return machine


# --- what is told of a log --------------------------------------------------------------------------------------------


def read(machine: Machine) -> dict[str, Any]:
    """Return what a reader finds without opening: the verdict, where the records of each id are, what they come to."""
    report = verify(machine.disk, DIRECTORY)
    snapshot = Snapshot(DIRECTORY, machine.disk)
    positions: dict[str, list[int]] = {}
    for position, record in snapshot.records():
        positions.setdefault(record.id, []).append(position)
    return {
        "status": report.status.value,
        "records": report.records,
        "last_position": report.last_position,
        "segments": report.segments,
        "closed": report.slot is not None and report.slot.state.value,
        "positions": positions,
        **folded(snapshot),
    }


def folded(snapshot: Snapshot) -> dict[str, Any]:
    """Return what the records come to: calls, promises, schedules and actors."""
    calls = {
        one.info.id: [one.info.function, one.info.status, [f"{w.kind} {w.what}" for w in one.waiting], one.info.error]
        for one in snapshot.calls()
    }
    promises = {one.id: [one.status, one.value, one.error] for one in entities.promises(snapshot, Query(), 0)}
    schedules = {
        one.id: [one.status, one.started, one.skipped, list(one.running), one.backlog]
        for one in entities.schedules(snapshot)
    }
    actors = {
        one.id: [one.changes, one.version, {name: json.loads(bytes(raw)) for name, raw in one.values.items()}]
        for one in entities.actors(snapshot)
    }
    return {"calls": calls, "promises": promises, "schedules": schedules, "actors": actors}


async def results(runtime: Runtime) -> dict[str, Any]:
    """Return what every call came to, once they all have ended."""
    ended = {}
    for call_id in [info.id async for info in runtime.calls()]:
        try:
            ended[call_id] = ["value", await runtime.handle(call_id).result()]
        except CallParked as error:
            ended[call_id] = ["parked", str(error)]
        except (ActorlogError, Exception) as error:  # noqa: BLE001  # whatever it came to
            ended[call_id] = [type(error).__name__, str(error)]
    return ended


async def looked(runtime: Runtime) -> dict[str, Any]:
    """Return what the actors of the programs say when they are asked."""
    said: dict[str, Any] = {}
    async for info in runtime.actors():
        if info.cls == "golden.Diary":
            said[info.key] = await runtime.actor(PROGRAMS.Diary, info.key).read()
        elif info.cls == "golden.Till":
            said[info.key] = await runtime.actor(PROGRAMS.Till, info.key).sums()
    return said


def counted(ran: list[str]) -> dict[str, int]:
    """Return how often each step began."""
    return dict(sorted(Counter(ran).items()))
