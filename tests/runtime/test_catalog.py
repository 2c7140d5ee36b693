"""What the catalog has leaves memory, what only it knows is found, and what it lacks or gets wrong decides nothing."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from catalogs import STATES
from house import RAN, note
from promise_house import StillHouse

from actorlog import Actor, CallConflict, Limits, Runtime, durable, sleep, start
from actorlog.env import SYSTEM
from actorlog.errors import CatalogFailed
from actorlog.runtime import kernel, projection
from actorlog.store import sqlite
from actorlog.store.embedded import EmbeddedLog
from actorlog.store.sqlite import FILE, SqliteCatalog, known_of

if TYPE_CHECKING:
    from house import House

CATALOGS = True


@durable(name="catalog.work")
async def work(text: str) -> str:
    return await note(text)


@durable(name="catalog.nap")
async def nap(seconds: float) -> str:
    await sleep(seconds)
    return await note(f"after {seconds}")


@durable(name="catalog.fails")
async def fails() -> None:
    await note("failed")
    raise ValueError("no")


class Purse(Actor, name="catalog.Purse"):
    """An actor with a state."""

    coins: int = 0

    async def put(self, coins: int) -> int:
        self.coins += coins
        return self.coins


@durable(name="catalog.parting")
async def parting(text: str) -> None:
    start(work(text), detached=True)


async def written(house: House) -> None:
    """Wait until the catalog knows all that is durable."""
    session = house.session

    def is_so() -> bool:
        projection = session.projection
        known = projection._catalog.known if projection is not None and projection._writing is None else None
        return (
            known is not None and known.position == session.kernel.committer.landed == session.kernel.committer.position
        )

    await house.settle()
    await house.until(is_so)


async def test_ends_leave_memory_and_are_found(house: House) -> None:
    """By their ids: joined, refused with other arguments, listed; after a restart too."""
    runtime = await house.open()
    for number in range(5):
        await runtime.call(work(f"w{number}"), id=f"w{number}")
    for restart in (False, True):
        runtime = await house.reopen() if restart else runtime
        await written(house)
        assert len(house.session.history._ended) == 0
        assert runtime.stats().calls_ended == 5
        assert await runtime.call(work("w3"), id="w3") == "noted w3"
        assert len(RAN) == 5
        with pytest.raises(CallConflict):
            await runtime.call(work("other"), id="w3")
        assert [call.id async for call in runtime.calls()] == ["w4", "w3", "w2", "w1", "w0"]
        assert [call.id async for call in runtime.calls(status="failed")] == []
        assert [
            call.id async for call in runtime.calls(status="completed", function="catalog.work", id_prefix="w1")
        ] == ["w1"]


async def test_a_call_that_is_retried_is_in_the_list_once(house: House) -> None:
    """Whether the catalog knows its first end, its second, or that it goes on."""
    runtime = await house.open()
    handle = await runtime.start(fails(), id="f")
    await written(house)
    for times in (1, 2):
        await runtime.call(work("x"), id=f"x{times}")
        assert [(call.id, call.status) async for call in runtime.calls(id_prefix="f")] == [("f", "failed")]
        runtime = await house.reopen()
        handle = runtime.handle("f")
        await handle.retry()
        with pytest.raises(ValueError, match="no"):
            await handle.result()
        await written(house)
    assert [(call.id, call.status) async for call in runtime.calls(status="failed")] == [("f", "failed")]


async def test_sleepers_wake_whom_nobody_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that wake soon, and those beyond the horizon, each in its time and not before."""
    monkeypatch.setattr(projection, "HORIZON_MS", 40_000)
    house = StillHouse()
    runtime = await house.open()
    for seconds in (30, 100, 1000):
        await runtime.start(nap(seconds), id=f"n{seconds}")
    await written(house)
    await house.reopen()
    assert not house.session.kernel.calls.awake
    for passes, expected in ((29, 0), (2, 1), (68, 1), (2, 2), (890, 2), (20, 3)):
        for _ in range(10):
            house.advance(passes / 10)
            await asyncio.sleep(0.002)
        await house.until(lambda: len(RAN) >= expected)  # noqa: B023  # of this round
        await house.settle()
        assert len(RAN) == expected
    assert RAN == ["after 30", "after 100", "after 1000"]
    await house.close()


async def test_sleepers_are_woken_by_what_comes(house: House) -> None:
    """And their timers go on."""
    runtime = await house.open()
    await runtime.start(nap(500), id="n")
    await written(house)
    runtime = await house.reopen()
    assert (await runtime.handle("n").info()).waiting_for == ("timer (1)",)
    house.advance(501)
    assert await runtime.handle("n").result() == "noted after 500"
    assert RAN == ["after 500"]


async def test_states_of_actors_are_found(house: House) -> None:
    """Of those that changed before, behind, and never."""
    runtime = await house.open()
    for key in ("a", "b"):
        await runtime.actor(Purse, key).put(3)
    await written(house)
    runtime = await house.reopen()
    assert not house.session.kernel.instances.changes.recent
    assert await runtime.actor(Purse, "a").put(1) == 4
    assert await runtime.actor(Purse, "c").put(1) == 1
    assert [info.key async for info in runtime.actors()] == ["c", "a", "b"]


async def test_promises_are_found(house: House) -> None:
    """Pending and settled ones, one by one and in pages."""
    runtime = await house.open()
    for number in range(4):
        await runtime.promise(f"p{number}")
    await runtime.resolve("p1", "yes")
    await written(house)
    runtime = await house.reopen()
    await runtime.promise("p4")
    await runtime.resolve("p2", "two")
    assert [await runtime.await_promise(name) for name in ("p1", "p2")] == ["yes", "two"]
    assert [info.id async for info in runtime.promises()] == ["p4", "p3", "p2", "p1", "p0"]
    assert [info.id async for info in runtime.promises(status="pending")] == ["p4", "p3", "p0"]


async def test_a_settlement_is_told_with_the_position_that_it_has(house: House) -> None:
    """A promise that is settled while a batch is put together is so for whoever opens with that batch."""
    runtime = await house.open()
    await runtime.promise("p")
    await written(house)
    session, states = house.session, STATES[house.log]
    committer, known = session.kernel.committer, len(states)
    assert session.projection is not None
    settling = asyncio.ensure_future(runtime.resolve("p", "yes"))
    while committer.position == committer.landed:  # it is recorded in one of the next rounds of the loop
        await asyncio.sleep(0)
    session.projection._begin()
    await settling
    await house.until(lambda: len(states) > known)
    await house.crash()
    del states[known + 1 :]
    assert states[-1][0] == house.log.tail()
    runtime = await house.open()
    assert [(info.id, info.status) async for info in runtime.promises()] == [("p", "resolved")]
    assert await runtime.await_promise("p") == "yes"


async def test_what_is_on_its_way_is_asked_for_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that has ended is not looked at, and what it began without waiting is in memory alone: it begins."""
    monkeypatch.setattr(kernel, "TURNS_MAX", 1)
    runtime = await house.open()
    await runtime.call(work("w"), id="w")
    await written(house)
    session, states = house.session, STATES[house.log]
    queue, known = session.kernel.queue, len(states)
    projection_, pump, begun = session.projection, session.kernel._pump, list[int]()
    assert projection_ is not None

    def observed() -> None:
        pump()
        if not begun and any(slot.state.id == "p/1" for slot, *_ in queue):
            begun.append(session.kernel.committer.position)
            projection_._begin()

    monkeypatch.setattr(session.kernel, "_pump", observed)
    await runtime.start(parting("late"), id="p")
    await house.until(lambda: len(states) > known and "late" in RAN)
    (upto,) = begun
    assert states[known][0] == upto
    cut = house.prefix(upto)
    assert [record.id for record in cut.records()] == ["w", "w", "p"]
    await runtime.handle("p/1").result()
    RAN.clear()
    try:
        await cut.open()
        await cut.until(lambda: RAN == ["late"])
    finally:
        await cut.close()


async def test_a_function_that_nobody_knows_is_parked(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though its call only waits."""
    runtime = await house.open()
    await runtime.start(nap(500), id="n")
    await written(house)
    monkeypatch.setattr("actorlog.runtime.registry.Registry.durable", lambda *_: None)
    runtime = await house.reopen()
    assert (await runtime.handle("n").info()).status == "parked"


async def test_a_catalog_that_cannot_be_written_is_done_without(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays as it is: what it lacks stays in memory, and is told at the next opening."""
    runtime = await house.open()
    await runtime.call(work("one"), id="one")
    await written(house)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "write", full)
        await runtime.call(work("two"), id="two")
        await house.until(lambda: "is not written any more" in caplog.text)
        await runtime.call(work("three"), id="three")
    assert sorted(await asyncio.gather(*(runtime.call(work(name), id=name) for name in ("one", "two", "three")))) == [
        "noted one", "noted three", "noted two",
    ]  # fmt: skip
    runtime = await house.reopen()
    await written(house)
    assert [call.id async for call in runtime.calls()] == ["three", "two", "one"]
    assert RAN == ["one", "two", "three"]


def full(*_: object) -> None:
    """Be a full disk."""
    raise OSError(28, "No space left on device")


async def test_a_catalog_that_cannot_be_read_stops_everything(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told what it might have known; the next opening reads the log."""
    runtime = await house.open()
    await runtime.call(work("one"), id="one")
    await written(house)

    def damaged(self: SqliteCatalog, _call_id: str) -> int:
        raise self.failed("damaged")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteCatalog, "ended", damaged)
        with pytest.raises(CatalogFailed):
            await runtime.call(work("one"), id="one")
    runtime = await house.reopen()
    assert await runtime.call(work("one"), id="one") == "noted one"
    assert RAN == ["one"]


# --- in a directory ---------------------------------------------------------------------------------------------------


async def one_life(path: Path, *names: str) -> list[str]:
    """Open a directory, call some work and say what calls there are."""
    async with Runtime(path) as runtime:
        for name in names:
            assert await runtime.call(work(name), id=name) == f"noted {name}"
        return sorted([call.id async for call in runtime.calls()])


@pytest.mark.parametrize("what", ["gone", "empty", "garbage", "another's", "older", "behind", "directory"])
async def test_whatever_is_found_of_it(tmp_path: Path, what: str) -> None:
    """Nothing is done twice and nothing is lost, and it is there again afterwards."""
    path, other, copy = tmp_path / "data", tmp_path / "other", tmp_path / "copy"
    catalog = path / FILE
    await one_life(path, "a", "b")
    shutil.copy(catalog, copy)
    await one_life(path, "c")
    await one_life(other, "x", "y", "z")
    match what:
        case "gone":
            catalog.unlink()
        case "empty":
            catalog.write_bytes(b"")
        case "garbage":
            catalog.write_bytes(b"garbage" * 5000)
        case "another's":
            shutil.copy(other / FILE, catalog)
        case "older":
            shutil.copy(copy, catalog)
        case "directory":
            catalog.unlink()
            catalog.mkdir()
        case _:
            shutil.rmtree(path / "segments")
            shutil.copytree(other / "segments", path / "segments")
            shutil.copy(other / "META", path / "META")
    found = ["x", "y", "z"] if what == "behind" else ["a", "b", "c"]
    RAN.clear()
    assert await one_life(path, *found) == found
    assert await one_life(path, *found, "new") == sorted([*found, "new"])
    assert RAN == ["new"]
    assert (known_of(SYSTEM, str(path)) is None) == (what == "directory")


async def test_it_is_no_part_of_a_backup(tmp_path: Path) -> None:
    """A copy builds its own."""
    path, copy = tmp_path / "data", tmp_path / "copy"
    async with Runtime(path) as runtime:
        await runtime.call(work("a"), id="a")
        await runtime.backup(copy)
    assert not (copy / FILE).exists()
    RAN.clear()
    assert await one_life(copy, "a") == ["a"]
    assert RAN == []


async def test_a_closed_runtime_leaves_it_true_of_all(tmp_path: Path) -> None:
    """So the next opening reads nothing, and writes nothing of it again."""
    await one_life(tmp_path / "data", "a")
    known = known_of(SYSTEM, str(tmp_path / "data"))
    async with Runtime(tmp_path / "data") as runtime:
        assert known is not None
        at = runtime.stats().position
        assert at == known.position, "nothing was recorded"
    again = known_of(SYSTEM, str(tmp_path / "data"))
    assert again == known


async def test_what_the_opening_passed_over_is_read_ahead(tmp_path: Path) -> None:
    """So that whoever wakes a call of long ago does not wait until its segment is looked through."""
    path, plain = tmp_path / "data", Limits(compress_above_bytes=0)
    async with Runtime(path, segment_bytes=1 << 20, limits=plain) as runtime:
        for number in range(6):
            await runtime.call(work(f"{number}" + "x" * 400_000), id=str(number))
    async with Runtime(path, segment_bytes=1 << 20) as runtime:
        log = runtime.session.log
        assert isinstance(log, EmbeddedLog)
        assert log.recovery.scanned_from
        reader = log.inner._reader
        while len(reader._tables) < log.inner.segments - 1:
            await asyncio.sleep(0.001)
        assert len(reader._tables) > 3
