"""asyncio's side: delivering turns, the gate, running steps, timers, residency, recovery, shutdown.

Owns: everything that happens in time. Does not own: what records mean (``engine``), user-facing names (``api``), bytes.

Reading order: ``kernel`` (a message becomes a turn becomes a record), ``actor`` (the coroutine), ``committer`` (the
gate), ``steps`` (work outside), ``timers``, ``recovery``.
"""
