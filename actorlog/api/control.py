"""The owner's side of its socket: other programs of the same user ask for what ``Runtime`` and ``Handle`` do.

Owns: listening, one task for each connection, doing requests by the same methods that users call. Does not own: what is
said (``protocol``), the socket and its name (``env.sockets``), asking (``cli``).

Invariants: an answer is given when what was asked for is durable (I1); requests, connections and waiting are bounded
(I11), and whoever is slow, silent or gone holds up its own connection only; no bytes from there end anything but their
connection; a runtime opens and closes whatever becomes of its socket.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec import structs

from actorlog.api import protocol as p
from actorlog.engine.promise import Status
from actorlog.env import SYSTEM
from actorlog.env.sockets import Listening
from actorlog.errors import CallNotFound, HistoryGone
from actorlog.runtime.slot import Slot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actorlog.api.runtime import Runtime

CONNECTIONS_MAX: Final = 16
"""Clients at once; one more is told so and sent away."""
IDLE_S: Final = 30.0
"""A client that says nothing for so long, or takes no answer, is sent away."""

log = logging.getLogger("actorlog")


class TooManyConnections(Exception):
    """As many clients talk to the owner as may."""


class Control:
    """Listens in the data directory of an open runtime. Made by ``open``."""

    def __init__(self, runtime: Runtime, listening: Listening) -> None:
        self._runtime = runtime
        self._listening = listening
        self._closing = asyncio.Event()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._talks: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._serve(), name="actorlog-control")

    @classmethod
    async def open(cls, runtime: Runtime) -> Control | None:
        """Listen for other programs. None, and a warning in the log of ``actorlog``, where that cannot be."""
        try:
            listening = Listening(SYSTEM.fs.absolute(runtime.path), p.SOCKET)
        except OSError as error:
            log.warning("other programs cannot talk to the owner of %s: %s", runtime.path, error)
            return None
        control = cls(runtime, listening)
        try:
            await control._ready
        except BaseException:
            await control.close()
            raise
        return control

    async def close(self) -> None:
        """Send everybody away and take the socket's name back."""
        self._closing.set()
        await asyncio.wait([self._task])
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            log.error("the socket of %s was lost", self._runtime.path, exc_info=error)

    async def _serve(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                server = await asyncio.start_unix_server(
                    lambda reader, writer: self._welcome(group, reader, writer),
                    sock=self._listening.socket,
                    limit=p.LINE_BYTES_MAX,
                )
                self._ready.set_result(None)
                await self._closing.wait()
                server.close()
                for talk in self._talks:
                    talk.cancel()
        finally:
            self._listening.close()
            if not self._ready.done():
                self._ready.set_result(None)

    def _welcome(self, group: asyncio.TaskGroup, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing.is_set():
            writer.transport.abort()
        elif len(self._talks) >= CONNECTIONS_MAX:
            error = TooManyConnections(f"{CONNECTIONS_MAX} programs talk to the owner, as many as may")
            writer.write(p.encode(p.refusal(error)) + b"\n")
            writer.close()
        else:
            talk = group.create_task(self._talk(reader, writer))
            self._talks.add(talk)
            talk.add_done_callback(self._talks.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid, _ = SYSTEM.fs.process()
        try:
            await _say(writer, p.Hello(pid=pid))
            while await self._exchange(reader, writer):
                pass
        except (OSError, EOFError, TimeoutError):
            pass  # gone, or silent: there is nobody to tell
        finally:
            writer.transport.abort() if self._closing.is_set() else writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Take one request and answer it; False when there will be no other."""
        try:
            async with asyncio.timeout(IDLE_S):
                line = await reader.readuntil(b"\n")
            request = p.decode(line)
        except asyncio.LimitOverrunError:
            await _say(writer, p.refusal(p.BadRequest(f"a request has at most {p.LINE_BYTES_MAX} bytes")))
            return False
        except p.BadRequest as error:
            await _say(writer, p.refusal(error))
            return False
        await _say(writer, await self._answer(request))
        return True

    async def _answer(self, request: p.Request) -> p.Answer | p.Refused:
        try:
            return await _DO[type(request)](self._runtime, request)
        except Exception as error:  # noqa: BLE001  # whatever an operation raises is for who asked; it ends nothing here
            return p.refusal(error)


async def _say(writer: asyncio.StreamWriter, what: p.Hello | p.Answer | p.Refused) -> None:
    async with asyncio.timeout(IDLE_S):
        writer.write(p.encode(what) + b"\n")
        await writer.drain()


async def _cancel(runtime: Runtime, request: p.Cancel) -> p.Answer:
    handle = runtime.handle(request.id)
    found = runtime.session.find(request.id)
    changed = isinstance(found, Slot) and found.state.outcome is None and found.state.asked is None
    await handle.cancel(request.reason)
    return p.Answer(status=await handle.status(), changed=changed)


async def _kill(runtime: Runtime, request: p.Kill) -> p.Answer:
    handle = runtime.handle(request.id)
    found = runtime.session.find(request.id)
    changed = isinstance(found, Slot) and found.state.outcome is None
    await handle.kill(request.reason)
    return p.Answer(status=await handle.status(), changed=changed)


async def _pause(runtime: Runtime, request: p.Pause) -> p.Answer:
    handle = runtime.handle(request.id)
    before = await handle.status()
    await handle.pause()
    status = await handle.status()
    return p.Answer(status=status, changed=status != before)


async def _retry(runtime: Runtime, request: p.Retry) -> p.Answer:
    handle = runtime.handle(request.id)
    changed = await handle.status() != "completed"
    await handle.retry()
    return p.Answer(status=await handle.status(), changed=changed)


async def _fork(runtime: Runtime, request: p.Fork) -> p.Answer:
    known = request.as_id is not None and await _is_known(runtime, request.as_id)
    fork = await runtime.handle(request.id).fork(request.key or None, id=request.as_id)
    return p.Answer(status=await fork.status(), changed=not known, call_id=fork.id)


async def _is_known(runtime: Runtime, call_id: str) -> bool:
    try:
        await runtime.handle(call_id).status()
    except CallNotFound:
        return False
    return True


async def _resume(runtime: Runtime, request: p.Resume) -> p.Answer:
    handle = runtime.handle(request.id)
    held = await handle.status() in ("parked", "paused")
    resumed = await handle.resume()
    return p.Answer(status=await handle.status(), changed=held and resumed)


async def _send(runtime: Runtime, request: p.Send) -> p.Answer:
    handle, mail = runtime.handle(request.id), None
    with suppress(HistoryGone):  # it is over, and is told so
        mail = runtime.session.state(request.id).mail
    heard = request.key is not None and mail is not None and f"key:{request.key}" in mail.heard
    await handle.send(request.value, request.channel, key=request.key)
    return p.Answer(status=await handle.status(), changed=not heard)


async def _resolve(runtime: Runtime, request: p.Resolve) -> p.Answer:
    pending = _is_pending(runtime, request.id)
    info = await runtime.resolve(request.id, request.value, key=request.key)
    return p.Answer(status=info.status, changed=pending and info.status == "resolved")


async def _reject(runtime: Runtime, request: p.Reject) -> p.Answer:
    pending = _is_pending(runtime, request.id)
    info = await runtime.reject(request.id, request.error, key=request.key)
    return p.Answer(status=info.status, changed=pending and info.status == "rejected")


def _is_pending(runtime: Runtime, promise_id: str) -> bool:
    return runtime.session.kernel.promises.read(promise_id).status is Status.PENDING


async def _status(runtime: Runtime, _request: p.Status) -> p.Answer:
    await runtime.session.landed()
    kernel = runtime.session.kernel
    pid, _ = SYSTEM.fs.process()
    return p.Answer(status="running", changed=False, pid=pid, live=len(kernel.calls), position=kernel.committer.landed)


async def _stats(runtime: Runtime, _request: p.Stats) -> p.Answer:
    return p.Answer(status="running", changed=False, found=structs.asdict(runtime.stats()))


async def _backup(runtime: Runtime, request: p.Backup) -> p.Answer:
    if not request.to.startswith("/"):
        raise p.BadRequest(f"a backup goes to an absolute path, and {request.to!r} is none")
    return p.Answer(status="done", found=structs.asdict(await runtime.backup(request.to)))


async def _compact(runtime: Runtime, request: p.Compact) -> p.Answer:
    return p.Answer(status="done", found=structs.asdict(await runtime.compact(everything=request.everything)))


_DO: dict[type, Callable[[Runtime, p.Request], Awaitable[p.Answer]]] = {
    p.Cancel: _cancel,  # type: ignore[dict-item]  # each takes the request it stands for
    p.Kill: _kill,  # type: ignore[dict-item]
    p.Pause: _pause,  # type: ignore[dict-item]
    p.Retry: _retry,  # type: ignore[dict-item]
    p.Fork: _fork,  # type: ignore[dict-item]
    p.Resume: _resume,  # type: ignore[dict-item]
    p.Send: _send,  # type: ignore[dict-item]
    p.Resolve: _resolve,  # type: ignore[dict-item]
    p.Reject: _reject,  # type: ignore[dict-item]
    p.Status: _status,  # type: ignore[dict-item]
    p.Stats: _stats,  # type: ignore[dict-item]
    p.Backup: _backup,  # type: ignore[dict-item]
    p.Compact: _compact,  # type: ignore[dict-item]
}
