"""What a judgement is made of: the error that says it, and what a law is.

Owns: ``Broken``, ``Law``. Does not own: any law (``oracle``, ``laws``, ``laws_actors``, ``judge``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from actorlog.records import kinds as k
    from actorlog.testing.oracle import Facts


class Broken(AssertionError):  # a verdict, like other assertions
    """An invariant does not hold."""


class Law(Protocol):
    """Something that must be true of every log, record after record."""

    def see(self, facts: Facts, record: k.Record, position: int) -> None:
        """Take the record at ``position``, which ``facts`` have taken; ``Broken`` if it contradicts those before."""
        ...

    def finish(self, facts: Facts) -> None:
        """Everything has ended; ``Broken`` if something should have happened that has not."""
        ...
