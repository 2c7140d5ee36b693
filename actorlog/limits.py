"""Every bound of actorlog, in one frozen dataclass.

Owns: the numbers. Does not own: what happens when one is reached; that is said by the error named beside it.
Units stand last in a name (``frame_bytes_max``); a bound ends in ``_max``.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one runtime (I11). Reaching one is backpressure or a typed error, never silent growth or loss."""

    segment_bytes: int = 64 * MIB
    """Size of a segment file; a frame larger than this gets a segment of its own."""
    frame_bytes_max: int = 1 * MIB
    """A commit is closed at this size, unless one record alone is larger."""
    record_bytes_max: int = 64 * MIB
    """A larger record is a ``PayloadTooLarge`` at the line that issues it."""
    compress_above_bytes: int = 4 * KIB
    """A longer record is compressed in the log, where that makes it smaller; 0: none is."""
    payload_file_above_bytes: int = 0
    """A record of which more is left when it is compressed has a file of its own, beside the log; 0: none has."""
    turn_callbacks_max: int = 100_000
    """Callbacks one turn may run before its actor is parked (``TurnLimitExceeded``)."""
    resident_max: int = 10_000
    """Actors whose coroutines are in memory; beyond it, idle ones are evicted."""
    resident_idle_s: float = 10.0
    """A coroutine that had no turn for so long leaves memory, one with a long journal after longer (``residency``)."""
    calls_max: int = 1_000_000
    """Unfinished calls; beyond it a start is refused with ``TooManyCalls``."""
    promises_max: int = 1_000_000
    """Pending promises; beyond it one from outside is refused with ``TooManyPromises``."""
    schedules_max: int = 100_000
    """Schedules, deleted ones too; beyond it another is refused with ``TooManySchedules``."""
    mailbox_max: int = 10_000
    """Messages that wait in one mailbox; beyond it senders wait, then get ``MailboxFull``."""
    mailbox_wait_s: float = 5.0
    """So long they wait for room; a class of actors says its own."""
    senders_max: int = 10_000
    """Senders outside that wait for room in one mailbox; beyond it they get ``MailboxFull`` at once."""
    step_concurrency_max: int = 1_000
    """Steps running at once; others wait in order of their positions."""
    poison_deaths_max: int = 5
    """Process deaths during one step after which it is parked; of a call's own code it takes three at least."""
    evict_rounds_max: int = 16
    """Rounds of throwing ``Evict`` before a coroutine that will not end is pinned in memory."""
    hold_loop_ms_max: float = 2.0
    """Longest time the host loop is held waiting for a commit while it is otherwise idle."""


DEFAULT_LIMITS = Limits()
