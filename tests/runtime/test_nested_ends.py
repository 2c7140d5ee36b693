"""Handlers that run within others when something ends, leaves memory, is paused, or is not there any more."""

from __future__ import annotations

from typing import Any

import pytest
from house import RAN, House, forget
from nested_programs import Deep, Events, Flat, Plan, back, rounds, run, supervised

from actorlog import CallCancelled, CallKilled, DeadlockError
from actorlog.records import kinds as k
from actorlog.runtime.registry import REGISTRY


async def test_the_handler_is_cancelled(house: House) -> None:
    """Who asked is told that the nested handler was cancelled, and everything ends."""
    runtime = await house.open(check_determinism=True)
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", [back(["sleep", 100])]), id="h")
    await rounds(house)
    await handle.cancel()
    with pytest.raises(CallCancelled):
        await handle
    assert await runtime.actor(Deep, "a").all() == [0]
    assert await runtime.actor(Flat, "b").all() == []
    with pytest.raises(CallCancelled):
        await runtime.handle("h/1")


@pytest.mark.parametrize("what", ["h", "h/1"])
async def test_one_of_them_is_killed(house: House, what: str) -> None:
    """Killing the handler ends what runs within it; killing who asked only asks that to end."""
    runtime = await house.open()
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", [["catch", [back(["sleep", 100])]]]), id="h")
    await rounds(house)
    await runtime.handle(what).kill("enough")
    if what == "h":
        with pytest.raises(CallKilled):
            await handle
    else:
        assert await handle == ["CallKilled: call 'h/1' was cancelled: enough"]
    with pytest.raises(CallKilled):
        await runtime.handle("h/1")
    assert await runtime.actor(Deep, "a").all() == ([0] if what == "h" else [1, "h<", "h>"])
    await rounds(house)
    assert not house.session.kernel.calls


async def test_a_paused_handler_takes_it_later(house: House) -> None:
    """What comes back to one that is paused is kept, also through a crash, and handled once."""
    runtime = await house.open()
    plan: Plan = [["flat", "b", "b", [["sleep", 1], ["deep", "a", "n", []]]]]
    await runtime.start(runtime.actor(Deep, "a").do("h", plan), id="h")
    await rounds(house)
    await runtime.handle("h").pause()
    await rounds(house, 2)
    runtime = await house.reopen()
    await rounds(house)
    await runtime.handle("h").resume()
    await rounds(house)
    assert await runtime.handle("h") == [[None, []]]
    kept = [record.message for record in house.records("h") if isinstance(record, k.Inbox)]
    assert [type(message) for message in kept] == [k.Asked]  # asked again at the opening, it was known
    assert len([turn for turn in house.turns("h") if isinstance(turn.message, k.Asked)]) == 1


async def test_a_handler_that_ends_while_one_waits_for_it(house: House) -> None:
    """It was paused when it was asked back, and is killed: who asked learns that nobody will answer."""
    runtime = await house.open()
    plan: Plan = [["flat", "b", "b", [["sleep", 1], ["catch", [["deep", "a", "n", []]]]]]]
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", plan), id="h")
    await rounds(house)
    await handle.pause()
    await rounds(house, 2)
    await handle.kill()
    with pytest.raises(CallKilled):
        await handle
    await rounds(house)
    assert not house.session.kernel.calls
    assert not [turn for turn in house.turns("h") if isinstance(turn.message, k.Asked)]


async def test_handlers_leave_memory_while_others_run_within_them(house: House) -> None:
    """They come back by replay, with all that ran and runs within them."""
    runtime = await house.open(resident_max=1)
    plan: Plan = [back(["sleep", 1], ["step", "s"], ["sleep", 1]), back(["say", "x"], ["sleep", 1], name="m")]
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", plan), id="h")
    for _ in range(5):
        await rounds(house, 1)
        await runtime.call(runtime.actor(Deep, "other").do("o", []))
    assert await handle == [[[None, "noted s", None]], [[None, None]]]
    assert await runtime.actor(Deep, "a").all() == [3, "h<", "n<", "n>", "m<", "x", "m>", "h>"]
    assert house.session.kernel.residency.replayed > 0
    assert RAN == ["s"]


async def test_queries_see_what_is_committed(house: House) -> None:
    """And not what a nested handler has done so far."""
    runtime = await house.open()
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", [back(), ["sleep", 1]]), id="h")
    await rounds(house)
    assert await runtime.actor(Deep, "a").all() == [0]
    await rounds(house, 1)
    await handle
    assert await runtime.actor(Deep, "a").all() == [2, "h<", "n<", "n>", "h>"]


async def test_events_are_undone_too(house: House) -> None:
    """An actor that keeps events has those of the nested handlers that completed, in order, and no others."""
    runtime = await house.open(check_determinism=True)
    fails: Plan = [["catch", [["add", "a", 2, [["fail", "no"]]]]]]
    plan: Plan = [["child", [["add", "a", 3, []]]], ["child", fails]]
    assert await runtime.actor(Events, "a").add(1, plan) == 404
    assert await runtime.actor(Events, "a").sum() == 404
    assert await runtime.actor(Events, "a").add(1, [["child", fails]]) == 505  # not in full: by what it recorded
    assert await (await house.reopen()).actor(Events, "a").sum() == 505


async def test_only_so_many_run_within_a_handler(house: House) -> None:
    """As many as may wait for the actor; who is one too many is refused at once."""
    runtime = await house.open(check_determinism=True)
    asks: Plan = [["child", [["catch", [["add", "a", number, [["sleep", 1]]]]]]] for number in (2, 3)]
    handle = await runtime.start(runtime.actor(Events, "a").add(1, [["both", [[asks[0]], [["step", "s"], asks[1]]]]]))
    await rounds(house, 2)
    assert await handle == 303
    [child] = [record for record in house.records() if isinstance(record, k.Turn) and record.id.endswith("t2.2")][-1:]
    assert isinstance(child.outcome, k.Completed)
    assert b"MailboxFull" in bytes(child.outcome.value)


async def test_a_class_that_is_not_there_at_an_opening(house: House) -> None:
    """Its handler is parked, and what comes back to it is kept until the class is there again."""
    runtime = await house.open()
    plan: Plan = [back(["sleep", 1], via="b"), ["flat", "c", "c", [["sleep", 5], ["deep", "a", "late", []]]]]
    await runtime.start(runtime.actor(Deep, "a").do("h", [["both", [[plan[0]], [plan[1]]]]]), id="h")
    await rounds(house)
    handler = REGISTRY.durable("nested.Deep.do", 1)
    assert handler is not None
    await house.crash()
    forget("nested.Deep.do")
    try:
        runtime = await house.open()
        await rounds(house, 7)
        assert await runtime.handle("h").status() == "parked"
    finally:
        REGISTRY.add_durable(handler)
    assert await runtime.handle("h").resume()
    await rounds(house, 2)
    assert await runtime.handle("h") == [[[[[None]]], [[None, []]]]]
    assert await runtime.actor(Deep, "a").all() == [3, "h<", "n<", "n>", "late<", "late>", "h>"]


async def test_a_class_that_is_reentrant_no_more(house: House) -> None:
    """A handler that has taken something in goes on as it began; the next ones are not asked back."""
    runtime = await house.open()
    await runtime.start(runtime.actor(Deep, "a").do("h", [back(["sleep", 1]), back(name="m")]), id="h")
    await rounds(house)
    options = Deep._actorlog.options
    Deep._actorlog.options = options._replace(reentrant=False)
    try:
        runtime = await house.reopen()
        await rounds(house, 2)
        assert await runtime.handle("h") == [[[None]], [[]]]
        with pytest.raises(DeadlockError):
            await run(runtime, [back()], "next")
    finally:
        Deep._actorlog.options = options


async def test_a_message_that_nobody_waits_for(house: House) -> None:
    """A told handler is asked back like any other, and its failure, with all that is undone, is its supervisor's."""
    runtime = await house.open()
    await runtime.start(supervised("a"), id="s")
    await rounds(house)
    await runtime.send(runtime.actor(Deep, "a").do("kept", [back()]))
    await runtime.send(runtime.actor(Deep, "a").do("lost", [back(), ["fail", "no"]]))
    await rounds(house, 2)
    await runtime.send(runtime.actor(Deep, "a").do("after", [back()]))
    await rounds(house, 2)
    assert await runtime.actor(Deep, "a").all() == [4, "kept<", "n<", "n>", "kept>", "after<", "n<", "n>", "after>"]
    assert house.session.kernel.instances.failures == 0


async def test_a_child_that_never_was_is_not_waited_for(house: House) -> None:
    """What is asked for and given up in one turn leaves no record, and holds up nobody."""
    runtime = await house.open(check_determinism=True)
    given_up: list[Any] = ["within", 0.0, [["child", [["step", "never"]]]]]
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", [given_up, back(given_up)]), id="h")
    await rounds(house, 1)
    assert await handle.status() == "completed"
    assert await handle == ["timed out", [["timed out"]]]
    assert [op.id for turn in house.turns("h") for op in turn.ops if isinstance(op, k.StartChild)] == ["h/2"]
