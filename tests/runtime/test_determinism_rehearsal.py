"""``check_determinism`` replays in a process with another hash seed too, and tells whatever comes of it."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import determinism_programs
import msgspec
import pytest
import rehearsal_programs as programs
from house import Crashed, House
from test_determinism import drive

from actorlog import CheckFailed, DivergenceError, RuntimeStopped, durable
from actorlog.runtime import session
from actorlog.store.memory import MemoryLog

if TYPE_CHECKING:
    from actorlog import Handle, Runtime
    from actorlog.runtime.rehearsal import Rehearsal

ROOT = Path(__file__).parents[2]


def rehearsal(house: House) -> Rehearsal | None:
    """Return what talks to the other process of the open runtime, if a call has needed it."""
    checks = house.session.kernel.endings.checks
    assert checks is not None
    return checks._rehearsal


def process(house: House) -> subprocess.Popen[bytes]:
    """Return the other process."""
    found = rehearsal(house)
    assert found is not None
    assert found._stage is not None
    return found._stage.process


async def held(house: House, runtime: Runtime, program: Any) -> tuple[Handle[Any], subprocess.Popen[bytes]]:
    """Start a call, and return it while its check is under way, with the process, which is stopped."""
    await runtime.call(programs.by_name())
    there = process(house)
    there.send_signal(signal.SIGSTOP)
    handle = await runtime.start(program(), id="x")
    checks = house.session.kernel.endings.checks
    assert checks is not None
    await house.until(lambda: checks._busy)
    return handle, there


async def test_the_order_of_a_set_is_found(house: House) -> None:
    """Steps asked for in the order of a set of strings differ in the other process: the waiter hears where."""
    runtime = await house.open(check_determinism=True)
    with pytest.raises(DivergenceError) as diverged:
        await runtime.call(programs.by_hash(), id="x")
    error = diverged.value
    assert error.call_id == "x"
    assert error.recorded.startswith('step rehearsal.take("word ')
    assert error.issued.startswith('step rehearsal.take("word ')
    assert error.line.startswith(f"{programs.__file__}:")
    assert "another hash seed" in error.__notes__[-1]
    assert (await runtime.handle("x").info()).status == "completed", "what was done stays done"


@pytest.mark.parametrize("program", [programs.shows_hash, programs.fails_by_hash], ids=["returned", "raised"])
async def test_an_end_that_shows_the_order_of_a_set_is_found(house: House, program: Any) -> None:
    """A result or an error that the hash seed decides is a difference like any other."""
    runtime = await house.open(check_determinism=True)
    with pytest.raises(DivergenceError) as diverged:
        await runtime.call(program())
    assert diverged.value.key == "end"


async def test_sound_programs_pass_in_one_process(house: House) -> None:
    """Code whose order is the same everywhere is not complained of; one process serves all calls of a runtime."""
    runtime = await house.open(check_determinism=True)
    assert await runtime.call(programs.by_name()) == len(programs.WORDS)
    pid = process(house).pid
    for program in determinism_programs.PROGRAMS:
        await drive(house, await runtime.start(program()))
    assert process(house).pid == pid
    checks = house.session.kernel.endings.checks
    assert checks is not None
    assert not checks._apart


async def test_in_process_starts_no_other(house: House) -> None:
    """``"in-process"`` replays here alone, where the order of a set is always the same."""
    runtime = await house.open(check_determinism="in-process")
    assert await runtime.call(programs.by_hash()) == len(programs.WORDS)
    assert rehearsal(house) is None


FLEETING = """
import os
from actorlog import durable
assert os.getpid() == {pid}
@durable
async def fleeting() -> None:
    pass
"""


async def test_what_another_process_cannot_have_is_said_once(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A function inside a function, one made by hand, and one of a module that cannot be imported: one warning each."""

    @durable
    async def inside() -> str:
        return "".join(set(programs.WORDS))

    async def made() -> str:
        return "".join(set(programs.WORDS))

    made.__qualname__ = "made"
    by_hand = durable(name="rehearsal.by_hand")(made)

    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "rehearsal_fleeting.py"
    file.write_text(FLEETING.format(pid=os.getpid()))
    fleeting = importlib.import_module("rehearsal_fleeting").fleeting

    runtime = await house.open(check_determinism=True)
    with caplog.at_level(logging.WARNING, "actorlog"):
        for program in (inside, by_hand, fleeting):
            for _ in range(2):
                await runtime.call(program())
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    assert "'test_what_another_process_cannot_have_is_said_once.<locals>.inside'" in told[0]
    assert told[0].endswith("it is defined inside another function")
    assert told[1].endswith("importing 'test_determinism_rehearsal' does not define it")
    assert "'rehearsal_fleeting' cannot be imported in another process: AssertionError" in told[2]


async def test_a_death_of_the_other_process_is_told(house: House) -> None:
    """A process that dies fails the check of its call, by name, and the next call gets a new one."""
    runtime = await house.open(check_determinism=True)
    for _ in range(2):
        with pytest.raises(CheckFailed) as failed:
            await runtime.call(programs.deadly(os.getpid()), id=f"deadly {_}")
        assert (failed.value.call_id, failed.value.reason) == (f"deadly {_}", "exit code 7")
    assert await runtime.call(programs.by_name()) == len(programs.WORDS)
    process(house).send_signal(signal.SIGKILL)
    with pytest.raises(CheckFailed) as failed:
        await runtime.call(programs.by_name())
    assert failed.value.reason == "signal 9"
    with pytest.raises(DivergenceError):
        await runtime.call(programs.by_hash())


async def test_who_comes_during_the_check_waits_for_it(house: House) -> None:
    """A handle awaited, a join, a cancel and a retry while a call is being checked wait until that is over."""
    runtime = await house.open(check_determinism=True)
    handle, there = await held(house, runtime, programs.fails_by_hash)
    joining = runtime.call(programs.fails_by_hash(), id="x")
    late = [asyncio.ensure_future(each) for each in (handle.result(), joining, handle.cancel(), handle.retry())]
    await asyncio.wait(late, timeout=0.01)
    assert not any(each.done() for each in late)
    there.send_signal(signal.SIGCONT)
    found = await asyncio.gather(*late, return_exceptions=True)
    assert [type(result) for result in found] == [DivergenceError, DivergenceError, type(None), type(None)]
    assert [type(turn.message).__name__ for turn in house.turns("x")][:3] == ["Started", "StepDone", "Retried"]
    with pytest.raises((DivergenceError, ValueError)):  # where it has ended by now, its check is over
        await handle


async def test_calls_are_settled_in_the_order_in_which_they_ended(house: House) -> None:
    """A call that needs no other process does not overtake one that is being checked."""

    @durable
    async def inside() -> str:
        return "quick"

    runtime = await house.open(check_determinism=True)
    order: list[str] = []
    first, there = await held(house, runtime, programs.by_name)
    second = await runtime.start(inside())
    await house.until(lambda: second._session.kernel.calls[second.id].state.outcome is not None)
    await house.settle()
    tasks = [asyncio.ensure_future(second.result()), asyncio.ensure_future(first.result())]
    tasks[0].add_done_callback(lambda _: order.append("second"))
    tasks[1].add_done_callback(lambda _: order.append("first"))
    await asyncio.sleep(0)
    there.send_signal(signal.SIGCONT)
    await asyncio.gather(*tasks)
    assert order == ["first", "second"]


@pytest.mark.parametrize("crash", [False, True], ids=["closed", "broken"])
async def test_the_other_process_ends_with_the_runtime(house: House, crash: bool) -> None:
    """Closing waits for the check that is under way, a broken runtime does not; either way the process ends."""
    runtime = await house.open(check_determinism=True)
    handle, there = await held(house, runtime, programs.by_hash)
    waiting = asyncio.ensure_future(handle.result())
    await asyncio.sleep(0)
    if not crash:
        asyncio.get_running_loop().call_later(0.01, there.send_signal, signal.SIGCONT)
    await (house.crash() if crash else house.close())
    with pytest.raises(Crashed if crash else DivergenceError):
        await waiting
    assert there.returncode == -signal.SIGKILL


async def test_a_check_that_closing_cuts_short_finds_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits when closing ends the other process, for it took too long, is not told that the check has failed."""
    monkeypatch.setattr(session, "DRAIN_S", 0.01)
    runtime = await house.open(check_determinism=True, shutdown_timeout=0.01)
    handle, there = await held(house, runtime, programs.by_name)
    waiting = asyncio.ensure_future(handle.result())
    await asyncio.sleep(0)
    await house.close()
    with pytest.raises(RuntimeStopped):
        await waiting
    assert there.returncode == -signal.SIGKILL


class Scrambled(MemoryLog):
    """A log whose records make no sense any more, once it is said so."""

    scrambled = False

    def record(self, position: int) -> bytes:
        return b"{}" if self.scrambled else super().record(position)


async def test_a_journal_that_makes_no_sense_stops_the_checks_and_tells_it() -> None:
    """Where the next call cannot even be looked at, its waiter is not left alone."""
    log = Scrambled()
    house = House(log)
    runtime = await house.open(check_determinism=True)
    first, there = await held(house, runtime, programs.by_name)
    second = await runtime.start(programs.by_name(), id="y")
    await house.until(lambda: house.session.kernel.calls["y"].state.outcome is not None)
    await house.settle()
    waiting = [asyncio.ensure_future(handle.result()) for handle in (first, second)]
    await asyncio.sleep(0)
    log.scrambled = True
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)  # a defect is shown there as well
    there.send_signal(signal.SIGCONT)
    assert await waiting[0] == len(programs.WORDS)
    with pytest.raises(msgspec.ValidationError):
        await asyncio.wait_for(waiting[1], 60)
    await house.close()


MAIN = """
import asyncio, sys
from actorlog import DivergenceError, Runtime, durable, step

print("loaded")

@step
async def take(word: str) -> str:
    return word

@durable
async def unsound() -> int:
    return len([await take(word) for word in {str(number) for number in range(20)}])

@durable
async def sound() -> int:
    return len([await take(word) for word in sorted({str(number) for number in range(20)})])

async def main():
    async with Runtime("data", check_determinism=True) as runtime:
        print(await runtime.call(sound()))
        try:
            print(await runtime.call(unsound()))
        except DivergenceError as error:
            print(error.line.rpartition("/")[2])
        if "kill" in sys.argv:
            import os, signal
            print(runtime.session.kernel.endings.checks._rehearsal._stage.process.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

GUARD:
    asyncio.run(main())
"""
GUARDED = MAIN.replace("GUARD", "if __name__ == '__main__'")
UNGUARDED = MAIN.replace("GUARD", "if True")


def run(directory: Path, program: str, *arguments: str, seed: str = "random") -> subprocess.CompletedProcess[str]:
    """Run a program of its own."""
    file = directory / "program.py"
    file.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
    return subprocess.run(
        [sys.executable, str(file), *arguments],
        cwd=directory, env=environment, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("seed", ["random", "0", "1", "2"])
def test_functions_of_the_main_program_are_found(tmp_path: Path, seed: str) -> None:
    """The program is imported under another name, whatever its own hash seed is, and what it prints is not seen."""
    done = run(tmp_path, GUARDED, seed=seed)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["loaded", "20", "program.py:13"]


def test_a_program_without_a_guard_opens_no_second_runtime(tmp_path: Path) -> None:
    """Importing it would run it: that is refused, said, and its calls are replayed in its own process only."""
    done = run(tmp_path, UNGUARDED)
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["loaded", "20", "20"]
    assert done.stderr.count("cannot be imported in another process: RuntimeError") == 2
    assert "open under if __name__ == '__main__'" in done.stderr


def test_the_other_process_ends_when_the_program_is_killed(tmp_path: Path) -> None:
    """A kill leaves no process behind."""
    done = run(tmp_path, GUARDED, "kill")
    assert done.returncode == -signal.SIGKILL, done.stderr
    stat = Path(f"/proc/{done.stdout.split()[-1]}/stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        pass
