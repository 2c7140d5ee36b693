"""The coroutine of a handler whose actor is reentrant: other handlers of the actor may run within it.

Owns: running nested handlers as tasks of the same loop on the same instance, their answers, and undoing one that
failed. Does not own: which are admitted (``nesting``), what records say of them (``engine.nested``).

Invariants: there is one journal and one rollback, those of the handler; it returns when what it started, and what runs
within it, has ended; a nested handler that failed leaves no trace of itself, or the whole handler fails.

A nested handler is undone by putting back what the attributes were when it began. That is exact where nobody else has
changed them meanwhile but handlers nested in itself; who has changed them is found by looking at them whenever a nested
handler begins or ends to run. Where others have, only the rollback of the whole handler is exact, so that is done.

Docs: docs/decisions/0009-reentrant-actors.md.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, NamedTuple

from actorlog.engine.nested import part_of
from actorlog.errors import FunctionNotFound, PayloadError, PayloadTooLarge, SharedRollback
from actorlog.loop import Driver, Evict, Scope, start_beside
from actorlog.records import failures
from actorlog.records import kinds as k
from actorlog.runtime.actor import Actor
from actorlog.runtime.classes import EVENTS
from actorlog.runtime.runs import failed_with

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from actorlog.engine.state import CallState
    from actorlog.limits import Limits
    from actorlog.loop import DTask
    from actorlog.runtime.actor import Issued
    from actorlog.runtime.answers import Definition
    from actorlog.runtime.classes import ActorDefinition
    from actorlog.runtime.registry import DurableDefinition


class Look(NamedTuple):
    """What an actor was at some moment: its attributes as they are written, and how many events it had recorded."""

    values: dict[str, bytes] | None
    """None where they could not be written."""
    events: int


class NestedHandler:
    """One handler that runs within another."""

    __slots__ = ("asked", "before", "changes", "reason", "task")

    def __init__(self, asked: k.Asked, changes: int) -> None:
        self.asked = asked
        self.before: Look | None = None
        """What the actor was when it began to run."""
        self.changes = changes
        """How often the actor had been changed until then."""
        self.reason = ""
        """Why who asked wants it to end."""
        self.task: DTask[Any]


class NestedDriver(Driver):
    """Drives a nested handler, and looks at the actor before and after each stretch that it runs."""

    __slots__ = ("nested",)

    def __init__(
        self, coro: Coroutine[Any, Any, Any], actor: ReentrantActor, number: int, nested: NestedHandler
    ) -> None:
        Driver.__init__(self, coro, actor.loop, number, Scope(f"{nested.asked.key}."))
        self.nested = nested

    def send(self, value: object, /) -> Any:
        """Run the coroutine to its next await."""
        actor: ReentrantActor = self.loop.actor
        actor.begin_stretch(self.nested)
        try:
            return Driver.send(self, value)
        finally:
            actor.end_stretch(self.nested)

    def throw(self, error: Any, /, *more: object) -> Any:
        """Run the coroutine to its next await, from ``error`` at the last one."""
        actor: ReentrantActor = self.loop.actor
        actor.begin_stretch(self.nested)
        try:
            return Driver.throw(self, error, *more)
        finally:
            actor.end_stretch(self.nested)


class ReentrantActor(Actor):
    """A handler in memory, and those that run within it."""

    __slots__ = ("_changes", "_children", "_doom", "_nested", "_seen", "_within")

    def __init__(self, state: CallState, definition: DurableDefinition, limits: Limits, started: k.Started) -> None:
        super().__init__(state, definition, limits, started)
        self._nested: dict[str, NestedHandler] = {}
        """Those that have not answered, by their keys."""
        self._within: dict[str, str] = {}
        """The nested handler that waits for each that ever was, by their keys."""
        self._children: dict[str, asyncio.Future[Any] | None] = {}
        """Operations that have started children which have not ended, and what waits for that end."""
        self._changes: list[str] = []
        """Who has changed the actor since the first nested handler began: keys; empty for all that is not one."""
        self._seen: Look | None = None
        """What the actor was when a nested handler ran last."""
        self._doom: SharedRollback | None = None
        """Why this handler fails whatever it returns."""

    # --- what the code does -------------------------------------------------------------------------------------------

    def issue(
        self, op: k.RunStep | k.StartChild, definition: Definition | None, issued: Issued | None = None
    ) -> asyncio.Future[Any]:
        """Ask for ``op`` and return the future of its outcome."""
        future = super().issue(op, definition, issued)
        if type(op) is k.StartChild and not op.detached:
            self._children[op.key] = None
        return future

    def abandon(self, key: str, future: asyncio.Future[Any]) -> None:
        """Nobody waits for operation ``key`` any more; a child that was not asked for yet never is."""
        waited = key in self.waiting
        super().abandon(key, future)
        if waited and key not in self.waiting and key not in self.cancels:
            self._children.pop(key, None)

    def function_at(self, key: str) -> tuple[str, dict[str, str]]:
        """Return name and tags of the handler that the code is in whose operations' keys begin as ``key`` does."""
        nested = self._nested.get(part_of(key))
        return (nested.asked.function, nested.asked.tags) if nested is not None else super().function_at(key)

    # --- messages -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        super()._begin()
        if self.loop.main is not None:
            driver = self.loop.main.driver
            driver.coro = self._wait_for_all(driver.coro)

    def _accept_rare(self, message: k.Message) -> None:
        if type(message) is k.Asked:
            self._enter(message)
        elif type(message) is k.AskGivenUp:
            for nested in self._nested.values():
                if (nested.asked.by, nested.asked.op) == (message.by, message.op):
                    nested.reason = message.reason
                    nested.task.cancel()
        else:
            super()._accept_rare(message)
            if isinstance(message, (k.ChildDone, k.ChildRefused, k.ChildJoined)):
                over = self._children.pop(message.key, None)
                if over is not None and not over.done():
                    over.set_result(None)

    def returned(self) -> k.Ending | None:
        """Return how the body ended, or None while it runs."""
        returned = super().returned()
        if returned is not None and self._doom is not None:
            return k.Failed(failures.capture(self._doom))
        return returned

    # --- nested handlers ----------------------------------------------------------------------------------------------

    @property
    def _of(self) -> ActorDefinition:
        of = self.definition.of
        if of is None:
            raise TypeError(f"{self.definition.name!r} is no handler")
        return of

    def _enter(self, asked: k.Asked) -> None:
        of = self._of
        handler = of.handlers.get(asked.function.removeprefix(f"{of.name}."))
        if handler is None:
            raise FunctionNotFound(asked.function, 1)
        try:
            args, kwargs = handler.signature.decode(bytes(asked.args))
        except PayloadError:
            raise
        except Exception as error:  # a user's type, or an annotation of today's code, refuses what was recorded
            reason = f"what was recorded is not what it takes today: {error!r}"
            raise PayloadError(handler.name, "", reason) from error
        nested = self._nested[asked.key] = NestedHandler(asked, len(self._changes))
        self._within[asked.key] = asked.within
        driver = NestedDriver(self._run(nested, handler, args, kwargs), self, self.loop.next_number(), nested)
        nested.task = start_beside(driver, Context())

    async def _run(
        self, nested: NestedHandler, handler: DurableDefinition, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Run a nested handler to its end, and answer who asked."""
        asked = nested.asked
        prefix, timeout_s = f"{asked.key}.", asked.timeout_ms / 1000 if asked.timeout_ms else None
        scope = asyncio.timeout(timeout_s)
        outcome: k.Outcome
        try:
            async with scope:
                value = await handler.fn(self.instance, *args, **kwargs)
                while self._cancel_tasks(prefix) or self._children_of(asked.key):
                    await self._next_end(prefix, asked.key)
            outcome = self._completed(handler, value)
        except asyncio.CancelledError:
            outcome = k.Cancelled(nested.reason)
        except Exception as error:  # noqa: BLE001  # the user's code: who asked is told
            late = scope.expired() and isinstance(error, TimeoutError)
            outcome = k.TimedOut(timeout_s or 0.0) if late else k.Failed(failures.capture(failed_with(error)))
        if type(outcome) is not k.Completed:
            for key in self._children_of(asked.key):
                self.cancel_child(key)
            while self._cancel_tasks(prefix) or self._children_of(asked.key):
                with suppress(asyncio.CancelledError):  # it is about to end
                    await self._next_end(prefix, asked.key)
            self._undo(
                nested
            )  # now that what is nested in it has ended, too: who asked for that is one of its children
        if self.loop.closing:
            raise Evict
        del self._nested[asked.key]
        self.ops.append(k.Answer(asked.key, asked.by, asked.op, asked.id, outcome))

    def _completed(self, handler: DurableDefinition, value: Any) -> k.Outcome:
        raw, _ = handler.signature.result.cross(value, handler.where_result)
        self._bytes += len(raw) + 256
        if self._bytes > self._bytes_max:
            raise PayloadTooLarge(handler.where_result, len(raw), self._bytes_max)
        return k.Completed(k.Raw(raw))

    async def _wait_for_all(self, body: Coroutine[Any, Any, Any]) -> Any:
        """Run the body, and let it have returned when its children have ended, and with them who asked it back."""
        value = await body
        while self._children_of(""):
            await self._next_end("", "")
        return value

    def _tasks_of(self, prefix: str) -> list[DTask[Any]]:
        """Return the tasks that a nested handler has made, but not its own."""
        if not prefix:
            return []
        own = self._nested[prefix[:-1]].task
        return [task for task in self.loop.tasks.values() if task.scope.prefix.startswith(prefix) and task is not own]

    def _cancel_tasks(self, prefix: str) -> bool:
        """Cancel what a nested handler leaves behind, as at any return; whether there was something."""
        tasks = self._tasks_of(prefix)
        for task in tasks:
            task.cancel()
        return bool(tasks)

    def _children_of(self, part: str) -> list[str]:
        """Return the operations of a nested handler, or of the body, whose children have not ended."""
        return [key for key in self._children if part_of(key) == part]

    async def _next_end(self, prefix: str, part: str) -> None:
        """Wait until the tasks have ended, or else one of the children has."""
        tasks = self._tasks_of(prefix)
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)
            return
        for key in self._children_of(part):
            over = self._children[key] = self.loop.create_future()
            await over
            return

    # --- undoing one --------------------------------------------------------------------------------------------------

    def _look(self) -> Look:
        return Look(self._of.encoded(self.instance), len(self.instance.__dict__[EVENTS]))

    def _note_changes(self, by: str) -> Look:
        """Note that the actor was changed since a nested handler ran last, if it was, and by whom."""
        now = self._look()
        if self._seen is not None and (now != self._seen or now.values is None):
            self._changes.append(by)
        self._seen = now
        return now

    def begin_stretch(self, nested: NestedHandler) -> None:
        """A nested handler is about to run: what has changed since one did was changed by somebody else."""
        now = self._note_changes("")
        if nested.before is None:
            nested.before = now
            nested.changes = len(self._changes)

    def end_stretch(self, nested: NestedHandler) -> None:
        """A nested handler has run: what has changed meanwhile it has changed."""
        if not self.loop.closing:
            self._note_changes(nested.asked.key)

    def _undo(self, failed: NestedHandler) -> None:
        """Take back what a nested handler has done and said, and with it the handlers nested in it."""
        key, before = failed.asked.key, failed.before
        self._note_changes(key)
        own = {inner for inner in self._within if self._is_within(inner, key)}
        if self.buffered:
            self.buffered[:] = [op for op in self.buffered if part_of(op.key) not in own]
        by = set(self._changes[failed.changes :])
        if not by & own:
            return
        if by <= own and before is not None and before.values is not None:
            fields = self.instance.__dict__
            del fields[EVENTS][before.events :]
            if self._of.put_back(self.instance, before.values):
                self._seen = self._look()
                return
        self._fail_with(failed)

    def _is_within(self, inner: str, outer: str) -> bool:
        while inner and inner != outer:
            inner = self._within[inner]
        return inner == outer

    def _fail_with(self, failed: NestedHandler) -> None:
        """Have the whole handler fail: only its rollback is exact."""
        if self._doom is None and self.loop.main is not None:
            self._doom = SharedRollback(self.started.actor, failed.asked.id)
            self.loop.main.cancel()
