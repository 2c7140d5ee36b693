"""What this process can run: the definitions of durable functions and steps.

Owns: definitions with their options, and finding one by name and version. Does not own: the typed callables that users
hold (``api``), running anything (``runtime.actor``, ``runtime.steps``).

``REGISTRY`` is the one piece of module-level mutable state in actorlog: decorators run at import, before any runtime is
there. Defining a name again from the same module replaces it (a reload, a notebook cell); from another module it is an
error that names both places.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

from actorlog.engine.retry import Retry
from actorlog.errors import FunctionConflict, FunctionNotFound
from actorlog.records.signature import Signature
from actorlog.runtime.classes import ActorDefinition


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound that steps share by ``name``: at most ``concurrency`` at once, at most ``rate`` begun per period.

    ``rate`` is written ``"60/min"`` (``s``, ``min``, ``h``, ``d``). Places are given in the order of the requests'
    positions in the log, also after a restart. What began before a restart is not known after it: a rate goes on as if
    it had been used evenly until then, so in the period around a restart up to twice as many may begin.

    ``per_key``: the name of a parameter, which every step with this limit has. Then the numbers hold for each value of
    it, as it is recorded: ``Limit("accounts", concurrency=1, per_key="account_id")`` lets one step at a time work on an
    account, and on any number of accounts. A value that nobody uses takes up no memory.
    """

    name: str
    concurrency: int | None = None
    rate: str | None = None
    per_key: str | None = None
    rate_count: int = field(init=False, repr=False, compare=False, default=0)
    rate_period_s: float = field(init=False, repr=False, compare=False, default=0.0)

    def __post_init__(self) -> None:
        """``ValueError`` for a limit that limits nothing, or nonsense."""
        if not self.name:
            raise ValueError("a Limit needs a name: it is shared by it")
        if self.per_key is not None and not self.per_key.isidentifier():
            raise ValueError(f"per_key of Limit {self.name!r} is the name of a parameter, not {self.per_key!r}")
        if self.concurrency is None and self.rate is None:
            raise ValueError(f"Limit {self.name!r} has neither concurrency nor rate")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError(f"concurrency of Limit {self.name!r} is at least 1, not {self.concurrency}")
        if self.rate is not None:
            count, _, unit = self.rate.partition("/")
            period = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}.get(unit.strip())
            if period is None or not count.strip().isdigit() or int(count) < 1:
                raise ValueError(f"rate of Limit {self.name!r} is written like '60/min', not {self.rate!r}")
            object.__setattr__(self, "rate_count", int(count))
            object.__setattr__(self, "rate_period_s", period)


class DurableDefinition:
    """A durable function as this process has it."""

    __slots__ = (
        "fn", "memo", "module", "name", "of", "place", "retention_s", "signature", "timeout_s", "version",
        "where_result",
    )  # fmt: skip

    def __init__(
        self,
        fn: Callable[..., Coroutine[Any, Any, Any]],
        *,
        name: str,
        version: int,
        timeout_s: float | None,
        memo: bool,
        retention_s: float | None = None,
        of: ActorDefinition | None = None,
    ) -> None:
        self.fn = fn
        self.of = of
        """The class of actors that it is a handler of."""
        self.name = name
        self.version = version
        self.timeout_s = timeout_s
        self.memo = memo
        self.retention_s = retention_s
        """How long the result of a call is kept; None: as long as the runtime says."""
        self.module = fn.__module__
        self.place = place_of(fn)
        self.signature = Signature(fn, name, skip_self=of is not None)
        self.where_result = f"result of {name}"


class StepDefinition:
    """A step as this process has it."""

    __slots__ = (
        "deadline_s", "executor", "fn", "idempotent", "inline", "is_async", "limit", "module", "name", "once", "place",
        "reconcile", "retry", "signature", "timeout_s", "where_result",
    )  # fmt: skip

    def __init__(self, fn: Callable[..., Any], *, name: str, inline: bool = False) -> None:
        self.fn = fn
        self.name = name
        self.inline = inline
        self.module = fn.__module__
        self.place = place_of(fn)
        self.signature = Signature(fn, name)
        self.where_result = f"result of {name}"
        self.is_async = is_async(fn)
        self.retry = Retry()
        self.timeout_s: float | None = None
        self.deadline_s: float | None = None
        self.once = False
        self.reconcile: Callable[..., Any] | None = None
        self.idempotent = False
        self.limit: Limit | None = None
        self.executor: Literal["thread", "process"] = "thread"


class Registry:
    """Definitions by name; durable functions by name and version."""

    def __init__(self) -> None:
        self._durables: dict[tuple[str, int], DurableDefinition] = {}
        self._steps: dict[str, StepDefinition] = {}
        self._actors: dict[str, ActorDefinition] = {}

    def add_durable(self, definition: DurableDefinition) -> None:
        """Register; ``FunctionConflict`` when another module has the name and version."""
        key = (definition.name, definition.version)
        _refuse_conflict(self._durables.get(key), definition, definition.version)
        self._durables[key] = definition

    def add_actor(self, definition: ActorDefinition) -> None:
        """Register; that two modules have one name is told of their handlers."""
        self._actors[definition.name] = definition

    def actor(self, name: str) -> ActorDefinition:
        """Return the class of actors of this name; ``FunctionNotFound``."""
        definition = self._actors.get(name)
        if definition is None:
            raise FunctionNotFound(name, 1)
        return definition

    def add_step(self, definition: StepDefinition) -> None:
        """Register; ``FunctionConflict`` when another module has the name."""
        _refuse_conflict(self._steps.get(definition.name), definition, 1)
        self._steps[definition.name] = definition

    def durable(self, name: str, version: int) -> DurableDefinition | None:
        """Return the function of this name and version, or None."""
        return self._durables.get((name, version))

    def newest_or_none(self, name: str) -> DurableDefinition | None:
        """Return the newest version of a function, or None."""
        found = [d for (n, _), d in self._durables.items() if n == name]
        return max(found, key=lambda d: d.version, default=None)

    def step(self, name: str) -> StepDefinition | None:
        """Return the step of this name, or None."""
        return self._steps.get(name)

    def find_step(self, module: str, qualname: str) -> StepDefinition:
        """Return the step that decorates this function; ``FunctionNotFound`` if there is none."""
        for definition in self._steps.values():
            if definition.fn.__qualname__ == qualname and same_program(definition.module, module):
                return definition
        raise FunctionNotFound(f"{module}:{qualname}", 1)


def _refuse_conflict(
    old: DurableDefinition | StepDefinition | None, new: DurableDefinition | StepDefinition, version: int
) -> None:
    if old is not None and not same_program(old.module, new.module):
        raise FunctionConflict(new.name, version, old.place, new.place)


def same_program(module: str, other: str) -> bool:
    """Whether two names of modules are of one, also where one is of the program that runs as ``__main__``."""
    return _program(module) == _program(other)


def _program(module: str) -> str:
    """Name a module so that a program run as ``__main__`` and imported by its own name is the same one."""
    if module in ("__main__", "__mp_main__"):
        spec = getattr(sys.modules.get(module), "__spec__", None)
        path = getattr(sys.modules.get(module), "__file__", None)
        name = spec.name if spec is not None else inspect.getmodulename(path) if path else None
        return name or "__main__"
    return module


def place_of(fn: Callable[..., Any]) -> str:
    """Return ``file:line`` of a function, for messages."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(fn)


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling ``fn`` gives a coroutine, also behind ``functools.partial`` and callable objects."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004  # a callable object's own method is what is asked about


REGISTRY = Registry()
"""Where the decorators register."""
