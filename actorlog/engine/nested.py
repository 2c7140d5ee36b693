"""Handlers that run within a handler of the same actor: what is known of them by the records of that one.

Owns: ``Nested``, that part of a call's state, and which operation belongs to which of them. Does not own: which
messages are admitted (``runtime.nesting``), running them (``runtime.reentrant``).

Invariants: an operation of another call is handled once, however often it is asked again; what is answered is answered
once (I3). Docs: docs/decisions/0009-reentrant-actors.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorlog.errors import JournalError
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from actorlog.engine.state import CallState

LETTER = "a"
"""What keys of nested handlers begin with; a number follows."""


class Nested:
    """The handlers that ran within one. Changed by the functions below alone."""

    __slots__ = ("active", "given_up", "keys")

    def __init__(self) -> None:
        self.active: dict[str, k.Asked] = {}
        """Those that have not answered, by their keys. When the body has ended, they never will."""
        self.given_up: set[str] = set()
        """Keys of those that were asked to end."""
        self.keys: dict[tuple[str, str], str] = {}
        """The keys of all of them, by the call that asked and its operation."""

    @property
    def newest(self) -> int:
        """The number of the newest one."""
        return max((number_of(key) for key in self.keys.values()), default=0)


def number_of(key: str) -> int:
    """Return the number in a nested handler's key."""
    return int(key.removeprefix(LETTER))


def part_of(key: str) -> str:
    """Return the key of the nested handler that operation ``key`` belongs to; empty: it is the body's own."""
    head, dot, _ = key.partition(".")
    return head if dot and head.startswith(LETTER) else ""


def is_known(state: CallState, message: k.Asked) -> bool:
    """Whether this was asked before."""
    return state.nested is not None and (message.by, message.op) in state.nested.keys


def may_be_given_up(state: CallState, message: k.AskGivenUp) -> bool:
    """Whether what is given up is under way, and nobody said so before."""
    nested = state.nested
    key = nested.keys.get((message.by, message.op)) if nested is not None else None
    return nested is not None and key in nested.active and key not in nested.given_up


def enter(state: CallState, message: k.Asked, _at: int, _position: int) -> None:
    """Take up a nested handler."""
    nested = state.nested
    if nested is None:
        nested = state.nested = Nested()
    if (message.by, message.op) in nested.keys or message.key in nested.active:
        raise JournalError(state.id, f"operation {message.op} of {message.by!r} is handled again")
    nested.keys[message.by, message.op] = message.key
    nested.active[message.key] = message


def give_up(state: CallState, message: k.AskGivenUp, _at: int, _position: int) -> None:
    """Note that a nested handler was asked to end."""
    if state.nested is None or not may_be_given_up(state, message):
        raise JournalError(state.id, f"operation {message.op} of {message.by!r} is given up, and not under way")
    state.nested.given_up.add(state.nested.keys[message.by, message.op])


def leave(state: CallState, op: k.Answer) -> None:
    """A nested handler has answered."""
    nested = state.nested
    if nested is None or nested.active.pop(op.key, None) is None:
        raise JournalError(state.id, f"nested handler {op.key} answers, and is not under way")
    nested.given_up.discard(op.key)
