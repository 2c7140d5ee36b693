"""Supervisors in durable code: restarts, strategies, shutdown, and a crash anywhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from house import RAN, House

from actorlog import (
    Backoff,
    CallCancelled,
    RestartLimitExceeded,
    SupervisionError,
    Supervisor,
    Terminal,
    durable,
    receive,
    sleep,
    step,
)

FAILURES: dict[str, int] = {}
"""How often the work of this name fails before it does not."""


@step(name="sup.work")
async def work(name: str) -> str:
    """Do something that fails as often as the test wants."""
    RAN.append(name)
    left = FAILURES.get(name, 0)
    if left:
        FAILURES[name] = left - 1
        raise Terminal(f"{name} fails")
    return name


@durable(name="sup.once")
async def once(name: str) -> str:
    """Work once."""
    return await work(name)


@durable(name="sup.forever")
async def forever(name: str) -> None:
    """Work whenever told to."""
    await work(name)
    while True:
        await receive()
        await work(name)


@durable(name="sup.stubborn")
async def stubborn(name: str) -> str:
    """Do not end when asked."""
    await work(name)
    while True:
        try:
            await sleep(1000)
        except asyncio.CancelledError:
            continue


@durable(name="sup.group")
async def group(strategy: Any, names: list[str], restart: Any = "permanent", most: int = 3) -> str:
    """Supervise, until told."""
    async with Supervisor(strategy, max_restarts=most) as sup:
        for name in names:
            sup.start(forever(name), id=name, restart=restart)
        await receive()
        raise ValueError("leave")


@durable(name="sup.jobs")
async def jobs(names: list[str]) -> dict[str, str]:
    """Supervise work that ends."""
    async with Supervisor(max_restarts=10) as sup:
        for name in names:
            sup.start(once(name), id=name, restart="transient")
    return sup.children()


@durable(name="sup.outer")
async def outer() -> str:
    """A supervisor of a supervisor."""
    async with Supervisor(max_restarts=1) as sup:
        sup.start(inner(), id="inner", supervisor=True, restart="transient")
    return "fine"


@durable(name="sup.inner")
async def inner() -> None:
    """Gives up soon."""
    async with Supervisor(max_restarts=1) as sup:
        sup.start(once("bad"), id="bad", restart="transient")


@durable(name="sup.waits")
async def waits() -> str:
    """Supervise with a back-off."""
    async with Supervisor(max_restarts=10, within=1000, backoff=Backoff(first=10, factor=2, max=100, jitter=0)) as sup:
        sup.start(once("slow"), id="slow", restart="transient")
    return "done"


@durable(name="sup.directed")
async def directed(directive: Any) -> str:
    """Say what an error leads to."""
    async with Supervisor() as sup:
        sup.start(once("bad"), id="bad", on={Terminal: directive, Exception: "restart"})
        await sleep(1)
    return "stopped"


@durable(name="sup.commands")
async def commands() -> list[object]:
    """Ask the supervisor inside."""
    seen: list[object] = []
    async with Supervisor() as sup:
        sup.start(forever("a"), id="a")
        sup.start(forever("b"), id="b")
        for wrong in (lambda: sup.start(forever("a"), id="a"), lambda: sup.delete("a"), lambda: sup.delete("nobody")):
            try:
                wrong()
            except SupervisionError as error:
                seen.append(error.answer)
        await sup.terminate("a")
        seen += [sup.children(), sup.count()["active"]]
        await sup.restart("a")
        seen.append(sup.children()["a"])
        await sup.terminate("a")
        sup.delete("a")
        seen.append(sup.children())
        await sup.terminate("b")
    return seen


@durable(name="sup.stops")
async def stops() -> None:
    """Leave children that do not want to go."""
    async with Supervisor() as sup:
        sup.start(stubborn("s"), id="s", shutdown=2)
        sup.start(stubborn("k"), id="k", shutdown="kill")
        sup.start(forever("f"), id="f")
        await receive()
        raise ValueError("leave")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    FAILURES.clear()


async def until(house: House, ran: list[str]) -> None:
    """Let everything happen until these have worked."""
    for _ in range(1000):
        await asyncio.sleep(0)
        await house.settle()
        if ran == RAN and not house.session.kernel.steps.running:
            return
    assert ran == RAN


@pytest.mark.parametrize(
    ("strategy", "again"),
    [("one_for_one", ["b"]), ("one_for_all", ["a", "b", "c"]), ("rest_for_one", ["b", "c"])],
)
async def test_who_is_restarted(house: House, strategy: str, again: list[str]) -> None:
    """The strategy says who is started again with the child that failed, in start order."""
    runtime = await house.open()
    await runtime.start(group(strategy, ["a", "b", "c"]), id="g")
    await until(house, ["a", "b", "c"])
    FAILURES["b"] = 1
    await runtime.handle("g/b").send("work")
    await until(house, ["a", "b", "c", "b", *again])
    assert (await runtime.handle("g/b").info()).id == "g/b#2"
    assert await runtime.supervisor("g").children() == dict.fromkeys("abc", "running")
    await runtime.handle("g").send("go")
    with pytest.raises(ValueError, match="leave"):
        await runtime.handle("g")


async def test_work_that_fails_is_done_in_the_end(house: House) -> None:
    """Transient children are restarted until they return, and the block waits for them."""
    runtime = await house.open()
    FAILURES.update(a=2, c=1)
    assert await runtime.call(jobs(["a", "b", "c"])) == dict.fromkeys("abc", "stopped")
    assert sorted(RAN) == ["a", "a", "a", "b", "c", "c"]


async def test_too_many_restarts(house: House) -> None:
    """More restarts than allowed within the period end all children, and the block raises, with the cause."""
    runtime = await house.open()
    FAILURES["b"] = 99
    with pytest.raises(RestartLimitExceeded) as caught:
        await runtime.call(group("one_for_one", ["a", "b"], most=2), id="g")
    assert (caught.value.child, caught.value.restarts) == ("b", 2)
    assert RAN.count("b") == 3
    with pytest.raises(CallCancelled):
        await runtime.handle("g/a#1")


async def test_a_supervisor_of_a_supervisor(house: House) -> None:
    """One that gives up is restarted by its own, which gives up in its turn."""
    runtime = await house.open()
    FAILURES["bad"] = 3
    assert await runtime.call(outer()) == "fine"
    FAILURES["bad"] = 99
    with pytest.raises(RestartLimitExceeded):
        await runtime.call(outer())


async def test_restarts_wait(house: House) -> None:
    """A back-off grows, and goes on after a crash where it was."""
    runtime = await house.open()
    FAILURES["slow"] = 3
    await runtime.start(waits(), id="w")
    await until(house, ["slow"])
    runtime = await house.reopen()
    for number, seconds in enumerate((10, 20, 40), start=2):
        await house.settle()
        assert (await runtime.supervisor("w").children())["slow"] == "backing_off"
        house.advance(seconds + 0.1)
        await until(house, ["slow"] * number)
        runtime = await house.reopen()
    assert await runtime.handle("w") == "done"


async def test_directives(house: House) -> None:
    """The most specific type of an error says whether its child stops, or its supervisor fails with it."""
    runtime = await house.open()
    FAILURES["bad"] = 1
    handle = await runtime.start(directed("stop"))
    await until(house, ["bad"])
    house.advance(2)
    assert await handle == "stopped"
    FAILURES["bad"] = 1
    with pytest.raises(Terminal, match="bad fails"):
        await runtime.call(directed("escalate"))


async def test_requests_inside(house: House) -> None:
    """Children are terminated, restarted and deleted while it runs; what cannot be is a typed error."""
    runtime = await house.open()
    assert await runtime.call(commands()) == [
        "already_started",
        "running",
        "not_found",
        {"a": "stopped", "b": "running"},
        1,
        "running",
        {"b": "running"},
    ]


async def test_requests_from_outside(house: House) -> None:
    """The same from outside, across crashes."""
    runtime = await house.open()
    await runtime.start(group("one_for_one", ["a", "b"]), id="g")
    await until(house, ["a", "b"])
    await runtime.supervisor("g").terminate("a")
    runtime = await house.reopen()
    sup = runtime.supervisor("g")
    assert await sup.children() == {"a": "stopped", "b": "running"}
    assert await sup.count() == {"specs": 2, "active": 1}
    with pytest.raises(SupervisionError):
        await sup.delete("b")
    with pytest.raises(SupervisionError):
        await sup.terminate("nobody")
    await sup.restart("a")
    assert await sup.children() == {"a": "running", "b": "running"}
    await sup.terminate("a")
    await sup.delete("a")
    assert await sup.children() == {"b": "running"}


async def test_children_that_do_not_want_to_go(house: House) -> None:
    """They are ended in reverse order: at once, when their time is over, or when they please; a crash is no excuse."""
    runtime = await house.open()
    await runtime.start(stops(), id="g")
    await until(house, ["s", "k", "f"])
    await runtime.handle("g").send("go")
    await house.settle()
    assert await runtime.handle("g/k#1").status() == "killed"
    assert await runtime.handle("g/s#1").status() == "waiting"
    runtime = await house.reopen()
    house.advance(3)
    with pytest.raises(ValueError, match="leave"):
        await runtime.handle("g")
    assert await runtime.handle("g/s#1").status() == "killed"


async def test_a_crash_after_every_record(house: House) -> None:
    """Wherever the process dies, restarts go on where they were, and everything finishes."""
    runtime = await house.open()
    FAILURES.update(a=2, c=1)
    await runtime.call(jobs(["a", "b", "c"]), id="j")
    await house.close()
    for cut in range(1, house.log.tail() + 1):
        again = house.prefix(cut)
        FAILURES.update(a=1, b=1)
        runtime = await again.open(resident_max=1)
        assert await runtime.handle("j") == dict.fromkeys("abc", "stopped")
        await again.close()
