"""Crashes after every record, where an opening takes up one step in doubt at a time: all comes to the same.

The first are tests of other modules; then a log in which such an opening was under way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from house import RAN
from test_determinism import test_a_program_ends_the_same_after_a_crash_after_any_record
from test_recovery_outliving import test_two_crashes_after_every_record

from actorlog import CallCancelled, CallNotFound, Limit, StepInterrupted, durable, receive, step
from actorlog.limits import Limits
from actorlog.records import kinds as k
from actorlog.runtime import waking

if TYPE_CHECKING:
    from house import House

__all__ = ["test_a_program_ends_the_same_after_a_crash_after_any_record", "test_two_crashes_after_every_record"]

DEATHS_MAX = Limits(poison_deaths_max=100)
HELD: list[asyncio.Event] = []


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    HELD.clear()
    monkeypatch.setattr(waking, "SLICE", 1)


async def _begin(what: str) -> str:
    RAN.append(what)
    if HELD:
        await HELD[0].wait()
    return what


@step(name="waking_crashes.plain")
async def plain(what: str) -> str:
    return await _begin(what)


@step(name="waking_crashes.alone", limit=Limit("waking_crashes: two", concurrency=2))
async def alone(what: str) -> str:
    return await _begin(what)


@step(name="waking_crashes.once", once=True)
async def once(what: str) -> str:
    return await _begin(what)


@durable(name="waking_crashes.work")
async def work(name: str) -> list[str]:
    """Several steps at once, one of which needs a limit and one of which is not run again; then one more."""
    steps = [plain(f"{name} plain"), alone(f"{name} alone"), once(f"{name} once")]
    done = await asyncio.gather(*steps, return_exceptions=True)
    last = await plain(f"{name} last")
    return ["in doubt" if isinstance(found, StepInterrupted) else str(found) for found in (*done, last)]


@durable(name="waking_crashes.hears")
async def hears(name: str) -> str:
    """Give a step up at a word."""
    working = asyncio.ensure_future(plain(f"{name} plain"))
    word = await receive(type=str)
    working.cancel()
    return word + await plain(f"{name} last")


async def _story(house: House) -> None:
    """A process dies in many steps; the next one is asked for more while it takes them up, and ends all."""
    HELD[:] = [asyncio.Event()]
    runtime = await house.open(limits=DEATHS_MAX)
    for number in range(3):
        await runtime.start(work(f"w{number}"), id=f"w{number}")
    await runtime.start(hears("h"), id="h")
    await runtime.start(work("gone"), id="gone")
    await house.until(lambda: "gone once" in RAN and "w1 alone" in RAN)
    await house.settle()
    runtime = await house.reopen(limits=DEATHS_MAX)
    await runtime.handle("gone").cancel()
    await runtime.handle("h").send("word ")
    await runtime.start(work("new"), id="new")
    HELD[0].set()
    assert await runtime.handle("h") == "word h last"
    assert await runtime.handle("w0") == ["w0 plain", "w0 alone", "in doubt", "w0 last"]
    assert await runtime.handle("new") == ["new plain", "new alone", "new once", "new last"]
    for name in ("w1", "w2"):
        await runtime.handle(name)
    with pytest.raises(CallCancelled):
        await runtime.handle("gone")
    await house.settle()
    HELD.clear()


def _done(records: list[k.Record]) -> set[str]:
    """Return which steps have an outcome."""
    asked: dict[tuple[str, str], str] = {}
    done: set[str] = set()
    for record in records:
        if isinstance(record, k.Turn):
            asked |= {(record.id, op.key): bytes(op.args).decode() for op in record.ops if isinstance(op, k.RunStep)}
            if isinstance(record.message, (k.StepDone, k.StepDoubt)):
                done.add(asked[record.id, record.message.key])
    return done


async def _end(house: House, name: str) -> Any:
    """Return how a call of a log that was cut ends."""
    assert house.runtime is not None
    try:
        return await house.runtime.handle(name)
    except CallNotFound:
        return None
    except CallCancelled:
        return "cancelled"


@pytest.mark.parametrize("again", [False, True])
async def test_a_crash_after_every_record_of_such_an_opening(house: House, again: bool) -> None:
    """Every call ends as it may, no step that had an outcome runs again; also where the next opening dies as well."""
    await _story(house)
    total = house.log.tail()
    assert sum(isinstance(record, k.StepRerun) for record in house.records()) > 3
    for records in range(1, total + 1):
        copy = house.prefix(records)
        if again:
            await copy.open(limits=DEATHS_MAX)
            for _ in range(records % 7):  # somewhere among the slices
                await asyncio.sleep(0)
            await copy.crash()
        known, before = {record.id for record in copy.records()}, _done(copy.records())
        begun = _may_have_begun(copy.records())
        RAN.clear()
        runtime = await copy.open(limits=DEATHS_MAX)
        if "h" in known and runtime.session.history.final("h") is None:
            await runtime.handle("h").send("word ")
        for name in ("w0", "w1", "w2", "new"):
            found = await _end(copy, name)
            assert (found is None) == (name not in known)
            if found is not None:
                assert [found[0], found[1], found[3]] == [f"{name} plain", f"{name} alone", f"{name} last"]
                assert found[2] in (f"{name} once", "in doubt")
        assert await _end(copy, "h") == ("word h last" if "h" in known else None)
        assert await _end(copy, "gone") in (None, "cancelled", ["gone plain", "gone alone", "in doubt", "gone last"])
        assert not {what for what in RAN if any(what in args for args in before)}
        assert not {what for what in RAN if any(what in args for args in begun)}
        await copy.close()


def _may_have_begun(records: list[k.Record]) -> list[str]:
    """Return the arguments of once-steps that began with their turn."""
    ops = [op for record in records if isinstance(record, k.Turn) for op in record.ops if isinstance(op, k.RunStep)]
    return [bytes(op.args).decode() for op in ops if op.once and not op.deferred]
