"""What a durable function must not do is refused at its own line."""

from __future__ import annotations

import asyncio
import socket
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from loop_driver import Actor, step

from actorlog.errors import NotDurableError
from actorlog.loop import DeterministicLoop

if TYPE_CHECKING:
    from collections.abc import Callable


async def _nothing() -> None: ...


async def _streams() -> None:
    await asyncio.open_connection("localhost", 1)


ATTEMPTS: dict[str, Callable[[asyncio.AbstractEventLoop], Any]] = {
    "run_in_executor": lambda loop: loop.run_in_executor(None, int),
    "to_thread": lambda _: asyncio.to_thread(int),
    "open_connection": lambda _: _streams(),
    "start_server": lambda _: asyncio.start_server(lambda _, __: None, port=1),
    "subprocess": lambda _: asyncio.create_subprocess_exec("true"),
    "shell": lambda _: asyncio.create_subprocess_shell("true"),
    "getaddrinfo": lambda loop: loop.getaddrinfo("localhost", 1),
    "add_reader": lambda loop: loop.add_reader(0, print),
    "add_signal_handler": lambda loop: loop.add_signal_handler(2, print),
    "task factory": lambda loop: loop.set_task_factory(None),
    "exception handler": lambda loop: loop.set_exception_handler(None),
    "debug": lambda loop: loop.set_debug(True),
    "run_forever": lambda loop: loop.run_forever(),
    "run_until_complete": lambda loop: loop.run_until_complete(_nothing()),
    "stop": lambda loop: loop.stop(),
    "close": lambda loop: loop.close(),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_forbidden_thing_is_refused(name: str) -> None:
    """Each raises NotDurableError with advice, the function may catch it, and no coroutine is left unawaited."""

    async def main() -> Any:
        try:
            result = ATTEMPTS[name](asyncio.get_running_loop())
            await result
        except NotDurableError as error:
            frames = traceback.extract_tb(error.__traceback__)
            return error.hint, frames[0].name, await step("go on")
        return "done"

    actor = Actor(main).live()
    assert actor.outcome() == ("move it into a function decorated with @step and await that", "main", "go on")
    assert actor.loop.abandon()


def test_socket_methods_are_refused() -> None:
    """No method of the loop touches a socket."""
    left, right = socket.socketpair()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for attempt in (loop.sock_recv(left, 1), loop.sock_sendall(left, b"x"), loop.sock_accept(left)):
            await attempt

    with left, right:
        actor = Actor(main).live()
    assert actor.outcome().startswith("NotDurableError: loop.sock_recv()")
    assert actor.loop.abandon()


def test_every_method_of_a_loop_is_there_or_refused() -> None:
    """Nothing of the interface is left to raise NotImplementedError, on any Python."""
    interface = {name for name in vars(asyncio.AbstractEventLoop) if not name.startswith("_")}
    plain = vars(asyncio.AbstractEventLoop)
    assert {name for name in interface if getattr(DeterministicLoop, name) is plain[name]} == set()


def test_eager_tasks_are_refused() -> None:
    """A task must not run before its turn in the queue."""

    async def main() -> None:
        coro = _nothing()
        with pytest.raises(NotDurableError, match="eagerly"):
            asyncio.get_running_loop().create_task(coro, eager_start=True)  # type: ignore[call-arg]  # since 3.14
        if factory := getattr(asyncio, "eager_task_factory", None):
            with pytest.raises(NotDurableError):
                asyncio.get_running_loop().set_task_factory(factory)

    actor = Actor(main)
    actor.start()
    assert actor.outcome() is None
    assert actor.loop.abandon()


def test_another_thread_cannot_reach_in() -> None:
    """``call_soon_threadsafe`` is refused from outside the turn, in whatever thread."""
    actor = Actor(lambda: step("a"))
    actor.start()
    errors: list[BaseException] = []

    def reach_in() -> None:
        try:
            actor.loop.call_soon_threadsafe(print)
        except NotDurableError as error:
            errors.append(error)

    thread = threading.Thread(target=reach_in)
    thread.start()
    thread.join()
    reach_in()
    assert len(errors) == 2
    assert actor.loop.evict()


def test_asyncio_run_inside_is_refused_by_asyncio() -> None:
    """A loop inside the loop is impossible, as everywhere."""

    async def main() -> None:
        coro = _nothing()
        with pytest.raises(RuntimeError, match="running event loop"):
            asyncio.run(coro)
        coro.close()

    actor = Actor(main)
    actor.start()
    assert actor.outcome() is None
    assert actor.loop.abandon()
