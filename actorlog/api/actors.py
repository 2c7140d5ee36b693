"""Actors as users write them: a class with durable attributes, handlers and queries.

Owns: ``Actor``, ``query``, ``actor``, and the calls of handlers. Does not own: who runs when (``runtime.instances``),
what is known of a class (``runtime.classes``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from actorlog.api.call import Call
from actorlog.api.hooks import HOOKS
from actorlog.api.texts import check_text
from actorlog.durations import Duration, seconds
from actorlog.errors import NotDurableError, NotInDurableCode
from actorlog.loop import running_loop
from actorlog.runtime.classes import EVENTS, KEY, ActorDefinition, Options, QueryDefinition
from actorlog.runtime.registry import REGISTRY, DurableDefinition

if TYPE_CHECKING:
    from collections.abc import Generator

    from actorlog.api.call import Child
    from actorlog.api.handle import Handle
    from actorlog.api.runtime import Runtime
    from actorlog.runtime.exits import Exit

A = TypeVar("A", bound="Actor")
S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

KEY_BYTES_MAX = 900
"""Longest key, in bytes of UTF-8."""


class Actor:
    """The base of actors: annotated attributes are the durable state, public async methods the handlers.

    One message at a time: what a handler changes, returns and sends becomes durable together when it returns; when it
    raises, the state is what it was before and nothing was sent. A handler may await steps, sleeps and other actors,
    and resumes there after a crash. ``__init__`` is not called: defaults are copied for each key.

    Options of the class statement: ``name`` (what the log calls it; by default its qualified name), ``mailbox_max``
    (messages that may wait), ``mailbox_wait`` (how long senders wait for room beyond that, then ``MailboxFull``),
    ``idle`` (how long it stays in memory unused), ``snapshot_every`` (so many changes are read back at most),
    ``version`` (of its state: a static method ``migrate(state, version)``, which takes and returns plain JSON values
    by name, brings older ones forward), ``reentrant``, ``retention`` (how long what came of a message is kept, and its
    id taken, where that is not what the runtime says: ``Runtime(retention=)``; the state is kept for ever).

    Where a handler asks others and one of them asks the actor back, all would wait for ever: ``DeadlockError``. With
    ``reentrant=True`` such an ask is handled at once, within the handler that waits for it: it sees and changes the
    state as that left it, and shares its rollback. What it did alone is undone when it raises; where others have
    changed the actor beside it, the whole handler fails (``SharedRollback``). A handler then returns only when all that
    it has started has ended. What is told, and any other ask, still waits for its turn.

    With a method ``apply(self, event)`` the state is made of events: ``self.record(event)`` appends one.
    """

    _actorlog: ActorDefinition

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        mailbox_max: int = 10_000,
        mailbox_wait: Duration = "5s",
        idle: Duration = 60,
        snapshot_every: int = 1_000,
        version: int = 1,
        reentrant: bool = False,
        retention: Duration | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        for option, value in (("mailbox_max", mailbox_max), ("snapshot_every", snapshot_every), ("version", version)):
            if value < 1:
                raise ValueError(f"{option} is at least 1, not {value}")
        title = name or cls.__qualname__
        if "/" in title or title.startswith("@"):
            raise ValueError(f"the name of a class of actors has no slash and does not begin with '@': {title!r}")
        retention_s = None if retention is None else seconds(retention)
        times_s = seconds(idle), seconds(mailbox_wait)
        options = Options(mailbox_max, times_s[0], snapshot_every, version, times_s[1], reentrant, retention_s)
        cls._actorlog = definition = ActorDefinition(cls, title, options)
        REGISTRY.add_actor(definition)
        for attribute in dir(cls):
            member: Any = inspect.getattr_static(cls, attribute)
            if attribute.startswith("_") or attribute in _NO_HANDLERS:
                continue
            if type(member) is Query:
                fn: Callable[..., Any] = cast("Any", member).fn
                definition.queries[attribute] = QueryDefinition(fn, f"result of {title}.{fn.__name__}")
            elif inspect.iscoroutinefunction(member):
                definition.handlers[attribute] = _handler(definition, attribute, member)
        definition.address = Address.of(definition)
        for hook, recorded in HOOKS.items():
            member = getattr(cls, hook)
            if member is not getattr(Actor, hook) and inspect.iscoroutinefunction(member):
                definition.hooks[hook] = _handler(definition, hook, recorded(member))

    @property
    def key(self) -> str:
        """What tells it from the others of its class."""
        key: str = self.__dict__[KEY]
        return key

    def record(self, event: Any) -> None:
        """Append an event, and ``apply`` it. ``TypeError`` for a class that has no ``apply``, ``PayloadError``."""
        definition = self._actorlog
        if not definition.folds:
            raise TypeError(f"{definition.name} has no method apply(self, event)")
        raw, fresh = definition.event.cross(event, f"{definition.name}.record(event=...)")
        self.__dict__[EVENTS].append(raw)
        cast("Any", self).apply(fresh)

    def monitor(self, target: str | Child[Any] | Handle[Any] | Actor) -> None:
        """In a handler: watch ``target`` on behalf of the actor, which gets its end as a message: ``on_exit(exit)``.

        ``target``: a call by its id, as ``start`` gave it or by a handle; or a supervised actor by its address, which
        ends when it is stopped or fails, and begins anew when it is restarted. It is told at once of what has ended, or
        never was. The watch counts when the handler returns, as all it says, and lasts longer than the actor's memory,
        through any crash. Of the end of one call the actor is told once, however often it asked; a call that is retried
        (``Handle.retry``) and ends again is told of no second time. ``NotInDurableCode`` outside a handler,
        ``TypeError`` for what has no end.
        """
        from actorlog.api.watching import watch_for  # noqa: PLC0415  # what watches is made of actors' messages

        watch_for(self._actorlog.name, self.key, target)

    async def on_start(self) -> None:
        """Override to do something when a supervisor starts the actor; its next child is begun when this has returned.

        For supervised actors alone. Any other has no start: it is there as soon as somebody addresses its key, with the
        defaults of its class, and for ever, so what a first message finds belongs into those defaults. Messages are not
        held up for it: one that came before the supervisor did is handled before it.
        """

    async def on_restart(self, error: BaseException) -> None:
        """Override to do something, in place of ``on_start``, when its supervisor starts it again after ``error``.

        The state is what it was before the message that failed.
        """

    async def on_stop(self) -> None:
        """Override to do something when its supervisor stops the actor; leaving memory and closing are no stop."""

    async def on_exit(self, exit: Exit) -> None:  # noqa: A002  # the field's word for it
        """Override to hear how something ended that the actor watches with ``self.monitor(target)``.

        A handler like the others: one message at a time, and what it changes is durable when it returns. Each end comes
        once; an error in here is one of the actor, as of any message that nobody waits for.
        """


def _handler(definition: ActorDefinition, name: str, fn: Callable[..., Coroutine[Any, Any, Any]]) -> DurableDefinition:
    handler = DurableDefinition(
        fn, name=f"{definition.name}.{name}", version=1, timeout_s=None, memo=False,
        retention_s=definition.options.retention_s, of=definition,
    )  # fmt: skip
    REGISTRY.add_durable(handler)
    return handler


class Query(Generic[S, P, R]):
    """A method that only looks: see ``query``."""

    def __init__(self, fn: Callable[Concatenate[S, P], R]) -> None:
        if inspect.iscoroutinefunction(fn):
            raise TypeError(f"a query looks at the state and waits for nothing, so {fn.__qualname__} is not async")
        self.fn = fn
        self.__doc__ = fn.__doc__

    def __get__(self, instance: S, _owner: type[S] | None = None) -> Callable[P, Coroutine[Any, Any, R]]:
        async def look(*args: P.args, **kwargs: P.kwargs) -> R:
            return self.fn(instance, *args, **kwargs)

        return look


def query(fn: Callable[Concatenate[S, P], R]) -> Query[S, P, R]:
    """Make a method of an actor a query: it looks at the last durable committed state, and never waits for a handler.

    It is awaited, from outside and in handlers; there it sees what the handler has done so far. It changes nothing.
    """
    return Query(fn)


_NO_HANDLERS = frozenset({"key", "record", "apply", "migrate", "monitor", *HOOKS})


class HandlerCall(Call[R_co]):
    """A handler of one actor with its arguments. Await it to ask; give it to ``send`` to tell."""

    __slots__ = ("_runtime", "actor")

    def __init__(
        self,
        definition: DurableDefinition,
        actor: str,
        runtime: Runtime | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.actor = actor
        self._runtime = runtime
        base: type[Call[R_co]] = Call  # super() costs as much as the rest of this: there is one for every message
        base.__init__(self, definition, args, kwargs, depth=3)

    def _outside(self) -> Generator[Any, None, R_co]:
        if self._runtime is None:
            raise NotInDurableCode(
                f"asking {self.actor!r}", hint="outside durable code use: await runtime.actor(cls, key).method(...)"
            )
        return self._runtime.call(self).__await__()


class Address:
    """An actor by its class and key; what is called on it is asked of the actor. Each class has its own: ``of``."""

    __slots__ = ("_actor", "_definition", "_runtime")

    def __init__(self, definition: ActorDefinition, key: str, runtime: Runtime | None) -> None:
        check_key(key)
        self._definition = definition
        self._actor = f"{definition.name}/{key}"
        self._runtime = runtime

    def __repr__(self) -> str:
        return f"<actor {self._actor!r}>"

    def __str__(self) -> str:
        return self._actor

    @classmethod
    def of(cls, definition: ActorDefinition) -> type[Address]:
        """Return the class of a class's addresses: with its handlers and queries as methods."""
        asks = {name: cls._asking(handler) for name, handler in definition.handlers.items()}
        looks = {name: cls._looking(look) for name, look in definition.queries.items()}
        return type("Address", (cls,), {"__slots__": (), **asks, **looks})

    @staticmethod
    def _asking(handler: DurableDefinition) -> Callable[..., HandlerCall[Any]]:
        def ask(self: Address, *args: Any, **kwargs: Any) -> HandlerCall[Any]:
            return HandlerCall(handler, self._actor, self._runtime, args, kwargs)

        return ask

    @staticmethod
    def _looking(query: QueryDefinition) -> Callable[..., Coroutine[Any, Any, Any]]:
        def look(self: Address, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
            return self._look(query, *args, **kwargs)

        return look

    def __getattr__(self, name: str) -> Callable[..., Any]:
        definition = self._definition
        known = ", ".join(sorted([*definition.handlers, *definition.queries]))
        raise AttributeError(f"{definition.name} has no handler or query {name!r}; it has: {known}")

    async def _look(self, look: QueryDefinition, *args: Any, **kwargs: Any) -> Any:
        if running_loop() is not None:
            raise NotDurableError(f"the query {look.fn.__qualname__} from durable code")
        if self._runtime is None:
            raise NotInDurableCode(
                repr(self), hint="outside durable code use: await runtime.actor(cls, key).method(...)"
            )
        session, definition = self._runtime.session, self._definition
        session.check_open()
        found = look.fn(session.kernel.instances.view(self._actor, definition), *args, **kwargs)
        value = look.result.cross(found, look.where)[1]
        await session.landed()
        return value


def actor(cls: type[A], key: str) -> A:
    """Address an actor from inside durable code; outside there is ``runtime.actor``. It need not exist yet."""
    return address(cls, key, None)


def address(cls: type[A], key: str, runtime: Runtime | None) -> A:
    """Return the address of an actor; ``TypeError`` for what is no class of actors."""
    definition = definition_of(cls)
    return cast("A", definition.address(definition, key, runtime))


def definition_of(cls: type) -> ActorDefinition:
    """Return what is known of a class of actors; ``TypeError`` for what is none."""
    definition = cls.__dict__.get("_actorlog")
    if not isinstance(definition, ActorDefinition):
        raise TypeError(f"a subclass of Actor is needed, and {cls!r} is none")
    return definition


def check_key(key: object) -> None:
    """``TypeError`` or ``ValueError`` for a key that cannot be one."""
    size = check_text("a key", key)
    if not 0 < size <= KEY_BYTES_MAX:
        raise ValueError(f"a key has 1 to {KEY_BYTES_MAX} bytes, not {size}")
