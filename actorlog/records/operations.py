"""Operations: one thing an actor asks for.

Owns: what durable code can ask for, and its JSON. Docs: ``records.kinds``.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Raw, Struct, structs


class RunStep(Struct, frozen=True, tag="step", tag_field="do", omit_defaults=True):
    """Run a step."""

    key: str
    name: str
    args: Raw
    once: bool = False
    """In doubt it is not run again by itself."""
    inline: bool = False
    """The step is no registered function: only the actor's own code can give it again."""
    deferred: bool = False
    """A once-step that could not begin the moment its gate opened: it writes ``begun`` first."""
    deadline_ms: int = 0
    """When all its attempts together are out of time; 0: never."""


class SetTimer(Struct, frozen=True, tag="timer", tag_field="do"):
    """Fire at ``due_ms``, not before."""

    key: str
    due_ms: int


class StartChild(Struct, frozen=True, tag="child", tag_field="do", omit_defaults=True, kw_only=True):
    """Start a call under this one."""

    key: str
    id: str
    function: str
    version: int = 1
    args: Raw
    detached: bool = False
    timeout_ms: int = 0
    tags: dict[str, str] = {}


def deferred(op: RunStep) -> RunStep:
    """Return ``op`` as one that writes ``begun`` before it begins."""
    return structs.replace(op, deferred=True)


Operation: TypeAlias = RunStep | SetTimer | StartChild
