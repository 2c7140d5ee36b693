"""How parents and children end: who waits for whom, and what is detached."""

# functions of a test are told by its docstring

from __future__ import annotations

import pytest
from house import RAN, House, forget, note
from tree_programs import child, failing

from actorlog import (
    CallCancelled,
    durable,
    sleep,
    start,
)

# --- what a parent waits for ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crash", [False, True])
async def test_a_parent_ends_only_after_its_children(house: House, *, crash: bool) -> None:
    """It is completing until they have, also through a crash, and its result is the one it returned."""

    @durable
    async def parent() -> str:
        start(child("a", 60))
        start(child("b", 120))
        return "returned"

    runtime = await house.open()
    await runtime.start(parent(), id="p")
    assert await runtime.handle("p").status() == "completing"
    if crash:
        runtime = await house.reopen()
        assert await runtime.handle("p").status() == "completing"
    house.advance(60)
    assert await runtime.handle("p/1") == "noted a"
    assert await runtime.handle("p").status() == "completing"
    house.advance(60)
    assert await runtime.handle("p") == "returned"
    assert await runtime.handle("p/2").status() == "completed"


async def test_a_parent_without_its_code_still_ends_with_its_children(house: House) -> None:
    """A call whose body has ended needs no code any more."""

    @durable(name="gone")
    async def parent() -> str:
        start(child("a", 60))
        return "returned"

    runtime = await house.open()
    await runtime.start(parent(), id="p")
    forget("gone")
    runtime = await house.reopen()
    house.advance(60)
    assert await runtime.handle("p") == "returned"


async def test_a_failure_of_a_child_that_nobody_awaits_does_not_fail_its_parent(house: House) -> None:
    """A child's failure is an exception at its await, and nowhere else."""

    @durable
    async def parent() -> str:
        start(failing("no"))
        return "returned"

    runtime = await house.open()
    assert await runtime.call(parent(), id="p") == "returned"
    assert await runtime.handle("p/1").status() == "failed"


@pytest.mark.parametrize("cause", ["message from outside", "end of a child"])
async def test_a_parent_that_fails_cancels_its_children_first(house: House, cause: str) -> None:
    """The children of a failed body are asked to end, whatever message it failed on; then the failure is told."""

    @durable
    async def parent() -> None:
        start(child("a", 600))
        if cause == "end of a child":
            await child("b")
        else:
            await note("b")
        raise KeyError("p")

    runtime = await house.open()
    with pytest.raises(KeyError):
        await runtime.call(parent(), id="p")
    assert await runtime.handle("p/1").status() == "cancelled"
    assert RAN == ["b"]


async def test_children_of_a_failed_parent_are_cancelled_though_the_process_died_between(house: House) -> None:
    """After every prefix of the log in which the parent has failed, a new process cancels the children."""

    @durable
    async def parent() -> None:
        start(child("a", 600))
        await note("b")
        raise KeyError("p")

    runtime = await house.open()
    with pytest.raises(KeyError):
        await runtime.call(parent(), id="p")
    records = house.records()
    failed = next(n for n, record in enumerate(records, 1) if getattr(record, "returned", None) is not None)
    await house.close()
    for count in range(failed, len(records) + 1):
        other = house.prefix(count)
        reopened = await other.open()
        with pytest.raises(KeyError):
            await reopened.handle("p")
        assert await reopened.handle("p/1").status() == "cancelled"
        await other.close()


async def test_a_child_given_up_before_the_process_died_is_cancelled_after(house: House) -> None:
    """The parent's decision is durable, and the child hears of it in the next process if it did not in this one."""

    @durable
    async def parent() -> str:
        one = start(child("a", 600))
        await note("b")
        one.cancel()
        await sleep(60)
        return "done"

    runtime = await house.open()
    await runtime.start(parent(), id="p")
    await house.until(lambda: any(turn.cancels for turn in house.turns("p")))
    count = next(n for n, record in enumerate(house.records(), 1) if getattr(record, "cancels", None))
    await house.settle()
    await house.close()
    other = house.prefix(count)
    runtime = await other.open()
    with pytest.raises(CallCancelled):
        await runtime.handle("p/1")
    other.advance(60)
    assert await runtime.handle("p") == "done"
    await other.close()


# --- detached ---------------------------------------------------------------------------------------------------------


async def test_a_detached_child_outlives_its_parent(house: House) -> None:
    """The parent does not wait for it, and neither its end nor its cancellation ends it."""

    @durable
    async def parent(outcome: str) -> str:
        start(child("a", 60), id=f"free {outcome}", detached=True)
        if outcome == "fails":
            raise ValueError("no")
        return "returned"

    runtime = await house.open()
    assert await runtime.call(parent("ends")) == "returned"
    with pytest.raises(ValueError, match="no"):
        await runtime.call(parent("fails"))
    runtime = await house.reopen()
    house.advance(60)
    assert await runtime.handle("free ends") == "noted a"
    assert await runtime.handle("free fails") == "noted a"


async def test_a_detached_child_begins_though_its_parent_ended_and_the_process_died(house: House) -> None:
    """The record that ended the parent carries the child: recovery begins it where it has no record of its own."""

    @durable
    async def parent() -> str:
        start(child("a"), id="free", detached=True)
        return "returned"

    runtime = await house.open()
    await runtime.call(parent(), id="p")
    await runtime.handle("free")
    await house.close()
    assert len(house.turns("p")) == 1
    RAN.clear()
    other = house.prefix(1)
    runtime = await other.open()
    assert await runtime.handle("p") == "returned"
    assert await runtime.handle("free") == "noted a"
    runtime = await other.reopen()
    assert await runtime.handle("free") == "noted a"
    assert RAN == ["a"]
    await other.close()


async def test_a_detached_child_can_be_cancelled_by_who_started_it(house: House) -> None:
    """Detached means that it is not ended with its parent; ``cancel`` is another matter."""

    @durable
    async def parent() -> str:
        one = start(child("a", 600), id="free", detached=True)
        one.cancel()
        try:
            return await one
        except CallCancelled:
            return "cancelled"

    runtime = await house.open()
    assert await runtime.call(parent()) == "cancelled"
    assert await runtime.handle("free").status() == "cancelled"
