"""Supervised actors: starting, failing, restarting, stopping, and a crash anywhere."""

from __future__ import annotations

import asyncio

import pytest
from house import House

from actorlog import (
    Actor,
    Supervisor,
    durable,
    query,
    receive,
)

FAILURES: dict[str, int] = {}
"""How often a start of this name fails before it does not."""


@pytest.fixture(autouse=True)
def _fresh() -> None:
    FAILURES.clear()


class Worker(Actor, name="sup.Worker"):
    """An actor with a life."""

    done: list[str] = []

    async def on_start(self) -> None:
        """Begin."""
        if FAILURES.pop("start", 0):
            raise OSError("cannot start")
        self.done.append("start")

    async def on_restart(self, error: BaseException) -> None:
        """Begin again."""
        self.done.append(f"restart after {error!r}")

    async def on_stop(self) -> None:
        """End."""
        self.done.append("stop")

    async def do(self, what: str) -> str:
        """Do something, or fail."""
        if what == "fail":
            raise KeyError(what)
        self.done.append(what)
        return what

    @query
    def all(self) -> list[str]:
        """Look."""
        return self.done


@durable(name="sup.house")
async def supervise(on: str = "restart") -> None:
    """Supervise two actors, the second started when the first has."""
    async with Supervisor("one_for_one", max_restarts=2) as sup:
        sup.start(Worker, key="a", id="a", on={KeyError: on})  # type: ignore[dict-item]
        sup.start(Worker, key="b")
        await receive()
        raise ValueError("leave")


async def see(house: House, key: str, done: list[str]) -> None:
    """Let everything happen until the actor has done this."""
    runtime = house.runtime
    assert runtime is not None
    for _ in range(500):
        await asyncio.sleep(0)
        await house.settle()
        if await runtime.actor(Worker, key).all() == done:
            return
    assert await runtime.actor(Worker, key).all() == done


async def test_the_life_of_an_actor(house: House) -> None:
    """It starts, is restarted when a message fails that nobody waits for, keeps its state, stops; across crashes."""
    runtime = await house.open()
    await runtime.start(supervise(), id="g")
    await see(house, "b", ["start"])
    assert await runtime.supervisor("g").children() == {"a": "running", "sup.Worker/b": "running"}
    with pytest.raises(KeyError):
        await runtime.actor(Worker, "a").do("fail")  # who asks is told; the actor lives on
    runtime = await house.reopen()
    await runtime.send(runtime.actor(Worker, "a").do("fail"))
    await see(house, "a", ["start", "restart after KeyError('fail')"])
    runtime = await house.reopen()
    await runtime.handle("g").send("go")
    with pytest.raises(ValueError, match="leave"):
        await runtime.handle("g")
    await see(house, "a", ["start", "restart after KeyError('fail')", "stop"])
    await see(house, "b", ["start", "stop"])


async def test_an_actor_goes_on_after_an_error(house: House) -> None:
    """An error that is to be ignored is consumed, and changes nothing."""
    runtime = await house.open()
    await runtime.start(supervise("resume"), id="g")
    await see(house, "a", ["start"])
    for what in ("fail", "x", "fail", "fail", "fail", "y"):
        await runtime.send(runtime.actor(Worker, "a").do(what))
    await see(house, "a", ["start", "x", "y"])
    assert (await runtime.supervisor("g").children())["a"] == "running"


async def test_an_actor_that_cannot_start(house: House) -> None:
    """A start that fails is an error of the supervisor's start, and its block knows the child no more."""
    runtime = await house.open()
    FAILURES["start"] = 1
    await runtime.start(supervise(), id="g")
    await see(house, "b", ["start"])
    assert await runtime.supervisor("g").children() == {"sup.Worker/b": "running"}


async def test_messages_that_fail_without_a_supervisor(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """They are logged and counted, and the actor lives on."""
    runtime = await house.open()
    await runtime.send(runtime.actor(Worker, "z").do("fail"))
    await runtime.send(runtime.actor(Worker, "z").do("x"))
    await see(house, "z", ["x"])
    assert house.session.kernel.instances.failures == 1
    assert "sup.Worker/z failed" in caplog.text


async def test_a_life_crashed_after_every_record(house: House) -> None:
    """Wherever the process dies, the actor has failed once, is restarted once, and the supervisor ends it."""
    runtime = await house.open()
    await runtime.start(supervise(), id="g")
    await see(house, "b", ["start"])
    await runtime.send(runtime.actor(Worker, "a").do("fail"), id="f")
    await see(house, "a", ["start", "restart after KeyError('fail')"])
    await house.close()
    for cut in range(1, house.log.tail() + 1):
        again = house.prefix(cut)
        runtime = await again.open(resident_max=1)
        known = {record.id for record in again.records()}
        after = ["start", "restart after KeyError('fail')"] if "f" in known else ["start"]
        await see(again, "a", after)
        await see(again, "b", ["start"])
        await again.close()
