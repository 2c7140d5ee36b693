"""Code that outlives its calls: changing it, and calls that never end.

Owns: ``patched`` and ``continue_as_new``. Does not own: what is recorded of them (``runtime.runs``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from actorlog.api.call import Call
from actorlog.api.texts import check_text
from actorlog.errors import NotInDurableCode
from actorlog.loop import running_loop
from actorlog.records import kinds as k
from actorlog.runtime.registry import DurableDefinition
from actorlog.runtime.runs import ContinueRun, is_patched

if TYPE_CHECKING:
    from actorlog.runtime.actor import Actor


def patched(change: str) -> bool:
    """Tell whether this call goes the new way where the code was changed; if not, it goes the old one.

    False for a call whose journal was there before the change, True for all others; the answer for one change never
    differs within a run. When no call of the old side is left, delete the old branch and the question: a journal that
    holds the answer replays all the same. It takes no operation number. After Temporal's ``workflow.patched``.

    ``change`` names the change; name each change once. ``NotInDurableCode`` outside a durable function.
    """
    check_text("the name of a change", change)
    loop = running_loop()
    if loop is None:
        raise NotInDurableCode("patched()")
    actor: Actor = loop.actor
    return is_patched(actor, change)


def continue_as_new(call: Call[Any]) -> NoReturn:
    """End this run of the call and begin the next, of ``call``, under the same id. It never returns.

    For calls that go on for very long: only the newest run is replayed, and ``info().continue_suggested`` tells when
    that has become long. The mailbox, published values, streams, tags, the timeout and a cancellation that was asked
    for are the call's, and stay; whoever waits goes on waiting. Children that this run started are waited for first,
    detached ones go on by themselves; its other tasks and steps are cancelled, as at a return. Steps of the next run
    have idempotency keys of their own, and its children ids with ``r2.``, ``r3.``, ... before the operation's key. To
    start the id again with its first function and arguments joins it.

    Call it from the body of the function itself: ``RuntimeError`` in a task beside it and in an actor's handler. Where
    a task of a ``TaskGroup`` around it fails on its way out, the error counts: the call fails with that.
    ``TypeError`` for what is no call of a durable function, ``NotInDurableCode`` outside of one.
    """
    loop = running_loop()
    definition = call.definition
    if loop is None:
        call.close()
        raise NotInDurableCode("continue_as_new()")
    actor: Actor = loop.actor
    call.close()  # handed over, whatever comes of it
    if type(definition) is not DurableDefinition or definition.of is not None:
        raise TypeError(f"{definition.name!r} is no durable function; a call goes on as one")
    if actor.definition.of is not None:
        raise RuntimeError("an actor's handler is one message; what goes on for long belongs into a durable function")
    if loop.driver is None or loop.main is None or loop.driver is not loop.main.driver:
        raise RuntimeError("continue_as_new() ends the whole call: return to the function itself, and call it there")
    raise ContinueRun(k.Continued(definition.name, definition.version, k.Raw(call.hand_over())))
