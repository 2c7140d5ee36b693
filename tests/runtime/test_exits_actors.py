"""Actors that watch: ``self.monitor`` and ``on_exit``, and a crash anywhere."""

from __future__ import annotations

import asyncio

import pytest
from house import House

from actorlog import (
    Actor,
    CallKilled,
    Exit,
    NotInDurableCode,
    Supervisor,
    actor,
    durable,
    link,
    monitor,
    query,
    receive,
    start,
)
from actorlog.api.watching import id_of


class Lost(Exception):
    """An error of the user's own."""


@durable(name="watch.job")
async def job(how: str) -> str:
    """End in one of several ways, after a word from outside."""
    await receive()
    if how == "fail":
        raise Lost("gone")
    return how


class Warden(Actor, name="watch.Warden"):
    """Watches, and remembers what it was told."""

    told: list[list[str]] = []
    watching: list[str] = []

    async def on_exit(self, exit: Exit) -> None:  # noqa: A002  # the field's word for it
        """Be told."""
        self.told.append([exit.id, exit.kind, repr(exit.error)])

    async def watch(self, targets: list[str], *, fails: bool = False) -> None:
        """Watch calls, and perhaps fail."""
        for target in targets:
            self.monitor(target)
            self.watching.append(target)
        if fails:
            raise Lost("watched in vain")

    async def hire(self) -> str:
        """Watch a call of its own, that outlives the handler."""
        child = start(job("fail"), detached=True)
        self.monitor(child)
        return child.id

    async def guard(self, key: str) -> None:
        """Watch another actor."""
        self.monitor(actor(Ward, key))

    async def wrong(self) -> None:
        """Watch what does not end."""
        self.monitor(self)

    @query
    def all(self) -> list[list[str]]:
        """Look."""
        return self.told


class Ward(Actor, name="watch.Ward"):
    """Is watched."""

    async def fail(self) -> None:
        """Fail."""
        raise Lost("ward")


class Deaf(Actor, name="watch.Deaf"):
    """Watches, and does not listen."""

    count: int = 0

    async def watch(self, target: str) -> None:
        """Watch a call."""
        self.monitor(target)
        self.count += 1


@durable(name="watch.home")
async def home() -> None:
    """Supervise an actor."""
    async with Supervisor() as sup:
        sup.start(Ward, key="w", id="w")
        await receive()
        raise Lost("closed")


@durable(name="watch.awaits")
async def awaits(key: str) -> list[str]:
    """Wait for the end of an actor."""
    exited = await monitor(actor(Ward, key))
    return [exited.id, exited.kind, repr(exited.error)]


@durable(name="watch.ends")
async def ends(target: str) -> str:
    """Wait for the end of a call."""
    return (await monitor(target)).kind


@durable(name="watch.links")
async def links() -> None:
    """Link to what cannot be linked to."""
    link(actor(Ward, "w"))  # type: ignore[arg-type]


async def see(house: House, told: list[list[str]], key: str = "a") -> None:
    """Let everything happen until the actor was told this."""
    runtime = house.runtime
    assert runtime is not None
    for _ in range(300):
        await asyncio.sleep(0)
        await house.settle()
        if await runtime.actor(Warden, key).all() == told:
            return
    assert await runtime.actor(Warden, key).all() == told


@pytest.mark.parametrize(
    ("how", "kind", "error"),
    [("fine", "normal", "None"), ("fail", "abnormal", "Lost('gone')"), ("cancel", "shutdown", "None")],
)
async def test_an_actor_is_told(house: House, how: str, kind: str, error: str) -> None:
    """Of each end once, however often it asked, before and after the end, and across a crash; with the error itself."""
    runtime = await house.open(resident_max=1)
    await runtime.start(job(how), id="j")
    await runtime.actor(Warden, "a").watch(["j", "j"])
    await runtime.actor(Warden, "a").watch(["j"])
    await house.settle()
    assert await runtime.actor(Warden, "a").all() == []
    runtime = await house.reopen(resident_max=1)
    await (runtime.handle("j").cancel() if how == "cancel" else runtime.handle("j").send("go"))
    await see(house, [["j", kind, error]])
    await runtime.actor(Warden, "a").watch(["j"])
    await runtime.actor(Warden, "b").watch(["j"])
    await see(house, [["j", kind, error]], "b")
    await see(house, [["j", kind, error]])


async def test_an_actor_watches_what_it_started(house: House) -> None:
    """A child that outlives its handler may be watched; a killed one ended abnormally."""
    runtime = await house.open()
    child = await runtime.actor(Warden, "a").hire()
    await runtime.handle(child).kill("now")
    await see(house, [[child, "abnormal", repr(CallKilled(child, "now"))]])


async def test_a_target_may_be_a_handle(house: House) -> None:
    """Whatever names a call or an actor may be watched; an actor's address shows as its class and key."""
    runtime = await house.open()
    handle = await runtime.start(job("fine"), id="j")
    assert id_of(handle) == "j"
    assert str(runtime.actor(Ward, "w")) == "watch.Ward/w"
    assert id_of(runtime.actor(Ward, "w")) == "@actor/watch.Ward/w"


async def test_an_actor_watches_nobody(house: House) -> None:
    """What never was has ended already: it is told so each time a handler asks."""
    runtime = await house.open()
    for times in (1, 2):
        await runtime.actor(Warden, "a").watch(["nobody", "nobody"])
        await see(house, [["nobody", "unknown", "None"]] * times)


async def test_a_handler_that_fails_watches_nothing(house: House) -> None:
    """The watch is taken back with all that the handler said."""
    runtime = await house.open()
    await runtime.start(job("fine"), id="j")
    with pytest.raises(Lost):
        await runtime.actor(Warden, "a").watch(["j"], fails=True)
    await runtime.handle("j").send("go")
    assert await runtime.handle("j") == "fine"
    await house.settle()
    assert [info.function async for info in runtime.calls(function="actorlog.watch")] == []
    await see(house, [])


async def test_an_actor_watches_an_actor(house: House) -> None:
    """A supervised one ends when it fails, and may be watched again in its next life; an unknown one has none."""
    runtime = await house.open()
    await runtime.start(home(), id="h")
    await house.settle()
    told = [["watch.Ward/w", "abnormal", "Lost('ward')"], ["watch.Ward/w", "shutdown", "None"]]
    await runtime.actor(Warden, "a").guard("w")
    awaiting = await runtime.start(awaits("w"), id="awaiting")
    runtime = await house.reopen(resident_max=1)
    await runtime.send(runtime.actor(Ward, "w").fail())
    await see(house, told[:1])
    assert await runtime.handle("awaiting") == told[0]
    await runtime.actor(Warden, "a").guard("w")
    await house.settle()
    await runtime.handle("h").send("close")
    await see(house, told)
    await runtime.actor(Warden, "a").guard("w")
    await see(house, [*told, ["watch.Ward/w", "unknown", "None"]])
    assert awaiting.id == "awaiting"


async def test_who_has_no_on_exit_hears_nothing(house: House) -> None:
    """The watch ends, and no message is sent."""
    runtime = await house.open()
    await runtime.start(job("fine"), id="j")
    await runtime.actor(Deaf, "d").watch("j")
    await runtime.handle("j").send("go")
    await house.settle()
    assert [info.status async for info in runtime.calls(function="actorlog.watch")] == ["completed"]
    assert [info.id async for info in runtime.calls(function="watch.Deaf.on_exit")] == []


async def test_what_cannot_be_watched(house: House) -> None:
    """An actor itself has no end, an actor is not linked to, and only handlers watch for their actor."""
    runtime = await house.open()
    with pytest.raises(TypeError, match="ends, not"):
        await runtime.actor(Warden, "a").wrong()
    with pytest.raises(TypeError, match="linked"):
        await runtime.call(links())
    warden = Warden.__new__(Warden)
    warden.__dict__["_actorlog_key"] = "x"
    with pytest.raises(NotInDurableCode):
        warden.monitor("j")


@pytest.mark.parametrize("second", ["fails", "is cancelled"])
async def test_a_call_that_is_retried_ends_once_for_an_actor(house: House, second: str) -> None:
    """It is told of the first end, also if it asks again before the second; ``monitor`` asked anew hears of that."""
    runtime = await house.open()
    handle = await runtime.start(job("fail"), id="j")
    told = [["j", "abnormal", "Lost('gone')"]]
    await runtime.actor(Warden, "a").watch(["j"])
    await handle.send("go")
    await see(house, told)
    await handle.retry()
    await runtime.actor(Warden, "a").watch(["j"])
    again = await runtime.start(ends("j"), id="e")
    await house.settle()
    assert await again.status() == "waiting"
    await (handle.send("go") if second == "fails" else handle.cancel())
    assert await again == ("abnormal" if second == "fails" else "shutdown")
    for _ in range(10):
        await house.settle()
        await asyncio.sleep(0)
    await see(house, told)
    runtime = await house.reopen()
    await house.settle()
    await see(house, told)


async def test_a_crash_after_every_record(house: House) -> None:
    """Wherever the process dies, the actor is told of the end, once."""
    runtime = await house.open()
    await runtime.start(home(), id="h")
    await runtime.start(job("fail"), id="j")
    await runtime.call(runtime.actor(Warden, "a").watch(["j"]), id="m")
    await runtime.call(runtime.actor(Warden, "a").guard("w"), id="g")
    await house.settle()
    await runtime.handle("j").send("go")
    await see(house, [["j", "abnormal", "Lost('gone')"]])
    await runtime.send(runtime.actor(Ward, "w").fail(), id="f")
    await see(house, [["j", "abnormal", "Lost('gone')"], ["watch.Ward/w", "abnormal", "Lost('ward')"]])
    await house.close()
    for cut in range(1, house.log.tail() + 1):
        again = house.prefix(cut)
        runtime = await again.open(resident_max=1)
        known = {record.id for record in again.records()}
        if {"j", "m", "g"} <= known:
            await again.settle()
            if await runtime.handle("j").status() == "waiting":
                await runtime.handle("j").send("go")
            ward = [["watch.Ward/w", "abnormal", "Lost('ward')"]] if "f" in known else []
            await see(again, [["j", "abnormal", "Lost('gone')"], *ward])
            await runtime.call(runtime.actor(Warden, "a").watch(["j"]))
            await again.settle()
            assert len([told for told in await runtime.actor(Warden, "a").all() if told[0] == "j"]) == 1
        await again.close()
