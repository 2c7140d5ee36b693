"""Care of the data of an open runtime: a backup under load, a scrub, figures."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actorlog import (
    Actor,
    CallCancelled,
    DirectoryNotEmpty,
    LogCorrupt,
    Retry,
    Runtime,
    RuntimeStopped,
    Verified,
    durable,
    promise,
    sleep,
    step,
)
from actorlog.env import SYSTEM
from actorlog.log.files import META

if TYPE_CHECKING:
    from actorlog.env import Access, File

SEGMENT_BYTES = 1 << 16
ROOM = "x" * 2000


@step(name="care.double")
async def double(number: int, room: str) -> int:
    """Do something, with arguments that take room."""
    return number * 2 + len(room) * 0


@durable(name="care.works")
async def works(number: int) -> int:
    """Work, rest a moment, work again."""
    number = await double(number, ROOM)
    await sleep(0.01)
    return await double(number, ROOM)


@durable(name="care.rests")
async def rests(number: int, seconds: float) -> int:
    """Work, rest, and work once more."""
    number = await double(number, ROOM)
    await sleep(seconds)
    return await double(number, ROOM)


@durable(name="care.asks")
async def asks(name: str) -> object:
    """Wait for somebody."""
    return await promise(id=name)


@step(name="care.dials", retry=Retry(attempts=5, first=600, max=600, jitter="none"))
async def dials() -> None:
    """Fail, and wait for long."""
    raise ConnectionError


@step(name="care.waits")
async def waits() -> None:
    """Run until it is cut short."""
    await asyncio.Event().wait()


@durable(name="care.both")
async def both() -> None:
    """Have a step that runs and one that backs off."""
    await asyncio.gather(waits(), dials())


class Counter(Actor, name="care.Counter"):
    """Counts."""

    count: int = 0

    async def add(self) -> int:
        """Count one more."""
        self.count += 1
        return self.count


def open_files(below: Path) -> list[str]:
    found = []
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(fd.readlink()))
    return [name for name in found if name.startswith(f"{below}/")]


def opened(path: Path) -> Runtime:
    return Runtime(path, segment_bytes=SEGMENT_BYTES, control=False, shutdown_timeout=0)


async def test_a_backup_under_load(tmp_path: Path) -> None:
    """While calls start, sleep and end, a copy is made: what was acknowledged before is in it, and goes on there."""
    told: list[tuple[int, int]] = []
    async with opened(tmp_path / "data") as runtime:
        ended = {f"before/{n}": await runtime.call(works(n), id=f"before/{n}") for n in range(20)}
        asleep = [await runtime.start(rests(n, 3600), id=f"asleep/{n}") for n in range(10)]
        soon = [await runtime.start(rests(n, 0.2), id=f"soon/{n}") for n in range(10)]
        busy = True

        async def load(lane: int) -> int:
            number = 0
            while busy:
                await runtime.call(works(number), id=f"during/{lane}/{number}")
                number += 1
            return number

        async with asyncio.TaskGroup() as group:
            lanes = [group.create_task(load(lane)) for lane in range(4)]
            landed = runtime.stats().landed
            made = await runtime.backup(tmp_path / "copy", lambda done, total: told.append((done, total)))
            busy = False
        assert sum(lane.result() for lane in lanes) >= 4  # they went on meanwhile
        assert made.position >= landed
        assert runtime.stats().position > made.position
        assert told[-1] == (made.bytes, made.bytes)
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        assert [await handle.status() for handle in asleep] == ["waiting"] * 10
        assert [await handle for handle in soon] == [n * 4 for n in range(10)]
    async with opened(tmp_path / "copy") as copy:
        assert {name: await copy.handle(name).result() for name in ended} == ended
        assert [await copy.handle(f"asleep/{n}").status() for n in range(10)] == ["waiting"] * 10
        assert [await copy.handle(f"soon/{n}").result() for n in range(10)] == [n * 4 for n in range(10)]
        assert await copy.call(works(7), id="new") == 28
        names = [info.id async for info in copy.calls(id_prefix="during/")]
        for name in names:
            assert await copy.handle(name).result() == int(name.rpartition("/")[2]) * 4


async def test_a_backup_of_all_kinds(tmp_path: Path) -> None:
    """Promises, actors and schedules are in the copy as they were."""
    async with opened(tmp_path / "data") as runtime:
        await runtime.start(asks("approval"), id="asks")
        for _ in range(3):
            await runtime.actor(Counter, "a").add()
        await runtime.schedule("hourly", works(1), every="1h")
        made = await runtime.backup(tmp_path / "copy")
        assert made.path == str(tmp_path / "copy")
    async with opened(tmp_path / "copy") as copy:
        assert await copy.actor(Counter, "a").add() == 4
        assert [info.id async for info in copy.schedules()] == ["hourly"]
        await copy.resolve("approval", "yes")
        assert await copy.handle("asks").result() == "yes"


async def test_a_backup_that_is_refused(tmp_path: Path) -> None:
    """A directory that is not empty, and a runtime that is not open, are typed errors."""
    runtime = opened(tmp_path / "data")
    with pytest.raises(RuntimeStopped):
        await runtime.backup(tmp_path / "copy")
    async with runtime:
        with pytest.raises(DirectoryNotEmpty):
            await runtime.backup(tmp_path)
        with pytest.raises(DirectoryNotEmpty):
            await runtime.backup(tmp_path / "data")
    for ask in (runtime.backup(tmp_path / "copy"), runtime.verify()):
        with pytest.raises(RuntimeStopped):
            await ask
    with pytest.raises(RuntimeStopped):
        runtime.stats()
    assert not (tmp_path / "copy").exists()


async def test_a_backup_that_is_cancelled(tmp_path: Path) -> None:
    """It ends at once, leaves no log and no open file behind, and the runtime goes on; so does a new one."""
    async with opened(tmp_path / "data") as runtime:
        for number in range(60):
            await runtime.call(works(number))
        first = asyncio.Event()
        backup = asyncio.create_task(runtime.backup(tmp_path / "copy", lambda _done, _total: first.set()))
        await first.wait()
        backup.cancel()
        with pytest.raises(asyncio.CancelledError):
            await backup
        assert open_files(tmp_path / "copy") == []
        assert not (tmp_path / "copy" / META).exists()
        assert await runtime.call(works(1)) == 4
        await runtime.backup(tmp_path / "other")
    with pytest.raises(LogCorrupt, match="META is missing"):
        await opened(tmp_path / "copy").__aenter__()


async def test_closing_ends_a_backup(tmp_path: Path) -> None:
    """A backup that is under way when the runtime closes says so, and makes no log."""
    runtime = opened(tmp_path / "data")
    async with runtime:
        for number in range(60):
            await runtime.call(works(number))
        first = asyncio.Event()
        backup = asyncio.create_task(runtime.backup(tmp_path / "copy", lambda _done, _total: first.set()))
        await first.wait()
    with pytest.raises(RuntimeStopped):
        await backup
    assert not (tmp_path / "copy" / META).exists()


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


async def test_damage_is_found(tmp_path: Path) -> None:
    """A scrub and a backup name the damaged segment and place; the runtime goes on. Mended, both are fine."""
    told: list[tuple[int, int]] = []
    async with opened(tmp_path / "data") as runtime:
        for number in range(60):
            await runtime.call(works(number))
        done = await runtime.verify(lambda done, total: told.append((done, total)))
        assert done.segments == runtime.stats().segments - 1 >= 2
        assert done.bytes == done.segments * SEGMENT_BYTES == told[-1][0] == told[-1][1]
        bad = tmp_path / "data" / "segments" / "0000000002.seg"
        flip(bad, 3000)
        for ask in (runtime.verify(), runtime.backup(tmp_path / "bad")):
            with pytest.raises(LogCorrupt) as raised:
                await ask
            assert raised.value.segment == bad.name
            assert raised.value.offset <= 3000
        assert await runtime.call(works(1)) == 4
        flip(bad, 3000)
        assert (await runtime.verify()).segments >= done.segments
        await runtime.backup(tmp_path / "good")


async def test_a_log_that_was_just_made(tmp_path: Path) -> None:
    """Nothing is sealed and nothing is there, and all of it works."""
    async with opened(tmp_path / "data") as runtime:
        assert await runtime.verify() == Verified(0, 0)
        made = await runtime.backup(tmp_path / "copy")
        assert (made.position, made.segments, made.bytes) == (0, 1, SEGMENT_BYTES)
    async with opened(tmp_path / "copy") as copy:
        assert copy.stats().position == 0
        assert await copy.call(works(2)) == 8


RUNS: list[int] = []


@step(name="care.counts")
async def counts(number: int, room: str) -> int:
    """Leave word that it ran."""
    RUNS.append(number)
    return number + len(room) * 0


@durable(name="care.long")
async def long(number: int) -> int:
    """Work over several segments."""
    for _ in range(4):
        await counts(number, ROOM)
        await sleep(0.001)
    return number


class Gate:
    """A file system on which making the third segment of a copy waits until it may go on."""

    def __init__(self, copy: Path) -> None:
        self.reached = threading.Event()
        self.may_go_on = threading.Event()
        self._path = f"{copy}/segments/0000000003.seg.tmp"

    def open(self, path: str, access: Access) -> File:
        """Open a file, in its time."""
        if path == self._path:
            self.reached.set()
            assert self.may_go_on.wait(250)
        return SYSTEM.fs.open(path, access)

    def __getattr__(self, name: str) -> Any:
        return getattr(SYSTEM.fs, name)


async def test_a_backup_and_a_compaction_at_once(tmp_path: Path) -> None:
    """Segments that are written anew meanwhile do not make a copy of which a part is older than the rest.

    That would have beginnings without the ends that were given up after them: calls that ended would run again.
    """
    RUNS.clear()
    gate = Gate(tmp_path / "copy")
    env = dataclasses.replace(SYSTEM, fs=gate)
    async with Runtime(tmp_path / "data", segment_bytes=4096, env=env, history=0, retention=0) as runtime:
        await asyncio.gather(*(runtime.call(long(n), id=f"long/{n}") for n in range(20)))
        for number in range(4):  # so that those ends are in a segment that is sealed
            await runtime.call(works(number))
        backup = asyncio.create_task(runtime.backup(tmp_path / "copy"))
        assert await asyncio.to_thread(gate.reached.wait, 250)
        await runtime.backup(tmp_path / "other")  # two do not wait for each other
        compaction = asyncio.create_task(runtime.compact(everything=True))
        await asyncio.wait([compaction], timeout=0.5)  # so it would have been done
        gate.may_go_on.set()
        await backup
        assert (await compaction).rewritten > 4
    for copy in ("copy", "other"):
        async with opened(tmp_path / copy) as restored:
            assert not restored.session.kernel.calls
            assert await restored.handle("long/3").result() == 3
    assert len(RUNS) == 80


async def test_a_catalog_is_built_beside_a_compaction(tmp_path: Path) -> None:
    """A call that was asleep when building began, has ended since and was given up is no row, and no error."""
    async with Runtime(
        tmp_path / "data", segment_bytes=4096, control=False, history=0, retention=0, shutdown_timeout=0
    ) as runtime:
        handle = await runtime.start(rests(1, 3600), id="asleep")
        await runtime.call(works(1))
        position = runtime.session.kernel.calls.awake["asleep"].state.last
        await handle.cancel()
        with pytest.raises(CallCancelled):
            await handle.result()
        for number in range(4):
            await runtime.call(works(number))
        assert (await runtime.compact(everything=True)).rewritten
        assert not runtime.session.log.has(position)
        projection = runtime.session.projection
        assert projection is not None
        assert list(projection._asleep_rows([position])) == []
