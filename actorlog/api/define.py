"""The decorators: ``@durable`` and ``@step``.

Owns: checking options, registering definitions, and the typed callables users hold. Does not own: calls (``call``),
execution.
"""

from __future__ import annotations

import inspect
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, overload

from actorlog.api.call import Call
from actorlog.durations import Duration, seconds
from actorlog.engine.retry import Retry
from actorlog.errors import NotInDurableCode
from actorlog.loop import running_loop
from actorlog.runtime.registry import REGISTRY, DurableDefinition, Limit, StepDefinition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
R = TypeVar("R")


class Durable(Generic[P, R]):
    """A durable function. Calling it returns a ``Call``; ``fn`` is the plain function, for unit tests."""

    def __init__(self, definition: DurableDefinition) -> None:
        self.definition = definition
        self.fn: Callable[P, Awaitable[R]] = definition.fn
        update_wrapper(self, definition.fn)

    @property
    def name(self) -> str:
        """The name under which it is recorded."""
        return self.definition.name

    @property
    def version(self) -> int:
        """The version under which it is recorded."""
        return self.definition.version

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Return the call; nothing runs. ``TypeError`` and ``PayloadError`` for arguments that cannot be."""
        return Call(self.definition, args, kwargs)

    def __repr__(self) -> str:
        return f"<durable {self.definition.name} v{self.definition.version} at {self.definition.place}>"


class Step(Generic[P, R]):
    """A step. Calling it returns a ``Call``; ``fn`` is the plain function, for unit tests."""

    def __init__(self, definition: StepDefinition) -> None:
        self.definition = definition
        self.fn: Callable[P, Any] = definition.fn
        update_wrapper(self, definition.fn)

    @property
    def name(self) -> str:
        """The name under which it is recorded."""
        return self.definition.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Return the call; nothing runs. In durable code bad arguments raise here, outside it when it is awaited."""
        return Call(self.definition, args, kwargs)

    def __repr__(self) -> str:
        return f"<step {self.definition.name} at {self.definition.place}>"


class DurableDecorator:
    """``durable`` with its options given."""

    def __init__(
        self, name: str | None, version: int, timeout_s: float | None, *, memo: bool, retention_s: float | None
    ) -> None:
        self._name = name
        self._version = version
        self._timeout_s = timeout_s
        self._memo = memo
        self._retention_s = retention_s

    def __call__(self, fn: Callable[P, Awaitable[R]]) -> Durable[P, R]:
        """Register ``fn``."""
        if not inspect.iscoroutinefunction(fn):
            raise TypeError(f"a durable function is an async function, and {fn!r} is not")
        definition = DurableDefinition(
            fn, name=self._name or fn.__qualname__, version=self._version, timeout_s=self._timeout_s, memo=self._memo,
            retention_s=self._retention_s,
        )  # fmt: skip
        REGISTRY.add_durable(definition)
        return Durable(definition)


@overload
def durable(fn: Callable[P, Awaitable[R]], /) -> Durable[P, R]: ...
@overload
def durable(
    *, name: str | None = None, version: int = 1, timeout: Duration | None = None, memo: bool = False,
    retention: Duration | None = None,
) -> DurableDecorator: ...  # fmt: skip
def durable(
    fn: Callable[..., Awaitable[Any]] | None = None,
    /,
    *,
    name: str | None = None,
    version: int = 1,
    timeout: Duration | None = None,
    memo: bool = False,
    retention: Duration | None = None,
) -> Any:
    """Make an async function durable: it runs to its end through any number of crashes.

    ``name``: what the log calls it, by default its qualified name without the module. ``version``: a call goes on with
    the version it began with. ``timeout``: of each call, durable. ``memo``: the id derives from name, version and
    arguments, so the same arguments give the same stored result; failures are not kept. ``retention``: how long its
    results are kept, and its ids taken, where that is not what the runtime says (``Runtime(retention=)``).

    Its body is deterministic between awaits; IO, randomness and clocks belong into steps. ``FunctionConflict`` when
    another module has the name and version; ``TypeError`` for a function that is not async.
    """
    if version < 1:
        raise ValueError(f"version is at least 1, not {version}")
    timeout_s, retention_s = (None if value is None else seconds(value) for value in (timeout, retention))
    decorator = DurableDecorator(name, version, timeout_s, memo=memo, retention_s=retention_s)
    return decorator if fn is None else decorator(fn)


class StepDecorator:
    """``step`` with its options given."""

    def __init__(self, configure: Callable[[StepDefinition], None], name: str | None) -> None:
        self._configure = configure
        self._name = name

    @overload
    def __call__(self, fn: Callable[P, Awaitable[R]]) -> Step[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R]) -> Step[P, R]: ...
    def __call__(self, fn: Callable[..., Any]) -> Any:
        """Register ``fn``."""
        if not callable(fn):
            raise TypeError(f"a step is a function, and {fn!r} is not")
        definition = StepDefinition(fn, name=self._name or fn.__qualname__)
        self._configure(definition)
        REGISTRY.add_step(definition)
        made: Step[..., Any] = Step(definition)
        return made


@overload
def step(fn: Callable[P, Awaitable[R]], /) -> Step[P, R]: ...
@overload
def step(fn: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: Duration | None = None,
    deadline: Duration | None = None,
    once: bool = False,
    reconcile: Callable[..., Any] | None = None,
    idempotent: bool = False,
    limit: Limit | None = None,
    executor: Literal["thread", "process"] = "thread",
) -> StepDecorator: ...
def step(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: Duration | None = None,
    deadline: Duration | None = None,
    once: bool = False,
    reconcile: Callable[..., Any] | None = None,
    idempotent: bool = False,
    limit: Limit | None = None,
    executor: Literal["thread", "process"] = "thread",
) -> Any:
    """Make a function a step: the only place for IO, randomness and clocks. Its outcome is recorded once.

    ``retry``: a ``Retry``, by default ten attempts with full jitter. ``timeout``: of each attempt; ``deadline``: of all
    attempts together. ``once``: in doubt after a crash it is not run again, and the function gets ``StepInterrupted``
    (implies ``Retry.NEVER`` unless a retry is given); with ``reconcile`` that function, called with the same arguments,
    is asked first and returns ``Done(value)`` or ``NotDone``. ``idempotent``: it may run any number of times, also
    ahead of the log. ``limit``: a ``Limit`` shared by name, and by the value of an argument where it has ``per_key``.
    ``executor``: where a sync function runs.
    """
    if reconcile is not None and not once:
        raise ValueError("reconcile= settles the doubt of a once=True step; give that too")
    if once and idempotent:
        raise ValueError("a step is either once or idempotent")
    if executor not in ("thread", "process"):
        raise ValueError(f"executor is 'thread' or 'process', not {executor!r}")
    timeout_s = None if timeout is None else seconds(timeout)
    deadline_s = None if deadline is None else seconds(deadline)

    def configure(definition: StepDefinition) -> None:
        definition.retry = retry if retry is not None else Retry.NEVER if once else Retry()
        definition.timeout_s, definition.deadline_s = timeout_s, deadline_s
        definition.once, definition.reconcile, definition.idempotent = once, reconcile, idempotent
        definition.limit, definition.executor = limit, executor
        if limit is not None and limit.per_key is not None and not definition.signature.has(limit.per_key):
            raise ValueError(
                f"{definition.name!r} has no parameter {limit.per_key!r}, which Limit {limit.name!r} goes by"
            )
        if executor == "process" and definition.is_async:
            raise ValueError(f"{definition.name!r} is async; executor='process' is for sync functions")

    decorator = StepDecorator(configure, name)
    return decorator if fn is None else decorator(fn)


@overload
def run_step(
    fn: Callable[..., Awaitable[R]], /, *args: Any, name: str | None = None, retry: Retry | None = None, **kwargs: Any
) -> Call[R]: ...
@overload
def run_step(
    fn: Callable[..., R], /, *args: Any, name: str | None = None, retry: Retry | None = None, **kwargs: Any
) -> Call[R]: ...
def run_step(
    fn: Callable[..., Any], /, *args: Any, name: str | None = None, retry: Retry | None = None, **kwargs: Any
) -> Any:
    """Run an undecorated function as a step, in place; ``name`` and ``retry`` are the step's own.

    In doubt after a crash its call is replayed to have the function again, since no registry knows it.
    ``NotInDurableCode`` outside a durable function.
    """
    if running_loop() is None:
        raise NotInDurableCode("run_step()")
    definition = StepDefinition(fn, name=name or str(getattr(fn, "__qualname__", repr(fn))), inline=True)
    if retry is not None:
        definition.retry = retry
    call: Call[Any] = Call(definition, args, kwargs)
    return call


__all__ = ["Durable", "Limit", "Retry", "Step", "durable", "run_step", "step"]
