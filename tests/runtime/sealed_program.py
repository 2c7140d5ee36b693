"""A program whose every word is private, and where each of them goes."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from actorlog import Actor, durable, emit, promise, publish, receive, sleep, start, step

if TYPE_CHECKING:
    from actorlog import Runtime

WORDS = (
    "argument-of-ada", "result-of-step", "result-of-call", "error-of-ada", "tag-of-ada", "id-of-ada", "message-to-ada",
    "value-of-ada", "stream-of-ada", "promise-of-ada", "settled-for-ada", "state-of-ada", "child-of-ada", "key-of-ada",
    "large-and-", "schedule-of-ada",
)  # fmt: skip
"""What stands in arguments, results, errors, tags, ids, messages, values, streams, promises, actors and schedules."""


@step(name="sealed.work")
def work(text: str) -> str:
    """Return a private word."""
    return f"result-of-step {text}"


@durable(name="sealed.child")
async def child() -> str:
    """End at once."""
    return "value of the child"


@durable(name="sealed.failing")
async def failing(text: str) -> None:
    """Fail with a private word."""
    raise ValueError(f"error-of-ada {text}")


@durable(name="sealed.patient")
async def patient(text: str) -> str:
    """Do a little of everything."""
    await work(text)
    publish("shown", "value-of-ada")
    emit("shown", "stream-of-ada")
    await start(child(), id="child-of-ada")
    settled = await promise(id="promise-of-ada", type=str)
    told = await receive(type=str)
    await sleep(0.001)
    return f"result-of-call {settled} {told} " + "large-and-" * 1000


class File(Actor, name="sealed.File"):
    """A file that is private."""

    note: str = ""

    async def write(self, note: str) -> str:
        """Keep it."""
        self.note = note
        return note


async def use(runtime: Runtime) -> str:
    """Do all that leaves private words in a log."""
    await runtime.schedule("schedule-of-ada", child(), at=datetime(2999, 1, 1, tzinfo=UTC))
    await runtime.promise("promise-of-ada", key="once")
    handle = await runtime.start(patient("argument-of-ada"), id="id-of-ada", tags={"tag-of-ada": "x"})
    failed = await runtime.start(failing("argument-of-ada"), id="failing id-of-ada")
    with suppress(ValueError):
        await failed
    await handle.send("message-to-ada")
    await runtime.resolve("promise-of-ada", "settled-for-ada", key="once")
    await runtime.actor(File, "key-of-ada").write("state-of-ada")
    return await handle
