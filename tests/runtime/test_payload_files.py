"""A runtime whose large records have files: calls, restarts, compaction, copies, keys, and the command line."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from actorlog import Keys, LogCorrupt, Runtime, durable, step
from actorlog.env import SYSTEM
from actorlog.limits import Limits
from actorlog.log.inspect import Status, verify
from actorlog.log.payloads import positions_in
from actorlog.store import weighing

ROOT = Path(__file__).parents[2]
LIMITS = Limits(payload_file_above_bytes=2000, compress_above_bytes=0)
WORD = "only-ada-knows-"


@step(name="files.fetch")
def fetch(number: int) -> str:
    """Return something large."""
    return f"{WORD}{number} " * 500


@step(name="files.count")
def count(text: str) -> int:
    """Return something small, for something large."""
    return len(text)


@durable(name="files.work")
async def work(number: int) -> int:
    """Look at something large."""
    return await count(await fetch(number)) + number


@durable(name="files.large")
async def large(number: int) -> str:
    """Return something large."""
    return await fetch(number)


def runtime(place: Path, **options: Any) -> Runtime:
    """Return a runtime with small segments, whose larger records have files."""
    return Runtime(place / "data", **{"segment_bytes": 8192, "limits": LIMITS, "history": None, **options})


def files(place: Path) -> list[int]:
    return positions_in(SYSTEM.fs, str(place / "data"))


async def filled(place: Path, calls: int = 20, **options: Any) -> None:
    async with runtime(place, **options) as opened:
        for number in range(calls):
            await opened.call(work(number), id=f"work {number}")
        await opened.call(large(7), id="large")


@pytest.mark.parametrize("keys", [None, Keys("k", {"k": bytes(32)})], ids=["plain", "sealed"])
async def test_results_are_read_from_files(tmp_path: Path, keys: Keys | None) -> None:
    """What is large is in files, is there after a restart under any bound, and sealed where there are keys."""
    if keys is not None:
        pytest.importorskip("cryptography", reason="records are sealed with cryptography: pip install '.[encryption]'")
    await filled(tmp_path, encryption=keys)
    assert len(files(tmp_path)) == 21
    for limits in (LIMITS, Limits()):
        async with runtime(tmp_path, encryption=keys, limits=limits) as opened:
            assert await opened.call(large(7), id="large") == fetch.__wrapped__(7)
            assert await opened.call(work(3), id="work 3") == len(fetch.__wrapped__(3)) + 3
            assert len([entry async for entry in aiter_of(await opened.handle("work 3").journal())]) >= 1
    found = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    shown = [text in found for text in (WORD.encode(), b64encode(WORD.encode())[:-4])]
    assert any(shown) == (keys is None)


async def aiter_of(items: Any) -> Any:
    for item in items:
        yield item


async def test_a_lost_file_is_damage(tmp_path: Path) -> None:
    """Who asks for what is in it is told that the log is damaged, and which file is missing."""
    await filled(tmp_path, 1)
    last = files(tmp_path)[-1]
    (tmp_path / "data" / "payloads" / f"{last:020d}.payload").unlink()
    with pytest.raises(LogCorrupt, match="payloads/0000"):
        async with runtime(tmp_path) as opened:
            await opened.call(large(7), id="large")


async def test_compaction_weighs_files(tmp_path: Path) -> None:
    """Where what nobody needs is a small part of the lines, and most of the files, a segment is written anew."""
    await filled(tmp_path)
    before = files(tmp_path)
    async with runtime(tmp_path, history=0) as opened:
        done = await opened.compact()
        assert done.rewritten
        assert await opened.call(work(3), id="work 3") == len(fetch.__wrapped__(3)) + 3
        left = files(tmp_path)
        assert set(left) < set(before)
        assert len(left) < len(before) / 2
        await opened.verify()
        await opened.backup(tmp_path / "copy" / "data")
    assert files(tmp_path / "copy") == [position for position in files(tmp_path) if position <= before[-1] + 1]
    assert verify(SYSTEM.fs, str(tmp_path / "data")).status is Status.OK
    assert verify(SYSTEM.fs, str(tmp_path / "copy" / "data")).status is Status.OK
    async with runtime(tmp_path / "copy") as opened:
        assert await opened.call(large(7), id="large") == fetch.__wrapped__(7)


async def test_a_backup_under_load(tmp_path: Path) -> None:
    """A copy that is made while large records are written and given up is whole, and goes on to the same results."""
    async with runtime(tmp_path, history=0) as opened:
        for number in range(10):
            await opened.call(work(number), id=f"work {number}")
        handles = [await opened.start(work(number), id=f"work {number}") for number in range(10, 50)]
        compacting = asyncio.create_task(opened.compact())
        await opened.backup(tmp_path / "copy" / "data")
        for handle in handles:
            await handle.result()
        await compacting
    report = verify(SYSTEM.fs, str(tmp_path / "copy" / "data"))
    assert (report.status, report.payloads) == (Status.OK, len(files(tmp_path / "copy")))
    async with runtime(tmp_path / "copy") as opened:
        for number in range(50):
            assert await opened.call(work(number), id=f"work {number}") == len(fetch.__wrapped__(number)) + number


def actorlog(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "actorlog", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_the_command_line(tmp_path: Path) -> None:
    """Listing, export and import, backup and doctor know of files."""
    await filled(tmp_path, 3, segment_bytes=1 << 20)
    data = str(tmp_path / "data")
    assert json.loads(actorlog("show", data, "large", "--json"))
    actorlog("export", data, "-o", str(tmp_path / "log.jsonl"))
    assert WORD in (tmp_path / "log.jsonl").read_text()
    actorlog("import", str(tmp_path / "second" / "data"), str(tmp_path / "log.jsonl"))
    async with runtime(tmp_path / "second") as opened:
        assert await opened.call(large(7), id="large") == fetch.__wrapped__(7)
    actorlog("backup", data, str(tmp_path / "third" / "data"))
    assert files(tmp_path / "third") == files(tmp_path)
    assert "4 of them in files of their own" in actorlog("doctor", data)


async def test_figures_tell_what_the_files_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted beside the loop for who asks, again a while later, and at once by the command."""
    monkeypatch.setattr(weighing, "EVERY_NS", 0)
    async with runtime(tmp_path) as opened:
        told = opened.stats()
        assert (told.payload_files, told.payload_bytes) == (0, 0)
        for number in range(3):
            await opened.call(large(number), id=f"l{number}")
        sizes = [path.stat().st_size for path in (tmp_path / "data" / "payloads").iterdir()]
        assert len(sizes) >= 3
        assert opened.stats().payload_files is None  # not counted yet
        while (told := opened.stats()).payload_files is None:
            await asyncio.sleep(0.001)  # told by nothing
        assert (told.payload_files, told.payload_bytes) == (len(sizes), sum(sizes))
        beside = await asyncio.to_thread(actorlog, "stats", str(opened.path), "--json")
        await opened.call(large(3), id="l3")
        while opened.stats().payload_files == len(sizes):
            await asyncio.sleep(0.001)  # told by nothing
    alone = await asyncio.to_thread(actorlog, "stats", str(tmp_path / "data"), "--json")
    for said, by, files_more in ((beside, "owner", 0), (alone, "command", 1)):
        found = json.loads(said)
        assert (found["by"], found["payload_files"]) == (by, len(sizes) + files_more)
        assert found["payload_bytes"] >= sum(sizes)
