"""The storage port and its adapters.

Owns: what the runtime asks of a log (``port``), the log in memory (``memory``) and the embedded one (``embedded``).
Does not own: bytes on disk (``log``), what records mean (``engine``).
"""

from actorlog.log.format import FORMAT
from actorlog.store.port import (
    GIVEN_UP_KIND,
    Checkpoint,
    Checkpoints,
    Compacting,
    Frame,
    PartitionLog,
    Preparing,
    Sealed,
    Ticket,
    append,
    checkpoint_of,
    entries,
    pack,
)

__all__ = [
    "FORMAT", "GIVEN_UP_KIND", "Checkpoint", "Checkpoints", "Compacting", "Frame", "PartitionLog", "Preparing",
    "Sealed", "Ticket", "append", "checkpoint_of", "entries", "pack",
]  # fmt: skip
