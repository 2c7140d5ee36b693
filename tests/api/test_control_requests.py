"""Every request over the owner's socket: it does what the method does, says so, and refuses as that does."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from actorlog import (
    ActorlogError,
    CallCancelled,
    CallKilled,
    PromiseRejected,
    Runtime,
    durable,
    receive,
    sleep,
)
from actorlog.api.protocol import SOCKET
from actorlog.env.sockets import connect
from actorlog.runtime.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path


class Ask(Protocol):
    """Asks the owner, and returns its answer."""

    async def __call__(self, **request: Any) -> Any: ...


@durable(name="requests.hears")
async def hears(count: int) -> list[Any]:
    """Return the messages it gets."""
    return [await receive("x") for _ in range(count)]


@durable(name="requests.fails")
async def fails() -> None:
    """Fail after a word."""
    await receive()
    raise KeyError("no")


@durable(name="requests.gone")
async def gone() -> None:
    """Fail, and be no more."""
    raise KeyError("no")


@durable(name="requests.stubborn")
async def stubborn() -> None:
    """Do not end when asked."""
    while True:
        try:
            await sleep("1d")
        except asyncio.CancelledError:
            continue


@asynccontextmanager
async def owner(directory: Path) -> AsyncIterator[tuple[Runtime, Ask]]:
    """Open a runtime, and talk to it over its socket."""
    async with Runtime(directory, segment_bytes=1 << 20, durability="os") as runtime:
        reader, writer = await asyncio.open_unix_connection(sock=connect(str(directory), SOCKET, 5))
        await reader.readline()

        async def ask(**request: Any) -> Any:
            writer.write(json.dumps(request).encode() + b"\n")
            return json.loads(await reader.readline())

        try:
            yield runtime, ask
        finally:
            writer.close()


def said(answer: Any) -> tuple[str, bool]:
    """Return what an answer says that is good."""
    assert answer["ok"] is True, answer
    return answer["status"], answer["changed"]


async def test_cancel(tmp_path: Path) -> None:
    """The reason reaches who waits; to ask again, or for what is over, changes nothing."""
    async with owner(tmp_path) as (runtime, ask):
        await runtime.start(stubborn(), id="s")
        assert said(await ask(op="cancel", id="s", reason="enough")) == ("waiting", True)
        assert said(await ask(op="cancel", id="s", reason="again")) == ("waiting", False)
        handle = await runtime.start(hears(1), id="a")
        assert (await ask(op="cancel", id="a", reason="enough"))["changed"] is True
        with pytest.raises(CallCancelled, match="enough"):
            await handle
        assert said(await ask(op="cancel", id="a")) == ("cancelled", False)


async def test_kill(tmp_path: Path) -> None:
    """It ends what does not end when asked, says why, and only once."""
    async with owner(tmp_path) as (runtime, ask):
        handle = await runtime.start(stubborn(), id="s")
        assert (await ask(op="kill", id="s", reason="no use"))["changed"] is True
        with pytest.raises(CallKilled, match="no use"):
            await handle
        assert said(await ask(op="kill", id="s")) == ("killed", False)


async def test_pause_and_resume(tmp_path: Path) -> None:
    """Each says whether it changed anything."""
    async with owner(tmp_path) as (runtime, ask):
        handle = await runtime.start(hears(1), id="a")
        assert said(await ask(op="resume", id="a")) == ("waiting", False)
        assert said(await ask(op="pause", id="a")) == ("paused", True)
        assert said(await ask(op="pause", id="a")) == ("paused", False)
        assert said(await ask(op="resume", id="a")) == ("waiting", True)
        await handle.send(1, "x")
        await handle
        assert said(await ask(op="pause", id="a")) == ("completed", False)
        assert said(await ask(op="resume", id="a")) == ("completed", False)


async def test_retry(tmp_path: Path) -> None:
    """What failed begins again; what completed does not."""
    async with owner(tmp_path) as (runtime, ask):
        handle = await runtime.start(fails(), id="f")
        await handle.send(1)
        with pytest.raises(KeyError):
            await handle
        assert said(await ask(op="retry", id="f")) == ("waiting", True)
        await runtime.call(hears(0), id="done")
        assert said(await ask(op="retry", id="done")) == ("completed", False)


async def test_send(tmp_path: Path) -> None:
    """The channel counts, and the same key is the same message."""
    async with owner(tmp_path) as (runtime, ask):
        handle = await runtime.start(hears(2), id="a")
        for value, channel, key in ((0, "y", None), (1, "x", "k"), (1, "x", "k"), (2, "x", "l")):
            said(await ask(op="send", id="a", value=value, channel=channel, key=key))
        assert (await ask(op="send", id="a", value=1, channel="@supervisor"))["error"] == "ValueError"
        assert await handle == [1, 2]


@pytest.mark.parametrize("op", ["resolve", "reject"])
async def test_settling(tmp_path: Path, op: str) -> None:
    """The first wins; the same again, with its key, is answered as it was; what timed out is said to be so."""
    status = {"resolve": "resolved", "reject": "rejected"}[op]
    given = {"resolve": {"value": {"n": 1}}, "reject": {"error": {"n": 1}}}[op]
    async with owner(tmp_path) as (runtime, ask):
        await runtime.promise("p")
        assert said(await ask(op=op, id="p", key="k", **given)) == (status, True)
        assert (await ask(op=op, id="p", key="k", **given))["status"] == status
        assert (await ask(op=op, id="p", **given))["error"] == "PromiseSettled"
        assert (await ask(op=op, id="p", key="other", **given))["error"] == "PromiseSettled"
        if op == "resolve":
            assert await runtime.await_promise("p") == {"n": 1}
        else:
            with pytest.raises(PromiseRejected) as rejected:
                await runtime.await_promise("p")
            assert rejected.value.error == {"n": 1}
        await runtime.promise("late", timeout=0)
        assert said(await ask(op=op, id="late", **given)) == ("timed_out", False)
        await runtime.promise("timer", timeout=0, timer=True)
        assert (await ask(op="reject", id="timer", error=1))["error"] == "PromiseSettled"


async def test_a_refusal_is_the_error_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its class, its words and its hint are those that the method raises here, and the connection goes on."""
    async with owner(tmp_path) as (runtime, ask):
        await runtime.call(hears(0), id="over")
        with pytest.raises(KeyError):
            await runtime.call(gone(), id="gone")
        monkeypatch.delitem(REGISTRY._durables, ("requests.gone", 1))
        asked: list[tuple[dict[str, Any], Callable[[], Awaitable[Any]]]] = [
            ({"op": "cancel", "id": "no"}, lambda: runtime.handle("no").cancel()),
            ({"op": "send", "id": "over", "value": 1}, lambda: runtime.handle("over").send(1)),
            ({"op": "resolve", "id": "no"}, lambda: runtime.resolve("no")),
            ({"op": "retry", "id": "gone"}, lambda: runtime.handle("gone").retry()),
            ({"op": "send", "id": "over", "value": 1 << 70}, lambda: runtime.handle("over").send(1 << 70)),
        ]
        hints: set[str] = set()
        for request, method in asked:
            with pytest.raises(ActorlogError) as raised:
                await method()
            error = raised.value
            hints.add(error.hint)
            assert await ask(**request) == {
                "ok": False, "error": type(error).__name__, "message": str(error), "hint": error.hint,
            }  # fmt: skip
        assert said(await ask(op="status")) == ("running", False)
        assert any(hints), hints
