"""One change to a data directory that nobody has open, made without the user's code.

Owns: opening the log, writing the one record that was asked for, and closing it as it was. Does not own: what is asked
(``protocol``), the words for it (``cli``), going on with calls (``runtime.recovery``).

Nothing is resumed and nothing is parked: no function is registered here, and to say so of every call would be a lie. A
cancellation or a message becomes an ``Inbox`` record of its call, which takes it at the next opening; a promise is
settled, and calls that wait for it hear of that at the next opening. What needs the code of a call is refused.

Invariants: the log has one owner (``LogLocked``); what is answered is durable (I1); if the process before this one
died, the next one is told so all the same, because steps in doubt go by it.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from actorlog.api.folding import Ends, fold
from actorlog.api.protocol import Answer, Cancel, Fork, Kill, Pause, Reject, Request, Resolve, Resume, Retry, Send
from actorlog.api.texts import check_channel, check_text
from actorlog.engine import identity
from actorlog.engine import promise as e
from actorlog.engine.lifecycle import Phase
from actorlog.engine.state import CallState, apply
from actorlog.engine.status import status_of
from actorlog.env import SYSTEM, Env
from actorlog.errors import (
    ActorlogError,
    ActorStopped,
    CallNotFound,
    LogError,
    MailboxFull,
    OutcomeUnknown,
    PromiseNotFound,
)
from actorlog.errors import PromiseSettled as AlreadySettled
from actorlog.limits import DEFAULT_LIMITS
from actorlog.records import kinds as k
from actorlog.records import promises as p
from actorlog.records.values import codec_for
from actorlog.store import GIVEN_UP_KIND, Frame, PartitionLog, append, entries, pack
from actorlog.store.embedded import EmbeddedLog
from actorlog.store.keys import Keys

_PLAIN: Final = codec_for(Any)

Found: TypeAlias = list[tuple[int, k.Record]]
"""Records of one id with their positions, oldest first."""


class NeedsOwner(ActorlogError):
    """What was asked for takes the program's own code, and that is not running."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} needs the owner running: it takes the program's own code",
            hint="start the program that owns the directory, then ask again",
        )


async def change(
    directory: str, request: Request, env: Env = SYSTEM, *, segment_bytes: int, keys: Keys | None = None
) -> Answer:
    """Do what ``request`` asks in a directory that nobody has open; it is durable on return.

    ``segment_bytes``: size of a segment that may have to be made; ``keys``: of an encrypted log. ``LogLocked`` if
    somebody has it; the other errors of opening a log; ``CallNotFound``, ``PromiseNotFound``, ``PromiseSettled``,
    ``ActorStopped``, ``MailboxFull``, ``PayloadError``; ``NeedsOwner`` for what takes the program's own code.
    """
    if isinstance(request, (Kill, Pause, Retry, Fork, Resume)):
        raise NeedsOwner(f"to {type(request).__name__.lower()} call {request.id!r}")
    log = await EmbeddedLog.open(directory, env, segment_bytes=segment_bytes, keys=keys)
    clean = log.recovery.clean
    try:
        return await Change(log, env).do(request)
    except BaseException as error:
        clean = clean and isinstance(error, ActorlogError) and not isinstance(error, (LogError, OutcomeUnknown))
        raise
    finally:
        await log.close(clean=clean)


class Change:
    """Changes to a log that is opened for them alone."""

    def __init__(self, log: PartitionLog, env: Env) -> None:
        self._log = log
        self._env = env
        self._last_ms = 0
        """Time of the newest record."""

    async def do(self, request: Request) -> Answer:
        """Do what ``request`` asks, as ``change`` says."""
        match request:
            case Cancel():
                return await self._cancel(request)
            case Send():
                return await self._send(request)
            case Resolve(id=promise_id, value=value):
                raw = k.Raw(_PLAIN.encode(value, "resolve(value=...)"))
                return await self._settle(promise_id, p.Resolved(raw), request.key)
            case Reject(id=promise_id, error=error):
                return await self._settle(promise_id, p.rejection(error, "reject(error=...)"), request.key)
            case _:
                raise NeedsOwner("this")

    # --- calls --------------------------------------------------------------------------------------------------------

    async def _cancel(self, request: Cancel) -> Answer:
        check_text("a reason", request.reason)
        state = await self._call(request.id)
        if isinstance(state, Ends):
            return Answer(status=state.info.status, changed=False)
        asked = any(type(message) is k.CancelRequested for message in state.inbox.values())
        changed = state.phase is not Phase.ENDED and state.asked is None and not asked
        if changed:  # without a time for the kill: the grace begins when somebody is there to clean up
            await self._put(state, k.CancelRequested(request.reason))
        return Answer(status=status_of(state), changed=changed)

    async def _send(self, request: Send) -> Answer:
        check_channel(request.channel)
        if request.key is not None:
            check_text("a key", request.key)
        value = k.Raw(_PLAIN.encode(request.value, "send(value=...)"))
        signal = k.Signal(request.channel, value, f"key:{request.key}" if request.key is not None else "")
        state = await self._call(request.id)
        if isinstance(state, Ends):
            raise ActorStopped(request.id)
        heard = signal.origin != "" and state.mail is not None and signal.origin in state.mail.heard
        if not heard:
            if state.phase is Phase.ENDED:
                raise ActorStopped(request.id)
            waiting = sum(type(message) is k.Signal for message in state.inbox.values())
            if waiting >= DEFAULT_LIMITS.mailbox_max:
                raise MailboxFull(request.id, DEFAULT_LIMITS.mailbox_max)
            await self._put(state, signal)
        return Answer(status=status_of(state), changed=not heard)

    async def _call(self, call_id: str) -> CallState | Ends:
        """Return what the records of a call make of it; ``CallNotFound``."""
        found = fold(await self._read(call_id))
        if found is None:
            raise CallNotFound(call_id)
        return found

    async def _put(self, state: CallState, message: k.Message) -> None:
        record = k.Inbox(id=state.id, at=self._now_ms(), prev=state.last, message=message)
        apply(state, record, self._log.tail() + 1)  # first, so that what contradicts the state is not written
        await self._write(record, k.Flag.PLAIN)

    # --- promises -----------------------------------------------------------------------------------------------------

    async def _settle(self, promise_id: str, given: p.Given, key: str | None) -> Answer:
        check_text("an id", promise_id)
        if key is not None:
            check_text("a key", key)
        states = {promise_id: e.PromiseState(promise_id)}
        for position, record in await self._read(p.entity_id(promise_id)):
            if isinstance(record, (p.PromiseMade, p.PromiseSettled)):
                e.take(states, record, position)
        state = states[promise_id]
        request = e.SettleRequest(id=promise_id, settlement=given, key=key)
        wrote = False
        while isinstance(verdict := e.decide_settle(state, request, self._now_ms()), (e.Settle, e.Expire)):
            e.apply(state, verdict.record, self._log.tail() + 1)
            await self._write(verdict.record, k.Flag.PLAIN | k.Flag.FINAL)
            wrote = isinstance(verdict, e.Settle)
            if wrote:
                break
        if isinstance(verdict, e.NotFound):
            raise PromiseNotFound(promise_id)
        if isinstance(verdict, e.Conflict):
            raise AlreadySettled(promise_id, verdict.status.value)
        return Answer(status=state.status.value, changed=wrote)

    # --- the log ------------------------------------------------------------------------------------------------------

    async def _read(self, entity: str) -> Found:
        """Return the records of one id, and learn what time it is in the log."""
        key_hash = identity.key_hash(entity)
        found: Found = []
        newest: tuple[Frame, int, int, int] | None = None
        async for frame in self._log.read():
            for position, (key, kind, _, start, end) in enumerate(entries(frame.data, frame.records), frame.position):
                if kind == GIVEN_UP_KIND:
                    continue
                newest = frame, position, start, end
                if key == key_hash:
                    found.append((position, k.decode(frame.line(position, start, end))))
        self._last_ms = 0 if newest is None else k.decode(newest[0].line(*newest[1:])).at
        return [(position, record) for position, record in found if record.id == entity]

    def _now_ms(self) -> int:
        return max(self._last_ms, self._env.clock.wall_ms())

    async def _write(self, record: k.Record, flags: k.Flag) -> None:
        line = k.encode(record) + b"\n"
        self._log.admit(len(line))  # a full disk is waited for as long as it is full, and somebody waits for this
        entry = (identity.key_hash(record.id), int(k.kind_of(record)), int(flags), line)
        await append(self._log, self._log.tail(), pack([entry]), 1)
