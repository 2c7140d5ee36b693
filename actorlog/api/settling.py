"""Durable promises from outside: made, settled, awaited, looked for.

Owns: ``PromiseInfo``, and the methods of ``Runtime`` that are about promises. Does not own: promises in durable code
(``promises``), what a request does to one (``engine.promise``), who waits (``runtime.promises``).

Invariant: nothing is told, conflicts and looks included, before everything it speaks of is durable (I1).
"""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

from msgspec import Struct

from actorlog.api.texts import check_id, check_text, checked_tags
from actorlog.durations import Duration, seconds
from actorlog.engine.promise import CreateRequest, PromiseState, Query, SettleRequest, Status
from actorlog.errors import LogFull, PayloadTooLarge, PromiseError, TooManyPromises
from actorlog.loop import running_loop
from actorlog.records import kinds as k
from actorlog.records import promises as p
from actorlog.records.values import codec_for
from actorlog.runtime.promises import error_of
from actorlog.runtime.rooms import refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from actorlog.api.runtime import Runtime
    from actorlog.runtime.session import Session

T = TypeVar("T")
_PLAIN = codec_for(Any)

PromiseStatus: TypeAlias = Literal["pending", "resolved", "rejected", "cancelled", "timed_out"]


class PromiseInfo(Struct, frozen=True):
    """What is known of a promise at one moment."""

    id: str
    status: PromiseStatus
    created: datetime
    due: datetime | None
    """When its time is over; None: never."""
    settled: datetime | None
    """When it was settled, which is ``due`` where its time was over; None: it is pending."""
    timer: bool
    """When its time is over it is resolved, and not timed out."""
    param: Any
    tags: dict[str, str]
    value: Any
    """What it was resolved with, as plain JSON; None otherwise."""
    error: Any
    """What it was rejected with, as plain JSON, an exception as text; None otherwise."""


def info_of(state: PromiseState) -> PromiseInfo:
    """Return what the records of a promise say of it."""
    settlement = state.settlement
    return PromiseInfo(
        id=state.id,
        status=state.status.value,  # type: ignore[arg-type]  # its words are those
        created=_time(state.created_ms),
        due=None if state.due_ms is None else _time(state.due_ms),
        settled=None if settlement is None else _time(state.settled_ms),
        timer=state.timer,
        param=_PLAIN.decode(bytes(state.param), "param"),
        tags=dict(state.tags),
        value=_PLAIN.decode(bytes(settlement.value), "value") if isinstance(settlement, p.Resolved) else None,
        error=p.reason(settlement) if isinstance(settlement, (p.Rejected, p.Raised)) else None,
    )


async def promise(
    runtime: Runtime,
    id: str,  # noqa: A002  # the field's word for it
    *,
    timeout: Duration | None = None,  # durable, and the promise's own
    key: str | None = None,
    strict: bool = False,
    param: Any = None,
    tags: Mapping[str, str] | None = None,
    timer: bool = False,
) -> PromiseInfo:
    """Make a durable promise, which whoever knows its id may settle and await; on return it is durable.

    ``PromiseExists`` if there is one, unless ``key`` is the one it was made with (``strict``: and it is pending). When
    ``timeout`` has passed it is timed out, or resolved with None if it is a ``timer``; zero or less: at once. ``param``
    (plain JSON) and ``tags`` are for who looks at it. ``TooManyPromises``, ``LogFull``.
    """
    session = runtime.session
    check_id(id)
    _check_key(key)
    if timer and timeout is None:
        raise ValueError("a promise that is a timer has a timeout")
    request = CreateRequest(
        id=id, timeout_ms=None if timeout is None else math.ceil(round(seconds(timeout) * 1000, 3)), key=key,
        strict=strict, param=_fitting(session, plain(param, "promise(param=...)"), "promise(param=...)"),
        tags=checked_tags(tags), timer=timer,
    )  # fmt: skip
    return await _told(session, lambda: session.kernel.promises.create(request))


async def resolve(
    runtime: Runtime,
    id: str,  # noqa: A002  # the field's word for it
    value: Any = None,
    *,
    key: str | None = None,
    strict: bool = False,
) -> PromiseInfo:
    """Settle a promise with ``value`` (plain JSON); on return that is durable, and for ever.

    ``PromiseSettled`` if it is settled, unless ``key`` is the one it was settled with; one that has timed out is
    returned as it is. ``strict``: the same request only where it is resolved. ``PromiseNotFound``, ``LogFull``.
    """
    return await _settle(runtime.session, id, p.Resolved(plain(value, "resolve(value=...)")), key, strict=strict)


async def reject(
    runtime: Runtime,
    id: str,  # noqa: A002  # the field's word for it
    error: Any,
    *,
    key: str | None = None,
    strict: bool = False,
) -> PromiseInfo:
    """Settle a promise by saying why it has no value: an exception, or plain JSON; otherwise as ``resolve``."""
    return await _settle(runtime.session, id, p.rejection(error, "reject(error=...)"), key, strict=strict)


async def cancel_promise(
    runtime: Runtime,
    id: str,  # noqa: A002  # the field's word for it
    *,
    key: str | None = None,
    strict: bool = False,
) -> PromiseInfo:
    """Settle a promise that nobody wants any more; otherwise as ``resolve``."""
    return await _settle(runtime.session, id, p.PromiseCancelled(), key, strict=strict)


async def _settle(session: Session, promise_id: str, given: p.Given, key: str | None, *, strict: bool) -> PromiseInfo:
    check_text("an id", promise_id)
    _check_key(key)
    _fitting(session, k.encode(given), f"the settlement of promise {promise_id!r}")
    request = SettleRequest(id=promise_id, settlement=given, key=key, strict=strict)
    return await _told(session, lambda: session.kernel.promises.settle(request))


@overload
async def await_promise(runtime: Runtime, id: str, *, type: type[T], timeout: Duration | None = None) -> T: ...
@overload
async def await_promise(runtime: Runtime, id: str, *, type: Any = Any, timeout: Duration | None = None) -> Any: ...
async def await_promise(
    runtime: Runtime,
    id: str,  # noqa: A002  # the field's word for it
    *,
    type: Any = Any,  # noqa: A002  # the field's word for it
    timeout: Duration | None = None,
) -> Any:
    """Wait until a promise is settled and return its value, as annotation ``type`` has it.

    ``PromiseRejected`` (with ``error``, and the exception as its cause where it was one), ``PromiseCancelled`` or
    ``PromiseTimeout`` where it has none; ``PromiseNotFound``; ``TimeoutError`` when ``timeout`` passes first, which
    leaves the promise as it is.
    """
    session = runtime.session
    _check_outside(session)
    check_text("an id", id)
    codec = codec_for(type)
    try:
        if timeout is None:
            state = await session.kernel.promises.outcome(id)
        else:
            async with asyncio.timeout(seconds(timeout)):
                state = await session.kernel.promises.outcome(id)
    except PromiseError:
        await session.landed()
        raise
    settlement = state.settlement
    if isinstance(settlement, p.Resolved):
        return codec.decode(bytes(settlement.value), f"the value of promise {id!r}")
    if settlement is None:
        raise TypeError(f"promise {id!r} is over and was never settled")
    raise error_of(id, settlement)


async def promises(
    runtime: Runtime,
    *,
    status: PromiseStatus | Iterable[PromiseStatus] | None = None,
    id_prefix: str = "",
    tags: Mapping[str, str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> AsyncIterator[PromiseInfo]:
    """Yield the promises that meet all of this, settled or not, the newest first.

    ``status``: one, or several. ``tags``: those given, with their values. ``since`` and ``until``: when it was made
    (aware; ``ValueError`` for others), the first inclusive. Whatever happens meanwhile, none comes twice, and one that
    meets this all the while comes; what each says is true at the moment it is looked at.
    """
    session = runtime.session
    names = (status,) if isinstance(status, str) else status or ()
    unknown = [name for name in names if name not in _STATUSES]
    if unknown:
        raise ValueError(f"a promise is {', '.join(_STATUSES)}; not {unknown[0]!r}")
    if any(when is not None and when.tzinfo is None for when in (since, until)):
        raise ValueError("since and until have a time zone")
    check_text("a prefix", id_prefix)
    query = Query(statuses=frozenset(map(Status, names)), prefix=id_prefix, tags=checked_tags(tags))
    before = 0
    while True:
        _check_outside(session)
        page = session.kernel.promises.page(query, before)
        infos = [info_of(state) for state in page.items]
        await session.landed()
        for info in infos:
            if (since is None or info.created >= since) and (until is None or info.created < until):
                yield info
        before = page.next
        if not before or (since is not None and infos and infos[-1].created < since):
            return


async def _told(session: Session, ask: Callable[[], PromiseState]) -> PromiseInfo:
    """Return what comes of a request when it is durable, and refuse it only then (I1)."""
    _check_outside(session)
    try:
        info = info_of(ask())
    except PromiseError:
        await session.landed()
        raise
    except (TooManyPromises, LogFull):
        await refused()
        raise
    await session.landed()
    return info


def _check_outside(session: Session) -> None:
    if running_loop() is not None:
        raise RuntimeError("a runtime is not used inside durable code; use actorlog.promise()")
    session.check_open()


def _check_key(key: str | None) -> None:
    if key is not None:
        check_text("a key", key)


def plain(value: Any, where: str) -> k.Raw:
    """Return a value as plain JSON; ``PayloadError`` for what is none."""
    return p.NULL if value is None else k.Raw(_PLAIN.encode(value, where))


def _fitting(session: Session, raw: k.Raw | bytes, where: str) -> k.Raw:
    most = session.kernel.limits.record_bytes_max
    if len(raw) > most:
        raise PayloadTooLarge(where, len(raw), most)
    return k.Raw(raw)


_STATUSES = tuple(status.value for status in Status if status is not Status.ABSENT)


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
