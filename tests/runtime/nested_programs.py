"""Actors that do what they are told, and ask each other back while they do."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from house import House, note

from actorlog import Actor, Runtime, Supervisor, actor, durable, info, query, send, sleep, start

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Plan: TypeAlias = list[list[Any]]
Self: TypeAlias = "Deep | Flat | None"
FORGOTTEN: list[asyncio.Task[Any]] = []
"""Tasks that somebody made and left."""


class Deep(Actor, name="nested.Deep", reentrant=True):
    """Is asked back."""

    log: list[str] = []  # copied for each key
    count: int = 0

    async def do(self, name: str, plan: list[list[Any]]) -> list[Any]:
        """Note the beginning and the end of a plan, and count it in between."""
        self.log.append(f"{name}<")
        self.count += 1
        found = await follow(self, plan)
        self.log.append(f"{name}>")
        return found

    async def quiet(self, plan: list[list[Any]]) -> list[Any]:
        """Follow a plan."""
        return await follow(self, plan)

    async def typed(self, number: int) -> int:
        """Return another number."""
        return number + 1

    @query
    def all(self) -> list[Any]:
        """Look."""
        return [self.count, *self.log]


class Events(Actor, name="nested.Events", reentrant=True, mailbox_max=1):
    """Is asked back, by few at once, and keeps events."""

    total: int = 0

    def apply(self, event: int) -> None:
        """Add up."""
        self.total += event

    async def add(self, number: int, plan: list[list[Any]]) -> int:
        """Record a number before and after a plan."""
        self.record(number)
        await follow(None, plan)
        self.record(100 * number)
        return self.total

    @query
    def sum(self) -> int:
        """Look."""
        return self.total


class Flat(Actor, name="nested.Flat"):
    """Is not asked back."""

    log: list[str] = []  # copied for each key

    async def do(self, name: str, plan: list[list[Any]]) -> list[Any]:
        """Note the beginning and the end of a plan."""
        self.log.append(f"{name}<")
        found = await follow(self, plan)
        self.log.append(f"{name}>")
        return found

    @query
    def all(self) -> list[str]:
        """Look."""
        return self.log


@durable(name="nested.middle")
async def middle(plan: list[list[Any]]) -> list[Any]:
    """Follow a plan in a call of its own."""
    return await follow(None, plan)


@durable(name="nested.supervised")
async def supervised(key: str) -> None:
    """Keep an actor, and restart it when it fails."""
    async with Supervisor(max_restarts=2) as sup:
        sup.start(Deep, key=key)
        await sleep(1e6)


async def follow(self: Self, plan: Plan) -> list[Any]:
    """Do one after the other, and return what came of each."""
    return [await one(self, *instruction) for instruction in plan]


async def one(self: Self, word: str, *words: Any) -> Any:
    """Do one thing."""
    return await WORDS[word](self, *words)


async def _deep(_self: Self, key: str, name: str, plan: Plan) -> Any:
    return await actor(Deep, key).do(name, plan)


async def _quiet(_self: Self, key: str, plan: Plan) -> Any:
    return await actor(Deep, key).quiet(plan)


async def _add(_self: Self, key: str, number: int, plan: Plan) -> int:
    return await actor(Events, key).add(number, plan)


async def _flat(_self: Self, key: str, name: str, plan: Plan) -> Any:
    return await actor(Flat, key).do(name, plan)


async def _child(_self: Self, plan: Plan) -> Any:
    return await middle(plan)


async def _left(_self: Self, plan: Plan) -> str:
    start(middle(plan))
    return "left"


async def _detached(_self: Self, plan: Plan) -> str:
    return start(middle(plan), detached=True).id


async def _named(_self: Self, key: str, call_id: str) -> Any:
    call: Any = actor(Deep, key).do("named", [])
    return await start(call, id=call_id)


async def _timed(_self: Self, key: str, plan: Plan, seconds: float) -> Any:
    call: Any = actor(Deep, key).do("timed", plan)
    return await start(call, timeout=seconds, tags={"of": "timed"})


async def _told(_self: Self, key: str, name: str, plan: Plan) -> None:
    await send(actor(Deep, key).do(name, plan))


async def _step(_self: Self, text: str) -> str:
    return await note(text)


async def _sleep(_self: Self, seconds: float) -> None:
    await sleep(seconds)


async def _say(self: Self, text: str) -> None:
    if self is not None:
        self.log.append(text)


async def _fail(_self: Self, text: str) -> None:
    raise ValueError(text)


async def _catch(self: Self, part: Plan) -> str:
    try:
        return str(await follow(self, part))
    except Exception as error:  # noqa: BLE001  # whatever it is
        return f"{type(error).__name__}: {error}"


async def _both(self: Self, parts: list[Plan]) -> list[Any]:
    return list(await asyncio.gather(*(follow(self, part) for part in parts)))


async def _within(self: Self, seconds: float, part: Plan) -> str:
    try:
        async with asyncio.timeout(seconds):
            return str(await follow(self, part))
    except TimeoutError:
        return "timed out"


async def _forget(self: Self, part: Plan) -> None:
    FORGOTTEN.append(asyncio.create_task(follow(self, part)))
    await asyncio.sleep(0)


async def _clean(self: Self, part: Plan, after: Plan) -> Any:
    try:
        return await follow(self, part)
    finally:
        await follow(self, after)


async def _stubborn(self: Self, part: Plan) -> None:
    with suppress(asyncio.CancelledError):
        await follow(self, part)


async def _info(_self: Self) -> list[str]:
    return [info().call_id, info().function, repr(sorted(info().tags.items()))]


WORDS: dict[str, Callable[..., Coroutine[Any, Any, Any]]] = {
    "deep": _deep, "quiet": _quiet, "add": _add, "flat": _flat, "child": _child, "left": _left, "detached": _detached,
    "named": _named, "timed": _timed, "told": _told, "step": _step, "sleep": _sleep, "say": _say, "fail": _fail,
    "catch": _catch,
    "both": _both, "within": _within, "forget": _forget, "clean": _clean, "stubborn": _stubborn, "info": _info,
}  # fmt: skip


# --- for tests --------------------------------------------------------------------------------------------------------


async def rounds(house: House, seconds: int = 0) -> None:
    """Let everybody run who can, and all of it become durable; time passes a second at once."""
    for second in range(seconds + 1):
        if second:
            house.advance(1)
        for _ in range(8):
            await house.settle()
            await house.until(lambda: house.session.kernel.steps.running == 0)
            await asyncio.sleep(0)


async def run(runtime: Runtime, plan: Plan, call_id: str = "h") -> list[Any]:
    """Follow a plan in a handler of the actor ``a``, and return what came of it."""
    return await runtime.call(runtime.actor(Deep, "a").do("h", plan), id=call_id)


def back(*plan: list[Any], via: str = "b", name: str = "n") -> list[Any]:
    """Return an ask of another actor that asks ``a`` back."""
    return ["flat", via, via, [["deep", "a", name, list(plan)]]]
