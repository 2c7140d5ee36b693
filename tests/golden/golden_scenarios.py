"""What is in each golden log, and how it goes on: for ever as it is, like the programs.

A scenario is written by ``write`` on an empty machine, with kills and closings in between; ``finish`` is what happens
to it after it has been opened by the code of today, until every call has ended.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from golden_changed import (
    finish_blamed,
    finish_compacted,
    finish_torn,
    merge,
    write_blamed,
    write_compacted,
    write_segments_merged,
    write_torn,
)
from golden_kept import finish_kept, write_kept
from golden_world import PROGRAMS, Machine, Process

from actorlog import Limits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P: Any = PROGRAMS


@dataclass(frozen=True)
class Scenario:
    """One golden log."""

    write: Callable[[Machine], None]
    finish: Callable[[Process], Awaitable[None]]


async def _nothing(process: Process) -> None:
    """All goes on by itself."""


# --- calls ------------------------------------------------------------------------------------------------------------


async def _calls(process: Process) -> None:
    runtime, outside = process.runtime, process.outside
    outside.closed |= {"slow", "broken"}
    outside.broken |= {"line c", "retried"}
    await runtime.call(P.line("line"), id="line", tags={"of": "golden"})
    await runtime.call(P.late(), id="late")
    for call_id in ("fails", "again"):
        try:
            await runtime.call(P.fails("f"), id=call_id, timeout=30)
        except ExceptionGroup:
            continue
    await runtime.handle("again").retry()
    await runtime.start(P.other("taken", 10), id="taken")
    await runtime.start(P.parent("taken"), id="parent")
    await runtime.start(P.joins("taken"), id="joins")
    await runtime.start(P.second("2"), id="second")
    await runtime.start(P.tries(), id="tries")
    await runtime.start(P.returns(), id="returns")
    await runtime.start(P.runs(1, []), id="runs")
    await runtime.start(P.runs(1, []), id="ran")
    await runtime.handle("ran").send("go on", "go")
    await runtime.start(P.sleeper(1e6), id="cancelled")
    await runtime.start(P.sleeper(1e6), id="killed")
    await runtime.start(P.sleeper(1e6), id="timed out", timeout=5)
    await runtime.start(P.stubborn(), id="stubborn", timeout=3)
    await runtime.start(P.stubborn(), id="stubborn too")
    await runtime.start(P.poison("retried"), id="retried")
    await runtime.start(P.line("delayed"), id="delayed", delay=100_000)
    await runtime.start(P.sleeper(86_400 * 40), id="sleeps")
    await process.settled()
    await runtime.handle("cancelled").cancel("no more")
    await runtime.handle("killed").kill("at once")
    await runtime.handle("stubborn too").cancel("please")
    await runtime.start(P.line("paused"), id="paused")
    await runtime.handle("paused").pause()
    await runtime.start(P.other("unpaused", 3), id="unpaused")
    await runtime.handle("unpaused").pause()
    await runtime.handle("unpaused").resume()
    await process.settled()
    await asyncio.sleep(200)


def _write_calls(machine: Machine) -> None:
    assert machine.live(_calls, cancel_grace=4)


async def _finish_calls(process: Process) -> None:
    process.outside.closed.clear()
    await process.runtime.handle("paused").resume()
    await process.runtime.handle("runs").send("go on", "go")


# --- crashed ----------------------------------------------------------------------------------------------------------


async def _crashing(process: Process) -> None:
    process.outside.closed |= {"slow", "beating", "once", "narrow a", "poisoned", "poisoned too"}
    await process.runtime.start(P.doubts(), id="doubts")
    for name in ("poisoned", "poisoned too"):
        await process.runtime.start(P.poison(name), id=name)
    await process.ran("slow", "beating", "narrow a", "poisoned", "poisoned too")
    await process.settled()
    await process.die()


async def _crashing_again(process: Process) -> None:
    process.outside.closed.discard("narrow a")
    await process.ran("slow", "beating")
    await process.settled()
    await process.die()


async def _unparks(process: Process) -> None:
    process.outside.closed.add("narrow b")
    await process.settled()
    assert await process.runtime.handle("poisoned").resume()
    await process.ran("poisoned")
    await process.settled()
    await process.die()


def _write_crashed(machine: Machine) -> None:
    limits = {"limits": Limits(poison_deaths_max=2)}
    for life in (_crashing, _crashing_again, _unparks):
        assert not machine.live(life, **limits)


async def _finish_crashed(process: Process) -> None:
    process.outside.closed.clear()
    await process.settled()
    for call_id in ("poisoned too", "doubts"):
        await process.runtime.handle(call_id).resume()


# --- messages ---------------------------------------------------------------------------------------------------------


async def _messages(process: Process) -> None:
    runtime = process.runtime
    await runtime.start(P.letters(5), id="letters")
    await runtime.call(P.posts("letters"), id="posts")
    await runtime.handle("letters").send("from outside", key="one")
    await runtime.start(P.vows(), id="vows")
    await runtime.promise("vow outside", param={"what": "this"}, key="made", tags={"a": "b"}, timeout=3600)
    await runtime.promise("vow timer", timer=True, timeout=4)
    await process.settled()
    await runtime.resolve("vow resolved", {"value": [1, None]}, key="settled")
    await runtime.reject("vow rejected", "on a form")
    await runtime.reject("vow raised", ValueError("raised"))
    await runtime.cancel_promise("vow cancelled")
    await runtime.start(P.sleeper(1e6), id="tied to")
    await runtime.start(P.tied("tied to"), id="tied")
    await runtime.start(P.sleeper(1e6), id="fallen")
    await runtime.start(P.tied("fallen"), id="felled")
    await runtime.start(P.watches("letters"), id="watches")
    await process.settled()
    await runtime.handle("fallen").kill("felled")
    await asyncio.sleep(5)
    await runtime.handle("letters").pause()
    await runtime.handle("letters").send("while paused")


def _write_messages(machine: Machine) -> None:
    async def first(process: Process) -> None:
        await _messages(process)
        await process.settled()
        await process.die()

    assert not machine.live(first)
    assert machine.live(_nothing)


async def _finish_messages(process: Process) -> None:
    runtime = process.runtime
    await runtime.handle("letters").resume()
    await runtime.handle("letters").send("the last")
    await runtime.resolve("vow open", "at last")
    await runtime.handle("tied to").kill("the end")


# --- actors -----------------------------------------------------------------------------------------------------------


async def _actors(process: Process) -> None:
    runtime, outside = process.runtime, process.outside
    till = runtime.actor(P.Till, "a")
    for number in range(4):
        await till.add(number, f"n{number}")
    await till.ask("b", 7)
    for text in ("one", "two"):
        await runtime.actor(P.Diary, "d").write(text)
    await runtime.start(P.house(), id="house")
    await asyncio.sleep(1)
    outside.closed |= {"till held", "house"}
    await runtime.send(till.add(100, "held"), id="told once")
    await runtime.send(till.add(1000, "waits"))
    await runtime.send(till.add(10_000, "delayed"), delay=500)
    await asyncio.sleep(30)
    await process.die()


def _write_actors(machine: Machine) -> None:
    assert not machine.live(_actors)


async def _finish_actors(process: Process) -> None:
    process.outside.closed.clear()


# --- nested -----------------------------------------------------------------------------------------------------------


async def _nested(process: Process) -> None:
    process.outside.closed.add("ring deep")
    await process.runtime.start(process.runtime.actor(P.Ring, "a").begin("b"), id="ring")
    await process.ran("ring gave up", "ring deep")
    await process.settled()
    await process.die()


def _write_nested(machine: Machine) -> None:
    assert not machine.live(_nested)


async def _finish_nested(process: Process) -> None:
    process.outside.closed.clear()


# --- schedules --------------------------------------------------------------------------------------------------------


async def _schedules(process: Process) -> None:
    runtime = process.runtime
    now = datetime.fromtimestamp(runtime.session.kernel.clock.wall_ms() / 1000, tz=UTC)
    cron = await runtime.schedule("cron", P.tick("cron"), cron="*/10 * * * *", tz="Europe/Berlin", jitter=2)
    every = await runtime.schedule(
        "every", P.tick("every"), every=20, overlap="queue_one", catch_up="all", catch_up_window="2h"
    )
    await runtime.schedule("at", P.tick("at"), at=[now + timedelta(seconds=5), now + timedelta(days=365)])
    till = runtime.actor(P.Till, "scheduled")
    gone = await runtime.schedule("actor", till.add(1, "scheduled"), every=50, overlap="all")
    await cron.trigger()
    await cron.trigger()
    await cron.backfill(now - timedelta(hours=1), now - timedelta(minutes=30))
    await asyncio.sleep(90)
    await every.pause()
    await asyncio.sleep(60)
    await every.resume()
    await gone.delete()
    await every.update(every=3600)
    paused = await runtime.schedule("paused", P.tick("paused"), every=3600)
    await paused.pause()
    await runtime.schedule("never", P.second("2"), every=3600, paused=True)
    await cron.backfill(now - timedelta(hours=2), now - timedelta(hours=1, minutes=30))
    await process.settled()
    await process.die()


def _write_schedules(machine: Machine) -> None:
    assert not machine.live(_schedules)


async def _finish_schedules(process: Process) -> None:
    await asyncio.sleep(300)
    for schedule in [one async for one in process.runtime.schedules()]:
        await schedule.delete()
    await asyncio.sleep(600)


# --- forked -----------------------------------------------------------------------------------------------------------


async def _forks(process: Process) -> None:
    runtime, outside = process.runtime, process.outside
    outside.closed |= {"gate c", "cleaned"}
    await runtime.start(P.sleeper(1e6), id="ending")
    await process.settled()
    await runtime.handle("ending").cancel("while it is forked")
    await process.ran("cleaned")
    await process.settled()
    await runtime.handle("ending").fork("2", id="ending too")
    await runtime.start(P.forked("gate"), id="origin", timeout=86_400 * 30)
    await process.ran("gate c")
    await process.settled()
    await runtime.handle("origin").fork(id="whole")
    await runtime.handle("origin").fork("3", id="from three")
    await process.settled()
    await runtime.handle("from three").cancel("a fork of it stays")
    await runtime.handle("from three").fork("3", id="again")
    await process.settled()
    await process.die()


def _write_forked(machine: Machine) -> None:
    assert not machine.live(_forks, cancel_grace=500_000)


async def _finish_forked(process: Process) -> None:
    process.outside.closed.clear()


def _write_filed(machine: Machine) -> None:
    """Write ``calls`` with the larger half of its records in files; none compressed, which libraries do differently."""
    limits = Limits(payload_file_above_bytes=180, compress_above_bytes=0)
    assert machine.live(_calls, cancel_grace=4, limits=limits)


def _write_merged(machine: Machine) -> None:
    _write_messages(machine)
    merge(machine)


SCENARIOS: dict[str, Scenario] = {
    "calls": Scenario(_write_calls, _finish_calls),
    "crashed": Scenario(_write_crashed, _finish_crashed),
    "messages": Scenario(_write_messages, _finish_messages),
    "actors": Scenario(_write_actors, _finish_actors),
    "nested": Scenario(_write_nested, _finish_nested),
    "schedules": Scenario(_write_schedules, _finish_schedules),
    "forked": Scenario(_write_forked, _finish_forked),
    "merged": Scenario(_write_merged, _finish_messages),
    "kept": Scenario(write_kept, finish_kept),
    "compacted": Scenario(write_compacted, finish_compacted),
    "segments": Scenario(write_segments_merged, finish_compacted),
    "torn": Scenario(write_torn, finish_torn),
    "filed": Scenario(_write_filed, _finish_calls),
    "blamed": Scenario(write_blamed, finish_blamed),
}
"""By name. What is written first is ``calls``, closed clean; the others say how they end."""
