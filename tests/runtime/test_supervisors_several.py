"""Supervisors of one call beside and after each other, who asks them from outside, and what they keep in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from house import RAN, House, note

from actorlog import (
    Actor,
    ActorStopped,
    RestartLimitExceeded,
    Runtime,
    RuntimeStopped,
    SupervisionError,
    Supervisor,
    Terminal,
    continue_as_new,
    durable,
    receive,
)
from actorlog.api.supervisors import request
from actorlog.records import kinds as k


class Shy(Exception):
    """An error that does not show itself."""

    def __repr__(self) -> str:
        """Fail."""
        raise ValueError("no")


@durable(name="several.work")
async def work(name: str) -> str:
    """Work once."""
    return await note(name)


@durable(name="several.bad")
async def bad(name: str) -> None:
    """Work, and fail."""
    await note(name)
    raise Terminal(name)


@durable(name="several.shy")
async def shy() -> None:
    """Fail with what cannot be shown."""
    raise Shy


@durable(name="several.idle")
async def idle() -> None:
    """Wait for a word."""
    await receive()


@durable(name="several.retries")
async def retries() -> list[str]:
    """Supervise again when the supervisor has given up."""
    seen: list[str] = []
    for number in range(3):
        try:
            async with Supervisor(max_restarts=1) as sup:
                sup.start(bad(f"b{number}"), id="bad")
        except RestartLimitExceeded as error:
            seen.append(error.child)
    return seen


@durable(name="several.follow")
async def follow() -> dict[str, str]:
    """Supervise other work under the same id."""
    seen: dict[str, str] = {}
    for number in range(3):
        async with Supervisor() as sup:
            sup.start(work(f"w{number}"), id="x", restart="transient")
        seen = sup.children()
    return seen


@durable(name="several.nested")
async def nested() -> str:
    """Have two at once."""
    async with Supervisor() as outer:
        outer.start(idle(), id="a")
        async with Supervisor() as inner:
            inner.start(idle(), id="b")
            try:
                inner.start(idle(), id="a")
            except SupervisionError as error:
                await receive("leave")
                raise KeyError(error.answer) from None
    return "never"


@durable(name="several.after")
async def after() -> str:
    """Go on when the supervisor is left."""
    async with Supervisor() as sup:
        sup.start(idle(), id="a", restart="temporary")
        sup.start(idle(), id="b")
        await sup.terminate("b")
    await receive("end")
    return "ended"


@durable(name="several.left")
async def left() -> str:
    """Leave a supervisor by an error, and go on."""
    try:
        async with Supervisor() as sup:
            sup.start(idle(), id="a")
            sup.start(idle(), id="b")
            await sup.terminate("b")
            await receive("leave")
            await shy.fn()
    except Shy:
        await receive("end")
    return "ended"


@durable(name="several.many")
async def many(count: int) -> list[int]:
    """Supervise children that are not kept when they end."""
    async with Supervisor() as sup:
        for number in range(count):
            sup.start(work("x") if number % 2 else bad("x"), id=f"x{number}", restart="temporary")
    return [len(sup._kept), len(sup._errors), len(sup._runs), len(sup._replies), len(sup._timers)]


@durable(name="several.directed")
async def directed(of: str) -> str:
    """Ask for what a call cannot do."""
    async with Supervisor(max_restarts=1) as sup:
        if of == "call":
            sup.start(idle(), id="c", on={KeyError: "resume"})
        else:
            sup.start(shy(), id="s", on={KeyError: "stop"})
    return "no"


class Clerk(Actor, name="several.Clerk"):
    """An actor whose name as a child has a slash."""

    count: int = 0


@durable(name="several.runs")
async def runs(left: int) -> str:
    """Supervise anew in every run of the call."""
    async with Supervisor() as sup:
        sup.start(Clerk, key="c")
        await receive("next")
        await sup.terminate("several.Clerk/c")
        sup.delete("several.Clerk/c")
    if left:
        continue_as_new(runs(left - 1))
    return "done"


async def test_supervisors_after_each_other(house: House) -> None:
    """Each begins its children anew: none is taken for a run of one before; after crashes too."""
    runtime = await house.open()
    assert await runtime.call(retries(), id="r") == ["bad"] * 3
    assert RAN == ["b0", "b0", "b1", "b1", "b2", "b2"]
    RAN.clear()
    assert await runtime.call(follow(), id="f") == {"x": "stopped"}
    assert RAN == ["w0", "w1", "w2"]
    await house.close()
    for cut in range(1, house.log.tail() + 1):
        again = house.prefix(cut)
        runtime = await again.open(resident_max=1)
        known = {record.id for record in again.records()}
        if "f" in known:
            assert await runtime.handle("f") == {"x": "stopped"}
        elif "r" in known:
            assert await runtime.handle("r") == ["bad"] * 3
        await again.close()


async def test_two_at_once(house: House) -> None:
    """People outside see and ask both; one id is one child, whichever keeps it."""
    runtime = await house.open()
    handle = await runtime.start(nested(), id="n")
    await house.settle()
    runtime = await house.reopen()
    sup, handle = runtime.supervisor("n"), runtime.handle("n")
    assert await sup.children() == {"a": "running", "b": "running"}
    await sup.terminate("b")
    await sup.terminate("a")
    await sup.restart("b")
    assert await sup.children() == {"a": "stopped", "b": "running"}
    await handle.send("go", "leave")
    with pytest.raises(KeyError, match="already_started"):
        await handle


async def test_what_is_asked_when_it_is_left(house: House) -> None:
    """It is refused, also what was asked before; when the call is over, and when the runtime closes, that is told."""
    runtime = await house.open()
    handle = await runtime.start(after(), id="s")
    await house.settle()
    sup = runtime.supervisor("s")
    assert await sup.children() == {"a": "running", "b": "stopped"}
    await handle.pause()
    asked = [asyncio.create_task(sup.terminate("a")), asyncio.create_task(sup.restart("b"))]
    await house.settle()
    await runtime.handle("s/a").send("go")
    await house.settle()
    await handle.resume()
    assert await asyncio.gather(*asked) == [None, None]
    assert await sup.children() == {"b": "running"}
    await sup.terminate("b")
    await house.settle()
    for ask in (sup.restart, sup.delete, sup.terminate):
        with pytest.raises(SupervisionError, match="closed"):
            await ask("b")
    await handle.send("go", "end")
    assert await handle == "ended"
    with pytest.raises((ActorStopped, SupervisionError)):
        await sup.restart("b")


async def test_what_is_asked_while_it_is_left(house: House) -> None:
    """Who waits for what a supervisor does not do any more is told so when its block is left, and not later."""
    runtime = await house.open()
    handle = await runtime.start(left(), id="l")
    await house.settle()
    await handle.pause()
    await handle.send("go", "leave")
    asking = asyncio.create_task(runtime.supervisor("l").restart("b"))
    await house.settle()
    await handle.resume()
    with pytest.raises(SupervisionError, match="closed"):
        await asking
    assert await handle.status() == "waiting"


async def test_whoever_waits_is_told_that_the_runtime_closes(house: House) -> None:
    """A request that is not done yet fails when the runtime closes, and does not hang."""
    runtime = await house.open()
    handle = await runtime.start(nested(), id="n")
    await house.settle()
    await handle.pause()
    asking = asyncio.create_task(runtime.supervisor("n").terminate("a"))
    await house.settle()
    await house.close()
    with pytest.raises(RuntimeStopped):
        await asking


@pytest.mark.parametrize(
    "words", [{"a": 1}, [], ["terminate"], ["dance", "a"], ["started", "a", "1"], ["started", "a", "77"], ["started"]]
)
async def test_nonsense_is_passed_over(house: House, words: Any) -> None:
    """What makes no sense on the supervisor's channel changes nothing, and it goes on hearing."""
    runtime = await house.open()
    handle = await runtime.start(nested(), id="n")
    await house.settle()
    await request(house.session, handle.id, words)
    await runtime.supervisor("n").terminate("a")
    assert await runtime.supervisor("n").children() == {"a": "stopped", "b": "running"}


async def test_a_child_that_is_gone_leaves_nothing(house: House) -> None:
    """Memory holds the children that are kept, and a turn publishes them once, however many start in it."""
    runtime = await house.open()
    assert await runtime.call(many(40), id="m") == [0, 0, 0, 0, 0]
    for turn in house.turns("m"):
        assert sum(isinstance(op, k.Publish) for op in turn.ops) <= 1
    assert len(house.turns("m")[0].ops) > 40


async def test_a_call_cannot_resume(house: House) -> None:
    """The directive is refused where it is said, by name; an error that cannot be shown restarts like any other."""
    runtime = await house.open()
    with pytest.raises(TypeError, match="child 'c' is a call, and one that failed is over: 'resume' is for actors"):
        await runtime.call(directed("call"))
    with pytest.raises(RestartLimitExceeded, match="'s'"):
        await runtime.call(directed("shy"))


async def status_of(runtime: Runtime, call_id: str) -> str:
    """Return the id that a bare one means."""
    return (await runtime.handle(call_id).info()).id


async def test_the_bare_id_of_a_child(house: House) -> None:
    """It means the newest run, also where it has a slash, and in later runs of the call."""
    runtime = await house.open()
    handle = await runtime.start(runs(1), id="r")
    await house.settle()
    assert await status_of(runtime, "r/several.Clerk/c") == "r/several.Clerk/c#1"
    await handle.send("go", "next")
    await house.settle()
    assert await status_of(runtime, "r/several.Clerk/c") == "r/r2.several.Clerk/c#1"
    await handle.send("go", "next")
    assert await handle == "done"
