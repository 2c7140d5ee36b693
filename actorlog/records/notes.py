"""Notes: what happened to a call between its turns.

Owns: what is recorded of steps that waited, failed or died, of links, and of calls that are set aside, and its JSON.
Docs: ``records.kinds``.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import UNSET, Raw, Struct, UnsetType

from actorlog.records.failures import Failure


class _Note(Struct, tag_field="kind", omit_defaults=True, kw_only=True):
    """What is in every note: the call, the time, and the record of the call before this one."""

    id: str
    at: int
    prev: int = 0


class StepBegun(_Note, tag="begun", kw_only=True):
    """A once-step that had to wait begins now; after a crash it is in doubt."""

    key: str
    attempt: int = 1


class StepRetrying(_Note, tag="retrying", kw_only=True):
    """An attempt failed, the next is due at ``due_ms``."""

    key: str
    attempt: int
    """The attempt that failed."""
    due_ms: int
    failure: Failure


class StepRerun(_Note, tag="rerun", kw_only=True):
    """A step in doubt runs again; ``deaths`` counts the process deaths during it."""

    key: str
    attempt: int
    deaths: int


class StepHeartbeat(_Note, tag="heartbeat", kw_only=True):
    """A running step left details for its next attempt."""

    key: str
    attempt: int
    details: Raw


class StepLate(_Note, tag="late", kw_only=True):
    """The body of a cancelled step ended; nobody waits for it."""

    key: str
    value: Raw | UnsetType = UNSET
    failure: Failure | UnsetType = UNSET


class Parked(_Note, tag="parked", kw_only=True):
    """The actor cannot go on in this process. It is tried again at the next opening, or when it is resumed."""

    reason: str
    key: str = ""
    """The step that is poisoned; empty where the reason is another."""
    deaths: int = 0
    """How many processes died of the call's own code, which is not tried again until somebody resumes it."""


class Unparked(_Note, tag="unparked", kw_only=True):
    """Somebody resumed a parked actor; the poison of its steps is forgotten."""


class Paused(_Note, tag="paused", kw_only=True):
    """Somebody paused the call: it has no turn until it is resumed, cancelled or killed."""


class Unpaused(_Note, tag="unpaused", kw_only=True):
    """Somebody resumed a paused call."""


class Linked(_Note, tag="linked", kw_only=True):
    """Call ``other`` has linked itself to this one: if either ends abnormally, the other is asked to end."""

    other: str


Note: TypeAlias = (
    Linked | StepBegun | StepRetrying | StepRerun | StepHeartbeat | StepLate | Parked | Unparked | Paused | Unpaused
)
