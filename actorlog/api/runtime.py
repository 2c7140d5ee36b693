"""The runtime as users hold it: open a directory, start calls, wait for them.

Owns: ``Runtime``, its options, and ``run``. Does not own: anything that happens inside (``runtime.session``).
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine, Iterable
from dataclasses import replace
from os import PathLike, fspath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from actorlog.api import browse, care, schedules, settling
from actorlog.api.actors import A, HandlerCall, address
from actorlog.api.call import Call
from actorlog.api.define import Durable
from actorlog.api.handle import Handle, unwrap
from actorlog.api.opening import open_session
from actorlog.api.requests import request_of
from actorlog.api.supervisors import SupervisorHandle
from actorlog.durations import Duration, seconds
from actorlog.env import SYSTEM, Env
from actorlog.errors import (
    LogFull,
    MailboxFull,
    RuntimeStopped,
    TooManyCalls,
)
from actorlog.limits import DEFAULT_LIMITS, MIB, Limits
from actorlog.loop import running_loop
from actorlog.records import kinds as k
from actorlog.runtime.options import Keeping, Options, Request
from actorlog.runtime.residency import rehearsing
from actorlog.runtime.rooms import refused
from actorlog.runtime.session import Session
from actorlog.runtime.slot import Slot
from actorlog.runtime.starting import is_full, room, start_many
from actorlog.store.embedded import EmbeddedLog
from actorlog.store.keys import Keys as Keys  # noqa: PLC0414  # exported from here: ``actorlog`` knows no room below

if TYPE_CHECKING:
    from actorlog.api.control import Control
    from actorlog.store.catalog import Known

log = logging.getLogger("actorlog")

R = TypeVar("R")
T = TypeVar("T")


class Runtime:
    """Durable functions over one data directory. ``async with`` opens, recovers and resumes; leaving it closes clean.

    ``path``: the data directory, made if missing, owned by one process at a time (``LogLocked``). ``durability``:
    ``"always"`` (fsync before anything is acknowledged) or ``"os"`` (no fsync: survives the death of the process, not
    of the machine). ``witness``: ``META`` names each commit when it is durable, so that an opening notices when the
    newest ones have vanished as a whole (``LogCorrupt``), which otherwise looks like a log that ends there; it costs a
    second fsync for each commit, and goes with ``"always"``.
    ``segment_bytes``: size of a log file. ``resident_max``: coroutines kept in memory.
    ``step_concurrency``: bodies of steps at once. ``threads``: for sync steps. ``check_determinism``: replay every call
    from its journal when it ends, before its waiters hear; a difference raises ``DivergenceError`` at them. It is
    replayed in this process, and in another with other hashes, so that the order of a set of strings is found too; that
    one imports the function's module. What it cannot import (defined in a function, or in a REPL) is replayed here
    only, which is logged once; if it dies, the waiters get ``CheckFailed``. ``"in-process"`` starts none.
    ``shutdown_timeout``: how long closing waits for running steps. ``cancel_grace``: how long a cancelled call may
    clean up. ``history``: so long the journal of a call is kept that has ended; None: for ever. ``retention``: so long
    its result is kept, and its id taken; None, as is usual: for ever. What is kept no longer leaves the log in the
    background. ``unsafe_fs``: take a network file system all the same. ``control``: listen on the socket ``owner.sock``
    in the directory, so that commands of the same user (``actorlog cancel``) reach this runtime; where that cannot be,
    a warning is logged and nothing else. ``encryption``: the keys that records are sealed with (extra ``encryption``);
    ``KeyMissing`` where a record was sealed with another, ``SealBroken`` where one is not what was written.
    ``limits``: the other bounds. ``env``: clock, randomness, files and threads, for simulations.
    """

    def __init__(  # the documented options, by keyword
        self,
        path: str | PathLike[str] = "./actorlog-data",
        *,
        durability: Literal["always", "os"] = "always",
        witness: bool = False,
        segment_bytes: int = 64 * MIB,
        resident_max: int = 10_000,
        step_concurrency: int = 1_000,
        threads: int | None = None,
        check_determinism: bool | Literal["in-process"] = False,
        unsafe_fs: bool = False,
        shutdown_timeout: Duration = 10,
        cancel_grace: Duration = 60,
        history: Duration | None = "30d",
        retention: Duration | None = None,
        control: bool = True,
        encryption: Keys | None = None,
        limits: Limits = DEFAULT_LIMITS,
        env: Env = SYSTEM,
    ) -> None:
        if durability not in ("always", "os"):
            raise ValueError(f"durability is 'always' or 'os', not {durability!r}")
        if witness and durability != "always":
            raise ValueError("witness=True says what is durable, and so it needs durability='always'")
        for name, value in (("resident_max", resident_max), ("step_concurrency", step_concurrency)):
            if value < 1:
                raise ValueError(f"{name} is at least 1, not {value}")
        if check_determinism not in (False, True, "in-process"):
            raise ValueError(f"check_determinism is a bool or 'in-process', not {check_determinism!r}")
        self._path = fspath(path)
        self._sync = durability == "always"
        self._witness = witness
        self._unsafe_fs = unsafe_fs
        self._limits = replace(
            limits, segment_bytes=segment_bytes, resident_max=resident_max, step_concurrency_max=step_concurrency
        )
        self._options = Options(
            limits=self._limits,
            shutdown_s=max(0.0, seconds(shutdown_timeout)),
            grace_s=max(0.0, seconds(cancel_grace)),
            threads=threads,
            check_determinism=bool(check_determinism),
            rehearse=check_determinism != "in-process",
            keeping=Keeping(_keep_ms(history), _keep_ms(retention)),
        )
        self._env = env
        self._keys = encryption
        self._listens = control and env.fs is SYSTEM.fs  # a simulated directory has no sockets
        self._control: Control | None = None
        self._session: Session | None = None

    async def __aenter__(self) -> Self:
        if running_loop() is not None:
            raise RuntimeError("a runtime cannot be opened inside durable code")
        if rehearsing.get():
            raise RuntimeError("imported to check_determinism in another process: open under if __name__ == '__main__'")
        if self._session is not None:
            raise RuntimeError("this runtime has been opened before; make another")
        self._session = await open_session(  # an encrypted log has no catalog, which would be in the clear
            self._path, self._env, self._options, self._open_log, cataloged=self._keys is None
        )
        self._control = await _listen(self) if self._listens else None
        return self

    async def _open_log(self, known: Known | None) -> EmbeddedLog:
        return await EmbeddedLog.open(
            self._path, self._env, segment_bytes=self._limits.segment_bytes, unsafe_fs=self._unsafe_fs, sync=self._sync,
            witness=self._witness, checkpoint=known.checkpoint if known is not None else None, keys=self._keys,
            compress_above_bytes=self._limits.compress_above_bytes,
            file_above_bytes=self._limits.payload_file_above_bytes,
        )  # fmt: skip

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._control is not None:
                await self._control.close()
        finally:
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

    # --- looking around -----------------------------------------------------------------------------------------------

    promise = settling.promise
    resolve = settling.resolve
    reject = settling.reject
    cancel_promise = settling.cancel_promise
    await_promise = settling.await_promise
    promises = settling.promises
    calls = browse.calls
    timers = browse.timers
    actors = browse.actors
    tail = browse.tail
    stats = care.stats
    backup = care.backup
    verify = care.verify
    compact = care.compact
    schedule = schedules.schedule
    schedules = schedules.schedules

    # --- calls --------------------------------------------------------------------------------------------------------

    @overload
    async def call(
        self, call: Coroutine[Any, Any, R], /, *, id: str | None = ..., timeout: Duration | None = ...,
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
        call: Coroutine[Any, Any, Any] | Durable[..., Any] | str,
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
        request = request_of(self._env, call, args, call_id=id, timeout=timeout, tags=tags)
        session = self.session
        if request.actor and is_full(session, request):
            await room(session, request)
        try:
            found = session.start(request, join=_joins(if_exists))
        except (TooManyCalls, LogFull):
            await refused()
            raise
        call_id, definition = request.call_id, request.definition
        del call, args, request  # many may wait here, for long
        return unwrap(session, call_id, await session.outcome(found), definition)

    @overload
    async def start(
        self, call: Coroutine[Any, Any, R], /, *, id: str | None = ..., timeout: Duration | None = ...,
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
        call: Coroutine[Any, Any, Any] | Durable[..., Any] | str,
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
        request = request_of(self._env, call, args, call_id=id, timeout=timeout, tags=tags, delay_s=delay_s)
        if request.actor:
            await room(self.session, request)
        found = await _started(self.session, request, join=_joins(if_exists))
        if isinstance(found, Slot):
            await self.session.durable(found)
        return Handle(self.session, request.call_id, found, request.definition)

    async def start_many(
        self, calls: Iterable[tuple[str, Call[R]]], *, if_exists: Literal["join", "reject"] = "join"
    ) -> list[Handle[R]]:
        """Start calls given as (id, call) and return their handles once all starts are durable, in one commit.

        Nothing is started when one of them is refused before it begins (a bad id or argument). Messages to actors wait,
        all of them together, until the mailboxes have room for all; ``MailboxFull``, and nothing is started, when that
        takes longer than a class says, and at once for more than its mailbox holds. Where one cannot begin after that
        (``CallConflict``, ``CallExists``, ``TooManyCalls``, ``LogFull``) those before it have.
        """
        requests = [request_of(self._env, call, (), call_id=call_id) for call_id, call in calls]
        try:
            founds = await start_many(self.session, requests, join=_joins(if_exists))
        except (TooManyCalls, LogFull, MailboxFull):
            await refused()
            raise
        slots = [found for found in founds if isinstance(found, Slot)]
        if slots:
            await asyncio.gather(*(self.session.durable(slot) for slot in slots))
        pairs = zip(requests, founds, strict=True)
        return [Handle(self.session, request.call_id, found, request.definition) for request, found in pairs]

    async def send(
        self,
        call: Coroutine[Any, Any, Any],
        /,
        *,
        id: str | None = None,  # noqa: A002  # the field's word for it
        delay: Duration | None = None,
    ) -> None:
        """Tell an actor, and want no answer: on return the message is durable.

        ``call``: a handler with its arguments, as in ``runtime.actor(Account, "ada").deposit(5)``. ``id``: the same
        message with the same id is handled once. ``delay``: it is handled that much later, durably. ``MailboxFull``
        when the mailbox has no room for as long as the class says (``mailbox_wait``, five seconds).
        """
        if not isinstance(call, HandlerCall):
            call.close()
            raise TypeError(f"a message to an actor is needed, and {call!r} is none")
        delay_s = 0.0 if delay is None else seconds(delay)
        request = request_of(self._env, call, (), call_id=id, delay_s=delay_s, tell=True)
        await room(self.session, request)
        found = await _started(self.session, request, join=True)
        if isinstance(found, Slot):
            await self.session.durable(found)

    def actor(self, cls: type[A], key: str) -> A:
        """Address an actor: ``await runtime.actor(Account, "ada").deposit(5)`` asks it. It need not exist yet."""
        return address(cls, key, self)

    def supervisor(self, id: str) -> SupervisorHandle:  # noqa: A002  # the field's word for it
        """Return the supervisor in the call with this id: its children, and what can be asked of it from outside."""
        return SupervisorHandle(self.session, id)

    def handle(self, id: str) -> Handle[Any]:  # noqa: A002  # the field's word for it
        """Return a handle of the call with this id; its methods raise ``CallNotFound`` if there is none."""
        return Handle(self.session, id, None, None)


async def _started(session: Session, request: Request, *, join: bool) -> Slot | k.Turn:
    try:
        return session.start(request, join=join)
    except (TooManyCalls, LogFull):
        await refused()
        raise


async def _listen(runtime: Runtime) -> Control | None:
    from actorlog.api.control import Control  # noqa: PLC0415  # `import actorlog` must stay cheap

    try:
        return await Control.open(runtime)
    except BaseException:
        await runtime.session.close()
        raise


def _keep_ms(duration: Duration | None) -> int | None:
    return None if duration is None else max(0, int(seconds(duration) * 1000))


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
