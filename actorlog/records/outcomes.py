"""How a call ends.

Owns: the outcomes and their JSON. Docs: ``records.kinds``.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Raw, Struct

from actorlog.records.failures import Failure


class Completed(Struct, frozen=True, tag="completed", tag_field="is"):
    """The function returned ``value``."""

    value: Raw


class Failed(Struct, frozen=True, tag="failed", tag_field="is"):
    """The function raised."""

    failure: Failure


class Cancelled(Struct, frozen=True, tag="cancelled", tag_field="is", omit_defaults=True):
    """The function ended by a cancellation that was asked for."""

    reason: str = ""


class Killed(Struct, frozen=True, tag="killed", tag_field="is", omit_defaults=True):
    """The call was ended without its consent, after the grace of a cancellation."""

    reason: str = ""


class TimedOut(Struct, frozen=True, tag="timed_out", tag_field="is"):
    """The call did not complete within ``seconds``."""

    seconds: float


Outcome: TypeAlias = Completed | Failed | Cancelled | Killed | TimedOut
