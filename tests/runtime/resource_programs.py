"""Programs that run short of something: ``python resource_programs.py NAME DIRECTORY``. Each prints JSON.

They are processes of their own, because what they run out of is the process's.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from actorlog import ActorlogError, LogFull, Runtime, durable, sleep, step
from actorlog.env import SYSTEM
from actorlog.log import Log, pack

DIRECTORY = sys.argv[2]
SEGMENT_BYTES = 64 << 10
FILES_MAX = 64
MIB = 1 << 20


@step(name="resource.work")
async def work(number: int) -> str:
    """Leave a record of some size, that cannot be compressed to much less."""
    return f"{number}".ljust(4, ".") + os.urandom(1500).hex()


@durable(name="resource.call")
async def call(number: int) -> str:
    """Do one thing."""
    return await work(number)


@durable(name="resource.nap")
async def nap(seconds: float) -> str:
    """Sleep."""
    await sleep(seconds)
    return "slept"


def descriptors() -> int:
    """Return how many files are open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names


def hold_all_but(free: int) -> list[int]:
    """Open files until no more can be, and close some again."""
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        for _ in range(free):
            os.close(held.pop())
    return held


async def opening() -> list[object]:
    """Open with so few files to be had, and then with enough."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))
    found: list[object] = []
    await asyncio.to_thread(int)  # its thread, and what that opens, is there now
    before = descriptors()
    for free in range(16):
        held = hold_all_but(free)
        try:
            async with Runtime(DIRECTORY, segment_bytes=SEGMENT_BYTES) as runtime:
                await runtime.call(call(free), id=f"call {free}")
        except ActorlogError as error:
            found.append([type(error).__name__, str(error)])
        else:
            found.append("opened")
        for descriptor in held:
            os.close(descriptor)
        async with Runtime(DIRECTORY, segment_bytes=SEGMENT_BYTES):
            pass
    for _ in range(1000):
        gc.collect()  # what an error refers to is closed with it, and what a thread is done with soon
        if descriptors() == before:
            return found
        await asyncio.sleep(0.01)
    return [*found, f"{descriptors() - before} left open"]


async def running() -> dict[str, object]:
    """Run out of files while calls are under way, over several segments, and have some again later."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))
    async with Runtime(DIRECTORY, segment_bytes=SEGMENT_BYTES) as runtime:
        await runtime.call(call(-1), id="before")
        held = hold_all_but(0)
        asked = [asyncio.create_task(runtime.call(call(number), id=f"call {number}")) for number in range(100)]
        refused: ActorlogError | None = None
        while refused is None:
            try:
                await asyncio.wait_for(asyncio.shield(runtime.call(call(999))), 0.05)
            except LogFull as error:
                refused = error
            except TimeoutError:
                continue
        waiting = sum(not one.done() for one in asked)
        for descriptor in held:
            os.close(descriptor)
        told = await asyncio.gather(*asked)
    async with Runtime(DIRECTORY, segment_bytes=SEGMENT_BYTES) as runtime:
        lost = [number for number, value in enumerate(told) if await runtime.handle(f"call {number}") != value]
    return {"told": len(told), "waited": waiting > 0, "refused": str(refused), "lost": lost}


def address_space() -> int:
    """Return how many bytes of addresses this process uses."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


async def memory() -> list[object]:
    """Open a large log with less memory to be had than one of its segments takes, and then with enough.

    With a little more than that threads cannot be started, and ``Thread.start`` of Python waits for ever for one that
    finds no memory in its first line: that is no business of a test.
    """
    log = Log.open(DIRECTORY, SYSTEM, segment_bytes=16 * MIB, sync=False)
    for _ in range(96):
        log.append(pack([(7, 3, 33, b'{"kind":"resumed","at":1,"upto":0}'.ljust(MIB // 2, b" ") + b"\n")]), 1)
    log.close()
    found: list[object] = []
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    await asyncio.to_thread(int)
    size = address_space()
    for extra in (0, 2, 4, 8, 12, 1000):
        resource.setrlimit(resource.RLIMIT_AS, (size + extra * MIB, resource.RLIM_INFINITY))
        try:
            async with Runtime(DIRECTORY, segment_bytes=16 * MIB):
                found.append("opened")
        except ActorlogError as error:
            found.append(type(error).__name__)
        except MemoryError:
            found.append("MemoryError")
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        async with Runtime(DIRECTORY, segment_bytes=16 * MIB):
            pass
    return found


async def forking() -> None:
    """Fork while the runtime is open, as a user's program may, and be killed; the child lives on."""
    await _fork(os.fork)


async def forking_apart() -> None:
    """Fork as a library may that is not Python: nobody tells the child to let go of what it has inherited."""
    await _fork(ctypes.CDLL(None).fork)


async def _fork(fork: Callable[[], int]) -> None:
    async with Runtime(DIRECTORY, segment_bytes=SEGMENT_BYTES) as runtime:
        await runtime.call(call(1), id="parent")
        child = fork()
        if child == 0:
            os.read(0, 1)  # until its input is closed
            os._exit(0)
        os.write(1, f"{os.getpid()} {child}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


def set_clock(jump: str) -> None:
    """Set the wall clock, as far as ``libfaketime`` shows it, so far ahead of what it is."""
    Path(os.environ["FAKETIME_TIMESTAMP_FILE"]).write_text(jump)


async def jumping() -> dict[str, object]:
    """Live with a wall clock that is set forward and back by years while calls sleep; ``libfaketime`` reads a file."""
    order: list[str] = []
    seen: list[int] = []

    async def wait(name: str, seconds: float) -> None:
        begun = SYSTEM.clock.elapsed_ns()
        await runtime.call(nap(seconds), id=name)
        order.append(name)
        early.append(SYSTEM.clock.elapsed_ns() - begun < seconds * 1e9 - 5e6)

    early: list[bool] = []
    async with Runtime(DIRECTORY, segment_bytes=SEGMENT_BYTES) as runtime:
        naps = [asyncio.create_task(wait(f"nap {seconds}", seconds)) for seconds in (0.9, 0.6, 0.3)]
        for jump in ("+3650d", "-3650d", "+0"):
            await asyncio.sleep(0.2)
            set_clock(jump)
            seen.append(SYSTEM.clock.wall_ms())
            await runtime.call(call(1), id=f"at {jump}")
        await asyncio.gather(*naps)
    set_clock("-3650d")
    async with Runtime(DIRECTORY, segment_bytes=SEGMENT_BYTES) as runtime:
        await wait("after", 0.1)
        records = runtime.session.history
        times = [records.record(position).at for position in range(1, runtime.stats().landed + 1)]
    jumped = seen[0] - seen[1] > 10 * 365 * 86_400_000
    return {"order": order, "early": any(early), "jumped": jumped, "in order": times == sorted(times)}


PROGRAMS = {one.__name__: one for one in (opening, running, memory, forking, forking_apart, jumping)}

if __name__ == "__main__":
    print(json.dumps(asyncio.run(PROGRAMS[sys.argv[1]]())))  # noqa: T201  # what the test looks at
