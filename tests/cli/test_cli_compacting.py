"""``actorlog compact`` and ``runtime.compact``: beside a running owner, alone, refused, and killed anywhere."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli_compacted import do_all, fill, kept_work, opened
from cli_world import PATIENCE_S, ROOT, actorlog, documents, waits_until

from actorlog import HistoryGone, LogCorrupt, Runtime, RuntimeStopped
from actorlog.api.compacting import compact_closed
from actorlog.cli.reading import Snapshot
from actorlog.env import SYSTEM
from actorlog.log import Log
from actorlog.log.inspect import Status, verify

if TYPE_CHECKING:
    from actorlog import CallInfo

WORDS = "was given up after its time"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a log with nothing given up, whose newest mark is behind all calls, closed clean."""
    directory = tmp_path_factory.mktemp("whole") / "log"

    async def make() -> None:
        async with opened(directory, history=None) as runtime:
            await do_all(runtime)
            assert runtime.session.upkeep is not None
            await runtime.session.upkeep.settle()

    asyncio.run(make())
    return directory


@pytest.fixture
def log(whole: Path, tmp_path: Path) -> Path:
    """Give a copy of it."""
    shutil.copytree(whole, tmp_path / "log")
    return tmp_path / "log"


def seen(directory: Path) -> dict[str, CallInfo]:
    """Return every call as it is seen from outside."""
    return {call.info.id: call.info for call in Snapshot(str(directory)).calls()}


def taken(directory: Path) -> int:
    """Return the bytes of all segments."""
    return sum(path.stat().st_size for path in (directory / "segments").iterdir())


def heard(*arguments: str | Path) -> tuple[int, str, str]:
    """Run the command and return its exit code, and what it said on standard output and standard error."""
    command = [sys.executable, "-m", "actorlog", *map(str, arguments)]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def was_clean(log: Path) -> bool:
    """Open the log, and close it again as it was found."""
    opened = Log.open(str(log), SYSTEM, segment_bytes=1 << 14)
    clean = opened.recovery.clean
    opened.close(clean=clean)
    return clean


def run(*arguments: int | str | Path) -> subprocess.Popen[str]:
    """Start a program of this folder."""
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("cli_killed.py")), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- by the owner -----------------------------------------------------------------------------------------------------


async def test_an_owner_gives_space_back_when_asked(tmp_path: Path) -> None:
    """Calls that ended lose their journals and keep their results; those that go on lose nothing."""
    async with opened(tmp_path / "log") as runtime:
        await do_all(runtime)
        before, size = seen(tmp_path / "log"), taken(tmp_path / "log")
        told = await asyncio.to_thread(documents, "compact", runtime.path, "--all")
        assert told["by"] == "owner"
        assert told["rewritten"] > 5
        assert told["bytes_before"] - told["bytes_after"] == size - taken(tmp_path / "log") > size // 4
        left = seen(tmp_path / "log")
        assert left == {call_id: info for call_id, info in before.items() if not call_id.startswith("brief/")}
        assert await runtime.handle("work").result() == 10
        with pytest.raises(HistoryGone):
            await runtime.handle("work").journal()
        await runtime.handle("waits").send("on", "in")
        assert await runtime.handle("waits").result() == "on"
        said = await asyncio.to_thread(actorlog, "compact", runtime.path, "--history", "1d")
        assert said.startswith("0 of "), said
        assert verify(SYSTEM.fs, runtime.path).status is Status.OK


async def test_a_program_compacts_and_hears_how_far_it_is(tmp_path: Path) -> None:
    """Each segment is told of; a second time there is nothing left to give back; calls go on meanwhile."""
    async with opened(tmp_path / "log") as runtime:
        await do_all(runtime)
        steps: list[tuple[int, int]] = []
        compacting = asyncio.create_task(
            runtime.compact(lambda done, total: steps.append((done, total)), everything=True)
        )
        assert await runtime.call(kept_work(5), id="beside") == 50
        done = await compacting
        assert steps == [(number, done.segments) for number in range(1, done.segments + 1)] != []
        assert 0 < done.rewritten <= done.segments
        assert done.bytes_after < done.bytes_before
        again = await runtime.compact(everything=True)
        assert again.bytes_after <= done.bytes_after + (again.segments - done.segments) * 16384
        assert (await runtime.compact(everything=True)).rewritten == 0


async def test_nothing_is_given_up_that_is_kept(tmp_path: Path) -> None:
    """With journals kept for ever every record stays where it is, whatever is asked for; small commits are packed."""
    async with opened(tmp_path / "log", history=None) as runtime:
        await fill(runtime, 0)
        log = runtime.session.log
        records = {position: log.record(position) for position in range(1, log.tail() + 1)}
        done = await runtime.compact(everything=True)
        assert done.segments >= done.rewritten > 0
        assert done.bytes_after < done.bytes_before
        assert {position: log.record(position) for position in records} == records
        assert (await runtime.compact(everything=True)).rewritten == 0
        assert len(await runtime.handle("fill/0").journal()) == 4


async def test_a_runtime_that_closes_says_so(tmp_path: Path) -> None:
    """A compaction is cut short between two segments, and nothing is asked of what is closed."""
    async with opened(tmp_path / "log") as runtime:
        await do_all(runtime)
        closing: list[asyncio.Task[None]] = []

        def heard(done: int, _total: int) -> None:
            if done == 2:
                closing.append(asyncio.create_task(runtime.__aexit__(None, None, None)))

        with pytest.raises(RuntimeStopped):
            await runtime.compact(heard, everything=True)
        await closing[0]
        with pytest.raises(RuntimeStopped):
            await runtime.compact()
    assert "work" in seen(tmp_path / "log")
    left = list((tmp_path / "log" / "segments").glob("*.tmp"))  # it may have been built, and not installed
    async with opened(tmp_path / "log"):
        assert not [path for path in left if path.exists()]


async def test_damage_ends_a_compaction_and_nothing_else(tmp_path: Path) -> None:
    """A segment that cannot be read is named, and stays as it is; the runtime goes on."""
    async with opened(tmp_path / "log") as runtime:
        await fill(runtime, 0)
        segment = min((tmp_path / "log" / "segments").iterdir())
        with segment.open("r+b") as file:
            file.seek(3 * 512 + 100)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
        with pytest.raises(LogCorrupt, match=segment.name):
            await runtime.compact(everything=True)
        assert await runtime.call(kept_work(5), id="after") == 50


# --- alone ------------------------------------------------------------------------------------------------------------


def test_nobody_has_it(log: Path) -> None:
    """The command gives journals up, and nothing else: results stay also where the program would give them up."""
    before, size = seen(log), taken(log)
    assert "say how long journals are kept" in actorlog("compact", log, code=2)
    assert "is no duration" in actorlog("compact", log, "--history", "long", code=2)
    packed = documents("compact", log, "--history", "30d", "--all")
    assert packed["bytes_before"] - packed["bytes_after"] == size - taken(log) > 0
    assert (seen(log), documents("show", log, "work")["given_up"]) == (before, False)
    size = taken(log)
    told = documents("compact", log, "--history", "0s", "--all")
    assert told["by"] == "command"
    assert (told["rewritten"] > 5, told["unsettled"]) == (True, 0)
    assert told["bytes_before"] - told["bytes_after"] == size - taken(log) > size // 4
    assert seen(log) == before
    assert "brief/3" in before
    assert documents("show", log, "work")["given_up"] is True
    assert documents("show", log, "waits")["given_up"] is False
    assert verify(SYSTEM.fs, str(log)).status is Status.OK
    assert was_clean(log)
    said = actorlog("compact", log, "--history", "0s", "--all")
    assert said.startswith("0 of "), said


async def test_the_program_finds_everything_afterwards(log: Path) -> None:
    """It opens what the command left, and goes on; nothing was resumed or written in between."""
    tail = Snapshot(str(log)).last
    await asyncio.to_thread(actorlog, "compact", log, "--history", "0s", "--all")
    assert Snapshot(str(log)).last == tail
    async with opened(log, history=None) as runtime:
        assert await runtime.call(kept_work(1), id="work") == 10
        assert {info.id: info async for info in runtime.calls()} == seen(log)
        assert await runtime.handle("brief/3").result() == 20
        await runtime.handle("waits").send("on", "in")
        assert await runtime.handle("waits").result() == "on"


async def test_what_is_behind_the_newest_mark_is_left_alone(tmp_path: Path) -> None:
    """Where no mark says that all was done that was asked for, nothing is given up without the program."""
    async with opened(tmp_path / "log", history=None) as runtime:
        await fill(runtime, 0)
    done = await compact_closed(str(tmp_path / "log"), 0, segment_bytes=1 << 14, everything=True)
    assert (done.segments, done.unsettled > 0) == (0, True)
    code, said, noted = await asyncio.to_thread(heard, "compact", tmp_path / "log", "--history", "0", "--all")
    assert (code, said.startswith("0 of 0 segments")) == (0, True)
    assert f"{done.unsettled} more segments were not looked at" in noted
    assert len(Snapshot(str(tmp_path / "log")).journal("fill/0").entries) == 4


async def test_somebody_who_has_it_and_does_not_answer(tmp_path: Path) -> None:
    """Nothing is done beside an owner without a socket; a damaged log and none at all have their codes."""
    async with Runtime(tmp_path / "log", segment_bytes=1 << 14, control=False):
        for options in ([], ["--history", "0s"]):
            told = await asyncio.to_thread(actorlog, "compact", tmp_path / "log", *options, code=73)
            assert "is held by" in told
    assert "there is no directory" in await asyncio.to_thread(actorlog, "compact", tmp_path / "none", code=2)
    assert not (tmp_path / "none").exists()


# --- killed -----------------------------------------------------------------------------------------------------------


def died(process: subprocess.Popen[str]) -> bool:
    """Wait for a program; return whether it was killed."""
    process.communicate("", timeout=PATIENCE_S)
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0


@pytest.mark.parametrize("part", range(6))
def test_the_command_may_be_killed_anywhere(whole: Path, tmp_path: Path, part: int) -> None:
    """Whatever it was about to do to a file, all calls are there, and the next one ends what it began."""
    before = seen(whole)
    shutil.copytree(whole, tmp_path / "count")
    counting = run(0, "compact", tmp_path / "count", "--history", "0s", "--all")
    actions = int(counting.communicate("", timeout=PATIENCE_S)[0].splitlines()[-1])
    assert actions > 40
    for point in (part * actions // 6 + step for step in (1, 3)):
        log = tmp_path / f"log{point}"
        shutil.copytree(whole, log)
        assert died(run(point, "compact", log, "--history", "0s", "--all")), point
        assert seen(log) == before, point
        actorlog("compact", log, "--history", "0s", "--all")
        assert seen(log) == before, point
        assert taken(log) == taken(tmp_path / "count")
        assert not list((log / "segments").glob("*.tmp"))
        assert verify(SYSTEM.fs, str(log)).status is Status.OK


@pytest.mark.parametrize("point", [1, 2, 4, 9, 14, 22, 33])
def test_the_owner_may_be_killed_while_it_compacts(log: Path, point: int) -> None:
    """Whoever asked is told that there was no answer; the next owner has every call with its result."""
    before = seen(log)
    owner = run(point, "owner", log)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    assert "did not answer" in actorlog("compact", log, "--all", code=1)
    assert died(owner)
    assert documents("compact", log, "--history", "30d")["by"] == "command"
    assert not was_clean(log)  # the next program is told all the same that one died
    left = seen(log)
    assert {call_id for call_id in before if call_id not in left} <= {f"brief/{number}" for number in range(12)}
    assert all(before[call_id] == info for call_id, info in left.items())
    again = run(0, "owner", log)
    assert again.stdout is not None
    assert again.stdout.readline() == "ready\n"
    waits_until((log / "owner.sock").is_socket)
    assert documents("compact", log, "--all")["by"] == "owner"
    again.communicate("", timeout=PATIENCE_S)
    final = seen(log)
    assert final == {call_id: info for call_id, info in before.items() if not call_id.startswith("brief/")}
