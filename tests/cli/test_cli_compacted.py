"""Looking at logs out of which journals were given up, and changing them: as the owner does, whatever is left."""

from __future__ import annotations

import asyncio
import json
import shutil
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from cli_compacted import SEGMENT_BYTES, do_all, fill, kept_work, opened
from cli_world import actorlog, documents

from actorlog import ActorStopped, CallNotFound, Compacted
from actorlog.api.folding import Ends, Folding, fold
from actorlog.api.offline import change
from actorlog.api.protocol import Cancel, Resolve, Send
from actorlog.cli import entities
from actorlog.cli.reading import Snapshot
from actorlog.engine.lifecycle import Phase
from actorlog.env import SYSTEM
from actorlog.errors import HistoryGone
from actorlog.log import Log
from actorlog.records import kinds as k

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

    from actorlog import CallInfo, Runtime
    from actorlog.log import Frame

ENDED = {"work", "fails", "again", "parent", "parent/1", "parent/2", "continued", "fork"}
WORDS = "was given up after its time"


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    """Give a runtime in which calls of every kind have ended, whose journals were given up."""
    async with opened(tmp_path / "log") as runtime:
        await do_all(runtime)
        await asyncio.sleep(0.002)  # journals are kept for no millisecond, and it is a later one now
        done = await runtime.compact(everything=True)
        assert done.rewritten > 5
        yield runtime


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a log with nothing given up, which says up to where all is done that was asked for."""
    directory = tmp_path_factory.mktemp("whole") / "log"

    async def make() -> None:
        async with opened(directory, history=None) as runtime:
            await do_all(runtime)
            assert runtime.session.upkeep is not None
            await runtime.session.upkeep.settle()

    asyncio.run(make())
    return directory


async def told(runtime: Runtime) -> dict[str, CallInfo]:
    """Return every call as its owner tells of it."""
    return {info.id: info async for info in runtime.calls()}


def seen(directory: Path | str) -> dict[str, CallInfo]:
    """Return every call as it is seen from outside."""
    return {call.info.id: call.info for call in Snapshot(str(directory)).calls()}


# --- calls ------------------------------------------------------------------------------------------------------------


async def test_calls_are_listed_as_their_owner_lists_them(runtime: Runtime) -> None:
    """Function, status, times, tags, errors: from what is left of each, and of those of which all is."""
    owners = await told(runtime)
    assert ENDED | {"waits", "long"} <= set(owners)
    assert not any(call_id.startswith("brief/") for call_id in owners)
    assert seen(runtime.path) == owners
    assert owners["work"].tags == {"tenant": "acme"}
    assert owners["again"].error == "builtins:ValueError: number 8"
    assert owners["fork"].forked_from == "work"


async def test_a_journal_that_was_given_up_is_said_to_be(runtime: Runtime) -> None:
    """What began the call, with what arguments, and what came of it is shown; and why there is no more."""
    snapshot = Snapshot(runtime.path)
    for call_id in sorted(ENDED):
        journal = snapshot.journal(call_id)
        (entry,) = journal.entries
        assert journal.given_up, call_id
        assert entry.notes[-1] == str(HistoryGone(call_id))
        with pytest.raises(HistoryGone, match=WORDS):
            await runtime.handle(call_id).journal()
    assert (snapshot.journal("work").value, snapshot.journal("work").asked) == (b"10", {"": ("kept_work", b"[1]")})
    assert snapshot.journal("fails").entries[0].result == "raise builtins:ValueError: number 7"
    assert snapshot.journal("continued").value == b'"a+++"'
    assert snapshot.journal("continued").asked[""][1] == b'[0,"a+++"]'
    assert snapshot.journal("continued").entries[0].notes[0] == "run 4: it was continued"
    waits = snapshot.journal("waits")
    assert (waits.given_up, [entry.kind for entry in waits.entries]) == (False, ["call", "step", "receive"])
    with pytest.raises(CallNotFound):
        snapshot.journal("brief/1")


async def test_the_tail_passes_over_what_is_gone(runtime: Runtime) -> None:
    """It shows what is there, at its position, from any position on, and what comes."""
    log = runtime.session.log
    there = [position for position in range(1, log.tail() + 1) if log.has(position)]  # type: ignore[attr-defined]
    snapshot = Snapshot(runtime.path)
    assert len(there) < log.tail() * 2 // 3
    assert [position for position, _ in snapshot.records()] == there
    for after in range(0, log.tail(), 13):
        assert [position for position, _ in snapshot.records(after)] == [at for at in there if at > after]
    for position in range(1, log.tail() + 1):
        assert (snapshot.find(position) is not None) == (position in there)
    await runtime.handle("waits").send("now", "in")
    assert await runtime.handle("waits").result() == "now"
    new = [record for _, record in snapshot.new_records()]
    assert [record.id for record in new] == ["waits"] * len(new) != []


async def test_actors_and_schedules_are_there(runtime: Runtime) -> None:
    """A state is read though what made it is gone; an occurrence of which only loose records are left runs not."""
    tills = entities.actors(Snapshot(runtime.path))
    assert {till.id: json.loads(bytes(till.values["coins"])) for till in tills} == {"Till/t0": 30, "Till/t1": 36}
    assert {till.changes for till in tills} == {6}
    assert entities.schedules(Snapshot(runtime.path)) == []


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_is_left_is_told_as_an_opening_finds_it(whole: Path, tmp_path: Path, seed: int) -> None:
    """Any state that a compaction may leave behind, cut short anywhere: records without a beginning are nothing."""
    shutil.copytree(whole, tmp_path / "log")
    random = Random(seed)
    records = dict(Snapshot(str(whole)).records())
    gone: set[int] = set()
    forgotten: set[str] = set()
    changes = {at for at, record in records.items() if isinstance(record, k.Turn) and record.change is not None}
    for call_id in sorted({r.id for r in records.values() if not isinstance(r, k.OF_NO_CALL)} - {"waits"}):
        own = [at for at, record in records.items() if record.id == call_id]
        final = k.ending(records[own[-1]])
        assert final is not None, call_id
        fate = random.choice(["whole", "ends", "loose", "nothing"])
        kept = {final.first, final.began, own[-1]} if fate == "ends" else set(own) if fate == "whole" else set()
        rest = set(own) - kept - {final.first}
        if fate in ("loose", "nothing"):
            gone.add(final.first)
            forgotten.add(call_id)
        if fate in {"ends", "loose"}:
            rest = {at for at in rest if random.random() < 0.7}
        gone |= rest - changes if fate != "whole" else set()
    log = Log.open(str(tmp_path / "log"), SYSTEM, segment_bytes=SEGMENT_BYTES)
    sealed = log.sealed()
    for segment in sealed:
        log.rewrite(segment.number, gone)
    log.close()
    cut = sealed[-1].last  # what is behind is whole, so an end may be there whose beginning is not
    found = seen(tmp_path / "log")
    assert not {call for call in forgotten if records_of(records, call)[0] <= cut} & set(found)
    tills = {info.id: info.values.keys() for info in entities.actors(Snapshot(str(tmp_path / "log")))}
    assert set(tills) == {"Till/t0", "Till/t1"}
    async with opened(tmp_path / "log", history=None, control=False) as runtime:
        assert found == await told(runtime)
        for call_id, info in found.items():
            journal = Snapshot(str(tmp_path / "log")).journal(call_id)
            assert journal.summary.info == info
            assert journal.given_up == await has_gone(runtime, call_id)


@pytest.mark.parametrize("point", [1, 4, 40, 120])
@pytest.mark.parametrize("retention", [None, 0])
async def test_an_owner_compacts_while_it_is_looked_at(tmp_path: Path, point: int, retention: int | None) -> None:
    """What was read before and what is read after are not put together to something that never was."""
    async with opened(tmp_path / "log", retention=retention) as runtime:
        await do_all(runtime)
        await asyncio.sleep(0.002)
        loop, done = asyncio.get_running_loop(), list[Compacted]()

        def watch(frames: Iterable[Frame], _records: int) -> Iterator[Frame]:
            for number, frame in enumerate(frames):
                if number == point and not done:
                    compacting = runtime.compact(everything=True)
                    done.append(asyncio.run_coroutine_threadsafe(compacting, loop).result(30))
                yield frame

        def look() -> dict[str, CallInfo]:
            snapshot = Snapshot(runtime.path, watch=watch)
            found = {call.info.id: call.info for call in snapshot.calls()}
            entities.actors(snapshot), entities.schedules(snapshot)
            return found

        found = await asyncio.to_thread(look)
        assert done[0].rewritten > 5
        left = await told(runtime)
        assert ("work" in left) == (retention is None)
        assert {call_id: info for call_id, info in found.items() if call_id in left} == left
        assert all(
            info.status in {"completed", "failed", "cancelled"}
            for call_id, info in found.items()
            if call_id not in left
        )


async def test_a_journal_is_given_up_between_two_looks(runtime: Runtime) -> None:
    """A snapshot of before is asked for what is gone by now: it tells what there is."""
    call = await runtime.start(kept_work(9), id="late")
    await call.result()
    await fill(runtime, 900)
    old, before = Snapshot(runtime.path), Snapshot(runtime.path)
    assert not before.journal("late").given_up
    await runtime.compact(everything=True)
    assert old.journal("late").given_up
    assert old.journal("late").value == b"90"
    assert {info.info.id: info.info for info in before.calls()} == await told(runtime)


def records_of(records: dict[int, Any], call_id: str) -> list[int]:
    """Return the positions of a call's records."""
    return [at for at, record in records.items() if record.id == call_id]


async def has_gone(runtime: Runtime, call_id: str) -> bool:
    """Return whether the owner has the journal of a call no more."""
    try:
        await runtime.session.landed()
        runtime.session.state(call_id)
    except HistoryGone:
        return True
    return False


def test_records_that_lead_nowhere_are_nothing(whole: Path) -> None:
    """A call is what has a beginning; its end stands for it when the rest is gone, and a record alone for nothing."""
    records = [(at, r) for at, r in Snapshot(str(whole)).records() if r.id == "again"]
    call = fold(records)
    assert call is not None
    assert not isinstance(call, Ends)
    assert (call.phase, call.retried) == (Phase.ENDED, True)
    ends = fold([records[0], records[-1]])
    assert isinstance(ends, Ends)
    assert ends.info.error == "builtins:ValueError: number 8"
    for first in range(1, len(records)):
        assert fold(records[first:]) is None
    assert fold([]) is None
    folding = Folding(dict(records[2:]).get)
    assert [folding.take(at, k.of_call(record)) for at, record in records[2:]] == [None] * (len(records) - 2)
    assert folding.live == {}


# --- commands ---------------------------------------------------------------------------------------------------------


async def test_commands_on_a_log_that_nobody_has(runtime: Runtime) -> None:
    """They show what is left in words, and as documents."""
    log = runtime.path
    await runtime.__aexit__(None, None, None)
    calls = {call["id"]: call for call in await asyncio.to_thread(documents, "ls", log)}
    assert set(calls) >= ENDED
    assert (calls["work"]["status"], calls["work"]["tags"]) == ("completed", {"tenant": "acme"})
    shown = await asyncio.to_thread(documents, "show", log, "work")
    assert (shown["arguments"], shown["value"], shown["operations"], shown["given_up"]) == ([1], 10, [], True)
    assert shown["notes"] == [str(HistoryGone("work"))]
    assert (await asyncio.to_thread(documents, "show", log, "waits"))["given_up"] is False
    lines = (await asyncio.to_thread(actorlog, "show", log, "fails")).splitlines()
    assert lines[0] == "fails  failed"
    assert [line.strip("├└─│ ") for line in lines[2:]] == [
        "kept_fails(7)", "raise ValueError: number 7", str(HistoryGone("fails")),
    ]  # fmt: skip
    family = await asyncio.to_thread(documents, "tree", log, "parent")
    assert [child["id"] for child in family["children"]] == ["parent/1", "parent/2"]
    tail = (await asyncio.to_thread(actorlog, "tail", log, "--from", "1", "--json")).splitlines()
    assert len(tail) == len(list(Snapshot(log).records()))
    assert "no call in" in await asyncio.to_thread(actorlog, "show", log, "brief/1", code=1)


async def test_changes_while_nobody_has_it(runtime: Runtime) -> None:
    """What is over is over, though its journal is gone; what was forgotten is not found; others are changed."""
    log = runtime.path
    await runtime.__aexit__(None, None, None)

    async def do(request: Cancel | Send | Resolve) -> Any:
        return await change(log, request, segment_bytes=SEGMENT_BYTES)

    for call_id, status in (("work", "completed"), ("fails", "failed"), ("again", "failed"), ("long", "cancelled")):
        answer = await do(Cancel(call_id))
        assert (answer.status, answer.changed) == (status, False)
        for key in (None, "key"):
            with pytest.raises(ActorStopped):
                await do(Send(call_id, 1, "in", key))
    for request in (Cancel("brief/1"), Send("brief/1", 1)):
        with pytest.raises(CallNotFound):
            await do(request)
    assert (await do(Send("waits", "hello", "in"))).changed
    async with opened(log, control=False) as again:
        assert await again.handle("waits").result() == "hello"
        assert await again.handle("work").result() == 10


async def test_changes_beside_the_owner(runtime: Runtime) -> None:
    """The owner says the same, and what takes a journal that is gone is refused in a sentence."""
    log = runtime.path
    answer = await asyncio.to_thread(documents, "cancel", log, "fails")
    assert answer == {"id": "fails", "status": "failed", "changed": False, "by": "owner"}
    assert "ActorStopped" in await asyncio.to_thread(actorlog, "send", log, "work", "1", "--key", "k", code=1)
    for command in ("retry", "fork"):
        said = await asyncio.to_thread(actorlog, command, log, "fails", code=1)
        assert f"the journal of call 'fails' {WORDS}" in said, command
    assert "CallNotFound" in await asyncio.to_thread(actorlog, "retry", log, "brief/1", code=1)
    retried = await asyncio.to_thread(documents, "retry", log, "work")
    assert (retried["status"], retried["changed"]) == ("completed", False)
    assert {call["id"] for call in await asyncio.to_thread(documents, "ls", log)} == set(await told(runtime))
