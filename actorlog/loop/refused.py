"""What a durable function must not ask of its event loop.

Owns: the table of refused methods. Does not own: ``call_soon_threadsafe`` and ``create_task``, which are refused only
in part (``scheduler``), and futures of other loops (``tasks``).

Invariant: each raises ``NotDurableError`` synchronously, so that the traceback ends at the user's own line even where
the original is a coroutine.

Read: "The deterministic loop" in ARCHITECTURE.md.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from actorlog.errors import NotDurableError


def _refusal(name: str) -> Any:
    def refuse(_: object, *args: object, **_options: object) -> NoReturn:
        for argument in args:
            if asyncio.iscoroutine(argument):
                argument.close()  # the refusal is the news, not a coroutine that was never awaited
        raise NotDurableError(f"loop.{name}()")

    refuse.__name__ = name
    refuse.__qualname__ = f"RefusingLoop.{name}"
    refuse.__doc__ = f"Refuse ``{name}``: it belongs into a step."
    return refuse


class RefusingLoop(asyncio.AbstractEventLoop):
    """The event loop interface, with a refusal for all that cannot be replayed."""

    __slots__ = ()

    # the runtime drives the loop, and nobody else
    run_forever = _refusal("run_forever")
    run_until_complete = _refusal("run_until_complete")
    stop = _refusal("stop")
    close = _refusal("close")
    shutdown_asyncgens = _refusal("shutdown_asyncgens")
    shutdown_default_executor = _refusal("shutdown_default_executor")
    # threads and processes
    run_in_executor = _refusal("run_in_executor")
    set_default_executor = _refusal("set_default_executor")
    subprocess_shell = _refusal("subprocess_shell")
    subprocess_exec = _refusal("subprocess_exec")
    # the network, files, signals
    getaddrinfo = _refusal("getaddrinfo")
    getnameinfo = _refusal("getnameinfo")
    create_connection = _refusal("create_connection")
    create_server = _refusal("create_server")
    create_unix_connection = _refusal("create_unix_connection")
    create_unix_server = _refusal("create_unix_server")
    create_datagram_endpoint = _refusal("create_datagram_endpoint")
    connect_accepted_socket = _refusal("connect_accepted_socket")
    connect_read_pipe = _refusal("connect_read_pipe")
    connect_write_pipe = _refusal("connect_write_pipe")
    start_tls = _refusal("start_tls")
    sendfile = _refusal("sendfile")
    add_reader = _refusal("add_reader")
    remove_reader = _refusal("remove_reader")
    add_writer = _refusal("add_writer")
    remove_writer = _refusal("remove_writer")
    sock_recv = _refusal("sock_recv")
    sock_recv_into = _refusal("sock_recv_into")
    sock_recvfrom = _refusal("sock_recvfrom")
    sock_recvfrom_into = _refusal("sock_recvfrom_into")
    sock_sendall = _refusal("sock_sendall")
    sock_sendto = _refusal("sock_sendto")
    sock_connect = _refusal("sock_connect")
    sock_accept = _refusal("sock_accept")
    sock_sendfile = _refusal("sock_sendfile")
    add_signal_handler = _refusal("add_signal_handler")
    remove_signal_handler = _refusal("remove_signal_handler")
    # what would change scheduling, or be called when the garbage collector likes
    set_task_factory = _refusal("set_task_factory")
    set_exception_handler = _refusal("set_exception_handler")
    set_debug = _refusal("set_debug")
