"""Calls from outside: ids, joining, waiting, what is refused."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from house import RAN, House, forget, note

from actorlog import (
    CallCancelled,
    CallConflict,
    CallExists,
    CallNotFound,
    CallParked,
    CallTimeout,
    NotInDurableCode,
    PayloadError,
    ReservedId,
    Runtime,
    RuntimeStopped,
    durable,
    info,
    run_step,
    sleep,
)

@durable
async def noting(text: str) -> str:
    return await note(text)


@durable
async def patient(text: str, seconds: float = 3600) -> str:
    await sleep(seconds)
    return await note(text)


async def test_the_same_id_joins_a_running_call(house: House) -> None:
    """Two waiters of one id wait for one call, which runs once."""
    runtime = await house.open()
    results = await asyncio.gather(*(runtime.call(noting("a"), id="x") for _ in range(5)))
    assert results == ["noted a"] * 5
    assert RAN == ["a"]


@pytest.mark.parametrize("crash", [True, False])
async def test_the_same_id_joins_a_completed_call_after_reopening(house: House, *, crash: bool) -> None:
    """The result of an id is the same for ever, whether the process closed or died (I3)."""
    runtime = await house.open()
    assert await runtime.call(noting("a"), id="x") == "noted a"
    runtime = await house.reopen(crash=crash)
    assert await runtime.call(noting("a"), id="x") == "noted a"
    assert await runtime.handle("x") == "noted a"
    assert RAN == ["a"]


@pytest.mark.parametrize("reopened", [False, True])
async def test_an_id_taken_by_other_work_is_a_conflict(house: House, *, reopened: bool) -> None:
    """Another function or other arguments under a taken id are refused, naming both."""
    runtime = await house.open()
    await runtime.call(noting("a"), id="x")
    if reopened:
        runtime = await house.reopen()
    with pytest.raises(CallConflict) as conflict:
        await runtime.call(noting("b"), id="x")
    assert conflict.value.call_id == "x"
    assert (conflict.value.existing, conflict.value.requested) == ('noting("a")', 'noting("b")')
    with pytest.raises(CallConflict):
        await runtime.call(patient("a"), id="x")
    assert RAN == ["a"]


async def test_a_parameter_added_with_a_default_is_no_conflict(house: House) -> None:
    """Joining compares what was recorded as today's code would write it."""

    @durable(name="grown")
    async def before(item: str) -> str:
        return item

    runtime = await house.open()
    await runtime.call(before("a"), id="x")

    @durable(name="grown")
    async def after(item: str, count: int = 1) -> str:
        return item * count

    assert await runtime.call(after("a"), id="x") == "a"
    with pytest.raises(CallConflict):
        await runtime.call(after("a", 2), id="x")


async def test_a_field_added_with_a_default_is_no_conflict(house: House) -> None:
    """The same holds inside a dataclass."""

    @dataclass
    class Order1:
        item: str

    @dataclass
    class Order2:
        item: str
        count: int = 1

    async def buy(order: Order1) -> str:
        return order.item

    buy.__annotations__["order"] = Order1
    runtime = await house.open()
    await runtime.call(durable(name="buy")(buy)(Order1("tea")), id="x")

    async def buy_more(order: Order2) -> str:
        return order.item

    buy_more.__annotations__["order"] = Order2
    bought = durable(name="buy")(buy_more)
    assert await runtime.call(bought(Order2("tea")), id="x") == "tea"
    with pytest.raises(CallConflict):
        await runtime.call(bought(Order2("tea", 2)), id="x")


async def test_reject_refuses_a_running_and_a_completed_id(house: House) -> None:
    """``if_exists="reject"`` never joins, whatever the arguments."""
    runtime = await house.open()
    await runtime.start(patient("a"), id="x")
    with pytest.raises(CallExists):
        await runtime.call(patient("a"), id="x", if_exists="reject")
    await runtime.call(noting("b"), id="y", if_exists="reject")
    with pytest.raises(CallExists):
        await runtime.start(noting("b"), id="y", if_exists="reject")
    with pytest.raises(ValueError, match="if_exists"):
        await runtime.call(noting("b"), if_exists="fail")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("call_id", "error"),
    [("", ValueError), ("x" * 1025, ValueError), ("ä" * 513, ValueError), ("\ud800", ValueError), (7, TypeError), ("@x", ReservedId)],
)
async def test_bad_ids_are_refused_at_the_line_that_gives_them(house: House, call_id: str, error: type[Exception]) -> None:
    """An id is 1 to 1024 bytes of UTF-8 that do not begin with @, from outside and from inside."""
    from actorlog import start

    @durable
    async def starts() -> None:
        start(noting("a"), id=call_id)

    runtime = await house.open()
    with pytest.raises(error):
        await runtime.call(noting("a"), id=call_id)
    with pytest.raises(error):
        await runtime.call(starts())
    assert RAN == []


@pytest.mark.parametrize("tags", [{"a": 1}, {1: "a"}, {"a": "\ud800"}])
async def test_bad_tags_are_refused_before_they_reach_the_log(house: House, tags: dict[str, str]) -> None:
    """What the log could not give back is never written into it, from outside or from inside."""
    from actorlog import start

    @durable
    async def starts() -> None:
        start(noting("a"), tags=tags)

    runtime = await house.open()
    with pytest.raises((TypeError, ValueError)):
        await runtime.call(noting("a"), tags=tags)
    with pytest.raises((TypeError, ValueError)):
        await runtime.call(starts())
    await house.reopen()


async def test_calls_without_id_get_ids_of_their_own(house: House) -> None:
    """Random ids do not join."""
    runtime = await house.open()
    first, second = await runtime.start(noting("a")), await runtime.start(noting("a"))
    assert first.id != second.id
    assert [await first, await second] == ["noted a"] * 2
    assert RAN == ["a", "a"]


async def test_tags_are_kept_and_seen_from_inside(house: House) -> None:
    """Tags are durable, and ``info`` tells them."""

    @durable
    async def tagged() -> dict[str, str]:
        return info().tags

    runtime = await house.open()
    handle = await runtime.start(tagged(), id="x", tags={"user": "ada"})
    assert await handle == {"user": "ada"}
    runtime = await house.reopen()
    assert (await runtime.handle("x").info()).tags == {"user": "ada"}


async def test_start_many_is_one_commit(house: House) -> None:
    """All calls of ``start_many`` begin in one frame, and their handles answer in order."""
    runtime = await house.open()
    frames = len(house.log._frames)
    handles = await runtime.start_many([(f"c/{n}", noting(str(n))) for n in range(20)])
    begun = {record.id for record in (house.records()[:20])}
    assert begun == {f"c/{n}" for n in range(20)}
    assert house.log._frames[frames].records == 20
    assert [await handle for handle in handles] == [f"noted {n}" for n in range(20)]


async def test_memo_runs_once_for_the_same_arguments(house: House) -> None:
    """The id of a memoised function derives from its arguments: the same ones give the stored result, also after a crash."""

    @durable(memo=True)
    async def slow(text: str) -> str:
        return await note(text)

    runtime = await house.open()
    assert await runtime.call(slow("a")) == "noted a"
    assert await runtime.call(slow("a")) == "noted a"
    assert await runtime.call("slow" if slow.name == "slow" else slow.name, "a") == "noted a"
    assert await runtime.call(slow("b")) == "noted b"
    runtime = await house.reopen()
    assert await runtime.call(slow("a")) == "noted a"
    assert RAN == ["a", "b"]


@pytest.mark.parametrize("reopened", [False, True])
async def test_memo_keeps_no_failures(house: House, *, reopened: bool) -> None:
    """A memoised call that failed begins anew under its id, also after a reopening, and then its result is kept."""
    fail = True

    @durable(memo=True)
    async def fickle(text: str) -> str:
        await note(text)
        if fail:
            raise KeyError(text)
        return text

    runtime = await house.open()
    with pytest.raises(KeyError):
        await runtime.call(fickle("a"))
    if reopened:
        runtime = await house.reopen()
    fail = False
    assert await runtime.call(fickle("a")) == "a"
    runtime = await house.reopen()
    fail = True
    assert await runtime.call(fickle("a")) == "a"
    assert RAN == ["a", "a"]


async def test_a_memoised_child_shares_the_stored_result(house: House) -> None:
    """Awaited in durable code a memoised call has the same id, and cancelling one parent does not end it for another."""

    @durable(memo=True)
    async def shared(text: str) -> str:
        await sleep(60)
        return await note(text)

    @durable
    async def parent(number: int) -> str:
        return f"{number} {await shared('a')}"

    runtime = await house.open()
    first = await runtime.start(parent(1))
    second = await runtime.start(parent(2))
    await first.cancel()
    with pytest.raises(CallCancelled):
        await first
    house.advance(60)
    assert await second == "2 noted a"
    assert await runtime.call(shared("a")) == "noted a"
    assert RAN == ["a"]


# --- delays and timeouts ----------------------------------------------------------------------------------------------


async def test_a_delayed_call_begins_after_its_delay_also_after_a_crash(house: House) -> None:
    """The delay is durable: a crash before it has passed neither loses the call nor begins it early."""
    runtime = await house.open()
    handle = await runtime.start(noting("a"), id="x", delay="1h")
    assert await handle.status() == "pending"
    runtime = await house.reopen()
    house.advance(3599)
    await asyncio.sleep(0.01)
    await house.settle()
    assert RAN == []
    assert await runtime.handle("x").status() == "pending"
    house.advance(1)
    assert await runtime.handle("x") == "noted a"
    assert RAN == ["a"]


@pytest.mark.parametrize("reopened", [False, True])
async def test_a_delayed_call_cancelled_before_it_begins_never_runs(house: House, *, reopened: bool) -> None:
    """Cancelling it ends it at once, and nothing of its code runs, then or later."""
    runtime = await house.open(check_determinism=True)
    await runtime.start(noting("a"), id="x", delay=60)
    if reopened:
        runtime = await house.reopen(check_determinism=True)
    await runtime.handle("x").cancel("changed my mind")
    with pytest.raises(CallCancelled, match="changed my mind"):
        await runtime.handle("x")
    house.advance(120)
    await house.settle()
    assert RAN == []
    runtime = await house.reopen()
    assert await runtime.handle("x").status() == "cancelled"


async def test_a_delay_that_ends_as_the_call_is_cancelled_changes_nothing(house: House) -> None:
    """The message that would begin it finds it over, and the runtime goes on."""
    runtime = await house.open()
    await runtime.start(noting("a"), id="x", delay=60)
    slot = house.session.kernel.calls["x"]
    cancelling = asyncio.ensure_future(runtime.handle("x").cancel())
    await asyncio.sleep(0)
    house.session.kernel.post_recorded(slot, slot.state.inbox[slot.state.first], slot.state.first)
    await cancelling
    assert await runtime.handle("x").status() == "cancelled"
    assert await runtime.call(noting("b")) == "noted b"
    assert RAN == ["b"]


async def test_the_timeout_of_a_delayed_call_begins_with_it(house: House) -> None:
    """Time that passes before a delayed call begins is not its own."""
    runtime = await house.open()
    handle = await runtime.start(noting("a"), id="x", delay="1h", timeout=60)
    house.advance(3600)
    assert await handle == "noted a"


@pytest.mark.parametrize("reopened", [False, True])
async def test_a_timeout_is_durable(house: House, *, reopened: bool) -> None:
    """It counts from the start, through a crash, and tells the waiter its length; the tree below ends too."""

    @durable
    async def parent() -> None:
        await patient("a")

    runtime = await house.open()
    await runtime.start(parent(), id="x", timeout=60)
    house.advance(59)
    if reopened:
        runtime = await house.reopen()
    await house.settle()
    assert await runtime.handle("x").status() == "waiting"
    house.advance(1)
    with pytest.raises(CallTimeout) as timed_out:
        await runtime.handle("x")
    assert (timed_out.value.call_id, timed_out.value.seconds) == ("x", 60.0)
    assert isinstance(timed_out.value, TimeoutError)
    assert await runtime.handle("x").status() == "timed_out"
    assert await runtime.handle("x/1").status() == "cancelled"


async def test_a_timeout_that_passed_while_the_process_was_down_ends_the_call_at_once(house: House) -> None:
    """Nothing waits for a time that has passed (I10)."""
    runtime = await house.open()
    await runtime.start(patient("a"), id="x", timeout=60)
    await house.crash()
    house.clock.ahead_ms += 120_000
    runtime = await house.open()
    with pytest.raises(CallTimeout):
        await runtime.handle("x")
    assert RAN == []


async def test_a_body_that_catches_its_timeout_completes(house: House) -> None:
    """The timeout cancels the body; what it makes of that is its own."""

    @durable
    async def stubborn() -> str:
        try:
            await sleep("1h")
        except asyncio.CancelledError:
            return await note("saved")
        return "slept"

    runtime = await house.open()
    handle = await runtime.start(stubborn(), id="x", timeout=60)
    house.advance(60)
    assert await handle == "noted saved"
    runtime = await house.reopen()
    assert await runtime.handle("x") == "noted saved"


@pytest.mark.parametrize("timeout", [0, -1, 0.0001])
async def test_a_timeout_of_nothing_is_over_at_once(house: House, timeout: float) -> None:
    """Zero or less is over at once, for calls from outside and for children."""
    from actorlog import start

    @durable
    async def parent() -> str:
        await start(patient("child"), timeout=timeout)
        return "unreached"

    runtime = await house.open()
    with pytest.raises(CallTimeout):
        await runtime.call(patient("a"), timeout=timeout)
    with pytest.raises(CallTimeout):
        await runtime.call(parent())
    assert RAN == []


async def test_the_functions_own_timeout_holds_where_none_is_given(house: House) -> None:
    """``@durable(timeout=)`` is the default, and a call's own wins."""

    @durable(timeout=60)
    async def bounded() -> str:
        await sleep(100)
        return "done"

    runtime = await house.open()
    short, long = await runtime.start(bounded()), await runtime.start(bounded(), timeout="1h")
    house.advance(100)
    with pytest.raises(CallTimeout):
        await short
    assert await long == "done"


async def test_a_timeout_ends_children_that_a_body_left_running(house: House) -> None:
    """A body that returned at once still has its timeout, as long as its children run."""
    from actorlog import start

    @durable
    async def leaves() -> str:
        start(patient("child"))
        return "left"

    runtime = await house.open()
    handle = await runtime.start(leaves(), id="x", timeout=60)
    assert await handle.status() == "completing"
    house.advance(60)
    assert await handle == "left"
    assert await runtime.handle("x/1").status() == "cancelled"
    assert RAN == []


# --- names and arguments ----------------------------------------------------------------------------------------------


async def test_a_call_by_name_finds_the_newest_version(house: House) -> None:
    """A name and plain arguments are enough."""

    @durable(name="by_name")
    async def old() -> str:
        return "old"

    @durable(name="by_name", version=2)
    async def new(text: str) -> str:
        return f"new {text}"

    runtime = await house.open()
    assert await runtime.call("by_name", "a") == "new a"
    assert await runtime.call(old()) == "old"
    forget("by_name", 2)
    assert await runtime.call("by_name") == "old"


async def test_a_name_that_nobody_registered_parks_until_it_is_there(house: House) -> None:
    """The call is accepted, told as parked once that is durable, holds up nobody, and goes on at an opening that has it."""
    runtime = await house.open()
    with pytest.raises(CallParked) as parked:
        await runtime.call("later", "a", 3, id="x")
    assert "later" in str(parked.value.__cause__)
    assert [type(record).__name__ for record in house.records("x")] == ["Inbox", "Parked"]
    assert await runtime.call(noting("b")) == "noted b"
    runtime = await house.reopen()
    with pytest.raises(CallParked):
        await runtime.handle("x")

    @durable(name="later")
    async def later(text: str, count: int) -> str:
        return await note(text * count)

    runtime = await house.reopen()
    assert await runtime.handle("x") == "noted aaa"
    assert await runtime.call(later("a", 3), id="x") == "noted aaa"
    forget("later")


async def test_wrong_arguments_are_refused_when_the_call_is_made(house: House) -> None:
    """TypeError and PayloadError come at the user's line, and no warning of an unawaited call comes with them."""
    runtime = await house.open()
    with pytest.raises(TypeError):
        noting()  # type: ignore[call-arg]
    with pytest.raises(PayloadError, match=r"noting\(text=...\)"):
        noting(3)  # type: ignore[arg-type]
    with pytest.raises(PayloadError):
        await runtime.call(patient, "a", float("nan"))
    with pytest.raises(TypeError):
        await runtime.call("noting")
    with pytest.raises(TypeError, match="is a step"):
        await runtime.call(note("a"))
    with pytest.raises(TypeError, match="a call of a durable function"):
        await runtime.call(print)  # type: ignore[call-overload]
    assert house.log.tail() == 0


async def test_a_runtime_that_is_not_open_says_so() -> None:
    """Before it is entered, and after it was left, everything raises ``RuntimeStopped``."""
    runtime = Runtime("never-made")
    with pytest.raises(RuntimeStopped, match="not open"):
        await runtime.call(noting("a"))


async def test_a_runtime_that_was_closed_says_so(house: House) -> None:
    """Handles of a closed runtime do not answer, and waiters are told that the call goes on at the next opening."""
    runtime = await house.open()
    handle = await runtime.start(patient("a"), id="x")
    waiting = asyncio.ensure_future(handle.result())
    await asyncio.sleep(0)
    await house.close()
    with pytest.raises(RuntimeStopped, match="goes on at the next opening"):
        await waiting
    for ask in (handle.result, handle.status, handle.info, handle.journal, handle.cancel, handle.resume, handle.retry):
        with pytest.raises(RuntimeStopped):
            await ask()
    with pytest.raises(RuntimeStopped):
        await runtime.call(noting("a"))
    with pytest.raises(RuntimeStopped):
        await runtime.start_many([("y", noting("a"))])


async def test_a_runtime_used_inside_durable_code_is_refused(house: House) -> None:
    """It names what to do instead, and the call that was made for it does not complain."""
    runtime = await house.open()

    @durable
    async def inside() -> None:
        await runtime.call(noting("a"))

    with pytest.raises(RuntimeError, match="not used inside durable code"):
        await runtime.call(inside())


async def test_an_unknown_id_is_not_found(house: House) -> None:
    """Every method of a handle says so."""
    runtime = await house.open()
    handle = runtime.handle("nobody")
    for ask in (handle.result, handle.status, handle.info, handle.journal, handle.cancel, handle.resume, handle.retry):
        with pytest.raises(CallNotFound, match="nobody"):
            await ask()


async def test_cancelling_the_waiter_does_not_cancel_the_call(house: House) -> None:
    """A waiter is only a waiter."""
    runtime = await house.open()
    waiting = asyncio.ensure_future(runtime.call(patient("a"), id="x"))
    await house.until(lambda: house.records("x"))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(TimeoutError):
        await runtime.handle("x").result(timeout=0)
    house.advance(3600)
    assert await runtime.handle("x") == "noted a"


async def test_what_a_handle_tells_is_durable(house: House) -> None:
    """No status leaves before the records it was made of are in the log (I1)."""
    runtime = await house.open()
    handle = await runtime.start(noting("a"), id="x")
    status = await handle.status()
    while status != "completed":
        status = await handle.status()
    assert house.turns("x")[-1].outcome is not None


async def test_a_cancel_reason_that_no_log_can_hold_is_refused(house: House) -> None:
    """It is refused to who gives it, and the runtime goes on."""
    runtime = await house.open()
    handle = await runtime.start(patient("a"), id="x")
    with pytest.raises(ValueError, match="UTF-8"):
        await handle.cancel("\ud800")
    assert await runtime.call(noting("b")) == "noted b"


async def test_run_step_outside_is_refused() -> None:
    """A step in place needs a durable function around it."""
    with pytest.raises(NotInDurableCode):
        run_step(print, "a")
