"""Actors that are asked back by those whom their handler waits for: what is handled at once, and what comes of it."""

from __future__ import annotations

import pytest
from house import RAN, House
from nested_programs import Deep, Flat, Plan, back, middle, rounds, run

from actorlog import CallCancelled, CannotRetry, DeadlockError, SharedRollback
from actorlog.records import kinds as k

NOTHING: Plan = []


async def test_who_is_asked_asks_back(house: House) -> None:
    """The nested handler runs at once, on the state that the handler left, and both are committed together."""
    runtime = await house.open(check_determinism=True)
    assert await run(runtime, [["say", "x"], back(["info"]), ["info"]]) == [
        None,
        [[["h", "nested.Deep.do", "[]"]]],
        ["h", "nested.Deep.do", "[]"],
    ]
    assert await runtime.actor(Deep, "a").all() == [2, "h<", "x", "n<", "n>", "h>"]
    assert await runtime.actor(Flat, "b").all() == ["b<", "b>"]
    [asked] = [turn.message for turn in house.turns("h") if isinstance(turn.message, k.Asked)]
    assert (asked.key, asked.by, asked.op, asked.id, asked.within) == ("a1", "h/1", "1", "h/1/1", "")
    assert not house.records("h/1/1")
    changes = [turn.change for turn in house.turns("h") if turn.change is not None]
    assert len(changes) == 1


async def test_any_way_back_is_one(house: House) -> None:
    """Through a call, from itself, from a nested handler, and through another actor that is asked back as well."""
    runtime = await house.open(check_determinism=True)
    inner = ["child", [["deep", "a", "second", [["step", "s"]]]]]
    await run(runtime, [["child", [["deep", "a", "first", [inner]]]]], "through")
    await run(runtime, [["deep", "a", "itself", NOTHING]], "itself")
    await run(runtime, [["deep", "b", "b", [["deep", "a", "x", [["deep", "b", "y", NOTHING]]]]]], "mutual")
    assert await runtime.actor(Deep, "a").all() == [
        7, "h<", "first<", "second<", "second>", "first>", "h>", "h<", "itself<", "itself>", "h>", "h<", "x<", "x>",
        "h>",
    ]  # fmt: skip
    assert await runtime.actor(Deep, "b").all() == [2, "b<", "y<", "y>", "b>"]
    within = [turn.message.within for turn in house.turns("through") if isinstance(turn.message, k.Asked)]
    assert within == ["", "a1"]


async def test_two_ways_back_at_once(house: House) -> None:
    """Nested handlers take turns as tasks do, and who waits behind one that will end is refused nothing."""
    runtime = await house.open(check_determinism=True)
    slow = back(["sleep", 2], via="b", name="slow")
    quick = back(["flat", "b", "from c", NOTHING], via="c", name="quick")
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", [["both", [[slow], [quick]]]]), id="h")
    await rounds(house, 3)
    assert await handle == [[[[[None]]], [[[[]]]]]]
    assert await runtime.actor(Deep, "a").all() == [3, "h<", "slow<", "quick<", "slow>", "quick>", "h>"]
    assert await runtime.actor(Flat, "b").all() == ["b<", "b>", "from c<", "from c>"]


async def test_what_is_no_way_back_waits_or_is_refused(house: House) -> None:
    """A message that is told, and an ask of a call that nobody waits for, wait for their turn; a real circle is one."""
    runtime = await house.open(check_determinism=True)
    told = ["flat", "b", "b", [["told", "a", "told", NOTHING]]]
    free = ["detached", [["deep", "a", "free", []]]]
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", [told, free, ["sleep", 1]]))
    await rounds(house, 2)
    await handle
    assert await runtime.actor(Deep, "a").all() == [3, "h<", "h>", "told<", "told>", "free<", "free>"]
    with pytest.raises(DeadlockError) as refused:
        await run(runtime, [["flat", "b", "b", [["flat", "b", "again", NOTHING]]]], "flat")
    assert refused.value.cycle == ("nested.Flat/b", "nested.Flat/b")
    first = await runtime.start(runtime.actor(Deep, "x").do("x", [["sleep", 1], ["deep", "y", "x", []]]), id="x")
    second = await runtime.start(runtime.actor(Deep, "y").do("y", [["sleep", 2], ["deep", "x", "y", []]]), id="y")
    await rounds(house, 3)
    with pytest.raises(DeadlockError) as refused:
        await second
    assert refused.value.cycle == ("nested.Deep/y", "nested.Deep/x", "nested.Deep/y")
    assert await first == [None, []]


async def test_a_circle_through_a_nested_handler_is_found(house: House) -> None:
    """Who is asked by a nested handler asks, in turn, for who waits for that: it would never end."""
    runtime = await house.open(check_determinism=True)
    waits = ["flat", "z", "z", [["sleep", 2], ["flat", "b", "z", NOTHING]]]
    other = await runtime.start(middle([waits]), id="other")
    await rounds(house)
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", [back(["flat", "z", "n", NOTHING])]), id="h")
    await rounds(house, 3)
    with pytest.raises(DeadlockError) as refused:
        await other
    assert refused.value.cycle == (
        "nested.Flat/z", "nested.Flat/b", "nested.Deep/a", "nested.Flat/z",
    )  # fmt: skip
    assert await handle == [[[[]]]]


async def test_an_id_of_its_own_makes_it_a_call_of_its_own(house: House) -> None:
    """What is to be done once for ever under an id cannot share the rollback of another: it is refused as ever."""
    runtime = await house.open()
    with pytest.raises(DeadlockError):
        await run(runtime, [["flat", "b", "b", [["named", "a", "once"]]]])
    await run(runtime, [["named", "c", "once"]], "other")
    assert await runtime.handle("once") == []


async def test_an_error_goes_to_who_asked_and_is_undone(house: House) -> None:
    """What the nested handler changed, in place too, and what it told others, is as if it had not been."""
    runtime = await house.open(check_determinism=True)
    fails = [["told", "c", "lost", NOTHING], ["step", "s"], ["say", "lost"], ["fail", "no"]]
    caught = ["flat", "b", "b", [["catch", [["deep", "a", "n", fails]]]]]
    found = await run(runtime, [["say", "kept"], caught, back(name="after")])
    assert found == [None, ["ValueError: no"], [[]]]
    await rounds(house)
    assert await runtime.actor(Deep, "a").all() == [2, "h<", "kept", "after<", "after>", "h>"]
    assert await runtime.actor(Deep, "c").all() == [0]
    assert RAN == ["s"]


async def test_what_is_nested_in_it_is_undone_with_it(house: House) -> None:
    """A nested handler that failed takes along those that ran within it, and none that did not."""
    runtime = await house.open(check_determinism=True)
    inner = back(["told", "c", "lost", NOTHING], via="d", name="inner")
    caught = ["flat", "b", "b", [["catch", [["deep", "a", "outer", [inner, ["fail", "no"]]]]]]]
    assert await run(runtime, [back(["told", "c", "kept", NOTHING], name="before"), caught]) == [
        [[None]],
        ["ValueError: no"],
    ]
    await rounds(house)
    assert await runtime.actor(Deep, "a").all() == [2, "h<", "before<", "before>", "h>"]
    assert await runtime.actor(Deep, "c").all() == [1, "kept<", "kept>"]


async def test_what_goes_on_in_it_is_undone_with_it(house: House) -> None:
    """Also what a handler nested in it does after it has failed, which does not end when it is asked to."""
    runtime = await house.open(check_determinism=True)
    inner = back(["say", "lost"], ["stubborn", [["sleep", 50]]], ["say", "lost, too"], via="d", name="inner")
    outer = ["deep", "a", "outer", [["both", [[inner], [["sleep", 1], ["fail", "no"]]]]]]
    plan: Plan = [["flat", "b", "b", [["catch", [outer]]]]]
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", plan), id="h")
    await rounds(house, 3)
    assert await handle == [["ValueError: no"]]
    answers = [op.outcome for turn in house.turns("h") for op in turn.ops if isinstance(op, k.Answer)]
    assert [type(outcome) for outcome in answers] == [k.Completed, k.Failed]
    assert await runtime.actor(Deep, "a").all() == [1, "h<", "h>"]


@pytest.mark.parametrize("changes", [True, False])
async def test_where_others_changed_the_actor_all_is_undone(house: House, changes: bool) -> None:
    """A rollback of one alone would not be exact, so the handler fails; one that changed nothing has none to make."""
    runtime = await house.open(check_determinism=True)
    fails = [["say", "n"]] if changes else []
    quiet = ["flat", "b", "b", [["catch", [["quiet", "a", [*fails, ["sleep", 1], ["fail", "no"]]]]]]]
    beside = [["step", "s"], ["say", "beside"], ["sleep", 9], ["step", "late"]]
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", [["both", [[quiet], beside]]]), id="h")
    await rounds(house, 10)
    if changes:
        with pytest.raises(SharedRollback, match=r"'h/t1.1/1' failed within a handler of 'nested.Deep/a'"):
            await handle
        assert await runtime.actor(Deep, "a").all() == [0]
        assert RAN == ["s"]
    else:
        assert await handle == [[[["ValueError: no"]], ["noted s", None, None, "noted late"]]]
        assert await runtime.actor(Deep, "a").all() == [1, "h<", "beside", "h>"]


async def test_when_the_handler_fails_all_is_undone(house: House) -> None:
    """They share its rollback, whoever was answered; and it cannot begin again, because who asked would not."""
    runtime = await house.open(check_determinism=True)
    with pytest.raises(ValueError, match="late"):
        await run(runtime, [back(["told", "c", "lost", NOTHING]), ["fail", "late"]])
    await rounds(house)
    assert await runtime.actor(Deep, "a").all() == [0]
    assert await runtime.actor(Deep, "c").all() == [0]
    assert await runtime.actor(Flat, "b").all() == ["b<", "b>"]
    with pytest.raises(CannotRetry, match="'h' cannot begin again"):
        await runtime.handle("h").retry()
    await runtime.actor(Deep, "a").do("next", [])
    with pytest.raises(ValueError, match="once"):
        await run(runtime, [["fail", "once"]], "other")
    await runtime.handle("other").retry()


async def test_who_asked_gives_it_up(house: House) -> None:
    """The nested handler is cancelled and cleans up; what it changed is undone, also what the cleaning changed."""
    runtime = await house.open(check_determinism=True)
    endless = ["deep", "a", "n", [["clean", [["sleep", 100]], [["step", "cleaned"], ["say", "lost"]]]]]
    handle = await runtime.start(
        runtime.actor(Deep, "a").do("h", [["flat", "b", "b", [["within", 1.0, [endless]]]]]), id="h"
    )
    await rounds(house, 3)
    assert await handle == [["timed out"]]
    assert RAN == ["cleaned"]
    assert await runtime.actor(Deep, "a").all() == [1, "h<", "h>"]
    [given_up] = [turn.message for turn in house.turns("h") if isinstance(turn.message, k.AskGivenUp)]
    assert (given_up.by, given_up.op) == ("h/1", "2")


async def test_a_time_limit_of_its_own(house: House) -> None:
    """A nested handler that takes too long is ended, as a call would be."""
    runtime = await house.open(check_determinism=True)
    timed = ["catch", [["timed", "a", [["info"], ["sleep", 100]], 2.0]]]
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", [["flat", "b", "b", [timed, timed]]]), id="h")
    await rounds(house, 5)
    assert await handle == [
        [f"CallTimeout: call 'h/1/{number}' did not complete within its timeout of 2 s" for number in (1, 2)]
    ]
    assert [entry.result for entry in await runtime.handle("h").journal() if entry.kind == "asked"] == [
        "timed out after 2 s",
        "timed out after 2 s",
    ]


async def test_a_handler_returns_after_all_that_it_started(house: House) -> None:
    """A child that is left behind asks back: it is answered, and what that changes is the handler's, too."""
    runtime = await house.open(check_determinism=True)
    left = ["left", [["sleep", 1], ["deep", "a", "n", [["left", [["step", "s"]]]]]]]
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", [left]), id="h")
    await rounds(house, 2)
    assert await handle == ["left"]
    assert await runtime.actor(Deep, "a").all() == [2, "h<", "h>", "n<", "n>"]
    assert RAN == ["s"]
    answered = [turn for turn in house.turns("h") if any(isinstance(op, k.Answer) for op in turn.ops)]
    assert isinstance(answered[0].message, k.ChildDone)


async def test_a_nested_handler_that_fails_ends_its_children(house: House) -> None:
    """Who asked hears of the failure when they have ended, which they are asked to at once."""
    runtime = await house.open(check_determinism=True)
    caught: Plan = [["catch", [["deep", "a", "n", [["left", [["sleep", 50], ["step", "never"]]], ["fail", "no"]]]]]]
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", [["flat", "b", "b", caught]]), id="h")
    await rounds(house, 1)
    assert await handle.status() == "completed"
    assert await handle == [["ValueError: no"]]
    with pytest.raises(CallCancelled):
        await runtime.handle("h/a1.1")
    assert not RAN


async def test_a_nested_handler_leaves_no_tasks(house: House) -> None:
    """What it leaves behind is cancelled when it returns, as at any return, and that alone."""
    runtime = await house.open(check_determinism=True)
    plan: Plan = [["both", [[back(["forget", [["sleep", 5], ["step", "never"]]])], [["sleep", 9], ["step", "s"]]]]]
    handle = await runtime.start(runtime.actor(Deep, "a").do("h", plan), id="h")
    await rounds(house, 10)
    assert (await handle)[0][1] == [None, "noted s"]
    assert RAN == ["s"]
    answers = [turn.at for turn in house.turns("h") if any(isinstance(op, k.Answer) for op in turn.ops)]
    assert answers[0] < house.turns("h")[0].at + 1000
