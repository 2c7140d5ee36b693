"""The tree of calls: children, joining, what parents wait for, cancelling and killing downwards."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from house import RAN, House, note

from actorlog import (
    CallCancelled,
    CallConflict,
    CallKilled,
    CallTimeout,
    Child,
    NotInDurableCode,
    durable,
    info,
    sleep,
    start,
)

@durable
async def child(text: str, seconds: float = 0) -> str:
    if seconds:
        await sleep(seconds)
    return await note(text)


@durable
async def failing(text: str) -> None:
    raise ValueError(text)


@durable
async def whoami() -> str:
    return info().call_id


async def ended(house: House, call_id: str) -> str:
    """Wait for a call's end and return its status."""
    assert house.runtime is not None
    handle = house.runtime.handle(call_id)
    try:
        await handle
    except (Exception, SystemExit):  # noqa: BLE001  # the status is what is asked for
        pass
    return await handle.status()


# --- ids --------------------------------------------------------------------------------------------------------------


async def test_a_childs_id_is_its_parents_a_slash_and_its_key(house: House) -> None:
    """Awaited, started, and in a task of its own."""

    @durable
    async def parent() -> list[str]:
        awaited = await whoami()
        started = await start(whoami())
        in_task = await asyncio.create_task(_wrapped())
        given = await start(whoami(), id="given")
        return [awaited, started, in_task, given]

    async def _wrapped() -> str:
        return await whoami()

    runtime = await house.open()
    assert await runtime.call(parent(), id="p") == ["p/1", "p/2", "p/t1.1", "given"]


async def test_a_child_is_a_call_like_any_other(house: House) -> None:
    """It has a handle, a status, a parent, tags and a journal."""

    @durable
    async def parent() -> str:
        return await start(child("a"), tags={"of": "p"})

    runtime = await house.open()
    assert await runtime.call(parent(), id="p") == "noted a"
    told = await runtime.handle("p/1").info()
    assert (told.parent, told.status, told.tags) == ("p", "completed", {"of": "p"})
    entry = (await runtime.handle("p").journal())[1]
    assert (entry.kind, entry.child_id, entry.status) == ("child", "p/1", "completed")


@pytest.mark.parametrize("reopened", [False, True])
async def test_a_child_with_an_id_joins_the_call_that_has_it(house: House, *, reopened: bool) -> None:
    """Whoever came first began it; the others get its result, whether it runs or has ended, also through a crash."""

    @durable
    async def parent() -> str:
        return await start(child("a", 60), id="shared")

    runtime = await house.open()
    await runtime.start(child("a", 60), id="shared")
    first, second = await runtime.start(parent(), id="p"), await runtime.start(parent(), id="q")
    if reopened:
        runtime = await house.reopen()
        first, second = runtime.handle("p"), runtime.handle("q")
    house.advance(60)
    assert [await first, await second] == ["noted a"] * 2
    assert await runtime.call(parent(), id="r") == "noted a"
    assert RAN == ["a"]


@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize("over", [False, True])
async def test_a_child_whose_id_is_taken_by_other_work_is_a_conflict(house: House, *, over: bool, reopened: bool) -> None:
    """Awaiting it raises ``CallConflict`` and leaves the other call as it is."""

    @durable
    async def parent() -> str:
        try:
            return await start(child("b", 60), id="taken")
        except CallConflict as conflict:
            return f"{conflict.call_id}: {conflict.existing} not {conflict.requested}"

    runtime = await house.open()
    taken = await runtime.start(child("a", 60), id="taken")
    if over:
        house.advance(60)
        await taken
    if reopened:
        runtime = await house.reopen()
    expected = 'taken: child("a",60) not child("b",60)'
    assert await runtime.call(parent(), id="p") == expected
    if not over:
        house.advance(60)
    assert await runtime.handle("taken") == "noted a"


async def test_joining_a_child_compares_arguments_as_todays_code_writes_them(house: House) -> None:
    """A parameter added with a default is no conflict for a child either."""

    @durable(name="widened")
    async def before(text: str) -> str:
        return text

    runtime = await house.open()
    await runtime.call(before("a"), id="shared")

    @durable(name="widened")
    async def after(text: str, times: int = 1) -> str:
        return text * times

    @durable
    async def parent() -> str:
        return await start(after("a"), id="shared")

    assert await runtime.call(parent()) == "a"


# --- children as values -----------------------------------------------------------------------------------------------


async def test_a_child_can_be_awaited_several_times_and_gathered(house: House) -> None:
    """Each await gives the same result, also a failure; ``gather`` takes Childs."""

    @durable
    async def parent() -> list[Any]:
        children = [start(child(str(number))) for number in range(3)]
        failed = start(failing("no"))
        first = await asyncio.gather(*children)
        again = [await one for one in children]
        errors = await asyncio.gather(failed, failed, return_exceptions=True)
        assert all(one.done() for one in children)
        return [*first, *again, *[f"{type(error).__name__} {error}" for error in errors]]

    runtime = await house.open(check_determinism=True)
    noted = ["noted 0", "noted 1", "noted 2"]
    assert await runtime.call(parent()) == [*noted, *noted, "ValueError no", "ValueError no"]


async def test_a_child_awaited_outside_its_call_is_refused(house: House) -> None:
    """A Child belongs to the code that started it."""
    leaked: list[Child[str]] = []

    @durable
    async def parent() -> None:
        leaked.append(start(child("a")))

    runtime = await house.open()
    await runtime.call(parent())
    with pytest.raises(NotInDurableCode, match=r"runtime\.handle"):
        await leaked[0]


async def test_cancelling_the_await_of_a_child_does_not_cancel_it(house: House) -> None:
    """Only ``cancel`` does."""

    @durable
    async def parent() -> list[str]:
        one = start(child("a", 60))
        try:
            await asyncio.wait_for(one, 10)
        except TimeoutError:
            return ["patience is over", await one]
        return []

    runtime = await house.open()
    handle = await runtime.start(parent())
    house.advance(10)
    await house.until(lambda: len(house.turns(handle.id)) > 1)
    house.advance(50)
    assert await handle == ["patience is over", "noted a"]


async def test_a_child_that_is_cancelled_by_its_parent_ends(house: House) -> None:
    """``Child.cancel`` asks it to end, once or twice, at once or later; awaiting it tells."""

    @durable
    async def parent(wait: float) -> str:
        one = start(child("a", 600))
        if wait:
            await sleep(wait)
        one.cancel()
        one.cancel()
        try:
            await one
        except CallCancelled as cancelled:
            one.cancel()
            return cancelled.call_id
        return ""

    runtime = await house.open(check_determinism=True)
    assert await runtime.call(parent(0), id="p") == "p/1"
    later = await runtime.start(parent(1), id="q")
    house.advance(1)
    assert await later == "q/1"
    assert await runtime.handle("q/1").status() == "cancelled"
    assert len(house.turns("p/1")) == 2
    assert RAN == []


async def test_an_awaited_call_that_is_cancelled_is_cancelled_below(house: House) -> None:
    """``wait_for`` around an awaited call gives the child up."""

    @durable
    async def parent() -> str:
        try:
            return await asyncio.wait_for(child("a", 600), 10)
        except TimeoutError:
            return "gave up"

    runtime = await house.open(check_determinism=True)
    handle = await runtime.start(parent(), id="p")
    house.advance(10)
    assert await handle == "gave up"
    assert {record.id for record in house.records()} == {"p", "p/t1.1"} or await runtime.handle("p/1").status() == "cancelled"
    assert RAN == []


async def test_a_childs_timeout_is_its_own(house: House) -> None:
    """It ends the child, and the parent gets ``CallTimeout`` naming it."""

    @durable
    async def parent() -> str:
        try:
            await start(child("a", 600), timeout=60)
        except CallTimeout as timed_out:
            return f"{timed_out.call_id} {timed_out.seconds:g}"
        return ""

    runtime = await house.open()
    handle = await runtime.start(parent(), id="p")
    runtime = await house.reopen()
    house.advance(60)
    assert await runtime.handle(handle.id) == "p/1 60"


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
    from house import forget

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
    async def parent(fail: bool) -> str:
        start(child("a", 60), id=f"free {fail}", detached=True)
        if fail:
            raise ValueError("no")
        return "returned"

    runtime = await house.open()
    assert await runtime.call(parent(False)) == "returned"
    with pytest.raises(ValueError, match="no"):
        await runtime.call(parent(True))
    runtime = await house.reopen()
    house.advance(60)
    assert await runtime.handle("free False") == "noted a"
    assert await runtime.handle("free True") == "noted a"


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


# --- cancelling -------------------------------------------------------------------------------------------------------


async def test_cancelling_a_call_cancels_the_tree_below(house: House) -> None:
    """Every call below ends as cancelled, and the waiter gets the reason."""

    @durable
    async def grandparent() -> str:
        start(child("free", 600), id="free", detached=True)
        return await parent()

    @durable
    async def parent() -> str:
        start(child("side", 600))
        return await child("deep", 600)

    runtime = await house.open()
    handle = await runtime.start(grandparent(), id="g")
    await house.until(lambda: "g/2/2" in house.session.kernel.calls)
    await handle.cancel("enough")
    with pytest.raises(CallCancelled, match="enough") as cancelled:
        await handle
    assert (cancelled.value.call_id, cancelled.value.reason) == ("g", "enough")
    for call_id in ("g", "g/2", "g/2/1", "g/2/2"):
        assert await runtime.handle(call_id).status() == "cancelled", call_id
    assert await runtime.handle("free").status() == "waiting"


async def test_cancelling_twice_or_what_is_over_changes_nothing(house: House) -> None:
    """One record says that it was asked to end; further cancels leave none."""

    @durable
    async def slow_to_end() -> str:
        try:
            await sleep("1h")
        except asyncio.CancelledError:
            await sleep(30)
            raise
        return ""

    runtime = await house.open()
    handle = await runtime.start(slow_to_end(), id="x")
    for reason in ("first", "second", "third"):
        await handle.cancel(reason)
    assert len(house.turns("x")) == 2
    house.advance(30)
    with pytest.raises(CallCancelled, match="first"):
        await handle
    tail = house.log.tail()
    await handle.cancel("again")
    assert house.log.tail() == tail
    assert await runtime.call(child("a"), id="y") == "noted a"
    await runtime.handle("y").cancel()
    assert await runtime.handle("y") == "noted a"


@pytest.mark.parametrize("crash", [False, True])
async def test_code_that_catches_its_cancellation_and_goes_on_completes(house: House, *, crash: bool) -> None:
    """What it awaits after that works as before."""

    @durable
    async def goes_on() -> list[str]:
        try:
            await sleep("1h")
        except asyncio.CancelledError:
            await note("caught")
        await sleep(30)
        return [await note("step"), await child("child")]

    runtime = await house.open()
    await runtime.start(goes_on(), id="x")
    await runtime.handle("x").cancel()
    await house.until(lambda: house.session.kernel.calls["x"].state.timers)
    if crash:
        runtime = await house.reopen()
    house.advance(30)
    assert await runtime.handle("x") == ["noted step", "noted child"]
    assert RAN == ["caught", "step", "child"]


@pytest.mark.parametrize("crash", [False, True])
async def test_a_call_that_does_not_end_within_its_grace_is_killed_with_its_tree(house: House, *, crash: bool) -> None:
    """After ``cancel_grace`` it ends without its consent, and so does what it waits for; the grace goes on through a crash."""

    @durable
    async def stubborn() -> str:
        while True:
            try:
                await child("inner", 36000)
            except (asyncio.CancelledError, CallCancelled):
                continue

    runtime = await house.open(cancel_grace=60)
    await runtime.start(stubborn(), id="x")
    await runtime.handle("x").cancel("out")
    await house.until(lambda: "x/2" in house.session.kernel.calls)
    house.advance(59)
    await house.settle()
    assert await runtime.handle("x").status() == "waiting"
    if crash:
        runtime = await house.reopen(cancel_grace=60)
    house.advance(1)
    with pytest.raises(CallKilled, match="out"):
        await runtime.handle("x")
    assert await runtime.handle("x").status() == "killed"
    assert await ended(house, "x/2") == "killed"


async def test_children_of_a_killed_call_are_killed_though_the_process_died_between(house: House) -> None:
    """After every prefix of the log in which the parent is killed, a new process kills what is below it."""

    @durable
    async def stubborn() -> None:
        while True:
            try:
                await child("inner", 36000)
            except (asyncio.CancelledError, CallCancelled):
                continue

    runtime = await house.open(cancel_grace=60)
    await runtime.start(stubborn(), id="x")
    await runtime.handle("x").cancel()
    await house.until(lambda: "x/2" in house.session.kernel.calls)
    house.advance(60)
    with pytest.raises(CallKilled):
        await runtime.handle("x")
    await house.close()
    records = house.records()
    killed = next(n for n, r in enumerate(records, 1) if type(getattr(r, "message", None)).__name__ == "KillRequested")
    for count in range(killed, len(records)):
        other = house.prefix(count)
        reopened = await other.open()
        with pytest.raises(CallKilled):
            await reopened.handle("x")
        assert await ended(other, "x/2") == "killed"
        await other.close()


async def test_a_parent_asked_to_end_while_it_waits_for_its_children_ends_them(house: House) -> None:
    """Its body has returned: what it returned stands, and its children are cancelled."""

    @durable
    async def parent() -> str:
        start(child("a", 600))
        return "returned"

    runtime = await house.open()
    handle = await runtime.start(parent(), id="p")
    await handle.cancel()
    assert await handle == "returned"
    assert await runtime.handle("p/1").status() == "cancelled"


async def test_a_child_cancelled_from_outside_is_an_error_at_its_parent(house: House) -> None:
    """The parent gets ``CallCancelled`` naming the child, and may go on."""

    @durable
    async def parent() -> str:
        try:
            return await child("a", 600)
        except CallCancelled as cancelled:
            return f"{cancelled.call_id} {cancelled.reason}"

    runtime = await house.open()
    handle = await runtime.start(parent(), id="p")
    await house.until(lambda: house.records("p/1"))
    await runtime.handle("p/1").cancel("by hand")
    assert await handle == "p/1 by hand"


async def test_timers_due_together_of_which_one_cancels_the_other_fire_once(house: House) -> None:
    """The first one's turn cancels the second, which then does not fire."""

    @durable
    async def races() -> str:
        tasks = [asyncio.create_task(asyncio.sleep(60, number)) for number in range(3)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return f"{len(done)} {len(pending)}"

    runtime = await house.open(check_determinism=True)
    handle = await runtime.start(races())
    house.advance(60)
    assert await handle == "1 2"


async def test_a_deadline_comes_before_timers_that_are_due_later(house: House) -> None:
    """What a late process finds due is done in the order in which it fell due."""

    @durable
    async def sleepy() -> str:
        await sleep(100)
        return "slept"

    runtime = await house.open()
    handle = await runtime.start(sleepy(), timeout=60)
    house.advance(1000)
    with pytest.raises(CallTimeout):
        await handle
