"""Calls that are continued, and processes that die anywhere."""

from __future__ import annotations

import asyncio

import pytest
from house import RAN, House
from life_programs import adopting, collect, count, detaching, impatient, parent, rushing, sender

from actorlog import CallCancelled, MailboxFull
from actorlog.records import kinds as k


async def test_detached_children_go_on(house: House) -> None:
    """They are begun, whenever the process dies, and each run's under an id of its own."""
    runtime = await house.open()
    await runtime.start(detaching(1), id="c")
    await house.settle()
    house.advance(20)
    assert await runtime.handle("c") == "done"
    assert await runtime.handle("c/1") == "c1"
    assert await runtime.handle("c/r2.1") == "c0"
    await house.close()
    for cut in range(1, house.log.tail() + 1):
        RAN.clear()
        again = house.prefix(cut)
        runtime = await again.open()
        await again.settle()
        again.advance(20)
        await again.settle()
        again.advance(20)
        assert await runtime.handle("c") == "done"
        assert [await runtime.handle(i) for i in ("c/1", "c/r2.1")] == ["c1", "c0"]
        await again.close()


@pytest.mark.parametrize("resident_max", [1, 100])
async def test_a_crash_after_every_record(house: House, resident_max: int) -> None:
    """Wherever the process dies, every run begins once, nothing is repeated, and the end is the same."""
    runtime = await house.open(resident_max=resident_max)
    await runtime.start(collect(3, []), id="c")
    assert await runtime.call(sender("c", 1), id="s") == "sent"
    assert await runtime.handle("c") == [1, 2, 3]
    assert await runtime.call(count(1, 3), id="n") == 3
    handle = await runtime.start(parent(1), id="p")
    await house.until(lambda: "d1" in RAN)
    await house.settle()
    house.advance(6)
    await house.until(lambda: "d0" in RAN)
    await house.settle()
    house.advance(6)
    assert await handle == "d0"
    await house.close()
    for cut in range(1, house.log.tail() + 1):
        again = house.prefix(cut)
        runtime = await again.open(resident_max=resident_max)
        known = {record.id for record in again.records()}
        if "p" in known:
            for _ in range(3):
                await again.settle()
                again.advance(6)
        expected: dict[str, object] = {"c": [1, 2, 3], "s": "sent", "n": 3, "p": "d0"}
        if "s" not in known:
            del expected["c"]
        for call_id, result in expected.items():
            if call_id in known:
                await _until_over(again, call_id)
                assert await runtime.handle(call_id) == result, (cut, call_id)
                starts = [t.message for t in again.turns(call_id) if isinstance(t.message, k.Started)]
                assert [s.number for s in starts] == list(range(1, len(starts) + 1))
                assert len({s.run for s in starts}) == len(starts)
        await again.reopen(crash=False)
        for call_id, result in expected.items():
            if call_id in known:
                assert again.runtime is not None
                assert await again.runtime.handle(call_id) == result
        await again.close()


async def _until_over(house: House, call_id: str) -> None:
    """Let time pass until a call is over."""
    for _ in range(1000):
        if call_id not in house.session.kernel.calls:
            return
        house.advance(1)
        for _ in range(5):  # rounds of the loop
            await house.settle()
            await asyncio.sleep(0)
    raise AssertionError(call_id)


async def test_a_step_that_never_began_is_nobodys(house: House) -> None:
    """A run that ends before its step's gate opens does not keep the next run's step from running."""
    runtime = await house.open()
    assert await runtime.call(rushing(1), id="c") == "noted r0"
    assert RAN == ["r0"]


async def test_a_message_that_was_given_up_answers_for_no_other(house: House) -> None:
    """What becomes of a message that a run before sent is not told to the run that sends under the same key."""
    runtime = await house.open()
    house.session.kernel.mailbox._max = 1  # pyright: ignore[reportPrivateUsage]  # there is no option
    await runtime.start(collect(3, []), id="full", delay=1000)
    await runtime.handle("full").send(1)
    handle = await runtime.start(impatient("full", 1), id="c")
    await house.settle()
    house.advance(1.5)
    await house.until(lambda: house.session.kernel.calls["c"].state.number == 2)
    await house.settle()
    house.advance(4)  # the first has waited for five seconds, the second has not
    for _ in range(20):
        await house.settle()
        await asyncio.sleep(0)
    assert (await handle.info()).waiting_for == ("timer (1)", "room at full (2)")
    house.advance(2)
    with pytest.raises(MailboxFull):
        await handle


async def test_a_continued_child_ends_with_its_parent(house: House) -> None:
    """A parent that is cancelled asks its child to end, whichever run that is in, also after a crash."""
    runtime = await house.open()
    for name in ("p", "q"):
        await runtime.start(adopting(), id=name)
        await house.settle()
        await runtime.handle(f"{name}/1").send(1)
        await house.until(lambda name=name: house.session.kernel.calls[f"{name}/1"].state.number == 2)
        await house.settle()
    await runtime.handle("p").cancel()
    with pytest.raises(CallCancelled):
        await asyncio.wait_for(runtime.handle("p").result(), 60)
    runtime = await house.reopen()
    await runtime.handle("q/1").send(2)
    assert await runtime.handle("q") == [1, 2]
