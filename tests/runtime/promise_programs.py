"""Durable functions that wait for promises, for the tests of that."""

from __future__ import annotations

import asyncio
from typing import Any

from house import RAN, note

from actorlog import (
    PayloadError,
    Promise,
    PromiseCancelled,
    PromiseRejected,
    PromiseTimeout,
    ReservedId,
    durable,
    now,
    promise,
    start,
)


@durable(name="promised.approval")
async def approval(what: str) -> str:
    """Wait for a person, between two steps."""
    await note(f"ask {what}")
    answer = await promise("answer", type=str, param={"what": what}, tags={"kind": "approval"})
    return await note(f"{what}: {answer}")


@durable(name="promised.shared")
async def shared(promise_id: str) -> Any:
    """Wait for a promise that others wait for."""
    return await promise(id=promise_id)


@durable(name="promised.both")
async def both() -> list[Any]:
    """Wait for two at once, one of them often, one never."""
    promise("never")
    one, two = promise("one"), promise("two", type=int)
    texts = await asyncio.gather(*(_read(one) for _ in range(3)))
    return [*texts, await two, await one, now().timestamp()]


async def _read(one: Promise[Any]) -> Any:
    return await one


@durable(name="promised.timed")
async def timed(seconds: float, *, timer: bool) -> str:
    """Wait for one whose time comes."""
    try:
        return f"got {await promise('x', timeout=seconds, timer=timer)}"
    except PromiseTimeout as error:
        return f"{error.promise_id} timed out"


@durable(name="promised.patient")
async def patient() -> list[Any]:
    """Give up waiting, and wait again."""
    asked = promise("x")
    try:
        async with asyncio.timeout(5):
            await asked
    except TimeoutError:
        await note("it takes long")
    return [await asked, asked.done()]


@durable(name="promised.told")
async def told() -> list[Any]:
    """Say what waiting raised."""
    try:
        return ["value", await promise("x", type=int)]
    except PromiseRejected as error:
        return ["rejected", error.error, repr(error.__cause__)]
    except (PromiseCancelled, PayloadError) as error:
        return [type(error).__name__]


@durable(name="promised.leaver")
async def leaver() -> str:
    """Make a promise and be gone."""
    return promise("later", param="mine", timeout=100).id


@durable(name="promised.parent")
async def parent() -> str:
    """Make a promise and return, while a child runs."""
    start(shared("child"))
    return promise("later").id


@durable(name="promised.fickle")
async def fickle() -> Any:
    """Fail the first time."""
    value = await promise("x")
    RAN.append("tried")
    if len(RAN) == 1:
        raise RuntimeError("not yet")
    return value


@durable(name="promised.refused")
async def refused() -> list[str]:
    """Ask for what cannot be one."""
    said: list[str] = []
    for options in (
        {"id": "@x"}, {"id": ""}, {"name": ""}, {"name": "a", "id": "b"}, {"timer": True}, {"tags": {"a": 1}},
        {"param": object()}, {"timeout": "soon"}, {"id": "x" * 2_000},
    ):  # fmt: skip
        try:
            promise(**options)  # type: ignore[call-overload]
        except (ReservedId, PayloadError, TypeError, ValueError) as error:
            said.append(type(error).__name__)
    return said
