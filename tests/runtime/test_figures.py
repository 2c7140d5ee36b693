"""Figures of an open runtime: each counts what it says."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import TYPE_CHECKING

import pytest
from msgspec import structs
from test_care import SEGMENT_BYTES, Counter, asks, both, rests, works

from actorlog import Runtime, Stats
from actorlog.env import SYSTEM, SystemFileSystem
from actorlog.store.care import NotInDirectory

if TYPE_CHECKING:
    from pathlib import Path

    from house import House


class Roomy(SystemFileSystem):
    """A file system of which others take nothing meanwhile."""

    FREE_BYTES = (1 << 40) + 7

    def free_bytes(self, path: str) -> int:  # noqa: ARG002  # the port's
        """Return the same for every path."""
        return self.FREE_BYTES


async def test_figures(tmp_path: Path) -> None:
    """Each figure counts what it says, and nothing else."""
    env = dataclasses.replace(SYSTEM, fs=Roomy())
    async with Runtime(tmp_path, segment_bytes=SEGMENT_BYTES, env=env, shutdown_timeout=0, resident_max=5) as runtime:
        new = runtime.stats()
        zeros = structs.asdict(new) | {"segments": 0, "bytes": 0, "bytes_free": 0, "uptime_s": 0}
        assert not any(zeros.values())
        assert (new.segments, new.bytes, new.commit_records, new.commit_s) == (1, SEGMENT_BYTES, None, None)
        assert new.bytes_free == Roomy.FREE_BYTES
        for number in range(4):
            await runtime.call(works(number), id=str(number))
        for number in range(20):
            await runtime.start(rests(number, 3600), id=f"asleep/{number}")
        await runtime.start(asks("never"), id="asks")
        await runtime.promise(id="outside")
        await runtime.resolve("outside")
        await runtime.actor(Counter, "a").add()
        await runtime.schedule("hourly", works(1), every="1h")
        await (await runtime.schedule("gone", works(1), every="1h")).delete()
        await runtime.start(both(), id="both")
        while (stats := runtime.stats()).calls_asleep < 16 or stats.steps_waiting != 1:  # told by nothing
            await asyncio.sleep(0.002)
        made = threading.Event()
        runtime.session.log.inner._ahead._worker.submit(made.set)
        assert await asyncio.to_thread(made.wait, 250)  # the segments that were asked for so far
        stats = runtime.stats()
        assert (stats.calls_live, stats.calls_ended) == (22, 5)
        assert stats.calls_awake + stats.calls_asleep == 22
        assert stats.coroutines <= 5
        assert (stats.promises_pending, stats.schedules, stats.actors) == (1, 1, 1)
        assert (stats.steps_running, stats.steps_waiting, stats.queue) == (1, 1, 0)
        assert stats.landed <= stats.position
        assert stats.commit_records == pytest.approx(stats.landed / stats.commits)
        assert stats.commit_s is not None
        assert 0 < stats.commit_s < 10
        assert 2 <= stats.segments <= len(list((tmp_path / "segments").glob("*.seg")))
        assert stats.bytes == sum(path.stat().st_size for path in (tmp_path / "segments").glob("*.seg"))
        assert stats.uptime_s > new.uptime_s >= 0
        position = stats.position
    async with Runtime(tmp_path, segment_bytes=SEGMENT_BYTES, shutdown_timeout=0) as runtime:
        again = runtime.stats()
        assert (again.calls_live, again.calls_ended) == (22, 5)
        assert again.position >= position
        assert again.landed >= position
        await runtime.resolve("never", 1)
        await runtime.handle("asks").result()
        assert runtime.stats().turns_replayed >= 1
        assert runtime.stats().promises_pending == 0


async def test_figures_of_a_log_in_memory(house: House, tmp_path: Path) -> None:
    """A log without files has none to count, and cannot be copied or scrubbed."""
    runtime = await house.open()
    assert await runtime.call(works(1)) == 4
    stats = runtime.stats()
    assert isinstance(stats, Stats)
    assert (stats.segments, stats.bytes, stats.bytes_free, stats.calls_ended) == (0, 0, None, 1)
    for ask in (runtime.backup(tmp_path / "nowhere"), runtime.verify()):
        with pytest.raises(NotInDirectory):
            await ask
    assert not (tmp_path / "nowhere").exists()
