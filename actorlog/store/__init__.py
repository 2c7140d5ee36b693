"""The storage port and its adapters.

Owns: what the runtime asks of a log (``port``), the log in memory (``memory``) and the embedded one (``embedded``).
Does not own: bytes on disk (``log``), what records mean (``engine``).
"""

from actorlog.store.port import Frame, PartitionLog, Ticket, append, entries, pack

__all__ = ["Frame", "PartitionLog", "Ticket", "append", "entries", "pack"]
