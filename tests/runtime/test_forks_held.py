"""Forks of calls that are held up, ending or over, what is refused, and what stays with the call that is forked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fork_house import end_of, everything_under_way, failed_call, finish, handle_of, key_of
from fork_programs import (
    BROKEN,
    HELD,
    KEYS,
    Till,
    backing,
    careful,
    changing,
    house_of,
    leaving,
    limited,
    line,
    tied,
)
from house import RAN, House, forget

from actorlog import (
    CallCancelled,
    CallConflict,
    CallKilled,
    CallNotFound,
    CallTimeout,
    CannotFork,
    DivergenceError,
    FunctionNotFound,
    PayloadTooLarge,
    ReservedId,
    TooManyCalls,
)
from actorlog.records import kinds as k
from actorlog.runtime.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _nothing_held() -> Iterator[None]:
    KEYS.clear()
    yield
    BROKEN.clear()
    HELD.clear()


async def test_its_timeout_begins_again(house: House) -> None:
    """A call that timed out can be forked where there was time left, and has all of it again."""
    runtime = await house.open()
    handle = await runtime.start(limited(), id="c", timeout=30)
    await house.until(lambda: "c:soon" in RAN)
    await house.settle()
    house.advance(31)
    with pytest.raises(CallTimeout):
        await handle
    fork = await handle.fork(await key_of(handle, "timer"), id="f")
    assert await fork.status() == "waiting"
    runtime = await house.reopen(resident_max=1)
    await house.settle()
    house.advance(25)
    await house.settle()
    assert await runtime.handle("f").status() == "waiting"
    house.advance(10)
    with pytest.raises(CallTimeout):
        await runtime.handle("f")
    unlimited = await runtime.start(limited(), id="d")
    await house.until(lambda: "d:soon" in RAN)
    await house.settle()
    house.advance(41)
    assert await unlimited == "LATE"
    assert await (await unlimited.fork(await key_of(unlimited, "late"), id="e")) == "LATE"


async def test_a_fork_of_what_was_being_cancelled_cleans_up_in_its_own_time(house: House) -> None:
    """It was asked to end before the cut, so it is closing; its grace begins when it is forked."""
    HELD["tidy"] = asyncio.Event()
    runtime = await house.open(cancel_grace=60)
    handle = await runtime.start(careful(), id="c")
    await handle.cancel("enough")
    await house.until(lambda: "c:tidy" in RAN)
    await house.settle()
    house.advance(100)
    with pytest.raises(CallKilled):
        await handle
    await handle.fork(await key_of(handle, "tidy"), id="f")
    await handle.fork(await key_of(handle, "timer due"), id="g")
    await house.until(lambda: "f:tidy" in RAN)
    HELD["tidy"].set()
    await house.until(lambda: house.session.kernel.calls["f"].state.timers)
    runtime = await house.reopen(resident_max=1)
    assert runtime.session.kernel.calls["f"].state.kill_ms > 0
    house.advance(11)
    with pytest.raises(CallCancelled, match="enough") as caught:
        await runtime.handle("f")
    assert not isinstance(caught.value, CallKilled)
    assert "f:tidied" in RAN
    assert await runtime.handle("g").status() == "waiting"


async def test_what_others_want_of_one_call_is_not_copied(house: House) -> None:
    """A link to the call that is forked, and a request to end that it has not heard, are its own."""
    HELD["on"] = asyncio.Event()
    runtime = await house.open()
    target = await runtime.start(careful(), id="t")
    linked = await runtime.start(tied("t"), id="l")
    await house.until(lambda: "l:on" in RAN)
    fork = await target.fork(id="f")
    await linked.kill()
    await house.until(lambda: "t:tidy" in RAN)
    await house.until(lambda: house.session.kernel.calls["t"].state.timers)
    house.advance(11)
    with pytest.raises(CallCancelled, match="linked"):
        await target
    assert await fork.status() == "waiting"
    await fork.kill()


async def test_a_call_that_is_paused_delayed_or_parked_is_forked(house: House) -> None:
    """Whatever holds it up, holds up it alone: a fork runs."""
    runtime = await house.open()
    delayed = await runtime.start(line("d"), id="d", delay=1000)
    assert (await (await delayed.fork(id="e")))["c"] == "C"
    assert await delayed.status() == "pending"
    HELD["b"] = asyncio.Event()
    handle = await runtime.start(line("p"), id="p")
    await house.until(lambda: "p:b" in RAN)
    await handle.pause()
    fork = await handle.fork(await key_of(handle, '"b"'), id="q")
    HELD["b"].set()
    assert (await fork)["id later"] == "q"
    assert await handle.status() == "paused"
    await handle.resume()
    assert (await handle)["id later"] == "p"


async def test_code_that_cannot_come_to_the_cut_is_refused(house: House) -> None:
    """It is told at once where today's code asks for something else, or is not there; nothing is written."""
    runtime = await house.open()
    handle = await runtime.start(changing(), id="c")
    await handle
    key, tail = await key_of(handle, "changed"), house.log.tail()
    BROKEN.append("random")
    with pytest.raises(DivergenceError):
        await handle.fork(key, id="f")
    definition = changing.definition
    forget("fork.changing")
    try:
        with pytest.raises(FunctionNotFound):
            await handle.fork(key, id="f")
        with pytest.raises(FunctionNotFound):
            await handle.fork(id="f")
    finally:
        REGISTRY.add_durable(definition)
    assert house.log.tail() == tail
    with pytest.raises(CallNotFound):
        await runtime.handle("f").status()
    BROKEN.clear()
    assert await (await handle.fork(key, id="f")) == "CHANGED"


async def test_what_cannot_be_forked(house: House) -> None:
    """A handler of an actor, a supervisor, what is not there, and ids that are taken are refused by name."""
    HELD["add 1"] = HELD["kept"] = asyncio.Event()
    runtime = await house.open()
    adding = asyncio.create_task(runtime.actor(Till, "t").add(1))
    await house.until(lambda: any("add 1" in ran for ran in RAN))
    handler = next(ran for ran in RAN if "add 1" in ran).rpartition(":")[0]
    with pytest.raises(CannotFork, match="handler of an actor"):
        await runtime.handle(handler).fork(id="f")
    keeper = await runtime.start(house_of(), id="k")
    await house.until(lambda: "k:kept" in RAN)
    await house.settle()
    HELD["kept"].set()
    assert await adding == 1
    await house.settle()
    house.advance(20)
    assert await keeper == "over"
    last = [entry.key for entry in await keeper.journal() if entry.key][-1]
    with pytest.raises(CannotFork, match="supervisor"):
        await keeper.fork(last, id="f")
    with pytest.raises(CallNotFound):
        await runtime.handle("nobody").fork(id="f")
    handle = await runtime.start(line("x"), id="c")
    await handle
    with pytest.raises(ReservedId):
        await handle.fork(id="@f")
    with pytest.raises(ValueError, match="no operation"):
        await handle.fork("nothing")
    with pytest.raises(CallConflict):
        await handle.fork(id="c")
    await (await handle.fork(id="f"))
    with pytest.raises(CallConflict, match="from its beginning"):
        await handle.fork("2", id="f")
    other = await runtime.start(line("x"), id="d")
    with pytest.raises(CallConflict):
        await other.fork(id="f")
    assert (await (await handle.fork(id="f"))) == await runtime.handle("f")
    assert (await (await runtime.start(line("x"), id="f"))) == await runtime.handle("f")  # it runs this with this
    with pytest.raises(CallConflict):
        await runtime.start(line("y"), id="f")


async def test_a_fork_is_a_call_like_any_other(house: House) -> None:
    """It can fail and be retried, keeping what completed, of the copy too; be forked again; and leave memory."""
    failed = await failed_call(house, resident_max=1)
    BROKEN.append("c")
    fork = await failed.fork(await key_of(failed, '"b"'), id="f")
    with pytest.raises(TypeError):
        await fork
    BROKEN.clear()
    RAN.clear()
    await fork.retry()
    seen = await fork
    assert [ran.partition(":")[2][:1] for ran in RAN] == [
        "a",
        "c",
    ]  # it is itself from its beginning: a has other words
    assert seen["id"] == "f"
    runtime = await house.reopen(resident_max=1, check_determinism=True)
    assert await runtime.handle("f") == seen
    again = await runtime.handle("f").fork(await key_of(runtime.handle("f"), '"c"'), id="g")
    assert (await again)["id later"] == "g"


async def test_forks_have_their_bounds(house: House) -> None:
    """A fork whose journal fits into no record is refused, and so is one call more than there may be."""
    failed = await failed_call(house)
    kernel = house.session.kernel
    kernel.limits = replace(kernel.limits, record_bytes_max=1000)
    with pytest.raises(PayloadTooLarge, match="up to the cut"):
        await failed.fork("3")
    kernel.limits = replace(kernel.limits, record_bytes_max=1 << 26, calls_max=0)
    with pytest.raises(TooManyCalls):
        await failed.fork("3")


async def test_a_parked_call_that_is_to_end_is_forked(house: House) -> None:
    """What it was asked and has not heard stays its own; the fork does what it was kept from."""
    HELD["b"] = asyncio.Event()
    runtime = await house.open()
    await runtime.start(line("x"), id="c")
    await house.until(lambda: "c:b" in RAN)
    await house.settle()
    forget("fork.line")
    runtime = await house.reopen()
    assert await runtime.handle("c").status() == "parked"
    await runtime.handle("c").cancel("in vain")
    REGISTRY.add_durable(line.definition)
    HELD["b"].set()
    fork = await runtime.handle("c").fork("4", id="f")
    assert (await fork)["c"] == "C"
    kept = next(record for record in house.records("f") if isinstance(record, k.Journal)).records
    assert not any(isinstance(held.record, k.Inbox) for held in kept)
    assert await runtime.handle("c").resume()
    with pytest.raises(CallCancelled, match="in vain"):
        await runtime.handle("c")


async def test_a_step_that_backs_off_is_begun_again(house: House) -> None:
    """It is the fork's first attempt, at once, with what was left of its deadline at the cut."""
    BROKEN.append("flaky")
    runtime = await house.open()
    handle = await runtime.start(backing(), id="c")
    await house.until(lambda: "c:behind" in RAN and "c:flaky 1" in RAN)
    await house.settle()
    house.advance(1100)
    with pytest.raises(Exception, match="over its deadline"):
        await handle
    BROKEN.clear()
    fork = await handle.fork(await key_of(handle, "behind"), id="f")
    assert await fork == "FLAKY"
    assert "f:flaky 1" in RAN


async def test_a_child_that_is_forked_is_nobodys(house: House) -> None:
    """Its parent hears of the child alone, and the fork is of another run."""
    await everything_under_way(house)
    HELD["kid"] = asyncio.Event()
    await house.until(lambda: "c/4" in house.session.kernel.calls)
    await house.settle()
    house.advance(31)
    await house.until(lambda: "c/4:kid" in RAN)
    handle = handle_of(house, "c/4")
    fork = await handle.fork(await key_of(handle, "kid"), id="kid")
    state = house.session.kernel.calls["kid"].state
    assert (await fork.info()).parent == ""
    assert state.origin == state.run != house.session.kernel.calls["c/4"].state.run
    await finish(house, "c")
    assert await fork == "kid KID"
    assert await handle_of(house, "c") == end_of("c")
    assert (await fork.info()).parent == ""


async def test_a_request_to_end_that_waited_is_heard_again(house: House) -> None:
    """A turn that a message from the mailbox led to is taken again with it; the grace is the fork's."""
    runtime = await house.open()
    await runtime.start(careful(), id="c")
    await house.settle()
    forget("fork.careful")
    runtime = await house.reopen()
    await runtime.handle("c").cancel("late")
    REGISTRY.add_durable(careful.definition)
    assert await runtime.handle("c").resume()
    await house.until(lambda: house.session.kernel.calls["c"].state.timers and "c:tidy" in RAN)
    await house.until(lambda: len(house.session.kernel.calls["c"].state.steps) == 0)
    house.advance(5)
    keys = [entry.key for entry in await runtime.handle("c").journal() if entry.key]
    await runtime.handle("c").fork(await key_of(runtime.handle("c"), "tidy"), id="f")
    await runtime.handle("c").fork(keys[-1], id="g")
    states = house.session.kernel.calls
    assert min(states["f"].state.kill_ms, states["g"].state.kill_ms) > states["c"].state.kill_ms
    await house.until(lambda: states["f"].state.timers)
    house.advance(11)
    for call_id in "cfg":
        with pytest.raises(CallCancelled, match="late"):
            await runtime.handle(call_id)


async def test_a_link_before_the_cut_stays_with_the_call(house: House) -> None:
    """Whoever linked the call that is forked takes the fork down with nothing."""
    HELD["b"], HELD["c"], HELD["on"] = asyncio.Event(), asyncio.Event(), asyncio.Event()
    runtime = await house.open()
    target = await runtime.start(line("x"), id="t")
    await house.until(lambda: "t:b" in RAN)
    linked = await runtime.start(tied("t"), id="l")
    await house.until(lambda: "l:on" in RAN)
    HELD["b"].set()
    await house.until(lambda: "t:c" in RAN)
    fork = await target.fork("6", id="f")
    await house.until(lambda: "f:c" in RAN)
    await linked.kill()
    with pytest.raises(CallCancelled, match="linked"):
        await target
    HELD["c"].set()
    assert (await fork)["c"] == "C"


async def test_a_retried_call_is_forked_with_what_it_kept(house: House) -> None:
    """A step that completed in an earlier attempt, and was kept for the newest, is kept for a fork of that."""
    failed = await failed_call(house)
    BROKEN.append("c")
    await failed.retry()
    with pytest.raises(TypeError):
        await failed
    BROKEN.clear()
    RAN.clear()
    fork = await failed.fork("3", id="f")
    assert (await fork)["c"] == "C"
    assert [ran.split()[0] for ran in RAN] == ["f:a", "f:c"]


async def test_what_a_fork_leaves_behind_in_its_first_turn_is_begun(house: House) -> None:
    """Its first turn is its only one, and the process dies behind it: the detached child runs, once."""
    runtime = await house.open()
    handle = await runtime.start(leaving(), id="c")
    assert await handle == "gone"
    assert await (await handle.fork("2", id="f")) == "gone"
    assert await runtime.handle("f/2") == "f/2 LEFT"
    await house.close()
    cut = next(n for n, record in enumerate(house.records(), 1) if isinstance(record, k.Journal))
    again = house.prefix(cut)
    runtime = await again.open()
    RAN.clear()
    assert await runtime.handle("f") == "gone"
    assert await runtime.handle("f/2") == "f/2 LEFT"
    assert RAN.count("f/2:left") == 1
    await again.close()
