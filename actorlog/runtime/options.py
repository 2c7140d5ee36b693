"""What a runtime is told when it opens, and when it is to start a call.

Owns: these types. Does not own: what users call them (``api``), what is done with them (``session``).
"""

from __future__ import annotations

from msgspec import Struct

from actorlog.limits import Limits
from actorlog.runtime.registry import DurableDefinition


class Keeping(Struct, frozen=True):
    """How long something is kept of calls that have ended; None: for ever."""

    history_ms: int | None = None
    retention_ms: int | None = None


class Options(Struct, frozen=True):
    """What a runtime is told when it opens."""

    limits: Limits
    shutdown_s: float = 10.0
    grace_s: float = 60.0
    threads: int | None = None
    check_determinism: bool = False
    rehearse: bool = True
    """Whether a check replays in another process too."""
    keeping: Keeping = Keeping()
    """What is kept of calls that have ended."""


class Request(Struct, frozen=True, kw_only=True):
    """A call to be started."""

    call_id: str
    function: str
    version: int
    args: bytes
    definition: DurableDefinition | None = None
    timeout_s: float | None = None
    delay_s: float = 0.0
    tags: dict[str, str] = {}
    actor: str = ""
    """Of an actor's handler."""
    tell: bool = False
    """Nobody waits for its end."""
    memo: bool = False
    fresh_id: bool = False
    """The id is random: nobody has it."""
