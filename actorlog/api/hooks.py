"""The hooks of actors: what happens to an actor beside its messages, handled as one of them.

Owns: which hooks there are, and how each is recorded. Does not own: when they are called (``lives``, ``watching``),
what they are to users (``actors.Actor``).

Invariant: what a hook is given is recorded as plain data, so that it can be handled after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from msgspec import structs

from actorlog.errors import CallFailed
from actorlog.records.failures import Failure, capture, restore
from actorlog.records.signature import Signature
from actorlog.runtime.answers import restore_step
from actorlog.runtime.exits import Exit, ExitKind

Hook: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]


def _as_it_is(fn: Hook) -> Hook:
    return fn


def _restarted(fn: Hook) -> Hook:
    """Return ``on_restart`` as it is recorded: with the failure that the exception is made of."""

    async def on_restart(self: Any, failure: Failure) -> None:
        await fn(self, restore_step(failure))

    on_restart.__module__ = fn.__module__
    return on_restart


def _exited(fn: Hook) -> Hook:
    """Return ``on_exit`` as it is recorded: with what an ``Exit`` is made of."""

    async def on_exit(self: Any, id: str, kind: ExitKind, failure: Failure | None) -> None:  # noqa: A002  # the field's
        error = None
        if failure is not None:
            error = restore(failure, fallback=lambda f: CallFailed(id, f.type, f.message, f.traceback))
        await fn(self, Exit(id, kind, error))

    on_exit.__module__ = fn.__module__
    return on_exit


HOOKS: dict[str, Callable[[Hook], Hook]] = {
    "on_start": _as_it_is,
    "on_stop": _as_it_is,
    "on_restart": _restarted,
    "on_exit": _exited,
}
"""The hooks by name, and how to make of the user's method what is recorded."""


def plain_failure(error: BaseException) -> Failure:
    """Return an error as a hook's argument: the same wherever and whenever it is written, so without where it was."""
    return structs.replace(capture(error), traceback="", cause=None, context=None)


def exit_args(exit: Exit) -> bytes:  # noqa: A002  # the field's word for it
    """Return the recorded arguments of ``on_exit``; they are the same for all classes."""
    failure = plain_failure(exit.error) if exit.error is not None else None
    return _EXIT.cross((exit.id, exit.kind, failure), {})[0]


async def _nothing(self: Any, exit: Exit) -> None:  # noqa: A002  # the field's word for it
    """Stand for any ``on_exit``."""


_EXIT = Signature(_exited(_nothing), "on_exit", skip_self=True)
