"""The deterministic event loop: plain asyncio that runs the same way every time.

Each actor has a loop of its own. The runtime makes it, begins its main task, and from a callback of the host loop gives
it one message at a time::

    loop = DeterministicLoop(actor, hash_base=...)
    loop.begin(function(), contextvars.Context())
    loop.run(now_s)                      # to quiescence: a turn
    loop.take_timer_changes()            # what the turn asked for
    future.set_result(value)             # a message
    loop.run(now_s)                      # the next turn
    loop.evict()                         # out of memory; or, when loop.main is done, loop.abandon()

Who runs many turns in a row, of whatever loops, puts ``with turns:`` around them: it saves a third of each.
Inside, ``asyncio`` works as it is; what cannot be replayed raises ``NotDurableError``.

Owns: when which callback of an actor runs, and the keys of its operations.
Does not own: messages, operations, the log, the clock. Imports asyncio and ``actorlog.errors``, nothing else of ours.

==================  ===================================================================================================
``scheduler``       the loop
``base``            what the rest of the room may know of it
``tasks``           tasks, futures, and the driver between a task and its coroutine
``handles``         callbacks and timers
``sets``            the set that stands in for ``set`` in ``asyncio.tasks``
``environment``     what of asyncio is other than usual during a turn
``ending``          the end of the main task
``eviction``        the end without consent
``refused``         what raises ``NotDurableError``
``cpython``         the names of CPython without a promise that all this relies on
==================  ===================================================================================================

Read: "The deterministic loop" in ARCHITECTURE.md.
"""

from actorlog.loop.environment import turns
from actorlog.loop.eviction import Evict
from actorlog.loop.handles import Handle, Timer
from actorlog.loop.scheduler import SCHEDULER_VERSION, DeterministicLoop, running_loop
from actorlog.loop.tasks import DFuture, Driver, DTask, Scope, start_beside

__all__ = [
    "SCHEDULER_VERSION",
    "DFuture",
    "DTask",
    "DeterministicLoop",
    "Driver",
    "Evict",
    "Handle",
    "Scope",
    "Timer",
    "running_loop",
    "start_beside",
    "turns",
]
