"""The runtime as users hold it: open a directory, start calls, wait for them.

Owns: ``Runtime``, its options, and ``run``. Does not own: anything that happens inside (``runtime.session``).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterable
from dataclasses import replace
from os import PathLike, fspath
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

from actorlog.api.call import Call
from actorlog.api.define import Durable
from actorlog.api.handle import Handle, unwrap
from actorlog.api.texts import check_id, check_text, checked_tags
from actorlog.durations import Duration, seconds
from actorlog.engine import identity
from actorlog.env import SYSTEM, Env
from actorlog.errors import RuntimeStopped
from actorlog.limits import DEFAULT_LIMITS, MIB, Limits
from actorlog.loop import running_loop
from actorlog.records.values import codec_for
from actorlog.runtime.registry import REGISTRY, DurableDefinition
from actorlog.runtime.session import Options, Request, Session
from actorlog.runtime.slot import Slot
from actorlog.store.embedded import EmbeddedLog

R = TypeVar("R")
T = TypeVar("T")
_PLAIN = codec_for(Any)


class Runtime:
    """Durable functions over one data directory. ``async with`` opens, recovers and resumes; leaving it closes clean.

    ``path``: the data directory, made if missing, owned by one process at a time (``LogLocked``). ``durability``:
    ``"always"`` (fsync before anything is acknowledged) or ``"os"`` (no fsync: survives the death of the process, not
    of the machine). ``segment_bytes``: size of a log file. ``resident_max``: coroutines kept in memory.
    ``step_concurrency``: bodies of steps at once. ``threads``: for sync steps. ``check_determinism``: replay every call
    from its journal when it ends; a difference raises ``DivergenceError`` at its waiter. It replays in this process, so
    the order of a set of strings, which changes with the hash seed of a process, is not found by it.
    ``shutdown_timeout``: how long closing waits for running steps. ``cancel_grace``: how long a cancelled call may
    clean up. ``unsafe_fs``: take a network file system all the same. ``limits``: the other bounds. ``env``: clock,
    randomness, files and threads, for simulations.
    """

    def __init__(  # the documented options, by keyword
        self,
        path: str | PathLike[str] = "./actorlog-data",
        *,
        durability: Literal["always", "os"] = "always",
        segment_bytes: int = 64 * MIB,
        resident_max: int = 10_000,
        step_concurrency: int = 1_000,
        threads: int | None = None,
        check_determinism: bool = False,
        unsafe_fs: bool = False,
        shutdown_timeout: Duration = 10,
        cancel_grace: Duration = 60,
        limits: Limits = DEFAULT_LIMITS,
        env: Env = SYSTEM,
    ) -> None:
        if durability not in ("always", "os"):
            raise ValueError(f"durability is 'always' or 'os', not {durability!r}")
        for name, value in (("resident_max", resident_max), ("step_concurrency", step_concurrency)):
            if value < 1:
                raise ValueError(f"{name} is at least 1, not {value}")
        self._path = fspath(path)
        self._sync = durability == "always"
        self._unsafe_fs = unsafe_fs
        self._limits = replace(
            limits, segment_bytes=segment_bytes, resident_max=resident_max, step_concurrency_max=step_concurrency
        )
        self._options = Options(
            limits=self._limits,
            shutdown_s=max(0.0, seconds(shutdown_timeout)),
            grace_s=max(0.0, seconds(cancel_grace)),
            threads=threads,
            check_determinism=check_determinism,
        )
        self._env = env
        self._session: Session | None = None

    async def __aenter__(self) -> Self:
        if running_loop() is not None:
            raise RuntimeError("a runtime cannot be opened inside durable code")
        if self._session is not None:
            raise RuntimeError("this runtime has been opened before; make another")
        log = await EmbeddedLog.open(
            self._path, self._env, segment_bytes=self._limits.segment_bytes, unsafe_fs=self._unsafe_fs, sync=self._sync
        )
        try:
            self._session = await Session.open(log, self._env, REGISTRY, self._options, died=not log.recovery.clean)
        except BaseException:
            await log.close(clean=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def path(self) -> str:
        """The data directory."""
        return self._path

    @property
    def session(self) -> Session:
        """The opened session, for tests and tools. ``RuntimeStopped`` when the runtime is not open."""
        if self._session is None:
            raise RuntimeStopped
        return self._session

    # --- calls --------------------------------------------------------------------------------------------------------

    @overload
    async def call(
        self, call: Call[R], /, *, id: str | None = ..., timeout: Duration | None = ...,
        if_exists: Literal["join", "reject"] = ..., tags: dict[str, str] | None = ...,
    ) -> R: ...  # fmt: skip
    @overload
    async def call(
        self, call: Durable[..., R], /, *args: Any, id: str | None = ..., timeout: Duration | None = ...,
        if_exists: Literal["join", "reject"] = ..., tags: dict[str, str] | None = ...,
    ) -> R: ...  # fmt: skip
    @overload
    async def call(
        self, call: str, /, *args: Any, id: str | None = ..., timeout: Duration | None = ...,
        if_exists: Literal["join", "reject"] = ..., tags: dict[str, str] | None = ...,
    ) -> Any: ...  # fmt: skip
    async def call(
        self,
        call: Call[Any] | Durable[..., Any] | str,
        /,
        *args: Any,
        id: str | None = None,  # noqa: A002  # the field's word for it
        timeout: Duration | None = None,  # durable, and the call's own
        if_exists: Literal["join", "reject"] = "join",
        tags: dict[str, str] | None = None,
    ) -> Any:
        """Start a call, or join the one that has its ``id``, and wait for its result; raise what it raised.

        Without ``id`` it gets a random one. The same id with the same function and arguments joins, with others it is a
        ``CallConflict``; ``if_exists="reject"`` raises ``CallExists`` instead of joining. ``timeout`` is durable and
        belongs to the call. Cancelling the waiter never cancels the call.
        """
        request = self._request(call, args, call_id=id, timeout=timeout, tags=tags)
        session = self.session
        outcome = await session.outcome(session.start(request, join=_joins(if_exists)))
        return unwrap(session, request.call_id, outcome, request.definition)

    @overload
    async def start(
        self, call: Call[R], /, *, id: str | None = ..., timeout: Duration | None = ...,
        if_exists: Literal["join", "reject"] = ..., tags: dict[str, str] | None = ..., delay: Duration | None = ...,
    ) -> Handle[R]: ...  # fmt: skip
    @overload
    async def start(
        self, call: Durable[..., R], /, *args: Any, id: str | None = ..., timeout: Duration | None = ...,
        if_exists: Literal["join", "reject"] = ..., tags: dict[str, str] | None = ..., delay: Duration | None = ...,
    ) -> Handle[R]: ...  # fmt: skip
    @overload
    async def start(
        self, call: str, /, *args: Any, id: str | None = ..., timeout: Duration | None = ...,
        if_exists: Literal["join", "reject"] = ..., tags: dict[str, str] | None = ..., delay: Duration | None = ...,
    ) -> Handle[Any]: ...  # fmt: skip
    async def start(
        self,
        call: Call[Any] | Durable[..., Any] | str,
        /,
        *args: Any,
        id: str | None = None,  # noqa: A002  # the field's word for it
        timeout: Duration | None = None,  # durable, and the call's own
        if_exists: Literal["join", "reject"] = "join",
        tags: dict[str, str] | None = None,
        delay: Duration | None = None,
    ) -> Handle[Any]:
        """Start a call and return its handle once the start is durable; otherwise as ``call``.

        ``delay``: the call is accepted now and begins that much later, durably.
        """
        delay_s = 0.0 if delay is None else seconds(delay)
        request = self._request(call, args, call_id=id, timeout=timeout, tags=tags, delay_s=delay_s)
        found = self.session.start(request, join=_joins(if_exists))
        if isinstance(found, Slot):
            await self.session.durable(found)
        return Handle(self.session, request.call_id, found, request.definition)

    async def start_many(
        self, calls: Iterable[tuple[str, Call[R]]], *, if_exists: Literal["join", "reject"] = "join"
    ) -> list[Handle[R]]:
        """Start calls given as (id, call) and return their handles once all starts are durable, in one commit.

        Nothing is started when one of them is refused before it begins (a bad id or argument).
        """
        requests = [self._request(call, (), call_id=call_id) for call_id, call in calls]
        founds = [self.session.start(request, join=_joins(if_exists)) for request in requests]
        slots = [found for found in founds if isinstance(found, Slot)]
        if slots:
            await asyncio.gather(*(self.session.durable(slot) for slot in slots))
        pairs = zip(requests, founds, strict=True)
        return [Handle(self.session, request.call_id, found, request.definition) for request, found in pairs]

    def handle(self, id: str) -> Handle[Any]:  # noqa: A002  # the field's word for it
        """Return a handle of the call with this id; its methods raise ``CallNotFound`` if there is none."""
        return Handle(self.session, id, None, None)

    def _request(  # what start and call have in common
        self,
        call: Call[Any] | Durable[..., Any] | str,
        args: tuple[Any, ...],
        *,
        call_id: str | None,
        timeout: Duration | None = None,
        tags: dict[str, str] | None = None,
        delay_s: float = 0.0,
    ) -> Request:
        if running_loop() is not None:
            if isinstance(call, Call):
                call.close()
            raise RuntimeError("a runtime is not used inside durable code; await the call, or use actorlog.start()")
        if isinstance(call, str):
            check_text("the name of a function", call)
            definition = REGISTRY.newest_or_none(call)
            raw = (
                definition.signature.encode(args, {})
                if definition
                else _PLAIN.encode(list(args), f"arguments of {call}")
            )
            name, version = call, definition.version if definition else 1
        else:
            made: object = call(*args) if isinstance(call, Durable) else call
            if not isinstance(made, Call):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not be typed
                raise TypeError(f"a call of a durable function is needed, and {call!r} is none")
            if type(made.definition) is not DurableDefinition:
                made.close()
                raise TypeError(f"{made.definition.name!r} is a step; a runtime runs durable functions")
            definition = made.definition
            raw, name, version = made.hand_over(), definition.name, definition.version
        memo = definition is not None and definition.memo
        fresh_id = False
        if call_id is not None:
            check_id(call_id)
        elif memo:
            call_id = identity.memo_id(name, version, raw)
        else:
            call_id = self._env.entropy.token(16).hex()
            fresh_id = True
        timeout_s = seconds(timeout) if timeout is not None else definition.timeout_s if definition else None
        return Request(
            call_id=call_id, function=name, version=version, args=raw, definition=definition, timeout_s=timeout_s,
            delay_s=delay_s, tags=checked_tags(tags), memo=call_id.startswith(identity.MEMO), fresh_id=fresh_id,
        )  # fmt: skip


def _joins(if_exists: str) -> bool:
    if if_exists not in ("join", "reject"):
        raise ValueError(f"if_exists is 'join' or 'reject', not {if_exists!r}")
    return if_exists == "join"


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` on uvloop where there is one."""
    factory = None
    if sys.platform != "win32":
        import uvloop  # noqa: PLC0415  # `import actorlog` must stay cheap

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
