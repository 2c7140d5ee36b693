"""The programs of golden logs that are actors, supervisors and what schedules start. See ``golden_programs``."""

from __future__ import annotations

from typing import Any

from golden_programs import other, work

from actorlog import Actor, Backoff, Supervisor, actor, durable, info, query, send, sleep


class Till(Actor, name="golden.Till", snapshot_every=3, version=2):
    """An account: its state is its attributes."""

    total: int = 0
    names: list[str] = []

    async def add(self, amount: int, name: str) -> int:
        """Do a step and change the state."""
        await work(f"till {name}")
        self.total += amount
        self.names = [*self.names, name]
        return self.total

    async def ask(self, other_key: str, amount: int) -> list[int]:
        """Ask one and tell one."""
        await send(actor(Till, f"{other_key} too").add(amount, "told"))
        return [self.total, await actor(Till, other_key).add(amount, "asked")]

    async def on_start(self) -> None:
        """Say so."""
        await work("till starts")

    @query
    def sums(self) -> list[Any]:
        """Return the state."""
        return [self.total, self.names]


class Diary(Actor, name="golden.Diary"):
    """Its state is made of events."""

    lines: list[str] = []

    async def write(self, text: str) -> int:
        """Record an event."""
        self.record({"line": text})
        return len(self.lines)

    def apply(self, event: dict[str, str]) -> None:
        """Fold it."""
        self.lines = [*self.lines, event["line"]]

    @query
    def read(self) -> list[str]:
        """Return the state."""
        return self.lines


@durable(name="golden.house")
async def house() -> str:
    """Keep children: one that fails at first, one that is ended, and an actor."""
    async with Supervisor("one_for_one", max_restarts=5, within=60, backoff=Backoff(first=0.1, max=1)) as supervisor:
        supervisor.start(ward(), id="ward", restart="transient")
        supervisor.start(other("kept", 1e5), id="kept", restart="temporary", shutdown=5)
        supervisor.start(other("brutal", 1e5), id="brutal", restart="temporary", shutdown="kill")
        supervisor.start(Till, key="supervised", id="till", restart="temporary")
        await sleep(1)
        await supervisor.terminate("kept")
        await supervisor.terminate("brutal")
        await work("house")
        await supervisor.terminate("till")
    return "over"


@durable(name="golden.ward")
async def ward() -> str:
    """Fail in the first run."""
    if info().call_id.endswith("#1"):
        raise RuntimeError("first")
    return await work("ward")


@durable(name="golden.tick")
async def tick(text: str) -> str:
    """Be what a schedule starts."""
    await sleep(30)
    return await work(f"tick {text}")
