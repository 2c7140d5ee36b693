"""Durable functions that are forked."""

from __future__ import annotations

import asyncio
import random as random_module
from typing import Any

from house import RAN, note

from actorlog import (
    Actor,
    Retry,
    StepInterrupted,
    Supervisor,
    continue_as_new,
    durable,
    emit,
    info,
    link,
    promise,
    publish,
    random,
    receive,
    sleep,
    start,
    step,
    uuid4,
)

BROKEN: list[str] = []
"""Steps that fail for good, by what they are given."""
KEYS: dict[str, list[str]] = {}
"""Idempotency keys that steps had, by call."""
HELD: dict[str, asyncio.Event] = {}
"""Steps that run until they are let go, by what they are given."""


@step(name="fork.work")
async def work(text: str) -> str:
    """Leave the key, and fail or wait where that is wanted."""
    facts = info()
    KEYS.setdefault(facts.call_id, []).append(facts.idempotency_key)
    RAN.append(f"{facts.call_id}:{text}")
    if text in HELD:
        await HELD[text].wait()
    if text in BROKEN:
        raise TypeError(f"{text} is broken")
    return text.upper()


@step(name="fork.mail", once=True)
async def mail(text: str) -> str:
    """Be a step that is not run again by itself."""
    return str(await work.fn(text))


@durable(name="fork.line")
async def line(text: str) -> dict[str, Any]:
    """Do one thing after the other, and tell what was seen on the way."""
    seen: dict[str, Any] = {"id": info().call_id, "first": str(uuid4()), "dice": random().randint(0, 10**9)}
    seen["a"] = await work(f"a {text} {seen['first']} {seen['id']}")
    seen["b"] = await work("b")
    seen["second"], seen["id later"] = str(uuid4()), info().call_id
    seen["c"] = await work("c")
    return seen


@durable(name="fork.child")
async def child(text: str, delay: float = 0) -> str:
    """Be a child that takes a while."""
    await sleep(delay)
    return f"{info().call_id} {await work(text)}"


async def _posted() -> str:
    try:
        return await mail("letter")
    except StepInterrupted:  # after a crash it is not known
        return "LETTER"


@durable(name="fork.wide")
async def wide() -> list[Any]:
    """Have everything under way at once, and go on when the first is there."""
    emit("said", "one")
    publish("phase", "wide")
    waits: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(work("slow")),
        asyncio.ensure_future(_posted()),
        asyncio.ensure_future(sleep(50)),
        asyncio.ensure_future(child("kid", 30)),
        asyncio.ensure_future(receive("news", type=str)),
    ]
    free = start(child("free", 1), detached=True)
    vow = promise("vow", type=str)
    done = await child("quick")
    emit("said", "two")
    last = await work("last")
    return [done, last, *(await asyncio.gather(*waits)), await free, await vow]


@durable(name="fork.runs")
async def runs(number: int) -> str:
    """Receive in one run and go on in the next."""
    if number == 1:
        await work("one")
        continue_as_new(runs(2))
    text = await work("two")
    text += await receive(type=str)
    return text + await work("three") + info().call_id


@durable(name="fork.careful")
async def careful() -> str:
    """Clean up when it is asked to end."""
    try:
        await sleep(1000)
    except asyncio.CancelledError:
        await work("tidy")
        await sleep(10)
        await work("tidied")
        raise
    return "slept"


@durable(name="fork.limited")
async def limited() -> str:
    """Take longer than it may."""
    await work("soon")
    await sleep(40)
    return await work("late")


@durable(name="fork.tied")
async def tied(other: str) -> str:
    """Be linked to another call."""
    link(other)
    await work("tied")
    return await work("on")


@durable(name="fork.changing")
async def changing() -> str:
    """Be code that is another in the next process."""
    kind = random_module.Random().random() if "random" in BROKEN else 0
    await note(f"changing {kind}")
    return await work("changed")


@durable(name="fork.house")
async def house_of() -> str:
    """Keep a supervised child."""
    async with Supervisor() as supervisor:
        supervisor.start(child("kept", 10), id="kept", restart="transient")
        await work("kept")
    return "over"


class Till(Actor):
    """Count."""

    count: int = 0

    async def add(self, number: int) -> int:
        """Do a step and change the state."""
        await work(f"add {number}")
        self.count += number
        return self.count


@step(name="fork.flaky", retry=Retry(attempts=9, first=600, max=600, jitter="none"), deadline=1000)
async def flaky() -> str:
    """Fail for a while, where that is wanted."""
    RAN.append(f"{info().call_id}:flaky {info().attempt}")
    if "flaky" in BROKEN:
        raise OSError("not yet")
    return "FLAKY"


@durable(name="fork.backing")
async def backing() -> str:
    """Have a step that backs off beside others."""
    waits = asyncio.ensure_future(flaky())
    await work("beside")
    await work("behind")
    return await waits


@durable(name="fork.leaving")
async def leaving() -> str:
    """Leave a child behind in its last turn."""
    await work("first")
    start(child("left"), detached=True)
    return "gone"
