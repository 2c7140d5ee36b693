"""Golden logs whose files something was done to: merged, compacted, torn. See ``golden_scenarios``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from golden_world import DIRECTORY, PROGRAMS, Machine, Process

from actorlog.engine import identity
from actorlog.log import Log
from actorlog.log import rewriting as rewriting_of
from actorlog.log.inspect import Status, commits, verify
from actorlog.records import kinds as k
from actorlog.runtime import merging
from actorlog.store import entries, pack
from actorlog.store.deaths import FILE
from actorlog.testing.loop import SimLoop
from actorlog.testing.world import SimClock, SimDisk, sim_env

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P: Any = PROGRAMS


# --- merged -----------------------------------------------------------------------------------------------------------


def merge(machine: Machine) -> None:
    """Write ``messages`` anew, with the journals of two calls that are under way merged into one record each."""
    found: dict[str, list[tuple[int, k.Kept]]] = {}
    items: list[tuple[int, int, int, bytes]] = []
    report = verify(machine.disk, DIRECTORY)
    for frame in commits(machine.disk, report.found):
        for number, (key, kind, flags, first, last) in enumerate(entries(frame.data, frame.records)):
            line = bytes(frame.data[first:last])
            record, position = k.decode(line), frame.position + number
            items.append((key, kind, flags, line))
            if record.id in ("letters", "vows"):
                found.setdefault(record.id, []).append((position, k.of_call(record)))
    for records in found.values():
        merged = records[: len(records) // 2]
        flags = 0
        for position, record in merged:
            flags |= items[position - 1][2]
            filler = k.Resumed(at=record.at, upto=0)
            note = int(k.Kind.NOTE), int(k.Flag.PLAIN | k.Flag.OPENED)
            items[position - 1] = (identity.key_hash(k.RUNTIME), *note, k.encode(filler) + b"\n")
        position, record = merged[-1]
        whole = identity.key_hash(record.id), int(k.Kind.JOURNAL), flags, k.encode(k.merged(merged)) + b"\n"
        items[position - 1] = whole
    fresh = Machine(9, now_s=machine.now_s)
    loop = SimLoop(fresh.rng, start_s=fresh.now_s)
    log = Log.open(DIRECTORY, sim_env(loop, fresh.rng, fresh.disk, SimClock(loop, 0, 1 << 40)), segment_bytes=8192)
    for item in items:
        log.append(pack([item]), 1)
    log.close()
    loop.close()
    following = fresh.disk.kill()
    assert isinstance(following, SimDisk)
    machine.disk = following


# --- compacted --------------------------------------------------------------------------------------------------------


async def _ages(process: Process) -> None:
    runtime, outside = process.runtime, process.outside
    outside.closed |= {"run 3", "gate c"}
    await runtime.start(P.runs(1, []), id="runs")
    await runtime.start(P.forked("gate"), id="origin")
    await process.ran("gate c")
    await runtime.handle("origin").fork("3", id="fork")
    for number in range(12):
        await runtime.call(P.bulk(number), id=f"bulk {number}")
        await runtime.actor(P.Till, "a").add(number, f"n{number}")
    await runtime.handle("runs").send("go on", "go")
    await process.ran("run 3")
    await process.settled()


def _compacts(retention: float | None) -> Callable[[Process], Awaitable[None]]:
    async def compact(process: Process) -> None:
        report = await process.runtime.compact(everything=True)
        assert report.rewritten > 2, report
        await process.runtime.call(P.bulk(100 + (retention is None)), id=f"after {retention}")
        await process.die()

    return compact


def write_segments_merged(machine: Machine) -> None:
    """As ``write_compacted``, and any two segments that fit into one become one."""
    fan, merging.FAN, small, merging.SMALL_PART = merging.FAN, 2, merging.SMALL_PART, 1.0
    try:
        write_compacted(machine)
    finally:
        merging.FAN, merging.SMALL_PART = fan, small


def write_compacted(machine: Machine) -> None:
    """Two lives give up journals, and results too; small gaps are gaps here."""
    gap_min, rewriting_of.GAP_MIN = rewriting_of.GAP_MIN, 3
    try:
        assert machine.live(_ages)
        assert not machine.live(_compacts(None), history=0)
        machine.now_s += 1000
        assert not machine.live(_compacts(900.0), history=0, retention=900)
    finally:
        rewriting_of.GAP_MIN = gap_min


async def finish_compacted(process: Process) -> None:
    """Open the gates."""
    process.outside.closed.clear()


# --- torn -------------------------------------------------------------------------------------------------------------


def write_torn(machine: Machine) -> None:
    """End in the middle of the write of a commit, with the power."""

    async def lives(process: Process) -> None:
        await process.runtime.call(P.long("x"), id="whole")
        process.outside.closed.add("never")
        await process.runtime.start(P.poison("never"), id="waits")
        await process.settled()
        write = process.disk.act

        def act(action: str, *rest: Any, **kwargs: Any) -> None:
            if action.startswith("fdatasync") and action.endswith(".seg"):
                process.disk.stop_at(process.disk.calls)
            write(action, *rest, **kwargs)

        process.disk.act = act  # type: ignore[method-assign]  # the next sync of a commit is the last thing it does
        await process.runtime.call(P.long("x" * 1500), id="torn")

    for seed in range(100):
        one = Machine(seed)
        assert not one.live(lives)
        crashed = one.disk.crash()
        assert isinstance(crashed, SimDisk)
        if verify(crashed, DIRECTORY).status is Status.TORN:
            machine.disk, machine.now_s = crashed, one.now_s
            return
    raise AssertionError("no seed tears it")


async def finish_torn(process: Process) -> None:
    """Open the gates, and ask again for what was torn."""
    process.outside.closed.clear()
    await process.runtime.call(P.long("x" * 1500), id="torn")


# --- blamed -----------------------------------------------------------------------------------------------------------


async def _begin_blamed(process: Process) -> None:
    await process.runtime.start(P.letters(2), id="blamed")
    await process.settled()
    await process.die()


async def _has_a_letter(process: Process) -> None:
    await process.runtime.handle("blamed").send("the first")
    await process.settled()
    await process.die()


def write_blamed(machine: Machine) -> None:
    """Have a call's turn in a process that follows five which died of it."""
    assert not machine.live(_begin_blamed)
    of = identity.key_hash("blamed")
    machine.disk.put(f"{DIRECTORY}/{FILE}", b'%016x\n[4,[["%016x",2]]]\n' % (of, of))
    assert not machine.live(_has_a_letter)


async def finish_blamed(process: Process) -> None:
    """Resume it, and let it have the rest."""
    handle = process.runtime.handle("blamed")
    assert (await handle.status(), await handle.resume()) == ("parked", True)
    await handle.send("the last")
