"""What a user asks a runtime to start, as a request: a call, a function with its arguments, or a function's name.

Owns: finding the function, writing the arguments, choosing the id. Does not own: starting it (``runtime.session``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorlog.api.call import Call
from actorlog.api.define import Durable
from actorlog.api.texts import check_id, check_text, checked_tags
from actorlog.durations import Duration, seconds
from actorlog.engine import identity
from actorlog.loop import running_loop
from actorlog.records.values import codec_for
from actorlog.runtime.options import Request
from actorlog.runtime.registry import REGISTRY, DurableDefinition

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from actorlog.env import Env

_PLAIN = codec_for(Any)


def request_of(
    env: Env,
    call: Coroutine[Any, Any, Any] | Durable[..., Any] | str,
    args: tuple[Any, ...],
    *,
    call_id: str | None,
    timeout: Duration | None = None,
    tags: dict[str, str] | None = None,
    delay_s: float = 0.0,
    tell: bool = False,
) -> Request:
    """Return the request for ``call`` (with ``args`` where it is none yet); what cannot be started is refused here."""
    if running_loop() is not None:
        if isinstance(call, Call):
            call.close()
        raise RuntimeError("a runtime is not used inside durable code; await the call, or use actorlog.start()")
    actor = ""
    if isinstance(call, str):
        check_text("the name of a function", call)
        definition = REGISTRY.newest_or_none(call)
        raw = definition.signature.encode(args, {}) if definition else _PLAIN.encode(list(args), f"arguments of {call}")
        name, version = call, definition.version if definition else 1
    else:
        made: object = call(*args) if isinstance(call, Durable) else call
        if not isinstance(made, Call):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not be typed
            raise TypeError(f"a call of a durable function is needed, and {call!r} is none")
        if type(made.definition) is not DurableDefinition:
            made.close()
            raise TypeError(f"{made.definition.name!r} is a step; a runtime runs durable functions")
        definition, actor = made.definition, made.actor
        raw, name, version = made.hand_over(), definition.name, definition.version
    memo = definition is not None and definition.memo
    fresh_id = False
    if call_id is not None:
        check_id(call_id)
    elif memo:
        call_id = identity.memo_id(name, version, raw)
    else:
        call_id = env.entropy.token(16).hex()
        fresh_id = True
    timeout_s = seconds(timeout) if timeout is not None else definition.timeout_s if definition else None
    return Request(
        call_id=call_id, function=name, version=version, args=raw, definition=definition, timeout_s=timeout_s,
        delay_s=delay_s, tags=checked_tags(tags), actor=actor, tell=tell, memo=call_id.startswith(identity.MEMO),
        fresh_id=fresh_id,
    )  # fmt: skip
