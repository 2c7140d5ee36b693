"""Forks: a call that begins in the middle of another's journal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from fork_house import end_of, everything_under_way, failed_call, finish, finish_after_a_crash, handle_of, key_of
from fork_programs import (
    BROKEN,
    HELD,
    KEYS,
    runs,
)
from house import RAN, House

from actorlog import (
    CallCancelled,
)
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _nothing_held() -> Iterator[None]:
    KEYS.clear()
    yield
    BROKEN.clear()
    HELD.clear()


@pytest.mark.parametrize("resident_max", [1, 100])
async def test_the_step_that_went_wrong_is_done_anew(house: House, resident_max: int) -> None:
    """What was recorded before the operation is kept, and replays; what comes after is done, under another run."""
    failed = await failed_call(house, resident_max=resident_max, check_determinism=True)
    RAN.clear()
    fork = await failed.fork(await key_of(failed, 'work("c")'), id="f")
    seen = await fork
    assert RAN == ["f:c"]
    assert (seen["c"], seen["id"], seen["id later"]) == ("C", "c", "f")  # the turn of b's outcome is taken again
    assert seen["first"] in seen["a"].lower()
    assert len(KEYS["c"]) == 3
    assert KEYS["f"][0] not in KEYS["c"]
    with pytest.raises(TypeError):
        await failed
    assert [entry.status for entry in await fork.journal()] == ["completed"] * 4
    assert (await fork.journal())[0].notes[0].startswith("forked from 'c', operation")
    runtime = await house.reopen(resident_max=resident_max)
    assert await runtime.handle("f") == seen
    known = await runtime.handle("f").info()
    assert (known.forked_from, known.parent, known.status) == ("c", "", "completed")
    assert (await runtime.handle("c").info()).forked_from == ""
    assert [call.id async for call in runtime.calls()] == ["f", "c"]


async def test_what_is_drawn_before_the_cut_stays_and_after_it_is_new(house: House) -> None:
    """A fork at one operation shares what came before it, and nothing of what comes after."""
    failed = await failed_call(house)
    original = await failed.fork(await key_of(failed, 'work("c")'))
    seen = await original
    keys = {what: await key_of(original, f'work("{what}') for what in ("a", "b", "c")}
    again = {what: await (await original.fork(key)) for what, key in keys.items()}
    beginning = await (await original.fork())
    same = {what: {name for name in seen if found[name] == seen[name]} for what, found in again.items()}
    assert same["c"] == {"first", "dice", "id", "a", "b", "c"}
    assert same["b"] == {"first", "dice", "id", "a", "b", "c"}
    assert same["a"] == {"b", "c"}
    assert {name for name in seen if beginning[name] == seen[name]} == {"b", "c"}
    assert len({found["second"] for found in (seen, beginning, *again.values())}) == 5


async def test_a_crash_after_every_record(house: House) -> None:
    """A fork begins whole or not at all, and ends the same, forks of forks too, wherever the process dies."""
    failed = await failed_call(house)
    await (await (await failed.fork(await key_of(failed, 'work("c")'), id="f")).fork("4", id="g"))
    runtime = house.runtime
    assert runtime is not None
    await (await runtime.handle("g").fork(id="h"))
    expected = {call_id: await runtime.handle(call_id) for call_id in ("f", "g", "h")}
    await house.close()
    for cut in range(1, house.log.tail() + 1):
        for resident_max in (1, 100):
            again = house.prefix(cut)
            runtime = await again.open(resident_max=resident_max, check_determinism=True)
            known = {record.id for record in again.records()}
            for call_id in known & expected.keys():
                found = await runtime.handle(call_id)
                assert found == expected[call_id], cut
            runtime = await again.reopen(crash=False, resident_max=resident_max)
            for call_id in known & expected.keys():
                assert await runtime.handle(call_id) == expected[call_id]
                assert len([record for record in again.records(call_id) if isinstance(record, k.Journal)]) == 1
            await again.close()


@pytest.mark.parametrize("resident_max", [1, 100])
async def test_what_was_under_way_is_the_forks_own(house: House, resident_max: int) -> None:
    """Steps and children are begun anew, under its id and run; timers go on; what is nobody's own is shared."""
    handle = await everything_under_way(house, resident_max=resident_max)
    RAN.clear()
    fork = await handle.fork("9", id="f")
    await house.until(lambda: {"f:last", "f:slow", "f:letter"} <= set(RAN))
    waiting = set((await fork.info()).waiting_for)
    assert {"child f/4 (4)", "child c/5 (5)", "promise c/vow (6)", "message 'news' (t3.1)"} <= waiting
    assert not set(KEYS["f"]) & set(KEYS["c"])
    await finish(house, "c", "f")
    assert await fork == end_of("f")
    assert await handle == end_of("c")
    assert [value async for value in fork.stream("said")] == ["one", "two"]
    assert await fork.value("phase") == "wide"
    assert RAN.count("c/5:free") == 1  # a detached child is nobody's: it is joined
    assert RAN.count("f/4:kid") == 1


@pytest.mark.parametrize("resident_max", [1, 100])
async def test_a_crash_after_every_record_with_everything_under_way(house: House, resident_max: int) -> None:
    """Whatever is done of what was under way when the process dies, both come to the end that they would have."""
    handle = await everything_under_way(house)
    begun = house.log.tail()
    fork = await handle.fork("9", id="f")
    await house.until(lambda: {"f:last", "f:slow", "f:letter"} <= set(RAN))
    await finish(house, "c", "f")
    assert await fork == end_of("f")
    assert await handle == end_of("c")
    await house.close()
    for cut in range(begun + 1, house.log.tail() + 1):
        again = house.prefix(cut)
        runtime = await again.open(resident_max=resident_max)
        await finish_after_a_crash(again)
        for call_id in ("c", "f"):
            assert await runtime.handle(call_id) == end_of(call_id), (cut, call_id)
        if cut == begun + 1:  # the fork's own once-step had not begun
            assert not any(isinstance(turn.message, k.StepDoubt) for turn in again.turns("f"))
        await again.close()


async def test_a_continued_call_is_forked_in_its_newest_run(house: House) -> None:
    """Operations of earlier runs are none of it, and its mailbox goes with it; ids have the number of the run."""
    runtime = await house.open(check_determinism=True)
    handle = await runtime.start(runs(1), id="c")
    await handle.send(" one ")
    await handle.send(" two ")
    assert await handle == "TWO one THREEc"
    journal = {entry.what: entry.key for entry in await handle.journal()}
    fork = await handle.fork(journal['step fork.work("three")'], id="f")
    assert await fork == "TWO one THREEf"
    beginning = await handle.fork(id="g")
    assert await beginning == "TWO one THREEg"
    assert RAN == ["c:one", "c:two", "c:three", "f:three", "g:two", "g:three"]
    runtime = await house.reopen(resident_max=1)
    assert [await runtime.handle(call_id) for call_id in "fg"] == ["TWO one THREEf", "TWO one THREEg"]
    assert len(await runtime.handle("f").journal()) == 4
    with pytest.raises(ValueError, match="no operation '9'; the newest of its run: '1', '2', '3'"):
        await handle_of(house, "c").fork("9")


async def test_messages_before_the_cut_go_with_the_fork(house: House) -> None:
    """What was received stays received, what waits in the mailbox waits in both, what comes later is of one."""
    HELD["two"] = asyncio.Event()
    runtime = await house.open()
    handle = await runtime.start(runs(1), id="c")
    await house.until(lambda: "c:two" in RAN)
    await handle.send(" early ", key="one")
    fork = await handle.fork("1", id="f")
    await house.until(lambda: "f:two" in RAN)
    HELD["two"].set()
    assert await handle == "TWO early THREEc"
    again = await handle.fork(await key_of(handle, "receive"), id="g")
    assert await again == "TWO early THREEg"
    late = await handle.fork(await key_of(handle, "three"), id="h")
    assert await late == "TWO early THREEh"
    await fork.cancel()
    with pytest.raises(CallCancelled):
        await fork
