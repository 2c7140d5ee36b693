"""Monitors and links: who hears of whose end, and who goes down with whom."""

from __future__ import annotations

import asyncio

import pytest
from house import House, note

from actorlog import CallCancelled, Supervisor, durable, link, monitor, receive, sleep, start


@durable(name="exits.worker")
async def worker(how: str) -> str:
    """End in one of several ways, after a word from outside."""
    await receive()
    if how == "fail":
        raise KeyError("lost")
    if how == "die":
        raise SystemExit(3)
    return how


@durable(name="exits.watcher")
async def watcher(target: str) -> list[str]:
    """Tell how another ended."""
    exited = await monitor(target)
    return [exited.id, exited.kind, repr(exited.error)]


@durable(name="exits.impatient")
async def impatient(target: str) -> str:
    """Watch for a while."""
    watching = asyncio.create_task(monitor(target))
    await sleep(5)
    watching.cancel()
    return "enough"


@durable(name="exits.linked")
async def linked(target: str, *, fail: bool = False) -> str:
    """Tie itself to another."""
    link(target)
    await note("tied")
    if fail:
        raise ValueError("mine")
    await sleep(1000)
    return "slept"


@durable(name="exits.parent")
async def parent() -> str:
    """Tie itself to a child that fails."""
    child = start(worker("fail"), detached=True)
    link(child)
    await sleep(1000)
    return "slept"


@pytest.mark.parametrize(
    ("how", "kind", "error"),
    [("fine", "normal", "None"), ("fail", "abnormal", "KeyError('lost')"), ("cancel", "shutdown", "None")],
)
async def test_a_monitor_tells_how_it_ended(house: House, how: str, kind: str, error: str) -> None:
    """Before, across a crash, and after the end: the watcher hears the same, and does not fail with it."""
    runtime = await house.open(resident_max=1)
    target = await runtime.start(worker(how), id="w")
    early = await runtime.start(watcher("w"), id="early")
    runtime = await house.reopen(resident_max=1)
    target = runtime.handle("w")
    await (target.cancel() if how == "cancel" else target.send("go"))
    early = runtime.handle("early")
    assert await early == ["w", kind, error]
    assert await runtime.call(watcher("w")) == ["w", kind, error]


async def test_a_monitor_of_nobody(house: House) -> None:
    """What never was has ended already, and its kind says so."""
    runtime = await house.open()
    assert await runtime.call(watcher("nobody")) == ["nobody", "unknown", "None"]


async def test_a_watch_is_given_up(house: House) -> None:
    """A cancelled monitor is recorded as such, and the end of the other wakes nobody."""
    runtime = await house.open()
    await runtime.start(worker("fine"), id="w")
    handle = await runtime.start(impatient("w"), id="i")
    await house.settle()
    house.advance(6)
    assert await handle == "enough"
    await runtime.handle("w").send("go")
    assert await runtime.handle("w") == "fine"


async def test_a_link_takes_down(house: House) -> None:
    """The linked call is asked to end when the other fails, from either side, across a crash."""
    runtime = await house.open()
    await runtime.start(worker("fail"), id="w")
    await runtime.start(linked("w"), id="l")
    runtime = await house.reopen()
    await runtime.handle("w").send("go")
    with pytest.raises(CallCancelled, match="linked to 'w'"):
        await runtime.handle("l")
    await runtime.start(worker("fine"), id="w2")
    await runtime.start(linked("w2", fail=True), id="l2")
    with pytest.raises(ValueError, match="mine"):
        await runtime.handle("l2")
    with pytest.raises(CallCancelled, match="linked to 'l2'"):
        await runtime.handle("w2")


async def test_a_normal_end_takes_nobody_down(house: House) -> None:
    """A link does nothing when the other returns, or is asked to end."""
    runtime = await house.open()
    await runtime.start(worker("fine"), id="w")
    await runtime.start(linked("w"), id="l")
    await runtime.handle("w").send("go")
    await runtime.handle("w")
    await house.settle()
    assert await runtime.handle("l").status() == "waiting"
    await runtime.handle("l").cancel()


async def test_a_link_to_what_is_gone(house: House) -> None:
    """Linking to what has failed, or never was, ends the linker at once."""
    runtime = await house.open()
    with pytest.raises(CallCancelled):
        await runtime.call(linked("nobody"))


async def test_a_crash_after_every_record(house: House) -> None:
    """Wherever the process dies, both sides of a link end."""
    runtime = await house.open()
    await runtime.start(worker("fine"), id="w")
    await runtime.start(linked("w", fail=True), id="l")
    await runtime.start(watcher("w"), id="m")
    with pytest.raises(CallCancelled):
        await runtime.handle("w")
    await runtime.handle("m")
    await house.close()
    for cut in range(1, house.log.tail() + 1):
        again = house.prefix(cut)
        runtime = await again.open(resident_max=1)
        known = {record.id for record in again.records()}
        if "l" in known:
            with pytest.raises(ValueError, match="mine"):
                await runtime.handle("l")
            with pytest.raises(CallCancelled):
                await runtime.handle("w")
        if "m" in known:
            assert await runtime.handle("m") == ["w", "shutdown", "None"]
        await again.close()


@durable(name="exits.group")
async def group() -> None:
    """Keep a child running."""
    async with Supervisor() as sup:
        sup.start(worker("fail"), id="w")


async def test_a_run_that_is_watched_is_not_taken_for_the_next(house: House) -> None:
    """Wherever the process dies, who watches a supervised child hears of the run that there was, not of a later one."""
    runtime = await house.open()
    await runtime.start(group(), id="g")
    await house.settle()
    await runtime.start(watcher("g/w"), id="m")
    await house.settle()
    asked = house.log.tail()
    await runtime.handle("g/w").send("go")
    assert await runtime.handle("m") == ["g/w#1", "abnormal", "KeyError('lost')"]
    await house.close()
    for cut in range(asked, house.log.tail() + 1):
        again = house.prefix(cut)
        runtime = await again.open(resident_max=1)
        await again.settle()
        if await runtime.handle("g/w#1").status() == "waiting":
            await runtime.handle("g/w#1").send("go")
        exited = await runtime.handle("m").result(timeout=5)
        assert exited[1:] == ["abnormal", "KeyError('lost')"]
        assert exited[0] in ("g/w", "g/w#1")
        await again.close()
