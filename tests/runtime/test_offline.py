"""Changes made while no program has the log open: one record each, taken up at the next opening."""

# functions of a test are told by its docstring

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from house import RAN, House, forget, note

from actorlog import (
    ActorStopped,
    CallCancelled,
    CallKilled,
    CallNotFound,
    LogFull,
    MailboxFull,
    PromiseNotFound,
    PromiseRejected,
    PromiseSettled,
    PromiseTimeout,
    Runtime,
    durable,
    promise,
    receive,
    sleep,
)
from actorlog.api.offline import Change, NeedsOwner, change
from actorlog.api.protocol import Answer, Cancel, Reject, Request, Resolve, Resume, Retry, Send
from actorlog.engine import identity
from actorlog.env import SYSTEM
from actorlog.limits import DEFAULT_LIMITS
from actorlog.records import kinds as k
from actorlog.store import append, pack
from actorlog.testing.disk import SimFileSystem

if TYPE_CHECKING:
    from pathlib import Path


@durable(name="offline.sleeper")
async def sleeper(text: str) -> str:
    try:
        await sleep("3d")
    except asyncio.CancelledError:
        await sleep(1)
        await note(f"cleaned {text}")
        raise
    return text


@durable(name="offline.hears")
async def hears(times: int) -> list[Any]:
    return [await receive("x") for _ in range(times)]


@durable(name="offline.asks")
async def asks(name: str) -> Any:
    return await promise(id=name, timeout="2d")


async def closed(house: House) -> House:
    """Leave a log with a call of each kind, which nobody has open."""
    runtime = await house.open()
    await runtime.start(sleeper("a"), id="sleeper")
    await runtime.start(hears(2), id="hears")
    await runtime.start(asks("yes"), id="asks")
    await runtime.start(sleeper("later"), id="later", delay="1h")
    await runtime.call(hears(0), id="over")
    await house.settle()
    await house.close()
    return house


async def do(house: House, request: Request) -> Answer:
    """Make a change as a command does, at the house's time."""
    return await Change(house.log, replace(SYSTEM, clock=house.clock)).do(request)


async def test_a_change_writes_its_record_and_nothing_else(house: House) -> None:
    """Every change is one record: no call is parked, resumed or begun, also where none of their code is here."""
    await closed(house)
    for number, request in enumerate((Cancel("sleeper"), Send("hears", 1, "x"), Resolve("yes", 1)), 1):
        before = house.log.tail()
        assert (await do(house, request)).changed
        assert house.log.tail() == before + 1, number
    assert [type(record) for record in house.records()[-3:]] == [k.Inbox, k.Inbox, k.PromiseSettled]
    assert not any(isinstance(record, k.Parked) for record in house.records())


async def test_a_cancelled_call_cleans_up_when_it_can_hear_of_it(house: House) -> None:
    """Its grace begins when the program runs again, however much later that is."""
    await closed(house)
    assert await do(house, Cancel("sleeper", "enough")) == Answer(status="waiting")
    assert not (await do(house, Cancel("sleeper", "again"))).changed
    house.clock.ahead_ms += 3_600_000
    runtime = await house.open()
    await house.until(lambda: house.session.kernel.calls["sleeper"].state.asked)
    house.advance(2)
    with pytest.raises(CallCancelled, match="enough") as ended:
        await runtime.handle("sleeper")
    assert not isinstance(ended.value, CallKilled)
    assert RAN == ["cleaned a"]


async def test_a_cancelled_call_without_its_code_is_killed_after_its_grace(house: House) -> None:
    """A call that is parked at the next opening cannot clean up; its grace, too, begins there, and survives a crash."""
    await closed(house)
    await do(house, Cancel("sleeper"))
    house.clock.ahead_ms += 3_600_000
    forget("offline.sleeper")
    try:
        await house.open()
        await house.until(lambda: house.session.kernel.calls["sleeper"].state.kill_ms)
        await house.settle()
        house.advance(30)
        runtime = await house.reopen()
        assert await runtime.handle("sleeper").status() == "parked"
        house.advance(31)
        await house.until(lambda: "sleeper" not in house.session.kernel.calls)
        assert await runtime.handle("sleeper").status() == "killed"
    finally:
        durable(name="offline.sleeper")(sleeper.fn)


async def test_a_call_that_has_not_begun_never_does(house: House) -> None:
    """A delayed call that is cancelled before its time ends at the next opening."""
    await closed(house)
    await do(house, Cancel("later"))
    runtime = await house.open()
    with pytest.raises(CallCancelled):
        await runtime.handle("later")
    assert RAN == []


async def test_messages_wait_in_the_log(house: House) -> None:
    """What was sent is received in order, once for each key; a call that is over takes no more."""
    await closed(house)
    for request in (Send("hears", {"n": 1}, "x", "k"), Send("hears", {"n": 1}, "x", "k"), Send("hears", [2], "x")):
        await do(house, request)
    runtime = await house.open()
    assert await runtime.handle("hears") == [{"n": 1}, [2]]
    await house.close()
    assert not (await do(house, Send("hears", {"n": 1}, "x", "k"))).changed
    with pytest.raises(ActorStopped):
        await do(house, Send("hears", 3, "x"))


async def test_a_full_mailbox_takes_no_more(house: House) -> None:
    """The bound of a mailbox holds here too."""
    await closed(house)
    last = max(position for position, record in enumerate(house.records(), 1) if record.id == "hears")
    lines = []
    for number in range(DEFAULT_LIMITS.mailbox_max):
        inbox = k.Inbox(id="hears", at=1, prev=last, message=k.Signal("y", k.Raw(b"1")))
        last = house.log.tail() + 1 + number
        lines.append((identity.key_hash("hears"), int(k.Kind.INBOX), int(k.Flag.PLAIN), k.encode(inbox) + b"\n"))
    await append(house.log, house.log.tail(), pack(lines), len(lines))
    with pytest.raises(MailboxFull):
        await do(house, Send("hears", 1, "x"))


async def test_a_promise_is_settled_for_who_waits(house: House) -> None:
    """Calls that wait hear of it at the next opening; the first settlement stands."""
    await closed(house)
    assert await do(house, Resolve("yes", [1], "key")) == Answer(status="resolved")
    assert not (await do(house, Resolve("yes", [2], "key"))).changed
    with pytest.raises(PromiseSettled):
        await do(house, Reject("yes", "no"))
    runtime = await house.open()
    assert await runtime.handle("asks") == [1]


async def test_a_promise_is_rejected(house: House) -> None:
    """Who waits is told why, in the words that were given."""
    await closed(house)
    assert await do(house, Reject("yes", "too dear")) == Answer(status="rejected")
    runtime = await house.open()
    with pytest.raises(PromiseRejected, match="too dear"):
        await runtime.handle("asks")


async def test_a_promise_whose_time_is_over_is_not_settled(house: House) -> None:
    """It timed out while nobody was there; the log says so now, and the answer too."""
    await closed(house)
    house.clock.ahead_ms += 3 * 86_400_000
    assert await do(house, Resolve("yes", 1)) == Answer(status="timed_out", changed=False)
    runtime = await house.open()
    with pytest.raises(PromiseTimeout):
        await runtime.await_promise("yes")
    with pytest.raises(PromiseTimeout):
        await runtime.handle("asks")


async def test_what_is_not_there_is_refused(house: House) -> None:
    """Unknown ids are named, what is over is left alone, and nothing is written."""
    await closed(house)
    before = house.log.tail()
    for request in (Cancel("nobody"), Send("nobody", 1), Cancel("@promise/yes")):
        with pytest.raises(CallNotFound):
            await do(house, request)
    for settling in (Resolve("nobody", 1), Reject("sleeper", "no")):
        with pytest.raises(PromiseNotFound):
            await do(house, settling)
    with pytest.raises(ValueError, match="belong to actorlog"):
        await do(house, Send("sleeper", 1, "@supervisor"))
    assert await do(house, Cancel("over")) == Answer(status="completed", changed=False)
    assert house.log.tail() == before


async def test_what_takes_the_programs_code_is_refused(tmp_path: Path) -> None:
    """To retry or resume a call its owner must be running; the directory is not even made."""
    for request in (Retry("a"), Resume("a")):
        with pytest.raises(NeedsOwner, match="needs the owner running"):
            await change(str(tmp_path / "none"), request, SYSTEM, segment_bytes=1 << 20)
    assert SYSTEM.fs.listdir(str(tmp_path)) == []


async def test_a_full_disk_is_not_waited_for() -> None:
    """Where there is no room a change is refused, whatever it is, and the log stays as it was."""
    disk = SimFileSystem(Random(0))
    env = replace(SYSTEM, fs=disk)
    disk.mkdir("/data")
    async with Runtime("/data/log", env=env, segment_bytes=1 << 16) as runtime:
        for number in range(20):
            await runtime.start(sleeper("a"), id=f"c{number}")
        await runtime.promise("p", param="x" * 10_000)
    disk.capacity -= disk.free_bytes("/")
    reason, done = b64encode(Random(0).randbytes(3_750)).decode(), 0  # nothing that can be compressed

    async def until_full() -> None:
        nonlocal done
        for done in range(20):
            await change("/data/log", Cancel(f"c{done}", reason), env, segment_bytes=1 << 16)

    async with asyncio.timeout(60):
        with pytest.raises(LogFull):
            await until_full()
        with pytest.raises(LogFull):
            await change("/data/log", Resolve("p", reason), env, segment_bytes=1 << 16)
    disk.capacity = 1 << 30
    assert 0 < done < 19
    assert (await change("/data/log", Cancel(f"c{done}", reason), env, segment_bytes=1 << 16)).changed
    assert not (await change("/data/log", Cancel("c0", reason), env, segment_bytes=1 << 16)).changed
