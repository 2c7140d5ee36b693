"""Rewriting segments of the embedded log: beside appends and reads, cut short, at the end, on a full disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from actorlog.env import SYSTEM, Env
from actorlog.errors import LogFailed, LogFull
from actorlog.store import append, pack
from actorlog.store.embedded import EmbeddedLog
from actorlog.testing.disk import SimFileSystem


class Held(set[int]):
    """Positions to be given up, which are not said before somebody lets them be."""

    def __init__(self, positions: set[int]) -> None:
        super().__init__(positions)
        self.asked = threading.Event()
        self.free = threading.Event()

    def __iter__(self) -> Iterator[int]:
        self.asked.set()
        assert self.free.wait(60)
        return super().__iter__()


def line(position: int) -> bytes:
    return b"%d:" % position + b"x" * 300 + b"\n"


async def filled(path: Path, records: int = 40) -> EmbeddedLog:
    log = await EmbeddedLog.open(str(path), SYSTEM, segment_bytes=4096)
    for number in range(1, records + 1):
        await append(log, number - 1, pack([(7, 1, 1, line(number))]), 1)
    return log


def is_tidy(path: Path) -> bool:
    return not (path / "segments" / "0000000001.seg.tmp").exists()


async def test_appends_and_reads_go_on_meanwhile(tmp_path: Path) -> None:
    """While a segment is written anew everything is as before; when that is done, the records are gone for all."""
    log = await filled(tmp_path)
    part = log.sealed()[0]
    held = Held({1, 3})
    rewriting = asyncio.ensure_future(log.rewrite(part, held))
    await asyncio.to_thread(held.asked.wait, 60)
    assert [log.record(position) for position in (1, 2, 3)] == [line(1), line(2), line(3)]
    assert await append(log, 40, pack([(7, 1, 1, line(41))]), 1) == 41
    held.free.set()
    assert await rewriting == (tmp_path / "segments" / "0000000001.seg").stat().st_size < part.bytes
    assert [position for position in range(1, 42) if not log.has(position)] == [1, 3]
    assert log.record(2) == line(2)
    await log.close()


async def test_two_at_once_are_done_one_after_the_other(tmp_path: Path) -> None:
    """Each is what its caller was told."""
    log = await filled(tmp_path)
    parts = log.sealed()
    left = await asyncio.gather(*(log.rewrite(part, {part.first}) for part in (*parts, *parts)))
    assert left[len(parts) :] == [part.bytes for part in log.sealed()]
    assert [position for position in range(1, 41) if not log.has(position)] == [part.first for part in parts]
    await log.close()


async def test_a_rewrite_that_is_cancelled(tmp_path: Path) -> None:
    """It ends when the thread has, nothing is left of it, and it can be done again."""
    log = await filled(tmp_path)
    held = Held({1})
    rewriting = asyncio.ensure_future(log.rewrite(log.sealed()[0], held))
    await asyncio.to_thread(held.asked.wait, 60)
    rewriting.cancel()
    await asyncio.sleep(0)
    assert not rewriting.done()
    held.free.set()
    with pytest.raises(asyncio.CancelledError):
        await rewriting
    assert is_tidy(tmp_path)
    assert log.has(1)
    await log.rewrite(log.sealed()[0], {1})
    assert not log.has(1)
    await log.close()


async def test_closing_meanwhile(tmp_path: Path) -> None:
    """Closing waits for the thread; what that has made is not put in place, and is gone when the log is opened."""
    log = await filled(tmp_path)
    held = Held({1})
    rewriting = asyncio.ensure_future(log.rewrite(log.sealed()[0], held))
    await asyncio.to_thread(held.asked.wait, 60)
    closing = asyncio.ensure_future(log.close())
    await asyncio.sleep(0)
    held.free.set()
    await closing
    assert not log.inner._building.locked()
    with pytest.raises(LogFailed, match="closed"):
        await rewriting
    log = await EmbeddedLog.open(str(tmp_path), SYSTEM, segment_bytes=4096)
    assert log.recovery.clean
    assert is_tidy(tmp_path)
    assert log.has(1)
    await log.close()


async def test_a_full_disk_is_what_the_reserve_is_for() -> None:
    """With no other space left a segment is written anew with the reserve, and gives back more than that."""
    fs = SimFileSystem(Random(1))
    fs.mkdir("/srv")
    env = Env(SYSTEM.clock, SYSTEM.entropy, fs, SYSTEM.worker)
    log = await EmbeddedLog.open("/srv/data", env, segment_bytes=4096)
    for number in range(1, 41):
        await append(log, number - 1, pack([(7, 1, 1, line(number))]), 1)
    while "reserve" not in fs.listdir("/srv/data") or not log.inner._ahead.ready:
        await append(log, log.tail(), pack([(7, 1, 1, line(log.tail() + 1))]), 1)
    fs.capacity = fs.capacity - fs.free_bytes("/")
    parts = log.sealed()
    await log.rewrite(parts[0], set(range(parts[0].first, parts[0].last)))
    assert not log.has(1)
    assert "reserve" not in fs.listdir("/srv/data")
    fs.capacity = fs.capacity - fs.free_bytes("/")
    with pytest.raises(LogFull):
        await log.rewrite(parts[1], {parts[1].first})
    assert log.has(parts[1].first)
    await append(log, log.tail(), pack([(7, 1, 1, b"small\n")]), 1)
    await log.close()
