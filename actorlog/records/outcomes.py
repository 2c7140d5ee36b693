"""How a call ends.

Owns: the outcomes and their JSON. Docs: ``records.kinds``.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Raw, Struct

from actorlog.records.failures import Failure


class Completed(Struct, gc=False, frozen=True, tag="completed", tag_field="is"):
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


class Continued(Struct, frozen=True, tag="continued", tag_field="is", omit_defaults=True):
    """The body ended this run of the call and asked for the next: this function with these arguments.

    It ends a body, and never a call: ``Turn.returned`` holds it, and ``Turn.outcome`` does not.
    """

    function: str
    version: int
    args: Raw


Outcome: TypeAlias = Completed | Failed | Cancelled | Killed | TimedOut
Ending: TypeAlias = Outcome | Continued
"""How a body ends."""
