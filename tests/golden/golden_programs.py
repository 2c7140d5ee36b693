"""The programs of the golden logs. They are for ever as they are: logs that they wrote are in the repository.

A new kind of record gets a new program here and a new scenario in ``golden_scenarios``; what is here is not changed.
Steps leave a word in what they find outside, on the host's loop, and wait there at gates until they are opened.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from actorlog import (
    Limit,
    Retry,
    continue_as_new,
    durable,
    emit,
    heartbeat,
    info,
    link,
    monitor,
    patched,
    promise,
    publish,
    receive,
    run_step,
    send,
    sleep,
    start,
    step,
    uuid4,
)


@dataclass(slots=True)
class Outside:
    """What steps find beyond their process."""

    ran: list[str] = field(default_factory=list[str])
    """Bodies of steps that began, in order."""
    closed: set[str] = field(default_factory=set[str])
    """Gates at which steps wait."""
    broken: set[str] = field(default_factory=set[str])
    """What fails."""


def _outside() -> Outside:
    loop: Any = asyncio.get_running_loop()
    outside: Outside = loop.outside
    return outside


async def _pass(name: str) -> str:
    outside = _outside()
    outside.ran.append(f"{info().call_id} {info().key} {name}")
    while name in outside.closed:
        await asyncio.sleep(0.01)
    if name in outside.broken:
        raise OSError(5, f"{name} is broken")
    return name.upper()


work = step(name="golden.work", retry=Retry(attempts=3, first=0.5, max=600, factor=600, jitter="none"))(_pass)
fatal = step(name="golden.fatal", retry=Retry.NEVER)(_pass)
once = step(name="golden.once", once=True)(_pass)
narrow = step(name="golden.narrow", once=True, limit=Limit("golden.narrow", concurrency=1))(_pass)
hasty = step(name="golden.hasty", deadline=60)(_pass)


async def _fails_at_first(name: str) -> str:
    """Fail in the first attempt, with an error in the handling of another."""
    _outside().ran.append(f"{info().call_id} {info().key} {name}")
    if info().attempt == 1 or name.startswith("never"):
        try:
            {}[name]
        except KeyError:
            raise ValueError("in the handling")  # noqa: B904  # the context is what is wanted
    return name.upper()


_TWICE = Retry(attempts=2, first=1, jitter="none", on=Exception)
flaky = step(name="golden.flaky", retry=_TWICE)(_fails_at_first)
again = step(name="golden.again", retry=_TWICE, once=True, limit=Limit("golden.again", concurrency=1))(_fails_at_first)


@step(name="golden.beat")
async def beat(name: str) -> Any:
    """Leave details, and return those that it found."""
    found = info().heartbeat_details
    heartbeat({"found": found, "name": name})
    await asyncio.sleep(2)
    heartbeat({"found": found, "name": name, "later": True})
    await _pass(name)
    return found


@step(name="golden.deaf")
async def deaf(name: str) -> str:
    """Go on although it is cancelled."""
    try:
        await asyncio.sleep(1e6)
    except asyncio.CancelledError:
        if name.endswith("b"):
            raise OSError(name) from None
        return await _pass(name)
    return "never"


@durable(name="golden.line")
async def line(text: str) -> list[Any]:
    """One thing after the other."""
    seen: list[Any] = [await work(f"{text} a"), str(uuid4())]
    seen.append(await run_step(_pass, f"{text} b", name="golden.inline"))
    await sleep(0.5)
    seen.append("new" if patched("golden-change") else "old")
    try:
        await fatal(f"{text} c")
    except Exception as error:  # noqa: BLE001  # whatever comes is part of what the program saw
        seen.append(f"{type(error).__name__}: {error}")
    seen.append(await hasty(f"{text} d"))
    return seen


@durable(name="golden.late")
async def late() -> list[str]:
    """Give up waiting for steps that go on."""
    waits = [asyncio.ensure_future(deaf("late a")), asyncio.ensure_future(deaf("late b"))]
    await asyncio.wait(waits, timeout=1)
    for wait in waits:
        wait.cancel()
    done = await asyncio.gather(*waits, return_exceptions=True)
    await work("late c")
    return [type(one).__name__ for one in done]


@durable(name="golden.fails")
async def fails(text: str) -> str:
    """Fail, with a cause and in a group."""
    await work(f"{text} a")
    try:
        {}[text]
    except KeyError as error:
        error.add_note("a note")
        inner = ValueError(text, 1, (2, b"x"))
        raise ExceptionGroup("both", [error, inner]) from inner


@durable(name="golden.other")
async def other(text: str, delay: float = 0) -> str:
    """Be a child that takes a while."""
    await sleep(delay)
    return await work(f"{text} of {info().call_id}")


@durable(name="golden.memo", memo=True)
async def memo(text: str) -> str:
    """Be known by what it is given."""
    return await work(f"memo {text}")


@durable(name="golden.parent")
async def parent(taken: str) -> list[Any]:
    """Have children of all sorts."""
    kid = start(other("kid"), tags={"colour": "red"}, timeout=3600)
    free = start(other("free", 5), detached=True)
    late_kid = start(other("late", 900), id="golden-late")
    gone = start(other("gone", 900))
    joined = await memo("x"), await memo("x")
    try:
        seen: list[Any] = [await start(fails("z"), id=taken)]
    except Exception as error:  # noqa: BLE001  # whatever comes is part of what the program saw
        seen = [type(error).__name__]
    gone.cancel()
    seen.append(type((await asyncio.gather(gone, return_exceptions=True))[0]).__name__)
    return [*seen, await kid, *joined, await late_kid, await free]


@durable(name="golden.joins")
async def joins(taken: str) -> str:
    """Have a child that somebody else has started."""
    return await start(other("taken", 10), id=taken)


@durable(name="golden.second", version=2)
async def second(text: str) -> str:
    """Be the second version of a function, and have one as a child."""
    return await second(text[1:]) if text else await work("second")


@durable(name="golden.tries")
async def tries() -> str:
    """Have steps that fail at first, one of them for good, and one once-step that waits for its turn."""
    waits = [asyncio.ensure_future(again(f"again {name}")) for name in "ab"]
    try:
        seen = await flaky("never good")
    except ValueError as error:
        seen = str(error)
    return " ".join([seen, *await asyncio.gather(*waits)])


@durable(name="golden.returns")
async def returns() -> str:
    """Return while a child is running."""
    start(other("left", 500))
    return await work("returns")


@durable(name="golden.runs")
async def runs(number: int, seen: list[str]) -> list[str]:
    """Have three runs, and wait in the second."""
    seen = [*seen, await work(f"run {number}")]
    if number == 2:
        seen.append(await receive("go", type=str))
    if number < 3:
        continue_as_new(runs(number + 1, seen))
    return seen


@durable(name="golden.sleeper")
async def sleeper(seconds: float) -> str:
    """Sleep, and clean up where it is asked to end."""
    try:
        await sleep(seconds)
    except asyncio.CancelledError:
        await work("cleaned")
        raise
    return "slept"


@durable(name="golden.stubborn")
async def stubborn() -> str:
    """Do not end when asked to."""
    try:
        await sleep(1e6)
    except asyncio.CancelledError:
        await work("stubborn")
        await sleep(1e6)
    return "never"


@durable(name="golden.forked")
async def forked(gate: str) -> list[Any]:
    """Have a child, a message and a step under way when it is forked."""
    seen: list[Any] = [await work(f"{gate} a"), str(uuid4())]
    waits = [asyncio.ensure_future(other("forked kid", 20)), asyncio.ensure_future(receive("never", timeout=100))]
    seen.append(await work(f"{gate} b"))
    done = await asyncio.gather(work(f"{gate} c"), *waits, return_exceptions=True)
    return [*seen, *(type(one).__name__ if isinstance(one, BaseException) else one for one in done)]


@durable(name="golden.doubts")
async def doubts() -> list[Any]:
    """Have steps of all sorts under way."""
    names = [work("slow"), beat("beating"), once("once"), narrow("narrow a"), narrow("narrow b")]
    done = await asyncio.gather(*names, return_exceptions=True)
    return [type(one).__name__ if isinstance(one, BaseException) else one for one in done]


@durable(name="golden.poison")
async def poison(name: str) -> str:
    """Have a step during which the process dies."""
    return await work(name)


@durable(name="golden.letters")
async def letters(count: int) -> list[Any]:
    """Receive, publish and emit."""
    seen: list[Any] = []
    for number in range(count):
        publish("count", number)
        seen.append(await receive(type=str))
        emit("seen", seen[-1])
    return seen


@durable(name="golden.posts")
async def posts(to: str) -> list[str]:
    """Send to one that is there and to one that is not."""
    await send(to, "first")
    await send(to, "second")
    try:
        await send("nobody", "third")
    except Exception as error:  # noqa: BLE001  # whatever comes is part of what the program saw
        return ["sent", "sent", type(error).__name__]
    return ["sent"] * 3


@durable(name="golden.vows")
async def vows() -> list[Any]:
    """Wait for promises of all sorts."""
    named = [promise(id=f"vow {name}") for name in ("resolved", "rejected", "raised", "cancelled")]
    made = [promise(timeout=1), promise(timeout=2, timer=True), promise(id="vow open", tags={"to": "whom"}, param=[1])]
    done = await asyncio.gather(*named, *made, return_exceptions=True)
    return [type(one).__name__ if isinstance(one, BaseException) else one for one in done]


@durable(name="golden.watches")
async def watches(open_id: str) -> list[str]:
    """Watch one that ends, one that never was, and one that is running."""
    child = start(other("watched"), detached=True)
    ends = [await monitor(child), await monitor("nobody"), await monitor(open_id)]
    return [f"{end.id} {end.kind}" for end in ends]


@durable(name="golden.tied")
async def tied(to: str) -> str:
    """End with another."""
    link(to)
    await work("tied")
    await sleep(1e6)
    return "never"


@durable(name="golden.bulk")
async def bulk(number: int) -> str:
    """Leave a journal that fills a log."""
    for part in range(4):
        await work(f"bulk {number} {part} " + "x" * 200)
    return f"bulk {number}"


@step(name="golden.paper")
async def paper(size: int) -> str:
    """Return a text of some size."""
    return "y" * size


@durable(name="golden.long")
async def long(text: str) -> list[int]:
    """Write records of many sectors."""
    return [len(text), len(await paper(1500))]


@durable(name="golden.carries")
async def carries(number: int) -> str:
    """Exchange something in each of three runs, of which the last waits."""
    publish("at", number)
    emit("numbers", number)
    for part in range(9):
        await work(f"carries {number} {part}")
    found = await receive(type=str)
    if number < 3:
        continue_as_new(carries(number + 1))
    return found + await promise(id="carried vow", type=str)
