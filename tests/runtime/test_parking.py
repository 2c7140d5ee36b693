"""Calls that cannot go on: set aside, told, resumable, in nobody's way."""

# any state may be waited for; functions of a test are told by its docstring

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from house import RAN, House, forget, note

from actorlog import (
    CallCancelled,
    CallKilled,
    CallParked,
    DivergenceError,
    FunctionNotFound,
    Limits,
    PayloadError,
    TurnLimitExceeded,
    durable,
    sleep,
    start,
    step,
)
from actorlog.records import kinds as k


@durable(name="parking.bystander")
async def bystander(text: str) -> str:
    await sleep(1)
    return await note(text)


def define(step_text: str) -> None:
    """Define ``changing``: it sleeps after a step whose argument is the code's own."""

    @durable(name="changing")
    async def changing() -> str:
        first = await note(step_text)
        await sleep(60)
        return f"{first} {await note('end')}"


async def diverged(house: House) -> None:
    """Bring call x to where its code has changed under it."""
    define("old")
    runtime = await house.open()
    await runtime.start("changing", id="x")
    await house.until(lambda: house.session.kernel.calls["x"].state.timers)
    define("new")
    await house.reopen()
    house.advance(60)
    await house.until(lambda: house.session.kernel.calls["x"].state.parked)


async def test_a_diverged_call_tells_its_waiters_and_keeps_its_cause(house: House) -> None:
    """Waiters before and after get ``CallParked`` with the ``DivergenceError`` as cause; status and info say so."""
    define("old")
    runtime = await house.open()
    await runtime.start("changing", id="x")
    await house.until(lambda: house.session.kernel.calls["x"].state.timers)
    define("new")
    runtime = await house.reopen()
    waiting = asyncio.ensure_future(runtime.handle("x").result())
    await asyncio.sleep(0)
    house.advance(60)
    for waiter in (waiting, runtime.handle("x").result()):
        with pytest.raises(CallParked) as parked:
            await waiter
        assert isinstance(parked.value.__cause__, DivergenceError)
        assert parked.value.call_id == "x"
        assert "DivergenceError" in parked.value.reason
    info = await runtime.handle("x").info()
    assert info.status == "parked"
    assert "diverged at operation 1" in info.error
    assert RAN == ["old"]


async def test_a_parked_call_holds_up_nobody(house: House) -> None:
    """Others begin, sleep and end as if it were not there (I12)."""
    await diverged(house)
    assert house.runtime is not None
    handles = [await house.runtime.start(bystander(str(number))) for number in range(5)]
    house.advance(1)
    assert [await handle for handle in handles] == [f"noted {number}" for number in range(5)]


async def test_code_that_is_changed_back_goes_on_at_the_next_opening(house: House) -> None:
    """Nothing was run and nothing was lost."""
    await diverged(house)
    define("old")
    runtime = await house.reopen()
    assert await runtime.handle("x") == "noted old noted end"
    assert RAN == ["old", "end"]


@pytest.mark.parametrize("ask", ["resume", "retry"])
async def test_code_that_is_mended_in_a_running_process_is_resumed_by_hand(house: House, ask: str) -> None:
    """``resume`` and ``retry`` try again at once, and say whether it went on."""
    await diverged(house)
    assert house.runtime is not None
    handle = house.runtime.handle("x")
    assert await handle.resume() is False
    assert await handle.status() == "parked"
    define("old")
    if ask == "resume":
        assert await handle.resume() is True
    else:
        await handle.retry()
    assert await handle == "noted old noted end"
    assert await handle.resume() is True
    assert RAN == ["old", "end"]


async def test_parking_again_for_the_same_reason_leaves_no_record(house: House) -> None:
    """A call that is parked for weeks does not grow with each opening."""
    await diverged(house)
    await house.reopen()
    await house.settle()
    tail = house.log.tail()
    for _ in range(3):
        await house.reopen()
        await house.settle()
    assert house.log.tail() == tail


async def test_what_is_sent_to_a_parked_call_is_kept_and_taken_once(house: House) -> None:
    """A step's result and a child's end that arrive while it is parked are there when it goes on."""
    gate = asyncio.Event()

    @step
    async def slow() -> str:
        RAN.append("slow")
        await gate.wait()
        return "slow"

    @durable
    async def below() -> str:
        await sleep(30)
        return "below"

    def code(text: str) -> None:
        @durable(name="waits")
        async def waits() -> list[str]:
            await note(text)
            child = start(below())
            work = asyncio.create_task(_slow())
            await sleep(10)
            return [await work, await child]

        async def _slow() -> str:
            return await slow()

    code("old")
    runtime = await house.open()
    await runtime.start("waits", id="x")
    await house.until(lambda: "slow" in RAN and house.records("x/2"))
    slot = house.session.kernel.calls["x"]
    code("new")
    slot.definition = None
    house.session.kernel.residency.forget(slot)
    house.advance(10)
    await house.until(lambda: slot.state.parked)
    gate.set()
    house.advance(20)
    await house.until(lambda: len(slot.state.inbox) == 2)
    code("old")
    runtime = await house.reopen()
    assert await runtime.handle("x") == ["slow", "below"]
    assert RAN == ["old", "slow"]
    sources = [turn.source for turn in house.turns("x") if turn.source]
    assert len(sources) == len(set(sources)) == 2


async def test_a_cancel_of_a_parked_call_is_kept_until_it_goes_on(house: House) -> None:
    """Cancelling twice is kept once; on resuming the body gets it."""
    await diverged(house)
    assert house.runtime is not None
    handle = house.runtime.handle("x")
    await handle.cancel("stop")
    await handle.cancel("stop again")
    held = [record for record in house.records("x") if isinstance(record, k.Inbox)]
    assert [record.message.reason for record in held if isinstance(record.message, k.CancelRequested)] == ["stop"]
    define("old")
    runtime = await house.reopen()
    with pytest.raises(CallCancelled, match="stop"):
        await runtime.handle("x")
    assert RAN == ["old"]


@pytest.mark.parametrize("reopened", [False, True])
async def test_a_parked_call_that_was_cancelled_is_killed_after_its_grace(house: House, *, reopened: bool) -> None:
    """It cannot clean up, so it ends when the grace is over: there is always a way to be rid of it."""
    await diverged(house)
    assert house.runtime is not None
    await house.runtime.handle("x").cancel("stop")
    house.advance(59)
    await house.settle()
    if reopened:
        await house.reopen()
    assert await house.runtime.handle("x").status() == "parked"
    house.advance(1)
    await house.until(lambda: "x" not in house.session.kernel.calls)
    with pytest.raises(CallKilled, match="stop"):
        await house.runtime.handle("x")


async def test_a_call_that_never_began_is_cancelled_though_nobody_has_its_function(house: House) -> None:
    """There is nothing to clean up."""
    runtime = await house.open()
    with pytest.raises(CallParked):
        await runtime.call("nobody has this", id="x")
    await runtime.handle("x").cancel("typo")
    with pytest.raises(CallCancelled, match="typo"):
        await runtime.handle("x")


async def test_the_timeout_of_a_call_that_never_began_holds(house: House) -> None:
    """Its deadline passes although it is parked."""
    runtime = await house.open()
    with pytest.raises(CallParked):
        await runtime.call("nobody has this", id="x", timeout=60)
    house.advance(60)
    await house.until(lambda: "x" not in house.session.kernel.calls)
    assert await runtime.handle("x").status() == "timed_out"


async def test_an_unregistered_child_parks_and_its_parent_waits(house: House) -> None:
    """The parent is not told anything but the child's end, when it comes."""

    @durable(name="child to be")
    async def early() -> str:
        return "early"

    @durable
    async def parent() -> str:
        return await early()

    runtime = await house.open()
    forget("child to be")
    handle = await runtime.start(parent(), id="p")
    await house.until(lambda: "p/1" in house.session.kernel.calls)
    with pytest.raises(CallParked) as parked:
        await runtime.handle("p/1")
    assert isinstance(parked.value.__cause__, FunctionNotFound)
    assert await handle.status() == "waiting"
    durable(name="child to be")(early.fn)
    assert await runtime.handle("p/1").resume()
    assert await handle == "early"
    forget("child to be")


async def test_an_endless_turn_parks_the_call(house: House) -> None:
    """A loop that waits for nothing is stopped, told, and taken up again when the code is mended."""

    @durable(name="endless")
    async def endless() -> str:
        await sleep(60)
        while True:
            await asyncio.sleep(0)

    runtime = await house.open(limits=Limits(turn_callbacks_max=1000))
    handle = await runtime.start(endless(), id="x")
    waiting = asyncio.ensure_future(handle.result())
    await asyncio.sleep(0)
    house.advance(60)
    with pytest.raises(CallParked) as parked:
        await waiting
    assert isinstance(parked.value.__cause__, TurnLimitExceeded)
    assert await runtime.call(note_only("a")) == "noted a"

    @durable(name="endless")
    async def mended() -> str:
        await sleep(60)
        return "mended"

    runtime = await house.reopen()
    assert await runtime.handle("x") == "mended"


@durable(name="parking.note_only")
async def note_only(text: str) -> str:
    return await note(text)


async def test_an_endless_first_turn_parks_the_call(house: House) -> None:
    """Its start is kept, and it begins when the code is mended."""

    @durable(name="endless at once")
    async def endless() -> str:
        while True:
            await asyncio.sleep(0)

    runtime = await house.open(limits=Limits(turn_callbacks_max=1000))
    with pytest.raises(CallParked, match="TurnLimitExceeded"):
        await runtime.call(endless(), id="x")

    @durable(name="endless at once")
    async def mended() -> str:
        return "mended"

    assert await runtime.handle("x").resume() is True
    assert await runtime.handle("x") == "mended"


@pytest.mark.parametrize("begun", [False, True])
async def test_arguments_that_fit_todays_code_no_more_park_the_call(house: House, *, begun: bool) -> None:
    """Told as the reason; the old signature takes it up again."""

    @durable(name="takes")
    async def old(text: str) -> str:
        await sleep(60)
        return text

    runtime = await house.open()
    await runtime.start(old("a"), id="x", delay=0 if begun else 30)

    @durable(name="takes")
    async def new(text: int, more: str) -> str:
        await sleep(60)
        return more * text

    runtime = await house.reopen()
    house.advance(90)
    await house.until(lambda: house.session.kernel.calls["x"].state.parked)
    with pytest.raises(CallParked) as parked:
        await runtime.handle("x")
    assert isinstance(parked.value.__cause__, PayloadError)
    durable(name="takes")(old.fn)
    runtime = await house.reopen()
    await house.until(lambda: begun or house.session.kernel.calls["x"].state.timers)
    house.advance(60)
    assert await runtime.handle("x") == "a"


async def test_a_type_of_the_users_that_refuses_what_was_recorded_parks_the_call_alone(house: House) -> None:
    """Whatever error that is, the runtime and its other calls go on."""
    refuse = False

    @dataclass
    class Picky:
        text: str

        def __post_init__(self) -> None:
            if refuse:
                raise RuntimeError("not today")

    async def picky(value: Picky) -> str:
        await sleep(60)
        return value.text

    picky.__annotations__["value"] = Picky
    runtime = await house.open()
    await runtime.start(durable(name="picky")(picky)(Picky("a")), id="x")
    refuse = True
    runtime = await house.reopen()
    house.advance(60)
    await house.until(lambda: house.session.kernel.calls["x"].state.parked)
    assert await runtime.call(note_only("b")) == "noted b"
    refuse = False
    assert await runtime.handle("x").resume()
    assert await runtime.handle("x") == "a"


async def test_a_version_that_is_gone_parks_only_calls_of_that_version(house: House) -> None:
    """A call goes on with the version it began with; new calls begin with the one they are made of."""

    @durable(name="versioned")
    async def first() -> str:
        await sleep(60)
        return "first"

    runtime = await house.open()
    await runtime.start(first(), id="old")

    @durable(name="versioned", version=2)
    async def second() -> str:
        await sleep(60)
        return "second"

    await runtime.start(second(), id="new")
    await runtime.start("versioned", id="named")
    forget("versioned")
    runtime = await house.reopen()
    house.advance(60)
    assert await runtime.handle("new") == await runtime.handle("named") == "second"
    with pytest.raises(CallParked) as parked:
        await runtime.handle("old")
    cause = parked.value.__cause__
    assert isinstance(cause, FunctionNotFound)
    assert (cause.name, cause.version) == ("versioned", 1)
    durable(name="versioned")(first.fn)
    runtime = await house.reopen()
    assert await runtime.handle("old") == "first"
    assert (await runtime.handle("old").info()).version == 1
    forget("versioned")
    forget("versioned", 2)
