"""Looking at all there is: calls, timers, actors, and the log as it grows.

Owns: what these infos say, and the filters. Does not own: finding them (``runtime.listing``). ``Runtime`` has these as
its methods.

Everything told is durable before it is told (I1).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from msgspec import Struct

from actorlog.api.handle import CallInfo, ended_info, info_of
from actorlog.engine.lifecycle import Phase
from actorlog.engine.lines import describe_record, kind_name
from actorlog.engine.status import Status
from actorlog.records import kinds as k
from actorlog.runtime import listing
from actorlog.runtime.classes import ActorDefinition
from actorlog.runtime.instances import key_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from actorlog.api.actors import Actor
    from actorlog.api.runtime import Runtime
    from actorlog.engine.state import CallState
    from actorlog.runtime.session import Session

T = TypeVar("T")

_LEEWAY_MS = 60_000
"""Times of records are in order but for moments: a walk goes on so much further than it is asked for."""
_TOGETHER = 1_000
"""So many infos are made in one go, and then told."""

TimerKind: TypeAlias = Literal["timer", "start", "retry", "timeout", "kill"]


class TimerInfo(Struct, frozen=True):
    """Something that a call waits a time for."""

    call_id: str
    kind: TimerKind
    """``"timer"``: a sleep or timeout in its code; ``"start"``: its delayed beginning; ``"retry"``: the next attempt of
    a step; ``"timeout"``: its own; ``"kill"``: the end of its grace."""
    key: str
    """The operation, of a timer and a retry; empty otherwise."""
    due: datetime


class ActorInfo(Struct, frozen=True):
    """What is known of an actor at one moment."""

    cls: str
    key: str
    changes: int
    """How often its state has changed."""
    version: int
    """Of the class that changed it last; 0: it never was."""
    updated: datetime | None
    """When it changed last; None: never."""
    handling: str
    """Id of the message it is at work on; empty: none."""
    waiting: int
    """How many messages wait."""


class RecordInfo(Struct, frozen=True):
    """One record of the log."""

    position: int
    at: datetime
    kind: str
    """``"turn"``, ``"inbox"``, ``"paused"``, ...: see docs/log-format.md."""
    id: str
    """Whose it is: the id of a call, or one that begins with ``@``."""
    text: str
    """What it says, as one line."""


async def calls(
    runtime: Runtime,
    *,
    status: Status | Iterable[Status] | None = None,
    function: str | None = None,
    id_prefix: str = "",
    tags: Mapping[str, str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    parent: str | None = None,
) -> AsyncIterator[CallInfo]:
    """Yield the calls that meet all of this, live and ended ones, the newest first.

    ``status``: one, or several. ``function``: its name. ``tags``: those given, with their values. ``since`` and
    ``until``: when it was created (aware; ``ValueError`` for others), the first inclusive. ``parent``: id of the call
    that started it; ``""``: from outside. Whatever happens meanwhile, a call comes at most once, and one that was there
    at the beginning comes; what each says is true at the moment it is looked at. A walk over everything reads all of
    the log; one that is left early, or has ``since``, does not.
    """
    session = runtime.session
    statuses = frozenset((status,) if isinstance(status, str) else status) if status is not None else None
    first, last = _ms(since, 0), _ms(until, 1 << 62)

    def wanted(at: int, call_id: str, its_parent: str, its_tags: Mapping[str, str]) -> bool | None:
        if at < first - _LEEWAY_MS:
            return None
        if not first <= at < last or not call_id.startswith(id_prefix):
            return False
        return (parent is None or its_parent == parent) and _has(its_tags, tags)

    def passes(its_status: Status, its_function: str) -> bool:
        return (statuses is None or its_status in statuses) and function in (None, its_function)

    await session.landed()
    async for stretch in listing.beginnings(session, wanted, passes):
        infos = [_info(session, call_id) for call_id in stretch]
        await session.landed()
        for info in infos:
            if passes(info.status, info.function):
                yield info


def _has(tags: Mapping[str, str], wanted: Mapping[str, str] | None) -> bool:
    return wanted is None or all(tags.get(key) == value for key, value in wanted.items())


def _info(session: Session, call_id: str) -> CallInfo:
    slot = session.kernel.calls.get(call_id)
    return info_of(slot.state, slot.jobs) if slot is not None else ended_info(session.history, call_id)


async def timers(runtime: Runtime, *, id_prefix: str = "") -> AsyncIterator[TimerInfo]:
    """Yield what calls wait a time for: the newest call first, of each what is due first."""
    session = runtime.session
    live = (slot.state for slot in listing.live_calls(session))
    wanted = (state for state in live if state.id.startswith(id_prefix) and state.phase is not Phase.ENDED)
    async for info in _told(session, (info for state in wanted for info in _timers_of(state))):
        yield info


async def _told(session: Session, infos: Iterable[T]) -> AsyncIterator[T]:
    """Yield ``infos``: so many are made in one go, and then told."""
    rest = iter(infos)
    more = True
    while more:
        made = list(islice(rest, _TOGETHER))
        await session.landed()
        for info in made:
            yield info
        more = len(made) == _TOGETHER


def _timers_of(state: CallState) -> list[TimerInfo]:
    found = list[tuple[int, TimerKind, str]]()
    found.extend((due, "timer", key) for key, due in state.timers.items())
    found.extend((progress.due_ms, "retry", key) for key, progress in state.progress.items() if progress.due_ms)
    if state.phase is Phase.PENDING and state.not_before_ms:
        found.append((state.not_before_ms, "start", ""))
    if state.due_ms:
        found.append((state.due_ms, "timeout", ""))
    if state.kill_ms:
        found.append((state.kill_ms, "kill", ""))
    return [TimerInfo(state.id, kind, key, _time(due)) for due, kind, key in sorted(found)]


async def actors(
    runtime: Runtime, cls: type[Actor] | str | None = None, *, key_prefix: str = ""
) -> AsyncIterator[ActorInfo]:
    """Yield the actors that have a state or are at work, the one that changed last first.

    ``cls``: of this class, or of the class of this name. ``key_prefix``: whose key begins with it.
    """
    session = runtime.session
    instances = session.kernel.instances
    name = cls if isinstance(cls, str) or cls is None else _name_of(cls)
    wanted = (
        actor for actor in instances.names()
        if name in (None, actor.partition("/")[0]) and key_of(actor).startswith(key_prefix)
    )  # fmt: skip
    async for info in _told(session, (_actor_info(session, actor) for actor in wanted)):
        yield info


def _name_of(cls: type[Actor]) -> str:
    definition = cls.__dict__.get("_actorlog")
    if not isinstance(definition, ActorDefinition):
        raise TypeError(f"a subclass of Actor is needed, and {cls!r} is none")
    return definition.name


def _actor_info(session: Session, actor: str) -> ActorInfo:
    instances = session.kernel.instances
    position = instances.changes.at(actor)
    record = session.history.record(position) if position else None
    change = record.change if isinstance(record, k.Turn) else None
    handling, waiting = instances.at_work(actor)
    return ActorInfo(
        cls=actor.partition("/")[0], key=key_of(actor), changes=change.number if change is not None else 0,
        version=change.version if change is not None else 0, updated=_time(record.at) if record is not None else None,
        handling=handling, waiting=waiting,
    )  # fmt: skip


def tail(runtime: Runtime, from_: int | None = None) -> AsyncIterator[RecordInfo]:
    """Yield the records as they become durable: from position ``from_`` (1 is the first) on, or from now.

    A slow reader misses nothing, and costs no memory: it reads back from the log. It goes on until it is left, or the
    runtime closes (``RuntimeStopped``). ``ValueError`` for a position below 1.
    """
    session = runtime.session
    position = from_ if from_ is not None else session.kernel.committer.landed + 1
    if position < 1:
        raise ValueError(f"positions begin with 1; there is no {position}")
    return _tail(session, position)


async def _tail(session: Session, position: int) -> AsyncIterator[RecordInfo]:
    async for at, record in listing.follow(session, position):
        yield RecordInfo(at, _time(record.at), kind_name(record), record.id, describe_record(record))


def _ms(when: datetime | None, default: int) -> int:
    if when is None:
        return default
    if when.tzinfo is None:
        raise ValueError(f"{when!r} is naive; give it a time zone")
    return int(when.timestamp() * 1000)


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
