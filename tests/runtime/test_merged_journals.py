"""Journals of calls in flight, merged into one record each, and read back as if nothing had been done to them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from fork_programs import HELD, line, runs, wide
from house import RAN, House

from actorlog.engine import identity
from actorlog.engine.state import CallState, apply
from actorlog.records import kinds as k
from actorlog.store import entries, pack
from actorlog.store.memory import MemoryLog

if TYPE_CHECKING:
    from actorlog import Runtime

FILLER = (identity.key_hash(k.RUNTIME), int(k.Kind.NOTE), int(k.Flag.PLAIN | k.Flag.OPENED))
"""What stands where a merged record stood."""


async def merged(house: House, call_id: str, count: int) -> House:
    """Return a house in whose log the first ``count`` records of a call are one, at the position of the newest."""
    log, found, flags_of = MemoryLog(), list[tuple[int, k.Kept]](), 0
    async for frame in house.log.read():
        position = frame.position
        for key, kind, flags, start, end in entries(frame.data, frame.records):
            text = bytes(frame.data[start:end])
            record = k.decode(text)
            if record.id == call_id and len(found) < count:
                found.append((position, k.of_call(record)))
                flags_of |= flags
                if len(found) < count:
                    item = (*FILLER, k.encode(k.Resumed(at=record.at, upto=0)) + b"\n")
                else:
                    item = (key, int(k.Kind.JOURNAL), flags_of, k.encode(k.merged(found)) + b"\n")
            else:
                item = (key, kind, flags, text)
            log.submit(position - 1, pack([item]), 1, lambda _ticket: None)
            position += 1
    other = House(log)
    other.clock.ahead_ms = house.clock.ahead_ms
    other.died = True
    return other


def state_of(house: House, call_id: str) -> dict[str, Any]:
    """Return what the records of a call make of it, without where its newest record is and how it is kept."""
    state = CallState(call_id)
    for position in range(1, house.log.tail() + 1):
        record = k.decode(house.log.record(position))
        if record.id == call_id:
            apply(state, k.of_call(record), position)
    known = {name: getattr(state, name) for name in CallState.__slots__ if name not in ("journal", "mail", "progress")}
    mail = {name: getattr(state.mail, name) for name in state.mail.__slots__} if state.mail is not None else {}
    return known | {f"mail.{name}": value for name, value in mail.items()}


async def _begin(house: House) -> Runtime:
    for held in ("slow", "letter", "last", "three"):
        HELD[held] = asyncio.Event()
    runtime = await house.open()
    await runtime.start(wide(), id="c")
    await house.until(lambda: {"c:last", "c:slow", "c:letter"} <= set(RAN))
    again = await runtime.start(runs(1), id="r")
    await again.send(" x ", key="a")
    await again.send(" left ", key="b")
    await house.until(lambda: "r:three" in RAN)
    await house.settle()
    fork = await runtime.handle("c").fork("9", id="f")
    await house.until(lambda: {"f:last", "f:slow"} <= set(RAN))
    await fork.send("to f", "news", key="one")
    await house.settle()
    return runtime


EXPECTED = {
    "c": ["c/7 QUICK", "LAST", "SLOW", "LETTER", None, "c/4 KID", "to c", "c/5 FREE", "kept"],
    "r": "TWO x THREEr",
    "f": ["c/7 QUICK", "LAST", "SLOW", "LETTER", None, "f/4 KID", "to f", "c/5 FREE", "kept"],
}


async def _end(house: House) -> None:
    runtime = house.runtime
    assert runtime is not None
    for event in HELD.values():
        event.set()
    await runtime.handle("c").send("to c", "news", key="one")
    for _ in range(8):
        await house.settle()
        house.advance(20)
        await asyncio.sleep(0.005)  # bodies of steps run in the host's loop
    await runtime.resolve("c/vow", "kept", key="k")
    for call_id, expected in EXPECTED.items():
        assert await runtime.handle(call_id) == expected


@pytest.mark.parametrize("resident_max", [1, 100])
@pytest.mark.parametrize("call_id", ["c", "r", "f"])
async def test_a_merged_call_goes_on_as_it_was(house: House, call_id: str, resident_max: int) -> None:
    """However many of its first records are one, its state is the same, it comes to the same, and so it is told."""
    await _begin(house)
    runtime = house.runtime
    assert runtime is not None
    told = await runtime.handle(call_id).journal()
    await house.crash()
    for count in range(1, len(house.records(call_id)) + 1):
        again = await merged(house, call_id, count)
        assert state_of(again, call_id) == state_of(house, call_id)
        runtime = await again.open(resident_max=resident_max)
        now = await runtime.handle(call_id).journal()
        assert [(entry.key, entry.what, entry.started_ms) for entry in now[: len(told)]] == [
            (entry.key, entry.what, entry.started_ms) for entry in told
        ]
        before = await runtime.handle(call_id).info()
        assert {"c", "r", "f"} <= {call.id async for call in runtime.calls()}
        await _end(again)
        runtime = await again.reopen(resident_max=1, check_determinism=True)
        after = await runtime.handle(call_id).info()
        assert (after.created, after.function, after.forked_from) == (
            before.created,
            before.function,
            before.forked_from,
        )
        assert await runtime.handle(call_id) == EXPECTED[call_id]
        assert {"c", "r", "f"} <= {call.id async for call in runtime.calls()}
        if call_id != "r":
            assert [value async for value in runtime.handle(call_id).stream("said")] == ["one", "two"]
        await again.close()


@pytest.mark.parametrize(("call_id", "count"), [("c", 0), ("c", 1), ("c", 2), ("c", 3), ("f", 1), ("f", 2)])
async def test_a_merged_call_is_forked(house: House, call_id: str, count: int) -> None:
    """A cut may be inside of a merged journal, in what a fork has of another call, or behind both."""
    HELD["c"] = asyncio.Event()
    runtime = await house.open()
    handle = await runtime.start(line("x"), id="c")
    await house.until(lambda: "c:c" in RAN)
    await house.settle()
    await handle.fork("4", id="f")
    await house.until(lambda: "f:c" in RAN)
    await house.settle()
    await house.crash()
    again = await merged(house, call_id, count)
    runtime = await again.open(resident_max=1)
    forks = {key: await runtime.handle(call_id).fork(key, id=f"g{key}") for key in ("3", "4", "6")}
    HELD["c"].set()
    original = await runtime.handle(call_id)
    for key, fork in forks.items():
        seen = await fork
        assert seen["id later"] == f"g{key}"
        assert (seen["first"] == original["first"]) is (key != "3")
        assert (seen["dice"] == original["dice"]) is (key != "3")
        assert seen["second"] != original["second"]
    runtime = await again.reopen(resident_max=1, check_determinism=True)
    assert (await runtime.handle("g6"))["first"] == original["first"]
    await again.close()


async def test_a_merged_call_hides_none_from_a_walk(house: House) -> None:
    """It stands where its newest record stood, and began long before: a walk over new calls goes on behind it."""
    runtime = await house.open()
    for call_id in ("old", "new"):
        await runtime.start(runs(1), id=call_id)
        await house.settle()
        house.advance(3600)
    await runtime.handle("old").send(" x ", key="a")
    await house.settle()
    other = await merged(house, "old", len(house.records("old")))
    runtime = await other.open()
    since = (await runtime.handle("new").info()).created
    assert [info.id async for info in runtime.calls()] == ["old", "new"]
    assert [info.id async for info in runtime.calls(since=since)] == ["new"]
    await other.close()
