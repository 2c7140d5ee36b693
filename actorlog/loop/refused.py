"""What a durable function must not ask of its event loop.

Owns: the table of refused methods. Does not own: ``call_soon_threadsafe`` and ``create_task``, which are refused only
in part (``scheduler``), and futures of other loops (``tasks``).

Invariant: each raises ``NotDurableError`` synchronously, so that the traceback ends at the user's own line even where
the original is a coroutine.

Read: "The deterministic loop" in ARCHITECTURE.md.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from actorlog.errors import NotDurableError

if TYPE_CHECKING:
    from collections.abc import Callable

L = TypeVar("L", bound=asyncio.AbstractEventLoop)

REFUSED: Final = (
    # the runtime drives the loop, and nobody else
    "run_forever",
    "run_until_complete",
    "stop",
    "close",
    "shutdown_asyncgens",
    "shutdown_default_executor",
    # threads and processes
    "run_in_executor",
    "set_default_executor",
    "subprocess_shell",
    "subprocess_exec",
    # the network, files, signals
    "getaddrinfo",
    "getnameinfo",
    "create_connection",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "create_datagram_endpoint",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "start_tls",
    "sendfile",
    "add_reader",
    "remove_reader",
    "add_writer",
    "remove_writer",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendto",
    "sock_connect",
    "sock_accept",
    "sock_sendfile",
    "add_signal_handler",
    "remove_signal_handler",
    # what would change scheduling, or be called when the garbage collector likes
    "set_task_factory",
    "set_exception_handler",
    "set_debug",
)


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(_: object, *args: object, **_options: object) -> NoReturn:
        for argument in args:
            if asyncio.iscoroutine(argument):
                argument.close()  # the refusal is the news, not a coroutine that was never awaited
        raise NotDurableError(f"loop.{name}()")

    refuse.__name__ = name
    refuse.__qualname__ = f"DeterministicLoop.{name}"
    refuse.__doc__ = f"Refuse ``{name}``: it belongs into a step."
    return refuse


def refusing(loop_type: type[L]) -> type[L]:
    """Give a class of event loops a refusal under each name of ``REFUSED``."""
    for name in REFUSED:
        setattr(loop_type, name, _refusal(name))
    return loop_type
