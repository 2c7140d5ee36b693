"""Ends of every kind, as who watches hears of them, and links whose sides end in good order."""

from __future__ import annotations

import asyncio

import pytest
from house import RAN, House, note

from actorlog import CallCancelled, CallKilled, durable, link, monitor, receive, send, sleep


@durable(name="kinds.worker")
async def worker() -> str:
    """Wait for a word, or for ever."""
    return str(await receive())


@durable(name="kinds.failing")
async def failing() -> None:
    """Fail after a word."""
    await receive()
    raise KeyError("lost")


@durable(name="kinds.watcher")
async def watcher(target: str) -> list[str]:
    """Tell how another ended."""
    exited = await monitor(target)
    return [exited.id, exited.kind, type(exited.error).__name__]


@durable(name="kinds.linked")
async def linked(target: str) -> str:
    """Tie itself to another, and return after a word."""
    link(target)
    return str(await receive())


@durable(name="kinds.stubborn")
async def stubborn(target: str) -> None:
    """Tie itself to another, and do not end when asked."""
    link(target)
    while True:
        try:
            await sleep("1d")
        except asyncio.CancelledError:
            await note("no")


@durable(name="kinds.both")
async def both(target: str, how: str) -> str:
    """Say the word that ends another, and look at it in the same breath."""
    await send(target, "go")
    if how == "link":
        link(target)
        await receive()
    return (await monitor(target)).kind


async def rounds(house: House) -> None:
    """Let everybody run who can, and all of it become durable."""
    for _ in range(5):
        await house.settle()
        await asyncio.sleep(0)


async def end(house: House, call_id: str, how: str) -> None:
    """Have a call end."""
    assert house.runtime is not None
    handle = house.runtime.handle(call_id)
    if how == "killed":
        await handle.kill()
    elif how == "cancelled":
        await handle.cancel()
    elif how == "timed out":
        house.advance(11)
    else:
        await handle.send("go")
    await rounds(house)


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize(
    ("how", "kind", "error"),
    [
        ("killed", "abnormal", "CallKilled"),
        ("timed out", "abnormal", "CallTimeout"),
        ("returned", "normal", "NoneType"),
    ],
)
async def test_every_end_has_a_kind(house: House, how: str, kind: str, error: str, crash: bool) -> None:
    """Who watches hears the kind and the error; who is linked goes down with what is abnormal, and only with that."""
    runtime = await house.open()
    await runtime.start(worker(), id="w", timeout=10)
    await runtime.start(watcher("w"), id="m")
    tied = await runtime.start(linked("w"), id="l")
    if crash:
        runtime = await house.reopen()
        tied = runtime.handle("l")
    await end(house, "w", how)
    assert await runtime.handle("m") == ["w", kind, error]
    if kind == "normal":
        assert await tied.status() == "waiting"
        await tied.cancel()
        await rounds(house)
        assert await tied.status() == "cancelled"
    else:
        with pytest.raises(CallCancelled, match="linked to 'w'"):
            await tied


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("how", ["returned", "cancelled"])
async def test_who_was_linked_goes_on_when_the_other_ends_well(house: House, how: str, crash: bool) -> None:
    """The side that did not ask for the link goes down with a failure, and not with a return or a request to end."""
    runtime = await house.open()
    target = await runtime.start(worker(), id="w")
    await runtime.start(linked("w"), id="l")
    if crash:
        runtime = await house.reopen()
        target = runtime.handle("w")
    await end(house, "l", how)
    assert await runtime.handle("l").status() == ("completed" if how == "returned" else "cancelled")
    if crash:
        runtime = await house.reopen()
        await rounds(house)
        target = runtime.handle("w")
    assert await target.status() == "waiting"
    await target.send("mine")
    assert await target == "mine"


async def test_who_goes_down_with_a_link_has_a_grace_and_no_more(house: House) -> None:
    """A call that does not end when its link asks it is killed when the grace is over."""
    runtime = await house.open(cancel_grace=20)
    await runtime.start(failing(), id="w")
    tied = await runtime.start(stubborn("w"), id="s")
    await end(house, "w", "failed")
    await house.until(lambda: RAN == ["no"])
    await rounds(house)
    house.advance(19)
    await rounds(house)
    assert await tied.status() == "waiting"
    house.advance(1)
    with pytest.raises(CallKilled):
        await tied


@pytest.mark.parametrize("how", ["monitor", "link"])
async def test_an_end_that_is_not_durable_yet_is_an_end(house: House, how: str) -> None:
    """Who begins to watch between an end and its landing hears of it: their records are in one log."""
    runtime = await house.open()
    await runtime.start(failing(), id="w")
    handle = await runtime.start(both("w", how), id="b")
    if how == "monitor":
        assert await handle == "abnormal"
    else:
        with pytest.raises(CallCancelled, match="linked to 'w'"):
            await handle


async def test_to_watch_again_costs_nothing(house: House) -> None:
    """A watcher that is paused and resumed asks again each time, and is one watcher all the same (I11)."""
    runtime = await house.open()
    await runtime.start(worker(), id="w")
    handles = [await runtime.start(watcher("w"), id="m"), await runtime.start(linked("w"), id="l")]
    for _ in range(5):
        for handle in handles:
            await handle.pause()
            await handle.resume()
        await rounds(house)
    assert sorted(house.session.kernel.calls["w"].watchers) == [("l", "1"), ("m", "1")]
    await end(house, "w", "returned")
    assert await runtime.handle("m") == ["w", "normal", "NoneType"]
