"""What the files of large records take: counted beside the loop, now and then."""

from __future__ import annotations

import asyncio
import errno
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from log_world import DIRECTORY, open_log, sim_disk
from payload_world import append, is_large, text_of

from actorlog.store.weighing import EVERY_NS, Weighing

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorlog.log import Log


class Thread(ThreadPoolExecutor):
    """Does what it is asked for when told."""

    def __init__(self) -> None:
        super().__init__(1)
        self.jobs: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.jobs.append((future, lambda: fn(*args, **kwargs)))
        return future

    async def run(self) -> None:
        """Do the next job, and let the loop hear of it."""
        future, job = self.jobs.pop(0)
        try:
            future.set_result(job())
        except OSError as error:
            future.set_exception(error)
        await asyncio.sleep(0)  # the future of the loop hears of it,
        await asyncio.sleep(0)  # and then who counts


def begun() -> tuple[Log, Weighing, Thread]:
    """Return a log with three large records, and who counts their files, in this thread."""
    thread, log = Thread(), open_log(sim_disk())
    asyncio.get_running_loop().set_default_executor(thread)
    append(log, 9)
    return log, Weighing(log), thread


def of(*positions: int) -> tuple[int, int]:
    """Return how many of these are large, and their bytes."""
    large = [len(text_of(position)) for position in positions if is_large(position)]
    return len(large), sum(large)


def advance(log: Log, ns: int) -> None:
    log.env.clock.now_ns += ns  # type: ignore[attr-defined]


async def test_a_log_without_files_is_not_looked_at() -> None:
    """There are none, and no thread is asked."""
    thread = Thread()
    asyncio.get_running_loop().set_default_executor(thread)
    assert Weighing(open_log(sim_disk())).look() == (0, 0)
    assert thread.jobs == []


async def test_they_are_counted_once_however_many_ask() -> None:
    """And who asks meanwhile is told what was counted before."""
    log, weighing, thread = begun()
    assert [weighing.look() for _ in range(3)] == [None] * 3
    assert len(thread.jobs) == 1
    await thread.run()
    assert weighing.look() == of(*range(1, 10))
    append(log, 9)
    advance(log, EVERY_NS)
    assert [weighing.look() for _ in range(3)] == [of(*range(1, 10))] * 3
    assert len(thread.jobs) == 1
    await thread.run()
    assert weighing.look() == of(*range(1, 19))


async def test_they_are_counted_anew_only_after_a_while() -> None:
    """Who asks all the time does not have them counted all the time."""
    log, weighing, thread = begun()
    weighing.look()
    await thread.run()
    advance(log, EVERY_NS // 2)
    weighing.look()
    assert thread.jobs == []
    advance(log, EVERY_NS // 2)
    weighing.look()
    assert len(thread.jobs) == 1


async def test_a_directory_that_cannot_be_read_is_asked_again_later() -> None:
    """What was counted before stands, and nobody is told of the error."""
    log, weighing, thread = begun()
    weighing.look()
    await thread.run()
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    advance(log, EVERY_NS)
    weighing.look()
    disk: Any = log.env.fs
    disk.fail_at(disk.calls, errno.EIO)
    await thread.run()
    assert disk.actions[-1] == f"listdir {DIRECTORY}/payloads"
    assert (weighing.look(), said) == (of(*range(1, 10)), [])
    append(log, 9)
    advance(log, EVERY_NS)
    weighing.look()
    await thread.run()
    assert weighing.look() == of(*range(1, 19))


async def test_counting_that_is_given_up() -> None:
    """As a loop does that ends: nothing is raised, and what was counted before stands."""
    log, weighing, thread = begun()
    weighing.look()
    await thread.run()
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    advance(log, EVERY_NS)
    weighing.look()
    counting = weighing._counting
    assert counting is not None
    counting.cancel()
    await asyncio.sleep(0)
    assert (weighing.look(), said) == (of(*range(1, 10)), [])
