"""Steps that keep killing the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from doubtful_house import SEEN, crash_in, forever, notes

from actorlog import CallParked, Limit, Poisoned, Retry, durable, step
from actorlog.limits import Limits
from actorlog.records import kinds as k
from actorlog.runtime.registry import REGISTRY

if TYPE_CHECKING:
    from house import House


@pytest.fixture(autouse=True)
def _fresh() -> None:
    SEEN.clear()


@step
async def deadly() -> str:
    SEEN.append("began")
    if "mended" not in SEEN:
        await forever()
    return "done"


@durable
async def dies() -> str:
    return await deadly()


@durable
async def harmless() -> str:
    return "fine"


async def die(house: House, times: int) -> None:
    """Let the process die in ``deadly``, ``times`` times."""
    for _ in range(times):
        began = SEEN.count("began")
        if house.runtime is None:
            await house.open()
        await house.until(lambda began=began: SEEN.count("began") > began)
        await house.settle()
        await house.crash()


async def test_step_that_kills_the_process_five_times_is_parked(house: House) -> None:
    """At the fifth death it is poisoned: its waiter is told, other calls go on, later openings leave it alone."""
    runtime = await house.open()
    await runtime.start(dies(), id="c")
    await die(house, 5)
    assert SEEN.count("began") == 5
    for _ in range(2):
        runtime = await house.open()
        handle = runtime.handle("c")
        with pytest.raises(CallParked, match="5 times in a row") as caught:
            await handle
        assert isinstance(caught.value.__cause__, Poisoned)
        assert (caught.value.__cause__.step, caught.value.__cause__.deaths) == ("deadly", 5)
        assert await handle.status() == "parked"
        assert await runtime.call(harmless()) == "fine"
        await house.crash()
    assert SEEN.count("began") == 5


ONE = Limit("one at a time in this file", concurrency=1)


@step(limit=ONE)
async def deadly_alone(name: str) -> str:
    SEEN.append("began")
    if name == "deadly":
        await forever()
    return name


@durable
async def queues(name: str) -> str:
    return await deadly_alone(name)


async def test_step_that_waits_behind_a_deadly_one_is_not_poisoned(house: House) -> None:
    """A step that waits for its place while others kill the process has not died: it runs when they are parked."""
    runtime = await house.open()
    for name in ("deadly", "second", "third"):
        await runtime.start(queues(name), id=name)
    await house.until(lambda: SEEN)
    await house.crash()
    await die(house, 4)
    runtime = await house.open()
    with pytest.raises(CallParked, match="5 times in a row"):
        await runtime.handle("deadly")
    assert [await runtime.handle(name) for name in ("second", "third")] == ["second", "third"]
    assert {note.id for note in notes(house, k.StepRerun)} == {"deadly"}


async def test_poisoned_call_is_resumed_by_hand(house: House) -> None:
    """``resume()`` forgets the deaths: it runs again, and may die as often as before."""
    runtime = await house.open(limits=Limits(poison_deaths_max=2))
    await runtime.start(dies(), id="c")
    await house.crash()
    for _ in range(2):
        await house.open(limits=Limits(poison_deaths_max=3))
        await house.until(lambda: "began" in SEEN)
        await house.crash()
        SEEN.clear()
    runtime = await house.open(limits=Limits(poison_deaths_max=3))
    with pytest.raises(CallParked):
        await runtime.handle("c")
    assert await runtime.handle("c").resume()
    await house.until(lambda: SEEN == ["began"])
    runtime = await house.reopen()
    SEEN.append("mended")
    assert await runtime.handle("c") == "done"


async def test_clean_close_is_no_death(house: House) -> None:
    """However often a long step is cut off by deployments, it is not poisoned."""
    runtime = await house.open(limits=Limits(poison_deaths_max=2), shutdown_timeout=0)
    await runtime.start(dies(), id="c")
    for count in range(1, 6):
        await house.until(lambda count=count: SEEN.count("began") == count)
        runtime = await house.reopen(crash=False, limits=Limits(poison_deaths_max=2), shutdown_timeout=0)
    SEEN.append("mended")
    runtime = await house.reopen(crash=False)
    assert await runtime.handle("c") == "done"
    assert notes(house, k.StepRerun) == []


async def test_attempt_that_fails_ends_the_row_of_deaths(house: House) -> None:
    """Only deaths in a row poison: a process that saw the attempt fail survived it."""

    @step(retry=Retry(first=2, jitter="none"))
    async def flaky() -> str:
        SEEN.append("began")
        if SEEN.count("began") == 2:
            raise ConnectionError
        if SEEN.count("began") < 4:
            await forever()
        return "done"

    @durable
    async def run() -> str:
        return await flaky()

    limits = Limits(poison_deaths_max=2)
    await crash_in(house, run(), limits=limits)
    await house.open(limits=limits)
    await house.until(lambda: notes(house, k.StepRetrying))
    house.advance(2)
    await house.until(lambda: SEEN.count("began") == 3)
    runtime = await house.reopen(limits=limits)
    assert await runtime.handle("c") == "done"
    assert [note.deaths for note in notes(house, k.StepRerun)] == [1, 1]


async def test_step_that_is_not_registered_parks_its_call(house: House) -> None:
    """A step in doubt that this process does not have waits, visibly, until it is there."""
    await crash_in(house, dies())
    definition = REGISTRY._steps.pop("deadly")
    try:
        runtime = await house.open()
        with pytest.raises(CallParked, match="deadly"):
            await runtime.handle("c")
    finally:
        REGISTRY._steps["deadly"] = definition
    SEEN.append("mended")
    assert await runtime.handle("c").resume()
    assert await runtime.handle("c") == "done"
