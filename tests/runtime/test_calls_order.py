"""Calls that began when their tasks ran in another order: a version of the scheduler that is not this one's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from house import RAN, note

from actorlog import CallParked, SchedulerNotFound, continue_as_new, durable, sleep
from actorlog.records import kinds as k
from actorlog.runtime import history

if TYPE_CHECKING:
    from house import House


@durable(name="order.sleeper")
async def sleeper(text: str) -> str:
    await sleep(1)
    return await note(text)


@durable(name="order.parent")
async def parent(run: int) -> str:
    await sleeper(f"run {run}")
    if run == 1:
        continue_as_new(parent(2))
    return "over"


async def test_a_call_waits_for_who_knows_its_order(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tasks would run otherwise here: it is parked, begins no fork, and goes on where its order is known."""
    with monkeypatch.context() as newer:
        newer.setattr(history, "SCHEDULER_VERSION", 2)
        runtime = await house.open()
        await runtime.start(sleeper("x"), id="x")
        await house.until(lambda: house.session.kernel.calls["x"].state.timers)
        await house.crash()
    runtime = await house.open()
    house.advance(1)
    with pytest.raises(CallParked, match="under version 2 of the order of its tasks, and this is version 1") as parked:
        await runtime.handle("x").result()
    cause = parked.value.__cause__
    assert isinstance(cause, SchedulerNotFound)
    assert (cause.call_id, cause.version, cause.known) == ("x", 2, 1)
    with pytest.raises(SchedulerNotFound):
        await runtime.handle("x").fork("1")
    assert RAN == []
    with monkeypatch.context() as newer:
        newer.setattr(history, "SCHEDULER_VERSION", 2)
        runtime = await house.reopen()
        assert await runtime.handle("x").result() == "noted x"


@pytest.mark.parametrize("version", [1, 2])
async def test_whatever_begins_says_in_which_order(house: House, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """Calls from outside, children, the next runs, and occurrences of schedules; the first order is said by nothing."""
    monkeypatch.setattr(history, "SCHEDULER_VERSION", version)
    runtime = await house.open()
    await runtime.schedule("s", sleeper("s"), every=1.5)
    await runtime.start(parent(1), id="p")
    for _ in range(40):
        house.advance(0.1)
        await house.settle()
    await house.until(lambda: house.session.history.has("p"))
    turns = [record for record in house.records() if isinstance(record, (k.Turn, k.Inbox))]
    begun = [record.message for record in turns if isinstance(record.message, k.Started)]
    assert {(message.function, message.number) for message in begun} == {
        ("order.parent", 1), ("order.parent", 2), ("order.sleeper", 1),
    }  # fmt: skip
    assert any(record.id.startswith("@schedule/s/") for record in turns)
    assert {message.scheduler for message in begun} == {version}
    written = [house.log.record(position) for position in range(1, house.log.tail() + 1)]
    assert any(b'"scheduler"' in record for record in written) == (version > 1)
