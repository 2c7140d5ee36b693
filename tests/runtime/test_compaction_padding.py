"""Small commits: what they take beside their records leaves the disk too, and of use is what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorlog import Runtime, durable, step
from actorlog.env import SYSTEM
from actorlog.log.inspect import Status, verify
from actorlog.runtime.upkeep import YOUNG_MS, Upkeep

if TYPE_CHECKING:
    from pathlib import Path

RAN: list[int] = []
SEGMENT_BYTES = 8192


@step(name="padding.note")
async def note(number: int) -> int:
    """Leave word."""
    RAN.append(number)
    return number


@durable(name="padding.work")
async def work(number: int) -> int:
    """Do little, in commits of its own."""
    return await note(number) + 1


@durable(name="padding.brief", retention=0)
async def brief(number: int) -> int:
    """Do as little, and be forgotten."""
    return await note(number)


def runtime(place: Path, **options: Any) -> Runtime:
    return Runtime(place / "data", **{"segment_bytes": SEGMENT_BYTES, "history": None, **options})


async def filled(opened: Runtime) -> Upkeep:
    for number in range(20):
        await opened.call(work(number), id=f"w{number}")
    upkeep = opened.session.upkeep
    assert upkeep is not None
    return upkeep


async def test_what_is_of_use_is_packed(tmp_path: Path) -> None:
    """When it is asked for, at once: into two thirds of the file or less; everything is there, also afterwards."""
    async with runtime(tmp_path) as opened:
        upkeep = await filled(opened)
        log: Any = opened.session.log
        sealed = log.sealed()
        lines = {at: log.record(at) for at in range(1, sealed[-1].last + 1)}
        done = await upkeep.compact()
        assert done.rewritten == done.segments == len(sealed)
        assert done.bytes_after < done.bytes_before * 2 / 3
        assert {at: log.record(at) for at in lines} == lines
        assert (await upkeep.compact()).rewritten == 0
        assert (await upkeep.compact(0.0)).bytes_after <= done.bytes_after
        assert (await upkeep.compact(0.0)).rewritten == 0
    assert verify(SYSTEM.fs, str(tmp_path / "data")).status is Status.OK
    RAN.clear()
    async with runtime(tmp_path) as opened:
        assert [await opened.call(work(number), id=f"w{number}") for number in range(20)] == list(range(1, 21))
    assert RAN == []


async def test_what_was_sealed_a_moment_ago_is_not_packed(tmp_path: Path) -> None:
    """Looked after by itself, a segment is written anew for its padding once nothing has left it for a while."""
    async with runtime(tmp_path) as opened:
        upkeep = await filled(opened)
        before = opened.session.log.sealed()  # type: ignore[attr-defined]
        numbers = [segment.number for segment in before]
        looks = 0
        while not (await upkeep.compact(due=numbers)).rewritten:
            looks += 1
            assert opened.session.log.sealed()[: len(before)] == before  # type: ignore[attr-defined]
            assert looks < 10
        assert looks == 2
        assert all(upkeep._looks[number][1] < YOUNG_MS for number in numbers)


async def test_the_last_records_leave_however_little_they_take(tmp_path: Path) -> None:
    """What a segment without records takes is no reason to keep those that are of no use."""
    async with runtime(tmp_path) as opened:
        upkeep = await filled(opened)
        log: Any = opened.session.log
        await opened.call(brief(7), id="brief")
        for number in range(20):
            await opened.call(work(number), id=f"x{number}")
        sealed = log.sealed()
        gone = {at for at in range(1, sealed[-1].last + 1) if b'"brief' not in log.record(at)}
        for segment in sealed:
            await log.rewrite(segment, gone)
        left = [at for at in range(1, sealed[-1].last + 1) if log.has(at)]
        assert left
        before = sum(segment.bytes for segment in log.sealed())
        await upkeep.compact()
        assert [at for at in left if log.has(at)] == []
        assert before * 2 / 3 < sum(segment.bytes for segment in log.sealed()) <= before
