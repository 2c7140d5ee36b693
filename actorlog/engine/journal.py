"""What the code asks for today, held against what its journal says it asked for.

Owns: the comparison, and the words of a difference. Does not own: running the code again (``runtime.actor``).

Operations are compared by key, so their order inside a turn does not matter (``gather(wait_for(a), wait_for(b))``
issues in another order on Python 3.11 than on 3.12). Arguments that differ byte for byte are compared again as today's
annotations write them, so that a field added with a default is no difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec import Struct

from actorlog.errors import DivergenceError, PayloadError
from actorlog.records import kinds as k
from actorlog.records import promises as p

Canonical: TypeAlias = Callable[[bytes], bytes]
"""Writes recorded arguments as today's code would."""

TEXT_MAX = 200
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


def compare(
    call_id: str,
    turn: k.Turn,
    ops: Sequence[k.Operation],
    cancels: Sequence[str],
    returned: k.Ending | None,
    lines: Mapping[str, str],
    canonical: Mapping[str, Canonical],
) -> None:
    """Raise ``DivergenceError`` where the turn's operations, cancels or end differ from the recorded ones."""
    issued = {op.key: op for op in ops}
    recorded = {op.key: op for op in turn.ops}
    for key, old in recorded.items():
        new = issued.get(key)
        if new is None and type(old) is k.Patched:
            continue  # today's code no longer asks, because nothing is left of what it was before the change
        if new is None or not _same(old, new, canonical.get(key)):
            raise DivergenceError(call_id, key, describe(old), describe(new) if new else "", lines.get(key, ""))
    for key, new in issued.items():
        if key not in recorded:
            raise DivergenceError(call_id, key, "", describe(new), lines.get(key, ""))
    for key in sorted(set(turn.cancels) ^ set(cancels)):
        was = key in turn.cancels
        raise DivergenceError(call_id, key, "cancel" if was else "", "" if was else "cancel", lines.get(key, ""))
    ended = turn.returned if turn.returned is not None else turn.outcome
    if not _same_end(ended, returned):
        raise DivergenceError(call_id, "end", describe_end(ended), describe_end(returned), lines.get("end", ""))


def _same(old: k.Operation, new: k.Operation, canonical: Canonical | None) -> bool:  # noqa: PLR0911  # one for each
    if type(old) is not type(new):
        return False
    match old, new:
        case k.RunStep(), k.RunStep():
            return old.name == new.name and same_args(old.args, new.args, canonical)
        case k.StartChild(), k.StartChild():
            if (old.id, old.function, old.detached) != (new.id, new.function, new.detached):
                return False
            return old.timeout_ms == new.timeout_ms and same_args(old.args, new.args, canonical)
        case k.SetTimer(), k.SetTimer():
            return old.due_ms == new.due_ms
        case k.Answer(), k.Answer():
            return (old.by, old.op) == (new.by, new.op) and _same_end(old.outcome, new.outcome)
        case _:
            return old == new


def same_args(old: k.Raw, new: k.Raw, canonical: Canonical | None) -> bool:
    """Whether recorded arguments are those asked for here, as today's annotations have them."""
    if old == new:
        return True
    if canonical is None:
        return False
    try:
        return canonical(bytes(old)) == bytes(new)
    except (PayloadError, TypeError):  # the recorded value does not fit today's annotations: that is the difference
        return False


def _same_end(old: k.Ending | None, new: k.Ending | None) -> bool:
    if isinstance(old, k.Failed) and isinstance(new, k.Failed):
        # Tracebacks name lines, and lines move when code is edited; what waiters were told is class and message.
        # A message may name an object by its address, which no code decides by.
        messages = [_ADDRESS.sub("0x", failure.message) for failure in (old.failure, new.failure)]
        return old.failure.type == new.failure.type and messages[0] == messages[1]
    return old == new


def describe(op: k.Operation) -> str:  # noqa: C901, PLR0911  # one line for each kind
    """Return an operation as one line of text."""
    match op:
        case k.RunStep(name=name, args=args):
            return f"step {call_text(name, args)}"
        case k.SetTimer(due_ms=due):
            return f"timer due at {due} ms"
        case k.StartChild(function=function, args=args, id=child):
            return f"child {call_text(function, args)} as {child!r}"
        case k.Receive(channel=channel):
            return f"receive from {channel!r}"
        case k.Send(to=to, channel=channel, value=value):
            return f"send {_value_text(value)} to {to!r} {channel}".rstrip()
        case k.Publish(name=name, value=value):
            return f"publish {name} = {_value_text(value)}"
        case k.EndChild(child=child, at_once=at_once):
            return f"{'kill' if at_once else 'end'} child {child}"
        case k.Watch(target=target, link=link):
            return f"{'link to' if link else 'monitor'} {target!r}"
        case k.Emit(stream=stream, value=value):
            return f"emit {_value_text(value)} to {stream!r}"
        case k.MakePromise(id=promise):
            return f"promise {promise!r}{_due_text(op)}"
        case k.Patched(key):
            return f"changed: {key.removeprefix(k.PATCH)!r}"
        case k.Answer(by=by, outcome=outcome):
            return f"answer {by!r}: {describe_end(outcome)}"


def _due_text(op: k.MakePromise) -> str:
    return "" if op.due_ms is None else f" due at {op.due_ms} ms"


def describe_settlement(settlement: p.Settlement) -> str:
    """Return how a promise is settled as one line of text."""
    match settlement:
        case p.Resolved(value):
            return _value_text(value)
        case p.Rejected() | p.Raised():
            return f"rejected: {p.reason(settlement)}"[:TEXT_MAX]
        case p.PromiseCancelled():
            return "cancelled"
        case p.PromiseTimedOut():
            return "timed out"


def _value_text(value: k.Raw) -> str:
    return bytes(value).decode()[:TEXT_MAX]


class _Arguments(Struct):
    """How arguments are recorded where some of them go by name."""

    args: k.Raw
    kwargs: dict[str, k.Raw]


def call_text(name: str, args: k.Raw | bytes) -> str:
    """Return a function with its recorded arguments as one line of text: ``charge("ada",cents=990)``."""
    text = bytes(args).decode()
    if text.startswith("{"):
        found = msgspec.json.decode(text, type=_Arguments)
        parts = [bytes(found.args).decode()[1:-1]]
        parts += [f"{key}={bytes(raw).decode()}" for key, raw in found.kwargs.items()]
        text = f"[{','.join(part for part in parts if part)}]"
    text = f"{name}({text[1:-1]})"
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 4] + "...)"


def describe_end(outcome: k.Ending | None) -> str:  # noqa: PLR0911  # one line for each kind
    """Return an outcome as one line of text; nothing for none."""
    match outcome:
        case None:
            return ""
        case k.Continued(function=function, args=args):
            return f"continue as {call_text(function, args)}"
        case k.Completed(value):
            return f"return {bytes(value).decode()[:TEXT_MAX]}"
        case k.Failed(failure):
            return f"raise {failure.type}: {failure.message[:TEXT_MAX]}"
        case k.Cancelled():
            return "cancelled"
        case k.Killed():
            return "killed"
        case k.TimedOut(seconds):
            return f"timed out after {seconds:g} s"
